"""What a run's attempts take is in the store for the next one, where no result tells of it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from cluster.errors import StoreAway
from cluster.stores.folder import FolderStore
from sweeps.driver import use_record
from sweeps.driver.use_record import UseRecord
from sweeps.plan.packing import Share
from sweeps.plan.used import Taken, read_used, used_key
from sweeps.trial.events import Outcome, TaskName

SHARE = Share(2, 0.5)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that the test sets."""
    now = [0.0]
    monkeypatch.setattr(use_record.time, "monotonic", lambda: now[0])
    return now


def end(record: UseRecord, trial_id: str, state: str) -> None:
    """A trial ends."""
    record.on_ended(TaskName(trial_id, trial_id), Outcome(trial_id, state, 0.0), "")


def start(record: UseRecord, trial_id: str, share: Share = SHARE) -> None:
    """A trial begins."""
    record.on_started(TaskName(trial_id, trial_id), share)


def test_attempts_without_a_result_are_kept(clock: list[float], tmp_path: Path) -> None:
    """A stopped one, a failed one, one that runs, and all of one that was lost before its end."""
    store = FolderStore(tmp_path)
    record = UseRecord(store, "films", known={"earlier"})
    states = {"done": "committed", "rung": "at a rung", "failed": "failed", "earlier": "committed"}
    for trial_id in (*states, "runs", "lost once"):
        start(record, trial_id)
    clock[0] = 10.0
    for trial_id, state in states.items():
        end(record, trial_id, state)
    record.on_retried(TaskName("lost once", ""), "the worker was lost")
    clock[0] = 12.0
    start(record, "lost once", Share(1, 0.5))
    clock[0] = 15.0
    end(record, "lost once", "committed")
    record.write()
    once = [Taken(10.0, SHARE)]
    assert read_used(store, "films") == {
        **{"rung": once, "failed": once, "earlier": once, "runs": [Taken(15.0, SHARE)]},
        "lost once": [Taken(10.0, SHARE), Taken(3.0, Share(1, 0.5))],
    }
    assert read_used(store, "others") == {}


def test_runs_add_up(clock: list[float], tmp_path: Path) -> None:
    """Each writes its own object; one that is damaged takes nothing from the others."""
    store = FolderStore(tmp_path)
    for seconds in (3.0, 4.0):
        record = UseRecord(store, "films")
        start(record, "a")
        clock[0] += seconds
        end(record, "a", "stopped")
        record.write()
    store.put(used_key("films", "zzz"), b'{"format": 1, "trials": {"a": [["x", 1, 1]]}}')
    assert sorted(each.seconds for each in read_used(store, "films")["a"]) == [3.0, 4.0]


def test_nothing_is_left_where_results_tell_all(clock: list[float], tmp_path: Path) -> None:
    """What was written while a trial ran goes when its result is there."""
    store = FolderStore(tmp_path)
    record = UseRecord(store, "films")
    start(record, "a")
    record.write()
    assert len(list(store.list(used_key("films")))) == 1
    end(record, "a", "committed")
    record.write()
    assert list(store.list(used_key("films"))) == []


def test_a_killed_driver_has_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """While the block runs, not at its end alone; a store that is away stops nobody."""
    monkeypatch.setattr(use_record, "EVERY_S", 0.05)
    store = FolderStore(tmp_path)
    record = UseRecord(store, "films")
    with record.kept():
        start(record, "a")
        deadline = time.monotonic() + 20
        while not read_used(store, "films"):
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def refuse(*_: object) -> None:
        raise StoreAway("the store is away")

    monkeypatch.setattr(store, "put", refuse)
    record.write()
