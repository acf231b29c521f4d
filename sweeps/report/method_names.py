"""Long names of methods on the page: short everywhere, and in full once."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from sweeps.report.short_names import shorten

MOST = 36
"""Characters of a method's name on the page; longer ones are shortened."""


def short_methods(names: Iterable[str]) -> dict[str, str]:
    """Return the long names of methods to their short ones; those that are short stay.

    Args:
        names: All methods of a sweep, as cells spell them.
    """
    short = shorten(names, MOST)
    return {name: text for name, text in sorted(short.items()) if name != text}


def shorten_in(value: Any, short: Mapping[str, str]) -> Any:
    """Return what templates print with short names in every text.

    Texts may be plain, HTML or JSON, whose spellings of a name are all replaced.

    Args:
        value: Text, or dictionaries, lists and tuples of text and numbers.
        short: The result of `short_methods`.
    """
    pairs: dict[str, str] = {}
    for name, text in sorted(short.items(), key=lambda pair: -len(pair[0])):
        as_json = json.dumps(name)[1:-1].replace("<", "\\u003c")
        pairs |= {as_json: json.dumps(text)[1:-1].replace("<", "\\u003c")}
        pairs |= {escape(name): escape(text), name: text}
    return _replace(value, pairs) if pairs else value


def _replace(value: Any, pairs: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        for name, text in pairs.items():
            if name in value:
                value = value.replace(name, text)
        return value
    if isinstance(value, dict):
        return {key: _replace(each, pairs) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_replace(each, pairs) for each in value)
    return value
