"""The live view: what it says of a run, and that it fits, with few cells and with thousands."""

from __future__ import annotations

import io
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from searching import LEARNING_RATE, Simulated, facts_of_spec, search_spec
from tiny_sweeps import FACTS, FILMS

from spurious.config.exemplars import Exbl
from spurious.config.options import Budget
from sweeps.driver import board as board_module
from sweeps.driver.bill import Bill
from sweeps.driver.board import Board
from sweeps.driver.gpu_shares import GpuShares, Measured, memory_kind
from sweeps.driver.live_view import LiveView
from sweeps.driver.run_progress import RunProgress
from sweeps.plan.packing import Share
from sweeps.plan.plan import Plan, Trial, make_plan
from sweeps.plan.spending import Spending
from sweeps.search.assumed import assume_trials
from sweeps.search.cell_run import CellRun, chosen_trials
from sweeps.spec.model import MethodChoice, Spec, parse_spec
from sweeps.trial.events import Outcome, TaskName, Watchers
from sweeps.trial.tasks import task_for

SHARE = Share(1)
PRICED = {
    "cost.compute": {"node_types": {"g5": {"dollars_per_hour": 1.2, "cpus": 4, "gpus": 1}}},
    "resources.gpus": "auto",
}
"""A whole GPU is 1.20 dollars an hour, a quarter of one 0.30."""


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the time is."""
    now = [0.0]
    monkeypatch.setattr(board_module.time, "monotonic", lambda: now[0])
    return now


def planned(seeds: int = 3, budgets: int = 2) -> Plan:
    """A plan of 2 x `budgets` cells, the budgets 2, 4, 6 ..."""
    spec = parse_spec(
        FILMS,
        overrides={
            "axes.seed": list(range(seeds)),
            "axes.budget": list(range(2, 2 * budgets + 1, 2)),
        },
    )
    return make_plan(spec, FACTS, ())


def named(trial: Trial) -> TaskName:
    return TaskName(trial.id, trial.label)


def ended(trial: Trial, robust: float, seconds: float = 1.0) -> Outcome:
    return Outcome(trial.id, "committed", seconds, robust_auroc=robust)


def billed(board: Board, shares: GpuShares | None = None, **price: Any) -> Bill:
    """A bill of the films' sweep."""
    return Bill(Spending(parse_spec(FILMS, overrides=price)), board, shares)


def drawn(board: Board, height: int, width: int = 100, encoding: str = "utf-8") -> list[str]:
    """The lines of the view on a terminal of a size."""
    text = io.TextIOWrapper(io.BytesIO(), encoding=encoding, write_through=True)
    console = Console(file=text, width=width, height=height, force_terminal=True, color_system=None)
    console.print(LiveView("films", board, billed(board)), height=height)
    text.seek(0)
    return [line.rstrip() for line in text.read().splitlines()]


def test_cells_by_seeds(clock: list[float]) -> None:
    """Done, done before, running with its epoch, failed, waiting; the best is of this run's."""
    plan = planned()
    first, second, third = plan.trials[:3]
    other = plan.trials[3]
    board = Board(plan.trials, frozenset({first.id}), at_once=2)
    for trial in (second, third, other):
        board.on_started(named(trial), SHARE)
    board.on_epoch(named(second), 3, 8, {})
    board.on_ended(named(third), ended(third, 0.875), "")
    board.on_ended(named(other), None, "infrastructure: lost")
    lines = drawn(board, 20)
    assert lines[0].startswith("sweep 'films': 2 of 11 trials, 1 running, 1 done before, 1 failed")
    assert lines[1].split() == ["cell", "seeds", "best", "robust", "AUROC", "epoch"]
    assert [line.split() for line in lines[2:4]] == [
        ["label", "/", "2", "/", "erm", "○▶●", "0.875", "3/8"],
        ["label", "/", "4", "/", "erm", "✗··"],
    ]
    assert len(lines) == 6
    assert "=>#" in drawn(board, 20, encoding="ascii")[2]
    many = Board(planned(seeds=12).trials, frozenset(t.id for t in planned(seeds=12).trials[:5]))
    many.on_started(named(planned(seeds=12).trials[5]), SHARE)
    assert "5 done before, 1 running, 6 waiting" in drawn(many, 20)[2]


