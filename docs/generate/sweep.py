"""Tables of the sweep YAML, shipped specifications, published numbers and result columns."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from docs.generate.documents import ROOT, code, table
from spurious.config.fields import Pattern, Sha256
from sweeps.catalogue.exported.tables import EVALUATION_TABLES
from sweeps.commands.failures import describe_policy
from sweeps.commands.sweep_tables import TABLES
from sweeps.plan.plan import make_plan
from sweeps.plan.searched import dimensions_of
from sweeps.report.tables import REPORT_TABLES
from sweeps.results.schemas import TableDescription
from sweeps.spec.model import Spec, load_spec
from sweeps.spec.papers import tables as published_tables
from sweeps.spec.schema import spec_schema
from sweeps.spec.values import DATASET, NAME, STORE, Models
from sweeps.trial.failures import POLICIES
from sweeps.trial.telemetry import METRICS as TELEMETRY

SPECS = ROOT / "sweeps" / "specs"
MOST_LISTED = 10
"""Values of a key that are listed; of more only the number."""

_DEFAULTS = {
    "rest": "unlabelled",
    "model.classifier": Models().classifier[0],
    "model.segmenter": (Models().segmenter or ("null",))[0],
    "model.readout": Models().readout.name,
}
"""Defaults of keys that take a name or a mapping, for which a schema holds none."""

_TEXTS: tuple[Any, ...] = (NAME, DATASET, STORE, Sha256)
_PATTERNS = {
    f"^(?:{mark.regex})$": mark.meaning
    for hint in _TEXTS
    for mark in hint.__metadata__
    if isinstance(mark, Pattern)
}
_WORDS = {
    "integer": "an integer",
    "number": "a number",
    "string": "text",
    "boolean": "`true`, `false`",
    "null": "null",
}
_SENTENCE_END = re.compile(r"(?<=[.:])\s+(?=[A-Z])")


def keys() -> str:
    """Write one row a key of the sweep YAML."""
    schema = spec_schema()
    return table(("key", "default", "allowed", "meaning"), _key_rows(schema, schema["$defs"], ""))


def _key_rows(
    schema: Mapping[str, Any], shared: Mapping[str, Any], parent: str
) -> Iterator[tuple[str, str, str, str]]:
    required = schema.get("required", ())
    for name, part in schema["properties"].items():
        key = f"{parent}{name}"
        default = "required" if name in required else ""
        if "default" in part or key in _DEFAULTS:
            default = code(part["default"] if "default" in part else _DEFAULTS[key])
        nested = part.get("properties", {})
        changes = bool(nested) and all("$ref" in below for below in nested.values())
        if changes:
            allowed = f"changes of `train` for {_listed(list(nested))}"
        else:
            allowed = "a mapping of the keys below" if nested else _allowed(part, shared)
        yield code(key), default, allowed, part.get("description", "")
        if nested and not changes:
            yield from _key_rows(part, shared, f"{key}.")


def _allowed(schema: Mapping[str, Any], shared: Mapping[str, Any]) -> str:
    """Say in words what a part of the schema allows."""
    if "$ref" in schema:
        return _allowed(shared[schema["$ref"].rpartition("/")[2]], shared)
    if "anyOf" in schema:
        options = [part for part in schema["anyOf"] if not _is_named(part)]
        words = [_allowed(part, shared) for part in options]
        if len(options) < len(schema["anyOf"]):
            words.append("a mapping of `name` and its options")
        return ", or ".join(dict.fromkeys(words))
    if "enum" in schema:
        return _listed(schema["enum"])
    if "const" in schema:
        return code(schema["const"])
    if schema["type"] == "array":
        return f"a list of {_allowed(schema['items'], shared)}"
    if isinstance(schema.get("additionalProperties"), dict):
        return f"a mapping of names to {_allowed(schema['additionalProperties'], shared)}"
    if schema["type"] == "object":
        below = schema["properties"].items()
        inside = (f"{name}: {_allowed(part, shared)}" for name, part in below)
        return f"a mapping of {', '.join(inside)}" if len(below) < 3 else "a mapping of options"
    return _scalar(schema)


def _is_named(schema: Mapping[str, Any]) -> bool:
    return "const" in schema.get("properties", {}).get("name", {})


def _scalar(schema: Mapping[str, Any]) -> str:
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    text = _WORDS[kinds[0]]
    if kinds == ["null"]:
        return text
    if "pattern" in schema:
        text = _PATTERNS[schema["pattern"]]
    text = " ".join([text, _bounds(schema)]).rstrip()
    return f"{text}, or null" if "null" in kinds else text


def _bounds(schema: Mapping[str, Any]) -> str:
    """Say in words between which numbers a value is."""
    numbers = {
        key: f"{schema[key]:,}" if isinstance(schema[key], int) else f"{schema[key]:g}"
        for key in ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum")
        if key in schema
    }
    if {"minimum", "maximum"} <= numbers.keys():
        return f"from {numbers['minimum']} to {numbers['maximum']}"
    words = {
        "minimum": "at least",
        "exclusiveMinimum": "above",
        "maximum": "at most",
        "exclusiveMaximum": "below",
    }
    return " and ".join(f"{words[key]} {number}" for key, number in numbers.items())


def _listed(values: list[Any]) -> str:
    if len(values) > MOST_LISTED:
        return f"any of {len(values)} names (`sweeps schema`)"
    return ", ".join(code(value) for value in values)


def specs() -> str:
    """Write one row a shipped specification."""
    rows = []
    for path in sorted(SPECS.glob("*.yaml")):
        spec = load_spec(path)
        gpus = f"{spec.resources.gpus:g} a trial" if spec.resources.gpus else "none"
        compared = ", ".join(code(name) for name in spec.published)
        name = getattr(spec.dataset, "name", "")
        rows.append((code(path.stem), _purpose(path), code(name), _trials(spec), gpus, compared))
    header = ("specification", "what it runs", "dataset", "trials", "GPUs", "compared with")
    return table(header, rows)


def _trials(spec: Spec) -> str:
    """Count the trials of the cells that make sense, and those that a search tries first."""
    cells = make_plan(spec, None).cells
    count = f"{len(cells) * len(spec.axes.seed)}"
    if spec.search is None:
        return count
    spaces = [dimensions_of(spec.search, cell) for cell in cells]
    searched = sum(map(spec.search.count_tries, spaces)) * len(spec.search_seeds)
    return f"{count}, after {searched} of a search"


def _purpose(path: Path) -> str:
    """Return the first sentence of a specification's opening comment."""
    lines = itertools.takewhile(lambda line: line.startswith("# "), path.read_text().splitlines())
    text = " ".join(line.removeprefix("# ") for line in lines if not line.startswith("#   "))
    first = _SENTENCE_END.split(text)[0].split(":   ")[0]
    return first.rstrip(".:") + "."


