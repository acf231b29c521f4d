"""Who drew the images: phantoms are written in the formats of releases and must not pass as one.

The mark is in the image files themselves, so that it survives copying: a DICOM's Manufacturer, the
comment of a JPEG or PNG, or the description of a NIfTI volume.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

MARK = "spurious-sweeps"
"""What the mark of a phantom's file begins with."""

_LOOKED_AT = 20


def find_synthetic_origin(images: Sequence[Path]) -> str | None:
    """Find what drew the images of a folder, in up to 20 files spread over it.

    Args:
        images: Image files.

    Returns:
        The mark, such as `spurious-sweeps chest phantom`; None where no file has one.
    """
    step = max(1, len(images) // _LOOKED_AT)
    marks = (_read_mark(path) for path in images[::step])
    return next((mark for mark in marks if mark is not None and mark.startswith(MARK)), None)


def _read_mark(path: Path) -> str | None:
    """Read a file's mark; None where it has none or cannot be read, which loading it reports."""
    try:
        with path.open("rb") as file:
            begin = file.read(132)
        if path.name.lower().endswith((".nii", ".nii.gz")):
            return _read_description(path)
        return _read_manufacturer(path) if begin[128:] == b"DICM" else _read_comment(path)
    except Exception:  # noqa: BLE001 (a header can be wrong in any way)
        return None


def _read_manufacturer(path: Path) -> str | None:
    from pydicom import dcmread

    header = dcmread(path, stop_before_pixels=True, specific_tags=["Manufacturer"])
    return str(header.get("Manufacturer", "")) or None


def _read_description(path: Path) -> str | None:
    import nibabel

    header: Any = nibabel.load(path).header
    return header["descrip"].item().decode("ascii", "replace") or None


def _read_comment(path: Path) -> str | None:
    from PIL import Image

    with Image.open(path) as image:
        comment = image.info.get("comment") or image.info.get("Comment")
    return comment.decode("ascii", "replace") if isinstance(comment, bytes) else comment
