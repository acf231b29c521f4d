"""Codes whose order is declared otherwise than the images show, in a team's own folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hand_made import write_picture
from small_folder import reader

from spurious.readers.marks import rle_order
from spurious.readers.marks.rle import RleConvention, encode

ROWS = RleConvention(starts="absolute", base=1, order="rows")


def write_lesions(
    folder: Path, width: int, *, seen: bool = True, count: int = 16, seed: int = 0
) -> None:
    """Dark lesions at places of their own on noise, 32 x `width`, and as many normal images."""
    random = np.random.default_rng(seed)
    lines = ["file_name,label,code"]
    for number in range(2 * count):
        name, lesion = f"i{number:02d}.png", number < count
        mask = np.zeros((32, width), bool)
        top, left = random.integers(2, 20), random.integers(2, width - 16)
        mask[top : top + 5, left : left + 11] = lesion
        pixels = random.integers(120, 200, mask.shape)
        write_picture(folder / name, (pixels - 60 * (mask & seen)).astype(np.uint8))
        lines.append(f"{name},{int(lesion)},{encode(mask, ROWS)}")
    (folder / "labels.csv").write_text("\n".join(lines))


def warnings(folder: Path, order: str, caplog: pytest.LogCaptureFixture) -> str:
    """What reading the index warns of."""
    caplog.clear()
    declared = {"rle_starts": "absolute", "rle_base": 1, "rle_order": order}
    source = reader(folder, table="labels.csv", rle="code", split_shares="0.5/0.2/0.3", **declared)
    assert source.index()
    return caplog.text


def test_square_images_show_the_order(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Transposed masks are as compact as the right ones; the pictures' edges tell them apart.

    Of many images some are looked at, none of which is normal.
    """
    monkeypatch.setattr(rle_order, "LOOKED_AT", 16)
    write_lesions(tmp_path, 32)
    assert warnings(tmp_path, "rows", caplog) == ""
    told = warnings(tmp_path, "columns", caplog)
    assert "column code: read along rows, the masks of 16 images follow the edges of their" in told
    assert "clearly better than along columns (" in told
    assert "they may go along rows: --set rle_order=rows; look at some masks" in told


def test_oblong_images_show_stripes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Without a look at the pictures, on which nothing is to be seen here."""
    write_lesions(tmp_path, 48, seen=False)
    assert warnings(tmp_path, "rows", caplog) == ""
    told = warnings(tmp_path, "columns", caplog)
    # 5 rows of 11 pixels have a boundary of 32
    assert "along rows of 512, so the codes look like stripes; they may go along rows" in told


@pytest.mark.parametrize(("seen", "count"), [(False, 16), (True, 11)])
def test_what_shows_nothing_is_not_judged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, seen: bool, count: int
) -> None:
    """Pictures on which the masks have no edges, and few of them."""
    for seed in range(4):
        write_lesions(tmp_path, 32, seen=seen, count=count, seed=seed)
        assert warnings(tmp_path, "columns", caplog) == warnings(tmp_path, "rows", caplog) == ""


def test_a_damaged_picture_is_left_to_loading(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The others still show the order."""
    write_lesions(tmp_path, 32)
    data = (tmp_path / "i03.png").read_bytes()
    (tmp_path / "i03.png").write_bytes(data[:-40])
    assert "follow the edges" in warnings(tmp_path, "columns", caplog)
