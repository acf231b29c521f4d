"""A team's own folder from the command line to a dataset in a store, without Ray."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from cluster.datasets.manifest import Manifest
from cluster.stores import open_store
from spurious.data.splits import SPLITS
from spurious.scoring.expected_width import expected_half_width
from sweeps.cli import main
from sweeps.errors import SpecError, SweepError
from sweeps.staging import survey
from sweeps.staging.patient_salt import FILE, machine_salt
from sweeps.staging.sources import keep_texts, staging_from_command
from sweeps.staging.stage import stage


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place for this machine's secret."""
    monkeypatch.setenv("SWEEPS_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def template(tmp_path: Path, home: Path) -> Path:
    """The folder that `sweeps data template` writes."""
    assert main(["data", "template", str(tmp_path / "mine")]) == 0
    return tmp_path / "mine"


def put(folder: Path, store: Path, **options: Any) -> Manifest:
    """Stage a folder in this process."""
    staging = staging_from_command("folder", folder, {"image_size": 64, **options})
    return stage(open_store(str(store)), staging.source, "mine", in_process=True)


def test_the_template_is_staged_as_it_is(template: Path, tmp_path: Path) -> None:
    """All splits with both labels, masks and boxes of some; its README names every column."""
    manifest = put(template, tmp_path / "store")
    assert [manifest.splits[s].n for s in SPLITS] == [16, 8, 8]
    drawn = manifest.splits["train"].drawn
    assert drawn is not None
    assert (drawn.masks_y0, drawn.masks_y1) == (3, 3)
    assert "synthetic" in manifest.provenance
    header = (template / "metadata.csv").read_text().splitlines()[0]
    readme = (template / "README.txt").read_text()
    assert all(column in readme for column in header.split(","))
    assert main(["data", "template", str(template)]) == 2


def test_the_digest_follows_from_folder_and_machine(
    template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Staged again it is the same; with another secret it is not, but where ids are kept."""
    digest = put(template, tmp_path / "store").digest
    assert put(template, tmp_path / "other").digest == digest
    kept = put(template, tmp_path / "store", keep_patient_ids=True).digest
    salt = (tmp_path / "home" / FILE).read_text()
    monkeypatch.setenv("SWEEPS_HOME", str(tmp_path / "elsewhere"))
    assert put(template, tmp_path / "store").digest != digest
    assert put(template, tmp_path / "store", patient_salt=salt).digest == digest
    assert put(template, tmp_path / "store", keep_patient_ids=True).digest == kept


def test_the_secret_is_made_once_for_its_user_alone(home: Path) -> None:
    """A damaged one is refused: another would change every hash."""
    salt = machine_salt()
    assert machine_salt() == salt
    assert (home / FILE).stat().st_mode & 0o777 == 0o600
    (home / FILE).write_text("")
    with pytest.raises(SweepError, match="damaged"):
        machine_salt()


def test_a_place_without_writing_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the home is a file."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SWEEPS_HOME", str(tmp_path / "file"))
    with pytest.raises(SweepError, match="--set patient_salt=TEXT, or keep the ids"):
        machine_salt()


def test_a_dry_run_counts_and_writes_nothing(
    template: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Images, masks, boxes and what each robust AUROC will rest on."""
    command = ["stage", "folder", str(template), "--dry-run", "--set", "image_size=64"]
    assert main(command) == 0
    printed = capsys.readouterr()
    assert "train: 16 images, 8 positive; masks on 6 (3 positive, 3 drawn and empty)" in printed.out
    assert "ruler, test: 2 positive, 2 negative: +-0.50" in printed.out
    assert "carried along: age, sex" in printed.err
    assert main([*command, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["splits"]["val"]["boxes"] == 1
    [cell] = [
        cell
        for cell in document["robust"]
        if (cell["attribute"], cell["split"]) == ("ruler", "test")
    ]
    assert cell["half_width"] == pytest.approx(expected_half_width(2, 2))
    assert not (tmp_path / "home" / "server.json").exists()


def test_a_dry_run_names_every_bad_file(
    template: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Images and masks alike; in processes, too, where there are many images."""
    for name in ("images/image_03.jpg", "masks/image_06.png"):
        os.truncate(template / name, 60)
    command = ["stage", "folder", str(template), "--dry-run", "--set", "image_size=64"]
    monkeypatch.setattr(survey, "_WORTH_PROCESSES", 0)
    assert main(command) == 2
    error = capsys.readouterr().err
    assert "2 problems keep folder from being staged" in error
    assert "image_03.jpg" in error
    assert "image_06.png" in error


def test_a_generator_has_a_dry_run(capsys: pytest.CaptureFixture[str]) -> None:
    """As any dataset that can be staged."""
    sizes = [f"n_{split}=4" for split in SPLITS]
    options = [word for size in sizes for word in ("--set", size)]
    assert main(["stage", "gaussian-squares", "--dry-run", *options]) == 0
    assert "train: 4 images" in capsys.readouterr().out


def test_flags_stand_for_options(template: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--table`, `--split`, `--keep-patient-ids`; of another reader they are refused."""
    flags = ["--table", "metadata.csv", "--split", "0.5/0.25/0.25", "--keep-patient-ids"]
    command = ["stage", "folder", str(template), "--dry-run", "--set", "image_size=64"]
    assert main([*command, *flags]) == 0
    assert "split by patient into 0.5/0.25/0.25, seed 0" in capsys.readouterr().err
    assert main(["stage", "isic", str(template), "--split", "0.5/0.25/0.25"]) == 2
    assert "split_shares" in capsys.readouterr().err
    assert main(["stage", "weights", "w.pth", "--dry-run"]) == 2
    assert "--dry-run is for datasets" in capsys.readouterr().err


def test_texts_are_taken_as_typed() -> None:
    """A class called 1, yes or 1.0 is not a number; numbers stay numbers."""
    pairs = ["positive=1", "negative=no", "image_size=64", "label=dx"]
    options = {"positive": 1, "negative": False, "image_size": 64, "label": "dx"}
    kept = keep_texts("folder", pairs, options)
    assert kept == {"positive": "1", "negative": "no", "image_size": 64, "label": "dx"}
    with pytest.raises(SpecError, match="image_size"):
        staging_from_command(
            "folder", Path(), keep_texts("folder", ["image_size=x"], {"image_size": "x"})
        )


def test_expected_widths_are_those_of_hanley_and_mcneil() -> None:
    """AUROC 0.82 of 66 positive and 85 negative images by hand: se 0.0358."""
    q1, q2 = 0.82 / 1.18, 2 * 0.82**2 / 1.82
    variance = (0.82 * 0.18 + 65 * (q1 - 0.82**2) + 84 * (q2 - 0.82**2)) / (66 * 85)
    assert expected_half_width(66, 85, 0.82) == pytest.approx(1.959964 * variance**0.5)
    assert expected_half_width(66, 85, 0.82) == pytest.approx(0.0702, abs=1e-4)
    assert expected_half_width(0, 85) != expected_half_width(0, 85)
