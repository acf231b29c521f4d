"""Runs missing trials on Ray Tune: waves of tasks over reused actors, results committed by trials.

Nothing of Ray's own experiment state is read again: what is done is what the store says.
"""

from __future__ import annotations

import gc
import logging
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache
from typing import Any

from ray import tune

from sweeps.errors import SweepError
from sweeps.rows import Task
from sweeps.trial import FitFunction, classify, fit_for_real, run_trial
from sweeps.watching import Outcome, Tally, TaskName, Watcher

WAVE = 200
"""Trials per Tuner: the driver's memory and state grow with the trials of one."""

RETRIES = 2
"""Further attempts after a lost worker or an unreachable store."""

RETRIED = frozenset({"infrastructure"})
"""Failure classes that another attempt may cure; Tune retries lost workers by itself."""

_REPORT_EVERY_S = 2.0
_log = logging.getLogger("sweeps.tuner")


_CONFIG_KEY = "trial_id"
"""All that Tune is told of a trial: other values it would replace by references of its own."""


class _Callback(tune.Callback):
    """Turns Tune's events into a watcher's, and keeps the tally."""

    def __init__(self, names: Mapping[str, TaskName], watcher: Watcher, tally: Tally) -> None:
        self.names, self.watcher, self.tally = names, watcher, tally

    def __reduce__(self) -> tuple[Any, ...]:
        # Tune pickles its callbacks for a restore that is never asked for; a console has locks
        return _Callback, ({}, Watcher(), Tally())

    def on_trial_start(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self.watcher.started(self.names[trial.config[_CONFIG_KEY]])

    def on_trial_result(
        self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        name = self.names[trial.config[_CONFIG_KEY]]
        if "outcome" in result:
            self.tally.outcomes[name.trial_id] = Outcome(**result["outcome"])
        elif "epoch" in result:
            self.watcher.epoch(name, result["epoch"], result["epochs"], result["values"])

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        name = self.names[trial.config[_CONFIG_KEY]]
        outcome = self.tally.outcomes.get(name.trial_id)
        self.watcher.ended(name, outcome, "" if outcome is None else outcome.message)

    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        name = self.names[trial.config[_CONFIG_KEY]]
        message = "infrastructure: the worker was lost, or the store could not be reached"
        self.tally.lost[name.trial_id] = message
        self.watcher.ended(name, None, message)


def _trainable(
    name: str, tasks: Mapping[str, Task], fit_function: FitFunction
) -> Callable[[dict[str, Any]], None]:
    """The function that Tune runs for each task, named after the sweep for the dashboard."""

    def attempt(config: dict[str, Any]) -> None:
        _exempt_imports()
        task = tasks[config[_CONFIG_KEY]]
        last = time.monotonic()

        def progress(epoch: int, epochs: int, values: Any) -> None:
            nonlocal last
            if time.monotonic() - last >= _REPORT_EVERY_S:
                last = time.monotonic()
                tune.report({"epoch": epoch, "epochs": epochs, "values": dict(values)})

        try:
            outcome = run_trial(task, uuid.uuid4().hex[:12], progress, fit_function)
        except Exception as error:
            failure_class = classify(error)
            if failure_class in RETRIED:
                raise
            outcome = Outcome(task.trial_id, "failed", 0.0, failure_class, str(error))
        finally:
            _free_memory()
        tune.report({"outcome": asdict(outcome)})

    attempt.__name__ = attempt.__qualname__ = name
    return attempt


@lru_cache(maxsize=1)
def _exempt_imports() -> None:
    """Once per worker: collections then look at trials' objects only, 1 ms instead of 400 ms."""
    gc.collect()
    gc.freeze()


def _free_memory() -> None:
    """A reused worker keeps nothing of the last trial, neither in memory nor on its GPU."""
    import torch

    gc.collect()
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()


def run_tasks(
    name: str,
    tasks: Sequence[Task],
    *,
    cpus: float,
    gpus: float,
    concurrent: int,
    watcher: Watcher,
    fit_function: FitFunction = fit_for_real,
) -> Tally:
    """Run tasks in waves on the Ray session of this process.

    Args:
        name: The sweep's name; names the trainable.
        tasks: What to run.
        cpus: CPUs per trial.
        gpus: GPUs per trial, may be a fraction.
        concurrent: Trials at once.
        watcher: Told of progress.
        fit_function: What trains; a benchmark passes another.

    Raises:
        SweepError: a resource request that the session can never meet.
    """
    tally = Tally()
    logging.getLogger("ray.tune").setLevel(logging.ERROR)  # its summary warns of absent log files
    resources = {"cpu": cpus, "gpu": gpus} if gpus else {"cpu": cpus}
    scratch = tempfile.mkdtemp(prefix="spurious-sweeps-tune-")
    try:
        for start in range(0, len(tasks), WAVE):
            wave = tasks[start : start + WAVE]
            by_id = {task.trial_id: task for task in wave}
            names = {task.trial_id: TaskName(task.trial_id, task.label) for task in wave}
            _fit(
                f"{name}-{start // WAVE}",
                tune.with_resources(_trainable(name, by_id, fit_function), resources),
                names,
                concurrent,
                scratch,
                _Callback(names, watcher, tally),
            )
            if any(task.trial_id not in tally.ended for task in wave):
                break  # Tune returns early, without an exception, when the user interrupts it
    except tune.TuneError as error:
        raise SweepError(f"Ray Tune gave up on sweep '{name}': {error}") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return tally


def _fit(
    name: str,
    trainable: Any,
    names: Mapping[str, TaskName],
    concurrent: int,
    scratch: str,
    callback: tune.Callback,
) -> None:
    """One Tuner over a wave of trials."""

    def shown(trial: Any) -> str:
        found = names[trial.config[_CONFIG_KEY]]
        return f"{found.label}_{found.trial_id[:8]}"

    tune.Tuner(
        trainable,
        param_space={_CONFIG_KEY: tune.grid_search(list(names))},
        tune_config=tune.TuneConfig(
            reuse_actors=True,
            max_concurrent_trials=concurrent,
            trial_name_creator=shown,
            trial_dirname_creator=shown,
        ),
        run_config=tune.RunConfig(
            name=name,
            storage_path=scratch,
            verbose=0,
            callbacks=[callback],
            failure_config=tune.FailureConfig(max_failures=RETRIES),
        ),
    ).fit()


def how_many_at_once(cpus: float, gpus: float, session_cpus: float, session_gpus: float) -> int:
    """Trials that fit into a session at once.

    Raises:
        SweepError: not even one does.
    """
    fits = int(session_cpus // cpus)
    if gpus:
        per_gpu = int(1 // gpus) if gpus < 1 else 0
        by_gpu = int(session_gpus) * per_gpu if gpus < 1 else int(session_gpus // gpus)
        fits = min(fits, by_gpu)
    if fits < 1:
        raise SweepError(
            f"resources: a trial asks for {cpus:g} CPUs and {gpus:g} GPUs, the Ray session has "
            f"{session_cpus:g} CPUs and {session_gpus:g} GPUs; lower resources.cpus or "
            "resources.gpus, or run on a larger cluster"
        )
    return fits
