"""A trial on a bad network and on a full disk: its numbers are right, or it fails in its class."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from faulty_proxy import Fault, faulty_proxy
from tiny_sweeps import assert_same, one, prepared, run_here, tables

from cluster.embedded.server import Endpoint
from cluster.errors import ClusterError
from cluster.stores.folder import FolderStore
from cluster.stores.s3 import S3Store
from sweeps.plan.facts import plan_on
from sweeps.results import tables as results
from sweeps.trial.failures import POLICIES
from sweeps.trial.run import run_trial


@pytest.mark.parametrize(("fault", "share"), [("drop", 0.2), ("delay", 0.2), ("corrupt", 0.3)])
def test_a_network_that_fails_now_and_then_changes_no_number(
    s3_environment: Endpoint,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fault: Fault,
    share: float,
) -> None:
    """Connections that are cut, answers that come late, bits that flip on the way, both ways.

    A checkpoint is written at every epoch and read by the next attempt.
    """
    around = S3Store.open(f"s3://{s3_environment.bucket}/{tmp_path.name}")
    spec = one(train__epochs=6)
    _, task = prepared(around, spec, tmp_path / "cache")

    def killed(epoch: int, *_: object) -> None:
        if epoch == 3:
            raise InterruptedError("killed")

    port = int(s3_environment.url.rpartition(":")[2])
    with faulty_proxy(port, fault, share) as proxy:
        for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
            monkeypatch.setenv(name, proxy.url)
        with pytest.raises(InterruptedError):
            run_trial(task, "first", killed)
        again = type(task)(**{**vars(task), "has_checkpoint": True})
        assert run_trial(again, "second", lambda *_: None).state == "committed"
    assert proxy.met >= 3
    plan = plan_on(spec, around)
    assert plan.done == {task.trial_id}
    assert plan.damaged == {}
    [row] = results.read_trials(around, plan.done).to_pylist()
    assert row["resumed_from_epoch"] == 2
    undisturbed = FolderStore(tmp_path / "undisturbed")
    expected = tables(undisturbed, run_here(undisturbed, spec, tmp_path / "cache"))
    assert_same(tables(around, plan), expected)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 64 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a tmpfs")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_cache_disk_is_the_nodes_failure(
    folder_store: FolderStore, tmp_path: Path, small_disk: Path
) -> None:
    """It is tried elsewhere; the row names the folder, and a node with space gives the result."""
    spec = one()
    _, task = prepared(folder_store, spec, small_disk)
    with pytest.raises(ClusterError):
        run_trial(task, "first", lambda *_: None)
    [row] = results.read_failures(folder_store, [task.trial_id]).to_pylist()
    assert row["failure_class"] == "infrastructure"
    assert str(small_disk) in row["message"]
    assert POLICIES[row["failure_class"]].remedy == "elsewhere"
    run_here(folder_store, spec, tmp_path / "large")
    assert plan_on(spec, folder_store).done == {task.trial_id}
