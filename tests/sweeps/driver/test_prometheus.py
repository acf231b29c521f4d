"""What Prometheus sees of a run: real recorders in a real Ray session, read from its endpoint."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from dashboards import GPU_METRICS, names_in, queries
from prometheus_client.parser import text_string_to_metric_families
from ray_here import RayHere
from tiny_sweeps import ROOT, run_here, stage_here, tiny, wait_until

from cluster.datasets.manifest import find_manifest
from cluster.node_cache.open import open_dataset
from cluster.stores.folder import FolderStore
from sweeps.driver.board import Board
from sweeps.driver.prometheus import SweepTelemetry
from sweeps.plan.facts import plan_on
from sweeps.plan.packing import Share
from sweeps.plan.plan import Plan
from sweeps.report.trials import price_trials
from sweeps.results import tables as results
from sweeps.spec.model import Spec
from sweeps.trial.events import Outcome, TaskName, Watchers
from sweeps.trial.prometheus import IMAGES_PER_SECOND, TrialTelemetry
from sweeps.trial.telemetry import METRICS, Metric

SHARE = Share(2, 0.5)

BY_NAME = {metric.name: metric for metric in METRICS}


@pytest.fixture(scope="module", autouse=True)
def often() -> Iterator[None]:
    """Ray exports every second rather than every ten; set before the session starts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_metrics_report_interval_ms", "1000")
        yield


def scraped() -> dict[str, list[Any]]:
    """Samples of the node's endpoint by name, as Prometheus would read them."""
    [node] = ray.nodes()
    url = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:
            text = answer.read().decode()
    except urllib.error.URLError:  # Ray's agent starts after its session
        return {}
    found: dict[str, list[Any]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample)
    return found


def value(name: str, **tags: str) -> float | None:
    """Sum over the series of one of our metrics with some tags; None where there is none."""
    metric = BY_NAME[name.removesuffix("_bucket").removesuffix("_count")]
    samples = [
        sample
        for sample in scraped().get(f"ray_{name}", [])
        if tags.items() <= sample.labels.items()
    ]
    assert all(set(metric.tags) <= set(sample.labels) for sample in samples)
    return sum(sample.value for sample in samples) if samples else None


def becomes(expected: Any, read: Callable[[], Any]) -> None:
    """Wait until Ray's agent says so."""
    last: list[Any] = []

    def same() -> bool:
        last[:] = [read()]
        return bool(last[0] == expected)

    try:
        wait_until(same, 60)
    except AssertionError:
        assert last[0] == expected


@pytest.fixture
def half_done(tmp_path: Path) -> tuple[Spec, Plan, FolderStore]:
    """A sweep of four trials whose plan found two done; by now all have a result."""
    store = FolderStore(tmp_path / "store")
    run_here(store, tiny(axes__seed=[0]), tmp_path / "cache")
    spec = tiny(name=f"s-{uuid.uuid4().hex}", resources__cpus=2, resources__gpus=0.5)
    plan = plan_on(spec, store)
    run_here(store, tiny(), tmp_path / "cache")
    return spec, plan, store


