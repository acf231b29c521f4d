"""What failed, was skipped, stopped or never converged, in one section, with counts.

Trials are counted as `sweeps status` does, failed attempts as `sweeps failures` (but for those of
a search's trials, which it counts, too), and finished trials whose numbers say little as `sweeps
status --check`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from cluster.common.wording import count_of, has_or_have
from sweeps.report.soundness import MEANINGS
from sweeps.report.tables import ReportInput
from sweeps.report.wording import describe_cell, sentence

MOST_ROWS = 50
"""Trials of a table; of more, the page says how many and what lists them."""
_NAMED = 4
_OLDER = "a class of an earlier version"


def unfinished_context(
    source: ReportInput,
    cells: pd.DataFrame,
    priced: pd.DataFrame,
    unfinished: pd.DataFrame,
    events: pd.DataFrame,
) -> dict[str, Any]:
    """Return the section.

    Args:
        source: The report's input.
        cells: The result of `cells`.
        priced: The result of `price_trials`.
        unfinished: The result of `find_unfinished`.
        events: The result of `sweeps.report.soundness.find_events`.
    """
    failed, missing = _failed_rows(unfinished), _missing_rows(unfinished)
    undefined = _undefined_rows(priced)
    name = source.provenance.sweep
    return {
        "summary": _summarize(source, priced, unfinished),
        "counts": [
            {"what": what, "number": f"{number:,}", "which": which}
            for what, number, which in _counts(source, cells, priced, events)
            if number
        ],
        "classes": _classes(source, priced),
        "classes_note": f"Of trials of the purchases; `sweeps failures {name}` counts those of the "
        "search, too."
        if source.searches
        else "",
        "failed": failed[:MOST_ROWS],
        "failed_left": _left(len(failed), f"`sweeps failures {name} --json` counts all"),
        "missing": missing[:MOST_ROWS],
        "missing_left": _left(len(missing), f"`sweeps status {name}` lists all", "purchase"),
        "undefined": undefined[:MOST_ROWS],
        "undefined_left": _left(len(undefined), "chosen_epochs.parquet has all"),
    }


def _summarize(source: ReportInput, priced: pd.DataFrame, unfinished: pd.DataFrame) -> str:
    """Return what became of the plan's trials, and of searches that have chosen nothing yet."""
    planned, done = len(source.planned), len(priced)
    if done == planned:
        text = "None is missing: every planned trial has a result."
    else:
        failed = int(unfinished["failure_class"].notna().sum())
        text = (
            f"Of {count_of(planned, 'planned trial')} {done:,} {has_or_have(done)} a result, "
            f"{failed:,} failed, and {planned - done - failed:,} "
            f"{has_or_have(planned - done - failed)} neither a whole result nor a failure."
        )
    waiting = sum(not search.is_over for search in source.searches)
    if waiting:
        text += (
            f" {sentence(count_of(waiting, 'purchase'))} {has_or_have(waiting)} no trial yet, "
            "since the search is not over; `sweeps status` counts their seeds as missing."
        )
    return text


def _counts(
    source: ReportInput, cells: pd.DataFrame, priced: pd.DataFrame, events: pd.DataFrame
) -> Iterable[tuple[str, int, str]]:
    """Yield what happened, how often, and to which purchases or trials."""
    rows = cells.to_dict("records")
    empty = [describe_cell(row["cell"]) for row in rows if not row["seeds_done"]]
    yield "Purchases without a result", len(empty), _named(empty)
    yield "Purchases of the axes that cannot run, skipped", len(source.skipped), _skipped(source)
    stopped = [each for s in source.searches for each in s.tried if each.state == "stopped"]
    trials = count_of(sum(len(each.trials) for each in stopped), "trial")
    yield "Configurations that a search stopped early", len(stopped), f"{trials} of searches"
    lost = [each for s in source.searches for each in s.tried if each.state == "failed"]
    yield "Configurations of a search without a value", len(lost), "see what was searched"
    damaged = [f"{label} ({reason})" for label, reason in source.damaged.items()]
    yield "Damaged results, left out", len(damaged), _named(damaged)
    cell_of = dict(zip(priced["trial_id"], priced["cell"], strict=True))
    for kind, meaning in MEANINGS.items():
        ids = list(dict.fromkeys(events.loc[events["metric"] == kind, "trial_id"]))
        of = list(dict.fromkeys(describe_cell(cell_of[trial_id]) for trial_id in ids))
        what = meaning.partition(";")[0].partition(":")[0]
        yield f"Finished trials: {what}", len(ids), _named(of)
    undefined = priced.loc[priced["undefined"].notna(), "cell"]
    of = list(dict.fromkeys(map(describe_cell, undefined)))
    yield "Finished trials without a robust AUROC", len(undefined), _named(of)
    reasons = [why for row in rows if row["seeds_done"] and (why := _not_ranked(row))]
    distinct = list(dict.fromkeys(reasons))
    yield "Purchases with results that are not ranked", len(reasons), _named(distinct)


def _not_ranked(cell: Mapping[Any, Any]) -> str:
    """Return why a purchase is not ranked; empty where it is."""
    if not pd.isna(cell["unlearned"]):
        return str(cell["unlearned"])
    return "no defined robust AUROC" if pd.isna(cell["robust_auroc_mean"]) else ""


def _skipped(source: ReportInput) -> str:
    reasons: dict[str, int] = {}
    for _, reason in source.skipped:
        reasons[reason] = reasons.get(reason, 0) + 1
    return _named([f"{reason} ({number:,})" for reason, number in reasons.items()])


def _named(names: Sequence[str]) -> str:
    more = [f"{len(names) - _NAMED:,} more"] if len(names) > _NAMED else []
    return "; ".join([*names[:_NAMED], *more])


def _classes(source: ReportInput, priced: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a row per class of failure, the most frequent first, of attempts and of trials."""
    done, failures = set(priced["trial_id"]), source.failures
    rows = []
    counts = sorted(Counter(failures["failure_class"]).items(), key=lambda of: (-of[1], of[0]))
    for name, number in counts:
        ids = set(failures.loc[failures["failure_class"] == name, "trial_id"])
        rows.append(
            {
                "name": name,
                "meaning": source.failure_meanings.get(name, _OLDER),
                "attempts": f"{number:,}",
                "trials": f"{len(ids):,}",
                "open": f"{len(ids - done):,}",
            }
        )
    return rows


def _failed_rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return trials without a result and with a failed attempt, one row each."""
    failed = table[table["failure_class"].notna()]
    return [{"purchase": describe_cell(row["cell"]), **row} for row in _records(failed)]


def _missing_rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return trials of which nothing is known, one row per purchase with its seeds."""
    seeds: dict[str, list[str]] = {}
    for row in _records(table[table["failure_class"].isna()]):
        seeds.setdefault(describe_cell(row["cell"]), []).append(str(row["seed"]))
    return [{"purchase": name, "seeds": ", ".join(numbers)} for name, numbers in seeds.items()]


def _undefined_rows(priced: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {"purchase": describe_cell(row["cell"]), "seed": row["seed"], "reason": row["undefined"]}
        for row in _records(priced[priced["undefined"].notna()])
    ]


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


def _left(number: int, where: str, noun: str = "trial") -> str:
    """Return what a long table leaves out; empty where it is whole."""
    if number <= MOST_ROWS:
        return ""
    return f"The first {MOST_ROWS} of {count_of(number, noun)}; {where}."
