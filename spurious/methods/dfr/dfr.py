"""Deep feature reweighting: a first model's last layer fitted again on balanced held-out images.

Kirichenko et al. 2023, "Last layer re-training is sufficient for robustness to spurious
correlations". The validation images are the held-out ones.

Shape legend: m validation images, G groups.
"""

from __future__ import annotations

import math
import time

import numpy as np
from numpy.typing import NDArray
from sklearn.preprocessing import StandardScaler

from spurious.config.methods import Dfr
from spurious.data.splits import TEST
from spurious.errors import ConfigError
from spurious.methods.base import TrainingProblem
from spurious.methods.dfr.last_layer import best_penalty, fit_averaged, put, undo_scaling
from spurious.methods.features import features, linear_head
from spurious.methods.first_model import first_model, load_first_model
from spurious.scoring.selection import parse_rule
from spurious.training.evaluate import MetricRow
from spurious.training.loop import Fit, Hooks
from spurious.training.model import Model


def fit(problem: TrainingProblem, options: Dfr, hooks: Hooks) -> Fit:
    """Train a first model, fit its last layer again, and evaluate it once, as the last epoch.

    The time of training is that of the second step, its images are those of all refits.

    Raises:
        ConfigError: the validation images lack a class, or a group has a single one.
    """
    model = load_first_model(problem, first_model(problem, options, hooks).kept)
    started = time.perf_counter()
    validation = features(problem, model, problem.validation)
    groups = validation.labels if problem.groups is None else problem.groups
    check(validation.labels, groups)
    vectors = validation.vectors.astype(np.float64)
    by_training = options.scale_by == "train"
    scaled_by = features(problem, model, problem.training).vectors if by_training else vectors
    scaler = StandardScaler().fit(scaled_by.astype(np.float64))
    unscaled, vectors = vectors, scaler.transform(vectors)
    penalty = best_penalty(
        unscaled if by_training else vectors,
        validation.labels,
        groups,
        problem.seed,
        scale_fitted=by_training,
    )
    line = fit_averaged(vectors, validation.labels, groups, penalty, options.refits, problem.seed)
    put(linear_head(model), undo_scaling(line, scaler.mean_, scaler.scale_))
    seconds = time.perf_counter() - started
    sizes = np.bincount(groups)
    drawn = len(sizes) * int(sizes.min())
    fitted = _evaluate(problem, model, hooks)
    fitted.seconds_training, fitted.images_trained = seconds, options.refits * drawn
    facts: dict[str, float] = {
        "dfr_c": penalty,
        "dfr_images": drawn,
        "dfr_features": int(np.count_nonzero(line.weights)),
    }
    fitted.rows += [
        MetricRow(problem.train.epochs, "train", name, None, value) for name, value in facts.items()
    ]
    return fitted


def _evaluate(problem: TrainingProblem, model: Model, hooks: Hooks) -> Fit:
    """Return a fit of one evaluated epoch, numbered as the trial's last, and kept."""
    epoch = problem.train.epochs
    evaluation = problem.evaluator(model, epoch, embeds=True)
    values = evaluation.values()
    if hooks.on_epoch is not None:
        hooks.on_epoch(epoch, epoch, values)
    rule = parse_rule(problem.train.keep)
    return Fit(
        rows=evaluation.rows,
        kept_epoch=epoch,
        kept_value=values.get(f"{rule.split}.{rule.metric}", math.nan),
        kept_state={k: v.detach().clone() for k, v in model.state_dict().items()},
        kept_scores=evaluation.scores,
        last_scores=evaluation.scores,
        embeddings=evaluation.embeddings[TEST],
    )


def check(labels: NDArray[np.int64], groups: NDArray[np.int64]) -> None:
    """Refuse validation images that cannot be balanced, or not halved to choose the penalty.

    Args:
        labels: (m,) in {0, 1}.
        groups: (m,), 0 to G - 1, each of one class.

    Raises:
        ConfigError: a class is absent, or a group has fewer than two images.
    """
    sizes = np.bincount(groups)
    if sizes.min() < 2 or len(np.unique(labels)) < 2:
        raise ConfigError(
            "method dfr needs validation images of both classes, and two of each group; the "
            f"groups here have {', '.join(map(str, sizes))}: use balance: classes, or a dataset "
            "with more validation images"
        )
