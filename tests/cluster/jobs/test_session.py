"""Where a Ray session runs, what it is told, and who may reach it."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster.errors import Unavailable
from cluster.jobs.session import (
    _connect,
    _name_lost_ray,
    _private_folder,
    _terminate_as_interrupt,
    _token_of_session,
    on_cluster,
    prepare_environment,
    ray_session,
)
from cluster.jobs.session_folder import SessionFolder

SETTINGS = (
    *("RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"),
    *("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "RAY_USAGE_STATS_ENABLED"),
    *("RAY_TMPDIR", "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"),
    *("TUNE_PRINT_ALL_TRIAL_ERRORS", "RAY_AIR_NEW_OUTPUT"),
)


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A process in which Ray was neither set up nor imported; put back at the end."""
    for name in SETTINGS:
        monkeypatch.setenv(name, "")  # so that it is put back, whatever the test sets
        monkeypatch.delenv(name)
    monkeypatch.delitem(sys.modules, "ray", raising=False)
    return monkeypatch


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder with a path that is short enough for Ray's sockets."""
    with tempfile.TemporaryDirectory(prefix="sw", dir="/tmp") as folder:
        yield Path(folder)


def test_a_local_session_is_behind_a_token(fresh: pytest.MonkeyPatch) -> None:
    """Token mode is explicit, and the session is to make a token of its own."""
    assert prepare_environment()
    assert os.environ["RAY_AUTH_MODE"] == "token"
    assert "RAY_AUTH_TOKEN_PATH" not in os.environ
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
    assert os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] == "0"


def test_each_session_has_a_token_of_its_own(fresh: pytest.MonkeyPatch, short: Path) -> None:
    """In a file that only its owner can read, in the private folder, gone with the session."""
    fresh.setenv("RAY_TMPDIR", str(short / "n"))
    tokens = []
    for _ in range(2):
        folder = SessionFolder(keep=False)
        with _token_of_session(folder) as file:
            assert os.environ["RAY_AUTH_TOKEN_PATH"] == str(file)
            assert file.parent == folder.path.parent
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
            assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
            tokens.append(file.read_text())
        assert not file.exists()
        assert "RAY_AUTH_TOKEN_PATH" not in os.environ
        folder.close()
    assert [len(token) for token in tokens] == [64, 64]
    assert tokens[0] != tokens[1]
    assert list((short / "n").iterdir()) == []


def test_a_half_removed_folder_goes_too(short: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a killed clean-up left; a folder that is in use or kept stays."""
    monkeypatch.setenv("RAY_TMPDIR", str(short))
    kept = SessionFolder(keep=True)
    kept.close()
    used = SessionFolder(keep=False)
    half = SessionFolder(keep=False)
    half.path.rmdir()
    half._owner.close()
    new = SessionFolder(keep=False)
    assert set(short.iterdir()) == {f.path.parent for f in (kept, used, new)}
    for folder in (used, new):
        folder.close()
    assert list(short.iterdir()) == [kept.path.parent]


def test_the_users_own_settings_win(fresh: pytest.MonkeyPatch) -> None:
    """A mode, a token or a token's file that is set is used, and no other one is made."""
    fresh.setenv("RAY_AUTH_MODE", "disabled")
    assert not prepare_environment()
    fresh.setenv("RAY_AUTH_MODE", "token")
    fresh.setenv("RAY_AUTH_TOKEN", "mine")
    assert not prepare_environment()
    fresh.delenv("RAY_AUTH_TOKEN")
    fresh.setenv("RAY_AUTH_TOKEN_PATH", "/run/secrets/ray")
    assert not prepare_environment()


def test_a_cluster_brings_its_own_token(fresh: pytest.MonkeyPatch) -> None:
    """With RAY_ADDRESS only what concerns this process is set."""
    fresh.setenv("RAY_ADDRESS", "head:6379")
    assert on_cluster()
    assert not prepare_environment()
    assert "RAY_AUTH_MODE" not in os.environ
    assert os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] == "1"


@pytest.mark.parametrize("address", ["", "local"])
def test_an_address_of_no_cluster_is_a_local_session(
    fresh: pytest.MonkeyPatch, tmp_path: Path, address: str
) -> None:
    """Ray's own word for a new session, and an empty variable, are no cluster."""
    fresh.setenv("RAY_ADDRESS", address)
    assert not on_cluster()
    assert prepare_environment()


