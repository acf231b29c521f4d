"""SIGKILLs at random moments of a node-cache fetch, while another process waits for it.

    .venv/bin/python tests/benchmarks/data/kill_cache.py [--kills 25] [--seed 0]

Two processes open the same dataset in an empty cache: one fetches, the other waits. The one that
fetches is killed at a moment drawn evenly from the time that an undisturbed fetch takes. The other
must take over and hold the arrays of an undisturbed open; of every third pair it is killed, too.
Then the next open must have the same arrays, byte for byte, and the cache holds the dataset and
lock files alone. `kill_staging.py` does this to stagings.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cluster.datasets.commit import commit_manifest
from cluster.datasets.manifest_build import build_manifest
from cluster.datasets.shards import write_shards
from cluster.stores.folder import FolderStore
from spurious.data.records import Record

NAME, SIDE, IMAGES, SHARD_BYTES = "films", 96, 3000, 2**21
SPLITS = ("train", "train", "val", "test")
CHILD = """
import hashlib, json, sys
from pathlib import Path
from cluster.datasets.manifest import find_manifest
from cluster.node_cache.open import open_dataset
from cluster.stores.folder import FolderStore

store = FolderStore(Path(sys.argv[1]))
manifest = find_manifest(store, sys.argv[3])
print("ready", flush=True)
sys.stdin.readline()
opened = open_dataset(store, manifest, Path(sys.argv[2]))
arrays = {f.path.name: hashlib.sha256(f.array.tobytes()).hexdigest() for f in opened.files}
print(json.dumps({"seconds": opened.seconds_fetching, "arrays": arrays}), flush=True)
"""


@dataclass(frozen=True)
class Opening:
    """A process that opens the dataset, once it is let go."""

    process: subprocess.Popen[str]

    def go(self) -> None:
        """Let it open the dataset."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def kill_after(self, seconds: float) -> bool:
        """Kill it where it still opens after some seconds; return whether it did."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return True
        return False

    def finish(self) -> dict[str, object]:
        """Return what it prints; empty where it fails or takes more than two minutes."""
        try:
            text, _ = self.process.communicate(timeout=120)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return {}
        return dict(json.loads(text)) if self.process.returncode == 0 else {}


def start(store: Path, cache: Path) -> Opening:
    """Start a process; return when its libraries are loaded."""
    command = [sys.executable, "-c", CHILD, str(store), str(cache), NAME]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    child.stdout.readline()
    return Opening(child)


def draw_records() -> Iterator[Record]:
    """Yield random films, not in the order of their ids: the cache has to sort them."""
    rng = np.random.default_rng(0)
    for number in rng.permutation(IMAGES).tolist():
        yield Record(
            sample_id=f"film-{number:05d}",
            patient_id=f"patient-{number}",
            split=SPLITS[number % 4],
            label=number // 4 % 2,
            image=rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8),
            mask=rng.random((SIDE, SIDE)) < 0.1,
            abnormalities=1,
            attributes={"tube": bool(number % 3)},
        )


def stage(folder: Path) -> int:
    """Write shards and manifest; return how many shards there are."""
    store = FolderStore(folder)
    shards = write_shards(store, NAME, draw_records(), ["tube"], shard_bytes=SHARD_BYTES)
    manifest = build_manifest(NAME, shards, declared_directions={"tube": 1}, provenance={})
    commit_manifest(store, manifest)
    return len(shards)


def list_leftovers(cache: Path) -> list[str]:
    """Return what a cache holds beside whole datasets and lock files, which are never removed."""
    names = sorted(path.name for path in cache.iterdir() if path.suffix != ".lock")
    return [name for name in names if not (cache / name / "index.json").exists()]


def main() -> int:
    """Kill; return 1 where anything differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=25)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    random = np.random.default_rng(options.seed)
    kills = taken_over = different = pairs = 0
    with tempfile.TemporaryDirectory(prefix="kill-cache-") as scratch:
        store = Path(scratch) / "store"
        shards = stage(store)
        quiet = start(store, Path(scratch) / "quiet")
        quiet.go()
        undisturbed = quiet.finish()
        expected, whole = undisturbed["arrays"], float(str(undisturbed["seconds"]))
        print(f"undisturbed: {whole:.2f} s, {shards} shards", flush=True)
        while kills < options.kills:
            cache = Path(scratch) / f"cache-{pairs}"
            first, second = start(store, cache), start(store, cache)
            moment, both = random.uniform(0, whole), pairs % 3 == 2
            pairs += 1
            first.go()
            began = time.monotonic()
            while time.monotonic() - began < moment and not list(cache.glob("*.tmp")):
                time.sleep(0.001)  # until the first has the lock, unless it is killed before
            second.go()
            if not first.kill_after(max(0.0, began + moment - time.monotonic())):
                different += second.finish().get("arrays") != expected
                whole *= 0.9  # the machine has become faster
                continue
            kills += 1
            if both and second.kill_after(random.uniform(0, whole)):
                kills += 1
                state = "both killed"
            else:
                held = second.finish()
                same = held.get("arrays") == expected
                taken_over, different = taken_over + same, different + (not same)
                state = f"the other {'has equal arrays' if same else 'DIFFERS'}"
            following = start(store, cache)
            following.go()
            same = following.finish().get("arrays") == expected
            left = list_leftovers(cache)
            different += not same or bool(left)
            print(
                f"killed after {moment:.2f} s; {state}; next open "
                f"{'equal' if same else 'DIFFERS'}; left over: {', '.join(left) or 'nothing'}",
                flush=True,
            )
    print(f"{kills} kills, {taken_over} fetches taken over, {different} different")
    return int(different > 0)


if __name__ == "__main__":
    sys.exit(main())
