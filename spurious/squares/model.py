"""Variance and mutual information in the model of squares, by the paper's equations and exactly.

Saab et al. 2022, section 3.2 and appendix B. A positive image of side n has an a x a block of
abnormal pixels Y at a uniform place and, with probability rho, a b x b block of spurious pixels S
beside it. A pixel is N(0, sd^2), plus `abnormality_mean` where Y = 1, plus `spurious_mean` where
S = 1. Conditioned on the target T of a specificity, both measures follow from

    gamma = P(Y = 1 | T = 1),    w = P(S = 1 | Y = 0, T = 1),    and P(S = 1 | Y = 1, T = 1),

pooled over the pixels of positive images. `closed_form` takes the paper's expressions for the
three, `exact` averages over every placement of the two blocks that `GaussianSquares` can draw.
Where they differ, and why:

* The closed form lets T be a square of side a + 2 (k - 1), at most n. Near the border T is clipped,
  so it is smaller on average, gamma is larger, and only r = 1 and r = n agree. At r = 2 of the
  paper's options T is the whole image for 4.5 % of the places, not for all: gamma is .0538, not
  .04, and the variance rises from 9.49 at r = 1 to 10.25, where the closed form stays at 9.49.
* The closed form lets w be b^2 / (n^2 - a^2) for every r: S independent of T given Y. But S keeps
  away from Y, so the ring around Y has fewer spurious pixels the thinner it is: w is .0938 at
  r = 1, .1035 at r = 2 (the clipped corners are where S is rare) and .0124 at r = 20. The variance
  at r = 20 is 2.46, where the closed form says 6.05, and the information .0046 nats instead of
  .0355.
* So the closed form of the information rises up to gamma = `maximiser(w)`, which of the paper's own
  resolutions r = 20 is the first to pass, and only then falls to 0; the exact one peaks near r = 5.
* The definition of T rounds n / r down, the paper's proof rounds it up: the same where r divides n,
  as for the paper's resolutions. Both functions round down, as `specificity.dilate` does.
* With `overlap: independent` S may cover Y. The closed form rules that out, `exact` counts it, with
  both means added on the pixels that are in both, as the generator draws them.

The paper's text says that the information is 1 at r = n, and that it is convex in gamma; by its own
eq. (13) it is 0 there, and concave. It names no base of the logarithm: here nats, with bits beside.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spurious.config.datasets import GaussianSquares
from spurious.config.options import Specificity
from spurious.errors import ConfigError
from spurious.scoring.measures import mutual_information


@dataclass(frozen=True)
class SquareMeasures:
    """Both measures at one specificity.

    Attributes:
        gamma: Share of abnormal pixels in the target.
        w: Share of spurious pixels among the target's normal ones; NaN where it has none.
        variance: Var(X | T = 1), in squared intensities of the generator.
        mi: I(S; Y | T = 1), nats.
    """

    gamma: float
    w: float
    variance: float
    mi: float

    @property
    def mi_bits(self) -> float:
        """The mutual information in bits."""
        return self.mi / math.log(2.0)


def closed_form(options: GaussianSquares, specificity: Specificity) -> SquareMeasures:
    """Return the paper's equations: gamma(r) of appendix B.1, variance by (7), information by (13).

    They place the spurious block outside the abnormality, which must leave it room.

    Raises:
        ConfigError: another shape than square, r does not fit the image, or the block's share w of
            the normal pixels is above 1.
    """
    n, a, b = options.image_size, options.abnormality_size, options.spurious_size
    side = min(n, a + 2 * (_reach(options, specificity) - 1))
    gamma = a * a / (side * side)
    w = options.spurious_given_positive * b * b / (n * n - a * a) if n > a else 0.0
    if w > 1.0:
        raise ConfigError(
            f"the paper's equations need the spurious block beside the abnormality, and {b} x {b} "
            f"pixels do not fit there: w is {w:.3g}, expected at most 1; use a smaller "
            "spurious_size, or the exact model"
        )
    return _measures(options, np.array([[1 - w, w], [0.0, 0.0]]) * (1 - gamma) + _ABNORMAL * gamma)


def exact(options: GaussianSquares, specificity: Specificity) -> SquareMeasures:
    """Return the expectation over every placement of the two blocks, as the generator draws them.

    Raises:
        ConfigError: another shape than square, or r does not fit the image.
    """
    return _measures(options, _exact_joint(options, specificity))


def training_variance(options: GaussianSquares) -> float:
    """Exact variance of a pixel over all training images, normal ones too.

    What a variance of standardised pixels is relative to, in squared intensities.

    Raises:
        ConfigError: another shape than square.
    """
    n, b = options.image_size, options.spurious_size
    spurious = options.spurious_given_negative * b * b / (n * n)
    negative = np.array([[1.0 - spurious, spurious], [0.0, 0.0]])
    positive = _exact_joint(options, Specificity("label"))
    share = options.prevalence
    return _measures(options, share * positive + (1.0 - share) * negative).variance


def maximiser(w: float) -> float:
    """gamma* where eq. (13) has its maximum, for 0 < w < 1.

    Eq. (13) is the information that a Z-channel carries, as a function of its input's
    distribution. gamma* falls from 1 - 1/e = .632 at w = 0 to 1/2 at w = 1, which makes the paper's
    bound of .64 a tight one.
    """
    entropy = -(w * math.log2(w) + (1.0 - w) * math.log2(1.0 - w))
    return 1.0 - 1.0 / (w * (1.0 + 2.0 ** (entropy / w)))


_ABNORMAL = np.array([[0.0, 0.0], [1.0, 0.0]])
"""All pixels abnormal and none spurious, as a table [Y, S] of joint probabilities."""


def _measures(options: GaussianSquares, joint: NDArray[np.float64]) -> SquareMeasures:
    """Both measures from P(Y, S | T = 1), a table [Y, S]; the noise adds its own variance."""
    means = np.add.outer([0.0, options.abnormality_mean], [0.0, options.spurious_mean])
    normal = float(joint[0].sum())
    mean = float((joint * means).sum())
    return SquareMeasures(
        gamma=float(joint[1].sum()),
        w=float(joint[0, 1]) / normal if normal > 0 else math.nan,
        variance=options.noise_sd**2 + float((joint * (means - mean) ** 2).sum()),
        mi=mutual_information(joint),
    )


def _exact_joint(options: GaussianSquares, specificity: Specificity) -> NDArray[np.float64]:
    """P(Y, S | T = 1) as a table [Y, S], over every pair of places.

    A block's row and column are drawn apart, and S touches Y where it does so along both sides, so
    that sums over pairs of places are products of sums along one side.
    """
    n, a, b = options.image_size, options.abnormality_size, options.spurious_size
    reach, first, places = _reach(options, specificity), np.arange(n - a + 1), n - b + 1
    low, high = np.maximum(first - reach + 1, 0), np.minimum(first + a + reach - 1, n)
    in_target, in_abnormal = _overlaps(n, b, low, high), _overlaps(n, b, first, first + a)
    spurious = _both_sides(in_target.sum(axis=1))
    if options.overlap == "avoid":
        touching = in_abnormal > 0
        spurious = spurious - _both_sides((in_target * touching).sum(axis=1))
        spurious = spurious / (places**2 - _both_sides(touching.sum(axis=1)))
        covered = np.zeros_like(spurious)
    else:
        spurious = spurious / places**2
        covered = _both_sides(in_abnormal.sum(axis=1)) / places**2
    area, rho = float(_both_sides(high - low).mean()), options.spurious_given_positive
    s_inside = rho * float(covered.mean())
    s_outside = rho * float(spurious.mean()) - s_inside
    counts = [[area - a * a - s_outside, s_outside], [a * a - s_inside, s_inside]]
    return np.array(counts) / area


def _overlaps(
    n: int, b: int, low: NDArray[np.int64], high: NDArray[np.int64]
) -> NDArray[np.float64]:
    """(P, Q) pixels that S, at its Q places along a side, has in each of P ranges [low, high)."""
    start = np.arange(n - b + 1)
    shared = np.minimum(start + b, high[:, None]) - np.maximum(start, low[:, None])
    return np.maximum(shared, 0).astype(np.float64)


def _both_sides(values: NDArray[Any]) -> NDArray[np.float64]:
    """(P,) values along a side to (P, P): their products for every row and column."""
    return np.multiply.outer(values, values).astype(np.float64)


def _reach(options: GaussianSquares, specificity: Specificity) -> int:
    """k of the target's definition: pixels closer than k to Y. A box of a square is the square."""
    if options.shape != "square":
        raise ConfigError(
            f"the model of squares has no {options.shape}; use it for shape: square alone"
        )
    n = options.image_size
    if specificity.kind == "label":
        return n
    if specificity.r is None:
        return 1
    if specificity.r > n:
        raise ConfigError(f"r={specificity.r} does not fit an image side of {n}: at most {n}")
    return n // specificity.r
