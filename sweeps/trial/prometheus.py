"""The worker's metrics: where its trial is, how fast, and what the node cache did for it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from sweeps.trial import telemetry as metrics
from sweeps.trial.telemetry import PULSE, Metric, harmless, ray_runs, record

if TYPE_CHECKING:
    from cluster.node_cache.open import CachedDataset

IMAGES_PER_SECOND = "train.images_per_second"
"""The value of an epoch that becomes `sweeps_trial_images_per_second`."""

Progress = Callable[[int, int, Mapping[str, float]], None]


class TrialTelemetry:
    """Records one attempt while the `with` block runs; does nothing where Ray does not run."""

    def __init__(self, sweep: str, cell: str, trial: str, dataset: str) -> None:
        self._trial = {"sweep": sweep, "cell": cell, "trial": trial}
        self._cache = {"sweep": sweep, "dataset": dataset}
        self._gauges: dict[Metric, float] = {metrics.TRIAL_EPOCH: 0}
        self._fetched = 0
        self._on = ray_runs()

    def __enter__(self) -> TrialTelemetry:
        if self._on:
            with harmless():
                if cuda := _cuda():
                    cuda.reset_peak_memory_stats()  # the worker had other trials before
                PULSE.add(self._beat)
        return self

    def __exit__(self, *error: object) -> None:
        PULSE.remove(self._beat)

    def fetching(self, done: int, total: int) -> None:
        """The dataset is being fetched: bytes so far, and of all shards."""
        if self._on:
            with harmless():
                record(metrics.CACHE_BYTES, done - self._fetched, self._cache)
                self._fetched = done

    def opened(self, cached: CachedDataset) -> None:
        """The dataset is open."""
        if self._on:
            with harmless():
                self.fetching(cached.bytes_fetched, cached.bytes_fetched)
                counter = metrics.CACHE_HITS if cached.hit else metrics.CACHE_MISSES
                record(counter, 1, self._cache)
                record(metrics.CACHE_WAIT_SECONDS, cached.seconds_waited, self._cache)
                record(metrics.CACHE_FETCH_SECONDS, cached.seconds_fetching, self._cache)

    def epoch(self, epoch: int, epochs: int, values: Mapping[str, float]) -> None:
        """An epoch ended; `values` may have `IMAGES_PER_SECOND`."""
        if self._on:
            with harmless():
                record(metrics.EPOCHS, 1, {"sweep": self._trial["sweep"]})
                self._gauges[metrics.TRIAL_EPOCH] = epoch
                self._gauges[metrics.TRIAL_EPOCHS] = epochs
                if IMAGES_PER_SECOND in values:
                    self._gauges[metrics.TRIAL_SPEED] = values[IMAGES_PER_SECOND]

    def telling(self, progress: Progress) -> Progress:
        """Return a function that reports an epoch here and to `progress`."""

        def both(epoch: int, epochs: int, values: Mapping[str, float]) -> None:
            self.epoch(epoch, epochs, values)
            progress(epoch, epochs, values)

        return both

    def _beat(self) -> None:
        if cuda := _cuda():
            self._gauges[metrics.GPU_ALLOCATED] = cuda.max_memory_allocated()
            self._gauges[metrics.GPU_RESERVED] = cuda.max_memory_reserved()
        for metric, value in tuple(self._gauges.items()):
            record(metric, value, self._trial)


def _cuda() -> Any:
    """`torch.cuda` where this process uses it."""
    torch = sys.modules.get("torch")
    return torch.cuda if torch is not None and torch.cuda.is_initialized() else None
