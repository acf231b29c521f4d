"""Errors of the sweep layer, each one line that a user can act on."""

from __future__ import annotations


class SweepError(Exception):
    """Root of every error that `sweeps` raises on purpose; the command line exits with 2."""


class SpecError(SweepError):
    """A sweep YAML that cannot be taken: line, dotted key, what was given, what is allowed."""


class PlanError(SweepError):
    """A valid spec that cannot be planned on this dataset or store."""


class ResultError(SweepError):
    """A result table that is missing, of an unknown schema, or contradicts its trial."""


class DamagedResult(ResultError):
    """A result whose bytes or content are not what was written; its trial counts as not done."""


class TimeLimit(SweepError):
    """A trial that took as long as a trial may; its checkpoint is saved."""


class UnknownSweep(SweepError):
    """A store knows no sweep of the name that was given.

    Attributes:
        name: The name.
    """

    def __init__(self, name: str, place: str) -> None:
        """Say it of a store's URL, or of another word for its place."""
        super().__init__(
            f"no sweep '{name}' in {place}; expected the name of one that was run there, or a "
            "YAML file"
        )
        self.name = name
