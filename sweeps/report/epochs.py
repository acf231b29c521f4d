"""The `epochs` table as a report holds it: a matrix of all epochs, and rows of those that count.

A sweep of 10,000 trials and 150 epochs has 22 million rows. They are read part by part; of each,
the metrics that training evaluates go into `Histories`, and rows are kept of the epochs that some
rule chooses, of the kept and the last epoch, and of what training does not evaluate at every epoch.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from spurious.scoring.registry import METRICS
from spurious.scoring.selection import PER_EPOCH, SelectionRule
from sweeps.errors import ResultError
from sweeps.report.histories import Floats, Histories, Places, as_places, join
from sweeps.results.schemas import arrow_schema

if TYPE_CHECKING:
    Rules = Collection[SelectionRule | None]

_NAMED = ("split", "metric", "attribute")
_TEXTS = ("trial_id", "attempt", *_NAMED)
_BY_ATTRIBUTE = "robust_auroc"
"""The one metric of an attribute that is in the matrix, too."""


@dataclass(frozen=True)
class Epochs:
    """What is known of trials by epoch.

    Attributes:
        rows: Columns of `sweeps.results.schemas.EPOCHS`, of committed attempts.
        histories: Metrics of all epochs.
    """

    rows: pd.DataFrame
    histories: Histories

    @cached_property
    def _stored(self) -> dict[tuple[str, str], Places]:
        """(split, metric) to positions in `rows` of values that are of no attribute."""
        whole = np.flatnonzero(self.rows["attribute"].isna().to_numpy())
        groups = self.rows.iloc[whole].groupby(["split", "metric"]).indices
        return {_pair(key): whole[at] for key, at in groups.items()}

    def column(self, name: str) -> Floats:
        """Return `SPLIT.METRIC` or `SPLIT.robust_auroc.ATTRIBUTE` of all rows of `histories`.

        A metric of predictions is known at the kept and the last epoch; it is NaN at others.
        """
        if name in self.histories.names:
            return self.histories.column(name)
        values = np.full(len(self.histories.epochs), np.nan)
        split, metric = name.split(".", 1)
        if (split, metric) in self._stored:
            rows = self.rows.iloc[self._stored[split, metric]]
            trials = as_places(rows["trial_id"].map(self.histories.places))
            at = self.histories.find(trials, as_places(rows["epoch"]))
            values[at] = np.asarray(rows["value"], np.float64)
        return values

    def choose(self, rule: SelectionRule) -> Places:
        """Return the row of `histories` that a rule chooses in each trial, -1 where undefined."""
        values = None if rule.metric is None else self.column(f"{rule.split}.{rule.metric}")
        return self.histories.choose(rule, values)

    @classmethod
    def of(
        cls, trials: pd.DataFrame, epochs: pd.DataFrame, scored: pa.Table | None = None
    ) -> Epochs:
        """Return what a whole table holds, with all rows of committed attempts.

        Args:
            trials: Columns of `sweeps.results.schemas.TRIALS`.
            epochs: Columns of `sweeps.results.schemas.EPOCHS`; rows of other attempts are ignored.
            scored: What stored predictions say, as `gather` takes it.
        """
        schema = arrow_schema("epochs")
        table = pa.Table.from_pandas(epochs[schema.names], schema=schema, preserve_index=False)
        return gather(trials, [table], scored, None)


def gather(
    trials: pd.DataFrame,
    parts: Iterable[pa.Table],
    scored: pa.Table | None,
    rules: Rules | None,
) -> Epochs:
    """Return what tables hold that are read one after another.

    Args:
        trials: Columns of `sweeps.results.schemas.TRIALS`.
        parts: Rows of `epochs`, all those of a trial in one part; text may be by dictionary.
        scored: Rows that stored predictions give; they replace others of the same metric.
        rules: Those whose epochs' rows are kept; None keeps the rows of all epochs.

    Raises:
        ResultError: a trial has a metric twice at an epoch.
    """
    kept, histories = [], []
    predicted = _Predicted(trials, scored)
    for part in parts:
        coded = _Coded(trials, predicted.merge_into(part))
        history = coded.histories()
        histories.append(history)
        kept.append(coded.table if rules is None else coded.filter(trials, history, rules))
    schema = arrow_schema("epochs")
    whole = [table.cast(schema) for table in kept if table.num_rows]
    rows = pa.concat_tables(whole).to_pandas() if whole else schema.empty_table().to_pandas()
    return Epochs(rows, join(histories))


class _Predicted:
    """Rows of predictions, to be taken by trial."""

    def __init__(self, trials: pd.DataFrame, scored: pa.Table | None) -> None:
        self._table = None if scored is None else _by_dictionary(scored)
        self._place = {name: place for place, name in enumerate(trials["trial_id"])}
        self._trial = None if self._table is None else self._places(self._table)

    def _places(self, table: pa.Table) -> Places:
        codes, names = codes_of(table.column("trial_id"))
        return np.array([self._place.get(name, -1) for name in names], np.int64)[codes]

    def merge_into(self, part: pa.Table) -> pa.Table:
        """Return a part's rows of the attempts that count, those replaced that predictions have."""
        part = _by_dictionary(part)
        if self._table is None or self._trial is None or not part.num_rows:
            return part
        here = np.zeros(len(self._place) + 1, dtype=bool)  # the last is that of unknown trials
        here[self._places(part)] = True
        here[-1] = False
        mine = self._table.filter(pa.array(here[self._trial]))
        both = pa.concat_tables([part.cast(mine.schema), mine]).unify_dictionaries()
        keys = _row_keys(both)
        old = np.arange(len(keys)) < part.num_rows
        return both.filter(pa.array(~(old & np.isin(keys, keys[~old]))))


