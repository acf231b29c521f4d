"""Chest-tube labels: a pickle that is never run, and the split that its order holds."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest

from spurious.errors import DataError
from spurious.readers.issues import ReaderIssues
from spurious.readers.siim_acr.tube_labels import (
    MAX_PICKLE_BYTES,
    TubeLabels,
    read_tube_labels,
    split_by_order,
    write_tube_csv,
)

RELEASED = Path(__file__).parents[4] / "shared/data/siim-acr/cxr_tube_dict.pkl"

PREFIX = "1.2.276.0.7230010.3.1.4.8323329"
LABELS = {f"{PREFIX}.{n}.1.1": n % 2 == 0 for n in (5, 20, 100, 3, 50)}


def read(path: Path) -> TubeLabels:
    """Read a file that must have no bad line."""
    problems = ReaderIssues()
    labels = read_tube_labels(path, problems)
    problems.raise_if_any(path.name)
    return labels


def pickled(folder: Path, content: object, protocol: int = 4) -> Path:
    """Write a pickle under the released name."""
    path = folder / "cxr_tube_dict.pkl"
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    return path


@pytest.mark.skipif(not RELEASED.is_file(), reason="the released tube labels are not beside us")
def test_released_file_gives_the_papers_split() -> None:
    """1,951 labels, 525 tubes; 951 validation images with 258 tubes, 1,000 test with 267."""
    labels = read(RELEASED)
    assert (len(labels.present), sum(labels.present.values())) == (1951, 525)
    for split, images, tubes in (("val", 951, 258), ("test", 1000, 267)):
        held = [image for image, where in labels.splits.items() if where == split]
        assert (len(held), sum(labels.present[image] for image in held)) == (images, tubes)
    assert list(labels.splits.values()) == ["val"] * 951 + ["test"] * 1000


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_pickle_of_a_plain_dict_is_read(tmp_path: Path, protocol: int) -> None:
    """Keys, values and their order come back; numbers are compared, not text (20 < 100)."""
    labels = read(pickled(tmp_path, LABELS, protocol))
    assert list(labels.present.items()) == list(LABELS.items())
    assert list(labels.splits.values()) == ["val", "val", "val", "test", "test"]


class Bomb:
    """Unpickling it would make a folder."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str]]:
        """Ask the unpickler to call `os.mkdir`."""
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_pickle_that_calls_something_is_refused_unrun(tmp_path: Path, protocol: int) -> None:
    """The call must not happen, and the message says so."""
    target = tmp_path / "made-by-the-pickle"
    path = pickled(tmp_path, {**LABELS, "1.2": Bomb(target)}, protocol)
    with pytest.raises(DataError, match=r"cxr_tube_dict\.pkl: refused, and nothing in it was run"):
        read(path)
    assert not target.exists()
    pickle.loads(path.read_bytes())
    assert target.exists(), "the bomb is a dud, so this test shows nothing"


@pytest.mark.parametrize(
    "content",
    [
        {"1.2": 1},
        {"1.2": "yes"},
        {"1.2": None},
        {1: True},
        {"1.2": {"1.3": True}},
        ["1.2", True],
        "1.2",
        {("1.2",): True},
    ],
)
def test_anything_but_text_to_booleans_is_refused(tmp_path: Path, content: object) -> None:
    """A dict of another type, or no dict."""
    with pytest.raises(DataError, match=r"cxr_tube_dict\.pkl: .*(dict|plain)"):
        read(pickled(tmp_path, content))


@pytest.mark.parametrize("data", [b"", b"hello", pickle.dumps(LABELS)[:-20], b"\x80\x04."])
def test_files_that_are_no_pickle_are_refused(tmp_path: Path, data: bytes) -> None:
    """Empty, text, cut off, or without a dict."""
    path = tmp_path / "labels.pkl"
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"labels\.pkl: (not a whole pickle|holds no dict|refused)"):
        read(path)


def test_huge_pickle_is_refused_before_it_is_read(tmp_path: Path) -> None:
    """A sparse file above the limit is turned down by its size."""
    path = tmp_path / "labels.pkl"
    with path.open("wb") as file:
        file.truncate(MAX_PICKLE_BYTES + 1)
    with pytest.raises(DataError, match=str(MAX_PICKLE_BYTES + 1)):
        read(path)


def test_missing_file_is_named(tmp_path: Path) -> None:
    """Not a traceback."""
    with pytest.raises(DataError, match=r"gone\.pkl: cannot be read"):
        read(tmp_path / "gone.pkl")


@pytest.mark.parametrize(
    ("numbers", "restarts"), [((1, 2, 3), 0), ((5, 1, 7, 2), 2), ((2, 2, 1), 2)]
)
def test_order_with_no_single_restart_is_refused(numbers: tuple[int, ...], restarts: int) -> None:
    """A sorted or merged file says nothing about the split, so nothing is guessed."""
    with pytest.raises(DataError, match=f"labels: .* restarts {restarts} times"):
        split_by_order([f"1.2.{number}" for number in numbers], "labels")


@pytest.mark.parametrize("name", ["ID_0011fe81e", "1.2.x", "1", "1.²", "1." + "9" * 80])
def test_names_that_are_no_uid_have_no_order(name: str) -> None:
    """Renamed images cannot be split by UID order."""
    with pytest.raises(DataError, match="not a numeric UID"):
        split_by_order(["1.2.3", name], "labels")


def test_csv_keeps_labels_and_split(tmp_path: Path) -> None:
    """Converting the pickle once to CSV loses nothing."""
    labels = read(pickled(tmp_path, LABELS))
    write_tube_csv(labels, tmp_path / "tubes.csv")
    assert read(tmp_path / "tubes.csv") == labels


def test_csv_without_split_is_split_by_its_order(tmp_path: Path) -> None:
    """As the pickle is by that of its keys; with `split` any order will do."""
    path = tmp_path / "tubes.csv"
    path.write_text("ImageId,tube\n1.2.5,True\n1.2.7,0\n1.2.1,false\n")
    assert read(path) == TubeLabels(
        {"1.2.5": True, "1.2.7": False, "1.2.1": False},
        {"1.2.5": "val", "1.2.7": "val", "1.2.1": "test"},
    )
    path.write_text("ImageId,tube,split\nb,1,test\nc,1,train\na,0,val\n")
    assert read(path).splits == {"b": "test", "c": "train", "a": "val"}


def test_csv_problems_come_all_at_once(tmp_path: Path) -> None:
    """Every bad line is named; a split cannot be guessed meanwhile."""
    path = tmp_path / "tubes.csv"
    path.write_text("ImageId,tube,split\na,1,val\na,0,val\nb,maybe,val\nc,1,dev\nd,1\ne,1,\n")
    with pytest.raises(DataError) as caught:
        read(path)
    text = str(caught.value)
    assert "5 problems" in text
    bad = {3: "twice", 4: "maybe", 5: "dev", 6: "2 cells", 7: "split is ''"}
    for line, what in bad.items():
        assert any(f"line {line}:" in row and what in row for row in text.splitlines())
