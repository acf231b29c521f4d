"""Decides which column of a table plays which role, and says so."""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from spurious.config.folder import NONE, FolderOptions, split_names
from spurious.readers.folder.marks import OBJECTS
from spurious.readers.folder.table import Row
from spurious.readers.folder.values import parse_flag
from spurious.readers.issues import ReaderIssues
from spurious.readers.marks.boxes import BoxForm

Form = BoxForm | Literal["objects"]

_DEFAULTS: Mapping[str, Sequence[str]] = {
    "file_name": (
        *("file_name", "image", "image_id", "filename", "path"),
        *("image_name", "isic_id"),
    ),
    "label": ("label",),
    "patient": ("patient_id", "patient", "lesion_id", "patientid"),
    "split": ("split",),
    "mask": ("mask_file_name", "mask"),
    "checksum": ("sha256", "md5"),
}
_BOXES: Mapping[Sequence[str], BoxForm] = {
    ("x_min", "y_min", "x_max", "y_max"): "x0 y0 x1 y1",
    ("xmin", "ymin", "xmax", "ymax"): "x0 y0 x1 y1",
    ("x0", "y0", "x1", "y1"): "x0 y0 x1 y1",
    ("x", "y", "width", "height"): "x y width height",
    ("x", "y", "w", "h"): "x y width height",
}
_COVARIATES = re.compile(
    r"(patient_?)?(age|sex|gender)(_.*|at.*)?|(anatom_?)?site(_.*)?|scanner.*|device.*|vendor|"
    r"manufacturer|hospital|cent(er|re)|view(_?position)?|ethnicity|race|skin_?type|fitzpatrick.*"
)
"""Columns that are carried along without being named."""

_MOSTLY = 0.8
_ATTRIBUTE = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


@dataclass(frozen=True)
class Roles:
    """Columns by role; None or empty where the table has none.

    Attributes:
        file_name: Names of image files.
        label: Labels.
        patient: Patients.
        split: Splits.
        mask: Mask files.
        checksum: Checksums of image files.
        rle: Run-length codes.
        boxes: Four columns of a box, or one.
        box_form: What its numbers are.
        attributes: Name of each spurious attribute to its column, in the order of the names.
        covariates: Columns carried along.
        notes: What was taken without having been named, a sentence each.
    """

    file_name: str | None = None
    label: str | None = None
    patient: str | None = None
    split: str | None = None
    mask: str | None = None
    checksum: str | None = None
    rle: str | None = None
    boxes: Sequence[str] = ()
    box_form: Form = "x0 y0 x1 y1"
    attributes: Mapping[str, str] = field(default_factory=dict)
    covariates: Sequence[str] = ()
    notes: Sequence[str] = ()


def choose_roles(
    columns: Sequence[str], rows: Sequence[Row], options: FolderOptions, issues: ReaderIssues
) -> Roles:
    """Choose columns by the options, else by their usual names and by what they hold.

    Args:
        columns: Names of all columns.
        rows: All rows.
        options: What the user names.
        issues: Receives columns that do not exist, and names that two attributes would share.
    """
    chooser = _Chooser(columns, issues)
    single: dict[str, str | None] = {
        role: chooser.choose(role, getattr(options, role), defaults)
        for role, defaults in _DEFAULTS.items()
        if not (role == "label" and options.label == "coco")
        and not (role == "split" and (options.split_shares or "").count("/") == 2)
    }
    rle = chooser.choose("rle", options.rle, ())
    boxes, form = _choose_boxes(chooser, options)
    taken = {*boxes, *(column for column in (*single.values(), rle) if column is not None)}
    covariates = _choose_covariates(chooser, options, taken)
    rest = [c for c in columns if c not in taken and c not in covariates]
    attributes = _choose_attributes(chooser, options, rest, rows, single.get("label"))
    left = [c for c in rest if c not in attributes.values()]
    label = single.get("label")
    like_flags = [
        c for c in left if _resembles_flags(rows, c) and not _repeats_label(rows, c, label)
    ]
    return Roles(
        **single,
        rle=rle,
        boxes=boxes,
        box_form=form,
        attributes=dict(sorted(attributes.items())),
        covariates=covariates,
        notes=[*chooser.notes, *_describe(options, attributes, covariates, left, like_flags)],
    )


def _describe(
    options: FolderOptions,
    attributes: Mapping[str, str],
    covariates: Sequence[str],
    left: Sequence[str],
    like_flags: Sequence[str],
) -> Iterator[str]:
    if options.attributes is None and attributes:
        taken = ", ".join(attributes[name] for name in sorted(attributes))
        yield f"spurious attributes: {taken} (columns of 0 and 1; others: --set attributes=...)"
    if options.covariates is None and covariates:
        yield f"carried along: {', '.join(covariates)} (others: --set covariates=...)"
    if not attributes:
        yield (
            "without spurious attributes robust AUROC is undefined (--set attributes=... names "
            "columns of 0 and 1, or yes and no)"
        )
    if left:
        yield f"not taken: {', '.join(left)} (--set covariates=... carries columns along)"
    if like_flags:
        named = ",".join([*attributes.values(), *like_flags])
        yield (
            f"{', '.join(like_flags)}: mostly 0 and 1, so perhaps a spurious attribute: --set "
            f"attributes={shlex.quote(named)} takes it, or names the cells to correct"
        )


