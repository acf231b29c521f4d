"""Searches feed a queue: cells beside each other, batches in turn; failures stop a cell alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from searching import plan_here, real_spec, run_part
from tiny_sweeps import stage_here, wait_until

from cluster.errors import Unavailable
from cluster.stores.folder import FolderStore
from sweeps.driver.board import Board
from sweeps.driver.queue import TrialQueue
from sweeps.driver.search_feed import SearchFeed
from sweeps.driver.tune_queue import tune_id
from sweeps.plan.plan import Plan, Trial
from sweeps.plan.searched import CellSearch, describe_result
from sweeps.search.assumed import assume_trials
from sweeps.spec.model import Spec
from sweeps.trial.events import Outcome, TaskName, Watcher, Watchers
from sweeps.trial.tasks import Task, task_for


class Told(Watcher):
    """What a feed tells."""

    def __init__(self) -> None:
        self.added: list[str] = []
        self.searched: list[str] = []

    def on_added(self, trials: list[Trial]) -> None:  # type: ignore[override]
        self.added += [trial.label for trial in trials]

    def on_searched(self, search: CellSearch) -> None:
        self.searched += [describe_result(search)] if search.is_over else []


class Place:
    """A store with a staged sweep, its feed and its queue."""

    def __init__(self, folder: Path, spec: Spec) -> None:
        self.spec, self.cache = spec, folder / "cache"
        self.store, self.told = FolderStore(folder / "store"), Told()
        stage_here(self.store, spec)
        self.plan: Plan = plan_here(self.store, spec)
        self.board = Board((), foreseen=assume_trials(self.plan, spec).missing)
        watchers = Watchers(self.board, self.told)
        self.feed = SearchFeed(spec, self.plan, self.store, self.task, watchers)
        self.queue = TrialQueue(source=self.feed)

    def task(self, trial: Trial) -> Task:
        return task_for(trial, self.spec, self.store.url, self.cache)

    def take(self) -> Task | None:
        """Wait for a task, or for the end."""
        wait_until(lambda: len(self.queue) or self.queue.is_finished, 60)
        return self.queue.take()

    def end(self, task: Task, state: str, failure_class: str = "") -> None:
        outcome = Outcome(task.trial_id, state, 1.0, failure_class)
        self.feed.on_ended(TaskName(task.trial_id, task.label), outcome, "")


def test_a_sweep_runs_from_its_feed_alone(tmp_path: Path) -> None:
    """All comes in order: batches of each cell, their rungs, and the chosen options' seeds."""
    place = Place(tmp_path, real_spec())
    assert place.board.total == 12  # 5 configurations on one seed, the chosen one on two, per cell
    parts: dict[str, list[int | None]] = {}
    with place.feed:
        while (task := place.take()) is not None:
            parts.setdefault(task.trial_id, []).append(task.until_epoch)
            assert task.has_checkpoint == (len(parts[task.trial_id]) > 1)
            [trial] = [t for t in known(place) if t.id == task.trial_id] or [None]
            assert trial is not None
            state = run_part(place.store, place.spec, place.cache, trial, task.until_epoch)
            place.end(task, state, "numerical" if state == "failed" else "")
    assert place.queue.is_finished
    assert not place.feed.unfinished
    plan = plan_here(place.store, place.spec)
    assert not plan.is_searching
    assert not plan.missing
    searched = {t.id for s in plan.searches for each in s.tried for t in each.trials}
    assert parts.keys() == searched | plan.done
    assert all(epochs in ([1], [1, 3], [1, 3, None], [None]) for epochs in parts.values())
    assert len(place.told.searched) == 2
    assert len(set(place.told.added)) == len(parts)
    assert (place.board.total, place.board.unnamed) == (len(parts), 0)


def known(place: Place) -> list[Trial]:
    """Trials that a plan of now knows."""
    plan = plan_here(place.store, place.spec)
    return [*plan.trials, *plan.searched_next]


def test_a_failure_that_may_pass_stops_its_cell_alone(tmp_path: Path) -> None:
    """The other cell goes on to its end; the queue then closes, and one search is not over."""
    place = Place(tmp_path, real_spec())
    with place.feed:
        while (task := place.take()) is not None:
            if "-spl" in task.label:
                place.end(task, "failed", "out_of_memory")
                continue
            [trial] = [t for t in known(place) if t.id == task.trial_id]
            run_part(place.store, place.spec, place.cache, trial, task.until_epoch)
            place.end(task, "at a rung" if task.until_epoch else "committed")
    assert [cell.method.name for cell in place.feed.unfinished] == ["spl"]
    assert len(place.told.searched) == 1


def test_a_stop_ends_it(tmp_path: Path) -> None:
    """Nothing more comes after a stop, whatever ends."""
    place = Place(tmp_path, real_spec())
    with place.feed:
        first = place.take()
        assert first is not None
        place.feed.on_stopping()
        place.end(first, "stopped")
        while place.take() is not None:
            pass
    assert place.queue.is_finished
    assert len(place.feed.unfinished) == 2


def test_a_store_that_is_away_ends_the_run_with_its_error(tmp_path: Path) -> None:
    """What reading results raises comes out at the end, in the driver's own thread."""
    place = Place(tmp_path, real_spec())

    def away(ids: object) -> object:
        raise Unavailable("the store went away")

    place.feed.observe = away  # type: ignore[assignment]
    with pytest.raises(Unavailable, match="went away"), place.feed:
        assert place.take() is None


def test_parts_of_a_trial_have_names_of_their_own(tmp_path: Path) -> None:
    """Tune knows a trial's rungs apart, which it may see in one run, and one that came back."""
    place = Place(tmp_path, real_spec())
    task = place.task(place.plan.searched_next[0])
    names = {
        tune_id(replace(task, until_epoch=until), returned)
        for until in (1, 3, None)
        for returned in (0, 1, 2)
    }
    assert len(names) == 9
    assert tune_id(task, 0) == task.trial_id
