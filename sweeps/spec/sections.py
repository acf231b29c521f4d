"""Readers of the sections of the sweep YAML, one function a section."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Any, get_args

from spurious.config.datasets import GENERATORS
from spurious.config.fields import Images, Resolution, Seed, SupervisionKind
from spurious.config.methods import METHODS
from spurious.config.models import CLASSIFIERS, SEGMENTERS, Aggregation
from spurious.config.options import RESTS, Prices, Specificity, Train, WeakLabels
from spurious.data.splits import EVALUATION_SPLITS
from spurious.errors import ConfigError
from spurious.scoring.operating_point import OperatingPoint, Sensitivity
from spurious.scoring.selection import PER_EPOCH, SELECTABLE, SelectionRule, parse_rule
from sweeps.spec.fields import Field, Refused, nearest, one_of, options_of
from sweeps.spec.money import EARLIER_AXIS, axis, compute
from sweeps.spec.papers import names as published_names
from sweeps.spec.papers import tables
from sweeps.spec.values import (
    DATASET,
    CostOptions,
    DatasetRef,
    GeneratorDataset,
    Margin,
    MeasuredResources,
    MethodChoice,
    Models,
    Overrides,
    Resources,
    Select,
    StagedDataset,
    Training,
)
from sweeps.spec.yaml import MappingNode, ScalarNode, SequenceNode

MAX_TRIALS = 100_000
_GENERATOR = "a generator (a staged dataset is written as its name alone)"
PLAIN_SPECIFICITIES = ("label", "box", "mask")
WAGES = ("wage_per_hour", "seconds_per_click")
KEEP_RULES = ("auto", "last", *(f"best val.{metric}" for metric in PER_EPOCH))
SELECT_RULES = ("kept", "last", *(f"best {s}.{m}" for s in EVALUATION_SPLITS for m in SELECTABLE))
_KEEP = f"auto, last or best val.METRIC with METRIC one of {', '.join(PER_EPOCH)}"
_RULES = ", ".join(SELECTABLE)
_SELECT = f"kept, last or best SPLIT.METRIC with SPLIT val or test and METRIC one of {_RULES}"


FoundAxes = dict[str, list[tuple[Field, Any]]]
"""Axis to the values that could be read, each with its field."""


def dataset(field: Field) -> DatasetRef:
    """Return a staged dataset's name, or a generator: by name alone, or with options."""
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
    axis_values: FoundAxes = {name: [] for name in readers}
    for name, child in field.mapping(readers, required=tuple(readers)).items():
        with suppress(Refused):
            axis_values[name] = child.each(name, readers[name])
    sizes = [len(values) for values in axis_values.values()]
    if math.prod(sizes) > MAX_TRIALS:
        field.note(f"{' x '.join(map(str, sizes))} trials; expected at most {MAX_TRIALS}")
    return axis_values


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


def rest(field: Field) -> WeakLabels | None:
    """Return what the training images beyond the budget carry: nothing, or their labels."""
    _, options = field.choice("what the rest of the training images carries", RESTS)
    return options if isinstance(options, WeakLabels) else None


def model(field: Field) -> Models:
    """Classifier, segmenter and read-out, each a name or a mapping of name and options."""
    values: dict[str, Any] = {}
    with field.complete():
        children = field.mapping(("classifier", "segmenter", "readout"))
        for name, registry in (("classifier", CLASSIFIERS), ("segmenter", SEGMENTERS)):
            with suppress(Refused):
                if name == "segmenter" and _is_null(children.get(name)):
                    values[name] = None
                elif name in children:
                    values[name] = children[name].choice(f"a {name}", registry)
        with suppress(Refused):
            if "readout" in children:
                values["readout"] = _readout(children["readout"])
    return Models(**values)


def _is_null(field: Field | None) -> bool:
    return field is not None and isinstance(field.node, ScalarNode) and field.node.value is None


def _readout(field: Field) -> Aggregation:
    if isinstance(field.node, MappingNode):
        readout: Aggregation = field.options(Aggregation)
        return readout
    return Aggregation(name=field.value(*options_of(Aggregation)["name"]))


def train(field: Field) -> Training:
    """Options of the training loop, with overrides per specificity and per method."""
    overriders: dict[str, Collection[str]] = {
        "per_specificity": get_args(SupervisionKind),
        "per_method": METHODS,
    }
    nested: dict[str, Overrides] = {}
    base: dict[str, Any] = {}
    with field.complete():
        children = field.mapping((*options_of(Train), *overriders))
        plain = {name: child for name, child in children.items() if name not in overriders}
        with suppress(Refused):
            base = _train_values(field, plain)
        for name in (name for name in overriders if name in children):
            with suppress(Refused):
                nested[name] = _overrides(children[name], overriders[name])
    return Training(base=Train(**base), **nested)


