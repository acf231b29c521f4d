"""Images that cannot be staged: left out where that is asked for and little is lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.stores.folder import FolderStore
from spurious.config.datasets import IsicOptions
from spurious.generators.skin.isic_writer import write_isic
from spurious.generators.skin.skin_phantom import SkinPhantom
from spurious.readers.isic.isic import Isic
from spurious.readers.isic.isic_files import IMAGE_FOLDER
from sweeps.commands.stage import stage_into, summarize_manifest
from sweeps.staging import bad_images
from sweeps.staging.bad_images import BadImages, describe_staging
from sweeps.staging.sources import Staging


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """A release of 16 lesions."""
    folder = tmp_path / "isic"
    write_isic(folder, SkinPhantom(n_train=8, n_val=4, n_test=4, width=64, prevalence=0.5))
    return folder


def cut(folder: Path, split: str, label: int | None, count: int) -> list[str]:
    """Cut the pictures of some images of a split and label; return their ids."""
    rows = Isic(folder, IsicOptions(image_size=16)).contents.rows
    ids = [i for i, r in rows.items() if r.split == split and label in (None, r.label)][:count]
    for image in ids:
        path = folder / IMAGE_FOLDER / f"{image}.jpg"
        path.write_bytes(path.read_bytes()[:300])
    return sorted(ids)


def read(folder: Path) -> Staging:
    """Open the release."""
    return Staging(Isic(folder, IsicOptions(image_size=16)))


def test_bad_images_are_left_out_and_recorded(
    release: Path, folder_store: FolderStore, caplog: pytest.LogCaptureFixture
) -> None:
    """Their number, ids and reasons stand in the manifest, in the log and in a report's notes."""
    ids = cut(release, "train", 0, 2)
    with pytest.raises(BadImages, match=r"2 of 16 images cannot be staged.*--on-error skip"):
        stage_into(folder_store, "moles", read(release), in_process=True)
    manifest = stage_into(folder_store, "moles", read(release), in_process=True, on_error="skip")
    assert manifest.rows == 14
    assert manifest.splits["train"].n == 6
    assert manifest.provenance["images_skipped"] == "2"
    assert summarize_manifest(manifest, "store")["skipped"] == 2
    recorded = manifest.provenance["skipped"].splitlines()
    assert [line.partition(": ")[0] for line in recorded] == ids
    assert all("cannot be read as JPEG" in line for line in recorded)
    assert "2 of 16 images left out" in caplog.text
    assert describe_staging(manifest.provenance) == [
        "2 images of the dataset could not be read and were left out of all splits "
        f"({ids[0]}, {ids[1]})"
    ]
    assert describe_staging({"images": "16"}) == []
    assert not list(folder_store.list("datasets/moles/parts/"))


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        ([("train", None, 8), ("val", 0, 1)], "more than half of them are bad"),
        ([("val", None, 4)], "split val would have no image"),
        ([("test", 1, 4)], "split test, label 1 would have no image"),
    ],
)
def test_too_many_are_not_left_out(
    release: Path,
    folder_store: FolderStore,
    chosen: list[tuple[str, int | None, int]],
    words: str,
) -> None:
    """More than half of all, a whole split, or a whole label of one."""
    for split, label, count in chosen:
        cut(release, split, label, count)
    with pytest.raises(BadImages, match=f"too many to leave out: {words}"):
        stage_into(folder_store, "moles", read(release), in_process=True, on_error="skip")
    assert not [key for key in folder_store.list("datasets/") if "manifest" in key]


def test_all_of_many_are_in_a_file(
    release: Path, folder_store: FolderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message shows the first and names the file with all, an id and a reason a line."""
    monkeypatch.setattr(bad_images, "SHOWN", 2)
    monkeypatch.chdir(tmp_path)
    ids = cut(release, "train", None, 4)
    with pytest.raises(BadImages, match=r"and 2 more\n  all: .*bad-images-moles.tsv"):
        stage_into(folder_store, "moles", read(release), in_process=True)
    lines = (tmp_path / "bad-images-moles.tsv").read_text().splitlines()
    assert [line.partition("\t")[0] for line in lines] == ids
