"""SIGKILLs at random moments of a staging; every next run must complete with the same digest.

    .venv/bin/python tests/benchmarks/data/kill_staging.py [--kills 25] [--seed 0]

A staging in one process (what its Ray tasks do, one after the other) is killed again and again at
moments drawn evenly from the time that an undisturbed one takes, until it completes; then a new one
begins.
After each completion all keys and bytes of the store, less times, must be those of an undisturbed
run. `make bench-kills` kills Ray's processes, too.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from cluster.stores.folder import FolderStore
from spurious.generators.skin.isic_writer import write_isic
from spurious.generators.skin.skin_phantom import SkinPhantom

CHILD = """
import sys
from pathlib import Path
from cluster.stores.folder import FolderStore
from spurious.config.datasets import IsicOptions
from spurious.readers.isic.isic import Isic
from sweeps.staging import parts
from sweeps.staging.stage import stage

parts.PART_BYTES = 2**18
source = Isic(Path(sys.argv[1]), IsicOptions(image_size=96))
print("ready", flush=True)
stage(FolderStore(Path(sys.argv[2])), source, "moles", in_process=True)
"""


def start(release: Path, store: Path) -> subprocess.Popen[str]:
    """Start a staging; return when its libraries are loaded."""
    command = [sys.executable, "-c", CHILD, str(release), str(store)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    child.stdout.readline()
    return child


def read(store: Path) -> dict[str, object]:
    """Return all of a store, manifests without their times."""
    contents: dict[str, object] = {}
    opened = FolderStore(store)
    for key in opened.list("datasets/"):
        contents[key] = opened.get(key)
        if key.endswith("manifest.json"):
            manifest = json.loads(opened.get(key))
            del manifest["provenance"]["staged_at"], manifest["checksum"]
            contents[key] = manifest
    return contents


def main() -> int:
    """Kill; return 1 where anything differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=25)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    random = np.random.default_rng(options.seed)
    kills = completed = different = 0
    with tempfile.TemporaryDirectory(prefix="kill-staging-") as scratch:
        folder = Path(scratch)
        write_isic(folder / "isic", SkinPhantom(n_train=120, n_val=40, n_test=40, width=256))
        child, began = start(folder / "isic", folder / "quiet"), time.monotonic()
        assert child.wait() == 0
        whole = time.monotonic() - began
        expected = read(folder / "quiet")
        print(f"undisturbed: {whole:.1f} s, {len(expected)} objects", flush=True)
        while kills < options.kills:
            store = folder / f"store-{completed}"
            child, moment = start(folder / "isic", store), random.uniform(0, whole)
            began = time.monotonic()
            try:
                status = child.wait(moment)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
                kills += 1
                parts = len(list(FolderStore(store).list("datasets/moles/parts/")))
                print(f"killed after {moment:.2f} s with {parts} parts finished", flush=True)
                continue
            same = status == 0 and read(store) == expected
            print(f"completed, {'equal' if same else 'DIFFERS'}", flush=True)
            completed, different = completed + 1, different + (not same)
            whole = min(whole, time.monotonic() - began)  # of a machine that has become faster
        if store.exists():
            status = start(folder / "isic", store).wait()
            different += status != 0 or read(store) != expected
            completed += 1
    print(f"{kills} kills, {completed} stagings completed, {different} different")
    return int(different > 0)


if __name__ == "__main__":
    sys.exit(main())
