"""One trial on one worker: open the dataset, fit, write the tables, commit once."""

from __future__ import annotations

import logging
import socket
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from cluster.common.redaction import RedactingFormatter, redact
from cluster.datasets.manifest import Manifest, find_manifest
from cluster.errors import (
    AlreadyExists,
    ClusterError,
    StoreAway,
)
from cluster.node_cache.open import CachedDataset, open_dataset
from cluster.stores import open_store
from cluster.stores.base import Store
from spurious.data.dataset import Dataset
from spurious.errors import Stopped
from spurious.fit import fit
from spurious.training.loop import Fit, Hooks
from sweeps.errors import DamagedResult
from sweeps.results import tables as results
from sweeps.results.checking import check_result
from sweeps.trial.checkpoint import Clock, TrainingState
from sweeps.trial.events import Control, Outcome
from sweeps.trial.explanations import explanation_request
from sweeps.trial.failures import classify, describe_error
from sweeps.trial.kept_models import put_model
from sweeps.trial.prometheus import TrialTelemetry
from sweeps.trial.result_rows import Rows
from sweeps.trial.rungs import RungReached, record_rung, stop_at_rung
from sweeps.trial.shared_models import StoredSharedModels
from sweeps.trial.tasks import Task
from sweeps.trial.weights import load_weights

_LOG_LINES = 40
_PACKAGES = ("sweeps", "spurious", "cluster")
_log = logging.getLogger("sweeps.trial.run")

Progress = Callable[[int, int, Mapping[str, float]], None]


FitFunction = Callable[[Dataset, Task, Hooks, Store], Fit]


def fit_for_real(dataset: Dataset, task: Task, hooks: Hooks, store: Store) -> Fit:
    """Train; a benchmark passes another function to measure everything around this."""
    request = explanation_request(store, task, dataset)
    return fit(dataset, task.config, task.machine, hooks, load_weights(store), request)


def run_trial(
    task: Task,
    attempt: str,
    progress: Progress,
    fit_function: FitFunction = fit_for_real,
    control: Control = Control(),  # noqa: B008 (it has no state)
    records_failure: bool = True,
) -> Outcome:
    """Run one attempt to its commit.

    Args:
        task: The trial.
        attempt: A fresh id.
        progress: Receives epoch, number of epochs and metric values.
        fit_function: What trains.
        control: Asked between epochs whether to save or to stop.
        records_failure: Whether a failure is noted in the store, if that can still be reached.

    Raises:
        SpuriousError, ClusterError: as the dataset, store or training raise them.
    """
    clock = Clock()
    if control.stop():
        return Outcome(task.trial_id, "stopped", clock.attempt())
    store = _open_store(task.store_url)
    shown = TrialTelemetry(task.sweep, task.label, task.trial_id, task.dataset)
    state = TrainingState(store, task, clock, control)
    logged = _record_failure(store, task, attempt) if records_failure else _log_to_trial(task)
    with logged, shown, state:
        if _has_result(store, task.trial_id):
            return Outcome(task.trial_id, "already done", clock.attempt())
        began = datetime.now(UTC)
        _log.info("attempt %s begins", attempt)
        cached = _open(store, task, shown)
        on_epoch = _after_check(cached, shown.telling(progress))
        try:
            hooks = stop_at_rung(_make_hooks(store, task, state, on_epoch), task.until_epoch)
            fitted = fit_function(cached.dataset, task, hooks, store)
        except (RungReached, Stopped) as early:
            return _end_early(store, task, attempt, early, state, cached)
        if task.keep_checkpoint:
            state.finish()
        cached.check_unchanged()
        rows = Rows(cached.dataset, task, attempt, fitted)
        trial = rows.trial(began, clock.trial())
        ending = "committed" if _commit(store, rows, trial) else "lost the race"
        _log.info("attempt %s %s", attempt, ending)
        state.forget()
    outcome = Outcome(task.trial_id, ending, clock.attempt(), warnings=_describe_discarded(cached))
    return replace(outcome, images=fitted.images_trained, robust_auroc=trial["test_robust_auroc"])


def _end_early(
    store: Store,
    task: Task,
    attempt: str,
    early: RungReached | Stopped,
    state: TrainingState,
    cached: CachedDataset,
) -> Outcome:
    """End an attempt whose trial is not over; its checkpoint is in the store then."""
    state.finish()
    if isinstance(early, RungReached):
        record_rung(store, task, attempt, early)
    else:
        state.refuse_stop(early)
    _log.info("attempt %s %s", attempt, early)
    ending = "at a rung" if isinstance(early, RungReached) else "stopped"
    warnings = _describe_discarded(cached)
    return Outcome(task.trial_id, ending, state.clock.attempt(), warnings=warnings)


