"""This project's way to load a dataset, measured as its peers are: see `peers.py`.

A trial opens the dataset through the node cache and trains on batches of stored images; what is
timed is that every batch of an epoch is there.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from peers import Batches, measure

from cluster.datasets.manifest import find_manifest
from cluster.node_cache.open import open_dataset
from cluster.stores import open_store
from spurious.config.options import Specificity, Train
from spurious.data.dataset import Dataset
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


def main() -> None:
    """Print the figures as one line of JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("work", type=Path)
    parser.add_argument("--store", required=True)
    parser.add_argument("--name", required=True)
    for name in ("images", "batch", "epochs"):
        parser.add_argument(f"--{name}", type=int, required=True)
    options = parser.parse_args()
    print(json.dumps(measure(lambda: load(options), options.images, options.epochs)))


if __name__ == "__main__":
    main()
