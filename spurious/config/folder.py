"""Options of the reader `folder`: any team's images, with a table, folders of classes, or both."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Le

from spurious.config.fields import Classes, MaskOf, Pattern, Seed, problems

Shares = Annotated[
    str,
    Pattern(
        r"[0-9.]+/[0-9.]+(/[0-9.]+)?",
        "shares of train/val/test such as 0.7/0.1/0.2, or of train/val such as 0.85/0.15",
    ),
]
Window = Annotated[
    str,
    Pattern(
        r"full|data|percentile|[0-9]{1,5}/[0-9]{1,5}", "full, data, percentile, or LOW/HIGH values"
    ),
]
Values = Annotated[
    str, Pattern(r"[0-9]{1,5}(,\s*[0-9]{1,5})*", "whole numbers with commas between them")
]
NONE = "none"
"""Written for a column or file that is not to be used."""


@dataclass(frozen=True, kw_only=True)
class FolderOptions:
    """How a team's own folder of images is read: tables, columns, masks, boxes, splits, sizes.

    Options that name columns take several with commas between them. `none` stands for no column.

    Attributes:
        image_size: Side of the staged images in pixels; masks are max-pooled to it.
        table: CSV, TSV, JSON Lines or Parquet file with a row per image, relative to where the
            command runs or to the folder; several with commas. Default: `metadata.csv`, `.jsonl` or
            `.parquet` of the folder or of its split folders. `none`: folders of classes alone.
        file_name: Column with the image's file, with or without ending. Default: `file_name`,
            `image`, `image_id`, `filename` or `path`.
        label: Column with the label. Default: `label`, else the folder of each image's class.
            `coco`: 1 where the COCO file has an annotation.
        positive: Class names that are label 1; all others are 0 unless `negative` names them.
            Needed where labels are words. A cell of several classes has `|` between them.
        negative: Class names that are label 0; then any other name is refused.
        classes: `binary` labels alone, or `all` classes apart, which a classifier then answers;
            needs `positive`, and three classes or more.
        attributes: Columns of spurious attributes: 0, 1, true, false, yes, no; blank is
            unknown. Default: all columns that hold nothing else and have no other role.
        directions: Attributes whose direction is declared instead of measured on train, such as
            `ruler:+1,ink:-1`: +1 goes with label 1.
        patient: Column with the patient. Default: `patient_id`, `patient` or `lesion_id`; of DICOM
            files without one, PatientID.
        keep_patient_ids: Store patients as they are called; default: as salted hashes.
        patient_salt: Secret that patient ids are hashed with. Default: one of this machine, in
            `patient-salt` next to the embedded server's files (`SWEEPS_HOME`).
        split: Column with `train`, `val` (`valid`, `validation`, `dev`) or `test`. Default:
            `split`, else the folder of that name that an image is in.
        split_shares: Split by patient into shares of train/val/test, such as `0.7/0.1/0.2`,
            stratified by label and attributes; same as `--split`. Two shares, such as `0.85/0.15`,
            take val out of train and leave test as it is.
        split_seed: Another seed puts other patients into each split.
        covariates: Further columns of text or numbers to carry along. Default: `age`, `sex`,
            `gender`, `site`, `scanner` and the like.
        checksum: Column with each file's SHA-256 or MD5. Default: `sha256` or `md5`.
        rows_without_image: `refuse` them, or `skip` them with a warning.
        mask: Column with the mask's file; blank: nobody drew one. Default: `mask_file_name` or
            `mask`, else files of the image's name in `masks`.
        masks: Folder of masks; anywhere in the tree.
        mask_values: Values of a mask's pixels that count, with commas, where it holds several
            classes.
        rle: Column with run-length encoded masks; `rle_starts`, `rle_base` and `rle_order` must
            be declared with it.
        rle_starts: Whether starts count from the first pixel, or from the end of the run before.
        rle_base: Number of the first pixel.
        rle_order: Whether runs go along columns or rows.
        coco: COCO file with polygons, run-length codes or boxes, in the folder or in each of its
            split folders.
        category: Names of its categories that are the abnormality. Default: all.
        boxes: Four columns, or one that holds four numbers; several boxes of an image are several
            rows. Default: `x_min,y_min,x_max,y_max`, `x0,y0,x1,y1` or `x,y,width,height`.
        box_form: What the numbers of boxes are; columns of the default names need none.
        mask_of: What the masks are of. Organs and other regions are drawn on images of either
            label, have a price of their own, and are where methods that steer may look; nothing is
            taught to segment them.
        normal_images: What an image of label 0 without a mask or box is: `not-drawn`, or `empty`
            where a reader looked at all of them and there is nothing to draw, which is of masks of
            the abnormality.
        window: How values of more than 8 bits become 8: `full` range, smallest to largest value of
            the image (`data`), its 0.5th to 99.5th `percentile`, or two values.
        aspect: `stretch` images that are not square, or `pad` them with black.
        channels: `grey` or `colour` images; `auto`: colour where any image is.
    """

    image_size: Annotated[int, Ge(8), Le(4096)] = 512
    table: str | None = None
    file_name: str | None = None
    label: str | None = None
    positive: str | None = None
    negative: str | None = None
    classes: Classes = "binary"
    attributes: str | None = None
    directions: str | None = None
    patient: str | None = None
    keep_patient_ids: bool = False
    patient_salt: str | None = None
    split: str | None = None
    split_shares: Shares | None = None
    split_seed: Seed = 0
    covariates: str | None = None
    checksum: str | None = None
    rows_without_image: Literal["refuse", "skip"] = "refuse"
    mask: str | None = None
    masks: str = "masks"
    mask_values: Values | None = None
    rle: str | None = None
    rle_starts: Literal["absolute", "relative"] | None = None
    rle_base: Annotated[int, Ge(0), Le(1)] | None = None
    rle_order: Literal["columns", "rows"] | None = None
    coco: str | None = None
    category: str | None = None
    boxes: str | None = None
    box_form: Literal["x y width height", "x0 y0 x1 y1"] | None = None
    mask_of: MaskOf = "abnormality"
    normal_images: Literal["not-drawn", "empty"] = "not-drawn"
    window: Window = "full"
    aspect: Literal["stretch", "pad"] = "stretch"
    channels: Literal["auto", "grey", "colour"] = "auto"


def split_names(text: str | None) -> list[str]:
    """Return the names of an option that takes several with commas; none of None and `none`."""
    if text is None or text.strip().lower() == NONE:
        return []
    return [name.strip() for name in text.split(",") if name.strip()]


def parse_shares(text: str) -> tuple[float, ...] | None:
    """Return two or three shares that sum to 1; None where the text is not that.

    Percentages that sum to 100 are taken, too.
    """
    try:
        parts = [float(part) for part in text.split("/")]
    except ValueError:
        return None
    total = sum(parts)
    if min(parts) <= 0 or min(abs(total - 1), abs(total - 100)) > 1e-6 * total:
        return None
    return tuple(part / total for part in parts)


def parse_directions(text: str | None) -> dict[str, int] | None:
    """Return declared directions by attribute, +1 or -1; None where the text is not that."""
    directions = {}
    for pair in split_names(text):
        match = re.fullmatch(r"(.+?)\s*:\s*([+-])1", pair)
        if match is None:
            return None
        directions[match[1]] = 1 if match[2] == "+" else -1
    return directions


@problems.register(FolderOptions)
def _(options: FolderOptions) -> list[str]:
    return [*_find_split_problems(options), *_find_mark_problems(options)]


def _find_split_problems(options: FolderOptions) -> Iterator[str]:
    if options.split_shares is not None:
        if parse_shares(options.split_shares) is None:
            yield (
                f"split_shares {options.split_shares} does not sum to 1; expected three numbers "
                "above 0 such as 0.7/0.1/0.2, or two such as 0.85/0.15"
            )
        whole = options.split_shares.count("/") == 2
        if whole and options.split is not None and options.split != NONE:
            yield "split names a column, and split_shares splits without one; leave one out"
    if parse_directions(options.directions) is None:
        yield f"directions is {options.directions!r}; expected a list such as ruler:+1,ink:-1"
    if options.negative is not None and options.positive is None:
        yield "negative needs positive, the classes that are label 1"
    if options.classes == "all" and options.positive is None:
        yield "classes: all needs positive, the classes that are label 1"
    if options.classes == "all" and options.label == "coco":
        yield "classes: all needs a class for each image, and label coco tells two apart"
    low, _, high = options.window.partition("/")
    if high and int(low) >= int(high):
        yield f"window {options.window} is empty; expected LOW/HIGH with LOW below HIGH"


def _find_mark_problems(options: FolderOptions) -> Iterator[str]:
    if options.normal_images == "empty" and options.mask_of != "abnormality":
        yield (
            "normal_images empty is for masks of the abnormality, and mask_of is "
            f"{options.mask_of}: such masks are drawn on images of either label, and one that is "
            "missing is not drawn; leave normal_images out"
        )
    convention = {
        "rle_starts": options.rle_starts,
        "rle_base": options.rle_base,
        "rle_order": options.rle_order,
    }
    missing = [name for name, value in convention.items() if value is None]
    if options.rle is not None and missing:
        yield (
            f"rle needs {', '.join(missing)}, too: codes of other conventions decode to other "
            "pixels without a word (SIIM-ACR: relative, 0, columns; CheXmask: absolute, 1, rows)"
        )
    if options.rle is None and len(missing) < len(convention):
        yield f"{min(convention.keys() - set(missing))} needs rle, the column with the codes"
    if options.category is not None and options.coco is None:
        yield "category needs coco, the file with the annotations"
    if options.label == "coco" and options.coco is None:
        yield "label coco needs coco, the file with the annotations"
    if len(split_names(options.boxes)) not in (0, 1, 4):
        yield f"boxes names {len(split_names(options.boxes))} columns; expected four, or one"
    named = {"mask": options.mask, "rle": options.rle, "coco": options.coco}
    sources = [name for name, value in named.items() if value not in (None, NONE)]
    if len(sources) > 1:
        yield f"{sources[1]} and {sources[0]} both name masks; leave one out"
