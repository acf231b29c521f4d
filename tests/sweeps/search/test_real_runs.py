"""Searches as users run them, on Ray, with drivers that are killed."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from searching import REAL, plan_here, real_spec, real_text, run_search_here
from tiny_sweeps import Place, assert_same, made_place, tables, wait_until

from cluster.stores.folder import FolderStore
from sweeps.plan.searched import searches_dict
from sweeps.results import tables as results

pytestmark = pytest.mark.slow

EXTENDED = REAL.replace("trials: 5", "trials: 8")


def progress(place: Place) -> int:
    """Return how many objects trials have left: results, notes of rungs, and failures."""
    return sum(1 for _ in (place.store / "results").rglob("*.parquet"))


@pytest.mark.timeout(900)
def test_killed_runs_end_as_an_undisturbed_one_and_are_extended(tmp_path: Path) -> None:
    """Two drivers are killed at random points, with all their workers; a third ends the sweep.

    Searches, choices and tables are those of a sweep in one process that nobody disturbed. Three
    more configurations a cell run what is new alone, and the shorter search is there as before.
    """
    alone = FolderStore(tmp_path / "alone")
    spec = real_spec()
    expected = run_search_here(alone, spec, tmp_path / "cache")
    order = random.Random(7)
    (tmp_path / "place").mkdir()
    with made_place(tmp_path / "place") as place:
        place.spec.write_text(real_text())
        store = FolderStore(place.store)
        for _ in range(2):
            run = place.start("run", str(place.spec), "--store", str(place.store))
            wanted = progress(place) + order.randint(3, 9)
            wait_until(lambda run=run, wanted=wanted: progress(place) >= wanted or run.poll() == 0)
            place.kill()
            run.communicate()
        place.sweeps("run", str(place.spec), "--store", str(place.store))
        plan = plan_here(store, spec)
        assert searches_dict(spec, plan.searches) == searches_dict(spec, expected.searches)
        assert not plan.missing
        assert_same(tables(store, plan), tables(alone, expected))
        archived = json.loads((place.store / "sweeps" / "tiny" / "plan.json").read_text())
        assert archived["searches"] == searches_dict(spec, plan.searches)

        before = {key: store.get(key) for key in store.list("results/trials/")}
        place.spec.write_text(real_text(EXTENDED))
        place.sweeps("run", str(place.spec), "--store", str(place.store))
        longer = plan_here(store, real_spec(EXTENDED))
        assert not longer.is_searching
        assert not longer.missing
        for short, long in zip(plan.searches, longer.searches, strict=True):
            assert [t.values for t in long.tried[:5]] == [t.values for t in short.tried]
            assert len(long.tried) == 8
        assert {key: store.get(key) for key in before} == before
        ran = results.committed_ids(store) - {Path(key).stem for key in before}
        assert ran
        assert ran <= {
            *longer.done,
            *(trial.id for s in longer.searches for t in s.tried for trial in t.trials),
        }
        assert searches_dict(spec, plan_here(store, spec).searches) == archived["searches"]
