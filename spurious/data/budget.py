"""Which training images carry the annotation: nested draws from (dataset digest, seed) alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spurious.config.fields import Balance
from spurious.config.options import Budget
from spurious.data.randomness import generator
from spurious.errors import ConfigError


def maximum(positives: int, negatives: int, balance: Balance) -> int:
    """Largest budget that a training split of these counts can carry."""
    return 2 * min(positives, negatives) if balance == "equal" else positives + negatives


def draw(
    labels: NDArray[np.int64], budget: Budget, dataset_digest: str, seed: int
) -> NDArray[np.int64]:
    """Choose the annotated training images.

    Draws of one (digest, seed, balance) are nested: 600 lie inside 1100 lie inside 2200. Nothing
    else enters, so every method and specificity of a seed sees the same images.

    Args:
        labels: (N,) int64 in {0, 1}, the labels of the training split in id order.
        budget: Number of images (or all) and balance.
        dataset_digest: The manifest's digest.
        seed: The trial's seed.

    Returns:
        Ascending positions into `labels`, (n,) int64.

    Raises:
        ConfigError: more images than there are; the message names the maximum.
    """
    if budget.images is None:
        return np.arange(len(labels), dtype=np.int64)
    positives, negatives = int((labels == 1).sum()), int((labels == 0).sum())
    most = maximum(positives, negatives, budget.balance)
    if budget.images > most:
        raise ConfigError(
            f"budget {budget.images} with balance {budget.balance} is more than this training "
            f"split holds ({positives} positive, {negatives} negative): expected at most {most}"
        )
    order = generator("budget", dataset_digest, seed).permutation(len(labels))
    if budget.balance == "natural":
        return np.sort(order[: budget.images])
    ranked = labels[order]
    half = budget.images // 2
    chosen = [order[ranked == value][: budget.images - half if value else half] for value in (0, 1)]
    return np.sort(np.concatenate(chosen))
