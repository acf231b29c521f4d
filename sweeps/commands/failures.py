"""`sweeps failures`: what failed in a sweep, by class, and the command that reproduces one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from cluster.common.wording import count_of, has_or_have
from sweeps.commands.context import (
    SpecSource,
    choose_store_url_of,
    format_command,
    open_results,
    read_spec_and_plan,
    store_session,
)
from sweeps.commands.output import print_json
from sweeps.results import tables as results
from sweeps.trial.failures import POLICIES, Policy

_OLDER = Policy(0, "none", "a class of an earlier version")
_NODES = 3
"""Nodes that a line names."""


def failures(source: SpecSource, store_url: str | None, *, as_json: bool) -> int:
    """Print a sweep's failed attempts by class, the most frequent first."""
    with store_session(choose_store_url_of(source, store_url)) as store:
        reader = open_results(store)
        _, plan = read_spec_and_plan(source, reader, verify=False)
        trials = plan.with_tried
        rows = results.read_failures(reader, [trial.id for trial in trials]).to_pylist()
        done = plan.done | {trial.id for trial in trials if trial.id in reader.listing.trials}
        url = store.url
    summary = summarize({trial.id: trial.label for trial in trials}, done, rows)
    for kind in summary["classes"]:
        label = kind.pop("to_debug")
        kind["command"] = label and format_command(
            "run", source, store_url, "--debug", label, name=plan.name
        )
    if as_json:
        print_json({"sweep": plan.name, "store": url, **summary})
    else:
        print(format_failures(plan.name, summary))
    return 0


def summarize(
    labels: Mapping[str, str], done: Collection[str], rows: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Summarize rows of the failures table by class; counts are of attempts and of trials.

    Args:
        labels: Id of each trial to its label.
        done: Ids of those with a result.
        rows: Of the failures table.
    """
    tried = {row["trial_id"] for row in rows}
    counts = Counter(row["failure_class"] for row in rows)
    return {
        "attempts": len(rows),
        "trials": len(tried),
        "without_result": len(tried.difference(done)),
        "classes": [
            _summarize_class(
                labels, done, name, [row for row in rows if row["failure_class"] == name]
            )
            for name, _ in counts.most_common()
        ],
    }


def _summarize_class(
    labels: Mapping[str, str], done: Collection[str], name: str, rows: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    newest_first = sorted(rows, key=lambda row: row["failed_at"], reverse=True)
    last = newest_first[0]
    open_ids = [row["trial_id"] for row in newest_first if row["trial_id"] not in done]
    policy = POLICIES.get(name, _OLDER)
    return {
        "class": name,
        "meaning": policy.meaning,
        "policy": describe_policy(policy),
        "attempts": len(rows),
        "trials": len({row["trial_id"] for row in rows}),
        "without_result": len(set(open_ids)),
        "nodes": dict(Counter(row["node"] or "unknown" for row in rows).most_common()),
        "last": {
            "trial": last["trial_id"],
            "label": labels[last["trial_id"]],
            "at": last["failed_at"].isoformat(timespec="seconds"),
            "node": last["node"] or "unknown",
            "line": last["message"].strip().rpartition("\n")[2],
        },
        "to_debug": labels[open_ids[0]] if open_ids else None,
    }


def describe_policy(policy: Policy) -> str:
    """Describe what follows a failure."""
    if policy.retries == 0:
        return "not run again" if policy.is_final else "not tried again by the same run"
    times = "as often as it happens" if policy.retries is None else f"{policy.retries} times"
    where = {"elsewhere": ", on another node if there is one", "larger": ", with a larger share"}
    return f"tried again {times}{where.get(policy.remedy, '')}"


def format_failures(name: str, summary: Mapping[str, Any]) -> str:
    """Format the summary for people."""
    if not summary["attempts"]:
        return f"sweep {name}: no attempt failed"
    lines = [
        f"sweep {name}: {count_of(summary['attempts'], 'failed attempt')} of "
        f"{count_of(summary['trials'], 'trial')}, {summary['without_result']} of which "
        f"{has_or_have(summary['without_result'])} no result"
    ]
    for kind in summary["classes"]:
        nodes = [f"{node} ({number})" for node, number in kind["nodes"].items()]
        more = [f"{len(nodes) - _NODES} more"] if len(nodes) > _NODES else []
        last = kind["last"]
        lines += [
            "",
            f"{kind['class']}: {count_of(kind['attempts'], 'attempt')} of "
            f"{count_of(kind['trials'], 'trial')}, {kind['without_result']} without a result",
            f"  {kind['meaning']}; {kind['policy']}",
            f"  nodes: {', '.join([*nodes[:_NODES], *more])}",
            f"  last: {last['label']} {last['trial']} at {last['at']}: {last['line']}",
            f"  to see one: {kind['command'] or 'all of these trials have a result by now'}",
        ]
    return "\n".join(lines)
