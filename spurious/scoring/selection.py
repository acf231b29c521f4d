"""Named rules that choose one epoch of a trial from its per-epoch metrics."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from spurious.errors import ConfigError
from spurious.scoring.registry import METRICS

SELECTABLE = tuple(metric.name for metric in METRICS.values() if metric.selectable)
"""Metrics that a report's rule may read."""
PER_EPOCH = tuple(name for name in SELECTABLE if METRICS[name].per_epoch)
"""Those that a rule of the kept checkpoint may read: training evaluates them every epoch."""
_RULE = re.compile(r"best (val|test)\.([a-z_]+)")


@dataclass(frozen=True)
class SelectionRule:
    """`last`, or `best SPLIT.METRIC`; a rule that reads the test split is an oracle."""

    split: str | None
    metric: str | None

    def __str__(self) -> str:
        return "last" if self.metric is None else f"best {self.split}.{self.metric}"

    @property
    def oracle(self) -> bool:
        """Whether the rule sees what a deployed model never would: the test split."""
        return self.split == "test"

    @property
    def needs_spurious_labels(self) -> bool:
        """Whether the rule needs spurious attributes annotated on the split it reads."""
        return self.metric is not None and METRICS[self.metric].needs_attributes

    @property
    def sees_every_epoch(self) -> bool:
        """Whether its metric is known at all epochs, not at the kept and the last one alone."""
        return self.metric is None or METRICS[self.metric].per_epoch


def parse_rule(text: str) -> SelectionRule:
    """Parse `last` or `best val.auroc` and the like.

    Raises:
        ConfigError: neither form, or an unknown metric.
    """
    if text == "last":
        return SelectionRule(None, None)
    match = _RULE.fullmatch(text)
    if match is None or match[2] not in SELECTABLE:
        names = ", ".join(SELECTABLE)
        raise ConfigError(
            f"'{text}' is not a selection rule; expected 'last' or 'best SPLIT.METRIC' with SPLIT "
            f"val or test and METRIC one of {names}"
        )
    return SelectionRule(match[1], match[2])


class Candidates:
    """Which evaluations a rule over metrics of validation could come to choose.

    A rule chooses the earliest epoch with the best value: strictly better than all before, by one
    metric of `PER_EPOCH`. NaN is never better. The first evaluation counts, too: it is kept while
    the metric of a rule is undefined.
    """

    def __init__(self) -> None:
        self._best: dict[str, float] = {}
        self._is_first = True

    def note(self, values: Mapping[str, float]) -> bool:
        """Take up the next evaluation; return whether it is a candidate.

        Args:
            values: `val.auroc`-like keys; those of other splits and metrics are ignored.
        """
        better = {}
        for name in PER_EPOCH:
            value = METRICS[name].sign * values.get(f"val.{name}", math.nan)
            if not math.isnan(value) and (name not in self._best or value > self._best[name]):
                better[name] = value
        is_candidate = self._is_first or bool(better)
        self._best |= better
        self._is_first = False
        return is_candidate


def charged_rules(
    select: SelectionRule | None, keep: SelectionRule, trains_by_keep: bool
) -> list[SelectionRule]:
    """Rules whose spurious labels a trial pays for.

    Args:
        select: The report's rule, or None for the trial's own.
        keep: The trial's own.
        trains_by_keep: Whether training went on from what the trial's own rule chose.

    Returns:
        The rule that chose the reported epoch, and the other where training depends on it; without
        oracles, which read what nobody could buy.
    """
    rules = [keep] if select is None else [select, keep][: 1 + trains_by_keep]
    return [rule for rule in rules if rule.needs_spurious_labels and not rule.oracle]


def select_epoch(rule: SelectionRule, rows: Sequence[Mapping[str, float]]) -> int | None:
    """Return the epoch that a rule chooses, ties going to the earliest (strictly better wins).

    Args:
        rule: The rule.
        rows: One mapping per evaluated epoch with `epoch` and `val.auroc`-like keys, in order.

    Returns:
        The epoch's number, or None where the metric is absent or NaN in every row.
    """
    if not rows:
        return None
    if rule.metric is None:
        return int(rows[-1]["epoch"])
    key = f"{rule.split}.{rule.metric}"
    sign = METRICS[rule.metric].sign
    best: tuple[float, int] | None = None
    for row in rows:
        value = row.get(key, math.nan)
        if not math.isnan(value) and (best is None or sign * value > best[0]):
            best = (sign * value, int(row["epoch"]))
    return None if best is None else best[1]
