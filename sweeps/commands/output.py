"""Standard output is for results, as text or as one JSON document; the rest is for people."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from typing import Any


def note(text: str) -> None:
    """Print a line for people, on standard error."""
    print(text, file=sys.stderr, flush=True)


def print_json(document: Mapping[str, Any]) -> None:
    """Print a result as one JSON document."""
    print(json.dumps(document, indent=1, allow_nan=False))


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
