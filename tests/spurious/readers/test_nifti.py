"""NIfTI files, written byte by byte, and one that nibabel comes with."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from marks_files import ITK, RAS, ROWS, write_nifti

from spurious.errors import DataError
from spurious.readers.marks.nifti import check_labels, read_nifti, read_nifti_mask, take_slice


@pytest.mark.parametrize(
    ("values", "affine"),
    [
        (ROWS.T, ITK),
        (ROWS.T[..., None], ITK),
        (ROWS.T[::-1, ::-1], RAS),
        (ROWS, ((0, -1, 0), (-1, 0, 0), (0, 0, 1))),  # the first axis is the rows
        (ROWS[::-1], ((0, -1, 0), (1, 0, 0), (0, 0, 1))),
        (ROWS.T, ((-1, 0, 0), (0, 0, 1), (0, -1, 0))),  # a film hung up: the head is at the top
    ],
)
def test_the_affine_turns_a_picture_upright(
    tmp_path: Path, values: np.ndarray, affine: Any
) -> None:
    """Whatever axes a tool wrote, rows and columns are those of the image."""
    for name in ("m.nii", "m.nii.gz"):
        mask = read_nifti_mask(write_nifti(tmp_path / name, values, affine), (2, 3))
        assert mask.astype(int).tolist() == ROWS.tolist()


def test_slices_are_shown_as_radiologists_see_them(tmp_path: Path) -> None:
    """Right is left in the picture, front or head is at the top."""
    values = np.arange(24).reshape(2, 3, 4)  # x to the right, y to the front, z up
    volume = read_nifti(write_nifti(tmp_path / "v.nii", values, RAS))
    assert (volume.values == values).all()
    assert volume.slice_axis == 2
    axial = take_slice(volume, 1)
    assert axial.shape == (3, 2)
    assert axial[0].tolist() == [values[1, 2, 1], values[0, 2, 1]]
    assert take_slice(volume, 0, axis=1)[0].tolist() == [values[1, 0, 3], values[0, 0, 3]]
    assert take_slice(volume, 0, axis=0)[0].tolist() == [values[0, y, 3] for y in (2, 1, 0)]
    turned = read_nifti(
        write_nifti(
            tmp_path / "v.nii", values[::-1].transpose(2, 0, 1), ((0, -1, 0), (0, 0, 1), (1, 0, 0))
        )
    )
    assert (turned.values == values).all()
    assert turned.slice_axis == 1


def test_values_are_scaled_and_a_modality_is_chosen(tmp_path: Path) -> None:
    """`scl_slope` of 0 scales nothing; of four dimensions the last is chosen."""
    values = np.arange(12).reshape(2, 3, 1, 2) - 5
    path = write_nifti(tmp_path / "v.nii", values, RAS, "<i2", scale=(0.5, 10))
    assert (read_nifti(path, 1).values == values[..., 1] * 0.5 + 10).all()
    plain = read_nifti(write_nifti(tmp_path / "p.nii", values, RAS, "<i2"), 0).values
    assert plain.dtype == np.int16
    assert (plain == values[..., 0]).all()
    for modality in (None, 2, -1):
        with pytest.raises(DataError, match=r"v\.nii: 2 modalities, and modality"):
            read_nifti(path, modality)
    with pytest.raises(DataError, match="1 modalities, and modality 1"):
        read_nifti(write_nifti(tmp_path / "m.nii", ROWS.T), 1)


def test_labels_that_do_not_say_what_counts_are_refused(tmp_path: Path) -> None:
    """Several classes, halves, another size, slices."""
    path = write_nifti(tmp_path / "m.nii", ROWS.T * 3)
    with pytest.raises(DataError, match=r"m\.nii: the label map has labels 0, 3; name those"):
        read_nifti_mask(path, (2, 3))
    assert read_nifti_mask(path, (2, 3), values=(3, 4)).sum() == 2
    assert read_nifti_mask(write_nifti(tmp_path / "m.nii", ROWS.T, kind="<f4"), (2, 3)).sum() == 2
    with pytest.raises(DataError, match=r"m\.nii: the label map is 2 x 3 pixels .* image is 3 x 2"):
        read_nifti_mask(tmp_path / "m.nii", (3, 2))
    path = write_nifti(tmp_path / "m.nii", ROWS.T * 0.5, kind="<f4")
    with pytest.raises(DataError, match=r"m\.nii: 2 labels are not whole numbers \(e\.g\. 0\.5\)"):
        read_nifti_mask(path, (2, 3))
    path = write_nifti(tmp_path / "m.nii", np.stack([ROWS.T, 0 * ROWS.T], 2))
    for position in (None, 2):
        with pytest.raises(DataError, match=r"m\.nii: 2 slices, and slice"):
            read_nifti_mask(path, (2, 3), position=position)
    assert read_nifti_mask(path, (2, 3), position=0).sum() == 2
    assert not read_nifti_mask(path, (2, 3), position=1).any()
    assert check_labels(np.array([1.0, 2.0], np.float32)).tolist() == [1, 2]


def test_a_header_without_orientation_is_refused(tmp_path: Path) -> None:
    """The remedy that the message names makes it readable."""
    import nibabel

    path = write_nifti(tmp_path / "m.nii", ROWS.T, codes=(0, 0))
    with pytest.raises(DataError, match=r"m\.nii: its header states no orientation.*set_sform"):
        read_nifti(path)
    image = nibabel.load(path)
    image.set_sform(np.diag([-1, -1, 1, 1]), code=1)
    nibabel.save(image, tmp_path / "n.nii")
    assert read_nifti_mask(tmp_path / "n.nii", (2, 3)).sum() == 2
    flat = write_nifti(tmp_path / "m.nii", ROWS.T, affine=((1, 0, 0), (0, 0, 0), (0, 0, 1)))
    with pytest.raises(DataError, match="affine is singular"):
        read_nifti(flat)


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    """Every length that is cut, every flipped byte of a packed file, wild headers; named."""
    path = write_nifti(tmp_path / "m.nii.gz", ROWS.T)
    data = path.read_bytes()
    damaged = [data[:length] for length in range(0, len(data), 7)]
    damaged += [data[:-1], data + b"x"]
    damaged += [
        data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :] for at in range(10, len(data), 5)
    ]
    plain = write_nifti(tmp_path / "m.nii", ROWS.T).read_bytes()
    damaged += [plain[:-1], plain + b"x", b"", plain[:344] + b"ni1\0" + plain[348:]]
    for at, value in ((42, -3), (42, 0), (44, 32767), (70, 0), (70, 128), (40, 9)):
        damaged.append(plain[:at] + struct.pack("<h", value) + plain[at + 2 :])
    huge = struct.pack("<8h", 7, *[32767] * 7)
    damaged.append(plain[:40] + huge + plain[56:])
    for held in damaged:
        path.write_bytes(held)
        with pytest.raises(DataError, match=r"m\.nii\.gz: "):
            read_nifti(path)
    nans = write_nifti(tmp_path / "f.nii", np.full((2, 3), np.nan), kind="<f4")
    with pytest.raises(DataError, match="not finite"):
        read_nifti(nans)


def test_a_real_scan_is_turned_by_its_oblique_affine() -> None:
    """Its first axis goes left; nibabel's own canonical image is the same."""
    import nibabel
    from nibabel.testing import data_path

    path = Path(data_path) / "example4d.nii.gz"
    volume = read_nifti(path, modality=1)
    expected = nibabel.as_closest_canonical(nibabel.load(path)).get_fdata()[..., 1]
    assert volume.values.shape == (128, 96, 24)
    assert (volume.values == expected).all()
