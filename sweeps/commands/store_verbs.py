"""The verbs below `store`: their rows of the table of verbs, and their arguments."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence

from sweeps.commands.arguments import add_store
from sweeps.commands.verb import Verb

_STORE = {"store": "URL of the store"}

STORE_VERBS: Sequence[Verb] = (
    Verb(
        "store check",
        "store",
        "verify every object of a store, and what its server can",
        "sweeps store check --store quickstart-store",
        "Reads all datasets, results, compacted results, weights, kept and shared models and "
        "checkpoints, compares them with their hashes, and lists what is damaged with what it "
        "costs. With --repair it removes what must be staged or run again, and says so before. "
        "Exit status 1 says that damage was found, or that the server lacks what a run needs. "
        "What interrupted uploads left is listed, too, with its size and age; `store prune` "
        "removes it.",
        {
            **_STORE,
            "abilities": "list of what the server can and lacks: name, works, needed, detail",
            "checked": "by kind: objects or trials that were checked",
            "unverified": "results from before they had hashes, which could only be read",
            "damage": "list of kind, name, problem, cost, keys that --repair removes, removed",
            "unfinished": "list of what interrupted writers left: key, size_bytes (null where "
            "unknown), age_s; null where the server does not list it",
        },
    ),
    Verb(
        "store du",
        "store",
        "show what takes how much of a store",
        "sweeps store du --store quickstart-store",
        "Lists the store once and sums objects by sweep and dataset. What sweeps share counts for "
        "each of them.",
        {
            **_STORE,
            "sweeps": "list of name, trials with objects, and bytes: results, shared (of results, "
            "what other sweeps have, too), checkpoints, models, files (YAML, plan and report)",
            "datasets": "bytes by name of the dataset",
            "rest": "bytes by kind of what is in no sweep and dataset",
            "objects": "objects of the store",
            "total": "bytes of the store",
        },
    ),
    Verb(
        "store compact",
        "store",
        "copy rows of many small result objects into a few large ones",
        "sweeps store compact --store quickstart-store",
        "Commands then read results of thousands of trials in seconds. The small objects stay, and "
        "decide what is committed. A run does this for its trials while it goes on and when it "
        "ends; this verb does it for all results of a store, and writes damaged packs again.",
        {
            **_STORE,
            "objects": "small objects that the new packs hold",
            "packs": "packs written",
            "size_bytes": "of these packs and their index",
            "damaged": "trials left out, whose result is damaged",
        },
    ),
    Verb(
        "store copy",
        "store",
        "copy a sweep with its dataset, weights and models to another store",
        "sweeps store copy quickstart quickstart-for-review --store quickstart-store",
        "For a reviewer: `report` and `pull` give the same there, and `run` continues it. Each "
        "object is compared with its hash and read back. A copy that was stopped goes on with the "
        "same command.",
        {
            "sweep": "name of the sweep",
            **_STORE,
            "target": "URL of the store with the copy",
            "objects": "objects written",
            "size_bytes": "of these objects",
            "results": "results that the other store has now",
        },
    ),
    Verb(
        "store prune",
        "store",
        "delete what nothing refers to",
        "sweeps store prune --store quickstart-store",
        "Lists tables and models of attempts that were not committed, checkpoints of finished "
        "trials, shared models once all sweeps are done, packs that newer ones make up for, shards "
        "of datasets that no manifest names, and what interrupted uploads left; with --yes it "
        "deletes them. Only what is older than a week (--days) counts, so that nothing is deleted "
        "that is just being written. Results of named sweeps and their models always stay; "
        "--results takes those of no named sweep, too.",
        {
            **_STORE,
            "prunable": "list of kind, reason, objects, size_bytes",
            "removed": "objects deleted: 0 without --yes",
        },
    ),
)


def _add_check(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--repair", action="store_true", help="remove what must be staged or run again"
    )
    _add_store(parser)


def _add_copy(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("sweep", help="the sweep's name")
    parser.add_argument("target", help="the other store: a folder or s3://BUCKET/PREFIX")
    _add_store(parser)


def _add_prune(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--yes", action="store_true", help="delete; without it they are listed")
    parser.add_argument(
        "--days", type=float, default=7.0, help="age from which on objects count; at least 1"
    )
    parser.add_argument(
        "--results", action="store_true", help="also results of trials of no named sweep"
    )
    _add_store(parser)


def _add_store(parser: argparse.ArgumentParser) -> None:
    add_store(parser, "SWEEPS_STORE, else the embedded server")


STORE_ARGUMENTS: Mapping[str, Callable[[argparse.ArgumentParser], None]] = {
    "store check": _add_check,
    "store du": _add_store,
    "store compact": _add_store,
    "store copy": _add_copy,
    "store prune": _add_prune,
}
"""What each of them takes."""
