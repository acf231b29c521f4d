"""One attempt of a trial, in this process: what it commits, continues from and records."""

from __future__ import annotations

import logging
import math
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_sweeps import (
    DIVERGES,
    assert_same,
    one,
    prepared,
    run_here,
    tables,
    zero_half,
)

from cluster.errors import AlreadyExists, Corrupt, Denied, NotFound, Unavailable
from cluster.node_cache.cached_file import CacheChanged
from cluster.stores.base import Store
from cluster.stores.folder import FolderStore
from spurious.errors import ConfigError, DataError, NumericalError
from spurious.training import checkpoint
from sweeps.errors import TimeLimit
from sweeps.plan.facts import plan_on
from sweeps.results import tables as results
from sweeps.trial.events import Control
from sweeps.trial.failures import POLICIES, classify
from sweeps.trial.run import run_trial
from sweeps.trial.tasks import Task


def failures(store: Store, task: Task) -> list[dict[str, Any]]:
    """The recorded failures of a trial."""
    rows: list[dict[str, Any]] = results.read_failures(store, [task.trial_id]).to_pylist()
    return rows


class Killed(Exception):
    """What a test raises to end an attempt in the middle."""


def stop_at(epoch: int) -> Any:
    """Progress that ends the attempt when it is told of an epoch."""

    def progress(reached: int, epochs: int, values: Any) -> None:
        if reached == epoch:
            raise Killed(f"killed at {epoch}")

    return progress


def test_a_trial_commits_its_tables_once(store: Store, tmp_path: Path) -> None:
    """One row, every epoch's metrics, a score per image; no checkpoint left; a second run is none.

    On either store.
    """
    _, task = prepared(store, one(), tmp_path)
    outcome = run_trial(task, "first", lambda *_: None)
    assert (outcome.state, outcome.images) == ("committed", 3 * 20)
    trials = results.read_trials(store, [task.trial_id])
    [row] = trials.to_pylist()
    assert row["test_robust_auroc"] == pytest.approx(outcome.robust_auroc, nan_ok=True)
    assert (row["attempt"], row["train_images"], row["train_positives"]) == ("first", 20, 10)
    assert row["resumed_from_epoch"] == 0
    epochs = results.read_attempts(store, "epochs", trials).to_pylist()
    assert {(e["epoch"], e["split"]) for e in epochs if e["metric"] == "dice"} == {
        (epoch, split) for epoch in (1, 2, 3) for split in ("val", "test")
    }
    scores = results.read_attempts(store, "predictions", trials).to_pylist()
    assert sum(score["last"] for score in scores) == 60
    assert list(store.list("checkpoints/")) == []
    assert run_trial(task, "second", lambda *_: None).state == "already done"
    assert results.read_trials(store, [task.trial_id]).column("attempt").to_pylist() == ["first"]


def test_measures_are_committed_with_the_epochs(folder_store: FolderStore, tmp_path: Path) -> None:
    """Once a trial, at the kept epoch; and no embeddings where nobody asked."""
    _, task = prepared(folder_store, one(), tmp_path)
    run_trial(task, "first", lambda *_: None)
    trials = results.read_trials(folder_store, [task.trial_id])
    kept = trials.column("kept_epoch")[0].as_py()
    epochs = results.read_attempts(folder_store, "epochs", trials).to_pylist()
    once = {
        (row["metric"], row["split"], row["attribute"], row["epoch"])
        for row in epochs
        if row["metric"].startswith(("variance", "alignment"))
    }
    assert once == {
        ("variance_measure", "train", None, kept),
        ("alignment_y0", "test", "block", kept),
        ("alignment_y1", "test", "block", kept),
    }
    assert results.trials_with(folder_store, "embeddings", trials).num_rows == 0
    assert list(folder_store.list("results/embeddings/")) == []


