"""What the section `search` and the others say together."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Mapping
from typing import Any

from spurious.config import fields as config
from spurious.config.options import Specificity
from spurious.scoring.selection import parse_rule
from sweeps.spec.fields import Field, nearest
from sweeps.spec.search import (
    DOLLARS,
    MODELS,
    Search,
    corners,
    describe_values,
    owner_of,
    rungs,
)
from sweeps.spec.training import train_for
from sweeps.spec.values import MethodChoice, Models, Select, Training

MAX_SEARCHED = 100_000


def check_search(
    root: Field,
    values: Mapping[str, Any],
    methods: Iterable[MethodChoice],
    cells: Iterable[tuple[Specificity, MethodChoice]],
    lacks: Any,
) -> None:
    """Note what of a search can have no result, or no fair one.

    Args:
        root: The whole text.
        values: Its sections.
        methods: Those of the axes.
        cells: Specificity and method of every cell.
        lacks: Returns why a rule's metric does not exist in a cell, or None.
    """
    search: Search = values["search"]
    methods, every = list(methods), list(cells)
    cells = [(kind, method) for kind, method in every if _is_searched(search, kind, method)]
    place = root.at("search") or root
    _check_owners(place, search, methods, every)
    _check_options(place, search, methods, values.get("model", Models()))
    _check_alike(root, search, methods)
    rule = parse_rule(f"best {search.metric[0]}")
    if reasons := [reason for cell in cells if (reason := lacks(rule, *cell))]:
        (place.at("metric") or place).refuse(
            f"a metric of every cell that is searched, and {reasons[0]}",
            "did you mean 'val.auroc'?",
        )
    if search.stop != "none" and search.by_dollars:
        (place.at("stop") or place).refuse(
            f"none where {DOLLARS} are a metric, too", "early stopping compares one metric"
        )
    if search.stop != "none":
        _check_stop(place.at("stop") or place, search, values.get("train", Training()), cells)
    _check_momentum(place, search, values.get("train", Training()), cells)
    if values.get("select", Select()).tune:
        (root.at("select", "tune") or root).note(
            "search chooses options, too; expected one of select.tune and search"
        )
    size = len(cells) * len(values["axes"]["budget"]) * search.trials * max(1, len(search.seeds))
    if size > MAX_SEARCHED:
        place.note(f"{size} trials in all cells; expected at most {MAX_SEARCHED}")


def _is_searched(search: Search, kind: Specificity, method: MethodChoice) -> bool:
    return bool(search.dimensions_of(method.name, MODELS[method.options.segments(kind.kind)]))


def _check_stop(
    place: Field,
    search: Search,
    training: Training,
    cells: Iterable[tuple[Specificity, MethodChoice]],
) -> None:
    """Note trials of one cell that are evaluated at other epochs, and those without a rung."""
    for name in ("epochs", "evaluate_every"):
        if any(each.name == name for each in search.space):
            reason = "trials of one cell would have no epochs in common to be compared at"
            place.refuse(f"none where {name} is searched", reason)
            return
    for kind, method in cells:
        train = train_for(training, kind, method)
        if "train.keep" not in method.options.choices(train.keep):
            continue  # never compared before its end
        if not rungs(train.epochs, train.evaluate_every):
            place.refuse(
                "none where nothing is evaluated before the last epoch "
                f"({kind.kind}: epochs {train.epochs}, evaluate_every {train.evaluate_every})",
                "or more train.epochs",
            )
            return


def _check_momentum(
    place: Field,
    search: Search,
    training: Training,
    cells: Iterable[tuple[Specificity, MethodChoice]],
) -> None:
    """Note momentum where no optimizer reads it: all configurations would be the same."""
    searched = {each.name: each.values for each in search.space}
    if "momentum" not in searched or "sgd" in searched.get("optimizer", ()):
        return
    optimizers = {train_for(training, *cell).optimizer for cell in cells}
    if "optimizer" in searched or "sgd" not in optimizers:
        at = place.at("space", "momentum") or place
        at.note("no trial has optimizer: sgd, which alone reads it; remove this key")


def _check_owners(
    place: Field,
    search: Search,
    methods: Iterable[MethodChoice],
    cells: Iterable[tuple[Specificity, MethodChoice]],
) -> None:
    """Note options of methods and models that no cell has."""
    names = [method.name for method in methods]
    trained = {MODELS[method.options.segments(kind.kind)] for kind, method in cells}
    for owner in dict.fromkeys(owner_of(each.name) for each in search.space):
        at = place.at("space", owner) or place
        if owner in MODELS and owner not in trained:
            at.note(f"no cell of axes trains a {owner}; remove this key")
        elif owner and owner not in (*names, *MODELS):
            hint = nearest(owner, names)
            message = f"not a method of axes, which are {', '.join(names)}"
            at.note("; ".join(filter(None, [message, hint])))


def _check_options(
    place: Field, search: Search, methods: Iterable[MethodChoice], models: Models
) -> None:
    """Note combinations of options that do not go together, as an option that nobody reads."""
    owners = {f"{method.name}": method.options for method in methods}
    owners |= {"classifier": models.classifier[1]}
    owners |= {} if models.segmenter is None else {"segmenter": models.segmenter[1]}
    for owner, options in owners.items():
        mine = [each for each in search.space if owner_of(each.name) == owner]
        for corner in corners(mine) if mine else ():
            changed = {name.partition(".")[2]: value for name, value in corner.items()}
            if wrong := config.problems(dataclasses.replace(options, **changed)):
                at = place.at("space", owner) or place
                at.note(f"with {describe_values(corner)}: {wrong[0]}")
                break


def _check_alike(root: Field, search: Search, methods: list[MethodChoice]) -> None:
    """Note methods of the axes that differ in searched options alone."""
    for first, second in itertools.combinations(methods, 2):
        if first.name != second.name:
            continue
        searched = {each.name.partition(".")[2] for each in search.space}
        searched = {n for n in searched if any(e.name == f"{first.name}.{n}" for e in search.space)}
        kept = [
            {k: v for k, v in dataclasses.asdict(method.options).items() if k not in searched}
            for method in (first, second)
        ]
        if kept[0] == kept[1]:
            (root.at("axes", "method") or root).note(
                f"{first} and {second} differ in options alone that search chooses; remove one"
            )
