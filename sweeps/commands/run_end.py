"""How a run ended, as it is posted to the URL of --notify."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from sweeps.commands.notify import Event, Status, notify
from sweeps.plan.plan import Plan, Trial
from sweeps.spec.model import Spec

_USED = ("cpu_hours", "gpu_hours", "dollars")
EXIT_LIMIT = 3
"""Exit status of a command whose sweep a limit stopped."""
_STATUS: dict[int, Status] = {0: "done", 1: "failed", EXIT_LIMIT: "limit", 130: "interrupted"}


@dataclass
class RunEnd:
    """What is known of a run so far.

    Attributes:
        sweep: Name of the sweep; until the specification was read, what the user typed.
        is_limit_ok: Whether the command ends well where a limit stopped it.
        began: `time.monotonic` of the command's start.
        status: How it ended as an exit status, once there is one, limits told apart.
        plan: The plan after the run, once there is one.
        failed: Trials without a result of which an attempt failed.
        classes: Failure class of each of these attempts.
        limit: Which limit stopped it, by what and what to do; empty otherwise.
        used: GPU-hours, CPU-hours and dollars of this run's attempts, by the name of each limit.
    """

    sweep: str
    is_limit_ok: bool = False
    began: float = field(default_factory=time.monotonic)
    status: int | None = None
    plan: Plan | None = None
    failed: Sequence[Trial] = ()
    classes: Sequence[str] = ()
    limit: str = ""
    used: Mapping[str, float] = field(default_factory=dict)

    def note_end(self, limit: str, used: Mapping[str, float]) -> None:
        """Note which limit stopped the run, and what it used."""
        self.limit, self.used = limit, used

    @property
    def exit_status(self) -> int:
        """The command's exit status, of a run that came to an end."""
        assert self.status is not None
        return 0 if self.status == EXIT_LIMIT and self.is_limit_ok else self.status

    @property
    def seconds(self) -> float:
        """Wall-clock seconds since the start."""
        return round(time.monotonic() - self.began, 3)

    def counts(self) -> dict[str, int]:
        """Count trials, as `sweeps status` does; empty before the plan is made."""
        if self.plan is None:
            return {}
        return {
            "trials": len(self.plan.trials),
            "done": len(self.plan.done),
            "failed": len(self.failed),
            "missing": len(self.plan.missing) - len(self.failed),
        }

    def summary(self, spec: Spec) -> dict[str, float | None]:
        """Count trials, and the seconds, hours and dollars of the run; see `sweeps run --help`."""
        used: dict[str, float | None] = {name: self.used.get(name, 0.0) for name in _USED}
        if spec.cost.compute is None:
            used["dollars"] = None  # nodes have no price
        return {**self.counts(), "seconds": self.seconds, **used}

    @contextmanager
    def posted(self, url: str | None) -> Iterator[None]:
        """Post to a URL how the block ended; with None post nothing."""
        try:
            yield
        except KeyboardInterrupt:
            notify(url, self._event("interrupted", 130))
            raise
        except Exception as error:
            notify(url, self._event("error", 2, str(error)))
            raise
        if self.status is not None:
            status = _STATUS.get(self.status, "error")
            notify(url, self._event(status, self.exit_status, self.limit))

    def _event(self, status: Status, exit_status: int, message: str = "") -> Event:
        return Event(
            "limit" if status == "limit" else "end",
            self.sweep,
            status,
            exit_status,
            **self.counts(),
            seconds=self.seconds,
            failures=dict(sorted(Counter(self.classes).items())),
            message=message,
        )
