"""Features of one class in few dimensions, where clusters are looked for.

Sohoni et al. 2020, "No subclass left behind: fine-grained robustness in coarse-grained
classification problems": vectors of length 1, then UMAP.

Shape legend: n training images and m validation images of the class, D features, d dimensions.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spurious.config.methods import George

Points = NDArray[np.float64]
Pair = tuple[Points, Points]

EPSILON = 1e-6
"""Shortest length that a vector is divided by; an all-zero one stays zero."""


def unit(vectors: Points) -> Points:
    """Vectors scaled to length 1; (n, D)."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.maximum(lengths, EPSILON)


def reduce_dimensions(
    training: NDArray[Any],
    validation: NDArray[Any],
    direction: NDArray[Any],
    options: George,
    random_state: int,
    centre: NDArray[Any] | None = None,
) -> Pair:
    """Training images' points, and validation images' by what was fitted on the former.

    Args:
        training: (n, D) features of one class, n at least 3.
        validation: (m, D) features of the same class, m at least 0.
        direction: (D,) difference of the last layer's two rows, for `hardness`.
        options: What is done. A small class is embedded with n - 1 neighbours at most, and gets no
            more dimensions of `pca` than it has images or features.
        random_state: 0 to 2**32 - 1; decides every random draw.
        centre: (D,) what `centre` subtracts; None is the mean of `training`.

    Returns:
        (n, d) and (m, d) float64.
    """
    pair = training.astype(np.float64), validation.astype(np.float64)
    if options.centre:
        mean = pair[0].mean(axis=0) if centre is None else centre
        pair = pair[0] - mean, pair[1] - mean
    if options.normalise:
        pair = unit(pair[0]), unit(pair[1])
    if options.reduce == "hardness":
        along = unit(direction.astype(np.float64)[None]).T
        return pair[0] @ along, pair[1] @ along
    if options.reduce == "none":
        return pair
    model = (_umap if options.reduce == "umap" else _pca)(training.shape, options, random_state)
    points = model.fit_transform(pair[0])
    # neither library takes an empty array
    val_points = model.transform(pair[1]) if len(validation) else np.zeros((0, points.shape[1]))
    return points.astype(np.float64), val_points.astype(np.float64)


def _pca(shape: tuple[int, ...], options: George, random_state: int) -> Any:
    from sklearn.decomposition import PCA

    return PCA(n_components=min(options.components, *shape), random_state=random_state)


def _umap(shape: tuple[int, ...], options: George, random_state: int) -> Any:
    from umap import UMAP  # slow to import

    images = shape[0]
    return UMAP(
        n_components=options.components,
        n_neighbors=min(options.neighbours, images - 1),
        min_dist=0.0,
        # the eigenvectors that it begins with otherwise need more images than dimensions
        init="spectral" if images > options.components + 1 else "random",
        random_state=random_state,
        transform_seed=random_state,
        n_jobs=1,  # several threads give other numbers each time
    )
