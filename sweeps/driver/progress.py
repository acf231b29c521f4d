"""Live progress of a run: bars on a terminal, one line per ended trial elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from sweeps.trial.events import Outcome, TaskName, Watcher

_HEARTBEAT_S = 30.0


class RunProgress(Watcher):
    """Counts ended trials and shows where the running ones are."""

    def __init__(self, total: int, console: Console) -> None:
        self.total, self.ended_count = total, 0
        self.console = console
        self.began = self.last_line = time.monotonic()
        self.running: dict[str, str] = {}
        self.bar: Progress | None = None

    @contextmanager
    def shown(self) -> Iterator[RunProgress]:
        """Show the bar while the block runs; on no terminal only lines are printed."""
        if not self.console.is_terminal:
            yield self
            return
        self.bar = Progress(
            TextColumn("trials"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[running]}"),
            console=self.console,
        )
        with self.bar:
            self.bar.add_task("trials", total=self.total, running="starting workers")
            yield self

    def on_started(self, task: TaskName) -> None:
        """See `Watcher`."""
        self.running[task.trial_id] = task.label
        self._refresh()

    def on_epoch(self, task: TaskName, epoch: int, epochs: int, values: dict[str, float]) -> None:
        """See `Watcher`."""
        self.running[task.trial_id] = f"{task.label} {epoch}/{epochs}"
        self._refresh()
        if self.bar is None and time.monotonic() - self.last_line > _HEARTBEAT_S:
            self._line(f"running {', '.join(self.running.values())}")

    def on_retried(self, task: TaskName, message: str) -> None:
        """See `Watcher`."""
        self.running.pop(task.trial_id, None)
        self._line(f"{task.trial_id[:8]} {task.label} tried again after {message}")
        self._refresh()

    def on_stopping(self) -> None:
        """See `Watcher`."""
        self._line(
            "stopping: running trials save a checkpoint at the end of their epoch; "
            "the same signal again (Ctrl-C) stops at once"
        )

    def on_store_away(self, message: str) -> None:
        """See `Watcher`."""
        self._line(message)

    def on_ended(self, task: TaskName, outcome: Outcome | None, message: str) -> None:
        """See `Watcher`."""
        self.running.pop(task.trial_id, None)
        for warning in () if outcome is None else outcome.warnings:
            self._line(f"warning: {warning}")
        if outcome is not None and outcome.state == "stopped":
            self._refresh()
            return
        self.ended_count += 1
        if outcome is None or outcome.state == "failed":
            kind = "lost" if outcome is None else f"failed ({outcome.failure_class})"
            text = f"{task.label} {kind}: {message}"
        elif outcome.state == "committed":
            text = (
                f"{task.label} robust AUROC {outcome.robust_auroc:.3f} in {outcome.seconds:.1f} s"
            )
        else:
            text = f"{task.label} {outcome.state}"
        self._line(f"[{self.ended_count}/{self.total}] {task.trial_id[:8]} {text}")
        self._refresh()

    def _line(self, text: str) -> None:
        self.last_line = time.monotonic()
        seconds = self.last_line - self.began
        self.console.print(f"{seconds:6.0f} s  {text}", markup=False, highlight=False)

    def _refresh(self) -> None:
        if self.bar is not None:
            running = ", ".join(list(self.running.values())[:3])
            self.bar.update(self.bar.task_ids[0], completed=self.ended_count, running=running)


@contextmanager
def count_progress(
    text: str, unit: str, console: Console, *, shows_end: bool = False
) -> Iterator[Callable[[int, int], None]]:
    """A callback of units done and their total, shown as a bar or, in long work, as lines.

    Both have the rate and the time left, by what was done since the first call: what is done then
    was done by an earlier run.

    Args:
        text: What is done, e.g. `staging films`.
        unit: What is counted, e.g. `images`.
        console: Where to.
        shows_end: Print a line at the end also of work that took no time.
    """
    rate = Rate()
    if console.is_terminal:
        with Progress(
            TextColumn(text),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            console=console,
        ) as bar:
            shown = bar.add_task(text, total=None, rate="")
            yield lambda done, total: bar.update(
                shown, completed=done, total=total, rate=rate.describe(done, total, unit)
            )
        return
    last = [time.monotonic() if not shows_end else 0.0]

    def line(done: int, total: int) -> None:
        described = rate.describe(done, total, unit)
        is_end = shows_end and done == total
        if is_end or time.monotonic() - last[0] > _HEARTBEAT_S:
            last[0] = time.monotonic()
            console.print(
                f"{text}: {done} of {total} {unit}" + (f", {described}" if described else ""),
                highlight=False,
            )

    yield line


class Rate:
    """Units a second since the first call."""

    def __init__(self) -> None:
        self._first: tuple[float, int] | None = None

    def describe(self, done: int, total: int, unit: str) -> str:
        """Return e.g. `412 images/s, 1:05 left`; empty before anything was done."""
        now = time.monotonic()
        began, before = self._first = self._first or (now, done)
        if done <= before or now <= began:
            return ""
        rate = (done - before) / (now - began)
        text = f"{rate:.0f} {unit}/s" if rate >= 10 else f"{rate:.1f} {unit}/s"
        if done >= total:
            return text
        minutes, seconds = divmod(round((total - done) / rate), 60)
        hours, minutes = divmod(minutes, 60)
        clock = f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
        return f"{text}, {clock} left"


def make_console() -> Console:
    """Progress and notes go to standard error: standard output is for results."""
    return Console(file=sys.stderr, soft_wrap=True)