def published() -> str:
    """Write one row a table of a paper."""
    rows = [
        (code(t.name), t.where, t.shows, ", ".join(t.datasets), ", ".join(map(code, t.metrics)))
        for t in published_tables().values()
    ]
    return table(("`published`", "in the paper", "shows", "datasets", "metrics"), rows)


def pulled_columns() -> str:
    """Write the tables of `pull`."""
    return _describe({name: of.about for name, of in TABLES.items()})


def evaluation_columns() -> str:
    """Write the tables of `evaluate`."""
    return _describe(EVALUATION_TABLES)


def report_columns() -> str:
    """Write the tables of the report."""
    return _describe(REPORT_TABLES)


def _describe(tables: Mapping[str, TableDescription]) -> str:
    return "\n\n".join(f"### `{name}.parquet`\n\n{_rows(of)}" for name, of in tables.items())


def _rows(of: TableDescription) -> str:
    columns = (*of.columns, *of.families)
    rows = [(code(c.name), c.type, c.unit, c.meaning) for c in columns]
    only = f" Of sweeps {of.only}." if of.only else ""
    return f"A row is {of.row}.{only}\n\n{table(('column', 'type', 'unit', 'meaning'), rows)}"


def telemetry() -> str:
    """Write one row a series that Prometheus gets."""
    rows = [(code(m.exported), m.kind, m.unit, ", ".join(m.tags), m.description) for m in TELEMETRY]
    return table(("series", "kind", "unit", "tags", "meaning"), rows)


def failure_classes() -> str:
    """Write one row a class of failure: what it is, and what follows it."""
    rows = [
        (code(name), policy.meaning, describe_policy(policy)) for name, policy in POLICIES.items()
    ]
    return table(("class", "an attempt failed since", "it is"), rows)
