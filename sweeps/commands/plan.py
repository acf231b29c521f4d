"""`sweeps plan`: show cells, trials, hours and dollars before anything runs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from cluster.common.cpus import count_usable_cpus
from cluster.common.gpus import count_usable_gpus
from cluster.common.wording import count_of
from cluster.errors import ClusterError
from cluster.jobs.requests import api_address
from sweeps.commands.context import SpecSource, choose_store_url, open_results, store_session
from sweeps.commands.output import keep_stdout_for_json, print_json
from sweeps.plan.choices import refuse_impossible_choices
from sweeps.plan.compute import Compute, summarize
from sweeps.plan.facts import generator_facts, plan_on
from sweeps.plan.history import History, read_history
from sweeps.plan.packing import Pool, trials_on_node
from sweeps.plan.plan import Plan, make_plan
from sweeps.plan.render import as_dict, as_text
from sweeps.plan.spending import used_before
from sweeps.search.assumed import assume_trials
from sweeps.search.resolve import resolve_searches
from sweeps.spec.model import GeneratorDataset, Spec

PLAN_TIMEOUT_S = "5"
"""Seconds that `plan` waits for a store that is down; it can answer without one."""


def plan(
    source: SpecSource, store_url: str | None, *, calibrate: bool = False, as_json: bool = False
) -> int:
    """Print the plan of a sweep.

    Args:
        source: The sweep.
        store_url: The store; None is the specification's, $SWEEPS_STORE's or the embedded one.
        calibrate: Train a little of each kind of trial that no result compares with.
        as_json: Print a JSON document instead of text.
    """
    spec = source.file_spec
    if calibrate:
        from sweeps.commands.calibrate import calibrate_sweep

        with keep_stdout_for_json(as_json):
            planned, history = calibrate_sweep(spec, store_url)
    else:
        with _short_store_timeout():
            planned, history = plan_without_fail(spec, store_url)
    refuse_impossible_choices(planned)
    compute = estimate_compute(planned, spec, history)
    if as_json:
        print_json(as_dict(planned, spec, compute))
    else:
        print(as_text(planned, spec, compute))
    return 0


def plan_without_fail(spec: Spec, store_url: str | None) -> tuple[Plan, History]:
    """Plan a sweep, and read the times of trials so far, as far as the store has them.

    Where the store cannot be reached, or the dataset is not staged, ids and counts are left out.
    """
    try:
        with store_session(choose_store_url(store_url, spec)) as store:
            reader = open_results(store)
            planned = resolve_searches(plan_on(spec, reader), spec, reader)
            return planned, read_history(reader, assume_trials(planned, spec), spec)
    except ClusterError as error:
        dataset = spec.dataset
        facts = generator_facts(dataset) if isinstance(dataset, GeneratorDataset) else None
        return make_plan(spec, facts, unknown=str(error)), History()


def estimate_compute(plan: Plan, spec: Spec, history: History) -> Compute | None:
    """Estimate what is left to compute; None where trials are not known."""
    plan = assume_trials(plan, spec)
    if not plan.trials:
        return None
    estimates = history.estimate(plan, spec.resources)
    used = used_before(spec, history.own_rows, history.attempts)
    return summarize(plan, spec, estimates, find_pool(spec), used)


def find_pool(spec: Spec) -> Pool | None:
    """Find where the trials run: the nodes that the spec counts, else this machine.

    None where a cluster is named, whose size is not known without asking it, or where the spec
    prices nodes and does not count them.
    """
    of_compute, resources = spec.cost.compute, spec.resources
    if of_compute is not None and of_compute.count is not None:
        node, count = of_compute.chosen, of_compute.count
        nodes = count_of(count, "node")
        at_once = count * trials_on_node(resources.cpus, resources.gpus, node.cpus, node.gpus)
        return Pool(f"{nodes} of {of_compute.node}", at_once)
    names_cluster = os.environ.get("RAY_ADDRESS", "") not in ("", "local")
    if of_compute is not None or names_cluster or api_address(None) is not None:
        return None
    here = count_usable_cpus(), count_usable_gpus()
    return Pool("this machine", trials_on_node(resources.cpus, resources.gpus, *here))


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
