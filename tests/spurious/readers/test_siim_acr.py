"""Reader of the SIIM-ACR release, on a phantom folder in its format."""

from __future__ import annotations

import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest
from siim_release import PHANTOM, SIZE, cases, film, folder, released, rows, source

from spurious.config.datasets import SiimAcrOptions
from spurious.data.specificity import count_components
from spurious.errors import DataError
from spurious.generators.chest.chest_phantom import render_case
from spurious.generators.chest.siim_writer import image_id
from spurious.readers.resize import shrink_image, shrink_mask
from spurious.readers.siim_acr.siim_acr import SiimAcr

__all__ = ["folder", "released"]


@pytest.mark.parametrize("size", [SIZE, 64, 100])
def test_every_record_is_the_phantoms_truth(released: Path, size: int) -> None:
    """Ids, splits, labels, tubes, patients, masks and components, at native and smaller sizes."""
    reader = source(released, size)
    assert list(reader.index()) == sorted(image_id(case) for case in cases())
    for case in cases():
        record = reader.load(image_id(case))
        image, mask = render_case(PHANTOM, case)
        assert record.split == case.split
        assert record.label == case.pneumothorax
        assert record.patient_id == case.patient_id
        assert record.attributes == {"tube": None if case.split == "train" else case.tube}
        assert (record.mask == shrink_mask(mask, size, size)).all()
        assert record.abnormalities == count_components(mask)
        expected = shrink_image(image, size, size).astype(int)
        assert record.image.shape == (size, size, 1)
        assert record.image.dtype == np.uint8
        # JPEG is lossy: level with the rendered film on average, and nowhere far from it.
        assert np.abs(record.image[:, :, 0] - expected).mean() < 3
        assert np.abs(record.image[:, :, 0] - expected).max() < 60


def test_pickled_source_needs_no_index_again(folder: Path) -> None:
    """Workers get the index with the source, wherever they run."""
    reader = source(folder)
    ids = reader.index()
    clone = pickle.loads(pickle.dumps(reader))
    (folder / "train-rle.csv").unlink()
    assert clone.load(ids[0]).sample_id == ids[0]
    assert reader.declared_directions == {"tube": 1}


