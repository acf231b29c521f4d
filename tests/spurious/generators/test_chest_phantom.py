"""The chest phantom: what it draws, how it is planned, and the folder it writes."""

from __future__ import annotations

import hashlib
import pickle
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pydicom
import pytest
from pydicom.uid import JPEGBaseline8Bit

from spurious.config.datasets import SiimAcrOptions
from spurious.data.specificity import count_components
from spurious.errors import ConfigError, DataError
from spurious.generators.chest.chest_phantom import Case, ChestPhantom, draw_cases, render_case
from spurious.generators.chest.siim_writer import image_id, write_siim_acr
from spurious.readers.siim_acr.siim_acr import SiimAcr
from spurious.readers.siim_acr.tube_labels import split_by_order

SMALL = ChestPhantom(n_train=4, n_val=4, n_test=4, prevalence=0.5, size=128)


def hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of every file by its path."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def variant(number: int, *, pneumothorax: bool, tube: bool) -> Case:
    """One patient, with and without each finding."""
    case = draw_cases(SMALL)[number]
    return replace(case, pneumothorax=pneumothorax, tube=tube)


def test_same_seed_same_bytes_and_another_seed_other_films(tmp_path: Path) -> None:
    """Every file of two runs is equal; with another seed no film is."""
    progress: list[tuple[int, int]] = []
    write_siim_acr(tmp_path / "a", SMALL, lambda done, total: progress.append((done, total)))
    write_siim_acr(tmp_path / "b", SMALL)
    write_siim_acr(tmp_path / "c", replace(SMALL, seed=1))
    assert hashes(tmp_path / "a") == hashes(tmp_path / "b")
    assert not set(hashes(tmp_path / "a").values()) & set(hashes(tmp_path / "c").values())
    assert progress == [(i, 12) for i in range(1, 13)]


def test_folder_has_the_form_of_the_release(tmp_path: Path) -> None:
    """Tree, header, compression, table header and a pickle of plain types, val before test."""
    write_siim_acr(tmp_path / "a", SMALL)
    films = sorted((tmp_path / "a/dicom-images-train").glob("*/*/*.dcm"))
    assert len(films) == 12
    for path in films:
        header = pydicom.dcmread(path)
        assert path.stem == header.SOPInstanceUID == header.file_meta.MediaStorageSOPInstanceUID
        assert path.parent.name == header.SeriesInstanceUID
        assert path.parent.parent.name == header.StudyInstanceUID
        assert header.file_meta.TransferSyntaxUID == JPEGBaseline8Bit
        assert header.PhotometricInterpretation == "MONOCHROME2"
        assert (header.Rows, header.Columns, header.BitsStored) == (128, 128, 8)
        assert "phantom" in header.Manufacturer
    table = (tmp_path / "a/train-rle.csv").read_text().splitlines()
    assert table[0] == "ImageId, EncodedPixels"
    assert sum(line.endswith(", -1") for line in table) == 6
    labels = pickle.loads((tmp_path / "a/cxr_tube_dict.pkl").read_bytes())
    cases = {image_id(case): case for case in draw_cases(SMALL) if case.split != "train"}
    assert labels == {image: case.tube for image, case in cases.items()}
    assert list(split_by_order(list(labels), "labels").values()) == ["val"] * 4 + ["test"] * 4
    assert all(cases[image].split == "val" for image in list(labels)[:4])


def test_tubes_of_training_films_are_labelled_on_request(tmp_path: Path) -> None:
    """Methods with known groups then have them; every film keeps its split and its pixels."""
    write_siim_acr(tmp_path / "a", replace(SMALL, tube_labels="all"))
    write_siim_acr(tmp_path / "b", SMALL)
    source = SiimAcr(tmp_path / "a", SiimAcrOptions(image_size=32))
    released = SiimAcr(tmp_path / "b", SiimAcrOptions(image_size=32))
    cases = {image_id(case): case for case in draw_cases(SMALL)}
    assert source.index() == released.index() == sorted(cases)
    assert released.provenance()["split"] == "Saab et al. 2022, by the order of the tube labels"
    assert source.provenance()["split"].startswith("column split")
    for image, case in cases.items():
        record, plain = source.load(image), released.load(image)
        assert record.split == plain.split == case.split
        assert record.attributes == {"tube": case.tube}
        assert plain.attributes == {"tube": None if case.split == "train" else case.tube}
        assert np.array_equal(record.image, plain.image)


def test_used_folder_is_refused(tmp_path: Path) -> None:
    """Two phantoms in one folder would be one dataset with wrong tables."""
    (tmp_path / "x").write_text("")
    with pytest.raises(DataError, match="not empty"):
        write_siim_acr(tmp_path, SMALL)


@pytest.mark.parametrize("seed", range(25))
def test_uid_order_restarts_once_for_tiny_splits_too(seed: int) -> None:
    """Whatever is drawn, the release's way to tell val from test works."""
    config = ChestPhantom(n_train=2, n_val=2, n_test=2, seed=seed)
    held = sorted(draw_cases(config), key=lambda case: case.uid_tail)
    order = [case for split in ("val", "test") for case in held if case.split == split]
    splits = split_by_order([image_id(case) for case in order], "labels")
    assert list(splits.values()) == ["val", "val", "test", "test"]


