"""The splits of a dataset."""

from __future__ import annotations

from typing import Final

VALIDATION: Final = "val"
TEST: Final = "test"
EVALUATION_SPLITS: Final = (VALIDATION, TEST)
"""The splits that metrics are computed on; predictions of both are stored."""
SPLITS: Final = ("train", *EVALUATION_SPLITS)
