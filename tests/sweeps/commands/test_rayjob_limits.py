"""A RayJob whose sweep a limit stopped has ended well: its operator must not run it again."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from kubernetes_here import KubernetesHere, kubernetes_here
from notified import posts_here
from tiny_sweeps import Place, made_place, run_here, tiny

from cluster.jobs.requests import same_work
from cluster.stores.folder import FolderStore
from sweeps.cli import main
from sweeps.results.tables import committed_ids

pytestmark = pytest.mark.slow

GOLDEN = Path(__file__).resolve().parents[2] / "golden"
RETRIES = 2
ENDED_WELL = {"jobDeploymentStatus": "Complete", "jobStatus": "SUCCEEDED"}


@pytest.fixture
def kubernetes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KubernetesHere]:
    """A server that acts as the Kubernetes API, to which KUBECONFIG leads."""
    with kubernetes_here(tmp_path) as found:
        monkeypatch.setenv("KUBECONFIG", str(found.kubeconfig))
        monkeypatch.setattr("cluster.jobs.kuberay_api._POLL_S", 0.01)
        yield found


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A place for the entrypoint's processes."""
    with made_place(tmp_path, no_proxy="127.0.0.1") as made:
        (made.folder / "cluster.yaml").write_text((GOLDEN / "raycluster.yaml").read_text())
        yield made


def submit(place: Place, *more: str) -> int:
    """Submit the sweep as a RayJob, with a portion of one trial a run; return the exit status."""
    given = ("--store", str(place.store), "--set", "limits.trials=1", *more)
    cluster = ("--rayjob", str(place.folder / "cluster.yaml"))
    return main(["submit", str(place.spec), *given, *cluster])


def test_retries_do_not_run_a_stopped_sweep_again(kubernetes: KubernetesHere, place: Place) -> None:
    """As the operator does it: the entrypoint runs until it ends with 0, at most so many times.

    The job posts that a limit stopped it, with the exit status that it has.
    """
    with posts_here() as posts:
        more = ("--no-wait", "--retries", str(RETRIES), "--notify", posts.url)
        assert submit(place, *more) == 0
        [job] = kubernetes.jobs.values()
        assert job["spec"]["backoffLimit"] == RETRIES
        command, *arguments = shlex.split(job["spec"]["entrypoint"])
        assert command == "sweeps"
        for _ in range(1 + RETRIES):
            driver = place.start(*arguments)
            out, errors = driver.communicate(timeout=280)
            if driver.returncode == 0:
                break
        assert len(committed_ids(FolderStore(place.store))) == 1, out + errors
        assert "stopped: 3 trials are not done; limits.trials: this run has started 1" in errors
        [body] = posts.bodies
    assert b'"status": "limit", "exit_status": 0' in body


def test_whoever_waits_for_it_is_told(
    kubernetes: KubernetesHere, place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    """`submit` ends with 3, as `run` does, while trials are left; with 0 where none is."""
    kubernetes.states = [ENDED_WELL]
    assert submit(place) == 3
    assert "4 trials are not done, since one of its limits stopped it" in capsys.readouterr().err
    store = FolderStore(place.store)
    run_here(store, tiny(axes__seed=[0]), place.folder / "cache")

    def finish() -> None:
        run_here(store, tiny(), place.folder / "cache")

    states = [{"jobDeploymentStatus": "Running", "jobStatus": "RUNNING"}, ENDED_WELL]
    kubernetes.states = states
    answer = kubernetes.answer

    def answer_later(*request: str) -> tuple[int, object]:
        if kubernetes.states == [ENDED_WELL]:
            finish()
        return answer(*request)

    kubernetes.answer = answer_later  # type: ignore[method-assign, assignment]
    assert submit(place) == 0


def test_a_job_of_its_own_still_tells_limits_by_its_status(place: Place) -> None:
    """Nobody runs a command on a cluster that lives again, so its status stays 3."""
    place.sweeps(
        *("run", str(place.spec), "--store", str(place.store), "--set", "limits.trials=1"),
        status=3,
    )


def test_the_flag_makes_no_other_work() -> None:
    """A job that was sent without it is attached to."""
    one = "sweeps run stored:ab --store s3://a"
    assert same_work(one, f"{one} --limit-ok")
    assert not same_work(one, "sweeps run stored:ab --store s3://b --limit-ok")
