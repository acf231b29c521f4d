"""What four trials on a node hold of one dataset: their proportional set size (PSS).

Each process opens the dataset through the node cache and reads an epoch, then waits. A page that
four processes map counts a quarter in each, so the sum is what the node holds.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import loading

from cluster.datasets.manifest import find_manifest
from cluster.stores import open_store

TRIALS = 4
_TRIAL = """
import sys
from pathlib import Path
import numpy as np
from ours import open_training
training = open_training(sys.argv[1], sys.argv[2], Path(sys.argv[3]), "none")
order = np.random.default_rng(0).permutation(len(training))
for batch in training.batches(np.array_split(order, range(16, len(order), 16)), 1):
    pass
print("read", flush=True)
sys.stdin.read()
"""


def mapped_bytes(pid: int, folder: Path) -> int:
    """Return the PSS of the maps of files below a folder, of one process."""
    total, inside = 0, False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        words = line.split()
        if "-" in words[0]:  # the head of a map, its file at the end
            inside = line.endswith(".npy") and str(folder) in line
        elif inside and words[0] == "Pss:":
            total += int(words[1]) * 1024
    return total


def run(scratch: Path, images: int) -> list[str]:
    """Measure one trial and four; returns lines of Markdown."""
    setting = loading.Setting("512x512x1", images, 512, 1, 16, "mask")
    store_url, cache = str(scratch / "store"), scratch / "cache"
    arrays = scratch / "arrays"
    loading.make_arrays(setting, arrays)
    loading.stage_arrays(setting, arrays, store_url)
    name = f"bench-{setting.name}"
    size = sum(entry.size_bytes for entry in find_manifest(open_store(store_url), name).shards)
    held = {count: hold(count, store_url, name, cache) for count in (1, TRIALS)}
    return [
        f"memory: dataset of {size / 1e6:,.0f} MB; mapped by one trial {held[1] / 1e6:,.0f} MB, by "
        f"{TRIALS} together {held[TRIALS] / 1e6:,.0f} MB (PSS): {held[TRIALS] / held[1]:.2f} times",
        "",
    ]


def hold(count: int, store_url: str, name: str, cache: Path) -> int:
    """Return the sum of mapped bytes while `count` processes have the dataset open and read."""
    command = [sys.executable, "-c", _TRIAL, store_url, name, str(cache)]
    folder = Path(__file__).parent
    processes = [
        subprocess.Popen(
            command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(count)
    ]
    try:
        for process in processes:
            if process.stdout is None or process.stdout.readline() != "read\n":
                raise RuntimeError("a trial ended early")
        return sum(mapped_bytes(process.pid, cache) for process in processes)
    finally:
        for process in processes:
            process.communicate(timeout=60)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="bench-memory-") as folder:
        print("\n".join(run(Path(folder), 400)))
