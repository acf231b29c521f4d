"""Progress of long work: a bar on a terminal, lines elsewhere; rate and time left in both."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

HEARTBEAT_S = 30.0
"""Seconds between two lines of work that has nothing else to tell."""


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
        if is_end or time.monotonic() - last[0] > HEARTBEAT_S:
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
        return f"{text}, {format_clock((total - done) / rate)} left"


def format_clock(seconds: float) -> str:
    """Return e.g. `1:05` or `4:10:00`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def make_console() -> Console:
    """Progress and notes go to standard error: standard output is for results."""
    return Console(file=sys.stderr, soft_wrap=True)
