"""Fit one fully resolved configuration on one dataset: the entry point of the science."""

from __future__ import annotations

import logging
import math
from importlib import import_module

import numpy as np
import torch
from numpy.typing import NDArray

from spurious.after_fit import measure
from spurious.config.exemplars import Exbl
from spurious.config.machine import Machine
from spurious.config.methods import METHODS
from spurious.config.models import shown_by
from spurious.config.options import FitConfig, Specificity
from spurious.data.budget import draw
from spurious.data.classes import ImageClass
from spurious.data.dataset import Dataset
from spurious.data.drawn import carries
from spurious.data.examined import draw_shown, find_named
from spurious.data.mask_of import is_region
from spurious.data.training_set import TrainingSet
from spurious.errors import ConfigError
from spurious.methods.base import Method, TrainingProblem
from spurious.scoring.choices import SplitFacts, find_obstacle
from spurious.scoring.groups import count_groups, known_groups, number_groups
from spurious.scoring.selection import parse_rule
from spurious.training.evaluate import Evaluator, MetricRow
from spurious.training.explained import ExplanationRequest
from spurious.training.kept_model import KeptModel, count_outputs, taught
from spurious.training.loop import Fit, Hooks
from spurious.training.models import LoadWeights, build
from spurious.training.supervision import supervision_for

logger = logging.getLogger(__name__)


def implementation(name: str) -> Method:
    """A method's function; its module, and the libraries it needs, are imported when it is used.

    Raises:
        ConfigError: no method of that name.
    """
    if name not in METHODS:
        raise ConfigError(f"unknown method '{name}'; there are {', '.join(METHODS)}")
    method: Method = import_module(f"spurious.methods.{name.replace('-', '_')}").fit
    return method


def annotated_rows(dataset: Dataset, config: FitConfig) -> NDArray[np.int64]:
    """Return the rows of the training images that carry the annotation, ascending, (n,) int64."""
    train = dataset.rows("train")
    chosen = draw(
        dataset.labels[train],
        config.budget,
        dataset.digest,
        config.seed,
        None if dataset.drawn is None else dataset.drawn_on(train),
        config.specificity.kind,
    )
    return train[chosen]


def rest_rows(dataset: Dataset, config: FitConfig) -> NDArray[np.int64]:
    """Return the rows of the other training images, ascending, (m,) int64."""
    return np.setdiff1d(dataset.rows("train"), annotated_rows(dataset, config))


def tells_classes_apart(dataset: Dataset, config: FitConfig) -> bool:
    """Return whether the model answers classes: a classifier on a dataset that has them.

    A segmenter's pixels are of the abnormality or not, whatever other classes there are.
    """
    return bool(dataset.classes) and not config.segments


def group_rows(
    dataset: Dataset,
    rows: NDArray[np.int64],
    method: str,
    attribute: str | None,
    *,
    by_class: bool = False,
) -> NDArray[np.int64]:
    """Groups of label, or class, and spurious attributes, (n,) int64 from 0 to G - 1.

    Raises:
        ConfigError: the dataset lacks the attribute, or some of the images its annotation.
    """
    names = dataset.attribute_names
    if not names or (attribute is not None and attribute not in names):
        known = f"its attributes are {', '.join(names)}" if names else "it has none"
        raise ConfigError(
            f"method {method} needs spurious labels{f' of {attribute}' if attribute else ''}, and "
            f"this dataset does not have them ({known}); use a method that does without"
        )
    columns = [names.index(attribute)] if attribute else list(range(len(names)))
    answers = dataset.answers(by_class=by_class)[rows]
    groups = known_groups(answers, dataset.attributes[rows][:, columns])
    if unknown := int((groups < 0).sum()):
        raise ConfigError(
            f"method {method} needs spurious labels, and {unknown} of {len(rows)} images have "
            "none; use a method that does without, or annotate them"
        )
    every = count_all_groups(dataset, len(columns), by_class=by_class)
    if absent := every - len(np.unique(groups)):
        logger.warning(
            "%d of %d groups of %s and %s have no image among the %d, so method %s does "
            "without them",
            absent,
            every,
            "class" if by_class else "label",
            " and ".join(names[column] for column in columns),
            len(rows),
            method,
        )
    return number_groups(groups)


def count_all_groups(dataset: Dataset, attributes: int, *, by_class: bool) -> int:
    """Return how many groups of label, or class, and this many attributes there can be."""
    answers: int = len(dataset.classes) if by_class else 2
    return answers * 2**attributes


def absent_groups(dataset: Dataset, config: FitConfig, groups: NDArray[np.int64]) -> MetricRow:
    """Count groups of answer and attributes without an image, on the split of known groups."""
    attributes = 1 if config.method.attribute else len(dataset.attribute_names)
    by_class = tells_classes_apart(dataset, config)
    every = count_all_groups(dataset, attributes, by_class=by_class)
    absent = float(every - len(np.unique(groups)))
    split = config.method.spurious_labels
    return MetricRow(config.train.epochs, split, "absent_groups", None, absent)


