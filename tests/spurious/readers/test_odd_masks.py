"""Masks of another convention: whole tables and folders of them are told by their shapes."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from siim_release import cases, folder, released, rows, source

from spurious.config.datasets import IsicOptions
from spurious.errors import DataError
from spurious.generators.chest.siim_writer import image_id
from spurious.generators.skin.isic_writer import write_isic
from spurious.generators.skin.skin_phantom import SkinPhantom
from spurious.readers.isic.isic import Isic
from spurious.readers.isic.isic_files import MASK_FOLDER
from spurious.readers.marks import rle
from spurious.readers.marks.rle_checks import find_other_starts
from spurious.readers.siim_acr.mask_table_checks import find_odd_shapes
from spurious.readers.siim_acr.siim_files import RLE

__all__ = ["folder", "released"]

SIDE = 128


@pytest.fixture(scope="module")
def masks() -> list[np.ndarray]:
    """Ellipses in the upper half of both lungs, as most of a chest's are; some are lower."""
    rng = np.random.default_rng(0)
    row, column = np.indices((SIDE, SIDE))
    drawn = []
    for number in range(60):
        high, wide = rng.uniform(6, 14, 2)
        top = rng.uniform(20, 50) if number % 5 else rng.uniform(80, 100)
        left = (35, 92)[number % 2] + rng.uniform(-9, 9)
        drawn.append(((row - top) / high) ** 2 + ((column - left) / wide) ** 2 < 1)
    return drawn


def absolute(mask: np.ndarray, first: int) -> str:
    """Return the starts and lengths of a mask's columns, counted from `first`."""
    flat = np.concatenate(([False], mask.T.ravel(), [False]))
    edges = np.flatnonzero(flat[1:] != flat[:-1]).reshape(-1, 2)
    return " ".join(f"{begin + first} {end - begin}" for begin, end in edges)


def test_codes_of_another_convention_are_told(masks: list[np.ndarray]) -> None:
    """Absolute starts, rows instead of columns, another size; with their figures."""
    right = [rle.encode(mask, RLE) for mask in masks]
    assert find_other_starts(right, RLE) == ([], 60)
    assert find_odd_shapes(right, SIDE) == []
    for first in (0, 1):
        mixed = [absolute(mask, first) for mask in masks[:3]] + right[3:]
        assert find_other_starts([*mixed, "0 1 1 2", "-1"], RLE) == ([0, 1, 2], 60)
    (by_rows,) = find_odd_shapes([rle.encode(mask.T, RLE) for mask in masks], SIDE)
    assert "in the left half of the films" in by_rows
    assert "row by row instead of column by column" in by_rows
    (small,) = find_odd_shapes([rle.encode(mask[: SIDE // 2], RLE) for mask in masks], SIDE)
    assert small.startswith("runs are mostly 0.5 of an image's column apart instead of 1")
    assert "look like stripes" in small


def test_few_masks_are_not_judged(masks: list[np.ndarray]) -> None:
    """A share of a handful of masks shows nothing, nor does one without the films' size."""
    by_rows = [rle.encode(mask.T, RLE) for mask in masks]
    assert find_odd_shapes(by_rows[:49], SIDE) == find_odd_shapes(by_rows, 0) == []


def test_a_table_of_absolute_starts_is_refused(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its name, the share of codes and their lines are in the message; of a few, a warning."""
    positive = [image_id(case) for case in cases(pneumothorax=True)]
    mask = np.zeros((256, 256), bool)
    mask[20:60, 30:50] = True
    rows(
        folder,
        lambda lines: (
            [li for li in lines if li.split(",")[0] not in positive]
            + [f"{image}, {absolute(mask, 1)}" for image in positive]
        ),
    )
    ascend = r"codes .* ascend, as absolute starts do \(lines"
    with pytest.raises(DataError, match=rf"train-rle\.csv: 6 of 6 {ascend} 8, 9, 10, 11, 12, 13\)"):
        source(folder).index()
    rows(
        folder,
        lambda lines: [
            *lines[:-5],
            *(f"{image}, {rle.encode(mask, RLE)}" for image in positive[1:]),
        ],
    )
    assert len(source(folder).index()) == 12
    assert "train-rle.csv: 1 of 6 codes" in caplog.text
    assert "(lines 8); expected gaps" in caplog.text


@pytest.mark.parametrize("rows_of_films", [256, 128])
def test_odd_shapes_are_a_warning_of_the_index(
    folder: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    rows_of_films: int,
) -> None:
    """The films' own size is read from their headers."""
    module = "spurious.readers.siim_acr"
    monkeypatch.setattr(f"{module}.mask_table_checks._FEWEST", 3)
    if rows_of_films != 256:
        monkeypatch.setattr(f"{module}.siim_acr.read_row_count", lambda paths: rows_of_films)
    source(folder).index()
    told = "train-rle.csv: runs are mostly 2 of an image's column apart instead of 1"
    assert (told in caplog.text) == (rows_of_films == 128)


def test_inverted_lesions_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One is a warning when it is loaded, most of them are refused; shares are shown."""
    release = tmp_path / "release"
    write_isic(release, SkinPhantom(n_train=6, n_val=2, n_test=2, width=64, seed=1))
    paths = sorted((release / MASK_FOLDER).iterdir())

    def invert(path: Path) -> None:
        Image.fromarray(255 - np.asarray(Image.open(path))).save(path)

    def read_all() -> str:
        caplog.clear()
        reader = Isic(release, IsicOptions(image_size=32))
        for image in reader.index():
            reader.load(image)
        return caplog.text

    with caplog.at_level(logging.WARNING):
        assert read_all() == ""
        invert(paths[0])
        assert f"{paths[0]}: the lesion is " in (text := read_all())
        assert text.count("look at it, and where it is, invert it") == 1
    for path in paths[1:]:
        invert(path)
    with pytest.raises(DataError, match=r"isic: 10 of 10 masks .* and 8\d% of it"):
        read_all()
    for path in paths:  # the remedy
        invert(path)
    assert read_all() == ""