def test_relative_folder_does_not_depend_on_the_working_directory(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A source made in one directory is read in another."""
    monkeypatch.chdir(folder.parent)
    reader = SiimAcr(Path("release"), SiimAcrOptions(image_size=SIZE))
    monkeypatch.chdir("/")
    assert len(reader.index()) == 12


@pytest.mark.parametrize("header", ["ImageId, EncodedPixels", "ImageId,EncodedPixels"])
@pytest.mark.parametrize("none", ["-1", " -1"])
def test_both_spellings_of_the_mask_table(folder: Path, header: str, none: str) -> None:
    """With and without the leading space an image without a mask is negative."""
    path = folder / "train-rle.csv"
    _, *lines = path.read_text().splitlines()
    lines = [
        line.split(",")[0] + "," + (none if line.endswith("-1") else line.split(",")[1])
        for line in lines
    ]
    path.unlink()
    (folder / "stage_2_train.csv").write_text("\ufeff" + "\r\n".join([header, *lines]))
    reader = source(folder)
    labels = {image: reader.load(image).label for image in reader.index()}
    assert labels == {image_id(case): int(case.pneumothorax) for case in cases()}


def test_rows_of_an_image_are_united_and_duplicates_change_nothing(folder: Path) -> None:
    """Several annotators or components make one mask."""
    image = image_id(cases("train", pneumothorax=True)[0])
    rows(folder, lambda lines: [line for line in lines if not line.startswith(image)] + [
        f"{image}, 0 3", f"{image}, 2 4", f"{image}, 0 3", f"{image}, {10 * SIZE} 1",
    ])  # fmt: skip
    record = source(folder).load(image)
    expected = np.zeros((SIZE, SIZE), bool)
    expected[:6, 0] = expected[0, 10] = True
    assert (record.mask == expected).all()
    assert record.abnormalities == 2


def test_abnormalities_are_counted_before_shrinking(folder: Path) -> None:
    """Two components two pixels apart are two for the annotator, also where staging joins them."""
    image = image_id(cases("train", pneumothorax=False)[0])
    rows(folder, lambda lines: [li for li in lines if image not in li] + [f"{image}, 0 1 1 1"])
    record = source(folder, 64).load(image)
    assert (record.mask.sum(), record.abnormalities) == (1, 2)


def test_images_or_rows_without_a_partner_are_left_out_and_counted(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody annotated the one, nobody can see the other; both are logged and in provenance."""
    unlabelled, missing = (image_id(case) for case in cases("train")[:2])
    gone = image_id(cases("val")[0])
    table = (folder / "train-rle.csv").read_text()
    rows(folder, lambda lines: [line for line in lines if not line.startswith(unlabelled)])
    reader = source(folder)
    assert set(reader.index()) == {image_id(case) for case in cases()} - {unlabelled}
    assert reader.provenance()["images_without_row"] == "1"
    assert "1 images without row left out" in caplog.text
    with pytest.raises(DataError, match="no labelled image"):
        reader.load(unlabelled)
    (folder / "train-rle.csv").write_text(table)
    film(folder, missing).unlink()
    film(folder, gone).unlink()
    held = source(folder).provenance()
    assert (held["images"], held["images_without_row"]) == ("10", "0")
    assert (held["rows_without_image"], held["tube_labels_without_image"]) == ("2", "1")


def test_overrunning_last_run_is_clipped_with_a_warning(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The warning names line and image."""
    image = image_id(cases("train", pneumothorax=True)[0])
    rows(folder, lambda lines: [*lines, f"{image}, {SIZE * SIZE - 2} 5"])
    record = source(folder).load(image)
    assert record.mask[-2:, -1].all()
    assert "goes 3 pixels past image" in caplog.text
    assert f"line {len((folder / 'train-rle.csv').read_text().splitlines())}" in caplog.text


def test_mask_of_another_image_size_is_refused(folder: Path) -> None:
    """A code for 1024 x 1024 on a smaller film names table, line and image."""
    image = image_id(cases("train", pneumothorax=True)[0])
    rows(folder, lambda lines: [f"{image}, {1024 * 1000} 5", *lines])
    with pytest.raises(DataError, match=rf"train-rle\.csv line 2, image {image}: .*256 x 256"):
        source(folder).load(image)


def test_problems_of_tree_table_and_tubes_come_all_at_once(folder: Path) -> None:
    """One run names each; twenty in full, the others counted."""
    image = image_id(cases("train")[0])
    copy = folder / "dicom-images-train/other/series"
    copy.mkdir(parents=True)
    shutil.copy(film(folder, image), copy)
    (folder / "cxr_tube_dict.pkl").write_bytes(pickle.dumps({"1.2.3": 4}))
    rows(folder, lambda lines: [f"{image}, 1 2 3", "only-one-cell", ", -1"] + [f"{image}, x"] * 30)
    with pytest.raises(DataError) as caught:
        source(folder).index()
    text = str(caught.value)
    assert text.startswith("siim-acr: 35 problems")
    assert "second file of that image" in text
    assert "train-rle.csv line 2: run-length code has 3 numbers" in text
    assert "train-rle.csv line 3: 1 cells instead of 2" in text
    assert "train-rle.csv line 4: no ImageId" in text
    assert text.count("\n") == 21
    assert text.endswith("and 15 more")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "empty"),
        (b"ImageId, EncodedPixels\n", "no rows"),
        (b"ImageId;EncodedPixels\n1.2;-1\n", "delimiter looks like ';'"),
        (b"ImageId\tEncodedPixels\n1.2\t-1\n", "delimiter looks like"),
        (b"ImageId,Mask\n1.2,-1\n", "no column 'EncodedPixels'"),
        ("ImageId,EncodedPixels\n1.2,-1\n".encode("utf-16"), "not UTF-8"),
        (b'ImageId,EncodedPixels\n1.2,"1 2\n1.3,-1\n', "not a CSV line"),
        (b"ImageId,EncodedPixels,EncodedPixels\n1.2,1 2,-1\n", "'EncodedPixels' is there twice"),
    ],
)
def test_tables_that_are_none_are_refused(folder: Path, content: bytes, what: str) -> None:
    """Each with its own reason and the file's name."""
    (folder / "train-rle.csv").write_bytes(content)
    with pytest.raises(DataError, match=rf"train-rle\.csv.*{what}"):
        source(folder).index()


def test_missing_and_ambiguous_files_are_named(folder: Path, tmp_path: Path) -> None:
    """Absent tubes, two mask tables, or a folder that is none; a given path settles it."""
    shutil.copy(folder / "train-rle.csv", folder / "stage_2_train.csv")
    moved = (folder / "cxr_tube_dict.pkl").rename(tmp_path / "tubes.pkl")
    with pytest.raises(DataError, match=r"(?s)found train-rle\.csv and stage_2.*found neither"):
        source(folder).index()
    given = SiimAcr(
        folder,
        SiimAcrOptions(image_size=SIZE, tubes=str(moved), rle=str(folder / "train-rle.csv")),
    )
    assert len(given.index()) == 12
    with pytest.raises(DataError, match="no dicom-images-train/"):
        source(tmp_path).index()


def test_links_that_leave_the_folder_are_refused(folder: Path, tmp_path: Path) -> None:
    """A linked file, folder or table could bring in anything; a link inside is fine."""
    image = image_id(cases("train")[0])
    path = film(folder, image)
    inside = path.rename(folder / "film")
    path.symlink_to(inside)
    assert len(source(folder).index()) == 12
    path.unlink()
    path.symlink_to(inside.rename(tmp_path / "film"))
    series = film(folder, image_id(cases("train")[1])).parent
    series.symlink_to(series.rename(tmp_path / "series"))
    table = folder / "train-rle.csv"
    table.symlink_to(table.rename(tmp_path / "table"))
    with pytest.raises(DataError) as caught:
        source(folder).index()
    assert str(caught.value).count("a link that leaves the folder") == 3


def test_names_in_tables_never_become_paths(folder: Path) -> None:
    """An ImageId that climbs out is a row without an image, even where such a file exists."""
    outside = folder.parent / "outside.dcm"
    shutil.copy(film(folder, image_id(cases("train")[0])), outside)
    climbing = "../../../../outside"
    rows(folder, lambda lines: [*lines, f"{climbing}, -1", f"{outside.with_suffix('')}, -1"])
    reader = source(folder)
    assert len(reader.index()) == 12
    assert reader.provenance()["rows_without_image"] == "2"
    with pytest.raises(DataError, match="no labelled image"):
        reader.load(climbing)


def test_stage_2_names_cannot_be_joined(folder: Path) -> None:
    """Renamed images are told apart from a broken download, with what to use instead."""
    renamed = {}
    for i, path in enumerate(sorted((folder / "dicom-images-train").glob("*/*/*.dcm"))):
        renamed[path.stem] = f"ID_{i:09x}"
        path.rename(path.with_stem(renamed[path.stem]))
    rows(
        folder,
        lambda lines: [renamed[line.split(",")[0]] + "," + line.split(",")[1] for line in lines],
    )
    with pytest.raises(DataError, match=r"stage-2 download renamed the images.*only the stage-1"):
        source(folder).index()


def test_table_of_another_release_is_refused(folder: Path) -> None:
    """No row matches any image."""
    rows(folder, lambda lines: ["1.2.3, -1"])
    with pytest.raises(DataError, match=r"no row of train-rle\.csv matches an image"):
        source(folder).index()


def test_a_split_without_images_is_refused(folder: Path) -> None:
    """A partial download must not pass for a dataset without a test set."""
    for case in cases("test"):
        film(folder, image_id(case)).unlink()
    with pytest.raises(DataError, match="no labelled image in split test"):
        source(folder).index()


def edit(path: Path, **tags: object) -> None:
    """Change header fields of a film."""
    header = pydicom.dcmread(path)
    for name, value in tags.items():
        setattr(header, name, value)
    header.save_as(path)


def test_identity_falls_back_to_the_study(folder: Path) -> None:
    """Without PatientID the study stands in, and without that its folder."""
    image = image_id(cases("train")[0])
    path = film(folder, image)
    edit(path, PatientID="")
    assert source(folder).load(image).patient_id == path.parent.parent.name
    edit(path, StudyInstanceUID="1.2.99")
    assert source(folder).load(image).patient_id == "1.2.99"
    edit(path, StudyInstanceUID="")
    assert source(folder).load(image).patient_id == path.parent.parent.name


def test_a_film_under_another_films_name_is_refused(folder: Path) -> None:
    """Swapped files would put masks on the wrong patients."""
    one, two = (film(folder, image_id(case)) for case in cases("train")[:2])
    shutil.copy(two, one)
    with pytest.raises(DataError, match=rf"{one.name}: holds image {two.stem}"):
        source(folder).load(one.stem)


def test_a_renamed_film_keeps_its_own_name(folder: Path) -> None:
    """The id is the file stem as the tables have it, whatever the header says."""
    path = film(folder, image_id(cases("train")[0]))
    old = path.stem
    path.rename(path.with_stem("renamed"))
    rows(folder, lambda lines: [line.replace(old, "renamed") for line in lines])
    assert source(folder).load("renamed").sample_id == "renamed"


def test_a_size_above_the_native_one_is_refused(released: Path) -> None:
    """Staging never enlarges."""
    with pytest.raises(DataError, match="256 x 256 pixels"):
        source(released, SIZE + 1).load(image_id(cases()[0]))


@pytest.mark.filterwarnings("ignore:End of file reached")
def test_damaged_film_is_named(folder: Path) -> None:
    """One cut-off file among many is found by its path."""
    path = film(folder, image_id(cases("train")[0]))
    os.truncate(path, 2000)
    with pytest.raises(DataError, match=path.name):
        source(folder).load(path.stem)
