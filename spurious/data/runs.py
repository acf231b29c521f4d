"""Binary masks as lengths of runs: small where a mask is a few strokes, and readable anywhere."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def encode_runs(mask: NDArray[np.bool_]) -> list[int]:
    """Return lengths of runs in row-major order, beginning with one of False, which may be 0.

    Args:
        mask: (H, W) bool.
    """
    flat = np.concatenate([[False], mask.ravel()])
    changes = np.flatnonzero(flat[1:] != flat[:-1])
    lengths: list[int] = np.diff([0, *changes.tolist(), mask.size]).tolist()
    return lengths


def decode_runs(lengths: Sequence[int], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Return the (H, W) bool mask of what `encode_runs` gave.

    Raises:
        ValueError: the lengths are not of a mask of this shape.
    """
    values = np.asarray(lengths, np.int64)
    if values.sum() != shape[0] * shape[1] or (values < 0).any():
        raise ValueError(f"runs of {values.sum()} pixels; expected {shape[0]} x {shape[1]}")
    return np.repeat(np.arange(len(values)) % 2 == 1, values).reshape(shape)
