"""Reads NIfTI images and label maps, `.nii` and `.nii.gz`.

Voxels are turned to RAS+ by the affine: the first axis to the patient's right, the second to the
front, the third up. A slice is shown as radiologists see it: the patient's right at the left of the
picture, and the front (of sagittal and coronal slices: the head) at the top. A picture that a tool
of ITK turned into NIfTI has its rows and columns back by this.

Sources: NIfTI-1 (Cox et al. 2004), nifti1.h; NIfTI-2 (2011), nifti2.h.
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from spurious.errors import DataError

_HEADERS = {348: "Nifti1Image", 540: "Nifti2Image"}
_CHUNK = 1 << 24
_LARGEST = 1 << 36
"""Bytes of a volume; a header that states more is damaged."""
_LARGEST_LABEL = 1 << 31


@dataclass(frozen=True, eq=False)
class Volume:
    """A decoded volume.

    Attributes:
        values: (X, Y, Z), RAS+; as stored, and float64 where the header scales.
        slice_axis: Axis along which the file holds its slices, 0 to 2; that of a single picture
            has one.
    """

    values: NDArray[Any]
    slice_axis: int


def read_nifti(path: Path, modality: int | None = None) -> Volume:
    """Read one volume, turned to RAS+ and scaled by `scl_slope` and `scl_inter`.

    Args:
        path: The file.
        modality: Which of a 4-D file's volumes; None where there is one.

    Raises:
        DataError: Cut off, damaged, without orientation, of colours or more than 4 dimensions, or
            a modality that it does not have; names the file.
    """
    try:
        image = _open(path)
        return _read_volume(image, modality)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(
            f"{path}: cannot be read, cut off or damaged ({error}); restore the file"
        ) from error
    except Exception as error:  # a damaged header makes the library raise nearly anything
        text = f"{type(error).__name__}: {str(error)[:200]}"
        raise DataError(f"{path}: not NIfTI, or damaged ({text}); restore the file") from error


def take_slice(volume: Volume, position: int, axis: int | None = None) -> NDArray[Any]:
    """Return one slice as it is shown, (H, W).

    Args:
        volume: The volume.
        position: Voxel along the axis, from 0.
        axis: 0 sagittal, 1 coronal, 2 axial; the file's own slices where None.
    """
    plane = np.take(volume.values, position, axis=volume.slice_axis if axis is None else axis)
    return np.ascontiguousarray(plane[::-1, ::-1].T)


def check_labels(values: NDArray[Any]) -> NDArray[np.int64]:
    """Return label numbers of any shape as integers.

    Raises:
        DataError: They are not whole numbers, as where a label map was resampled or smoothed.
    """
    if values.dtype.kind != "f":
        return values.astype(np.int64)
    odd = values[(np.floor(values) != values) | (np.abs(values) > _LARGEST_LABEL)]
    if odd.size:
        raise DataError(
            f"{odd.size} labels are not whole numbers (e.g. {odd[0]:g}), as where a label map was "
            "resampled by interpolation; export it again by nearest neighbours"
        )
    return values.astype(np.int64)


def read_nifti_mask(
    path: Path, size: tuple[int, int], *, values: Collection[int] = (), position: int | None = None
) -> NDArray[np.bool_]:
    """Read the mask of a picture from a label map.

    Args:
        path: A label map of one picture, or of several slices.
        size: Height and width of the image.
        values: Labels that count; where none is named, 1 or 255 beside 0.
        position: Which slice; None where there is one.

    Returns:
        (H, W) bool.

    Raises:
        DataError: `read_nifti` or `check_labels` refuses it, labels of several classes of which
            none is named, several slices of which none is chosen, or another size; names the file.
    """
    volume = read_nifti(path)
    count = volume.values.shape[volume.slice_axis]
    if (position is None and count > 1) or not 0 <= (position or 0) < count:
        raise DataError(f"{path}: {count} slices, and slice {position} is asked for; choose one")
    plane = take_slice(volume, position or 0)
    try:
        labels = check_labels(plane)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    if labels.shape != size:
        raise DataError(
            f"{path}: the label map is {labels.shape[0]} x {labels.shape[1]} pixels when it is "
            f"turned as its affine states, and its image is {size[0]} x {size[1]}; export it "
            "again with the image's orientation"
        )
    there = np.unique(labels).tolist()
    if not values and not (set(there) <= {0, 1} or set(there) <= {0, 255}):
        raise DataError(
            f"{path}: the label map has labels {', '.join(map(str, there[:8]))}; name those that "
            "count"
        )
    return np.isin(labels, list(values)) if values else labels != 0


def _open(path: Path) -> Any:
    """Return nibabel's image of a file whose length is what its header states."""
    import nibabel

    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        source: Any = gzip.GzipFile(fileobj=file) if packed else file
        begin = source.read(max(_HEADERS))
        length = int.from_bytes(begin[:4], "little")
        if length not in _HEADERS:
            length = int.from_bytes(begin[:4], "big")
        if length not in _HEADERS:
            raise DataError("it does not begin with the header of a NIfTI file; restore the file")
        kind = getattr(nibabel, _HEADERS[length])
        header = kind.header_class.from_fileobj(io.BytesIO(begin))
        if header["magic"].item()[:2] != b"n+":
            raise DataError("its voxels are in another file (.img); convert it to .nii or .nii.gz")
        stated = _stated_length(header)
        data = begin + _read_rest(source, stated - len(begin))
    if len(data) != stated:
        more = "more" if len(data) > stated else len(data)
        raise DataError(f"{more} bytes where its header states {stated}; restore the file")
    return kind.from_bytes(data)


