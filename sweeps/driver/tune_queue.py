"""The queue as Ray Tune sees it: a search algorithm that names the next trial.

Tune asks it whenever fewer trials wait for an actor than may, so one Tuner runs a whole sweep and
no slot waits for the end of others. Tune keeps every trial that it ever had, in the memory of the
driver and in loops over all of them; here it forgets those that ended.
"""

from __future__ import annotations

import base64
import pickle
from pathlib import Path
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search.search_algorithm import SearchAlgorithm

from cluster.jobs.ray_internals import (
    ask_for_other_resources,
    forget_ended_trials,
    waiting_trials,
)
from sweeps.driver.losses import Losses
from sweeps.driver.placement import Placement
from sweeps.driver.queue import TrialQueue
from sweeps.driver.requests import factory
from sweeps.trial.tasks import Task

TRIAL_ID, _TASK = "trial_id", "task"


def pack_task(task: Task) -> dict[str, str]:
    """Return what Tune carries to the worker: text alone, since it replaces other values."""
    return {TRIAL_ID: task.trial_id, _TASK: base64.b64encode(pickle.dumps(task)).decode("ascii")}


def unpack_task(config: dict[str, Any]) -> Task:
    """Return the task in a trial's configuration, on its worker."""
    task: Task = pickle.loads(base64.b64decode(config[_TASK]))  # noqa: S301 (the driver's own)
    return task


class TaskTrial(Trial):
    """A trial of Tune's that is tried again where the run's judge of losses says so.

    Attributes:
        losses: The judge.
        cache: Folder of the node cache.
        is_told_again: Whether Tune told one loss twice. It does where an idle actor is dead when it
            is given the trial: first of the actor, whereupon the trial is tried again, and then of
            the call, whereupon it is given up.
    """

    losses: Losses
    cache: Path
    is_told_again = False
    _last_error: Any = None

    def handle_error(self, exc: Any = None) -> None:
        """See the base class; the judge hears of it before Tune asks what follows, and once."""
        super().handle_error(exc)
        self.is_told_again = exc is not None and exc is self._last_error
        self._last_error = exc
        if not self.is_told_again:
            self.losses.judge(self.config[TRIAL_ID], self.cache, exc)

    def should_recover(self) -> bool:
        """See the base class, which counts failures whatever they were."""
        return self.losses.is_retried(self.config[TRIAL_ID])

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()  # type: ignore[no-untyped-call]
        # Tune writes trials down for a restore that never comes
        for name in ("losses", "cache", "_last_error"):
            state.pop(name, None)
        return state


def tune_id(task: Task, returned: int) -> str:
    """Return what Tune knows a task by, never the same again.

    Args:
        task: What is given out. A search may run a trial in parts, one after the other.
        returned: How often a task of its trial came back to the queue.
    """
    part = "" if task.until_epoch is None else f"_{task.until_epoch}"
    again = f"_again_{returned}" if returned else ""
    return f"{task.trial_id}{part}{again}"


class QueueSearch(SearchAlgorithm):
    """Turns the queue's tasks into Tune's trials, one at a time.

    Args:
        queue: What waits.
        placement: What each trial asks for.
        losses: Judges lost attempts.
    """

    def __init__(self, queue: TrialQueue, placement: Placement, losses: Losses) -> None:
        self.queue, self.placement, self.losses = queue, placement, losses
        self._experiment: Any = None

    def __reduce__(self) -> tuple[Any, ...]:
        # Tune pickles it for a restore that is never asked for; a queue's source has a thread
        return object, ()

    @property
    def total_samples(self) -> int:
        """See the base class; only Tune's own progress display reads it."""
        return len(self.queue.labels)

    def add_configurations(self, experiments: Any) -> None:
        """See the base class: Tune gives the one experiment, whose trials these are."""
        [self._experiment] = experiments

    def next_trial(self) -> Trial | None:
        """See the base class."""
        task = self.queue.take()
        if task is None:
            return None
        name = f"{task.label}_{task.trial_id[:8]}"
        trial = TaskTrial(
            self._experiment.run_identifier,
            config=pack_task(task),
            trial_id=tune_id(task, self.queue.returned[task.trial_id]),
            storage=self._experiment.storage,
            placement_group_factory=factory(self.placement.request(task.trial_id)),
            trial_name_creator=lambda trial: name,
            trial_dirname_creator=lambda trial: trial.trial_id,
        )
        trial.losses, trial.cache = self.losses, Path(task.cache_dir)
        return trial

    def is_finished(self) -> bool:
        """See the base class."""
        return self.queue.is_finished

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """See the base class."""

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """See the base class."""

    def has_checkpoint(self, dirpath: str) -> bool:
        """See the base class: what is done is what the store says."""
        return False

    def save_to_dir(self, dirpath: str, session_str: str = "", **named: Any) -> None:
        """See the base class; nothing is ever restored from Tune's own state."""

    def restore_from_dir(self, dirpath: str) -> None:
        """See the base class; never request for."""


class QueueScheduler(FIFOScheduler):
    """First come, first served; makes Tune forget the trials that ended.

    What trials that wait ask for is kept up to date here, where no event is being handled.

    Args:
        placement: What each trial asks for.
    """

    def __init__(self, placement: Placement) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.placement = placement
        self._seen = placement.changes
        self._has_ended = False

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: Any) -> None:
        """See the base class."""
        self._has_ended = True

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        """See the base class; called also before a trial that is tried again waits."""
        self._has_ended = True
        if trial.status == Trial.ERROR:  # of one that is not, this is the end
            trial.update_resources(factory(self.placement.request(trial.config[TRIAL_ID])))

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        """See the base class; between two events, when none is being handled."""
        if self._has_ended:
            forget_ended_trials(tune_controller)
            self._has_ended = False
        self.placement.nodes()  # notes nodes that came and went
        if self.placement.changes != self._seen:
            self._seen = self.placement.changes
            for trial in waiting_trials(tune_controller):
                request = factory(self.placement.request(trial.config[TRIAL_ID]))
                if request != trial.placement_group_factory:
                    ask_for_other_resources(tune_controller, trial, request)
        return super().choose_trial_to_run(tune_controller)
