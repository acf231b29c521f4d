"""Clusters within each class as guessed subclasses: how many there are, and who is in which.

Sohoni et al. 2020, "No subclass left behind: fine-grained robustness in coarse-grained
classification problems": the number of clusters is the one with the best silhouette.

Shape legend: n training and m validation images, D features, K clusters.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spurious.config.methods import George
from spurious.methods.features import Features
from spurious.methods.george.overclusters import refine
from spurious.methods.george.partitions import SMALLEST, Ids, Values, best_partition, score
from spurious.methods.george.reductions import reduce_dimensions

NOWHERE = -1
"""Cluster of a validation image whose class has no training image."""
_CLASSES = ("negatives", "positives")


@dataclass(frozen=True)
class Clusters:
    """Clusters of both classes, numbered on: K0 of the negatives, then K1 of the positives.

    Attributes:
        training: (n,) int64, 0 to K0 + K1 - 1; every cluster has a training image.
        validation: (m,) int64, by each image's true class; `NOWHERE` where it has no cluster.
        counts: (2,) int64, K0 and K1.
        silhouettes: (2,) float64, the scores of the classes' clusters on training images; NaN for
            a single cluster.
    """

    training: Ids
    validation: Ids
    counts: Ids
    silhouettes: Values


def cluster(
    training: Features,
    validation: Features,
    direction: NDArray[Any],
    options: George,
    random_state: int,
) -> Clusters:
    """Look for clusters in each class on its own.

    A class of fewer than `SMALLEST` training images stays one cluster, as `options.whole` does.

    Args:
        training: n annotated training images.
        validation: m validation images.
        direction: (D,) difference of the last layer's two rows.
        options: Reduction, clusterer and numbers of clusters.
        random_state: 0 to 2**32 - 1.
    """
    centre = None
    if options.centre_by == "all":
        centre = training.vectors.astype(np.float64).mean(axis=0)
    assigned = np.zeros(len(training.labels), dtype=np.int64)
    val_ids = np.full(len(validation.labels), NOWHERE)
    counts, scores = np.zeros(2, dtype=np.int64), np.full(2, math.nan)
    for label, name in enumerate(_CLASSES):
        train_rows, val_rows = training.labels == label, validation.labels == label
        size = int(train_rows.sum())
        if size == 0:
            continue
        first = counts[:label].sum()
        if size < SMALLEST or name == options.whole:
            assigned[train_rows], val_ids[val_rows], counts[label] = first, first, 1
            continue
        ids, ids_in_val, scores[label] = _of_class(
            training.only(train_rows),
            validation.only(val_rows),
            direction,
            options,
            random_state,
            centre,
        )
        assigned[train_rows], val_ids[val_rows] = first + ids, first + ids_in_val
        counts[label] = ids.max() + 1
    return Clusters(assigned, val_ids, counts, scores)


def _of_class(
    training: Features,
    validation: Features,
    direction: NDArray[Any],
    options: George,
    random_state: int,
    centre: Values | None,
) -> tuple[Ids, Ids, float]:
    """Clusters of one class's training and validation images, from 0, and their score."""
    points, val_points = reduce_dimensions(
        training.vectors, validation.vectors, direction, options, random_state, centre
    )
    partition = best_partition(points, options, random_state)
    ids, val_ids = partition.labels, partition(val_points)
    if options.overcluster:
        ids, val_ids = refine(
            points, val_points, training.losses, partition, options.clusterer, random_state
        )
    return ids, val_ids, score(points, ids)
