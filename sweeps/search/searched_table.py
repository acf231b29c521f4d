"""What was tried in each cell as a table, which `sweeps pull` writes as `searched.parquet`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sweeps.plan.plan import Plan
from sweeps.plan.prices import cell_price
from sweeps.plan.searched import CellSearch, Tried, find_repeats, tried_row, with_values
from sweeps.results.keys import trial_key
from sweeps.results.packs import Fact
from sweeps.results.reader import ResultReader
from sweeps.results.schemas import parse_columns
from sweeps.spec.model import Spec
from sweeps.spec.search import owner_of

if TYPE_CHECKING:
    import pyarrow as pa

SEARCHED = parse_columns("""
    specificity | string | | of the cell: label, box, box=image, mask or r=N
    budget | string | | annotated training images asked for, or all
    method | string | | training method, without what was searched
    number | int64 | | place of the configuration in the cell's search, from 0
    options | string | | JSON: searched options with their values
    trial_ids | string | | its trials, one per seed of the search, separated by spaces
    state | string | | finished, stopped (early), failed (no value), or waiting (no result yet)
    metric | string | | metric on validation that configurations are compared by, as val.auroc
    value | float64 | | that metric, mean over seeds; of a stopped one at its last epoch
    dollars | float64 | USD | annotation of one trial, on the frontier's axis; NaN if unknown
    seconds | float64 | s | wall time of its trials, summed; NaN unless all have a result
    stopped_at | int64 | epoch | epoch after which it was stopped; else null
    same_as | int64 | | number of an earlier configuration with the same values; else null
    best | bool | | whether no other configuration is better in every metric
    chosen | bool | | whether the cell's trials have these options
""")


def searched_table(spec: Spec, plan: Plan, reader: ResultReader) -> pa.Table:
    """Return a row per configuration that a cell tried, columns of `SEARCHED`.

    Args:
        spec: A sweep with a search.
        plan: Its plan, with its searches.
        reader: The store's results.
    """
    import pyarrow as pa

    assert spec.search is not None
    seconds = _read_seconds(plan, reader)
    rows: list[dict[str, Any]] = []
    for search in plan.searches:
        dollars = _Dollars(spec, plan, search)
        same = find_repeats(search.tried)
        rows += [
            {
                **tried_row(search, tried),
                "metric": spec.search.metric[0],
                "dollars": dollars.of(tried),
                "seconds": math.fsum(seconds.get(each.id, math.nan) for each in tried.trials),
                "same_as": same.get(tried.number),
            }
            for tried in search.tried
        ]
    return pa.Table.from_pylist(
        rows, pa.schema([pa.field(each.name, pa.type_for_alias(each.type)) for each in SEARCHED])
    )


class _Dollars:
    """Prices configurations of a cell; options of training change no price."""

    def __init__(self, spec: Spec, plan: Plan, search: CellSearch) -> None:
        self._spec, self._facts, self._cell = spec, plan.facts, search.cell
        self._known: dict[tuple[Any, ...], float] = {}

    def of(self, tried: Tried) -> float:
        """Return the annotation dollars of one of its trials; NaN where they are unknown."""
        key = tuple(each for each in tried.values.items() if owner_of(each[0]))
        if key not in self._known:
            changed, cell = with_values(self._spec, self._cell, tried.values)
            price = cell_price(changed, cell, self._facts)
            self._known[key] = math.nan if price is None else price.dollars
        return self._known[key]


def _read_seconds(plan: Plan, reader: ResultReader) -> Mapping[str, float]:
    """Read how long the trials of searches took, by id; those without a result are left out."""
    tried = (trial.id for s in plan.searches for each in s.tried for trial in each.trials)
    committed = reader.listing.trials
    keys = [trial_key(trial_id) for trial_id in dict.fromkeys(tried) if trial_id in committed]
    outcomes = reader.look(keys)
    whole = [key for key in keys if isinstance(outcomes.get(key), Fact)]
    columns = ("trial_id", "seconds_total")
    rows = (row for part in reader.tables(whole, columns) for row in part.to_pylist())
    return {row["trial_id"]: row["seconds_total"] for row in rows}
