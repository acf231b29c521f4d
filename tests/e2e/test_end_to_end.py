"""From a build to a report on a real cluster of containers, with every fault that clusters have.

Real: image, Ray, Jobs API, SeaweedFS, Prometheus, the manifests' pods, signals. Not real: the
Kubernetes API and its operator, whose pods `operator_pods` builds, and GPUs.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from closed_pods import PODS, arguments_in, assert_pod_is_closed, holding_files
from dashboards import queries
from e2e_cluster import WORKERS, Cluster, log, wait_for
from e2e_user import STORE, User
from faults import (
    Protocol,
    StoreView,
    drain_worker,
    kill_worker,
    lose_head,
    state_of,
    stop_store,
    wait_for_checkpoints,
)
from images import IMAGE
from leaks import found_in, found_in_dashboard, found_in_files, found_in_store
from monitoring import Prometheus, prometheus
from podman_here import Podman

from cluster.stores import open_store
from sweeps.trial.telemetry import METRICS

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(2400)]
SUBMIT = ("submit", "sweep.yaml", "--store", STORE)
PROVENANCE = (
    *("attempt", "seconds_total", "seconds_training", "images_per_second", "resumed_from_epoch"),
    *("started_at", "finished_at", "written_at", "node", "versions", "cpus", "gpus"),
    *("epochs_sha256", "predictions_sha256", "embeddings_sha256"),  # of objects with attempt ids
)
EVERY = 25
"""Epochs between checkpoints in sweep.yaml; a trial waits until each is saved."""
AGE_MARGIN_S = 10.0
"""The store tells whole seconds, and the container's end is seen a little later."""
FAULTS_ONLY = {"sweeps_failures_total"}
"""Metrics of what never happens here: no trial is given up."""


@pytest.fixture(scope="module")
def scraped(
    cluster: Cluster, podman: Podman, tmp_path_factory: pytest.TempPathFactory
) -> Prometheus:
    """Prometheus over the cluster's pods."""
    with prometheus(tmp_path_factory.mktemp("prometheus")) as server:
        scrape_all(server, podman)
        yield server


def scrape_all(server: Prometheus, podman: Podman) -> None:
    """Tell Prometheus the pods' addresses, which change with every new pod."""
    server.scrape([podman.address(name) for name in ("head", *WORKERS)])


def test_containers_are_locked_down(cluster: Cluster, podman: Podman) -> None:
    """Non-root, no capability, a read-only root; and the image holds no test, cache or secret."""
    for name in ("head", *WORKERS, "store"):
        assert podman.execute(name, "id", "-u").strip() == "1000"
        status = podman.execute(name, "cat", "/proc/self/status")
        capabilities = [line.split()[1] for line in status.splitlines() if line.startswith("Cap")]
        assert {int(mask, 16) for mask in capabilities} == {0}
        assert "NoNewPrivs:\t1" in status
        with pytest.raises(RuntimeError, match="Read-only file system"):
            podman.execute(name, "touch", "/app/code/x", user="0")
    fresh = ("run", "--rm", "--network", "none", "--user", "0", IMAGE)
    places = ("/app/code", "/home", "/root", "/tmp", "/cache", "/build")
    for pattern in ("test_*", "conftest.py", ".git", ".cache", "*.whl", "*token*", ".aws", "*.crt"):
        search = f"find {' '.join(places)} -name '{pattern}' 2>/dev/null; echo searched"
        assert podman(*fresh, "bash", "-c", search).split() == ["searched"], pattern


def test_wrong_tokens_are_refused(user: User, cluster: Cluster) -> None:
    """With a wrong token and with none: one clear error, and no job."""
    wrong = user.sweeps(*SUBMIT, status=2, RAY_AUTH_TOKEN="wrong")
    none = user.sweeps(*SUBMIT, status=2, RAY_AUTH_TOKEN="", RAY_AUTH_MODE="disabled")
    for refused in (wrong, none):
        assert "token" in refused.stderr
        assert "Traceback" not in refused.stderr
        log(f"refused: {refused.stderr.strip().splitlines()[-1]}")
    jobs = user.sweeps("status", "sweep.yaml", "--store", STORE, "--json").stdout
    assert json.loads(jobs).get("job") is None


