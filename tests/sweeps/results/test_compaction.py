"""Compacted results: the rows of the small objects, which alone decide what is committed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from committed_results import commit, commit_plainly, epochs, predictions, row
from compacted_results import IDS, Watched, fill, flip, read

from cluster.errors import AlreadyExists, Unavailable
from cluster.stores.base import Store
from cluster.stores.folder import FolderStore
from sweeps.results import tables as results
from sweeps.results.codec import encode
from sweeps.results.compaction import compact, find_superseded
from sweeps.results.content_hash import content_sha256
from sweeps.results.keys import COMPACT, attempt_key, trial_key
from sweeps.results.packs import decode_pack, encode_pack
from sweeps.results.reader import ResultReader
from sweeps.results.schemas import SCHEMA_VERSION

BEFORE = Path(__file__).parents[1] / "store_before" / "store"


def test_rows_are_those_of_the_small_objects(store: Store) -> None:
    """All tables are equal, no small object is read for them, and nothing is compacted twice."""
    fill(store)
    expected = read(store)
    assert len(expected.tables["trials"]) == len(expected.tables["epochs"]) == len(IDS)
    written = compact(store)
    assert written.objects == 3 * len(IDS) + 3 * len(IDS) // 2 + 1
    watched = Watched(store)
    assert read(watched) == expected
    assert watched.small == []
    keys = set(store.list(COMPACT))
    assert compact(store).objects == 0
    assert set(store.list(COMPACT)) == keys


def test_a_compaction_that_is_killed_at_any_point_does_no_harm(folder_store: FolderStore) -> None:
    """Results are read as before, and the next compaction is whole."""
    fill(folder_store)
    expected = read(folder_store)
    puts = 0
    while True:
        try:
            compact(Watched(folder_store, puts))  # type: ignore[arg-type]
        except Unavailable:
            assert read(folder_store) == expected
            puts += 1
            continue
        break
    assert puts >= 5  # packs of four tables, and the index
    watched = Watched(folder_store)
    assert read(watched) == expected
    assert watched.small == []


def test_two_compactions_at_once_are_both_right(store: Store) -> None:
    """As two drivers that end together: every result is compacted, and read once."""
    fill(store)
    expected = read(store)
    with ThreadPoolExecutor(2) as drivers:
        halves = (IDS[:5], IDS[3:])
        assert all(each.packs for each in drivers.map(lambda ids: compact(store, ids), halves))
    compact(store)
    watched = Watched(store)
    assert read(watched) == expected
    assert watched.small == []


def test_rows_of_several_compactions_come_in_order(store: Store) -> None:
    """As a run leaves them that compacts by and by: neighbours are in different packs, or in none.

    Also where columns are chosen.
    """
    fill(store)
    expected = read(store)
    keys = [attempt_key("epochs", trial, f"{n:012x}") for n, trial in enumerate(IDS)]
    [table] = ResultReader(store).tables(keys)
    for ids in (IDS[::2], [IDS[1], IDS[5]], [IDS[3]]):
        assert compact(store, ids).packs
    assert len(list(store.list(f"{COMPACT}epochs/"))) == 3
    assert read(store) == expected
    [part] = ResultReader(store).tables(keys, ["attempt", "epoch"])
    attempts = part.column("attempt").to_pylist()
    assert attempts == table.column("attempt").to_pylist()
    assert attempts == [f"{n:012x}" for n in range(len(IDS))]
    assert sum(1 for _ in ResultReader(store).each(keys)) == len(IDS)


@pytest.mark.parametrize("kind", ["", "trials/", "epochs/", "predictions/", "failures/"])
def test_a_damaged_compacted_object_is_not_used(
    store: Store, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    """Its name is its hash: that is told, the small objects are read, and it is written again."""
    fill(store)
    expected = read(store)
    compact(store)
    keys = [k for k in store.list(COMPACT + kind) if k.count("/") == (COMPACT + kind).count("/")]
    flip(store, keys[0])
    watched = Watched(store)
    assert read(watched) == expected
    assert watched.small
    assert f"{keys[0]} in {store.url} is damaged" in caplog.text
    assert compact(store, verify=True).packs
    caplog.clear()
    watched = Watched(store)
    assert read(watched) == expected
    assert watched.small == []
    assert "damaged" not in caplog.text


def remove_row(store: Store) -> None:
    """Remove the commit object."""
    store.delete(trial_key(IDS[1]))


def replace_attempt(store: Store) -> None:
    """Replace a result by that of another attempt, as after damage."""
    store.delete(trial_key(IDS[1]))
    assert commit(store, "e" * 12, IDS[1])


def damage_row(store: Store) -> None:
    """Damage the commit object."""
    store.put(trial_key(IDS[1]), store.get(trial_key(IDS[1]))[:-40])


def damage_epochs(store: Store) -> None:
    """Damage the epochs."""
    flip(store, attempt_key("epochs", IDS[1], f"{1:012x}"))


def remove_predictions(store: Store) -> None:
    """Remove the predictions."""
    store.delete(attempt_key("predictions", IDS[1], f"{1:012x}"))


def damage_embeddings(store: Store) -> None:
    """Damage a table of which no row is copied."""
    flip(store, attempt_key("embeddings", IDS[1], f"{1:012x}"))


def contradict_row(store: Store) -> None:
    """Write a row of the same attempt that names another hash of its epochs."""
    store.delete(trial_key(IDS[1]))
    data = encode("trials", [row(f"{1:012x}", IDS[1])])
    store.put(trial_key(IDS[1]), data)


CHANGES = (
    contradict_row,
    *(remove_row, replace_attempt, damage_row),
    *(damage_epochs, remove_predictions, damage_embeddings),
)


@pytest.mark.parametrize("change", CHANGES)
def test_small_objects_are_believed(store: Store, change: Callable[[Store], None]) -> None:
    """What was removed, replaced or damaged after the compaction is as if never compacted."""
    fill(store)
    before = read(store)
    compact(store)
    change(store)
    after = read(store)
    uncompacted = ResultReader(store)
    for key in list(store.list(COMPACT)):
        store.delete(key)
    assert after == read(uncompacted)
    assert after != before
    assert (IDS[1] in after.checked.damaged) == (change not in (remove_row, replace_attempt))
    if change is replace_attempt:
        assert after.attempts[1] == "e" * 12


def test_results_of_older_versions_are_compacted(tmp_path: Path) -> None:
    """They are migrated when they are read, and stay unverified."""
    shutil.copytree(BEFORE, tmp_path / "store")
    store = FolderStore(tmp_path / "store")
    expected = read(store)
    assert expected.checked.unverified == expected.checked.done
    assert len(expected.tables["epochs"]) > 100
    compact(store)
    watched = Watched(store)
    assert read(watched) == expected
    assert watched.small == []


def test_packs_of_another_version_are_migrated_or_left_alone(
    folder_store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An older one has today's columns when it is read; a newer index is not used."""
    fill(folder_store)
    trials = results.read_trials(folder_store, IDS)
    older = trials.drop_columns(["train_ranked_pairs", "train_explanations"])
    place = older.column_names.index("schema_version")
    four = pa.array([4] * len(older), pa.int64())
    older = older.set_column(place, older.field(place), four)
    with monkeypatch.context() as patch:
        patch.setattr("sweeps.results.packs.SCHEMA_VERSION", 4)
        data = encode_pack(older)
    migrated = decode_pack(data, "trials")
    zeros = [0] * len(older)
    assert migrated.column("train_ranked_pairs").to_pylist() == zeros
    assert migrated.schema == trials.schema
    assert set(migrated.column("schema_version").to_pylist()) == {SCHEMA_VERSION}
    with monkeypatch.context() as patch:
        patch.setattr("sweeps.results.packs.SCHEMA_VERSION", SCHEMA_VERSION + 1)
        compact(folder_store)
    watched = Watched(folder_store)
    assert content_sha256(read(watched).tables["trials"]) == content_sha256(trials)
    assert len(watched.small) == 3 * len(IDS) + 1


