"""How long the end-to-end run's trials are, by the speed of the machine.

The faults take the same time everywhere. Trials of a minute let each fault fall into one; on a
machine that takes two minutes for the same, half the epochs do, and the run ends in time.
"""

from __future__ import annotations

import time

import torch
import yaml
from torch import nn

REFERENCE_S = 0.5
"""`seconds_of_steps` up to which all epochs are trained; an EPYC without AVX-512 has 1.1."""
LEAST = 0.5
"""Of the epochs: enough for three checkpoints in the shortest trial."""


def seconds_of_steps(steps: int = 40, rounds: int = 3) -> float:
    """Seconds of training steps like a trial's, on one thread; the fastest of some rounds."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    model = nn.Sequential(
        *(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1), nn.ReLU())
    )
    images = torch.rand(10, 1, 64, 64)
    taken = []
    for _ in range(rounds):
        began = time.perf_counter()
        for _ in range(steps):
            model(images).mean().backward()
        taken.append(time.perf_counter() - began)
    torch.set_num_threads(threads)
    return min(taken)


def shortened(sweep: str, share: float) -> str:
    """Return a sweep with this share of its epochs."""
    spec = yaml.safe_load(sweep)
    trains = [spec["train"], *spec["train"]["per_specificity"].values()]
    for train in trains:
        train["epochs"] = round(train["epochs"] * share)
    return yaml.safe_dump(spec, sort_keys=False)


def share_for(seconds: float) -> float:
    """Return the share of the epochs for a machine that took so long."""
    return min(1.0, max(LEAST, REFERENCE_S / seconds))
