"""How much work a trial is: images that go through its model, known before anything runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from spurious.config.options import Train
from spurious.data.splits import EVALUATION_SPLITS
from sweeps.plan.cell import Cell
from sweeps.plan.plan import DatasetFacts, Trial

EVALUATION_SHARE = 1 / 3
"""Time of scoring an image in that of training on it: a pass forward of one forward and back."""


_RECORDS = 3.0
"""Epochs that are best so far under some metric, for each factor of e of evaluations: assumed."""


@dataclass(frozen=True)
class Work:
    """Images that go through a trial's models.

    Attributes:
        trained: Images in training steps, each counted as often as ERM passes over one in the time.
        evaluated: Images of validation and test that are scored, each time that they are.
    """

    trained: float
    evaluated: float

    @property
    def relative(self) -> float:
        """One number for the order of trials, in images trained by ERM."""
        return self.trained + EVALUATION_SHARE * self.evaluated


@dataclass(frozen=True)
class ImageNumbers:
    """Images of the splits of a dataset; 0 where unknown.

    Attributes:
        train: Of the training split.
        val: Of validation.
        test: Of test.
    """

    train: int
    val: int
    test: int


def count_images(facts: DatasetFacts | None) -> ImageNumbers:
    """Count the images that trials on a dataset see."""
    if facts is None:
        return ImageNumbers(0, 0, 0)
    counts: Mapping[str, Mapping[str, int]] = facts.counts or {}
    val, test = (counts[split]["n"] if split in counts else 0 for split in EVALUATION_SPLITS)
    return ImageNumbers(facts.training_images or 0, val, test)


def trial_work(trial: Trial, images: ImageNumbers) -> Work:
    """Return the work of a planned trial."""
    config = trial.config
    return count_work(trial.cell, config.train, images, reads_rest=config.rest is not None)


def work_of(trials: Sequence[Trial], facts: DatasetFacts | None) -> dict[str, Work]:
    """Return the work of planned trials by id."""
    images = count_images(facts)
    return {trial.id: trial_work(trial, images) for trial in trials}


def count_work(cell: Cell, train: Train, images: ImageNumbers, *, reads_rest: bool) -> Work:
    """Return the work of a trial.

    A first model counts as if this trial trained it, although another one may share it.

    Args:
        cell: Its cell.
        train: Its training options.
        images: Of its dataset.
        reads_rest: Whether it reads labels of the images beyond the budget.
    """
    method, budget = cell.method.options, cell.budget.images
    annotated = images.train if budget is None else budget
    unannotated = max(0, images.train - annotated)
    if reads_rest and method.steers:  # they join its own images
        annotated += unannotated
    # each annotated image comes with one that is not
    paired = (
        2.0 if reads_rest and unannotated and method.passes == 1.0 and not method.steers else 1.0
    )
    first_epochs, first_passes = method.first_training(train)
    last_model = train.epochs * method.passes * paired
    evaluations = [
        _count_evaluations(train.epochs if method.passes else 1, train),
        _count_evaluations(first_epochs, train),
    ]
    scored_on_test = sum(_count_candidates(number, train) for number in evaluations)
    return Work(
        trained=annotated * (last_model + first_epochs * first_passes),
        evaluated=float(images.val * sum(evaluations) + images.test * scored_on_test),
    )


def _count_evaluations(epochs: int, train: Train) -> int:
    """Count evaluated epochs; the last one always is."""
    return -(-epochs // train.evaluate_every)


def _count_candidates(evaluations: int, train: Train) -> int:
    """Count the evaluations that score test images.

    Of candidates nobody knows the number. That of records among independent values grows with the
    logarithm, and there are a few metrics.
    """
    if train.score_test == "every" or not evaluations:
        return evaluations
    return min(evaluations, 1 + round(_RECORDS * math.log(evaluations)))