def test_a_growing_store_has_few_indexes(folder_store: FolderStore) -> None:
    """Each compaction writes small ones again; those that are made up for are named for removal."""
    for number, trial in enumerate(IDS):
        commit_plainly(folder_store, f"{number:012x}", trial)
        compact(folder_store)
    expected = read(folder_store)
    unused = find_superseded(ResultReader(folder_store))
    for key in unused:
        folder_store.delete(key)
    indexes = [key for key in folder_store.list(COMPACT) if key.count("/") == 2]
    assert 1 <= len(indexes) <= 4
    assert len(unused) > len(IDS)
    watched = Watched(folder_store)
    assert read(watched) == expected
    assert watched.small == []


def test_damaged_results_are_not_compacted(folder_store: FolderStore) -> None:
    """They are counted, and stay damaged."""
    fill(folder_store)
    damage_epochs(folder_store)
    assert compact(folder_store).damaged == 1
    assert read(folder_store).checked.damaged.keys() == {IDS[1]}


def test_tables_of_images_keep_their_own_columns(folder_store: FolderStore) -> None:
    """Predictions of classes stand beside others: each trial's table is as it was written."""
    commit_plainly(folder_store, "a" * 12, IDS[0])

    classed = [{**each, "class": "cat", "probability_cat": 0.75, "probability_dog": 0.25}
               for each in predictions("b" * 12, IDS[1])]  # fmt: skip
    tables = (row("b" * 12, IDS[1]), epochs("b" * 12, IDS[1]), classed)
    results.commit(folder_store, *tables, ("tube",), AlreadyExists, classes=("cat", "dog"))
    compact(folder_store)
    reader = ResultReader(folder_store)
    trials = results.read_trials(reader, IDS)
    plain, other = results.each_table(reader, "predictions", trials)
    assert "class" not in plain.column_names
    assert other.column("probability_cat").to_pylist() == [0.75]
    both = results.read_attempts(reader, "predictions", trials)
    assert both.column("class").to_pylist() == [None, "cat"]
    parts = list(results.iterate_attempts(reader, "predictions", trials))
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, parts[0].schema, store_schema=False) as writer:
        for part in parts:
            writer.write_table(part)
    assert pq.read_table(pa.BufferReader(sink.getvalue())) == both
