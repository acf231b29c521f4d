"""Seeds derived from (seed, purpose): configurations that share a seed share their draws."""

from __future__ import annotations

import hashlib

import numpy as np


def derive(*parts: int | str) -> int:
    """Return a 63-bit seed from the parts, independent of platform and library versions.

    Never called with a trial id, so that all methods of one seed see the same images in the same
    order.
    """
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(*parts: int | str) -> np.random.Generator:
    """Return a numpy generator (PCG64) seeded by `derive`."""
    return np.random.Generator(np.random.PCG64(derive(*parts)))
