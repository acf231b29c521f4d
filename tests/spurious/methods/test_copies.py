"""Which configurations draw augmented copies of an image within an epoch, by looking at batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal, get_args, get_origin, get_type_hints

import numpy as np
import pytest
from contract_values import METHOD_VALUES
from numpy.typing import NDArray
from small_data import fitted, grey_squares, method_config

from spurious.config.fields import problems
from spurious.config.methods import METHODS
from spurious.config.options import Budget, FitConfig, WeakLabels
from spurious.data.batches import Batch
from spurious.data.training_set import TrainingSet
from spurious.methods import cnc, jtt
from spurious.methods.base import TrainingProblem
from spurious.training.model import Model

N_TRAIN, IMAGES, BATCH = 30, 18, 10
"""A rest of 12 images for 18 annotated ones, which therefore repeats."""
MORE: dict[str, tuple[dict[str, Any], ...]] = {
    "jtt": ({"upsample": "weight", "factor": 1}, {"upsample": "weight", "factor": 3}),
}
"""Options that no `Literal` names."""
SLOW = {"reduce": ("umap",)}


@pytest.fixture(scope="module")
def copies_seen() -> Iterator[list[bool]]:
    """Filled with whether each augmented epoch that was drawn had an image twice."""
    seen: list[bool] = []
    draw = TrainingSet.batches

    def look(
        self: TrainingSet, order: Sequence[NDArray[np.int64]], epoch: int, view: int = 0
    ) -> Iterator[Batch]:
        positions = np.concatenate(list(order))
        seen.append(self.config.augment != "none" and len(np.unique(positions)) < len(positions))
        return draw(self, order, epoch, view)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainingSet, "batches", look)
        yield seen


def choices(name: str) -> Iterator[dict[str, Any]]:
    """A method's options as tested, and each of their named values beside them."""
    base, default = dict(METHOD_VALUES[name].options), METHODS[name]()
    yield base
    for option, kind in get_type_hints(METHODS[name]).items():
        if get_origin(kind) is Literal and option != "takes":
            for value in get_args(kind):
                if value not in (*SLOW.get(option, ()), base.get(option, getattr(default, option))):
                    yield {**base, option: value}
    for further in MORE.get(name, ()):
        yield {**base, **further}


def configs(name: str) -> Iterator[FitConfig]:
    """Budgets with and without a rest, classes of equal and other sizes, one batch and more."""
    for chosen in choices(name):
        options = METHODS[name](**chosen)
        squared = getattr(options, "reconstruction", "squared") == "squared"
        if problems(options) or not squared:  # these images leave [0, 1]
            continue
        kind = options.takes[0]
        of = method_config(name, kind, options, epochs=1, batch_size=BATCH, augment="flip")
        yield replace(of, budget=Budget(IMAGES, "natural"))
        if getattr(options, "first_balance", "natural") == "classes":
            yield replace(of, budget=Budget(IMAGES))
    of = replace(of, method=METHODS[name](**METHOD_VALUES[name].options))
    yield replace(of, budget=Budget(IMAGES))
    yield replace(of, budget=Budget(BATCH))
    yield replace(of, budget=Budget(IMAGES), train=replace(of.train, augment="none"))
    if "mask" in of.method.takes:
        masks = method_config(name, "mask", of.method, batch_size=BATCH)
        labelled = replace(masks, train=of.train, rest=WeakLabels())
        yield replace(labelled, budget=Budget(IMAGES))
        yield replace(labelled, budget=Budget(BATCH))


def errors_everywhere(
    problem: TrainingProblem, model: Model, images: TrainingSet
) -> NDArray[np.int64]:
    """Predictions of a first model that is wrong on every third image."""
    labels = images.labels
    return np.where(np.arange(len(labels)) % 3 == 0, 1 - labels, labels)


@pytest.mark.usefixtures("torch_settings")
@pytest.mark.parametrize("name", METHODS)
def test_what_repeats_within_an_epoch_is_known(
    name: str, copies_seen: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`augments_copies`, which is in a trial's id, says what a fit's epochs show."""
    for module in (jtt, cnc):
        monkeypatch.setattr(module, "predictions", errors_everywhere)
    dataset = grey_squares(
        **{"n_train": N_TRAIN, "n_val": 30, "n_test": 4, "prevalence": 0.4, "noise_sd": 6.0},
        **{"image_size": 8, "abnormality_size": 2, "spurious_size": 2},
        **{"spurious_given_positive": 0.6, "spurious_given_negative": 0.4, "spurious_mean": 1.0},
    )
    for config in configs(name):
        copies_seen.clear()
        fitted(dataset, config)
        assert config.augments_copies(N_TRAIN) == any(copies_seen), config
