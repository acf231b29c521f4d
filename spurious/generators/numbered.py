"""Sample ids of generated images: the split, and a running number within it."""

from __future__ import annotations

from typing import Any

from spurious.data.splits import SPLITS
from spurious.errors import DataError

_WIDTH = 7
"""Digits of the running number, so that ids sort as numbers."""


def make_id(split: str, number: int) -> str:
    """Return the id of an image."""
    return f"{split}-{number:0{_WIDTH}d}"


def list_ids(options: Any) -> list[str]:
    """Return all ids, ascending, of a generator whose options have `n_train` and so on."""
    return [
        make_id(split, number)
        for split in sorted(SPLITS)
        for number in range(getattr(options, f"n_{split}"))
    ]


def parse_id(options: Any, generator: str, sample_id: str) -> tuple[str, int]:
    """Return split and number of an id.

    Args:
        options: The generator's, with `n_train` and so on.
        generator: Its name, for the message.
        sample_id: As `list_ids` gives them.

    Raises:
        DataError: no such id.
    """
    split, _, digits = sample_id.partition("-")
    if split in SPLITS and digits.isdecimal():
        number = int(digits)
        if number < getattr(options, f"n_{split}") and sample_id == make_id(split, number):
            return split, number
    raise DataError(
        f"unknown sample id '{sample_id}' of {generator}; expected SPLIT-NUMBER as `index` gives "
        f"them, e.g. '{make_id('train', 0)}'"
    )
