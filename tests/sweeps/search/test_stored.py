"""What a store has of a search's trials: the same, one by one as a run and at once as a plan."""

from __future__ import annotations

from typing import Any

import pytest
from committed_results import commit_plainly, epochs, predictions, row
from compacted_results import Watched, flip
from searching import plan_here, real_spec, run_search_here

from cluster.errors import AlreadyExists
from cluster.stores.base import Store
from cluster.stores.folder import FolderStore
from sweeps.results import tables as results
from sweeps.results.codec import encode
from sweeps.results.compaction import compact
from sweeps.results.keys import attempt_key, stopped_key, trial_key
from sweeps.results.reader import ResultReader
from sweeps.results.schemas import OPTIONAL
from sweeps.search import resolve
from sweeps.search.observation import Observation
from sweeps.search.stored import ListedObservations, StoredObservations

DONE, BARE, STOPPED, FAILED, OTHER, DAMAGED, ABSENT = (f"{number:016x}" for number in range(7))
IDS = (DONE, BARE, STOPPED, FAILED, OTHER, DAMAGED, ABSENT)


def validation(trial: str) -> list[dict[str, Any]]:
    """Two epochs of two metrics, among rows that say nothing of validation as a whole."""
    where = {**epochs("a" * 12, trial)[0], "value": 0.25}
    rows = [
        {**where, "epoch": epoch, "split": split, "metric": metric, "attribute": attribute}
        for epoch in (1, 2)
        for split in ("train", "val", "test")
        for metric in ("loss", "auroc")
        for attribute in (None, "tube")
    ]
    for number, each in enumerate(rows):
        each["value"] = number / 64
    return rows


def write(store: Store) -> None:
    """One trial of every kind."""
    unasked = dict.fromkeys((f"{name}_sha256" for name in OPTIONAL), None)
    for trial, table in ((DONE, validation(DONE)), (DAMAGED, validation(DAMAGED))):
        line = row("a" * 12, trial, epochs=2, kept_epoch=1, **unasked)
        parts = (table, predictions("a" * 12, trial), ("tube",), AlreadyExists)
        assert results.commit(store, line, *parts)
    flip(store, attempt_key("epochs", DAMAGED, "a" * 12))
    assert commit_plainly(store, "b" * 12, BARE)
    store.delete(attempt_key("epochs", BARE, "b" * 12))
    for trial in (STOPPED, FAILED, DAMAGED):
        note = {"trial_id": trial, "attempt": "c" * 12, "reached": 3, "epoch": 3}
        note |= {"metric": "auroc", "value": 0.5}
        store.put(stopped_key(trial), encode("stopped", [note]))
    for trial, kind, epoch in ((FAILED, "numerical", 9), (FAILED, "numerical", 7),
                               (FAILED, "data", 2), (OTHER, "preempted", 1)):  # fmt: skip
        words = {"message": f"it was so in epoch {epoch}", "traceback": "t", "log_tail": "l"}
        ids = {"trial_id": trial, "attempt": f"{epoch:012x}", "failure_class": kind}
        results.record_failure(store, {**ids, **words})


@pytest.mark.parametrize("is_compacted", [False, True])
def test_a_plan_and_a_run_see_the_same(store: Store, is_compacted: bool) -> None:
    """Results, notes of rungs and failures; a damaged result counts as none, as one in part."""
    write(store)
    values = {1: {"val.loss": 4 / 64, "val.auroc": 6 / 64}}
    values |= {2: {"val.loss": 16 / 64, "val.auroc": 18 / 64}}
    half = {3: {"val.auroc": 0.5}}
    expected = {
        DONE: Observation(values, reached=2, kept_epoch=1),
        BARE: Observation(),
        STOPPED: Observation(half, reached=3),
        FAILED: Observation(half, reached=3, failed_at=7),
        OTHER: Observation(),
        DAMAGED: Observation(half, reached=3),
        ABSENT: Observation(),
    }
    assert StoredObservations(store)(IDS) == expected
    if is_compacted:
        compact(store)
    watched = Watched(store)
    listed = ListedObservations(ResultReader(watched))  # type: ignore[arg-type]
    assert listed(IDS[:2]) == {DONE: Observation(), BARE: Observation()}
    assert listed(IDS[1:]) == dict.fromkeys(IDS[1:], Observation())
    assert listed.read()
    assert listed(IDS) == expected
    assert not listed.read()
    if is_compacted:
        assert trial_key(DONE) not in watched.small
        assert not any(key.startswith("results/failures/") for key in watched.small)


def test_searches_of_all_cells_are_read_a_batch_at_a_time(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As often as the longest search has batches, and not once a cell; the plan is as before."""
    store, spec = FolderStore(tmp_path / "store"), real_spec()
    finished = run_search_here(store, spec, tmp_path / "cache")
    reads: list[int] = []

    class Counted(ListedObservations):
        def read(self) -> bool:
            reads.append(len(self._unread))
            return super().read()

    monkeypatch.setattr(resolve, "ListedObservations", Counted)
    plan = plan_here(store, spec)
    assert (plan.searches, plan.trials) == (finished.searches, finished.trials)
    assert not plan.missing
    batches = -(-spec.search.trials // spec.search.batch) if spec.search else 0
    assert len(finished.searches) == 2
    assert len([number for number in reads if number]) == batches