def fit(
    dataset: Dataset,
    config: FitConfig,
    machine: Machine,
    hooks: Hooks,
    load_weights: LoadWeights,
    request: ExplanationRequest | None = None,
) -> Fit:
    """Draw the annotated images, build the model, train it and measure what was kept.

    Args:
        dataset: The opened dataset.
        config: The fully resolved configuration.
        machine: Device and threads.
        hooks: Progress and checkpoints.
        load_weights: Gives the state dict for the SHA-256 of stored weights.
        request: What of explanations is measured; None for nothing. It changes no number.

    Raises:
        ConfigError: the budget, specificity, method or model does not fit the dataset, or the rule
            of the kept checkpoint could choose no epoch.
        NumericalError: the loss became NaN or infinite.
    """
    torch.set_num_threads(machine.threads)
    device = torch.device(machine.device)
    # some CUDA kernels have no deterministic form; on the CPU a missing one is an error
    torch.use_deterministic_algorithms(config.train.deterministic, warn_only=device.type != "cpu")
    method = implementation(config.method_name)
    check_choices(dataset, config)
    problem = _problem(dataset, config, machine, load_weights)
    fitted = method(problem, config.method, hooks)
    _require_choice(fitted, config)
    measure(problem, fitted, request)
    if problem.groups is not None:
        fitted.rows.append(absent_groups(dataset, config, problem.groups))
    return fitted


def check_choices(dataset: Dataset, config: FitConfig) -> None:
    """Refuse rules that cannot choose an epoch on this dataset, before anything trains.

    Raises:
        ConfigError: the metric of a rule is undefined, or judges one class alone.
    """
    for option, text in config.method.choices(config.train.keep).items():
        rule = parse_rule(text)
        if rule.split is None:
            continue
        rows = dataset.rows(rule.split)
        drawn = dataset.abnormalities[rows][
            ((dataset.labels[rows] == 1) | (config.negatives == "lesion"))
            & carries(dataset.drawn_on(rows), config.specificity.kind)
        ]
        facts = SplitFacts(
            n=len(rows),
            positives=int((dataset.labels[rows] == 1).sum()),
            drawn=int(drawn.sum()),
            groups={
                name: count_groups(dataset.labels[rows], dataset.attributes[rows, column])
                for column, name in enumerate(dataset.attribute_names)
            },
            directions=dict(zip(dataset.attribute_names, dataset.directions, strict=True)),
            classes={
                each.name: int((dataset.answers(by_class=True)[rows] == number).sum())
                for number, each in enumerate(dataset.classes)
            },
        )
        if obstacle := find_obstacle(rule, facts):
            raise ConfigError(
                f"{option}: '{rule}' cannot choose an epoch: {obstacle}; use {option}: last"
            )


def _require_choice(fitted: Fit, config: FitConfig) -> None:
    """Refuse the first epoch where the rule has chosen none.

    Raises:
        ConfigError: the rule's metric was undefined in every epoch.
    """
    rule = parse_rule(config.train.keep)
    chooses = "train.keep" in config.method.choices(config.train.keep)
    if chooses and rule.metric is not None and math.isnan(fitted.kept_value):
        raise ConfigError(
            f"train.keep: '{rule}' cannot choose an epoch: its metric is undefined in all of them; "
            "use 'last', or a rule that reads another metric"
        )


def _check_negatives(dataset: Dataset, rows: NDArray[np.int64], config: FitConfig) -> None:
    """Refuse a third class of pixels that no image or no method has."""
    if config.negatives == "background":
        return
    weak = config.segments and config.rest is not None
    if not config.method.takes_lesions or weak:
        what = "rest: label" if weak else config.method_name
        raise ConfigError(
            f"{what} knows two classes of pixels; use negatives: background, or leave it out"
        )
    negative = rows[dataset.labels[rows] == 0]
    if len(negative) and not dataset.abnormalities[negative].any():
        raise ConfigError(
            "negatives: lesion needs masks of negative images, and this dataset has none; use "
            "negatives: background"
        )


def _check_model(config: FitConfig) -> None:
    """Refuse a model that hides what the method reads."""
    hidden = sorted(set(config.method.reads) - set(shown_by(config.model)))
    if hidden:
        raise ConfigError(
            f"method {config.method_name} reads the model's {' and '.join(hidden)}, which "
            f"{config.model_name} as it is set does not show"
        )


def _check_classes(dataset: Dataset, config: FitConfig) -> None:
    """Refuse a method that knows two classes on a dataset that has more."""
    reason = config.method.two_classes
    if reason and tells_classes_apart(dataset, config):
        names = ", ".join(each.name for each in dataset.classes)
        raise ConfigError(
            f"method {config.method_name} {reason}, and this dataset has {len(dataset.classes)} "
            f"classes ({names}); stage it without them, or use another method"
        )


