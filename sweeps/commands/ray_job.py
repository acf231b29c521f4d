"""The Ray job that runs a sweep on a cluster: find it by the sweep's name and follow it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from cluster.errors import NotFound, Unavailable
from cluster.jobs.requests import Job, api_address
from sweeps.commands.context import SpecSource
from sweeps.commands.output import note
from sweeps.errors import SweepError

if TYPE_CHECKING:
    from cluster.jobs.ray_api import JobsApi

EXIT_DETACHED = 130
_NOT_FOUND = 127
"""The shell's exit status for a command that is not on PATH."""


def connect(address: str | None, *, waits: bool = True) -> JobsApi:
    """Connect to the cluster at an address, by default that of RAY_API_SERVER_ADDRESS.

    Args:
        address: URL of the cluster's dashboard, or None.
        waits: Wait, with one line, for a cluster that is starting; else it is unavailable.

    Raises:
        SweepError: neither names an address.
        ClusterError: it cannot be used; see `JobsApi`.
    """
    url = api_address(address)
    if url is None:
        raise SweepError(
            "no cluster is named: give --address http://HOST:8265, where its dashboard is, or set "
            "RAY_API_SERVER_ADDRESS"
        )
    from cluster.jobs.requests import prepare_client

    prepare_client()  # before Ray is imported
    from cluster.jobs.ray_api import JobsApi
    from cluster.jobs.readiness import READY_WITHIN_S, Readiness

    return JobsApi(url, Readiness(READY_WITHIN_S if waits else 0.0, note))


def get_sweep_name(source: SpecSource) -> str:
    """Get the name of a sweep, which its file has where it is named by file."""
    return source.file_spec.name if source.is_file else source.target


def find_job(api: JobsApi, name: str) -> Job:
    """Find the newest job of a sweep, a live one first.

    Raises:
        NotFound: the cluster has none.
    """
    job = api.newest("sweep", name)
    if job is None:
        raise NotFound(
            f"{api.address} has no job of sweep '{name}': it was not submitted to this cluster, "
            "or the cluster was restarted since; submit it (again): sweeps submit SPEC --address "
            f"{api.address}"
        )
    return job


def follow(api: JobsApi, job: Job, target: str) -> tuple[Job, int]:
    """Print the job's log until it ends; Ctrl-C leaves the job alone.

    Args:
        api: The cluster.
        job: The job.
        target: The sweep, as commands name it.

    Returns:
        The job as last seen, and the exit status of its outcome; 130 where the user left before.
    """
    try:
        print_lines(api.follow(job.id))
        ended = api.job(job.id)
    except KeyboardInterrupt:
        note(f"\ndetached; the job goes on. {describe_next_steps(api, target)}")
        return job, EXIT_DETACHED
    except Unavailable as error:
        steps = describe_next_steps(api, target)
        raise Unavailable(f"{error}; the job may go on. {steps}") from error
    note(f"job {ended.id} {ended.state}{_describe_failure(ended)}")
    return ended, ended.status


def describe_next_steps(api: JobsApi, target: str) -> str:
    """Describe the commands that find the job again."""
    at = f"--address {api.address}"
    return f"Attach: sweeps logs {target} --follow {at}; stop: sweeps stop {target} {at}"


def print_lines(lines: Iterable[str], passes: Callable[[str], bool] = lambda line: True) -> int:
    """Print the lines that pass, each as soon as it comes, and return their number."""
    count = 0
    for line in lines:
        if passes(line):
            print(line, flush=True)
            count += 1
    return count


def _describe_failure(job: Job) -> str:
    """Describe a failed job by Ray's first line about it; other jobs by nothing."""
    if job.state != "FAILED" or not job.message:
        return ""
    line = job.message.splitlines()[0].partition(", last available logs")[0]
    if job.exit_code == _NOT_FOUND:
        line += (
            ": the cluster's head has no command `sweeps`; start Ray there with the bin folder of "
            "the project's environment on PATH"
        )
    return f": {line}"


def read_text(path: Path) -> str:
    """Read a text file of the user's.

    Raises:
        SweepError: it is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise SweepError(f"{path}: expected UTF-8 text") from None
