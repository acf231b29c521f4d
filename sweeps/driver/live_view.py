"""The board of a run on a terminal: as many cells as fit, those first that something happens to."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.table import Table
from rich.text import Text

from cluster.common.wording import count_of
from sweeps.driver.bill import Bill
from sweeps.driver.board import STATES, Board, CellState
from sweeps.driver.progress import format_clock
from sweeps.report.short_names import GAP, shorten

_MARKS = {"done": ("●", "green"), "done before": ("○", "green"), "running": ("▶", "cyan")}
_MARKS |= {"failed": ("✗", "red"), "waiting": ("·", "dim")}
_PLAIN = {"done": "#", "done before": "=", "running": ">", "failed": "x", "waiting": "."}
_MOST_SEEDS = 10
_FEWEST_CHARACTERS = 24
"""Of a cell's name, however narrow the terminal is."""
_PLAIN_GAP = "~"
_OTHER_LINES = 5
"""Lines beside those of cells: the headline, the table's head, the rest, and free ones."""


class LiveView:
    """Draws a board and what the run costs into the size that the terminal has at the moment."""

    def __init__(self, name: str, board: Board, bill: Bill) -> None:
        self.name, self.board, self.bill = name, board, bill

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """See rich."""
        space = max(1, (options.height or console.size.height) - _OTHER_LINES)
        cells = list(self.board.cells.values())
        shown = _choose(cells, space)
        lines = [Text(self.headline(), style="bold", no_wrap=True, overflow="ellipsis")]
        if len(shown) < len(cells):
            names = {cell.name for cell in shown}
            rest = [cell for cell in cells if cell.name not in names]
            lines.append(Text(_describe_rest(rest), style="dim"))
        most = max(_FEWEST_CHARACTERS, options.max_width // 2)
        yield Group(lines[0], self._table(shown, most, plain=options.ascii_only), *lines[1:])

    def headline(self) -> str:
        """Return the sweep's counts, the time left and the dollars, in a line."""
        board = self.board
        parts = [
            f"{board.ended} of {count_of(board.total, 'trial')}",
            f"{len(board.running)} running",
        ]
        if board.done_before:
            parts.append(f"{board.done_before} done before")
        if board.failed:
            parts.append(f"{board.failed} failed")
        if (seconds := board.seconds_left()) is not None:
            parts.append(f"{format_clock(seconds)} left")
        if dollars := self.bill.describe_dollars():
            parts.append(dollars)
        return f"sweep '{self.name}': {', '.join(parts)}"

    def _table(self, cells: Sequence[CellState], most: int, *, plain: bool) -> Table:
        names = shorten((cell.name for cell in cells), most, _PLAIN_GAP if plain else GAP)
        table = Table(box=None, padding=(0, 2, 0, 0))
        table.add_column("cell", no_wrap=True, overflow="ellipsis")
        table.add_column("seeds", no_wrap=True)
        table.add_column("best robust AUROC", justify="right", no_wrap=True)
        table.add_column("epoch", no_wrap=True, overflow="ellipsis")
        for cell in cells:
            best = "" if math.isnan(cell.best) else f"{cell.best:.3f}"
            table.add_row(names[cell.name], _seeds(cell, plain=plain), best, self._epochs(cell))
        return table

    def _epochs(self, cell: CellState) -> str:
        running = [self.board.running[key] for key in cell.seeds if key in self.board.running]
        return " ".join(f"{epoch}/{epochs}" for _, epoch, epochs in running if epochs)


def _choose(cells: Sequence[CellState], space: int) -> list[CellState]:
    """Choose the cells that are shown: running ones, failed ones, begun ones; the plan's order."""
    if len(cells) <= space:
        return list(cells)

    def rank(number: int) -> tuple[int, int]:
        cell = cells[number]
        if cell.count("running"):
            return 0, number
        if cell.count("failed"):
            return 1, number
        done = cell.count("done") + cell.count("done before")
        return (2 if 0 < done < len(cell.seeds) else 3), number

    chosen = sorted(range(len(cells)), key=rank)[:space]
    return [cells[number] for number in sorted(chosen)]


def _describe_rest(cells: Sequence[CellState]) -> str:
    totals: Counter[str] = Counter()
    for cell in cells:
        totals.update(cell.seeds.values())
    counts = ", ".join(f"{totals[state]} {state}" for state in STATES if totals[state])
    return f"and {count_of(len(cells), 'more cell')}: {counts}"


def _seeds(cell: CellState, *, plain: bool) -> Text:
    """Return one mark a seed, or counts where there are many."""
    if len(cell.seeds) > _MOST_SEEDS:
        return Text(", ".join(f"{n} {s}" for s in STATES if (n := cell.count(s))))
    text = Text()
    for state in cell.seeds.values():
        mark, style = _MARKS[state]
        text.append(_PLAIN[state] if plain else mark, style=style)
    return text
