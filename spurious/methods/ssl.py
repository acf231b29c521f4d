"""Semi-supervised segmentation with pseudo-masks (Seg-SSL: Saab et al. 2022, section 4.2.1).

Step 1 trains a teacher on the annotated images and on unlabelled ones: pixel cross-entropy on the
former, and on the latter 1 - cos of the image embeddings of two augmented views. Step 2 trains a
new model with the same losses, the cross-entropy being over the annotated images and over the
unlabelled ones with the teacher's masks.

What the paper leaves open: the image embedding is the mean of the deepest feature map, which
shifts and flips hardly move; pseudo-masks are the teacher's more probable class on the image
without augmentation; each batch comes with as many unlabelled images, and an epoch is a pass over
the annotated ones; cross-entropy takes the first view with its mask augmented alike. All images of
a step go through the network together, which takes three times the memory of ERM.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from spurious.config.methods import Ssl
from spurious.config.options import Specificity
from spurious.data.batches import Batch
from spurious.data.inputs import PackedTargets
from spurious.data.masks import PackedMasks
from spurious.data.sampling import BatchSampler
from spurious.data.training_set import TrainingSet
from spurious.errors import ConfigError
from spurious.methods.base import TrainingProblem
from spurious.methods.first_model import load_first_model
from spurious.training import checkpoint
from spurious.training.evaluate import MetricRow, layout
from spurious.training.loop import Fit, Hooks
from spurious.training.objective import Forward, Objective
from spurious.training.shared_models import SharedModel
from spurious.training.similarity import unit
from spurious.training.supervision import Supervision

KIND = "ssl-teacher"
_BATCH = 64
"""Images per forward pass of the teacher; fixed, so that no option touches its masks."""


def view_losses(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """1 - cos of the embeddings of two views, (B, D) each to (B,) float32."""
    return 1 - (unit(first) * unit(second)).sum(dim=1)


class TwoViews(Objective):
    """Cross-entropy, and the similarity of two views of the unlabelled images.

    Args:
        supervision: Gives the cross-entropy.
        weight: Of the similarity.
        pseudo: Whether the unlabelled images come with masks, which then count as annotated ones.
    """

    def __init__(self, supervision: Supervision, weight: float, pseudo: bool) -> None:
        super().__init__(supervision)
        self.weight, self.pseudo = weight, pseudo

    def loss(self, forward: Forward, batch: Batch) -> torch.Tensor:
        """Return the mean over images of each loss, weighted and added."""
        rest = batch.rest
        assert rest is not None
        assert rest.second is not None
        output = forward.embedded(torch.cat([batch.x, rest.x, rest.second]))
        targets = torch.cat([batch.targets, rest.targets]) if self.pseudo else batch.targets
        supervised = self.supervision.losses(output.logits[: len(targets)], targets).mean()
        first, second = output.images[len(batch) :].chunk(2)
        return supervised + self.weight * view_losses(first, second).mean()


class PseudoMasks(PackedTargets):
    """Predicted masks, eight pixels to a byte.

    Args:
        masks: (B, H, W) bool, batch by batch.
    """

    def __init__(self, masks: Iterable[NDArray[np.bool_]]) -> None:
        packed = PackedMasks.pack(mask for part in masks for mask in part)
        super().__init__(packed, np.arange(len(packed)), Specificity("mask"))

    @property
    def positive(self) -> NDArray[np.bool_]:
        """(n,) bool: which masks are not empty."""
        return np.asarray(self._masks.bits.any(axis=1), dtype=bool)


def select_unlabelled(problem: TrainingProblem, options: Ssl) -> TrainingSet:
    """Return the images beyond the budget.

    Raises:
        ConfigError: there are none, or `filter_by_label` has no labels, or the augmentation of the
            views does not suit the images.
    """
    if problem.rest is None:
        raise ConfigError(
            "method ssl learns from training images beyond the budget, and this budget leaves "
            "none; lower it, or use another method"
        )
    if options.filter_by_label and problem.config.rest is None:
        raise ConfigError(
            "ssl with filter_by_label needs image labels of the training images beyond the "
            "budget, and they have none; add `rest: label`, or use filter_by_label: false"
        )
    return problem.rest.under(options.views)


def run(
    problem: TrainingProblem, options: Ssl, rest: TrainingSet, pseudo: bool, hooks: Hooks
) -> Fit:
    """Train a new model on annotated and unlabelled images."""
    objective = TwoViews(problem.supervision, options.weight, pseudo)
    batch_sampler = BatchSampler(
        problem.training, problem.train.batch_size, problem.seed, rest=rest, two_views=True
    )
    return problem.loop(problem.build(), objective).run(batch_sampler, problem.evaluator, hooks)


def teacher(
    problem: TrainingProblem, options: Ssl, rest: TrainingSet, hooks: Hooks
) -> dict[str, torch.Tensor]:
    """Return the kept state of step 1's model, taken up where it is stored, else trained.

    Labels do not reach it, so trials with and without them share it.
    """
    config = replace(problem.config, method=replace(options, filter_by_label=False), rest=None)

    def make(model_hooks: Hooks) -> bytes:
        fitted = run(problem.stage(config), options, rest, False, model_hooks)
        return checkpoint.pack({"kept": fitted.kept_state})

    copies = config.augments_copies(len(problem.training) + len(rest))
    state: dict[str, torch.Tensor] = checkpoint.unpack(
        hooks.shared_models(SharedModel(KIND, config, copies), make)
    )["kept"]
    return state


def predicted_masks(
    problem: TrainingProblem,
    state: dict[str, torch.Tensor],
    rest: TrainingSet,
    filter_by_label: bool,
) -> Iterator[NDArray[np.bool_]]:
    """Yield a stored model's masks of the clean images in order, (B, H, W) bool batch by batch.

    With `filter_by_label` the mask of an image that is labelled negative is empty.
    """
    train = problem.train
    forward = Forward(
        load_first_model(problem, state), problem.device, train.precision == "bfloat16"
    )
    for batch in rest.clean(_BATCH):
        with torch.no_grad():
            logits = forward(batch.to(problem.device, layout(train)).x)
        masks = logits.argmax(dim=1).bool().cpu().numpy()
        if filter_by_label:
            masks[rest.labels[batch.positions.numpy()] == 0] = False
        yield masks


def fit(problem: TrainingProblem, options: Ssl, hooks: Hooks) -> Fit:
    """Train the teacher, and the model on what it segments."""
    rest = select_unlabelled(problem, options)
    state = teacher(problem, options, rest, hooks)
    masks = PseudoMasks(predicted_masks(problem, state, rest, options.filter_by_label))
    fitted = run(problem, options, rest.under(options.views, masks), True, hooks)
    share = float(masks.positive.mean())
    fitted.rows.append(
        MetricRow(problem.train.epochs, "train", "ssl_positive_pseudo_masks", None, share)
    )
    return fitted
