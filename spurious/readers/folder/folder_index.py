"""Joins a folder's files, tables and marks into an index, with everything that is wrong at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from spurious.config.folder import NONE, FolderOptions, split_names
from spurious.data.classes import ImageClass
from spurious.errors import DataError
from spurious.readers.base import Index, name_and_hash
from spurious.readers.folder.code_order import warn_of_other_order
from spurious.readers.folder.entries import Entry, read_entries
from spurious.readers.folder.find_marks import find_marks
from spurious.readers.folder.layout import NameIndex, is_below, is_image_name, scan_folder
from spurious.readers.folder.marks import Marks
from spurious.readers.folder.mask_names import check_masks_among_images, find_named_masks
from spurious.readers.folder.patients import hash_patient
from spurious.readers.folder.roles import Roles, choose_roles
from spurious.readers.folder.samples import Sample, join_rows, list_files
from spurious.readers.folder.table import Row, Table, find_tables, read_table
from spurious.readers.images import ImageHeader, read_header
from spurious.readers.issues import ReaderIssues
from spurious.readers.joins import name_some

_TABLES = (".csv", ".tsv", ".jsonl", ".parquet", ".xlsx")


@dataclass(frozen=True, kw_only=True)
class FolderIndex(Index):
    """What a folder holds.

    Attributes:
        entries: By image id; `patient` is what is stored.
        marks: By image id.
        channels: 1 or 3, of all staged images.
        has_masks: Whether any image has a mask.
        has_boxes: Whether any image has boxes of its own.
        classes: What images are told apart into; empty for labels alone.
    """

    entries: Mapping[str, Entry] = field(default_factory=dict)
    marks: Mapping[str, Marks] = field(default_factory=dict)
    channels: int = 1
    has_masks: bool = False
    has_boxes: bool = False
    classes: Sequence[ImageClass] = ()


def read_folder(folder: Path, options: FolderOptions, issues: ReaderIssues) -> FolderIndex:
    """Read everything but pixels; problems go to `issues`, and the result counts without any.

    Raises:
        DataError: A table or COCO file that cannot be read at all.
    """
    files = scan_folder(folder, issues)
    tables, rows = _read_tables(folder, files, options, issues)
    columns = list(dict.fromkeys(c for table in tables for c in table.columns))
    roles = choose_roles(columns, rows, options, issues)
    samples, images, left_out = _join(folder, files, rows, roles, options, issues)
    where = ", ".join(["folder", *(table.path.name for table in tables)])
    issues.raise_if_any(where)
    headers = _read_headers(folder, samples, options, issues)
    found_marks = find_marks(folder, files, images, samples, rows, roles, options, issues)
    patients = _header_patients(headers)
    entries, notes, classes = read_entries(
        samples, roles, found_marks.drawn, patients, options, issues
    )
    unread = [] if rows or options.table else _find_unread_tables(files)
    if issues.count and unread:
        issues.add(unread[0])
    issues.raise_if_any(where)
    notes = [*unread, *roles.notes, *notes, _describe_marks(found_marks.marks, entries, options)]
    channels = _choose_channels(headers.values(), options)
    paths = {image: folder / sample.name for image, sample in samples.items()}
    warn_of_other_order(paths, found_marks.marks, headers, options)
    return FolderIndex(
        images=paths,
        origin=_describe_origin(tables, options, channels, notes),
        left_out=left_out,
        notes=tuple(notes),
        entries=_store_patients(entries, options),
        marks=found_marks.marks,
        channels=channels,
        has_masks=any(marks.has_mask for marks in found_marks.marks.values()),
        has_boxes=any(marks.has_boxes for marks in found_marks.marks.values()),
        classes=tuple(classes),
    )


def _read_tables(
    folder: Path, files: Sequence[str], options: FolderOptions, issues: ReaderIssues
) -> tuple[Sequence[Table], Sequence[Row]]:
    if options.table is not None and options.table.lower() == NONE:
        return [], []
    paths = find_tables(folder, files, split_names(options.table))
    tables = [read_table(path, folder, issues) for path in paths]
    return tables, [row for table in tables for row in table.rows]


def _find_unread_tables(files: Sequence[str]) -> list[str]:
    """Return a sentence about tables that nobody named; none where there is none."""
    tables = [name for name in files if "/" not in name and name.lower().endswith(_TABLES)]
    if not tables:
        return []
    return [f"{name_some(tables)}: tables are read where they are named: --table {tables[0]}"]


def _join(
    folder: Path,
    files: Sequence[str],
    rows: Sequence[Row],
    roles: Roles,
    options: FolderOptions,
    issues: ReaderIssues,
) -> tuple[Mapping[str, Sample], Sequence[str], Mapping[str, int]]:
    """Return images by id, all image files, and what is left out."""
    named = _named_masks(rows, roles, files, options)
    images = [
        name
        for name in files
        if is_image_name(name) and not is_below(name, options.masks) and name not in named
    ]
    images = [name for name in images if "." in name.rpartition("/")[2] or _is_film(folder / name)]
    if not images:
        issues.add(
            f"{folder}: no image file (.png, .jpg, .tif, .bmp, .dcm) outside of {options.masks}; "
            "name the folder that holds the images, and convert those of other formats"
        )
        return {}, images, {}
    if not (options.mask or options.rle or options.coco):
        check_masks_among_images(images, options.masks, issues)
    if not rows:
        return list_files(images, issues), images, {}
    if roles.file_name is None:
        columns = ", ".join(column for column in rows[0].cells if column)
        issues.add(
            "no column 'file_name' (or image, image_id, filename, path) in the table; name the one "
            f"with the images' files: --set file_name=COLUMN ({columns})"
        )
        return {}, images, {}
    skip = options.rows_without_image == "skip"
    samples, left_out = join_rows(rows, roles, NameIndex(images), skip, issues)
    return samples, images, left_out


def _named_masks(
    rows: Sequence[Row], roles: Roles, files: Sequence[str], options: FolderOptions
) -> set[str]:
    """Return the files that the column of masks names, and that of images does not."""
    if roles.mask is None:
        return set()
    ignored = ReaderIssues()  # they are reported with the other marks
    candidates = [name for name in files if is_image_name(name)]
    masks = find_named_masks(rows, roles.mask, candidates, options.masks, ignored).values()
    column = roles.file_name or ""
    return set(masks) - {f"{row.base}/{row.cells.get(column, '')}".strip("/") for row in rows}


def _is_film(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def _read_headers(
    folder: Path, samples: Mapping[str, Sample], options: FolderOptions, issues: ReaderIssues
) -> Mapping[str, ImageHeader]:
    """Read the headers of all images that have one; loading reports the others.

    Images that are too small go to `issues`.
    """
    headers: dict[str, ImageHeader] = {}
    for image, sample in samples.items():  # without threads: filters of warnings are not theirs
        with suppress(DataError):
            headers[image] = read_header(folder / sample.name)
    side_of = max if options.aspect == "pad" else min
    sides = {samples[image].name: side_of(header.shape) for image, header in headers.items()}
    small = [name for name, side in sides.items() if side < options.image_size]
    if small:
        issues.add(
            f"{len(small)} of {len(sides)} images are smaller than image_size "
            f"{options.image_size} ({name_some(small)}); the largest possible is "
            f"{min(sides.values())}: --set image_size={min(sides.values())}"
        )
    return headers


def _header_patients(headers: Mapping[str, ImageHeader]) -> Mapping[str, str]:
    """Return PatientID by image; nothing where all have the same, as after removing names."""
    patients = {image: header.patient_id for image, header in headers.items() if header.patient_id}
    return patients if len(set(patients.values())) > 1 else {}


def _choose_channels(headers: Iterable[ImageHeader], options: FolderOptions) -> int:
    if options.channels == "auto":
        return 3 if any(header.colour for header in headers) else 1
    return 3 if options.channels == "colour" else 1


def _store_patients(entries: Mapping[str, Entry], options: FolderOptions) -> Mapping[str, Entry]:
    """Return entries with patients as they are stored: hashed, or the image where nobody knows."""
    salt = options.patient_salt
    known = any(entry.patient is not None for entry in entries.values())
    if known and salt is None and not options.keep_patient_ids:
        raise DataError(
            "patient ids are stored as hashes with a secret, and there is none; set patient_salt, "
            "or keep_patient_ids to store them as they are"
        )
    stored: dict[str, Entry] = {}
    for image, entry in entries.items():
        patient = entry.patient or image
        if entry.patient is not None and not options.keep_patient_ids:
            patient = hash_patient(entry.patient, salt or "")
        stored[image] = replace(entry, patient=patient)
    return stored


def _describe_marks(
    marks: Mapping[str, Marks], entries: Mapping[str, Entry], options: FolderOptions
) -> str:
    """Return how many images have a mask or boxes, and how many more are filled with empty ones."""
    masks = sum(held.has_mask for held in marks.values())
    boxes = sum(held.has_boxes for held in marks.values())
    note = f"{masks} of {len(marks)} images have a mask, {boxes} have boxes of their own"
    if options.normal_images != "empty" or not masks + boxes:
        return note
    kind = "mask" if masks else "box"
    filled = sum(
        not held.has_mask and (bool(masks) or not held.has_boxes) and entries[image].label == 0
        for image, held in marks.items()
    )
    return (
        f"{note}; {filled} more of label 0 without a {kind} count as drawn and empty "
        "(normal_images=empty)"
    )


def _describe_origin(
    tables: Sequence[Table], options: FolderOptions, channels: int, notes: Sequence[str]
) -> Mapping[str, str]:
    aspect = "not kept" if options.aspect == "stretch" else "kept by padding with black"
    return {
        "format": "a team's own folder",
        "image": (
            f"{'RGB' if channels == 3 else 'grey'}, area-averaged to {options.image_size}, aspect "
            f"{aspect}, window {options.window}"
        ),
        "mask": f"max-pooled to {options.image_size}, normal images {options.normal_images}",
        "choices": "; ".join(notes),
        **({} if options.mask_of == "abnormality" else {"mask_of": options.mask_of}),
        **{
            "table" if len(tables) == 1 else f"table_{number}": name_and_hash(table.path)
            for number, table in enumerate(tables, start=1)
        },
    }