def test_long_names_are_shortened_in_the_middle(clock: list[float]) -> None:
    """Chosen options stay apart, on a terminal of any width, and where it has no ellipsis."""
    [first, *_] = planned(seeds=1, budgets=1).trials
    methods = [MethodChoice("exbl", Exbl(good=image, bad=f"{image}.9")) for image in IMAGES]
    chosen = [
        replace(first, id=str(method), cell=replace(first.cell, method=method))
        for method in methods
    ]
    board = Board(chosen)
    for encoding, gap in (("utf-8", "…"), ("ascii", "~")):
        rows = [line.split("  ")[0] for line in drawn(board, 20, encoding=encoding)[2:4]]
        assert len(set(rows)) == 2
        assert all(len(row) <= 50 and gap in row for row in rows), rows
        assert all(row.startswith("label / 2 / exbl(good=") for row in rows)


IMAGES = ("1.2.840.113619.2.55.3.1", "1.2.840.113619.2.55.3.2")
"""Ids of images, as options of a method may be."""


def test_a_retried_trial_waits_and_a_stopped_one_is_not_done(clock: list[float]) -> None:
    """Neither counts as ended."""
    plan = planned()
    board = Board(plan.trials)
    lost, stopped = plan.trials[:2]
    for trial in (lost, stopped):
        board.on_started(named(trial), SHARE)
    board.on_retried(named(lost), "preempted")
    board.on_ended(named(stopped), Outcome(stopped.id, "stopped", 1.0), "")
    [cell] = [cell for cell in board.cells.values() if lost.id in cell.seeds]
    assert cell.count("waiting") == 3
    assert board.ended == 0
    assert not board.running


def test_thousands_of_trials_fit_on_a_terminal(clock: list[float]) -> None:
    """600 cells of 20 seeds: those that something happens to, and a line for the rest."""
    plan = planned(seeds=20, budgets=20)
    many = [
        replace(trial, id=f"{trial.id}{copy}", cell=replace(trial.cell, budget=Budget(images)))
        for copy in range(15)
        for trial in plan.trials
        for images in [1000 * (trial.cell.budget.images or 0) + copy]
    ]
    board = Board(many)
    for trial in (many[0], many[7000], many[-1]):
        board.on_started(named(trial), SHARE)
    for height in (10, 24, 50):
        lines = drawn(board, height)
        assert len(lines) <= height - 1
        assert sum(" running" in line for line in lines[2:-1]) == 3
        shown = height - 5
        assert lines[-1].startswith(f"and {600 - shown} more cells: ")
        assert "11997 waiting" not in lines[-1]
    assert max(len(line) for line in drawn(board, 24, width=60)) <= 60


def test_time_left_follows_the_expected_lengths(clock: list[float]) -> None:
    """Before the first end from epochs; then from what trials took against what was expected."""
    plan = planned(seeds=2, budgets=1)
    a, b, c, d = plan.trials
    board = Board(plan.trials, seconds={a.id: 10, b.id: 10, c.id: 40, d.id: 40}, at_once=2)
    assert board.seconds_left() is None
    board.on_started(named(a), SHARE)
    board.on_started(named(c), SHARE)
    assert board.seconds_left() is None
    clock[0] = 10.0
    board.on_epoch(named(a), 1, 2, {})
    # 5 of 100 expected took 10 s on one worker: the other 95 take 190 s on it, half of that on two
    assert board.seconds_left() == pytest.approx(95)
    clock[0] = 20.0
    board.on_ended(named(a), ended(a, 0.5), "")
    assert board.seconds_left() == pytest.approx(90 * 2 / 2)
    board.on_epoch(named(c), 1, 4, {})
    assert board.seconds_left() == pytest.approx(80 * 2 / 2)
    for trial in (b, c, d):
        board.on_started(named(trial), SHARE)
        board.on_ended(named(trial), ended(trial, math.nan), "")
    assert board.seconds_left() == 0
    assert all(math.isnan(cell.best) or cell.best == 0.5 for cell in board.cells.values())


def test_time_left_counts_no_epoch_of_an_earlier_run(clock: list[float]) -> None:
    """A trial that goes on from a checkpoint says how fast it is by what it trained here alone."""
    plan = planned(seeds=2, budgets=1)
    a, b, _, _ = plan.trials
    board = Board([a, b], seconds={a.id: 100, b.id: 100})
    board.on_started(named(a), SHARE)
    clock[0] = 10.0
    board.on_epoch(named(a), 85, 100, {}, 80)
    # 5 epochs took 10 s: the other 15 of this trial take 30 s, the 100 of the next one 200
    assert board.seconds_left() == pytest.approx(230)
    clock[0] = 40.0
    board.on_ended(named(a), ended(a, 0.5), "")
    assert board.seconds_left() == pytest.approx(200)
    board.on_started(named(b), SHARE)
    clock[0] = 140.0
    board.on_epoch(named(b), 50, 100, {})
    board.on_retried(named(b), "its worker died")
    board.on_started(named(b), SHARE)  # until an epoch tells, all of it may be to do
    assert board.seconds_left() == pytest.approx(200)
    board.on_epoch(named(b), 51, 100, {}, 50)
    assert board.seconds_left() == pytest.approx(98)


