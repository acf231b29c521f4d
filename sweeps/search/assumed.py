"""What a search is still going to run, as far as its length tells: for estimates of hours alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from sweeps.plan.plan import DatasetFacts, Plan, Trial, make_trial
from sweeps.plan.searched import CellSearch
from sweeps.spec.model import Spec


def assume_trials(plan: Plan, spec: Spec) -> Plan:
    """Return a plan with the trials of its searches beside its own, each of them whole.

    Those with a result are done. Of what is not suggested yet each is taken for one with the
    options of the axes, and so are the trials of the options that will be chosen; their ids name
    nothing, their cells, numbers and seeds are those of the trials that come.
    """
    facts = plan.facts
    if not plan.searches or facts is None:
        return plan
    known = {trial.id: trial for trial in plan.trials}
    finished: set[str] = set()
    for search in plan.searches:
        for tried in search.tried:
            if tried.state in ("finished", "waiting"):
                known |= {trial.id: trial for trial in tried.trials}
            if tried.state == "finished":
                finished |= {trial.id for trial in tried.trials}
    assumed = [
        trial
        for search in plan.searches
        if not search.is_over
        for trial in _assume(spec, search, facts)
    ]
    return replace(plan, trials=(*known.values(), *assumed), done=plan.done | finished)


def _assume(spec: Spec, search: CellSearch, facts: DatasetFacts) -> Iterator[Trial]:
    assert spec.search is not None
    by_seed = {
        seed: make_trial(spec, search.cell, seed, facts)
        for seed in dict.fromkeys((*spec.search_seeds, *spec.axes.seed))
    }
    for number in range(len(search.tried), spec.search.count_tries(search.dimensions)):
        for seed in spec.search_seeds:
            trial = by_seed[seed]
            yield replace(trial, id=f"{trial.id}-{number}", suggestion=number)
    for seed in spec.axes.seed:
        if seed not in spec.search_seeds:  # the search itself trains these
            yield replace(by_seed[seed], id=f"{by_seed[seed].id}-chosen")
