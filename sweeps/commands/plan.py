"""`sweeps plan`: show cells, trials and dollars before anything runs."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from cluster.errors import ClusterError
from sweeps.commands.context import SpecSource, choose_store_url, store_session
from sweeps.commands.output import print_json
from sweeps.plan.archive import read_archive
from sweeps.plan.choices import refuse_impossible_choices
from sweeps.plan.facts import generator_facts, plan_on
from sweeps.plan.plan import Plan, make_plan
from sweeps.plan.render import as_dict, as_text
from sweeps.spec.model import GeneratorDataset, Spec

PLAN_TIMEOUT_S = "5"
"""Seconds that `plan` waits for a store that is down; it can answer without one."""


def plan(source: SpecSource, store_url: str | None, *, as_json: bool) -> int:
    """Print the plan of a sweep."""
    spec = source.file_spec
    with _short_store_timeout():
        planned, seconds = plan_without_fail(spec, store_url)
    refuse_impossible_choices(planned)
    if as_json:
        print_json(as_dict(planned, spec))
    else:
        print(as_text(planned, spec, seconds))
    return 0


def plan_without_fail(spec: Spec, store_url: str | None) -> tuple[Plan, Mapping[str, float]]:
    """Plan a sweep, and read its seconds per trial so far, as far as the store has them.

    Where the store cannot be reached, or the dataset is not staged, ids and counts are left out.
    """
    try:
        with store_session(choose_store_url(store_url, spec)) as store:
            return plan_on(spec, store), read_archive(store, spec.name).seconds
    except ClusterError as error:
        dataset = spec.dataset
        facts = generator_facts(dataset) if isinstance(dataset, GeneratorDataset) else None
        return make_plan(spec, facts, unknown=str(error)), {}


@contextmanager
def _short_store_timeout() -> Iterator[None]:
    """Wait PLAN_TIMEOUT_S for a store in the block, unless the user has set another time."""
    from cluster.stores.retry import TIMEOUT_VARIABLE

    chosen = os.environ.get(TIMEOUT_VARIABLE)
    os.environ[TIMEOUT_VARIABLE] = chosen or PLAN_TIMEOUT_S
    try:
        yield
    finally:
        if chosen is None:
            del os.environ[TIMEOUT_VARIABLE]