def test_without_ray_nothing_is_recorded_nor_started() -> None:
    """Recording in a process without Ray imports nothing of it and starts no thread."""
    code = """
        import sys, threading
        from sweeps.trial.prometheus import TrialTelemetry
        with TrialTelemetry("sweep", "cell", "trial", "dataset") as shown:
            shown.fetching(1, 2)
            shown.epoch(1, 2, {})
        print(threading.active_count(), "ray" in sys.modules)
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "False"], done.stderr


def test_a_sweep_is_counted_and_priced(
    ray_here: RayHere, half_done: tuple[Spec, Plan, FolderStore]
) -> None:
    """States, losses, failures, durations, compute and dollars are as the watcher was told."""
    spec, plan, store = half_done
    one, two = (TaskName(trial.id, trial.label) for trial in plan.missing)

    def states() -> dict[str, float | None]:
        return {
            state: value("sweeps_trials", sweep=spec.name, state=state)
            for state in ("waiting", "running", "committed", "already_done", "failed", "stopped")
        }

    def of_classes(name: str) -> list[float | None]:
        return [
            value(name, sweep=spec.name, failure_class=failure_class)
            for failure_class in ("infrastructure", "preempted", "numerical")
        ]

    nothing = dict.fromkeys(states(), 0.0)
    board = Board(plan.trials, plan.done, at_once=2)
    with SweepTelemetry(spec, plan, store, board).shown() as shown:
        told = Watchers(board, shown)
        becomes(nothing | {"waiting": 2, "already_done": 2}, states)
        told.on_started(one, SHARE)
        told.on_started(two, SHARE)
        becomes(nothing | {"running": 2, "already_done": 2}, states)
        told.on_retried(one, "infrastructure: the worker process was lost")
        becomes(nothing | {"waiting": 1, "running": 1, "already_done": 2}, states)
        assert value("sweeps_seconds_left", sweep=spec.name) is None
        told.on_started(one, SHARE)
        told.on_ended(one, Outcome(one.trial_id, "committed", 40.0, robust_auroc=0.125), "")
        becomes(True, lambda: (value("sweeps_seconds_left", sweep=spec.name) or 0) > 0)
        told.on_ended(two, None, "preempted: the node went away: for good")
        becomes(nothing | {"committed": 1, "failed": 1, "already_done": 2}, states)
        told.on_started(two, SHARE)
        told.on_ended(two, Outcome(two.trial_id, "failed", 0.0, "numerical", "m"), "m")
        becomes([None, 1, 1], lambda: of_classes("sweeps_failures_total"))
        becomes([1, 1, None], lambda: of_classes("sweeps_attempts_lost_total"))
        frame = results.read_trials(store, [*plan.done, one.trial_id]).to_pandas()
        priced = price_trials(frame, spec.cost.prices, None, spec.cost.axis, "abnormality")
        cells = priced.groupby(["specificity", "budget", "method"])["dollars"].mean()
        assert len(cells) == 2
        becomes(
            pytest.approx(cells.sum()),
            lambda: value("sweeps_annotation_dollars", sweep=spec.name),
        )
        becomes(0.0, lambda: value("sweeps_seconds_left", sweep=spec.name))
        for cell, (mean, count) in expected_scores(store, plan, one.trial_id, 0.125).items():
            tags = {"sweep": spec.name, "cell": cell}
            becomes(pytest.approx(mean), lambda t=tags: value("sweeps_cell_robust_auroc", **t))
            becomes(count, lambda t=tags: value("sweeps_cell_results", **t))
    buckets = [
        value("sweeps_trial_seconds_bucket", sweep=spec.name, le=le) for le in ("30.0", "60.0")
    ]
    assert buckets == [0, 1]
    cpu, gpu = (value(f"sweeps_{kind}_seconds_total", sweep=spec.name) for kind in ("cpu", "gpu"))
    assert cpu is not None
    assert 80 < cpu < 80 + 2 * 30
    assert gpu == pytest.approx(cpu / 4)
    becomes(dict.fromkeys(nothing), states)


def expected_scores(
    store: FolderStore, plan: Plan, new: str, score: float
) -> dict[str, tuple[float, int]]:
    """Mean and number by cell: what was done before, from its rows, and one new result."""
    rows = results.read_trials(store, plan.done).to_pylist()
    found = {row["trial_id"]: row["test_robust_auroc"] for row in rows} | {new: score}
    by_cell: dict[str, list[float]] = {}
    for trial in plan.trials:
        if trial.id in found:
            by_cell.setdefault(trial.label.rpartition("-")[0], []).append(found[trial.id])
    assert sorted(map(len, by_cell.values())) == [1, 2]
    return {cell: (sum(values) / len(values), len(values)) for cell, values in by_cell.items()}


def test_what_has_not_ended_was_stopped(
    ray_here: RayHere, half_done: tuple[Spec, Plan, FolderStore]
) -> None:
    """After the run no trial waits or runs; those without an end count as stopped."""
    spec, plan, store = half_done
    one, two = (TaskName(trial.id, trial.label) for trial in plan.missing)
    board = Board(plan.trials, plan.done, at_once=2)
    with SweepTelemetry(spec, plan, store, board).shown() as shown:
        told = Watchers(board, shown)
        told.on_started(one, SHARE)
        told.on_ended(one, Outcome(one.trial_id, "stopped", 1.0), "")
        told.on_started(two, SHARE)
    counts = {state: count for state, count in shown.counts().items() if count}
    assert counts == {"already_done": 2, "stopped": 2}


@ray.remote(num_cpus=0)
class Worker:
    """A worker's process: opens a dataset and tells epochs, as a trial does."""

    def __init__(self, sweep: str, folder: str) -> None:
        self.sweep, self.store = sweep, FolderStore(Path(folder) / "store")
        self.cache = Path(folder) / "worker-cache"

    def begin(self, trial: str, dataset: str) -> None:
        """Up to the first epoch."""
        self.shown = TrialTelemetry(self.sweep, f"cell-{trial}", trial, dataset)
        self.shown.__enter__()
        manifest = find_manifest(self.store, dataset)
        self.shown.opened(
            open_dataset(self.store, manifest, self.cache, progress=self.shown.fetching)
        )

    def epoch(self, *news: Any) -> list[Any]:
        """One more epoch; returns what was passed on."""
        passed: list[Any] = []
        self.shown.telling(lambda *told: passed.append(told))(*news)
        return passed

    def end(self) -> None:
        """The trial ends; the process stays."""
        self.shown.__exit__()


