"""Results: rows of trials with their attempts' tables, and records of failures."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from cluster.errors import Corrupt, NotFound
from cluster.stores.base import Store
from sweeps.errors import ResultError
from sweeps.results.tables import attempt_key, committed_ids, decode, trial_key
from sweeps.store_check.findings import Finding, Progress, Section

_READERS = 16
"""Objects read at once: they are small, so latency decides."""
_STEP = 64
_TABLES = ("epochs", "predictions", "embeddings")
_FAILURES = "results/failures/"
_DAMAGE = (ResultError, Corrupt, ValueError, LookupError, NotImplementedError, OverflowError)
"""What reading a damaged table may raise."""


@dataclass(frozen=True)
class CheckedResults:
    """Results that are whole, those of them without hashes, and why others are damaged, by id."""

    done: frozenset[str] = frozenset()
    unverified: frozenset[str] = frozenset()
    damaged: Mapping[str, str] = field(default_factory=dict)


def check_results(store: Store, progress: Progress) -> Section:
    """Check the result of every trial; one damaged object of it is enough to run it again.

    Raises:
        Denied, Unavailable: from the store.
    """
    ids = sorted(committed_ids(store))
    damaged: dict[str, str] = {}
    unverified = 0
    for start in range(0, len(ids), _STEP):
        progress("results", start, len(ids))
        checked = _check_trials(store, ids[start : start + _STEP])
        damaged.update(checked.damaged)
        unverified += len(checked.unverified)
    progress("results", len(ids), len(ids))
    tables = _tables_by_trial(store) if damaged else {}
    findings = [
        Finding(
            "result",
            trial_id,
            problem,
            "one trial to run again: `sweeps run` of its sweep does",
            (trial_key(trial_id), *tables.get(trial_id, ())),
        )
        for trial_id, problem in damaged.items()
    ]
    return Section("results", len(ids), findings, unverified)


def check_failures(store: Store, progress: Progress) -> Section:
    """Read every record of a failed attempt."""
    keys = list(store.list(_FAILURES))
    findings = []
    for done, key in enumerate(keys, 1):
        try:
            decode(store.get(key), key)
        except NotFound:
            continue
        except _DAMAGE as error:
            name = key.removeprefix(_FAILURES)
            lost = "what is known of one failed attempt; no number"
            findings.append(Finding("failure", name, str(error), lost, (key,)))
        progress("records of failures", done, len(keys))
    return Section("records of failures", len(keys), findings)


def _tables_by_trial(store: Store) -> Mapping[str, list[str]]:
    keys: defaultdict[str, list[str]] = defaultdict(list)
    for table in _TABLES:
        for key in store.list(f"results/{table}/"):
            keys[key.split("/")[2]].append(key)
    return keys


def _check_trials(store: Store, ids: Collection[str]) -> CheckedResults:
    """Check all objects of some trials' results: whether each can be read, and is its trial's."""
    damaged = {}
    with ThreadPoolExecutor(_READERS) as pool:
        for trial_id, problem in zip(ids, pool.map(lambda i: _problem(store, i), ids), strict=True):
            if problem is not None:
                damaged[trial_id] = problem
    whole = frozenset(ids) - damaged.keys()
    return CheckedResults(whole, whole, damaged)


def _problem(store: Store, trial_id: str) -> str | None:
    key = trial_key(trial_id)
    try:
        rows = decode(store.get(key), key).to_pylist()
        if [row["trial_id"] for row in rows] != [trial_id]:
            return f"{key} holds the rows of {[row['trial_id'] for row in rows]}"
        for key in _sister_keys(rows[0]):
            owners = set(decode(store.get(key), key).column("trial_id").to_pylist())
            if not owners <= {trial_id}:
                return f"{key} holds rows of {sorted(owners)}"
    except (NotFound, *_DAMAGE) as error:
        return f"{key}: {error}"
    return None


def _sister_keys(row: Mapping[str, str]) -> Iterator[str]:
    for table in ("epochs", "predictions"):
        yield attempt_key(table, row["trial_id"], row["attempt"])
