"""From stored images to model inputs, and from masks to targets that stay packed.

Shape legend: B batch, N images, H height, W width, C channels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from spurious.config.fields import Negatives
from spurious.config.options import Specificity
from spurious.data.derived import DerivedArrays, name_of
from spurious.data.masks import PackedMasks
from spurious.data.specificity import supervision_target

UNIT_MEAN, UNIT_SD = 0.5, 0.25
"""The one normalisation of integer images, the same in training and evaluation."""
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_SD = (0.229, 0.224, 0.225)


def scale(images: NDArray[Any], into: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
    """Integer images divided by their dtype's maximum, float images as they are; any shape.

    Args:
        images: Any number of them.
        into: Memory of their shape, where integer images are written instead of into new one.
    """
    if np.issubdtype(images.dtype, np.integer):
        largest = np.float32(np.iinfo(images.dtype).max)
        return np.asarray(np.divide(images, largest, out=into, dtype=np.float32))
    return np.asarray(images, dtype=np.float32)


def normalise_images(images: NDArray[Any], normalise: str) -> torch.Tensor:
    """(B, H, W, C) stored images to a (B, C, H, W) float32 tensor.

    Args:
        images: `uint8`, `uint16` or `float32`; already scaled images may be passed as float32
            only where the dataset itself is float.
        normalise: `unit` or `imagenet`; float images are left alone by both.
    """
    return normalise_on(torch.from_numpy(np.array(images)), normalise)


def normalise_on(images: torch.Tensor, normalise: str, *, scaled: bool = False) -> torch.Tensor:
    """Convert stored images where they are, (B, H, W, C) to a new (B, C, H, W) float32.

    The same operations as `scale` and `standardise`, in the same order, so that every value has
    the same bits; divisors are tensors, since CUDA multiplies by the inverse of a plain number.

    Args:
        images: Integers, or floats, which are left alone unless they are `scaled`.
        normalise: `unit` or `imagenet`.
        scaled: These floats are integer images that were scaled to [0, 1] already.
    """
    planes = images.permute(0, 3, 1, 2)
    if planes.shape[1] == 1 and not scaled:
        # as numpy leaves grey images: torch takes their strides for channels last, whose kernels
        # are faster and give other last bits
        values = planes.to(torch.float32, copy=True)
    else:
        values = torch.empty(planes.shape, dtype=torch.float32, device=images.device).copy_(planes)
    if images.dtype.is_floating_point and not scaled:
        return values
    if not scaled:
        values.div_(torch.tensor(float(torch.iinfo(images.dtype).max), device=images.device))
    mean, deviation = (
        torch.from_numpy(part).to(images.device)[:, None, None]
        for part in _constants(normalise, images.shape[-1])
    )
    return values.sub_(mean).div_(deviation)


def standardise(values: NDArray[np.float32], normalise: str) -> NDArray[np.float32]:
    """Apply the normalisation constants to images in [0, 1], (..., C) float32.

    ImageNet's constants are per colour channel; a grey image takes their mean.
    """
    mean, deviation = _constants(normalise, values.shape[-1])
    return np.asarray((values - mean) / deviation, dtype=np.float32)


def _constants(normalise: str, channels: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return mean and standard deviation, each (C,) or (1,) float32."""
    if normalise == "unit":
        return np.array([UNIT_MEAN], np.float32), np.array([UNIT_SD], np.float32)
    mean, deviation = np.array(IMAGENET_MEAN, np.float32), np.array(IMAGENET_SD, np.float32)
    if channels == 1:
        return mean.mean(keepdims=True), deviation.mean(keepdims=True)
    return mean, deviation


