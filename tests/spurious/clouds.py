"""Points in clouds, for the tests of clusters."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spurious.methods.features import Features

Values = NDArray[np.float64]
Ids = NDArray[np.int64]


def blobs(sizes: list[int], seed: int = 0, apart: float = 20.0) -> tuple[Values, Ids]:
    """Round clouds in the plane, `apart` standard deviations from each other, and who is where."""
    rng = np.random.default_rng(seed)
    of = np.repeat(np.arange(len(sizes)), sizes)
    angles = 2 * np.pi * of / len(sizes)
    centres = apart * len(sizes) / 4 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return centres + rng.normal(size=(len(of), 2)), of


def seen(vectors: Values, labels: Ids, losses: Values | None = None) -> Features:
    """Images as a model would see them."""
    if losses is None:
        losses = np.zeros(len(labels))
    return Features(vectors.astype(np.float32), labels, losses)


def same_partition(a: Ids, b: Ids) -> bool:
    """Whether two labellings tell the same points apart."""
    return len(set(zip(a.tolist(), b.tolist(), strict=True))) == len(set(a)) == len(set(b))
