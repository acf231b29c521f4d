"""The sweep YAML as a JSON Schema (draft 2020-12), for editors that complete and check it.

Keys, types, ranges, patterns and defaults come from the dataclasses that the reader fills, and
descriptions from their docstrings. A test holds schema and reader to the same verdicts.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import textwrap
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from itertools import pairwise
from typing import Any, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt

from spurious.config.datasets import GENERATORS
from spurious.config.fields import Images, Pattern, Resolution, Seed, SupervisionKind
from spurious.config.methods import METHODS
from spurious.config.models import CLASSIFIERS, SEGMENTERS, Aggregation
from spurious.config.options import RESTS, Prices, Specificity, Train
from spurious.scoring.cost import PARTS
from spurious.scoring.operating_point import OperatingPoint, Sensitivity
from spurious.scoring.registry import METRICS
from sweeps.spec import sections
from sweeps.spec.fields import describe, hint_parts, options_of
from sweeps.spec.model import REQUIRED, Spec
from sweeps.spec.papers import names as published_names
from sweeps.spec.search import Search
from sweeps.spec.search_schema import search_parts
from sweeps.spec.values import (
    AXIS,
    DATASET,
    NAME,
    NODE_TYPE,
    STORE,
    Axes,
    Checkpoint,
    ComputePrices,
    CostOptions,
    Limits,
    Margin,
    Models,
    NodeType,
    Resources,
    Select,
    Training,
)

DRAFT = "https://json-schema.org/draft/2020-12/schema"

Schema = dict[str, Any]

_TYPES: Mapping[type, str] = {bool: "boolean", int: "integer", float: "number", str: "string"}
_BOUNDS: Mapping[type, tuple[str, str]] = {
    Ge: ("ge", "minimum"),
    Gt: ("gt", "exclusiveMinimum"),
    Le: ("le", "maximum"),
    Lt: ("lt", "exclusiveMaximum"),
}
_WRITTEN = ("embeddings", "explanations", "examples", "keep")
_DOCUMENTED = re.compile(r"^    (\w+): (.+(?:\n {6,}.+)*)", re.MULTILINE)


def spec_schema() -> Schema:
    """Build the JSON Schema of a sweep YAML."""
    plain = {
        "name": schema_of_hint(NAME),
        "store": schema_of_hint(STORE | None),
        **{key: _of_field(Spec, key) for key in ("balance", "negatives", *_WRITTEN)},
        "resources": _resources(),
        "limits": _mapping(_properties(Limits), doc=_doc(Limits)),
        "checkpoint": _mapping(_properties(Checkpoint), doc=_doc(Checkpoint)),
    }
    built: Mapping[str, Callable[[], Schema]] = {
        "dataset": _dataset,
        "axes": _axes,
        "rest": lambda: _choice(RESTS),
        "model": _model,
        "train": _train,
        "search": _search,
        "select": _select,
        "cost": _cost,
        "published": _published,
    }
    every = {**plain, **{key: build() for key, build in built.items()}}
    docs = _docs(Spec)
    keys = [item.name for item in dataclasses.fields(Spec) if item.compare]
    properties = {key: {"description": docs[key], **every[key]} for key in keys}
    return {
        "$schema": DRAFT,
        "title": "Sweep of spurious-sweeps",
        **_mapping(properties, REQUIRED, "What is swept, on which data, at which prices."),
        "$defs": {
            "method": _choice(METHODS),
            "space": _search_parts()["space"],
            "training": _mapping(_training(), doc="Changes of training options."),
        },
    }


def schema_of_hint(hint: Any) -> Schema:
    """Translate a type hint with its marks, as `Field.value` reads it."""
    base, marks, optional = hint_parts(hint)
    if get_origin(base) is Literal:
        return {"enum": [*get_args(base), *([None] if optional else [])]}
    schema: Schema = {"type": [_TYPES[base], "null"] if optional else _TYPES[base]}
    for mark in marks:
        if isinstance(mark, Pattern):
            schema["pattern"] = f"^(?:{mark.regex})$"
        else:
            attribute, keyword = _BOUNDS[type(mark)]
            schema[keyword] = getattr(mark, attribute)
    return schema


def _of_field(cls: Any, name: str) -> Schema:
    """Translate a dataclass's field, with its description and default."""
    hint, default = options_of(cls)[name]
    schema = schema_of_hint(hint)
    doc = _docs(cls).get(name)
    if doc is None:
        doc = f"{name.replace('_', ' ').capitalize()}: {describe(hint)}."
    elif "pattern" in schema:
        doc = f"{doc} Expected {describe(hint)}."
    with_default = {} if default is dataclasses.MISSING else {"default": default}
    return {"description": doc, **schema, **with_default}


