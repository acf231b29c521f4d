"""The two measures of squares by counting pixels, and the paper's equations in its own terms.

Saab et al. 2022, definitions 1 and 3, section 3.2 and appendix B; nothing of the package is used.
T is the target: pixels closer than k = floor(n / r) to the abnormality Y in the larger of both
directions, k = n for labels and k = 1 for masks and boxes of squares. S is the spurious block.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Options = Mapping[str, Any]
Pixels = NDArray[np.bool_]


@dataclass(frozen=True)
class Measures:
    """Var(X | T = 1) and I(S; Y | T = 1), nats; what they were computed from.

    Attributes:
        joint: P(Y, S | T = 1) by row Y and column S; of the equations, what they assume.
        area: Pixels of the target, on average.
        ring: Pixels that are in T and S and not in Y, on average.
    """

    variance: float
    nats: float
    joint: NDArray[np.float64]
    area: float = math.nan
    ring: float = math.nan


NONE = Measures(math.nan, math.nan, np.full((2, 2), math.nan))


def reach(options: Options, kind: str) -> int:
    """k of the target's definition."""
    if kind == "label":
        return int(options["image_size"])
    return options["image_size"] // int(kind[2:]) if kind.startswith("r=") else 1


def w_of(options: Options) -> float:
    """Share of spurious pixels among the normal ones, as the equations have it."""
    n, a, b = (options[f"{name}_size"] for name in ("image", "abnormality", "spurious"))
    return float(options["spurious_given_positive"] * b * b / (n * n - a * a))


def gamma_of(options: Options, k: int) -> float:
    """Share of abnormal pixels in a target that no border cuts off, appendix B.1."""
    side = options["abnormality_size"] + 2 * (k - 1)
    return float((options["abnormality_size"] / min(side, options["image_size"])) ** 2)


def by_equations(options: Options, kind: str) -> Measures:
    """Equations (7) and (13); NaN where the block has no room beside the abnormality."""
    w, gamma = w_of(options), gamma_of(options, reach(options, kind))
    if w > 1.0:
        return NONE
    y, s = options["abnormality_mean"], options["spurious_mean"]
    spurious = (1.0 - gamma) * w
    variance = options["noise_sd"] ** 2 + gamma * y * y + spurious * s * s
    variance -= (gamma * y + spurious * s) ** 2
    joint = np.array([[1.0 - gamma - spurious, spurious], [gamma, 0.0]])
    return Measures(variance, channel(gamma, w), joint)


def channel(gamma: float, w: float) -> float:
    """Equation (13): entropy of S minus what is left of it given Y, nats."""
    return entropy((1.0 - gamma) * w) - (1.0 - gamma) * entropy(w)


def entropy(*shares: float) -> float:
    """Entropy of shares, nats; of a single one, of it and the rest."""
    every = shares if len(shares) > 1 else (shares[0], 1.0 - shares[0])
    return -sum(share * math.log(share) for share in every if share > 0.0)


def of_joint(options: Options, joint: NDArray[np.float64]) -> tuple[float, float]:
    """Variance and information of pixels with shares [Y, S]: noise, plus the means of both."""
    means = [
        (share, y * options["abnormality_mean"] + s * options["spurious_mean"])
        for (y, s), share in np.ndenumerate(joint)
    ]
    first = sum(share * mean for share, mean in means)
    second = sum(share * mean * mean for share, mean in means)
    return options["noise_sd"] ** 2 + second - first * first, information(joint)


def information(joint: NDArray[np.float64]) -> float:
    """H(Y) + H(S) - H(Y, S), nats."""
    return entropy(*joint.sum(axis=1)) + entropy(*joint.sum(axis=0)) - entropy(*joint.ravel())


def squares(n: int, side: int) -> Iterator[Pixels]:
    """Yield a square of a side at every place in an image of side n, as (n, n) masks."""
    for top in range(n - side + 1):
        for left in range(n - side + 1):
            mask = np.zeros((n, n), bool)
            mask[top : top + side, left : left + side] = True
            yield mask


def target_of(mask: Pixels, k: int) -> Pixels:
    """Pixels closer than k to the mask in the larger of both directions; all for k = n."""
    n, rows, columns = len(mask), *np.nonzero(mask)
    if k >= n:
        return np.ones_like(mask)
    at = np.arange(n)
    by_row = np.abs(at[:, None] - rows).min(axis=1)  # exact of a filled square
    by_column = np.abs(at[:, None] - columns).min(axis=1)
    return np.asarray(np.maximum.outer(by_row, by_column) < k)


def exactly(options: Options, kind: str) -> Measures:
    """Every place of Y with every place of S that the generator may draw beside it."""
    return _exactly(tuple(sorted(options.items(), key=str)), reach(options, kind))


@lru_cache(maxsize=64)
def _exactly(items: tuple[tuple[str, Any], ...], k: int) -> Measures:
    options = dict(items)
    n, rho = options["image_size"], options["spurious_given_positive"]
    blocks = np.stack([block.ravel() for block in squares(n, options["spurious_size"])])
    counts, places = np.zeros((2, 2)), 0
    for mask in squares(n, options["abnormality_size"]):
        y, target = mask.ravel(), target_of(mask, k).ravel()
        may = blocks
        if options["overlap"] == "avoid":
            may = blocks[~(blocks & y).any(axis=1)]
        s = rho * may.mean(axis=0)  # of each pixel, the chance to be in the block
        for row, of in enumerate((target & ~y, target & y)):
            counts[row] += (1.0 - s)[of].sum(), s[of].sum()
        places += 1
    joint = counts / counts.sum()
    area, ring = counts.sum() / places, counts[0, 1] / places
    return Measures(*of_joint(options, joint), joint, float(area), float(ring))


def of_training(options: Options) -> float:
    """Variance of a pixel of any training image, normal ones too, over every placement."""
    blocks = np.stack(list(squares(options["image_size"], options["spurious_size"])))
    s = options["spurious_given_negative"] * float(blocks.mean())
    share, positive = options["prevalence"], exactly(options, "label").joint
    joint = share * positive + (1.0 - share) * np.array([[1.0 - s, s], [0.0, 0.0]])
    return of_joint(options, joint)[0]


def highest(w: float) -> float:
    """Where equation (13) is highest, of ten thousand shares of abnormal pixels."""
    shares = np.linspace(0.0, 1.0, 10_001)
    return float(shares[int(np.argmax([channel(share, w) for share in shares]))])


def on_images(
    pixels: NDArray[np.float64], abnormal: Pixels, blocks: Pixels, options: Options, kind: str
) -> Measures:
    """Both measures of (P, n, n) positive images, pooled over the pixels of their targets."""
    k = reach(options, kind)
    target = np.array([target_of(mask, k) for mask in abnormal], bool).reshape(abnormal.shape)
    if not target.any():
        return NONE
    joint = np.array(
        [
            [float(((abnormal == y) & (blocks == s) & target).sum()) for s in (False, True)]
            for y in (False, True)
        ]
    )
    values = pixels[target]
    variance = float(((values - values.mean()) ** 2).mean())
    joint /= joint.sum()
    return Measures(variance, information(joint), joint)
