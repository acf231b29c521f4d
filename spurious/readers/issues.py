"""Collects what is wrong with a release, so that one run shows all of it."""

from __future__ import annotations

from spurious.errors import DataError

SHOWN = 20
"""Problems printed in full; the others are counted."""


class ReaderIssues:
    """A bounded list of problems found while indexing a dataset.

    Each problem is one sentence set: file and line, what is wrong, what was expected, what to do.
    """

    def __init__(self) -> None:
        self.shown: list[str] = []
        self.count = 0

    def add(self, problem: str) -> None:
        """Count one problem and keep its text while fewer than `SHOWN` are kept."""
        self.count += 1
        if len(self.shown) < SHOWN:
            self.shown.append(problem)

    def raise_if_any(self, source: str) -> None:
        """Raise one DataError with every kept problem; `source` names what was read."""
        if not self.count:
            return
        if self.count == 1:
            raise DataError(f"{source}: {self.shown[0]}")
        lines = [f"{source}: {self.count} problems", *(f"  - {text}" for text in self.shown)]
        if self.count > len(self.shown):
            lines.append(f"  - and {self.count - len(self.shown)} more")
        raise DataError("\n".join(lines))
