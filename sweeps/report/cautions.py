"""What a reader must know of trials: what they noted themselves, and results without proof."""

from __future__ import annotations

import pandas as pd

from cluster.common.wording import count_of, is_or_are
from spurious.scoring.events import COVERING_REGIONS
from sweeps.report import soundness
from sweeps.report.cells import cell_keys
from sweeps.report.epochs import Epochs
from sweeps.report.tables import ReportInput
from sweeps.report.wording import describe_cell

MEANINGS = {
    "absent_groups": (
        "a group of label and spurious attribute has no image among those whose groups the method "
        "is told, so it cannot protect that group"
    ),
    "jtt_wrong_classes": (
        "nearly all images of a class count as errors of the first model, so the method is little "
        "else than ERM on balanced classes"
    ),
    "exemplars_alike": (
        "the good explanation has no more of its strongest pixels in the region than the bad one, "
        "so that the pair says little; name other examples, or train the first model longer"
    ),
    COVERING_REGIONS: (
        "at least 95 % of the regions that the method steers by cover the whole image, so that "
        "nothing is outside them and it is ERM on labels there"
    ),
}
"""Metrics that are above 0 in the epochs of a trial which has this to say."""
_ERRORS = "jtt_errors_y"
"""What the metrics of a class's errors of the first model begin with."""
NO_ERRORS = (
    "the first model has no error on its training images, so that the method is plain ERM there; "
    "lower first_epochs or raise first_weight_decay"
)
_ALL = {**MEANINGS, _ERRORS: NO_ERRORS, **soundness.MEANINGS}

_NAMED = 4


def cautions(
    cells: pd.DataFrame, priced: pd.DataFrame, epochs: Epochs, unsound: pd.DataFrame
) -> list[str]:
    """Return one sentence per method and what happened, with the purchases that it is about.

    What happens is in `MEANINGS` here and of `sweeps.report.soundness`.

    Args:
        cells: The result of `cells`.
        priced: The result of `price_trials`.
        epochs: Of these trials.
        unsound: The result of `sweeps.report.soundness.find_events`.
    """
    rows = epochs.rows
    events = rows[rows["metric"].isin(MEANINGS) & (rows["value"] > 0)]
    events = events[["trial_id", "attempt", "metric"]].drop_duplicates()
    events = pd.concat([events, _without_errors(rows), unsound])
    events = events.merge(priced, on=["trial_id", "attempt"])
    notes = []
    for (metric, method), rows in events.groupby(["metric", "method"], sort=True):
        undefined = set(cell_keys(rows))
        pairs = zip(cells["cell"], cell_keys(cells), strict=True)
        names = [
            describe_cell(cell).rsplit(", trained", 1)[0] for cell, key in pairs if key in undefined
        ]
        rest = [f"{len(names) - _NAMED} more"] if len(names) > _NAMED else []
        trials = count_of(int((priced["method"] == method).sum()), "trial")
        notes.append(
            f"{method}, {len(rows)} of {trials} ({'; '.join(names[:_NAMED] + rest)}): "
            f"{_ALL[str(metric)]}."
        )
    return notes


def _without_errors(epochs: pd.DataFrame) -> pd.DataFrame:
    """Return the attempts that counted errors of a first model, and none in any class."""
    counts = epochs[epochs["metric"].str.startswith(_ERRORS)]
    totals = counts.groupby(["trial_id", "attempt"])["value"].sum()
    return totals[totals == 0].index.to_frame(index=False).assign(metric=_ERRORS)


def integrity_notes(source: ReportInput) -> list[str]:
    """Return a sentence on results that are damaged and one on those that cannot be verified."""
    notes = []
    if source.damaged:
        named = [f"{label} ({reason})" for label, reason in source.damaged.items()][:_NAMED]
        more = len(source.damaged) - _NAMED
        notes.append(
            f"{count_of(len(source.damaged), 'result')} {is_or_are(len(source.damaged))} "
            f"damaged and left out: {'; '.join(named)}{f'; {more} more' if more > 0 else ''}. "
            "`sweeps run` computes them again."
        )
    if source.unverified:
        notes.append(
            f"{source.unverified} of {count_of(len(source.trials), 'result')} cannot be verified: "
            "written before results had checksums, so damage to their numbers would not be seen."
        )
    return notes
