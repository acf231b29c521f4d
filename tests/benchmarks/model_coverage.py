"""How often the interval of one trained model's AUROC holds the truth for new patients.

Binormal scores of independent patients; the model does not change. Prints a table for
docs/statistics.md; exit status 1 where the upper Monte-Carlo limit of a coverage is below 0.90, or
one outside the weak corner (20 x 20 images at AUROC 0.95) is not within 0.93 to 0.97.
"""

from __future__ import annotations

import argparse
import itertools
import math
import sys
from collections.abc import Sequence

import numpy as np
from scipy import stats

from sweeps.report.inference.components import delong
from sweeps.report.inference.intervals import model_interval

IMAGES = ((20, 20), (66, 85), (400, 400))
AUROCS = (0.6, 0.82, 0.95)


def measure(m: int, n: int, auroc: float, replicates: int) -> tuple[float, float, float]:
    """Return coverage, its half-width and the share without an interval."""
    random = np.random.default_rng([m, n, round(100 * auroc)])
    mu = math.sqrt(2) * stats.norm.ppf(auroc)
    held = printed = 0
    for _ in range(replicates):
        scores = random.standard_normal(m + n)
        value, components = delong(scores[:m] + mu, scores[m:])
        found = model_interval(float(value), components, min(m, n))
        printed += found.kind != "none"
        held += found.low <= auroc <= found.high
    coverage = held / printed
    error = 1.96 * math.sqrt(coverage * (1 - coverage) / printed)
    return coverage, error, 1 - printed / replicates


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; return 1 where a rule does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicates", type=int, default=4000, help="of each setting")
    replicates = parser.parse_args(arguments).replicates
    broken = []
    print("   images  AUROC  coverage          none")
    for (m, n), auroc in itertools.product(IMAGES, AUROCS):
        coverage, error, none = measure(m, n, auroc, replicates)
        is_weak = (m, auroc) == (20, 0.95)
        print(f"{m:>4} x {n:<3}   {auroc:.2f}  {coverage:.3f} -+ {error:.3f}  {none:.3f}"
              + " weak" * is_weak)  # fmt: skip
        is_near = 0.93 - error <= coverage <= 0.97 + error
        if coverage + error < 0.90 or not (is_weak or is_near):
            broken.append(f"{m} x {n}, AUROC {auroc}: coverage {coverage:.3f}")
    print("\n".join(f"BROKEN: {rule}" for rule in broken) or "every rule holds")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
