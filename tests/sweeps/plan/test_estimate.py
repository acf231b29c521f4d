"""Seconds of trials that have not run: where they come from, and how far off they are."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats
from timed_rows import row
from tiny_sweeps import FACTS, FILMS

from sweeps.plan.estimate import MODEL, RECIPE, TWIN, Estimates, estimate_seconds
from sweeps.plan.intervals import student_t
from sweeps.plan.plan import Plan, Trial, make_plan
from sweeps.spec.model import Resources, parse_spec

EPOCHS, HELD_OUT = 10, 60
TRAINED, SCORED, OVERHEAD = 0.02, 0.005, 1.5
"""Seconds of an image trained, of one scored, and of a trial besides: the truth of these tests."""


def films(done: Any = (), **overrides: Any) -> Plan:
    """A plan on the films, 10 epochs a trial."""
    changes = {"train.epochs": EPOCHS, "axes.specificity": ["label"]}
    changes |= {key.replace("__", "."): value for key, value in overrides.items()}
    return make_plan(parse_spec(FILMS, overrides=changes), FACTS, done)


def truth(trial: Trial) -> tuple[float, float]:
    """Seconds of a trial of ERM and of its training, counted here."""
    training = TRAINED * (trial.config.budget.images or 100) * trial.config.train.epochs
    return OVERHEAD + training + SCORED * HELD_OUT * trial.config.train.epochs, training


def estimate(plan: Plan, rows: Any, **resources: Any) -> Estimates:
    """The estimates of a plan's missing trials."""
    return estimate_seconds(plan, rows, Resources(**resources))


def test_other_seeds_take_as_long() -> None:
    """The mean of the logarithms of the same configuration, whatever else is in the store."""
    plan = films(axes__seed=[0, 1, 2], axes__budget=[20, 40])
    a, b, c, *others = plan.trials
    rows = [row(a, 10.0, 5.0), row(b, 40.0, 20.0), *(row(other, 7e4, 5e4) for other in others)]
    left = plan.refreshed([trial.id for trial in plan.trials if trial != c])
    [estimated] = estimate(left, rows).trials.values()
    assert estimated.source.level is TWIN
    assert math.sqrt(estimated.seconds.low * estimated.seconds.high) == pytest.approx(20.0)
    assert 20.0 < estimated.seconds.value < 30.0  # of the mean: the long ones weigh more


def test_another_budget_is_scaled_by_images() -> None:
    """Rates of both kinds of images come from a single trial, since a row tells them apart."""
    plan = films(axes__budget=[20, 80], axes__seed=[0])
    small, large = plan.trials
    seconds, training = truth(small)
    estimates = estimate(plan.refreshed([small.id]), [row(small, seconds, training)])
    estimated = estimates.trials[large.id]
    assert estimated.source.level is RECIPE
    middle = math.sqrt(estimated.seconds.low * estimated.seconds.high)
    assert middle == pytest.approx(truth(large)[0], rel=1e-6)


def test_overheads_are_found_where_epochs_differ() -> None:
    """Three rates from trials of two lengths: a trial of one epoch is mostly overhead."""
    rows = []
    for epochs in (10, 40):
        [trial] = films(axes__seed=[0], axes__budget=[20], train__epochs=epochs).trials
        rows.append(row(trial, *truth(trial)))
    plan = films(axes__seed=[0], axes__budget=[20], train__epochs=1)
    [estimated] = estimate(plan, rows).trials.values()
    middle = math.sqrt(estimated.seconds.low * estimated.seconds.high)
    assert middle == pytest.approx(truth(plan.trials[0])[0], rel=1e-6)


def test_the_farther_the_less_sure() -> None:
    """Twice the images of what was run are surer than ten times, and these than forty times."""
    plan = films(axes__budget=[2, 4, 20, 80], axes__seed=[0])
    small, *larger = plan.trials
    estimates = estimate(plan.refreshed([small.id]), [row(small, *truth(small))])
    spans = [estimates.trials[trial.id].seconds for trial in larger]
    widths = [span.high / span.low for span in spans]
    assert widths == sorted(set(widths))


def test_another_method_is_scaled_by_its_passes_and_less_sure() -> None:
    """The nearest level that there is decides, and its interval is wider."""
    plan = films(axes__method=["erm", "lff"], axes__seed=[0, 1], axes__budget=[20])
    erm, _, lff, _ = plan.trials
    estimates = estimate(plan.refreshed([erm.id]), [row(erm, *truth(erm))])
    near, far = estimates.trials[plan.trials[1].id], estimates.trials[lff.id]
    assert (near.source.level, far.source.level) == (TWIN, MODEL)
    assert far.seconds.value > near.seconds.value
    assert far.seconds.high / far.seconds.low > 4 * near.seconds.high / near.seconds.low


@pytest.mark.parametrize(
    "changes",
    [{"dataset_digest": "cd" * 32}, {"device": "NVIDIA H200"}, {"threads": 8}, {"config": "{}"}],
)
def test_what_does_not_compare_says_nothing(changes: dict[str, Any]) -> None:
    """Other data, devices and threads; a row that cannot be read is passed over."""
    plan = films(axes__seed=[0, 1], axes__budget=[20])
    rows = [row(plan.trials[0], 10.0, 5.0, **changes)]
    left = plan.refreshed([plan.trials[0].id])
    estimates = estimate(left, rows)
    assert not estimates.trials
    assert estimates.total() is None
    assert estimates.relative == {plan.trials[1].id: pytest.approx(20 * 10 + 60 * 10 / 3)}