def test_shares_of_the_plan_are_those_of_the_options() -> None:
    """Prevalence and both tube rates, per split, within half an image."""
    config = ChestPhantom(
        n_train=1000, n_val=300, n_test=500, prevalence=0.25, p_tube_given_positive=0.8,
        p_tube_given_negative=0.1, eval_p_tube_given_positive=0.5, eval_p_tube_given_negative=0.3,
    )  # fmt: skip
    cases = draw_cases(config)
    for split, size, rates in (
        ("train", 1000, (0.8, 0.1)), ("val", 300, (0.5, 0.3)), ("test", 500, (0.5, 0.3)),
    ):  # fmt: skip
        held = [case for case in cases if case.split == split]
        assert len(held) == size
        for positive, rate in zip((True, False), rates, strict=True):
            tubes = [case.tube for case in held if case.pneumothorax == positive]
            assert abs(len(tubes) - size * (0.25 if positive else 0.75)) <= 0.5
            assert abs(sum(tubes) - rate * len(tubes)) <= 0.5


def test_plan_has_no_order_and_no_shared_patient() -> None:
    """Findings are shuffled within a split (a run as long as a group would show), ids unique."""
    cases = draw_cases(ChestPhantom())
    assert (
        len({case.patient_id for case in cases}) == len({case.uid_tail for case in cases}) == 2900
    )
    train = np.array([case.pneumothorax for case in cases if case.split == "train"])
    changes = (train[1:] != train[:-1]).sum()
    assert abs(changes - 2 * 0.3 * 0.7 * 1999) < 5 * np.sqrt(0.42 * 0.58 * 1999)


def test_defaults_fill_every_group_of_the_evaluation_splits() -> None:
    """Robust AUROC needs positives without and negatives with a tube."""
    for split in ("val", "test"):
        groups = [
            (case.pneumothorax, case.tube)
            for case in draw_cases(ChestPhantom())
            if case.split == split
        ]
        assert min(groups.count((p, t)) for p in (True, False) for t in (True, False)) >= 30


@pytest.mark.parametrize("number", range(12))
def test_mask_is_there_exactly_when_the_finding_is(number: int) -> None:
    """Also for the smallest one on the smallest film; a label and its mask never disagree."""
    config = replace(SMALL, smallest_depth=0.01, largest_depth=0.011, p_second=0.5)
    _, mask = render_case(config, variant(number, pneumothorax=True, tube=False))
    assert mask.any()
    _, mask = render_case(config, variant(number, pneumothorax=False, tube=True))
    assert not mask.any()


@pytest.mark.parametrize("number", range(6))
def test_pneumothorax_changes_the_film_only_at_its_mask(number: int) -> None:
    """Air is darker, and beyond the edges' blur the patient and the noise are the same."""
    config = replace(SMALL, size=512, smallest_depth=0.2)
    sick, mask = render_case(config, variant(number, pneumothorax=True, tube=False))
    well, _ = render_case(config, variant(number, pneumothorax=False, tube=False))
    change = sick.astype(int) - well
    core = cv2.erode(mask.astype(np.uint8), np.ones((7, 7))).astype(bool)
    assert change[core].mean() < -5
    near = cv2.dilate(mask.astype(np.uint8), np.ones((81, 81))).astype(bool)
    assert np.abs(change[~near]).max() <= 2  # what edge enhancement carries so far


@pytest.mark.parametrize("number", range(6))
def test_tube_is_bright_and_easier_to_see_than_the_pneumothorax(number: int) -> None:
    """Peak change of a tube is above that of a pneumothorax, and its mask is not touched."""
    config = replace(SMALL, size=512)
    well, _ = render_case(config, variant(number, pneumothorax=False, tube=False))
    tube, mask = render_case(config, variant(number, pneumothorax=False, tube=True))
    sick, _ = render_case(config, variant(number, pneumothorax=True, tube=False))
    brighter = np.sort((tube.astype(int) - well).ravel())[-300:].mean()
    darker = np.sort((well.astype(int) - sick).ravel())[-300:].mean()
    assert brighter > darker
    assert not mask.any()


def test_contrast_zero_hides_a_finding() -> None:
    """The visibility options reach the film: at 0 it is that of the same patient without."""
    config = replace(SMALL, pneumothorax_contrast=0.0, tube_contrast=0.0)
    hidden, mask = render_case(config, variant(0, pneumothorax=True, tube=True))
    well, _ = render_case(config, variant(0, pneumothorax=False, tube=False))
    assert (hidden == well).all()
    assert mask.any()


def test_second_component_follows_its_probability() -> None:
    """None at 0; at 1 nearly every positive film has two separate ones."""
    config = replace(SMALL, n_train=20, prevalence=1.0, smallest_depth=0.15)
    counts = {}
    for p_second in (0.0, 1.0):
        each = replace(config, p_second=p_second)
        counts[p_second] = [
            count_components(render_case(each, case)[1]) for case in draw_cases(each)[:20]
        ]
    assert max(counts[0.0]) == 1
    assert np.mean([count == 2 for count in counts[1.0]]) >= 0.8


def test_films_differ_and_use_the_grey_scale() -> None:
    """Varied patients and exposure, dark lungs, bright middle, no flat or clipped film."""
    films = [render_case(SMALL, case)[0] for case in draw_cases(SMALL)]
    assert len({film.tobytes() for film in films}) == 12
    for film in films:
        assert film.dtype == np.uint8
        assert film.std() > 30
        assert ((film < 4) | (film > 250)).mean() < 0.01
        assert film[50:80, 60:68].mean() > film[50:80, 30:40].mean() + 40


def test_depths_in_the_wrong_order_are_refused() -> None:
    """A range that is none is a mistake in the options."""
    with pytest.raises(ConfigError, match="smallest_depth"):
        ChestPhantom(smallest_depth=0.4, largest_depth=0.2)
