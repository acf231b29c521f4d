"""`sweeps run` in processes of its own, as users run it: killed, doubled, interrupted, repeated."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import stat
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from leaks import assert_closed, found_in, found_in_dashboard, found_in_files
from port_probes import commands_of, descendants
from tiny_sweeps import (
    Place,
    assert_same,
    made_place,
    read_json,
    run_here,
    tables,
    tiny,
    wait_until,
)

from cluster.stores.folder import FolderStore
from sweeps.plan.facts import plan_on
from sweeps.plan.plan import Plan
from sweeps.results import tables as results

LONG = "train.per_specificity={mask: {epochs: 120}}"
"""Two of the four trials then take some seconds each."""

OUR_LINE = re.compile(
    r"Ray dashboard: http://127\.0\.0\.1:\d+( \(token in \S+\))?"
    r"|staging gaussian-squares: \d+ of 100 images(, [\d,.]+ images/s)?(, [\d:]+ left)?"
    r"|sweep 'tiny': 4 trials, \d done, \d to run, \d at once"
    r"|sweep 'tiny': 4 trials, \d done; starting Ray on this machine"
    r"|CPUs stay idle: with resources.cpus=\d+ as many trials fit, .*"
    r"|sweep 'tiny': \d trials? finished(, \d of them by another run)?"
    r"|sweep 'tiny': this run used [0-9.]+ CPU-hours"
    r"|sweep 'tiny': all 4 trials have a result; nothing to run"
    r"|interrupted: \d trials? (is|are) not done; the same command continues"
    r"|Ray's logs: /\S+/logs"
    r"|next: sweeps report \S+/tiny.yaml( --set '?train.\S+( \S+)*)? --store \S+"
    r"| *\d+ s  \[\d/\d\] [0-9a-f]{8} (label|mask)-20-erm-s[01] "
    r"(robust AUROC ([\d.]+|nan) in [\d.]+ s(; [\d:]+ left)?|already done|lost the race)"
    r"| *\d+ s  running .*"
    r"| *\d+ s  stopping: running trials save a checkpoint at the end of their epoch; .*"
)
"""All that `run` may say of a sweep that goes well."""

VARIABLES = {
    "AWS_ACCESS_KEY_ID": "an-access-key-0123456789",
    "AWS_SECRET_ACCESS_KEY": "a-secret-key-by-a-variable-0123456789",
    "AWS_SESSION_TOKEN": "a-session-token-by-a-variable-0123456789",
    "AWS_SECURITY_TOKEN": "a-security-token-by-a-variable-0123456789",
}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A place for subprocesses, left without one."""
    with made_place(tmp_path) as made:
        yield made


def run_command(place: Place, *more: str) -> tuple[str, ...]:
    """Arguments of `sweeps run` on the place's folder store."""
    return ("run", str(place.spec), "--store", str(place.store), *more)


def assert_only_ours(errors: str) -> None:
    """Nothing of Ray or Tune is mixed into what the user sees."""
    foreign = [line for line in errors.splitlines() if not OUR_LINE.fullmatch(line)]
    assert foreign == []


def sessions(place: Place) -> set[Path]:
    """Folders of Ray sessions that are there now."""
    return set(place.temporary.glob("sweeps-ray-*"))