def test_settings_that_come_too_late_are_refused(fresh: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Ray reads its mode when it is imported: silently unprotected would be worse than no start."""
    fresh.setitem(sys.modules, "ray", object())  # type: ignore[arg-type]
    with pytest.raises(Unavailable, match="set RAY_AUTH_MODE before Ray is imported"):
        prepare_environment()


def test_a_session_without_a_temporary_folder_is_an_error(
    fresh: pytest.MonkeyPatch, short: Path
) -> None:
    """The folder is named, and what to set."""
    (short / "f").write_text("in the way")
    fresh.setenv("RAY_TMPDIR", str(short / "f"))
    with pytest.raises(Unavailable, match=r"temporary folder.*/f.*RAY_TMPDIR or TMPDIR"):
        _private_folder(keep=False)


def test_a_full_temporary_folder_is_told_before_ray_starts(
    short: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray itself fails after a minute, with lines of its dashboard's log."""
    usage = shutil.disk_usage(short)._replace(free=2**21)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    monkeypatch.setenv("RAY_TMPDIR", str(short / "n"))
    with pytest.raises(Unavailable, match=r"2 MiB free of 64 MiB needed: '.*/n'.*set RAY_TMPDIR"):
        _private_folder(keep=False)
    assert list((short / "n").iterdir()) == []


@pytest.mark.parametrize("length", [20, 75, 76, 190])
def test_sockets_fit_under_a_long_temporary_folder(
    short: Path, monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    """Ray's own and those of multiprocessing, in a folder with spaces; files stay there."""
    base = short / ("d e" * 100)[: length - len(str(short)) - 1]
    base.mkdir(parents=True)
    assert len(str(base)) == length
    for name in ("TMPDIR", "RAY_TMPDIR"):
        monkeypatch.setenv(name, str(base))
    monkeypatch.setattr(tempfile, "tempdir", None)
    bind = (
        "import socket, tempfile, multiprocessing.util as u; from pathlib import Path;"
        "socket.socket(socket.AF_UNIX).bind(u.get_temp_dir() + '/listener-12345678');"
        "print(Path(tempfile.gettempdir()).resolve())"
    )
    folder = SessionFolder(keep=False)
    try:
        assert len(str(folder.path)) < 40
        with folder.short_temporary_folder():
            done = subprocess.run(
                [sys.executable, "-c", bind], capture_output=True, text=True, check=True
            )
        assert done.stdout == f"{base}\n"
        assert os.environ["TMPDIR"] == str(base)
    finally:
        folder.close()
    assert not folder.path.parent.exists()


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("ray://head:10001", "expected HOST:PORT of the cluster's head"),
        ("127.0.0.1:9", "no Ray cluster at RAY_ADDRESS=127.0.0.1:9 .*refused"),
        ("127.0.0.1:99999", "no Ray cluster at RAY_ADDRESS=127.0.0.1:99999"),
    ],
)
def test_an_address_that_leads_nowhere_is_told_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, address: str, message: str
) -> None:
    """Ray itself would try for minutes, and log each try."""
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(Unavailable, match=message), ray_session("x"):
        pass


@pytest.mark.parametrize(("cpus", "expected"), [(None, 3), (2, 2)])
def test_a_local_session_offers_the_cpus_of_its_allocation(
    short: Path, monkeypatch: pytest.MonkeyPatch, cpus: int | None, expected: int
) -> None:
    """Ray alone would take every CPU of a node of which a batch job has a part."""
    import ray

    def init(**arguments: Any) -> None:
        offered.append(arguments["num_cpus"])
        raise Exception("not started\n a line of a log\nAF_UNIX path too long")

    offered: list[int] = []
    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr("cluster.jobs.session.count_usable_cpus", lambda: 3)
    monkeypatch.setenv("RAY_TMPDIR", str(short))
    folder = SessionFolder(keep=False)
    with pytest.raises(Unavailable, match=r"not started \.\.\. AF_UNIX path too long; its logs"):
        _connect("local", "x", cpus, folder)
    folder.keep = False
    folder.close()
    assert offered == [expected]


def test_rays_own_end_is_an_error_and_a_tasks_error_stays() -> None:
    """Where a process of Ray's own died the same command is to be run again."""
    import ray

    message = r"Ray failed \(.*raylet.*run the command again"
    with pytest.raises(Unavailable, match=message), _name_lost_ray():
        raise ray.exceptions.LocalRayletDiedError
    with pytest.raises(ray.exceptions.RayTaskError), _name_lost_ray():
        raise ray.exceptions.RayTaskError("f", "a traceback", ValueError())


@pytest.mark.parametrize("sigint", [signal.SIG_IGN, signal.default_int_handler])
def test_sigterm_acts_as_ctrl_c(sigint: Any) -> None:
    """A process that is asked to end gets the chance to, and the handler before comes back.

    Also one that a shell put into the background, where SIGINT is ignored.
    """
    before, others = signal.getsignal(signal.SIGTERM), signal.signal(signal.SIGINT, sigint)
    try:
        with pytest.raises(KeyboardInterrupt), _terminate_as_interrupt():
            os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGINT, others)
    assert signal.getsignal(signal.SIGTERM) is before


def test_the_module_does_not_import_ray() -> None:
    """Commands that need no session must not pay for it."""
    code = "import sys, cluster.jobs.session; print('ray' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
