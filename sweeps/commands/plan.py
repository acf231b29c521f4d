"""`sweeps plan`: cells, trials and dollars before anything runs."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from cluster.errors import ClusterError
from sweeps.commands.context import SpecSource, chosen_store, opened_store
from sweeps.plan.archive import read_archive
from sweeps.plan.facts import generator_facts, plan_on
from sweeps.plan.plan import Plan, make_plan
from sweeps.plan.render import as_dict, as_text
from sweeps.spec.model import GeneratorDataset, Spec

PLAN_TIMEOUT_S = "5"
"""Seconds that `plan` waits for a store that is down: it can answer without."""


def plan(source: SpecSource, store_url: str | None, *, as_json: bool) -> int:
    """`sweeps plan`."""
    spec = source.file_spec
    with _short_of_patience():
        planned, seconds = plan_anyway(spec, store_url)
    print(
        json.dumps(as_dict(planned, spec), indent=1) if as_json else as_text(planned, spec, seconds)
    )
    return 0


def plan_anyway(spec: Spec, store_url: str | None) -> tuple[Plan, Mapping[str, float]]:
    """The plan and seconds per trial so far, as far as the store can tell.

    A store that cannot be reached, or a dataset that is not staged, leaves ids and counts out.
    """
    try:
        with opened_store(chosen_store(store_url, spec)) as store:
            return plan_on(spec, store), read_archive(store, spec.name).seconds
    except ClusterError as error:
        dataset = spec.dataset
        facts = generator_facts(dataset) if isinstance(dataset, GeneratorDataset) else None
        return make_plan(spec, facts, unknown=str(error)), {}


@contextmanager
def _short_of_patience() -> Iterator[None]:
    """Give an unavailable store PLAN_TIMEOUT_S, unless the user has set another time."""
    from cluster.stores.retry import TIMEOUT_VARIABLE

    chosen = os.environ.get(TIMEOUT_VARIABLE)
    os.environ[TIMEOUT_VARIABLE] = chosen or PLAN_TIMEOUT_S
    try:
        yield
    finally:
        if chosen is None:
            del os.environ[TIMEOUT_VARIABLE]
