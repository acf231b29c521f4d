"""How long a node's tasks may go on after its notice; imports no Ray."""

from __future__ import annotations

import math
import os

DRAIN_VARIABLE = "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"
_RAYS_DRAIN_S = 30.0


def drain_seconds() -> float:
    """Return how long this node's tasks may go on after its SIGTERM, as Ray 2.60 reads it."""
    try:
        seconds = float(os.environ.get(DRAIN_VARIABLE, ""))
    except ValueError:
        return _RAYS_DRAIN_S
    return seconds if math.isfinite(seconds) else _RAYS_DRAIN_S
