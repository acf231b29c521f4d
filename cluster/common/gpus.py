"""Counts the GPUs that this process may use, without a library of their maker."""

from __future__ import annotations

import os
import re
from pathlib import Path

_DEVICE = re.compile(r"nvidia[0-9]+")
_VISIBLE = "CUDA_VISIBLE_DEVICES"


def count_usable_gpus(root: Path = Path("/")) -> int:
    """Count the NVIDIA GPUs that this process may use.

    Args:
        root: Where `dev` is mounted.
    """
    there = sum(bool(_DEVICE.fullmatch(path.name)) for path in (root / "dev").glob("nvidia*"))
    visible = os.environ.get(_VISIBLE)
    if visible is None:
        return there
    named = [name.strip() for name in visible.split(",")]
    if "-1" in named:  # CUDA takes those before it
        named = named[: named.index("-1")]
    return min(there, len([name for name in named if name]))
