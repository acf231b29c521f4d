"""Over-clustering: each cluster is split into five, and sub-clusters worth a group are kept.

Sohoni et al. 2020, "No subclass left behind", and their published code, whose numbers these are.

Shape legend: n training and m validation points of one class, d dimensions, S sub-clusters.
"""

from __future__ import annotations

import numpy as np

from spurious.methods.george.partitions import Ids, Partition, Values, silhouettes
from spurious.methods.george.reductions import Points

FACTOR = 5
"""Sub-clusters of a cluster: cluster c is split into those numbered from FACTOR c on."""
FEWEST = 25
"""Fewest training images, and validation images, of a sub-cluster that is kept."""
SHARE = 0.005
"""Smallest share of the class's training images that a kept sub-cluster has."""


def refine(
    points: Points,
    val_points: Points,
    losses: Values,
    partition: Partition,
    clusterer: str,
    random_state: int,
) -> tuple[Ids, Ids]:
    """Return a class's clusters after over-clustering.

    Args:
        points: (n, d) of training images.
        val_points: (m, d) of validation images.
        losses: (n,) of training images.
        partition: The clusters of `points`. One of fewer than `FACTOR` points is not split.
        clusterer: As that of `partition`.
        random_state: 0 to 2**32 - 1.

    Returns:
        (n,) and (m,) int64 from 0, in the order of clusters: what is left of a cluster, then its
        kept sub-clusters. A cluster of which nothing is left has no id.
    """
    parents, val_ids = partition.labels, partition(val_points)
    subs, other_subs = FACTOR * parents, FACTOR * val_ids
    for parent in range(len(partition)):
        train_rows, val_rows = parents == parent, val_ids == parent
        if train_rows.sum() < FACTOR:
            continue
        split = Partition(points[train_rows], FACTOR, clusterer, random_state)
        subs[train_rows] += split.labels
        other_subs[val_rows] += split(val_points[val_rows])
    before, after = silhouettes(points, parents), silhouettes(points, subs)
    kept = worth_keeping(subs, other_subs, before, after, losses)
    return merge(subs, other_subs, kept)


def worth_keeping(subs: Ids, other_subs: Ids, before: Values, after: Values, losses: Values) -> Ids:
    """Return the sub-clusters that are compact, hard and large enough to be groups, ascending.

    Args:
        subs: (n,) sub-clusters of the training images of a class.
        other_subs: (m,) those of its validation images.
        before: (n,) silhouettes among the clusters.
        after: (n,) silhouettes among the sub-clusters.
        losses: (n,).

    Returns:
        Those whose mean silhouette rises, and to more than 0; whose mean loss is at least the
        cluster's; that have `SHARE` of the class and at least `FEWEST` of its training images,
        and as many validation images.
    """
    fewest = max(SHARE * len(subs), FEWEST)
    kept = []
    for sub in np.unique(subs):
        members, family = subs == sub, subs // FACTOR == sub // FACTOR
        compact = after[members].mean() > max(before[members].mean(), 0.0)
        hard = losses[members].mean() >= losses[family].mean()
        large = members.sum() >= fewest and (other_subs == sub).sum() >= FEWEST
        if compact and hard and large:
            kept.append(sub)
    return np.array(kept, dtype=np.int64)


def merge(subs: Ids, other_subs: Ids, kept: Ids) -> tuple[Ids, Ids]:
    """Give sub-clusters that are not kept back to their clusters, and number what there is.

    Every sub-cluster of a validation image is one of some training image, so no id is missing.
    """

    def places(of: Ids) -> Ids:
        rank = np.where(np.isin(of, kept), 1 + of % FACTOR, 0)
        return of // FACTOR * (FACTOR + 1) + rank

    present, ids = np.unique(places(subs), return_inverse=True)
    return ids.astype(np.int64), np.searchsorted(present, places(other_subs))
