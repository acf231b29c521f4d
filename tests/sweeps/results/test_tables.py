"""Committing, believing and refusing results in a store."""

from __future__ import annotations

import hashlib
import math
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from committed_results import TRIAL, commit, epochs, row

from cluster.stores.base import Store
from cluster.stores.folder import FolderStore
from sweeps.errors import ResultError
from sweeps.results import tables as results
from sweeps.results.codec import CONTENT_KEY
from sweeps.results.content_hash import content_sha256
from sweeps.results.schemas import SCHEMA_VERSION, SISTERS, arrow_schema


class AnswerLost:
    """A store whose conditional put is repeated, as a client does after a lost answer."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    def create(self, key: str, data: bytes) -> None:
        self.store.create(key, data)
        self.store.create(key, data)


def test_what_is_committed_is_read_back(store: Store) -> None:
    """The rows of all tables come back, NaN and unknown as they were, on either store."""
    assert results.committed_ids(store) == set()
    assert commit(store, "a")
    assert results.committed_ids(store) == {TRIAL}
    trials = results.read_trials(store, [TRIAL, "another"])
    expected = row("a", started_at=datetime(2026, 1, 2, tzinfo=UTC))
    expected["finished_at"] = expected["started_at"]
    for name in SISTERS:
        data = store.get(results.attempt_key(name, TRIAL, "a"))
        expected[f"{name}_sha256"] = hashlib.sha256(data).hexdigest()
    assert trials.to_pylist() == [expected]
    [epoch] = results.read_attempts(store, "epochs", trials).to_pylist()
    assert math.isnan(epoch["value"])
    assert epoch["attribute"] is None
    [prediction] = results.read_attempts(store, "predictions", trials).to_pylist()
    assert prediction["spurious_tube"] is None
    assert prediction["score"] == 0.25
    [[embedding]] = [table.to_pylist() for table in results.each_table(store, "embeddings", trials)]
    assert embedding["embedding"] == [0.5, -1.0]
    assert embedding["spurious_tube"] is None
    [[explained]] = [t.to_pylist() for t in results.each_table(store, "explanations", trials)]
    assert math.isnan(explained["share"])
    [[example]] = [t.to_pylist() for t in results.each_table(store, "examples", trials)]
    assert (example["sample_id"], example["pixels"]) == (None, [0, 255])


def test_the_second_attempt_loses_and_leaves_nothing(store: Store) -> None:
    """One row a trial: the first commit stays, byte for byte, and the loser's tables go."""
    assert commit(store, "first")
    before = store.get(results.trial_key(TRIAL))
    assert not commit(store, "second")
    assert store.get(results.trial_key(TRIAL)) == before
    assert list(store.list("results/epochs/")) == [results.attempt_key("epochs", TRIAL, "first")]
    for table in ("predictions", "embeddings"):
        assert len(list(store.list(f"results/{table}/"))) == 1


def test_a_commit_whose_answer_was_lost_is_ours(store: Store) -> None:
    """A retried put meets its own first try: the attempt has won, and its tables stay."""
    assert commit(AnswerLost(store), "first")  # type: ignore[arg-type]
    trials = results.read_trials(store, [TRIAL])
    assert trials.column("attempt").to_pylist() == ["first"]
    assert results.read_attempts(store, "predictions", trials).num_rows == 1


def test_tables_without_a_commit_are_not_believed(folder_store: FolderStore) -> None:
    """What an attempt wrote before it died is no result."""
    key = results.attempt_key("epochs", TRIAL, "dead")
    folder_store.put(key, results.encode("epochs", epochs("dead")))
    assert results.committed_ids(folder_store) == set()
    trials = results.read_trials(folder_store, [TRIAL])
    assert trials.num_rows == 0
    assert results.read_attempts(folder_store, "epochs", trials).num_rows == 0


def test_a_table_of_the_first_version_is_read(folder_store: FolderStore) -> None:
    """Its trials needed neither labels of the rest nor spurious labels of validation images."""
    now = pq.read_table(pa.BufferReader(results.encode("trials", [row("a")])))
    added = ["train_rest_labels", "val_spurious_labels", "train_ranked_pairs", "train_explanations"]
    old = now.drop_columns(added)
    old = old.drop_columns([f"{name}_sha256" for name in SISTERS]).replace_schema_metadata(None)
    old = old.set_column(0, "schema_version", pa.array([1], pa.int64()))
    sink = pa.BufferOutputStream()
    pq.write_table(old, sink)
    folder_store.put(results.trial_key(TRIAL), sink.getvalue().to_pybytes())
    read = results.read_trials(folder_store, [TRIAL])
    assert read.schema == arrow_schema("trials")
    [found] = read.to_pylist()
    hashes = {f"{name}_sha256": None for name in SISTERS}
    assert found == now.to_pylist()[0] | dict.fromkeys(added, 0) | hashes


def test_a_table_of_the_fourth_version_is_read(folder_store: FolderStore) -> None:
    """Its trials ranked no explanations; the hashes that it has stay."""
    now = pq.read_table(pa.BufferReader(results.encode("trials", [row("a")])))
    added = ["train_ranked_pairs", "train_explanations"]
    old = now.drop_columns(added).set_column(0, "schema_version", pa.array([4], pa.int64()))
    old = old.replace_schema_metadata({CONTENT_KEY: content_sha256(old)})
    sink = pa.BufferOutputStream()
    pq.write_table(old, sink)
    folder_store.put(results.trial_key(TRIAL), sink.getvalue().to_pybytes())
    read = results.read_trials(folder_store, [TRIAL])
    assert read.schema == arrow_schema("trials")
    assert read.to_pylist() == [now.to_pylist()[0] | dict.fromkeys(added, 0)]