class _Coded:
    """Rows of `epochs` of the attempts that count, with their texts as numbers."""

    def __init__(self, trials: pd.DataFrame, table: pa.Table) -> None:
        codes, names = codes_of(table.column("trial_id"))
        place = {name: number for number, name in enumerate(trials["trial_id"])}
        trial = np.array([place.get(name, -1) for name in names] or [-1], np.int64)[codes]
        codes, names = codes_of(table.column("attempt"))
        number = {name: code for code, name in enumerate(names)}
        committed = np.array([number.get(name, -2) for name in trials["attempt"]] or [-2])
        mine = (trial >= 0) & (codes == committed[trial])
        self.table = table.filter(pa.array(mine))
        self._trial = trial[mine]
        self._epoch = self.table.column("epoch").to_numpy().astype(np.int64)
        self._ids = trials["trial_id"].to_numpy()
        _refuse_doubles(self.table, _row_keys(self.table))

    def histories(self) -> Histories:
        """Return the matrix of these rows; its trials are those that have any, by their place."""
        column, names = self._columns()
        counts = column >= _EVENT
        keys, row = np.unique(self._key()[counts], return_inverse=True)
        width = self._width
        trial, starts = np.unique(keys // width, return_index=True)
        values = np.full((len(keys), len(names)), np.nan)
        present = np.zeros(values.shape, dtype=bool)
        metric = column[counts] >= 0
        where = row[metric], column[counts][metric]
        values[where] = self.table.column("value").to_numpy()[counts][metric]
        present[where] = True
        ids = [str(self._ids[place]) for place in trial]
        starts = np.append(starts, len(keys)).astype(np.int64)
        return Histories(ids, starts, keys % width, names, values, present)

    @property
    def _width(self) -> int:
        return int(self._epoch.max(initial=0)) + 1

    def _key(self) -> Places:
        key: Places = self._trial * self._width + self._epoch
        return key

    def _columns(self) -> tuple[Places, list[str]]:
        """Return each row's column of the matrix, or what else it is, and the columns' names."""
        combined, kinds = combine(self.table)
        names = sorted({name for name in map(_column_of, kinds) if name is not None})
        numbers = {name: number for number, name in enumerate(names)}
        of_kind = [
            numbers.get(str(_column_of(kind)), _EVENT if kind[2] is None else _NEITHER)
            for kind in kinds
        ]
        return np.array(of_kind or [_NEITHER], np.int64)[combined], names

    def filter(self, trials: pd.DataFrame, histories: Histories, rules: Rules) -> pa.Table:
        """Return the rows of the epochs that count, and of what is not evaluated at each."""
        every, kinds = combine(self.table)
        lasting = np.array([_is_per_epoch(kind[1]) for kind in kinds] or [False])[every]
        needed = [trials["kept_epoch"].to_numpy(), trials["epochs"].to_numpy()]
        counts_here = np.any([of[self._trial] == self._epoch for of in needed], axis=0)
        place = {name: number for number, name in enumerate(histories.trials)}
        of_history = np.array([place.get(name, -1) for name in self._ids])
        for rule in rules:
            if rule is not None and rule.sees_every_epoch and len(histories.trials):
                chosen = histories.choose(rule)
                epoch = np.where(chosen >= 0, histories.epochs[chosen], -1)
                counts_here |= epoch[of_history[self._trial]] == self._epoch
        return self.table.filter(pa.array(~lasting | counts_here))


def _pair(key: Any) -> tuple[str, str]:
    return str(key[0]), str(key[1])


_EVENT, _NEITHER = -1, -2
"""Columns of rows that are in no matrix; the epoch of the first counts as evaluated."""


def _column_of(kind: tuple[str, str, str | None]) -> str | None:
    """Return the matrix column of (split, metric, attribute); None where it has none."""
    split, metric, attribute = kind
    if attribute is not None:
        return f"{split}.{metric}.{attribute}" if metric == _BY_ATTRIBUTE else None
    return f"{split}.{metric}" if metric in PER_EPOCH else None


def _is_per_epoch(metric: str) -> bool:
    return metric in METRICS and METRICS[metric].per_epoch


def codes_of(column: pa.ChunkedArray) -> tuple[Places, list[str]]:
    """Return a column of text as numbers, -1 for null, and what they stand for."""
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = array.chunk(0) if array.num_chunks else pa.array([], column.type)
    if not pa.types.is_dictionary(array.type):
        array = array.dictionary_encode()
    codes = pc.fill_null(array.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)
    return codes, array.dictionary.to_pylist()


def combine(table: pa.Table) -> tuple[Places, list[tuple[str, str, str | None]]]:
    """Return what each row is of as a number, and (split, metric, attribute) of each number."""
    parts = [codes_of(table.column(name)) for name in _NAMED]
    number = np.zeros(table.num_rows, np.int64)
    for codes, names in parts:
        number = number * (len(names) + 1) + codes + 1
    kinds, combined = np.unique(number, return_inverse=True)
    kinds_here = []
    for kind in kinds.tolist():
        texts: list[str | None] = []
        for _, names in reversed(parts):
            kind, code = divmod(kind, len(names) + 1)
            texts.append(names[code - 1] if code else None)
        attribute, metric, split = texts
        kinds_here.append((str(split), str(metric), attribute))
    return combined, kinds_here


def _row_keys(table: pa.Table) -> NDArray[np.int64]:
    """Return a number for each row's attempt, epoch, split, metric and attribute."""
    key: Places = combine(table)[0]
    for name in ("trial_id", "attempt"):
        codes, names = codes_of(table.column(name))
        key = key * (len(names) + 1) + codes
    epoch = table.column("epoch").to_numpy().astype(np.int64)
    key = key * (int(epoch.max(initial=0)) + 1) + epoch
    return key


def _refuse_doubles(table: pa.Table, keys: NDArray[np.int64]) -> None:
    _, first, counts = np.unique(keys, return_index=True, return_counts=True)
    if (counts > 1).any():
        row: Mapping[str, object] = table.slice(int(first[counts > 1][0]), 1).to_pylist()[0]
        attribute = "" if row["attribute"] is None else f".{row['attribute']}"
        raise ResultError(
            f"the epochs table has {row['split']}.{row['metric']}{attribute} of trial "
            f"{row['trial_id']} twice at epoch {row['epoch']}; pull the sweep's tables again"
        )


def _by_dictionary(table: pa.Table) -> pa.Table:
    """Return a table whose text is numbers into dictionaries of one type."""
    schema = arrow_schema("epochs")
    columns = []
    for field in schema:
        column = table.column(field.name)
        if field.name in _TEXTS:
            if not pa.types.is_dictionary(column.type):
                column = column.dictionary_encode()
            column = column.cast(pa.dictionary(pa.int32(), pa.string()))
        columns.append(column)
    return pa.table(columns, names=schema.names).unify_dictionaries()
