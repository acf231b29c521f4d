"""Times a few steps of a kind of trial on a worker; nothing is committed.

A second probe on a handful of images says how many fit into the time. Then one epoch and three are
trained on as many: their difference has neither the start nor the end of a fit in it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from cluster.datasets.manifest import find_manifest
from cluster.node_cache.open import open_dataset
from cluster.stores import open_store
from spurious.config.options import Budget, FitConfig
from spurious.data.dataset import Dataset
from spurious.data.drawn import carries
from spurious.data.splits import EVALUATION_SPLITS
from spurious.fit import fit
from spurious.training.loop import Hooks
from sweeps.plan.cell import Cell
from sweeps.plan.timed import Kind, TimedTrial
from sweeps.plan.work import ImageNumbers, count_work
from sweeps.spec.model import MethodChoice
from sweeps.trial.tasks import Task
from sweeps.trial.weights import load_weights

_PROBED = 4
"""Images of the probe, half of them positive."""
_EPOCHS = (1, 3)
_SHARE = 0.6
"""Of the time that is left, what the two fits may take by the probe."""
_MOST = 1024


@dataclass(frozen=True)
class _Timing:
    """Wall seconds of a fit and of its training steps."""

    total: float
    training: float


def open_dataset_of(task: Task) -> Dataset:
    """Open a task's dataset through the node cache, which fetches it where it is not there."""
    store = open_store(task.store_url, probe=False)
    manifest = find_manifest(store, task.dataset, task.dataset_digest)
    return open_dataset(store, manifest, Path(task.cache_dir)).dataset


def calibrate(task: Task, kind: Kind, seconds: float) -> TimedTrial:
    """Time a kind of trial.

    Args:
        task: One trial of the kind, with the configuration that stands for it.
        kind: The kind that the times are kept under.
        seconds: What the fits may take, as far as the probe can tell.

    Raises:
        SpuriousError, ClusterError: as the dataset, store or training raise them.
    """
    dataset, load = open_dataset_of(task), load_weights(open_store(task.store_url, probe=False))

    def run(images: int, epochs: int) -> tuple[_Timing, ImageNumbers, FitConfig]:
        part, config = _reduce(dataset, task.config, images, epochs)
        started = time.perf_counter()
        fitted = fit(part, config, task.machine, Hooks(), load)
        timing = _Timing(time.perf_counter() - started, fitted.seconds_training)
        numbers = ImageNumbers(*(len(part.rows(split)) for split in ("train", *EVALUATION_SPLITS)))
        return timing, numbers, config

    run(_PROBED, 1)  # imports, first calls, memory: none of it is a step's
    began = time.perf_counter()
    probe = run(_PROBED, 1)
    left = seconds - (time.perf_counter() - began)
    if sum(_EPOCHS) * probe[0].total > left:  # no time for more, and steps that outweigh the start
        return _timed(task, kind, *probe)
    images = _choose_images(probe[0], left)
    short, *_ = run(images, _EPOCHS[0])
    long, numbers, config = run(images, _EPOCHS[1])
    difference = _Timing(long.total - short.total, long.training - short.training)
    if min(difference.total - difference.training, difference.training) > 0:
        epochs = _EPOCHS[1] - _EPOCHS[0]
        config = replace(config, train=replace(config.train, epochs=epochs))
        return _timed(task, kind, difference, numbers, config)
    return _timed(task, kind, long, numbers, config)  # too short for the clock's noise


def _choose_images(probe: _Timing, left: float) -> int:
    """Return how many images an epoch may have; twice as many are scored after each."""
    per_image = probe.total / _PROBED
    return max(_PROBED, min(_MOST, int(_SHARE * left / (sum(_EPOCHS) * per_image)) // 2 * 2))


def _timed(
    task: Task, kind: Kind, timing: _Timing, numbers: ImageNumbers, config: FitConfig
) -> TimedTrial:
    cell = Cell(config.specificity, config.budget, MethodChoice(config.method_name, config.method))
    work = count_work(cell, config.train, numbers, reads_rest=config.rest is not None)
    on_gpu = task.machine.device == "cuda"
    return TimedTrial(
        kind=kind,
        method=config.method_name,
        work=work,
        seconds=timing.total,
        seconds_training=timing.training,
        own_trained=work.trained,
        device=torch.cuda.get_device_name() if on_gpu else "cpu",
        is_calibration=True,
    )


def _reduce(
    dataset: Dataset, config: FitConfig, images: int, epochs: int
) -> tuple[Dataset, FitConfig]:
    """Return the dataset with a few images of each split, and a configuration that draws them.

    Images keep their rows; those that are left out belong to no split.
    """
    splits: NDArray[np.str_] = np.full_like(dataset.splits, "")
    half = max(1, images // 2)
    for split in ("train", *EVALUATION_SPLITS):
        rows = dataset.rows(split)
        rows = rows[
            np.argsort(~carries(dataset.drawn_on(rows), config.specificity.kind), kind="stable")
        ]
        # as many again of training images, for methods that read images beyond the budget
        most = 2 * half if split == "train" else half
        for label in (1, 0):
            splits[rows[dataset.labels[rows] == label][:most]] = split
    # what is kept of a dataset is of all of its images
    part = replace(dataset, splits=splits, derived=None)
    chosen = part.rows("train")
    smallest = min(int((dataset.labels[chosen] == label).sum()) for label in (0, 1))
    budget = Budget(max(2, 2 * min(half, smallest)), "equal")
    return part, replace(config, budget=budget, train=replace(config.train, epochs=epochs))


def describe(timed: TimedTrial) -> str:
    """Return what was measured for people, such as `12.1 ms an image trained`."""
    trained = timed.seconds_training / max(timed.own_trained, 1.0)
    scored = (timed.seconds - timed.seconds_training) / max(timed.work.evaluated, 1.0)
    texts = [f"{_format(trained)} an image trained", f"{_format(max(scored, 0.0))} an image scored"]
    return f"{', '.join(texts)} on {timed.device}"


def _format(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"
