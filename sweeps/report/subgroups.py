"""AUROCs of purchases within subgroups of test images: sex, age, site, scanner and the like.

Predictions are read trial by trial, of the purchases that are shown alone, and reduced at once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cluster.common.wording import count_of, has_or_have, is_or_are
from spurious.scoring.groups import mostly_contradicts
from sweeps.report.bands import Grouping, group_images
from sweeps.report.evidence import stack
from sweeps.report.inference.components import Reading, take_reading
from sweeps.report.inference.intervals import FEWEST_IMAGES, Interval, cell_interval
from sweeps.report.scored import PREFIX, read_attributes
from sweeps.report.shown import Shown
from sweeps.report.subgroup_columns import REPORT_SUBGROUPS
from sweeps.report.tables import REPORT_SCHEMA_VERSION, ReportInput

if TYPE_CHECKING:
    import pyarrow as pa

METRICS = ("auroc", "robust_auroc")
_KEY = ("specificity", "budget", "method")
_BEFORE = {"auroc": "", "robust_auroc": "robust_"}


@dataclass(frozen=True)
class Subgroups:
    """What is known of subgroups.

    Attributes:
        frame: Columns of `REPORT_SUBGROUPS`; no row where nothing is known.
        notes: Why there is nothing, or nothing of a covariate or purchase, a sentence each.
    """

    frame: pd.DataFrame
    notes: Sequence[str] = ()


@dataclass
class _Tally:
    """One purchase in one subgroup: readings of its seeds, and images of each class."""

    readings: dict[str, list[Reading]] = field(
        default_factory=lambda: {metric: [] for metric in METRICS}
    )
    images: dict[str, tuple[int, int]] = field(default_factory=dict)


def find_subgroups(source: ReportInput, priced: pd.DataFrame, shown: Shown) -> Subgroups:
    """Return AUROC and robust AUROC of each shown purchase in each subgroup of test images.

    Args:
        source: The report's input.
        priced: The result of `price_trials`.
        shown: The purchases.
    """
    empty = pd.DataFrame(columns=[column.name for column in REPORT_SUBGROUPS])
    if not source.covariates or source.read_predictions is None:
        return Subgroups(empty, (source.no_covariates,) if source.no_covariates else ())
    keys, trials = shown.keys, {}
    for trial in priced[priced["epoch"].notna()].to_dict("records"):
        if (key := (trial["specificity"], trial["budget"], trial["method"])) in keys:
            trials[trial["trial_id"]] = (key, int(trial["epoch"]))
    tallies: dict[tuple[Any, ...], _Tally] = {}
    groupings: list[Grouping] = []
    ids: NDArray[np.str_] = np.array([], np.str_)
    for table in source.read_predictions(sorted(trials)):
        key, epoch = trials[table.column("trial_id")[0].as_py()]
        images = _Images.of(table, epoch, source.provenance.directions)
        if images is None:
            continue
        if not np.array_equal(images.ids, ids):
            ids, groupings = images.ids, group_images(source.covariates, images.ids.tolist())
        for grouping in groupings:
            for place in range(len(grouping.names)):
                tally = tallies.setdefault((key, grouping.covariate, place), _Tally())
                _add(tally, images, grouping.codes == place)
    return Subgroups(_frame(empty, keys, groupings, tallies), _notes(shown, groupings, tallies))


@dataclass(frozen=True, eq=False)
class _Images:
    """A trial's test images at one epoch, in the order of their ids.

    Attributes:
        ids, patients: (N,) str.
        labels, scores: (N,).
        robust: (N,) bool, whether the spurious attribute contradicts the label.
    """

    ids: NDArray[np.str_]
    patients: NDArray[np.str_]
    labels: NDArray[np.int64]
    scores: NDArray[np.float64]
    robust: NDArray[np.bool_]

    @classmethod
    def of(cls, table: pa.Table, epoch: int, directions: Mapping[str, int]) -> _Images | None:
        """Read them; None where the predictions at this epoch are not stored."""
        import pyarrow.compute as pc

        mine = pc.and_(pc.equal(table.column("split"), "test"), pc.equal(table["epoch"], epoch))
        table = table.filter(mine)
        if not table.num_rows:
            return None
        names = [n.removeprefix(PREFIX) for n in table.column_names if n.startswith(PREFIX)]
        ids, patients = (
            np.array(table.column(name).to_pylist(), np.str_)
            for name in ("sample_id", "patient_id")
        )
        order = np.argsort(ids, kind="stable")
        labels, scores = (table.column(name).to_numpy()[order] for name in ("label", "score"))
        attributes = read_attributes(table, names)[order]
        signs = [directions.get(name, 0) for name in names]
        robust = mostly_contradicts(labels, attributes, signs)
        return cls(ids[order], patients[order], labels, scores, robust)


def _add(tally: _Tally, images: _Images, inside: NDArray[np.bool_]) -> None:
    for metric, rows in (("auroc", inside), ("robust_auroc", inside & images.robust)):
        labels = images.labels[rows]
        tally.images[metric] = int((labels == 1).sum()), int((labels == 0).sum())
        ids, patients = images.ids[rows].tolist(), images.patients[rows].tolist()
        reading = take_reading(labels, images.scores[rows], ids, patients)
        if reading is not None:
            tally.readings[metric].append(reading)


def _frame(
    empty: pd.DataFrame,
    keys: Sequence[tuple[str, str, str]],
    groupings: Sequence[Grouping],
    tallies: Mapping[tuple[Any, ...], _Tally],
) -> pd.DataFrame:
    rows = []
    for grouping in groupings:
        for key in keys:
            for place, (name, ends) in enumerate(zip(grouping.names, grouping.ends, strict=True)):
                if (tally := tallies.get((key, grouping.covariate, place))) is not None:
                    first: dict[str, Any] = dict(zip(_KEY, key, strict=True))
                    first |= {"covariate": grouping.covariate, "subgroup": name}
                    first |= {"place": place, "lowest": ends[0], "highest": ends[1]}
                    rows.append(first | _columns(tally))
    if not rows:
        return empty
    return pd.DataFrame(rows).assign(schema_version=REPORT_SCHEMA_VERSION)[list(empty.columns)]


def _columns(tally: _Tally) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    for metric, before in _BEFORE.items():
        positives, negatives = tally.images[metric]
        found = judge(tally.readings[metric], positives, negatives)
        columns |= {
            f"{before}positives": positives,
            f"{before}negatives": negatives,
            f"{metric}_n": len(found.seeds),
            f"{metric}_mean": found.mean,
            f"{metric}_low": found.low,
            f"{metric}_high": found.high,
            f"{metric}_interval": found.kind,
            f"{metric}_reason": found.reason or None,
        }
    return columns


def judge(readings: Sequence[Reading], positives: int, negatives: int) -> Interval:
    """Return the interval of a subgroup's AUROC; refused, without a mean, where images are few.

    A mean over few images says more of them than of the subgroup, so that none is given.

    Args:
        readings: One for each seed, of the subgroup's images.
        positives: Abnormal images of the subgroup.
        negatives: Normal ones.
    """
    fewest, cases = min(positives, negatives), min((r.cases for r in readings), default=0)
    if fewest < FEWEST_IMAGES:
        text = f"fewer than {FEWEST_IMAGES} images of a class"
        return Interval((), math.nan, reason=text, cases=cases)
    if not readings:
        return Interval((), math.nan, reason="no defined score", cases=cases)
    if cases < FEWEST_IMAGES:
        text = f"fewer than {FEWEST_IMAGES} patients with an image of a class"
        return Interval((), math.nan, reason=text, cases=cases)
    components, cases = stack([readings])
    return cell_interval([reading.value for reading in readings], components, cases)


def _notes(
    shown: Shown, groupings: Sequence[Grouping], tallies: Mapping[tuple[Any, ...], _Tally]
) -> tuple[str, ...]:
    notes = [f"No subgroups by {each.covariate}: {each.note}." for each in groupings if each.note]
    known = {key for key, *_ in tallies}
    if missing := [key for key in shown.keys if key not in known]:
        notes.append(
            f"{len(missing):,} of {count_of(len(shown.keys), 'purchase')} that "
            f"{is_or_are(len(shown.keys))} shown {has_or_have(len(missing))} no stored predictions "
            "at the epoch that counts."
        )
    return tuple(notes)
