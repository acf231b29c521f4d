"""Suggestions: inside the space, of every sampler, and without torch where it is not needed."""

from __future__ import annotations

import math
import random
import statistics
import subprocess
import sys

import pytest
from searching import Simulated, drive, search_spec

from sweeps.plan.searched import Tried
from sweeps.search.choice import choose
from sweeps.search.rungs import find_survivors
from sweeps.search.study import suggest
from sweeps.spec.search import Dimension, Search

SPACE = (
    Dimension("learning_rate", (1e-5, 1e-1), "log"),
    Dimension("weight_decay", (0.0, 0.5), "linear"),
    Dimension("batch_size", (4, 64), "log"),
    Dimension("epochs", (2, 5), "linear"),
    Dimension("optimizer", ("adam", "sgd")),
)


def tried(number: int, values: dict[str, object], value: float | None = None) -> Tried:
    """A configuration that ended, without trials."""
    state = "failed" if value is None else "finished"
    return Tried(number, values, (), state, value)  # type: ignore[arg-type]


@pytest.mark.parametrize("sampler", ["tpe", "random", "gp"])
def test_suggestions_are_inside_the_space(sampler: str) -> None:
    """Numbers within their ends, integers as integers, choices of their lists; none of them twice.

    Half of what was tried failed; 8 suggestions follow from it, and the same ones again.
    """
    search = Search(space=SPACE, trials=24, batch=8, sampler=sampler)  # type: ignore[arg-type]
    first = suggest(search, SPACE, "cell", 0, [])
    told = [tried(k, values, k / 10 if k % 2 else None) for k, values in enumerate(first)]
    second = suggest(search, SPACE, "cell", 1, told)
    assert second == suggest(search, SPACE, "cell", 1, told)
    for values in (*first, *second):
        assert list(values) == [each.name for each in SPACE]
        for each in SPACE:
            value = values[each.name]
            if each.scale is None:
                assert value in each.values
                continue
            low, high = each.values
            assert low <= value <= high
            assert type(value) is type(low)
            if type(value) is float:
                assert value == float(f"{value:.4g}")
    assert len({tuple(values.values()) for values in (*first, *second)}) == 16


@pytest.mark.parametrize("sampler", ["tpe", "random", "grid", "gp"])
def test_few_combinations_are_tried_once_each(sampler: str) -> None:
    """Of lists and of integers, in the order of the text, where `trials` is not below their number.

    With a batch that does not divide it. One trial fewer, and all but a grid draw.
    """
    integers = "[4, 5]" if sampler == "grid" else "{range: [4, 5]}"
    space = f"{{optimizer: [adam, sgd], batch_size: {integers}}}"
    section = f"{{sampler: {sampler}, trials: 4, batch: 3, space: {space}}}"
    every = [{"batch_size": size, "optimizer": name} for name in ("adam", "sgd") for size in (4, 5)]
    for trials in (4,) if sampler == "grid" else (4, 9):
        spec = search_spec(section.replace("trials: 4", f"trials: {trials}"))
        state = drive(spec, Simulated(), order=random.Random(0)).state()
        assert state.is_over
        assert [each.values for each in state.tried] == every
    spec = search_spec(section.replace("trials: 4", "trials: 3"))
    state = drive(spec, Simulated(), order=random.Random(0)).state()
    assert state.is_over
    assert len(state.tried) == 3


def test_a_grid_of_cells_with_fewer_combinations() -> None:
    """A method without the options of another one tries its own combinations alone, once each."""
    section = "{sampler: grid, trials: 4, batch: BATCH, space: SPACE}"
    section = section.replace("SPACE", "{optimizer: [adam, sgd], spl: {weight: [0.1, 1]}}")
    for batch in (1, 2, 4):
        spec = search_spec(section.replace("BATCH", f"{batch}"), method="[erm] -> [erm, spl]")
        state = drive(spec, Simulated(), order=random.Random(0)).state()
        assert state.is_over
        assert [each.values for each in state.tried] == [
            {"optimizer": "adam"},
            {"optimizer": "sgd"},
        ]


def test_tpe_comes_closer_than_chance() -> None:
    """Of 40 learning rates the later ones are nearer to the best on average, in powers of ten."""
    distance = {}
    for sampler in ("tpe", "random"):
        section = f"{{sampler: {sampler}, trials: 40, space: SPACE}}"
        spec = search_spec(section.replace("SPACE", "{learning_rate: {log: [1.0e-7, 10]}}"))
        state = drive(spec, Simulated(), order=random.Random(0)).state()
        rates = [each.values["learning_rate"] for each in state.tried[20:]]
        distance[sampler] = statistics.median(abs(math.log10(rate / 5e-4)) for rate in rates)
    assert distance["tpe"] < distance["random"] / 2


