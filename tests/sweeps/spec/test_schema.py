"""The JSON Schema of the sweep YAML gives the verdicts of the reader."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from bad_searches import SEARCH_CASES
from bad_sections import SECTION_CASES
from bad_specs import DATA_CASES, GOOD
from good_specs import FULL, SMALL
from jsonschema import Draft202012Validator
from tiny_sweeps import TEXT

from spurious.config.datasets import GENERATORS
from spurious.config.fields import Resolution, Seed
from spurious.config.methods import METHODS
from spurious.config.models import CLASSIFIERS, SEGMENTERS, Aggregation
from spurious.config.options import RESTS, Prices, Train
from sweeps.cli import main
from sweeps.errors import SpecError
from sweeps.spec.fields import Field, Refused, SpecIssues, options_of
from sweeps.spec.model import parse_spec
from sweeps.spec.schema import schema_of_hint, spec_schema
from sweeps.spec.values import NAME, STORE, Checkpoint, Resources
from sweeps.spec.yaml import ScalarNode, read, to_python

SCHEMA = spec_schema()
VALIDATOR = Draft202012Validator(SCHEMA)
SPECS = sorted((Path(__file__).resolve().parents[3] / "sweeps" / "specs").glob("*.yaml"))
CASES = {**DATA_CASES, **SECTION_CASES, **SEARCH_CASES}

READER_ONLY: Mapping[str, tuple[str, ...]] = {
    "a schema sees parsed values, not the text: doubled keys and non-text keys are gone by then": (
        *("key twice", "nested key twice", "number as key", "null as key", "list as key"),
    ),
    "JSON Schema counts 3.0 as an integer": ("float for an integer",),
    "JSON has no NaN": ("NaN",),
    "a value's range depends on another value": (
        *("square larger than the image", "block larger than the image"),
        *("squares that do not fit side by side", "ring without a hole"),
        *("r larger than the generator's image", "more threads than cpus", "odd budget"),
        *("unknown node type", "none of two node types"),
        *(
            "search ends the wrong way round",
            "grid of an interval",
            "more trials than the grid has",
        ),
    ),
    "two ways to write one value, of which uniqueItems sees two": (
        *("box per component twice", "method twice"),
    ),
    "an option that another option leaves unread": (
        *("option of another rule", "option of another clustering"),
        *("option of another group rule", "read-out option without effect"),
        *("searched option that nobody reads",),
    ),
    "two sections contradict each other": (
        *("filter without labels", "a third class beside labels of the rest"),
        *("a third class of a generator", "table of another dataset"),
        *("keep rule that labels cannot have",),
        *("method's keep rule that labels cannot have", "keep rule that masks cannot have"),
        *("keep rule of a method that guesses no groups",),
        *("selection rule that masks cannot have", "selection rule that labels cannot have"),
        *("limit in GPU-hours without a GPU", "limit in dollars without a price"),
        *("node type that is too small", "limit in dollars of a node for nothing"),
        *("report's rule on test scores that candidates lack",),
        *("the same where one specificity lacks them",),
        *("search metric that labels cannot have", "searched method that is not of the axes"),
        *("search metric that masks cannot have", "searched model that no cell trains"),
        *("early stopping on two metrics", "early stopping of other lengths"),
        *("early stopping of other evaluations", "early stopping of one epoch"),
        *("early stopping without an evaluation", "searched momentum of adam"),
        *("search beside tune", "methods that a search makes equal"),
    ),
    "a product of the lengths of four lists": ("too many trials", "too many searched trials"),
}
"""Why JSON Schema cannot refuse what the reader refuses, and the cases of each kind."""

NOT_YAML = (
    *("Python tag", "own tag", "string tag", "anchor", "alias without an anchor", "merge key"),
    *("deep nesting", "tab", "indentation", "two values in one line", "open bracket"),
    *("several documents", "control character", "empty", "only comments"),
)
"""Cases whose text gives no values at all: no schema is asked."""


def values_of(text: str) -> Any:
    """The plain values of a text that the reader can build a tree of."""
    tree, _ = read(text)
    assert tree is not None
    return to_python(tree)


def test_the_command_prints_the_schema(capsys: pytest.CaptureFixture[str]) -> None:
    """It is strict JSON, and a valid schema of the draft that it names."""
    assert main(["schema"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == SCHEMA
    Draft202012Validator.check_schema(printed)


@pytest.mark.parametrize("text", [GOOD, SMALL, FULL, TEXT, *(path.read_text() for path in SPECS)])
def test_good_specs_are_taken_by_both(text: str) -> None:
    """Also as other programs parse them."""
    parse_spec(text)
    for values in (values_of(text), yaml.safe_load(text.replace("1e-3", "0.001"))):
        assert [error.message for error in VALIDATOR.iter_errors(values)] == []


@pytest.mark.parametrize("name", [name for name in CASES if name not in NOT_YAML])
def test_bad_specs_are_refused_by_both(name: str) -> None:
    """Except for the listed cases, and those are taken, so that the list stays true."""
    kinds = [kind for kind, names in READER_ONLY.items() if name in names]
    taken = VALIDATOR.is_valid(values_of(CASES[name][0]))
    assert taken == (len(kinds) == 1), kinds


def test_the_exceptions_are_cases() -> None:
    """No list names a case that was renamed or removed; what is not YAML has no values."""
    listed = [name for names in (*READER_ONLY.values(), NOT_YAML) for name in names]
    assert len(listed) == len(set(listed))
    assert set(listed) <= CASES.keys()
    assert all(read(CASES[name][0])[0] is None for name in NOT_YAML)


def mappings(schema: Any, values: Any) -> Iterator[tuple[Any, Any]]:
    """Every mapping of some values, in place, with the part of the schema that is about it."""
    if "$ref" in schema:
        schema = SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]]
    for arm in schema.get("anyOf", ()):
        if Draft202012Validator({**arm, "$defs": SCHEMA["$defs"]}).is_valid(values):
            yield from mappings(arm, values)
    if isinstance(values, list):
        for item in values:
            yield from mappings(schema.get("items", {}), item)
    if isinstance(values, dict) and "properties" in schema:
        yield schema, values
        for key, value in list(values.items()):
            yield from mappings(schema["properties"][key], value)


def full_values() -> Any:
    """Values with every mapping that a sweep YAML may have, some of them twice or more."""
    values = values_of(FULL)
    change = {"epochs": 1}
    values["train"] |= {
        "per_specificity": {kind: dict(change) for kind in ("label", "box", "mask", "r")},
        "per_method": {name: dict(change) for name in METHODS},
    }
    values["axes"]["method"] = [{"name": name} for name in METHODS]
    values["rest"] = {"name": "label"}
    return values


def full_specs() -> Iterator[Any]:
    """The same on each dataset, and with each model, that has options."""
    names = {"dataset": GENERATORS, "classifier": CLASSIFIERS, "segmenter": SEGMENTERS}
    for section, registry in names.items():
        for name in registry:
            values = full_values()
            place = values if section == "dataset" else values["model"]
            place[section] = {"name": name}
            yield values


def test_both_know_the_same_keys_in_every_mapping(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader's list of a mapping's keys, of which its messages print some, is the schema's."""
    monkeypatch.setattr("sweeps.spec.fields.MOST_NAMED", 1000)
    seen = 0
    for values in full_specs():
        places = list(mappings(SCHEMA, values))
        for schema, place in places:
            place["unknown-key"] = None
            with pytest.raises(SpecError) as caught:
                parse_spec(json.dumps(values))
            del place["unknown-key"]
            lists = re.findall("unknown key; expected one of ([^;\n]*)", str(caught.value))
            properties = schema["properties"]
            one_key = list(properties) in (["r"], ["box"], ["log"], ["range"])
            if one_key:  # {r: N}, {box: image}: refused by their number of keys
                assert "a mapping of one key" in str(caught.value)
            else:
                assert [set(keys.split(", ")) for keys in lists] == [properties.keys()]
            assert schema["additionalProperties"] is False
            seen += 1
    assert seen > 100


