"""A node that is told to go, and a head that is lost: real clusters of `ray start`, by signals."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

import pytest
from cluster_here import ClusterHere, cluster_here
from port_probes import descendants
from tiny_sweeps import TEXT, assert_same, run_here, tables, tiny, wait_until

from cluster.embedded.server import Endpoint
from cluster.jobs.ray_internals import LOOPBACK_VARIABLE
from cluster.stores.folder import FolderStore
from cluster.stores.s3 import S3Store
from sweeps.plan.facts import plan_on
from sweeps.results import tables as results
from sweeps.spec.model import Spec

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
EPOCHS, EVERY = 1000, 40
CHANGED = {
    **{"train.epochs": EPOCHS, "checkpoint.every_epochs": EVERY},
    **{"axes.seed": [0], "axes.specificity": '["mask"]'},
}
"""One trial that is longer than the time that a drained node is given."""


def spec() -> Spec:
    """What is submitted."""
    return tiny(
        **{key.replace(".", "__"): value for key, value in CHANGED.items()}
        | {"axes__specificity": ["mask"]}
    )


def submit(here: ClusterHere, store: S3Store, *more: str) -> list[str]:
    """Arguments of `submit`."""
    (here.user.folder / "tiny.yaml").write_text(TEXT)
    settings = [part for key, value in CHANGED.items() for part in ("--set", f"{key}={value}")]
    command = ["submit", "tiny.yaml", "--address", here.address, "--store", store.url]
    return [*command, *settings, *more]


def wait_for_checkpoint(store: S3Store) -> None:
    """Wait until the trial has one."""
    wait_until(lambda: results.checkpointed_ids(store))


def assert_undisturbed(store: S3Store, folder: Path) -> int:
    """The trial has one result, with the numbers of a quiet run; return where it was resumed."""
    plan = plan_on(spec(), store)
    assert not plan.missing
    quiet = FolderStore(folder / "quiet")
    assert_same(tables(store, plan), tables(quiet, run_here(quiet, spec(), folder / "other-cache")))
    [row] = results.read_trials(store, plan.done).to_pylist()
    resumed: int = row["resumed_from_epoch"]
    return resumed


def test_a_drained_node_costs_no_counted_failure(
    s3_endpoint: Endpoint, s3_store: S3Store, tmp_path: Path
) -> None:
    """SIGTERM to one node's `ray start`: its trial saves at once and goes on elsewhere.

    It goes on from an epoch at which no checkpoint was due: it was saved since the notice.
    """
    (tmp_path / "cluster").mkdir()
    with cluster_here(
        tmp_path / "cluster",
        s3_endpoint.environment(),
        cpus=0,
        RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S="5",
        **{LOOPBACK_VARIABLE: "1"},  # at 0 a cluster has one node
    ) as here:
        leaving = here.add_node(1)
        follower = here.user.start(*submit(here, s3_store))
        wait_for_checkpoint(s3_store)
        leaving.send_signal(signal.SIGTERM)
        here.add_node(1)
        out, errors = follower.communicate(timeout=300)
        assert follower.returncode == 0, out + errors
        leaving.wait(60)
    ids = [trial.id for trial in plan_on(spec(), s3_store).trials]
    failures = results.read_failures(s3_store, ids).to_pylist()
    assert [row["failure_class"] for row in failures] == ["preempted"]
    resumed = assert_undisturbed(s3_store, tmp_path)
    assert resumed > EVERY
    assert resumed % EVERY


def test_a_lost_head_costs_what_is_not_in_a_checkpoint(
    s3_endpoint: Endpoint, s3_store: S3Store, tmp_path: Path
) -> None:
    """Every process of the cluster is killed; the same command on a new one continues."""
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    with cluster_here(tmp_path / "first", s3_endpoint.environment()) as here:
        here.user.sweeps(*submit(here, s3_store, "--no-wait"))
        wait_for_checkpoint(s3_store)
        for pid in [*descendants(here.pid), here.pid]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    assert not results.committed_ids(s3_store)
    with cluster_here(tmp_path / "second", s3_endpoint.environment()) as here:
        here.user.sweeps(*submit(here, s3_store))
    assert assert_undisturbed(s3_store, tmp_path) >= EVERY
