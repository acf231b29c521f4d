"""Metrics of a model on the validation and test splits after an epoch.

The only part of training that holds test images; a method is handed this object, not the data.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from spurious.config.fields import Negatives
from spurious.config.options import Specificity, Train
from spurious.data.attributes import GroupCounts
from spurious.data.dataset import Dataset
from spurious.data.drawn import carries
from spurious.data.inputs import PackedTargets, pixel_classes
from spurious.data.splits import EVALUATION_SPLITS
from spurious.data.stored_images import StoredImages
from spurious.scoring.metric import Predictions
from spurious.scoring.metrics import mean_dice, worst_mean
from spurious.scoring.registry import compute_metrics
from spurious.training.model import Model
from spurious.training.objective import Forward
from spurious.training.supervision import Supervision, probabilities

_BATCH = 64


@dataclass(frozen=True)
class MetricRow:
    """One metric of one epoch and split; `cells` is (y0s0, y0s1, y1s0, y1s1) or zeros."""

    epoch: int
    split: str
    metric: str
    attribute: str | None
    value: float
    cells: tuple[int, int, int, int] = (0, 0, 0, 0)


def as_columns(rows: Sequence[MetricRow]) -> dict[str, Any]:
    """Rows as tensors, for a checkpoint: pickling many small lists takes longer than training."""
    names: dict[tuple[str, str, str | None], int] = {}
    index = [names.setdefault((row.split, row.metric, row.attribute), len(names)) for row in rows]
    return {
        "names": [list(name) for name in names],
        "name": torch.tensor(index, dtype=torch.int64),
        "epoch": torch.tensor([row.epoch for row in rows], dtype=torch.int64),
        "value": torch.tensor([row.value for row in rows], dtype=torch.float64),
        "cells": torch.tensor([row.cells for row in rows], dtype=torch.int64),
    }


def from_columns(columns: dict[str, Any]) -> list[MetricRow]:
    """Return the rows that `as_columns` packed."""
    parts = (columns[key].tolist() for key in ("name", "epoch", "value", "cells"))
    rows = []
    for name, epoch, value, (a, b, c, d) in zip(*parts, strict=True):
        split, metric, attribute = columns["names"][name]
        rows.append(MetricRow(epoch, split, metric, attribute, value, (a, b, c, d)))
    return rows


@dataclass(frozen=True)
class Evaluation:
    """Rows of one epoch and what the model made of each split's images, in row order.

    Attributes:
        rows: Metrics.
        scores: (n,) float64 per split.
        probabilities: (n, K) float64 per split, of a classifier of classes; else empty.
        embeddings: (n, D) float32 per split, where they were asked for.
    """

    rows: list[MetricRow]
    scores: dict[str, NDArray[np.float64]]
    probabilities: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    embeddings: dict[str, NDArray[np.float32]] = field(default_factory=dict)

    def __or__(self, other: Evaluation) -> Evaluation:
        """Return both, of the same epoch and different splits."""
        return Evaluation(
            self.rows + other.rows,
            self.scores | other.scores,
            self.probabilities | other.probabilities,
            self.embeddings | other.embeddings,
        )

    def values(self) -> dict[str, float]:
        """`val.auroc`-like keys for selection rules; robust AUROC over all attributes only."""
        return {f"{r.split}.{r.metric}": r.value for r in self.rows if r.attribute is None}


class Evaluator:
    """Scores the validation and test splits at one specificity.

    Attributes:
        drawn: Per split (n,) bool, images that carry the specificity's annotation: loss and Dice
            are means over these alone.
        clusters: (n,) int64, groups of the validation images that a method guessed; it then has
            `worst_cluster_accuracy` on validation.
    """

    def __init__(
        self,
        dataset: Dataset,
        specificity: Specificity,
        supervision: Supervision,
        train: Train,
        device: torch.device,
        splits: tuple[str, ...] = EVALUATION_SPLITS,
        negatives: Negatives = "background",
    ) -> None:
        self.dataset, self.supervision, self.device, self.train = (
            dataset,
            supervision,
            device,
            train,
        )
        self.rows = {split: dataset.rows(split) for split in splits}
        self.answers = dataset.answers(by_class=supervision.by_class)
        self.targets = (
            {
                split: PackedTargets(
                    dataset.masks,
                    rows,
                    specificity,
                    pixel_classes(dataset.labels[rows], negatives),
                    dataset.boxes,
                    dataset.derived,
                )
                for split, rows in self.rows.items()
            }
            if supervision.segments
            else None
        )
        pinned = device.type == "cuda"
        self.images = {
            split: StoredImages(
                dataset.images,
                rows,
                self.answers[rows],
                None if self.targets is None else self.targets[split],
                train.normalise,
                pinned,
            )
            for split, rows in self.rows.items()
        }
        self.drawn = {
            split: carries(dataset.drawn_on(rows), specificity.kind)
            for split, rows in self.rows.items()
        }
        self.clusters: NDArray[np.int64] | None = None

    def only(self, split: str) -> Evaluator:
        """Return what scores one of the splits alone."""
        limited = copy(self)
        limited.rows = {split: self.rows[split]}
        return limited

    def __call__(
        self, model: Model, epoch: int, splits: Sequence[str] = (), *, embeds: bool = False
    ) -> Evaluation:
        """Evaluate in eval mode without gradients; the model's mode is put back.

        Args:
            model: On the evaluator's device.
            epoch: Of the rows.
            splits: Those that are scored; by default all.
            embeds: Whether embeddings are kept of the same forward passes, which then never go
                through a compiled model.
        """
        was_training = model.training
        model.eval()
        evaluation = Evaluation([], {})
        with torch.no_grad():
            for split in splits or self.rows:
                evaluation |= self._split(model, split, epoch, embeds)
        model.train(was_training)
        return evaluation

    def embeddings(self, model: Model, split: str) -> NDArray[np.float32]:
        """Image embeddings of a split in row order, by a model in eval mode; (n, D)."""
        forward = Forward(model, self.device, self.train.precision == "bfloat16")
        with torch.no_grad():
            parts = [
                forward.embedded(stored.to(self.device, layout(self.train)).x).images.float()
                for stored in self.images[split].read_in_order(_BATCH)
            ]
            return _join(parts, 0)

    def _split(self, model: Model, split: str, epoch: int, embeds: bool) -> Evaluation:
        """Score a split; what is said of images stays on the device until all batches are done."""
        forward = Forward(model, self.device, self.train.precision == "bfloat16")
        parts: defaultdict[str, list[torch.Tensor]] = defaultdict(list)
        for stored in self.images[split].read_in_order(_BATCH):
            batch = stored.to(self.device, layout(self.train))
            if embeds:
                output = forward.embedded(batch.x)
                logits = output.logits
                parts["embeddings"].append(output.images.float())
            else:
                logits = forward(batch.x)
            parts["losses"].append(self.supervision.losses(logits, batch.targets).double())
            parts["scores"].append(self.supervision.scores(logits).double())
            if self.supervision.by_class:
                parts["classes"].append(probabilities(logits).double())
            if self.supervision.segments:
                parts["pixels"].append(_pixel_counts(logits, batch.targets))
            else:
                parts["calls"].append(logits.argmax(dim=1) == 1)
        return self._summarise(split, epoch, parts)

    def _summarise(
        self, split: str, epoch: int, parts: Mapping[str, Sequence[torch.Tensor]]
    ) -> Evaluation:
        """Metrics of a split from what each batch of it gave; see `_split`."""
        drawn, segments = self.drawn[split], self.supervision.segments
        losses, scores = _join(parts["losses"]), _join(parts["scores"])
        # nobody knows the pixels of images that are not drawn on
        loss = float(losses[drawn].mean()) if drawn.any() else math.nan
        rows = [MetricRow(epoch, split, "loss", None, loss)]
        classes, embeddings = {}, {}
        if self.supervision.by_class:
            classes[split] = _join(parts["classes"], len(self.dataset.classes))
        calls = _join(parts["calls"])
        rows += self._of_predictions(split, epoch, scores, calls, classes.get(split))
        if segments:
            dice = mean_dice(*_join(parts["pixels"], 3)[drawn].T)
            rows.append(MetricRow(epoch, split, "dice", None, dice))
        if "embeddings" in parts:
            embeddings[split] = _join(parts["embeddings"], 0)
        return Evaluation(rows, {split: scores}, classes, embeddings)

    def _of_predictions(
        self,
        split: str,
        epoch: int,
        scores: NDArray[np.float64],
        calls: NDArray[np.bool_],
        classes: NDArray[np.float64] | None,
    ) -> list[MetricRow]:
        rows, data = self.rows[split], self.dataset
        predictions = Predictions(
            labels=data.labels[rows],
            scores=scores,
            attributes=data.attributes[rows],
            names=data.attribute_names,
            directions=data.directions,
            calls=None if self.supervision.segments else calls,
            probabilities=classes,
            class_numbers=None if classes is None else self.answers[rows],
        )
        out = [
            MetricRow(epoch, split, name, value.attribute, value.value, counts(value.cells))
            for name, value in compute_metrics(
                predictions, self.supervision.segments, per_epoch=True
            )
        ]
        if split == "val" and self.clusters is not None and not self.supervision.segments:
            worst = worst_mean(predictions.right, self.clusters)
            out.append(MetricRow(epoch, split, "worst_cluster_accuracy", None, worst))
        return out


def counts(groups: GroupCounts | None) -> tuple[int, int, int, int]:
    """Return `MetricRow.cells`; zeros for a metric that is not of groups."""
    return (0, 0, 0, 0) if groups is None else groups.annotated


def layout(train: Train) -> torch.memory_format:
    """Return the memory layout of images while a model sees them; by default as they were read.

    Grey images as they are read count as channels last for torch, which then takes its faster
    kernels; asking for contiguous ones would slow training by a third.
    """
    return torch.channels_last if train.channels_last else torch.preserve_format


def _join(parts: Sequence[torch.Tensor], *shape: int) -> NDArray[Any]:
    """Concatenate batches on the CPU; of none an empty array, `shape` behind its first axis."""
    return torch.cat(list(parts)).cpu().numpy() if parts else np.empty((0, *shape))


def _pixel_counts(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """(B, 3): intersection, predicted and target pixels of the argmax masks.

    Of three classes both foreground ones count as one.
    """
    predicted = logits.argmax(dim=1).flatten(1).bool()
    target = targets.flatten(1).bool()
    counts = [(predicted & target).sum(1), predicted.sum(1), target.sum(1)]
    return torch.stack(counts, dim=1)
