"""What sections of the sweep YAML say together: contradictions."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from spurious.config.methods import Erm, George, Ssl
from spurious.config.options import Specificity
from spurious.scoring.registry import METRICS
from spurious.scoring.selection import SelectionRule, parse_rule
from sweeps.spec.fields import Field
from sweeps.spec.money import check_money
from sweeps.spec.papers import find, tables
from sweeps.spec.search_rules import check_search
from sweeps.spec.sections import FoundAxes
from sweeps.spec.training import train_for
from sweeps.spec.values import (
    DatasetRef,
    GeneratorDataset,
    MethodChoice,
    Models,
    Select,
    Training,
)

_Cell = tuple[Specificity, MethodChoice]


def check_together(root: Field, values: Mapping[str, Any]) -> None:
    """Note combinations of sections that can have no result."""
    axes: FoundAxes = values.get("axes", {})
    if values.get("balance") == "equal":
        for item, images in axes.get("budget", []):
            if images is not None and images % 2:
                remedy = f"did you mean '{images - 1}' or '{images + 1}', or balance: natural?"
                item.refuse("an even number with balance: equal, half of it positive", remedy)
    chosen = values.get("dataset")
    side = (
        getattr(chosen.options, "image_size", None)
        if isinstance(chosen, GeneratorDataset)
        else None
    )
    if side is not None:
        for item, specificity in axes.get("specificity", []):
            if specificity.r is not None and specificity.r > side:
                place = item.at("r") or item
                place.refuse(f"an integer from 1 to {side}, the image side of the generator")
    cells = list(_cells(axes, values.get("model", Models())))
    if values.get("negatives") == "lesion":
        _check_lesions(root, values, cells)
    _check_published(root, values.get("published", ()), chosen)
    _check_methods(root, values, axes)
    _check_tuned(root, values.get("select", Select()).tune, axes)
    check_money(root, values)
    if "search" in values and axes:
        check_search(root, values, [method for _, method in axes["method"]], cells, _lacks)
    select = values.get("select", Select()).epoch
    if select is not None:
        _check_select(root, select, cells)
    if "train" in values:
        _check_keep(root, values["train"], cells)
        _check_oracles(root, values, cells)


def _check_tuned(root: Field, names: tuple[str, ...], axes: FoundAxes) -> None:
    """Note options to tune that none of the sweep's methods has."""
    options = {
        option.name
        for _, method in axes.get("method", [])
        for option in dataclasses.fields(method.options)
    }
    for name in names:
        if axes.get("method") and not root.problems.issues and name not in options:
            place = root.at("select", "tune") or root
            known = ", ".join(sorted(options)) or "there are none"
            place.refuse(f"options of the sweep's methods ({known}), not '{name}'")


def _check_lesions(root: Field, values: Mapping[str, Any], cells: Iterable[_Cell]) -> None:
    """Note what has no class of pixels for negative images."""
    place, dataset = root.at("negatives") or root, values.get("dataset")
    if isinstance(dataset, GeneratorDataset) and not dataset.options.MASKS_NEGATIVES:
        place.note(
            f"negative images of {dataset.name} have no masks; expected background, or leave it out"
        )
    segmenters = any(method.options.segments(kind.kind) for kind, method in cells)
    if values.get("rest") is not None and segmenters:
        place.note("labels of the rest know two classes of pixels; expected background, or no rest")


def _check_published(root: Field, names: Iterable[str], dataset: DatasetRef | None) -> None:
    """Note tables that have nothing of the sweep's dataset, by its name."""
    place = root.at("published") or root
    for name in names:
        if dataset is not None and find(name, dataset.name) is None:
            has = tables()[name].datasets
            place.note(
                f"'{name}' has numbers of {', '.join(has)}, not of '{dataset.name}'; expected a "
                f"table of this dataset, or '{name}/{has[0]}' to compare with another's numbers"
            )


