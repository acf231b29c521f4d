"""Reader of the section `search` of the sweep YAML."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from typing import Annotated, Any

from spurious.config.fields import Seed
from spurious.config.methods import METHODS
from spurious.config.options import Train
from sweeps.spec.fields import Field, Refused, describe_node, hint_parts, nearest, options_of
from sweeps.spec.search import DOLLARS, MODELS, OBJECTIVES, Dimension, Search
from sweeps.spec.values import Models
from sweeps.spec.yaml import MappingNode, ScalarNode, SequenceNode, SpecIssue, join

NOT_SEARCHED = ("keep", "score_test")
"""Training options that say how a trial is judged, which must be alike for all."""


def search(field: Field, models: Models) -> Search:
    """Read the section; options of models are those of the spec's own."""
    hints = options_of(Search)
    values: dict[str, Any] = {}
    with field.complete():
        children = field.mapping(hints, ("space",))
        for name in ("sampler", "trials", "batch", "stop"):
            with suppress(Refused):
                if name in children:
                    hint, default = hints[name]
                    shown = () if name == "trials" else (default,)
                    values[name] = children[name].value(hint, *shown)
        readers: dict[str, Callable[[Field], Any]] = {
            "metric": _metric,
            "seeds": _seeds,
            "space": lambda child: _space(child, models),
        }
        for name, read in readers.items():
            with suppress(Refused):
                if name in children:
                    values[name] = read(children[name])
    _check_sampler(field, values)
    return Search(**values)


def _check_sampler(field: Field, values: dict[str, Any]) -> None:
    """Fill in the number of trials of a grid; refuse a grid of intervals, and no number."""
    with field.complete():
        if values.get("sampler", Search.sampler) != "grid":
            if "trials" not in values:
                key = join(field.key, "trials")
                message = "missing; this key is required, but for sampler: grid"
                field.problems.add(field.node.where, key, message)
            return
        for each in values["space"]:
            if each.scale is not None:
                place = field.at("space", *each.name.split(".")) or field
                place.refuse("a list of values with sampler: grid", "or use tpe, random or gp")
                return
        size = math.prod(len(each.values) for each in values["space"])
        if values.setdefault("trials", size) > size:
            (field.at("trials") or field).refuse(f"at most {size}, the combinations of the grid")


def _metric(field: Field) -> tuple[str, ...]:
    if isinstance(field.node, ScalarNode):
        return (_objective(field, OBJECTIVES),)
    names = [
        name for _, name in field.each("metric", lambda c: _objective(c, (*OBJECTIVES, DOLLARS)))
    ]
    if names and (len(names) > 2 or (len(names) == 2) != (DOLLARS in names)):
        raise field.refuse(f"one of {', '.join(OBJECTIVES)}, or a list of one and {DOLLARS}")
    return tuple(sorted(names, key=lambda name: name == DOLLARS))


def _objective(field: Field, known: Collection[str]) -> str:
    name = field.node.value if isinstance(field.node, ScalarNode) else None
    if not isinstance(name, str) or name not in known:
        hint = nearest(name, known) if isinstance(name, str) else ""
        raise field.refuse(f"one of {', '.join(known)} (default {OBJECTIVES[0]})", hint)
    return name


def _seeds(field: Field) -> tuple[int, ...]:
    return tuple(seed for _, seed in field.each("seed", lambda child: child.value(Seed)))


def _space(field: Field, models: Models) -> tuple[Dimension, ...]:
    """Read every dimension, in the order of the text."""
    owners: dict[str, Any] = dict(METHODS)
    for name, model in zip(MODELS, (models.classifier, models.segmenter), strict=True):
        owners |= {} if model is None else {name: type(model[1])}
    trained = searchable(Train)
    dimensions: list[Dimension] = []
    with field.complete():
        is_noted = _note_options_of_methods(field, {**trained, **owners})
        for name, child in field.mapping((*trained, *owners)).items():
            with suppress(Refused):
                if name in trained:
                    dimensions.append(_dimension(child, name, trained[name]))
                    continue
                if not (known := searchable(owners[name])):
                    raise child.note(f"{name} has no option that can be searched; remove this key")
                for option, below in child.mapping(known).items():
                    with suppress(Refused):
                        dimensions.append(_dimension(below, f"{name}.{option}", known[option]))
        if isinstance(field.node, MappingNode) and not field.node.items and not is_noted:
            raise field.refuse("a mapping of options to what is tried of each")
    return tuple(dimensions)


def _note_options_of_methods(field: Field, known: Mapping[str, Any]) -> bool:
    """Note options of methods that stand beside those of training, and take them away."""
    noted = False
    classes: Mapping[str, Any] = METHODS
    if not isinstance(field.node, MappingNode):
        return noted
    for name in [name for name in field.node.items if name not in known]:
        having = [method for method, cls in classes.items() if name in options_of(cls)]
        if having:
            where, _ = field.node.items.pop(name)
            shown = ", ".join(having[:3])
            message = f"an option of {shown}, not of training; write it below the method's name: "
            message += f"{having[0]}: {{{name}: ...}}"
            field.problems.issues.append(SpecIssue(where, join(field.key, name), message))
            noted = True
    return noted


def searchable(cls: Any) -> dict[str, Any]:
    """Return options with a number, a choice or a truth value, by their hints."""
    return {
        name: hint
        for name, (hint, _) in options_of(cls).items()
        if hint_parts(hint)[0] is not str and name not in NOT_SEARCHED
    }


def _dimension(field: Field, name: str, hint: Any) -> Dimension:
    if isinstance(field.node, SequenceNode):
        values = tuple(v for _, v in field.each("value", lambda child: child.value(hint)))
        if len(field.node.items) == 1:
            raise field.refuse("at least two values", "set a single one where it belongs instead")
        return Dimension(name, values)
    base, _, _ = hint_parts(hint)
    is_number = base in (int, float)
    expected = "a list of values"
    if is_number:
        ends = "{log: [low, high]} or {range: [low, high]}"
        expected = f"a list of values, or a mapping of one key: {ends}"
    if not isinstance(field.node, MappingNode) or not is_number or len(field.node.items) != 1:
        raise field.refuse(expected)
    if "int" in field.node.items and base is int:
        raise field.note("int is not a key; integers follow from the option: write {range: ...}")
    for scale, child in field.mapping(("log", "range")).items():
        low, high = _ends(child, hint)
        if scale == "log" and low <= 0:
            raise child.refuse("a lower end above 0 of a logarithm")
        return Dimension(name, (low, high), "log" if scale == "log" else "linear")
    raise Refused


def _ends(field: Field, hint: Any) -> tuple[Any, Any]:
    expected = "two numbers, the lower one first"
    if not isinstance(field.node, SequenceNode) or len(field.node.items) != 2:
        raise field.refuse(expected)
    base, marks, _ = hint_parts(hint)
    required = Annotated[(base, *marks)] if marks else base
    low, high = (
        Field(node, f"{field.key}[{index}]", field.problems).value(required)
        for index, node in enumerate(field.node.items)
    )
    if low >= high:
        raise field.note(f"{describe_node(field.node)}, {low:g} to {high:g}; expected {expected}")
    return low, high
