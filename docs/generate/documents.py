"""The documents, their markers, and Markdown tables."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

_BLOCK = re.compile(r"(<!-- table: ([\w-]+) -->\n)(.*?)(<!-- /table -->)", re.DOTALL)
_MARKER = re.compile(r"<!-- /?table\b")


class DocumentError(Exception):
    """A document has a marker that nothing belongs to."""


def documents() -> list[Path]:
    """List README.md and the pages of docs/."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def render(text: str, tables: Mapping[str, Callable[[], str]], source: str = "text") -> str:
    """Fill the blocks between `<!-- table: NAME -->` and `<!-- /table -->`.

    Args:
        text: A Markdown document.
        tables: Name to a function that writes the block.
        source: What error messages call the text.

    Raises:
        DocumentError: a block has an unknown name, or a marker has no partner.
    """
    unpaired = len(_MARKER.findall(text)) - 2 * len(_BLOCK.findall(text))
    if unpaired:
        raise DocumentError(
            f"{source}: {unpaired} marker(s) without a partner; expected <!-- table: NAME -->, "
            "lines, <!-- /table -->"
        )

    def fill(match: re.Match[str]) -> str:
        name = match[2]
        if name not in tables:
            raise DocumentError(
                f"{source}: unknown table '{name}'; expected one of {', '.join(tables)}"
            )
        return f"{match[1]}\n{tables[name]().strip()}\n\n{match[4]}"

    return _BLOCK.sub(fill, text)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a Markdown table; columns that are empty in every row are left out."""
    rows = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    kept = [i for i, _ in enumerate(header) if any(row[i] for row in rows)]
    lines = [
        [header[i] for i in kept],
        ["---"] * len(kept),
        *([row[i] for i in kept] for row in rows),
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def code(text: object) -> str:
    """Set a value as code; a Python value is written as YAML has it."""
    plain = {True: "true", False: "false", None: "null"}
    if text is None or isinstance(text, bool):
        return f"`{plain[text]}`"
    return f"`{text:g}`" if isinstance(text, float) else f"`{text}`"
