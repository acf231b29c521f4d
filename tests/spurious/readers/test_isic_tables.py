"""The tables of Bissoto et al. 2020 as released."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from spurious.generators.skin.skin_phantom import DRAWN
from spurious.readers.isic.isic_files import read_traps
from spurious.readers.issues import ReaderIssues

RELEASED = Path(__file__).parents[4] / "shared" / "data" / "isic"
"""The real tables where the checkout has them beside it; no images."""


@pytest.mark.skipif(not RELEASED.is_dir(), reason="../shared with the released tables is absent")
@pytest.mark.parametrize(("trap", "malignant"), [(1, 67), (2, 51), (3, 66), (4, 50), (5, 59)])
def test_the_released_tables_are_read(trap: int, malignant: int) -> None:
    """All five: 1,563 images are left of train's 1,822 without the 259 of val; 772 in test."""
    problems = ReaderIssues()
    found = read_traps(RELEASED, trap, problems)
    assert problems.shown == []
    of = {split: [row for row in found.values() if row.split == split] for split in SPLIT_SIZES}
    assert {split: len(held) for split, held in of.items()} == SPLIT_SIZES
    positives = {split: sum(row.label for row in held) for split, held in of.items()}
    assert positives == {"train": 365 - malignant, "val": malignant, "test": 154}


SPLIT_SIZES = {"train": 1563, "val": 259, "test": 772}
RATES = {  # malignant and benign, of train with val, and of test
    "ruler": (0.81, 0.31, 0.08, 0.86),
    "dark_corner": (0.61, 0.26, 0.06, 0.55),
    "gel_border": (0.24, 0.13, 0.00, 0.64),
    "ink": (0.17, 0.04, 0.00, 0.52),
    "hair": (0.41, 0.72, 0.75, 0.34),
    "gel_bubble": (0.35, 0.58, 0.84, 0.27),
    "patches": (0.01, 0.08, 0.00, 0.12),
}
"""Of split 1."""


@pytest.mark.skipif(not RELEASED.is_dir(), reason="../shared with the released tables is absent")
def test_the_released_splits_turn_artefacts_round() -> None:
    """Rates of each artefact by label; the phantom's directions are those of train."""
    found = read_traps(RELEASED, 1, ReaderIssues()).values()
    for name, expected in RATES.items():
        rates = []
        for test in (False, True):
            for label in (1, 0):
                here = [r for r in found if (r.split == "test") == test and r.label == label]
                rates.append(sum(row.artefacts[name] for row in here) / len(here))
        assert rates == pytest.approx(expected, abs=0.0051)
        assert DRAWN[name][0] == (1 if rates[0] > rates[1] else -1)
        train = [row for row in found if row.split == "train"]
        share = [np.mean([row.artefacts[name] for row in train if row.label == y]) for y in (0, 1)]
        assert (share[1] > share[0]) == (rates[0] > rates[1])  # also without val
