"""What is true of a sweep's raw tables: trials at their epochs, dollars, cells, gate, ranks.

Plain tables in, plain numbers out, by definitions in the documents; nothing of the package is used.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from sentence_statistics import Array, Limits, Read, of_cell, of_difference
from sentence_trials import choose_epoch, count_items, value_at, what_happened

Key = tuple[str, str, str]
ABOVE = "shown to have learned the abnormality"
ORACLES = ("group-dro", "resample", "reweight")
NOUNS = {"label": "labels", "box": "boxes", "mask": "masks"}
ORDER = ["label", "box=image", "box"]


@dataclass(frozen=True, eq=False)
class Raw:
    """The tables and settings that a report is made from, as plain values.

    Attributes:
        trials, epochs, failures: As they are stored.
        predictions: Trial id to its rows, or to an empty table.
        planned: Specificity, budget, method, seed and trial id of every planned trial.
        prices: Name to value.
        directions: Attribute to 1 or -1.
        tables: The report's own Parquet tables, by name.
        others: Further settings that sentences speak of.
    """

    trials: pd.DataFrame
    epochs: pd.DataFrame
    failures: pd.DataFrame
    predictions: Mapping[str, pd.DataFrame]
    planned: Sequence[tuple[str, str, str, int, str]]
    prices: Mapping[str, float]
    axis: Sequence[str]
    margin: float
    rule: str | None
    directions: Mapping[str, int]
    compute: Mapping[str, float] | None
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    others: Mapping[str, Any] = field(default_factory=dict)


@dataclass(eq=False)
class Trial:
    """A finished trial at the epoch that counts."""

    row: Mapping[str, Any]
    epoch: int | None
    rule: str
    values: Mapping[str, float]
    reads: Mapping[str, Read | None]
    history: pd.DataFrame
    outcome: str | None
    parts: Mapping[str, float]
    dollars: float
    curves: Mapping[str, pd.Series[float]]
    items: Mapping[str, Mapping[str, float]]

    @property
    def key(self) -> Key:
        """Specificity, budget and method."""
        return self.row["specificity"], self.row["budget"], self.row["method"]


@dataclass(eq=False)
class Cell:
    """A planned purchase with what its seeds say."""

    key: Key
    planned: Sequence[int]
    trials: Sequence[Trial]
    failed: int
    robust: Limits = field(init=False)
    overall: Limits = field(init=False)

    def __post_init__(self) -> None:
        self.robust, self.overall = (
            of_cell(self.values(m), self.reads(m)) for m in ("robust_auroc", "auroc")
        )

    def values(self, metric: str) -> dict[int, float]:
        """Seed to defined value on test."""
        known = {t.row["seed"]: t.values[f"test.{metric}"] for t in self.trials}
        return {seed: value for seed, value in known.items() if not math.isnan(value)}

    def reads(self, metric: str) -> dict[int, Read | None]:
        """Seed to scores behind it; None where predictions lack."""
        return {t.row["seed"]: t.reads[metric] for t in self.trials}

    def mean(self, name: str) -> float:
        """Mean over seeds of a value, NaN left out."""
        of = np.array([t.values.get(name, math.nan) for t in self.trials], float)
        return float(np.nanmean(of)) if np.isfinite(of).any() else math.nan

    @property
    def name(self) -> str:
        """The purchase in words."""
        kind, budget, method = self.key
        shown = "all" if budget == "all" else f"{int(budget):,}"
        if kind == "box=image":
            return f"one box on each of {shown} images, trained with {method}"
        return f"{noun(kind)} on {shown} images, trained with {method}"

    @property
    def holes(self) -> list[int]:
        """Planned seeds without a defined robust AUROC."""
        return sorted(set(self.planned) - set(self.values("robust_auroc")))

    @property
    def named(self) -> str:
        """The purchase in words, with the seeds that it lacks."""
        if not self.holes:
            return self.name
        seeds = ", ".join(map(str, self.holes))
        return f"{self.name}, without seed{'s' * (len(self.holes) > 1)} {seeds}"

    def of_price(self, part: str = "") -> list[float]:
        """Dollars of every trial: on the axis, or of a part."""
        return [t.parts[part] if part else t.dollars for t in self.trials]

    @property
    def dollars(self) -> float:
        """Mean dollars on the axis."""
        return round(float(np.mean(self.of_price())), 8) if self.trials else math.nan

    @property
    def segments(self) -> bool:
        """Whether its models are segmenters."""
        return any("unet" in str(t.row["model"]) for t in self.trials)

    @property
    def oracle(self) -> bool:
        """Whether its method is given the groups."""
        return self.key[2].partition("(")[0] in ORACLES

    def unlearned(self) -> str | None:
        """Why it is not ranked, by its own numbers."""
        if not self.trials:
            return None
        for what in ("diverged", "did not move"):
            n = sum(t.outcome == what for t in self.trials)
            if 2 * n >= len(self.trials):
                s = "s" * (len(self.trials) > 1)
                return f"training {what} in {n} of {len(self.trials)} seed{s}"
        val, dice = self.mean("val.auroc"), self.mean("val.dice")
        if math.isnan(val):
            return "the AUROC on validation is undefined"
        if val <= 0.5:
            return f"the AUROC on validation is {val:.2f}, no better than chance"
        if self.segments and not dice > 0:
            return f"the Dice on validation is {'undefined' if math.isnan(dice) else '0'}"
        if self.overall.kind != "none" and self.overall.low <= 0.5:
            return f"the overall AUROC's lower limit is {self.overall.low:.2f}, not above chance"
        if self.overall.mean <= 0.5:
            return f"the overall AUROC is {self.overall.mean:.2f}, no better than chance"
        return None


def noun(kind: str) -> str:
    """A specificity as the tables have it."""
    if kind == "box=image":
        return "boxes (one per image)"
    return f"coarse masks (r = {kind[2:]})" if kind.startswith("r=") else NOUNS[kind]


class Facts:
    """Everything that sentences are held to."""

    def __init__(self, raw: Raw) -> None:
        self.raw = raw
        done = {str(row["trial_id"]): row for row in raw.trials.to_dict("records")}
        histories = dict(list(raw.epochs.groupby("trial_id")))
        self.trials = [self._trial(row, histories[name]) for name, row in sorted(done.items())]
        self.failed_ids = set(raw.failures["trial_id"])
        seeds: dict[Key, list[int]] = defaultdict(list)
        self.unfinished: list[tuple[Key, int, str]] = []
        for *key, seed, trial_id in raw.planned:
            of: Key = (key[0], key[1], key[2])
            seeds[of].append(seed)
            if trial_id not in done:
                self.unfinished.append((of, seed, trial_id))
        by_key: dict[Key, list[Trial]] = defaultdict(list)
        for trial in sorted(self.trials, key=lambda t: t.row["seed"]):
            by_key[trial.key].append(trial)
        lost = [key for key, _, trial_id in self.unfinished if trial_id in self.failed_ids]
        self.cells = [
            Cell(key, seeds[key], by_key[key], lost.count(key)) for key in sorted(seeds, key=_place)
        ]
        self.named = {cell.name: cell for cell in self.cells}
        self.reasons = {cell.key: cell.unlearned() for cell in self.cells}
        self.reasons |= self.not_chosen
        self._differences: dict[Any, Limits] = {}

    def _trial(self, row: Mapping[Any, Any], history: pd.DataFrame) -> Trial:
        whole = history[history["attribute"].isna()]
        wide = whole.pivot_table("value", "epoch", ["split", "metric"], dropna=False)
        predictions = self.raw.predictions.get(str(row["trial_id"]), pd.DataFrame())
        curves = {  # of the epochs in which it was measured
            f"{s}.{m}": rows.set_index("epoch")["value"].sort_index()
            for (s, m), rows in whole.groupby(["split", "metric"])
        }
        reads: dict[int, dict[str, Read | None]] = {}
        for epoch in sorted(set(predictions.get("epoch", []))):
            for split in ("val", "test"):
                at = predictions[(predictions["epoch"] == epoch) & (predictions["split"] == split)]
                both = self._read(at)
                for metric, read in both.items():
                    known = curves.setdefault(f"{split}.{metric}", pd.Series(dtype=float))
                    known.loc[epoch] = math.nan if read is None else read.auroc
                if split == "test":
                    reads[epoch] = both
        rule = row["keep_rule"] if self.raw.rule is None else self.raw.rule
        epoch = (
            int(row["kept_epoch"]) if self.raw.rule is None else choose_epoch(rule, curves, wide)
        )
        names = [f"{s}.{m}" for s in ("val", "test") for m in ("auroc", "robust_auroc", "dice")]
        values = {name: value_at(curves, name, epoch) for name in {*names, *curves}}
        none: dict[str, Read | None] = {"auroc": None, "robust_auroc": None}
        items = count_items(row, self.raw.rule)
        click = self.raw.prices["seconds_per_click"] * self.raw.prices["wage_per_hour"] / 3600
        parts = {
            part: click * sum(self.raw.prices[name] * n for name, n in of.items())
            for part, of in items.items()
        }
        compute = self.raw.compute
        parts["compute"] = math.nan if compute is None else compute[row["trial_id"]]
        dollars = sum(parts[part] for part in self.raw.axis)
        taken = reads.get(epoch, none) if epoch is not None else none
        outcome = what_happened(curves, epoch, self.scores_moved(predictions))
        return Trial(
            *(row, epoch, rule, values, taken, whole, outcome, parts, dollars, curves), items=items
        )

    @staticmethod
    def scores_moved(predictions: pd.DataFrame) -> bool:
        """Whether stored scores on validation differ between two epochs."""
        if predictions.empty:
            return False
        val = predictions[predictions["split"] == "val"]
        wide = val.pivot(index="sample_id", columns="epoch", values="score").to_numpy()
        return bool((wide != wide[:, :1]).any())

    def _read(self, rows: pd.DataFrame) -> dict[str, Read | None]:
        rows = rows.sort_values("sample_id")
        against = self.count_against(rows)
        reads: dict[str, Read | None] = {}
        for metric, of in (("auroc", np.ones(len(rows), bool)), ("robust_auroc", against > 0)):
            of_rows = rows[of]
            read = Read(
                *(tuple(of_rows["sample_id"]), of_rows["label"].to_numpy()),
                *(of_rows["score"].to_numpy(), of_rows["patient_id"].to_numpy()),
            )
            reads[metric] = read if len(set(read.labels)) == 2 else None
        return reads

    def count_against(self, rows: pd.DataFrame) -> Array:
        """(N,) attributes that contradict an image's label minus those that agree with it."""
        labels = rows["label"].to_numpy()
        against = np.zeros(len(rows))
        for name, sign in self.raw.directions.items():
            attribute = rows[f"spurious_{name}"]
            known = attribute.notna().to_numpy()
            goes = np.where(attribute.fillna(False).astype(bool), 1, 0)
            goes = goes if sign > 0 else 1 - goes
            against += np.where(known, np.where(goes != labels, 1, -1), 0)
        return against

    @cached_property
    def not_chosen(self) -> dict[Key, str]:
        """Why a value of a grid is not ranked: another had the higher AUROC on validation."""
        reasons: dict[Key, str] = {}
        for keys in self.raw.others.get("grids", ()):
            grid = [cell for cell in self.cells if cell.key in keys and cell.trials]
            of = [{t.row["seed"]: t.values["val.auroc"] for t in cell.trials} for cell in grid]
            shared = sorted(set.intersection(*map(set, of))) if of else []
            if not shared:
                why = "not chosen on validation: no seed has a result of each"
                reasons |= {cell.key: why for cell in grid}
                continue
            means = [float(np.mean([values[seed] for seed in shared])) for values in of]
            known = [-math.inf if math.isnan(mean) else mean for mean in means]
            best = known.index(max(known))
            for cell, mean in zip(grid, means, strict=True):
                if cell is grid[best]:
                    continue
                here = "\N{EN DASH}" if math.isnan(mean) else f"{mean:.3f}"
                text = f"not chosen on validation: AUROC {here} there, "
                winner = grid[best].key[2]
                same = f"as {winner}, which comes first"
                reasons[cell.key] = text + (
                    same if mean == means[best] else f"{winner} has {means[best]:.3f}"
                )
        return reasons

    @cached_property
    def ranked(self) -> list[Cell]:
        """Cells that learned and have a defined robust AUROC."""
        return [c for c in self.cells if self.reasons[c.key] is None and c.values("robust_auroc")]

    @cached_property
    def best(self) -> Cell | None:
        """The ranked one with the highest mean; of equals the cheapest, then the first."""
        return min(self.ranked, key=lambda c: (-c.robust.mean, c.dollars), default=None)

    def front(self) -> list[Cell]:
        """Ranked ones that nothing else ranked beats on dollars and on the mean."""
        of = [c for c in self.ranked if not math.isnan(c.dollars)]
        return [
            c
            for c in of
            if not any(
                o.dollars <= c.dollars
                and o.robust.mean >= c.robust.mean
                and (o.dollars < c.dollars or o.robust.mean > c.robust.mean)
                for o in of
            )
        ]

    def difference(self, first: Cell, second: Cell, metric: str = "robust_auroc") -> Limits:
        """Second minus first."""
        known = self._differences
        if (key := (first.key, second.key, metric)) not in known:
            sides = [(cell.values(metric), cell.reads(metric)) for cell in (first, second)]
            known[key] = of_difference(*sides)
        return known[key]

    def own(self, cell: Cell, column: str) -> float:
        """What the report's own table of cells has of a cell."""
        return float(self._own_cells.at[cell.key, column])

    @cached_property
    def _own_cells(self) -> pd.DataFrame:
        return self.raw.tables["cells"].set_index(["specificity", "budget", "method"]).sort_index()


def _place(key: Key) -> tuple[float, float, str]:
    kind, budget, method = key
    at = (
        1000.0 if kind == "mask" else 3.0 + int(kind[2:]) if kind[:2] == "r=" else ORDER.index(kind)
    )
    return float(at), math.inf if budget == "all" else float(budget), method
