"""A staging that did not end is continued, with what nothing has changed since."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cluster.datasets.manifest import Manifest
from cluster.datasets.records import RowSummary
from cluster.errors import ClusterError
from cluster.stores.base import Store
from cluster.stores.folder import FolderStore
from spurious.config.datasets import IsicOptions
from spurious.data.records import Record
from spurious.generators.skin.isic_writer import write_isic
from spurious.generators.skin.skin_phantom import SkinPhantom
from spurious.readers.isic.isic import Isic
from spurious.readers.isic.isic_files import IMAGE_FOLDER, MASK_FOLDER
from sweeps.staging import fingerprint, journal, parts
from sweeps.staging.journal import pack, unpack
from sweeps.staging.stage import stage

IMAGES, PER_PART = 12, 4


class Counted(Isic):
    """A reader that counts loads, and is interrupted at one of them."""

    loaded: list[str]
    stops_at: int | None = None

    def load(self, sample_id: str) -> Record:
        if self.stops_at == len(self.loaded):
            raise KeyboardInterrupt
        self.loaded.append(sample_id)
        return super().load(sample_id)


@pytest.fixture
def release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A release of 12 lesions, which are staged in 3 parts of 4."""
    folder = tmp_path / "isic"
    write_isic(folder, SkinPhantom(n_train=4, n_val=4, n_test=4, width=64, prevalence=0.5))
    monkeypatch.setattr(parts, "PART_BYTES", PER_PART * 800)  # 16 x 16 x 3 and a mask
    return folder


def read(folder: Path, stops_at: int | None = None, **options: Any) -> Counted:
    """Open the release; the first load is of the record whose size the parts are cut by."""
    source = Counted(folder, IsicOptions(image_size=16, **options))
    source.loaded, source.stops_at = [], stops_at
    return source


def stage_here(store: Store, source: Counted) -> Manifest:
    """Stage in this process."""
    return stage(store, source, "moles", in_process=True)


def interrupt(store: Store, folder: Path, after: int) -> None:
    """Stage until some images are loaded."""
    with pytest.raises(KeyboardInterrupt):
        stage_here(store, read(folder, stops_at=1 + after))


def keys(store: Store, kind: str) -> list[str]:
    """List a dataset's objects of a kind."""
    return list(store.list(f"datasets/moles/{kind}/"))


def test_the_next_run_continues(release: Path, folder_store: FolderStore, tmp_path: Path) -> None:
    """Whole parts are not loaded again, and the result is that of an undisturbed run."""
    undisturbed = FolderStore(tmp_path / "undisturbed")
    expected = stage_here(undisturbed, read(release))
    interrupt(folder_store, release, after=9)
    assert len(keys(folder_store, "parts")) == len(keys(folder_store, "shards")) == 2
    again = read(release)
    manifest = stage_here(folder_store, again)
    assert len(again.loaded) == 1 + IMAGES - 2 * PER_PART
    assert manifest.digest == expected.digest
    assert keys(folder_store, "parts") == []
    for store in (folder_store, undisturbed):
        assert len(keys(store, "shards")) == IMAGES // PER_PART
    assert keys(folder_store, "shards") == keys(undisturbed, "shards")


def touch(path: Path) -> None:
    """Give a file another time, as writing it would."""
    os.utime(path, ns=(1, 1))


CHANGES: Mapping[str, tuple[Callable[[Path], object], int]] = {
    "a picture": (lambda folder: touch(min((folder / IMAGE_FOLDER).iterdir())), 1),
    "a mask": (lambda folder: touch(min((folder / MASK_FOLDER).iterdir())), 1),
    "a table": (lambda folder: touch(folder / "isic_annotated_val1.csv"), 2),
    "a further file": (lambda folder: (folder / "new.txt").write_text("new"), 2),
}
"""What changes, and how many of the two finished parts depend on it."""


