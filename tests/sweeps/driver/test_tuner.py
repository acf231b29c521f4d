"""Trials on Ray Tune: the same numbers as without it, whatever happens to workers and store."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
from pathlib import Path

import pytest
from ray_here import RayHere
from tiny_sweeps import (
    DIVERGES,
    assert_same,
    fit_and_tell,
    fit_in_a_long_epoch,
    fit_on_a_leaving_node_after_failures,
    fit_on_a_leaving_node_without_store,
    fit_on_leaving_nodes,
    fit_unless_unlucky,
    one,
    printed,
    quiet_console,
    run_here,
    stage_here,
    tables,
    tiny,
    wait_until,
    zero_half,
)

from cluster.embedded.server import Endpoint
from cluster.stores.folder import FolderStore
from cluster.stores.s3 import S3Store
from sweeps.commands.stage import ensure_staged
from sweeps.driver.capacity import how_many_at_once
from sweeps.driver.runner import run_plan
from sweeps.errors import SweepError
from sweeps.plan.facts import plan_on
from sweeps.results import tables as results
from sweeps.trial.run import FitFunction

pytestmark = pytest.mark.slow


def test_sweeps_share_trials_and_numbers_do_not_depend_on_where_they_run(
    ray_here: RayHere, s3_environment: Endpoint, tmp_path: Path
) -> None:
    """A second sweep runs only what the first has not, and S3 on Ray equals a folder without it.

    Its workers are reused, keep nothing of the trial before, and give what fresh ones give. The
    node's copy of the dataset and one result are damaged in between: that is printed, the result
    is computed again, and no number changes.
    """
    store = S3Store.open(f"s3://{s3_environment.bucket}/{tmp_path.name}")
    first, second = tiny(axes__seed=[0]), tiny(name="second")
    ensure_staged(first, store)
    cache, session = tmp_path / "cache", ray_here.session
    for spec in (first, second):
        if spec is second:
            before = {key: store.get(key) for key in store.list("results/trials/")}
            zero_half(cache)
            lost = next(store.list("results/predictions/"))
            store.delete(lost)
            replaced = before.pop(results.trial_key(lost.split("/")[2]))
        console = quiet_console()
        plan = plan_on(spec, store)
        assert run_plan(spec, plan, store, session, cache, console, fit_and_tell) == 0
    assert "4 trials, 1 done, 3 to run" in printed(console)
    assert "1 result is damaged and does not count; computed again by this run" in printed(console)
    assert re.search(rf"damaged: label-20-erm-s0 \w+: {lost} is missing", printed(console))
    warning = r"warning: node \S+: cached file \S+/images.npy is damaged: .* was fetched again"
    assert len(re.findall(warning, printed(console))) == 1
    assert len(before) == 1
    assert {key: store.get(key) for key in before} == before
    assert store.get(results.trial_key(lost.split("/")[2])) != replaced

    folder = FolderStore(tmp_path / "folder")
    expected = tables(folder, run_here(folder, second, tmp_path / "other-cache"))
    assert_same(tables(store, plan_on(second, store)), expected)
    notes = [json.loads(note.read_text()) for note in cache.glob("note-*")]
    assert len(notes) == 5
    assert {(note["datasets"], note["maps"]) for note in notes} == {(1, 1)}
    assert os.getpid() not in {note["pid"] for note in notes}


def test_workers_are_reused(ray_here: RayHere, tmp_path: Path) -> None:
    """Four trials on one CPU after the other take one process, and the numbers are the same."""
    store = FolderStore(tmp_path / "store")
    spec = tiny(resources__cpus=2)
    stage_here(store, spec)
    cache, console = tmp_path / "cache", quiet_console()
    plan = plan_on(spec, store)
    assert run_plan(spec, plan, store, ray_here.session, cache, console, fit_and_tell) == 0
    notes = [json.loads(note.read_text()) for note in cache.glob("note-*")]
    assert len(notes) == 4
    assert len({note["pid"] for note in notes}) == 1
    assert {(note["datasets"], note["maps"]) for note in notes} == {(1, 1)}
    folder = FolderStore(tmp_path / "folder")
    expected = tables(folder, run_here(folder, tiny(), tmp_path / "other-cache"))
    assert_same(tables(store, plan_on(tiny(), store)), expected)


def test_each_class_of_failure_has_its_policy(ray_here: RayHere, tmp_path: Path) -> None:
    """Numerical failures are final, a store that is away is tried three times, others finish.

    The status is 1, and every failed trial is named with its reason.
    """
    store = FolderStore(tmp_path / "store")
    spec = tiny(train__per_specificity={"label": {**DIVERGES, "epochs": 8}})
    stage_here(store, spec)
    console, plan = quiet_console(), plan_on(spec, store)
    cache, session = tmp_path / "cache", ray_here.session
    assert run_plan(spec, plan, store, session, cache, console, fit_unless_unlucky) == 1
    ids = {trial.label: trial.id for trial in plan.trials}
    assert results.committed_ids(store) == {ids["mask-20-erm-s0"]}
    rows = results.read_failures(store, ids.values()).to_pylist()
    found = sorted((row["trial_id"], row["failure_class"]) for row in rows)
    assert found == sorted(
        [
            (ids["label-20-erm-s0"], "numerical"),
            (ids["label-20-erm-s1"], "numerical"),
            *[(ids["mask-20-erm-s1"], "infrastructure")] * 3,
        ]
    )
    text = printed(console)
    assert text.count("mask-20-erm-s1 tried again after infrastructure: the store went away") == 2
    failed = [line for line in text.splitlines() if line.startswith("failed: ")]
    assert len(failed) == 3
    assert sum("numerical: the training loss became" in line for line in failed) == 2
    assert sum("infrastructure: the store went away" in line for line in failed) == 1
    assert "1 trial finished" in text


def test_a_trial_beyond_its_limit_saves_its_checkpoint_and_fails(
    ray_here: RayHere, tmp_path: Path
) -> None:
    """Not tried again; counted by its class at the end, and it goes on from there another time."""
    store = FolderStore(tmp_path / "store")
    spec = one(train__epochs=50_000, checkpoint__every_epochs=50_000, limits__trial_minutes=0.6)
    stage_here(store, spec)
    console, plan = quiet_console(), plan_on(spec, store)
    cache, session = tmp_path / "cache", ray_here.session
    assert run_plan(spec, plan, store, session, cache, console) == 1
    [trial] = plan.trials
    assert "minutes, and another epoch would have gone" in printed(console)
    assert "failed attempts: 1 timeout" in printed(console)
    assert results.checkpointed_ids(store) == {trial.id}
    [row] = results.read_failures(store, [trial.id]).to_pylist()
    assert row["failure_class"] == "timeout"


def test_a_killed_worker_and_an_absent_store_cost_an_attempt_each(
    ray_here: RayHere, s3_environment: Endpoint, tmp_path: Path
) -> None:
    """Both trials go on from their checkpoints on other workers; the numbers do not show it."""
    store = S3Store.open(f"s3://{s3_environment.bucket}/{tmp_path.name}")
    spec = tiny(axes__specificity=["mask"], train__epochs=400, checkpoint__every_epochs=5)
    stage_here(store, spec)
    plan, cache, console = plan_on(spec, store), tmp_path / "cache", quiet_console()
    ids = {trial.config.seed: trial.id for trial in plan.trials}

    def disturb() -> None:
        keys = [results.checkpoint_key(trial_id) for trial_id in ids.values()]
        wait_until(lambda: all(store.exists(key) for key in keys))
        [note] = cache.glob(f"note-{ids[0]}-*")
        os.kill(json.loads(note.read_text())["pid"], signal.SIGKILL)
        wait_until(lambda: "worker process was lost" in printed(console))
        ray_here.gate.shut()
        try:
            wait_until(lambda: "cannot" in printed(console))
        finally:
            ray_here.gate.reopen()

    thread = threading.Thread(target=disturb)
    thread.start()
    status = run_plan(spec, plan, store, ray_here.session, cache, console, fit_and_tell)
    thread.join()
    assert status == 0, printed(console)
    classes = [
        row["failure_class"] for row in results.read_failures(store, ids.values()).to_pylist()
    ]
    assert set(classes) == {"infrastructure"}
    rows = results.read_trials(store, plan_on(spec, store).done).to_pylist()
    assert all(row["resumed_from_epoch"] >= 5 for row in rows), rows
    folder = FolderStore(tmp_path / "folder")
    expected = tables(folder, run_here(folder, spec, tmp_path / "other-cache"))
    assert_same(tables(store, plan_on(spec, store)), expected)


@pytest.mark.parametrize(
    ("fit_function", "expected"),
    [
        (fit_on_leaving_nodes, ["preempted"] * 3),
        (fit_in_a_long_epoch, ["preempted"]),
        (fit_on_a_leaving_node_after_failures, ["infrastructure"] * 2 + ["preempted"]),
        (fit_on_a_leaving_node_without_store, ["infrastructure"] * 2),
    ],
)
def test_a_node_that_goes_away_on_notice_counts_no_failure(
    ray_here: RayHere, tmp_path: Path, fit_function: FitFunction, expected: list[str]
) -> None:
    """More often than there are retries, in the midst of an epoch, and when none is left."""
    store = FolderStore(tmp_path / "store")
    spec = tiny(axes__specificity=["label"], axes__seed=[0])
    stage_here(store, spec)
    cache, console = tmp_path / "cache", quiet_console()
    plan = plan_on(spec, store)
    status = run_plan(spec, plan, store, ray_here.session, cache, console, fit_function)
    assert status == 0, printed(console)
    classes = results.read_failures(store, [plan.trials[0].id]).column("failure_class").to_pylist()
    assert sorted(classes) == expected
    told = printed(console).count("tried again after preempted")
    assert told == expected.count("preempted")


@pytest.mark.parametrize(
    ("cpus", "gpus", "nodes", "expected"),
    [
        (1, 0, [(2, 0)], 2),
        (4, 0, [(6, 0), (6, 0)], 2),
        (1, 0.5, [(16, 2)], 4),
        (1, 0.3, [(16, 2)], 6),
        (1, 0.1, [(16, 1)], 10),
        (2, 1, [(3, 4), (0, 0)], 1),
        (1, 2, [(16, 5)], 2),
    ],
)
def test_trials_at_once_fit_onto_nodes(
    cpus: float, gpus: float, nodes: list[tuple[float, float]], expected: int
) -> None:
    """A trial stays on one node, and its share of a GPU on one GPU."""
    assert how_many_at_once(cpus, gpus, nodes) == expected


@pytest.mark.parametrize(("cpus", "gpus"), [(3, 0), (1, 1)])
def test_what_no_node_can_run_is_refused(cpus: float, gpus: float) -> None:
    """Two nodes of two CPUs cannot run a trial of three: told at once, not waited for."""
    with pytest.raises(
        SweepError, match=r"no node of the Ray session has them \(2 CPUs and 0 GPUs"
    ):
        how_many_at_once(cpus, gpus, [(2, 0), (2, 0)])


def test_a_store_that_stays_away_costs_one_wait_for_the_whole_sweep(
    ray_here: RayHere,
    s3_environment: Endpoint,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The driver says that it waits, then ends: trials that never began are not lost.

    No failure is written for an outage, and the same command continues when the store is back.
    """
    around = S3Store.open(f"s3://{s3_environment.bucket}/{tmp_path.name}")
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.setenv(name, ray_here.gate.url)
    monkeypatch.setenv("SWEEPS_STORE_TIMEOUT_S", "1")
    store = S3Store.open(f"s3://{s3_environment.bucket}/{tmp_path.name}")
    spec = tiny(axes__seed=[0, 1, 2, 3], train__epochs=30, checkpoint__every_epochs=5)
    stage_here(store, spec)
    plan, cache, console = plan_on(spec, store), tmp_path / "cache", quiet_console()

    def cut() -> None:
        wait_until(lambda: any(True for _ in around.list("checkpoints/")))
        ray_here.gate.shut()

    thread = threading.Thread(target=cut)
    thread.start()
    try:
        with pytest.raises(SweepError, match=r"stopped: \d trials finished, [5-8] are not done; "):
            run_plan(spec, plan, store, ray_here.session, cache, console, fit_and_tell)
    finally:
        thread.join()
        ray_here.gate.reopen()
    text = printed(console)
    assert text.count("does not answer: waiting for it, for up to") == 1
    assert text.count("the store did not come back: the sweep stops") == 1
    assert " lost: " not in text
    ids = [trial.id for trial in plan.trials]
    assert results.read_failures(store, ids).num_rows == 0
    again = plan_on(spec, store)
    assert run_plan(spec, again, store, ray_here.session, cache, quiet_console()) == 0
    assert not plan_on(spec, store).missing
