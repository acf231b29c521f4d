"""The sections of the sweep YAML: what each one becomes, and the function that reads it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Annotated, Any, get_args

from annotated_types import Ge, Le

from spurious.config.methods import METHODS
from spurious.config.options import (
    CLASSIFIERS,
    GENERATORS,
    RESTS,
    SEGMENTERS,
    Images,
    LabelRest,
    Pattern,
    Prices,
    Readout,
    ResNet50,
    Resolution,
    Seed,
    Specificity,
    Supervision,
    Train,
    Unet,
)
from spurious.errors import ConfigError
from spurious.scoring.selection import METRICS, SelectionRule, parse_rule
from sweeps.spec.fields import Field, Refused, nearest, options_of
from sweeps.spec.papers import names as published_names
from sweeps.spec.papers import tables
from sweeps.spec.yaml import MappingNode, ScalarNode

MAX_TRIALS = 100_000
NAME = Annotated[
    str,
    Pattern(
        "[a-z0-9][a-z0-9-]{0,62}",
        "1 to 63 lower-case letters, digits and hyphens, beginning with a letter or digit",
    ),
]
DATASET = Annotated[
    str,
    Pattern(
        "[a-z0-9][a-z0-9_-]{0,63}(@[0-9a-f]{4,64})?",
        "a staged dataset as NAME or NAME@DIGEST (4 to 64 hexadecimal digits), or a generator as "
        "a mapping with its name and options",
    ),
]
STORE = Annotated[
    str,
    Pattern(
        r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/(?!\.\.?(/|$))[A-Za-z0-9_.=-]+)*/?"
        r"|(?![A-Za-z0-9+.-]+:/)[^\x00-\x1f\x7f]+",
        "a folder or s3://BUCKET/PREFIX",
    ),
]
_GENERATOR = "a generator (a staged dataset is written as its name alone)"
PLAIN_SPECIFICITIES = ("label", "box", "mask")
WAGES = ("wage_per_hour", "seconds_per_click")
KEEP_RULES = ("auto", "last", *(f"best val.{metric}" for metric in METRICS))
SELECT_RULES = ("kept", "last", *(f"best {s}.{m}" for s in ("val", "test") for m in METRICS))
_METRICS = ", ".join(METRICS)
_KEEP = f"auto, last or best val.METRIC with METRIC one of {_METRICS}"
_SELECT = f"kept, last or best SPLIT.METRIC with SPLIT val or test and METRIC one of {_METRICS}"

Overrides = tuple[tuple[str, tuple[tuple[str, Any], ...]], ...]
"""(name, ((option, value), ...)), ... in order of name and option."""


@dataclass(frozen=True)
class StagedDataset:
    """A dataset in the store; without a digest prefix, its only version."""

    name: str
    digest_prefix: str | None = None


@dataclass(frozen=True)
class GeneratorDataset:
    """A key of `spurious.config.options.GENERATORS` with its options."""

    name: str
    options: Any


DatasetRef = StagedDataset | GeneratorDataset


@dataclass(frozen=True)
class MethodChoice:
    """A key of `spurious.config.methods.METHODS` with its options."""

    name: str
    options: Any

    def __str__(self) -> str:
        set_here = [
            f"{name}={getattr(self.options, name)}"
            for name, (_, default) in options_of(self.options.__class__).items()
            if getattr(self.options, name) != default
        ]
        return f"{self.name}({', '.join(set_here)})" if set_here else self.name


@dataclass(frozen=True)
class Axes:
    """What is crossed; a budget of None is all images.

    Attributes:
        specificity: Annotation kinds: `label`, `box`, `mask`, `{r: N}` or `{box: image}`.
        budget: Numbers of annotated training images, or `all`.
        method: Training methods, each a name or a mapping of its name and options.
        seed: Replicates of each cell.
    """

    specificity: tuple[Specificity, ...]
    budget: tuple[int | None, ...]
    method: tuple[MethodChoice, ...]
    seed: tuple[int, ...]


FoundAxes = dict[str, list[tuple[Field, Any]]]
"""Axis to the values that could be read, each with its field."""


@dataclass(frozen=True, kw_only=True)
class Models:
    """Models, each a name or a mapping of its name and options.

    Attributes:
        classifier: Trained on labels.
        segmenter: Trained on everything else.
        readout: How the segmenter's probability map becomes the score of an image.
    """

    classifier: tuple[str, Any] = field(default_factory=lambda: ("resnet50", ResNet50()))
    segmenter: tuple[str, Any] = field(default_factory=lambda: ("unet", Unet()))
    readout: Readout = field(default_factory=Readout)


@dataclass(frozen=True, kw_only=True)
class Training:
    """Training options with what a specificity, and then a method, overrides.

    Attributes:
        per_specificity: Changes for trials of an annotation kind.
        per_method: Changes for trials of a method, which come last.
    """

    base: Train = field(default_factory=Train)
    per_specificity: Overrides = ()
    per_method: Overrides = ()


@dataclass(frozen=True, kw_only=True)
class CostOptions:
    """What annotation costs, and what of it the report counts.

    Attributes:
        include_validation: Whether the frontier's axis counts annotation of validation images.
    """

    prices: Prices = field(default_factory=Prices)
    include_validation: bool = False


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What one trial gets.

    Attributes:
        cpus: CPU cores.
        gpus: GPUs: a share of one, or a whole number.
        threads: Threads that torch and the augmentation use, at most `cpus`.
    """

    cpus: Annotated[int, Ge(1), Le(1024)] = 1
    gpus: Annotated[float, Ge(0.0), Le(64.0)] = 0.0
    threads: Annotated[int, Ge(1), Le(1024)] = 1


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """When a trial's training state is stored.

    Attributes:
        every_epochs: Epochs between checkpoints.
        keep: Whether the last checkpoint stays in the store after the trial's result.
    """

    every_epochs: Annotated[int, Ge(1), Le(100_000)] = 10
    keep: bool = False


