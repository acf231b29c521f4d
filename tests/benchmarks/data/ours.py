"""This project's way to load a dataset, measured as its peers are: see `peers.py`.

A trial opens the dataset through the node cache and trains on batches of stored images; what is
timed is that every batch of an epoch is there. `--augment paper` times the paper's augmentations,
and how much of an epoch is none of them.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from peers import Batches, measure

from cluster.datasets.manifest import find_manifest
from cluster.node_cache.open import open_dataset
from cluster.stores import open_store
from spurious.config.options import Specificity, Train
from spurious.data import augment
from spurious.data.dataset import Dataset
from spurious.data.inputs import scale
from spurious.data.training_set import TrainingSet

WORKERS = 2


def open_training(store: str, name: str, cache: Path, mode: str) -> TrainingSet:
    """Open the dataset as a trial does, all of its images annotated."""
    opened = open_store(store)
    dataset = open_dataset(opened, find_manifest(opened, name), cache).dataset
    return training_set(dataset, mode)


def training_set(dataset: Dataset, mode: str) -> TrainingSet:
    """Take all training images and their masks under an augmentation."""
    rows, specificity = dataset.rows("train"), Specificity("mask")
    return TrainingSet(dataset, rows, specificity, Train(augment=mode), 0, WORKERS)  # type: ignore[arg-type]


def load(options: argparse.Namespace) -> tuple[Batches, int]:
    """Fetch and open the dataset; returns its batches and the bytes of its shards."""
    training = open_training(options.store, options.name, options.work / "cache", "none")

    def epoch(number: int) -> Iterator[int]:
        order = np.random.default_rng(number).permutation(len(training))
        cut = np.array_split(order, range(options.batch, len(order), options.batch))
        for batch in training.batches(cut, number):
            yield len(batch)

    manifest = find_manifest(open_store(options.store), options.name)
    return epoch, sum(entry.size_bytes for entry in manifest.shards)


def measure_augmented(options: argparse.Namespace) -> dict[str, float]:
    """Time epochs of augmented batches, and the augmentation alone by as many threads."""
    from concurrent.futures import ThreadPoolExecutor

    training = open_training(options.store, options.name, options.work / "cache", "paper")
    count = min(len(training), options.images)
    order = np.random.default_rng(0).permutation(len(training))[:count]
    cut = np.array_split(order, range(options.batch, count, options.batch))
    images = [scale(np.asarray(training.images[training.rows[at]])) for at in order]
    targets = [
        None if training.targets is None else training.targets[np.array([at])][0] for at in order
    ]

    def bare(share: range, epoch: int) -> None:
        for at in share:
            augment.augment_batch(
                "paper", images[at], targets[at], seed=0, epoch=epoch, sample=int(order[at])
            )

    shares = [range(start, count, WORKERS) for start in range(WORKERS)]
    whole, alone = [], []
    cpu_whole, cpu_alone = [], []
    for epoch in range(1, options.epochs + 2):
        began, cpu = time.perf_counter(), time.process_time()
        for _ in training.batches(cut, epoch):
            pass
        whole.append(time.perf_counter() - began)
        cpu_whole.append(time.process_time() - cpu)
        began, cpu = time.perf_counter(), time.process_time()
        with ThreadPoolExecutor(WORKERS) as pool:
            list(pool.map(bare, shares, [epoch] * WORKERS))
        alone.append(time.perf_counter() - began)
        cpu_alone.append(time.process_time() - cpu)
    best, least = min(whole[1:]), min(alone[1:])
    return {
        "augmented": count / best,
        "alone": count / least,
        "other_share": 1 - least / best,
        "other_cpu_share": 1 - min(cpu_alone[1:]) / min(cpu_whole[1:]),
    }


def main() -> None:
    """Print the figures as one line of JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("work", type=Path)
    parser.add_argument("--store", required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--augmented", action="store_true")
    for name in ("images", "batch", "epochs"):
        parser.add_argument(f"--{name}", type=int, required=True)
    options = parser.parse_args()
    if options.augmented:
        print(json.dumps(measure_augmented(options)))
    else:
        print(json.dumps(measure(lambda: load(options), options.images, options.epochs)))


if __name__ == "__main__":
    main()
