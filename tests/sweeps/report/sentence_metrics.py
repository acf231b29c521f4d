"""Claims of the tables of metrics, measures, published numbers and explanations."""

from __future__ import annotations

import math

import pandas as pd
from sentence_claims import (
    LIMIT,
    limits,
    near,
    plural,
    record_of,
    row_cell,
    same,
    spread,
    table,
)
from sentence_document import Entry, Table
from sentence_facts import Cell, Facts
from sentence_statistics import t_limits


def _metrics(f: Facts, of: Table) -> None:
    """Means and t-intervals of the report's own long table, seed by seed."""
    long = f.raw.tables["metrics"]
    long = long[long["split"] == "test"]
    for record in of.records():
        row = record_of(record)
        cell = row_cell(f, row)
        attribute = row["attribute"].main if "attribute" in row else None
        mine = long[(long[["specificity", "budget", "method"]] == list(cell.key)).all(axis=1)]
        mine = mine[
            mine["attribute"].isna() if attribute is None else mine["attribute"] == attribute
        ]
        assert int(row["seeds"].main) == len(cell.trials)
        for heading, entry in record.items():
            name = f.raw.others["metric_names"].get(heading.rstrip("↑↓ "))
            if name is None:
                continue
            values = mine.loc[mine["metric"] == name, "value"].dropna().to_numpy()
            undefined = len(cell.trials) - len(values)
            if entry.main == "\N{EN DASH}" and not entry.more:
                assert not len(values) or name in ("dice",)
                continue
            near(entry.main, float(values.mean()) if len(values) else math.nan)
            parts = [p for more in entry.more for p in more.split(", ")]
            if undefined:
                same(parts.pop(), f"{undefined} undefined")
            low, high = t_limits(values) if len(values) else (math.nan, math.nan)
            bounded = name != "loss"
            low, high = (max(low, 0.0), min(high, 1.0 if bounded else high))
            if name in ("auroc_gap", "alignment_y0", "alignment_y1"):
                continue
            spread(", ".join(parts), low, high)


def is_metrics(columns: tuple[str, ...]) -> bool:
    """Whether a table is of metrics of cells."""
    return columns[:3] in (("buy", "images", "method"), ("annotation", "images", "method"))


for start in (("buy", "images", "method"), ("annotation", "images", "method")):
    table(*start, "loss ↓")(_metrics)
    table(*start, "accuracy ↑")(_metrics)
    table(*start, "worst-group accuracy ↑")(_metrics)
    table(*start, "attribute", "sensitivity, s = 0 ↑")(_metrics)
    table(*start, "attribute", "worst-group accuracy ↑")(_metrics)


@table("metric", "name")
def glossary_md(f: Facts, of: Table) -> None:
    """Metrics by name."""
    known = f.raw.others["metric_names"]
    for record in of.records():
        row = record_of(record)
        same(known[row["metric"].main[:1].upper() + row["metric"].main[1:]], row["name"].main)
        assert row["better"].main in ("higher", "lower", "neither")


@table("metric", "name in rules and tables")
def glossary(f: Facts, of: Table) -> None:
    """Likewise."""
    names = {record["Name in rules and tables"].main for record in of.records()}
    assert len(names) == len(of.rows)
    assert names >= {"auroc", "robust_auroc", "dice"}


@table("buy", "images", "method", "attribute", "variance")
def measures(f: Facts, of: Table) -> None:
    """Means over seeds, of the epochs table."""
    for row in map(record_of, of.records()):
        cell = row_cell(f, row)
        assert int(row["seeds"].main) <= len(cell.trials)
        ids = [t.row["trial_id"] for t in cell.trials]
        e = f.raw.others["merged_epochs"]
        mine = e[e["trial_id"].isin(ids)]
        values = mine.loc[mine["metric"] == "variance_measure", "value"].dropna().to_numpy()
        near(row["variance"].main, float(values.mean()) if len(values) else math.nan)
        low, high = t_limits(values) if len(values) else (math.nan, math.nan)
        spread(row["variance"].below, max(low, 0.0), high)
        for y in ("0", "1"):
            of_y = mine[(mine["metric"] == f"alignment_y{y}") & (mine["split"] == "test")]
            of_y = of_y.loc[of_y["attribute"] == row["attribute"].main, "value"].dropna().to_numpy()
            entry = row[f"alignment, y = {y}"]
            near(entry.main, float(of_y.mean()) if len(of_y) else math.nan)
            low, high = t_limits(of_y) if len(of_y) else (math.nan, math.nan)
            spread(entry.below, max(low, -1.0), min(high, 1.0))
        _gap(row, cell, mine)


