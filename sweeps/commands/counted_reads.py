"""Shows rate and time left while rows of a store's results are read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sweeps.driver.progress import count_progress, make_console
from sweeps.results.reader import ResultReader


@contextmanager
def count_reads(reader: ResultReader, text: str, objects: int) -> Iterator[None]:
    """Show of how many objects the rows were read while the block runs.

    Args:
        reader: What reads them.
        text: What is done, e.g. `reading epochs`.
        objects: How many objects are expected; where fewer are read, the count ends early.
    """
    done = 0
    with count_progress(text, "objects", make_console()) as progress:

        def count(number: int) -> None:
            nonlocal done
            done += number
            progress(min(done, objects), objects)

        progress(0, objects)
        before, reader.on_rows = reader.on_rows, count
        try:
            yield
        finally:
            reader.on_rows = before
