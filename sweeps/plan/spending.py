"""What a sweep has used of its limits, running trials included: pure bookkeeping on any clock."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from cluster.common.wording import count_of
from sweeps.plan.packing import Share, default_share, hourly
from sweeps.plan.used import Used
from sweeps.spec.model import Limits, Spec

_HOUR = 3600.0
_NOTHING: Mapping[str, float] = MappingProxyType({})
_NO_ATTEMPT: Used = MappingProxyType({})


class Spending:
    """Counts what trials use against the limits of a sweep, each by the share that it has.

    `exceeded` says when to stop; `refuses_start` when to start no further trial, while those that
    run go on to their end. Times are seconds of one clock that never goes back.

    Args:
        spec: The sweep: its limits, the price of a node, and what a trial asks for.
        before: What the sweep's trials used before this run, by the name of each limit, see
            `used_before`.
    """

    def __init__(self, spec: Spec, before: Mapping[str, float] = _NOTHING) -> None:
        self.spec, self.limits, self.default_share = (
            spec,
            spec.limits,
            default_share(spec.resources),
        )
        self.before = dict.fromkeys(hourly(spec, self.default_share), 0.0) | dict(before)
        self._running: dict[str, tuple[float, Share]] = {}
        self._ended = dict.fromkeys(self.before, 0.0)
        self._begun: set[str] = set()

    def started(self, trial_id: str, at: float, share: Share | None = None) -> None:
        """Note the start of an attempt; one of the same trial that was not noted to end ends.

        Args:
            trial_id: The trial.
            at: When.
            share: What the attempt has; None for what the spec asks for.
        """
        self.ended(trial_id, at)
        self._running[trial_id] = at, share or self.default_share
        self._begun.add(trial_id)

    def ended(self, trial_id: str, at: float) -> None:
        """Note the end of an attempt, however it ended; of a trial that does not run, nothing."""
        if trial_id in self._running:
            self._add(self._ended, at, *self._running.pop(trial_id))

    def used_by_run(self, now: float) -> dict[str, float]:
        """Return what this run's attempts used, ended or not, by the name of each limit."""
        used = dict(self._ended)
        for began, share in tuple(self._running.values()):  # a thread that draws asks, too
            self._add(used, now, began, share)
        return used

    def used(self, now: float) -> dict[str, float]:
        """Return what is used by the name of each limit, before this run, too."""
        return {name: self.before[name] + used for name, used in self.used_by_run(now).items()}

    def dollars_per_hour(self, share: Share | None = None) -> float:
        """Return the dollars of an hour of a trial with a share; 0 without a price."""
        return hourly(self.spec, share or self.default_share)["dollars"]

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
            f"limits.trials: this run has started {count_of(limit, 'trial')}, all that it may; run "
            "the same command again for as many more, or raise limits.trials"
        )

    def _add(self, used: dict[str, float], now: float, began: float, share: Share) -> None:
        hours = max(0.0, now - began) / _HOUR
        for name, per_hour in hourly(self.spec, share).items():
            used[name] += hours * per_hour

    def _describe(self, name: str, used: float, limit: float) -> str:
        shown = format_used(name, used, limit)
        earlier = self.before[name]
        before = f" ({format_used(name, earlier)} before this run)" if earlier else ""
        return (
            f"limits.{name}: {shown} used{before}; all results are kept and running trials save "
            f"checkpoints: to continue, raise limits.{name} and run the same command"
        )


def format_used(name: str, used: float, limit: float | None = None) -> str:
    """Format what is used, such as `501.2 of 500 GPU-hours` or `$12.10 of $12.00`."""
    digits = 2 if used >= 0.1 else 4
    if name == "dollars":
        return f"${used:,.{digits}f}" + ("" if limit is None else f" of ${limit:,.{digits}f}")
    unit = {"gpu_hours": "GPU-hours", "cpu_hours": "CPU-hours"}[name]
    return f"{used:,.{digits}f}" + ("" if limit is None else f" of {limit:,g}") + f" {unit}"


def spending_of(
    spec: Spec, own_rows: Iterable[Mapping[str, Any]], attempts: Used = _NO_ATTEMPT
) -> Spending:
    """Return the bookkeeping of a run that begins.

    Args:
        spec: The sweep.
        own_rows, attempts: See `used_before`.
    """
    is_read = reads_results(spec.limits)
    return Spending(spec, used_before(spec, own_rows, attempts) if is_read else {})


def used_before(
    spec: Spec, own_rows: Iterable[Mapping[str, Any]], attempts: Used = _NO_ATTEMPT
) -> dict[str, float]:
    """Return what a sweep's trials used before this run, by the name of each limit.

    Results count whichever sweep or user ran them; those from another kind of device do not, since
    they used none of what is limited. A result from before schema version 6 does not say what its
    trial had: that is what the spec asks for. Of attempts counts what the result of their trial,
    where it has one, does not tell.

    Args:
        spec: The sweep.
        own_rows: Rows of the table of trials, of all of the sweep's trials that have a result, with
            `trial_id`, `device`, `seconds_total`, `cpus` and `gpus`.
        attempts: What earlier runs of the sweep recorded.
    """
    default = default_share(spec.resources)
    used = dict.fromkeys(hourly(spec, default), 0.0)
    known: dict[str, float] = {}
    for row in own_rows:
        known[row["trial_id"]] = row["seconds_total"]
        if (row["device"] != "cpu") != (default.gpus > 0):
            continue
        for name, per_hour in hourly(spec, _share_of(row, default)).items():
            used[name] += row["seconds_total"] / _HOUR * per_hour
    for trial_id, each in attempts.items():
        seconds = sum(taken.seconds for taken in each)
        part = max(0.0, 1 - known.get(trial_id, 0.0) / seconds) if seconds > 0 else 0.0
        for taken in each:
            if (taken.share.gpus > 0) != (default.gpus > 0):
                continue
            for name, per_hour in hourly(spec, taken.share).items():
                used[name] += part * taken.seconds / _HOUR * per_hour
    return used


def compute_dollars(spec: Spec, rows: Iterable[Mapping[str, Any]]) -> dict[str, float] | None:
    """Return the dollars of compute of trials with a result, by id; None without a price.

    Args:
        spec: The sweep: the price of a node, and what a trial asks for.
        rows: Rows of the table of trials, see `used_before`.
    """
    if spec.cost.compute is None:
        return None
    default = default_share(spec.resources)
    return {
        row["trial_id"]: row["seconds_total"]
        / _HOUR
        * hourly(spec, _share_of(row, default))["dollars"]
        for row in rows
    }


def _share_of(row: Mapping[str, Any], default: Share) -> Share:
    """Return what a result's trial had; results of earlier versions do not say it."""
    cpus, gpus = row.get("cpus"), row.get("gpus")
    if cpus is None or gpus is None or math.isnan(cpus + gpus):
        return default
    return Share(cpus, gpus)


def reads_results(limits: Limits) -> bool:
    """Return whether a limit counts what was used before a run."""
    return any(value is not None for value in (limits.gpu_hours, limits.cpu_hours, limits.dollars))