def test_a_sweep_survives_every_fault(
    user: User, cluster: Cluster, podman: Podman, scraped: Prometheus, tmp_path: Path
) -> None:
    """Each trial has exactly one result, and the tables are those of an undisturbed local run."""
    store, protocol = StoreView(cluster), Protocol()
    follower = user.follow(*SUBMIT)
    wait_for_checkpoints(store, 2)
    attached = user.sweeps(*SUBMIT, "--no-wait")
    assert "attached to job" in attached.stderr
    protocol.killed = kill_worker(cluster, store, WORKERS[0])
    scrape_all(scraped, podman)
    check_dashboard(scraped)
    wait_for_checkpoints(store, 2)
    drain_worker(cluster, store, WORKERS[1], protocol)
    scrape_all(scraped, podman)
    stop_store(cluster, 30)
    wait_for_checkpoints(store, 1)
    before = state_of(user)
    lose_head(cluster, WORKERS)
    scrape_all(scraped, podman)
    assert follower.wait(timeout=300) != 0
    log(f"after the head was lost: {before['done']} of 6 trials done")
    again = user.sweeps(*SUBMIT, timeout=900)
    log(again.stderr.strip().splitlines()[-1])
    check_results(user, store, tmp_path)
    told_costs(user, protocol)


def check_dashboard(server: Prometheus) -> None:
    """Every metric of ours that a CPU can have has series; every panel's query is answered."""
    expected = {metric.exported for metric in METRICS if metric.name not in FAULTS_ONLY}
    on_cpu = {name for name in expected if "gpu" not in name}

    def missing() -> set[str]:
        names = server.names()
        return {name for name in on_cpu if not {name, f"{name}_bucket"} & names}

    wait_for("our metrics in Prometheus", lambda: not missing(), 600, 5)
    variables = {"$sweep": "e2e", "$__rate_interval": "1m", "$__range": "1h"}  # as Grafana fills
    asked = queries()
    for name, value in variables.items():
        asked = [query.replace(name, value) for query in asked]
    assert not [query for query in asked if "$" in query]
    filled = sum(bool(server.query(query)) for query in asked)  # raises where one is no PromQL
    log(f"Prometheus: {len(asked)} queries of panels and alerts, {filled} have series now")
    assert filled >= len(asked) // 2
    running = server.query('sum(ray_sweeps_trials{state="running"})')
    log(f"Prometheus: {len(on_cpu)} metrics of ours; trials running: {running[0]['value'][1]}")


def check_results(user: User, store: StoreView, tmp_path: Path) -> None:
    """Pull, report, and compare with a local run of the same sweep."""
    assert store.committed() == 6
    assert store.keys("checkpoints/") == []
    user.sweeps("pull", "sweep.yaml", "--store", STORE, "--out", "tables")
    user.sweeps("report", "sweep.yaml", "--store", STORE, "--out", "report")
    assert (user.folder / "report/report.html").stat().st_size > 10_000
    local = str(tmp_path / "local")
    log("the same sweep undisturbed, on the host")
    user.sweeps(
        *("stage", "siim-acr", "films", "--name", "phantom"),
        *("--set", "image_size=64", "--store", local),
    )
    user.sweeps("run", "sweep.yaml", "--store", local, timeout=900)
    user.sweeps("pull", "sweep.yaml", "--store", local, "--out", "local-tables")
    for name in ("trials", "epochs", "predictions"):
        ours = pq.read_table(user.folder / f"tables/{name}.parquet").to_pandas()
        theirs = pq.read_table(user.folder / f"local-tables/{name}.parquet").to_pandas()
        keys = [
            key
            for key in ("trial_id", "epoch", "split", "metric", "attribute", "sample_id")
            if key in ours
        ]
        frames = [
            frame.drop(columns=[c for c in PROVENANCE if c in frame])
            .sort_values(keys)
            .reset_index(drop=True)
            for frame in (ours, theirs)
        ]
        assert frames[0].equals(frames[1]), name
        log(f"table {name}: {len(ours)} rows, equal to the undisturbed run's")
    assert ours["trial_id"].nunique() == 6


