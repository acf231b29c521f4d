"""A cold fill of the node cache beside a plain download, and trials that share derived arrays.

    .venv/bin/python tests/benchmarks/data/fill.py [--images 3000] [--rounds 5] [--link 60]

The plain download moves the same objects from the same server into files, four at once, and checks
nothing. Both take turns in one process: on loopback, where server and client share the processor
that hashes, and behind a link of some megabytes a second, as between machines.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import loading
import numpy as np
from slow_link import slow_link

from cluster.datasets.keys import shard_key
from cluster.datasets.manifest import Manifest, find_manifest
from cluster.embedded.server import embedded_server
from cluster.node_cache.open import open_dataset
from cluster.stores import open_store
from cluster.stores.base import Store
from spurious.after_fit import variance_measure
from spurious.config.options import Specificity, Train
from spurious.data.dataset import Dataset
from spurious.data.training_set import TrainingSet

AT_ONCE = 4
BUDGET = 600


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Wall and CPU seconds of this process."""
    began, used = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - began, time.process_time() - used


def download(store: Store, manifest: Manifest, folder: Path) -> None:
    """Move every shard into a file."""
    folder.mkdir()
    keys = [shard_key(manifest.name, entry.sha256) for entry in manifest.shards]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda key: store.download(key, folder / key.rpartition("/")[2]), keys))


def compare_fill(
    store: Store, manifest: Manifest, scratch: Path, rounds: int, where: str
) -> list[str]:
    """Fill and download in turns; returns lines of Markdown."""
    plain, fill = [], []
    for number in range(rounds):
        plain.append(seconds(lambda: download(store, manifest, scratch / "plain")))
        shutil.rmtree(scratch / "plain")
        cache = scratch / f"cache-{number}"
        fill.append(seconds(lambda at=cache: open_dataset(store, manifest, at)))  # type: ignore[misc]
        shutil.rmtree(cache)
    size = sum(entry.size_bytes for entry in manifest.shards) / 1e6
    lines = [f"{size:,.0f} MB in {len(manifest.shards)} shards, embedded SeaweedFS {where}", ""]
    lines += ["| way | wall, s | MB/s | CPU of the client, s |", "| --- | --- | --- | --- |"]
    for name, runs in (("plain download", plain), ("cold fill", fill)):
        wall, cpu = (statistics.median(run[at] for run in runs) for at in (0, 1))
        lines.append(f"| {name} | {wall:.2f} | {size / wall:,.0f} | {cpu:.2f} |")
    ratios = [a[0] / b[0] for a, b in zip(plain, fill, strict=True)]
    shown = ", ".join(f"{ratio:.2f}" for ratio in ratios)
    lines += ["", f"fill against download: {statistics.median(ratios):.2f} (goal 0.9; {shown})", ""]
    return lines


def begin(dataset: Dataset, specificity: Specificity, seed: int) -> float:
    """What a trial computes of its dataset besides training: targets, and the variance."""
    train = dataset.rows("train")
    rows = np.sort(np.random.default_rng(seed).permutation(train)[:BUDGET])
    training = TrainingSet(dataset, rows, specificity, Train(), seed)
    TrainingSet(dataset, train, specificity, Train(), seed)  # as many as are evaluated
    return variance_measure(dataset, training, specificity)


def compare_trials(store: Store, manifest: Manifest, scratch: Path) -> list[str]:
    """Time the first and the second trial at each specificity, with and without kept arrays."""
    dataset = open_dataset(store, manifest, scratch / "cache").dataset
    plain = replace(dataset, derived=None)
    lines = ["| specificity | each trial without, s | first with, s | second with, s |"]
    lines += ["| --- | --- | --- | --- |"]
    for specificity in (Specificity("label"), Specificity("box"), Specificity("r", r=16)):
        took, values = [], []
        for data, seed in ((plain, 1), (dataset, 0), (dataset, 1)):
            began = time.perf_counter()
            values.append(begin(data, specificity, seed))
            took.append(time.perf_counter() - began)
        assert values[0] == values[2]
        lines.append(f"| {specificity} | {took[0]:.2f} | {took[1]:.2f} | {took[2]:.2f} |")
    return lines


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--link", type=float, default=60.0, help="megabytes a second")
    options = parser.parse_args()
    setting = loading.Setting("512x512x1", options.images, 512, 1, 16)
    with (
        tempfile.TemporaryDirectory(prefix="bench-fill-") as folder,
        embedded_server(Path(folder) / "home") as server,
    ):
        scratch, url = Path(folder), f"s3://{server.bucket}/store"
        os.environ.update(server.environment())
        loading.make_arrays(setting, scratch / "arrays")
        loading.stage_arrays(setting, scratch / "arrays", url)
        shutil.rmtree(scratch / "arrays")
        store = open_store(url)
        manifest = find_manifest(store, f"bench-{setting.name}")
        compared = manifest, scratch, options.rounds
        print("\n".join(compare_fill(store, *compared, "on loopback")), flush=True)
        port = int(server.url.rpartition(":")[2])
        with slow_link(port, options.link) as address:
            os.environ.update(AWS_ENDPOINT_URL=address, AWS_ENDPOINT_URL_S3=address)
            where = f"behind a link of {options.link:g} MB/s"
            print("\n".join(compare_fill(open_store(url), *compared, where)), flush=True)
        print("\n".join(compare_trials(store, manifest, scratch)), flush=True)
        print(f"\npeak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3:,.0f} MB")


if __name__ == "__main__":
    main()
