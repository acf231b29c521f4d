"""Ray's Jobs API: submit, attach, follow, stop. Import it only after `jobs.prepare_client`."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import aiohttp
import requests
from ray.exceptions import AuthenticationError
from ray.job_submission import JobDetails

from cluster.errors import ClusterError, Denied, NotFound, Unavailable
from cluster.jobs.ray_internals import job_client
from cluster.jobs.readiness import Readiness
from cluster.jobs.requests import (
    HOW_TO_AUTHENTICATE,
    Job,
    add_number,
    authorities,
    extra_headers,
    number_of,
    prepare_client,
    same_work,
)

_TIMEOUT_S = (5.0, 60.0)
"""To connect, and to answer: a cluster that is short of agents takes its time."""
_QUIET_S = 20.0
"""A log that is silent for so long is asked about: a connection can die without a word."""
_POLL_S = 1.0
_LOST_CONNECTIONS = 5


def _ignore(job: Job) -> None:
    """Do nothing."""


@contextmanager
def _request_errors(address: str) -> Iterator[None]:
    """Turn errors of a request to an address into ones that say what to do."""
    try:
        yield
    except AuthenticationError as error:
        raise _refusal(address, str(error)) from None
    except requests.exceptions.SSLError as error:
        raise Unavailable(
            f"the certificate of {address} is not trusted ({error}): set "
            "REQUESTS_CA_BUNDLE to a file with the authority that signed it"
        ) from error
    except requests.exceptions.RequestException as error:
        raise Unavailable(
            f"no answer from {address} ({_root(error)}): check the address, that the "
            "cluster is up, and any port-forward"
        ) from error


def _refusal(address: str, reason: str) -> Denied:
    """Return the error for 401 and 403."""
    if reason.startswith("Authentication required") and os.environ["RAY_AUTH_MODE"] != "token":
        return Denied(f"the Ray cluster at {address} asks for a token: {HOW_TO_AUTHENTICATE}")
    return Denied(
        f"the Ray cluster at {address} does not take this token: get its current one and "
        f"{HOW_TO_AUTHENTICATE}"
    )


def _root(error: BaseException) -> str:
    """Return the last words of a chain of wrapped errors, without what a stranger's server sent."""
    while error.args and isinstance(inner := error.args[-1], BaseException):
        error = inner
    reason = getattr(error, "reason", None)
    text = str(reason if isinstance(reason, BaseException) else error).rpartition("): ")[2]
    return text if text and text.isprintable() else f"no HTTP: {type(error).__name__}"


