"""`sweeps stop`: ends a submitted sweep, with its checkpoints saved."""

from __future__ import annotations

import os

from cluster.errors import Unavailable
from cluster.jobs.requests import Job
from sweeps.commands.context import SpecSource
from sweeps.commands.ray_job import connected, job_of, name_of, note
from sweeps.errors import SweepError

STOP_WAIT_VARIABLE = "RAY_JOB_STOP_WAIT_TIME_S"
_STOP_WAIT_S = 120.0
_STOP_MARGIN_S = 30.0
_TOLD_EVERY = 10


def stop(source: SpecSource, address: str | None) -> int:
    """`sweeps stop`: ask the sweep's job to end, and wait until it has.

    The driver lets its trials save a checkpoint, which takes up to an epoch.

    Raises:
        Unavailable: the job has not ended in the time that its cluster gives it.
    """
    name = name_of(source)
    api = connected(address)
    job = job_of(api, name)
    if not job.live:
        note(f"job {job.id} has ended already: {job.state}")
        return 0
    api.stop(job.id)
    note(f"stopping job {job.id}: running trials save a checkpoint first")
    bound = _stop_wait_s() + _STOP_MARGIN_S
    looks = 0

    def told(seen: Job) -> None:
        nonlocal looks
        looks += 1
        if looks % _TOLD_EVERY == 0:
            note(f"still {seen.state} after {looks} s of at most {bound:.0f} s")

    ended = api.wait(job.id, bound, told)
    if ended.live:
        raise Unavailable(
            f"job {job.id} is still {ended.state} after {bound:.0f} s: look at {api.address}, "
            f"and stop it again; {STOP_WAIT_VARIABLE} is how long it gets"
        )
    note(f"job {ended.id} {ended.state}; submitting the sweep again continues it")
    return 0


def _stop_wait_s() -> float:
    text = os.environ.get(STOP_WAIT_VARIABLE)
    try:
        return float(text) if text else _STOP_WAIT_S
    except ValueError:
        raise SweepError(f"{STOP_WAIT_VARIABLE}={text}: expected seconds") from None
