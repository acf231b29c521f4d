"""The splits of a dataset."""

from __future__ import annotations

from typing import Final

EVALUATION_SPLITS: Final = ("val", "test")
"""The splits that metrics are computed on; predictions of both are stored."""
SPLITS: Final = ("train", *EVALUATION_SPLITS)
