"""Which results are believed: whole ones, and those from before there were hashes."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from committed_results import TRIAL, commit, epochs, row

from cluster.errors import Corrupt, Denied, Unavailable
from cluster.stores.folder import FolderStore
from sweeps.errors import ResultError
from sweeps.results import tables as results
from sweeps.results.checking import CheckedResults, check_result, check_results
from sweeps.results.schemas import SCHEMA_VERSION, SISTERS

ROW = results.trial_key(TRIAL)
KEYS = [
    ROW,
    *(results.attempt_key(table, TRIAL, "a") for table in SISTERS),
]
BEFORE = Path(__file__).parents[1] / "store_before" / "store"
OLD = "0127aa2d3744d422"
FLIPS = {True: 100, False: 15}
"""Flips of the row, whose Parquet is read, and of objects that are compared as bytes."""


@pytest.fixture
def committed(folder_store: FolderStore) -> FolderStore:
    """A store with one result."""
    assert commit(folder_store, "a")
    return folder_store


@pytest.fixture
def old_store(tmp_path: Path) -> FolderStore:
    """A store that the version before wrote."""
    shutil.copytree(BEFORE / "results", tmp_path / "old" / "results")
    return FolderStore(tmp_path / "old")


def damage_of(store: FolderStore, trial_id: str = TRIAL) -> str:
    """Why a trial's result is damaged; nothing is done or unverified."""
    checked = check_results(store, [trial_id])
    assert (checked.done, checked.unverified) == (frozenset(), frozenset())
    return checked.damaged[trial_id]


def test_a_whole_result_is_done(committed: FolderStore) -> None:
    """A trial without a result is in no part."""
    assert check_results(committed, [TRIAL, "other"]) == CheckedResults(done=frozenset({TRIAL}))
    assert (check_result(committed, TRIAL), check_result(committed, "other")) == (True, None)


@pytest.mark.parametrize("key", KEYS)
def test_no_flipped_bit_changes_a_value_in_silence(committed: FolderStore, key: str) -> None:
    """Wherever it strikes the result is damaged, or says what it said before."""
    data = committed.get(key)
    expected = results.decode(data, key)
    draw, flips = np.random.default_rng(0), FLIPS[key == ROW]
    refused = 0
    for bit in draw.choice(len(data) * 8, flips, replace=False).tolist():
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        committed.put(key, bytes(flipped))
        if reason := check_results(committed, [TRIAL]).damaged.get(TRIAL):
            assert key in reason
            refused += 1
            continue
        assert key == ROW  # the others are held to their SHA-256
        assert results.decode(committed.get(key), key).equals(expected)  # without NaN
    assert refused == flips if key != ROW else refused > flips // 10


@pytest.mark.parametrize("key", KEYS[1:])
def test_a_missing_object_is_named(committed: FolderStore, key: str) -> None:
    """The row says which objects there are."""
    committed.delete(key)
    assert damage_of(committed) == f"{key} is missing from {committed.url}"


def test_objects_of_others_are_not_believed(committed: FolderStore) -> None:
    """Another trial's row, an empty one, two, and whole tables of another attempt."""
    good = committed.get(ROW)
    for rows in ([row("a", trial_id="other")], [], [row("a"), row("b")]):
        committed.put(ROW, results.encode("trials", rows))
        assert damage_of(committed).startswith(f"{ROW} is damaged: it holds rows of")
    committed.put(ROW, good)
    committed.put(KEYS[1], results.encode("epochs", epochs("b")))
    assert damage_of(committed).startswith(f"{KEYS[1]} is damaged: it has SHA-256")


def test_a_table_that_lost_its_hash_is_damaged(committed: FolderStore) -> None:
    """Every table of this version has one; only those of earlier ones are read without."""
    sink = pa.BufferOutputStream()
    pa.parquet.write_table(results.decode(committed.get(ROW), ROW), sink)
    committed.put(ROW, sink.getvalue().to_pybytes())
    assert damage_of(committed) == (
        f"{ROW} is damaged: it has schema version [{SCHEMA_VERSION}] and lacks a hash of its "
        "content"
    )


