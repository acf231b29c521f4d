"""Chest-tube labels of SIIM-ACR, as released with Saab et al. 2022.

The release is a pickled `dict[str, bool]` from SOPInstanceUID to "a tube is visible". The order of
its keys is the paper's split. A pickle is a program, so it is never run: its opcodes are listed and
only those that spell a plain dict of text and booleans are accepted.
"""

from __future__ import annotations

import csv
import pickletools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from spurious.data.splits import EVALUATION_SPLITS, SPLITS
from spurious.errors import DataError
from spurious.readers.issues import ReaderIssues
from spurious.readers.siim_acr.siim_files import image_name
from spurious.readers.tables import read_rows

MAX_PICKLE_BYTES = 4 * 2**20
"""The release has 114 kB; a larger file is not it."""

_TEXT = {"SHORT_BINUNICODE", "BINUNICODE"}
_BOOLEANS = {"NEWTRUE": True, "NEWFALSE": False}
_STRUCTURE = {"PROTO", "FRAME", "MARK", "SETITEM", "SETITEMS", "STOP"}
_NOTES = {"MEMOIZE", "BINPUT", "LONG_BINPUT"}
_UID = re.compile(r"[0-9]+(?:\.[0-9]+)+", re.ASCII)
_CELLS = {"0": False, "false": False, "1": True, "true": True, "-1": None}
"""-1 of NEATX: its annotators disagree, so whether a tube is visible is unknown."""


@dataclass(frozen=True)
class TubeLabels:
    """Tube labels, in the order of the file; the release has them of the evaluation images.

    Attributes:
        present: Image id to True where a chest tube is visible, None where that is unknown.
        splits: Image id to `train`, `val` or `test`; the same keys.
        split_from: Where the splits are from, for a dataset's provenance.
    """

    present: dict[str, bool | None]
    splits: dict[str, str]
    split_from: str = field(
        default="Saab et al. 2022, by the order of the tube labels", compare=False
    )


def read_tube_labels(path: Path, problems: ReaderIssues) -> TubeLabels:
    """Read the released pickle, or a CSV `ImageId,tube` with an optional column `split`.

    A CSV without `split` is split by the order of its rows, as the pickle is by that of its keys.
    With `split`, which every row then has, it may label training images too (`train`); images
    that it does not name are `train`. A tube of -1 is unknown, as one that nobody labelled.

    Args:
        path: The labels; a name that ends in `.csv` is read as CSV.
        problems: Receives the bad lines of a CSV, which are left out.

    Raises:
        DataError: Unreadable, not such a file, or an order that shows no split; names the file.
    """
    if path.suffix.lower() == ".csv":
        return _read_csv(path, problems)
    try:
        present: dict[str, bool | None] = dict(_read_pickle(path))
    except DataError as error:
        raise DataError(f"{path.name}: {error}") from error
    return TubeLabels(present, split_by_order(list(present), path.name))


def write_tube_csv(labels: TubeLabels, path: Path) -> None:
    """Write labels as the CSV that `read_tube_labels` reads, so that the pickle can go."""
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["ImageId", "tube", "split"])
        for image, present in labels.present.items():
            table.writerow([image, -1 if present is None else int(present), labels.splits[image]])


def is_uid(name: str) -> bool:
    """Return whether a name is a DICOM UID in form: numbers and dots, at most 64 characters."""
    return len(name) <= 64 and _UID.fullmatch(name) is not None


def split_by_order(images: Sequence[str], source: str) -> dict[str, str]:
    """Return the paper's split: ids before the one restart of UID order are `val`, then `test`.

    UIDs are compared number by number. Both parts ascend, so the order falls exactly once.
    `source` names the file in errors.

    Raises:
        DataError: An id is not a numeric UID, or the order falls never or more than once.
    """
    strange = next((image for image in images if not is_uid(image)), None)
    if strange is not None:
        raise DataError(
            f"{source}: label of '{strange[:80]}', which is not a numeric UID (1.2.276...); the "
            "order of the ids, which holds the split, is only known for the original release"
        )
    numbers = [tuple(int(part) for part in image.split(".")) for image in images]
    falls = [i for i in range(1, len(images)) if numbers[i] <= numbers[i - 1]]
    if len(falls) != 1:
        raise DataError(
            f"{source}: the order of the {len(images)} ids restarts {len(falls)} times; expected "
            "exactly once (validation before, test after): use the file as released, not sorted "
            "or merged, or a CSV with the columns ImageId,tube,split"
        )
    return {image: EVALUATION_SPLITS[i >= falls[0]] for i, image in enumerate(images)}


def _read_pickle(path: Path) -> Iterator[tuple[str, bool]]:
    """Yield the items of a pickled dict[str, bool] from its opcodes, running none of them."""
    seen: set[str] = set()
    key: str | None = None
    for value in list(_scalars(_bytes(path))):  # every opcode is looked at first
        if isinstance(value, str) == (key is not None):
            raise DataError("text and True/False do not alternate; expected a dict[str, bool]")
        if isinstance(value, str):
            key = image_name(value)
        elif key in seen:
            raise DataError(f"'{key}' is labelled twice; use the file as released")
        elif key is not None:
            seen.add(key)
            yield key, value
            key = None
    if key is not None:
        raise DataError(f"'{key[:80]}' has no value; expected a dict[str, bool]")


def _scalars(data: bytes) -> Iterator[str | bool]:
    dicts = 0
    try:
        for opcode, argument, position in pickletools.genops(data):
            if opcode.name in _TEXT:
                yield str(argument)
            elif opcode.name in _BOOLEANS:
                yield _BOOLEANS[opcode.name]
            elif opcode.name == "EMPTY_DICT" and not dicts:
                dicts = 1
            elif opcode.name not in _STRUCTURE | _NOTES:
                raise DataError(
                    f"refused, and nothing in it was run: byte {position} holds {opcode.name}, but "
                    "the tube labels are one plain dict of text to True/False; get the released "
                    "file, or convert it to a CSV with the columns ImageId,tube"
                )
    except ValueError as error:
        raise DataError(
            f"not a whole pickle ({str(error)[:100]}); get the released file again"
        ) from error
    if not dicts:
        raise DataError("holds no dict; expected image UID to True/False")


def _bytes(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > MAX_PICKLE_BYTES:
            raise DataError(
                f"{size} bytes, more than the {MAX_PICKLE_BYTES} that are read; the released file "
                "has 113,560 bytes"
            )
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror}); check the path") from error


def _read_csv(path: Path, problems: ReaderIssues) -> TubeLabels:
    present, splits, bad = dict[str, bool | None](), dict[str, str](), problems.count
    for line, cells in read_rows(path, ("ImageId", "tube"), problems):
        image, where = image_name(cells["ImageId"]), f"{path.name} line {line}"
        cell = cells["tube"].lower()
        if cell not in _CELLS:
            problems.add(
                f"{where}: tube is '{cells['tube'][:40]}'; expected 0, 1, true or false, or -1 "
                "where it is unknown"
            )
        elif image in present:
            problems.add(f"{where}: '{image[:80]}' is labelled twice; keep one line")
        elif cells.get("split", "val") not in SPLITS:
            problems.add(
                f"{where}: split is '{cells['split'][:40]}'; expected train, val or test in every "
                "row, or no such column"
            )
        else:
            present[image] = _CELLS[cell]
            splits[image] = cells.get("split", "")
    if "" not in splits.values():
        return TubeLabels(present, splits, "column split of the tube labels, else train")
    if problems.count == bad:
        splits = split_by_order(list(present), path.name)
    return TubeLabels(present, splits)
