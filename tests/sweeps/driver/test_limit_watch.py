"""Limits of a sweep on a real run: it stops, keeps what finished, and says how to go on."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from ray_here import RayHere
from searching import plan_here, real_text
from tiny_sweeps import fit_and_tell, printed, quiet_console, stage_here, tiny

from cluster.stores.folder import FolderStore
from sweeps.commands.run_end import RunEnd
from sweeps.driver.runner import run_plan
from sweeps.plan.facts import plan_on
from sweeps.plan.spending import format_used, spending_of
from sweeps.results import tables as results
from sweeps.results.tables import checkpointed_ids
from sweeps.spec.model import Spec, parse_spec

pytestmark = pytest.mark.slow


def run(here: RayHere, store: FolderStore, spec: Spec, cache: Path) -> tuple[int, str, list[str]]:
    """Run what is missing: exit status, what was printed, which limit was told."""
    console, end = quiet_console(), RunEnd(spec.name)
    plan = plan_on(spec, store)
    status = run_plan(
        *(spec, plan, store, here.session, cache, console, fit_and_tell),
        on_end=end.note_end,
    )
    used, text = end.summary(spec), printed(console)
    assert f"this run used {format_used('cpu_hours', used['cpu_hours'] or 0)}" in text
    assert (used["dollars"] is None) == (spec.cost.compute is None)
    if used["dollars"]:
        assert f", {format_used('dollars', used['dollars'])}" in text
    return status, text, [end.limit] if end.limit else []


def test_a_number_of_trials_is_a_portion_of_the_sweep(ray_here: RayHere, tmp_path: Path) -> None:
    """Each run starts so many; the last one finishes the sweep as any run does."""
    store, cache = FolderStore(tmp_path / "store"), tmp_path / "cache"
    spec = tiny(limits__trials=3)
    stage_here(store, spec)
    status, text, told = run(ray_here, store, spec, cache)
    assert status == 3
    assert len(plan_on(spec, store).done) == 3
    assert "stopped: 1 trial is not done; limits.trials: this run has started 3 trials" in text
    assert len(told) == 1
    status, text, told = run(ray_here, store, spec, cache)
    assert (status, told) == (0, [])
    assert not plan_on(spec, store).missing


def test_searches_that_are_not_over_are_counted(ray_here: RayHere, tmp_path: Path) -> None:
    """Of their trials some are not even known; nothing is left to run only where they are over."""
    store, cache, console = FolderStore(tmp_path / "store"), tmp_path / "cache", quiet_console()
    spec = parse_spec(f"{real_text()}\nlimits: {{trials: 1}}\n")
    stage_here(store, spec)
    status = run_plan(
        spec, plan_here(store, spec), store, ray_here.session, cache, console, on_end=print
    )
    assert status == 3
    assert re.search(r"stopped: (\d trials? and )?2 searches are not done", printed(console))


@pytest.mark.parametrize(
    ("limit", "unit"),
    [("cpu_hours", "CPU-hours used"), ("dollars", "of $0.0010 used")],
)
def test_a_limit_of_time_or_money_saves_checkpoints(
    ray_here: RayHere, tmp_path: Path, limit: str, unit: str
) -> None:
    """Trials that would run for hours stop at some seconds' worth and continue from there."""
    store, cache = FolderStore(tmp_path / "store"), tmp_path / "cache"
    priced: dict[str, Any] = {
        "cost.compute": {"node": "pc", "node_types": {"pc": {"cpus": 2, "dollars_per_hour": 1.0}}}
    }
    spec = tiny(train__epochs=100_000, **{f"limits__{limit}": 0.001}, **priced)
    stage_here(store, spec)
    status, text, told = run(ray_here, store, spec, cache)
    assert status == 3, text
    assert unit in text
    assert f"raise limits.{limit}" in text
    assert len(told) == 1
    assert 1 <= len(checkpointed_ids(store)) <= 2
    assert len(plan_on(spec, store).missing) == 4
    assert re.search(r"this run used 0\.\d+ CPU-hours, \$0\.\d+, at the price of pc", text)
    before = float(re.search(r"this run used (0\.\d+) CPU-hours", text)[1])  # type: ignore[index]
    again, text, _ = run(ray_here, store, spec, cache)
    assert again == 3, text
    assert "before this run); all results are kept" in text
    used, with_earlier = re.search(  # type: ignore[misc]
        r"this run used (0\.\d+) CPU-hours \((0\.\d+) CPU-hours with earlier runs", text
    ).groups()
    assert float(with_earlier) - float(used) == pytest.approx(before, abs=2e-4)
    assert float(used) < before / 2  # only as long as it took to see that nothing is left


def test_results_tell_what_their_trials_had(ray_here: RayHere, tmp_path: Path) -> None:
    """By which the next run counts them."""
    store = FolderStore(tmp_path / "store")
    spec = tiny(resources__cpus=2, limits__cpu_hours=1.0)
    stage_here(store, spec)
    status, text, _ = run(ray_here, store, spec, tmp_path / "cache")
    assert status == 0, text
    rows = results.read_trials(store, plan_on(spec, store).done).to_pylist()
    assert [(row["cpus"], row["gpus"]) for row in rows] == [(2.0, 0.0)] * 4
    cheaper = tiny(resources__cpus=1, limits__cpu_hours=1.0)
    hours = sum(row["seconds_total"] for row in rows) / 3600
    used = spending_of(cheaper, rows).used(0.0)["cpu_hours"]
    assert used == pytest.approx(2 * hours)
