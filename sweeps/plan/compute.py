"""What a plan's missing trials cost in hours and dollars of compute, for people and programs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from cluster.common.wording import count_of, is_or_are
from sweeps.plan.estimate import Estimates, Source
from sweeps.plan.intervals import Span
from sweeps.plan.packing import Pool, default_share, hourly, makespan
from sweeps.plan.plan import Plan
from sweeps.spec.model import Spec

_HOUR = 3600.0
_WORDS = {"gpu_hours": "GPU-hours", "cpu_hours": "CPU-hours"}


@dataclass(frozen=True)
class Compute:
    """What is left to compute, as far as it can be estimated.

    Attributes:
        trials: Trials to run.
        estimated: Those of them with an estimate, which all numbers are of.
        gpu_hours: Hours of GPUs; None where trials use none.
        cpu_hours: Hours of CPU cores.
        dollars: Dollars of compute; None where the spec has no price.
        wall_hours: Hours from the start to the end; None where the pool is not known.
        pool: Where they run; None where it is not known.
        sources: What the estimates rest on, and of how many trials.
        used: What was used before by the name of a limit, of limits that count them.
        warnings: Limits that will be reached, a sentence each.
    """

    trials: int
    estimated: int
    gpu_hours: Span | None
    cpu_hours: Span | None
    dollars: Span | None
    wall_hours: Span | None
    pool: Pool | None
    sources: tuple[tuple[Source, int], ...]
    used: dict[str, float]
    warnings: tuple[str, ...]


def summarize(
    plan: Plan,
    spec: Spec,
    estimates: Estimates,
    pool: Pool | None,
    used: Mapping[str, float] = MappingProxyType({}),
) -> Compute:
    """Sum up the estimates of a plan.

    Args:
        plan: The plan.
        spec: Its spec: resources, prices and limits.
        estimates: Of its missing trials.
        pool: Where they run, if known.
        used: What the sweep's trials that have a result used, by the name of a limit.
    """
    total, per_hour = estimates.total(), hourly(spec, default_share(spec.resources))
    hours = None if total is None else total.times(1 / _HOUR)
    left = {
        name: None if hours is None or not each else hours.times(each)
        for name, each in per_hour.items()
    }
    used = {name: used.get(name, 0.0) for name in per_hour if getattr(spec.limits, name)}
    return Compute(
        trials=len(plan.to_run),
        estimated=len(estimates.trials),
        gpu_hours=left["gpu_hours"],
        cpu_hours=left["cpu_hours"],
        dollars=left["dollars"],
        wall_hours=_wall_hours(estimates, total, pool),
        pool=pool,
        sources=tuple(estimates.sources()),
        used=used,
        warnings=(*_warn_of_totals(spec, left, used), *_warn_of_trials(plan, spec, estimates)),
    )


def _wall_hours(estimates: Estimates, total: Span | None, pool: Pool | None) -> Span | None:
    """Return the wall time; its interval is in proportion that of the sum."""
    if total is None or pool is None or not pool.at_once:
        return None
    wall = makespan((of.seconds.value for of in estimates.trials.values()), pool.at_once)
    return total.times(wall / total.value / _HOUR)


def _warn_of_totals(
    spec: Spec, left: dict[str, Span | None], used: dict[str, float]
) -> Iterator[str]:
    for name, earlier in used.items():
        span, limit = left[name], getattr(spec.limits, name)
        if span is None:
            continue
        whole = span.plus(earlier)
        if whole.high > limit:
            expected = "will" if whole.value > limit else "may"
            by_then = f" with {_plain(name, earlier)} used so far" if earlier else ""
            yield (
                f"limits.{name}: {_plain(name, limit)} {expected} not suffice: "
                f"{_interval(name, span)} are expected{by_then}; the sweep then stops, and keeps "
                "its results"
            )
    limit = spec.limits.trials
    if limit is not None:
        yield f"limits.trials: one run starts {count_of(limit, 'trial')}; run again for the others"


def _warn_of_trials(plan: Plan, spec: Spec, estimates: Estimates) -> Iterator[str]:
    """Yield that trials will, or may, take longer than one is given."""
    minutes = spec.limits.trial_minutes
    if minutes is None:
        return
    known = {
        trial: estimates.trials[trial.id].seconds.times(1 / 60.0)
        for trial in plan.to_run
        if trial.id in estimates.trials
    }
    longer = [trial for trial, span in known.items() if span.value > minutes]
    perhaps = [trial for trial, span in known.items() if span.high > minutes]
    if perhaps:
        longest = max(perhaps, key=lambda trial: known[trial].value)
        span = known[longest]
        of = count_of(len(known), "trial")
        expected = f"{len(longer)} of {of} {is_or_are(len(longer))} expected to take"
        would = expected if longer else f"{len(perhaps)} of {of} may take"
        yield (
            f"limits.trial_minutes: {would} longer than {count_of(minutes, 'minute')} and to be "
            f"ended then: {longest.label} takes {span.value:.1f} ({span.low:.1f} to "
            f"{span.high:.1f}); raise it"
        )


def compute_lines(compute: Compute, spec: Spec) -> list[str]:
    """Return what is left to compute for people."""
    if not compute.trials:
        return ["compute: nothing left to run"]
    if not compute.estimated:
        return [
            "compute: no estimate, since no result in the store compares with these trials; "
            "`sweeps plan --calibrate` measures them in a minute a kind",
            *(f"warning: {text}" for text in compute.warnings),
        ]
    left = {"gpu_hours": compute.gpu_hours, "cpu_hours": compute.cpu_hours}
    parts = [_interval(name, span) for name, span in left.items() if span is not None]
    at_least = compute.estimated < compute.trials
    lines = [f"compute left: {'at least ' if at_least else ''}{', '.join(parts)}"]
    if compute.dollars is not None and spec.cost.compute is not None:
        lines.append(
            f"compute $: {_interval('dollars', compute.dollars)} on {spec.cost.compute.node}"
        )
    if compute.wall_hours is not None and compute.pool is not None:
        wall = compute.wall_hours
        lines.append(
            f"wall time: {format_hours(wall.value)} ({format_hours(wall.low)} to "
            f"{format_hours(wall.high)}) with {count_of(compute.pool.at_once, 'trial')} at once on "
            f"{compute.pool.words}"
        )
    else:
        lines.append(f"wall time: unknown, since {_why_no_pool(compute)}")
    lines += [f"estimate: {_describe_source(source, trials)}" for source, trials in compute.sources]
    if at_least:
        left_out = compute.trials - compute.estimated
        lines.append(
            f"estimate: {left_out} of {count_of(compute.trials, 'trial')} "
            f"{'compares' if left_out == 1 else 'compare'} with no result and "
            f"{is_or_are(left_out)} left out; `sweeps plan --calibrate` measures them"
        )
    return lines + [f"warning: {text}" for text in compute.warnings]


def _why_no_pool(compute: Compute) -> str:
    if compute.pool is not None:
        return f"no trial fits onto {compute.pool.words}"
    return "nobody says how many nodes there are; set cost.compute.count"


def _describe_source(source: Source, trials: int) -> str:
    of, from_ = count_of(trials, "trial"), count_of(source.timed, "run")
    return f"{of} from {from_} of {source.level.words} ({', '.join(source.devices)})"


def _interval(name: str, span: Span) -> str:
    """Format an estimate with its interval, such as `1.20 GPU-hours (0.90 to 1.60)`."""
    low, high = (_number(name, value) for value in (span.low, span.high))
    return f"{_plain(name, span.value)} ({low} to {high})"


def _plain(name: str, value: float) -> str:
    number = _number(name, value)
    return number if name == "dollars" else f"{number} {_WORDS[name]}"


def _number(name: str, value: float) -> str:
    digits = 2 if value >= 0.1 else 4
    return f"{'$' if name == 'dollars' else ''}{value:,.{digits}f}"


def format_hours(hours: float) -> str:
    """Format a duration, such as `42 s`, `12 min` or `3 h 05 min`."""
    seconds = hours * _HOUR
    if seconds < 90:
        return f"{seconds:.0f} s"
    whole, minutes = divmod(round(seconds / 60), 60)
    return f"{whole} h {minutes:02} min" if whole else f"{minutes} min"


def compute_dict(compute: Compute | None) -> dict[str, Any] | None:
    """Return what is left to compute as plain JSON values; an interval is of 95 %."""
    if compute is None:
        return None
    pool = compute.pool
    spans = ("gpu_hours", "cpu_hours", "dollars", "wall_hours")
    return {
        "trials": compute.trials,
        "estimated": compute.estimated,
        **{name: _span_dict(getattr(compute, name)) for name in spans},
        "at_once": None if pool is None else pool.at_once,
        "used": dict(compute.used),
        "sources": [
            {
                "level": source.level.words,
                "trials": trials,
                "runs": source.timed,
                "devices": list(source.devices),
            }
            for source, trials in compute.sources
        ],
        "warnings": list(compute.warnings),
    }


def _span_dict(span: Span | None) -> dict[str, float] | None:
    return None if span is None else {"value": span.value, "low": span.low, "high": span.high}
