"""Two drivers of one sweep at once, as a RayJob that is tried again may leave them behind.

Both run the very command that a job has, on one store: the first commit of a trial counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_sweeps import Place, assert_same, made_place, run_here, tables, tiny, wait_until

from cluster.embedded.server import Endpoint
from cluster.stores.base import Store
from cluster.stores.folder import FolderStore
from cluster.stores.s3 import S3Store
from sweeps.plan.facts import plan_on
from sweeps.plan.plan import Plan
from sweeps.results import tables as results
from sweeps.spec.stored import STORED, digest_of, put_spec

pytestmark = pytest.mark.slow

LONG = "train.per_specificity={mask: {epochs: 120}}"
"""Two of the four trials then take some seconds each."""
SPEC = tiny(train__per_specificity={"mask": {"epochs": 120}})
COMMITTED = re.compile(r"\[\d/4\] ([0-9a-f]{8}) \S+ robust AUROC")
ENDED = re.compile(r"\[\d/4\] ([0-9a-f]{8}) ")


@pytest.fixture
def place(tmp_path: Path, s3_endpoint: Endpoint) -> Iterator[Place]:
    """A place for subprocesses that reach the run's S3 server, left without one."""
    with made_place(tmp_path, **s3_endpoint.environment()) as made:
        yield made


def job_command(store: Store) -> tuple[str, ...]:
    """The command of a submitted job; its YAML is in the store."""
    put_spec(store, SPEC.text)
    return ("run", f"{STORED}{digest_of(SPEC.text)}", "--store", store.url, "--set", LONG)


def assert_nothing_lost_nor_doubled(store: Store, quiet: Path) -> Plan:
    """Every trial has one row and one of each table, with the numbers of an undisturbed run."""
    plan = plan_on(SPEC, store)
    assert len(plan.done) == len(list(store.list("results/trials/"))) == 4
    for table in ("epochs", "predictions"):
        assert len(list(store.list(f"results/{table}/"))) == 4
    assert list(store.list("checkpoints/")) == []
    alone = FolderStore(quiet / "store")
    assert_same(tables(store, plan), tables(alone, run_here(alone, SPEC, quiet / "cache")))
    return plan


def test_two_drivers_at_once_commit_each_trial_once(place: Place, tmp_path: Path) -> None:
    """Both begin with nothing done and end well; of each trial exactly one attempt is committed.

    The other driver says that it was done already, or that its attempt lost the race.
    """
    store = FolderStore(place.store)
    drivers = [place.start(*job_command(store)) for _ in range(2)]
    said = []
    for driver in drivers:
        _, errors = driver.communicate(timeout=280)
        assert driver.returncode == 0, errors
        assert "4 trials, 0 done, 4 to run" in errors
        [others] = re.findall(
            r"sweep 'tiny': 4 trials finished(?:, (\d) of them by another run)?\n", errors
        )
        assert int(others or 0) == 4 - len(COMMITTED.findall(errors))
        said.append(errors)
    plan = assert_nothing_lost_nor_doubled(store, tmp_path / "quiet")
    ids = sorted(trial_id[:8] for trial_id in plan.done)
    assert sorted(COMMITTED.findall("".join(said))) == ids
    assert sorted(ENDED.findall("".join(said))) == sorted(2 * ids)


def test_a_driver_killed_beside_another_costs_nothing(
    place: Place, s3_store: S3Store, tmp_path: Path
) -> None:
    """The head of the first is lost while both train; on S3, whose conditional put decides.

    The one that is left ends well and runs what the other had begun. A third finds all done.
    """
    command = job_command(s3_store)
    logs = [(place.folder / f"errors{number}").open("w") for number in range(2)]
    first, second = [place.start(*command, stderr=log) for log in logs]
    wait_until(lambda: all("4 to run" in Path(log.name).read_text() for log in logs))
    wait_until(lambda: results.checkpointed_ids(s3_store))
    first.kill()
    first.communicate()
    assert len(results.committed_ids(s3_store)) < 4
    second.communicate(timeout=280)
    for log in logs:
        log.close()
    errors = Path(logs[1].name).read_text()
    assert second.returncode == 0, errors
    assert "sweep 'tiny': 4 trials finished" in errors
    wait_until(lambda: not place.workers())  # those of the lost head may commit before they notice
    third = place.sweeps(*command)
    assert "all 4 trials have a result; nothing to run" in third.stderr
    assert_nothing_lost_nor_doubled(s3_store, tmp_path / "quiet")
