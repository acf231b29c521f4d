"""Coverage of attainment bands and calibration of P(best) for a sum: part of `make bench-coverage`.

Six cells at rising cost and their priors are those of `interval_coverage`. A sum is the cost of one
of them; the cheapest cell is the best of one, so its P(best) is left out. Fails (exit status 1)
where a rule at the end of `check` does not hold.
"""

from __future__ import annotations

import argparse
import itertools
import math
import sys
from collections.abc import Sequence

import numpy as np
from interval_coverage import FRONTIER_CELLS, PRIORS, Fixed, Floats, Prior, calibration, read
from numpy.typing import NDArray

from sweeps.report.inference.attainment import attainment
from sweeps.report.inference.joint import draw, joint_distribution


def attained_cases(
    prior: Prior | Fixed, seeds: int, replicates: int, random: np.random.Generator
) -> tuple[Floats, Floats, Floats, NDArray[np.bool_]]:
    """Return what every sum truly reaches and what the report says of it.

    Returns:
        (R, X) the highest true AUROC; (R, X, 3) low, median and high; P(best) of every cell that
        costs no more than a sum above the least, and whether it is truly the best.
    """
    truths = prior.truths(random, replicates)
    values, components = read(random, truths, (seeds, 66, 85), 0.3)
    cost = np.arange(FRONTIER_CELLS, dtype=np.float64)
    bands, said = [], []
    for value, parts in zip(values, components, strict=True):
        reached = attainment(cost, draw(joint_distribution(value, parts, 66)))
        bands.append(np.stack([reached.low, reached.median, reached.high], axis=-1))
        said.append(reached.best)
    highest = np.maximum.accumulate(truths, axis=1)
    affordable = np.tri(FRONTIER_CELLS, dtype=bool)
    affordable[0] = False
    first = np.where(np.tri(FRONTIER_CELLS, dtype=bool), truths[:, None, :], -1.0).argmax(axis=-1)
    is_best = first[..., None] == np.arange(FRONTIER_CELLS)
    return highest, np.stack(bands), np.stack(said)[:, affordable], is_best[:, affordable]


def check(replicates: int) -> list[str]:
    """Print a row for every prior and return the rules that do not hold."""
    print("95 % bands of what a sum reaches, by sum; P(best) for a sum: Brier score, worst decile")
    broken = []
    for index, (prior, seeds) in enumerate(itertools.product(PRIORS, (3, 5))):
        random = np.random.default_rng(3000 + index)
        highest, bands, said, came = attained_cases(prior, seeds, replicates, random)
        held = ((bands[..., 0] <= highest) & (highest <= bands[..., 2])).mean(axis=0)
        rows, brier, wrong = calibration(said, came)
        worst = max((abs(p - share) for n, p, share in rows if n >= 50), default=math.nan)
        above = float((bands[..., 1] - highest).mean())
        print(f"{seeds} seeds, {prior.words}{'' if prior.judged else ' (shown, not judged)'}")
        print(
            f"    bands {' '.join(f'{share:.3f}' for share in held)}, medians above by {above:.3f}"
        )
        print(f"    P(best): Brier {brier:.4f}, certain and wrong {wrong:.4f}, worst {worst:.2f}")
        least = float(held.min())
        error = 1.96 * math.sqrt(least * (1 - least) / replicates)
        if prior.judged and least + error < 0.90:
            broken.append(f"{seeds} seeds, {prior.words}: a band covers {least:.3f}")
        if prior.judged and worst > 0.10:
            broken.append(
                f"{seeds} seeds, {prior.words}: a decile of P(best) is off by {worst:.3f}"
            )
        if prior.judged and wrong > 0.005:
            broken.append(f"{seeds} seeds, {prior.words}: P(best) certain and wrong {wrong:.4f}")
    return broken


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; return 1 where a rule does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicates", type=int, default=2000, help="of each prior")
    broken = check(parser.parse_args(arguments).replicates)
    print("\n" + ("\n".join(f"BROKEN: {rule}" for rule in broken) or "every rule holds"))
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
