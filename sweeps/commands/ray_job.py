"""The Ray job that runs a sweep on a cluster: found by the sweep's name, followed, stopped."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from cluster.errors import NotFound, Unavailable
from cluster.jobs.requests import Job, api_address
from sweeps.commands.context import SpecSource
from sweeps.errors import SweepError

if TYPE_CHECKING:
    from cluster.jobs.ray_api import JobsApi

EXIT_DETACHED = 130


def note(text: str) -> None:
    """A line for people: standard output is the job's."""
    print(text, file=sys.stderr, flush=True)


def connected(address: str | None) -> JobsApi:
    """The jobs of the cluster at an address, by default that of RAY_API_SERVER_ADDRESS.

    Raises:
        SweepError: no address is given.
        ClusterError: it cannot be used; see `JobsApi`.
    """
    found = api_address(address)
    if found is None:
        raise SweepError(
            "no cluster is named: give --address http://HOST:8265, where its dashboard is, or set "
            "RAY_API_SERVER_ADDRESS"
        )
    from cluster.jobs.requests import prepare_client

    prepare_client()  # before Ray is imported
    from cluster.jobs.ray_api import JobsApi

    return JobsApi(found)


def name_of(source: SpecSource) -> str:
    """The sweep's name, as it is given or from its file."""
    return source.file_spec.name if source.is_file else source.target


def job_of(api: JobsApi, name: str) -> Job:
    """The newest job of a sweep, a live one first.

    Raises:
        NotFound: the cluster remembers none.
    """
    job = api.newest("sweep", name)
    if job is None:
        raise NotFound(
            f"{api.address} knows no job of sweep '{name}': it was not submitted to this cluster, "
            "or the cluster was restarted since"
        )
    return job


def follow(api: JobsApi, job: Job, name: str) -> int:
    """Print the job's log until it ends; Ctrl-C leaves the job alone.

    Returns:
        The exit status of the job's outcome, 130 where the user left before.
    """
    try:
        show(api.follow(job.id))
        ended = api.job(job.id)
    except KeyboardInterrupt:
        note(f"\ndetached; the job goes on. {how_to_go_on(api, name)}")
        return EXIT_DETACHED
    except Unavailable as error:
        raise Unavailable(f"{error}; the job may go on. {how_to_go_on(api, name)}") from error
    note(f"job {ended.id} {ended.state}{_why(ended)}")
    return ended.status


def how_to_go_on(api: JobsApi, name: str) -> str:
    """The commands that find the job again."""
    at = f"--address {api.address}"
    return f"Attach: sweeps logs {name} --follow {at}; stop: sweeps stop {name} {at}"


def show(lines: Iterable[str], wanted: Callable[[str], bool] = lambda line: True) -> int:
    """Print the lines that are wanted, each at once; returns how many."""
    shown = 0
    for line in lines:
        if wanted(line):
            print(line, flush=True)
            shown += 1
    return shown


def _why(job: Job) -> str:
    """Ray's first line on a job that failed."""
    return f": {job.message.splitlines()[0]}" if job.state == "FAILED" and job.message else ""


def read_text(path: Path) -> str:
    """A file of the user's.

    Raises:
        SweepError: it is no text.
    """
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise SweepError(f"{path}: expected UTF-8 text") from None
