"""What every method is given. It never holds test data; the evaluator does, and only scores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from spurious.config.options import FitConfig, Train
from spurious.data.sampling import BatchSampler, Sampler
from spurious.data.splits import VALIDATION
from spurious.data.training_set import TrainingSet
from spurious.training.evaluate import Evaluator
from spurious.training.loop import Fit, Hooks, Loop
from spurious.training.model import Model
from spurious.training.objective import Objective
from spurious.training.supervision import Supervision


@dataclass(frozen=True)
class TrainingProblem:
    """One training problem.

    Attributes:
        config: The fully resolved configuration.
        training: The annotated training images.
        rest: The other training images where there are any: with their labels where `config.rest`
            says so, else with -1 for a label.
        validation: Un-augmented validation images with their labels.
        evaluator: Scores models on validation and test; gives numbers only.
        supervision: Loss and score of the specificity.
        device: Where to train.
        build: A new model, the same each time, also where weights are random.
        groups: (n,) int64, 0 to G - 1, the groups of known spurious labels: of the training
            images, or of the validation images, as the method's options say; else None.
        examined: Training images whose explanations are a method's examples: the good and the bad
            one that are named, or those that a rule picks from, with their regions. None for other
            methods.
    """

    config: FitConfig
    training: TrainingSet
    rest: TrainingSet | None
    validation: TrainingSet
    evaluator: Evaluator
    supervision: Supervision
    device: torch.device
    build: Callable[[], Model]
    groups: NDArray[np.int64] | None = None
    examined: TrainingSet | None = None

    @property
    def seed(self) -> int:
        """The trial's seed."""
        return self.config.seed

    @property
    def train(self) -> Train:
        """The loop's options."""
        return self.config.train

    def stage(self, config: FitConfig) -> TrainingProblem:
        """Return the same images under other options, for a model that trials begin with.

        Its own scores on test are nobody's results, so that test images are not scored.
        """
        return replace(self, config=config, evaluator=self.evaluator.only(VALIDATION))

    def batch_sampler(
        self, sampler: Sampler | None = None, rest: TrainingSet | None = None
    ) -> BatchSampler:
        """The annotated images, each once an epoch or in another order, with images of the rest."""
        return BatchSampler(self.training, self.train.batch_size, self.seed, sampler, rest)

    def loop(self, model: Model, objective: Objective) -> Loop:
        """Return the training loop of a model."""
        return Loop(model, objective, self.train, self.seed, self.device)

    def run(
        self, model: Model, objective: Objective, hooks: Hooks, sampler: Sampler | None = None
    ) -> Fit:
        """Train a model, with the rest's image labels where the configuration has them."""
        from spurious.training.weak_labels import RestLabels

        rest = None
        if self.config.rest is not None and self.rest is not None:
            objective, rest = RestLabels(objective, self.config.rest), self.rest
        return self.loop(model, objective).run(
            self.batch_sampler(sampler, rest), self.evaluator, hooks
        )


Method = Callable[[TrainingProblem, Any, Hooks], Fit]
