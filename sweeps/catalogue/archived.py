"""The sweeps that a store knows by name, and which objects are theirs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cluster.stores.base import Store
from sweeps.errors import SweepError
from sweeps.plan.archive import SWEEPS, read_archive
from sweeps.spec.model import parse_spec


@dataclass(frozen=True)
class ArchivedSweep:
    """A sweep that was run under a name.

    Attributes:
        trials: Ids of its trials, those that searches tried included.
        planned: Ids of those that its report is of.
        is_searching: Whether a search of some cell was not over.
        keeps_checkpoints: Whether its specification keeps those of finished trials; true where this
            version cannot read it.
    """

    trials: frozenset[str]
    planned: frozenset[str]
    is_searching: bool
    keeps_checkpoints: bool

    @property
    def needed(self) -> frozenset[str]:
        """Ids of trials that it may still go on with."""
        return self.trials if self.is_searching else self.planned


def read_sweeps(store: Store) -> Mapping[str, ArchivedSweep]:
    """Read all archived sweeps of a store, by name.

    Raises:
        ResultError: the plan of one is damaged, so that nobody knows which objects are its.
    """
    names = [key.split("/")[1] for key in store.list(SWEEPS) if key.endswith("/plan.json")]
    return {name: _read(store, name) for name in names if name}


def _read(store: Store, name: str) -> ArchivedSweep:
    archived = read_archive(store, name)
    try:
        spec = parse_spec(archived.spec_text or "", f"{name} (stored)", archived.overrides)
        keeps = spec.checkpoint.keep
    except SweepError:
        keeps = True
    return ArchivedSweep(archived.trials, archived.planned, archived.is_searching, keeps)
