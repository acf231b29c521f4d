"""What `run` says of trials whose result has no kept model, where the sweep asks for models."""

from __future__ import annotations

from cluster.common.wording import count_of
from sweeps.commands.output import note
from sweeps.plan.plan import Plan
from sweeps.results.kept import describe_no_model, model_keys
from sweeps.results.reader import ResultReader
from sweeps.spec.model import Spec

_NAMED = 4


def note_without_model(spec: Spec, plan: Plan, reader: ResultReader) -> None:
    """Print how many finished trials have no model, and what to do; nothing where all have."""
    if spec.keep is None or not plan.done:
        return
    having = model_keys(reader, plan.done)
    lacking = [trial.label for trial in plan.trials if trial.id in plan.done - having.keys()]
    if not lacking:
        return
    verb = "has" if len(lacking) == 1 else "have"
    named = [*lacking[:_NAMED], *([f"{len(lacking) - _NAMED} more"] if lacking[_NAMED:] else [])]
    who = f"{count_of(len(lacking), 'trial')} ({', '.join(named)}) {verb}"
    note(f"note: {describe_no_model(who)}")
