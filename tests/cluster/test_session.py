"""Where a Ray session runs, what it is told, and who may reach it."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from cluster.errors import Denied, Unavailable
from cluster.session import (
    _terminated_as_interrupted,
    ensure_token,
    on_cluster,
    prepare_environment,
    ray_session,
)

SETTINGS = (
    *("RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"),
    *("RAY_USAGE_STATS_ENABLED", "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"),
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


def test_a_local_session_is_behind_a_token(fresh: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Token mode is explicit, and the token lies in a file that only its owner can read."""
    file = prepare_environment(tmp_path / "home")
    assert os.environ["RAY_AUTH_MODE"] == "token"
    assert file == tmp_path / "home" / "ray_auth_token"
    assert os.environ["RAY_AUTH_TOKEN_PATH"] == str(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(file.read_text()) == 64
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"


def test_commands_at_once_agree_on_the_token(tmp_path: Path) -> None:
    """The file appears whole: nobody reads an empty token, or another than the others."""
    path = tmp_path / "home" / "token"
    with ThreadPoolExecutor(16) as pool:
        texts = list(pool.map(lambda _: ensure_token(path).read_text(), range(64)))
    assert set(texts) == {path.read_text()}
    assert len(texts[0]) == 64
    assert list(path.parent.iterdir()) == [path]


def test_the_users_own_settings_win(fresh: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A mode, a token or a token's file that is set is used, and no other one is made."""
    fresh.setenv("RAY_AUTH_MODE", "disabled")
    assert prepare_environment(tmp_path) is None
    fresh.setenv("RAY_AUTH_MODE", "token")
    fresh.setenv("RAY_AUTH_TOKEN", "mine")
    assert prepare_environment(tmp_path) is None
    assert list(tmp_path.iterdir()) == []
    fresh.delenv("RAY_AUTH_TOKEN")
    fresh.setenv("RAY_AUTH_TOKEN_PATH", "/run/secrets/ray")
    assert prepare_environment(tmp_path) == Path("/run/secrets/ray")
    assert list(tmp_path.iterdir()) == []


def test_a_cluster_brings_its_own_token(fresh: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With RAY_ADDRESS only what concerns this process is set."""
    fresh.setenv("RAY_ADDRESS", "head:6379")
    assert on_cluster()
    assert prepare_environment(tmp_path) is None
    assert "RAY_AUTH_MODE" not in os.environ
    assert os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] == "1"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("address", ["", "local"])
def test_an_address_of_no_cluster_is_a_local_session(
    fresh: pytest.MonkeyPatch, tmp_path: Path, address: str
) -> None:
    """Ray's own word for a new session, and an empty variable, are no cluster."""
    fresh.setenv("RAY_ADDRESS", address)
    assert not on_cluster()
    assert prepare_environment(tmp_path) == tmp_path / "ray_auth_token"


def test_settings_that_come_too_late_are_refused(fresh: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Ray reads its mode when it is imported: silently unprotected would be worse than no start."""
    fresh.setitem(sys.modules, "ray", object())  # type: ignore[arg-type]
    with pytest.raises(Unavailable, match="set RAY_AUTH_MODE before Ray is imported"):
        prepare_environment(tmp_path)


def test_a_token_that_cannot_be_kept_is_an_error(tmp_path: Path) -> None:
    """The folder is named, and what to set."""
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(Denied, match=r"cannot keep the Ray token in .*/file/home .*SWEEPS_HOME"):
        ensure_token(tmp_path / "file" / "home" / "token")


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
    with pytest.raises(Unavailable, match=message), ray_session(tmp_path, "x"):
        pass


@pytest.mark.parametrize("sigint", [signal.SIG_IGN, signal.default_int_handler])
def test_sigterm_acts_as_ctrl_c(sigint: Any) -> None:
    """A process that is asked to end gets the chance to, and the handler before comes back.

    Also one that a shell put into the background, where SIGINT is ignored.
    """
    before, others = signal.getsignal(signal.SIGTERM), signal.signal(signal.SIGINT, sigint)
    try:
        with pytest.raises(KeyboardInterrupt), _terminated_as_interrupted():
            os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGINT, others)
    assert signal.getsignal(signal.SIGTERM) is before


def test_the_module_does_not_import_ray() -> None:
    """Commands that need no session must not pay for it."""
    code = "import sys, cluster.session; print('ray' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
