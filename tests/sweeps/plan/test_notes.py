"""What a plan says of axes that change two things at once, and of images that cost nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tiny_sweeps import COUNTS, FACTS, FILMS, TEXT

from spurious.scoring.annotations import ImageFacts
from sweeps.plan.facts import generator_facts
from sweeps.plan.notes import plan_notes
from sweeps.plan.plan import DatasetFacts, make_plan
from sweeps.plan.render import as_dict, as_text
from sweeps.spec.model import GeneratorDataset, parse_spec

HALF = {**COUNTS, "train": {"n": 100, "positives": 50, "abnormalities": 60}}
FEW = {**COUNTS, "train": {"n": 100, "positives": 40, "abnormalities": 33}}
IMAGES = ImageFacts(
    FACTS.digest,
    {"train": np.repeat((1, 0), (40, 60)), "val": np.repeat((1, 0), (10, 20))},
    {"train": np.repeat((0, 2, 0), (3, 37, 60)), "val": np.repeat((1, 0), (10, 20))},
    attributes=2,
)


def notes(facts: DatasetFacts | None, **overrides: object) -> list[str]:
    """Of the films."""
    given = {key.replace("__", "."): value for key, value in overrides.items()}
    return plan_notes(make_plan(parse_spec(FILMS, overrides=given), facts))


@pytest.mark.parametrize(
    ("facts", "overrides", "words"),
    [
        (FACTS, {"axes__budget": [20, 40, "all"]}, "half of the images are abnormal at 20, 40 "),
        (FACTS, {"axes__budget": [20, "all"]}, "all has 40 of 100 images abnormal"),
        (FACTS, {"axes__budget": [20, "all"], "balance": "natural"}, None),
        (FACTS, {"axes__budget": ["all"]}, None),
        (FACTS, {"axes__budget": [20, 40]}, None),
        (replace(FACTS, counts=HALF), {"axes__budget": [20, "all"]}, None),
        (None, {"axes__budget": [20, "all"]}, "unknown before it is staged"),
    ],
)
def test_prevalence_along_the_budget(
    facts: DatasetFacts | None, overrides: dict[str, object], words: str | None
) -> None:
    """Told where `all` is not half and half as the others are; natural budgets hold it."""
    found = [line for line in notes(facts, **overrides) if "prevalence" in line]
    assert len(found) == (words is not None)
    assert words is None or words in found[0]


@pytest.mark.parametrize(
    ("facts", "overrides", "words"),
    [
        (FACTS, {}, None),
        (replace(FACTS, counts=FEW), {}, "at least 7 of 40 abnormal training images have no"),
        (replace(FACTS, images=IMAGES), {}, "prices: 3 of 40 abnormal training images have no"),
        (replace(FACTS, images=IMAGES), {"axes__specificity": ["label", {"box": "image"}]}, None),
        (replace(FACTS, images=IMAGES), {"axes__specificity": [{"r": 1}]}, None),
    ],
)
def test_abnormal_images_without_a_region(
    facts: DatasetFacts, overrides: dict[str, object], words: str | None
) -> None:
    """Told where regions are priced; exactly where every image is known."""
    found = notes(facts, **overrides)
    assert len(found) == (words is not None)
    assert words is None or words in found[0]


def test_a_plan_prints_its_notes() -> None:
    """For people and for programs."""
    spec = parse_spec(TEXT, overrides={"axes.budget": [20, "all"], "dataset.prevalence": 0.6})
    assert isinstance(spec.dataset, GeneratorDataset)
    plan = make_plan(spec, generator_facts(spec.dataset))
    [note] = plan_notes(plan)
    assert as_dict(plan, spec)["notes"] == [note]
    assert f"note: {note}" in as_text(plan, spec, {})