@pytest.mark.parametrize(("sampler", "slope"), [("tpe", 0.0), ("gp", 0.01)])
def test_failed_configurations_are_kept_away_from(sampler: str, slope: float) -> None:
    """Where every high rate failed, low ones are suggested, also where the best is at the edge."""
    space = (Dimension("learning_rate", (1e-5, 1.0), "log"),)
    search = Search(space=space, trials=40, batch=20, sampler=sampler)  # type: ignore[arg-type]
    rates = [10 ** (-5 + 0.25 * step) for step in range(20)]
    told = [
        tried(k, {"learning_rate": rate}, None if rate > 1e-3 else 0.9 + slope * k)
        for k, rate in enumerate(rates)
    ]
    found = [values["learning_rate"] for values in suggest(search, space, "cell", 1, told)]
    assert sum(rate <= 1e-3 for rate in found) >= 15


def test_gp_learns_from_configurations_that_were_stopped() -> None:
    """Of 16 rates 14 were stopped, the nearer to 5e-4 the later; it suggests their middle.

    Values where they were stopped do not compare: later in training all are lower here.
    """
    space = (Dimension("learning_rate", (1e-7, 10.0), "log"),)
    search = Search(space=space, trials=48, batch=8, sampler="gp", stop="asha")
    rates = [10 ** (-7 + 0.5 * step) for step in range(16)]
    off = {rate: abs(math.log10(rate / 5e-4)) for rate in rates}
    told = []
    for place, rate in enumerate(rates):
        values, state = {"learning_rate": rate}, "finished" if off[rate] < 0.5 else "stopped"
        epoch = None if state == "finished" else 1 if off[rate] > 2 else 3
        value = (0.9 if epoch == 1 else 0.7) - 0.01 * off[rate]
        told.append(Tried(place, values, (), state, value, epoch=epoch))  # type: ignore[arg-type]
    assert sum(each.state == "finished" for each in told) == 2
    found = [values["learning_rate"] for values in suggest(search, space, "cell", 2, told)]
    assert sum(abs(math.log10(rate / 5e-4)) < 1 for rate in found) >= 6, found


def test_only_the_gaussian_process_needs_torch() -> None:
    """A driver with tpe or random search loads neither torch nor pandas."""
    code = """
import sys
from sweeps.search.study import suggest
from sweeps.spec.search import Dimension, Search
space = (Dimension("learning_rate", (1e-5, 1e-1), "log"),)
for sampler in ("tpe", "random"):
    suggest(Search(space=space, trials=4, sampler=sampler), space, "cell", 0, [])
heavy = {"torch", "pandas", "sklearn", "matplotlib"} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def priced(number: int, value: float, dollars: float) -> Tried:
    return Tried(number, {"learning_rate": number}, (), "finished", value, dollars)


def test_one_metric_chooses_the_best_and_the_first_of_equals() -> None:
    """A loss is better where lower; what failed is never chosen."""
    by_auroc = Search(space=SPACE, trials=4)
    by_loss = Search(space=SPACE, trials=4, metric=("val.loss",))
    of = [tried(0, {}, 0.5), tried(1, {}, 0.7), tried(2, {}), tried(3, {}, 0.7)]
    assert choose(by_auroc, of, 0.02) == ((1,), 1)
    assert choose(by_loss, of, 0.02) == ((0,), 0)
    assert choose(by_auroc, [tried(0, {})], 0.02) == ((), None)


def test_dollars_choose_the_cheapest_that_is_nearly_as_good() -> None:
    """The Pareto set from cheap to dear; of it the cheapest within the margin of the best."""
    search = Search(space=SPACE, trials=6, metric=("val.auroc", "dollars"))
    of = [
        priced(0, 0.80, 10.0),
        priced(1, 0.90, 30.0),
        priced(2, 0.89, 20.0),
        priced(3, 0.85, 25.0),  # dearer and worse than 2
        priced(4, 0.80, 10.0),  # equals 0
        priced(5, 0.70, 5.0),
    ]
    assert choose(search, of, 0.02) == ((5, 0, 2, 1), 2)
    assert choose(search, of, 0.0) == ((5, 0, 2, 1), 1)
    assert choose(search, of, 0.2) == ((5, 0, 2, 1), 5)


NAN = float("nan")


@pytest.mark.parametrize(
    ("stop", "values", "earlier", "expected"),
    [
        ("asha", [0.5, 0.9, 0.7, 0.8], [], [1]),
        ("asha", [0.5, 0.9, 0.7, 0.8], [0.1, 0.2], [1, 3]),
        ("asha", [0.5, 0.9, 0.7, 0.8], [0.95, 0.96, 0.97, 0.98], []),
        ("asha", [0.7, 0.7], [0.7], []),  # of equal ones the earlier is better
        ("asha", [NAN, 0.1], [], [1]),
        ("asha", [NAN], [], []),
        ("median", [0.5, 0.9, 0.7, 0.8], [], [1, 3]),
        ("median", [0.5, 0.9, NAN], [0.7], [1]),
        ("median", [0.7, 0.7], [0.7], [0, 1]),
    ],
)
def test_who_goes_on_from_a_rung(
    stop: str, values: list[float], earlier: list[float], expected: list[int]
) -> None:
    """`asha` the best third of all that came there, `median` who is not below the middle."""
    assert find_survivors(stop, values, earlier, "val.auroc") == expected  # type: ignore[arg-type]
    turned = [-value for value in values], [-value for value in earlier]
    assert find_survivors(stop, *turned, "val.loss") == expected  # type: ignore[arg-type]
