"""Hours, dollars and wall time of a plan, with limits that they will reach."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from timed_rows import row
from tiny_sweeps import FACTS, FILMS

from sweeps.plan.compute import Compute, compute_dict, compute_lines, format_hours, summarize
from sweeps.plan.estimate import estimate_seconds
from sweeps.plan.packing import Pool, dollars_per_trial_hour, makespan, trials_on_node
from sweeps.plan.plan import make_plan
from sweeps.spec.model import Spec, parse_spec

PRICED = {
    "cost.compute": {
        "count": 2,
        "node_types": {"g5.xlarge": {"dollars_per_hour": 1.0, "cpus": 4, "gpus": 1}},
    }
}
SECONDS = 1800.0


def spec_of(**overrides: Any) -> Spec:
    """Four trials of the films on half a GPU and a CPU each."""
    changes = {"resources.gpus": 0.5} | PRICED
    changes |= {key.replace("__", "."): value for key, value in overrides.items()}
    return parse_spec(FILMS, overrides={k: v for k, v in changes.items() if v is not None})


def compute_of(spec: Spec, *, pool: Pool | None = None, dollars: float = 0.0) -> Compute:
    """What is left where one of two seeds of each cell took half an hour."""
    plan = make_plan(spec, FACTS)
    done = [trial for trial in plan.trials if trial.config.seed == 0]
    device = "NVIDIA A10G" if spec.resources.gpus else "cpu"
    rows = [row(trial, SECONDS, SECONDS / 2, device=device) for trial in done]
    left = plan.refreshed([trial.id for trial in done])
    return summarize(
        left, spec, estimate_seconds(left, rows, spec.resources), pool, {"dollars": dollars}
    )


def test_hours_and_dollars_of_what_is_left() -> None:
    """Two trials of half an hour on half a GPU: half a GPU-hour, and of a node as much."""
    compute = compute_of(spec_of(), pool=Pool("2 nodes of g5.xlarge", 4))
    assert (compute.trials, compute.estimated) == (2, 2)
    assert compute.gpu_hours is not None
    assert compute.cpu_hours is not None
    assert compute.dollars is not None
    assert compute.wall_hours is not None
    assert compute.gpu_hours.value == pytest.approx(0.5, rel=0.02)
    assert compute.gpu_hours.low < 0.5 < compute.gpu_hours.high
    assert compute.cpu_hours.value == pytest.approx(2 * compute.gpu_hours.value)
    assert compute.dollars.value == pytest.approx(compute.gpu_hours.value)
    assert compute.wall_hours.value == pytest.approx(0.5, rel=0.02)  # side by side


def test_lines_with_and_without_a_price() -> None:
    """Dollars where there is a price, GPU-hours where trials use one, wall time of a known pool."""
    priced, plain = spec_of(), spec_of(resources__gpus=None, **{"cost.compute": None})
    lines = compute_lines(compute_of(priced, pool=Pool("2 nodes of g5.xlarge", 4)), priced)
    assert lines[0].startswith("compute left: 0.5")
    assert " GPU-hours (0." in lines[0]
    assert " CPU-hours (0." in lines[0]
    assert lines[1].startswith("compute $: $0.5")
    assert lines[1].endswith(") on g5.xlarge")
    assert lines[2].startswith("wall time: 30 min (")
    assert lines[2].endswith("with 4 trials at once on 2 nodes of g5.xlarge")
    assert lines[3:] == ["estimate: 2 trials from 2 runs of the same configuration (NVIDIA A10G)"]
    bare = compute_lines(compute_of(plain), plain)
    assert bare[0].startswith("compute left: 1.0")
    assert "GPU" not in bare[0]
    assert bare[1] == (
        "wall time: unknown, since nobody says how many nodes there are; set cost.compute.count"
    )
    assert not any("$" in line for line in bare)
    assert compute_dict(compute_of(plain))["dollars"] is None  # type: ignore[index]


def test_what_nothing_compares_with_is_counted_apart() -> None:
    """No number is made up for it, and the plan says what measures it."""
    spec = spec_of()
    plan = make_plan(spec, FACTS)
    nothing = summarize(plan, spec, estimate_seconds(plan, [], spec.resources), None)
    [line] = compute_lines(nothing, spec)
    assert line.startswith("compute: no estimate")
    assert "`sweeps plan --calibrate`" in line
    [label, *_] = plan.trials
    rows = [row(label, SECONDS, 900.0, device="GPU")]
    left = plan.refreshed([label.id])
    some = summarize(left, spec, estimate_seconds(left, rows, spec.resources), None)
    lines = compute_lines(some, spec)
    assert lines[0].startswith("compute left: at least ")
    assert any(line.startswith("estimate: 2 of 3 trials compare with no result") for line in lines)
    done = plan.refreshed([trial.id for trial in plan.trials])
    assert compute_lines(
        summarize(done, spec, estimate_seconds(done, [], spec.resources), None), spec
    ) == ["compute: nothing left to run"]


@pytest.mark.parametrize(
    ("limits", "dollars", "expected"),
    [
        ({"gpu_hours": 0.2}, 0.0, ["limits.gpu_hours: 0.20 GPU-hours will not suffice"]),
        ({"gpu_hours": 0.55}, 0.0, ["limits.gpu_hours: 0.55 GPU-hours may not suffice"]),
        ({"gpu_hours": 50}, 0.0, []),
        ({"dollars": 50}, 49.5, ["limits.dollars: $50.00 will not suffice"]),
        ({"cpu_hours": 0.5}, 0.0, ["limits.cpu_hours: 0.50 CPU-hours will not suffice"]),
        ({"trials": 3}, 0.0, ["limits.trials: one run starts 3 trials"]),
        ({"trial_minutes": 29}, 0.0, ["limits.trial_minutes: 2 of 2 trials are expected to take"]),
        ({"trial_minutes": 35}, 0.0, ["limits.trial_minutes: 2 of 2 trials may take"]),
        ({"trial_minutes": 600}, 0.0, []),
    ],
)
def test_limits_that_will_be_reached_are_named(
    limits: dict[str, float], dollars: float, expected: list[str]
) -> None:
    """By expectation, and by the interval; with what earlier results used."""
    spec = spec_of(limits=limits)
    warnings = compute_of(spec, dollars=dollars).warnings
    assert len(warnings) == len(expected)
    for warning, start in zip(warnings, expected, strict=True):
        assert warning.startswith(start)
    if dollars:
        assert "with $49.50 used so far" in warnings[0]


@pytest.mark.parametrize(
    ("cpus", "gpus", "node", "fits"),
    [
        (1, 0.0, (4, 0), 4),
        (3, 0.0, (4, 0), 1),
        (1, 0.5, (4, 1), 2),
        (1, 0.3, (16, 2), 6),  # no trial's share is split over two GPUs
        (4, 0.5, (4, 1), 1),
        (1, 2.0, (64, 5), 2),
        (1, 1.0, (64, 0), 0),
    ],
)
def test_trials_on_a_node(cpus: int, gpus: float, node: tuple[int, int], fits: int) -> None:
    """By CPUs and GPUs, whichever are fewer."""
    assert trials_on_node(cpus, gpus, *node) == fits


def test_a_trial_pays_for_what_it_keeps_from_others() -> None:
    """All CPUs of a node are all of its price, although half of its GPU is idle."""
    assert dollars_per_trial_hour(spec_of()) == 0.5
    assert dollars_per_trial_hour(spec_of(resources__cpus=4)) == 1.0
    assert dollars_per_trial_hour(spec_of(**{"cost.compute": None})) is None


def test_wall_time_is_that_of_the_longest_first() -> None:
    """As long as the best of all orders here, and never below the longest trial or the mean."""
    seconds = [5.0, 4.0, 3.0, 3.0, 1.0]

    def finish(order: tuple[float, ...]) -> float:
        ends = [0.0, 0.0]
        for duration in order:
            ends[ends.index(min(ends))] += duration
        return max(ends)

    assert makespan(seconds, 2) == min(map(finish, itertools.permutations(seconds)))
    assert makespan(seconds, 99) == 5.0
    assert makespan([], 3) == 0.0


@pytest.mark.parametrize(
    ("hours", "text"), [(0.01, "36 s"), (0.5, "30 min"), (3.09, "3 h 05 min"), (30, "30 h 00 min")]
)
def test_durations_for_people(hours: float, text: str) -> None:
    """In the unit that fits."""
    assert format_hours(hours) == text