def searching(section: str) -> tuple[Spec, list[CellRun], Plan, Simulated]:
    """A sweep of two cells and two seeds with a search, of which nothing has run."""
    spec, store = search_spec(section), Simulated()
    facts = facts_of_spec(spec)
    plan = make_plan(spec, facts)
    runs = [CellRun(spec, cell, facts) for cell in plan.cells]
    for run in runs:
        run.advance(store)
    return spec, runs, replace(plan, searches=tuple(run.state() for run in runs)), store


def test_what_searches_have_yet_to_name_counts(clock: list[float]) -> None:
    """From the start to the end the total is that of the whole sweep, and so is the time left.

    Two cells try 6 configurations on one seed, 2 at once, and train the chosen one on another: 14
    trials of 10 s, as all are expected to take.
    """
    spec, runs, plan, store = searching(f"{{trials: 6, batch: 2, space: {LEARNING_RATE}}}")
    expected = assume_trials(plan, spec).missing
    seconds = {trial.id: 30.0 for trial in expected}
    board = Board(plan.trials, plan.done, seconds, at_once=8, foreseen=expected, batch=2)
    assert (board.to_run, board.total) == (0, 14)
    assert "sweep 'films': 0 of 14 trials, 0 running" in drawn(board, 20)[0]

    def train(trial: Trial) -> None:
        board.on_started(named(trial), SHARE)
        clock[0] += 10.0
        store.train(trial, None)
        board.on_ended(named(trial), ended(trial, 0.5), "")
        assert board.total == 14
        assert board.sum_left(lambda _: 1.0) == pytest.approx(10 * (14 - board.ended))

    # a batch of each cell, until one waits for the last trial of a batch before its chosen one
    for run, widths in zip(runs, ((4, 4, 3), (2, 2, 1)), strict=True):
        for wide in widths:
            requests = run.advance(store)
            board.on_added([request.trial for request in requests])
            assert board.total == 14
            train(requests[0].trial)
            assert board.seconds_left() == pytest.approx(10 * (14 - board.ended) / wide)
            train(requests[1].trial)
            more = run.advance(store)
            board.on_searched(run.state())
        assert not more
        assert plan.facts is not None
        _, chosen = chosen_trials(spec, run.state(), plan.facts)
        board.on_added([trial for trial in chosen if trial.config.seed == 1])
        board.on_searched(run.state())
        train(next(trial for trial in chosen if trial.config.seed == 1))
    assert (board.ended, board.to_run, board.unnamed) == (14, 14, 0)
    assert board.seconds_left() == 0


def test_what_never_runs_leaves_the_total(clock: list[float]) -> None:
    """A configuration that has a result already, and all that a search wants where it has none."""
    spec, runs, plan, store = searching(f"{{trials: 6, batch: 2, space: {LEARNING_RATE}}}")
    expected = assume_trials(plan, spec).missing
    board = Board((), frozenset(), foreseen=expected, batch=2)
    for trial in plan.searches[0].waiting:  # in the store, by another sweep
        store.train(trial, None)
    requests = runs[0].advance(store)
    board.on_added([request.trial for request in requests])
    board.on_searched(runs[0].state())
    assert (board.to_run, board.total) == (2, 12)
    failed = replace(runs[1].state(), is_over=True)
    board.on_searched(failed)
    assert board.total == 5


def test_nothing_that_a_search_tried_is_shown_as_best(clock: list[float]) -> None:
    """The robust AUROC is of test images, which must choose nothing; finished seeds do show it."""
    [tried, chosen] = planned(seeds=2, budgets=1).trials[:2]
    board = Board([replace(tried, suggestion=0), chosen])
    for trial, robust in ((tried, 0.9), (chosen, 0.7)):
        board.on_started(named(trial), SHARE)
        board.on_ended(named(trial), ended(trial, robust), "")
    searched, cell = board.cells.values()
    assert searched.is_search
    assert math.isnan(searched.best)
    assert cell.best == 0.7


def test_a_trial_without_an_epoch_is_starting(clock: list[float]) -> None:
    """Neither lines nor the view have an epoch 0 of 0."""
    first, second, *_ = planned().trials
    text = io.StringIO()
    board = Board(planned().trials)
    progress = RunProgress("films", board, billed(board), Console(file=text, width=200))
    told = Watchers(board, progress)
    for trial in (first, second):
        told.on_started(named(trial), SHARE)
    clock[0] = 60.0
    told.on_epoch(named(second), 1, 3, {})
    assert f"running {first.label} starting, {second.label} 1/3" in text.getvalue()
    assert "0/0" not in text.getvalue() + "".join(drawn(board, 20))


