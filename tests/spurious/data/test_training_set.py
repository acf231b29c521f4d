"""The annotated training images, batch by batch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from small_data import copy_array, fit_config, grey_squares, squares, with_arrays

from spurious.config.options import FitConfig
from spurious.data.batches import Batch
from spurious.data.dataset import Dataset
from spurious.data.specificity import supervision_target
from spurious.data.training_set import TrainingSet
from spurious.errors import ConfigError

ORDER = [np.array([4, 0, 9]), np.array([1, 2]), np.array([7, 3, 8, 5, 6])]


def training_set(
    dataset: Dataset, config: FitConfig, rows: NDArray[np.int64] | None = None, workers: int = 1
) -> TrainingSet:
    """All training rows, or the given ones."""
    chosen = dataset.rows("train") if rows is None else rows
    return TrainingSet(dataset, chosen, config.specificity, config.train, config.seed, workers)


def contents(batches: list[Batch]) -> list[tuple[bytes, bytes]]:
    """Comparable batches."""
    return [(batch.x.numpy().tobytes(), batch.targets.numpy().tobytes()) for batch in batches]


@pytest.mark.parametrize("augment", ["none", "flip"])
@pytest.mark.parametrize(("kind", "r"), [("label", None), ("box", None), ("mask", None), ("r", 4)])
def test_images_come_with_their_own_annotation(kind: str, r: int | None, augment: str) -> None:
    """In the order asked for, each image is paired with its label or with its pixel target."""
    dataset = squares(shape="ring")
    config = fit_config(kind, r=r, augment=augment)
    rows = dataset.rows("train")[1::2]
    batches = list(training_set(dataset, config, rows).batches(ORDER, epoch=1))
    assert [len(batch) for batch in batches] == [3, 2, 5]
    for positions, batch in zip(ORDER, batches, strict=True):
        x, targets = batch.x, batch.targets
        assert batch.positions.tolist() == positions.tolist()
        assert x.dtype == torch.float32
        assert targets.dtype == torch.int64
        for image, target, row in zip(x, targets, rows[positions], strict=True):
            stored = torch.from_numpy(dataset.images[row].copy())[:, :, 0]
            mirrored = not torch.equal(image[0], stored)
            assert torch.equal(image[0], stored.flip(1) if mirrored else stored)
            assert not (mirrored and augment == "none")
            if kind == "label":
                assert target == dataset.labels[row]
                continue
            expected = supervision_target(dataset.masks[row], config.specificity)
            expected = expected[:, ::-1] if mirrored else expected
            assert (target.numpy() == expected).all()


@pytest.mark.parametrize("augment", ["flip", "paper"])
@pytest.mark.parametrize("kind", ["label", "mask"])
def test_threads_change_nothing(kind: str, augment: str) -> None:
    """One, two and five augmentation threads give the same bytes in the same order."""
    dataset = grey_squares()
    config = fit_config(kind, augment=augment)
    found = [
        contents(list(training_set(dataset, config, workers=n).batches(ORDER, epoch=3)))
        for n in (1, 2, 5)
    ]
    assert found[0] == found[1] == found[2]


def test_an_image_s_augmentation_does_not_depend_on_its_batch() -> None:
    """Nor on the other annotated images: the same dataset row is drawn alike in every budget."""
    dataset = grey_squares()
    config = fit_config("mask", augment="paper")
    rows = dataset.rows("train")
    few, many = rows[10:12], rows
    (small,) = training_set(dataset, config, few).batches([np.array([1, 0])], epoch=2)
    (large,) = training_set(dataset, config, many).batches([np.array([11, 3, 10])], epoch=2)
    for here, there in ((0, 0), (1, 2)):
        assert torch.equal(small.x[here], large.x[there])
        assert torch.equal(small.targets[here], large.targets[there])


@pytest.mark.parametrize("view", [0, 1])
def test_copies_of_an_image_within_an_epoch_are_augmented_apart(view: int) -> None:
    """The first copy is what an epoch without others shows; no thread or batch changes a copy."""
    dataset = grey_squares()
    config = fit_config("label", augment="paper")
    order = [np.array([3, 5, 3, 3, 7]), np.array([5, 3, 7, 3])]
    (single,) = training_set(dataset, config).batches([np.array([3, 5, 7])], 1, view)
    drawn: dict[int, list[bytes]] = {3: [], 5: [], 7: []}
    for workers in (1, 3):
        for batch in training_set(dataset, config, workers=workers).batches(order, 1, view):
            for position, image in zip(batch.positions.tolist(), batch.x, strict=True):
                drawn[position].append(image.numpy().tobytes())
    for position, first in zip((3, 5, 7), single.x, strict=True):
        copies, again = np.split(np.array(drawn[position]), 2)
        assert (copies == again).all()
        assert copies[0] == first.numpy().tobytes()
    assert len(set(drawn[3])) > 3  # of 5; the pipeline leaves one in eight as it is
    everything = [image for images in drawn.values() for image in images[: len(images) // 2]]
    assert len(set(everything)) > 6


def test_epochs_and_seeds_differ() -> None:
    """Each epoch and each seed augments anew."""
    dataset = grey_squares()
    config = fit_config("mask", augment="paper")
    first, again, later, other = (
        contents(list(training_set(dataset, replace(config, seed=seed)).batches(ORDER, epoch)))
        for seed, epoch in ((0, 1), (0, 1), (0, 2), (1, 1))
    )
    assert first == again
    assert first != later
    assert first != other


@pytest.mark.parametrize("augment", ["flip", "paper"])
def test_targets_stay_binary(augment: str) -> None:
    """Warped targets hold classes 0 and 1 only."""
    dataset = grey_squares()
    config = fit_config("mask", augment=augment)
    found: set[int] = set()
    for epoch in range(1, 6):
        for batch in training_set(dataset, config).batches(ORDER, epoch):
            found |= set(batch.targets.unique().tolist())
    assert found == {0, 1}


@pytest.mark.parametrize("kind", ["label", "mask"])
def test_no_other_image_is_given_out(kind: str) -> None:
    """Spoiling every image, mask and label outside the annotated rows changes no batch."""
    dataset = squares()
    config = fit_config(kind, augment="flip")
    rows = dataset.rows("train")[::2]
    spoilt: dict[str, Any] = {}
    for name, value in (("images", np.nan), ("masks", True), ("labels", 7)):
        array = copy_array(dataset, name)
        array[np.setdiff1d(np.arange(len(array)), rows)] = value
        spoilt[name] = array
    clean, dirty = (
        contents(list(training_set(data, config, rows).batches(ORDER, epoch=1)))
        for data in (dataset, with_arrays(dataset, **spoilt))
    )
    assert clean == dirty
    assert len(training_set(dataset, config, rows)) == len(rows)


def test_augmentations_are_checked_before_training() -> None:
    """`paper` on float images is refused when the set is made, not in the first epoch."""
    with pytest.raises(ConfigError, match="integer images"):
        training_set(squares(), fit_config("mask", augment="paper"))


def test_an_abandoned_epoch_leaves_no_threads() -> None:
    """Stopping in the middle of an epoch, as a failed step does, ends the augmentation threads."""
    import threading

    before = threading.active_count()
    batches = training_set(grey_squares(), fit_config("mask", augment="paper"), workers=3).batches(
        ORDER, epoch=1
    )
    next(iter(batches))
    assert threading.active_count() > before
    batches.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before
