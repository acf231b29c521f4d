"""What a run tells Prometheus: the list of its metrics, and how they go through Ray.

Ray exports a gauge once for each time it is set, and forgets one that was not set for two of its
export intervals (ten seconds). So a thread of each process sets the gauges of what runs there again
and again, and the series of a finished trial ends by itself. A trial shorter than a beat of that
thread leaves no series at all, so there are never many more series than running trials.

Where Ray does not run nothing is recorded, and a failure to record is logged and harms nobody.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from cluster.jobs.ray_internals import metrics_interval_ms

STATES = ("waiting", "running", "committed", "already_done", "failed", "stopped")
"""States of a trial; `already_done` ones have a result that this run did not commit."""

_log = logging.getLogger("sweeps.trial.telemetry")


@dataclass(frozen=True)
class Metric:
    """One metric; Prometheus has it as `exported`, with tags of Ray's own beside these."""

    name: str
    kind: Literal["gauge", "counter", "histogram"]
    unit: str
    description: str
    tags: tuple[str, ...]
    buckets: tuple[float, ...] = ()

    @property
    def exported(self) -> str:
        """The name in Prometheus; a histogram's series add `_bucket`, `_count` and `_sum`."""
        return f"ray_{self.name}"


_SWEEP, _TRIAL, _CACHE = ("sweep",), ("sweep", "cell", "trial"), ("sweep", "dataset")
_CLASS, _CELL = ("sweep", "failure_class"), ("sweep", "cell")

TRIALS = Metric(
    "sweeps_trials", "gauge", "trials", "Trials of the running sweep by state", ("sweep", "state")
)
ATTEMPTS_LOST = Metric(
    "sweeps_attempts_lost_total",
    "counter",
    "attempts",
    "Attempts that ended with their worker or store; another one follows, or the trial failed",
    _CLASS,
)
FAILURES = Metric(
    "sweeps_failures_total", "counter", "trials", "Trials given up, by class of failure", _CLASS
)
TRIAL_SECONDS = Metric(
    "sweeps_trial_seconds",
    "histogram",
    "seconds",
    "Duration of committed attempts; Ray makes the sum of the buckets' middles",
    _SWEEP,
    (1, 3, 10, 30, 60, 180, 600, 1800, 3600, 3 * 3600, 6 * 3600, 12 * 3600, 24 * 3600),
)
CPU_SECONDS = Metric(
    "sweeps_cpu_seconds_total",
    "counter",
    "CPU seconds",
    "Seconds of ended attempts, lost ones too, times the CPUs of a trial",
    _SWEEP,
)
GPU_SECONDS = Metric(
    "sweeps_gpu_seconds_total",
    "counter",
    "GPU seconds",
    "Seconds of ended attempts, lost ones too, times the GPUs of a trial",
    _SWEEP,
)
DOLLARS = Metric(
    "sweeps_annotation_dollars",
    "gauge",
    "dollars",
    "Annotation cost of the cells that have a result, priced as the report does",
    _SWEEP,
)
SECONDS_LEFT = Metric(
    "sweeps_seconds_left",
    "gauge",
    "seconds",
    "Estimate of the time until the running sweep ends, the one that `sweeps run` shows",
    _SWEEP,
)
CELL_AUROC = Metric(
    "sweeps_cell_robust_auroc",
    "gauge",
    "AUROC",
    "Mean robust AUROC on test over a cell's results, each at its kept epoch; without an interval",
    _CELL,
)
CELL_RESULTS = Metric(
    "sweeps_cell_results", "gauge", "trials", "Results that this mean is of", _CELL
)
EPOCHS = Metric("sweeps_epochs_total", "counter", "epochs", "Epochs trained", _SWEEP)
TRIAL_EPOCH = Metric(
    "sweeps_trial_epoch", "gauge", "epochs", "Epochs that a running trial has trained", _TRIAL
)
TRIAL_EPOCHS = Metric(
    "sweeps_trial_epochs", "gauge", "epochs", "Epochs that a running trial will train", _TRIAL
)
TRIAL_SPEED = Metric(
    "sweeps_trial_images_per_second",
    "gauge",
    "images per second",
    "Training speed of a running trial in its last epoch, without evaluation",
    _TRIAL,
)
GPU_ALLOCATED = Metric(
    "sweeps_trial_gpu_allocated_peak_bytes",
    "gauge",
    "bytes",
    "Most GPU memory that tensors of a running trial took",
    _TRIAL,
)
GPU_RESERVED = Metric(
    "sweeps_trial_gpu_reserved_peak_bytes",
    "gauge",
    "bytes",
    "Most GPU memory that PyTorch held for a running trial",
    _TRIAL,
)
CACHE_HITS = Metric(
    "sweeps_cache_hits_total", "counter", "openings", "Datasets found in a node's cache", _CACHE
)
CACHE_MISSES = Metric(
    "sweeps_cache_misses_total", "counter", "openings", "Datasets fetched to a node", _CACHE
)
CACHE_BYTES = Metric(
    "sweeps_cache_fetched_bytes_total", "counter", "bytes", "Bytes of shards fetched", _CACHE
)
CACHE_FETCH_SECONDS = Metric(
    "sweeps_cache_fetch_seconds_total",
    "counter",
    "seconds",
    "Time of trials that fetched and decoded a dataset",
    _CACHE,
)
CACHE_WAIT_SECONDS = Metric(
    "sweeps_cache_wait_seconds_total",
    "counter",
    "seconds",
    "Time of trials that waited for another one to fetch their dataset",
    _CACHE,
)

