"""The rows that one attempt writes: from a fit to the tables of `sweeps.results.schemas`."""

from __future__ import annotations

import platform
import socket
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from importlib.metadata import version
from typing import Any

import torch
from numpy.typing import NDArray

from spurious.after_fit import EMBEDDED
from spurious.data.dataset import Dataset
from spurious.data.splits import EVALUATION_SPLITS
from spurious.scoring.annotations import count_annotations, image_facts
from spurious.scoring.registry import METRICS
from spurious.training.explained import EXPLAINED, Picture
from spurious.training.loop import Fit
from sweeps.plan.identity import canonical, resolve_config, revision_of
from sweeps.results.counts import count_columns
from sweeps.results.schemas import PROBABILITY_PREFIX
from sweeps.spec.model import MethodChoice
from sweeps.trial.tasks import Task


@lru_cache(maxsize=1)
def _versions() -> str:
    names = ("spurious-sweeps", "torch", "torchvision", "numpy", "albumentations")
    versions = {name: version(name) for name in names}
    return canonical({**versions, "python": platform.python_version(), "cuda": torch.version.cuda})


class Rows:
    """The tables of one attempt."""

    def __init__(self, dataset: Dataset, task: Task, attempt: str, fitted: Fit) -> None:
        self.dataset, self.task, self.fit = dataset, task, fitted
        self.ids = {"trial_id": task.trial_id, "attempt": attempt}

    def _kept(self, split: str, metric: str) -> float:
        for row in self.fit.rows:
            if (row.epoch, row.split, row.metric, row.attribute) == (
                self.fit.kept_epoch,
                split,
                metric,
                None,
            ):
                return row.value
        return float("nan")

    def trial(self, began: datetime, seconds: float) -> dict[str, Any]:
        """Return the row of `trials`."""
        task, config, fitted = self.task, self.task.config, self.fit
        counts = count_annotations(image_facts(self.dataset), config)
        metrics = {
            f"{split}_{metric.name}": self._kept(split, metric.name)
            for split in EVALUATION_SPLITS
            for metric in METRICS.values()
            if metric.in_trials
        }
        revision = revision_of(config, len(self.dataset.rows("train")))
        speed = fitted.images_trained / fitted.seconds_training if fitted.seconds_training else 0.0
        device = torch.cuda.get_device_name() if task.machine.device == "cuda" else "cpu"
        return {
            **self.ids,
            "dataset": task.dataset,
            "dataset_digest": task.dataset_digest,
            "specificity": str(config.specificity),
            "budget": str(config.budget),
            "balance": config.budget.balance,
            "method": str(MethodChoice(config.method_name, config.method)),
            "model": config.model_name,
            "seed": config.seed,
            "science_version": config.science_version,
            "config": canonical(resolve_config(config, task.dataset_digest, revision)),
            "keep_rule": config.train.keep,
            "kept_epoch": fitted.kept_epoch,
            "epochs": config.train.epochs,
            **count_columns(counts),
            **metrics,
            "seconds_total": seconds,
            "seconds_training": fitted.seconds_training,
            "images_per_second": speed,
            "resumed_from_epoch": fitted.resumed_from_epoch,
            "started_at": began,
            "finished_at": datetime.now(UTC),
            "node": socket.gethostname(),
            "device": device,
            "threads": task.machine.threads,
            "cpus": task.share.cpus,
            "gpus": task.share.gpus,
            "versions": _versions(),
        }

    def epochs(self) -> list[dict[str, Any]]:
        """Return the rows of `epochs`."""
        names = ("n_y0_s0", "n_y0_s1", "n_y1_s0", "n_y1_s1")
        return [
            {
                **self.ids,
                "epoch": row.epoch,
                "split": row.split,
                "metric": row.metric,
                "attribute": row.attribute,
                "value": row.value,
                **dict(zip(names, row.cells, strict=True)),
            }
            for row in self.fit.rows
        ]

    def predictions(self) -> list[dict[str, Any]]:
        """The rows of `predictions`: the kept epoch and the last, once where they are the same."""
        fit, last = self.fit, self.task.config.train.epochs
        epochs = {fit.kept_epoch: (fit.kept_scores, fit.kept_probabilities)}
        epochs[last] = (fit.last_scores, fit.last_probabilities)
        return [
            {**row, **of_class}
            for epoch, (scores, classes) in epochs.items()
            for split, values in scores.items()
            for row, of_class in zip(
                self._scored(epoch, split, values),
                self._classified(split, classes.get(split), len(values)),
                strict=True,
            )
        ]

    @property
    def class_names(self) -> list[str]:
        """Names of the classes that predictions have probabilities of; none of labels alone."""
        return [each.name for each in self.dataset.classes] if self.fit.last_probabilities else []

    def _classified(
        self, split: str, probabilities: NDArray[Any] | None, count: int
    ) -> Iterator[dict[str, Any]]:
        """Yield an image's class and what the model gives each; nothing where it tells none."""
        if probabilities is None:
            yield from ({} for _ in range(count))
            return
        names = self.class_names
        columns = [PROBABILITY_PREFIX + name for name in names]
        numbers = self.dataset.answers(by_class=True)[self.dataset.rows(split)]
        for number, row in zip(numbers.tolist(), probabilities.tolist(), strict=True):
            yield {"class": names[number], **dict(zip(columns, row, strict=True))}

    def _scored(self, epoch: int, split: str, scores: NDArray[Any]) -> Iterator[dict[str, Any]]:
        kept, last = self.fit.kept_epoch, self.task.config.train.epochs
        for image, score in zip(self._images(split), scores, strict=True):
            where = {"epoch": epoch, "kept": epoch == kept, "last": epoch == last}
            yield {**self.ids, **where, **image, "score": float(score)}

    def _images(self, split: str) -> Iterator[dict[str, Any]]:
        """Yield ids, label and spurious attributes of a split's images, in row order."""
        data = self.dataset
        for row in data.rows(split):
            yield {
                "sample_id": str(data.sample_ids[row]),
                "patient_id": str(data.patient_ids[row]),
                "split": split,
                "label": int(data.labels[row]),
                **{
                    f"spurious_{name}": None if value < 0 else bool(value)
                    for name, value in zip(data.attribute_names, data.attributes[row], strict=True)
                },
            }

    def optional(self) -> dict[str, list[dict[str, Any]]]:
        """Return the rows of the tables that the sweep asks for, by name; none of others."""
        tables = {
            "embeddings": (self.task.embeddings, self._embeddings),
            "explanations": (self.task.explanations, self._explanations),
            "examples": (self.task.examples > 0, self._examples),
        }
        return {name: rows() for name, (is_requested, rows) in tables.items() if is_requested}

    def _embeddings(self) -> list[dict[str, Any]]:
        if self.fit.embeddings is None:
            return []
        images = zip(self._images(EMBEDDED), self.fit.embeddings, strict=True)
        return [{**self.ids, **image, "embedding": vector} for image, vector in images]

    def _explanations(self) -> list[dict[str, Any]]:
        if self.fit.explanations is None:
            return []
        images = list(self._images(EXPLAINED))
        return [
            {**self.ids, **images[row["position"]], **row} for row in self.fit.explanations.rows
        ]

    def _examples(self) -> list[dict[str, Any]]:
        if self.fit.explanations is None:
            return []
        images = list(self._images(EXPLAINED))
        return [self._example(picture, images) for picture in self.fit.explanations.pictures]

    def _example(self, picture: Picture, images: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        height, width, channels = picture.pixels.shape
        image = {} if picture.position is None else images[picture.position]
        return {
            **self.ids,
            **image,
            "label": picture.label,
            "picture": picture.kind,
            "height": height,
            "width": width,
            "channels": channels,
            "highest": picture.highest,
            "pixels": picture.pixels.ravel(),
        }
