"""AUROCs, intervals, orders and draws by their definitions, pair by pair: slow, plain, its own.

What the package computes by ranks and inner products stands here as matrices of pairs and sums.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import stats

Array = np.ndarray[Any, Any]
MOST_SEEDS = 30


@dataclass(frozen=True, eq=False)
class Read:
    """Scores of one model on the images of one comparison, in the order of their ids."""

    names: tuple[str, ...]
    labels: Array
    scores: Array
    patients: Array

    @property
    def pairs(self) -> Array:
        """(m, n): whether an abnormal image is above a normal one, one half where equal."""
        above = self.scores[self.labels == 1][:, None] - self.scores[self.labels == 0][None]
        return (above > 0) + 0.5 * (above == 0)

    @property
    def auroc(self) -> float:
        """Share of pairs in the right order; NaN without any."""
        return float(self.pairs.mean()) if self.pairs.size else math.nan

    @property
    def images(self) -> tuple[Any, ...]:
        """What two readings share where they compare."""
        return self.names, tuple(self.labels.tolist())

    @property
    def cases(self) -> int:
        """Patients with an image of the rarer class."""
        return min(len(set(self.patients[self.labels == y])) for y in (0, 1))


def clustered_covariance(one: Read, other: Read) -> float:
    """Covariance of two AUROCs on the same images with patients as what varies
    (Obuchowski 1997).
    """
    patients = sorted(set(one.patients))
    of = [one.patients[one.labels == y] for y in (1, 0)]
    sums = []
    for read in (one, other):
        a = read.auroc
        v10, v01 = read.pairs.mean(1) - a, read.pairs.mean(0) - a
        sums.append(
            [
                np.array([v[of_v == p].sum() for p in patients]) / len(v)
                for v, of_v in ((v10, of[0]), (v01, of[1]))
            ]
        )
    i10, i01, i = len(set(of[0])), len(set(of[1])), len(patients)
    (p, q), (r, s) = sums

    def scale(count: int) -> float:
        return count / max(count - 1, 1)

    first, second = scale(i10) * (p @ r), scale(i01) * (q @ s)
    return float(first + second + scale(i) * (p @ s + q @ r))


@dataclass(frozen=True)
class Limits:
    """A mean with its interval."""

    seeds: tuple[float, ...]
    mean: float
    kind: str = "none"
    low: float = math.nan
    high: float = math.nan
    se: float = math.nan
    df: float = math.nan
    reason: str = ""
    cases: int = 0
    count: int = 0

    @property
    def width(self) -> float:
        """Upper minus lower limit."""
        return self.high - self.low


def covariances(reads: Sequence[Read]) -> Array:
    """(S, S) covariances of the seeds' AUROCs over images."""
    size = range(len(reads))
    return np.array([[clustered_covariance(reads[s], reads[t]) for t in size] for s in size])


def _off(c: Array) -> float:
    n = len(c)
    return float((c.sum() - np.trace(c)) / (n * (n - 1)))


def _reason(seeds: Array, reads: Sequence[Read | None]) -> str:
    known = [read for read in reads if read is not None]
    same = len(known) == len(reads) and len({read.images for read in known}) == 1
    if len(seeds) < 3:
        return "fewer than 3 seeds"
    if not same:
        if len(known) == len(reads):
            return "seeds were scored on different images"
        return "no stored predictions at the epoch that counts"
    if known[0].cases < 10:
        return "fewer than 10 images of a class"
    gap = float(np.diff(np.sort(seeds)).max())
    return f"seeds fall apart into groups that are {gap:.2f} away from each other" * (gap > 0.5)


def of_cell(values: Mapping[int, float], reads: Mapping[int, Read | None]) -> Limits:
    """Interval of a mean for new seeds and new patients."""
    seeds = np.array(list(values.values()))
    of = [reads[seed] for seed in values]
    mean = float(seeds.mean()) if len(seeds) else math.nan
    first = next((read for read in of if read is not None), None)
    cases = min((read.cases for read in of if read is not None), default=0)
    plain: dict[str, Any] = {"cases": cases, "count": 0 if first is None else len(first.labels)}
    if reason := _reason(seeds, of):
        return Limits(tuple(seeds), mean, reason=reason, **plain)
    if set(seeds) in ({0.0}, {1.0}):
        slack = 1 - 0.05 ** (1 / cases)
        low, high = (1 - slack, 1.0) if mean == 1 else (0.0, slack)
        kind = "at least" if mean == 1 else "at most"
        return Limits(tuple(seeds), mean, kind, low, high, **plain)
    c, n = covariances([read for read in of if read is not None]), len(seeds)
    ms, cov2 = seeds.var(ddof=1), max(_off(c), 0.0)
    se = math.sqrt(ms / n + cov2)
    if se < 1e-9:
        return Limits(tuple(seeds), mean, reason="neither seeds nor images differ", **plain)
    df = (ms + n * cov2) ** 2 / (ms**2 / (n - 1)) if ms > 0 else math.inf
    half = stats.t.ppf(0.975, min(df, 1e6)) * se / (mean * (1 - mean))
    at = math.log(mean / (1 - mean))
    low, high = (1 / (1 + math.exp(-x)) for x in (at - half, at + half))
    return Limits(tuple(seeds), mean, "two-sided", low, high, se, df, **plain)


