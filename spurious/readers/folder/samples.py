"""Joins image files with the rows of tables."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from spurious.readers.folder.layout import NameIndex, is_safe, strip_ending
from spurious.readers.folder.roles import Roles
from spurious.readers.folder.table import Row
from spurious.readers.issues import ReaderIssues
from spurious.readers.joins import name_some

_LONGEST_ID = 200
_NOT_READ = re.compile(r"\.(webp|gif|heic|heif|avif|jp2|svs|ndpi|nii|nii\.gz|npy|mha|nrrd)$")
"""Endings of images that no reader here takes."""


@dataclass(frozen=True)
class Sample:
    """An image file with its rows.

    Attributes:
        name: Path below the folder, with `/`.
        rows: Rows of it; several where it has several boxes, codes or masks, none without a table.
    """

    name: str
    rows: Sequence[Row]

    @property
    def where(self) -> str:
        """Where the image stands, for messages."""
        return self.rows[0].where if self.rows else self.name

    def cell(self, column: str | None) -> str:
        """Return the text of a column, which is the same in all rows; blank without one."""
        return self.rows[0].cells.get(column, "").strip() if self.rows and column else ""

    def cells(self, columns: Sequence[str]) -> list[tuple[str, ...]]:
        """Return the texts of some columns, row by row."""
        return [tuple(row.cells.get(c, "").strip() for c in columns) for row in self.rows]


def list_files(names: Sequence[str], issues: ReaderIssues) -> dict[str, Sample]:
    """Return images without a table by id, which is the path without its ending."""
    samples: dict[str, Sample] = {}
    for name in names:
        image = strip_ending(name)
        if image in samples:
            issues.add(
                f"{name}: {samples[image].name} has the same name but for its ending; rename one"
            )
        samples.setdefault(image, Sample(name, ()))
    check_ids(samples, issues)
    return samples


def join_rows(
    rows: Sequence[Row], roles: Roles, names: NameIndex, skip_missing: bool, issues: ReaderIssues
) -> tuple[dict[str, Sample], Mapping[str, int]]:
    """Return images by id, which is their name in the table without ending, and what is left out.

    Args:
        rows: Rows of all tables.
        roles: Which columns are what; `file_name` is not None.
        names: The image files.
        skip_missing: Leave rows without an image out instead of reporting them.
        issues: Receives names that are unsafe, missing, ambiguous or there twice, and rows of one
            image that contradict each other.
    """
    grouped: dict[str, list[Row]] = defaultdict(list)
    files: dict[str, str] = {}
    missing: list[Row] = []
    for row in rows:
        written = row.cells.get(roles.file_name or "", "").strip().replace("\\", "/")
        name = _find(row, written, names, missing, issues)
        if name is not None:
            image = strip_ending(f"{row.base}/{written}" if row.base else written)
            grouped[image].append(row)
            files[image] = name
    samples = {image: Sample(files[image], grouped[image]) for image in grouped}
    _check_missing(missing, roles, names, samples, skip_missing, issues)
    _check_rows(samples, roles, issues)
    check_ids(samples, issues)
    unlisted = len(set(names.names) - set(files.values()))
    return samples, {"images_without_row": unlisted, "rows_without_image": len(missing)}


def _find(
    row: Row, written: str, names: NameIndex, missing: list[Row], issues: ReaderIssues
) -> str | None:
    if not written:
        issues.add(f"{row.where}: no file name; fill it or remove the line")
    elif not is_safe(written):
        issues.add(
            f"{row.where}: '{written[:80]}' leads out of the folder; expected a name below it"
        )
    else:
        matches = names.find(written, row.base)
        if len(matches) == 1:
            return matches[0]
        if matches:
            issues.add(
                f"{row.where}: '{written[:80]}' may be {name_some(matches)}; write the folder and "
                "ending, too"
            )
        else:
            missing.append(row)
    return None


def _check_missing(
    missing: Sequence[Row],
    roles: Roles,
    names: NameIndex,
    samples: Mapping[str, Sample],
    skip_missing: bool,
    issues: ReaderIssues,
) -> None:
    if not missing:
        return
    lone_rows = [row.cells[roles.file_name or ""] for row in missing]
    used = {sample.name for sample in samples.values()}
    lone_images = sorted(set(names.names) - used)
    text = f"{len(missing)} rows have no image ({name_some(lone_rows)}; first {missing[0].where})"
    if lone_images:
        text += f", and {len(lone_images)} images have no row ({name_some(lone_images)})"
    endings = sorted({match[0] for name in lone_rows if (match := _NOT_READ.search(name.lower()))})
    if endings:
        text += f"; {', '.join(endings)} is not read: convert these to PNG or TIFF"
    if not samples:
        issues.add(f"{text}; column '{roles.file_name}' must hold names of image files")
    elif not skip_missing:
        issues.add(
            f"{text}; where they are the same, spell them alike; add the images, or leave the rows "
            "out: --set rows_without_image=skip"
        )


def _check_rows(samples: Mapping[str, Sample], roles: Roles, issues: ReaderIssues) -> None:
    """Report images that two names share, and rows of one image that repeat or contradict."""
    by_file: dict[str, str] = {}
    marks = [c for c in (roles.mask, roles.rle, *roles.boxes) if c is not None]
    shared = [c for c in (roles.label, roles.patient, roles.split, roles.checksum) if c is not None]
    shared += [*roles.attributes.values(), *roles.covariates]
    for image, sample in samples.items():
        first = by_file.setdefault(sample.name, image)
        if first != image:
            issues.add(
                f"{sample.where}: '{image}' is {sample.name}, as '{first}' of "
                f"{samples[first].where} is; remove one"
            )
        if len(sample.rows) < 2:
            continue
        lines = f"{sample.rows[0].where} and {sample.rows[1].where.rpartition(' ')[2]}"
        drawn = sample.cells(marks)
        if len(set(drawn)) < len(drawn):
            issues.add(f"{lines}: '{image}' is there {len(drawn)} times; remove the others")
        for column in shared:
            if len(set(sample.cells([column]))) > 1:
                issues.add(
                    f"{lines}: '{image}' has different values of '{column}'; several rows of an "
                    "image may differ in boxes, codes and masks alone"
                )


def check_ids(samples: Mapping[str, Sample], issues: ReaderIssues) -> None:
    """Report ids that cannot be stored."""
    for image, sample in samples.items():
        if not image.isprintable() or len(image) > _LONGEST_ID:
            issues.add(
                f"{sample.where}: name {image[:80]!r} has {len(image)} characters; expected up to "
                f"{_LONGEST_ID} that can be printed: rename the file"
            )
