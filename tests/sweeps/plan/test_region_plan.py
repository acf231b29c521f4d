"""Datasets whose masks are of lungs, a heart or a circle: planned, priced and described."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from contract_values import READER_VALUES
from tiny_sweeps import FILMS

from cluster.datasets.image_counts import read_image_counts
from cluster.datasets.manifest import Manifest
from cluster.errors import ClusterError
from cluster.node_cache.open import open_dataset
from cluster.stores.folder import FolderStore
from spurious.config.datasets import READERS
from spurious.config.machine import Machine
from spurious.data.dataset import Dataset
from spurious.errors import ConfigError
from spurious.fit import _problem
from spurious.scoring.annotations import count_annotations, image_facts
from spurious.scoring.cost import cost
from sweeps.cli import main
from sweeps.plan.facts import facts_of
from sweeps.plan.identity import canonical, resolve_config
from sweeps.plan.notes import plan_notes
from sweeps.plan.plan import DatasetFacts, Plan, make_plan
from sweeps.plan.prices import cell_price
from sweeps.report.trials import price_trials
from sweeps.results.counts import count_columns
from sweeps.spec.model import Spec, parse_spec
from sweeps.staging.sources import open_reader
from sweeps.staging.stage import stage

KINDS: list[Any] = ["label", "box", "mask", {"r": 4}]


class Staged:
    """A release as its writer makes it, staged by its reader."""

    def __init__(self, folder: Path, reader: str, **options: Any) -> None:
        given = READER_VALUES[reader]
        self.release = folder / "release"
        given.write(self.release)
        self.store = FolderStore(folder / "store")
        chosen = READERS[reader](**{**given.options, **options})
        source = open_reader(reader, self.release, chosen)
        self.manifest: Manifest = stage(self.store, source, "films", in_process=True)
        self.facts = facts_of(self.manifest, read_image_counts(self.store, self.manifest))
        self.dataset: Dataset = open_dataset(self.store, self.manifest, folder / "cache").dataset


def plan_of(facts: DatasetFacts, methods: list[Any], **overrides: Any) -> tuple[Spec, Plan]:
    """All images at every specificity; one click is a dollar."""
    axes = {"axes.specificity": KINDS, "axes.budget": ["all"], "axes.seed": [0]}
    dollar = {"cost.wage_per_hour": 3600}
    spec = parse_spec(FILMS, overrides={**axes, **dollar, "axes.method": methods, **overrides})
    return spec, make_plan(spec, facts)


@pytest.fixture(scope="module")
def lungs(tmp_path_factory: pytest.TempPathFactory) -> Staged:
    """COVID-19 Radiography, whose masks are of the lungs of every film."""
    return Staged(tmp_path_factory.mktemp("covid"), "covid-radiography")


@pytest.fixture(scope="module")
def circles(tmp_path_factory: pytest.TempPathFactory) -> Staged:
    """Two sites, whose masks are a circle that nobody draws."""
    return Staged(tmp_path_factory.mktemp("sites"), "nih-padchest")


def every_kind(plan: Plan) -> Iterator[tuple[str, Any]]:
    """Trials by their specificity."""
    return ((str(trial.cell.specificity), trial) for trial in plan.trials)


def test_lungs_steer_on_both_labels_and_are_priced(lungs: Staged) -> None:
    """Plan, trial and report agree; lungs are two outlines beside the label."""
    assert (lungs.facts.mask_of, lungs.dataset.mask_of) == ("lungs", "lungs")
    spec, plan = plan_of(lungs.facts, ["actdiff", "erm"])
    n = lungs.manifest.splits["train"].n
    rows = []
    expected = {"label": n, "box": n * 5, "mask": n * 91, "r=4": n * 5}
    steered = dict(every_kind(plan))
    assert set(steered) == set(expected)
    for kind, trial in steered.items():
        price = cell_price(spec, trial.cell, lungs.facts)
        assert price is not None
        assert price.cost.training == pytest.approx(expected[kind])
        assert price.dollars == pytest.approx(price.cost.total)
        assert price.cost.validation == pytest.approx(lungs.manifest.splits["val"].n)
        counts = count_annotations(image_facts(lungs.dataset), trial.config)
        assert cost(trial.cell.specificity, counts, spec.prices) == price.cost
        assert trial.config.negatives == ("background" if kind == "label" else "lesion")
        text = canonical(resolve_config(trial.config, lungs.dataset.digest, 1))
        row = {"trial_id": trial.id, "config": text, "keep_rule": trial.config.train.keep}
        rows.append(row | count_columns(counts) | {"expected": expected[kind]})
    frame = pd.DataFrame(rows)
    reported = price_trials(frame, spec.prices, None, spec.cost.axis, "lungs")
    assert reported["training_dollars"].tolist() == pytest.approx(frame["expected"].tolist())
    problem = _problem(lungs.dataset, steered["mask"].config, Machine(), lambda digest: {})
    [batch] = problem.training.clean(64)
    regions = batch.regions
    assert regions is not None
    has_region = ~regions.flatten(1).all(dim=1).numpy()
    assert has_region.all()
    assert {0, 1} == set(problem.training.labels)


def test_lungs_are_nothing_to_segment(lungs: Staged) -> None:
    """Dropped by the plan with the reason, and refused by a fit."""
    _, plan = plan_of(lungs.facts, ["erm", "spl", "actdiff"])
    reasons = {(cell.key[0], cell.method.name): reason for cell, reason in plan.skipped}
    for kind in ("box", "mask", "r=4"):
        for method in ("erm", "spl"):
            assert reasons[kind, method] == (
                f"masks are of the lungs, not of the abnormality, which {method} would learn to "
                "segment; use a method that steers a classifier"
            )
    assert all((kind, "actdiff") not in reasons for kind in ("box", "mask", "r=4"))
    abnormal = replace(lungs.facts, mask_of="abnormality")
    _, before = plan_of(abnormal, ["erm"])
    [trial] = [trial for kind, trial in every_kind(before) if kind == "mask"]
    with pytest.raises(ConfigError, match=r"are of the lungs, .* erm would learn to segment"):
        _problem(lungs.dataset, trial.config, Machine(), lambda digest: {})


def test_trials_whose_numbers_stay_keep_their_ids(lungs: Staged) -> None:
    """Labels read no mask; what a spec said of lesions of negative films it need not say now."""
    methods = ["erm", "actdiff"]
    abnormal = replace(lungs.facts, mask_of="abnormality")

    def ids(facts: DatasetFacts, **overrides: Any) -> dict[tuple[str, str], str]:
        _, plan = plan_of(facts, methods, **overrides)
        return {(kind, trial.cell.method.name): trial.id for kind, trial in every_kind(plan)}

    now, before = ids(lungs.facts), ids(abnormal)
    lesions = ids(abnormal, negatives="lesion")
    assert now["label", "erm"] == before["label", "erm"]
    assert now["mask", "actdiff"] == lesions["mask", "actdiff"] != before["mask", "actdiff"]
    assert now == ids(lungs.facts, negatives="lesion")


def test_notes_say_what_masks_are_of(lungs: Staged, circles: Staged) -> None:
    """Where a cell reads them; and no note takes lungs for abnormalities without a region."""
    _, plan = plan_of(lungs.facts, ["actdiff"])
    [note] = [note for note in plan_notes(plan) if note.startswith("masks: of")]
    assert note == (
        "masks: of the lungs, not of the abnormality, on images of either label, priced by outline "
        "(cost.clicks.region), 2 an image beside its label; methods that steer use them on both"
    )
    _, plan = plan_of(circles.facts, ["actdiff"])
    assert any("of the circle" in note and "nobody draws" in note for note in plan_notes(plan))
    _, plan = plan_of(lungs.facts, ["erm"], **{"axes.specificity": ["label"]})
    assert not [note for note in plan_notes(plan) if note.startswith("masks: of")]


def test_a_circle_costs_labels(circles: Staged) -> None:
    """At every specificity."""
    spec, plan = plan_of(circles.facts, ["gradmask"], **{"axes.specificity": ["box", "mask"]})
    prices = [cell_price(spec, cell, circles.facts) for cell in plan.cells]
    n = circles.manifest.splits["train"].n
    assert [price.cost.training for price in prices if price is not None] == [n, n]


def test_hearts_and_boxes_of_a_finding(tmp_path: Path) -> None:
    """A heart is one outline; boxes of the finding among those of hearts are dropped."""
    heart = Staged(tmp_path / "heart", "nih-chexmask", region="heart")
    spec, plan = plan_of(heart.facts, ["gradmask"], **{"axes.specificity": ["mask"]})
    [cell] = plan.cells
    price = cell_price(spec, cell, heart.facts)
    counts = heart.facts.counts
    assert price is not None
    assert counts is not None
    drawn = sum(counts["train"][f"masks_y{label}"] for label in (0, 1))
    assert price.cost.training == pytest.approx(46 * drawn)
    boxes = {**counts["train"], "own_boxes": 3}
    mixed = replace(heart.facts, counts={**counts, "train": boxes})
    _, plan = plan_of(mixed, ["gradmask"], **{"axes.specificity": ["box", "mask"]})
    [(dropped, reason)] = plan.skipped
    assert dropped.specificity.kind == "box"
    assert reason.startswith(
        "boxes are of the abnormality on 3 training images and of the heart on"
    )


def test_a_team_s_folder_says_what_its_masks_are_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By an option; the same images with another meaning need another name, as is said."""
    given = READER_VALUES["folder"]
    given.write(tmp_path / "own")
    store = FolderStore(tmp_path / "store")

    def stage_as(name: str, mask_of: str) -> Manifest:
        options = READERS["folder"](**{**given.options, "mask_of": mask_of})
        source = open_reader("folder", tmp_path / "own", options)
        return stage(store, source, name, in_process=True)

    first = stage_as("own", "lungs")
    assert first.mask_of == "lungs"
    again = stage_as("own", "lungs")
    assert again == first
    with pytest.raises(ClusterError, match=r"masks of the lungs, now of the abnormality.*another"):
        stage_as("own", "abnormality")
    other = stage_as("other", "abnormality")
    assert (other.mask_of, other.digest) == ("abnormality", first.digest)
    assert "mask_of" not in other.provenance
    for name, expected in (("own", "lungs"), ("other", "abnormality")):
        main(["data", "show", name, "--store", store.url, "--json"])
        assert json.loads(capsys.readouterr().out)["mask_of"] == expected
        main(["data", "show", name, "--store", store.url])
        line = "masks are of the lungs, not of the abnormality"
        assert (line in capsys.readouterr().out) == (name == "own")
