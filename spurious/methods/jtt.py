"""Just train twice: ERM, then ERM anew with the first model's errors drawn more often.

Liu et al. 2021, "Just train twice: improving group robustness without training group information",
algorithm 1; equal inferred groups are of Saab et al. 2022, appendix A.2.
"""

from __future__ import annotations

import logging

import numpy as np
from numpy.typing import NDArray

from spurious.evaluate import MetricRow
from spurious.feed import Order
from spurious.method_config import Jtt
from spurious.methods.base import Problem
from spurious.methods.features import predictions
from spurious.methods.first_stage import first_model, loaded
from spurious.objective import Objective
from spurious.train import Fit, Hooks

logger = logging.getLogger(__name__)


def fit(problem: Problem, options: Jtt, hooks: Hooks) -> Fit:
    """Train a first model, find its errors, and train another from the start with these."""
    labels = problem.training.labels
    first = first_model(problem, options, hooks)
    predicted = first.predicted
    if options.errors == "evaluation":
        predicted = predictions(problem, loaded(problem, first.last), problem.training)
    wrong = predicted != labels
    order = None
    if wrong.any():
        order = upsampled(labels, wrong, options)
    else:
        logger.warning(
            "the first model has no error on the %d training images, so jtt is plain ERM here; "
            "lower first_epochs or raise first_weight_decay",
            len(labels),
        )
    fitted = problem.run(problem.build(), Objective(problem.task), hooks, order=order)
    fitted.rows += [
        MetricRow(problem.train.epochs, "train", f"jtt_errors_y{label}", None, float(count))
        for label, count in enumerate(np.bincount(labels[wrong], minlength=2))
    ]
    return fitted


def upsampled(labels: NDArray[np.int64], wrong: NDArray[np.bool_], options: Jtt) -> Order:
    """Draws the second model's epochs.

    Args:
        labels: (n,) int64 in {0, 1}.
        wrong: (n,) bool, the errors; at least one.
        options: How errors are up-sampled.
    """
    if options.upsample == "groups":
        return as_many_as_the_largest(2 * labels + wrong)
    errors = np.flatnonzero(wrong)
    copies = {
        "append": options.factor,
        "weight": options.factor - 1,
        "balance": max((len(labels) - len(errors)) // len(errors) - 1, 0),
    }[options.upsample]
    positions = np.concatenate([np.arange(len(labels)), np.tile(errors, copies)])
    return lambda rng: rng.permutation(positions)


def as_many_as_the_largest(groups: NDArray[np.int64]) -> Order:
    """Every group as often as the largest; (n,) int64, groups without an image stay without.

    An image is drawn as often as any other of its group, or once more: who is, is drawn anew each
    epoch.
    """
    members = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    largest = max(len(own) for own in members)

    def order(rng: np.random.Generator) -> NDArray[np.int64]:
        drawn = []
        for own in members:
            whole, part = divmod(largest, len(own))
            drawn += [np.tile(own, whole), rng.choice(own, part, replace=False)]
        return rng.permutation(np.concatenate(drawn))

    return order
