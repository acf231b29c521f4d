"""`sweeps run SPEC --debug TRIAL`: run one trial in this process, without Ray."""

from __future__ import annotations

import difflib
import logging
import pdb
import re
import sys
import traceback
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from cluster.common.redaction import redact
from cluster.common.wording import count_of
from cluster.stores.base import Store
from sweeps.commands.context import (
    SpecSource,
    check_cache_folder,
    choose_store_url_of,
    get_cache_folder,
    open_results,
    plan_sweep,
    read_spec,
    store_session,
)
from sweeps.commands.stage import ensure_staged
from sweeps.errors import PlanError, SweepError
from sweeps.plan.archive import archive
from sweeps.plan.plan import Plan, Trial
from sweeps.results.tables import checkpoint_key, trial_key
from sweeps.spec.model import Spec

if TYPE_CHECKING:
    from rich.console import Console

_ID = re.compile("[0-9a-f]{1,16}")
_MOST_LISTED = 5
_SHOWN_VALUES = ("train.loss", "val.robust_auroc", "val.auroc", "test.robust_auroc")
"""Values that an epoch's line shows where they exist; the epochs table has all of them."""


def debug(
    source: SpecSource, store_url: str | None, trial: str, *, post_mortem: bool = False
) -> int:
    """Run one trial here and commit its result as `sweeps run` does; a failure counts nowhere.

    Args:
        source: The sweep.
        store_url: The store; None is the specification's, $SWEEPS_STORE's or the embedded one.
        trial: The first digits of a trial's id, or its label such as `mask-20-erm-s1`.
        post_mortem: Enter `pdb` where the trial raises.

    Returns:
        0 where the trial has a result, 1 where it failed.

    Raises:
        SweepError: none or several trials match, or the one that does has a result already.
    """
    with store_session(choose_store_url_of(source, store_url)) as store:
        from sweeps.driver.progress import make_console

        spec = read_spec(source, store)
        plan = plan_sweep(spec, open_results(store))
        chosen = find_trial(plan, trial)
        if chosen.id not in plan.done and store.exists(trial_key(chosen.id)):
            raise _has_result(trial, chosen)  # of a search, whose results are not in `done`
        check_cache_folder()
        ensure_staged(spec, store, in_process=True)
        if plan.unknown is not None:  # counts of a dataset staged just now may exclude the trial
            plan = plan_sweep(spec, open_results(store))
        if chosen not in plan.with_tried:
            reason = dict(plan.skipped).get(chosen.cell, "its configuration changed")
            raise PlanError(f"trial {chosen.label} cannot run on this dataset: {reason}")
        archive(store, spec, plan)
        return _run(spec, chosen, store, make_console(), post_mortem=post_mortem)


def find_trial(plan: Plan, text: str) -> Trial:
    """Find the trial of a plan that a label or the first digits of an id name.

    Raises:
        SweepError: none or several trials match, or the one that does has a result already.
    """
    trials = plan.with_tried
    matches = [trial for trial in trials if trial.label == text]
    if not matches and _ID.fullmatch(text):
        matches = [trial for trial in trials if trial.id.startswith(text)]
    if not matches:
        names = [trial.label for trial in trials]
        near = difflib.get_close_matches(text, names, n=3)
        hint = f"nearest: {', '.join(near)}" if near else f"for example: {', '.join(names[:1])}"
        raise SweepError(
            f"--debug '{text}': sweep '{plan.name}' has {count_of(len(names), 'trial')}, none with "
            f"this label or id; {hint}; expected a label, or the first digits of an id, which "
            "`sweeps plan --json` lists"
        )
    if len(matches) > 1:
        more = f" and {len(matches) - _MOST_LISTED} more" if len(matches) > _MOST_LISTED else ""
        listed = ", ".join(f"{trial.id} ({trial.label})" for trial in matches[:_MOST_LISTED])
        raise SweepError(
            f"--debug {text}: {len(matches)} trials of sweep '{plan.name}' match: {listed}{more}; "
            "give more digits of the id"
        )
    [trial] = matches
    if trial.id in plan.done:
        raise _has_result(text, trial)
    return trial


def _has_result(text: str, trial: Trial) -> SweepError:
    return SweepError(
        f"--debug {text}: trial {trial.label} has a result already (`sweeps pull` writes it); "
        "to run it again, give an empty store, e.g. --store /tmp/debug, or delete "
        f"{trial_key(trial.id)} from this one"
    )


def _run(spec: Spec, trial: Trial, store: Store, console: Console, *, post_mortem: bool) -> int:
    """Run an attempt; print the traceback of an exception, and enter pdb where asked."""
    from sweeps.trial.failures import classify, describe_error
    from sweeps.trial.run import run_trial
    from sweeps.trial.tasks import task_for

    def print_line(text: str) -> None:
        console.print(text, markup=False, highlight=False)

    def show_epoch(epoch: int, epochs: int, values: Mapping[str, float]) -> None:
        print_line(f"epoch {epoch}/{epochs}  {_format_values(values)}")

    has_checkpoint = store.exists(checkpoint_key(trial.id))
    task = task_for(trial, spec, store.url, get_cache_folder(), has_checkpoint)
    resumes = "; continues from its checkpoint" if has_checkpoint else ""
    print_line(f"debugging {trial.label} {trial.id} in this process, without Ray{resumes}")
    try:
        with _without_command_log():
            attempt = uuid.uuid4().hex[:12]
            outcome = run_trial(task, attempt, show_epoch, records_failure=False)
    except Exception as error:  # noqa: BLE001 (any exception of a trial is what is debugged)
        print(redact(traceback.format_exc()), file=sys.stderr, end="")
        print_line(f"failed: {trial.label} {trial.id}: {classify(error)}: {describe_error(error)}")
        if post_mortem:
            pdb.post_mortem(error.__traceback__)
        return 1
    print_line(
        f"{trial.label} {outcome.state}: robust AUROC {outcome.robust_auroc:.3f} "
        f"in {outcome.seconds:.1f} s"
    )
    return 0


@contextmanager
def _without_command_log() -> Iterator[None]:
    """Remove the command's log handler in the block: a trial has one, which names the trial."""
    root = logging.getLogger()
    handlers = [handler for handler in root.handlers if type(handler) is logging.StreamHandler]
    for handler in handlers:
        root.removeHandler(handler)
    try:
        yield
    finally:
        for handler in handlers:
            root.addHandler(handler)


def _format_values(values: Mapping[str, Any]) -> str:
    """Format some of an epoch's values, three digits each."""
    return ", ".join(f"{name} {values[name]:.3f}" for name in _SHOWN_VALUES if name in values)
