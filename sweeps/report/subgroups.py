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
from sweeps.report.inference.components import Images, Reading, arrange, take_reading
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
    divided = _Divided({})
    for table in source.read_predictions(sorted(trials)):
        key, epoch = trials[table.column("trial_id")[0].as_py()]
        part = _of_epoch(table, epoch)
        if not part.num_rows:
            continue
        if not divided.has(part):
            divided = _Divided.of(part, source)
        scores = part.column("score").to_numpy()
        for place, parts in divided.parts.items():
            _add(tallies.setdefault((key, *place), _Tally()), parts, scores)
    rows = _frame(empty, keys, divided.groupings, tallies)
    return Subgroups(rows, _notes(shown, divided.groupings, tallies))


def _of_epoch(table: pa.Table, epoch: int) -> pa.Table:
    import pyarrow.compute as pc

    return table.filter(pc.and_(pc.equal(table["split"], "test"), pc.equal(table["epoch"], epoch)))


@dataclass(frozen=True, eq=False)
class _Part:
    """What a metric reads of a subgroup: which rows of predictions, and their images."""

    rows: NDArray[np.bool_]
    images: Images


@dataclass(frozen=True, eq=False)
class _Divided:
    """Test images divided by every covariate, which trials on the same images share.

    Attributes:
        parts: Covariate and place of a subgroup to metric to what it reads.
        ids: Sample ids, in the order of the predictions.
        groupings: How each covariate divides them.
    """

    parts: Mapping[tuple[str, int], Mapping[str, _Part]]
    ids: Sequence[str] = ()
    groupings: Sequence[Grouping] = ()

    def has(self, table: pa.Table) -> bool:
        """Return whether predictions are of these images, in their order."""
        return bool(table.column("sample_id").to_pylist() == self.ids)

    @classmethod
    def of(cls, table: pa.Table, source: ReportInput) -> _Divided:
        """Divide the images of predictions."""
        directions = source.provenance.directions
        names = [n.removeprefix(PREFIX) for n in table.column_names if n.startswith(PREFIX)]
        ids, patients = (table.column(f"{of}_id").to_pylist() for of in ("sample", "patient"))
        labels = table.column("label").to_numpy()
        signs = [directions.get(name, 0) for name in names]
        robust = mostly_contradicts(labels, read_attributes(table, names), signs)
        samples, persons = np.array(ids, np.str_), np.array(patients, np.str_)
        groupings = group_images(source.covariates, ids)

        def part(rows: NDArray[np.bool_]) -> _Part:
            return _Part(
                rows, arrange(labels[rows], samples[rows].tolist(), persons[rows].tolist())
            )

        parts = {}
        for grouping in groupings:
            for place in range(len(grouping.names)):
                inside = grouping.codes == place
                both = {"auroc": part(inside), "robust_auroc": part(inside & robust)}
                parts[grouping.covariate, place] = both
        return cls(parts, ids, groupings)


def _add(tally: _Tally, parts: Mapping[str, _Part], scores: NDArray[np.float64]) -> None:
    for metric, part in parts.items():
        positives = int(part.images.positive.sum())
        tally.images[metric] = positives, len(part.images.positive) - positives
        if (reading := take_reading(part.images, scores[part.rows])) is not None:
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
        interval = judge(tally.readings[metric], positives, negatives)
        columns |= {
            f"{before}positives": positives,
            f"{before}negatives": negatives,
            f"{metric}_n": len(interval.seeds),
            f"{metric}_mean": interval.mean,
            f"{metric}_low": interval.low,
            f"{metric}_high": interval.high,
            f"{metric}_interval": interval.kind,
            f"{metric}_reason": interval.reason or None,
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
