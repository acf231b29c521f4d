"""What the reader of SIIM-ACR joins, and what it refuses to."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from siim_release import SIZE, cases, film, folder, released, rows, source

from spurious.errors import DataError
from spurious.generators.chest.siim_writer import image_id
from spurious.readers.joins import name_some

__all__ = ["folder", "released"]


@pytest.mark.parametrize("ending", [".dcm", ".DCM"])
def test_names_with_and_without_suffix_are_joined(folder: Path, ending: str) -> None:
    """`X.dcm` is `X`, in a part of the rows as in all; a file may be `X.DCM`."""
    before = {image: source(folder).load(image).label for image in source(folder).index()}
    rows(
        folder,
        lambda lines: [li.replace(",", f"{ending},", i % 2) for i, li in enumerate(lines)],
    )
    path = film(folder, image_id(cases("test")[0]))
    path.rename(path.with_suffix(ending))
    names = [image_id(case) for split in ("val", "test") for case in cases(split)]
    (folder / "cxr_tube_dict.pkl").unlink()
    (folder / "cxr_tube_dict.csv").write_text(
        "ImageId,tube,split\n"
        + "".join(
            f"{n}{ending * (i % 2)},1,{'val' if i < 4 else 'test'}\n" for i, n in enumerate(names)
        )
    )
    reader = source(folder)
    assert {image: reader.load(image).label for image in reader.index()} == before
    assert {reader.load(name).attributes["tube"] for name in names} == {True}


def test_rests_on_both_sides_are_refused_and_named(folder: Path) -> None:
    """Rows whose names are spelled otherwise would be lost; ten of each side are named."""
    image = image_id(cases("train")[0])
    rows(folder, lambda lines: [f"x{li}" if li.startswith(image) else li for li in lines])
    with pytest.raises(DataError) as caught:
        source(folder).index()
    assert f"1 images have no row in train-rle.csv ({image}), and 1 of its" in str(caught.value)
    assert f"have no image (x{image})" in str(caught.value)
    assert name_some(f"{i:02d}" for i in range(12)).endswith("08, 09 and 2 more")
    rows(folder, lambda lines: [li.removeprefix("x") for li in lines])  # as the message says
    assert len(source(folder).index()) == 12


def test_tube_labels_of_nothing_are_refused(folder: Path) -> None:
    """A label whose name is spelled otherwise would be lost, and its image go to train."""
    labels = {f"{image_id(c)}": c.tube for split in ("val", "test") for c in cases(split)}
    text = "".join(f"{n},{int(v)},{'val' if i < 4 else 'test'}\n"
                   for i, (n, v) in enumerate(labels.items()))  # fmt: skip
    (folder / "cxr_tube_dict.pkl").unlink()
    (folder / "cxr_tube_dict.csv").write_text("ImageId,tube,split\n" + text + "x7,1,val\n")
    with pytest.raises(DataError, match=r"1 labels of .* are of neither .* \(x7\)"):
        source(folder).index()


def test_rows_that_contradict_or_are_cut_are_refused(folder: Path) -> None:
    """A "-1" beside a mask, cells that a spreadsheet cut, and cells without a column."""
    image = image_id(cases("train", pneumothorax=True)[0])
    other = image_id(cases("train", pneumothorax=False)[0])
    held = (folder / "train-rle.csv").read_text()
    code = "1 1 " * 8191 + "1 1"
    added = [f"{image}, -1", f"{other}, 0 3", f"{image}, {code[:32_766]}", f"{image}, 1 1, 2 2"]
    rows(folder, lambda lines: [*lines, *added])
    with pytest.raises(DataError) as caught:
        source(folder).index()
    text, last = str(caught.value), len(held.splitlines())
    assert text.startswith("siim-acr: 4 problems")
    assert f"line {last + 1}: image {image} has -1 here and a mask in line" in text
    assert f"line {last + 2}: image {other} has a mask here and -1 in line" in text
    assert f"line {last + 3}: 'EncodedPixels' has 32,765 characters, and Excel" in text
    assert f"line {last + 4}: 3 cells instead of 2" in text


def test_long_cells_are_read(folder: Path) -> None:
    """A mask of many runs is longer than the csv module's own limit."""
    image = image_id(cases("train", pneumothorax=True)[0])
    code = " ".join(["0 1", *["1 1"] * (SIZE * SIZE // 2 - 1)]) + " " * 70_000
    rows(folder, lambda lines: [li for li in lines if image not in li] + [f"{image},0{code}"])
    assert source(folder).load(image).mask.sum() == SIZE * SIZE // 2


def test_what_cannot_be_a_film_is_named(folder: Path) -> None:
    """A link in a circle, one that leads nowhere, a pipe and a folder, all at once."""
    series = film(folder, image_id(cases("train")[0])).parent
    (series / "circle.dcm").symlink_to("circle.dcm")
    (series / "nowhere.dcm").symlink_to("gone")
    os.mkfifo(series / "pipe.dcm")
    (series / "folder.dcm").mkdir()
    (series.parent / "loop").symlink_to("loop")
    with pytest.raises(DataError) as caught:
        source(folder).index()
    text = str(caught.value)
    assert text.startswith("siim-acr: 5 problems")
    assert text.count("leads nowhere or in a circle") == 3
    assert text.count("not a file") == 2


def test_whatever_a_film_makes_go_wrong_has_its_name(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No exception of a library comes without the file."""

    def fail(*_: object) -> None:
        raise ZeroDivisionError("within a library")

    monkeypatch.setattr("spurious.readers.siim_acr.siim_acr.count_components", fail)
    image = image_id(cases("train")[0])
    with pytest.raises(DataError, match=rf"{image}\.dcm: cannot be read \(ZeroDivisionError"):
        source(folder).load(image)
