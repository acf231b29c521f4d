"""What is odd about a trial's training, told from its curves."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
from sentence_facts import Facts, Trial


def events_of(f: Facts, trial: Any) -> set[str]:
    """Return undefined, one-sided or constant of the choice; diverged; never moved."""
    assert isinstance(trial, Trial)
    found, row = set(), trial.row
    curves = trial.curves
    name = str(row["keep_rule"]).removeprefix("best ")
    if name != "last":
        chose = curves.get(name, pd.Series(dtype=float))
        both = curves.get("val.auroc", pd.Series(dtype=float))
        if not chose.notna().any():
            found.add("undefined")
        elif name.startswith("val.") and len(both) and not both.notna().any():
            found.add("one-sided")
        elif len(chose) > 1 and chose.nunique(dropna=False) == 1:
            found.add("constant")
    for epoch in {int(row["kept_epoch"]), int(row["epochs"])}:
        train, val = (
            curves.get(f"{s}.loss", pd.Series(dtype=float)).get(epoch, 0.0)
            for s in ("train", "val")
        )
        far = val > 100 * math.log(2) or (val > 10 * math.log(2) and train > math.log(2))
        if not (math.isfinite(train) and math.isfinite(val)) or far:
            found.add("diverged")
    losses = [curves.get(f"{s}.loss", pd.Series(dtype=float)) for s in ("val", "test")]
    still = all(len(c) > 1 and c.nunique(dropna=False) == 1 for c in losses)
    noted = trial.history[trial.history["metric"].isin(["unmoved_weights"])]["value"].gt(0).any()
    if still or noted or _one_score(f, trial):
        found.add("never")
    return found


def _one_score(f: Facts, trial: Trial) -> bool:
    """Whether all images have one score at the kept epoch."""
    predictions = f.raw.predictions.get(str(trial.row["trial_id"]), pd.DataFrame())
    if predictions.empty:
        return False
    kept = predictions[predictions["epoch"] == trial.row["kept_epoch"]]
    return len(kept) > 0 and kept["score"].nunique() == 1
