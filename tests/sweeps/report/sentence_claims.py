"""Sentences and the checkers of their claims: each sentence has exactly one, or it fails."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

from sentence_document import Block, Entry, Table, Text, sentences
from sentence_facts import Cell, Facts
from sentence_methods import in_full
from sentence_statistics import Limits

Check = Callable[..., None]
ERRORS = (AssertionError, AttributeError, LookupError, TypeError, ValueError)
CLAIMS: list[tuple[re.Pattern[str], Check]] = []
TABLES: dict[tuple[str, ...], Check] = {}
WHOLE: list[tuple[re.Pattern[str], Check]] = []
CONSTANT: dict[str, Check | None] = {}
DOCUMENT: list[Callable[[Facts, Sequence[Block]], None]] = []
"""Checkers of a report as a whole: that nothing lacks which should be there."""


def claim(pattern: str, whole: bool = False) -> Callable[[Check], Check]:
    """Register a checker of sentences of a form, or of whole texts that are not split."""

    def register(check: Check) -> Check:
        (WHOLE if whole else CLAIMS).append((re.compile(pattern, re.DOTALL), check))
        return check

    return register


def table(*columns: str) -> Callable[[Check], Check]:
    """Register a checker of tables with some columns, whatever their case."""

    def register(check: Check) -> Check:
        TABLES[tuple(column.lower() for column in columns)] = check
        return check

    return register


def check_report(facts: Facts, blocks: Sequence[Block]) -> int:
    """Hold every block to its claim; return how many sentences and rows were."""
    held, errors = 0, list[str]()
    try:
        blocks = in_full(facts, blocks)
        for check in DOCUMENT:
            check(facts, blocks)
    except ERRORS as error:
        errors.append(f"the report as a whole\n    {type(error).__name__}: {error}")
    for block in blocks:
        parts = [block] if isinstance(block, Table) else _parts(facts, block)
        for part in parts:
            try:
                held += _hold(facts, part)
            except ERRORS as error:  # all of a report's errors at once
                where = part if isinstance(part, str) else f"table {part.heading}"
                errors.append(f"{where}\n    {type(error).__name__}: {error}")
    assert not errors, f"{len(errors)} untrue or unknown:\n" + "\n".join(errors[:12])
    return held


def _parts(facts: Facts, block: Text) -> list[str]:
    if any(pattern.fullmatch(block.words) for pattern, _ in WHOLE):
        return [block.words]
    for text in facts.raw.others["texts"]:  # what a paper or the plan says, word for word
        if block.words.startswith(text):
            rest = block.words.removeprefix(text).strip()
            return [text, *(sentences(rest) if rest else [])]
    return sentences(block.words)


def _hold(facts: Facts, part: str | Table) -> int:
    if isinstance(part, Table):
        columns = tuple(column.lower() for column in part.columns)
        known = [check for names, check in TABLES.items() if columns[: len(names)] == names]
        assert len(known) == 1, f"no checker of a table with {columns}"
        for row in part.rows:
            texts = [text for entry in row for text in (entry.main, *entry.more)]
            assert not any(
                re.search(r"\bnan\b|\bNone\b|inf\b|\$-|\N{MINUS SIGN}0\.0*$", t) for t in texts
            ), texts
        known[0](facts, part)
        return len(part.rows)
    _is_clean(part)
    found = [(m, check) for pattern, check in [*CLAIMS, *WHOLE] if (m := pattern.fullmatch(part))]
    if part in facts.raw.others["texts"]:
        return 1
    if part in CONSTANT:
        assert not found, f"both a constant and {[check.__name__ for _, check in found]}"
        if (of := CONSTANT[part]) is not None:
            of(facts)
        return 1
    assert found, "no checker knows this sentence"
    assert len(found) == 1, f"{len(found)} checkers: {[check.__name__ for _, check in found]}"
    match, check = found[0]
    check(facts, **match.groupdict())
    return 1


def _is_clean(text: str) -> None:
    """No sentence has a NaN, a negative zero, or a plural of one."""
    wrong = re.search(
        r"\bnan\b|\bNaN%|\binf\b|\$-|[\N{MINUS SIGN}-]0\.0+\b|\bNone\b(?! is (?:printed|missing))",
        text,
    )
    assert not wrong, f"'{wrong and wrong[0]}'"
    one = re.search(
        r"(?<![\d.,])1 (\w+ )?(trials|seeds|purchases|pairs|curves|results|grids)\b", text
    )
    assert not one, f"'{one and one[0]}'"


def plural(n: float, noun: str) -> str:
    """A number with its noun."""
    return f"{int(n):,} {noun}{'' if n == 1 else 's'}"


def same(text: str, expected: str) -> None:
    """Two texts are the same."""
    assert text == expected, f"'{text}', the tables say '{expected}'"


def number(text: str) -> float:
    """A printed number; NaN of a dash."""
    if text == "\N{EN DASH}":
        return math.nan
    return float(text.replace("\N{MINUS SIGN}", "-").replace(",", "").replace("$", "").lstrip("+"))


def near(text: str, value: float, slack: float = 0.0) -> None:
    """A printed number is a value, rounded; a limit may be off by some slack."""
    if text == "\N{EN DASH}" or math.isnan(value):
        assert (text == "\N{EN DASH}") == math.isnan(value), f"'{text}', the tables say {value}"
        return
    digits = len(text.partition(".")[2])
    allowed = 0.5 * 10.0**-digits + 1e-6 + slack
    assert abs(number(text) - value) <= allowed, f"'{text}', the tables say {value}"


def money(text: str, value: float) -> None:
    """Printed dollars are a value: cents below a hundred."""
    if text == "\N{EN DASH}" or math.isnan(value):
        assert (text == "\N{EN DASH}") == math.isnan(value), f"'{text}', the tables say {value}"
        return
    assert re.fullmatch(r"\$[\d,]+(\.\d\d)?", text), f"'{text}' is not an amount"
    assert ("." in text) == (number(text) < 100 or text == "$100.00"), f"'{text}'"
    allowed = 0.5001 if "." not in text else 0.005001
    assert abs(number(text) - value) <= allowed, f"'{text}', the tables say ${value}"


def share(text: str, value: float, slack: float = 0.0) -> None:
    """A printed probability is a value; what only rounds to 0 or 1 says so."""
    if text == "below 0.01":
        assert -slack < value < 0.005 + slack, f"'{text}', the tables say {value}"
    elif text == "above 0.99":
        assert 0.995 - slack <= value < 1 + slack, f"'{text}', the tables say {value}"
    else:
        near(text, value, slack)
        if slack == 0.0 and not math.isnan(value):
            assert number(text) not in (0.0, 1.0) or value in (0.0, 1.0), f"'{text}': {value}"


LIMIT = 6e-4
"""Slack of limits: stored readings are rounded to 32 bits."""


def limits(text: str, of: Limits) -> None:
    """`0.77 to 0.87`, `at least 0.96`, or the seeds and why there is no interval."""
    if of.kind == "two-sided":
        low, _, high = text.partition(" to ")
        near(low, of.low, LIMIT)
        near(high, of.high, LIMIT)
    elif of.kind == "none":
        if not of.seeds:
            same(text, "\N{EN DASH}")
            return
        match = re.fullmatch(r"seeds? ([\d., ]+)(?:: |; no interval: )(.+)", text)
        assert match, f"'{text}', but there is no interval: {of.reason}"
        seeds(match[1], of.seeds)
        reason(match[2], of.reason)
        assert text.startswith("seeds ") == (len(of.seeds) > 1), text
    else:
        assert text.startswith(f"{of.kind} "), f"'{text}', not {of.kind}"
        near(text.removeprefix(f"{of.kind} "), of.low if of.kind == "at least" else of.high, LIMIT)


def spread(text: str, low: float, high: float, slack: float = 1e-6) -> None:
    """`0.77 to 0.87`, or a dash or nothing without an interval."""
    if math.isnan(low):
        assert text in ("\N{EN DASH}", ""), f"'{text}', but there is no interval"
        return
    ends = text.split(" to ")
    assert len(ends) == 2, f"'{text}', the tables say {low} to {high}"
    near(ends[0], low, slack)
    near(ends[1], high, slack)


def seeds(text: str, values: Sequence[float]) -> None:
    """`0.84, 0.00, 0.56` are the values."""
    parts = text.split(", ")
    assert len(parts) == len(values), f"{text}: {values}"
    for part, value in zip(parts, values, strict=True):
        near(part, value)


def reason(text: str, expected: str) -> None:
    """A reason is the expected one, its numbers up to the slack of limits."""
    pattern = r"\d+\.\d+"
    same(re.sub(pattern, "#", text), re.sub(pattern, "#", expected))
    for one, other in zip(re.findall(pattern, text), re.findall(pattern, expected), strict=True):
        near(one, float(other), LIMIT + 0.5 * 10.0 ** -len(other.partition(".")[2]))


def cell_of(facts: Facts, text: str) -> Cell:
    """The purchase that a name in words is of, its missing seeds included."""
    text = text[:1].lower() + text[1:]
    name, comma, _ = text.partition(", without seed")
    assert name in facts.named, f"no purchase is called '{name}'"
    cell = facts.named[name]
    if comma:
        same(text, cell.named)
    return cell


def names(facts: Facts, text: str, expected: Sequence[Cell], most: int = 4) -> list[str]:
    """`a (why); b; 3 more`: some purchases, all or the first of them; return the parts."""
    parts = text.split("; ")
    if len(expected) > most:
        same(parts.pop(), f"{len(expected) - most} more")
    assert len(parts) == min(most, len(expected)), f"{text}: {[c.name for c in expected]}"
    for part, cell in zip(parts, expected, strict=False):
        assert part.startswith(cell.name), f"'{part}', expected '{cell.name}'"
    return parts


def row_cell(facts: Facts, record: dict[str, Entry]) -> Cell:
    """The purchase of a table's row."""
    from sentence_facts import noun

    record = {name.lower(): entry for name, entry in record.items()}
    buy = record.get("buy", record.get("annotation", Entry(""))).main
    images, method = record["images"].main, record["method"].main
    method = method.removesuffix(" (given the groups)").partition(", without seed")[0]
    found = [
        cell
        for cell in facts.cells
        if noun(cell.key[0]) == buy
        and cell.key[2] == method
        and images == (cell.key[1] if cell.key[1] == "all" else f"{int(cell.key[1]):,}")
    ]
    assert len(found) == 1, f"{buy}, {images}, {method}: {len(found)} purchases"
    return found[0]


