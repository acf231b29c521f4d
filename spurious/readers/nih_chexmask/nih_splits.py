"""Splits of NIH ChestX-ray14: its two lists where they are there, else drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from spurious.config.release_fields import parse_shares
from spurious.errors import DataError
from spurious.readers.joins import name_some
from spurious.readers.split_draw import DrawnSplit, draw_splits
from spurious.readers.tables import read_text

TRAIN_VAL, TEST = "train_val_list.txt", "test_list.txt"


@dataclass(frozen=True)
class _TwoParts:
    split: str
    seed: int


def assign_splits(
    folder: Path,
    patients: Mapping[str, str],
    strata: Mapping[str, tuple[int, ...]],
    options: DrawnSplit,
) -> tuple[dict[str, str], str]:
    """Return the split of every film, and where it is from.

    Args:
        folder: The release.
        patients: Film to patient.
        strata: Film to what splits should have in equal shares.
        options: Shares and seed; with the lists, `val` has its share of train and val together.

    Raises:
        DataError: A list that is not text, a film in both or in none, or a patient in both.
    """
    lists = [folder / TRAIN_VAL, folder / TEST]
    if not all(path.is_file() for path in lists):
        text = f"drawn {options.split} by patient, label and view, seed {options.seed}"
        return draw_splits(patients, strata, options), text
    rest, test = ({*read_text(path).split()} for path in lists)
    if wrong := [film for film in patients if (film in rest) == (film in test)]:
        raise DataError(
            f"{len(wrong)} films are in both or none of {TRAIN_VAL} and {TEST} "
            f"({name_some(wrong)}); restore the lists, or remove both to draw splits"
        )
    of_test = {patients[film] for film in patients if film in test}
    if both := {patients[film] for film in patients if film in rest} & of_test:
        raise DataError(
            f"patients {name_some(both)} are in {TRAIN_VAL} and in {TEST}; restore the lists"
        )
    train, val, _ = parse_shares(options.split)
    share = round(val / (train + val), 6)
    drawn = draw_splits(
        {film: patient for film, patient in patients.items() if film in rest},
        strata,
        _TwoParts(f"{1 - share:.6f}/{share:.6f}/0", options.seed),
    )
    text = f"{TEST}; val is {share:g} of {TRAIN_VAL}, by patient, label and view, "
    return {film: drawn.get(film, "test") for film in patients}, f"{text}seed {options.seed}"
