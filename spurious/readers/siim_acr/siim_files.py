"""Finds the files of a SIIM-ACR release and reads its mask table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from spurious.data.splits import SPLITS
from spurious.errors import DataError
from spurious.readers.files import find_files
from spurious.readers.issues import ReaderIssues
from spurious.readers.joins import check_rests, name_some
from spurious.readers.marks.rle import NO_MASK, RleConvention, read_pairs
from spurious.readers.tables import read_rows

IMAGE_FOLDER = "dicom-images-train"
MASK_TABLES = ("train-rle.csv", "stage_2_train.csv")
TUBE_LABELS = ("cxr_tube_dict.pkl", "cxr_tube_dict.csv")
RLE = RleConvention(starts="relative", base=0, order="columns")


@dataclass(frozen=True)
class MaskRow:
    """One annotated component: its run-length code and the line it stands on."""

    line: int
    code: str


def find_images(folder: Path, problems: ReaderIssues) -> dict[str, Path]:
    """Return every `dicom-images-train/<study>/<series>/<image>.dcm` by its file stem."""
    images: dict[str, Path] = {}
    for path in find_files(folder, IMAGE_FOLDER, 2, (".dcm",), problems):
        if path.stem in images:
            problems.add(
                f"{path.relative_to(folder)}: second file of that image; the first is "
                f"{images[path.stem].relative_to(folder)}: remove one"
            )
        else:
            images[path.stem] = path
    if not images and not problems.count:
        problems.add(
            f"{folder}: no {IMAGE_FOLDER}/<study>/<series>/<image>.dcm; point to the folder that "
            f"holds {IMAGE_FOLDER} as released"
        )
    return images


def image_name(cell: str) -> str:
    """Return the image that a table's cell names: `X.dcm` is `X`."""
    return cell[:-4] if cell.lower().endswith(".dcm") else cell


def find_one(folder: Path, chosen: Path | None, names: Sequence[str], option: str) -> Path:
    """Return the given file, or the only one of `names` in the folder.

    Raises:
        DataError: None or several are there, or the one there is a link that leaves the folder.
    """
    if chosen is not None:
        return chosen
    there = [folder / name for name in names if (folder / name).is_file()]
    if len(there) != 1:
        state = " and ".join(path.name for path in there) or "neither"
        raise DataError(
            f"{folder}: expected {' or '.join(names)}, found {state}; name the file with '{option}'"
        )
    if not there[0].resolve().is_relative_to(folder.resolve()):
        raise DataError(
            f"{there[0].name}: a link that leaves the folder; name its target with '{option}'"
        )
    return there[0]


def read_masks(path: Path, problems: ReaderIssues) -> dict[str, tuple[MaskRow, ...]]:
    """Return the mask rows of every image in the table; an empty tuple where it has no mask.

    An image with several rows has several components or annotators, whose masks are united, so an
    exact duplicate counts once. "-1" beside a mask contradicts it and is reported.

    Raises:
        DataError: The file cannot be read as such a table at all; bad lines go to `problems`.
    """
    masks: dict[str, tuple[MaskRow, ...]] = {}
    first_lines: dict[str, int] = {}
    for line, cells in read_rows(path, ("ImageId", "EncodedPixels"), problems):
        image, code = image_name(cells["ImageId"]), cells["EncodedPixels"]
        if not image:
            problems.add(f"{path.name} line {line}: no ImageId; restore the line from the release")
            continue
        try:
            runs = read_pairs(code, RLE)
        except DataError as error:
            problems.add(f"{path.name} line {line}: {error}; restore the line from the release")
            continue
        first, known = first_lines.setdefault(image, line), masks.get(image, ())
        if first != line and bool(known) != bool(len(runs)):
            problems.add(
                f"{path.name} line {line}: image {image} has "
                f"{'a mask' if len(runs) else NO_MASK} here and "
                f"{'a mask' if known else NO_MASK} in line {first}; remove one"
            )
            continue
        new = len(runs) and all(code != row.code for row in known)
        masks[image] = (*known, MaskRow(line, code)) if new else known
    if not masks and not problems.count:
        problems.add(f"{path.name}: no rows under its header; restore the file from the release")
    return masks


def check_join(
    images: Mapping[str, Path],
    masks: Mapping[str, tuple[MaskRow, ...]],
    splits: Mapping[str, str],
    tables: tuple[str, str],
    problems: ReaderIssues,
) -> None:
    """Report what leaves a split empty or rests on both sides: other spellings, missing images.

    Args:
        images: Image to file.
        masks: Image to rows of the mask table.
        splits: Image to split, of the tube labels.
        tables: File names of the mask table and of the tube labels.
        problems: Receives what does not fit.
    """
    mask_table, tube_file = tables
    labelled = images.keys() & masks.keys()
    if not labelled:
        problems.add(
            f"no row of {mask_table} matches an image (a row is of '{_first(masks)}', an image "
            f"is '{_first(images)}'); use the table and the images of one release"
        )
    elif not labelled & splits.keys():
        renamed = _first(labelled).startswith("ID_")
        problems.add(
            f"no label of {tube_file} matches an image with a row of {mask_table} (a label is of "
            f"'{_first(splits)}', an image is '{_first(labelled)}')"
            + (": the stage-2 download renamed the images to ID_..." if renamed else "")
            + "; the tube labels name images by SOPInstanceUID (1.2.276.0.7230010...), so only "
            "the stage-1 release can be joined with them"
        )
    else:
        check_rests(images.keys(), masks.keys(), mask_table, problems)
        if strays := splits.keys() - images.keys() - masks.keys():
            problems.add(
                f"{len(strays)} labels of {tube_file} are of neither an image nor a row of "
                f"{mask_table} ({name_some(strays)}); spell them as the images, or remove them"
            )
        held = {splits.get(image, "train") for image in labelled}
        empty = [split for split in SPLITS if split not in held]
        if empty:
            problems.add(
                f"no labelled image in split {' and '.join(empty)}; images are missing under "
                f"{IMAGE_FOLDER}, or rows in {mask_table} or {tube_file}: download the release "
                "again"
            )


def _first(names: Mapping[str, object] | set[str]) -> str:
    return min(names)[:80]
