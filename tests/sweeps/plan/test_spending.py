"""What a sweep has used of its limits, on a clock that the test sets."""

from __future__ import annotations

from typing import Any

import pytest
from good_specs import FULL
from tiny_sweeps import FILMS

from sweeps.plan.packing import Share
from sweeps.plan.spending import Spending, reads_results, spending_of
from sweeps.plan.used import Taken
from sweeps.spec.model import Limits, Spec, parse_spec

HOUR = 3600.0
PRICED = {
    "cost.compute": {
        "node": "pair",
        "node_types": {"pair": {"dollars_per_hour": 3.0, "cpus": 8, "gpus": 1}},
    }
}
"""A node that two trials of four CPUs and half a GPU share: 1.5 dollars an hour each."""


def spec_of(gpus: float = 0.5, **limits: Any) -> Spec:
    """A sweep on that node."""
    resources = {"resources.cpus": 4, "resources.gpus": gpus}
    return parse_spec(FILMS, overrides={**PRICED, **resources, "limits": limits})


def test_running_trials_use_what_they_take() -> None:
    """Half a GPU each: two trials for an hour are one GPU-hour, ended or not."""
    spending = Spending(spec_of(gpu_hours=2.0))
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


def test_each_attempt_counts_by_the_share_that_it_had() -> None:
    """A whole GPU while its need is measured, a quarter later; all CPUs after a want of memory."""
    spending = Spending(spec_of(gpus=1.0, gpu_hours=1.5))
    spending.started("first", 0.0, Share(4, 1.0))
    spending.ended("first", HOUR)
    for trial in ("second", "third"):
        spending.started(trial, HOUR, Share(4, 0.25))
    used = spending.used(2 * HOUR - 1)
    assert used == pytest.approx({"gpu_hours": 1.5, "cpu_hours": 12.0, "dollars": 6.0}, rel=1e-3)
    assert spending.exceeded(2 * HOUR - 1) is None
    assert spending.exceeded(2 * HOUR) is not None
    spending.started("second", 2 * HOUR, Share(8, 0.25))  # again, with the CPUs of its neighbour
    spending.ended("third", 2 * HOUR)
    later = spending.used_by_run(3 * HOUR)
    assert later == pytest.approx({"gpu_hours": 1.75, "cpu_hours": 20.0, "dollars": 9.0})


def test_a_share_beyond_the_priced_node_pays_for_one() -> None:
    """A cluster may have larger nodes than the one whose price is known."""
    assert Spending(spec_of()).dollars_per_hour(Share(16, 1.0)) == 3.0


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (
            {"cpu_hours": 7},
            "limits.cpu_hours: 8.00 of 7 CPU-hours used (4.00 CPU-hours before",
        ),
        ({"dollars": 2.5}, "limits.dollars: $3.00 of $2.50 used ($1.50 before this run); all"),
        (
            {"gpu_hours": 1},
            "limits.gpu_hours: 1.00 of 1 GPU-hours used (0.50 GPU-hours before",
        ),
    ],
)
def test_each_limit_names_itself_and_what_was_used_before(
    limits: dict[str, Any], message: str
) -> None:
    """Raising it is what the message asks for, and lets the same sweep go on."""
    before = {"gpu_hours": 0.5, "cpu_hours": 4.0, "dollars": 1.5}
    spending = Spending(spec_of(**limits), before)
    assert spending.exceeded(0.0) is None
    spending.started("a", 0.0)
    told = spending.exceeded(HOUR)
    assert told is not None
    assert told.startswith(message)
    raised = {name: 10.0 * value for name, value in limits.items()}
    assert Spending(spec_of(**raised), before).exceeded(HOUR) is None


def test_a_sweep_that_used_all_before_does_not_begin() -> None:
    """Earlier results alone may reach a limit."""
    assert Spending(spec_of(dollars=1.0), {"dollars": 1.0}).exceeded(0.0) is not None


def test_trials_limit_starts_and_not_what_runs() -> None:
    """Those that run end; retries are no further trials; then the run is over, and says so."""
    spending = Spending(spec_of(trials=2))
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
    assert spending.used(30.0)["cpu_hours"] == pytest.approx(4 * (5.0 + 3.0 + 3.0) / HOUR)


def test_no_limit_is_never_reached() -> None:
    """Also without a price."""
    spending = Spending(parse_spec(FILMS), {"cpu_hours": 1e6})
    spending.started("a", 0.0)
    assert spending.exceeded(1e9) is None
    assert spending.refuses_start() is None


def test_a_run_begins_with_what_its_own_results_used() -> None:
    """By whomever; what ran without a GPU has used none of what a sweep on GPUs pays for."""
    spec = parse_spec(FULL)  # 4 of a node's 4 CPUs: one trial a node, whatever its half GPU
    unknown = {"cpus": None, "gpus": None}  # of a result from before these columns
    rows = [
        {"trial_id": "a", "device": "NVIDIA H200", "seconds_total": 1.5 * HOUR, **unknown},
        {
            **{"trial_id": "b", "device": "NVIDIA A10G", "seconds_total": 0.5 * HOUR},
            **{"cpus": 2.0, "gpus": 0.25},
        },
        {"trial_id": "c", "device": "cpu", "seconds_total": 90 * HOUR, **unknown},
    ]
    used = spending_of(spec, rows).used(0.0)
    expected = {"gpu_hours": 0.875, "cpu_hours": 7.0, "dollars": 1.75 * 1.006}
    assert used == pytest.approx(expected)
    on_cpus = parse_spec(FULL, overrides={"resources.gpus": 0, "limits.gpu_hours": None})
    assert spending_of(on_cpus, rows).used(0.0)["cpu_hours"] == 360.0
    free = parse_spec(FULL, overrides={"limits": {"trials": 5}})  # nothing that earlier ones count
    assert set(spending_of(free, rows).used(0.0).values()) == {0.0}


def test_attempts_count_as_far_as_no_result_tells_of_them() -> None:
    """What a result tells is not counted twice; attempts of another kind of device are left out."""
    spec = spec_of(gpus=0.5, dollars=100.0)
    had = Share(4, 0.5)
    attempts = {
        "stopped": [Taken(HOUR, had), Taken(HOUR, Share(4, 0.25))],
        "went on": [Taken(2 * HOUR, had), Taken(HOUR, had)],  # its result tells of one hour
        "all told": [Taken(HOUR, had)],
        "elsewhere": [Taken(90 * HOUR, Share(4))],
    }
    row = {"device": "NVIDIA H200", "cpus": 4.0, "gpus": 0.5}
    rows = [
        row | {"trial_id": "went on", "seconds_total": HOUR},
        row | {"trial_id": "all told", "seconds_total": 1.5 * HOUR},
    ]
    used = spending_of(spec, rows, attempts).used(0.0)
    hours = [1.0, 1.0, 1.0 + 1.5, 2.0]  # two attempts, both results, what the second leaves
    expected = {
        "gpu_hours": 0.5 * hours[0] + 0.25 * hours[1] + 0.5 * (hours[2] + hours[3]),
        "cpu_hours": 4 * sum(hours),
        "dollars": 1.5 * sum(hours),
    }
    assert used == pytest.approx(expected)


@pytest.mark.parametrize(
    ("limits", "reads"),
    [({}, False), ({"trials": 3, "trial_minutes": 1.0}, False), ({"cpu_hours": 1.0}, True)],
)
def test_results_are_read_for_limits_that_count_them(limits: dict[str, Any], reads: bool) -> None:
    """Others need no reading of all rows."""
    assert reads_results(Limits(**limits)) is reads
