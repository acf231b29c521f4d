"""A tiny sweep with every kind of table, run once, whose tables tests pull and query."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tiny_sweeps import TEXT, run_here

from cluster.stores.folder import FolderStore
from sweeps.cli import main
from sweeps.results.tables import record_failure
from sweeps.spec.model import parse_spec

ALL_TABLES = TEXT.replace("budget: [20]", "budget: [20, all]") + (
    "embeddings: true\nexplanations: true\nexamples: 2\nselect: {epoch: last}\n"
)
"""Eight trials, of which classifiers have no Dice; the rule of the report is not that of trials."""


@dataclass(frozen=True)
class PulledSweep:
    """Where it is.

    Attributes:
        store: With all results.
        spec: The YAML.
        tables: What `pull` wrote.
    """

    store: FolderStore
    spec: Path
    tables: Path

    @property
    def source(self) -> list[str]:
        """The arguments that name it."""
        return [str(self.spec), "--store", self.store.url]


def pull_sweep(folder: Path) -> PulledSweep:
    """Run it in this process and pull its tables."""
    (folder / "tiny.yaml").write_text(ALL_TABLES)
    store = FolderStore(folder / "store")
    plan = run_here(store, parse_spec(ALL_TABLES), folder / "cache")
    failure = {"trial_id": plan.trials[0].id, "attempt": "ff" * 6, "failure_class": "preempted"}
    failure |= {"message": "drained", "traceback": "first\nsecond", "log_tail": "", "node": "n"}
    record_failure(store, {**failure, "failed_at": datetime(2026, 1, 2, tzinfo=UTC)})
    sweep = PulledSweep(store, folder / "tiny.yaml", folder / "tables")
    assert main(["pull", *sweep.source, "--out", str(sweep.tables)]) == 0
    return sweep
