"""The plan of a sweep with a search: what results say was chosen, and what is still to be tried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sweeps.errors import PlanError
from sweeps.plan.cell import Cell
from sweeps.plan.facts import check_plan
from sweeps.plan.plan import DatasetFacts, Plan, Trial, find_older, model_reason, skip_reason
from sweeps.plan.prices import cell_price
from sweeps.plan.searched import CellSearch, Tried, dimensions_of, settings_of, with_values
from sweeps.plan.unfit import refuse_unfit, unfit_reason
from sweeps.results.reader import ResultReader
from sweeps.search.cell_run import CellRun, chosen_trials, waiting
from sweeps.search.stored import ListedObservations
from sweeps.spec.model import Spec
from sweeps.spec.search import Dimension, corners, describe_values, owner_of

if TYPE_CHECKING:
    from cluster.stores.base import Store

_CENT = 0.005


def resolve_searches(
    plan: Plan,
    spec: Spec,
    source: Store | ResultReader,
    archived: Mapping[str, Any] | None = None,
    *,
    verify: bool = True,
) -> Plan:
    """Return a plan with its searches as far as results go, and the trials of chosen options.

    Args:
        plan: Of a spec; one without a search is returned as it is.
        spec: Its spec.
        source: Where results are, or their reader.
        archived: What an earlier run wrote of its searches, `searches_dict`. Where these are over
            and of the same configurations they are believed, and results are not read again.
        verify: See `sweeps.plan.facts.plan_on`.

    Raises:
        PlanError: dollars are searched for, and nothing in the space changes any.
    """
    facts = plan.facts
    if spec.search is None or facts is None:
        return plan
    reader = ResultReader.of(source)
    kept = [(cell, _corner_reason(spec, cell, facts)) for cell in plan.cells]
    cells = [cell for cell, reason in kept if reason is None]
    _refuse_equal_dollars(spec, cells, facts)
    searches = _from_archive(spec, cells, facts, archived) or _from_results(
        spec, cells, facts, reader
    )
    resolved, trials = list[Cell](), list[Trial]()
    for search in searches:
        if search.is_over and (search.chosen is not None or not search.dimensions):
            cell, chosen = chosen_trials(spec, search, facts)
            resolved.append(cell)
            trials += chosen
        else:
            resolved.append(search.cell)
    committed = reader.listing.trials.keys()
    plan = replace(
        plan,
        cells=tuple(resolved),
        trials=tuple(trials),
        skipped=(*plan.skipped, *((cell, reason) for cell, reason in kept if reason is not None)),
        older=find_older(tuple(trials), committed, facts.training_images),
        searches=tuple(searches),
    )
    return check_plan(plan.refreshed(committed), reader, verify=verify)


def _from_results(
    spec: Spec, cells: Sequence[Cell], facts: DatasetFacts, reader: ResultReader
) -> list[CellSearch]:
    """Follow each cell's search from its first suggestion, all cells side by side."""
    observe = ListedObservations(reader)
    runs = [CellRun(spec, cell, facts) for cell in cells]
    going = runs
    while going:
        going = [run for run in going if run.advance(observe)]
        if not observe.read():
            break
    return [run.state() for run in runs]


def _from_archive(
    spec: Spec, cells: Sequence[Cell], facts: DatasetFacts, archived: Mapping[str, Any] | None
) -> list[CellSearch] | None:
    """Return archived searches; None where they are not over, or are others than the spec's."""
    search = spec.search
    if archived is None or search is None or archived["settings"] != settings_of(spec):
        return None
    by_cell = {(o["specificity"], o["budget"], o["method"]): o for o in archived["cells"]}
    searches = []
    for cell in cells:
        document = by_cell.get(cell.key)
        if document is None or not document["is_over"]:
            return None
        dimensions = dimensions_of(search, cell)
        if len(document["tried"]) != search.count_tries(dimensions):
            return None  # earlier versions tried combinations again where there are few
        tried: list[Tried] = []
        for each in document["tried"]:
            known = waiting(spec, cell, each["number"], each["values"], facts)
            if [trial.id for trial in known.trials] != each["ids"]:
                return None
            ended = {key: each[key] for key in ("state", "value", "dollars", "epoch")}
            tried.append(replace(known, **ended))
        best, chosen = tuple(document["best"]), document["chosen"]
        searches.append(CellSearch(cell, dimensions, tuple(tried), best, chosen, is_over=True))
    return searches


def _dimensions_of_options(spec: Spec, cell: Cell) -> list[Dimension]:
    """Return the dimensions of a cell that are options of its method or model."""
    assert spec.search is not None
    return [each for each in dimensions_of(spec.search, cell) if owner_of(each.name)]


def _corner_reason(spec: Spec, cell: Cell, facts: DatasetFacts) -> str | None:
    """Return why a searched option makes a cell impossible; None where nothing does."""
    dimensions = _dimensions_of_options(spec, cell)
    for values in corners(dimensions) if dimensions else ():
        changed, resolved = with_values(spec, cell, values)
        reason = (
            skip_reason(
                cell.specificity,
                cell.budget,
                resolved.method,
                spec.negatives_for(cell.specificity),
            )
            or model_reason(changed, resolved)
            or unfit_reason(resolved, facts)
        )
        if reason is not None:
            return f"with {describe_values(values)}: {reason}"
        refuse_unfit(changed, [resolved], facts)
    return None


def _refuse_equal_dollars(spec: Spec, cells: Sequence[Cell], facts: DatasetFacts) -> None:
    """Refuse dollars as a metric where every configuration of each cell costs the same."""
    if spec.search is None or not spec.search.by_dollars or facts.counts is None:
        return
    for cell in cells:
        prices = []
        for values in corners(_dimensions_of_options(spec, cell)):
            price = cell_price(*with_values(spec, cell, values), facts)
            prices += [] if price is None else [price.dollars]
        if prices and max(prices) - min(prices) > _CENT:
            return
    raise PlanError(
        f"sweep '{spec.name}': search.metric has dollars, and nothing in search.space changes what "
        "annotation costs; remove dollars from it, or search an option that does"
    )