def _properties(cls: Any, names: Iterable[str] | None = None) -> dict[str, Schema]:
    chosen = options_of(cls) if names is None else names
    return {name: _of_field(cls, name) for name in chosen}


def _mapping(
    properties: Mapping[str, Schema], required: Iterable[str] = (), doc: str = ""
) -> Schema:
    """Return a mapping with these keys and no others."""
    needed = list(required)
    return {
        **({"description": doc} if doc else {}),
        "type": "object",
        "properties": dict(properties),
        **({"required": needed} if needed else {}),
        "additionalProperties": False,
    }


def _choice(registry: Mapping[str, type[Any]]) -> Schema:
    """A registered name, or a mapping of `name` and its options, as `Field.choice` reads it."""
    return {"anyOf": [{"enum": list(registry)}, *_with_options(registry)]}


def _with_options(registry: Mapping[str, type[Any]]) -> list[Schema]:
    return [
        _mapping({"name": {"const": name}, **_properties(cls)}, ("name",), _doc(cls))
        for name, cls in registry.items()
    ]


def _list(items: Schema) -> Schema:
    """Return a list as `Field.each` reads it."""
    return {"type": "array", "items": items, "minItems": 1, "uniqueItems": True}


def _dataset() -> Schema:
    staged = schema_of_hint(DATASET)
    return {"anyOf": [{**staged, "examples": list(GENERATORS)}, *_with_options(GENERATORS)]}


def _axes() -> Schema:
    docs = _docs(Specificity)
    box_per = {
        "description": docs["box_per"],
        **schema_of_hint(options_of(Specificity)["box_per"][0]),
    }
    resolution = {"description": docs["r"], **schema_of_hint(Resolution)}
    specificity = {
        "anyOf": [
            {"enum": list(sections.PLAIN_SPECIFICITIES)},
            _mapping({"r": resolution}, ("r",)),
            _mapping({"box": box_per}, ("box",)),
        ]
    }
    items: dict[str, Schema] = {
        "specificity": specificity,
        "budget": {"anyOf": [schema_of_hint(Images), {"const": "all"}]},
        "method": {"$ref": "#/$defs/method"},
        "seed": schema_of_hint(Seed),
    }
    docs = _docs(Axes)
    lists = {name: {"description": docs[name], **_list(items[name])} for name in options_of(Axes)}
    return _mapping(lists, lists)


def _model() -> Schema:
    readout = {
        "anyOf": [
            _of_field(Aggregation, "name"),
            _mapping(_properties(Aggregation), doc=_doc(Aggregation)),
        ]
    }
    segmenter = {"anyOf": [*_choice(SEGMENTERS)["anyOf"], {"type": "null"}]}
    kinds = {"classifier": _choice(CLASSIFIERS), "segmenter": segmenter}
    docs = _docs(Models)
    both = {**kinds, "readout": readout}
    return _mapping(
        {name: {"description": docs[name], **both[name]} for name in options_of(Models)}
    )


def _training() -> dict[str, Schema]:
    """Options of the training loop; `keep` has a grammar of its own."""
    properties = _properties(Train)
    keep = {k: v for k, v in properties["keep"].items() if k != "type"}
    return {**properties, "keep": {**keep, "enum": list(sections.KEEP_RULES)}}


def _train() -> Schema:
    docs = _docs(Training)
    names = {"per_specificity": get_args(SupervisionKind), "per_method": tuple(METHODS)}
    changes: Schema = {"$ref": "#/$defs/training"}
    nested = {
        key: _mapping(dict.fromkeys(allowed, changes), doc=docs[key])
        for key, allowed in names.items()
    }
    of_kinds = nested["per_specificity"]["properties"]
    for kind in of_kinds:
        of_kinds[kind] = {**changes, **_keep_rules_of(kind)}
    return _mapping({**_training(), **nested})


def _keep_rules_of(kind: str) -> Schema:
    """Rules of kept checkpoints by metrics that models of this supervision have.

    Drawn regions teach a segmenter or steer a classifier, as the method says.
    """
    models = (False,) if kind == "label" else (False, True)
    fits = {name for name, metric in METRICS.items() if any(map(metric.fits, models))}
    rules = [r for r in sections.KEEP_RULES if r.rpartition(".")[2] in fits or "." not in r]
    return {"properties": {"keep": {"description": f"Rules of {kind} cells.", "enum": rules}}}


def _resources() -> Schema:
    """GPUs are a share of one, whole ones, or left to a measurement."""
    properties = _properties(Resources)
    gpus = properties["gpus"]
    about = {key: gpus.pop(key) for key in ("description", "default")}
    shares = {**gpus, "allOf": [{"anyOf": [{"maximum": 1}, {"multipleOf": 1}]}]}
    properties["gpus"] = {**about, "anyOf": [shares, {"const": "auto"}]}
    return _mapping(properties, doc=_doc(Resources))


