"""A trained model with everything that its score of an image depends on, and no more.

It is built again without a training problem: on another dataset, or years later.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch

from spurious.config.machine import Machine
from spurious.config.options import FitConfig, Specificity
from spurious.data.classes import ImageClass
from spurious.data.dataset import Dataset
from spurious.data.mask_of import is_region
from spurious.errors import DataError
from spurious.training.evaluate import Evaluation, Evaluator, layout
from spurious.training.model import CLASSES, Model
from spurious.training.models import build
from spurious.training.supervision import Supervision, supervision_for


def count_outputs(config: FitConfig, classes: Sequence[ImageClass]) -> int:
    """Return how many classes of images, or of pixels, a model tells apart.

    Args:
        config: Of its trial.
        classes: Those of images that it answers; empty where it answers labels, or pixels.
    """
    if classes:
        return len(classes)
    return CLASSES + (config.segments and config.negatives == "lesion")


def taught(config: FitConfig) -> Specificity:
    """Return what the model itself learns: the annotation, or labels for a classifier."""
    return config.specificity if config.segments else Specificity("label")


@dataclass(frozen=True)
class KeptModel:
    """A trained model.

    Attributes:
        config: Of its trial: model, read-out, normalisation, precision; `weights` of the model are
            not read again.
        image_shape: (H, W, C) of the images that it takes, as they are staged.
        dtype: Of these images.
        classes: Classes of images that it answers; empty where it answers labels.
        state: State dict of the kept epoch.
    """

    config: FitConfig
    image_shape: tuple[int, int, int]
    dtype: str
    classes: tuple[ImageClass, ...]
    state: Mapping[str, torch.Tensor]

    @property
    def supervision(self) -> Supervision:
        """Its read-out: from logits to the score of an image."""
        positive = [number for number, each in enumerate(self.classes) if each.positive]
        by_class = positive if self.classes else None
        return supervision_for(taught(self.config), self.config.readout, by_class)

    def build(self, device: torch.device) -> Model:
        """Return the model in evaluation mode on a device.

        Raises:
            DataError: the state is of another model.
            ConfigError: the model cannot be built, e.g. for images of this shape.
        """
        config = self.config
        model = build(
            *(config.model_name, _without_weights(config.model), self.image_shape, config.seed),
            _no_weights,
            count_outputs(config, self.classes),
        )
        try:
            model.load_state_dict(self.state)
        except RuntimeError as error:
            raise DataError(
                f"the kept weights do not fit model {config.model_name} as this version builds it "
                f"({str(error).splitlines()[-1].strip()}); use the version that trained it"
            ) from None
        model.to(device).to(memory_format=layout(config.train))  # type: ignore[call-overload]
        return model.eval()

    def find_misfits(self, dataset: Dataset) -> list[str]:
        """Return why images of a dataset cannot be scored, a clause each; none where they can."""
        misfits = []
        height, width, channels = self.image_shape
        shape = dataset.images.shape[1:]
        if shape[:2] != (height, width):
            misfits.append(
                f"the model takes images of {height} x {width} pixels, and these are {shape[0]} x "
                f"{shape[1]}: stage them again in that size"
                + (f" (--set image_size={height})" if height == width else "")
            )
        if shape[2] != channels:
            misfits.append(
                f"the model takes images of {_channels(channels)}, and these have "
                f"{_channels(shape[2])}: convert the files before they are staged"
            )
        if _is_float(dataset.images.dtype) != _is_float(self.dtype):
            misfits.append(
                f"the model takes images of type {self.dtype}, and these are "
                f"{dataset.images.dtype}, which is scaled otherwise: stage them as the others were"
            )
        if self.classes and self.classes != dataset.classes:
            misfits.append(
                f"the model tells the classes {_names(self.classes)} apart, and these images have "
                f"{_names(dataset.classes)}: stage them with the same classes in the same order"
            )
        return misfits

    def score(self, dataset: Dataset, splits: Sequence[str], machine: Machine) -> Evaluation:
        """Score images as the trial scored its own: the same passes, so the same bits on one CPU.

        A compiled model is scored without compilation, whose last bits may differ.

        Args:
            dataset: Opened, of images that fit.
            splits: Of it, each with an image.
            machine: Device and threads.

        Returns:
            Scores in row order, and metrics of the kept epoch 0. The Dice is NaN where masks are
            not of the abnormality.

        Raises:
            DataError, ConfigError: as of `build`.
        """
        train, device = self.config.train, torch.device(machine.device)
        torch.set_num_threads(machine.threads)
        torch.use_deterministic_algorithms(train.deterministic, warn_only=device.type != "cpu")
        evaluator = Evaluator(
            *(_drawn_as_abnormal(dataset), taught(self.config), self.supervision, train, device),
            splits=tuple(splits),
            negatives=self.config.negatives,
        )
        return evaluator(self.build(device), 0)


def _drawn_as_abnormal(dataset: Dataset) -> Dataset:
    """Return a dataset in which masks of lungs and the like count as never drawn."""
    if not is_region(dataset.mask_of):
        return dataset
    return replace(dataset, drawn=np.zeros(len(dataset.labels), np.uint8), boxes=None)


def _without_weights(options: Any) -> Any:
    """Return a model's options with random weights, which the kept ones then replace."""
    names = {item.name for item in fields(options)}
    return replace(options, weights=None) if "weights" in names else options


def _no_weights(digest: str) -> Mapping[str, torch.Tensor]:
    raise DataError(f"a kept model does not begin from weights {digest}")


def _is_float(dtype: Any) -> bool:
    return bool(np.issubdtype(np.dtype(dtype), np.floating))


def _channels(number: int) -> str:
    return "1 channel" if number == 1 else f"{number} channels"


def _names(classes: Sequence[ImageClass]) -> str:
    return ", ".join(each.name for each in classes) or "labels alone"
