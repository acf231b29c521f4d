"""Writes a dermoscopy phantom as a folder in the format of ISIC 2018 task 1 with a trap split."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from spurious.data.randomness import generator
from spurious.data.splits import EVALUATION_SPLITS
from spurious.errors import DataError
from spurious.generators.skin.skin_phantom import Case, SkinPhantom, draw_cases, render_case
from spurious.readers.isic.isic_files import IMAGE_FOLDER, MASK_FOLDER, MASK_SUFFIX, table_name
from spurious.readers.origin import MARK

JPEG_QUALITY = 92
TRAP = 1
"""The one split that is written."""

_HEADER = ",image,dark_corner,hair,gel_border,gel_bubble,ruler,ink,patches,vasc,label,label_string"
_COLUMNS = ("dark_corner", "hair", "gel_border", "gel_bubble", "ruler", "ink", "patches")
_FIRST = 100_000
"""Numbers of images begin above those of the release."""


def write_isic(
    folder: Path, config: SkinPhantom, progress: Callable[[int, int], None] | None = None
) -> None:
    """Write images, masks and the three tables of trap split 1, which a reader takes.

    As in the release, every image has a mask, of a benign lesion too, the rows of `val` are in the
    table of `train` as well, and tables call images `.png`. The same options give the same pixels.
    The tables are written last, so an interrupted folder is not taken for a whole one.

    Args:
        folder: Made where absent; must be empty.
        config: Options of the phantom.
        progress: Called with (images written, images in all) after each.

    Raises:
        DataError: The folder holds something already.
    """
    if folder.exists() and any(folder.iterdir()):
        raise DataError(f"{folder}: not empty; name a new folder for the phantom")
    for inside in (IMAGE_FOLDER, MASK_FOLDER):
        (folder / inside).mkdir(parents=True)
    cases = draw_cases(config)
    for done, case in enumerate(cases, start=1):
        image, mask = render_case(config, case)
        name = image_id(case)
        path = folder / IMAGE_FOLDER / f"{name}.jpg"
        Image.fromarray(image).save(path, quality=JPEG_QUALITY, comment=f"{MARK} skin phantom")
        lesion = Image.fromarray(mask.astype(np.uint8) * 255)
        lesion.save(folder / MASK_FOLDER / f"{name}{MASK_SUFFIX}.png")
        if progress is not None:
            progress(done, len(cases))
    of = {split: [case for case in cases if case.split == split] for split in EVALUATION_SPLITS}
    order = generator(config.seed, "skin val order").permutation(len(of["val"])).tolist()
    _write_table(folder, "test", of["test"])
    _write_table(folder, "val", [of["val"][place] for place in order])
    _write_table(folder, "train", [case for case in cases if case.split != "test"])


def image_id(case: Case) -> str:
    """Return a case's id, which is its file's stem."""
    return f"ISIC_{_FIRST + case.number:07d}"


def _write_table(folder: Path, split: str, cases: Sequence[Case]) -> None:
    lines = [_HEADER]
    for case in cases:
        artefacts = [str(int(case.artefacts[name])) for name in _COLUMNS]
        kind = "malignant" if case.malignant else "benign"
        cells = [str(case.number), f"{image_id(case)}.png", *artefacts, "0"]
        lines.append(",".join([*cells, str(int(case.malignant)), kind]))
    (folder / table_name(split, TRAP)).write_text("\n".join(lines) + "\n", encoding="utf-8")
