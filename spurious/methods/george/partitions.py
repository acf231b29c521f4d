"""Partitions of points into clusters, and the silhouette that chooses how many.

Shape legend: n points, m further points, d dimensions, K clusters.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.metrics import silhouette_samples
from sklearn.mixture import GaussianMixture

from spurious.config.methods import George
from spurious.errors import NumericalError
from spurious.methods.george.reductions import Points

Ids = NDArray[np.int64]
Values = NDArray[np.float64]

SMALLEST = 3
"""Fewest points among which clusters are looked for: two of them and a silhouette need three."""
_STARTS = 3


def _mixture(points: Points, count: int, random_state: int) -> Callable[[Points], Any]:
    model = GaussianMixture(count, n_init=_STARTS, random_state=random_state)
    try:
        return model.fit(points).predict_proba
    except ValueError as error:  # how the library tells of a singular covariance
        raise NumericalError(
            f"a mixture of {count} Gaussians does not fit {len(points)} points of "
            f"{points.shape[1]} dimensions ({error}): use clusterer: kmeans, or fewer clusters or "
            "components"
        ) from error


def _means(points: Points, count: int, random_state: int) -> Callable[[Points], Any]:
    model = KMeans(count, n_init=_STARTS, random_state=random_state).fit(points)
    return lambda new: -model.transform(new)


_FITTED = {"gmm": _mixture, "kmeans": _means}


class Partition:
    """Clusters fitted to points.

    Args:
        points: (n, d), n at least 2.
        count: Clusters, at most n; one that ends up without any of the points does not count.
        clusterer: `gmm` (full covariance) or `kmeans`, the best of three starts.
        random_state: 0 to 2**32 - 1.

    Attributes:
        labels: (n,) int64, 0 to K - 1, the clusters of the points.
    """

    def __init__(self, points: Points, count: int, clusterer: str, random_state: int) -> None:
        self._belonging = _FITTED[clusterer](points, count, random_state)
        nearest = self._belonging(points).argmax(axis=1)
        self._present, self.labels = np.unique(nearest, return_inverse=True)

    def __len__(self) -> int:
        return len(self._present)

    def __call__(self, points: Points) -> Ids:
        """(m,) int64: the clusters of further points, (m, d); m may be 0."""
        if len(points) == 0:  # which the libraries refuse
            return np.zeros(0, dtype=np.int64)
        assigned: Ids = self._belonging(points)[:, self._present].argmax(axis=1)
        return assigned


def silhouettes(points: Points, labels: Ids) -> Values:
    """Rousseeuw's silhouette (b - a) / max(a, b) of each point, (n,) in [-1, 1].

    0 for the only point of its cluster, and everywhere where there is a single cluster.
    """
    if not 1 < len(np.unique(labels)) < len(labels):
        return np.zeros(len(labels))
    return np.asarray(silhouette_samples(points, labels), dtype=np.float64)


def score(points: Points, labels: Ids) -> float:
    """The mean over clusters of a cluster's mean silhouette, so that small ones count as much.

    NaN for a single cluster.
    """
    clusters = np.unique(labels)
    if len(clusters) < 2:
        return math.nan
    widths = silhouettes(points, labels)
    return float(np.mean([widths[labels == cluster].mean() for cluster in clusters]))


def best_partition(points: Points, options: George, random_state: int) -> Partition:
    """The partition into `options.clusters`, or that of the best score; of equals the finer one.

    Args:
        points: (n, d), n at least `SMALLEST`; no more than n - 1 clusters are tried, and a search
            gives a single cluster only where all points are the same.
        options: Clusterer and numbers of clusters.
        random_state: 0 to 2**32 - 1.
    """

    def into(count: int) -> Partition:
        return Partition(points, count, options.clusterer, random_state)

    most = len(points) - 1
    if options.clusters is not None:
        return into(min(options.clusters, most))
    counts = range(min(options.max_clusters, most), 1, -1)
    return max(
        map(into, counts), key=lambda partition: _value(points, partition)
    )  # the first of equals


def _value(points: Points, partition: Partition) -> float:
    return score(points, partition.labels) if len(partition) > 1 else -1.0
