"""Numbers in messages: one of a thing is in the singular, and nowhere in the code by hand."""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.common.wording import all_of, count_of, has_or_have, is_or_are, noun_of

ROOT = Path(__file__).resolve().parents[3]
COUNTED = "attempt|cell|combination|configuration|CPU|GPU|key|node|object|pack|problem"
COUNTED += "|result|row|seed|tensor|trial|unfinished write"
PLURAL = re.compile(rf"^ (?:(?!of )[a-z-]+ )?(?:{COUNTED})s\b")
ALWAYS_MANY = {
    "sweeps/spec/sections.py": "' x '.join(map(str, sizes))",
    "sweeps/spec/search_rules.py": "size",
    "sweeps/spec/schema.py": "kind",
    "sweeps/spec/fields.py": "len(known)",
    "sweeps/commands/debug.py": "len(matches)",
    "sweeps/catalogue/exported/text.py": "len(values)",
    "sweeps/plan/spending.py": "limit",
}
"""Where a plural follows a number that is never one, or what is no number."""


@pytest.mark.parametrize(
    ("number", "noun", "text"),
    [
        (0, "trial", "0 trials"),
        (1, "trial", "1 trial"),
        (1.0, "CPU", "1 CPU"),
        (0.5, "CPU", "0.5 CPUs"),
        (12_000, "object", "12,000 objects"),
        (2, "failed attempt", "2 failed attempts"),
        (2, "match", "2 matches"),
        (8, "epoch", "8 epochs"),
        (float("inf"), "minute", "inf minutes"),
        (float("nan"), "minute", "nan minutes"),
        (2, "copy", "2 copies"),
        (2, "day", "2 days"),
        (2, "class", "2 classes"),
    ],
)
def test_a_number_has_its_noun(number: float, noun: str, text: str) -> None:
    """In the singular of one, also where the number is not an integer's."""
    assert count_of(number, noun) == text
    assert noun_of(number, noun) == text.partition(" ")[2]


def test_verbs_follow() -> None:
    """`is` and `has` of one; all of one thing are not many."""
    assert [is_or_are(n) for n in (0, 1, 2)] == ["are", "is", "are"]
    assert [has_or_have(n) for n in (0, 1, 2)] == ["have", "has", "have"]
    assert [all_of(n, "trial") for n in (1, 2)] == ["the 1 trial", "all 2 trials"]


def plurals() -> Iterator[tuple[str, str]]:
    """Yield file and expression of each value in a text that a noun follows in the plural."""
    for package in ("sweeps", "cluster"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                parts = node.values if isinstance(node, ast.JoinedStr) else []
                for value, after in itertools.pairwise(parts):
                    is_text = isinstance(after, ast.Constant) and PLURAL.match(str(after.value))
                    if isinstance(value, ast.FormattedValue) and is_text:
                        yield str(path.relative_to(ROOT)), ast.unparse(value.value)


def test_no_message_has_a_plural_of_its_own() -> None:
    """A number that may be one goes through `count_of`; constants in capitals are larger."""
    found = [
        (path, text)
        for path, text in plurals()
        if not text.isupper() and ALWAYS_MANY.get(path) != text
    ]
    assert found == []