@pytest.mark.parametrize(("change", "parts_lost"), CHANGES.values(), ids=CHANGES)
def test_what_changed_is_loaded_again(
    release: Path,
    folder_store: FolderStore,
    change: Callable[[Path], object],
    parts_lost: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An image's own file concerns its part, any other file all of them; old entries end."""
    interrupt(folder_store, release, after=8)
    change(release)
    again = read(release)
    stage_here(folder_store, again)
    assert len(again.loaded) == 1 + PER_PART + parts_lost * PER_PART
    assert len(keys(folder_store, "parts")) == parts_lost
    monkeypatch.setattr(journal, "STALE_AFTER_S", -1.0)
    stage_here(folder_store, read(release))
    assert keys(folder_store, "parts") == []


def test_other_options_or_code_start_again(
    release: Path, folder_store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of another image size, or of another version of the code, is believed."""
    interrupt(folder_store, release, after=8)
    other = Counted(release, IsicOptions(image_size=15))
    other.loaded = []
    stage_here(folder_store, other)
    assert len(other.loaded) == 1 + IMAGES
    monkeypatch.setattr(fingerprint, "fingerprint_code", lambda: "another version")
    again = read(release)
    stage_here(folder_store, again)
    assert len(again.loaded) == 1 + IMAGES


def with_body(change: Callable[[str], str]) -> Callable[[bytes], bytes]:
    """Change an entry's body and leave its hash."""

    def apply(data: bytes) -> bytes:
        document = json.loads(gzip.decompress(data))
        document["body"] = change(document["body"])
        return gzip.compress(json.dumps(document).encode())

    return apply


DAMAGE: Mapping[str, tuple[str, Callable[[bytes], bytes | None]]] = {
    "entry, empty": ("parts", lambda data: b""),
    "entry, cut": ("parts", lambda data: data[: len(data) // 2]),
    "entry, text": ("parts", lambda data: gzip.compress(b"[1, 2]")),
    "entry, other label": ("parts", with_body(lambda body: body.replace("train", "tests"))),
    "entry, not JSON": ("parts", with_body(lambda body: body[:-3])),
    "shard, gone": ("shards", lambda data: None),
    "shard, cut": ("shards", lambda data: data[:-1]),
    "shard, one bit": ("shards", lambda data: data[:900] + bytes([data[900] ^ 4]) + data[901:]),
}


@pytest.mark.parametrize(("kind", "change"), DAMAGE.values(), ids=DAMAGE)
def test_damage_is_loaded_again(
    release: Path,
    folder_store: FolderStore,
    kind: str,
    change: Callable[[bytes], bytes | None],
) -> None:
    """An entry that is damaged, or whose shard is, is as if its part had not been finished."""
    interrupt(folder_store, release, after=8)
    key = keys(folder_store, kind)[0]
    data = change(folder_store.get(key))
    folder_store.delete(key) if data is None else folder_store.put(key, data)
    again = read(release)
    manifest = stage_here(folder_store, again)
    assert len(again.loaded) == 1 + 2 * PER_PART
    assert keys(folder_store, "parts") == []
    assert {f"datasets/moles/shards/{s.sha256}.parquet" for s in manifest.shards} == set(
        keys(folder_store, "shards")
    )


def test_a_journal_keeps_values_as_they_are() -> None:
    """Every type of a row comes back; a class of elsewhere is neither written nor read."""
    row = RowSummary("a", "p", "train", 1, 2, (True, None), b"\0\xff")
    value = (row, {"x": [1.5, None, "ü"]}, np.arange(6, dtype=np.int16).reshape(2, 3))
    back = unpack(json.loads(json.dumps(pack(value))))
    assert back[:2] == value[:2]
    assert (back[2] == value[2]).all()
    assert back[2].dtype == np.int16
    with pytest.raises(ClusterError, match="a journal holds no set"):
        pack({1, 2})
    for module, name in (("os", "system"), ("sweeps.staging.journal", "pack"), ("re", "Pattern")):
        with pytest.raises(ValueError, match="is not a dataclass of this program"):
            unpack({"class": [module, name, {}]})
