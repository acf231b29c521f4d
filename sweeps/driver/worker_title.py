"""The title of a worker's process: which trial it runs, and where that is."""

from __future__ import annotations

from cluster.jobs.ray_internals import name_worker
from sweeps.trial.telemetry import PULSE, harmless


class WorkerTitle:
    """Titles this worker while the `with` block runs, as `mask-600-erm-s0 12/150 (sweep)`.

    The dashboard names an actor once, when it is made, and an actor runs many trials; the list of
    a node's workers shows their titles.

    Args:
        sweep: Its name.
        label: The trial's short name.
        is_retried: Whether an earlier attempt of the trial was lost.
    """

    def __init__(self, sweep: str, label: str, *, is_retried: bool) -> None:
        self.sweep, self.label = sweep, label
        self.retried = ", tried again" if is_retried else ""
        self.reached = ""

    def __enter__(self) -> WorkerTitle:
        PULSE.add(self._show, at_once=True)
        return self

    def __exit__(self, *error: object) -> None:
        PULSE.remove(self._show)
        with harmless():
            name_worker(f"{self.sweep} (no trial)")

    def epoch(self, epoch: int, epochs: int) -> None:
        """Say where the trial is, from the next beat on."""
        self.reached = f" {epoch}/{epochs}"

    def _show(self) -> None:
        name_worker(f"{self.label}{self.reached} ({self.sweep}{self.retried})")