class PackedTargets:
    """Supervision targets of some dataset rows at one specificity, eight pixels to a byte.

    Targets of `mask` are the dataset's bits and take no memory of their own.

    Args:
        masks: Masks of the whole dataset.
        rows: (n,) int64.
        specificity: Anything but `label`.
        classes: (n,) int64, what the pixels of each row's target are, see `pixel_classes`; a target
            of class 0 is empty. None is class 1 for all.
        boxes: Of the whole dataset, where some are drawn as such: they are what a box target is,
            unless they are empty and the mask is not.
        derived: Where the targets of the whole dataset are kept; None makes those of the rows.
    """

    def __init__(
        self,
        masks: PackedMasks,
        rows: NDArray[np.int64],
        specificity: Specificity,
        classes: NDArray[np.int64] | None = None,
        boxes: PackedMasks | None = None,
        derived: DerivedArrays | None = None,
    ) -> None:
        self.classes = np.ones(len(rows), dtype=np.int64) if classes is None else classes
        if specificity.kind == "mask":
            self._masks, self._rows = masks, rows
            return
        if derived is not None:
            whole = _derive_targets(masks, boxes, specificity, derived)
            if whole is not None:
                self._masks, self._rows = whole, rows
                return
        bits = np.zeros((len(rows), masks.bits.shape[1]), dtype=np.uint8)
        annotated = np.flatnonzero(self.classes)
        _pack_targets(bits, annotated, rows[annotated], masks, boxes, specificity)
        self._masks = PackedMasks(bits, masks.height, masks.width)
        self._rows = np.arange(len(rows))

    def __getitem__(self, positions: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Targets at some positions (not dataset rows), (B, H, W) bool."""
        targets = self._masks[self._rows[positions]]
        targets[self.classes[positions] == 0] = False
        return targets

    def pixels(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Classes of the pixels at some positions, (B, H, W) int64; 0 outside the targets."""
        return self[positions] * self.classes[positions][:, None, None]


def _derive_targets(
    masks: PackedMasks,
    boxes: PackedMasks | None,
    specificity: Specificity,
    derived: DerivedArrays,
) -> PackedMasks | None:
    """Return the targets of every row of the dataset, of negative images, too."""

    def fill(bits: NDArray[np.uint8]) -> None:
        drawn = np.array([row.any() for row in masks.bits], dtype=bool)
        if boxes is not None:
            drawn |= np.array([row.any() for row in boxes.bits], dtype=bool)
        rows = np.flatnonzero(drawn)
        _pack_targets(bits, rows, rows, masks, boxes, specificity)

    name = name_of(f"targets-{name_specificity(specificity)}")
    bits = derived.get(name, masks.bits.shape, np.uint8, fill)
    return None if bits is None else PackedMasks(bits, masks.height, masks.width)


def name_specificity(specificity: Specificity) -> str:
    """Return a specificity and its options in letters, digits and dashes."""
    options = {"r": str(specificity.r), "box": f"-{specificity.box_per}"}
    return f"{specificity.kind}{options.get(specificity.kind, '')}"


def _pack_targets(
    bits: NDArray[np.uint8],
    places: NDArray[np.int64],
    rows: NDArray[np.int64],
    masks: PackedMasks,
    boxes: PackedMasks | None,
    specificity: Specificity,
) -> None:
    """Write the targets of some rows of a dataset into places of `bits`."""
    for place, row in zip(places.tolist(), rows.tolist(), strict=True):
        target = supervision_target(_drawn_region(masks, boxes, row, specificity), specificity)
        bits[place] = np.packbits(target)


def _drawn_region(
    masks: PackedMasks, boxes: PackedMasks | None, row: int, specificity: Specificity
) -> NDArray[np.bool_]:
    """Return what a target is made from: boxes drawn as such where there are any, or the mask."""
    if specificity.kind == "box" and boxes is not None and boxes.bits[row].any():
        return boxes[row]
    return masks[row]


def pixel_classes(labels: NDArray[np.int64], negatives: Negatives) -> NDArray[np.int64]:
    """Return what the pixels of an image's target are, by its label; (n,) int64 to (n,) int64.

    Under `background` 1 for a positive image, 0 (nothing) for a negative one. Under `lesion` 2 for
    a positive image and 1 for a negative one, which is (label + 1) * mask as in the code of Saab et
    al. 2022.
    """
    return labels + 1 if negatives == "lesion" else labels
