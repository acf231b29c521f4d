"""Phantom films that several tests write in several formats, drawn once."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

from spurious.generators.releases.films import FilmOptions, PhantomFilm, draw_films


@cache
def films_of(options: FilmOptions) -> tuple[PhantomFilm, ...]:
    """The films of a release."""
    return tuple(draw_films(options))


def write_shared(write: Callable[..., Any], folder: Path, options: FilmOptions) -> None:
    """Let a writer write films that are drawn already."""
    writer = sys.modules[write.__module__]
    with mock.patch.object(writer, "draw_films", lambda options, progress=None: films_of(options)):
        write(folder, options)
