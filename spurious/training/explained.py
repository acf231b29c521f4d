"""Explanations of the test images by the kept model: measured in regions, and some as pictures.

Shape legend: n test images, H height, W width, C channels.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from spurious.data.dataset import Dataset
from spurious.data.drawn import BOXES, MASK
from spurious.data.runs import decode_runs
from spurious.data.splits import TEST
from spurious.scoring.explanations import (
    activation_precision,
    chance_level,
    pointing_hits,
    share_inside,
)
from spurious.training.evaluate import Evaluator
from spurious.training.explain import explain
from spurious.training.model import Model

EXPLAINED: Final = TEST
"""The split whose images are explained."""
SIDE: Final = 96
"""Longest side of a picture, pixels; larger maps are averaged over cells."""
GROUPS: Final = 8
"""Groups of label and attributes of which examples are kept: the largest."""
_BATCH = 16

Runs = Mapping[str, Sequence[Sequence[int] | None]]


@dataclass(frozen=True)
class ExplanationRequest:
    """What of explanations a trial writes.

    Attributes:
        features: Attribute name to the runs (`spurious.data.runs`) of its pixels, one for each
            test image in row order; None where nobody knows them, or there are none.
        measures: Whether maps are measured in regions.
        examples: Test images per group of label and attributes that become pictures.
    """

    features: Runs = field(default_factory=dict)
    measures: bool = True
    examples: int = 0


@dataclass(frozen=True)
class Picture:
    """A map, an image or a mask as bytes.

    Attributes:
        kind: `image`, `mask`, or a kind of `spurious.training.explain.EXPLANATIONS`.
        label: Of the images.
        position: Of the image in the test split; None of a mean over all images of the label, each
            map divided by its sum before.
        pixels: (h, w, c) uint8, 255 at `highest`.
        highest: Value of 255.
    """

    kind: str
    label: int
    position: int | None
    pixels: NDArray[np.uint8]
    highest: float


@dataclass
class Explanations:
    """What was explained: rows of measures, by column, and pictures."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)


def explain_test(evaluator: Evaluator, model: Model, request: ExplanationRequest) -> Explanations:
    """Explain every test image.

    Args:
        evaluator: Holds the test images.
        model: In evaluation mode, on the evaluator's device.
        request: What is written.

    Returns:
        `rows` have `position`, `explanation`, `region` (`mask`, `box` or an attribute),
        `activation_precision`, `share`, `pointing` and `chance`; an image has rows for regions
        that have a pixel on it.
    """
    data, rows = evaluator.dataset, evaluator.rows[EXPLAINED]
    explanations = Explanations()
    chosen = set(choose_examples(data, rows, request.examples))
    means: dict[tuple[str, int], tuple[NDArray[np.float64], int]] = {}
    segments = evaluator.supervision.segments
    positive = data.positive_classes if evaluator.supervision.by_class else (-1,)
    for batch in evaluator.images[EXPLAINED].read_in_order(_BATCH):
        positions = batch.positions.numpy()
        x = batch.x.to(evaluator.device)
        maps = explain(model, x, segments=segments, positive=positive)
        for kind, of_kind in maps.items():
            values = of_kind.numpy()
            if request.measures:
                explanations.rows += list(
                    _measure(data, rows, positions, kind, values, request.features)
                )
            if request.examples:
                _add_to_means(means, kind, data.labels[rows[positions]], values)
                explanations.pictures += [
                    _picture(kind, data, rows, int(at), values[i][:, :, None])
                    for i, at in enumerate(positions)
                    if int(at) in chosen
                ]
    explanations.pictures += [
        picture for at in sorted(chosen) for picture in _shown(data, rows, at)
    ]
    explanations.pictures += [
        Picture(kind, label, None, *_as_bytes(total / count))
        for (kind, label), (total, count) in sorted(means.items())
    ]
    return explanations


def choose_examples(data: Dataset, rows: NDArray[np.int64], each: int) -> list[int]:
    """Return the positions of the first images of each group, the same for every trial.

    Args:
        data: Gives labels and attributes.
        rows: (n,) rows of the test split.
        each: Images per group of label and all attributes, of the `GROUPS` largest groups.
    """
    groups: defaultdict[tuple[int, ...], list[int]] = defaultdict(list)
    for position, row in enumerate(rows):
        groups[int(data.labels[row]), *data.attributes[row].tolist()].append(position)
    largest = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))[:GROUPS]
    return sorted(position for _, members in largest for position in members[:each])


