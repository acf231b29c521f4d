"""Scores an exported model on a dataset that it need not have been trained on.

Groups, attributes and their directions are those of the dataset that is scored. Weights, read-out
and threshold are the model's: nothing is fitted here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cluster.datasets.manifest import Manifest
from spurious.config.machine import Machine
from spurious.data.dataset import Dataset
from spurious.scoring.groups import contradicts, mostly_contradicts
from spurious.scoring.metric import Predictions
from spurious.scoring.registry import METRICS, compute_metrics
from spurious.training.evaluate import Evaluation, counts
from sweeps.catalogue.exported.export import ExportedModel
from sweeps.errors import SweepError
from sweeps.report.inference.components import arrange, take_reading
from sweeps.report.inference.intervals import Interval, model_interval
from sweeps.results.schemas import PROBABILITY_PREFIX

_WITH_INTERVALS = ("auroc", "robust_auroc")
_GROUPS = ("n_y0_s0", "n_y0_s1", "n_y1_s0", "n_y1_s1")


@dataclass(frozen=True)
class SplitEvaluation:
    """What a model made of one split.

    Attributes:
        split: The split.
        labels: (n,) in {0, 1}, in row order.
        scores: (n,).
        patients: Different patients.
        intervals: Of AUROCs, by metric and attribute (None for all images or attributes together).
        metrics: Rows of `EVALUATION_METRICS`.
    """

    split: str
    labels: NDArray[np.int64]
    scores: NDArray[np.float64]
    patients: int
    intervals: Mapping[tuple[str, str | None], Interval]
    metrics: Sequence[Mapping[str, Any]]

    def value(self, metric: str, attribute: str | None = None) -> float:
        """Return a metric; NaN where it is undefined, or the model has none."""
        for row in self.metrics:
            if (row["metric"], row["attribute"]) == (metric, attribute):
                return float(row["value"])
        return math.nan


@dataclass(frozen=True)
class ModelEvaluation:
    """What a model made of a dataset.

    Attributes:
        exported: The model.
        manifest: The dataset.
        splits: By split, in the order in which they were asked for.
        predictions: Rows of `EVALUATION_PREDICTIONS`, split by split.
        class_names: Of the classes that the model answers; none of labels.
    """

    exported: ExportedModel
    manifest: Manifest
    splits: Sequence[SplitEvaluation]
    predictions: Sequence[Mapping[str, Any]]
    class_names: Sequence[str] = field(default_factory=tuple)

    @property
    def metrics(self) -> list[Mapping[str, Any]]:
        """Rows of `EVALUATION_METRICS`."""
        return [row for each in self.splits for row in each.metrics]

    @property
    def threshold(self) -> float:
        """The operating point that the model brought; NaN for none."""
        return read_threshold(self.exported)


def read_threshold(exported: ExportedModel) -> float:
    """Return the threshold of an exported model; NaN for none."""
    threshold = exported.document["operating_point"]["threshold"]
    return math.nan if threshold is None else float(threshold)


def evaluate_model(
    exported: ExportedModel,
    manifest: Manifest,
    dataset: Dataset,
    splits: Sequence[str],
    device: str = "cpu",
) -> ModelEvaluation:
    """Score some splits of a dataset.

    On the dataset that the model was trained on, the scores are those of its trial, bit for bit on
    one CPU type: the same batches, on as many threads.

    Args:
        exported: The model.
        manifest: Of the dataset.
        dataset: The same, opened.
        splits: Which splits.
        device: `cpu` or `cuda`.

    Raises:
        SweepError: the images do not fit the model, or a split has none; all reasons at once.
        DataError, ConfigError: the model cannot be built.
    """
    _check_fit(exported, manifest, dataset, splits)
    if device == "cuda" and not torch.cuda.is_available():
        raise SweepError("--device cuda: torch finds no GPU here; leave it out to use the CPU")
    machine = Machine(device=device, threads=int(exported.document["trained_with"]["threads"]))
    evaluation = exported.model.score(dataset, splits, machine)
    names = [each.name for each in exported.model.classes]
    first = {
        "sweep": exported.document["sweep"],
        "trial_id": exported.document["trial_id"],
        "dataset": manifest.name,
        "dataset_digest": manifest.digest,
    }
    return ModelEvaluation(
        exported,
        manifest,
        [_split(first, split, exported, dataset, evaluation) for split in splits],
        [
            {**first, "split": split, **row}
            for split in splits
            for row in _predictions(dataset, split, evaluation, names, read_threshold(exported))
        ],
        names,
    )


def _check_fit(
    exported: ExportedModel, manifest: Manifest, dataset: Dataset, splits: Sequence[str]
) -> None:
    """Raise SweepError where images do not fit the model, or a split is empty."""
    misfits = exported.model.find_misfits(dataset)
    empty = [split for split in splits if not len(dataset.rows(split))]
    misfits += [f"its {split} split has no images: choose others with --split" for split in empty]
    if misfits:
        raise SweepError(
            f"dataset '{manifest.name}' cannot be scored by {exported.label} of sweep "
            f"'{exported.document['sweep']}': {'; '.join(misfits)}"
        )


def _split(
    first: Mapping[str, Any],
    split: str,
    exported: ExportedModel,
    dataset: Dataset,
    evaluation: Evaluation,
) -> SplitEvaluation:
    rows, scores = dataset.rows(split), evaluation.scores[split]
    intervals = _intervals(dataset, rows, scores)
    metrics = [
        {**first, "split": split, **_metric_row(name, attribute, value, cells, intervals)}
        for name, attribute, value, cells in _metrics(split, exported, dataset, evaluation)
    ]
    labels, patients = dataset.labels[rows], len(np.unique(dataset.patient_ids[rows]))
    return SplitEvaluation(split, labels, scores, patients, intervals, metrics)


def _metrics(
    split: str, exported: ExportedModel, dataset: Dataset, evaluation: Evaluation
) -> Iterator[tuple[str, str | None, float, tuple[int, int, int, int]]]:
    """Yield name, attribute, value and groups of every metric that training or the report has."""
    for row in evaluation.rows:
        if row.split == split:
            yield row.metric, row.attribute, row.value, row.cells
    rows, classes = dataset.rows(split), evaluation.probabilities.get(split)
    predictions = Predictions(
        labels=dataset.labels[rows],
        scores=evaluation.scores[split],
        attributes=dataset.attributes[rows],
        names=dataset.attribute_names,
        directions=dataset.directions,
        threshold=read_threshold(exported),
        probabilities=classes,
        class_numbers=None if classes is None else dataset.answers(by_class=True)[rows],
    )
    for name, value in compute_metrics(predictions, exported.model.config.segments):
        if not METRICS[name].per_epoch:
            yield name, value.attribute, value.value, counts(value.cells)


def _metric_row(
    name: str,
    attribute: str | None,
    value: float,
    cells: tuple[int, int, int, int],
    intervals: Mapping[tuple[str, str | None], Interval],
) -> dict[str, Any]:
    interval = intervals.get((name, attribute))
    undefined = "the AUROC is undefined" if name in _WITH_INTERVALS else None
    return {
        "metric": name,
        "attribute": attribute,
        "value": value,
        "low": math.nan if interval is None else interval.low,
        "high": math.nan if interval is None else interval.high,
        "no_interval": undefined if interval is None else interval.reason or None,
        "unit": METRICS[name].unit,
        "better": METRICS[name].better,
        **dict(zip(_GROUPS, cells if attribute is not None else (None,) * 4, strict=True)),
    }


def _intervals(
    dataset: Dataset, rows: NDArray[np.int64], scores: NDArray[np.float64]
) -> dict[tuple[str, str | None], Interval]:
    """Return the intervals of the AUROCs of a split that are defined."""
    labels, attributes = dataset.labels[rows], dataset.attributes[rows]
    chosen: dict[tuple[str, str | None], NDArray[np.bool_]] = {
        ("auroc", None): np.ones(len(rows), dtype=bool)
    }
    if dataset.attribute_names:
        chosen["robust_auroc", None] = mostly_contradicts(labels, attributes, dataset.directions)
    for column, name in enumerate(dataset.attribute_names):
        sign = dataset.directions[column]
        chosen["robust_auroc", name] = contradicts(labels, attributes[:, column], sign)
    intervals, both = {}, (dataset.sample_ids, dataset.patient_ids)
    for which, of in chosen.items():
        samples, patients = (ids[rows][of].tolist() for ids in both)
        reading = take_reading(arrange(labels[of], samples, patients), scores[of])
        if reading is not None:
            intervals[which] = model_interval(reading.value, reading.components, reading.cases)
    return intervals


def _predictions(
    dataset: Dataset,
    split: str,
    evaluation: Evaluation,
    class_names: Sequence[str],
    threshold: float,
) -> Iterator[dict[str, Any]]:
    """Yield the rows of a split's images, in row order, without what all rows share."""
    classes = evaluation.probabilities.get(split)
    answers = dataset.answers(by_class=classes is not None)
    columns = [PROBABILITY_PREFIX + name for name in class_names]
    for place, row in enumerate(dataset.rows(split).tolist()):
        score, of_classes = float(evaluation.scores[split][place]), dict[str, Any]()
        if classes is not None:
            of_classes = {"class": class_names[answers[row]]}
            of_classes |= zip(columns, classes[place].tolist(), strict=True)
        yield {
            "sample_id": str(dataset.sample_ids[row]),
            "patient_id": str(dataset.patient_ids[row]),
            "label": int(dataset.labels[row]),
            "score": score,
            "called": None if math.isnan(threshold) else score >= threshold,
            **{
                f"spurious_{name}": None if value < 0 else bool(value)
                for name, value in zip(
                    dataset.attribute_names, dataset.attributes[row], strict=True
                )
            },
            **of_classes,
        }
