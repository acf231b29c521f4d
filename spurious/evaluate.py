"""Metrics of a model on the validation and test splits after an epoch.

The only part of training that holds test images; a method is handed this object, not the data.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from spurious.config import Specificity
from spurious.dataset import Dataset
from spurious.inputs import PackedTargets, normalised
from spurious.metrics import auroc, mean_dice, robust_auroc
from spurious.tasks import Task

SPLITS = ("val", "test")
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


@dataclass(frozen=True)
class Evaluation:
    """Rows of one epoch and the image scores, (n,) float64 per split in row order."""

    rows: list[MetricRow]
    scores: dict[str, NDArray[np.float64]]

    def values(self) -> dict[str, float]:
        """`val.auroc`-like keys for selection rules; robust AUROC over all attributes only."""
        return {f"{r.split}.{r.metric}": r.value for r in self.rows if r.attribute is None}


class Evaluator:
    """Scores the validation and test splits at one specificity."""

    def __init__(
        self,
        dataset: Dataset,
        specificity: Specificity,
        task: Task,
        normalise: str,
        device: torch.device,
        precision: str,
    ) -> None:
        self.dataset, self.task, self.device = dataset, task, device
        self.normalise, self.precision = normalise, precision
        self.rows = {split: dataset.rows(split) for split in SPLITS}
        self.targets = (
            {s: PackedTargets(dataset.masks, rows, specificity) for s, rows in self.rows.items()}
            if task.segments
            else None
        )

    def __call__(self, model: torch.nn.Module, epoch: int) -> Evaluation:
        """Evaluate in eval mode without gradients; the model's mode is put back."""
        was_training = model.training
        model.eval()
        rows: list[MetricRow] = []
        scores: dict[str, NDArray[np.float64]] = {}
        with torch.no_grad():
            for split in SPLITS:
                scores[split], metrics = self._split(model, split, epoch)
                rows += metrics
        model.train(was_training)
        return Evaluation(rows, scores)

    def _split(
        self, model: torch.nn.Module, split: str, epoch: int
    ) -> tuple[NDArray[np.float64], list[MetricRow]]:
        rows = self.rows[split]
        scores = np.full(len(rows), np.nan)
        losses = np.full(len(rows), np.nan)
        pixels = np.zeros((3, len(rows)), dtype=np.int64)
        for start in range(0, len(rows), _BATCH):
            part = np.arange(start, min(start + _BATCH, len(rows)))
            x = normalised(self.dataset.images[rows[part]], self.normalise).to(self.device)
            targets = self._targets(split, part)
            with torch.autocast(self.device.type, torch.bfloat16, self.precision == "bfloat16"):
                logits = model(x)
            losses[part] = self.task.losses(logits, targets).cpu().numpy()
            scores[part] = self.task.scores(logits).cpu().numpy()
            if self.task.segments:
                pixels[:, part] = _pixel_counts(logits, targets)
        return scores, self._metrics(split, epoch, scores, losses, pixels)

    def _targets(self, split: str, part: NDArray[np.int64]) -> torch.Tensor:
        if self.targets is None:
            values: NDArray[np.int64] = self.dataset.labels[self.rows[split][part]]
        else:
            values = self.targets[split][part].astype(np.int64)
        return torch.from_numpy(values).to(self.device)

    def _metrics(
        self,
        split: str,
        epoch: int,
        scores: NDArray[np.float64],
        losses: NDArray[np.float64],
        pixels: NDArray[np.int64],
    ) -> list[MetricRow]:
        rows, data = self.rows[split], self.dataset
        labels = data.labels[rows]
        loss = float(losses.mean()) if len(rows) else math.nan
        out = [
            MetricRow(epoch, split, "loss", None, loss),
            MetricRow(epoch, split, "auroc", None, auroc(labels, scores)),
        ]
        for found in robust_auroc(
            labels, scores, data.attributes[rows], data.attribute_names, data.directions
        ):
            c = found.cells
            cells = (c.y0_s0, c.y0_s1, c.y1_s0, c.y1_s1)
            out.append(MetricRow(epoch, split, "robust_auroc", found.attribute, found.value, cells))
        if self.task.segments:
            out.append(MetricRow(epoch, split, "dice", None, mean_dice(*pixels)))
        return out


def _pixel_counts(logits: torch.Tensor, targets: torch.Tensor) -> NDArray[np.int64]:
    """(3, B): intersection, predicted and target pixels of the argmax masks."""
    predicted = logits.argmax(dim=1).flatten(1).bool()
    target = targets.flatten(1).bool()
    counts = [(predicted & target).sum(1), predicted.sum(1), target.sum(1)]
    return torch.stack(counts).cpu().numpy()
