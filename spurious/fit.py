"""Fit one fully resolved configuration on one dataset: the entry point of the science."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from spurious.budget import draw
from spurious.config import METHODS, FitConfig
from spurious.cost import AnnotationCounts
from spurious.dataset import Dataset
from spurious.errors import ConfigError
from spurious.evaluate import Evaluator
from spurious.methods import erm
from spurious.methods.base import Method, Problem
from spurious.models import LoadWeights, build
from spurious.tasks import task_for
from spurious.train import Fit, Hooks
from spurious.training_set import TrainingSet

IMPLEMENTATIONS: Mapping[str, Method] = {"erm": erm.fit}


@dataclass(frozen=True)
class Machine:
    """Where a fit runs; nothing here may change its numbers on one CPU type, except `threads`.

    Attributes:
        device: `cpu` or `cuda`.
        threads: torch threads; recorded in the provenance.
        workers: Augmentation threads.
    """

    device: str = "cpu"
    threads: int = 1
    workers: int = 1


def annotated_rows(dataset: Dataset, config: FitConfig) -> NDArray[np.int64]:
    """Rows of the training images that carry the annotation, ascending, (n,) int64."""
    train = dataset.rows("train")
    chosen = draw(dataset.labels[train], config.budget, dataset.digest, config.seed)
    return train[chosen]


def count_annotations(
    dataset: Dataset, rows: NDArray[np.int64], config: FitConfig
) -> AnnotationCounts:
    """What the trial's annotations are, to be priced when reporting."""
    val = dataset.rows("val")
    uses_spurious = METHODS[config.method_name].needs_spurious_labels
    return AnnotationCounts(
        train_images=len(rows),
        train_abnormalities=int(dataset.abnormalities[rows].sum()),
        train_negatives=int((dataset.labels[rows] == 0).sum()),
        spurious_labels=len(rows) * len(dataset.attribute_names) if uses_spurious else 0,
        val_images=len(val),
        val_abnormalities=int(dataset.abnormalities[val].sum()),
        val_negatives=int((dataset.labels[val] == 0).sum()),
    )


def fit(
    dataset: Dataset,
    config: FitConfig,
    machine: Machine,
    hooks: Hooks,
    load_weights: LoadWeights,
) -> Fit:
    """Draw the annotated images, build the model and train it.

    Args:
        dataset: The opened dataset.
        config: The fully resolved configuration.
        machine: Device and threads.
        hooks: Progress and checkpoints.
        load_weights: Gives the state dict for the SHA-256 of stored weights.

    Raises:
        ConfigError: the budget, specificity or model does not fit the dataset.
        NumericalError: the loss became NaN or infinite.
    """
    torch.set_num_threads(machine.threads)
    device = torch.device(machine.device)
    # some CUDA kernels have no deterministic form; on the CPU a missing one is an error
    torch.use_deterministic_algorithms(True, warn_only=device.type != "cpu")
    if config.method_name not in IMPLEMENTATIONS:
        raise ConfigError(f"unknown method '{config.method_name}'")
    rows = annotated_rows(dataset, config)
    task = task_for(config.specificity, config.readout)
    train = config.train
    problem = Problem(
        training=TrainingSet(
            dataset, rows, config.specificity, train, config.seed, machine.workers
        ),
        evaluator=Evaluator(
            dataset, config.specificity, task, train.normalise, device, train.precision
        ),
        task=task,
        train=train,
        seed=config.seed,
        device=device,
    )
    height, width, channels = dataset.images.shape[1:]
    model = build(
        config.model_name, config.model, (height, width, channels), config.seed, load_weights
    )
    return IMPLEMENTATIONS[config.method_name](problem, config.method, model, hooks)
