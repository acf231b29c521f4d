"""Coverage of the report's intervals, and calibration of its frontier: `make bench-coverage`.

Binormal scores. Of an image's effect, N(0, 1), 0.6 of the variance is shared by all cells, 0.1 is a
cell's and 0.3 is new for every seed. A seed shifts the separation of the classes by tau N(0, 1),
correlated 0.5 between two cells of a seed. The separation is sqrt(2 + tau^2) times the normal
quantile of the AUROC, so that this is the AUROC over all images and seeds: the truth.

Fails (exit status 1) where a rule at the end of `main` does not hold.
"""

from __future__ import annotations

import argparse
import itertools
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from sweeps.report.inference.components import delong
from sweeps.report.inference.intervals import (
    BIMODAL,
    Interval,
    cell_interval,
    difference_interval,
    logit_limits,
    plain_limits,
    standard_error,
)
from sweeps.report.inference.joint import draw, frontier_probability, joint_distribution

Floats = NDArray[np.float64]
SHARED, OF_CELL, OF_SEED = (math.sqrt(share) for share in (0.6, 0.1, 0.3))
BATCH = 2_000_000
"""Scores in memory at a time."""


@dataclass(frozen=True)
class Setting:
    """One row of the table."""

    seeds: int
    positives: int
    negatives: int
    aurocs: tuple[float, float]
    tau: float

    @property
    def weak(self) -> bool:
        """Whether it is a corner that is named as weak in docs/statistics.md."""
        differ_much = self.seeds == 3 and self.tau == 0.5
        return differ_much or (self.aurocs[0] == 0.95 and self.positives == 20)

    def __str__(self) -> str:
        low, high = self.aurocs
        images = f"{self.positives} x {self.negatives}"
        return f"{self.seeds:5}  {images:>9}  {low:.2f} / {high:.2f}  {self.tau:4.2f}"


PAIRS = ((0.6, 0.7), (0.82, 0.87), (0.95, 0.97))
TAUS = (0.15, 0.5)
SETTINGS = [
    *(
        Setting(seeds, *images, pair, tau)
        for seeds in (3, 5, 10)
        for images in ((66, 85), (20, 20))
        for pair, tau in itertools.product(PAIRS, TAUS)
    ),
    *(
        Setting(seeds, 400, 400, pair, tau)
        for seeds in (3, 5)
        for pair, tau in itertools.product(PAIRS[1:], TAUS)
    ),
]


def binormal(
    random: np.random.Generator, aurocs: Floats, shape: tuple[int, int, int], tau: float
) -> Floats:
    """Return scores of replicates by every cell and seed.

    Args:
        random: Source of scores.
        aurocs: (R, C) truths.
        shape: Seeds S, positives m, negatives n.
        tau: Standard deviation of the seeds' shifts.

    Returns:
        (R, C, S, m + n), positives first.
    """
    (replicates, cells), (seeds, m, n) = aurocs.shape, shape
    mu = math.sqrt(2 + tau**2) * stats.norm.ppf(aurocs)
    common = random.standard_normal((replicates, 1, seeds))
    alone = random.standard_normal((replicates, cells, seeds))
    separation = mu[..., None] + tau * math.sqrt(0.5) * (common + alone)
    scores: Floats = OF_SEED * random.standard_normal((replicates, cells, seeds, m + n))
    scores += OF_CELL * random.standard_normal((replicates, cells, 1, m + n))
    scores += SHARED * random.standard_normal((replicates, 1, 1, m + n))
    scores[..., :m] += separation[..., None]
    return scores


def read(
    random: np.random.Generator, aurocs: Floats, shape: tuple[int, int, int], tau: float
) -> tuple[Floats, Floats]:
    """Return (R, C, S) AUROCs and (R, C, S, m + n) components of such scores."""
    scores, m = binormal(random, aurocs, shape, tau), shape[1]
    return delong(scores[..., :m], scores[..., m:])