def _gap(row: dict[str, Entry], cell: Cell, mine: pd.DataFrame) -> None:
    """AUROC gaps of the epochs that count, which only trained sweeps have."""
    of = mine[(mine["metric"] == "auroc_gap") & (mine["split"] == "test")]
    of = of[of["attribute"] == row["attribute"].main].set_index(["trial_id", "epoch"])["value"]
    at = [(t.row["trial_id"], t.epoch) for t in cell.trials]
    gaps = of.reindex(at).dropna().to_numpy()
    entry = row["auroc gap"]
    near(entry.main, float(gaps.mean()) if len(gaps) else math.nan)
    low, high = t_limits(gaps) if len(gaps) else (math.nan, math.nan)
    spread(entry.below, max(low, -1.0), min(high, 1.0))


table("annotation", "images", "method", "attribute", "variance")(measures)


def published(f: Facts, of: Table) -> None:
    """Measured means, limits and differences; what stands in the paper is as printed."""
    own = f.raw.tables["published"]
    for row in map(record_of, of.records()):
        if row["measured"].main in ("\N{EN DASH}", "not measured"):
            same(row["difference"].main, "\N{EN DASH}")
            continue
        cell = row_cell(f, row)
        mine = own[(own[["specificity", "budget", "method"]] == list(cell.key)).all(axis=1)]
        metric = f.raw.others["metric_names"].get(of.heading, "")
        mine = mine[mine["metric"] == metric]
        assert len(mine) >= 1, of.heading
        place = next((i for i in range(len(mine)) if _is_near(row["measured"].main, mine, i)), None)
        assert place is not None, f"{row['measured'].main}, the tables say {mine['measured_mean']}"
        one = mine.iloc[place]
        if metric == "robust_auroc" and one["rule"] is None:
            near(row["measured"].main, cell.robust.mean)
            if cell.robust.seeds:
                limits(row["measured"].below, cell.robust)
        assert int(row["seeds"].main) == one["measured_n"]
        difference = one["measured_mean"] - one["published_mean"]
        text = row["difference"].main
        near(text.removeprefix("+"), difference)
        assert text.startswith("+") == (difference > 0), f"'{text}': {difference}"
        if not math.isnan(one["published_mean"]):
            near(row["published"].main.partition(" ")[0], one["published_mean"], LIMIT)


def _is_near(text: str, rows: object, place: int) -> bool:
    try:
        near(text, float(rows["measured_mean"].iloc[place]))  # type: ignore[index]
    except AssertionError:
        return False
    return True


for buy in ("buy", "annotation"):
    table(buy, "images", "method", "published", "measured")(published)


@table("buy", "images", "method", "map", "in")
def explained(f: Facts, of: Table) -> None:
    """Means over seeds of the report's own long table."""
    own = f.raw.tables["explanation_means"]
    kinds = {"saliency": "saliency", "Grad-CAM": "grad-cam", "predicted pixels": "prediction"}
    for row in map(record_of, of.records()):
        cell = row_cell(f, row)
        mine = own[(own[["specificity", "budget", "method"]] == list(cell.key)).all(axis=1)]
        region = row["in"].main.removesuffix(" (spurious)")
        region = {"boxes": "box"}.get(region, region)
        mine = mine[(mine["explanation"] == kinds[row["map"].main]) & (mine["region"] == region)]
        for name, column in (
            ("share", "share"),
            ("precision", "activation_precision"),
            ("pointing", "pointing"),
            ("chance", "chance"),
        ):
            near(row[name].main, float(mine[column].mean()))
        assert int(row["seeds"].main) == mine["share"].notna().sum()
        assert plural(len(mine), "row")


table("annotation", "images", "method", "map", "in")(explained)