def _has_result(store: Store, trial_id: str) -> bool:
    """Return whether the trial has a result that is whole; a damaged one is replaced at commit."""
    try:
        return check_result(store, trial_id) is not None
    except DamagedResult as error:
        _log.warning("the result is damaged, and the trial runs again: %s", error)
        return False


def _after_check(cached: CachedDataset, on_epoch: Progress) -> Progress:
    """Check the mapped files after every epoch, before it is saved in a checkpoint."""

    def check(epoch: int, epochs: int, values: Mapping[str, float]) -> None:
        cached.check_unchanged()
        on_epoch(epoch, epochs, values)

    return check


def _make_hooks(store: Store, task: Task, state: TrainingState, on_epoch: Progress) -> Hooks:
    return Hooks(
        resume=state.resume(),
        save=state.save,
        save_every=task.checkpoint_every,
        on_epoch=on_epoch,
        poll=state.poll,
        shared_models=StoredSharedModels(store, task, state.poll, on_epoch),
    )


def _commit(store: Store, rows: Rows, trial: Mapping[str, Any]) -> bool:
    """Write an attempt's model, tables and row; return whether it was the first to have one."""
    kept = put_model(store, rows.task, trial["attempt"], rows.dataset, rows.fit)
    is_first = results.commit(
        store,
        trial,
        rows.epochs(),
        rows.predictions(),
        rows.dataset.attribute_names,
        AlreadyExists,
        rows.optional(),
        rows.class_names,
    )
    if kept is not None and not is_first:
        store.delete(kept)
    return is_first


@lru_cache(maxsize=4)
def _open_store(url: str) -> Store:
    """Return one client per worker process: a reused worker pays for it once."""
    return open_store(url, probe=False)  # the driver has tried what it can


@lru_cache(maxsize=4)
def _manifest(url: str, name: str, digest: str) -> Manifest:
    return find_manifest(_open_store(url), name, digest)


def _open(store: Store, task: Task, shown: TrialTelemetry) -> CachedDataset:
    manifest = _manifest(task.store_url, task.dataset, task.dataset_digest)
    cached = open_dataset(store, manifest, Path(task.cache_dir), progress=shown.fetching)
    shown.opened(cached)
    return cached


def _describe_discarded(cached: CachedDataset) -> tuple[str, ...]:
    """Return a warning for each part of this node's copy of the dataset that was damaged."""
    node, check = socket.gethostname(), "(check the node's disk and memory)"
    warnings = []
    if cached.discarded:
        warnings.append(f"{cached.discarded}; the dataset was fetched again from the store")
    if cached.derived is not None:
        warnings += [f"{reason}; it was made again" for reason in cached.derived.discarded]
    return tuple(f"node {node}: {warning} {check}" for warning in warnings)


class _Tail(logging.Handler):
    """Keeps the last log lines for the failures table."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: deque[str] = deque(maxlen=_LOG_LINES)

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.levelname} {record.name}: {record.getMessage()}")


@contextmanager
def _log_to_trial(task: Task) -> Iterator[_Tail]:
    """Log lines of this project from INFO on, to the worker's log with the trial's name, and kept.

    Ray shows the worker's log on its dashboard, where a reused worker serves many trials.
    """
    tail, shown = _Tail(), logging.StreamHandler()
    shown.setFormatter(
        RedactingFormatter(f"{task.label} {task.trial_id}: %(levelname)s %(name)s: %(message)s")
    )
    root, ours = logging.getLogger(), [logging.getLogger(name) for name in _PACKAGES]
    levels = [logger.level for logger in ours]
    for logger in ours:
        logger.setLevel(logging.INFO)
    for handler in (tail, shown):
        root.addHandler(handler)
    try:
        yield tail
    finally:
        for handler in (tail, shown):
            root.removeHandler(handler)
        for logger, level in zip(ours, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def _record_failure(store: Store, task: Task, attempt: str) -> Iterator[None]:
    """Write a row of `failures` for an exception on its way out."""
    with _log_to_trial(task) as tail:
        try:
            yield
        except Exception as error:
            failure = {
                "trial_id": task.trial_id,
                "attempt": attempt,
                "failure_class": classify(error),
                "message": describe_error(error),
                "traceback": redact(traceback.format_exc()),
                "log_tail": redact("\n".join(tail.lines)),
                "node": socket.gethostname(),
                "failed_at": datetime.now(UTC),
            }
            try:
                if not isinstance(error, StoreAway):  # it would wait once more for nothing
                    results.record_failure(store, failure)
            except ClusterError as unrecorded:
                _log.error("this failure could not be recorded: %s", unrecorded)
            raise
