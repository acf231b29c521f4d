"""What was searched inside cells, what was chosen, and whether every method had as many tries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from cluster.common.wording import count_of
from sweeps.plan.searched import CellSearch, chosen_cell, tried_row
from sweeps.report.tables import REPORT_SCHEMA_VERSION
from sweeps.report.wording import NONE, annotation, describe_cell, dollars, images, number, sentence
from sweeps.spec.search import describe_values

_NAMED = 4


def search_context(text: str, searches: Sequence[CellSearch]) -> dict[str, Any] | None:
    """Return the section on searches; None where there was none.

    Args:
        text: What was searched, in a sentence.
        searches: The search of each cell.
    """
    if not searches:
        return None
    return {
        "text": f"Each purchase: {text}. Trials of a search are compared on validation alone and "
        "are not among the purchases; those of the chosen configuration are, on every seed.",
        "fair": _describe_tries(searches),
        "rows": [_row(search) for search in searches],
    }


def search_notes(searches: Sequence[CellSearch]) -> list[str]:
    """Return what limits the answer: unequal tries, and searches that are not over."""
    notes = []
    if len(set(_tries(searches).values())) > 1:
        notes.append(_describe_tries(searches))
    open_ones = [describe_cell(search.cell) for search in searches if not search.is_over]
    if open_ones:
        more = [f"{len(open_ones) - _NAMED} more"] if len(open_ones) > _NAMED else []
        notes.append(
            f"{sentence(count_of(len(open_ones), 'purchase'))} without a number, since the search "
            f"is not over: {'; '.join(open_ones[:_NAMED] + more)}. The same `sweeps run` continues."
        )
    lost = [describe_cell(s.cell) for s in searches if s.is_over and s.tried and s.chosen is None]
    if lost:
        notes.append(f"Every configuration that was searched failed: {'; '.join(lost)}.")
    return notes


def name_as_in_axes(frame: pd.DataFrame, searches: Sequence[CellSearch]) -> pd.DataFrame:
    """Return a table of trials or cells whose methods have no chosen options in their names."""
    names = {chosen_cell(search).key: search.cell.key[2] for search in searches}
    if not names:
        return frame
    columns = [frame[name] for name in ("specificity", "budget", "method")]
    keys = zip(*columns, strict=True)
    return frame.assign(method=[names.get(key, key[2]) for key in keys])


def search_frame(searches: Sequence[CellSearch]) -> pd.DataFrame:
    """Return a row per configuration, columns of `REPORT_SEARCH`."""
    rows = [
        {"schema_version": REPORT_SCHEMA_VERSION, **tried_row(search, tried)}
        for search in searches
        for tried in search.tried
    ]
    columns = ("value", "dollars", "stopped_at")
    frame = pd.DataFrame(rows, columns=None if rows else list(_EMPTY))
    return frame.astype(dict(zip(columns, ("float64", "float64", "Int64"), strict=True)))


_EMPTY = (
    *("schema_version", "specificity", "budget", "method", "number", "options", "trial_ids"),
    *("state", "value", "dollars", "stopped_at", "best", "chosen"),
)


def _row(search: CellSearch) -> dict[str, Any]:
    states = search.count()
    chosen = None if search.chosen is None else search.tried[search.chosen]
    return {
        "annotation": annotation(search.cell.specificity),
        "images": images(search.cell.budget),
        "method": search.cell.key[2],
        "chosen": _describe_choice(search),
        "value": NONE if chosen is None or chosen.value is None else number(chosen.value),
        "tried": len(search.tried),
        **{state: states[state] for state in ("finished", "stopped", "failed")},
        "best": _describe_front(search),
    }


def _describe_choice(search: CellSearch) -> str:
    if not search.dimensions:
        return "as in the axes: nothing of the space is its own"
    if search.chosen is not None:
        return describe_values(search.values)
    return "nothing: all failed" if search.is_over else "not over"


def _describe_front(search: CellSearch) -> str:
    """Return the Pareto set of metric and dollars; empty where one metric is searched for."""
    of = [search.tried[number] for number in search.best]
    return "; ".join(
        f"{describe_values(each.values)}: {number(each.value)} for {dollars(each.dollars)}"
        for each in of
        if each.dollars is not None and each.value is not None
    )


def _tries(searches: Sequence[CellSearch]) -> Mapping[str, int]:
    """Return the most configurations that a cell of each method tried."""
    tries: dict[str, int] = {}
    for search in searches:
        method = search.cell.key[2]
        tries[method] = max(tries.get(method, 0), len(search.tried))
    return tries


def _describe_tries(searches: Sequence[CellSearch]) -> str:
    tries = _tries(searches)
    if len(set(tries.values())) == 1:
        [number_of_tries] = set(tries.values())
        return f"Every method had the same budget of {count_of(number_of_tries, 'configuration')}."
    each = ", ".join(f"{method} {n}" for method, n in tries.items())
    return f"Methods were not searched with the same number of configurations: {each}."