def _steering_rows(
    dataset: Dataset, config: FitConfig, annotated: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]] | None:
    """Return the training rows of a method that steers, and which have a region; else None.

    With labels of the rest an epoch is all images, of which some have a region.
    """
    if not config.method.steers or config.specificity.kind == "label":
        return None
    rows = annotated if config.rest is None else dataset.rows("train")
    return rows, np.isin(rows, annotated)


def _examined_images(
    dataset: Dataset, config: FitConfig, annotated: NDArray[np.int64], workers: int, pinned: bool
) -> TrainingSet | None:
    """Return the images whose explanations are examples; None where the method has none."""
    method, kind = config.method, config.specificity
    if not isinstance(method, Exbl):
        return None
    regions: NDArray[np.bool_] | None = None
    if method.named is not None:
        rows, kind = find_named(dataset, method.named), Specificity("label")
    else:
        rows = annotated
        if kind.kind == "label":
            rows = draw_shown(dataset, annotated, method.candidates, config.seed)
            kind = Specificity("mask")
        regions = np.ones(len(rows), bool)
    return TrainingSet(
        *(dataset, rows, kind, config.train, config.seed, workers),
        pinned=pinned,
        negatives=config.negatives,
        regions=regions,
    )


def _check_regions(dataset: Dataset, config: FitConfig) -> None:
    """Refuse a segmenter of what is not the abnormality."""
    if config.segments and is_region(dataset.mask_of):
        raise ConfigError(
            f"masks of this dataset are of the {dataset.mask_of}, not of the abnormality, which "
            f"{config.method_name} would learn to segment; use a method that steers a classifier"
        )


def keep_model(dataset: Dataset, config: FitConfig, fitted: Fit) -> KeptModel:
    """Return the model of a fit at its kept epoch."""
    height, width, channels = dataset.images.shape[1:]
    return KeptModel(
        config=config,
        image_shape=(height, width, channels),
        dtype=str(dataset.images.dtype),
        classes=_answered_classes(dataset, config),
        state=fitted.kept_state,
    )


def _answered_classes(dataset: Dataset, config: FitConfig) -> tuple[ImageClass, ...]:
    return dataset.classes if tells_classes_apart(dataset, config) else ()


def _label_groups(
    dataset: Dataset, config: FitConfig, rows: NDArray[np.int64]
) -> NDArray[np.int64] | None:
    """Return the groups that a method is given, of training rows or of validation; else None."""
    split, method = config.method.spurious_labels, config.method
    if split is None:
        return None
    return group_rows(
        dataset,
        rows if split == "train" else dataset.rows("val"),
        config.method_name,
        method.attribute,
        by_class=tells_classes_apart(dataset, config),
    )


def _problem(
    dataset: Dataset, config: FitConfig, machine: Machine, load_weights: LoadWeights
) -> TrainingProblem:
    _check_model(config)
    _check_classes(dataset, config)
    by_class = tells_classes_apart(dataset, config)
    device, workers = torch.device(machine.device), machine.workers
    train, seed = config.train, config.seed
    rows, unannotated = annotated_rows(dataset, config), rest_rows(dataset, config)
    val = dataset.rows("val")
    label = Specificity("label")
    positive = dataset.positive_classes if by_class else None
    supervision = supervision_for(taught(config), config.readout, positive)
    hidden = config.rest is None
    height, width, channels = dataset.images.shape[1:]
    negatives, pinned = config.negatives, device.type == "cuda"
    _check_negatives(dataset, rows, config)
    _check_regions(dataset, config)
    examined = _examined_images(dataset, config, rows, workers, pinned)
    groups = _label_groups(dataset, config, rows)
    rows, regions = _steering_rows(dataset, config, rows) or (rows, None)
    unannotated = np.setdiff1d(unannotated, rows)
    return TrainingProblem(
        config=config,
        training=TrainingSet(
            *(dataset, rows, config.specificity, train, seed, workers),
            pinned=pinned,
            negatives=negatives,
            regions=regions,
            by_class=by_class,
        ),
        rest=TrainingSet(dataset, unannotated, label, train, seed, workers, hidden, pinned=pinned)
        if len(unannotated)
        else None,
        validation=TrainingSet(
            *(dataset, val, label, train, seed, workers), pinned=pinned, by_class=by_class
        ),
        evaluator=Evaluator(
            *(dataset, taught(config), supervision, train, device), negatives=negatives
        ),
        supervision=supervision,
        device=device,
        build=lambda: build(
            *(config.model_name, config.model, (height, width, channels), seed, load_weights),
            count_outputs(config, _answered_classes(dataset, config)),
        ),
        groups=groups,
        examined=examined,
    )
