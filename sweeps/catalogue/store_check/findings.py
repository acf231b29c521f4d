"""What is wrong in a store, what that costs, and what must go for it to be made again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

Progress = Callable[[str, int, int], None]
"""Called with what is checked, how many of them were, and their total."""


@dataclass(frozen=True)
class Finding:
    """One thing that is damaged.

    Attributes:
        kind: `dataset`, `result` and so on.
        name: Which: a dataset's name and digest, a trial's id, a key's last part.
        problem: What is wrong.
        cost: What must be staged or run again, or what is lost.
        keys: What must be removed for that; none where it is missing already, or must be judged by
            a person.
    """

    kind: str
    name: str
    problem: str
    cost: str
    keys: tuple[str, ...] = ()


@dataclass(frozen=True)
class Section:
    """One part of a store after its check.

    Attributes:
        kind: What it holds, in the plural.
        checked: How many.
        findings: What is damaged.
        unverified: How many could only be read, since they are from before there were hashes.
    """

    kind: str
    checked: int
    findings: Sequence[Finding] = ()
    unverified: int = 0
