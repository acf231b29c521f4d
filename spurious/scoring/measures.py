"""Measures that go with robustness: of pixels, of embeddings, and of scores by attribute.

The two pixel measures are definitions 1 and 3 of Saab et al. 2022; `spurious.squares.model` has
their values under the paper's model of squares.

Shape legend: N images, H height, W width, C channels, D features, A spurious attributes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spurious.data.attributes import GroupCounts
from spurious.scoring.groups import count_groups
from spurious.scoring.metrics import auroc


def moments_dtype(images: np.dtype[Any]) -> np.dtype[Any]:
    """Return what moments of images of a dtype are: of integers they are exact."""
    return np.dtype(np.int64 if images.kind in "iu" else np.float64)


def pixel_moments(values: NDArray[Any]) -> NDArray[Any]:
    """Count, sums and sums of squares by channel of an image's pixels, (P, C) to (1 + 2 C,)."""
    # sums along a channel are ten times as fast
    wide = values.T.astype(moments_dtype(values.dtype), order="C")
    sums, squares = wide.sum(axis=1), np.einsum("cp,cp->c", wide, wide)
    return np.concatenate([np.array([len(values)], wide.dtype), sums, squares])


def moments_within(image: NDArray[Any], target: NDArray[np.bool_] | None) -> NDArray[Any]:
    """Return `pixel_moments` of an image (H, W, C) where its (H, W) target is, None for all."""
    pixels = image.reshape(-1, image.shape[-1])
    return pixel_moments(pixels if target is None else pixels[np.flatnonzero(target)])


def pool_moments(moments: NDArray[Any]) -> NDArray[Any]:
    """Add the moments of images, (n, 1 + 2 C) to (1 + 2 C,), one after the other in their order.

    The order matters to the last bits of floats: numpy's own sum has another one.
    """
    if not len(moments):
        return np.zeros(moments.shape[1:], moments.dtype)
    return np.asarray(np.add.accumulate(moments, axis=0)[-1])


def _variance(moments: NDArray[Any]) -> NDArray[np.float64]:
    """(C,) population variances; needs at least one pixel."""
    count, (sums, squares) = moments[0], np.split(moments[1:], 2)
    mean = sums / count
    return np.asarray(np.maximum(squares / count - mean * mean, 0.0))


def relative_variance(everything: NDArray[Any], abnormal: NDArray[Any]) -> float:
    """Return `empirical_variance` from pooled moments of all pixels and of abnormal ones.

    Args:
        everything: (1 + 2 C,).
        abnormal: (1 + 2 C,).
    """
    if not everything[0] or not (whole := _variance(everything)).all() or not abnormal[0]:
        return float("nan")
    return float((_variance(abnormal) / whole).mean())


def empirical_variance(images: Iterable[tuple[NDArray[Any], NDArray[np.bool_] | None]]) -> float:
    """Variance of the standardised pixels that a supervision target calls abnormal.

    Definition 1 and table 3 of Saab et al. 2022. Pixels are pooled over images: the variance
    between images counts, unlike in a mean of per-image variances. Each channel is standardised by
    its mean and standard deviation over all images given; of several channels, the mean.

    Args:
        images: Each once, in one pass: (H, W, C), and its (H, W) target, or None for an image that
            counts for the standardisation alone (normal, or not annotated).

    Returns:
        The variance in units of that of all pixels; NaN where no target has a pixel, or all
        pixels are equal.
    """
    (variance,) = empirical_variances(((image, [target]) for image, target in images), 1)
    return variance


