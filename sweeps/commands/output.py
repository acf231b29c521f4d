"""Standard output is for results, as text or as one JSON document; the rest is for people."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from contextvars import ContextVar
from typing import Any


def note(text: str) -> None:
    """Print a line for people, on standard error."""
    print(text, file=sys.stderr, flush=True)


_taken: ContextVar[list[dict[str, Any]] | None] = ContextVar("taken", default=None)


def print_json(document: Mapping[str, Any]) -> None:
    """Print a result as one JSON document, or give it to who takes documents here."""
    text = json.dumps(document, indent=1, allow_nan=False)
    taken = _taken.get()
    if taken is None:
        print(text)
    else:
        taken.append(json.loads(text))


@contextmanager
def take_json() -> Iterator[list[dict[str, Any]]]:
    """Yield a list that gets the documents of commands in the block, which print none."""
    documents: list[dict[str, Any]] = []
    token = _taken.set(documents)
    try:
        yield documents
    finally:
        _taken.reset(token)


@contextmanager
def keep_stdout_for_json(as_json: bool) -> Iterator[None]:
    """Send what is printed in the block to standard error where a JSON document follows.

    Ray prints lines of workers, and libraries print warnings, to standard output.
    """
    if not as_json:
        yield
        return
    with redirect_stdout(sys.stderr):
        yield


def format_megabytes(size_bytes: int) -> str:
    """Format a size in MB (of 10^6 bytes), for a column."""
    return f"{size_bytes / 1e6:>11,.1f} MB"
