"""Finds mask files: named by a column, or by the image's name in a folder of masks."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from spurious.readers.folder.layout import NameIndex, is_below, is_safe, strip_ending
from spurious.readers.folder.samples import Sample
from spurious.readers.folder.table import Row
from spurious.readers.issues import ReaderIssues
from spurious.readers.joins import name_some

_SUFFIX = re.compile(r"[_-](mask|segmentation|seg|label)$", re.IGNORECASE)
"""What masks' names may have behind the image's."""

_MASK_FOLDER = re.compile(r"mask|segment|ground_?truth", re.IGNORECASE)
_IMAGE_FOLDERS = ("images", "image", "img", "imgs")


def find_named_masks(
    rows: Sequence[Row], column: str, files: Sequence[str], folder: str, issues: ReaderIssues
) -> Mapping[str, str]:
    """Return the mask file of every cell of a column that is not blank, by row (`where`).

    Args:
        rows: Rows of all tables.
        column: The column.
        files: All files that may be masks.
        folder: The folder of masks, whose files come before others of the same name.
        issues: Receives cells that name no file, several, or one outside.
    """
    preferred = NameIndex(name for name in files if is_below(name, folder))
    every = NameIndex(files)
    masks: dict[str, str] = {}
    for row in rows:
        written = row.cells.get(column, "").strip().replace("\\", "/")
        if not written:
            continue
        if not is_safe(written):
            issues.add(
                f"{row.where}: {column} '{written[:80]}' leads out of the folder; expected a name "
                "below it"
            )
            continue
        matches = preferred.find(written, row.base) or every.find(written, row.base)
        if len(matches) == 1:
            masks[row.where] = matches[0]
        else:
            several = f"may be {name_some(matches)}" if matches else "is not a file of the folder"
            issues.add(
                f"{row.where}: {column} '{written[:80]}' {several}; correct it, or leave it blank "
                "where nobody drew a mask"
            )
    return masks


def match_mask_folder(
    samples: Mapping[str, Sample],
    images: Iterable[str],
    masks: Sequence[str],
    folder: str,
    issues: ReaderIssues,
) -> Mapping[str, str]:
    """Return the file in the folder of masks by image id, for images that have one.

    A mask has its image's path or name, with any ending, and may have `_mask`, `_segmentation`,
    `_seg` or `_label` behind it.

    Args:
        samples: The images.
        images: All image files, also those that no table lists.
        masks: Files of the folder.
        folder: Its name.
        issues: Receives two masks of an image, and masks of no image.
    """
    by_place: dict[str, list[str]] = defaultdict(list)
    by_stem: dict[str, list[str]] = defaultdict(list)
    for mask in masks:
        place = _mask_place(mask, folder)
        for key in {place, _SUFFIX.sub("", place)}:
            by_place[key].append(mask)
            by_stem[key.rpartition("/")[2]].append(mask)
    stems: dict[str, set[str]] = defaultdict(set)
    for name in images:
        stems[_image_place(name).rpartition("/")[2]].add(name)
    matches: dict[str, str] = {}
    for image, sample in samples.items():
        place = _image_place(sample.name)
        stem = place.rpartition("/")[2]
        held = by_place.get(place) or (by_stem.get(stem, []) if len(stems[stem]) == 1 else [])
        if len(held) > 1:
            issues.add(f"{sample.name}: its mask may be {name_some(held)}; remove the other")
        elif held:
            matches[image] = held[0]
    lost = [
        mask
        for mask in masks
        if _mask_stem(mask) not in stems and _SUFFIX.sub("", _mask_stem(mask)) not in stems
    ]
    if lost:
        issues.add(
            f"{len(lost)} of {len(masks)} files in {folder} have the name of no image "
            f"({name_some(lost)}); call each as its image, or name them in a column: "
            "--set mask=COLUMN"
        )
    return matches


def check_masks_among_images(images: Sequence[str], folder: str, issues: ReaderIssues) -> None:
    """Report masks among the images, by their names or those of their folders.

    Else they would be staged as images, or be left out, and masks count as not drawn.

    Args:
        images: Files that would count as images.
        folder: Name of the folder of masks.
        issues: Receives one problem a place.
    """
    stems = {strip_ending(name) for name in images}
    places: dict[str, list[str]] = defaultdict(list)
    for name in images:
        stem = strip_ending(name)
        home = next((part for part in name.split("/")[:-1] if _MASK_FOLDER.search(part)), None)
        if home is not None:
            places[home].append(name)
        elif _SUFFIX.search(stem) and _SUFFIX.sub("", stem) in stems:
            places[""].append(name)
    for home, names in sorted(places.items()):
        remedy = (
            f"say so, --set masks={home}"
            if home
            else f"move them to a folder {folder}, or name them in a column, --set mask=COLUMN"
        )
        issues.add(
            f"{len(names)} files look like masks and not like images ({name_some(names)}); "
            f"{remedy}, or --set mask=none where they are images"
        )


def _mask_stem(mask: str) -> str:
    return strip_ending(mask).rpartition("/")[2]


def _mask_place(mask: str, folder: str) -> str:
    place = f"/{strip_ending(mask)}".replace(f"/{folder.strip('/')}/", "/", 1)
    return _without_plain_folders(place.strip("/"))


def _image_place(name: str) -> str:
    return _without_plain_folders(strip_ending(name))


def _without_plain_folders(place: str) -> str:
    *folders, stem = place.split("/")
    return "/".join([*(f for f in folders if f.lower() not in _IMAGE_FOLDERS), stem])
