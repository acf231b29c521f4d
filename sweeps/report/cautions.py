"""What trials noted about their own training, and a reader of their cells must know."""

from __future__ import annotations

import pandas as pd

from sweeps.report.cells import cell_keys
from sweeps.report.wording import count, describe_cell

MEANINGS = {
    "absent_groups": (
        "a group of label and spurious attribute has no image among those whose groups the method "
        "is told, so it cannot protect that group"
    ),
    "jtt_wrong_classes": (
        "nearly all images of a class count as errors of the first model, so the method is little "
        "else than ERM on balanced classes"
    ),
}
"""Metrics that are above 0 in the epochs of a trial which has this to say."""

_NAMED = 4


def cautions(cells: pd.DataFrame, priced: pd.DataFrame, epochs: pd.DataFrame) -> list[str]:
    """Return one sentence per method and metric of `MEANINGS`, with the purchases that it is about.

    Args:
        cells: The result of `cells`.
        priced: The result of `price_trials`.
        epochs: Columns of `sweeps.results.schemas.EPOCHS`; rows of other attempts are ignored.
    """
    events = epochs[epochs["metric"].isin(MEANINGS) & (epochs["value"] > 0)]
    events = events[["trial_id", "attempt", "metric"]].drop_duplicates()
    events = events.merge(priced, on=["trial_id", "attempt"])
    notes = []
    for (metric, method), rows in events.groupby(["metric", "method"], sort=True):
        undefined = set(cell_keys(rows))
        pairs = zip(cells["cell"], cell_keys(cells), strict=True)
        names = [
            describe_cell(cell).rsplit(", trained", 1)[0] for cell, key in pairs if key in undefined
        ]
        rest = [f"{len(names) - _NAMED} more"] if len(names) > _NAMED else []
        trials = count(int((priced["method"] == method).sum()), "trial")
        notes.append(
            f"{method}, {len(rows)} of {trials} ({'; '.join(names[:_NAMED] + rest)}): "
            f"{MEANINGS[str(metric)]}."
        )
    return notes
