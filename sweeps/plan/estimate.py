"""Seconds of trials that have not run, from trials that have, with an interval.

Estimates are made from the nearest trials that are timed: the same configuration with other seeds;
else the same method, model and speed of training, scaled by the images that go through the model;
else the same model under other methods, scaled likewise. Where nothing compares there is none.
Errors are of logarithms. How far they scatter is learnt from the trials and from an assumption
that counts as `_PRIOR_DF` of them, so that one trial has an interval, too. For trials of one
configuration the assumption is what all configurations that were repeated show.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from spurious.config.options import FitConfig
from sweeps.plan.intervals import Span, span_around
from sweeps.plan.plan import DatasetFacts, Plan, Trial
from sweeps.plan.rates import Rates, fit_rates
from sweeps.plan.timed import Kind, TimedTrial, read_timed, trial_kind
from sweeps.plan.work import Work, work_of
from sweeps.spec.model import Resources

_PRIOR_DF = 4
_COMMON = 0.1
"""Assumed standard deviation of the logarithm of a sum: other load on the machines, other ones."""


@dataclass(frozen=True)
class Level:
    """How near timed trials are to those that are estimated.

    Attributes:
        words: What they have in common, for people.
        spread: Assumed standard deviation of the logarithm of seconds.
        per_distance: Further uncertainty for each factor of e between the work of both.
    """

    words: str
    spread: float
    per_distance: float


TWIN = Level("the same configuration", 0.15, 0.0)
RECIPE = Level("the same method and model, scaled by images", 0.2, 0.1)
CALIBRATED = Level("a calibration of the same method and model, scaled by images", 0.25, 0.0)
MODEL = Level("the same model, differently trained, scaled by images and passes", 0.5, 0.1)
CALIBRATED_MODEL = Level("a calibration of the same model, differently trained", 0.4, 0.0)
LEVELS = (TWIN, RECIPE, CALIBRATED, MODEL, CALIBRATED_MODEL)
"""The nearest first."""


@dataclass(frozen=True)
class Source:
    """What estimates rest on.

    Attributes:
        level: How near it is.
        timed: Trials that were read for it.
        devices: Where they ran.
    """

    level: Level
    timed: int
    devices: tuple[str, ...]


@dataclass(frozen=True)
class Estimate:
    """Seconds of one trial.

    Attributes:
        seconds: Expected seconds; the interval is that of this one trial.
        source: What it rests on.
        unshared: Standard deviation of the logarithm that is not shared.
        shared: That of all trials that rest on the same timed ones.
        df: Degrees of freedom of both.
        group: Names the timed trials that it rests on.
        twin: Trials of one name err alike where the estimate is scaled from others.
    """

    seconds: Span
    source: Source
    unshared: float
    shared: float
    df: int
    group: str
    twin: str


@dataclass(frozen=True)
class Estimates:
    """Seconds of a plan's missing trials.

    Attributes:
        trials: By id; those that nothing compares with are left out.
        relative: Of every missing trial by id a number that orders them by expected time: seconds
            where they are known, else its work, on the same scale.
    """

    trials: Mapping[str, Estimate]
    relative: Mapping[str, float]

    def total(self) -> Span | None:
        """Return the sum over the trials that have an estimate; None where none has.

        What a group shares is wrong for all of it alike, and what scales to a configuration is
        wrong for all of its seeds; machines are slower or faster for all; the rest is independent.
        """
        if not self.trials:
            return None
        total = math.fsum(estimate.seconds.value for estimate in self.trials.values())
        parts: dict[object, float] = {}
        widest: tuple[float, int] = (-1.0, _PRIOR_DF)
        for trial_id, estimate in self.trials.items():
            value, is_twin = estimate.seconds.value, estimate.source.level is TWIN
            alike = (estimate.group, trial_id if is_twin else estimate.twin)
            for name, deviation in ((alike, estimate.unshared), (estimate.group, estimate.shared)):
                parts[name] = parts.get(name, 0.0) + value * deviation
                widest = max(widest, (parts[name], estimate.df))
        independent = math.sqrt(math.fsum(part**2 for part in parts.values())) / total
        deviation = math.hypot(independent, _COMMON)
        return span_around(total, deviation, widest[1])

    def sources(self) -> list[tuple[Source, int]]:
        """Return what the estimates rest on and of how many trials, by level."""
        counted: dict[Level, tuple[Source, int]] = {}
        seen: dict[str, Source] = {}
        for estimate in self.trials.values():
            level = estimate.source.level
            known, trials = counted.get(level, (Source(level, 0, ()), 0))
            if estimate.group not in seen:
                seen[estimate.group] = estimate.source
                devices = tuple(sorted({*known.devices, *estimate.source.devices}))
                known = Source(level, known.timed + estimate.source.timed, devices)
            counted[level] = known, trials + 1
        return [counted[level] for level in LEVELS if level in counted]


def estimate_seconds(
    plan: Plan,
    committed_rows: Iterable[Mapping[str, Any]],
    resources: Resources,
    calibrated: Sequence[TimedTrial] = (),
) -> Estimates:
    """Estimate the seconds of a plan's missing trials.

    Args:
        plan: The plan.
        committed_rows: Rows of the table of trials, of any sweep, with `timed.COLUMNS`.
        resources: What a trial gets.
        calibrated: Short calibrations.
    """
    timed = [*read_timed(committed_rows, plan.facts, resources), *calibrated]
    estimator = _Estimator(timed, plan.facts)
    work = work_of(plan.to_run, plan.facts)
    estimates = {
        trial.id: estimate
        for trial in plan.to_run
        if (estimate := estimator.estimate(trial, work[trial.id])) is not None
    }
    return Estimates(estimates, _order(work, estimates))


def _order(work: Mapping[str, Work], estimates: Mapping[str, Estimate]) -> dict[str, float]:
    known = sum(work[trial_id].relative for trial_id in estimates)
    seconds = sum(estimate.seconds.value for estimate in estimates.values())
    scale = seconds / known if known else 1.0
    return {
        trial_id: estimates[trial_id].seconds.value
        if trial_id in estimates
        else of.relative * scale
        for trial_id, of in work.items()
    }


class _Estimator:
    """Finds the nearest timed trials; each fit is made once."""

    def __init__(self, timed: Sequence[TimedTrial], facts: DatasetFacts | None) -> None:
        self.facts = facts
        self.timed: dict[str, list[TimedTrial]] = {}
        for of in timed:
            for group in _groups_of(of.kind, is_calibration=of.is_calibration).values():
                self.timed.setdefault(group, []).append(of)
        self.fits: dict[str, _Fit] = {}
        self.known: dict[FitConfig, Estimate | None] = {}
        twins = [of for name, of in self.timed.items() if name.startswith(TWIN.words)]
        self.noise = _pool_noise(twins)

    def estimate(self, trial: Trial, work: Work) -> Estimate | None:
        """Estimate one trial, as all others of its configuration; None where nothing compares."""
        config = replace(trial.config, seed=0)
        if config not in self.known:
            self.known[config] = self._estimate(trial_kind(trial, self.facts), work)
        return self.known[config]

    def _estimate(self, kind: Kind, work: Work) -> Estimate | None:
        committed = _groups_of(kind, is_calibration=False)
        groups = {**committed, **_groups_of(kind, is_calibration=True)}
        for level in LEVELS:
            group = groups[level]
            if group in self.timed:
                if group not in self.fits:
                    prior = self.noise if level is TWIN else level.spread
                    self.fits[group] = _fit(self.timed[group], level, prior)
                return _estimate(self.fits[group], work, group, kind.twin)
        return None


def _groups_of(kind: Kind, *, is_calibration: bool) -> dict[Level, str]:
    """Return the names of the groups of timed trials that a kind belongs to."""
    if is_calibration:
        levels = {CALIBRATED: kind.recipe, CALIBRATED_MODEL: kind.model}
    else:
        levels = {TWIN: kind.twin, RECIPE: kind.recipe, MODEL: kind.model}
    return {level: f"{level.words}: {text}" for level, text in levels.items()}


@dataclass(frozen=True)
class _Fit:
    """What timed trials of a level say: rates, or for twins their mean, and their scatter."""

    source: Source
    rates: Rates | None
    mean: float
    spread: float
    df: int
    independent: int
    work: tuple[float, ...]


def _pool_noise(twins: Iterable[Sequence[TimedTrial]]) -> float:
    """Return the standard deviation of runs of one configuration, over all that were repeated."""
    squares, df = _PRIOR_DF * TWIN.spread**2, _PRIOR_DF
    for timed in twins:
        logs = [math.log(of.seconds) for of in timed]
        mean = math.fsum(logs) / len(logs)
        squares += math.fsum((value - mean) ** 2 for value in logs)
        df += len(logs) - 1
    return math.sqrt(squares / df)


def _fit(timed: Sequence[TimedTrial], level: Level, prior: float) -> _Fit:
    """Fit timed trials, at least one; `prior` is the standard deviation that is assumed."""
    devices = tuple(sorted({of.device for of in timed}))
    source = Source(level, len(timed), devices)
    if level is TWIN:
        logs = [math.log(of.seconds) for of in timed]
        mean = math.fsum(logs) / len(logs)
        errors, parameters, rates = [value - mean for value in logs], 1, None
        independent = len(timed)
    else:
        rates = fit_rates(timed)
        errors = [math.log(of.seconds / rates.seconds(of.work)) for of in timed]
        mean = math.fsum(errors) / len(errors)  # least squares of relative errors lean to the short
        errors = [error - mean for error in errors]
        parameters = sum(rate > 0 for rate in (rates.overhead, rates.trained, rates.evaluated))
        # trials that differ in the seed alone err alike, and methods do, too
        distinct = {of.method if level is MODEL else of.kind.twin for of in timed}
        independent = max(1, len(distinct) - parameters + 1)
    df = _PRIOR_DF + max(0, len(timed) - parameters)
    squares = math.fsum(error**2 for error in errors)
    spread = math.sqrt((_PRIOR_DF * prior**2 + squares) / df)
    relative = tuple({of.work.relative for of in timed})
    return _Fit(source, rates, mean, spread, df, independent, relative)


def _estimate(fit: _Fit, work: Work, group: str, twin: str) -> Estimate:
    level = fit.source.level
    seconds = fit.mean if fit.rates is None else fit.mean + math.log(fit.rates.seconds(work))
    far = min(_distance(work.relative, known) for known in fit.work) if level.per_distance else 0.0
    unshared, shared = fit.spread, fit.spread / math.sqrt(fit.independent)
    if level is MODEL:  # another method errs in a way of its own
        shared = math.hypot(shared, level.spread)
    elif level in (CALIBRATED, CALIBRATED_MODEL):  # the same for all that it stands for
        unshared, shared = TWIN.spread, max(fit.spread, level.spread)
    shared = math.hypot(shared, level.per_distance * far)
    span = span_around(math.exp(seconds), math.hypot(unshared, shared), fit.df)
    span = replace(span, value=span.value * math.exp(unshared**2 / 2))  # of the log-normal's mean
    return Estimate(span, fit.source, unshared, shared, fit.df, group, twin)


def _distance(a: float, b: float) -> float:
    return abs(math.log(a / b)) if a > 0 and b > 0 else 1.0
