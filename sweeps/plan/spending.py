"""What a sweep has used of its limits, running trials included: pure bookkeeping on any clock."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from sweeps.plan.packing import dollars_per_trial_hour
from sweeps.spec.model import Limits, Spec

_HOUR = 3600.0


class Spending:
    """Counts the time of trials against the limits of a sweep.

    `exceeded` says when to stop; `refuses_start` when to start no further trial, while those that
    run go on to their end. Times are seconds of one clock that never goes back.

    Args:
        limits: The limits; `trial_minutes` is each trial's own affair and not read here.
        price: Dollars of an hour of one trial; None where no price is known.
        gpus: GPUs of a trial, may be a fraction.
        cpus: CPUs of a trial.
        before: Hours of the sweep's trials that had a result before this run.
    """

    def __init__(
        self,
        limits: Limits,
        price: float | None,
        gpus: float,
        *,
        cpus: float = 0.0,
        before: float = 0.0,
    ) -> None:
        self.limits, self.before = limits, before
        self._per_hour = {"gpu_hours": gpus, "cpu_hours": cpus, "dollars": price or 0.0}
        self._running: dict[str, float] = {}
        self._ended = 0.0
        self._begun: set[str] = set()

    def started(self, trial_id: str, at: float) -> None:
        """Note the start of an attempt; one of the same trial that was not noted to end ends."""
        self.ended(trial_id, at)
        self._running[trial_id] = at
        self._begun.add(trial_id)

    def ended(self, trial_id: str, at: float) -> None:
        """Note the end of an attempt, however it ended; of a trial that does not run, nothing."""
        began = self._running.pop(trial_id, None)
        if began is not None:
            self._ended += max(0.0, at - began)

    def hours(self, now: float) -> float:
        """Return hours of trials: of results before, attempts that ended and those that run."""
        running = sum(max(0.0, now - began) for began in self._running.values())
        return self.before + (self._ended + running) / _HOUR

    def used(self, now: float) -> Mapping[str, float]:
        """Return what is used by the name of each limit: `gpu_hours`, `cpu_hours`, `dollars`."""
        hours = self.hours(now)
        return {name: hours * per_hour for name, per_hour in self._per_hour.items()}

    def exceeded(self, now: float) -> str | None:
        """Return which limit is reached, by what and what to do; None while the sweep goes on."""
        return self.exceeded_by_time(now) or (None if self._running else self.refuses_start())

    def exceeded_by_time(self, now: float) -> str | None:
        """Return which limit of time or money is reached, by what and what to do, or None."""
        for name, used in self.used(now).items():
            limit = getattr(self.limits, name)
            if limit is not None and used >= limit:
                return self._describe(name, used, limit)
        return None

    def refuses_start(self) -> str | None:
        """Return why no further trial may start in this run, or None; retries do not count."""
        limit = self.limits.trials
        if limit is None or len(self._begun) < limit:
            return None
        return (
            f"limits.trials: this run has started {limit:,} trials, all that it may; run the same "
            "command again for as many more, or raise limits.trials"
        )

    def _describe(self, name: str, used: float, limit: float) -> str:
        shown = _format(name, used, limit)
        earlier = self.before * self._per_hour[name]
        before = f" ({_format(name, earlier)} by earlier results)" if earlier else ""
        return (
            f"limits.{name}: {shown} used{before}; all results are kept and running trials save "
            f"checkpoints: to continue, raise limits.{name} and run the same command"
        )


def _format(name: str, used: float, limit: float | None = None) -> str:
    """Format what is used, such as `501.2 of 500 GPU-hours` or `$12.10 of $12.00`."""
    digits = 2 if used >= 0.1 else 4
    if name == "dollars":
        return f"${used:,.{digits}f}" + ("" if limit is None else f" of ${limit:,.{digits}f}")
    unit = {"gpu_hours": "GPU-hours", "cpu_hours": "CPU-hours"}[name]
    return f"{used:,.{digits}f}" + ("" if limit is None else f" of {limit:,g}") + f" {unit}"


def spending_of(spec: Spec, own_rows: Iterable[Mapping[str, Any]]) -> Spending:
    """Return the bookkeeping of a run that begins.

    The results of the sweep's own trials count, whichever sweep or user ran them; those from
    another kind of device do not, since they used none of what is limited.

    Args:
        spec: The sweep.
        own_rows: Rows of the table of trials, of all of the sweep's trials that have a result, with
            `device` and `seconds_total`.
    """
    resources, price = spec.resources, dollars_per_trial_hour(spec)
    return Spending(
        spec.limits,
        price,
        resources.gpus,
        cpus=resources.cpus,
        before=used_hours(own_rows, on_gpu=resources.gpus > 0),
    )


def used_hours(own_rows: Iterable[Mapping[str, Any]], *, on_gpu: bool) -> float:
    """Return the hours of results that ran on a GPU, or of those that did not."""
    seconds = [row["seconds_total"] for row in own_rows if (row["device"] != "cpu") == on_gpu]
    return math.fsum(seconds) / _HOUR


def reads_results(limits: Limits) -> bool:
    """Return whether a limit counts what earlier results have used."""
    return any(value is not None for value in (limits.gpu_hours, limits.cpu_hours, limits.dollars))
