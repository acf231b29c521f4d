"""Trials that a search compares before their end: they save, note their validation and give way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from cluster.stores.base import Store
from spurious.errors import Stopped
from spurious.scoring.registry import METRICS
from spurious.training import checkpoint
from spurious.training.checkpoint import Snapshot
from spurious.training.evaluate import from_columns
from spurious.training.loop import ControlSignal, Hooks
from sweeps.results.codec import encode
from sweeps.results.keys import stopped_key
from sweeps.trial.tasks import Task

_SPLIT = "val"


class RungReached(Stopped):
    """The trial came to the epoch at which it is compared; its checkpoint is taken.

    Attributes:
        epoch: The epoch.
        history: Epoch to metric on validation to value.
    """

    def __init__(self, epoch: int, history: Mapping[int, Mapping[str, float]]) -> None:
        super().__init__(f"is compared after epoch {epoch}")
        self.epoch, self.history = epoch, history


def stop_at_rung(hooks: Hooks, until: int | None) -> Hooks:
    """Return hooks that end a trial after an epoch, or the same where that is None.

    Schedules are those of the whole trial, so what it notes is what that would have had there.
    Models that it begins with are trained to their end.

    Raises:
        RungReached: the checkpoint in `hooks` is from there already.
    """
    if until is None or hooks.save is None:
        return hooks
    inner_save, inner_poll, inner_epoch = hooks.save, hooks.poll, hooks.on_epoch
    reached, history = _read(hooks)
    if reached >= until:
        raise RungReached(reached, history)

    def save(take: Callable[[], Snapshot], *, urgent: bool) -> bool:
        is_taken = inner_save(take, urgent=urgent)
        if reached >= until:
            raise RungReached(reached, history)
        return is_taken

    def on_epoch(epoch: int, epochs: int, values: dict[str, float]) -> None:
        nonlocal reached
        reached = epoch
        of_validation = {
            name.partition(".")[2]: value
            for name, value in values.items()
            if name.partition(".")[0] == _SPLIT and name.partition(".")[2] in METRICS
        }
        if of_validation:
            history[epoch] = of_validation
        if inner_epoch is not None:
            inner_epoch(epoch, epochs, values)

    def poll() -> ControlSignal:
        signal = inner_poll()
        is_due = reached >= until and signal is ControlSignal.CONTINUE
        return ControlSignal.SAVE if is_due else signal

    return replace(hooks, save=save, on_epoch=on_epoch, poll=poll)


def _read(hooks: Hooks) -> tuple[int, dict[int, dict[str, float]]]:
    """Return the epoch of the checkpoint that a trial continues from, and validation so far."""
    if hooks.resume is None:
        return 0, {}
    held = checkpoint.unpack(hooks.resume)
    history: dict[int, dict[str, float]] = {}
    for row in from_columns(held["rows"]):
        if row.split == _SPLIT and row.attribute is None and row.metric in METRICS:
            history.setdefault(row.epoch, {})[row.metric] = row.value
    return int(held["epoch"]), history


def record_rung(store: Store, task: Task, attempt: str, rung: RungReached) -> None:
    """Write a trial's validation metrics up to a rung, under a key of their own."""
    rows = [
        {
            "trial_id": task.trial_id,
            "attempt": attempt,
            "reached": rung.epoch,
            "epochs": task.config.train.epochs,
            "epoch": epoch,
            "metric": name,
            "value": value,
        }
        for epoch, values in sorted(rung.history.items())
        for name, value in values.items()
    ]
    store.put(stopped_key(task.trial_id), encode("stopped", rows))
