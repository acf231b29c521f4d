"""`sweeps logs` of a run on this machine: while it goes on, after it, and where nothing is left."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_sweeps import Place, made_place, wait_until

from cluster.stores.folder import FolderStore
from sweeps.results import tables as results

pytestmark = pytest.mark.slow

SECRET = "a-secret-of-the-user-0123456789"
LINE = re.compile(r"\(tiny pid=(\d+)\) \S+-20-erm-s\d ([0-9a-f]{16}): INFO sweeps\.trial\.run: .*")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A place for subprocesses, left without one."""
    with made_place(tmp_path) as made:
        for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):
            made.environment.pop(name, None)
        yield made


def shown(place: Place, *more: str) -> list[str]:
    """Lines that `sweeps logs tiny` prints."""
    store = ("--store", str(place.store))
    return place.sweeps("logs", "tiny", *store, *more).stdout.splitlines()


def test_a_run_here_has_logs_while_it_goes_on_and_after_it(place: Place) -> None:
    """All lines, or those of a trial or worker; followed to the end; secrets are never shown.

    With --keep-logs they stay; another name, or no run at all, is an error that says what to do.
    """
    command = ("run", str(place.spec), "--store", str(place.store), "--keep-logs")
    with (place.folder / "errors").open("w") as errors:
        driver = place.start(*command, "--set", "train.epochs=100000", stderr=errors)
    wait_until(lambda: results.checkpointed_ids(FolderStore(place.store)))
    assert shown(place)
    found = [LINE.fullmatch(line) for line in shown(place)]
    begun = {match[2]: match[1] for match in found if match}
    trial, pid = next(iter(begun.items()))
    of_trial = shown(place, "--trial", trial[:8])
    assert of_trial
    assert all(f" {trial}: " in line for line in of_trial)
    of_worker = shown(place, "--worker", pid)
    assert of_worker
    assert all(line.startswith(f"(tiny pid={pid}) ") for line in of_worker)

    follower = place.start("logs", "tiny", "--follow")
    os.killpg(driver.pid, signal.SIGINT)
    assert driver.wait(timeout=200) == 130
    out, told = follower.communicate(timeout=100)
    assert follower.returncode == 0, told
    assert "run on this machine (running): logs in " in told
    stopped = [line for line in out.splitlines() if "stopped" in line]
    assert {match[2] for line in stopped if (match := LINE.fullmatch(line))} <= set(begun)
    assert stopped

    [session] = place.temporary.glob("sweeps-ray-*")
    log = next(iter((session / "r" / "session_latest" / "logs").glob("worker-*.out")))
    with log.open("a") as file:
        file.write(f"a library says {SECRET} and http://me:password@host\n")
    place.environment["MY_SECRET"] = SECRET
    kept = place.sweeps("logs", "tiny")
    assert "run on this machine (kept): logs in " in kept.stderr
    assert sorted(set(kept.stdout.splitlines()) & set(stopped)) == sorted(stopped)
    [line] = [line for line in kept.stdout.splitlines() if "a library says" in line]
    assert line.endswith(") a library says [redacted] and http://[redacted]@host")

    other = place.sweeps("logs", "other", status=2).stderr
    assert other.startswith(
        "sweeps: error: no run of sweep 'other' goes on here, and none has kept"
    )
    assert "--keep-logs" in other


def test_a_run_that_kept_nothing_leaves_an_error(place: Place) -> None:
    """After it ended; a trial that did not fail has no line in the store either."""
    fast = ("--set", "axes.seed=[0]", "--set", "axes.specificity=[label]")
    store = ("--store", str(place.store))
    place.sweeps("run", str(place.spec), *store, *fast)
    assert "none has kept its logs" in place.sweeps("logs", "tiny", *store, status=2).stderr
    [row] = (place.store / "results" / "trials").iterdir()
    errors = place.sweeps("logs", "tiny", *store, "--trial", row.stem[:8], status=2).stderr
    assert "only failed attempts leave one; give --address" in errors
    assert "run with --keep-logs here" in errors
    place.environment["RAY_API_SERVER_ADDRESS"] = "http://127.0.0.1:9"
    errors = place.sweeps("logs", "tiny", *store, "--trial", row.stem[:8], status=2).stderr
    assert errors.startswith("note: no answer from http://127.0.0.1:9")