@pytest.mark.parametrize("quiet", [False, True])
def test_lines_where_there_is_no_terminal(clock: list[float], quiet: bool) -> None:
    """Each end with the time left; quietly, failures and warnings alone."""
    plan = planned(seeds=2, budgets=1)
    a, b, *_ = plan.trials
    text = io.StringIO()
    board = Board(plan.trials)
    progress = RunProgress(
        "films", board, billed(board), Console(file=text, width=200), quiet=quiet
    )
    told = Watchers(board, progress)
    with progress.shown():
        for trial in (a, b):
            told.on_started(named(trial), SHARE)
        clock[0] = 60.0
        told.on_ended(named(a), replace(ended(a, 0.9, 60), warnings=("a disk is damaged",)), "")
        told.on_ended(named(b), Outcome(b.id, "failed", 1.0, "numerical", "NaN"), "NaN")
    lines = [line.split("s  ", 1)[1] for line in text.getvalue().splitlines()]
    expected = [
        "warning: a disk is damaged",
        f"[1/4] {a.id[:8]} {a.label} robust AUROC 0.900 in 60.0 s; 3:00 left",
        f"[2/4] {b.id[:8]} {b.label} failed (numerical): NaN",
    ]
    assert lines == ([expected[0], expected[2]] if quiet else expected)


def test_dollars_so_far_and_to_the_end(clock: list[float]) -> None:
    """Each attempt by the share that it had; what is left by what is known of its need now.

    A first trial of an hour on a whole GPU: 1.20. Three are left, of an hour each by the pace of
    the first, on a quarter of a GPU once its need is known: 0.90 more.
    """
    spec = parse_spec(FILMS, overrides=PRICED)
    plan = make_plan(spec, FACTS, ())
    first, second, *_ = plan.trials
    tasks = [task_for(trial, spec, "", Path()) for trial in plan.trials]
    shares, board = GpuShares(tasks, {}), Board(plan.trials)
    bill = billed(board, shares, **PRICED)
    spending = bill._spending
    assert bill.describe_dollars() == "$0.0000 spent"
    board.on_started(named(first), Share(1, 1.0))
    spending.started(first.id, 0.0, Share(1, 1.0))
    clock[0] = 1800.0
    board.on_epoch(named(first), 1, 2, {})
    assert bill.describe_dollars() == "$0.60 spent of $4.80 expected"
    clock[0] = 3600.0
    board.on_ended(named(first), ended(first, 0.5), "")
    spending.ended(first.id, 3600.0)
    for kind in {memory_kind(task) for task in tasks}:
        shares.known[kind] = Measured(3 << 30, 16 << 30)
    assert bill.describe_dollars() == "$1.20 spent of $2.10 expected"
    board.on_started(named(second), Share(1, 0.25))
    spending.started(second.id, 3600.0, Share(1, 0.25))
    clock[0] = 5400.0
    assert bill.spent() == pytest.approx(1.35)
    text = io.StringIO()
    console = Console(file=text, width=200, force_terminal=True, color_system=None)
    console.print(LiveView("films", board, bill), height=10)
    assert "3:00:00 left, $1.35 spent of $2.25 expected" in text.getvalue()
    progress = RunProgress("films", board, bill, Console(file=text, width=200))
    progress.on_ended(named(second), ended(second, 0.75, 1800.0), "")
    assert "robust AUROC 0.750 in 1800.0 s; 3:00:00 left; $1.35 spent of" in text.getvalue()
    assert bill.describe_use() == (
        "this run used 1.12 GPU-hours, 1.50 CPU-hours, $1.35, at the price of g5"
    )


def test_without_a_price_no_dollars_are_shown(clock: list[float]) -> None:
    """Hours are counted all the same, and what earlier results used stands beside them."""
    board = Board(planned().trials)
    spending = Spending(parse_spec(FILMS), {"cpu_hours": 2.0})
    bill = Bill(spending, board)
    spending.started("a", 0.0)
    clock[0] = 3600.0
    assert bill.describe_dollars() == ""
    assert "$" not in drawn(board, 20)[0]
    assert bill.describe_use() == (
        "this run used 1.00 CPU-hours (3.00 CPU-hours with earlier runs)"
    )
    assert Bill(Spending(parse_spec(FILMS)), board).describe_use() == "this run used nothing"
