"""Reads from a store what estimates and limits rest on: times of committed trials, calibrations."""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cluster.errors import ClusterError, NotFound
from cluster.stores.base import Store
from sweeps.errors import DamagedResult, SweepError
from sweeps.plan.estimate import Estimates, estimate_seconds
from sweeps.plan.plan import Plan
from sweeps.plan.spending import reads_results
from sweeps.plan.timed import TimedTrial, as_record, choose_timed, from_record, rows_of
from sweeps.plan.used import Used, read_used
from sweeps.results.keys import trial_key
from sweeps.results.reader import ResultReader
from sweeps.spec.model import Resources, Spec

FORMAT = 1
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class History:
    """What is known of the time of trials.

    Attributes:
        rows: Rows of the table of trials with `timed.COLUMNS`.
        own_rows: Those of the sweep's own trials; all that are done where limits count them.
        calibrated: The sweep's last calibration.
        attempts: What earlier runs of the sweep recorded, see `sweeps.plan.used`.
    """

    rows: Sequence[Mapping[str, Any]] = ()
    own_rows: Sequence[Mapping[str, Any]] = ()
    calibrated: Sequence[TimedTrial] = ()
    attempts: Used = field(default_factory=dict)

    def estimate(self, plan: Plan, resources: Resources) -> Estimates:
        """Estimate the seconds of a plan's missing trials."""
        return estimate_seconds(plan, self.rows, resources, self.calibrated)


def calibration_key(name: str) -> str:
    """Return the key of a sweep's last calibration."""
    return f"sweeps/{name}/calibration.json"


def read_history(source: Store | ResultReader, plan: Plan, spec: Spec) -> History:
    """Read the times of some committed trials, and of all of the sweep's own if limits count them.

    A result that cannot be read is left out: here it decides nothing.
    """
    reader = ResultReader.of(source)
    committed = reader.listing.trials.keys()
    planned = {trial.id for trial in plan.trials} & plan.done
    chosen = set(choose_timed(plan, set(committed)))
    ids = chosen | planned if reads_results(spec.limits) else chosen
    rows = _read_rows(reader, ids & committed)
    return History(
        rows=[row for row in rows if row["trial_id"] in chosen],
        own_rows=[row for row in rows if row["trial_id"] in planned],
        calibrated=read_calibration(reader.store, plan, spec.resources),
        attempts=read_used(reader.store, spec.name),
    )


def _read_rows(reader: ResultReader, ids: Collection[str]) -> list[dict[str, Any]]:
    try:
        outcomes = reader.look([trial_key(trial_id) for trial_id in sorted(ids)])
    except (ClusterError, SweepError) as error:
        _log.info("results tell no time: %s", error)
        return []
    for key, outcome in outcomes.items():
        if isinstance(outcome, DamagedResult):
            _log.info("%s tells no time: %s", key, outcome)
    whole = [key for key, outcome in outcomes.items() if not isinstance(outcome, DamagedResult)]
    return [row for table in reader.tables(whole) for row in rows_of(table)]


def write_calibration(
    store: Store, plan: Plan, resources: Resources, timed: Sequence[TimedTrial]
) -> None:
    """Write a sweep's calibration in place of an earlier one; no trial's identity depends on it."""
    document = {
        "format": FORMAT,
        **_where(plan, resources),
        "timed": [as_record(of) for of in timed],
    }
    store.put(calibration_key(plan.name), (json.dumps(document, indent=1) + "\n").encode())


def read_calibration(store: Store, plan: Plan, resources: Resources) -> list[TimedTrial]:
    """Return the sweep's last calibration; none where the dataset or the resources are others."""
    try:
        document = json.loads(store.get(calibration_key(plan.name)))
        if document["format"] != FORMAT or document | _where(plan, resources) != document:
            return []
        return [from_record(record) for record in document["timed"]]
    except NotFound:
        return []
    except (ValueError, KeyError, TypeError) as error:
        _log.warning("%s is damaged and not used: %s", calibration_key(plan.name), error)
        return []


def _where(plan: Plan, resources: Resources) -> dict[str, Any]:
    """Return what a calibration is valid for."""
    digest = None if plan.facts is None else plan.facts.digest
    return {"dataset": digest, "gpus": resources.gpus, "threads": resources.threads}
