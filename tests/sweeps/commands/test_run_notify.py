"""`sweeps run --notify` and `sweeps submit --notify`: what is posted when, and what it may cost."""

from __future__ import annotations

import json
import logging
import os
import shlex
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from notified import posts_here
from tiny_sweeps import DIVERGES, TEXT, Place, made_place, run_here, tiny, wait_until

from cluster.jobs.requests import same_work
from cluster.stores.folder import FolderStore
from sweeps.cli import main

pytestmark = pytest.mark.slow

FAST = ("--set", "axes.seed=[0]", "--set", "axes.specificity=[label]")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A place for subprocesses, left without one."""
    with made_place(tmp_path, no_proxy="127.0.0.1") as made:
        yield made


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with `tiny.yaml`, whose four trials have results in the folder `store`."""
    (tmp_path / "tiny.yaml").write_text(TEXT)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS", "SWEEPS_NOTIFY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def event(bodies: list[bytes]) -> dict[str, Any]:
    """The one event that was posted."""
    [body] = bodies
    assert body.endswith(b"}\n")
    assert body.count(b"\n") == 1
    posted: dict[str, Any] = json.loads(body)
    assert posted.pop("seconds") >= 0
    return posted


def test_a_run_posts_how_it_ended(place: Place) -> None:
    """One that goes well, then one whose trial fails: counts and classes are those of `status`."""
    with posts_here() as posts:
        notify = ("--store", str(place.store), "--notify", posts.url, *FAST)
        done = place.sweeps("run", str(place.spec), *notify)
        assert "secret" not in done.stderr + done.stdout
        assert event(posts.bodies) == {
            **{"event": "end", "sweep": "tiny", "status": "done", "exit_status": 0},
            **{"trials": 1, "done": 1, "failed": 0, "missing": 0, "failures": {}, "message": ""},
        }
        posts.bodies.clear()
        settings = [f"train.{key}={value}" for key, value in DIVERGES.items()]
        bad = [part for each in [*settings, "train.epochs=8"] for part in ("--set", each)]
        place.sweeps("run", str(place.spec), *notify, *bad, status=1)
        posted = event(posts.bodies)
    assert (posted["status"], posted["exit_status"]) == ("failed", 1)
    assert [posted[key] for key in ("trials", "done", "failed", "missing")] == [1, 0, 1, 0]
    assert posted["failures"] == {"numerical": 1}


def test_an_interrupted_run_posts_it(place: Place) -> None:
    """After the trials have saved: status 130, and what is missing."""
    with posts_here() as posts:
        long = ("--set", "train.epochs=100000", "--notify", posts.url)
        driver = place.start("run", str(place.spec), "--store", str(place.store), *long)
        wait_until(lambda: list(FolderStore(place.store).list("checkpoints/")))
        os.killpg(driver.pid, signal.SIGINT)
        driver.communicate(timeout=200)
        assert driver.returncode == 130
        posted = event(posts.bodies)
    assert (posted["status"], posted["exit_status"], posted["missing"]) == ("interrupted", 130, 4)


def test_a_run_with_nothing_left_posts_too(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that is submitted again may find all done; the URL may come from SWEEPS_NOTIFY."""
    run_here(FolderStore(here / "store"), tiny(), here / "cache")
    with posts_here() as posts:
        monkeypatch.setenv("SWEEPS_NOTIFY", posts.url)
        assert main(["run", "tiny.yaml", "--store", "store"]) == 0
        posted = event(posts.bodies)
    assert (posted["status"], posted["trials"], posted["done"]) == ("done", 4, 4)


@pytest.mark.parametrize("status", [500, 302])
def test_a_failed_post_changes_nothing_else(
    here: Path, status: int, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """The exit status and the output are those without the option, but for one warning."""
    run_here(FolderStore(here / "store"), tiny(), here / "cache")
    command = ["run", "tiny.yaml", "--store", "store"]
    assert main(command) == 0
    plain = capsys.readouterr()
    with posts_here(status) as posts:
        assert main([*command, "--notify", posts.url]) == 0
    assert capsys.readouterr().out == plain.out
    [record] = [each for each in caplog.records if each.levelno >= logging.WARNING]
    assert "was not notified of sweep 'tiny'" in record.getMessage()


def test_an_error_is_posted_without_secrets(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Counts are null where the command ended before it knew them."""
    monkeypatch.setenv("A_SECRET", "nowhere-to-be-found")
    with posts_here() as posts:
        command = ["run", "nowhere-to-be-found.yaml", "--store", "store", "--notify", posts.url]
        assert main(command) == 2
        posted = event(posts.bodies)
    assert (posted["status"], posted["exit_status"], posted["trials"]) == ("error", 2, None)
    assert "cannot be read" in posted["message"]
    assert "nowhere" not in json.dumps(posted)
    assert "cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("run tiny.yaml --store store --notify ftp://h/secret", "--notify: expected http://HOST"),
        ("submit tiny.yaml --store s3://b --dry-run --notify secret", "--notify: expected http://"),
        (
            "submit tiny.yaml --store s3://b --dry-run --notify https://me:secret@h/x",
            "set SWEEPS_NOTIFY in the cluster's environment instead",
        ),
        ("run tiny.yaml --debug label --notify http://h", "--notify tells of a whole run"),
    ],
)
def test_what_cannot_be_posted_to_is_refused_at_once(
    here: Path, capsys: pytest.CaptureFixture[str], arguments: str, message: str
) -> None:
    """Before anything is written or sent."""
    assert main(arguments.split()) == 2
    errors = capsys.readouterr().err
    assert message in errors
    assert "secret" not in errors
    assert sorted(path.name for path in here.iterdir()) == ["tiny.yaml"]


def test_a_submitted_job_posts_from_the_cluster(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The option is part of the job's command, and of nothing that tells two jobs apart."""
    command = ["submit", "tiny.yaml", "--store", "s3://sweeps", "--dry-run"]
    assert main(command) == 0
    plain = json.loads(capsys.readouterr().out)
    url = "https://hooks.example.com/x?y=a%20b"
    assert main([*command, "--notify", url]) == 0
    captured = capsys.readouterr()
    request = json.loads(captured.out)
    words = shlex.split(request["entrypoint"])
    assert words[-2:] == ["--notify", url]
    assert request["submission_id"] == plain["submission_id"]
    assert same_work(request["entrypoint"], plain["entrypoint"])
    assert "note: the dashboard shows the URL of --notify" in captured.err


def test_commands_of_other_work_differ() -> None:
    """Another store, or a stranger's command that no shell of ours reads, is other work."""
    one = "sweeps run stored:ab --store s3://a"
    assert same_work(one, f"{one} --notify http://h")
    assert not same_work(one, "sweeps run stored:ab --store s3://b")
    assert not same_work(one, "python -c 'broken")
    assert same_work("python -c 'broken", "python -c 'broken")
