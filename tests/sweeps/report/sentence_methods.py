"""Long names of methods: each is shortened everywhere but in one list, which tells it in full."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator, Sequence

from sentence_document import Block, Entry, Text
from sentence_facts import Facts

MOST = 36
GAP = "\N{HORIZONTAL ELLIPSIS}"


def in_full(f: Facts, blocks: Sequence[Block]) -> Sequence[Block]:
    """Return a report with full names for short ones, so that its claims can be held to them.

    The list of names is checked and left out.
    """
    listed = list(_listed(blocks))
    taken = {place for places, _ in listed for place in places}
    names = {cell.key[2] for cell in f.cells} | {s["key"][2] for s in f.raw.others["searches"]}
    pairs = [pair for _, pair in listed]
    assert sorted(full for _, full in pairs) == sorted(n for n in names if len(n) > MOST), pairs
    short = dict(pairs)
    assert len(short) == len(pairs), f"two methods have one name: {pairs}"
    assert not short.keys() & names
    for text, full in pairs:
        bare = re.sub(r" \[\d+\]$", "", text)
        assert len(bare) <= MOST, text
        assert re.fullmatch(".+".join(map(re.escape, bare.split(GAP))), full), f"{text}: {full}"
    rest = [block for place, block in enumerate(blocks) if place not in taken]
    longest = sorted(short, key=len, reverse=True)

    def fill(text: str) -> str:
        for full in short.values():
            assert full not in text, f"'{full}' is not shortened in '{text}'"
        for name in longest:
            text = text.replace(name, short[name])
        return text

    return [_filled(block, fill) for block in rest] if short else rest


def _listed(blocks: Sequence[Block]) -> Iterator[tuple[set[int], tuple[str, str]]]:
    """Yield the places of each pair and the pair, from Markdown's list or the page's."""
    heading = ""
    for place, block in enumerate(blocks):
        if not isinstance(block, Text):
            continue
        heading = block.words if block.kind == "h" else heading
        if block.kind == "li" and heading == "Methods in full":
            short, _, full = block.words.partition(": ")
            yield {place}, (short, full)
        if block.kind == "dt" and GAP in block.words:
            after = blocks[place + 1]
            assert isinstance(after, Text)
            assert after.kind == "dd"
            yield {place, place + 1}, (block.words, after.words)


def _filled(block: Block, fill: Callable[[str], str]) -> Block:
    if isinstance(block, Text):
        return Text(fill(block.words), block.kind)
    rows = tuple(
        tuple(Entry(fill(entry.main), tuple(map(fill, entry.more))) for entry in row)
        for row in block.rows
    )
    return dataclasses.replace(block, rows=rows)
