"""What a run costs: compute dollars spent so far and expected to its end, and hours at the end."""

from __future__ import annotations

import time

from sweeps.driver.board import Board
from sweeps.driver.gpu_shares import GpuShares
from sweeps.plan.packing import Share
from sweeps.plan.spending import Spending, format_used

_HOUR = 3600.0


class Bill:
    """Prices what trials of a run had, and what those that are left are expected to need.

    Args:
        spending: The sweep's bookkeeping; its times are those of `time.monotonic`.
        board: Where the run stands.
        shares: What trials need of a GPU, where that is measured.
    """

    def __init__(self, spending: Spending, board: Board, shares: GpuShares | None = None) -> None:
        self._spending, self._board, self._shares = spending, board, shares

    def used(self) -> dict[str, float]:
        """Return what this run's attempts used so far, by the name of each limit."""
        return self._spending.used_by_run(time.monotonic())

    def spent(self) -> float:
        """Return the dollars of this run's attempts so far, of those that run with them."""
        return self.used()["dollars"]

    def expected(self) -> float | None:
        """Return the dollars of the whole run, None before anything tells how fast trials are."""
        left = self._board.sum_left(self._dollars_per_second)
        return None if left is None else self.spent() + left

    def describe_dollars(self) -> str:
        """Return dollars so far and to the end in words; empty where the spec has no price."""
        if self._spending.spec.cost.compute is None:
            return ""
        spent, expected = format_used("dollars", self.spent()), self.expected()
        if expected is None:
            return f"{spent} spent"
        return f"{spent} spent of {format_used('dollars', expected)} expected"

    def describe_use(self) -> str:
        """Return what the run used in the end, in words, and what the sweep used before it."""
        used, before = self.used(), self._spending.before
        parts = [_describe(name, amount, before[name]) for name, amount in used.items() if amount]
        compute = self._spending.spec.cost.compute
        at = "" if compute is None else f", at the price of {compute.node}"
        return f"this run used {', '.join(parts) or 'nothing'}{at}"

    def _dollars_per_second(self, trial_id: str) -> float:
        share = self._spending.default_share
        if self._shares is not None:
            share = Share(share.cpus, self._shares.share(trial_id))
        return self._spending.dollars_per_hour(share) / _HOUR


def _describe(name: str, used: float, before: float) -> str:
    """Return such as `2.10 GPU-hours (5.30 GPU-hours with earlier runs)`."""
    earlier = f" ({format_used(name, used + before)} with earlier runs)" if before else ""
    return format_used(name, used) + earlier
