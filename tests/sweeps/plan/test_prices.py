"""One count of what is bought: the price of a plan is that of a report, in every cell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tiny_sweeps import FILMS

from cluster.datasets.commit import commit_manifest
from cluster.datasets.image_counts import read_image_counts, write_image_counts
from cluster.datasets.keys import image_counts_key
from cluster.datasets.manifest_build import build_manifest
from cluster.datasets.shards import write_shards
from cluster.stores.folder import FolderStore
from spurious.config.methods import METHODS
from spurious.data.dataset import Dataset
from spurious.data.masks import PackedMasks
from spurious.data.records import Record
from spurious.scoring.annotations import count_annotations, image_facts
from spurious.scoring.cost import PARTS
from sweeps.plan.cell import cell_of
from sweeps.plan.facts import facts_of
from sweeps.plan.identity import canonical, resolve_config
from sweeps.plan.plan import DatasetFacts, Trial, make_plan
from sweeps.plan.prices import CellPrice, cell_price
from sweeps.report.trials import price_trials
from sweeps.results.counts import count_columns
from sweeps.spec.model import Spec, parse_spec

SIDE = 64
METHOD_AXIS = [
    *METHODS,
    {"name": "group-dro", "attribute": "ink"},
    {"name": "dfr", "balance": "classes"},
    {"name": "ssl", "filter_by_label": True},
]
SPECIFICITIES: list[Any] = ["label", "box", {"box": "image"}, "mask", {"r": 1}, {"r": 4}]


def records() -> list[Record]:
    """Images with none to four abnormalities, also on negative ones, in no order of splits."""
    rng = np.random.default_rng(7)
    image, mask = np.zeros((SIDE, SIDE, 1), np.uint8), np.zeros((SIDE, SIDE), np.bool_)
    return [
        Record(
            sample_id=f"{(37 * i) % 101:03d}",
            patient_id=str(i),
            split=("train", "train", "val", "train", "test")[i % 5],
            label=int(label := rng.random() < 0.4),
            image=image,
            mask=mask,
            abnormalities=int(rng.integers(1, 5) if label else rng.integers(0, 3)),
            attributes={"tube": bool(rng.random() < 0.5), "ink": bool(rng.random() < 0.5)},
        )
        for i in range(101)
    ]


class Staged:
    """The records as planning and training meet them: facts, and an opened dataset."""

    def __init__(self, folder: Path) -> None:
        self.store = FolderStore(folder)
        made = records()
        shards = write_shards(self.store, "films", made, ["tube", "ink"], compression="lz4")
        self.manifest = build_manifest("films", shards)
        commit_manifest(self.store, self.manifest)
        self.rows = [row for shard in shards for row in shard.records]
        write_image_counts(self.store, self.manifest, self.rows)
        self.facts = facts_of(self.manifest, read_image_counts(self.store, self.manifest))
        self.older = facts_of(self.manifest)
        ordered = sorted(made, key=lambda record: record.sample_id)
        self.dataset = Dataset(
            images=np.zeros((101, 1, 1, 1)),
            masks=PackedMasks.pack(np.zeros((101, 1, 1), np.bool_)),
            labels=np.array([record.label for record in ordered]),
            attributes=np.zeros((101, 2), np.int8),
            splits=np.array([record.split for record in ordered]),
            sample_ids=np.array([record.sample_id for record in ordered]),
            patient_ids=np.array([record.patient_id for record in ordered]),
            abnormalities=np.array([record.abnormalities for record in ordered]),
            attribute_names=self.manifest.attribute_names,
            directions=(1, 1),
            digest=self.manifest.digest,
        )


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> Staged:
    """Some films in a store."""
    return Staged(tmp_path_factory.mktemp("films"))


def specs() -> Iterator[Spec]:
    """Every method at every specificity, under each `rest`, `negatives`, balance and rule.

    Labels of the rest and a third class of pixels exclude each other.
    """
    kinds = (("unlabelled", "background"), ("label", "background"), ("unlabelled", "lesion"))
    for (rest, negatives), balance in product(kinds, ("equal", "natural")):
        keep = "best val.robust_auroc" if balance == "natural" else "auto"
        select = "best val.auroc" if negatives == "lesion" else "kept"
        methods = METHOD_AXIS if rest == "label" else METHOD_AXIS[:-1]
        overrides: Mapping[str, Any] = {
            **{"rest": rest, "negatives": negatives, "balance": balance, "train.keep": keep},
            **{"select.epoch": select, "axes.specificity": SPECIFICITIES, "axes.method": methods},
            **{"axes.budget": [12 + (balance == "natural"), 20, "all"], "axes.seed": [0, 1, 2]},
            "cost.axis": list(PARTS if rest == "label" else PARTS[:2]),
            "model.classifier": {"name": "four-block", "decoder": "unet"},  # for every method
        }
        yield parse_spec(FILMS, overrides=overrides)


def reported(spec: Spec, trials: list[Trial], dataset: Dataset) -> pd.DataFrame:
    """What a report says of the dollars of trials, from the columns that they store."""
    rows = []
    for trial in trials:
        config = canonical(resolve_config(trial.config, dataset.digest, 1))
        counts = count_annotations(image_facts(dataset), trial.config)
        row = {"trial_id": trial.id, "config": config, "keep_rule": trial.config.train.keep}
        rows.append({**row, "cell": cell_of(config), **count_columns(counts)})
    axis = spec.cost.axis
    return price_trials(pd.DataFrame(rows), spec.prices, spec.select_rule, axis, dataset.mask_of)


def price_of(spec: Spec, trial: Trial, facts: DatasetFacts) -> CellPrice:
    """What a plan says of a trial's cell."""
    price = cell_price(spec, trial.cell, facts)
    assert price is not None
    return price


