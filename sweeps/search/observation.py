"""What results say of a search's trials."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from sweeps.search.rungs import History, value_at

_EPOCH = re.compile(r"in epoch ([0-9]+)")


@dataclass(frozen=True)
class Observation:
    """What is known of one trial.

    Attributes:
        history: Validation metrics by epoch, as far as it has come.
        reached: The last epoch of that; 0 for none.
        kept_epoch: The kept epoch of a committed result; None without one.
        failed_at: The epoch in which its numbers became undefined, 0 where that is unknown; None
            where nothing says that they did.
    """

    history: History = field(default_factory=dict)
    reached: int = 0
    kept_epoch: int | None = None
    failed_at: int | None = None

    def value(self, keep: str, metric: str, until: int | None) -> float | None:
        """Return the metric after an epoch, or at the kept one; NaN if undefined, None if unknown.

        Args:
            keep: The trial's rule of the kept checkpoint.
            metric: As `val.auroc`.
            until: The epoch; None is the end, of which only a committed result knows.
        """
        if until is None and self.kept_epoch is not None:
            return self.history.get(self.kept_epoch, {}).get(metric, math.nan)
        if until is not None and (self.kept_epoch is not None or self.reached >= until):
            return value_at(self.history, keep, metric, until)
        if self.failed_at is not None and (until is None or self.failed_at <= until):
            return math.nan
        return None


Observe = Callable[[Collection[str]], Mapping[str, Observation]]
"""Takes trial ids, returns what the store has of each."""


def epoch_of_failure(message: str) -> int:
    """Return the epoch that the message of a numerical failure names; 0 where it names none."""
    match = _EPOCH.search(message)
    return 0 if match is None else int(match[1])