def test_a_killed_trial_continues_and_gives_the_same_numbers(store: Store, tmp_path: Path) -> None:
    """From its last checkpoint, with the seconds of the part before; to the last bit."""
    spec = one(train__epochs=6)
    _, task = prepared(store, spec, tmp_path)
    with pytest.raises(Killed):
        run_trial(task, "first", stop_at(4))
    key = results.checkpoint_key(task.trial_id)
    state, before = results.unpack_checkpoint(store.get(key))
    assert before > 0
    store.put(key, results.checkpoint_head(5000.0) + bytes(state))
    seen: list[int] = []
    task = replace(task, has_checkpoint=True)
    run_trial(task, "second", lambda epoch, *_: seen.append(epoch))
    assert seen == [4, 5, 6]
    assert list(store.list("checkpoints/")) == []
    [row] = results.read_trials(store, [task.trial_id]).to_pylist()
    assert row["resumed_from_epoch"] == 3
    assert 5000 < row["seconds_total"] < 10000
    undisturbed = FolderStore(tmp_path / "undisturbed")
    expected = tables(undisturbed, run_here(undisturbed, spec, tmp_path))
    assert_same(tables(store, plan_on(spec, store)), expected)


def test_a_checkpoint_is_kept_where_the_spec_says_so(
    folder_store: FolderStore, tmp_path: Path
) -> None:
    """`checkpoint.keep` leaves the training state, `every_epochs` says how often it is written."""
    spec = one(checkpoint__keep=True, checkpoint__every_epochs=2, train__epochs=5)
    _, task = prepared(folder_store, spec, tmp_path)
    run_trial(task, "first", lambda *_: None)
    state, _ = results.unpack_checkpoint(folder_store.get(results.checkpoint_key(task.trial_id)))
    assert checkpoint.unpack(state)["epoch"] == 4


@pytest.mark.parametrize("damage", [b"", b"not a checkpoint", None])
def test_a_damaged_checkpoint_is_told_and_not_used(
    folder_store: FolderStore, tmp_path: Path, damage: bytes | None, caplog: Any
) -> None:
    """The trial starts from the beginning instead of failing for ever."""
    _, task = prepared(folder_store, one(), tmp_path)
    key = results.checkpoint_key(task.trial_id)
    with pytest.raises(Killed):
        run_trial(task, "first", stop_at(3))
    torn = folder_store.get(key)[:-100]
    folder_store.put(key, torn if damage is None else damage)
    task = replace(task, has_checkpoint=True)
    assert run_trial(task, "second", lambda *_: None).state == "committed"
    [row] = results.read_trials(folder_store, [task.trial_id]).to_pylist()
    assert row["resumed_from_epoch"] == 0
    assert f"{key} is not used; the trial starts from the beginning" in caplog.text


def test_a_cache_damaged_between_and_within_attempts_changes_no_number(
    folder_store: FolderStore, tmp_path: Path
) -> None:
    """Before an attempt it is fetched again, with a warning; within one it ends the attempt.

    That saves no epoch which saw the damage, so that the next attempt does not go on from there.
    """
    spec = one(train__epochs=6)
    _, task = prepared(folder_store, spec, tmp_path / "cache")
    with pytest.raises(CacheChanged, match=r"images.npy changed while it was in use") as error:
        run_trial(task, "first", lambda epoch, *_: epoch == 3 and zero_half(tmp_path / "cache"))
    assert classify(error.value) == "infrastructure"
    task = replace(task, has_checkpoint=True)
    outcome = run_trial(task, "second", lambda *_: None)
    assert outcome.state == "committed"
    [warning] = outcome.warnings
    assert f"node {socket.gethostname()}: cached file {tmp_path}/cache/" in warning
    [row] = results.read_trials(folder_store, [task.trial_id]).to_pylist()
    assert row["resumed_from_epoch"] == 3
    undisturbed = FolderStore(tmp_path / "undisturbed")
    expected = tables(undisturbed, run_here(undisturbed, spec, tmp_path))
    assert_same(tables(folder_store, plan_on(spec, folder_store)), expected)


