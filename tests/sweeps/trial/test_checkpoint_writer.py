"""Checkpoints that a thread writes: consistent, one at a time, told where they fail, never late."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_sweeps import one, prepared

from cluster.errors import Unavailable
from cluster.stores.base import Store, discard_unfinished
from cluster.stores.folder import FolderStore
from spurious.training import checkpoint
from spurious.training.checkpoint import Snapshot
from sweeps.results import tables as results
from sweeps.trial.checkpoint import Clock, TrainingState
from sweeps.trial.checkpoint_writer import LARGE_BYTES, CheckpointWriter
from sweeps.trial.events import Control

KEY = "checkpoints/ab/state.pt"
LARGE = LARGE_BYTES // 4 + 1
"""Numbers of a state that is large."""


class Held:
    """A store whose puts wait until they are let go, or raise."""

    def __init__(self, store: Store) -> None:
        self.store, self.free, self.began = store, threading.Event(), threading.Event()
        self.error: Exception | None = None
        self.puts = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    def put(self, key: str, data: bytes | memoryview) -> None:
        self.puts += 1
        self.began.set()
        assert self.free.wait(60)
        if self.error is not None:
            raise self.error
        self.store.put(key, data)


@pytest.fixture
def held(folder_store: FolderStore) -> Held:
    """On a folder."""
    return Held(folder_store)


def of(epoch: int, numbers: int = 3) -> Callable[[], Snapshot]:
    """What takes a snapshot of a state of an epoch."""
    return lambda: Snapshot({"epoch": epoch, "weights": torch.full((numbers,), float(epoch))})


def stored(store: Store) -> dict[str, Any]:
    """The state that is in the store."""
    return checkpoint.unpack(store.get(KEY))


def test_training_goes_on_and_changes_nothing_that_is_written(held: Held) -> None:
    """`save` returns while the put waits; weights that change meanwhile are stored as they were."""
    weights = torch.arange(4.0)
    writer = CheckpointWriter(held, KEY)
    assert writer.save(lambda: Snapshot({"weights": weights}), urgent=False)
    weights += 100.0
    assert held.began.wait(10)
    held.free.set()
    writer.finish()
    assert torch.equal(stored(held.store)["weights"], torch.arange(4.0))
    assert writer.bytes_written == len(held.store.get(KEY))


def test_a_large_checkpoint_waits_an_epoch_rather_than_training(held: Held) -> None:
    """While one is written none is taken, so one is in memory at most; the next is, afterwards."""
    writer = CheckpointWriter(held, KEY)
    assert writer.save(of(1, LARGE), urgent=False)

    def never() -> Snapshot:
        raise AssertionError("a second copy is in memory")

    assert not writer.save(never, urgent=False)
    held.free.set()
    writer.finish()
    assert writer.save(of(3, LARGE), urgent=False)
    writer.finish()
    assert (stored(held.store)["epoch"], held.puts) == (3, 2)


@pytest.mark.parametrize(("urgent", "numbers"), [(True, LARGE), (False, 3)])
def test_an_urgent_or_small_one_is_taken_once_the_one_before_is_written(
    held: Held, urgent: bool, numbers: int
) -> None:
    """It waits for the write in progress, takes the state then, and is what the store has."""
    writer = CheckpointWriter(held, KEY)
    writer.save(of(1, numbers), urgent=False)
    taken = threading.Event()

    def take() -> Snapshot:
        taken.set()
        return of(2, numbers)()

    saving = threading.Thread(target=writer.save, args=(take,), kwargs={"urgent": urgent})
    saving.start()
    assert not taken.wait(0.3)
    held.free.set()
    saving.join(30)
    writer.finish()
    assert stored(held.store)["epoch"] == 2


def test_a_failed_put_is_raised_at_the_next_save(held: Held) -> None:
    """As if it had failed there: once, with its class; the one after it is written."""
    writer = CheckpointWriter(held, KEY)
    held.error = Unavailable("the store is away")
    held.free.set()
    writer.save(of(1), urgent=False)
    with pytest.raises(Unavailable, match="the store is away"):
        writer.save(of(2), urgent=True)
    held.error = None
    assert writer.save(of(3), urgent=False)
    writer.finish()
    assert stored(held.store)["epoch"] == 3
    held.error = Unavailable("away again")
    writer.save(of(4), urgent=False)
    with pytest.raises(Unavailable, match="away again"):
        writer.finish()


def test_what_is_being_written_does_not_outlive_its_removal(held: Held, tmp_path: Path) -> None:
    """A committed trial forgets its checkpoint only when no put of it can still end."""
    _, task = prepared(held.store, one(), tmp_path)
    state = TrainingState(held, task, Clock(), Control())
    state.save(of(1, LARGE), urgent=False)
    forgetting = threading.Thread(target=state.forget)
    forgetting.start()
    forgetting.join(0.3)
    assert forgetting.is_alive()
    held.free.set()
    forgetting.join(30)
    assert held.puts == 1
    assert results.checkpointed_ids(held.store) == set()


def test_the_drain_counts_what_a_checkpoint_takes(
    folder_store: FolderStore, tmp_path: Path
) -> None:
    """Epochs are saved from the start where an epoch and its checkpoint take longer than it."""

    class Notice(Control):
        def notice_s(self) -> float:
            return 5.0

    _, task = prepared(folder_store, one(), tmp_path)
    state = TrainingState(folder_store, task, Clock(), Notice())
    assert state.poll().value == "continue"
    state.writer.seconds = 6.0
    assert state.poll().value == "save"


CHILD = """
    import sys
    import torch
    from cluster.stores import open_store
    from spurious.training.checkpoint import Snapshot
    from sweeps.trial.checkpoint_writer import CheckpointWriter

    writer = CheckpointWriter(open_store(sys.argv[1]), sys.argv[2])
    for epoch, numbers in ((1, 5_000_000), (2, 60_000_000)):
        state = {"epoch": epoch, "weights": torch.full((numbers,), float(epoch))}
        writer.save(lambda: Snapshot(state), urgent=True)
        if epoch == 1:
            writer.finish()
            print("written", flush=True)
    writer.finish()
    sys.stdin.read()
"""


def test_a_process_killed_while_it_writes_leaves_the_checkpoint_before(store: Store) -> None:
    """Half of one is never read; what is left of it is listed, and removed where it is old."""
    command = [sys.executable, "-c", textwrap.dedent(CHILD), store.url, KEY]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "written\n"
        deadline = time.monotonic() + 60
        while not list(store.list_unfinished("checkpoints/")) and time.monotonic() < deadline:
            time.sleep(0.005)
    finally:
        child.kill()
        child.communicate(timeout=30)
    assert stored(store)["epoch"] == 1
    assert list(store.list("checkpoints/")) == [KEY]
    [left] = store.list_unfinished("checkpoints/")
    assert 0 <= left.age_s < 300
    assert discard_unfinished(store, "checkpoints/", older_than_s=3600) == 0
    assert discard_unfinished(store, "stages/", older_than_s=0) == 0
    assert discard_unfinished(store, "checkpoints/", older_than_s=0) == 1
    assert list(store.list_unfinished("")) == []
    assert stored(store)["epoch"] == 1
