"""`sweeps logs`: the driver's log of a submitted sweep, whole, of one trial or of one worker."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from cluster.errors import NotFound, Unavailable
from cluster.jobs.requests import api_address
from sweeps.commands.context import SpecSource, opened_store, trials_of, url_of
from sweeps.commands.ray_job import connected, job_of, name_of, note, show
from sweeps.errors import SweepError
from sweeps.results import tables as results

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_WORKER = re.compile(r"\(.*?\bpid=(?P<pid>\d+)(?:, ip=(?P<ip>[^)\s]+))?\) ?")
_TRIAL = re.compile(r"\S+ (?P<id>[0-9a-f]{16}): ")


@dataclass(frozen=True)
class Wanted:
    """Which lines are asked for.

    Attributes:
        trial: A trial's id or its first digits, or None for any.
        worker: Process id or IP address of a worker, or None for any. Ray names no address for
            workers on the driver's own node.
    """

    trial: str | None = None
    worker: str | None = None

    def __call__(self, line: str) -> bool:
        """Whether a line of the driver's log is asked for."""
        plain = _COLOUR.sub("", line)
        prefix = _WORKER.match(plain)
        if self.worker is not None and (
            prefix is None or self.worker not in (prefix["pid"], prefix["ip"])
        ):
            return False
        if self.trial is None:
            return True
        named = _TRIAL.match(plain, 0 if prefix is None else prefix.end())
        return named is not None and named["id"].startswith(self.trial)


def logs(
    source: SpecSource, store_url: str | None, address: str | None, wanted: Wanted, *, follow: bool
) -> int:
    """Print the wanted lines of the newest job of a sweep.

    Where no cluster can be asked, the failures in the store tell the last lines of a trial.

    Raises:
        SweepError: no cluster is named and no trial.
        ClusterError: the cluster cannot be asked, and no trial is named.
    """
    if wanted.trial is not None and not re.fullmatch("[0-9a-f]{1,16}", wanted.trial):
        raise SweepError(f"--trial {wanted.trial}: expected a trial's id, or its first digits")
    if wanted.trial is not None and address is None and api_address(None) is None:
        return _from_store(source, store_url, wanted.trial)
    try:
        api = connected(address)
        job = job_of(api, name_of(source))
    except (Unavailable, NotFound) as error:
        if wanted.trial is None:
            raise
        note(f"note: {error}")
        return _from_store(source, store_url, wanted.trial)
    if follow and job.live:
        lines: Iterable[str] = api.follow(job.id)
    else:
        lines = api.log(job.id).removesuffix("\n").split("\n")
    if not show(lines, wanted):
        note(f"note: no such line in the log of job {job.id} ({job.state})")
    return 0


def _from_store(source: SpecSource, store_url: str | None, trial: str) -> int:
    """Print what the failures table keeps of a trial's log."""
    with opened_store(url_of(source, store_url)) as store:
        _, plan = trials_of(source, store)
        ids = [found.id for found in plan.trials if found.id.startswith(trial)]
        failures = results.read_failures(store, ids).to_pylist()
    if not ids:
        raise SweepError(
            f"sweep '{plan.name}' has no trial {trial}: `sweeps plan --json` lists their ids"
        )
    if not failures:
        raise SweepError(
            f"the store keeps no log of trial {trial}: only failed attempts leave one; give "
            "--address for the cluster's"
        )
    when: Callable[[dict[str, Any]], Any] = lambda row: row["failed_at"]  # noqa: E731
    for row in sorted(failures, key=when):
        told = row["failed_at"].isoformat(timespec="seconds")
        print(
            f"{row['trial_id']} attempt {row['attempt']} failed {told} on {row['node'] or '?'}: "
            f"{row['failure_class']}: {row['message']}"
        )
        if row["log_tail"]:
            print(row["log_tail"])
    return 0