class Told(Control):
    """Answers from an epoch on; a clock of epochs stands for time."""

    def __init__(
        self,
        stop_after: int = 99,
        leaves_after: int = 99,
        lost: bool = False,
        notice: float = math.inf,
    ) -> None:
        self.stop_after, self.leaves_after, self.lost = stop_after, leaves_after, lost
        self.notice, self.epoch = notice, 0

    def stop(self) -> bool:
        return self.epoch >= self.stop_after

    def leaving(self) -> bool:
        return self.epoch >= self.leaves_after

    def notice_s(self) -> float:
        return self.notice

    def retried(self, trial_id: str) -> bool:
        return self.lost

    def reached(self, epoch: int, *_: Any) -> None:
        self.epoch = epoch


def test_a_stopped_trial_loses_nothing(store: Store, tmp_path: Path) -> None:
    """Asked to stop, it saves at the end of its epoch, also between two due checkpoints.

    It records no failure; the next attempt goes on there and gives an undisturbed one's numbers.
    """
    spec = one(train__epochs=6, checkpoint__every_epochs=100)
    _, task = prepared(store, spec, tmp_path)
    control = Told(stop_after=4)
    outcome = run_trial(task, "first", control.reached, control=control)
    assert (outcome.state, control.epoch) == ("stopped", 4)
    assert results.checkpointed_ids(store) == {task.trial_id}
    assert failures(store, task) == []
    assert results.committed_ids(store) == set()
    later = Told(lost=True)
    assert run_trial(task, "second", later.reached, control=later).state == "committed"
    [row] = results.read_trials(store, [task.trial_id]).to_pylist()
    assert row["resumed_from_epoch"] == 4
    assert list(store.list("checkpoints/")) == []
    undisturbed = FolderStore(tmp_path / "undisturbed")
    expected = tables(undisturbed, run_here(undisturbed, spec, tmp_path))
    assert_same(tables(store, plan_on(spec, store)), expected)


@pytest.mark.parametrize(
    ("control", "resumed"), [(Told(leaves_after=2), 4), (Told(notice=0.0), 4), (Told(), 0)]
)
def test_a_trial_on_a_node_that_goes_away_loses_one_epoch_at_most(
    folder_store: FolderStore, tmp_path: Path, control: Told, resumed: int
) -> None:
    """From the notice on it saves after every epoch and trains on until it is killed.

    Where an epoch takes longer than the notice leaves time for, it has saved every epoch before.
    """
    _, task = prepared(folder_store, one(train__epochs=6, checkpoint__every_epochs=100), tmp_path)

    def until_five(epoch: int, *_: Any) -> None:
        control.reached(epoch)
        stop_at(5)(epoch, 6, {})

    with pytest.raises(Killed):
        run_trial(task, "first", until_five, control=control)
    later = Told(lost=True)
    run_trial(task, "second", later.reached, control=later)
    [row] = results.read_trials(folder_store, [task.trial_id]).to_pylist()
    assert row["resumed_from_epoch"] == resumed


def test_a_trial_that_waits_does_not_begin_a_stopped_run(
    folder_store: FolderStore, tmp_path: Path
) -> None:
    """A stop that came first leaves no trace of the trial."""
    _, task = prepared(folder_store, one(), tmp_path)
    before = list(folder_store.list(""))
    assert run_trial(task, "first", lambda *_: None, control=Told(0)).state == "stopped"
    assert list(folder_store.list("")) == before


def test_the_slower_of_two_attempts_loses_the_race(store: Store, tmp_path: Path) -> None:
    """An attempt that finds another's result at its end leaves that one alone."""
    _, task = prepared(store, one(), tmp_path)
    inner: list[str] = []

    def overtake(epoch: int, *_: Any) -> None:
        if epoch == 2:
            inner.append(run_trial(task, "fast", lambda *_: None).state)

    assert run_trial(task, "slow", overtake).state == "lost the race"
    assert inner == ["committed"]
    trials = results.read_trials(store, [task.trial_id])
    assert trials.column("attempt").to_pylist() == ["fast"]
    assert len(list(store.list("results/epochs/"))) == 1
    assert list(store.list("checkpoints/")) == []


