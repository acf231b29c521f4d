"""What a plan says of a dataset on which somebody drew on some images only."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_sweeps import FILMS

from cluster.datasets.commit import commit_manifest
from cluster.datasets.image_counts import read_image_counts, write_image_counts
from cluster.datasets.manifest_build import build_manifest
from cluster.datasets.shards import write_shards
from cluster.node_cache.open import open_dataset
from cluster.stores.folder import FolderStore
from spurious.data.dataset import Dataset
from spurious.data.records import Record
from spurious.scoring.annotations import count_annotations, image_facts
from sweeps.errors import PlanError
from sweeps.plan.choices import refuse_impossible_choices
from sweeps.plan.facts import facts_of
from sweeps.plan.notes import plan_notes
from sweeps.plan.plan import DatasetFacts, Plan, make_plan
from sweeps.spec.model import parse_spec

SIDE = 64
BOX = np.array([[4, 4, 20, 30]], np.int32)


def make_record(i: int, **changes: Any) -> Record:
    """One of 120: half positive, in turn for training, training, validation and test."""
    label = i // 4 % 2
    mask = np.zeros((SIDE, SIDE), bool)
    mask[4:30, 4:20] = label == 1
    record = Record(
        sample_id=f"film-{i:03d}",
        patient_id=str(i),
        split=("train", "train", "val", "test")[i % 4],
        label=label,
        image=np.full((SIDE, SIDE, 1), i, np.uint8),
        mask=mask,
        abnormalities=label,
        attributes={"tube": i % 3 == 0, "ink": i % 5 == 0},
    )
    return replace(record, **changes)


UNDRAWN: dict[str, Any] = {"mask": None, "abnormalities": 0}


def stage(folder: Path, records: list[Record]) -> tuple[DatasetFacts, Dataset]:
    """Facts as a plan reads them, and the dataset as a trial opens it."""
    store = FolderStore(folder / "store")
    shards = write_shards(store, "films", records, ["tube", "ink"], partial=True)
    manifest = build_manifest("films", shards, partial=True)
    commit_manifest(store, manifest)
    write_image_counts(store, manifest, (row for shard in shards for row in shard.records))
    facts = facts_of(manifest, read_image_counts(store, manifest))
    return facts, open_dataset(store, manifest, folder / "cache").dataset


def plan(facts: DatasetFacts, **overrides: Any) -> Plan:
    """The films' plan with other axes."""
    named = {key.replace("__", "."): value for key, value in overrides.items()}
    return make_plan(parse_spec(FILMS, overrides=named), facts)


def test_masks_for_some(tmp_path: Path) -> None:
    """How many there are; more is refused with the maximum; plan and trial count alike."""
    records = [make_record(i, **(UNDRAWN if i % 8 in (3, 5, 6) else {})) for i in range(120)]
    facts, dataset = stage(tmp_path, records)
    specificities = ["label", "box", "mask", {"r": 4}]
    whole = plan(facts, axes__specificity=specificities, axes__budget=[20, "all"])
    (masks,) = [note for note in plan_notes(whole) if "drawn on" in note]  # boxes follow
    # of training images every fourth lacks its mask, all of them positive
    assert masks.startswith("masks: drawn on 45 of 60 training images (15 positive, 30 negative)")
    assert "none of 15 positive validation images has any" in masks
    assert not any("no region drawn" in note for note in plan_notes(whole))
    for trial in whole.trials:
        counts = count_annotations(facts.images, trial.config)  # type: ignore[arg-type]
        assert counts == count_annotations(image_facts(dataset), trial.config)
        images = {"label": 60}.get(trial.config.specificity.kind, 45)
        assert counts.train_images == (trial.config.budget.images or images)
    plan(facts, axes__budget=[30])
    with pytest.raises(PlanError, match=r"with masks \(15 positive, 30 neg.*expected at most 30$"):
        plan(facts, axes__budget=[32])
    plan(facts, axes__budget=[60], axes__specificity=["label"])
    refuse_impossible_choices(whole)
    assert {trial.config.train.keep for trial in whole.trials} == {"best val.auroc"}
    by_dice = plan(facts, axes__specificity=["mask"], train__keep="best val.dice")
    with pytest.raises(PlanError, match="no mask is drawn on the validation split"):
        refuse_impossible_choices(by_dice)


def test_boxes_alone(tmp_path: Path) -> None:
    """A set of boxes needs no masks: box cells run, mask cells are refused at once."""
    empty = np.zeros((0, 4), np.int32)
    records = [make_record(i, mask=None, boxes=BOX if i // 4 % 2 else empty) for i in range(120)]
    facts, dataset = stage(tmp_path, records)
    boxes = plan(facts, axes__specificity=["label", "box"], axes__budget=[40])
    (note,) = [note for note in plan_notes(boxes) if "drawn on" in note]
    assert note.startswith("boxes: drawn on 60 of 60 training images (30 positive, 30 negative)")
    for trial in boxes.trials:
        counts = count_annotations(image_facts(dataset), trial.config)
        assert (counts.train_abnormalities, counts.train_negatives) == (20, 20)
    with pytest.raises(PlanError, match=r"with masks \(0 positive.*at most 0; nobody drew any"):
        plan(facts, axes__budget=[20])


def test_positives_alone_name_the_option(tmp_path: Path) -> None:
    """Many teams draw on abnormal images only, since there is nothing on the others."""
    records = [make_record(i, **({} if i // 4 % 2 else UNDRAWN)) for i in range(120)]
    facts, _ = stage(tmp_path, records)
    with pytest.raises(PlanError, match=r"at most 0; where somebody .* --set normal_images=empty"):
        plan(facts, axes__budget=["all"])
