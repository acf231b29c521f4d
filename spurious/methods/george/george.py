"""GEORGE: group DRO on clusters of a first model's features instead of known groups.

Sohoni et al. 2020, "No subclass left behind: fine-grained robustness in coarse-grained
classification problems"; Saab et al. 2022 compare with it (section 4.3).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from spurious.config.methods import George
from spurious.data.randomness import derive
from spurious.errors import ConfigError, DataError
from spurious.methods.base import TrainingProblem
from spurious.methods.features import features, linear_head
from spurious.methods.first_model import first_model, first_model_copies, load_first_model
from spurious.methods.george.clusters import Clusters, cluster
from spurious.methods.group_weights import GroupObjective, sampler_of
from spurious.training import checkpoint
from spurious.training.evaluate import MetricRow
from spurious.training.loop import Fit, Hooks
from spurious.training.shared_models import SharedModel

KIND = "george-clusters"


def fit(problem: TrainingProblem, options: George, hooks: Hooks) -> Fit:
    """Find clusters by a first model, and train another from the start by group DRO on them.

    Validation then has `worst_cluster_accuracy`. The clusters are a stage of their own, since
    finding them can take long: whoever continues has them stored.

    Raises:
        ConfigError: `groups: pairs` while a class has no training image.
    """
    model_key = SharedModel(KIND, problem.config, first_model_copies(problem.config, options))
    stored = hooks.shared_models(
        model_key, lambda _: _pack(_find_clusters(problem, options, hooks))
    )
    clusters = _unpack(problem, stored)
    problem.evaluator.clusters = clusters.validation
    pairs = pairs_of(clusters.counts) if options.groups == "pairs" else None
    objective = GroupObjective(
        problem.supervision,
        clusters.training,
        options,
        problem.device,
        pairs,
        adjust_by_first=options.adjust_pairs == "negatives",
    )
    sampler = sampler_of(options, clusters.training)
    fitted = problem.run(problem.build(), objective, hooks, sampler=sampler)
    fitted.rows += [
        MetricRow(problem.train.epochs, "train", f"george_{name}_y{label}", None, float(value))
        for name, of_classes in (
            ("clusters", clusters.counts),
            ("silhouette", clusters.silhouettes),
        )
        for label, value in enumerate(of_classes)
    ]
    return fitted


def _find_clusters(problem: TrainingProblem, options: George, hooks: Hooks) -> Clusters:
    """Clusters of the first model's features; the best epoch's, on images as they are."""
    model = load_first_model(problem, first_model(problem, options, hooks).kept)
    training = features(problem, model, problem.training)
    validation = features(problem, model, problem.validation)
    negative, positive = linear_head(model).weight.detach().float().cpu().numpy()
    random_state = derive("clusters", problem.seed) % 2**32
    with threadpool_limits(1):  # sums over several threads differ in their last bits each time
        return cluster(training, validation, positive - negative, options, random_state)


def _pack(clusters: Clusters) -> bytes:
    return checkpoint.pack({name: torch.from_numpy(of) for name, of in vars(clusters).items()})


def _unpack(problem: TrainingProblem, stored: bytes) -> Clusters:
    state = checkpoint.unpack(stored)
    clusters = Clusters(**{name: tensor.numpy() for name, tensor in state.items()})
    if len(clusters.training) != len(problem.training):
        raise DataError("the stored clusters are of other training images; delete them")
    return clusters


def pairs_of(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """(K0 K1, 2) int64: each negative cluster with each positive one.

    Args:
        counts: (2,), K0 and K1: clusters of the negatives, numbered first, and of the positives.

    Raises:
        ConfigError: a class has no cluster.
    """
    if not counts.all():
        raise ConfigError(
            "method george with groups: pairs needs training images of both classes; "
            "use groups: clusters"
        )
    negatives, positives = np.arange(counts[0]), counts[0] + np.arange(counts[1])
    return np.stack(np.meshgrid(negatives, positives, indexing="ij"), axis=-1).reshape(-1, 2)