METRICS: tuple[Metric, ...] = (
    *(TRIALS, ATTEMPTS_LOST, FAILURES, TRIAL_SECONDS, CPU_SECONDS, GPU_SECONDS, DOLLARS, EPOCHS),
    *(SECONDS_LEFT, CELL_AUROC, CELL_RESULTS),
    *(TRIAL_EPOCH, TRIAL_EPOCHS, TRIAL_SPEED, GPU_ALLOCATED, GPU_RESERVED),
    *(CACHE_HITS, CACHE_MISSES, CACHE_BYTES, CACHE_FETCH_SECONDS, CACHE_WAIT_SECONDS),
)
"""Every metric of a run."""


class Pulse:
    """A thread that calls functions some times in each of Ray's export intervals."""

    def __init__(self) -> None:
        self._beats: set[Callable[[], None]] = set()
        self._lock, self._wake = threading.Lock(), threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, beat: Callable[[], None], *, at_once: bool = False) -> None:
        """Call a function with every beat, and with one at once where asked."""
        with self._lock:
            self._beats.add(beat)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="metrics", daemon=True)
                self._thread.start()
        if at_once:
            self._wake.set()

    def remove(self, beat: Callable[[], None]) -> None:
        """Call it no more."""
        with self._lock:
            self._beats.discard(beat)

    def _run(self) -> None:
        interval_ms = max(metrics_interval_ms(), 1000)  # as Ray's exporter does
        while True:
            self._wake.wait(0.4 * interval_ms / 1000)
            self._wake.clear()
            with self._lock:
                beats = tuple(self._beats)
            for beat in beats:
                with harmless():
                    beat()


PULSE = Pulse()
"""The one of this process."""


def ray_runs() -> bool:
    """Return whether this process is part of a Ray session."""
    ray = sys.modules.get("ray")
    return ray is not None and bool(ray.is_initialized())


@lru_cache
def _handle(metric: Metric) -> Any:
    from ray.util import metrics

    if metric.kind == "histogram":
        return metrics.Histogram(metric.name, metric.description, list(metric.buckets), metric.tags)
    kind = metrics.Gauge if metric.kind == "gauge" else metrics.Counter
    return kind(metric.name, metric.description, metric.tags)


def record(metric: Metric, value: float, tags: dict[str, str]) -> None:
    """Set a gauge, observe a value, or increase a counter by it, where Ray runs."""
    if not ray_runs():
        return
    if metric.kind == "gauge":
        _handle(metric).set(value, tags)
    elif metric.kind == "histogram":
        _handle(metric).observe(value, tags)
    elif value > 0:  # Ray refuses an increase by nothing
        _handle(metric).inc(value, tags)


@contextmanager
def harmless() -> Iterator[None]:
    """Log a failure to record, once a process, and go on: no trial fails for a metric."""
    try:
        yield
    except Exception:  # noqa: BLE001 (whatever it is)
        if not _complained:
            _complained.append(True)
            _log.warning("a metric could not be recorded; told once only", exc_info=True)


_complained: list[bool] = []
