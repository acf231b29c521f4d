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


def drawn_in_part(y1: int, y0: int) -> dict[str, dict[str, int]]:
    """Counts of a set of 40 positive and 60 negative images, with masks on some."""
    drawn = {"masks_y1": y1, "masks_y0": y0, "boxes_y1": y1, "boxes_y0": y0, "own_boxes": 0}
    return {split: {**of, **drawn} for split, of in COUNTS.items()}


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
    ("drawn", "specificity", "share", "held_by"),
    [
        ((20, 30), ["label", "mask"], "40 of 100 (label), 20 of 50 (mask)", "natural"),
        ((24, 6), ["mask"], "24 of 30 images", "natural"),
        ((24, 6), ["label", "mask"], "40 of 100 (label), 24 of 30 (mask)", "leave all out"),
        ((24, 6), ["label"], "40 of 100 images", "leave all out"),
        # masks of positive images alone: no budget begins with them
        ((24, 0), ["label"], "40 of 100 images", "natural"),
    ],
)
def test_what_holds_prevalence_where_some_masks_are_drawn(
    drawn: tuple[int, int], specificity: list[str], share: str, held_by: str
) -> None:
    """Natural budgets begin with the images that have masks, whose prevalence is their own."""
    facts = replace(FACTS, counts=drawn_in_part(*drawn))
    axes = {"axes__specificity": specificity, "axes__budget": [10, "all"]}

    def shares(**changes: object) -> list[str]:
        return [line for line in notes(facts, **axes | changes) if "prevalence" in line]

    [note] = shares()
    assert f"and all has {share}" in note
    remedies = {"natural": "use balance: natural", "leave all out": "leave all out of the axis"}
    assert [name for name, text in remedies.items() if text in note] == [held_by]
    assert shares(axes__budget=[10]) == []
    natural = shares(balance="natural")
    assert len(natural) == (held_by != "natural")
    assert all("draws from images with masks first, 24 of 30 abnormal" in n for n in natural)


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
    assert f"note: {note}" in as_text(plan, spec)
