"""What a sweep has used of its limits, on a clock that the test sets."""

from __future__ import annotations

from typing import Any

import pytest
from good_specs import FULL

from sweeps.plan.spending import Spending, reads_results, spending_of
from sweeps.spec.model import Limits, parse_spec

HOUR = 3600.0


def test_running_trials_use_what_they_take() -> None:
    """Half a GPU each: two trials for an hour are one GPU-hour, ended or not."""
    spending = Spending(Limits(gpu_hours=2.0), 1.5, 0.5, cpus=4)
    spending.started("a", 100.0)
    spending.started("b", 100.0)
    assert spending.used(100.0) == {"gpu_hours": 0.0, "cpu_hours": 0.0, "dollars": 0.0}
    spending.ended("a", 100.0 + HOUR)
    used = spending.used(100.0 + 2 * HOUR)
    assert used == pytest.approx({"gpu_hours": 1.5, "cpu_hours": 12.0, "dollars": 4.5})
    assert spending.exceeded(100.0 + 2 * HOUR) is None
    assert spending.exceeded(100.0 + 3 * HOUR - 1) is None
    assert spending.exceeded(100.0 + 3 * HOUR) == (
        "limits.gpu_hours: 2.00 of 2 GPU-hours used; all results are kept and running trials save "
        "checkpoints: to continue, raise limits.gpu_hours and run the same command"
    )


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"cpu_hours": 7}, "limits.cpu_hours: 8.00 of 7 CPU-hours used (4.00 CPU-hours by earlier"),
        ({"dollars": 2.5}, "limits.dollars: $3.00 of $2.50 used ($1.50 by earlier results); all"),
        ({"gpu_hours": 1}, "limits.gpu_hours: 1.00 of 1 GPU-hours used (0.50 GPU-hours by earlier"),
    ],
)
def test_each_limit_names_itself_and_what_was_used_before(
    limits: dict[str, Any], message: str
) -> None:
    """Raising it is what the message asks for, and lets the same sweep go on."""
    spending = Spending(Limits(**limits), 1.5, 0.5, cpus=4, before=1.0)
    assert spending.exceeded(0.0) is None
    spending.started("a", 0.0)
    told = spending.exceeded(HOUR)
    assert told is not None
    assert told.startswith(message)
    raised = {name: 10.0 * value for name, value in limits.items()}
    assert Spending(Limits(**raised), 1.5, 0.5, cpus=4, before=2.0).exceeded(HOUR) is None


def test_a_sweep_that_used_all_before_does_not_begin() -> None:
    """Earlier results alone may reach a limit."""
    spending = Spending(Limits(dollars=1.0), 2.0, 0.0, cpus=1, before=0.5)
    assert spending.exceeded(0.0) is not None


def test_trials_limit_starts_and_not_what_runs() -> None:
    """Those that run end; retries are no further trials; then the run is over, and says so."""
    spending = Spending(Limits(trials=2), None, 0.0, cpus=1)
    spending.started("a", 0.0)
    spending.started("a", 5.0)  # again after a lost worker, whose end nobody saw
    assert spending.refuses_start() is None
    spending.started("b", 6.0)
    told = spending.refuses_start()
    assert told is not None
    assert told.startswith("limits.trials: this run has started 2 trials")
    assert spending.exceeded(7.0) is None
    spending.ended("a", 8.0)
    spending.ended("b", 9.0)
    spending.ended("b", 20.0)  # told twice
    assert spending.exceeded(30.0) == told
    assert spending.hours(30.0) == pytest.approx((5.0 + 3.0 + 3.0) / HOUR)


def test_no_limit_is_never_reached() -> None:
    """Also without a price."""
    spending = Spending(Limits(), None, 1.0, cpus=1, before=1e6)
    spending.started("a", 0.0)
    assert spending.exceeded(1e9) is None
    assert spending.refuses_start() is None


def test_a_run_begins_with_what_its_own_results_used() -> None:
    """By whomever; what ran without a GPU has used none of what a sweep on GPUs pays for."""
    spec = parse_spec(FULL)  # 4 of a node's 4 CPUs: one trial a node, whatever its half GPU
    rows = [
        {"device": "NVIDIA H200", "seconds_total": 1.5 * HOUR},
        {"device": "NVIDIA A10G", "seconds_total": 0.5 * HOUR},
        {"device": "cpu", "seconds_total": 90 * HOUR},
    ]
    used = spending_of(spec, rows).used(0.0)
    assert used == pytest.approx({"gpu_hours": 1.0, "cpu_hours": 8.0, "dollars": 2 * 1.006})
    on_cpus = parse_spec(FULL, overrides={"resources.gpus": 0, "limits.gpu_hours": None})
    assert spending_of(on_cpus, rows).used(0.0)["cpu_hours"] == 360.0


@pytest.mark.parametrize(
    ("limits", "reads"),
    [({}, False), ({"trials": 3, "trial_minutes": 1.0}, False), ({"cpu_hours": 1.0}, True)],
)
def test_results_are_read_for_limits_that_count_them(limits: dict[str, Any], reads: bool) -> None:
    """Others need no reading of all rows."""
    assert reads_results(Limits(**limits)) is reads
