"""No secret of a run is written or shown; see also test_run and test_submit, which use `leaks`."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from leaks import found_in, found_in_files, found_in_store
from port_probes import RAY_GRPC, ask_grpc, ask_http, descendants, is_exporter, listeners
from ray_here import RayHere
from tiny_sweeps import Place, made_place

from cluster.common.redaction import RedactingFormatter, redact
from cluster.embedded.server import embedded_server
from cluster.errors import ClusterError
from cluster.stores import open_store
from cluster.stores.s3 import S3Store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(280)]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A place with Ray behind a token, as users have it, and no AWS_* variable."""
    with made_place(tmp_path) as made:
        for name in list(made.environment):
            if name.startswith(("AWS_", "RAY_AUTH")):
                del made.environment[name]
        yield made


def test_a_run_on_the_embedded_server_leaks_nothing(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run, report, pull: Ray's logs, the server's, the store, tables, and what is printed."""
    commands = (
        ("run", str(place.spec), "--keep-logs"),
        ("report", "tiny", "--out", "report"),
        ("pull", "tiny", "--out", "tables"),
    )
    printed = ""
    for command in commands:
        done = place.sweeps(*command)
        printed += done.stdout + done.stderr
    home = place.folder / "home"
    pair = json.loads((home / "keys.json").read_text())["identities"][0]["credentials"][0]
    secrets = {
        "access key": pair["accessKey"],
        "secret key": pair["secretKey"],
    }
    logs = list(place.temporary.glob("sweeps-ray-*"))
    assert len(logs) == 1
    assert f"Ray's logs: {logs[0]}/" in printed
    assert found_in(printed, secrets) == []
    written = [place.folder / "report", place.folder / "tables", home / "data", home / "server.log"]
    assert found_in_files([*logs, *written], secrets) == []
    with embedded_server(home) as endpoint:
        for name, value in endpoint.environment().items():
            monkeypatch.setenv(name, value)
        assert found_in_store(S3Store.open("s3://sweeps"), secrets) == []


def test_the_probes_see_a_session_without_a_token(ray_here: RayHere) -> None:
    """Where authentication is off the same requests are answered: they find what they look for."""
    statuses, codes = set(), set()
    harmless = [m for m in RAY_GRPC if m.endswith(("GetAllNodeInfo", "GetSystemConfig"))]
    found = listeners(descendants(os.getpid()))
    assert all(each.on_loopback for each in found)
    for each in found:
        if not is_exporter(each.port):
            statuses |= set(ask_http(each.port, ["GET /api/jobs/"]).values())
            codes |= set(ask_grpc(each.port, harmless).values())
    assert 200 in statuses
    assert "OK" in codes
    assert "UNAUTHENTICATED" not in codes


SECRETS = {
    "AWS_SECRET_ACCESS_KEY": "aws/secret+key==",
    "AWS_SESSION_TOKEN": "session-token-0123",
    "HF_TOKEN": "hf_0123456789",
    "REDIS_PASSWORD": "a redis password",
}


def test_texts_that_leave_lose_their_secrets(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Values of secret variables, of job headers, the token's file, and passwords in URLs."""
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("RAY_JOB_HEADERS", '{"Cookie": "session=0123456789"}')
    monkeypatch.setenv("HTTPS_PROXY", "http://user:pass/word@proxy:3128")
    (tmp_path / "token").write_text("a-token-in-a-file\n")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setenv("SHORT_TOKEN", "true")  # a word and no secret
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")  # names who asks
    values = [*SECRETS.values(), "session=0123456789", "a-token-in-a-file", "pass/word"]
    text = "; ".join(f"it was '{value}'" for value in values)
    text += "; via http://user:p@4ss@proxy:3128/x and s3://AKID:s3cr3t@bucket; AKIDEXAMPLE, true"
    clean = redact(text)
    assert [value for value in (*values, "4ss", "s3cr3t") if value in clean] == []
    assert "http://[redacted]@proxy:3128/x" in clean
    assert clean.endswith("AKIDEXAMPLE, true")
    assert redact("https://host/a@b s3://bucket/x@y mail@host") == (
        "https://host/a@b s3://bucket/x@y mail@host"
    )

    record = logging.LogRecord("x", logging.ERROR, "", 0, "got %s", (values[0],), None)
    try:
        raise ValueError(values[1])
    except ValueError as error:
        record.exc_info = (ValueError, error, error.__traceback__)
    shown = RedactingFormatter().format(record)
    assert "ValueError: [redacted]" in shown
    assert found_in(shown, SECRETS) == []


@pytest.mark.parametrize("url", ["s3://AKID:s3cr3t@bucket/x", "s3://bucket:9000", "http://u:p@h/b"])
def test_keys_in_a_stores_url_are_refused(url: str) -> None:
    """It is written with every sweep; the message says what to set and does not repeat it."""
    with pytest.raises(ClusterError, match=r"must not hold keys.*AWS_ACCESS_KEY_ID") as refused:
        open_store(url)
    assert "s3cr3t" not in str(refused.value)
