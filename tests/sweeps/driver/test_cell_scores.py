"""Means of a running sweep's cells."""

from __future__ import annotations

import math

import pytest
from tiny_sweeps import tiny

from cluster.stores.folder import FolderStore
from sweeps.driver import cell_scores
from sweeps.driver.cell_scores import CellScores
from sweeps.plan.cell import Cell
from sweeps.plan.facts import plan_on


@pytest.fixture
def cells(folder_store: FolderStore) -> list[Cell]:
    """Four cells of a sweep."""
    spec = tiny(axes__budget=[10, 20])
    found = plan_on(spec, folder_store).cells
    assert len(found) == 4
    return list(found)


def trials_of(cells: list[Cell], seeds: int) -> dict[str, Cell]:
    """Trial ids with their cells, as many seeds of each cell."""
    return {f"{n}-{seed}": cell for seed in range(seeds) for n, cell in enumerate(cells)}


def test_means_leave_out_what_is_undefined(
    cells: list[Cell], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cell without a defined score has no mean; each trial counts once; cells are bounded."""
    monkeypatch.setattr(cell_scores, "MOST_CELLS", 2)
    scores = CellScores(trials_of(cells, 3))
    scores.add("0-0", math.nan)
    assert scores.means() == {}
    for trial, value in (("0-0", 0.75), ("0-0", 0.5), ("0-1", 0.25), ("0-2", None)):
        scores.add(trial, value)
    scores.add("1-0", 0.5)
    scores.add("2-0", 0.5)
    assert scores.means() == {cells[0]: (0.5, 2), cells[1]: (0.5, 1)}
