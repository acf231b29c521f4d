"""Just train twice: ERM, then ERM again with the first model's errors drawn more often.

Liu et al. 2021, "Just train twice: improving group robustness without training group information",
algorithm 1; equal inferred groups are of Saab et al. 2022, appendix A.2.
"""

from __future__ import annotations

import logging

import numpy as np
from numpy.typing import NDArray

from spurious.config.methods import Jtt
from spurious.data.sampling import Sampler, oversample_to_largest_group
from spurious.methods.base import TrainingProblem
from spurious.methods.features import predictions
from spurious.methods.first_model import first_model, load_first_model
from spurious.training.evaluate import MetricRow
from spurious.training.loop import Fit, Hooks
from spurious.training.objective import Objective

ALMOST_ALL = 0.95
"""Share of a class above which its errors no longer tell its images apart."""

logger = logging.getLogger(__name__)


def fit(problem: TrainingProblem, options: Jtt, hooks: Hooks) -> Fit:
    """Train a first model, find its errors, and train another from the start with these."""
    labels = problem.training.labels
    first = first_model(problem, options, hooks)
    predicted = first.predicted
    if options.errors == "evaluation":
        predicted = predictions(problem, load_first_model(problem, first.last), problem.training)
    wrong = predicted != labels
    sampler = None
    if wrong.any():
        sampler = upsample_errors(labels, wrong, options)
    else:
        logger.warning(
            "the first model has no error on the %d training images, so jtt is plain ERM here; "
            "lower first_epochs or raise first_weight_decay",
            len(labels),
        )
    almost_all = wrong_classes(labels, wrong)
    if almost_all:
        logger.warning(
            "the first model gets more than %d %% wrong of the images of class %s, so their errors "
            "are little else than a class and jtt is close to ERM on balanced classes; raise "
            "first_epochs or first_learning_rate, or use first_balance: classes",
            round(100 * ALMOST_ALL),
            " and ".join(map(str, almost_all)),
        )
    fitted = problem.run(problem.build(), Objective(problem.supervision), hooks, sampler=sampler)
    classes = range(problem.training.n_classes)
    facts = {f"jtt_errors_y{y}": int(wrong[labels == y].sum()) for y in classes}
    facts["jtt_wrong_classes"] = len(almost_all)
    fitted.rows += [
        MetricRow(problem.train.epochs, "train", name, None, float(count))
        for name, count in facts.items()
    ]
    return fitted


def wrong_classes(labels: NDArray[np.int64], wrong: NDArray[np.bool_]) -> list[int]:
    """Classes that are wrong almost as a whole; labels or classes (n,) from 0, wrong (n,) bool."""
    return [y for y in np.unique(labels).tolist() if wrong[labels == y].mean() > ALMOST_ALL]


def upsample_errors(labels: NDArray[np.int64], wrong: NDArray[np.bool_], options: Jtt) -> Sampler:
    """Draws the second model's epochs.

    Args:
        labels: (n,) int64, labels or classes from 0.
        wrong: (n,) bool, the errors; at least one.
        options: How errors are up-sampled.
    """
    if options.upsample == "groups":
        return oversample_to_largest_group(2 * labels + wrong)
    errors = np.flatnonzero(wrong)
    copies = {
        "append": options.factor,
        "weight": options.factor - 1,
        "balance": max((len(labels) - len(errors)) // len(errors) - 1, 0),
    }[options.upsample]
    positions = np.concatenate([np.arange(len(labels)), np.tile(errors, copies)])
    return lambda rng: rng.permutation(positions)
