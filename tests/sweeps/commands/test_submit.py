"""`sweeps submit`, `status`, `logs` and `stop` on a real Ray cluster behind a token."""

from __future__ import annotations

import json
import re
import signal
import time
import urllib.request
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from cluster_here import TOKEN, ClusterHere, behind_tls, cluster_here, spec_text
from leaks import assert_closed, found_in, found_in_dashboard, found_in_files, found_in_store
from port_probes import descendants
from tiny_sweeps import DIVERGES, read_json, wait_until

from cluster.embedded.server import Endpoint
from cluster.stores.s3 import S3Store
from sweeps.results import tables as results

LONG = "train.epochs=100000"


@pytest.fixture(scope="module")
def cluster(
    s3_endpoint: Endpoint, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ClusterHere]:
    """One cluster for this module; its workers reach the run's S3 server."""
    folder = tmp_path_factory.mktemp("cluster")
    with cluster_here(folder, s3_endpoint.environment()) as here:
        yield here


class Sweep:
    """One sweep, its store, and the commands on it."""

    def __init__(self, cluster: ClusterHere, store: S3Store) -> None:
        self.cluster, self.store = cluster, store
        self.name = f"tiny-{uuid.uuid4().hex[:6]}"
        self.file = f"{self.name}.yaml"
        (cluster.user.folder / self.file).write_text(spec_text(self.name))

    def arguments(self, command: str, *more: str) -> list[str]:
        """Arguments of a command on this sweep, with the address and the store."""
        target = self.file if command == "submit" else self.name
        store = () if command == "stop" else ("--store", self.store.url)
        return [command, target, "--address", self.cluster.address, *store, *more]

    def __call__(self, command: str, *more: str, status: int = 0) -> tuple[str, str]:
        """Standard output and error of a command, which must have this exit status."""
        done = self.cluster.user.sweeps(*self.arguments(command, *more), status=status)
        return done.stdout, done.stderr

    def jobs(self) -> list[dict[str, Any]]:
        """What the Jobs API tells of this sweep's jobs, oldest first."""
        request = urllib.request.Request(
            f"{self.cluster.address}/api/jobs/", headers={"Authorization": f"Bearer {TOKEN}"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            jobs = json.load(answer)
        ours = [job for job in jobs if (job["metadata"] or {}).get("sweep") == self.name]
        return sorted((job for job in ours if job["submission_id"]), key=lambda j: j["start_time"])


@pytest.fixture
def sweep(cluster: ClusterHere, s3_store: S3Store) -> Sweep:
    """A sweep of a new name in an empty store."""
    return Sweep(cluster, s3_store)


def test_a_sweep_is_submitted_followed_and_looked_at(sweep: Sweep) -> None:
    """The driver's log is shown to the end, and the results are in the store.

    No secret of either side is in the job's request, the store, the cluster's logs and state, or
    what is printed. The trials' own lines are in the driver's log, and each can be had alone. A
    second time nothing is left to run.
    """
    out, errors = sweep("submit")
    assert f"sweep '{sweep.name}': 4 trials finished" in out
    [job] = sweep.jobs()
    assert f"submitted job {job['submission_id']} at {sweep.cluster.address}" in errors
    assert errors.splitlines()[-1] == f"job {job['submission_id']} SUCCEEDED"
    assert len(results.committed_ids(sweep.store)) == 4
    assert job["metadata"].keys() == {"sweep", "spec", "version"}
    assert job["entrypoint"] == (
        f"sweeps run stored:{job['metadata']['spec']} --store {sweep.store.url}"
    )
    secrets = sweep.cluster.secrets
    assert found_in(json.dumps(job) + out + errors, secrets) == []
    assert found_in_store(sweep.store, secrets) == []
    assert found_in_files([sweep.cluster.logs], secrets) == []
    token = secrets["Ray token"]
    assert found_in_dashboard(sweep.cluster.address, token, secrets) == []
    kinds = assert_closed(descendants(sweep.cluster.pid), token)
    assert sorted(set(kinds.values())) == ["HTTP", "gRPC", "metrics"]

    told = read_json("status", sweep("status", "--json")[0])
    assert [told[key] for key in ("trials", "done", "failed", "missing")] == [4, 4, 0, 0]
    assert told["job"]["id"] == job["submission_id"]
    assert told["job"]["state"] == "SUCCEEDED"
    assert sweep("logs")[0] == out
    lines = re.findall(r"\(tiny-\w+ pid=(\d+)\)\S* \S+ ([0-9a-f]{16}): .*", out)
    ids = results.committed_ids(sweep.store)
    assert {trial_id for _, trial_id in lines} == ids
    for trial_id in ids:
        shown = sweep("logs", "--trial", trial_id[:12])[0].splitlines()
        assert shown == [line for line in out.splitlines() if f" {trial_id}: " in line] != []
    pid = lines[0][0]
    shown = sweep("logs", "--worker", pid)[0].splitlines()
    assert shown == [line for line in out.splitlines() if f"pid={pid})" in line]
    out, errors = sweep("submit", "--json")
    assert errors == f"sweep '{sweep.name}': all 4 trials have a result; nothing to run\n"
    document = read_json("submit", out)
    assert (document["left"], document["job_id"]) == (0, None)
    assert len(sweep.jobs()) == 1


@pytest.mark.slow
def test_a_submitted_sweep_is_attached_to_and_stopped(sweep: Sweep) -> None:
    """Submitting it again makes no second job while the first one lives; afterwards it does.

    Ctrl-C leaves the job alone and says how to find it again.
    """
    _, errors = sweep("submit", "--no-wait", "--set", LONG)
    assert "submitted job" in errors
    assert f"Attach: sweeps logs {sweep.name} --follow --address" in errors
    follower = sweep.cluster.user.start(*sweep.arguments("submit", "--set", LONG))
    assert follower.stdout is not None
    wait_until(lambda: "4 to run, 2 at once" in follower.stdout.readline())
    follower.send_signal(signal.SIGINT)
    _, errors = follower.communicate(timeout=200)
    assert follower.returncode == 130
    [first] = sweep.jobs()
    assert f"attached to job {first['submission_id']}" in errors
    assert f"detached; the job goes on. Attach: sweeps logs {sweep.name} --follow" in errors
    assert first["status"] == "RUNNING"

    told = sweep("status")[0].splitlines()
    assert told[0] == f"sweep {sweep.name}: 4 trials, 0 done, 0 failed, 4 missing"
    assert f"job: {first['submission_id']} RUNNING" in told
    _, errors = sweep("stop")
    assert errors.startswith(f"stopping job {first['submission_id']}: running trials save")
    assert f"job {first['submission_id']} STOPPED" in errors
    assert sweep("stop")[1] == f"job {first['submission_id']} has ended already: STOPPED\n"

    _, errors = sweep("submit", "--no-wait", "--set", LONG)
    assert [job["submission_id"] for job in sweep.jobs()] == [
        first["submission_id"],
        f"{first['submission_id']}-2",
    ]
    stopped = read_json("stop", sweep("stop", "--json")[0])
    assert (stopped["job_id"], stopped["state"]) == (f"{first['submission_id']}-2", "STOPPED")
    assert [job["status"] for job in sweep.jobs()] == ["STOPPED", "STOPPED"]


@pytest.mark.slow
def test_the_outcome_is_the_jobs_and_failures_are_told_without_it(sweep: Sweep) -> None:
    """Failed trials make status 1; their class and last lines are in the store for good."""
    pairs = {"axes.seed": "[0]", "axes.specificity": "[label]", "train.epochs": "8"}
    pairs |= {f"train.{key}": str(value) for key, value in DIVERGES.items()}
    settings = [part for key, value in pairs.items() for part in ("--set", f"{key}={value}")]
    out, errors = sweep("submit", *settings, "--json", status=1)
    assert " FAILED: " in errors.splitlines()[-1]
    document = read_json("submit", out)
    assert (document["state"], document["attached"], document["left"]) == ("FAILED", False, 1)
    assert document["address"] == sweep.cluster.address
    assert f"next: sweeps pull {sweep.name} --store {sweep.store.url}  # failures" in errors
    assert re.search(r"^next: sweeps run stored:\w+ --debug label-20-erm-s0 ", errors, re.M)
    user, store = sweep.cluster.user, ("--store", sweep.store.url)
    told = json.loads(user.sweeps("status", sweep.name, "--json", *store).stdout)
    assert (told["failed"], told["missing"], told["job"]) == (1, 0, None)
    assert told["failures"] == {"numerical": 1}
    gone = user.sweeps("status", sweep.name, *store, "--address", "http://127.0.0.1:9")
    assert "1 failed, 0 missing" in gone.stdout
    assert gone.stderr.startswith("note: the cluster does not answer: no answer from http://127.")

    plan = json.loads(sweep.store.get(f"sweeps/{sweep.name}/plan.json"))
    [trial_id] = [trial["id"] for trial in plan["trials"]]
    kept = user.sweeps("logs", sweep.name, "--trial", trial_id[:8], *store)
    assert kept.stdout.startswith(f"{trial_id} attempt ")
    assert "numerical: " in kept.stdout
    assert "INFO sweeps.trial.run: attempt" in kept.stdout


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"RAY_AUTH_TOKEN": "f" * 32}, "does not take this token"),
        ({"RAY_AUTH_TOKEN_PATH": ""}, "asks for a token: set RAY_AUTH_TOKEN_PATH to a file"),
    ],
)
def test_without_the_right_token_nothing_happens(
    sweep: Sweep, environment: dict[str, str], message: str
) -> None:
    """Told soon, for every command, and nothing is written to the store."""
    user = sweep.cluster.user
    before = dict(user.environment)
    user.environment |= environment
    try:
        for command in ("submit", "logs", "stop"):
            began = time.monotonic()
            _, errors = sweep(command, status=2)
            assert time.monotonic() - began < 30
            assert message in errors
            assert errors.count("\n") == 1
    finally:
        user.environment.clear()
        user.environment.update(before)
    assert list(sweep.store.list("")) == []
    assert sweep.jobs() == []


@pytest.mark.slow
def test_over_tls_with_an_authority_of_ones_own(sweep: Sweep) -> None:
    """REQUESTS_CA_BUNDLE counts for requests and for the followed log; without it: refused."""
    user = sweep.cluster.user
    with behind_tls(sweep.cluster.address, user.folder) as (address, authority):
        command = ["submit", sweep.file, "--store", sweep.store.url, "--address", address]
        refused = user.sweeps(*command, status=2).stderr
        assert "is not trusted" in refused
        assert "set REQUESTS_CA_BUNDLE to a file" in refused
        user.environment["REQUESTS_CA_BUNDLE"] = str(authority)
        try:
            done = user.sweeps(*command, "--set", "axes.seed=[0]", "--set", "axes.method=[erm]")
        finally:
            del user.environment["REQUESTS_CA_BUNDLE"]
    assert f"sweep '{sweep.name}': 2 trials finished" in done.stdout