def told_costs(user: User, protocol: Protocol) -> None:
    """What each fault cost, by the tables; a drain at most an epoch and no counted failure."""
    trials = pq.read_table(user.folder / "tables/trials.parquet").to_pandas().set_index("trial_id")
    failures = pq.read_table(user.folder / "tables/failures.parquet").to_pandas()
    log("failures:\n" + failures[["trial_id", "failure_class", "message"]].to_string())
    drained = failures[failures.failure_class == "preempted"].trial_id.tolist()
    assert drained, "no trial was drained"
    for trial_id in drained:
        seen, row = protocol.drained[trial_id], trials.loc[trial_id]
        epoch_s = row.seconds_training / row.epochs
        log(
            f"drain of {trial_id[:8]}: saved at epoch {seen.epoch}, {seen.age:.1f} s before its "
            f"worker ended; an epoch trains {epoch_s:.2f} s; resumed at {row.resumed_from_epoch}"
        )
        between_due = sorted(e for e in protocol.saved_in_drain[trial_id] if e % EVERY)
        log(f"  epochs saved in the drain though no checkpoint was due: {between_due}")
        assert len(between_due) >= 3
        assert seen.age <= epoch_s + AGE_MARGIN_S
        assert row.resumed_from_epoch >= seen.epoch
    killed = failures[failures.failure_class == "infrastructure"].trial_id.tolist()
    assert killed, "no trial was killed"
    for trial_id in killed:
        if trial_id in protocol.killed:
            seen, row = protocol.killed[trial_id], trials.loc[trial_id]
            log(
                f"kill of {trial_id[:8]}: its checkpoint was of epoch {seen.epoch}, {seen.age:.0f} "
                f"s old, the next would have been of {seen.epoch + EVERY}; resumed at "
                f"{row.resumed_from_epoch}, so at most {EVERY} epochs were lost"
            )
            assert row.resumed_from_epoch >= seen.epoch


def test_stop_is_graceful(user: User, cluster: Cluster) -> None:
    """A stopped sweep has saved its trials in mid-flight, and goes on from there."""
    store = StoreView(cluster)
    more = ("--set", "axes.seed=[3]", "--set", "name=stopped")
    user.sweeps(*SUBMIT, *more, "--no-wait")
    wait_for("trials in flight", lambda: "running" in running(user), 600, 5)
    user.sweeps("stop", "stopped", timeout=600)
    saved = store.checkpoints()
    log(f"stopped; saved: {sorted(seen.epoch for seen in saved.values())}")
    assert saved
    user.sweeps(*SUBMIT, *more, timeout=900)
    assert store.committed() == 8
    assert "finished" in user.sweeps("logs", "stopped", "--store", STORE).stdout


def running(user: User) -> str:
    """The driver's log so far."""
    return user.sweeps("logs", "stopped", "--store", STORE, status=None).stdout


def test_no_secret_is_written_or_shown(
    user: User, cluster: Cluster, podman: Podman, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After all that: pods' files, output and arguments, Ray's state, the store, tables, report."""
    secrets = {"Ray token": cluster.token, "secret key": cluster.keys["AWS_SECRET_ACCESS_KEY"]}
    assert found_in_dashboard(cluster.dashboard, cluster.token, secrets) == []
    for name in PODS:
        assert found_in(podman.logs(name) + arguments_in(podman, name), secrets) == [], name
        assert holding_files(podman, name, secrets) == [], name
    for key, value in cluster.user_environment().items():
        monkeypatch.setenv(key, value)
    assert found_in_store(open_store(STORE), secrets) == []
    assert found_in_files([user.folder / "report", user.folder / "tables"], secrets) == []


def test_no_port_of_a_pod_obeys_without_a_key(podman: Podman) -> None:
    """By the kernel's list in each pod, asked from within, where a port-forward leads."""
    for name in PODS:
        ports = assert_pod_is_closed(podman, name, "seaweed" if name == "store" else "ray")
        log(f"{name}: {ports}")
        assert len(ports) == 8 if name == "store" else len(ports) >= 6


def test_nothing_is_left_behind(podman: Podman) -> None:
    """The run's containers are those that it started, no more."""
    listed = subprocess.run(
        ["podman", "ps", "--all", "--quiet", "--filter", f"label={podman.label}"],
        env=podman.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert len(listed.stdout.split()) == 2 + len(WORKERS)
