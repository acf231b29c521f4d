"""`sweeps stop`: end a submitted sweep; its trials save checkpoints."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from cluster.errors import Unavailable
from cluster.jobs.requests import Job
from sweeps.commands.context import SpecSource
from sweeps.commands.output import note, print_json
from sweeps.commands.ray_job import connect, find_job, get_sweep_name
from sweeps.errors import SweepError

if TYPE_CHECKING:
    from cluster.jobs.ray_api import JobsApi

STOP_WAIT_VARIABLE = "RAY_JOB_STOP_WAIT_TIME_S"
_STOP_WAIT_S = 120.0
_STOP_MARGIN_S = 30.0
_NOTE_EVERY_S = 10


def stop(source: SpecSource, address: str | None, *, as_json: bool = False) -> int:
    """Ask the sweep's job to end, and wait until it has.

    The driver lets its trials save a checkpoint, which takes up to an epoch.

    Raises:
        Unavailable: the job does not end in the time that its cluster gives it.
    """
    name = get_sweep_name(source)
    api = connect(address)
    job = find_job(api, name)
    if job.live:
        job = _stop_job(api, job)
    else:
        note(f"job {job.id} has ended already: {job.state}")
    if as_json:
        print_json({"sweep": name, "address": api.address, "job_id": job.id, "state": job.state})
    return 0


def _stop_job(api: JobsApi, job: Job) -> Job:
    """Stop a live job and return its final state."""
    api.stop(job.id)
    note(f"stopping job {job.id}: running trials save a checkpoint first")
    bound = _read_stop_wait_s() + _STOP_MARGIN_S
    polls = 0

    def note_state(seen: Job) -> None:
        nonlocal polls
        polls += 1
        if polls % _NOTE_EVERY_S == 0:
            note(f"still {seen.state} after {polls} s of at most {bound:.0f} s")

    ended = api.wait(job.id, bound, note_state)
    if ended.live:
        raise Unavailable(
            f"job {job.id} is still {ended.state} after {bound:.0f} s: see {api.address}, "
            f"and stop it again; the cluster's {STOP_WAIT_VARIABLE} is its time to end"
        )
    note(f"job {ended.id} {ended.state}; submitting the sweep again continues it")
    return ended


def _read_stop_wait_s() -> float:
    text = os.environ.get(STOP_WAIT_VARIABLE)
    try:
        return float(text) if text else _STOP_WAIT_S
    except ValueError:
        raise SweepError(f"{STOP_WAIT_VARIABLE}={text}: expected seconds") from None
