"""A staging that is killed, wherever it is: the next one completes, with the same digest."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from cluster.datasets.verify import verify_dataset
from cluster.stores.folder import FolderStore
from spurious.config.datasets import IsicOptions
from spurious.generators.skin.isic_writer import write_isic
from spurious.generators.skin.skin_phantom import SkinPhantom
from spurious.readers.isic.isic import Isic
from sweeps.staging import parts
from sweeps.staging.stage import stage

CHILD = """
import sys, time
from pathlib import Path
from cluster.stores.folder import FolderStore
from spurious.config.datasets import IsicOptions
from spurious.readers.isic.isic import Isic
from sweeps.staging import parts
from sweeps.staging.stage import stage

class Slow(Isic):
    def load(self, sample_id):
        time.sleep(0.05)
        return super().load(sample_id)

parts.PART_BYTES = 1600  # two images of 16 x 16 x 3 and their masks
Slow.__qualname__ = "Isic"
source = Slow(Path(sys.argv[1]), IsicOptions(image_size=16))
stage(FolderStore(Path(sys.argv[2])), source, "moles", in_process=True)
"""
"""Stages slowly, so that there is a moment to kill it at."""
ROOT = Path(__file__).resolve().parents[3]


def test_kills_change_nothing(tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    """SIGKILL with one part finished, and again with four: the rest is staged, once, and whole."""
    release, store = tmp_path / "isic", FolderStore(tmp_path / "store")
    write_isic(release, SkinPhantom(n_train=8, n_val=6, n_test=6, width=64, prevalence=0.5))
    command = [sys.executable, "-c", CHILD, str(release), str(tmp_path / "store")]
    for finished in (1, 4):
        with subprocess.Popen(command, cwd=ROOT) as child:
            deadline = time.monotonic() + 120
            while len(list(store.list("datasets/moles/parts/"))) < finished:
                assert child.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.01)
            child.kill()
        assert not [key for key in store.list("datasets/") if "manifest" in key]
    kept = set(store.list("datasets/moles/shards/"))
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == 0
    assert kept <= set(store.list("datasets/moles/shards/"))
    assert not list(store.list("datasets/moles/parts/"))
    monkeypatch.setattr(parts, "PART_BYTES", 1600)
    undisturbed = FolderStore(tmp_path / "undisturbed")
    source = Isic(release, IsicOptions(image_size=16))
    expected = stage(undisturbed, source, "moles", in_process=True)
    assert not verify_dataset(store, expected)
    assert set(store.list("datasets/")) == set(undisturbed.list("datasets/"))