def dataset(field: Field) -> DatasetRef:
    """A staged dataset's name, or a generator: by name alone, or with options."""
    if isinstance(field.node, MappingNode):
        return GeneratorDataset(*field.choice(_GENERATOR, GENERATORS))
    name, _, digest = field.value(DATASET).partition("@")
    if name in GENERATORS and not digest:
        return GeneratorDataset(name, GENERATORS[name]())
    return StagedDataset(name, digest or None)


def axes(field: Field) -> FoundAxes:
    """The four axes, each a list of fields with their values; bad items are noted and left out."""
    readers: dict[str, Callable[[Field], Any]] = {
        "specificity": _specificity,
        "budget": _budget,
        "method": lambda item: MethodChoice(*item.choice("a method", METHODS)),
        "seed": lambda item: item.value(Seed),
    }
    found: FoundAxes = {name: [] for name in readers}
    for name, child in field.mapping(readers, required=tuple(readers)).items():
        with suppress(Refused):
            found[name] = child.each(name, readers[name])
    sizes = [len(values) for values in found.values()]
    if math.prod(sizes) > MAX_TRIALS:
        field.note(f"{' x '.join(map(str, sizes))} trials; expected at most {MAX_TRIALS}")
    return found


def _specificity(field: Field) -> Specificity:
    expected = "label, box, mask, {r: N} or {box: image}"
    if isinstance(field.node, MappingNode):
        if len(field.node.items) != 1:
            raise field.refuse("a mapping of one key: {r: N} or {box: image}")
        children = field.mapping(("r", "box"))
        if "r" in children:
            return Specificity("r", r=children["r"].value(Resolution))
        if "box" in children:
            hint, default = options_of(Specificity)["box_per"]
            return Specificity("box", box_per=children["box"].value(hint, default))
        raise Refused
    text = field.node.text if isinstance(field.node, ScalarNode) else ""
    if text in PLAIN_SPECIFICITIES:
        return Specificity(text)  # type: ignore[arg-type]
    resolution = re.fullmatch(r"r *=? *([0-9]*)", text)
    if resolution:
        raise field.refuse(expected, f"did you mean '{{r: {resolution[1] or 4}}}'?")
    raise field.refuse(expected, nearest(text, PLAIN_SPECIFICITIES))


def _budget(field: Field) -> int | None:
    if isinstance(field.node, ScalarNode) and field.node.value == "all":
        return None
    images: int = field.value(Images, also=", or all")
    return images


def rest(field: Field) -> LabelRest | None:
    """What the training images beyond the budget carry: nothing, or their labels."""
    _, options = field.choice("what the rest of the training images carries", RESTS)
    return options if isinstance(options, LabelRest) else None


def model(field: Field) -> Models:
    """Classifier, segmenter and read-out, each a name or a mapping of name and options."""
    values: dict[str, Any] = {}
    with field.complete():
        children = field.mapping(("classifier", "segmenter", "readout"))
        for name, registry in (("classifier", CLASSIFIERS), ("segmenter", SEGMENTERS)):
            with suppress(Refused):
                if name in children:
                    values[name] = children[name].choice(f"a {name}", registry)
        with suppress(Refused):
            if "readout" in children:
                values["readout"] = _readout(children["readout"])
    return Models(**values)