def test_a_table_of_the_fifth_version_is_read(folder_store: FolderStore) -> None:
    """Nobody wrote down what its attempts had of their nodes."""
    now = pq.read_table(pa.BufferReader(results.encode("trials", [row("a")])))
    old = now.drop_columns(["cpus", "gpus"])
    old = old.set_column(0, "schema_version", pa.array([5], pa.int64()))
    old = old.replace_schema_metadata({CONTENT_KEY: content_sha256(old)})
    sink = pa.BufferOutputStream()
    pq.write_table(old, sink)
    folder_store.put(results.trial_key(TRIAL), sink.getvalue().to_pybytes())
    read = results.read_trials(folder_store, [TRIAL])
    assert read.schema == arrow_schema("trials")
    assert read.to_pylist() == [now.to_pylist()[0] | {"cpus": None, "gpus": None}]


def test_a_table_of_the_third_version_is_read(folder_store: FolderStore) -> None:
    """Its rows have hashes of their own; nobody had written explanations yet."""
    now = pq.read_table(pa.BufferReader(results.encode("trials", [row("a")])))
    old = now.drop_columns([f"{name}_sha256" for name in ("explanations", "examples")])
    old = old.set_column(0, "schema_version", pa.array([3], pa.int64()))
    old = old.replace_schema_metadata({CONTENT_KEY: content_sha256(old)})
    sink = pa.BufferOutputStream()
    pq.write_table(old, sink)
    folder_store.put(results.trial_key(TRIAL), sink.getvalue().to_pybytes())
    read = results.read_trials(folder_store, [TRIAL])
    assert read.schema == arrow_schema("trials")
    unknown = {"explanations_sha256": None, "examples_sha256": None}
    assert read.to_pylist()[0] == now.to_pylist()[0] | unknown


def test_a_newer_schema_is_refused(folder_store: FolderStore) -> None:
    """A table of a later version is named with both versions, not misread."""
    later = pq.read_table(pa.BufferReader(results.encode("trials", [row("a")])))
    column = pa.array([SCHEMA_VERSION + 1], pa.int64())
    later = later.set_column(0, "schema_version", column)
    later = later.replace_schema_metadata({CONTENT_KEY: content_sha256(later)})
    sink = pa.BufferOutputStream()
    pq.write_table(later, sink)
    folder_store.put(results.trial_key(TRIAL), sink.getvalue().to_pybytes())
    with pytest.raises(ResultError, match=f"{TRIAL}.parquet has schema version .7., .*knows 6"):
        results.read_trials(folder_store, [TRIAL])


@pytest.mark.parametrize("data", [b"", b"PAR1 no more", b"x" * 100])
def test_a_damaged_object_is_named(folder_store: FolderStore, data: bytes) -> None:
    """Bytes that are no Parquet file are refused with the object's key."""
    folder_store.put(results.trial_key(TRIAL), data)
    with pytest.raises(ResultError, match=f"results/trials/{TRIAL}.parquet is not a readable"):
        results.read_trials(folder_store, [TRIAL])


def test_a_foreign_table_is_named(folder_store: FolderStore) -> None:
    """A Parquet file that is none of ours is refused with the object's key."""
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"a": [1]}), sink)
    folder_store.put(results.trial_key(TRIAL), sink.getvalue().to_pybytes())
    with pytest.raises(ResultError, match=f"results/trials/{TRIAL}.parquet is not a readable"):
        results.read_trials(folder_store, [TRIAL])


def test_failures_are_read_by_trial(folder_store: FolderStore) -> None:
    """Every recorded failure of the trials asked for, and of no other."""
    for trial, attempt in ((TRIAL, "a"), (TRIAL, "b"), ("other", "c")):
        failure = {"trial_id": trial, "attempt": attempt, "failure_class": "data", "node": "n"}
        text = {"message": "m", "traceback": "t", "log_tail": "l"}
        results.record_failure(folder_store, {**failure, **text, "failed_at": datetime.now(UTC)})
    table = results.read_failures(folder_store, [TRIAL])
    assert sorted(table.column("attempt").to_pylist()) == ["a", "b"]
    assert results.read_failures(folder_store, []).num_rows == 0


def test_a_checkpoint_comes_back_with_its_seconds() -> None:
    """State and wall time so far are what was put in, whatever bytes the state holds."""
    state = b"\n{}\x00" * 50
    assert results.unpack_checkpoint(results.checkpoint_head(12.5) + state) == (state, 12.5)


@pytest.mark.parametrize("other", [b"", b"no head at all", b"[]\nstate", b'{"format": 0}\nx'])
def test_another_object_is_no_checkpoint(other: bytes) -> None:
    """What does not begin with this format's line is refused."""
    with pytest.raises(ResultError, match="does not begin with a line of format 1"):
        results.unpack_checkpoint(other)


def test_checkpoints_of_finished_trials_go(folder_store: FolderStore) -> None:
    """What a killed driver left of a finished trial is removed, of another one is not."""
    for trial in (TRIAL, "unfinished"):
        folder_store.put(results.checkpoint_key(trial), b"state")
    results.drop_checkpoints(folder_store, {TRIAL, "without"})
    assert list(folder_store.list("checkpoints/")) == [results.checkpoint_key("unfinished")]
