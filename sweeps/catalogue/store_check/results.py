"""Results: rows of trials with their attempts' tables, and records of failures."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from cluster.errors import Corrupt, NotFound
from cluster.stores.base import Store
from sweeps.catalogue.store_check.findings import Finding, Progress, Section
from sweeps.errors import ResultError
from sweeps.results.checking import verify_results
from sweeps.results.schemas import SISTERS
from sweeps.results.tables import committed_ids, decode, trial_key

_STEP = 64
_FAILURES = "results/failures/"
_DAMAGE = (ResultError, Corrupt, ValueError, LookupError, NotImplementedError, OverflowError)
"""What reading a damaged table may raise."""


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
        checked = verify_results(store, ids[start : start + _STEP])
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
    for table in SISTERS:
        for key in store.list(f"results/{table}/"):
            keys[key.split("/")[2]].append(key)
    return keys
