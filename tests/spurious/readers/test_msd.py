"""Reader of the Medical Segmentation Decathlon, on volumes written by hand and on a real brain."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from hand_made import write_text

from spurious.config.fields import problems
from spurious.config.releases import MsdOptions
from spurious.errors import DataError
from spurious.readers.msd import Reader

RIGHT, LEFT = np.diag([1.0, 1.0, 1.0, 1.0]), np.diag([-1.0, 1.0, 1.0, 1.0])
"""Affines: the first axis goes to the patient's right, or to the left."""


def write_volume(path: Path, values: Any, affine: Any = RIGHT) -> None:
    """A volume with an orientation."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(values, affine), path)


def describe(folder: Path, names: list[str], **changes: Any) -> None:
    """The description of a task with two classes."""
    held = {
        "name": "Heart",
        "labels": {"0": "background", "1": "atrium", "2": "tumour"},
        "modality": {"0": "MRI"},
        "training": [
            {"image": f"./imagesTr/{name}.nii.gz", "label": f"./labelsTr/{name}.nii.gz"}
            for name in names
        ],
        **changes,
    }
    (folder / "dataset.json").write_text(json.dumps(held))


def corner(side: int = 8, depth: int = 4) -> Any:
    """Labels: class 1 in four voxels at the patient's left, front, in slice 1; one in slice 2."""
    labels = np.zeros((side, side, depth), np.uint8)
    labels[0:2, 6:8, 1] = 1
    labels[0, 7, 2] = 1
    labels[4, 4, 3] = 2
    return labels


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four volumes of 8 x 8 x 4 with what macOS leaves beside them, which is listed, too."""
    values = np.zeros((8, 8, 4), np.int16) - 1000
    values[0:2, 6:8, 1] = 3000
    for number in range(4):
        write_volume(tmp_path / "imagesTr" / f"la_{number:03d}.nii.gz", values)
        write_volume(tmp_path / "labelsTr" / f"la_{number:03d}.nii.gz", corner())
    for inside in ("imagesTr", "labelsTr"):
        (tmp_path / inside / "._la_000.nii.gz").write_bytes(b"\x00\x05\x16\x07")
    describe(tmp_path, ["la_000", "la_001", "la_002", "la_003", "._la_000"])
    return tmp_path


def reader(folder: Path, **options: Any) -> Reader:
    """The reader under test, with all slices of the atrium."""
    options = {"slices": "all", "positive": "atrium", "split": "0.5/0.25/0.25", **options}
    return Reader(folder, MsdOptions(image_size=8, **options))


def message(folder: Path, **options: Any) -> str:
    """What reading the index says is wrong."""
    with pytest.raises(DataError) as caught:
        reader(folder, **options).index()
    return str(caught.value)


def test_a_slice_is_positive_from_two_voxels(folder: Path) -> None:
    """Slice 2 has one, so it is neither; splits are of volumes."""
    source = reader(folder)
    assert [name for name in source.index() if name.startswith("la_000")] == [
        "la_000_z0000",
        "la_000_z0001",
        "la_000_z0003",
    ]
    records = [source.load(name) for name in source.index()]
    assert [record.label for record in records] == [0, 1, 0] * 4
    counts = source.provenance()  # what macOS leaves is no volume of files or of the list
    assert (counts["volumes_without_file"], counts["volumes_not_listed"]) == ("0", "0")
    splits = {(record.patient_id, record.split) for record in records}
    assert sorted(split for _, split in splits) == ["test", "train", "train", "val"]
    assert reader(folder, min_voxels=1).load("la_000_z0002").label == 1
    assert len(reader(folder, positive="").index()) == 4 * 2  # the tumour's slice has one, too
    assert reader(folder, positive="tumour", min_voxels=1).load("la_000_z0003").label == 1


def test_volumes_are_turned_by_their_affine(folder: Path) -> None:
    """The patient's left is at the right of the picture and the front at the top, either way."""
    record = reader(folder).load("la_000_z0001")
    assert record.mask is not None
    expected = [[0, 6], [0, 7], [1, 6], [1, 7]]
    assert np.argwhere(record.mask).tolist() == expected
    assert np.argwhere(record.image[:, :, 0] > 128).tolist() == expected
    values = nibabel.load(folder / "imagesTr" / "la_001.nii.gz").get_fdata().astype(np.int16)
    write_volume(folder / "imagesTr" / "la_001.nii.gz", values[::-1], LEFT)
    write_volume(folder / "labelsTr" / "la_001.nii.gz", corner()[::-1], LEFT)
    turned = reader(folder).load("la_001_z0001")
    assert turned.mask is not None
    assert np.argwhere(turned.mask).tolist() == expected
    assert (turned.image == record.image).all()


def test_values_go_through_a_window_of_the_volume(folder: Path) -> None:
    """-1000 to 3000 are 0 to 255; of Hounsfield units what is outside is clipped, not wrapped."""
    source = reader(folder, window="data")
    assert set(np.unique(source.load("la_000_z0001").image)) == {0, 255}
    assert (source.load("la_000_z0000").image == 0).all()
    narrow = reader(folder, window="-1500/-500").load("la_000_z0001").image
    assert set(np.unique(narrow)) == {128, 255}
    with pytest.raises(DataError, match="window is 5/5; expected LOW/HIGH"):
        reader(folder, window="5/5").load("la_000_z0001")


