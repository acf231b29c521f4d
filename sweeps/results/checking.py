"""Which stored results can be believed: their bytes are what was committed.

A row of `trials` is checked by the hash of its own content and vouches for the SHA-256 of its
attempt's other objects. Rows from before schema version 3 have no hashes: they are checked as far
as they can be read, and count as unverified, not as damaged.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from cluster.errors import Corrupt, NotFound
from sweeps.errors import DamagedResult
from sweeps.results.codec import decode, decode_verified
from sweeps.results.keys import READERS, attempt_key, trial_key
from sweeps.results.schemas import OPTIONAL, SISTERS

if TYPE_CHECKING:
    from cluster.stores.base import Store

_REQUIRED_BEFORE: Final = ("epochs",)
"""What a result without hashes needs: a report says so of absent predictions, and goes on."""


@dataclass(frozen=True)
class CheckedResults:
    """What checking the results of some trials found; those without a result are in no part.

    Attributes:
        done: Ids of trials whose result is whole.
        unverified: Those of them that are from before results had hashes.
        damaged: Why the result of other trials cannot be believed, by trial id.
    """

    done: frozenset[str] = frozenset()
    unverified: frozenset[str] = frozenset()
    damaged: Mapping[str, str] = field(default_factory=dict)


def check_results(store: Store, ids: Collection[str]) -> CheckedResults:
    """Read every object of the results of some trials and check it against its hash.

    Args:
        store: Where the results are.
        ids: Ids of trials, with or without a result.

    Raises:
        ResultError: a result is of a newer schema than this version knows.
        Denied, Unavailable: the store cannot be read; that says nothing of its results.
    """
    done, unverified, damaged = set(), set(), {}

    def check(trial_id: str) -> bool | DamagedResult | None:
        try:
            return check_result(store, trial_id)
        except DamagedResult as error:
            return error

    ordered = sorted(set(ids))
    with ThreadPoolExecutor(READERS) as pool:
        for trial_id, outcome in zip(ordered, pool.map(check, ordered), strict=True):
            if isinstance(outcome, DamagedResult):
                damaged[trial_id] = str(outcome)
            elif outcome is not None:
                done.add(trial_id)
                if not outcome:
                    unverified.add(trial_id)
    return CheckedResults(frozenset(done), frozenset(unverified), damaged)


def check_result(store: Store, trial_id: str) -> bool | None:
    """Check all objects of one trial's result.

    Returns:
        True where hashes vouch for it, False where it is from before there were any, None where
        the trial has no result.

    Raises:
        DamagedResult: an object is missing or damaged; names it.
        ResultError, Denied, Unavailable: see `check_results`.
    """
    key = trial_key(trial_id)
    try:
        data = _get(store, key)
    except NotFound:
        return None
    table, is_hashed = decode_verified(data, key)
    row = _single_row(table, trial_id, key)
    if not is_hashed:
        _check_config(row, key)
    for name in SISTERS:
        _check_sister(store, row, name, is_hashed=is_hashed)
    return is_hashed


def _single_row(table: Any, trial_id: str, key: str) -> Mapping[str, Any]:
    """Return the row of `trials`, which must be the one of its key."""
    rows: list[dict[str, Any]] = table.to_pylist()
    ids = [row["trial_id"] for row in rows]
    if ids != [trial_id] or not isinstance(rows[0]["attempt"], str):
        raise DamagedResult(f"{key} is damaged: it holds rows of {ids or 'nothing'}")
    return rows[0]


def _check_config(row: Mapping[str, Any], key: str) -> None:
    """Raise DamagedResult where a row without hashes has a configuration that cannot be read."""
    try:
        json.loads(row["config"])
    except (ValueError, TypeError):
        raise DamagedResult(f"{key} is damaged: its config is not JSON") from None


def _check_sister(store: Store, row: Mapping[str, Any], name: str, *, is_hashed: bool) -> None:
    """Check an attempt's object: by SHA-256, or without one whether it can be read."""
    expected = row[f"{name}_sha256"]
    if is_hashed and expected is None and name in OPTIONAL:
        return
    key = attempt_key(name, row["trial_id"], row["attempt"])
    try:
        data = _get(store, key)
    except NotFound:
        if name not in _REQUIRED_BEFORE and not is_hashed:
            return
        raise DamagedResult(f"{key} is missing from {store.url}") from None
    if is_hashed:
        sha256 = hashlib.sha256(data).hexdigest()
        if sha256 != expected:
            raise DamagedResult(
                f"{key} is damaged: it has SHA-256 {sha256}; its trial's row says {expected}"
            )
        return
    owners = set(decode(data, key).column("trial_id").to_pylist())
    if not owners <= {row["trial_id"]}:
        raise DamagedResult(f"{key} is damaged: it holds rows of {sorted(map(str, owners))}")


def _get(store: Store, key: str) -> bytes:
    """Return an object; raises DamagedResult where the store itself finds it damaged."""
    try:
        return store.get(key)
    except Corrupt as error:
        raise DamagedResult(f"{key} is damaged: {error}") from error
