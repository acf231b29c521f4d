"""Estimates of a run's end against its real end on a virtual clock, and means of cells."""

from __future__ import annotations

import heapq
import math
import random

import pytest
from tiny_sweeps import tiny

from cluster.stores.folder import FolderStore
from sweeps.driver import estimates
from sweeps.driver.estimates import CellScores, TimeLeft
from sweeps.plan.cell import Cell
from sweeps.plan.facts import plan_on


@pytest.fixture
def cells(folder_store: FolderStore) -> list[Cell]:
    """Four cells of a sweep."""
    spec = tiny(axes__budget=[10, 20])
    found = plan_on(spec, folder_store).cells
    assert len(found) == 4
    return list(found)


def trials_of(cells: list[Cell], seeds: int) -> dict[str, Cell]:
    """Trial ids with their cells, as many seeds of each cell."""
    return {f"{n}-{seed}": cell for seed in range(seeds) for n, cell in enumerate(cells)}


def simulate(
    left: TimeLeft, order: list[str], seconds: dict[str, float], slots: int, ask: float
) -> tuple[float | None, float]:
    """Run trials on slots by a virtual clock; the estimate at a time, and what was really left."""
    running: list[tuple[float, str]] = []
    waiting, now, asked, answer = list(reversed(order)), 0.0, False, None
    while waiting or running:
        while waiting and len(running) < slots:
            trial = waiting.pop()
            left.start(trial, now)
            heapq.heappush(running, (now + seconds[trial], trial))
        if not asked and running[0][0] > ask:
            asked, answer = True, left.estimate(ask)
        now, trial = heapq.heappop(running)
        left.end(trial, now, counts=True)
    assert left.estimate(now) == 0.0
    return answer, now - ask


@pytest.mark.parametrize(("slots", "seeds"), [(1, 12), (8, 60), (64, 250)])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_the_end_is_foretold_for_unequal_trials(
    cells: list[Cell], slots: int, seeds: int, share: float
) -> None:
    """Cells whose trials take 1 to 8 times as long, each 10 % up or down, in any order.

    Within a tenth of what was really left, and of one trial's time, which nobody can divide.
    """
    draw = random.Random(3)
    trials = trials_of(cells, seeds)
    usual = dict(zip(cells, (10.0, 20.0, 40.0, 80.0), strict=True))
    seconds = {key: usual[cell] * draw.uniform(0.9, 1.1) for key, cell in trials.items()}
    order = draw.sample(list(trials), len(trials))
    ask = share * sum(seconds.values()) / slots
    answer, really = simulate(
        TimeLeft({key: trials[key] for key in order}), order, seconds, slots, ask
    )
    assert answer is not None
    assert abs(answer - really) <= 0.1 * really + 16.0


def test_nothing_is_said_before_a_trial_has_ended(cells: list[Cell]) -> None:
    """Neither a guess nor zero; nor by one that failed or was done by somebody else."""
    left = TimeLeft(trials_of(cells, 2))
    assert left.estimate(0.0) is None
    left.start("0-0", 1.0)
    left.end("0-0", 2.0, counts=False)
    assert left.estimate(2.0) is None


def test_retried_trials_wait_again_and_slots_are_those_of_the_last_minute(
    cells: list[Cell],
) -> None:
    """Two of three slots are lost: what was expected on three is laid out on one."""
    left = TimeLeft(trials_of(cells[:1], 7))
    for seed in range(3):
        left.start(f"0-{seed}", 0.0)
    left.end("0-0", 30.0, counts=True)
    left.start("0-3", 30.0)
    assert left.estimate(30.0) == 60.0  # three running, two at their end, then three more
    for seed in (1, 2):
        left.retry(f"0-{seed}", 30.0)
    assert left.estimate(31.0) == 60.0  # five on three slots, as there were three just now
    left.end("0-3", 60.0, counts=True)
    left.start("0-4", 60.0)
    assert left.estimate(91.0) == 120.0  # the one that is overdue, and four after it


def test_means_leave_out_what_is_undefined(
    cells: list[Cell], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cell without a defined score has no mean; each trial counts once; cells are bounded."""
    monkeypatch.setattr(estimates, "MOST_CELLS", 2)
    scores = CellScores(trials_of(cells, 3))
    scores.add("0-0", math.nan)
    assert scores.means() == {}
    for trial, value in (("0-0", 0.75), ("0-0", 0.5), ("0-1", 0.25), ("0-2", None)):
        scores.add(trial, value)
    scores.add("1-0", 0.5)
    scores.add("2-0", 0.5)
    assert scores.means() == {cells[0]: (0.5, 2), cells[1]: (0.5, 1)}