def test_gpus_compare_whatever_the_threads() -> None:
    """A trial on a GPU hardly depends on them."""
    plan = films(axes__seed=[0, 1], axes__budget=[20])
    rows = [row(plan.trials[0], 10.0, 5.0, device="NVIDIA H200", threads=8)]
    estimates = estimate(plan.refreshed([plan.trials[0].id]), rows, gpus=1.0)
    [(source, trials)] = estimates.sources()
    assert (source.devices, source.timed, trials) == (("NVIDIA H200",), 1, 1)


def test_every_trial_has_a_place_in_the_order() -> None:
    """Seconds where they are known, else work on the same scale: longer is larger."""
    segmented = {"axes__specificity": ["label", "mask"], "axes__seed": [0, 1]}
    plan = films(axes__budget=[20, 80], **segmented)
    done = plan.trials[0]
    plan = plan.refreshed([done.id])
    estimates = estimate(plan, [row(done, *truth(done))])
    assert estimates.relative.keys() == {trial.id for trial in plan.missing}
    order = {trial.label: estimates.relative[trial.id] for trial in plan.missing}
    assert order["mask-20-erm-s0"] == order["mask-20-erm-s1"] < order["mask-80-erm-s0"]
    assert order["label-20-erm-s1"] < order["mask-80-erm-s0"]
    known = estimates.trials[plan.trials[2].id].seconds.value
    assert order["label-80-erm-s0"] == known
    assert order["mask-80-erm-s0"] == pytest.approx(known, rel=0.2)  # as much work


def simulate(rng: np.random.Generator, plan: Plan, noise: float) -> list[dict[str, Any]]:
    """Rows of all trials: every configuration and every run errs by a factor of its own."""
    of_cell = {cell: rng.normal(0.0, noise / 2) for cell in plan.cells}
    rows = []
    for trial in plan.trials:
        seconds, training = truth(trial)
        factor = math.exp(of_cell[trial.cell] + rng.normal(0.0, noise))
        rows.append(row(trial, seconds * factor, training * factor))
    return rows


@pytest.mark.parametrize("held_out", ["seeds", "budget"])
@pytest.mark.parametrize("noise", [0.1, 0.25])
def test_intervals_hold_what_they_say(held_out: str, noise: float) -> None:
    """Of trials that are held out, 95 % are in their interval, and so is their sum.

    The noise is that of a quiet machine, and of one that others use: on shared nodes the standard
    deviation of the logarithm is 0.1 to 0.3.
    """
    rng = np.random.default_rng(3)
    plan = films(axes__budget=[20, 40, 80, "all"], axes__seed=[0, 1, 2, 3, 4])
    inside, sums, widths = [], [], []
    for _ in range(150):
        rows = {of["trial_id"]: of for of in simulate(rng, plan, noise)}
        out = [
            trial
            for trial in plan.trials
            if (trial.config.seed > 2 if held_out == "seeds" else trial.cell.budget.images == 80)
        ]
        done = rows.keys() - {trial.id for trial in out}
        estimates = estimate(plan.refreshed(done), [rows[trial_id] for trial_id in done])
        spans = [(estimates.trials[trial.id].seconds, rows[trial.id]) for trial in out]
        inside += [span.low <= of["seconds_total"] <= span.high for span, of in spans]
        widths += [span.high / span.low for span, _ in spans]
        total, real = estimates.total(), sum(of["seconds_total"] for _, of in spans)
        assert total is not None
        sums.append(total.low <= real <= total.high)
    assert 0.93 <= np.mean(inside) <= 0.999
    assert np.mean(sums) >= 0.93
    assert np.median(widths) < 5.0  # from half to twice, and no more


def test_a_sum_is_surer_than_its_parts() -> None:
    """Errors of single trials cancel; those that they share do not."""
    plan = films(axes__budget=[20], axes__seed=list(range(40)))
    first, second, *_ = plan.trials
    rows = [row(first, 10.0, 5.0), row(second, 11.0, 5.0)]
    estimates = estimate(plan.refreshed([first.id, second.id]), rows)
    total, one = estimates.total(), next(iter(estimates.trials.values())).seconds
    assert total is not None
    assert total.value == pytest.approx(38 * one.value)
    assert 1.0 < total.high / total.value < one.high / one.value


def test_a_plan_without_anything_to_run_has_no_estimate() -> None:
    """Nothing left is no error."""
    plan = films(axes__seed=[0], axes__budget=[20])
    estimates = estimate(plan.refreshed([plan.trials[0].id]), [])
    assert (estimates.total(), estimates.relative, estimates.sources()) == (None, {}, [])
    assert not estimate(replace(plan, trials=()), []).trials


@pytest.mark.parametrize("df", [4, 5, 8, 20, 500])
def test_quantiles_are_those_of_students_t(df: int) -> None:
    """To within a hundredth, from 4 degrees of freedom on."""
    assert student_t(df) == pytest.approx(stats.t.ppf(0.975, df), abs=0.01)
