"""The folder of a user: data and keys of the embedded server, caches; imports no boto3."""

from __future__ import annotations

import os
from pathlib import Path

from cluster.errors import ServerError


def default_home() -> Path:
    """$SWEEPS_HOME, else spurious-sweeps under $XDG_DATA_HOME, else under ~/.local/share."""
    if chosen := os.environ.get("SWEEPS_HOME"):
        return Path(chosen)
    if data := os.environ.get("XDG_DATA_HOME"):
        return Path(data) / "spurious-sweeps"
    try:
        return Path.home() / ".local" / "share" / "spurious-sweeps"
    except RuntimeError as error:
        raise ServerError(f"no place for the embedded server: {error} Set SWEEPS_HOME") from error
