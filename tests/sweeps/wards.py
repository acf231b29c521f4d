"""A staged dataset of small films with sex, age, site and the like, and a sweep on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
from tiny_sweeps import run_missing

from cluster.datasets.commit import commit_manifest
from cluster.datasets.image_counts import write_image_counts
from cluster.datasets.image_table import write_image_table
from cluster.datasets.manifest import Manifest
from cluster.datasets.manifest_build import build_manifest
from cluster.datasets.shards import write_shards
from cluster.stores.folder import FolderStore
from spurious.data.records import Record
from sweeps.plan.plan import Plan
from sweeps.report.build import ReportFiles
from sweeps.report.tables import ReportInput
from sweeps.spec.model import Spec, parse_spec

SIDE = 16
SIZES = {"train": 120, "val": 60, "test": 240}
TEXT = """
name: wards
dataset: wards
axes: {specificity: [label, mask], budget: [80], method: [erm], seed: [0, 1, 2]}
model: {classifier: {name: small-cnn, channels: 4, levels: 1},
        segmenter: {name: small-unet, channels: 8, levels: 2}}
train: {epochs: 40, batch_size: 10, learning_rate: 0.01}
examples: 2
explanations: true
"""
"""Six trials of some milliseconds each."""


@dataclass(frozen=True)
class Wards:
    """The sweep with its store, what a report reads of it, and the report."""

    store: FolderStore
    plan: Plan
    source: ReportInput
    files: ReportFiles


def records() -> list[Record]:
    """Films with a spot where abnormal and a clip that goes with it in training.

    Spots of men are fainter. Site C has six test images, all are of one scanner, accessions are of
    one image each, and every eighth age is not known.
    """
    rng = np.random.default_rng(7)
    made = []
    for split, images in SIZES.items():
        for i in range(images):
            label, sex = i % 2, "FM"[i // 2 % 2]
            agrees = rng.random() < (0.5 if split == "test" else 0.85)
            clip = bool(label) == agrees
            image = rng.normal(100, 20, (SIDE, SIDE, 1))
            mask, marked = np.zeros((SIDE, SIDE), bool), np.zeros((SIDE, SIDE), bool)
            mask[3:8, 3:8], marked[11:15, 11:15] = label == 1, clip
            image[mask] += 60 if sex == "F" else 22
            image[marked] = 20
            site = "C" if split == "test" and i < 6 else "AB"[i % 3 % 2]
            covariates: dict[str, float | str | None] = {
                "sex": sex,
                "age": None if i % 8 == 0 else float(30 + i % 50),
                "site": site,
                "scanner": "one",
                "accession": f"{split}-{i}",
            }
            made.append(
                Record(
                    sample_id=f"{split}-{i:03d}",
                    patient_id=f"{split}-p{i // 2}",
                    split=split,  # type: ignore[arg-type]
                    label=label,
                    image=np.clip(image, 0, 255).astype(np.uint8),
                    mask=mask,
                    abnormalities=label,
                    attributes={"clip": clip},
                    covariates=covariates,
                    features={"clip": marked} if clip else {},
                )
            )
    return made


def stage_wards(store: FolderStore, *, known: bool = True) -> Manifest:
    """Stage them as `sweeps stage` does, in several shards; with or without covariates."""
    made = records() if known else [replace(record, covariates={}) for record in records()]
    shards = write_shards(store, "wards", made, ["clip"], shard_bytes=100 * SIDE * SIDE)
    manifest = build_manifest("wards", shards, provenance={"format": "test"})
    commit_manifest(store, manifest)
    rows = [row for shard in shards for row in shard.records]
    write_image_counts(store, manifest, rows)
    write_image_table(store, manifest, rows)
    return manifest


def run_wards(
    store: FolderStore,
    folder: Path,
    *,
    known: bool = True,
    overrides: Mapping[str, object] = MappingProxyType({}),
) -> tuple[Spec, Plan]:
    """Stage, and run the sweep in this process."""
    stage_wards(store, known=known)
    spec = parse_spec(TEXT, overrides=dict(overrides))
    return spec, run_missing(store, spec, folder)