def _readout(field: Field) -> Readout:
    if isinstance(field.node, MappingNode):
        readout: Readout = field.options(Readout)
        return readout
    return Readout(name=field.value(*options_of(Readout)["name"]))


def train(field: Field) -> Training:
    """Options of the training loop, with overrides per specificity and per method."""
    overriders: dict[str, Collection[str]] = {
        "per_specificity": get_args(Supervision),
        "per_method": METHODS,
    }
    nested: dict[str, Overrides] = {}
    base: dict[str, Any] = {}
    with field.complete():
        children = field.mapping((*options_of(Train), *overriders))
        own = {name: child for name, child in children.items() if name not in overriders}
        with suppress(Refused):
            base = _train_values(field, own)
        for name in (name for name in overriders if name in children):
            with suppress(Refused):
                nested[name] = _overrides(children[name], overriders[name])
    return Training(base=Train(**base), **nested)


def _overrides(field: Field, names: Collection[str]) -> Overrides:
    found = {}
    for name, child in field.mapping(names).items():
        with suppress(Refused):
            values = _train_values(child, child.mapping(options_of(Train)))
            found[name] = tuple(sorted(values.items()))
    return tuple(sorted((name, values) for name, values in found.items() if values))


def _train_values(field: Field, children: dict[str, Field]) -> dict[str, Any]:
    keep = children.pop("keep", None)
    values: dict[str, Any] = {}
    with field.complete():
        with suppress(Refused):
            values = field.values(Train, children)
        with suppress(Refused):
            if keep is not None:
                values["keep"] = _keep(keep)
    return values


def _keep(field: Field) -> str:
    if isinstance(field.node, ScalarNode) and field.node.value == "auto":
        return "auto"
    rule = _rule(field, f"{_KEEP} (default {Train.keep})", KEEP_RULES)
    if rule.oracle:
        raise field.refuse(f"{_KEEP}: a method never sees test data")
    return str(rule)


def _rule(field: Field, expected: str, rules: Collection[str]) -> SelectionRule:
    text = field.node.value if isinstance(field.node, ScalarNode) else None
    if not isinstance(text, str):
        raise field.refuse(expected)
    try:
        return parse_rule(text)
    except ConfigError:
        raise field.refuse(expected, nearest(text, rules)) from None


def select(field: Field) -> SelectionRule | None:
    """The report's rule; None for each trial's kept epoch."""
    epoch = field.mapping(("epoch",)).get("epoch")
    if epoch is None or (isinstance(epoch.node, ScalarNode) and epoch.node.value == "kept"):
        return None
    return _rule(epoch, f"{_SELECT} (default kept)", SELECT_RULES)


def cost(field: Field) -> CostOptions:
    """Wage, seconds per click and clicks per annotation."""
    options = options_of(Prices)
    prices: dict[str, Any] = {}
    include = CostOptions.include_validation
    with field.complete():
        children = field.mapping((*WAGES, "clicks", "include_validation"))
        with suppress(Refused):
            prices |= field.values(Prices, {k: v for k, v in children.items() if k in WAGES})
        with suppress(Refused):
            if "clicks" in children:
                clicks = children["clicks"]
                known = [name for name in options if name not in WAGES]
                prices |= clicks.values(Prices, clicks.mapping(known))
        with suppress(Refused):
            if "include_validation" in children:
                include = children["include_validation"].value(bool, include)
    return CostOptions(prices=Prices(**prices), include_validation=include)


def published(field: Field) -> tuple[str, ...]:
    """Tables of papers, as `PAPER/TABLE` or `PAPER/TABLE/DATASET`: one, several or none."""
    if isinstance(field.node, ScalarNode):
        return () if field.node.value is None else (_published(field),)
    return tuple(name for _, name in field.each("table of a paper", _published))


def _published(field: Field) -> str:
    name = field.node.value if isinstance(field.node, ScalarNode) else None
    known = published_names()
    if not isinstance(name, str) or name not in known:
        raise field.refuse(
            f"numbers of a paper, one of {', '.join(tables())}, or one of these and /DATASET",
            nearest(name, known) if isinstance(name, str) else "",
        )
    return name


def resources(field: Field) -> Resources:
    """CPUs, GPUs and threads of one trial."""
    found: Resources = field.options(Resources)
    with field.complete():
        if found.threads > found.cpus:
            (field.at("threads") or field).refuse(f"at most cpus, which is {found.cpus}")
        if found.gpus > 1 and not found.gpus.is_integer():
            (field.at("gpus") or field).refuse("a share of one GPU, or a whole number of them")
    return found
