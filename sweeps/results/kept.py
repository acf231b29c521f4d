"""Which trials have a kept model in the store."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from sweeps.results.keys import MODELS
from sweeps.results.reader import ResultReader
from sweeps.results.tables import read_trials

if TYPE_CHECKING:
    from cluster.stores.base import Store


def model_keys(source: Store | ResultReader, ids: Collection[str]) -> dict[str, str]:
    """Return the key of the kept model of each committed trial that has one, by trial id.

    A model of an attempt that was not committed is nobody's.
    """
    reader, of_attempts = ResultReader.of(source), dict[tuple[str, str], str]()
    below = next(iter(ids)) + "/" if len(ids) == 1 else ""
    for key in reader.store.list(MODELS + below):
        parts = key.split("/")
        if len(parts) == 4 and parts[1] in ids:
            of_attempts[parts[1], parts[2]] = key
    trials = read_trials(reader, {trial_id for trial_id, _ in of_attempts})
    columns = (trials.column(name).to_pylist() for name in ("trial_id", "attempt"))
    committed = zip(*columns, strict=True)
    return {each[0]: of_attempts[each] for each in committed if each in of_attempts}


def describe_no_model(who: str) -> str:
    """Say what a result without a kept model means, and how to have one.

    Args:
        who: Whose it is, with its verb, as `3 trials have`.
    """
    return (
        f"{who} a result but no kept model: `keep: model` was not set when it ran, or the model "
        "was deleted. A store computes each result once, so its model cannot be added here; run "
        "the sweep in another store: `sweeps run SPEC --set keep=model --store OTHER`"
    )
