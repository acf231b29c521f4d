"""The sweep YAML as a frozen `Spec`: what is swept, on which data, at which prices.

`parse_spec` refuses, all at once, everything that is wrong with a text: unknown keys, values out
of range, and combinations that can have no result. What depends on a staged dataset is left to
the plan.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from spurious.config.fields import Balance, Negatives
from spurious.config.models import Aggregation
from spurious.config.options import Budget, Prices, Specificity, Train, WeakLabels
from spurious.scoring.selection import SelectionRule
from sweeps.errors import SpecError
from sweeps.spec import money, sections
from sweeps.spec.fields import Field, Refused, SpecIssues
from sweeps.spec.rules import check_together
from sweeps.spec.search import Search
from sweeps.spec.search_section import search
from sweeps.spec.training import train_for
from sweeps.spec.values import (
    EXAMPLES,
    KEEP,
    NAME,
    STORE,
    Axes,
    Checkpoint,
    CostOptions,
    DatasetRef,
    GeneratorDataset,
    Limits,
    MethodChoice,
    Models,
    Resources,
    Select,
    StagedDataset,
    Training,
)
from sweeps.spec.yaml import MAX_BYTES, override, read, to_python

__all__ = [
    "Axes",
    "Checkpoint",
    "CostOptions",
    "DatasetRef",
    "GeneratorDataset",
    "Limits",
    "MethodChoice",
    "Models",
    "Resources",
    "Search",
    "Select",
    "Spec",
    "StagedDataset",
    "Training",
    "load_spec",
    "parse_override",
    "parse_spec",
]

REQUIRED = ("name", "dataset", "axes")
"""Keys that every specification has."""


@dataclass(frozen=True, kw_only=True)
class Spec:
    """One sweep.

    Attributes:
        name: The sweep's name.
        dataset: What it trains on.
        axes: Specificities, budgets, methods and seeds.
        balance: How annotated images are drawn, except for a budget of all images.
        rest: What the training images beyond the budget carry: nothing, or their labels.
        negatives: What masks of negative images count as, where the dataset has them.
        model: Models and read-out.
        train: Training options.
        search: Hyper-parameters that are searched inside each cell; None for none.
        select: How the report selects epochs, by default by each trial's own rule, and fixes the
            operating point.
        cost: What annotations and compute cost.
        published: Tables of papers that the report sets beside what was measured.
        resources: CPUs, GPUs and threads of one trial.
        limits: What the sweep may use; one that reaches a limit stops and keeps all results.
        checkpoint: When training state is stored.
        embeddings: Whether trials store the kept model's embeddings of test images, for the
            report's projection. Trials that have a result already are not run again for it.
        explanations: Whether trials measure how much of the kept model's explanations of test
            images lies in masks, boxes and known spurious features. As for embeddings.
        examples: Test images of each group whose explanations trials keep as pictures, for the
            report. As for embeddings.
        keep: What trials keep in the store beside their results, under `models/`: the weights of
            the kept epoch, which `sweeps export` writes; None for nothing. Trials that have a
            result already are not run again for it.
        store: A folder, `s3://bucket/prefix`, or None for the default.
        text: The YAML as it was written, without overrides; no part of equality.
        overrides: Dotted keys to the values that replaced the text's; no part of equality.
    """

    name: str
    dataset: DatasetRef
    axes: Axes
    balance: Balance = "equal"
    rest: WeakLabels | None = None
    negatives: Negatives = "background"
    model: Models = field(default_factory=Models)
    train: Training = field(default_factory=Training)
    search: Search | None = None
    select: Select = field(default_factory=Select)
    cost: CostOptions = field(default_factory=CostOptions)
    published: tuple[str, ...] = ()
    resources: Resources = field(default_factory=Resources)
    limits: Limits = field(default_factory=Limits)
    checkpoint: Checkpoint = field(default_factory=Checkpoint)
    embeddings: bool = False
    explanations: bool = False
    examples: EXAMPLES = 0
    keep: KEEP | None = None
    store: str | None = None
    text: str = field(default="", compare=False, repr=False)
    overrides: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def search_seeds(self) -> tuple[int, ...]:
        """Seeds that a search tries configurations on; none without a search."""
        if self.search is None:
            return ()
        return self.search.seeds or self.axes.seed[:1]

    @property
    def search_rule(self) -> SelectionRule | None:
        """The metric that a search compares configurations by, as a rule; None without one."""
        return None if self.search is None else SelectionRule(*self.search.split_metric)

    @property
    def select_rule(self) -> SelectionRule | None:
        """The rule by which the report selects epochs; None is each trial's kept epoch."""
        return self.select.epoch

    @property
    def prices(self) -> Prices:
        """What annotations cost."""
        return self.cost.prices

    def budgets(self) -> tuple[Budget, ...]:
        """Return the budgets with their balance; all images have their natural prevalence."""
        return tuple(
            Budget(None, "natural") if images is None else Budget(images, self.balance)
            for images in self.axes.budget
        )

    def train_for(
        self, specificity: Specificity, method: MethodChoice, *, can_measure_dice: bool = True
    ) -> Train:
        """Return a cell's training options, see `sweeps.spec.training.train_for`."""
        return train_for(self.train, specificity, method, can_measure_dice=can_measure_dice)

    def model_for(self, specificity: Specificity, method: MethodChoice) -> tuple[str, Any]:
        """Return name and options of the model that a method trains at a specificity.

        Raises:
            SpecError: it trains a segmenter, and the sweep has none.
        """
        if not method.options.segments(specificity.kind):
            return self.model.classifier
        if self.model.segmenter is None:
            raise SpecError(f"{method.name} trains a segmenter on {specificity}; name one")
        return self.model.segmenter

    def rest_for(
        self, specificity: Specificity, budget: Budget, method: MethodChoice
    ) -> WeakLabels | None:
        """Labels of the rest, where a method reads them beside a segmenter's own annotation."""
        if self.rest is None or specificity.kind == "label" or budget.images is None:
            return None
        read: WeakLabels | None = method.options.rest_read(self.rest)
        return read

    def negatives_for(self, specificity: Specificity) -> Negatives:
        """Return what masks of negative images count as; a classifier sees none."""
        return "background" if specificity.kind == "label" else self.negatives

    def readout_for(self, specificity: Specificity, method: MethodChoice) -> Aggregation | None:
        """Return how the model's output becomes an image score; None for a classifier."""
        return self.model.readout if method.options.segments(specificity.kind) else None


