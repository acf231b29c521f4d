"""Calibrates kinds of trials on a Ray session, one after the other, each within a bound."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import ray

from cluster.common.heap import variables_that_keep_memory
from sweeps.plan.timed import Kind, TimedTrial
from sweeps.spec.model import Resources
from sweeps.trial.tasks import Task

BOUND_S = 60.0
"""Seconds that a calibration trains, as far as its probe can tell."""
START_S = 60.0
"""Further seconds for the start of a worker, the dataset, and a step that takes long."""


@dataclass(frozen=True)
class KindToTime:
    """A kind of trial that is calibrated.

    Attributes:
        kind: The kind that its time is kept under.
        task: One trial of it, with the configuration that stands for it.
        words: What it is, for people.
    """

    kind: Kind
    task: Task
    words: str


@dataclass(frozen=True)
class Calibrated:
    """What a calibration gave: a time and its description, or why there is none."""

    timed: TimedTrial | None
    words: str


def calibrate_kinds(
    kinds: Sequence[KindToTime],
    resources: Resources,
    on_start: Callable[[int, KindToTime], None],
    bound_s: float = BOUND_S,
) -> Iterator[Calibrated]:
    """Yield the time of each kind; needs a Ray session.

    Args:
        kinds: What is timed.
        resources: What a trial gets.
        on_start: Is called with the number of a kind, from 1, and the kind before it is timed.
        bound_s: Seconds of training for each.
    """
    options: dict[str, Any] = {
        "num_cpus": resources.cpus,
        "num_gpus": resources.gpus,
        "max_retries": 0,
        "max_calls": 1,  # the next one finds memory and threads as a fresh worker does
        "runtime_env": {"env_vars": variables_that_keep_memory(os.environ)},  # as a trial's
    }
    remote: Any = ray.remote(**options)(_calibrate)
    fetch: Any = ray.remote(**options)(_fetch)
    if kinds:
        ray.get(fetch.remote(kinds[0].task))  # before the time is taken
    for number, kind in enumerate(kinds, start=1):
        on_start(number, kind)
        future = remote.remote(kind.task, kind.kind, bound_s)
        yield _await(future, bound_s + START_S)


def _fetch(task: Task) -> None:
    """Fill the cache of a node with the dataset."""
    from sweeps.trial.calibration import open_dataset_of

    open_dataset_of(task)


def _calibrate(task: Task, kind: Kind, bound_s: float) -> tuple[TimedTrial, str]:
    """Run on a worker, which imports torch only then."""
    from sweeps.trial.calibration import calibrate, describe

    timed = calibrate(task, kind, bound_s)
    return timed, describe(timed)


def _await(future: Any, timeout_s: float) -> Calibrated:
    try:
        timed, words = ray.get(future, timeout=timeout_s)
        return Calibrated(timed, words)
    except ray.exceptions.GetTimeoutError:
        # only here: Ray aborts the process where a task that has just ended is cancelled
        ray.cancel(future, force=True)
        return Calibrated(
            None,
            f"not measured: a few images took longer than {timeout_s:.0f} s, or no worker was free",
        )
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        name = type(cause).__name__ if cause is not None else "error"
        return Calibrated(None, f"not measured: {name}: {str(cause or error).splitlines()[-1]}")
    except ray.exceptions.WorkerCrashedError:
        return Calibrated(None, "not measured: the worker was lost, perhaps for want of memory")
