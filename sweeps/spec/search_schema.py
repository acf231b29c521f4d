"""The section `search` as a part of the JSON Schema of the sweep YAML."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from spurious.config.fields import Seed
from spurious.config.methods import METHODS
from spurious.config.models import CLASSIFIERS, SEGMENTERS
from spurious.config.options import Train
from sweeps.spec.fields import hint_parts
from sweeps.spec.search import DOLLARS, MODELS, OBJECTIVES
from sweeps.spec.search_section import searchable

Schema = dict[str, Any]


def search_parts(
    of_hint: Callable[[Any], Schema],
    of_field: Callable[[Any, str], Schema],
    mapping: Callable[[Mapping[str, Schema]], Schema],
    of_list: Callable[[Schema], Schema],
) -> dict[str, Schema]:
    """Return the schemas of the section's keys that have a grammar of their own.

    Args:
        of_hint: Translates a type hint.
        of_field: Translates a field of a dataclass, with its description.
        mapping: Returns a mapping with these keys and no others.
        of_list: Returns a list of at least one, none twice.
    """
    one = {"enum": list(OBJECTIVES)}
    either = of_list({"enum": [*OBJECTIVES, DOLLARS]})
    both = {**either, "maxItems": 2, "contains": one, "maxContains": 1}

    def options(cls: Any) -> dict[str, Schema]:
        return {
            name: {"description": of_field(cls, name)["description"], **_dimension(hint)}
            for name, hint in searchable(cls).items()
        }

    def _dimension(hint: Any) -> Schema:
        values = {**of_list(of_hint(hint)), "minItems": 2}
        base, _, _ = hint_parts(hint)
        if base not in (int, float):
            return values
        number = {**of_hint(hint), "type": of_hint(base)["type"]}
        ends = {"type": "array", "items": number, "minItems": 2, "maxItems": 2, "uniqueItems": True}
        above = {**ends, "items": {"allOf": [number, {"exclusiveMinimum": 0}]}}
        kinds = {
            "log": {"description": "Low and high end, drawn by the logarithm.", **above},
            "range": {"description": "Low and high end, drawn evenly.", **ends},
        }
        intervals = [{**mapping({name: of}), "required": [name]} for name, of in kinds.items()]
        return {"anyOf": [values, *intervals]}

    space = options(Train)
    for name, cls in METHODS.items():
        space[name] = {"description": f"Options of {name}.", **mapping(options(cls))}
    for name, registry in zip(MODELS, (CLASSIFIERS, SEGMENTERS), strict=True):
        models = [mapping(options(cls)) for cls in registry.values()]
        space[name] = {"description": f"Options of the {name}.", "anyOf": models}
    return {
        "metric": {"anyOf": [one, both], "default": OBJECTIVES[0]},
        "seeds": of_list(of_hint(Seed)),
        "space": {**mapping(space), "minProperties": 1},
    }
