"""How much of an epoch with the paper's augmentations is something else.

Epochs as a trial has them and augmenting alone, by as many threads, take turns in one process; what
is told is the median of the pairs, since the machine's speed changes from one to the next.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
from loading import SETTINGS, make_arrays, stage_arrays
from ours import WORKERS, open_training

from spurious.data import augment
from spurious.data.inputs import scale
from spurious.data.training_set import TrainingSet

IMAGES, PAIRS = 1024, 9


def timed(work: Callable[[], None]) -> tuple[float, float]:
    """Return wall and CPU seconds."""
    began, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - began, time.process_time() - cpu


def measure(training: TrainingSet, batch: int) -> tuple[float, float, float, float]:
    """Return images/s of both, and the shares of wall and CPU time that are not augmentation."""
    count = min(len(training), IMAGES)
    order = np.random.default_rng(0).permutation(len(training))[:count]
    cut = np.array_split(order, range(batch, count, batch))
    images = [scale(np.asarray(training.images[training.rows[at]])) for at in order]
    assert training.targets is not None
    targets = [training.targets[np.array([at])][0] for at in order]
    shares = [range(start, count, WORKERS) for start in range(WORKERS)]

    def alone(share: range, epoch: int) -> None:
        for at in share:
            row = int(training.rows[order[at]])
            augment.augment_batch("paper", images[at], targets[at], seed=0, epoch=epoch, sample=row)

    def augment_alone(epoch: int) -> None:
        with ThreadPoolExecutor(WORKERS) as pool:
            list(pool.map(alone, shares, [epoch] * WORKERS))

    def train(epoch: int) -> None:
        for _ in training.batches(cut, epoch):
            pass

    train(1), augment_alone(1)
    pairs = [
        (timed(lambda: train(epoch)), timed(lambda: augment_alone(epoch)))  # noqa: B023 (at once)
        for epoch in range(2, 2 + PAIRS)
    ]
    of_wall, of_cpu = (
        statistics.median(1 - least[at] / whole[at] for whole, least in pairs) for at in (0, 1)
    )
    rates = (count / statistics.median(pair[at][0] for pair in pairs) for at in (0, 1))
    return (*rates, of_wall, of_cpu)  # type: ignore[return-value]


def run(folder: Path, scale_by: float) -> list[str]:
    """Measure every setting; returns lines of Markdown."""
    lines = []
    for each in SETTINGS:
        setting = replace(each, images=max(64, int(min(IMAGES, each.images) * scale_by)))
        work = folder / setting.name
        make_arrays(setting, work / "arrays")
        stage_arrays(setting, work / "arrays", str(work / "store"))
        training = open_training(
            str(work / "store"), f"bench-{setting.name}", work / "cache", "paper"
        )
        whole, least, of_wall, of_cpu = measure(training, setting.batch)
        lines.append(
            f"{setting.name}, with the paper's augmentations: {whole:,.0f} images/s, augmenting "
            f"alone {least:,.0f}; {100 * of_wall:.1f} % of the time and {100 * of_cpu:.1f} % of "
            "the CPU's is not augmentation (goal: under 10 %)"
        )
        sys.stdout.flush()
    return lines
