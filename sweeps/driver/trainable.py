"""What a worker runs for each trial; imports no torch, which the driver would load, too."""

from __future__ import annotations

import gc
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray
from ray import tune

from cluster.common.heap import return_freed_memory
from cluster.common.oom_kills import count_oom_kills
from cluster.errors import StoreAway
from cluster.jobs.nodes import this_node
from cluster.jobs.notices import Notices
from sweeps.driver.interrupts import WorkerControl
from sweeps.driver.losses import Reason
from sweeps.driver.tune_queue import unpack_task
from sweeps.driver.worker_title import WorkerTitle
from sweeps.plan.packing import Share
from sweeps.trial.deadline import Deadline
from sweeps.trial.events import Control, Outcome
from sweeps.trial.failures import POLICIES, classify, describe_error, lacks_gpu_memory
from sweeps.trial.gpu import enforce_share, read_memory
from sweeps.trial.tasks import Task

if TYPE_CHECKING:
    from sweeps.trial.run import FitFunction

Progress = Callable[[int, int, Any], None]
Attempt = Callable[[Task, Progress, Control], Outcome]
"""Runs one attempt of a task: receives the task, what is told of epochs, and what may be asked."""

_REPORT_EVERY_S = 2.0


def run_attempt(task: Task, progress: Progress, control: Control) -> Outcome:
    """Train, evaluate and commit: an attempt as users run it."""
    from sweeps.trial.run import run_trial

    return run_trial(task, uuid.uuid4().hex[:12], progress, control=control)


def attempt_with(fit_function: FitFunction) -> Attempt:
    """Return an attempt with another training function, to measure or test all around it."""

    def attempt(task: Task, progress: Progress, control: Control) -> Outcome:
        from sweeps.trial.run import run_trial

        return run_trial(task, uuid.uuid4().hex[:12], progress, fit_function, control)

    return attempt


def make_trainable(
    name: str, notices: Notices, limit_s: float, attempt: Attempt = run_attempt
) -> Callable[[dict[str, Any]], None]:
    """Return the function that Tune runs for each task, named after the sweep for the dashboard.

    Tune unpickles it on the driver for every trial, so it holds next to nothing.

    Args:
        name: The sweep's.
        notices: The run's notice board.
        limit_s: Seconds that a trial may take, infinite for any.
        attempt: What runs a task.
    """

    def trainable(config: dict[str, Any]) -> None:
        _exempt_imports()
        node = _note_node(notices)
        task = replace(unpack_task(config), share=_assigned_share())
        try:
            with (
                Deadline(limit_s, Path(task.cache_dir), notices.run, task.trial_id) as deadline,
                WorkerControl(notices, task.trial_id, deadline) as control,
            ):
                retried = control.retried(task.trial_id)
                with WorkerTitle(name, task.label, is_retried=retried) as title:
                    outcome = _on_gpu(
                        task.share.gpus, partial(attempt, task, _told_progress(title), control)
                    )
        except Exception as error:  # noqa: BLE001 (whatever it is, it has a class)
            outcome = _failed(task, error, node)
        finally:
            _free_memory()
        tune.report({"outcome": asdict(outcome), "node": node})

    trainable.__name__ = trainable.__qualname__ = name
    return trainable


def _told_progress(title: WorkerTitle) -> Progress:
    """Return a function that tells the driver of epochs, at most every two seconds."""
    last = time.monotonic()
    since = latest = 0

    def progress(epoch: int, epochs: int, values: Any) -> None:
        nonlocal last, latest, since
        if latest == 0 or epoch <= latest:  # the first one, or that of another model
            since = epoch - 1
        latest = epoch
        title.epoch(epoch, epochs)
        if time.monotonic() - last >= _REPORT_EVERY_S:
            last = time.monotonic()
            epoch_of = {"epoch": epoch, "epochs": epochs, "since": since}
            tune.report({**epoch_of, "values": dict(values)})

    return progress


def _failed(task: Task, error: Exception, node: str) -> Outcome:
    """Return the outcome of a failure that is final; raises what another attempt may cure."""
    failure_class, message = classify(error), describe_error(error)
    if POLICIES[failure_class].retries == 0:
        return Outcome(task.trial_id, "failed", 0.0, failure_class, message)
    away = isinstance(error, StoreAway)
    reason = Reason(failure_class, message, node, lacks_gpu_memory(error), away)
    tune.report({"reason": asdict(reason)})
    raise error


def _assigned_share() -> Share:
    """Return what Ray gave this worker of its node."""
    assigned = ray.get_runtime_context().get_assigned_resources()  # type: ignore[no-untyped-call]
    return Share(assigned["CPU"], assigned.get("GPU", 0.0))


def _on_gpu(share: float, attempt: Callable[[], Outcome]) -> Outcome:
    """Run an attempt in its share of a GPU, where it has one, and note what it took."""
    if not share:
        return attempt()
    from torch import cuda

    if not cuda.is_available():
        return attempt()
    enforce_share(cuda, share)
    outcome = attempt()
    peak, total = read_memory(cuda)
    return replace(outcome, gpu_peak_bytes=peak, gpu_total_bytes=total)


@lru_cache(maxsize=1)
def _note_node(notices: Notices) -> str:
    """Once per worker: tell what its kernel has killed so far, and return the node's id."""
    node = this_node()
    kills = count_oom_kills()
    if kills is not None:
        notices.note_kills(node, kills)
    return node


@lru_cache(maxsize=1)
def _exempt_imports() -> None:
    """Once per worker: collections look at trials' objects only, not at libraries'."""
    gc.freeze()


@lru_cache(maxsize=1)
def _exempt_later_imports() -> None:
    """Once more per worker, after its first trial, which imports what trials need."""
    gc.freeze()


def _free_memory() -> None:
    """A reused worker keeps nothing of the last trial, neither in memory nor on its GPU."""
    gc.collect()
    _exempt_later_imports()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    return_freed_memory()
