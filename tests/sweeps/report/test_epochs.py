"""Epochs in parts: what is kept of them, and what rules choose, against the plain rules."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from cluster.stores.folder import FolderStore
from spurious.scoring.operating_point import OperatingPoint
from spurious.scoring.selection import parse_rule, select_epoch
from sweeps.errors import ResultError
from sweeps.plan.cell import cell_of
from sweeps.report import processes, scoring
from sweeps.report.epochs import Epochs, gather
from sweeps.report.scoring import Scorer, score_trials
from sweeps.results.schemas import arrow_schema
from sweeps.results.tables import each_table, read_trials

BEFORE = Path(__file__).parents[1] / "store_before" / "store"
RULES = [
    parse_rule(text)
    for text in (
        "last",
        "best val.auroc",
        "best val.loss",
        "best test.robust_auroc",
        "best val.brier",
    )
]
METRICS = ("auroc", "robust_auroc", "loss", "dice")


def random_trials(seed: int) -> tuple[pd.DataFrame, list[pd.DataFrame], pd.DataFrame]:
    """Trials with values that often tie or are NaN; parts of whole trials; what predictions say."""
    random = np.random.default_rng(seed)
    trials, parts, scored = [], [], []
    for number in range(12):
        last = int(random.integers(1, 7))
        one = {"trial_id": f"{number:016x}", "attempt": f"a{number % 3}"}
        kept = int(random.integers(1, last + 1))
        trials.append({**one, "kept_epoch": kept, "epochs": last, "keep_rule": "best val.auroc"})
        rows: list[dict[str, Any]] = [
            {**one, "epoch": epoch, "split": split, "metric": metric, "attribute": attribute}
            for epoch in range(1, last + 1)
            for split in ("train", "val", "test")
            for metric in (METRICS if split != "train" else ("loss",))
            for attribute in ((None, "tube") if metric == "robust_auroc" else (None,))
            if random.random() > 0.1 or metric == "loss"
        ]
        for epoch in sorted({kept, last}):
            again = {**one, "epoch": epoch, "split": "val", "attribute": None}
            scored += [{**again, "metric": metric} for metric in ("auroc", "brier")]
        rows.append({**one, "epoch": 1, "split": "train", "metric": "jtt_errors_y0"})
        rows.append({**rows[0], "attempt": "lost"})
        parts.append(pd.DataFrame(rows))
    return (
        pd.DataFrame(trials),
        [with_values(part, random) for part in parts],
        with_values(pd.DataFrame(scored), random),
    )


def with_values(rows: pd.DataFrame, random: np.random.Generator) -> pd.DataFrame:
    """The columns of `epochs`, with few distinct values and some NaN."""
    values = random.choice([0.2, 0.5, 0.5, 0.7, math.nan], len(rows))
    groups = dict.fromkeys(("n_y0_s0", "n_y0_s1", "n_y1_s0", "n_y1_s1"), 3)
    table = rows.assign(schema_version=1, value=values, **groups)
    return table.reindex(columns=arrow_schema("epochs").names)


def as_arrow(table: pd.DataFrame) -> pa.Table:
    """As it is stored."""
    return pa.Table.from_pandas(table, schema=arrow_schema("epochs"), preserve_index=False)


def plain_history(trial: dict[str, Any], rows: pd.DataFrame) -> list[dict[str, float]]:
    """One mapping per evaluated epoch, from a long table."""
    mine = rows[(rows["trial_id"] == trial["trial_id"]) & (rows["attempt"] == trial["attempt"])]
    whole = mine[mine["attribute"].isna()]
    return [
        {
            "epoch": float(epoch),
            **{f"{row.split}.{row.metric}": row.value for row in of.itertuples()},
        }
        for epoch, of in whole.groupby("epoch")
    ]


@pytest.mark.parametrize("seed", range(6))
def test_rules_choose_what_the_plain_rules_do(seed: int) -> None:
    """Of all parts, with and without rows of other epochs; predictions replace what they have."""
    trials, parts, scored = random_trials(seed)
    key = ["trial_id", "attempt", "epoch", "split", "metric", "attribute"]
    whole = pd.concat([*parts, scored]).drop_duplicates(key, keep="last")
    pairs = [pd.concat(parts[place : place + 4]) for place in (0, 4, 8)]
    few = gather(trials, map(as_arrow, pairs), as_arrow(scored), RULES)
    every = Epochs.of(trials, pd.concat(parts), as_arrow(scored))
    for epochs in (few, every):
        places, numbers = epochs.histories.places, epochs.histories.epochs
        for rule in RULES:
            chosen = epochs.choose(rule)
            for trial in trials.to_dict("records"):
                row = chosen[places[trial["trial_id"]]]
                expected = select_epoch(rule, plain_history(trial, whole))
                assert (None if row < 0 else numbers[row]) == expected


@pytest.mark.parametrize("seed", range(3))
def test_rows_of_epochs_that_count_are_kept(seed: int) -> None:
    """Those of the kept, the last and the chosen epochs, and what is not of every epoch."""
    trials, parts, scored = random_trials(seed)
    rule = parse_rule("best val.loss")
    kept = gather(trials, map(as_arrow, parts), as_arrow(scored), [rule]).rows
    every = Epochs.of(trials, pd.concat(parts), as_arrow(scored)).rows
    assert "lost" not in set(every["attempt"])
    for trial in trials.to_dict("records"):
        mine = every[every["trial_id"] == trial["trial_id"]]
        best = select_epoch(rule, plain_history(trial, mine))
        counts = mine["epoch"].isin({trial["kept_epoch"], trial["epochs"], best})
        expected = mine[counts | mine["metric"].isin(["brier", "jtt_errors_y0"])]
        own = kept[kept["trial_id"] == trial["trial_id"]]
        order = ["epoch", "split", "metric", "attribute"]
        pd.testing.assert_frame_equal(
            *(frame.sort_values(order, ignore_index=True) for frame in (own, expected))
        )


@pytest.mark.parametrize("seed", range(3))
def test_what_is_constant_or_known_follows_from_stored_values(seed: int) -> None:
    """NaN that was stored differs from nothing stored; one epoch alone is not constant."""
    trials, parts, _ = random_trials(seed)
    histories = Epochs.of(trials, pd.concat(parts)).histories
    whole = pd.concat(parts)
    for name in ("val.auroc", "val.loss", "test.dice"):
        split, metric = name.split(".")
        for trial in trials.to_dict("records"):
            mine = whole[(whole["trial_id"] == trial["trial_id"]) & (whole["attempt"] != "lost")]
            values = mine[(mine["split"] == split) & (mine["metric"] == metric)]["value"]
            place = histories.places[trial["trial_id"]]
            constant = len(values) > 1 and values.nunique(dropna=False) == 1
            assert histories.is_constant(name)[place] == constant
            assert histories.is_known(name)[place] == values.notna().any()
            assert histories.count(name)[place] == len(values)


def test_a_metric_twice_at_an_epoch_is_refused() -> None:
    """The trial, the metric and the epoch are named, of a spurious attribute, too."""
    trials, parts, scored = random_trials(0)
    row = parts[3][parts[3]["attribute"] == "tube"].iloc[[0]]
    place = f"robust_auroc.tube of trial {row['trial_id'].item()} twice at epoch"
    with pytest.raises(ResultError, match=place):
        gather(trials, [as_arrow(pd.concat([parts[3], row]))], as_arrow(scored), None)


def test_processes_score_as_one_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """Value for value, whatever the number of trials and of processes."""
    store = FolderStore(BEFORE)
    ids = [path.stem for path in (BEFORE / "results" / "trials").glob("*.parquet")]
    trials = read_trials(store, ids)
    segments = [cell_of(config).segments for config in trials.column("config").to_pylist()]
    scorer = Scorer({"block": 1}, OperatingPoint())
    scored = []
    for worth in (10_000, 1):
        monkeypatch.setattr(processes, "_WORTH_PROCESSES", worth)
        monkeypatch.setattr(scoring, "_BATCH", 2)
        monkeypatch.setattr(processes, "_may_spawn", lambda: True)
        scored.append(score_trials(scorer, segments, each_table(store, "predictions", trials)))
    (rows, readings), (again, others) = scored
    assert rows is not None
    assert again is not None
    pd.testing.assert_frame_equal(rows.to_pandas(), again.to_pandas(), check_exact=True)
    assert readings.keys() == others.keys()
    for of, taken in readings.items():
        for metric, reading in taken.items():
            other = others[of][metric]
            assert (reading.value, reading.images) == (other.value, other.images)
            np.testing.assert_array_equal(reading.components, other.components)


def test_trials_without_a_row_have_no_history() -> None:
    """Nothing is chosen of them."""
    trials, parts, _ = random_trials(1)
    epochs = Epochs.of(trials, parts[0])
    assert list(epochs.histories.trials) == [trials["trial_id"][0]]
    assert len(epochs.choose(RULES[0])) == 1
    none = Epochs.of(trials, parts[0][:0])
    assert len(none.choose(RULES[0])) == len(none.rows) == 0