def test_one_of_several_modalities(folder: Path) -> None:
    """4-D images have three-dimensional labels."""
    values = np.zeros((8, 8, 4, 2), np.int16)
    values[..., 1] = np.arange(8)[:, None, None]
    write_volume(folder / "imagesTr" / "la_000.nii.gz", values)
    describe(folder, ["la_000"], modality={"0": "FLAIR", "1": "T1w"})
    second = reader(folder, modality=1, window="data").load("la_000_z0000")
    assert np.ptp(second.image) == 255
    assert np.ptp(reader(folder, window="data").load("la_000_z0000").image) == 0


def test_balanced_slices_and_attributes(folder: Path) -> None:
    """As many negative slices of a split as positive ones; attributes come from a table."""
    table = folder / "scanners.csv"
    write_text(table, "volume,wire\nla_000,1\nla_001,0\nla_002,")
    source = reader(folder, slices="balanced", attributes=str(table))
    records = [source.load(name) for name in source.index()]
    for split in ("train", "val", "test"):
        labels = [record.label for record in records if record.split == split]
        assert sum(labels) * 2 == len(labels) > 0
    wires = {record.patient_id: record.attributes["wire"] for record in records}
    assert wires == {"la_000": True, "la_001": False, "la_002": None, "la_003": None}
    write_text(table, "volume,wire\nla_000,yes")
    assert "scanners.csv line 2: wire is 'yes'" in message(folder, attributes=str(table))


def test_a_list_cannot_point_elsewhere(folder: Path) -> None:
    """Names are compared and never opened; what is not listed, or not there, is counted."""
    describe(folder, ["la_000", "la_001"])
    assert reader(folder).provenance()["volumes_not_listed"] == "2"
    describe(folder, ["la_000", "la_001", "la_002", "la_003", "../../la_009"])
    assert reader(folder).provenance()["volumes_without_file"] == "1"
    assert len({name[:6] for name in reader(folder).index()}) == 4


def test_what_is_wrong_with_a_task_is_named(folder: Path) -> None:
    """Before slices are read."""
    assert "no class is called 'lung'; expected some of atrium, tumour" in message(
        folder, positive="lung"
    )
    (folder / "labelsTr" / "la_002.nii.gz").unlink()
    assert "1 volumes have no labelsTr/<volume>.nii.gz (la_002)" in message(folder)
    (folder / "dataset.json").unlink()
    assert "dataset.json: cannot be read" in message(folder)
    assert problems(MsdOptions(split="0.5/0.5/0.5"))


def test_labels_of_another_volume_are_refused(folder: Path) -> None:
    """By shape, and where they were resampled."""
    write_volume(folder / "labelsTr" / "la_000.nii.gz", corner(side=9))
    with pytest.raises(DataError, match="9 x 9 x 4 voxels, and its image has 8 x 8 x 4"):
        reader(folder).load("la_000_z0001")
    write_volume(folder / "labelsTr" / "la_001.nii.gz", corner().astype(np.float32) * 0.5)
    with pytest.raises(DataError, match=r"la_001.* labels are not whole numbers"):
        reader(folder).load("la_001_z0000")


def test_a_real_brain_with_its_masks(tmp_path: Path) -> None:
    """MNI152: the T1 image, and grey matter of probability one half and more as labels."""
    spec = importlib.util.find_spec("nilearn")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("nilearn is not installed")
    data = Path(spec.submodule_search_locations[0]) / "datasets" / "data"
    parts = {
        kind: data / f"mni_icbm152_{kind}_tal_nlin_sym_09a_converted.nii.gz"
        for kind in ("t1", "gm")
    }
    (tmp_path / "imagesTr").mkdir()
    (tmp_path / "imagesTr" / "mni_1.nii.gz").write_bytes(parts["t1"].read_bytes())
    grey = nibabel.load(parts["gm"])
    labels = (grey.get_fdata() >= 0.5 * grey.get_fdata().max()).astype(np.uint8)
    write_volume(tmp_path / "labelsTr" / "mni_1.nii.gz", labels, grey.affine)
    describe(tmp_path, ["mni_1"])
    source = Reader(tmp_path, MsdOptions(image_size=64, slices="all", positive="atrium"))
    record = source.load("mni_1_z0080")
    assert record.mask is not None
    assert record.label == 1
    image = record.image[:, :, 0].astype(float)
    assert image[:4].mean() < 5  # air around the head
    # in T1 grey matter is darker than the rest of the brain and brighter than air
    assert 60 < image[record.mask].mean() < image.max()
    halves = record.mask[:, :32].sum(), record.mask[:, :31:-1].sum()
    assert halves[0] == pytest.approx(halves[1], rel=0.1)  # the template is symmetrical
    assert record.outline is not None
    assert 0.1 < record.outline.area < 0.4