def _check_methods(root: Field, values: Mapping[str, Any], axes: FoundAxes) -> None:
    """Note method options that need another section."""
    for item, choice in axes.get("method", []):
        wants_labels = isinstance(choice.options, Ssl) and choice.options.filter_by_label
        if wants_labels and values.get("rest") is None:
            (item.at("filter_by_label") or item).refuse(
                "false where the rest of the images has no labels", "did you mean 'rest: label'?"
            )


def _lacks(rule: SelectionRule, specificity: Specificity, method: MethodChoice) -> str | None:
    """Return why a cell has no such metric, or None."""
    if rule.metric is None:
        return None
    if not METRICS[rule.metric].fits(segments=method.options.segments(specificity.kind)):
        what = f" under {method.name}" if method.options.steers else ""
        return f"{specificity.kind}{what} has no {rule.metric}"
    if rule.metric == "worst_cluster_accuracy" and not isinstance(method.options, George):
        return f"{method.name} has no clusters"
    return None


def _cells(axes: FoundAxes, models: Models) -> Iterator[_Cell]:
    """Yield specificities with each method that takes them; with ERM where no method can be read.

    Those that need a segmenter are left out where there is none.
    """
    methods = [method for _, method in axes.get("method", [])] or [MethodChoice("erm", Erm())]
    for _, specificity in axes.get("specificity", []):
        for method in methods:
            has_model = models.segmenter or not method.options.segments(specificity.kind)
            if specificity.kind in method.options.takes and has_model:
                yield specificity, method


def _check_select(root: Field, select: SelectionRule, cells: Iterable[_Cell]) -> None:
    """Note a report's rule that some cell has no metric for."""
    every = list(cells)
    lacking = [(cell, reason) for cell in every if (reason := _lacks(select, *cell))]
    if lacking:
        hint = f"did you mean 'best {select.split}.auroc', or kept?"
        segmented = all(method.options.segments(kind.kind) for (kind, method), _ in lacking)
        if segmented and len(lacking) < len(every):
            hint += " 'model.segmenter: null' leaves out the cells that train a segmenter"
        (root.at("select", "epoch") or root).refuse(
            f"a rule for every cell of axes, and {lacking[0][1]}", hint
        )


def _check_oracles(root: Field, values: Mapping[str, Any], cells: Iterable[_Cell]) -> None:
    """Note rules that read test scores of every epoch where only candidates have any."""
    if all(train_for(values["train"], *cell).score_test == "every" for cell in cells):
        return
    rules = [(root.at("select", "epoch") or root, values.get("select", Select()).epoch)]
    for name in values.get("published", ()):
        table = tables()["/".join(name.split("/")[:2])]
        rules.append((root.at("published") or root, table.epoch))
    for place, rule in rules:
        if rule is not None and rule.oracle and rule.sees_every_epoch:
            place.note(
                f"'{rule}' needs test scores of every epoch, and train.score_test: candidates "
                "takes them at candidates of rules of validation alone; expected such a rule "
                "(best val.METRIC, last or kept), or train.score_test: every"
            )


def _check_keep(root: Field, training: Training, cells: Iterable[_Cell]) -> None:
    """Note rules of kept checkpoints that their cell has no metric for."""
    noted: dict[str, tuple[Field, str, str]] = {}
    for specificity, method in cells:
        rule = parse_rule(train_for(training, specificity, method).keep)
        reason = _lacks(rule, specificity, method)
        if reason is None:
            continue
        place = (
            root.at("train", "per_method", method.name, "keep")
            or root.at("train", "per_specificity", specificity.kind, "keep")
            or root.at("train", "keep")
            or root
        )
        noted.setdefault(place.key, (place, reason, specificity.kind))
    for place, reason, kind in noted.values():
        place.refuse(
            f"a rule for every cell that it covers, and {reason}",
            f"did you mean 'auto', or train.per_specificity.{kind}.keep: best val.auroc?",
        )
