"""Long names, in figures and on a terminal: shortened so that they stay apart."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

_LEAST_PART = 7
_PARTS = re.compile(r"([^\s,;:()=\[\]]+)")
"""Words and values of a method's name: `exbl(good=1.2.840, bad=1.2.841)` has five."""
GAP = "\N{HORIZONTAL ELLIPSIS}"


def shorten(names: Iterable[str], most: int, gap: str = GAP) -> dict[str, str]:
    """Shorten names in the middle, so that they stay distinct.

    Args:
        names: The names; repeats count once.
        most: Characters that a shortened name has at most, but for a number in brackets.
        gap: What stands for the middle, one character.

    Returns:
        Each name to its short one: itself where it is short enough. Names that would be alike get
        a number each, in alphabetical order.
    """
    distinct = sorted(set(names))
    short = {name: _shorten(name, most, gap) for name in distinct}
    alike, seen = Counter(short.values()), Counter[str]()
    taken = set(short.values())
    for name in distinct:
        text = short[name]
        if alike[text] > 1:
            while (numbered := f"{text} [{seen[text] + 1}]") in taken:
                seen[text] += 1
            taken.add(numbered)
            short[name] = numbered
    return short


def _shorten(name: str, most: int, gap: str) -> str:
    """Shorten each long part of a name alike, so that its options stay; else the whole name."""
    parts = _PARTS.split(name)
    for length in range(most, _LEAST_PART - 1, -1):
        text = "".join(_cut(part, length, gap) for part in parts)
        if len(text) <= most:
            return text
    return _cut(name, most, gap)


def _cut(text: str, most: int, gap: str) -> str:
    """Return a text without its middle; the end tells identifiers apart, and stays."""
    if len(text) <= most:
        return text
    end = most // 2
    return text[: most - 1 - end] + gap + text[len(text) - end :]