def test_a_running_trial_is_seen_and_a_finished_one_is_not(
    ray_here: RayHere, tmp_path: Path
) -> None:
    """Epoch and speed of running trials only, in a process that goes on; cache counts add up."""
    store, sweep = FolderStore(tmp_path / "store"), f"w-{uuid.uuid4().hex}"
    stage_here(store, tiny())
    dataset = "gaussian-squares"
    worker = Worker.remote(sweep, str(tmp_path))

    def trial(name: str, trial_id: str) -> float | None:
        return value(name, sweep=sweep, trial=trial_id, cell=f"cell-{trial_id}")

    def gauges(trial_id: str) -> list[float | None]:
        names = ("epoch", "epochs", "images_per_second")
        return [trial(f"sweeps_trial_{name}", trial_id) for name in names]

    def cache(name: str) -> float | None:
        return value(f"sweeps_cache_{name}_total", sweep=sweep, dataset=dataset)

    ray.get(worker.begin.remote("one", dataset))
    becomes([0, None, None], lambda: gauges("one"))
    news = (3, 10, {IMAGES_PER_SECOND: 250.5})
    assert ray.get(worker.epoch.remote(*news)) == [news]
    becomes([3, 10, 250.5], lambda: gauges("one"))
    ray.get(worker.end.remote())
    ray.get(worker.begin.remote("two", dataset))
    ray.get(worker.epoch.remote(1, 10, {}))
    becomes([1, 10, None], lambda: gauges("two"))
    becomes([None] * 3, lambda: gauges("one"))
    manifest = find_manifest(store, dataset)
    fetched = sum(entry.size_bytes for entry in manifest.shards)
    becomes([1, 1, fetched], lambda: [cache(name) for name in ("hits", "misses", "fetched_bytes")])
    assert (cache("fetch_seconds") or 0) > 0
    becomes(2, lambda: value("sweeps_epochs_total", sweep=sweep))


def test_no_metric_fails_a_trial(ray_here: RayHere, caplog: pytest.LogCaptureFixture) -> None:
    """What Ray refuses is logged, once, and the caller goes on."""
    nameless: Any = None
    with TrialTelemetry(nameless, "cell", "trial", "dataset") as shown:
        shown.epoch(1, 2, {})
        shown.epoch(2, 2, {})
    assert caplog.text.count("a metric could not be recorded") == 1
    assert "Tag values must be str" in caplog.text


def test_rays_metrics_on_the_dashboard_exist(ray_here: RayHere) -> None:
    """The endpoint offers every metric of Ray's that a query names; a GPU's need a GPU."""
    ours = {metric.exported for metric in METRICS}
    asked = {name for query in queries() for name in names_in(query)}
    of_ray = {name for name in asked if not any(name.startswith(our) for our in ours)}
    assert len(of_ray - GPU_METRICS) > 5
    wait_until(lambda: of_ray - GPU_METRICS <= scraped().keys(), 60)


def test_metrics_are_well_named() -> None:
    """Names as Prometheus wants them: distinct, `_total` for counters only; each has the sweep."""
    assert len(BY_NAME) == len(METRICS)
    for metric in METRICS:
        assert metric.name.endswith("_total") == (metric.kind == "counter"), metric.name
        assert metric.tags[0] == "sweep"
        assert metric.description
        assert metric.unit
        assert bool(metric.buckets) == (metric.kind == "histogram")
        assert isinstance(metric, Metric)
