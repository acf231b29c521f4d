"""Which training images carry the annotation: nested draws from (dataset digest, seed) alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spurious.config.fields import Balance, SupervisionKind
from spurious.config.options import Budget
from spurious.data.drawn import carries, rank_by_detail
from spurious.data.randomness import generator
from spurious.errors import ConfigError


def maximum(positives: int, negatives: int, balance: Balance) -> int:
    """Largest budget that a training split of these counts can carry."""
    return 2 * min(positives, negatives) if balance == "equal" else positives + negatives


def find_excess(
    positives: int, negatives: int, budget: Budget, kind: SupervisionKind, *, partial: bool
) -> str | None:
    """Return why a budget is more than a training split can carry, or None.

    Args:
        positives: Positive training images that carry the annotation.
        negatives: Negative ones.
        budget: Number of images (or all) and balance.
        kind: The annotation.
        partial: Whether the dataset has masks or boxes on some of its images only.
    """
    most = maximum(positives, negatives, budget.balance)
    requested = "all" if budget.images is None else f"{budget.images}"
    if partial and kind != "label" and not (positives and negatives):
        most = 0  # one label alone trains nothing, whatever the balance
    elif budget.images is None or budget.images <= most:
        return None
    if not partial or kind == "label":
        return (
            f"{requested} with balance {budget.balance} is more than this training split holds "
            f"({positives} positive, {negatives} negative): expected at most {most}"
        )
    what = "boxes" if kind == "box" else "masks"
    remedy = ""
    if positives and not negatives:
        remedy = (
            "; where somebody looked at the negative images and there is nothing to draw, stage "
            "them with --set normal_images=empty"
        )
    elif not positives and not negatives:
        remedy = "; nobody drew any, so leave that specificity out"
    return (
        f"{requested} with balance {budget.balance} is more than the training images with "
        f"{what} ({positives} positive, {negatives} negative): expected at most {most}{remedy}"
    )


def draw(
    labels: NDArray[np.int64],
    budget: Budget,
    dataset_digest: str,
    seed: int,
    drawn: NDArray[np.uint8] | None = None,
    kind: SupervisionKind = "label",
) -> NDArray[np.int64]:
    """Choose the annotated training images.

    Draws of one (digest, seed, balance) are nested: 600 lie inside 1100 lie inside 2200. Nothing
    else enters, so every method and specificity of a seed sees the same images. Where only some
    images have masks or boxes, those with a mask come first, then those with boxes: a budget that
    the masks suffice for sees images with masks at every specificity, that of labels included.

    Args:
        labels: (N,) int64 in {0, 1}, the labels of the training split in id order.
        budget: Number of images (or all) and balance.
        dataset_digest: The manifest's digest.
        seed: The trial's seed.
        drawn: (N,) uint8, bits of `spurious.data.drawn`; None where every mask is drawn.
        kind: What the images must carry; a budget of all takes all that do.

    Returns:
        Ascending positions into `labels`, (n,) int64.

    Raises:
        ConfigError: more images than there are; the message names the maximum.
    """
    usable = np.ones(len(labels), bool) if drawn is None else carries(drawn, kind)
    positives, negatives = int((labels[usable] == 1).sum()), int((labels[usable] == 0).sum())
    if problem := find_excess(positives, negatives, budget, kind, partial=drawn is not None):
        raise ConfigError(f"budget {problem}")
    if budget.images is None:
        return np.flatnonzero(usable)
    order = generator("budget", dataset_digest, seed).permutation(len(labels))
    if drawn is not None:
        order = order[np.argsort(rank_by_detail(drawn, labels)[order], kind="stable")]
    if budget.balance == "natural":
        return np.sort(order[: budget.images])
    ranked = labels[order]
    half = budget.images // 2
    chosen = [order[ranked == value][: budget.images - half if value else half] for value in (0, 1)]
    return np.sort(np.concatenate(chosen))
