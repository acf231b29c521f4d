"""The ERM model that two-stage methods begin with, shared between trials of equal options."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from spurious.config.method import FirstModelOptions
from spurious.config.methods import Erm
from spurious.config.options import FitConfig
from spurious.data.batches import Batch
from spurious.data.sampling import Sampler, oversample_to_largest_group
from spurious.errors import DataError
from spurious.methods.base import TrainingProblem
from spurious.training import checkpoint
from spurious.training.loop import Hooks
from spurious.training.model import Model
from spurious.training.objective import Forward, Objective
from spurious.training.shared_models import SharedModel
from spurious.training.supervision import Supervision

KIND = "erm"
BALANCED_KIND = "erm-classes"
"""Of a first model that sees both classes equally often: part of its identity."""


@dataclass(frozen=True)
class FirstModel:
    """A trained first model.

    Attributes:
        kept: State dict of the epoch that `first_keep` chose.
        last: State dict of the last epoch.
        predicted: (n,) int64, the classes predicted for the training images while the last epoch
            trained: augmented, in training mode, the weights moving.
    """

    kept: dict[str, torch.Tensor]
    last: dict[str, torch.Tensor]
    predicted: NDArray[np.int64]


class LoggingObjective(Objective):
    """ERM that remembers what it predicted for each training image."""

    def __init__(self, supervision: Supervision, images: int) -> None:
        super().__init__(supervision)
        self.predicted = torch.full((images,), -1)

    def loss(self, forward: Forward, batch: Batch) -> torch.Tensor:
        """Return the mean loss; predictions are written down."""
        logits = forward(batch.x)
        self.predicted[batch.positions] = logits.detach().argmax(dim=1).cpu()
        return self.supervision.losses(logits, batch.targets).mean()


def first_config(config: FitConfig, options: FirstModelOptions) -> FitConfig:
    """Return the configuration of the first model: ERM with the options' own training options."""
    chosen = {
        "epochs": options.first_epochs,
        "optimizer": options.first_optimizer,
        "learning_rate": options.first_learning_rate,
        "weight_decay": options.first_weight_decay,
        "batch_size": options.first_batch_size,
    }
    changes = {name: value for name, value in chosen.items() if value is not None}
    train = replace(config.train, keep=options.first_keep, **changes)  # type: ignore[arg-type]
    return replace(config, method_name="erm", method=Erm(), train=train)


def first_model_copies(config: FitConfig, options: FirstModelOptions) -> bool:
    """Return whether an epoch of the first model may hold augmented copies of one image."""
    return config.train.augment != "none" and options.first_model_repeats(config.budget)


def first_model(problem: TrainingProblem, options: FirstModelOptions, hooks: Hooks) -> FirstModel:
    """Take up the first model where one is stored, else train it."""
    config = first_config(problem.config, options)
    balanced = options.first_balance == "classes"
    model_key = SharedModel(
        BALANCED_KIND if balanced else KIND, config, first_model_copies(problem.config, options)
    )
    sampler = oversample_to_largest_group(problem.training.labels) if balanced else None
    state = checkpoint.unpack(
        hooks.shared_models(
            model_key, lambda model_hooks: _train(problem, config, sampler, model_hooks)
        )
    )
    predicted = state["predicted"].numpy()
    if len(predicted) != len(problem.training):
        raise DataError("the stored first model is of other training images; delete it")
    return FirstModel(state["kept"], state["last"], predicted)


def _train(
    problem: TrainingProblem, config: FitConfig, sampler: Sampler | None, hooks: Hooks
) -> bytes:
    part = problem.stage(config)
    model = part.build()
    objective = LoggingObjective(part.supervision, len(part.training))
    fitted = part.run(model, objective, hooks, sampler=sampler)
    return checkpoint.pack(
        {
            "kept": fitted.kept_state,
            "last": {key: value.detach().cpu() for key, value in model.state_dict().items()},
            "predicted": objective.predicted,
        }
    )


def load_first_model(problem: TrainingProblem, state: dict[str, torch.Tensor]) -> Model:
    """Return a model with a stored state, in evaluation mode on the problem's device."""
    model = problem.build()
    model.load_state_dict(state)
    return model.to(problem.device).eval()
