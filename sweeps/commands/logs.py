"""`sweeps logs`: print the log of a sweep, here or on a cluster, or of one trial or worker."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import itemgetter

from cluster.common.redaction import redact
from cluster.errors import NotFound, Unavailable
from cluster.jobs.requests import api_address
from cluster.jobs.session_folder import TOKEN, FoundSession, find_sessions
from cluster.jobs.session_logs import read_lines
from sweeps.commands.context import (
    SpecSource,
    choose_store_url_of,
    format_command,
    open_results,
    read_spec_and_plan,
    store_session,
)
from sweeps.commands.output import note
from sweeps.commands.ray_job import connect, find_job, get_sweep_name, print_lines
from sweeps.errors import SweepError
from sweeps.results import tables as results

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_WORKER = re.compile(r"\(.*?\bpid=(?P<pid>\d+)(?:, ip=(?P<ip>[^)\s]+))?\) ?")
_TRIAL = re.compile(r"\S+ (?P<id>[0-9a-f]{16}): ")


@dataclass(frozen=True)
class LineFilter:
    """Choose lines of a driver's log; by default all of them.

    Attributes:
        trial: A trial's id or its first digits; None for any.
        worker: Process id or IP address of a worker; None for any. Ray leaves the address of
            workers on the driver's node out.
    """

    trial: str | None = None
    worker: str | None = None

    def __call__(self, line: str) -> bool:
        """Return whether a line of the driver's log passes."""
        plain = _COLOUR.sub("", line)
        prefix = _WORKER.match(plain)
        if self.worker is not None and (
            prefix is None or self.worker not in (prefix["pid"], prefix["ip"])
        ):
            return False
        if self.trial is None:
            return True
        label = _TRIAL.match(plain, 0 if prefix is None else prefix.end())
        return label is not None and label["id"].startswith(self.trial)


def logs(
    source: SpecSource,
    store_url: str | None,
    address: str | None,
    line_filter: LineFilter,
    *,
    follow: bool,
) -> int:
    """Print the lines of the newest job of a sweep, or of its newest run here, that pass a filter.

    Where neither has a line of a trial, print the last lines that the store keeps of a failed one.

    Raises:
        SweepError: no run is here, and neither a cluster nor a trial is named.
        ClusterError: the cluster does not answer, no run is here, and no trial is named.
    """
    trial, name = line_filter.trial, get_sweep_name(source)
    if trial is not None and not re.fullmatch("[0-9a-f]{1,16}", trial):
        raise SweepError(f"--trial {trial}: expected a trial's id, or its first digits")
    sessions = find_sessions(name) if address is None else []
    if address is None and api_address(None) is None:
        if not sessions and trial is None:
            raise SweepError(_describe_absence(source, store_url, name))
        return _print_local(source, store_url, sessions, line_filter, follow)
    try:
        api = connect(address, waits=trial is None and not sessions)
        job = find_job(api, name)
    except (Unavailable, NotFound) as error:
        if trial is None and not sessions:
            raise
        note(f"note: {error}")
        return _print_local(source, store_url, sessions, line_filter, follow)
    if follow and job.live:
        lines: Iterable[str] = api.follow(job.id)
    else:
        lines = api.log(job.id).removesuffix("\n").split("\n")
    if not print_lines(lines, line_filter):
        note(f"note: no line of the log of job {job.id} ({job.state}) matches")
    return 0


def _print_local(
    source: SpecSource,
    store_url: str | None,
    sessions: Sequence[FoundSession],
    line_filter: LineFilter,
    follow: bool,
) -> int:
    """Print the lines of the newest session, a running one first; else what the store keeps."""
    count = 0
    if sessions:
        session = max(sessions, key=lambda each: (each.state == "running", each.began))
        note(f"run on this machine ({session.state}): logs in {session.logs}")
        if (token := session.folder / TOKEN).exists():
            os.environ.setdefault("RAY_AUTH_TOKEN_PATH", str(token))  # so that it is redacted
        for batch in read_lines(session, follow=follow):
            count += print_lines(redact("\n".join(batch)).split("\n"), line_filter)
    if count == 0 and line_filter.trial is not None:
        return _print_failures(source, store_url, line_filter.trial)
    if count == 0:
        note("note: no line of the workers' logs matches")
    return 0


def _describe_absence(source: SpecSource, store_url: str | None, name: str) -> str:
    run = format_command("run", source, store_url, "--keep-logs")
    return (
        f"no run of sweep '{name}' goes on here, and none has kept its logs: `{run}` keeps "
        "them, where RAY_TMPDIR and TMPDIR are as they are now; of a submitted "
        "sweep name the cluster: --address http://HOST:8265, where its dashboard is, or "
        "RAY_API_SERVER_ADDRESS"
    )


def _print_failures(source: SpecSource, store_url: str | None, trial: str) -> int:
    """Print what the failures table keeps of a trial's log."""
    with store_session(choose_store_url_of(source, store_url)) as store:
        reader = open_results(store)
        _, plan = read_spec_and_plan(source, reader, verify=False)
        ids = [planned.id for planned in plan.trials if planned.id.startswith(trial)]
        failures = results.read_failures(reader, ids).to_pylist()
    if not ids:
        raise SweepError(
            f"sweep '{plan.name}' has no trial {trial}: `sweeps plan --json` lists their ids"
        )
    if not failures:
        raise SweepError(
            f"the store keeps no log of trial {trial}: only failed attempts leave one; give "
            "--address for the cluster's, or run with --keep-logs here"
        )
    for row in sorted(failures, key=itemgetter("failed_at")):
        failed_at = row["failed_at"].isoformat(timespec="seconds")
        print(
            f"{row['trial_id']} attempt {row['attempt']} failed {failed_at} "
            f"on {row['node'] or '?'}: {row['failure_class']}: {row['message']}"
        )
        if row["log_tail"]:
            print(row["log_tail"])
    return 0