def of_difference(
    first: tuple[Mapping[int, float], Mapping[int, Read | None]],
    second: tuple[Mapping[int, float], Mapping[int, Read | None]],
) -> Limits:
    """Interval of second minus first, over the seeds of both."""
    common = sorted(first[0].keys() & second[0].keys())
    one, other = (np.array([of[0][seed] for seed in common]) for of in (first, second))
    difference, n = other - one, len(common)
    mean = float(difference.mean()) if n else math.nan
    reads = [of[1][seed] for of in (first, second) for seed in common]
    if reason := _reason(difference, reads):
        return Limits(tuple(difference), mean, reason=reason)
    known = [read for read in reads if read is not None]
    full = covariances(known)
    c = full[:n, :n] + full[n:, n:] - full[:n, n:] - full[n:, :n]
    ms, cov2 = difference.var(ddof=1), max(_off(c), 0.0)
    se = math.sqrt(ms / n + cov2)
    if se < 1e-9:
        if not all(set(side) in ({0.0}, {1.0}) for side in (one, other)):
            return Limits(tuple(difference), mean, reason="neither seeds nor images differ")
        slack = 1 - 0.025 ** (1 / known[0].cases)
        ends = [(max(v[0] - slack, 0.0), min(v[0] + slack, 1.0)) for v in (one, other)]
        low, high = ends[1][0] - ends[0][1], ends[1][1] - ends[0][0]
        return Limits(tuple(difference), mean, "two-sided", low, high)
    spread = max(ms, float(np.trace(c)) / n - _off(c))
    df = (n - 1) * (1 + n * cov2 / spread) ** 2 if spread > 0 else math.inf
    half = stats.t.ppf(0.975, min(df, 1e6)) * se
    low, high = max(mean - half, -1.0), min(mean + half, 1.0)
    return Limits(tuple(difference), mean, "two-sided", low, high, se, df)


@dataclass(frozen=True)
class Judged:
    """A claimed order: what is known of it, and what would decide it."""

    difference: Limits
    verdict: str
    seeds: float = math.nan
    times: float = math.nan
    p: float = field(default=1.0)


def judge(differences: Sequence[Limits]) -> list[Judged]:
    """Holm's rule over a table; of the open ones what would decide each."""
    ps = np.array([p_value(of) for of in differences])
    decided = np.zeros(len(ps), bool)
    for place, i in enumerate(np.argsort(ps, kind="stable")):
        if ps[i] > 0.05 / (len(ps) - place):
            break
        decided[i] = True
    judged = []
    for of, is_decided, p in zip(differences, decided, ps, strict=True):
        if is_decided:
            judged.append(Judged(of, "above" if of.mean > 0 else "below", p=p))
        else:
            judged.append(Judged(of, "open", *needed(of), p=p))
    return judged


def p_value(of: Limits) -> float:
    """Two-sided p-value of no difference."""
    if of.kind == "none":
        return 1.0
    if math.isnan(of.se):
        if of.low <= 0 <= of.high:
            return 1.0
        cases = math.log(0.025) / math.log(1 - of.width / 2)
        return 2 * 0.5**cases
    return float(2 * stats.t.sf(abs(of.mean) / of.se, min(of.df, 1e6)))


def needed(of: Limits) -> tuple[float, float]:
    """Seeds, or else times as many images at 30 seeds, that would decide; NaN where neither."""
    if math.isnan(of.se) or of.mean == 0:
        return math.nan, math.nan
    ms = float(np.var(of.seeds, ddof=1))
    cov2 = max(of.se**2 - ms / len(of.seeds), 0.0)
    for n in range(len(of.seeds) + 1, MOST_SEEDS + 1):
        if stats.t.ppf(0.975, n - 1) * math.sqrt(ms / n + cov2) < abs(of.mean):
            return n, math.nan
    left = (of.mean / stats.t.ppf(0.975, MOST_SEEDS - 1)) ** 2 - ms / MOST_SEEDS
    return math.nan, cov2 / left if left > 0 else math.nan


def t_limits(values: Array) -> tuple[float, float]:
    """Student-t limits of a mean over seeds; NaN where seeds do not differ."""
    n = len(values)
    if n < 2 or values.max() - values.min() <= 1e-9 * max(abs(values).max(), 1e-300):
        return math.nan, math.nan
    half = stats.t.ppf(0.975, n - 1) * values.std(ddof=1) / math.sqrt(n)
    return values.mean() - half, values.mean() + half
