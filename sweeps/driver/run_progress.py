"""What a run shows: the board on a terminal, one line per ended trial elsewhere, or little."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live

from sweeps.driver.bill import Bill
from sweeps.driver.board import Board
from sweeps.driver.live_view import LiveView
from sweeps.driver.progress import HEARTBEAT_S, format_clock
from sweeps.plan.searched import CellSearch, describe_result
from sweeps.trial.events import UNFINISHED, Outcome, TaskName, Watcher

_MOST_NAMED = 4
_REFRESH_PER_S = 2


class RunProgress(Watcher):
    """Tells how a run goes; a board that hears of the same events is told first.

    Args:
        name: The sweep's name.
        board: Where the run stands.
        bill: What it costs.
        console: Where to.
        quiet: Tell of failures, warnings and waits alone.
    """

    def __init__(
        self, name: str, board: Board, bill: Bill, console: Console, *, quiet: bool = False
    ) -> None:
        self.board, self.bill, self.console, self.quiet = board, bill, console, quiet
        self.began = self.last_line = time.monotonic()
        self.view = LiveView(name, board, bill)
        self.is_live = console.is_terminal and not quiet

    @contextmanager
    def shown(self) -> Iterator[RunProgress]:
        """Show the board while the block runs; on no terminal only lines are printed."""
        if not self.is_live:
            yield self
            return
        with Live(self.view, console=self.console, refresh_per_second=_REFRESH_PER_S):
            yield self

    def on_epoch(
        self, task: TaskName, epoch: int, epochs: int, values: dict[str, float], since: int = 0
    ) -> None:
        """See `Watcher`."""
        if self.is_live or self.quiet or time.monotonic() - self.last_line <= HEARTBEAT_S:
            return
        running = [
            f"{label} {at}/{of}" if of else f"{label} starting"
            for label, at, of in self.board.running.values()
        ]
        more = len(running) - _MOST_NAMED
        named = ", ".join(running[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
        self._line(f"running {named}{self._left()}")

    def on_retried(self, task: TaskName, message: str) -> None:
        """See `Watcher`."""
        self._line(f"{task.trial_id[:8]} {task.label} tried again after {message}")

    def on_searched(self, search: CellSearch) -> None:
        """See `Watcher`."""
        if search.is_over and not self.quiet:
            self._line(f"search: {describe_result(search)}")

    def on_stopping(self) -> None:
        """See `Watcher`."""
        self._line(
            "stopping: running trials save a checkpoint at the end of their epoch; "
            "the same signal again (Ctrl-C) stops at once"
        )

    def on_store_away(self, message: str) -> None:
        """See `Watcher`."""
        self._line(message)

    def on_note(self, message: str) -> None:
        """See `Watcher`."""
        self._line(message)

    def on_ended(self, task: TaskName, outcome: Outcome | None, message: str) -> None:
        """See `Watcher`."""
        for warning in () if outcome is None else outcome.warnings:
            self._line(f"warning: {warning}")
        if outcome is not None and outcome.state in UNFINISHED:
            return
        if outcome is None or outcome.state == "failed":
            kind = "lost" if outcome is None else f"failed ({outcome.failure_class})"
            self._ended(task, f"{task.label} {kind}: {message}")
        elif self.quiet:
            return
        elif outcome.state == "committed":
            took = f"robust AUROC {outcome.robust_auroc:.3f} in {outcome.seconds:.1f} s"
            self._ended(task, f"{task.label} {took}{self._left()}")
        else:
            self._ended(task, f"{task.label} {outcome.state}")

    def _ended(self, task: TaskName, text: str) -> None:
        counts = f"[{self.board.ended}/{self.board.total}]"
        self._line(f"{counts} {task.trial_id[:8]} {text}")

    def _left(self) -> str:
        """Return time left and dollars, where they are known and no view shows them."""
        if self.is_live:
            return ""
        seconds = self.board.seconds_left()
        parts = [f"{format_clock(seconds)} left"] if seconds else []
        parts += [dollars] if (dollars := self.bill.describe_dollars()) else []
        return "".join(f"; {part}" for part in parts)

    def _line(self, text: str) -> None:
        self.last_line = time.monotonic()
        seconds = self.last_line - self.began
        self.console.print(f"{seconds:6.0f} s  {text}", markup=False, highlight=False)
