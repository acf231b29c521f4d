"""Jobs for a Ray cluster: the request, the address, the token, and what is no cluster."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from cluster.errors import ClusterError, Denied, Unavailable
from cluster.jobs.readiness import Readiness
from cluster.jobs.requests import (
    Job,
    add_number,
    api_address,
    authorities,
    extra_headers,
    is_loopback,
    job_id,
    job_request,
    number_of,
    prepare_client,
)

GOLDEN = Path(__file__).resolve().parents[2] / "golden"
READINESS = Readiness(0.0, print)
SETTINGS = (
    *("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS", "RAY_JOB_HEADERS", "REQUESTS_CA_BUNDLE"),
    *("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_USAGE_STATS_ENABLED"),
)


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """A user without any setting, in a process in which Ray was not imported."""
    for name in SETTINGS:
        monkeypatch.setenv(name, "")  # so that it is put back, whatever the test sets
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delitem(sys.modules, "ray", raising=False)
    return monkeypatch


def test_the_whole_request_is_the_golden_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every field that is sent is on record; arguments are quoted for the shell."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret")
    arguments = ["sweeps", "run", "stored:" + "ab" * 32, "--store", "s3://sweeps"]
    made = job_request(
        "sweep-tiny-0123456789ab",
        [*arguments, "--set", "axes.seed=[0, 1]", "--set", "name=x; rm -r $HOME"],
        {"sweep": "tiny", "spec": "ab" * 32, "version": "0.1.0"},
    )
    assert made == json.loads((GOLDEN / "jobs_request.json").read_text())


def test_ids_of_further_jobs_are_numbered() -> None:
    """The second has -2, and an id of another request is none of them."""
    base = job_id("sweep", "tiny", "0123456789abcdef")
    assert base == "sweep-tiny-0123456789ab"
    assert [add_number(base, number) for number in (1, 2, 12)] == [base, f"{base}-2", f"{base}-12"]
    assert [number_of(base, found) for found in (base, f"{base}-2", f"{base}-12")] == [1, 2, 12]
    for other in ("sweep-tiny-0123456789ac", f"{base}-x", f"{base}2", "x"):
        assert number_of(base, other) is None


def test_a_name_that_is_no_id_is_refused() -> None:
    """KubeRay would refuse it later."""
    with pytest.raises(ClusterError, match="cannot be a job's id"):
        job_id("sweep", "Tiny", "0123456789ab")


@pytest.mark.parametrize(
    ("state", "exit_code", "live", "status"),
    [
        ("PENDING", None, True, 1),
        ("RUNNING", None, True, 1),
        ("SUCCEEDED", 0, False, 0),
        ("FAILED", 2, False, 2),
        ("FAILED", None, False, 1),
        ("FAILED", -9, False, 1),
        ("STOPPED", None, False, 130),
    ],
)
def test_a_jobs_outcome_is_an_exit_status(
    state: str, exit_code: int | None, live: bool, status: int
) -> None:
    """Its command's own where it has one; STOPPED is an end, too."""
    job = Job("x", state, "sweeps", {}, exit_code=exit_code)
    assert job.live == live
    if not live:
        assert job.status == status


@pytest.mark.parametrize(
    ("given", "settings", "expected"),
    [
        (None, {}, None),
        ("head:8265", {}, "http://head:8265"),
        ("https://ray.example.org/", {}, "https://ray.example.org"),
        (None, {"RAY_API_SERVER_ADDRESS": "http://a:1", "RAY_ADDRESS": "http://b:1"}, "http://a:1"),
        (None, {"RAY_ADDRESS": "http://b:1"}, "http://b:1"),
        (None, {"RAY_ADDRESS": "b:6379"}, None),
        ("http://c:1", {"RAY_API_SERVER_ADDRESS": "http://a:1"}, "http://c:1"),
    ],
)
def test_where_the_address_comes_from(
    fresh: pytest.MonkeyPatch, given: str | None, settings: Mapping[str, str], expected: str | None
) -> None:
    """What is given counts before Ray's variables, of which the one for HTTP comes first."""
    for name, value in settings.items():
        fresh.setenv(name, value)
    assert api_address(given) == expected


@pytest.mark.parametrize(
    "given",
    ["ray://head:10001", "auto://", "http://", "http://h:x", "http://h:99999", "http://u:p@h"],
)
def test_an_address_of_another_kind_is_refused(fresh: pytest.MonkeyPatch, given: str) -> None:
    """Ray's own client would take some of them and fail much later."""
    with pytest.raises(ClusterError, match="expected http://HOST:8265"):
        api_address(given)


def test_loopback_is_this_machine() -> None:
    """And nothing that only begins like it."""
    assert all(map(is_loopback, ("http://127.0.0.1:1", "http://localhost:1", "http://[::1]:1")))
    assert not any(map(is_loopback, ("http://10.0.0.1:1", "http://localhost.example.org:1")))