def test_results_without_hashes_are_unverified_and_not_damaged(old_store: FolderStore) -> None:
    """All of an earlier version's results are done."""
    ids = results.committed_ids(old_store)
    assert check_results(old_store, ids) == CheckedResults(frozenset(ids), frozenset(ids))


@pytest.mark.parametrize("table", ["trials", "epochs", "predictions"])
@pytest.mark.parametrize("damage", ["cut", "empty", "zeros", "foreign", "missing"])
def test_results_without_hashes_that_cannot_be_read_are_damaged(
    old_store: FolderStore, table: str, damage: str
) -> None:
    """Of one trial alone: the others stay done. Absent predictions are the report's to say."""
    [key] = old_store.list(f"results/{table}/{OLD}")
    other = next(key for key in old_store.list(f"results/{table}/") if OLD not in key)
    data = old_store.get(key)
    damaged = {"cut": data[:-9], "empty": b"", "zeros": bytes(len(data))}
    if damage == "missing" and table != "epochs":
        old_store.delete(key)
        assert check_result(old_store, OLD) is (None if table == "trials" else False)
        return
    if damage == "missing":
        old_store.delete(key)
    else:
        old_store.put(key, damaged.get(damage) or old_store.get(other) * (damage != "empty"))
    ids = results.committed_ids(old_store)
    checked = check_results(old_store, ids)
    assert list(checked.damaged) == [OLD]
    assert key in checked.damaged[OLD]
    assert checked.unverified == checked.done == ids - {OLD}


def test_a_damaged_result_is_replaced_and_a_whole_one_is_not(
    committed: FolderStore, caplog: pytest.LogCaptureFixture
) -> None:
    """The next attempt's commit wins against the one and loses against the other."""
    assert not commit(committed, "b")
    for attempt, key in zip("cdefgh", KEYS, strict=True):
        key = key.replace("/a.parquet", f"/{chr(ord(attempt) - 1)}.parquet")
        if attempt != "c":
            assert committed.exists(key)
        committed.put(key, b"damaged")
        assert commit(committed, attempt)
        [winner] = results.read_trials(committed, [TRIAL]).column("attempt").to_pylist()
        assert winner == attempt
        assert check_result(committed, TRIAL)
        assert f"the damaged result of trial {TRIAL} is replaced: {key}" in caplog.text


def test_a_damaged_record_of_a_failure_is_left_out(
    folder_store: FolderStore, caplog: pytest.LogCaptureFixture
) -> None:
    """It decides nothing, and blocks neither a report nor a run."""
    for attempt in "ab":
        results.record_failure(folder_store, {"trial_id": TRIAL, "attempt": attempt})
    key = results.attempt_key("failures", TRIAL, "a")
    data = folder_store.get(key)
    folder_store.put(key, data.replace(TRIAL.encode(), TRIAL[::-1].encode()))
    failures = results.read_failures(folder_store, [TRIAL])
    assert failures.column("attempt").to_pylist() == ["b"]
    assert f"a failure's record is left out: {key} is damaged" in caplog.text


@pytest.mark.parametrize("error", [Denied("no right"), Unavailable("no server")])
def test_a_store_that_cannot_be_read_is_not_damage(
    committed: FolderStore, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """Results behind it are as they were: the error is raised, and nothing is run again."""

    def refuse(self: FolderStore, key: str) -> bytes:
        raise error

    monkeypatch.setattr(FolderStore, "read", refuse)
    with pytest.raises(type(error)):
        check_results(committed, [TRIAL])


def test_a_store_that_sees_damage_itself_is_heard(
    committed: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a server does that holds objects to its own checksums."""

    def refuse(self: FolderStore, key: str) -> Any:
        raise Corrupt("checksum mismatch")

    monkeypatch.setattr(FolderStore, "read", refuse)
    assert damage_of(committed) == f"{ROW} is damaged: checksum mismatch"


def test_a_result_of_a_newer_version_is_an_error(
    committed: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is neither done nor damaged: an older program must not compute it again."""
    monkeypatch.setattr("sweeps.results.codec.SCHEMA_VERSION", 2)
    with pytest.raises(ResultError, match="use a program at least as new"):
        check_results(committed, [TRIAL])
