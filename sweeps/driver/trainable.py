"""What a worker runs for each trial; imports no torch, which the driver would load, too."""

from __future__ import annotations

import gc
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ray import tune

from cluster.errors import StoreAway
from cluster.jobs.notices import Notices
from sweeps.driver.interrupts import WorkerControl
from sweeps.driver.tune_queue import unpack_task
from sweeps.driver.worker_title import WorkerTitle
from sweeps.trial.events import Control, Outcome
from sweeps.trial.failures import classify, describe_error
from sweeps.trial.tasks import Task

if TYPE_CHECKING:
    from sweeps.trial.run import FitFunction

Progress = Callable[[int, int, Any], None]
Attempt = Callable[[Task, Progress, Control], Outcome]
"""Runs one attempt of a task: receives the task, what is told of epochs, and what may be asked."""

RETRIED = frozenset({"infrastructure"})
"""Failure classes that another attempt may cure; Tune retries lost workers by itself."""

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
    name: str, notices: Notices, attempt: Attempt = run_attempt
) -> Callable[[dict[str, Any]], None]:
    """Return the function that Tune runs for each task, named after the sweep for the dashboard.

    Tune unpickles it on the driver for every trial, so it holds next to nothing.
    """

    def trainable(config: dict[str, Any]) -> None:
        _exempt_imports()
        task = unpack_task(config)
        try:
            with WorkerControl(notices, task.trial_id) as control:
                retried = control.retried(task.trial_id)
                with WorkerTitle(name, task.label, is_retried=retried) as title:
                    outcome = attempt(task, _told_progress(title), control)
        except Exception as error:  # noqa: BLE001 (whatever it is, it has a class)
            outcome = _failed(task, error)
        finally:
            _free_memory()
        tune.report({"outcome": asdict(outcome)})

    trainable.__name__ = trainable.__qualname__ = name
    return trainable


def _told_progress(title: WorkerTitle) -> Progress:
    """Return a function that tells the driver of epochs, at most every two seconds."""
    last = time.monotonic()

    def progress(epoch: int, epochs: int, values: Any) -> None:
        nonlocal last
        title.epoch(epoch, epochs)
        if time.monotonic() - last >= _REPORT_EVERY_S:
            last = time.monotonic()
            tune.report({"epoch": epoch, "epochs": epochs, "values": dict(values)})

    return progress


def _failed(task: Task, error: Exception) -> Outcome:
    """Return the outcome of a failure that is final; raises what another attempt may cure."""
    failure_class, message = classify(error), describe_error(error)
    if failure_class in RETRIED:
        away = isinstance(error, StoreAway)
        tune.report({"reason": f"{failure_class}: {message}", "store_away": away})
        raise error
    return Outcome(task.trial_id, "failed", 0.0, failure_class, message)


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