def test_a_plan_and_a_report_agree_on_every_cell(staged: Staged) -> None:
    """To the cent, each seed's draw included; without counts per image the range holds them all."""
    seen, about = set(), 0
    for spec in specs():
        plan = make_plan(spec, staged.facts)
        priced = reported(spec, list(plan.trials), staged.dataset)
        assert list(priced["cell"]) == [trial.cell for trial in plan.trials]
        seen |= {(trial.cell.method.name, trial.cell.specificity) for trial in plan.trials}
        for index in range(0, len(plan.trials), 3):
            mine, trial = priced.iloc[index : index + 3], plan.trials[index]
            price = price_of(spec, trial, staged.facts)
            assert price.is_exact
            for column, value in {
                "dollars": price.dollars,
                "training_dollars": price.cost.training,
                "spurious_label_dollars": price.cost.spurious_labels,
                "validation_dollars": price.cost.validation,
            }.items():
                assert mine[column].mean() == pytest.approx(value, abs=1e-9), (trial.label, column)
            assert (price.low, price.high) == (mine["dollars"].min(), mine["dollars"].max())
            expected = price_of(spec, trial, staged.older)
            about += not expected.is_exact
            assert expected.low - 1e-9 <= price.low <= price.high <= expected.high + 1e-9
            assert expected.low - 1e-9 <= expected.dollars <= expected.high + 1e-9
    assert {name for name, _ in seen} == {*METHODS}
    assert len({specificity for _, specificity in seen}) == len(SPECIFICITIES)
    assert about


def test_counts_per_image_are_small_and_in_no_digest(staged: Staged) -> None:
    """Beside the manifest, replaced where damaged or of other content, and never needed."""
    store, manifest = staged.store, staged.manifest
    key = image_counts_key(manifest.name, manifest.digest)
    written = store.get(key)
    assert len(written) < 300
    assert set(store.list("datasets/")) > {key, manifest.key}
    for bad in (b"", written[:-9], written[:40] + b"!" + written[41:], b"\x1f\x8bno"):
        store.put(key, bad)
        assert read_image_counts(store, manifest) is None
        write_image_counts(store, manifest, reversed(staged.rows))
        assert store.get(key) == written
    store.delete(key)
    assert read_image_counts(store, manifest) is None
    write_image_counts(store, manifest, staged.rows)
    assert store.get(key) == written
