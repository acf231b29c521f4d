"""A cell's search is a function of results: where it was killed, and how often, does not matter."""

from __future__ import annotations

import dataclasses
import itertools
import random

import pytest
from searching import LEARNING_RATE, Simulated, drive, facts_of_spec, first_cell, search_spec

from sweeps.plan.searched import CellSearch
from sweeps.search.cell_run import CellRun
from sweeps.search.observation import Observation

KINDS = list(itertools.product(("tpe", "random"), ("none", "asha", "median")))


def whole(section: str, seed: int = 0, **changes: float) -> tuple[CellSearch, Simulated]:
    """Return an undisturbed search and what it ran."""
    store = Simulated(**changes)
    return drive(search_spec(section), store, order=random.Random(seed)).state(), store


def section(sampler: str, stop: str, trials: int = 10, space: str = LEARNING_RATE) -> str:
    return f"{{sampler: {sampler}, trials: {trials}, stop: {stop}, space: {space}}}"


@pytest.mark.parametrize(("sampler", "stop"), KINDS)
def test_killed_anywhere_it_ends_alike(sampler: str, stop: str) -> None:
    """30 searches in all, each killed after random numbers of trials, again and again.

    Configurations, decisions, epochs trained and the choice are those of an undisturbed one. Some
    learning rates diverge.
    """
    text = section(sampler, stop)
    expected, undisturbed = whole(text, diverges=1e-3)
    assert expected.is_over
    assert expected.chosen is not None
    assert expected.count()["failed"] > 0 or stop == "asha"
    kills = 0
    for seed in range(5):
        order, store = random.Random(seed), Simulated(diverges=1e-3)
        for _ in range(60):
            run = drive(search_spec(text), store, order=order, killed_after=order.randint(0, 5))
            if run.state().is_over:
                break
            kills += 1
        assert run.state() == expected
        assert store.epochs == undisturbed.epochs
    assert kills > 10


@pytest.mark.parametrize(("sampler", "stop"), KINDS)
def test_more_trials_extend_it(sampler: str, stop: str) -> None:
    """7 trials, then 12: as 12 at once, whose first 7 configurations are those of before."""
    store = Simulated()
    first = drive(search_spec(section(sampler, stop, 7)), store, order=random.Random(1)).state()
    spent = store.epochs
    extended = drive(search_spec(section(sampler, stop, 12)), store, order=random.Random(2)).state()
    at_once, alone = whole(section(sampler, stop, 12))
    assert extended == at_once
    assert [each.values for each in extended.tried[:7]] == [each.values for each in first.tried]
    if stop == "none":
        assert store.epochs == alone.epochs > spent
    shrunk = drive(search_spec(section(sampler, stop, 7)), store, order=random.Random(3)).state()
    assert shrunk == first


