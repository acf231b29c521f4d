"""Which stored results can be believed: their bytes are what was committed.

A row of `trials` is checked by the hash of its own content and vouches for the SHA-256 of its
attempt's other objects. Rows from before schema version 3 have no hashes: they are checked as far
as they can be read, and count as unverified, not as damaged.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from cluster.errors import Corrupt, NotFound
from sweeps.errors import DamagedResult
from sweeps.results.codec import decode, decode_verified
from sweeps.results.keys import READERS, attempt_key, trial_key
from sweeps.results.packs import Fact
from sweeps.results.reader import ResultReader
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


def check_results(source: Store | ResultReader, ids: Collection[str]) -> CheckedResults:
    """Check which results of some trials are whole, and read what was never checked.

    An object that was checked before counts as long as the store lists it with the same size and
    tag; its SHA-256 of then is compared with its trial's row.

    Args:
        source: Where the results are, or their reader.
        ids: Ids of trials, with or without a result.

    Raises:
        ResultError: a result is of a newer schema than this version knows.
        Denied, Unavailable: the store cannot be read; that says nothing of its results.
    """
    reader = ResultReader.of(source)
    committed = sorted(set(ids) & reader.listing.trials.keys())
    keys = [trial_key(trial_id) for trial_id in committed]
    outcomes = reader.look(keys)
    rows = list(_rows(reader, [key for key in keys if isinstance(outcomes.get(key), Fact)]))
    sisters = _look_at_sisters(reader, rows)
    done = {row.trial_id for row in rows if _is_whole(row, sisters)}
    unverified = {row.trial_id for row in rows if row.trial_id in done and not row.is_hashed}
    left = [trial_id for trial_id in committed if trial_id not in done]
    again = verify_results(reader.store, left) if left else CheckedResults()
    for trial_id in again.done:  # it was replaced since it was listed
        reader.list_again(trial_id)
    return CheckedResults(
        frozenset(done) | again.done, frozenset(unverified) | again.unverified, again.damaged
    )


def result_keys(reader: ResultReader, ids: Collection[str]) -> list[str]:
    """Return the objects of the results of some trials, which were checked and are whole."""
    keys = [trial_key(trial_id) for trial_id in sorted(ids)]
    rows = list(_rows(reader, keys))
    return [*keys, *_look_at_sisters(reader, rows)]


def verify_results(store: Store, ids: Collection[str]) -> CheckedResults:
    """Read every object of the results of some trials and check it against its hash.

    Args:
        store: Where the results are.
        ids: Ids of trials, with or without a result.

    Raises:
        ResultError, Denied, Unavailable: see `check_results`.
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


@dataclass(frozen=True, slots=True)
class _Row:
    """What a row of `trials` says of its attempt's objects: their SHA-256, null for none."""

    trial_id: str
    attempt: str
    is_hashed: bool
    hashes: tuple[str | None, ...]


def _rows(reader: ResultReader, keys: Sequence[str]) -> Iterator[_Row]:
    """Yield what the rows of some trials say; one that cannot be right says nothing."""
    outcomes = reader.look(keys).items()
    hashed = {key: each.is_hashed for key, each in outcomes if isinstance(each, Fact)}
    columns = ["trial_id", "attempt", *(f"{name}_sha256" for name in SISTERS)]
    if not all(hashed.values()):
        columns.append("config")
    for table in reader.tables(keys, columns):
        for values in zip(*(table.column(name).to_pylist() for name in columns), strict=True):
            trial_id, attempt = values[:2]
            is_hashed = hashed[trial_key(trial_id)]
            if isinstance(attempt, str) and (is_hashed or _is_json(values[-1])):
                yield _Row(trial_id, attempt, is_hashed, tuple(values[2 : 2 + len(SISTERS)]))


def _look_at_sisters(reader: ResultReader, rows: Sequence[_Row]) -> dict[str, Fact | DamagedResult]:
    """Return what is known of the other objects of some trials' attempts, by key."""
    outcomes: dict[str, Fact | DamagedResult] = {}
    tables = [
        {
            attempt_key(name, row.trial_id, row.attempt): row.hashes[position]
            for row in rows
            if row.hashes[position] is not None or (not row.is_hashed)
        }
        for position, name in enumerate(SISTERS)
    ]
    reader.listing.prepare(key for hashes in tables for key in hashes)
    for hashes in tables:
        if hashes:
            expected = {key: sha256 for key, sha256 in hashes.items() if sha256 is not None}
            outcomes |= reader.look(list(hashes), expected)
    return outcomes


def _is_whole(row: _Row, sisters: Mapping[str, Fact | DamagedResult]) -> bool:
    """Return whether every object of an attempt is what its row says, or without hashes can be."""
    for name, sha256 in zip(SISTERS, row.hashes, strict=True):
        outcome = sisters.get(attempt_key(name, row.trial_id, row.attempt))
        if row.is_hashed and sha256 is None:
            if name not in OPTIONAL:
                return False
        elif outcome is None:
            if row.is_hashed or name in _REQUIRED_BEFORE:
                return False
        elif isinstance(outcome, DamagedResult) or (row.is_hashed and outcome.sha256 != sha256):
            return False
    return True


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
    if not is_hashed and not _is_json(row["config"]):
        raise DamagedResult(f"{key} is damaged: its config is not JSON")
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


def _is_json(text: Any) -> bool:
    """Return whether the configuration of a row without hashes can be read."""
    try:
        json.loads(text)
    except (ValueError, TypeError):
        return False
    return True


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