def test_a_loss_that_is_no_number_is_recorded(folder_store: FolderStore, tmp_path: Path) -> None:
    """Class numerical, with message, traceback and the log's last lines; nothing committed."""
    spec = one(**{f"train__{key}": value for key, value in DIVERGES.items()}, train__epochs=8)
    _, task = prepared(folder_store, spec, tmp_path)
    with pytest.raises(NumericalError):
        run_trial(task, "first", lambda *_: logging.getLogger("anything").warning("near the end"))
    [row] = failures(folder_store, task)
    assert (row["failure_class"], row["attempt"]) == ("numerical", "first")
    assert "the training loss became" in row["message"]
    assert "Traceback (most recent call last)" in row["traceback"]
    assert "WARNING anything: near the end" in row["log_tail"]
    assert "INFO cluster.node_cache.fill: fetching dataset" in row["log_tail"]
    assert results.committed_ids(folder_store) == set()


def test_a_corrupted_shard_is_refused_by_name(folder_store: FolderStore, tmp_path: Path) -> None:
    """No training on bad data: class data, the shard's key in the message."""
    _, task = prepared(folder_store, one(), tmp_path / "cache")
    [key] = folder_store.list("datasets/gaussian-squares/shards/")
    shard = bytearray(folder_store.get(key))
    shard[len(shard) // 2] ^= 1
    folder_store.put(key, bytes(shard))
    with pytest.raises(Corrupt, match=key):
        run_trial(task, "first", lambda *_: None)
    [row] = failures(folder_store, task)
    assert row["failure_class"] == "data"
    assert key in row["message"]


def test_a_missing_shard_is_refused_by_name(folder_store: FolderStore, tmp_path: Path) -> None:
    """Class data: another attempt would miss it too."""
    _, task = prepared(folder_store, one(), tmp_path / "cache")
    [key] = folder_store.list("datasets/gaussian-squares/shards/")
    folder_store.delete(key)
    with pytest.raises(NotFound, match=key):
        run_trial(task, "first", lambda *_: None)
    assert [row["failure_class"] for row in failures(folder_store, task)] == ["data"]


def test_an_error_of_nobodys_is_named_by_its_type(
    folder_store: FolderStore, tmp_path: Path
) -> None:
    """What no class fits is unexpected, and its message is more than a bare word."""
    _, task = prepared(folder_store, one(), tmp_path)

    def broken(*_: Any) -> None:
        raise KeyError("surprise")

    with pytest.raises(KeyError):
        run_trial(task, "first", broken)
    [row] = failures(folder_store, task)
    assert (row["failure_class"], row["message"]) == ("unexpected", "KeyError: 'surprise'")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (NumericalError("x"), "numerical"),
        (DataError("x"), "data"),
        (ConfigError("x"), "user_error"),
        (Corrupt("x"), "data"),
        (NotFound("x"), "data"),
        (torch.OutOfMemoryError("x"), "out_of_memory"),
        (MemoryError(), "out_of_memory"),
        (OSError(12, "Cannot allocate memory"), "out_of_memory"),
        (TimeLimit("x"), "timeout"),
        (Unavailable("x"), "infrastructure"),
        (Denied("x"), "infrastructure"),
        (AlreadyExists("x"), "infrastructure"),
        (OSError(5, "Input/output error"), "infrastructure"),
        (ValueError("x"), "unexpected"),
    ],
)
def test_every_error_has_a_class(error: Exception, expected: str) -> None:
    """The retry policy goes by the class."""
    assert classify(error) == expected
    assert expected in POLICIES


def test_too_large_a_tensor_is_a_want_of_memory() -> None:
    """PyTorch's allocator on CPUs has no error of its own."""
    with pytest.raises(RuntimeError) as raised:
        torch.empty(1 << 55)
    assert classify(raised.value) == "out_of_memory"
