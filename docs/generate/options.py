"""Tables of options: name, default, allowed values, meaning, from dataclasses of options."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Collection, Mapping
from typing import Any

from docs.generate.documents import code, table
from sweeps.spec.fields import describe, options_of
from sweeps.spec.schema import spec_schema

OPTION_COLUMNS = ("option", "default", "allowed", "meaning")

_ATTRIBUTE = re.compile(r"^    ([\w, ]+): (.+(?:\n {6,}.+)*)", re.MULTILINE)


def summary(cls: type[Any]) -> str:
    """Return the first sentence of a class's docstring."""
    text, _, _ = (inspect.getdoc(cls) or "").partition("\n\n")
    return " ".join(text.split())


def option_rows(
    cls: Any, names: Collection[str] | None = None, meanings: Mapping[str, str] | None = None
) -> list[tuple[str, str, str, str]]:
    """List a dataclass's options as `OPTION_COLUMNS`.

    Args:
        cls: A dataclass whose hints are read by `sweeps.spec.fields`.
        names: The options that are wanted; None for all.
        meanings: Their meanings; None for those of the docstring's `Attributes:`.
    """
    meanings = _documented(cls) if meanings is None else meanings
    rows = []
    for name, (hint, default) in options_of(cls).items():
        if names is not None and name not in names:
            continue
        allowed = describe(hint)
        meaning = meanings.get(name, "")
        if meaning == f"{name.replace('_', ' ').capitalize()}: {allowed}.":
            meaning = ""  # a schema's stand-in for a missing text
        meaning = meaning.removesuffix(f" Expected {allowed}.")
        shown = "required" if default is dataclasses.MISSING else code(default)
        rows.append((code(name), shown, allowed.removeprefix("one of "), meaning))
    return rows


def option_table(cls: type[Any], names: Collection[str] | None = None) -> str:
    """Write the table of a dataclass's options that the sweep's schema does not hold."""
    return table(OPTION_COLUMNS, option_rows(cls, names))


def schema_meanings(choice: Mapping[str, Any], name: str) -> Mapping[str, str]:
    """Return the meanings of a registered name's options from its place in the sweep's schema."""
    for entry in choice["anyOf"]:
        properties = entry.get("properties", {})
        if properties.get("name", {}).get("const") == name:
            return {key: value.get("description", "") for key, value in properties.items()}
    return {}


def section(*path: str) -> dict[str, Any]:
    """Return a part of the sweep's JSON Schema, by keys of nested mappings."""
    part = spec_schema()
    for key in path:
        part = part["properties"][key]
    return part


def _documented(cls: type[Any]) -> dict[str, str]:
    """Return the `Attributes:` of a docstring; `a, b: text` is the text of both."""
    _, _, attributes = (inspect.getdoc(cls) or "").partition("Attributes:\n")
    return {
        name.strip(): " ".join(text.replace("None", "null").split())
        for names, text in _ATTRIBUTE.findall(attributes)
        for name in names.split(",")
    }