def figures(facts: Facts, cell: Cell, text: str) -> None:
    """`0.81 over 3 seeds (...), with an overall AUROC of 0.9 (...)`."""
    match = re.fullmatch(
        r"([\d.]+) over (.+?) \((95 % interval |one-sided 95 % bound: |)(.+?)\), with an overall "
        r"AUROC of ([\d.\N{EN DASH}]+)(?: \((.+)\))?",
        text,
    )
    assert match, f"'{text}' is of no known form"
    for text, value in ((match[1], cell.robust.mean), (match[5], cell.overall.mean)):
        assert text not in ("0.00", "1.00") or float(text) == value, f"'{text}': {value}"
    near(match[1], cell.robust.mean)
    done, planned = len(cell.robust.seeds), len(cell.planned)
    if done == planned:
        same(match[2], plural(done, "seed"))
    else:
        tail = cell.named.removeprefix(cell.name)
        same(match[2], f"{done} of {plural(planned, 'planned seed')}{tail}")
    two = {"95 % interval ": "two-sided", "": "none"}.get(match[3], cell.robust.kind)
    same(two, cell.robust.kind)
    limits(match[4], cell.robust)
    near(match[5], cell.overall.mean)
    assert (match[6] is not None) == (cell.overall.kind != "none"), text
    if match[6]:
        limits(match[6], cell.overall)


def record_of(record: dict[str, Entry]) -> dict[str, Any]:
    """A row by lower-case names."""
    return {name.lower(): entry for name, entry in record.items()}
