"""Metrics of a model on the validation and test splits after an epoch.

The only part of training that holds test images; a method is handed this object, not the data.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
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
    """

    rows: list[MetricRow]
    scores: dict[str, NDArray[np.float64]]
    probabilities: dict[str, NDArray[np.float64]] = field(default_factory=dict)

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

    def __call__(self, model: torch.nn.Module, epoch: int) -> Evaluation:
        """Evaluate in eval mode without gradients; the model's mode is put back."""
        was_training = model.training
        model.eval()
        rows: list[MetricRow] = []
        scores: dict[str, NDArray[np.float64]] = {}
        of_classes: dict[str, NDArray[np.float64]] = {}
        with torch.no_grad():
            for split in self.rows:
                scores[split], classes, metrics = self._split(model, split, epoch)
                rows += metrics
                of_classes |= {} if classes is None else {split: classes}
        model.train(was_training)
        return Evaluation(rows, scores, of_classes)

    def embeddings(self, model: Model, split: str) -> NDArray[np.float32]:
        """Image embeddings of a split in row order, by a model in eval mode; (n, D)."""
        rows, train = self.rows[split], self.train
        forward = Forward(model, self.device, train.precision == "bfloat16")
        parts = [np.empty((0, 0), dtype=np.float32)] if not len(rows) else []
        with torch.no_grad():
            for stored in self.images[split].read_in_order(_BATCH):
                x = stored.to(self.device, layout(train)).x
                parts.append(forward.embedded(x).images.float().cpu().numpy())
        return np.concatenate(parts)

    def _split(
        self, model: torch.nn.Module, split: str, epoch: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64] | None, list[MetricRow]]:
        """Scores, probabilities of classes where there are any, and metrics of a split."""
        rows, classes = self.rows[split], self._make_probabilities(split)
        scores = np.full(len(rows), np.nan)
        losses = np.full(len(rows), np.nan)
        pixels = np.zeros((3, len(rows)), dtype=np.int64)
        calls = np.zeros(len(rows), dtype=bool)
        bfloat16 = self.train.precision == "bfloat16"
        for stored in self.images[split].read_in_order(_BATCH):
            batch, part = stored.to(self.device, layout(self.train)), stored.positions.numpy()
            targets = batch.targets
            with torch.autocast(self.device.type, torch.bfloat16, bfloat16):
                logits = model(batch.x)
            losses[part] = self.supervision.losses(logits, targets).cpu().numpy()
            scores[part] = self.supervision.scores(logits).cpu().numpy()
            if classes is not None:
                classes[part] = probabilities(logits).cpu().numpy()
            if self.supervision.segments:
                pixels[:, part] = _pixel_counts(logits, targets)
            else:
                calls[part] = (logits.argmax(dim=1) == 1).cpu().numpy()
        drawn = self.drawn[split]  # nobody knows the pixels of other images
        loss = float(losses[drawn].mean()) if drawn.any() else math.nan
        metric_rows = [MetricRow(epoch, split, "loss", None, loss)]
        metric_rows += self._of_predictions(split, epoch, scores, calls, classes)
        if self.supervision.segments:
            metric_rows.append(MetricRow(epoch, split, "dice", None, mean_dice(*pixels[:, drawn])))
        return scores, classes, metric_rows

    def _make_probabilities(self, split: str) -> NDArray[np.float64] | None:
        """Room for probabilities of classes; None where there are only labels."""
        if not self.supervision.by_class:
            return None
        return np.full((len(self.rows[split]), len(self.dataset.classes)), np.nan)

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


def _pixel_counts(logits: torch.Tensor, targets: torch.Tensor) -> NDArray[np.int64]:
    """(3, B): intersection, predicted and target pixels of the argmax masks.

    Of three classes both foreground ones count as one.
    """
    predicted = logits.argmax(dim=1).flatten(1).bool()
    target = targets.flatten(1).bool()
    counts = [(predicted & target).sum(1), predicted.sum(1), target.sum(1)]
    return torch.stack(counts).cpu().numpy()