HINTS = {
    f"{cls.__name__}.{name}": hint
    for cls in (
        *(c for r in (METHODS, GENERATORS, CLASSIFIERS, SEGMENTERS, RESTS) for c in r.values()),
        *(Train, Prices, Aggregation, Resources, Checkpoint),
    )
    for name, (hint, _) in options_of(cls).items()
} | {"seed": Seed, "r": Resolution, "name": NAME, "store": STORE}


def test_both_allow_the_same_values_of_every_option() -> None:
    """Around every bound, of every type, for every option of every registry."""
    texts = ("", "x", "adam", "square", "s3://b", "s3://bucket/a", "ab" * 32, "a" * 64, "A b")
    for name, hint in HINTS.items():
        schema = schema_of_hint(hint)
        ends = [end for key, end in schema.items() if key.lower().endswith(("minimum", "maximum"))]
        near = [end + step for end in ends for step in (-1, -0.5, 0, 0.5, 1)]
        is_integer = "integer" in json.dumps(schema.get("type", ""))
        choices = [*schema.get("enum", ()), *texts, None, True, False, 0, 1, -1, 0.5, *near]
        for value in choices:
            if is_integer and isinstance(value, float) and value.is_integer():
                continue  # see READER_ONLY
            assert Draft202012Validator(schema).is_valid(value) == is_taken(hint, value), (
                *(name, value),
            )


def is_taken(hint: Any, value: Any) -> bool:
    """Whether the reader takes a value."""
    with suppress(Refused):
        Field(ScalarNode(1, value, str(value)), "", SpecIssues("values")).value(hint)
        return True
    return False


def test_every_key_is_described_and_its_default_allowed() -> None:
    """An editor shows what a key is for; no default contradicts its own range."""

    def walk(schema: Any) -> Iterator[tuple[str, Any]]:
        if isinstance(schema, dict):
            yield from schema.get("properties", {}).items()
            for part in schema.values():
                yield from walk(part)
        elif isinstance(schema, list):
            for part in schema:
                yield from walk(part)

    for name, schema in walk(SCHEMA):
        if "$ref" in schema or (name == "name" and "const" in schema):
            continue
        assert len(schema["description"]) > 5, name
        assert "None" not in schema["description"]
        if "default" in schema:
            assert Draft202012Validator(schema).is_valid(schema["default"]), name
