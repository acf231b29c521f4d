"""`sweeps plan --calibrate`: time a little of each kind of trial that no result compares with."""

from __future__ import annotations

from dataclasses import replace

from cluster.errors import Denied
from cluster.stores.base import Store
from sweeps.commands.context import (
    check_cache_folder,
    check_reachable,
    choose_store_url,
    get_cache_folder,
    open_results,
    plan_sweep,
    store_session,
)
from sweeps.commands.output import note
from sweeps.commands.stage import ensure_staged
from sweeps.driver.capacity import how_many_at_once
from sweeps.errors import SweepError
from sweeps.plan.choices import refuse_impossible_choices
from sweeps.plan.history import History, read_history, write_calibration
from sweeps.plan.plan import Plan, Trial
from sweeps.plan.timed import TimedTrial, calibrated_config, trial_kind
from sweeps.search.assumed import assume_trials
from sweeps.spec.model import Spec


def calibrate_sweep(spec: Spec, store_url: str | None) -> tuple[Plan, History]:
    """Plan a sweep, and time what no committed result compares with, on Ray.

    A generator's dataset is staged where it is not yet. No result is committed; the times are kept
    with the sweep's name in the store, for later plans and runs.

    Raises:
        SweepError: no node has what a trial asks for.
    """
    url = choose_store_url(store_url, spec)
    check_reachable(url)
    with store_session(url) as store:
        reader = open_results(store)
        plan = plan_sweep(spec, reader)
        refuse_impossible_choices(plan)
        history = replace(read_history(reader, assume_trials(plan, spec), spec), calibrated=())
        if not find_uncompared(plan, spec, history):
            note("calibration: results in the store compare with every trial that is left")
            return plan, history
        check_cache_folder()
        return _calibrate_on_ray(spec, plan, store, history)


def find_uncompared(plan: Plan, spec: Spec, history: History) -> list[Trial]:
    """Find one trial of each kind that nothing compares with, in the configuration to be timed."""
    plan = assume_trials(plan, spec)
    estimates = history.estimate(plan, spec.resources)
    first = {trial.cell: trial for trial in reversed(plan.to_run)}
    kinds: dict[str, Trial] = {}
    for cell in plan.cells:
        if cell in first and first[cell].id not in estimates.trials:
            timed = replace(first[cell], config=calibrated_config(first[cell].config))
            kinds.setdefault(trial_kind(timed, plan.facts).recipe, timed)
    return list(kinds.values())


def _calibrate_on_ray(
    spec: Spec, plan: Plan, store: Store, history: History
) -> tuple[Plan, History]:
    from cluster.jobs.session import ray_session

    with ray_session(f"calibrate-{spec.name}") as session:
        how_many_at_once(spec.resources.cpus, spec.resources.gpus, session.nodes)
        ensure_staged(spec, store)
        if plan.unknown is not None:  # counts of a dataset that was staged just now drop cells
            plan = plan_sweep(spec, open_results(store))
            refuse_impossible_choices(plan)
        timed = _time_kinds(find_uncompared(plan, spec, history), plan, spec, store)
    if timed:
        try:
            write_calibration(store, plan, spec.resources, timed)
        except Denied as error:
            note(f"the calibration is not kept, since the store cannot be written: {error}")
    return plan, replace(history, calibrated=timed)


def _time_kinds(trials: list[Trial], plan: Plan, spec: Spec, store: Store) -> list[TimedTrial]:
    """Time trials of distinct kinds one after the other, and say so on standard error."""
    from sweeps.driver.calibration import BOUND_S, KindToTime, calibrate_kinds
    from sweeps.trial.tasks import task_for

    kinds = [
        KindToTime(
            trial_kind(trial, plan.facts),
            task_for(trial, spec, store.url, get_cache_folder()),
            f"{trial.config.method_name} on {trial.config.specificity} with "
            f"{trial.config.model_name}",
        )
        for trial in trials
    ]

    def announce(number: int, kind: KindToTime) -> None:
        note(f"calibrating {number} of {len(kinds)}: {kind.words} (about {BOUND_S:.0f} s at most)")

    timed = []
    for outcome in calibrate_kinds(kinds, spec.resources, announce):
        note(f"  {outcome.words}")
        if outcome.timed is not None:
            timed.append(outcome.timed)
    if not timed:
        raise SweepError(
            f"sweep '{spec.name}': no kind of trial could be calibrated; the lines above say why. "
            "`sweeps plan` without --calibrate shows everything else"
        )
    return timed
