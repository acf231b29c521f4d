"""`notify` against real servers: what arrives, what a bad server costs, and what nobody learns."""

from __future__ import annotations

import base64
import json
import logging
import socket
import time
from dataclasses import fields
from pathlib import Path

import pytest
from notified import posts_here

from sweeps.commands.notify import (
    NOTIFY_VARIABLE,
    Event,
    check_notify_url,
    choose_notify_url,
    encode_event,
    name_of,
    notify,
)
from sweeps.errors import SweepError

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "cluster.md"
EVENT = Event("end", "tiny", "failed", 1, 4, 2, 1, 1, 12.5, {"numerical": 2}, "it broke")
LINE = (
    b'{"event": "end", "sweep": "tiny", "status": "failed", "exit_status": 1, "trials": 4, '
    b'"done": 2, "failed": 1, "missing": 1, "seconds": 12.5, "failures": {"numerical": 2}, '
    b'"message": "it broke"}\n'
)


@pytest.fixture(autouse=True)
def direct(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy between a test and its server, whatever the user has set."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv(NOTIFY_VARIABLE, raising=False)


def warned(caplog: pytest.LogCaptureFixture) -> str:
    """The one warning."""
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    message = record.getMessage()
    assert "secret" not in message
    return message


def test_one_json_line_is_posted() -> None:
    """Every field, as documented, with the media type of JSON; the password is a header."""
    with posts_here() as posts:
        assert notify(posts.url.replace("//", "//me:a%20password@"), EVENT)
    assert posts.bodies == [LINE] == [encode_event(EVENT)]
    assert posts.methods == ["POST"]
    [headers] = posts.headers
    assert headers["Content-Type"] == "application/json"
    assert base64.b64decode(headers["Authorization"].removeprefix("Basic ")) == b"me:a password"
    assert "@" not in headers["Host"]


def test_the_documents_name_every_field() -> None:
    """The schema of `docs/cluster.md` is that of what is posted."""
    for name in (each.name for each in fields(Event)):
        assert f"| `{name}` |" in DOCUMENT.read_text(), name


def test_keys_are_not_posted(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error may quote a secret of this process; the line has none, and stays JSON."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret-key-0123456789")
    hook = "https://hooks.example.com/T0/B0"
    monkeypatch.setenv(NOTIFY_VARIABLE, hook)
    error = f"no answer from http://me:word@host: a-secret-key-0123456789, {hook}"
    line = json.loads(encode_event(Event("end", "tiny", "error", 2, message=error)))
    assert line["message"] == "no answer from http://[redacted]@host: [redacted], [redacted]"
    assert line["trials"] is None


@pytest.mark.parametrize("status", [301, 302, 307, 404, 500, 503])
def test_a_refusal_is_a_warning(status: int, caplog: pytest.LogCaptureFixture) -> None:
    """Also a redirect, which would turn the POST into a GET: asked once, and no part of the URL
    but its host is in the warning."""
    with posts_here(status) as posts:
        assert not notify(posts.url.replace("//", "//me:secret-word@"), EVENT)
    assert posts.methods == ["POST"]
    message = warned(caplog)
    assert message.startswith(f"{name_of(posts.url)} was not notified of sweep 'tiny': it answered")
    assert str(status) in message
    assert ("redirects to" in message) == (status < 400)


def test_a_refused_connection_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody listens there."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert not notify(f"http://127.0.0.1:{port}/secret-path", EVENT)
    assert "refused" in warned(caplog)


@pytest.mark.parametrize("kind", ["silent", "trickling"])
def test_a_server_that_hangs_costs_a_bounded_time(
    kind: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One that takes the connection and says nothing, and one that answers byte by byte."""
    monkeypatch.setattr("sweeps.commands.notify.BOUND_S", 1.0)
    began = time.monotonic()
    if kind == "silent":
        with socket.create_server(("127.0.0.1", 0)) as server:
            assert not notify(f"http://127.0.0.1:{server.getsockname()[1]}/secret-path", EVENT)
    else:
        with posts_here(trickle=True) as posts:
            assert not notify(posts.url, EVENT)
    assert time.monotonic() - began < 10
    assert "no answer within 1 s" in warned(caplog) or "timed out" in caplog.text


def test_nothing_is_posted_without_a_url(caplog: pytest.LogCaptureFixture) -> None:
    """The option and the variable are both unset."""
    assert choose_notify_url(None) is None
    assert not notify(None, EVENT)
    assert caplog.records == []


def test_the_option_goes_before_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable is for a URL that is a secret; it is checked, too."""
    monkeypatch.setenv(NOTIFY_VARIABLE, "http://variable/x")
    assert choose_notify_url(None) == "http://variable/x"
    assert choose_notify_url("https://option:444/x?y=1") == "https://option:444/x?y=1"
    monkeypatch.setenv(NOTIFY_VARIABLE, "variable")
    with pytest.raises(SweepError, match=r"^SWEEPS_NOTIFY: expected http://HOST"):
        choose_notify_url(None)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ftp://host/secret", "the scheme is 'ftp'"),
        ("file:///etc/secret", "the scheme is 'file'"),
        ("host/secret", "it has no http://"),
        ("", "it has no http://"),
        ("http://", "it names no host"),
        ("https:///secret", "it names no host"),
        ("http://host:port/secret", "its host or port cannot be read"),
        ("http://host:70000/secret", "its host or port cannot be read"),
        ("http://host:0/secret", "its port is 0"),
        ("http://[::1/secret", "its host or port cannot be read"),
        ("http://host/a secret", "without spaces"),
        ("http://host/secret\r\nX: y", "without spaces"),
        ("http://höst/secret", "as %XX"),
    ],
)
def test_a_malformed_url_is_refused_without_being_shown(url: str, words: str) -> None:
    """It may hold a secret all the same."""
    with pytest.raises(SweepError) as caught:
        check_notify_url(url, "--notify")
    assert str(caught.value).startswith("--notify: expected http://HOST[:PORT]/PATH or https://")
    assert words in str(caught.value)
    assert "secret" not in str(caught.value)