def _select() -> Schema:
    docs = _docs(Select)
    epoch = {
        "description": f"{docs['epoch']} `kept` is each trial's own.",
        "enum": list(sections.SELECT_RULES),
        "default": "kept",
    }
    sensitivity = {
        "description": _docs(OperatingPoint)["sensitivity"],
        **schema_of_hint(Sensitivity),
    }
    point = {
        "description": docs["operating_point"],
        "anyOf": [{"const": "youden"}, _mapping({"sensitivity": sensitivity}, ("sensitivity",))],
        "default": "youden",
    }
    margin = {
        "description": docs["margin"],
        **schema_of_hint(Margin),
        "default": Select.margin,
    }
    name = {"type": "string"}
    tune = {
        "description": docs["tune"],
        "anyOf": [name, {"type": "array", "items": name}],
        "default": [],
    }
    return _mapping({"epoch": epoch, "operating_point": point, "margin": margin, "tune": tune})


@cache
def _search_parts() -> Mapping[str, Schema]:
    return search_parts(schema_of_hint, _of_field, _mapping, _list)


def _search() -> Schema:
    """Options of training stand beside methods and models, whose options are below them."""
    docs = _docs(Search)
    plain = _properties(Search, ("trials", "sampler", "batch", "stop"))
    parts = {**_search_parts(), "space": {"$ref": "#/$defs/space"}}
    parts = {**plain, **{name: {"description": docs[name], **parts[name]} for name in parts}}
    is_grid = {"description": docs["sampler"], "const": "grid"}
    grid = {"properties": {"sampler": is_grid}, "required": ["sampler"]}
    rule = {"if": grid, "else": {"required": ["trials"]}}
    return {**_mapping({name: parts[name] for name in options_of(Search)}, ("space",)), **rule}


def _cost() -> Schema:
    clicks = _properties(
        Prices, [name for name in options_of(Prices) if name not in sections.WAGES]
    )
    mapping = _mapping(
        {
            **_properties(Prices, sections.WAGES),
            "clicks": _mapping(clicks, doc="Clicks per annotation."),
            "axis": {
                "description": _docs(CostOptions)["axis"],
                "type": "array",
                "items": {"enum": list(AXIS)},
                "minItems": 1,
                "uniqueItems": True,
                "default": list(PARTS),
            },
            "compute": _compute(),
        }
    )
    counted = {"description": _docs(CostOptions)["axis"], "contains": {"const": "compute"}}
    priced = {"properties": {"axis": counted}, "required": ["axis"]}
    return {**mapping, "if": priced, "then": {"required": ["compute"]}}


def _compute() -> Schema:
    """Prices of nodes; the name of the one that is used may be left out where it is alone."""
    docs = _docs(ComputePrices)
    node_type = _mapping(_properties(NodeType), ("dollars_per_hour", "cpus"), _doc(NodeType))
    node_types = {
        "type": "object",
        "propertyNames": {"pattern": schema_of_hint(NODE_TYPE)["pattern"]},
        "minProperties": 1,
        "additionalProperties": node_type,
    }
    keys = {
        "node": {"type": "string"},
        "count": schema_of_hint(options_of(ComputePrices)["count"][0]),
        "node_types": node_types,
    }
    described = {name: {"description": docs[name], **of} for name, of in keys.items()}
    doc = _docs(CostOptions)["compute"]
    return {**_mapping(described, ("node_types",), doc), "type": ["object", "null"]}


def _published() -> Schema:
    table = {"enum": published_names()}
    return {"anyOf": [table, {"type": "null"}, _list(table)]}


@cache
def _docs(cls: type[Any]) -> Mapping[str, str]:
    """Descriptions of a dataclass's fields: its `Attributes:`, and texts below fields."""
    docs: dict[str, str] = {}
    for part in reversed(cls.__mro__):
        if part is object:
            continue
        _, _, attributes = (inspect.getdoc(part) or "").partition("Attributes:\n")
        docs |= dict(_DOCUMENTED.findall(attributes))
        if dataclasses.is_dataclass(part):
            docs |= _below_fields(part)
    # YAML writes None as null
    return {name: " ".join(doc.replace("None", "null").split()) for name, doc in docs.items()}


def _below_fields(cls: type[Any]) -> dict[str, str]:
    """Return the string that follows a field in the source, which Python itself drops."""
    [tree] = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    body = tree.body if isinstance(tree, ast.ClassDef) else []
    return {
        field.target.id: text.value.value
        for field, text in pairwise(body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and isinstance(text.value.value, str)
    }


def _doc(cls: type[Any]) -> str:
    """Return a class's docstring before its `Attributes:`, in one line."""
    text, _, _ = (inspect.getdoc(cls) or "").partition("Attributes:\n")
    return " ".join(text.replace("None", "null").split())
