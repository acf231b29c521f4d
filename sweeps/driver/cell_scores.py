"""What the cells of a running sweep have reached so far, for the dashboard."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping

from sweeps.plan.cell import Cell

MOST_CELLS = 500
"""Cells whose scores are kept: each is a series in Prometheus."""


class CellScores:
    """Robust AUROC on test of trials that have a result, by cell; an undefined one is left out."""

    def __init__(self, cells: Mapping[str, Cell]) -> None:
        """Begin with the cell of each trial, by id."""
        self._cells = cells
        self._scores: dict[Cell, dict[str, float]] = {}

    def add(self, trial_id: str, robust_auroc: float | None) -> None:
        """Take note of a result, once; of more cells than are kept, of none.

        A trial of a search has no cell: what it scores on test is nobody's choice.
        """
        cell = self._cells.get(trial_id)
        if cell is None or robust_auroc is None or math.isnan(robust_auroc):
            return
        if cell in self._scores or len(self._scores) < MOST_CELLS:
            self._scores.setdefault(cell, {}).setdefault(trial_id, robust_auroc)

    def means(self) -> dict[Cell, tuple[float, int]]:
        """Return mean and number of trials of each cell that has one; from any thread."""
        scores = {cell: tuple(by_trial.values()) for cell, by_trial in tuple(self._scores.items())}
        return {cell: (statistics.fmean(values), len(values)) for cell, values in scores.items()}