def _overrides(field: Field, names: Collection[str]) -> Overrides:
    overrides = {}
    for name, child in field.mapping(names).items():
        with suppress(Refused):
            values = _train_values(child, child.mapping(options_of(Train)))
            overrides[name] = tuple(sorted(values.items()))
    return tuple(sorted((name, values) for name, values in overrides.items() if values))


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
    if not rule.sees_every_epoch:
        raise field.refuse(f"{_KEEP}: training does not evaluate {rule.metric}, reports do")
    return str(rule)


def _rule(field: Field, expected: str, rules: Collection[str]) -> SelectionRule:
    text = field.node.value if isinstance(field.node, ScalarNode) else None
    if not isinstance(text, str):
        raise field.refuse(expected)
    try:
        return parse_rule(text)
    except ConfigError:
        raise field.refuse(expected, nearest(text, rules)) from None


def select(field: Field) -> Select:
    """Return the report's rule, operating point and margin."""
    readers: dict[str, Callable[[Field], Any]] = {
        "epoch": _select_epoch,
        "operating_point": _operating_point,
        "margin": lambda child: child.value(Margin, Select.margin),
        "tune": _tune,
    }
    chosen: dict[str, Any] = {}
    with field.complete():
        for key, child in field.mapping(readers).items():
            with suppress(Refused):
                chosen[key] = readers[key](child)
    return Select(**chosen)


def _tune(field: Field) -> tuple[str, ...]:
    if isinstance(field.node, ScalarNode):
        return () if field.node.value is None else (field.value(str),)
    if isinstance(field.node, SequenceNode) and not field.node.items:
        return ()
    return tuple(name for _, name in field.each("option", lambda child: child.value(str)))


def _select_epoch(field: Field) -> SelectionRule | None:
    if isinstance(field.node, ScalarNode) and field.node.value == "kept":
        return None
    return _rule(field, f"{_SELECT} (default kept)", SELECT_RULES)


def _operating_point(field: Field) -> OperatingPoint:
    if isinstance(field.node, MappingNode):
        with field.complete():
            children = field.mapping(("sensitivity",), ("sensitivity",))
            chosen = [child.value(Sensitivity) for child in children.values()]
        return OperatingPoint(*chosen)
    if not isinstance(field.node, ScalarNode) or field.node.value != "youden":
        raise field.refuse("youden, or a mapping as {sensitivity: 0.95} (default youden)")
    return OperatingPoint()


def cost(field: Field) -> CostOptions:
    """Wage, seconds per click, clicks per annotation, and what compute costs."""
    options = options_of(Prices)
    prices: dict[str, Any] = {}
    counted, of_compute = CostOptions.axis, None
    with field.complete():
        keys = (*WAGES, "clicks", "axis", "compute")
        children = field.mapping(keys, unlisted=(EARLIER_AXIS,))
        with suppress(Refused):
            prices |= field.values(Prices, {k: v for k, v in children.items() if k in WAGES})
        with suppress(Refused):
            if "clicks" in children:
                clicks = children["clicks"]
                known = [name for name in options if name not in WAGES]
                prices |= clicks.values(Prices, clicks.mapping(known))
        with suppress(Refused):
            counted = axis(children, counted)
        with suppress(Refused):
            if "compute" in children:
                of_compute = compute(children["compute"])
    prices_of = Prices(**prices)
    return CostOptions(prices=prices_of, axis=counted, compute=of_compute)


def published(field: Field) -> tuple[str, ...]:
    """Tables of papers, as `PAPER/TABLE` or `PAPER/TABLE/DATASET`: one, several or none."""
    if isinstance(field.node, ScalarNode):
        return () if _is_null(field) else (_published(field),)
    return tuple(name for _, name in field.each("table of a paper", _published))


def _published(field: Field) -> str:
    name = field.node.value if isinstance(field.node, ScalarNode) else None
    known = published_names()
    if not isinstance(name, str) or name not in known:
        text = name if isinstance(name, str) else ""
        listed = one_of(tables(), text, "tables")
        raise field.refuse(
            f"numbers of a paper, {listed}, or one of these and /DATASET", nearest(text, known)
        )
    return name


def _is_auto(field: Field | None) -> bool:
    return field is not None and isinstance(field.node, ScalarNode) and field.node.value == "auto"


def resources(field: Field) -> Resources:
    """CPUs, GPUs and threads of one trial."""
    values: dict[str, Any] = {}
    is_measured = False
    with field.complete():
        children = field.mapping(options_of(Resources))
        gpus = children.pop("gpus", None)
        with suppress(Refused):
            values = field.values(Resources, children)
        if gpus is not None and not (is_measured := _is_auto(gpus)):
            values["gpus"] = gpus.value(*options_of(Resources)["gpus"], also=", or auto")
        chosen = MeasuredResources(**values) if is_measured else Resources(**values)
        if chosen.threads > chosen.cpus:
            (field.at("threads") or field).refuse(f"at most cpus, which is {chosen.cpus}")
        if chosen.gpus > 1 and not chosen.gpus.is_integer():
            (field.at("gpus") or field).refuse("a share of one GPU, or a whole number of them")
    return chosen
