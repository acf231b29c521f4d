"""An AUROC with its structural components: vectors whose inner products are covariances.

Shape legend: N images, P patients, L components, S seeds; leading axes are kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Reading:
    """What one trained model made of the test images.

    Attributes:
        value: The AUROC.
        components: (L,) float32; the inner product of two readings of the same images is the DeLong
            covariance of their AUROCs, summed by patient (Obuchowski 1997).
        cases: Patients with an image of the rarer class.
        count: Images that it was read on.
        images: Digest of these and their labels: readings of other images do not compare.
    """

    value: float
    components: NDArray[np.float32]
    cases: int
    count: int
    images: str


def mid_ranks(values: Floats) -> Floats:
    """Return ranks from 1 along the last axis, ties sharing their mean rank."""
    order = np.argsort(values, axis=-1, kind="stable")
    ordered = np.take_along_axis(values, order, axis=-1)
    if (ordered[..., 1:] != ordered[..., :-1]).all():  # no ties: ranks are places
        ranks = np.empty(values.shape)
        np.put_along_axis(ranks, order, np.arange(1.0, values.shape[-1] + 1), axis=-1)
        return ranks
    index = np.broadcast_to(np.arange(values.shape[-1], dtype=np.float64), values.shape)
    starts = np.ones(values.shape, dtype=bool)
    starts[..., 1:] = ordered[..., 1:] != ordered[..., :-1]
    ends = np.ones(values.shape, dtype=bool)
    ends[..., :-1] = starts[..., 1:]
    first = np.maximum.accumulate(np.where(starts, index, 0.0), axis=-1)
    last = np.where(ends, index, np.inf)[..., ::-1]
    last = np.minimum.accumulate(last, axis=-1)[..., ::-1]
    ranks = np.empty(values.shape)
    np.put_along_axis(ranks, order, (first + last) / 2.0 + 1.0, axis=-1)
    return ranks


def placements(positives: Floats, negatives: Floats) -> tuple[Floats, Floats]:
    """Return V10 and V01: each image's share of pairs that are ordered rightly, by mid-ranks.

    Args:
        positives: (..., m) scores of abnormal images.
        negatives: (..., n) scores of normal ones.

    Returns:
        (..., m) and (..., n); the mean of either is the AUROC.
    """
    m, n = positives.shape[-1], negatives.shape[-1]
    ranks = mid_ranks(np.concatenate([positives, negatives], axis=-1))
    v10 = (ranks[..., :m] - mid_ranks(positives)) / n
    v01 = 1.0 - (ranks[..., m:] - mid_ranks(negatives)) / m
    return v10, v01


def delong(positives: Floats, negatives: Floats) -> tuple[Floats, Floats]:
    """Return AUROCs and components of independent images.

    Args:
        positives: (..., m) scores.
        negatives: (..., n) scores.

    Returns:
        (...) AUROCs and (..., m + n) components.
    """
    m, n = positives.shape[-1], negatives.shape[-1]
    v10, v01 = placements(positives, negatives)
    value = v10.mean(axis=-1)
    parts = [
        (v - value[..., None]) / np.sqrt(count * max(count - 1, 1))
        for v, count in ((v10, m), (v01, n))
    ]
    return value, np.concatenate(parts, axis=-1)


@dataclass(frozen=True)
class Images:
    """Images that readings are taken of, in the order of their ids.

    Attributes:
        order: (N,) places where they are in what is read.
        positive: (N,) bool, in that order, as all that follows.
        patient: (N,) numbers of patients, from 0.
        digest: Of ids and labels.
    """

    order: NDArray[np.intp]
    positive: NDArray[np.bool_]
    patient: NDArray[np.intp]
    digest: str


def arrange(labels: NDArray[np.int64], samples: Sequence[Any], patients: Sequence[Any]) -> Images:
    """Return images in an order that all trials share, whatever the order of their predictions.

    Args:
        labels: (N,) in {0, 1}.
        samples: (N,) image ids.
        patients: (N,) patient ids.
    """
    names = np.asarray(samples, dtype=str)
    order = np.argsort(names, kind="stable")
    labels = labels[order]
    _, patient = np.unique(np.asarray(patients, dtype=str)[order], return_inverse=True)
    text = "\n".join(f"{name} {label}" for name, label in zip(names[order], labels, strict=True))
    return Images(order, labels == 1, patient, hashlib.sha256(text.encode()).hexdigest()[:16])


def take_reading(images: Images, scores: Floats) -> Reading | None:
    """Return the AUROC of images with its components; None where it is undefined.

    Args:
        images: The result of `arrange`.
        scores: (N,), higher is more abnormal, in the order in which that got the images.
    """
    positive, patient = images.positive, images.patient
    scores = np.asarray(scores, dtype=np.float64)[images.order]
    if not positive.any() or positive.all() or bool(np.isnan(scores).any()):
        return None
    v10, v01 = placements(scores[positive], scores[~positive])
    value = float(v10.mean())
    components, cases = _by_patient(v10 - value, v01 - value, patient[positive], patient[~positive])
    return Reading(value, components.astype(np.float32), cases, len(positive), images.digest)


def _by_patient(
    v10: Floats, v01: Floats, of_positives: NDArray[np.intp], of_negatives: NDArray[np.intp]
) -> tuple[Floats, int]:
    """Return components of centred V10 and V01 summed by patient, and patients of the rarer class.

    With p and q the two sums of a patient, divided by m and n and scaled by I / (I - 1) of their
    patients, Obuchowski's variance is the sum of p^2 + q^2 + 2 g p q. As three numbers whose
    squares add up to that: sqrt(1 - g) p, sqrt(1 - g) q, sqrt(g) (p + q).
    """
    patients = int(max(of_positives.max(), of_negatives.max())) + 1
    has = [np.zeros(patients, dtype=bool) for _ in range(2)]
    sums, factors = [], []
    for one, v, of in zip(has, (v10, v01), (of_positives, of_negatives), strict=True):
        one[of] = True
        count = int(one.sum())
        factors.append(count / max(count - 1, 1))
        total = np.bincount(of, weights=v, minlength=patients) / len(v)
        sums.append(total * np.sqrt(factors[-1]))
    both = has[0] & has[1]
    g = patients / max(patients - 1, 1) / np.sqrt(factors[0] * factors[1])
    p, q = sums
    alone = np.where(both, np.sqrt(max(1.0 - g, 0.0)), 1.0)
    parts = [(p * alone)[has[0]], (q * alone)[has[1]], np.sqrt(g) * (p + q)[both]]
    return np.concatenate(parts), min(int(one.sum()) for one in has)
