"""Fills the templates of pages and of Markdown."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template, select_autoescape

from sweeps.report.method_names import shorten_in
from sweeps.report.wording import NONE


def render_page(context: Mapping[str, Any], template: str = "template.html") -> str:
    """Return an HTML page; every text that comes from outside is escaped by the template."""
    return _template(template).render(_with_short_names(context))


def render_markdown(context: Mapping[str, Any], template: str = "template.md") -> str:
    """Return a page's tables as Markdown, for a repository or a ticket."""
    context = _with_short_names(context)
    return _template(template, _in_markdown).render(context, none_there=NONE) + "\n"


def _with_short_names(context: Mapping[str, Any]) -> dict[str, Any]:
    """Return the context with short names of methods, but where they stand in full."""
    full = {name: context[name] for name in _IN_FULL if name in context}
    rest = {name: value for name, value in context.items() if name not in full}
    shortened: dict[str, Any] = shorten_in(rest, context.get("method_names", {}))
    return shortened | full


_IN_FULL = ("method_names", "provenance", "style", "policy")


@cache
def _template(name: str, finalize: Callable[[Any], str] | None = None) -> Template:
    return Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=select_autoescape(),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=finalize,
    ).get_template(name)


def _in_markdown(value: Any) -> str:
    """Return text that neither ends a table's cell nor becomes markup."""
    text = " ".join(str(value).split()) if "\n" in str(value) else str(value)
    return re.sub(r"[|<>`\\]", lambda match: f"\\{match[0]}", text)