@pytest.mark.parametrize(
    ("stop", "batch", "trials", "more", "changes", "chosen"),
    [
        ("asha", 4, 2, 4, {0: "stopped"}, (0, 2)),
        ("asha", 6, 3, 6, {0: "finished", 2: "stopped"}, (2, 0)),
        ("median", 12, 18, 24, {17: "stopped"}, (0, 0)),
        ("asha", 4, 4, 8, {}, (2, 2)),
        ("none", 4, 2, 4, {}, (0, 0)),
    ],
)
def test_a_last_batch_that_is_filled_up_is_decided_anew(
    stop: str, batch: int, trials: int, more: int, changes: dict[int, str], chosen: tuple[int, int]
) -> None:
    """As the documents say: of that batch alone, and what was chosen may count as stopped.

    Also where it is the best at its end, as the last case shows for the first. Its result stays, as
    all that was decided of whole batches, and everything without early stopping.
    """
    store = Simulated()
    text = (
        f"{{sampler: random, trials: TRIALS, batch: {batch}, stop: {stop}, space: {LEARNING_RATE}}}"
    )
    before, after = (
        drive(search_spec(text.replace("TRIALS", f"{n}")), store, order=random.Random(1)).state()
        for n in (trials, more)
    )
    first, second = before.tried, after.tried
    assert all(number >= trials // batch * batch for number in changes)
    moved = zip(first, second, strict=False)
    assert {old.number: new.state for old, new in moved if old.state != new.state} == changes
    assert (before.chosen, after.chosen) == chosen
    for number, state in changes.items():
        if state == "stopped":
            assert store.seen[first[number].trials[0].id].kept_epoch is not None


def test_suggestions_are_golden() -> None:
    """The numbers of TPE and of random search do not move: they name trials that exist."""
    found = {
        sampler: [each.values["learning_rate"] for each in whole(section(sampler, "none"))[0].tried]
        for sampler in ("tpe", "random")
    }
    assert found == GOLDEN


GOLDEN = {
    "tpe": [
        0.0004956,
        0.0006396,
        0.0005557,
        1.729e-05,
        0.05126,
        0.07654,
        1.412e-05,
        0.002714,
        0.006338,
        0.0001517,
    ],
    "random": [
        0.0004956,
        0.0006396,
        0.0005557,
        1.729e-05,
        0.00729,
        0.006439,
        3.201e-05,
        0.001426,
        0.00399,
        0.0005487,
    ],
}


def test_rungs_compare_with_batches_before() -> None:
    """The third of the first batch goes to the end; of the others only one that is better does.

    Values at epoch 3 of the second batch are all below it, one of the third is above.
    """
    state, _ = whole(section("random", "asha", trials=12))
    assert [each.epoch for each in state.tried] == [3, 3, None, *[3] * 6, None, 3, 3]
    assert [each.state for each in state.tried].count("finished") == 2
    assert (state.best, state.chosen) == ((9,), 9)


def test_cells_and_batches_draw_apart() -> None:
    """Two cells have other suggestions, and so have two batches; seeds of trials do not matter."""
    spec = search_spec(section("random", "none", 8))
    facts = facts_of_spec(spec)
    cell = first_cell(spec)
    other = dataclasses.replace(cell, specificity=spec.axes.specificity[1])
    drawn = []
    for each in (cell, other):
        run, store = CellRun(spec, each, facts), Simulated()
        while requests := run.advance(store):
            for request in requests:
                store.train(request.trial, request.until)
        drawn.append([tried.values["learning_rate"] for tried in run.state().tried])
    assert len({*drawn[0], *drawn[1]}) == 16


def test_a_batch_waits_for_all_of_the_one_before() -> None:
    """The fourth result makes the second batch; three say nothing of it."""
    run = CellRun(
        spec := search_spec(section("tpe", "none", 8)), first_cell(spec), facts_of_spec(spec)
    )
    store = Simulated()
    batch = run.advance(store)
    assert len(batch) == 4
    for left in (3, 2, 1):
        store.train(batch[left].trial, None)
        assert [r.trial.id for r in run.advance(store)] == [r.trial.id for r in batch[:left]]
        assert len(run.state().tried) == 4
    store.train(batch[0].trial, None)
    assert not {r.trial.id for r in run.advance(store)} & {r.trial.id for r in batch}
    assert [each.state for each in run.state().tried] == ["finished"] * 4 + ["waiting"] * 4


def test_whole_results_of_other_sweeps_change_no_decision() -> None:
    """A configuration that has its whole result already stops at the rung where it would have."""
    expected, _ = whole(section("tpe", "asha"))
    store = Simulated()
    for each in expected.tried:
        store.train(each.trials[0], None)
    spent = store.epochs
    assert (
        drive(search_spec(section("tpe", "asha")), store, order=random.Random(0)).state()
        == expected
    )
    assert store.epochs == spent


def test_a_failure_after_a_rung_does_not_count_at_it() -> None:
    """Numbers that end in epoch 5 are compared at epoch 3, and have none at epoch 9.

    Also where the failure is known from a run without rungs.
    """
    expected, _ = whole(section("random", "median"), diverges=1e-3)
    assert {each.epoch for each in expected.tried} >= {3}
    assert expected.count()["failed"]
    store = Simulated(diverges=1e-3)
    for each in expected.tried:
        store.seen[each.trials[0].id] = (
            Observation(failed_at=5)
            if each.values["learning_rate"] > 1e-3
            else store.seen.get(each.trials[0].id, Observation())
        )
    found = drive(search_spec(section("random", "median")), store, order=random.Random(0)).state()
    assert found == expected


def test_all_failed_chooses_nothing() -> None:
    """Every configuration diverges: the search is over, and there is no choice.

    With early stopping, too: one that fails late gives its place to the next.
    """
    for stop in ("none", "asha", "median"):
        state, _ = whole(section("tpe", stop), diverges=0.0)
        assert state.is_over
        assert state.chosen is None
        assert state.count() == {"failed": 10}


def test_a_value_is_the_mean_over_seeds() -> None:
    """Two seeds: two trials a configuration, and a value only where both have one."""
    text = f"{{sampler: random, trials: 4, seeds: [3, 5], space: {LEARNING_RATE}}}"
    state, store = whole(text)
    assert [len(each.trials) for each in state.tried] == [2] * 4
    assert {trial.config.seed for each in state.tried for trial in each.trials} == {3, 5}
    for each in state.tried:
        values = []
        for trial in each.trials:
            seen = store.seen[trial.id]
            assert seen.kept_epoch is not None
            values.append(seen.history[seen.kept_epoch]["val.auroc"])
        assert each.value == pytest.approx(sum(values) / 2, abs=1e-15)


def test_a_grid_is_enumerated() -> None:
    """All combinations of its lists in order, and no number of trials is needed."""
    text = "{sampler: grid, space: {batch_size: [5, 10], optimizer: [adam, sgd]}}"
    state, _ = whole(text)
    assert [tuple(each.values.values()) for each in state.tried] == [
        (5, "adam"),
        (5, "sgd"),
        (10, "adam"),
        (10, "sgd"),
    ]