def load_spec(path: Path, overrides: Mapping[str, Any] = MappingProxyType({})) -> Spec:
    """Read a sweep YAML from a file; see `parse_spec`.

    Raises:
        SpecError: the file cannot be read, or its text cannot be taken.
    """
    try:
        with open(path, "rb") as file:
            text = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SpecError(f"{path}: cannot be read ({reason}); expected a sweep YAML") from error
    return parse_spec(text, str(path), overrides)


def parse_spec(
    text: str | bytes,
    source: str = "<string>",
    overrides: Mapping[str, Any] = MappingProxyType({}),
) -> Spec:
    """Read a sweep YAML.

    Args:
        text: UTF-8, at most 256 KiB.
        source: What error messages call the text, usually its path.
        overrides: Dotted keys of mappings (`train.epochs`) to the values that replace the text's.

    Raises:
        SpecError: all problems, one a line, as `SOURCE:LINE: dotted.key: given; expected`.
    """
    tree, issues = read(text)
    problems = SpecIssues(source, issues)
    values: dict[str, Any] = {}
    if tree is not None:
        wrong = [override(tree, key, value) for key, value in overrides.items()]
        problems.issues += [problem for problem in wrong if problem is not None]
        root = Field(tree, "", problems)
        with suppress(Refused):
            values = _values(root)
            check_together(root, values)
    problems.raise_if_any()
    axes = {name: tuple(value for _, value in items) for name, items in values["axes"].items()}
    decoded = text if isinstance(text, str) else text.decode("utf-8")
    return Spec(
        **{**values, "axes": Axes(**axes)},
        text=decoded.removeprefix("\ufeff"),
        overrides=dict(overrides),
    )


def parse_override(text: str) -> tuple[str, Any]:
    """`train.epochs=2` as a dotted key and a value, which is read as YAML.

    Raises:
        SpecError: no key, no `=`, or no YAML after it.
    """
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise SpecError(f"override {text!r}: expected KEY=VALUE, e.g. train.epochs=2")
    tree, issues = read(value or "null")
    SpecIssues(f"override {key}", issues).raise_if_any()
    return key, None if tree is None else to_python(tree)


def _values(root: Field) -> dict[str, Any]:
    """Every section that can be taken, by its key; what is wrong with the others is noted."""
    values: dict[str, Any] = {}
    readers: dict[str, Callable[[Field], Any]] = {
        "name": lambda field: field.value(NAME),
        "dataset": sections.dataset,
        "axes": sections.axes,
        "balance": lambda field: field.value(Balance, Spec.balance),
        "rest": sections.rest,
        "negatives": lambda field: field.value(Negatives, Spec.negatives),
        "model": sections.model,
        "train": sections.train,
        "search": lambda field: search(field, values.get("model", Models())),
        "select": sections.select,
        "cost": sections.cost,
        "published": sections.published,
        "resources": sections.resources,
        "limits": money.limits,
        "checkpoint": lambda field: field.options(Checkpoint),
        "embeddings": lambda field: field.value(bool, Spec.embeddings),
        "explanations": lambda field: field.value(bool, Spec.explanations),
        "examples": lambda field: field.value(EXAMPLES, Spec.examples),
        "keep": lambda field: field.value(KEEP | None, Spec.keep),
        "store": lambda field: field.value(STORE | None, Spec.store),
    }
    children = root.mapping(readers, REQUIRED, ("prune",))
    values |= {} if "balance" in children else {"balance": Spec.balance}
    for name, child in sorted(children.items(), key=lambda item: item[0] == "search"):
        with suppress(Refused):
            values[name] = readers[name](child)
    return values
