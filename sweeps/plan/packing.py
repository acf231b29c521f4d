"""Trials on the nodes of a pool: how many at once, for how long, and at which price."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass

from sweeps.spec.model import Spec


@dataclass(frozen=True)
class Pool:
    """Where a sweep's trials run.

    Attributes:
        words: What it is, for people.
        at_once: Trials that run at the same time.
    """

    words: str
    at_once: int


def trials_on_node(cpus: float, gpus: float, node_cpus: float, node_gpus: float) -> int:
    """Return how many trials of some CPUs and GPUs, or a share of one, fit onto a node at once."""
    fits = int(node_cpus // cpus)
    if not gpus:
        return fits
    per_gpu = int(1 / gpus + 1e-9)  # Ray splits no trial's share of a GPU over two
    return min(fits, int(node_gpus) * per_gpu if gpus <= 1 else int(node_gpus // gpus))


def dollars_per_trial_hour(spec: Spec) -> float | None:
    """Return the dollars of an hour of one trial; None where the spec has no price.

    A node is paid by the trials that fit onto it, so a trial that takes all of its CPUs pays for
    its idle GPUs, too.
    """
    if spec.cost.compute is None:
        return None
    node, of_trial = spec.cost.compute.chosen, spec.resources
    at_once = trials_on_node(of_trial.cpus, of_trial.gpus, node.cpus, node.gpus)
    return node.dollars_per_hour / at_once


def makespan(seconds: Iterable[float], at_once: int) -> float:
    """Return the wall time of trials on a pool where the longest start first (Graham 1969)."""
    ends = [0.0] * max(1, at_once)
    for duration in sorted(seconds, reverse=True):
        heapq.heapreplace(ends, ends[0] + duration)
    return max(ends)