def test_the_mode_follows_from_the_token(fresh: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Explicit either way: Ray's own default changes with its version."""
    prepare_client()
    assert os.environ["RAY_AUTH_MODE"] == "disabled"
    for place in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "HOME"):
        fresh.delenv("RAY_AUTH_MODE")
        (tmp_path / "token").write_text("t" * 32)
        if place == "HOME":
            (tmp_path / ".ray").mkdir()
            (tmp_path / "token").rename(tmp_path / ".ray" / "auth_token")
        else:
            fresh.setenv(place, "t" * 32 if place == "RAY_AUTH_TOKEN" else str(tmp_path / "token"))
        prepare_client()
        assert os.environ["RAY_AUTH_MODE"] == "token"
        if place != "HOME":
            fresh.delenv(place)


def test_a_mode_that_is_set_is_kept(fresh: pytest.MonkeyPatch) -> None:
    """A cluster without authentication is the user's decision."""
    fresh.setenv("RAY_AUTH_TOKEN", "t" * 32)
    fresh.setenv("RAY_AUTH_MODE", "disabled")
    prepare_client()
    assert os.environ["RAY_AUTH_MODE"] == "disabled"


def test_a_missing_token_is_told_before_anything_is_asked(
    fresh: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With what to set; a file that is named must be there."""
    fresh.setenv("RAY_AUTH_MODE", "token")
    with pytest.raises(Denied, match="without a token: set RAY_AUTH_TOKEN_PATH to a file"):
        prepare_client()
    fresh.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "nowhere"))
    with pytest.raises(Denied, match=r"RAY_AUTH_TOKEN_PATH=.*/nowhere: no such file"):
        prepare_client()
    fresh.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path))
    with pytest.raises(Denied, match=r"cannot be read \(Is a directory\)"):
        prepare_client()


def test_a_mode_that_comes_too_late_is_refused(fresh: pytest.MonkeyPatch) -> None:
    """Ray reads it when it is imported: the token would silently not be sent."""
    fresh.setitem(sys.modules, "ray", object())  # type: ignore[arg-type]
    with pytest.raises(Unavailable, match="set RAY_AUTH_MODE before Ray is imported"):
        prepare_client()


def test_headers_are_taken_as_rays_own_tools_take_them(fresh: pytest.MonkeyPatch) -> None:
    """A JSON object; a bad value is not told, it may be a secret."""
    assert extra_headers() == {}
    fresh.setenv("RAY_JOB_HEADERS", '{"X-Proxy": "me"}')
    assert extra_headers() == {"X-Proxy": "me"}
    for bad in ("s3cret", '["s3cret"]', '{"a": 5}'):
        fresh.setenv("RAY_JOB_HEADERS", bad)
        with pytest.raises(ClusterError, match="expected a JSON object") as caught:
            extra_headers()
        assert "s3cret" not in str(caught.value)


def test_authorities_must_be_there(fresh: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Else Ray's client fails without saying which setting is meant."""
    assert authorities() is True
    fresh.setenv("REQUESTS_CA_BUNDLE", str(tmp_path))
    assert authorities() == str(tmp_path)
    fresh.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "nowhere"))
    with pytest.raises(ClusterError, match=r"REQUESTS_CA_BUNDLE=.*: no such file"):
        authorities()


def test_the_module_does_not_import_ray() -> None:
    """`prepare_client` must come before Ray."""
    code = "import sys, cluster.jobs.requests; print('ray' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@contextmanager
def answering(status: int, text: str) -> Iterator[str]:
    """An HTTP server that answers everything alike: no Ray cluster."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *told: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (200, "<html>hello</html>"),
        (200, "{}"),
        (200, "[]"),
        (404, "nothing here"),
        (500, "broken"),
        (200, '{"ray_version": "1.8.0"}'),
    ],
)
def test_what_is_no_ray_cluster_is_told(
    monkeypatch: pytest.MonkeyPatch, status: int, text: str
) -> None:
    """A web server of another kind, or a Ray too old for the Jobs API; this is a stand-in."""
    from cluster.jobs.ray_api import JobsApi

    with answering(status, text) as url:
        monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "")
        with pytest.raises(ClusterError, match="is not the dashboard of a Ray cluster"):
            JobsApi(url, READINESS)


def test_an_address_where_nobody_is_or_speaks_http_is_told_soon(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A closed port, and a server that closes the connection without a word."""
    from cluster.jobs.ray_api import JobsApi

    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "")
    began = time.monotonic()
    with pytest.raises(Unavailable, match=r"no answer from http://127\.0\.0\.1:9 \(.*refused"):
        JobsApi("http://127.0.0.1:9", READINESS)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        threading.Thread(target=lambda: server.accept()[0].close(), daemon=True).start()
        with pytest.raises(Unavailable, match="no answer from"):
            JobsApi(f"http://127.0.0.1:{port}", READINESS)
    assert time.monotonic() - began < 15


def test_a_server_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray's own client would wait for ever."""
    from cluster.jobs import ray_api as jobs_api

    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "")
    monkeypatch.setattr(jobs_api, "_TIMEOUT_S", (0.2, 0.2))
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        pytest.raises(Unavailable, match=r"no answer from .* check the address"),
    ):
        jobs_api.JobsApi(f"http://127.0.0.1:{server.getsockname()[1]}", READINESS)
