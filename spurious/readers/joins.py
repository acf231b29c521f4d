"""Checks that files and rows of tables belong to each other."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from spurious.readers.issues import ReaderIssues

NAMED = 10
"""Names shown of each side."""


def check_rests(
    images: Collection[str], rows: Collection[str], table: str, issues: ReaderIssues
) -> None:
    """Report images without a row where there are rows without an image as well.

    Rests of one side are a partial download or unlabelled images; rests of both are most likely
    names that are spelled in two ways.
    """
    lone_images, lone_rows = set(images) - set(rows), set(rows) - set(images)
    if lone_images and lone_rows:
        issues.add(
            f"{len(lone_images)} images have no row in {table} ({name_some(lone_images)}), and "
            f"{len(lone_rows)} of its names have no image ({name_some(lone_rows)}); where they are "
            "the same, spell them alike, and else remove the images or the rows"
        )


def join_rows(
    files: Mapping[str, Path],
    rows: Collection[str],
    table: str,
    issues: ReaderIssues,
    *,
    rests: bool = False,
) -> dict[str, Path]:
    """Return the files that have a row, in order of their names; rests of both sides are reported.

    Args:
        files: By name, as the table spells it.
        rows: Names in the table.
        table: What the table is called.
        issues: Receives rests, and that nothing fits.
        rests: Whether the release itself has rests of both sides, which are then not reported.
    """
    joined = {name: files[name] for name in sorted(files.keys() & set(rows))}
    if issues.count:
        return joined
    if files and rows and not joined:
        issues.add(
            f"no row of {table} matches an image (a row is of '{min(rows)[:80]}', an image is "
            f"'{min(files)[:80]}'); use the table and the images of one release"
        )
    elif not rests:
        check_rests(files.keys(), rows, table, issues)
    return joined


def name_some(names: Iterable[str]) -> str:
    """Return up to `NAMED` names in order, and how many more there are."""
    held = sorted(names)
    shown = ", ".join(name[:80] for name in held[:NAMED])
    return shown if len(held) <= NAMED else f"{shown} and {len(held) - NAMED} more"