def _measure(
    data: Dataset,
    rows: NDArray[np.int64],
    positions: NDArray[np.int64],
    kind: str,
    maps: NDArray[np.float32],
    features: Runs,
) -> Iterator[dict[str, Any]]:
    """Measure a batch of maps in each region that has a pixel on their images."""
    for region, masks in _regions(data, rows, positions, features).items():
        there = masks.reshape(len(masks), -1).any(axis=1)
        if not there.any():
            continue
        of, inside = maps[there], masks[there]
        columns = {
            "activation_precision": activation_precision(of, inside),
            "share": share_inside(of, inside),
            "pointing": pointing_hits(of, inside),
            "chance": chance_level(inside),
        }
        for i, position in enumerate(positions[there].tolist()):
            values = {name: float(column[i]) for name, column in columns.items()}
            yield {"position": position, "explanation": kind, "region": region, **values}


def _regions(
    data: Dataset, rows: NDArray[np.int64], positions: NDArray[np.int64], features: Runs
) -> dict[str, NDArray[np.bool_]]:
    """Return masks, boxes and features of some test images, each (b, H, W) bool; empty unknown."""
    of = rows[positions]
    drawn, shape = data.drawn_on(of), (data.masks.height, data.masks.width)
    regions = {"mask": data.masks[of] & ((drawn & MASK) != 0)[:, None, None]}
    if data.boxes is not None:
        regions["box"] = data.boxes[of] & ((drawn & BOXES) != 0)[:, None, None]
    for name, runs in features.items():
        known = [runs[position] for position in positions]
        regions[name] = np.stack(
            [np.zeros(shape, bool) if one is None else decode_runs(one, shape) for one in known]
        )
    return regions


def _add_to_means(
    means: dict[tuple[str, int], tuple[NDArray[np.float64], int]],
    kind: str,
    labels: NDArray[np.int64],
    maps: NDArray[np.float32],
) -> None:
    """Add each map, divided by its sum, to the total of its label; a map of zeros counts not."""
    sums = maps.reshape(len(maps), -1).sum(axis=1, dtype=np.float64)
    for label, values, total in zip(labels.tolist(), maps, sums.tolist(), strict=True):
        if total > 0:
            before, count = means.get((kind, label), (np.zeros(values.shape), 0))
            means[kind, label] = before + values / total, count + 1


def _shown(data: Dataset, rows: NDArray[np.int64], position: int) -> Iterator[Picture]:
    """Yield the image itself, and its mask where one is drawn."""
    row = rows[position]
    yield _picture("image", data, rows, position, np.asarray(data.images[row]))
    mask = data.masks[np.array([row])][0]
    if mask.any():
        yield _picture("mask", data, rows, position, mask[:, :, None])


def _picture(
    kind: str, data: Dataset, rows: NDArray[np.int64], position: int, values: NDArray[Any]
) -> Picture:
    return Picture(kind, int(data.labels[rows[position]]), position, *_as_bytes(values))


def _as_bytes(values: NDArray[Any]) -> tuple[NDArray[np.uint8], float]:
    """Shrink (H, W) or (H, W, C) to `SIDE` and scale from 0, or what is below, to its highest."""
    cube = np.atleast_3d(values).astype(np.float64)
    height, width = cube.shape[:2]
    longest = max(height, width)
    if longest > SIDE:
        size = (max(1, height * SIDE // longest), max(1, width * SIDE // longest))
        channels = torch.from_numpy(cube).permute(2, 0, 1)[None]
        cube = functional.adaptive_avg_pool2d(channels, size)[0].permute(1, 2, 0).numpy()
    lowest = min(0.0, float(cube.min()))
    highest = float(cube.max())
    span = highest - lowest
    scaled = np.zeros_like(cube) if span <= 0 else (cube - lowest) / span * 255.0
    return scaled.round().astype(np.uint8), highest
