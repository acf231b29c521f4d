"""`submit`, `stop`, `status` and `logs` at a cluster whose head is still starting."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from ray_jobs_here import NO_AGENT, NO_AGENT_TO_STOP, RayJobsHere, ray_jobs_here
from tiny_sweeps import TEXT

from sweeps.cli import main

SUBMIT, VERSION, LIST = "POST /api/jobs/", "GET /api/version", "GET /api/jobs/"
BAD_GATEWAY = (502, "<html>\n<h1>Bad Gateway</h1>\n</html>")
AWAY = (503, "no healthy upstream")


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RayJobsHere]:
    """A server that acts as Ray's Jobs API, to which the environment leads."""
    (tmp_path / "tiny.yaml").write_text(TEXT)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("SWEEPS_STORE", str(tmp_path / "store"))
    monkeypatch.setattr("cluster.jobs.readiness._POLL_S", 0.01)
    with ray_jobs_here() as here:
        monkeypatch.setenv("RAY_API_SERVER_ADDRESS", here.url)
        yield here


def run(
    capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0
) -> tuple[str, list[str]]:
    """Standard output, and the lines of standard error, of a command with this exit status."""
    assert main(arguments) == status
    captured = capsys.readouterr()
    return captured.out, captured.err.splitlines()


@pytest.mark.parametrize(
    ("request_", "answers", "reason"),
    [
        (SUBMIT, [NO_AGENT] * 3, "HTTP 500: No available agent to submit job"),
        (SUBMIT, [(500, "x\nClientConnectorError: Cannot connect to host h:1 [r]\n")], "host h:1"),
        (SUBMIT, [BAD_GATEWAY, NO_AGENT], "HTTP 502 Bad Gateway"),
        (VERSION, [AWAY] * 2, "HTTP 503 Service Unavailable"),
        (LIST, [(504, "")], "HTTP 504 Gateway Timeout"),
    ],
)
def test_a_head_that_starts_is_waited_for_with_one_line(
    jobs: RayJobsHere,
    capsys: pytest.CaptureFixture[str],
    request_: str,
    answers: list[tuple[int, str]],
    reason: str,
) -> None:
    """Whichever request meets it; the job is then submitted once."""
    jobs.outages[request_] = list(answers)
    _, lines = run(capsys, "submit", "tiny.yaml", "--no-wait")
    [waiting] = [line for line in lines if "not ready" in line]
    assert reason in waiting
    assert waiting.endswith("trying again for up to 120 s")
    assert jobs.outages[request_] == []
    assert len(jobs.jobs) == 1
    assert lines[-2].startswith("submitted job sweep-tiny-")


@pytest.mark.parametrize("answer", [NO_AGENT, AWAY])
def test_a_head_that_never_starts_ends_in_one_message(
    jobs: RayJobsHere,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    answer: tuple[int, str],
) -> None:
    """After a bounded wait, with what to look at; the same command works later."""
    monkeypatch.setattr("cluster.jobs.readiness.READY_WITHIN_S", 0.2)
    jobs.outages[SUBMIT] = [answer] * 1000
    _, lines = run(capsys, "submit", "tiny.yaml", "--no-wait", status=2)
    assert lines[-1].startswith(
        f"sweeps: error: the Ray cluster at {jobs.url} is not ready (HTTP 5"
    )
    assert lines[-1].endswith("if there is one; then run the same command again")
    assert sum("not ready" in line for line in lines) == 2
    assert jobs.jobs == {}
    jobs.outages.clear()
    assert run(capsys, "submit", "tiny.yaml", "--no-wait")[1][-2].startswith("submitted job")


def test_a_lost_answer_makes_no_second_job(
    jobs: RayJobsHere, capsys: pytest.CaptureFixture[str]
) -> None:
    """A proxy that times out after Ray took the job: the second try attaches to it."""
    jobs.lost_answers = [504]
    _, lines = run(capsys, "submit", "tiny.yaml", "--no-wait")
    assert len(jobs.jobs) == 1
    assert lines[-2] == f"attached to job {next(iter(jobs.jobs))} at {jobs.url}/#/jobs"


def test_an_error_that_does_not_pass_is_told_at_once_in_one_line(
    jobs: RayJobsHere, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ray sends a whole traceback; its last line is what happened."""
    jobs.outages[SUBMIT] = [(500, "Traceback (most recent call last):\n  x\nOSError: disk full\n")]
    _, lines = run(capsys, "submit", "tiny.yaml", "--no-wait", status=2)
    assert lines[-1] == (
        f"sweeps: error: {jobs.url} did not take the job: Request failed with status code 500: "
        "OSError: disk full"
    )
    assert jobs.requests.count(SUBMIT) == 1


def test_stop_waits_and_status_does_not(
    jobs: RayJobsHere, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a store answers as well needs no cluster."""
    run(capsys, "submit", "tiny.yaml", "--no-wait")
    [name] = jobs.jobs
    jobs.outages[f"POST /api/jobs/{name}/stop"] = [NO_AGENT_TO_STOP]
    _, lines = run(capsys, "stop", "tiny")
    assert "(HTTP 500: TimeoutError: Failed to get head node agent within 10 seconds." in lines[0]
    assert lines[-1] == f"job {name} STOPPED; submitting the sweep again continues it"
    jobs.outages[VERSION] = [AWAY] * 2
    out, lines = run(capsys, "status", "tiny.yaml")
    assert out.startswith("sweep tiny: 4 trials, 0 done")
    assert lines[0].startswith(
        f"note: the cluster does not answer: the Ray cluster at {jobs.url} is not ready (HTTP 503"
    )
    _, lines = run(capsys, "logs", "tiny.yaml", "--trial", "ab", status=2)
    assert "is not ready (HTTP 503" in lines[0]
    assert jobs.outages[VERSION] == []


def test_a_head_without_the_command_is_told_what_lacks(
    jobs: RayJobsHere, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray started outside the project's environment: the shell's status alone says little."""
    monkeypatch.setattr("cluster.jobs.ray_api._POLL_S", 0.01)
    message = "Job entrypoint command failed with exit code 127, last available logs (...):\nx"
    jobs.outcome = {"status": "FAILED", "driver_exit_code": 127, "message": message}
    _, lines = run(capsys, "submit", "tiny.yaml", status=127)
    assert lines[-1] == (
        f"job {next(iter(jobs.jobs))} FAILED: Job entrypoint command failed with exit code 127: "
        "the cluster's head has no command `sweeps`; start Ray there with the bin folder of the "
        "project's environment on PATH"
    )