class JobsApi:
    """The jobs of one cluster."""

    def __init__(self, address: str, readiness: Readiness) -> None:
        """Connect.

        Args:
            address: URL of the cluster's dashboard.
            readiness: How long each request waits for a cluster that is starting.

        Raises:
            Denied: no token, or a wrong one.
            Unavailable: nobody answers there in time.
            ClusterError: what answers is no Ray cluster.
        """
        prepare_client()
        os.environ["RAY_API_SERVER_ADDRESS"] = address  # which Ray's client prefers to its argument
        self.address = address
        self._readiness = readiness
        try:
            self._client = job_client(
                address,
                _TIMEOUT_S,
                self._send,
                headers=extra_headers(),
                verify=authorities(),
            )
        except (RuntimeError, ValueError, KeyError, TypeError, requests.RequestException) as error:
            raise ClusterError(
                f"{address} is not the dashboard of a Ray cluster "
                f"({type(error).__name__}: {error}): expected http://HOST:8265 or what leads there"
            ) from error

    def submit(self, request: Mapping[str, Any]) -> tuple[Job, bool]:
        """Submit a request, or attach to the live job of an equal one.

        A job that has ended keeps its id: a further one gets the next suffix.

        Returns:
            The job, and whether it was there already.
        """
        base = request["submission_id"]
        for _ in range(2):  # the second time where another command took the id meanwhile
            numbers = {0}
            for job in self.jobs():
                number = number_of(base, job.id)
                if number is None:
                    continue
                if job.live and same_work(job.entrypoint, request["entrypoint"]):
                    return job, True
                numbers.add(number)
            chosen = add_number(base, max(numbers) + 1)
            try:
                self._client.submit_job(**{**request, "submission_id": chosen})
                return self.job(chosen), False
            except RuntimeError as error:
                refusal = error
                if not any(job.id == chosen for job in self.jobs()):
                    break
        raise ClusterError(
            f"{self.address} did not take the job: {_one_line(refusal)}"
        ) from refusal

    def jobs(self) -> list[Job]:
        """Return every submitted job that the cluster remembers, the newest last."""
        listed = self._request(self._client.list_jobs)
        jobs = [_job(details) for details in listed if details.submission_id]
        return sorted(jobs, key=lambda job: job.started_ms)

    def job(self, submission_id: str) -> Job:
        """Return one job.

        Raises:
            NotFound: the cluster knows none of this id.
        """
        return _job(self._request(lambda: self._client.get_job_info(submission_id)))

    def newest(self, key: str, value: str) -> Job | None:
        """Return the newest job with a metadata value; a live one before any that has ended."""
        matches = [job for job in self.jobs() if job.metadata.get(key) == value]
        return max(matches, key=lambda job: (job.live, job.started_ms), default=None)

    def log(self, submission_id: str) -> str:
        """Return all that the job has written so far."""
        text: str = self._request(lambda: self._client.get_job_logs(submission_id))
        return text

    def follow(self, submission_id: str) -> Iterator[str]:
        """Lines of the job's log from its beginning, as they come, until the job has ended.

        A lost connection is made again, and goes on after the last line.

        Raises:
            Unavailable: the connection was lost and could not be made again.
        """
        shown = lost = 0
        while lost < _LOST_CONNECTIONS:
            before = shown
            try:
                for number, line in enumerate(self._lines(submission_id)):
                    if number >= shown:
                        shown += 1
                        yield line
            except (RuntimeError, OSError, aiohttp.ClientError):
                time.sleep(_POLL_S)
            if not self.wait(submission_id, 2 * _POLL_S).live:
                yield from self.log(submission_id).removesuffix("\n").split("\n")[shown:]
                return
            lost = 0 if shown > before else lost + 1
        raise Unavailable(f"the connection to {self.address} is lost again and again")

    def stop(self, submission_id: str) -> None:
        """Ask a job to end; it has ended only when its state says so."""
        self._request(lambda: self._client.stop_job(submission_id))

    def wait(
        self, submission_id: str, seconds: float, on_state: Callable[[Job], None] = _ignore
    ) -> Job:
        """Wait until a job has ended, at most `seconds`; call `on_state` now and then."""
        deadline = time.monotonic() + seconds
        while (job := self.job(submission_id)).live and time.monotonic() < deadline:
            on_state(job)
            time.sleep(_POLL_S)
        return job

    def _send(self, ask: Callable[[], requests.Response]) -> requests.Response:
        """Send one HTTP request, again while the cluster is starting."""
        with _request_errors(self.address):
            return self._readiness.request(self.address, ask)

    def _request(self, ask: Callable[[], Any]) -> Any:
        """Run a request; Ray's client raises RuntimeError with the status in its text."""
        try:
            return ask()
        except RuntimeError as error:
            if "status code 404" in str(error):
                raise NotFound(f"{self.address}: {_one_line(error)}") from None
            raise Unavailable(f"{self.address} failed: {_one_line(error)}") from error

    def _lines(self, submission_id: str) -> Iterator[str]:
        """Whole lines of Ray's own tail."""
        rest = ""
        with asyncio.Runner() as runner:
            tail = self._client.tail_job_logs(submission_id)
            try:
                while (chunk := runner.run(self._next(tail, submission_id))) is not None:
                    *lines, rest = (rest + chunk).split("\n")
                    yield from lines
            finally:
                with suppress(RuntimeError):
                    runner.run(_closed(tail))
        if rest:
            yield rest

    async def _next(self, tail: AsyncIterator[str], submission_id: str) -> str | None:
        """Return the next chunk, or None at the end; looks at the job while the log is silent."""
        chunk = asyncio.ensure_future(anext(tail, None))
        while True:
            done, _ = await asyncio.wait({chunk}, timeout=_QUIET_S)
            if done:
                return await chunk
            if not (await asyncio.to_thread(self.job, submission_id)).live:
                chunk.cancel()
                return None


def _one_line(error: Exception) -> str:
    """Return an error's status and last line: Ray sends tracebacks, and proxies send HTML."""
    status, _, body = str(error).partition(": ")
    lines = [line.strip() for line in body.strip(". \n").splitlines()]
    return f"{status}: {lines[-1]}" if lines and not lines[-1].startswith("<") else status


async def _closed(tail: Any) -> None:
    await tail.aclose()


def _job(details: JobDetails) -> Job:
    return Job(
        id=details.submission_id or "",
        state=str(getattr(details.status, "value", details.status)),
        entrypoint=details.entrypoint,
        metadata=details.metadata or {},
        message=details.message or "",
        exit_code=details.driver_exit_code,
        started_ms=details.start_time or 0,
    )
