"""What each specificity would teach a model on a staged dataset: variance and area of targets.

Shape legend: H height, W width, C channels.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cluster.datasets.keys import shard_key
from cluster.datasets.manifest import Manifest
from cluster.datasets.shard_reader import read_shard
from cluster.stores.base import Store
from spurious.config.options import Specificity
from spurious.data.dataset import Dataset
from spurious.data.drawn import carries
from spurious.data.inputs import PackedTargets
from spurious.scoring.measures import empirical_variances

SPECIFICITIES: Final = (
    Specificity("label"),
    Specificity("r", r=4),
    Specificity("box"),
    Specificity("mask"),
)
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class TargetFacts:
    """Targets of one specificity over the positive training images that carry it.

    Attributes:
        specificity: As a sweep names it.
        images: Positive training images that carry it.
        variance: Variance measure (definition 1 of Saab et al. 2022): of the standardised pixels
            that the targets call abnormal; 1 is that of all pixels; NaN without a target.
        area: Mean share of the image that a target covers; NaN likewise.
        times_mask: Median over images that have both of this target's area in mask areas.
    """

    specificity: str
    images: int
    variance: float
    area: float
    times_mask: float


def measure_targets(
    store: Store, manifest: Manifest, progress: Progress = lambda done, total: None
) -> list[TargetFacts]:
    """Read every shard once and measure the targets of each specificity.

    Raises:
        Corrupt, NotFound: a shard is damaged or missing.
        Denied, Unavailable: from the store.
    """
    areas: list[list[float]] = [[] for _ in SPECIFICITIES]
    ratios: list[list[float]] = [[] for _ in SPECIFICITIES]

    def each() -> Iterator[tuple[NDArray[Any], Sequence[NDArray[np.bool_] | None]]]:
        for image, targets in _iterate_training(store, manifest, progress):
            mask = targets[-1]
            for kind, target in enumerate(targets):
                if target is None:
                    continue
                areas[kind].append(float(target.mean()))
                if mask is not None and mask.any():
                    ratios[kind].append(float(target.sum() / mask.sum()))
            yield image, targets

    variances = empirical_variances(each(), len(SPECIFICITIES))
    return [
        TargetFacts(
            str(specificity),
            len(areas[kind]),
            variances[kind],
            float(np.mean(areas[kind])) if areas[kind] else math.nan,
            float(np.median(ratios[kind])) if ratios[kind] else math.nan,
        )
        for kind, specificity in enumerate(SPECIFICITIES)
    ]


def iterate_shards(
    store: Store, manifest: Manifest, progress: Progress = lambda done, total: None
) -> Iterator[Dataset]:
    """Download, verify and decode one shard after the other; yields a few rows at a time."""
    done = 0
    with tempfile.TemporaryDirectory(prefix="shards-") as folder:
        path = Path(folder) / "shard.parquet"
        for entry in manifest.shards:
            store.download(shard_key(manifest.name, entry.sha256), path)
            for rows in read_shard(path, manifest, entry):
                yield rows
                done += len(rows.labels)
                progress(done, manifest.rows)
            path.unlink()


def _iterate_training(
    store: Store, manifest: Manifest, progress: Progress
) -> Iterator[tuple[NDArray[Any], Sequence[NDArray[np.bool_] | None]]]:
    """Yield every training image with its targets, None where it is negative or carries none."""
    for rows in iterate_shards(store, manifest, progress):
        train = rows.rows("train")
        positive = rows.labels[train] == 1
        drawn = rows.drawn_on(train)
        usable = [positive & carries(drawn, each.kind) for each in SPECIFICITIES]
        targets = [None, *(_targets(rows, train, each) for each in SPECIFICITIES[1:])]
        whole = np.ones(manifest.image_shape[:2], bool)
        for position, row in enumerate(train.tolist()):
            yield (
                np.asarray(rows.images[row]),
                [
                    None
                    if not usable[kind][position]
                    else whole
                    if of is None
                    else of[np.array([position])][0]
                    for kind, of in enumerate(targets)
                ],
            )


def _targets(rows: Dataset, train: NDArray[np.int64], specificity: Specificity) -> PackedTargets:
    return PackedTargets(
        rows.masks, train, specificity, (rows.labels[train] == 1).astype(np.int64), rows.boxes
    )
