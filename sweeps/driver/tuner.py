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
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import ray
from ray import tune
from ray.exceptions import RayActorError, RayError

from cluster.errors import StoreAway
from cluster.jobs.notices import Notices
from cluster.jobs.ray_internals import keep_environment_out_of_actors
from sweeps.driver.interrupts import Stopping, WorkerControl
from sweeps.driver.store_watch import StoreWatch
from sweeps.errors import SweepError
from sweeps.trial.events import LostWorker, Outcome, Tally, TaskName, Watcher
from sweeps.trial.run import FitFunction, classify, describe_error, fit_for_real, run_trial
from sweeps.trial.tasks import Task

WAVE = 200
"""Trials per Tuner: the driver's memory and state grow with the trials of one."""

RETRIES = 2
"""Further attempts after a lost worker or an unreachable store."""

RETRIED = frozenset({"infrastructure"})
"""Failure classes that another attempt may cure; Tune retries lost workers by itself."""

_REPORT_EVERY_S = 2.0
_LOOK_EVERY_S = 1.0
_log = logging.getLogger("sweeps.driver.tuner")


_LOST = "the worker process was lost (killed, out of memory, or with its node)"

_CONFIG_KEY = "trial_id"
"""All that Tune is told of a trial: other values it would replace by references of its own."""