class _Chooser:
    """Finds columns by the names that users write."""

    def __init__(self, columns: Sequence[str], issues: ReaderIssues) -> None:
        self.columns = columns
        self.issues = issues
        self.notes: list[str] = []

    def find(self, name: str) -> str | None:
        """Return the column of a name: as written, else in any case where only one is."""
        if name in self.columns:
            return name
        alike = [column for column in self.columns if column.casefold() == name.casefold()]
        return alike[0] if len(alike) == 1 else None

    def choose(self, role: str, named: str | None, defaults: Sequence[str]) -> str | None:
        """Return the column of a role; one that is named and missing is an issue."""
        if named is not None:
            return None if named.lower() == NONE else self.require(role, named)
        return next((c for c in map(self.find, defaults) if c is not None), None)

    def require(self, role: str, name: str) -> str | None:
        """Return a column that an option names."""
        column = self.find(name)
        if column is None:
            near = difflib.get_close_matches(name, self.columns, n=1)
            hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(self.columns)}"
            self.issues.add(f"{role}: the table has no column '{name}'; {hint}")
        return column

    def require_all(self, role: str, text: str) -> list[str]:
        """Return the columns that an option names."""
        found_columns = [self.require(role, name) for name in split_names(text)]
        return [column for column in found_columns if column is not None]


def _choose_boxes(chooser: _Chooser, options: FolderOptions) -> tuple[Sequence[str], Form]:
    if options.boxes is not None:
        columns = chooser.require_all("boxes", options.boxes)
        form = options.box_form or _BOXES.get(tuple(column.lower() for column in columns))
        if columns and form is None:
            chooser.issues.add(
                f"boxes: what {', '.join(columns)} are is not known; declare it: --set "
                "box_form='x y width height' or 'x0 y0 x1 y1'"
            )
        return columns, form or "x0 y0 x1 y1"
    for names, form in _BOXES.items():
        columns = [column for column in map(chooser.find, names) if column is not None]
        if len(columns) == len(names):
            form = options.box_form or form
            chooser.notes.append(f"boxes: {', '.join(columns)} as {form} in pixels")
            return columns, form
    if OBJECTS in chooser.columns:
        return (OBJECTS,), OBJECTS
    return (), "x0 y0 x1 y1"


def _choose_covariates(chooser: _Chooser, options: FolderOptions, taken: set[str]) -> Sequence[str]:
    if options.covariates is not None:
        return chooser.require_all("covariates", options.covariates)
    named = {chooser.find(name) for name in split_names(options.attributes)}
    return [
        column
        for column in chooser.columns
        if column not in taken | named and _COVARIATES.fullmatch(_plain_name(column))
    ]


def _choose_attributes(
    chooser: _Chooser,
    options: FolderOptions,
    rest: Sequence[str],
    rows: Sequence[Row],
    label: str | None,
) -> dict[str, str]:
    """Return columns of spurious attributes by the name that the attribute gets."""
    if options.attributes is not None:
        columns: Sequence[str] = chooser.require_all("attributes", options.attributes)
    else:
        columns = [column for column in rest if _holds_flags(rows, column)]
        copies = [c for c in columns if _repeats_label(rows, c, label)]
        if copies:
            chooser.notes.append(
                f"{', '.join(copies)}: says the same as the label on every image, so it is not "
                "taken as a spurious attribute"
            )
            columns = [column for column in columns if column not in copies]
    attributes: dict[str, str] = {}
    for column in columns:
        name = _plain_name(column)
        if not _ATTRIBUTE.fullmatch(name) or name in attributes:
            chooser.issues.add(
                f"attributes: column '{column}' would be called '{name}'"
                + (f", as '{attributes[name]}' is" if name in attributes else "")
                + "; rename it: letters, digits, '_' and '-'"
            )
        attributes.setdefault(name, column)
    return attributes


def _holds_flags(rows: Sequence[Row], column: str) -> bool:
    values = {row.cells.get(column, "").strip().lower() for row in rows}
    return bool(values - {""}) and all(
        not value or parse_flag(value) is not None for value in values
    )


def _resembles_flags(rows: Sequence[Row], column: str) -> bool:
    """Return whether most cells of a column that are not blank are 0 and 1, and both are there."""
    cells = [cell for row in rows if (cell := row.cells.get(column, "").strip())]
    flags = [flag for cell in cells if (flag := parse_flag(cell)) is not None]
    return len(set(flags)) == 2 and len(flags) >= _MOSTLY * len(cells)


def _repeats_label(rows: Sequence[Row], column: str, label: str | None) -> bool:
    """Return whether a column of 0 and 1 follows the label's words one to one."""
    if label is None:
        return False
    pairs = {(row.cells.get(label, "").strip(), row.cells.get(column, "").strip()) for row in rows}
    words, flags = {word for word, _ in pairs}, {flag for _, flag in pairs}
    return len(flags) == 2 and len(pairs) == len(words)


def _plain_name(column: str) -> str:
    """Return a column's name as an attribute may be called."""
    return re.sub(r"[^a-z0-9_-]+", "_", column.strip().lower()).strip("_")
