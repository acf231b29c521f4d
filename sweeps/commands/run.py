"""`sweeps run`: runs what has no result yet, on Ray."""

from __future__ import annotations

from typing import Any

from cluster.stores.base import Store
from sweeps.commands.context import (
    SpecSource,
    cache_folder,
    check_reachable,
    chosen_store,
    opened_store,
    spec_of,
)
from sweeps.commands.stage import staged
from sweeps.errors import SweepError
from sweeps.plan.archive import archive
from sweeps.plan.facts import plan_on
from sweeps.plan.plan import Plan
from sweeps.results.tables import committed_ids, drop_checkpoints
from sweeps.spec.model import Spec


def run(source: SpecSource, store_url: str | None, *, keep_logs: bool = False) -> int:
    """Run what is missing; returns the exit status (0 all done, 1 some failed, 130 interrupted).

    Args:
        source: The sweep.
        store_url: The store; None is the specification's, $SWEEPS_STORE's or the embedded one.
        keep_logs: Leave the logs of a local Ray session, and print where they are.
    """
    spec = source.file_spec if source.digest is None else None
    url = chosen_store(store_url, spec)
    check_reachable(url)
    with opened_store(url) as store:
        from sweeps.driver.progress import make_console

        spec = spec or spec_of(source, store)
        console = make_console()
        plan = plan_on(spec, store)
        if plan.unknown is None and not plan.missing:
            _tidy(spec, store, plan)
            console.print(
                f"sweep '{spec.name}': all {len(plan.trials)} trials have a result; nothing to run",
                highlight=False,
            )
            return 0
        return _run_on_ray(spec, plan, store, console, keep_logs=keep_logs)


def _tidy(spec: Spec, store: Store, plan: Plan) -> None:
    """After a run: what the store remembers of the sweep, and no checkpoint without a use."""
    archive(store, spec, plan)
    if not spec.checkpoint.keep:
        drop_checkpoints(store, plan.done)


def _check_cache() -> None:
    """Refuse a folder that this machine's workers could not fill, before Ray starts.

    Raises:
        SweepError: the folder cannot be written.
        ClusterError: SWEEPS_CACHE_MAX is not a size.
    """
    from cluster.jobs.session import on_cluster
    from cluster.node_cache.eviction import cache_limit

    cache_limit()
    folder = cache_folder()
    try:
        if not on_cluster():  # whose nodes have folders of their own
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SweepError(
            f"cannot keep decoded datasets in {folder} ({error.strerror}): set SWEEPS_CACHE or "
            "SWEEPS_HOME to a folder that you can write"
        ) from error


def _run_on_ray(spec: Spec, plan: Plan, store: Store, console: Any, *, keep_logs: bool) -> int:
    from cluster.jobs.session import ray_session

    _check_cache()
    with ray_session(spec.name, keep_logs=keep_logs) as session:
        from sweeps.driver.runner import (
            run_plan,  # imports Ray, which the session must set up first
        )

        if session.dashboard:
            token = f" (token in {session.token_file})" if session.token_file else ""
            console.print(
                f"Ray dashboard: {session.dashboard}{token}", highlight=False, markup=False
            )
        staged(spec, store)
        # a dataset that was staged just now has counts, which can change what a cell may do
        is_final = plan.unknown is None
        plan = plan.refreshed(committed_ids(store)) if is_final else plan_on(spec, store)
        archive(store, spec, plan)
        status = run_plan(spec, plan, store, session, cache_folder(), console)
        _tidy(spec, store, plan.refreshed(committed_ids(store)))
        if keep_logs:
            console.print(f"Ray's logs: {session.folder}/logs", highlight=False, markup=False)
        return status