class _Callback(tune.Callback):
    """Turns Tune's events into a watcher's, keeps the tally, and passes a wish to stop on."""

    def __init__(
        self,
        names: Mapping[str, TaskName],
        watcher: Watcher,
        tally: Tally,
        stopping: Stopping,
        store: StoreWatch | None,
    ) -> None:
        self.names, self.watcher, self.tally, self.stopping = names, watcher, tally, stopping
        self.store = store
        self.reasons: dict[str, str] = {}
        self.expected: set[str] = set()
        self._looked_at = -float("inf")

    def __reduce__(self) -> tuple[Any, ...]:
        # Tune pickles its callbacks for a restore that is never asked for; a console has locks
        return _Callback, ({}, Watcher(), Tally(), Stopping(Notices("")), None)

    def on_step_begin(self, iteration: int, trials: Any, **info: Any) -> None:
        if self.stopping.is_newly_requested():
            self.watcher.on_stopping()
        if time.monotonic() - self._looked_at >= _LOOK_EVERY_S:
            self._looked_at = time.monotonic()
            self._expect_losses(trials)
        if self.store is not None and self.store.error and not self.stopping.is_requested:
            self.stopping.request()
            self.watcher.on_store_away("the store did not come back: the sweep stops")

    def on_trial_start(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self.watcher.on_started(self.names[trial.config[_CONFIG_KEY]])

    def on_trial_result(
        self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        name = self.names[trial.config[_CONFIG_KEY]]
        if "outcome" in result:
            self.tally.outcomes[name.trial_id] = Outcome(**result["outcome"])
        elif "reason" in result:
            self.reasons[name.trial_id] = result["reason"]
            watch = self.store if result.get("store_away") else None
            if watch is not None and (message := watch.start()):
                self.watcher.on_store_away(message)
        elif "epoch" in result:
            self.watcher.on_epoch(name, result["epoch"], result["epochs"], result["values"])

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        name = self.names[trial.config[_CONFIG_KEY]]
        outcome = self.tally.outcomes.get(name.trial_id)
        self.watcher.on_ended(name, outcome, "" if outcome is None else outcome.message)

    def on_trial_recover(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self.stopping.notices.lost(trial.config[_CONFIG_KEY])
        self.watcher.on_retried(self.names[trial.config[_CONFIG_KEY]], self._lost(trial))

    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        name = self.names[trial.config[_CONFIG_KEY]]
        message = self._lost(trial)
        self.tally.lost[name.trial_id] = message
        self.watcher.on_ended(name, None, message)

    def _lost(self, trial: Any) -> str:
        """Failure class and message of an attempt that raised or died; notes a dead worker."""
        trial_id = trial.config[_CONFIG_KEY]
        left = self._left(trial)
        if reason := self.reasons.pop(trial_id, None):
            return reason
        failure_class, message = self._loss(trial, left)
        log = Path(trial.error_file).read_text() if trial.error_file else ""
        details = log.rpartition("Failure # ")[2]  # the file has all of the trial's
        now = datetime.now(UTC)
        self.watcher.on_lost_worker(LostWorker(trial_id, message, details, now, failure_class))
        return f"{failure_class}: {message}"

    def _expect_losses(self, trials: Any) -> None:
        """Allow a failure more to each trial whose node goes away: Tune decides at its death."""
        new = self.stopping.notices.all_leaving() - self.expected
        for trial in trials if new else ():
            if trial.config[_CONFIG_KEY] in new:
                trial.max_failures += 1
        self.expected |= new

    def _left(self, trial: Any) -> bool:
        """Return whether the trial's node went away on notice; withdraw what was allowed for it."""
        trial_id = trial.config[_CONFIG_KEY]
        if trial_id in self.expected:
            self.expected.remove(trial_id)
            trial.max_failures -= 1
        return self.stopping.notices.left(trial_id)

    def _loss(self, trial: Any, left: bool) -> tuple[str, str]:
        """Failure class and message of a lost worker; a node that went away on notice is none."""
        error = trial.get_pickled_error()
        uncounted = isinstance(error, RayActorError) and error.preempted
        if not left and not uncounted:
            return "infrastructure", _LOST
        trial.max_failures += not uncounted
        return "preempted", "the worker's node went away after a notice (spot, drain)"


class _Shown:
    """A trial's name for Tune and the dashboard."""

    def __init__(self, names: Mapping[str, TaskName] = MappingProxyType({})) -> None:
        self.names = names

    def __call__(self, trial: Any) -> str:
        task = self.names[trial.config[_CONFIG_KEY]]
        return f"{task.label}_{task.trial_id[:8]}"

    def __reduce__(self) -> tuple[Any, ...]:
        return _Shown, ()  # Tune pickles it twice a trial, with all names if it could

    def __deepcopy__(self, memo: Any) -> _Shown:
        return self


@lru_cache(maxsize=1)
def _tasks_of(wave: ray.ObjectRef[dict[str, Task]]) -> dict[str, Task]:
    """Return a wave's tasks, fetched once per worker."""
    return ray.get(wave)


def _trainable(
    name: str, tasks: dict[str, Task], fit_function: FitFunction, notices: Notices
) -> Callable[[dict[str, Any]], None]:
    """Return the function that Tune runs for each task, named after the sweep for the dashboard.

    Tune unpickles it on the driver for every trial, so it refers to the tasks and holds none.
    """
    wave = ray.put(tasks)

    def attempt(config: dict[str, Any]) -> None:
        _exempt_imports()
        task = _tasks_of(wave)[config[_CONFIG_KEY]]
        last = time.monotonic()

        def progress(epoch: int, epochs: int, values: Any) -> None:
            nonlocal last
            if time.monotonic() - last >= _REPORT_EVERY_S:
                last = time.monotonic()
                tune.report({"epoch": epoch, "epochs": epochs, "values": dict(values)})

        try:
            with WorkerControl(notices, task.trial_id) as control:
                outcome = run_trial(task, uuid.uuid4().hex[:12], progress, fit_function, control)
        except Exception as error:
            failure_class = classify(error)
            if failure_class in RETRIED:
                reason = f"{failure_class}: {describe_error(error)}"
                tune.report({"reason": reason, "store_away": isinstance(error, StoreAway)})
                raise
            outcome = Outcome(task.trial_id, "failed", 0.0, failure_class, describe_error(error))
        finally:
            _free_memory()
        tune.report({"outcome": asdict(outcome)})

    attempt.__name__ = attempt.__qualname__ = name
    return attempt


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
    import torch

    gc.collect()
    _exempt_later_imports()
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()


def run_tasks(
    name: str,
    tasks: Sequence[Task],
    *,
    cpus: float,
    gpus: float,
    watcher: Watcher,
    store: StoreWatch | None = None,
    scratch: Path | None = None,
    fit_function: FitFunction = fit_for_real,
) -> Tally:
    """Run tasks in waves on the Ray session of this process.

    Args:
        name: The sweep's name; names the trainable.
        tasks: What to run.
        cpus: CPUs per trial.
        gpus: GPUs per trial, may be a fraction.
        watcher: Receives progress.
        store: Waits for a store that is away; where it gives up, the run stops.
        scratch: Existing folder for Tune's own files, which nothing reads; a temporary one else.
        fit_function: What trains; a benchmark passes another.

    Raises:
        SweepError: Ray or Tune itself failed.
    """
    tally, stopping = Tally(), Stopping(Notices(uuid.uuid4().hex))
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # our progress shows the same
    keep_environment_out_of_actors()
    resources = {"cpu": cpus, "gpu": gpus} if gpus else {"cpu": cpus}
    folder = tempfile.mkdtemp(prefix="spurious-sweeps-tune-", dir=scratch)
    try:
        with stopping.on_interrupt():
            for start in range(0, len(tasks), WAVE):
                by_id = {task.trial_id: task for task in tasks[start : start + WAVE]}
                names = {key: TaskName(key, task.label) for key, task in by_id.items()}
                trainable = _trainable(name, by_id, fit_function, stopping.notices)
                trainable = tune.with_resources(trainable, resources)
                callback = _Callback(names, watcher, tally, stopping, store)
                _fit(f"{name}-{start // WAVE}", trainable, names, folder, callback)
                if stopping.is_requested:
                    break
            stopping.notices.clear()
    except KeyboardInterrupt:  # the second one; what is done is in the store
        pass
    except (tune.TuneError, RayError) as error:
        raise SweepError(f"Ray Tune gave up on sweep '{name}': {error}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return tally


def _fit(
    name: str,
    trainable: Any,
    names: Mapping[str, TaskName],
    folder: str,
    callback: tune.Callback,
) -> None:
    """One Tuner over a wave of trials; resources alone say how many run at once.

    So some trials always wait for an actor, and Tune keeps both of two that end at the same time.
    """
    shown = _Shown(names)
    tune.Tuner(
        trainable,
        param_space={_CONFIG_KEY: tune.grid_search(list(names))},
        tune_config=tune.TuneConfig(
            reuse_actors=True,
            trial_name_creator=shown,
            trial_dirname_creator=shown,
        ),
        run_config=tune.RunConfig(
            name=name,
            storage_path=folder,
            verbose=0,
            callbacks=[callback],
            failure_config=tune.FailureConfig(max_failures=RETRIES),
        ),
    ).fit()


def how_many_at_once(
    cpus: float, gpus: float, nodes: Sequence[tuple[float, float]], *, may_grow: bool = False
) -> int:
    """Return trials that fit onto the nodes of a session at once; a trial stays on one node.

    Args:
        cpus: CPUs of a trial.
        gpus: GPUs of a trial, may be a fraction.
        nodes: CPUs and GPUs of each node.
        may_grow: Whether nodes may come later: then none now is not an error.

    Raises:
        SweepError: not even one does.
    """
    total = sum(_on_node(cpus, gpus, *node) for node in nodes)
    if total < 1 and not may_grow:
        offered = ", ".join(f"{c:g} CPUs and {g:g} GPUs" for c, g in sorted(set(nodes)))
        raise SweepError(
            f"resources: a trial asks for {cpus:g} CPUs and {gpus:g} GPUs, no node of the Ray "
            f"session has them ({offered}); lower resources.cpus or resources.gpus, or run on "
            "larger nodes"
        )
    return total


def _on_node(cpus: float, gpus: float, node_cpus: float, node_gpus: float) -> int:
    fits = int(node_cpus // cpus)
    if not gpus:
        return fits
    per_gpu = int(1 / gpus + 1e-9)  # Ray splits no trial's share of a GPU over two
    return min(fits, int(node_gpus) * per_gpu if gpus <= 1 else int(node_gpus // gpus))