def empirical_variances(
    images: Iterable[tuple[NDArray[Any], Sequence[NDArray[np.bool_] | None]]], kinds: int
) -> list[float]:
    """Return `empirical_variance` for several targets of each image, in one pass.

    Args:
        images: Each once: (H, W, C), and its `kinds` targets.
        kinds: How many targets each image comes with.
    """
    pooled: list[Any] = [0] * (1 + kinds)
    for image, targets in images:
        pooled[0] = pooled[0] + moments_within(image, None)
        for kind, target in enumerate(targets, 1):
            if target is not None:
                pooled[kind] = pooled[kind] + moments_within(image, target)
    everything, *abnormal = (np.atleast_1d(moments) for moments in pooled)
    return [relative_variance(everything, moments) for moments in abnormal]


def mutual_information(joint: NDArray[np.floating]) -> float:
    """Mutual information of two variables in nats, from a table of their joint probabilities."""
    apart = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    there = joint > 0
    return max(0.0, float((joint[there] * np.log(joint[there] / apart[there])).sum()))


def empirical_mi(
    abnormal: NDArray[np.bool_], spurious: NDArray[np.bool_], target: NDArray[np.bool_]
) -> float:
    """Mutual information I(S; Y | target = 1) of spurious and abnormal pixels, nats.

    Definition 3 of Saab et al. 2022, estimated by the frequencies over all pixels of all images
    where the target is 1.

    Args:
        abnormal: (N, H, W), the masks Y.
        spurious: (N, H, W), the masks S of the spurious feature.
        target: (N, H, W), the supervision targets.

    Returns:
        The plug-in estimate, at least 0; NaN where no target has a pixel.
    """
    y, s = abnormal[target], spurious[target]
    if not len(y):
        return float("nan")
    counts = np.bincount(2 * y.astype(np.int64) + s, minlength=4).reshape(2, 2)
    return mutual_information(counts / len(y))


def alignment(first: NDArray[np.floating], second: NDArray[np.floating] | None = None) -> float:
    """Mean cosine similarity between two groups of embeddings, or between the members of one.

    The mean over all pairs of cos(a, b) is the dot product of the two groups' mean unit vectors,
    which takes one pass over each. Table 2 of Saab et al. 2022 has it between the groups of a
    label with and without the spurious feature.

    Args:
        first: (N, D).
        second: (M, D), or None for the pairs i != j of the first.

    Returns:
        In [-1, 1]; NaN without a pair. A zero vector has similarity 0 to every other.
    """
    units = _unit(first)
    if second is not None:
        if not len(first) or not len(second):
            return float("nan")
        return float(units.mean(axis=0) @ _unit(second).mean(axis=0))
    if len(first) < 2:
        return float("nan")
    total = units.sum(axis=0)
    return float((total @ total - (units * units).sum()) / (len(first) * (len(first) - 1)))


def _unit(vectors: NDArray[np.floating]) -> NDArray[np.float64]:
    wide = vectors.astype(np.float64)
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    return np.asarray(wide / np.where(lengths == 0.0, 1.0, lengths))


@dataclass(frozen=True)
class PerformanceGap:
    """AUROC with a spurious attribute minus AUROC without it, and the groups behind it."""

    attribute: str
    value: float
    cells: GroupCounts


def performance_gaps(
    labels: NDArray[np.int64],
    scores: NDArray[np.floating],
    attributes: NDArray[np.int8],
    names: Sequence[str],
) -> list[PerformanceGap]:
    """Return how much better a score separates the labels of images that have an attribute.

    Args:
        labels: (N,) in {0, 1}.
        scores: (N,).
        attributes: (N, A) in {0, 1, UNKNOWN}; images whose attribute is unknown are left out.
        names: A attribute names.

    Returns:
        One per attribute, in [-1, 1]; NaN where a class is absent on either side, as in training
        data whose attribute goes with the label without exception.
    """
    gaps = []
    for column, name in enumerate(names):
        having, lacking = attributes[:, column] == 1, attributes[:, column] == 0
        value = auroc(labels[having], scores[having]) - auroc(labels[lacking], scores[lacking])
        counts = count_groups(labels, attributes[:, column])
        gaps.append(PerformanceGap(name, value, counts))
    return gaps