def _stated_length(header: Any) -> int:
    voxels = 1
    for side in header.get_data_shape():
        voxels *= int(side)
    stated = int(header["vox_offset"]) + voxels * int(header["bitpix"]) // 8
    if not voxels > 0 or not 0 < stated <= _LARGEST:
        raise DataError(f"its header states {header.get_data_shape()} voxels; restore the file")
    return stated


def _read_rest(source: BinaryIO, expected: int) -> bytes:
    """Read up to the end, where gzip compares its checksum, but at most a chunk too much."""
    parts, held = [], 0
    while held <= expected and (part := source.read(_CHUNK)):
        parts.append(part)
        held += len(part)
    return b"".join(parts)


def _read_volume(image: Any, modality: int | None) -> Volume:
    from nibabel import orientations

    header = image.header
    if not int(header["qform_code"]) and not int(header["sform_code"]):
        raise DataError(
            "its header states no orientation (qform_code and sform_code are 0); set one, as with "
            "nibabel's `image.set_sform(affine, code=1)`"
        )
    shape = [*image.shape]
    while len(shape) > 3 and shape[-1] == 1:
        shape.pop()
    modalities = shape[3] if len(shape) == 4 else 1
    if len(shape) > 4 or len(shape) < 2:
        raise DataError(f"{len(shape)} dimensions {tuple(image.shape)}; expected 2 to 4")
    if (modality is None and modalities > 1) or not 0 <= (modality or 0) < modalities:
        raise DataError(
            f"{modalities} modalities, and modality {modality} is asked for; choose one"
        )
    stored = image.dataobj
    values = np.asanyarray(stored[..., modality] if modalities > 1 else stored)
    values = values.reshape((*shape[:3], 1)[:3])
    if values.dtype.kind not in "iuf":
        raise DataError(f"voxels are {values.dtype}, expected numbers; convert colours to grey")
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise DataError("it has voxels that are not finite; restore or clean the file")
    turn = orientations.io_orientation(image.affine)
    if not np.isfinite(turn).all():
        raise DataError("its affine is singular, so it states no orientation; set another one")
    return Volume(orientations.apply_orientation(values, turn), int(turn[2, 0]))