@pytest.mark.slow
def test_a_killed_driver_costs_the_trials_in_flight_nothing_but_time(place: Place) -> None:
    """After `kill -9` the same command runs what has no result, from checkpoints, and no more.

    It is given twice at once: both end well, no trial has two rows, and no lost attempt leaves its
    tables. A third time it runs nothing and never starts Ray. The numbers are those of a quiet run.
    The killed session's folder goes with the next session, and that one's own at its end; one that
    was kept stays.
    """
    kept = place.temporary / "sweeps-ray-kept"
    kept.mkdir()
    command = run_command(place, "--set", LONG)
    long = tiny(train__per_specificity={"mask": {"epochs": 120}})
    store = FolderStore(place.store)
    first = tiny(axes__specificity=["label"], axes__seed=[0])
    run_here(store, first, place.folder / "first")  # so that one is committed, whatever is quick
    driver = place.start(*command)
    masks = [t for t in plan_on(long, store).trials if t.cell.specificity.kind == "mask"]
    wait_until(lambda: any(store.exists(results.checkpoint_key(trial.id)) for trial in masks))
    driver.kill()
    driver.communicate()
    wait_until(lambda: not place.workers())  # one may commit before it notices
    committed = {key: store.get(key) for key in store.list("results/trials/")}
    assert 1 <= len(committed) < 4
    [left] = sessions(place) - {kept}
    assert stat.S_IMODE(left.stat().st_mode) == 0o700

    orphans = set(place.processes())  # Ray's own agents end some time after their driver
    drivers = [place.start(*command, "--json") for _ in range(2)]
    for second in drivers:
        out, errors = second.communicate(timeout=280)
        assert second.returncode == 0, errors
        summary = read_json("run", out)
        assert [summary[key] for key in ("trials", "done", "failed", "missing")] == [4, 4, 0, 0]
        assert summary["store"] == store.url
        assert_only_ours(errors)
        assert f"4 trials, {len(committed)} done" in errors
    assert {key: store.get(key) for key in committed} == committed
    wait_until(lambda: set(place.processes()) <= orphans)
    plan = plan_on(long, store)
    assert_one_result_a_trial(store, plan)
    rows = results.read_trials(store, plan.done).to_pylist()
    assert max(row["resumed_from_epoch"] for row in rows) >= 1
    quiet = FolderStore(place.folder / "quiet")
    assert_same(tables(store, plan), tables(quiet, run_here(quiet, long, place.folder / "cache")))

    assert sessions(place) == {kept}
    code = (
        "import sys; from sweeps.cli import main; status = main(sys.argv[1:]);"
        "print(status, [m for m in ('ray', 'torch') if m in sys.modules])"
    )
    third = subprocess.run(
        [sys.executable, "-c", code, *command],
        env=place.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert third.stdout == "0 []\n"
    told, following = third.stderr.splitlines()
    assert told == "sweep 'tiny': all 4 trials have a result; nothing to run"
    report = ["sweeps", "report", str(place.spec), "--set", LONG, "--store", str(place.store)]
    assert following == f"next: {shlex.join(report)}"


def assert_one_result_a_trial(store: FolderStore, plan: Plan) -> None:
    """Each of four trials has one row and one of each table, and nothing else is left of it."""
    assert len(plan.done) == len(list(store.list("results/trials/"))) == 4
    for table in ("epochs", "predictions"):
        assert len(list(store.list(f"results/{table}/"))) == 4
    assert list(store.list("results/failures/")) == []
    assert list(store.list("checkpoints/")) == []
    assert (
        len(list(store.list("datasets/"))) == 4
    )  # a shard, the manifest, counts and the table of images


def asked(url: str, token: str) -> Any:
    """JSON from the dashboard."""
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def test_ctrl_c_stops_everything_and_says_how_to_go_on(place: Place) -> None:
    """Status 130, and no process is left; until then the dashboard knows the sweep by its name.

    Ray is behind a token in a file that only its owner can read, at every port. Secrets in
    variables, which Ray Tune would copy, are neither on the dashboard nor in arguments or logs.
    """
    del place.environment["RAY_AUTH_MODE"]
    place.environment |= VARIABLES
    errors = place.folder / "errors"
    command = run_command(place, "--set", "train.epochs=100000", "--keep-logs")
    with errors.open("w") as file:
        driver = place.start(*command, stderr=file)
    wait_until(lambda: list(FolderStore(place.store).list("checkpoints/")))
    found = re.search(r"Ray dashboard: (http://\S+) \(token in (\S+)\)", errors.read_text())
    assert found is not None
    token_file = Path(found[2])
    assert stat.S_IMODE(token_file.stat().st_mode) == 0o600
    token = token_file.read_text()
    actors = asked(f"{found[1]}/api/v0/actors?detail=1", token)["data"]["result"]["result"]
    jobs = asked(f"{found[1]}/api/v0/jobs?detail=1", token)["data"]["result"]["result"]
    # the second worker may still be starting, and has no name until it has started
    assert {actor["repr_name"] for actor in actors if actor["state"] == "ALIVE"} == {"tiny"}
    assert [job["metadata"] for job in jobs] == [{"sweep": "tiny"}]
    with pytest.raises(urllib.error.HTTPError, match=r"HTTP Error 40[13]"):
        asked(f"{found[1]}/api/v0/actors", "wrong")
    [folder] = sessions(place)
    secrets = {**{n: v for n, v in VARIABLES.items() if "ID" not in n}, "Ray token": token}
    assert found_in_dashboard(found[1], token, secrets) == []
    processes = descendants(driver.pid)
    assert found_in(" ".join(commands_of(processes)), secrets) == []
    kinds = assert_closed(processes, token)
    assert sorted(set(kinds.values())) == ["HTTP", "gRPC", "metrics"]
    assert len(kinds) >= 9, kinds  # of two sessions at once, one has the fixed metrics ports

    os.killpg(driver.pid, signal.SIGINT)  # a terminal sends it to the whole group
    assert driver.wait(timeout=120) == 130
    *_, interrupted, where = errors.read_text().splitlines()
    assert interrupted == "interrupted: 4 trials are not done; the same command continues"
    assert re.fullmatch(rf"Ray's logs: {folder}/r/session_[\d_-]+/logs", where)
    assert_only_ours(errors.read_text())
    wait_until(lambda: not place.processes())
    assert found_in_files([folder, place.store, errors], secrets) == []
    store = FolderStore(place.store)
    assert list(store.list("results/")) == []
    assert 1 <= len(results.checkpointed_ids(store)) <= 2  # two at once, if both had begun