def batches(
    setting: Setting, replicates: int, random: np.random.Generator
) -> Iterator[tuple[Floats, Floats]]:
    """Yield readings of a setting's replicates, as many at a time as memory allows."""
    shape = setting.seeds, setting.positives, setting.negatives
    size = max(1, BATCH // (2 * setting.seeds * (setting.positives + setting.negatives)))
    for start in range(0, replicates, size):
        here = min(size, replicates - start)
        yield read(random, np.tile(setting.aurocs, (here, 1)), shape, setting.tau)


@dataclass
class Count:
    """Printed intervals, and those of them that hold the truth."""

    printed: int = 0
    held: int = 0
    all: int = 0

    def add(self, truth: float, low: Floats, high: Floats) -> None:
        """Count intervals; NaN limits are those that are not printed."""
        printed = ~np.isnan(low)
        self.all += len(low)
        self.printed += int(printed.sum())
        self.held += int(((low <= truth) & (truth <= high))[printed].sum())

    @property
    def coverage(self) -> float:
        """Share of the printed ones that hold the truth."""
        return self.held / self.printed if self.printed else math.nan

    @property
    def error(self) -> float:
        """Half-width of its 95 % Monte-Carlo limits."""
        return 1.96 * math.sqrt(self.coverage * (1 - self.coverage) / self.printed)

    @property
    def abstained(self) -> float:
        """Share that is not printed."""
        return 1 - self.printed / self.all


def cell_limits(values: Floats, components: Floats, cases: int) -> tuple[Floats, Floats]:
    """Return what `cell_interval` prints for (R, S) replicates; NaN where it abstains."""
    mean, se, df = standard_error(values, components)
    plain = (mean > 0) & (mean < 1) & (se > 0)
    plain &= np.diff(np.sort(values, axis=-1), axis=-1).max(axis=-1) <= BIMODAL
    low, high = np.full((2, len(values)), np.nan)
    low[plain], high[plain] = logit_limits(mean[plain], se[plain], df[plain])
    for k in np.flatnonzero(~plain):
        low[k], high[k] = _ends(cell_interval(values[k], components[k], cases))
    return low, high


def difference_limits(
    values: Floats, components: Floats, cases: int, paired: bool = True
) -> tuple[Floats, Floats]:
    """Return what `difference_interval` prints for (R, 2, S) replicates.

    Without `paired` the degrees of freedom are as published, for comparison.
    """
    differences = values[:, 1] - values[:, 0]
    mean, se, df = standard_error(differences, components[:, 1] - components[:, 0], paired)
    plain = se > 0
    plain &= np.diff(np.sort(differences, axis=-1), axis=-1).max(axis=-1) <= BIMODAL
    low, high = np.full((2, len(values)), np.nan)
    low[plain], high[plain] = plain_limits(mean[plain], se[plain], df[plain])
    for k in np.flatnonzero(~plain):
        low[k], high[k] = _ends(difference_interval(*values[k], *components[k], cases))
    return low, high


def _ends(interval: Interval) -> tuple[float, float]:
    return interval.low, interval.high


def seed_limits(values: Floats) -> tuple[Floats, Floats]:
    """Return the t-interval over seeds alone, for comparison."""
    seeds = values.shape[-1]
    half = stats.t.ppf(0.975, seeds - 1) * values.std(axis=-1, ddof=1) / math.sqrt(seeds)
    return values.mean(axis=-1) - half, values.mean(axis=-1) + half


def measure(setting: Setting, replicates: int, seed: int) -> tuple[Count, Count, Count, Count]:
    """Return counts of cells, of differences, of t over seeds alone, of df as published."""
    random = np.random.default_rng(seed)
    cells, differences, over_seeds, published = Count(), Count(), Count(), Count()
    cases = min(setting.positives, setting.negatives)
    low, high = setting.aurocs
    for values, components in batches(setting, replicates, random):
        for c, truth in enumerate(setting.aurocs):
            cells.add(truth, *cell_limits(values[:, c], components[:, c], cases))
            over_seeds.add(truth, *seed_limits(values[:, c]))
        differences.add(high - low, *difference_limits(values, components, cases))
        published.add(high - low, *difference_limits(values, components, cases, paired=False))
    return cells, differences, over_seeds, published


def check_coverage(replicates: int) -> list[str]:
    """Print the table of coverage and return the rules that do not hold."""
    print(f"95 % intervals, {replicates} replicates of each of {len(SETTINGS)} settings")
    print(
        "seeds     images        AUROC   tau   cells            none   differences      none  seeds"
    )
    broken, inside, as_published = [], {"cells": 0, "differences": 0}, 0
    for index, setting in enumerate(SETTINGS):
        cells, differences, over_seeds, published = measure(setting, replicates, index)
        as_published += 0.93 <= published.coverage <= 0.97
        row = [
            f"{count.coverage:.3f} -+ {count.error:.3f}  {count.abstained:5.3f}"
            for count in (cells, differences)
        ]
        print(f"{setting}  {'  '.join(row)}  {over_seeds.coverage:.3f}{' weak' * setting.weak}")
        for name, count in (("cells", cells), ("differences", differences)):
            inside[name] += 0.93 <= count.coverage <= 0.97
            if count.coverage + count.error < 0.90:
                broken.append(f"{name} of {setting}: coverage {count.coverage:.3f}")
            if count.abstained > 0.05 and not setting.weak:
                broken.append(f"{name} of {setting}: {count.abstained:.3f} without an interval")
    for name, number in inside.items():
        print(f"{name}: coverage from 0.93 to 0.97 in {number} of {len(SETTINGS)} settings")
        if number < 30:
            broken.append(f"{name}: coverage from 0.93 to 0.97 in {number} settings, fewer than 30")
    print(f"differences with df as published: in {as_published} of {len(SETTINGS)} settings")
    return broken


def check_bootstrap(replicates: int) -> None:
    """Print the interval beside a bootstrap of seeds and patients, where that is known to work."""
    print("\nbeside the bootstrap of seeds x patients (percentiles of 500), 10 seeds, first AUROC")
    print("   images  AUROC   tau   width  bootstrap   coverage  bootstrap")
    settings = [one for one in SETTINGS if one.seeds == 10 and one.positives == 66]
    for index, setting in enumerate(settings):
        random = np.random.default_rng(2000 + index)
        [auroc, *_], m, n = setting.aurocs, setting.positives, setting.negatives
        widths, held = np.zeros(2), np.zeros(2)
        scores = binormal(random, np.full((replicates, 1), auroc), (10, m, n), setting.tau)[:, 0]
        for positives, negatives in zip(scores[..., :m], scores[..., m:], strict=True):
            plain = cell_interval(*delong(positives, negatives), m)
            ends = [_ends(plain), resampled(random, positives, negatives)]
            widths += [high - low for low, high in ends]
            held += [low <= auroc <= high for low, high in ends]
        of = [f"{one:9.3f}" for one in (*widths / replicates, *held / replicates)]
        print(f"  {m} x {n}   {auroc:.2f}  {setting.tau:4.2f} {'  '.join(of)}")


def resampled(
    random: np.random.Generator, positives: Floats, negatives: Floats, samples: int = 500
) -> tuple[float, float]:
    """Return 95 % percentiles of the mean AUROC over drawn seeds, positives and negatives."""
    (seeds, m), n = positives.shape, negatives.shape[1]
    psi = (positives[:, :, None] > negatives[:, None, :]).astype(np.float64)
    of_seeds, of_positives, of_negatives = (
        random.multinomial(k, np.full(k, 1 / k), samples) / k for k in (seeds, m, n)
    )
    rows = of_positives @ psi.transpose(1, 0, 2).reshape(m, seeds * n)
    by_seed = np.einsum("bsj,bj->bs", rows.reshape(samples, seeds, n), of_negatives)
    means = (by_seed * of_seeds).sum(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


@dataclass(frozen=True)
class Prior:
    """Where the truths of a frontier of six cells are drawn from; the rules hold for the first."""

    words: str
    spread: float
    step: float
    judged: bool = False

    def truths(self, random: np.random.Generator, replicates: int) -> Floats:
        """Return (R, 6) AUROCs in (0.3, 0.98)."""
        level = random.uniform(0.5, 0.9, (replicates, 1)) - 2.5 * self.step
        rise = self.step * np.arange(FRONTIER_CELLS)
        noise = self.spread * random.standard_normal((replicates, FRONTIER_CELLS))
        return np.clip(level + rise + noise, 0.3, 0.98)


@dataclass(frozen=True)
class Fixed:
    """The same truths in every replicate, where calibration by decile has no meaning."""

    words: str
    aurocs: tuple[float, ...]
    judged: bool = False

    def truths(self, random: np.random.Generator, replicates: int) -> Floats:
        """Return (R, 6) AUROCs."""
        return np.tile(self.aurocs, (replicates, 1))


FRONTIER_CELLS = 6
PRIORS: list[Prior | Fixed] = [
    Prior("prior: level U(0.5, 0.9), cells around it N(0, 0.10)", 0.10, 0.0, judged=True),
    Prior("prior: level U(0.5, 0.9), cells around it N(0, 0.15), rising 0.05 a step", 0.15, 0.05),
    Prior("prior: level U(0.5, 0.9), cells around it N(0, 0.05), rising 0.03 a step", 0.05, 0.03),
    Fixed("fixed: all six on the frontier", (0.45, 0.62, 0.70, 0.715, 0.80, 0.805)),
    Fixed("fixed: two of six dominated", (0.45, 0.62, 0.60, 0.715, 0.80, 0.78)),
]


def true_frontier(truths: Floats) -> NDArray[np.bool_]:
    """(R, C) bool: better than every cheaper cell, the cells being in the order of their cost."""
    before = np.maximum.accumulate(truths, axis=1)
    first = np.ones((len(truths), 1), dtype=bool)
    return np.concatenate([first, truths[:, 1:] > before[:, :-1]], axis=1)


def frontier_cases(
    prior: Prior | Fixed, seeds: int, replicates: int, random: np.random.Generator
) -> tuple[NDArray[np.bool_], dict[str, Floats]]:
    """Return who is on the frontier, (R, 5), and each rule's probability of it.

    Without the cheapest cell, which is always on it.
    """
    truths = prior.truths(random, replicates)
    values, components = read(random, truths, (seeds, 66, 85), 0.3)
    cost = np.arange(FRONTIER_CELLS, dtype=np.float64)
    shares: dict[str, list[Floats]] = {"t draws": [], "plain draws": [], "share of seeds": []}
    for value, parts in zip(values, components, strict=True):
        joint = joint_distribution(value, parts, 66)
        for name, scaled in (("t draws", True), ("plain draws", False)):
            shares[name].append(frontier_probability(cost, draw(joint, scaled=scaled)))
        shares["share of seeds"].append(true_frontier(value.T).mean(axis=0))
    return true_frontier(truths)[:, 1:], {n: np.stack(s)[:, 1:] for n, s in shares.items()}


def calibration(
    probability: Floats, truth: NDArray[np.bool_]
) -> tuple[list[tuple[int, float, float]], float, float]:
    """Return cases, mean probability and share of each decile; Brier score; certain and wrong.

    Certain is what is printed as 0.00 or 1.00.
    """
    decile = np.minimum((probability * 10).astype(int), 9)
    rows = []
    for one in range(10):
        mine = decile == one
        here = int(mine.sum())
        said, came = (float(v[mine].mean()) if here else math.nan for v in (probability, truth))
        rows.append((here, said, came))
    wrong = ((probability < 0.005) & truth) | ((probability > 0.995) & ~truth)
    return rows, float(np.square(probability - truth).mean()), float(wrong.mean())


def check_frontier(replicates: int) -> list[str]:
    """Print calibration for every prior and return the rules that the report's draws break."""
    broken = []
    for index, (prior, seeds) in enumerate(itertools.product(PRIORS, (3, 5))):
        random = np.random.default_rng(1000 + index)
        truth, shares = frontier_cases(prior, seeds, replicates, random)
        judged = "judged" if prior.judged else "shown, not judged"
        print(f"\n{FRONTIER_CELLS} cells, {seeds} seeds, 66 x 85, {prior.words} ({judged})")
        print("                 Brier   certain and wrong   said > came (cases) by decile")
        for name, probability in shares.items():
            rows, brier, wrong = calibration(probability, truth)
            deciles = [f"{said:.2f}>{came:.2f} ({n})" for n, said, came in rows if n]
            print(f"{name:>15}  {brier:.4f}  {wrong:.4f}  {'  '.join(deciles)}")
            if name != "t draws":
                continue
            if wrong > 0.005:
                broken.append(f"{seeds} seeds, {prior.words}: certain and wrong {wrong:.4f}")
            worst = max((abs(said - came) for n, said, came in rows if n >= 50), default=0.0)
            if prior.judged and worst > 0.10:
                broken.append(f"{seeds} seeds, {prior.words}: a decile is off by {worst:.3f}")
    return broken


def main(arguments: Sequence[str] | None = None) -> int:
    """Run both parts; return 1 where a rule does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicates", type=int, default=4000, help="of each setting")
    parser.add_argument("--frontiers", type=int, default=2000, help="of each prior")
    options = parser.parse_args(arguments)
    broken = check_coverage(options.replicates)
    check_bootstrap(options.replicates // 20)
    broken += check_frontier(options.frontiers)
    print("\n" + ("\n".join(f"BROKEN: {rule}" for rule in broken) or "every rule holds"))
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
