"""Trials on the nodes of a pool: their share of one, how many at once, how long, which price."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sweeps.spec.model import Resources, Spec


@dataclass(frozen=True)
class Pool:
    """Where a sweep's trials run.

    Attributes:
        words: What it is, for people.
        at_once: Trials that run at the same time.
    """

    words: str
    at_once: int


@dataclass(frozen=True)
class Share:
    """What a trial has of a node.

    Attributes:
        cpus: CPU cores.
        gpus: GPUs, or a share of one.
    """

    cpus: float
    gpus: float = 0.0


def default_share(resources: Resources) -> Share:
    """Return what a spec asks for; with `gpus: auto` what a trial of an unknown kind has."""
    return Share(resources.cpus, resources.gpus)


def trials_on_node(cpus: float, gpus: float, node_cpus: float, node_gpus: float) -> int:
    """Return how many trials of some CPUs and GPUs, or a share of one, fit onto a node at once."""
    fits = int(node_cpus // cpus)
    if not gpus:
        return fits
    per_gpu = int(1 / gpus + 1e-9)  # Ray splits no trial's share of a GPU over two
    return min(fits, int(node_gpus) * per_gpu if gpus <= 1 else int(node_gpus // gpus))


def dollars_per_trial_hour(spec: Spec, share: Share | None = None) -> float | None:
    """Return the dollars of an hour of one trial; None where the spec has no price.

    A node is paid by the trials that fit onto it, so a trial that takes all of its CPUs pays for
    its idle GPUs, too.

    Args:
        spec: The sweep.
        share: What the trial has; None for what the spec asks for. One that is more than the node
            of the price pays for one node.
    """
    if spec.cost.compute is None:
        return None
    node, share = spec.cost.compute.chosen, share or default_share(spec.resources)
    at_once = trials_on_node(share.cpus, share.gpus, node.cpus, node.gpus)
    return node.dollars_per_hour / max(1, at_once)


def hourly(spec: Spec, share: Share) -> Mapping[str, float]:
    """Return what an hour of one trial uses, by the name of each limit; 0 dollars without a price.

    The names are `gpu_hours`, `cpu_hours` and `dollars`.
    """
    dollars = dollars_per_trial_hour(spec, share) or 0.0
    return {"gpu_hours": share.gpus, "cpu_hours": share.cpus, "dollars": dollars}


def makespan(seconds: Iterable[float], at_once: int) -> float:
    """Return the wall time of trials on a pool where the longest start first (Graham 1969)."""
    ends = [0.0] * max(1, at_once)
    for duration in sorted(seconds, reverse=True):
        heapq.heapreplace(ends, ends[0] + duration)
    return max(ends)
