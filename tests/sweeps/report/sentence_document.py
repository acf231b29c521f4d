"""A report as a reader sees it: headings, texts and tables, from Markdown or from HTML."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html.parser import HTMLParser

SILENT = {"script", "style", "title", "summary", "svg", "legend"}
BLOCKS = {"p", "li", "dd", "dt", "figcaption", "h1", "h2", "h3", "pre", "div", "td", "th"}
VOID = {"meta", "img", "br", "hr", "input", "link"}


@dataclass(frozen=True)
class Text:
    """A paragraph, item, caption or heading."""

    words: str
    kind: str


@dataclass(frozen=True)
class Entry:
    """A table's cell: its main text and what stands below it or in brackets."""

    main: str
    more: tuple[str, ...] = ()

    @property
    def below(self) -> str:
        """All that stands below, as one text."""
        return ", ".join(self.more)


@dataclass(frozen=True)
class Table:
    """A table below a heading."""

    heading: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Entry, ...], ...]

    def records(self) -> Iterator[dict[str, Entry]]:
        """Yield every row by the names of the columns."""
        for row in self.rows:
            assert len(row) == len(self.columns), f"{self.columns}: {row}"
            yield dict(zip(self.columns, row, strict=True))


Block = Text | Table


def read_markdown(text: str) -> list[Block]:
    """Return the blocks of `report.md`."""
    blocks: list[Block] = []
    heading = ""
    for chunk in re.split(r"\n\s*\n", text.strip() + "\n"):
        lines = [line.strip() for line in chunk.strip().splitlines()]
        while lines:
            if lines[0].startswith("|"):
                taken = [line for line in lines if line.startswith("|")]
                lines = [line for line in lines if not line.startswith("|")]
                blocks.append(_markdown_table(heading, taken))
            elif lines[0].startswith("#"):
                heading = lines.pop(0).lstrip("# ")
                blocks.append(Text(unescape(heading), "h"))
            elif lines[0].startswith("- "):
                blocks.append(Text(unescape(lines.pop(0)[2:]), "li"))
            else:
                stop = next((i for i, line in enumerate(lines) if line[:1] in "|#"), len(lines))
                blocks.append(Text(unescape(" ".join(lines[:stop]).strip("*")), "p"))
                lines = lines[stop:]
    return blocks


def unescape(text: str) -> str:
    """Return what an escaped text of Markdown shows."""
    return re.sub(r"\\([|<>`\\])", r"\1", text)


def _markdown_table(heading: str, lines: Sequence[str]) -> Table:
    rows = [[part.strip() for part in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    cells = tuple(tuple(_bracketed(unescape(part)) for part in row) for row in rows[2:])
    return Table(heading, tuple(rows[0]), cells)


def _bracketed(text: str) -> Entry:
    """Split `0.81 (0.77 to 0.87)` and nothing that begins with a word."""
    match = re.fullmatch(r"([\N{MINUS SIGN}+]?[\d.,]+|\N{EN DASH}) \((.*)\)", text)
    return Entry(match[1], (match[2],)) if match else Entry(text)


class _Page(HTMLParser):
    """Collects blocks; a table's cell keeps what its spans hold apart."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.blocks: list[Block] = []
        self._open: list[str] = []
        self._words: list[str] = []
        self._parts: list[list[str]] = []
        self._rows: list[tuple[list[str], list[Entry]]] = []
        self._heading = ""
        self._depth = 0
        self._picture: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in VOID:
            for name, value in attrs:
                if name == "alt" and value:
                    self.blocks.append(Text(" ".join(value.split()), "alt"))
            return
        self._open.append(tag)
        if tag == "table":
            self._flush("p")
            self._rows, self._depth = [], 1
        elif tag == "tr":
            self._rows.append(([], []))
        elif tag in ("td", "th") and self._depth:
            self._parts = [[]]
        elif tag == "span" and self._depth:
            self._parts.append([])
        elif tag in BLOCKS:
            self._flush("p")

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID or tag not in self._open:
            return
        while self._open.pop() != tag:
            pass
        if tag == "desc":  # what a picture without a frame says, below its name
            self.blocks.append(Text(": ".join(self._picture), "svg"))
        elif tag == "svg":
            self._picture = []
        if tag in ("td", "th") and self._depth:
            parts = [" ".join("".join(part).split()) for part in self._parts]
            more = tuple(part for part in parts[1:] if part)
            of_row = tag == "td" or len(self._rows) > 1  # a row's own heading is an entry of it
            self._rows[-1][of_row].append(Entry(parts[0], more))  # type: ignore[arg-type]
            self._parts = []
        elif tag == "span" and self._depth and self._parts:
            self._parts.append([])
        elif tag == "table":
            self._end_table()
        elif tag in BLOCKS:
            self._flush({"h1": "h", "h2": "h", "h3": "h"}.get(tag, tag))

    def _end_table(self) -> None:
        columns = tuple(entry.main for entry in self._rows[0][0])  # type: ignore[attr-defined]
        rows = tuple(tuple(entries) for _, entries in self._rows if entries)
        if rows:  # the script's table has none
            self.blocks.append(Table(self._heading, columns, rows))
        self._depth = 0

    def handle_data(self, data: str) -> None:
        if "svg" in self._open and self._open[-1] in ("title", "desc"):
            self._picture.append(" ".join(data.split()))
        if SILENT & set(self._open):
            return
        if self._depth and self._parts:
            self._parts[-1].append(data)
        elif not self._depth:
            self._words.append(data)

    def _flush(self, kind: str) -> None:
        words = " ".join("".join(self._words).split())
        self._words = []
        if words:
            self.blocks.append(Text(words, kind))
            self._heading = words if kind == "h" else self._heading


def read_html(text: str) -> list[Block]:
    """Return the blocks of `report.html` that are visible without scripts, and what
    pictures say.
    """
    page = _Page()
    page.feed(text)
    return page.blocks


def sentences(words: str) -> list[str]:
    """Split a text where a sentence ends and another begins."""
    return re.split(r"(?<=[.!?])\s+(?=[A-Z\d'`])", words.strip())
