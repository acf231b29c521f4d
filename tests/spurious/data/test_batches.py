"""Batches as they are stored: converted late, bit for bit as early, and read ahead."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from small_data import fit_config, grey_squares

from spurious.config.options import Specificity
from spurious.data.batches import StoredBatch, gather_rows
from spurious.data.buffers import Buffers
from spurious.data.inputs import PackedTargets, normalise_on, scale, standardise
from spurious.data.read_ahead import AHEAD, read_ahead
from spurious.data.stored_images import StoredImages
from spurious.data.training_set import TrainingSet

CPU = torch.device("cpu")


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("normalise", ["unit", "imagenet"])
@pytest.mark.parametrize("channels", [1, 3])
def test_conversion_has_the_bits_of_numpy(dtype: str, normalise: str, channels: int) -> None:
    """Every value of 8 bits, and of 16: one last bit would change results that exist."""
    values = np.arange(2**16 if dtype == "uint16" else 2**8).repeat(channels)
    images = values.reshape(-1, 16, 16, channels).astype(dtype)
    expected = scale(images)
    if dtype != "float32":
        expected = standardise(expected, normalise)
    converted = normalise_on(torch.from_numpy(images), normalise)
    assert converted.is_contiguous()
    planes = torch.from_numpy(np.ascontiguousarray(expected.transpose(0, 3, 1, 2)))
    assert torch.equal(converted, planes)
    assert converted.stride() == planes.stride()  # which kernels torch takes, and so last bits


def stored_images(threaded: bool) -> StoredImages:
    """Training images with masks; above a quarter of a megabyte a batch they come by a thread."""
    dataset = grey_squares(image_size=256 if threaded else 16, n_train=12)
    rows = dataset.rows("train")
    targets = PackedTargets(dataset.masks, rows, Specificity("mask"), dataset.labels[rows])
    return StoredImages(dataset.images, rows, dataset.labels[rows], targets, "unit")


@pytest.mark.parametrize("threaded", [False, True])
def test_batches_are_the_rows_asked_for(threaded: bool) -> None:
    """In order, repeats included; converting on a device equals converting here."""
    stored = stored_images(threaded)
    order = [np.array([3, 0, 3, 7, 9]), np.array([11, 1, 2, 4, 5]), np.array([6, 8])]
    batches = list(stored.read(order))
    assert [batch.positions.tolist() for batch in batches] == [of.tolist() for of in order]
    for batch, positions in zip(batches, order, strict=True):
        rows = stored.rows[positions]
        np.testing.assert_array_equal(batch.images.numpy(), stored.images[rows])
        placed = batch.to(CPU, torch.preserve_format)
        assert torch.equal(placed.x, batch.x)
        assert torch.equal(placed.targets, batch.targets)
        assert placed.targets.dtype == torch.int64
        assert stored.targets is not None
        np.testing.assert_array_equal(placed.targets.numpy(), stored.targets.pixels(positions))


def test_images_cross_to_the_device_as_they_are_stored() -> None:
    """One byte a value and a target, not four and eight."""
    (batch,) = stored_images(False).read_in_order(12)
    assert isinstance(batch, StoredBatch)
    assert batch.images.dtype == torch.uint8
    assert batch.pixels is not None
    assert batch.pixels.dtype == torch.bool
    assert fit_config("mask").train.normalise == batch.normalise


def test_gathering_copies() -> None:
    """A batch never shares memory with the read-only map."""
    array = np.arange(24, dtype=np.uint16).reshape(4, 3, 2)
    array.flags.writeable = False
    batch = gather_rows(array, np.array([2, 2, 0]), Buffers())
    batch[0] = 0
    assert batch[1].tolist() == array[2].tolist() == [[12, 13], [14, 15], [16, 17]]


def test_reading_ahead_is_bounded_and_in_order() -> None:
    """The next two are ready while one is used; no more, whatever the consumer takes."""
    read: list[int] = []
    ready = threading.Event()

    def job(number: int) -> int:
        read.append(number)
        if number == AHEAD:
            ready.set()
        return number * number

    batches = read_ahead(range(10), job)
    assert next(batches) == 0
    assert ready.wait(10)
    time.sleep(0.05)
    assert read == list(range(AHEAD + 1))
    assert list(batches) == [number * number for number in range(1, 10)]


def test_an_error_comes_where_its_batch_would() -> None:
    """Earlier batches are delivered; the thread ends, also where nobody asks for the rest."""
    before = threading.active_count()

    def job(number: int) -> int:
        if number == 3:
            raise ValueError("damaged")
        return number

    batches = read_ahead(range(9), job)
    assert [next(batches) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="damaged"):
        next(batches)
    abandoned: Iterator[int] = read_ahead(range(100), job)
    assert next(abandoned) == 0
    abandoned.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before
    assert list(read_ahead(range(3), job, threaded=False)) == [0, 1, 2]


def test_memory_is_used_again_once_nobody_holds_it() -> None:
    """Never while a batch, a tensor or a view of one is there."""
    buffers = Buffers()
    first = torch.from_numpy(buffers.take((4, 3), np.float32))
    view, address = first[1:], first.data_ptr()
    del first
    assert torch.from_numpy(buffers.take((4, 3), np.float32)).data_ptr() != address
    del view
    assert torch.from_numpy(buffers.take((4, 3), np.float32)).data_ptr() == address
    assert buffers.take((4, 3), np.uint8).dtype == np.uint8
    held = [buffers.take((2,), np.int64) for _ in range(20)]
    assert len({array.ctypes.data for array in held}) == 20


def test_an_augmented_batch_is_converted_once_however_often_it_is_read() -> None:
    """Grey floats have the layout of their channels first: nothing may be changed in place."""
    dataset = grey_squares()
    rows = dataset.rows("train")
    config = fit_config("mask", augment="flip")
    training = TrainingSet(dataset, rows, config.specificity, config.train, seed=0)
    (batch,) = training.batches([np.arange(len(rows))], epoch=1)
    assert batch.scaled
    assert torch.equal(batch.x, batch.x)
    assert torch.equal(batch.to(CPU, torch.preserve_format).x, batch.x)
    assert batch.images.max() <= 1.0
    assert batch.x.stride() == torch.empty(batch.x.shape).stride()  # as stacked images have
