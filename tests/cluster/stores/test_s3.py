"""The S3 store where something is wrong: keys, buckets, servers that are gone or too simple."""

from __future__ import annotations

import logging
import os
import re
import signal
import threading
import time
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from botocore.exceptions import EndpointConnectionError
from server_processes import kill, server_of, wait_until

from cluster.embedded.seaweed import choose_ports
from cluster.embedded.server import Endpoint, embedded_server
from cluster.errors import ClusterError, Denied, NotFound, Unavailable
from cluster.stores import open_store
from cluster.stores.base import discard_unfinished
from cluster.stores.s3 import S3Store
from cluster.stores.s3_client import make_client


@pytest.fixture
def unused_port() -> int:
    """A port of this machine at which nothing listens."""
    return choose_ports(None)["s3"]


def test_wrong_secret(s3_environment: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong secret, or a key that does not exist, is Denied at once and says what to check."""
    for name in ("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID"):
        monkeypatch.setenv(name, "wrong")
        with pytest.raises(Denied, match=r"open s3://sweeps/x at http.*403.*AWS_SECRET_ACCESS_KEY"):
            open_store("s3://sweeps/x")


def test_denied_later(s3_environment: Endpoint) -> None:
    """A key pair that loses its rights after opening is Denied, by reads and by writes."""
    store = S3Store(
        make_client(aws_secret_access_key="wrong", aws_access_key_id="wrong"), "sweeps", ""
    )
    for call in (lambda: store.get("x"), lambda: store.put("x", b""), lambda: store.list("")):
        with pytest.raises(Denied, match="AccessKey"):
            call()


def test_no_credentials(s3_environment: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """No keys at all is Denied, and says which variables to set."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with pytest.raises(Denied, match=r"Unable to locate credentials.*set AWS_ACCESS_KEY_ID"):
        open_store("s3://sweeps")


def test_no_such_bucket(s3_environment: Endpoint) -> None:
    """A bucket that is not there is found out on opening, and is not made by a write either."""
    with pytest.raises(NotFound, match=r"no bucket 'swepes' at http.*create it, or correct"):
        open_store("s3://swepes/x")
    store = S3Store(make_client(), "swepes", "")
    for call in (lambda: store.get("x"), lambda: store.put("x", b""), lambda: store.list("")):
        with pytest.raises(NotFound, match=r"NoSuchBucket.*create the bucket"):
            call()
    with pytest.raises(ClusterError, match="bucket name"):
        open_store("s3://Bad_Bucket*/x")


def test_a_put_in_parts_that_fails_leaves_no_parts(
    s3_store: S3Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One part is refused for good: the upload is given up, and the object before stays."""
    s3_store.put("large", b"before")
    send, sent = s3_store._client.upload_part, []

    def fail(**arguments: object) -> object:
        sent.append(arguments["PartNumber"])
        if arguments["PartNumber"] == 2:
            raise EndpointConnectionError(endpoint_url="http://away")
        return send(**arguments)

    monkeypatch.setattr(s3_store._client, "upload_part", fail)
    monkeypatch.setenv("SWEEPS_STORE_TIMEOUT_S", "0")
    with pytest.raises(Unavailable, match="cannot upload 'large'"):
        s3_store.put("large", bytes(50_000_000))
    assert 2 in sent
    assert s3_store.get("large") == b"before"
    assert list(s3_store.list_unfinished("")) == []


def test_an_upload_that_another_gave_up_begins_anew(s3_store: S3Store) -> None:
    """Discarded beneath a writer that is alive, it is tried again, and the object is whole."""
    data = np.random.default_rng(0).bytes(64_000_000)
    send, discarded, once = s3_store._client.upload_part, [], threading.Lock()

    def discard_once(**arguments: object) -> object:
        if once.acquire(blocking=False):
            discarded.append(discard_unfinished(s3_store, "", 0))
        return send(**arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(s3_store._client, "upload_part", discard_once)
        s3_store.put("large", data)
    assert discarded == [1]
    assert s3_store.get("large") == data
    assert list(s3_store.list_unfinished("")) == []


def test_region_is_optional(s3_store: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any region set the store opens all the same; either variable sets it."""
    names = ("AWS_REGION", "AWS_DEFAULT_REGION")
    for name in names:
        monkeypatch.delenv(name)
    for name in names:
        monkeypatch.setenv(name, "eu-west-1")
        assert make_client().meta.region_name == "eu-west-1"
        monkeypatch.delenv(name)
        assert make_client().meta.region_name == "us-east-1"
    assert not open_store(s3_store.url).exists("x")


def test_proxy_is_not_for_loopback(s3_store: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that the environment names is not asked for a server on this machine."""
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert not open_store(s3_store.url).exists("x")


def test_refused_connection(
    s3_environment: Endpoint, monkeypatch: pytest.MonkeyPatch, unused_port: int
) -> None:
    """Where nothing listens and no time is given: one try; place, time and remedy are told."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{unused_port}")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{unused_port}")
    monkeypatch.setenv("SWEEPS_STORE_TIMEOUT_S", "0")
    with pytest.raises(Unavailable) as caught:
        open_store("s3://sweeps/x")
    text = str(caught.value)
    assert f"cannot open s3://sweeps/x at http://127.0.0.1:{unused_port}" in text
    assert re.search(r"tried 1 time in \d+ s", text)
    assert "Check that the store runs" in text


def test_retries_are_ours_alone(
    s3_environment: Endpoint, monkeypatch: pytest.MonkeyPatch, unused_port: int
) -> None:
    """The boto3 client sends a failing request once: one policy decides on the next."""
    client = make_client(endpoint_url=f"http://127.0.0.1:{unused_port}")
    sent: list[object] = []
    client.meta.events.register("before-send.s3", lambda request, **_: sent.append(request))
    monkeypatch.setenv("SWEEPS_STORE_TIMEOUT_S", "0")
    with pytest.raises(Unavailable):
        S3Store(client, "sweeps", "").get("x")
    assert len(sent) == 1


def test_server_hangs_dies_and_comes_back(
    s3_environment: Endpoint,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    unused_port: int,
) -> None:
    """A server that hangs or dies is Unavailable within the bound; one that returns is used."""
    monkeypatch.setattr("cluster.embedded.server.keep_running", lambda *_: nullcontext())
    home = tmp_path / "home"
    source, local = tmp_path / "source", tmp_path / "local"
    source.write_bytes(b"x" * 20_000_000)
    with embedded_server(home, unused_port) as endpoint:
        for name, value in endpoint.environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("SWEEPS_STORE_TIMEOUT_S", "5")
        store = S3Store.open("s3://sweeps/x")
        store.upload(source, "large")
        os.kill(server_of(home), signal.SIGSTOP)
        start = time.monotonic()
        with pytest.raises(Unavailable, match=r"cannot get 'large' in s3://sweeps/x"):
            store.get("large")
        assert time.monotonic() - start < 12
        kill(server_of(home))
        monkeypatch.setenv("SWEEPS_STORE_TIMEOUT_S", "0")
        for call in (
            lambda: store.get("large"),
            lambda: store.put("a", b""),
            lambda: store.create("a", b""),
            lambda: store.list(""),
            lambda: store.exists("a"),
            lambda: store.delete("a"),
            lambda: store.download("large", local),
            lambda: store.upload(source, "large"),
        ):
            with pytest.raises(Unavailable, match="tried 1 time"):
                call()
        assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "source"]

        monkeypatch.setenv("SWEEPS_STORE_TIMEOUT_S", "30")
        found: list[bytes] = []
        with caplog.at_level(logging.WARNING, "cluster.stores.retry"):
            reader = threading.Thread(target=lambda: found.append(store.get("large")))
            reader.start()
            wait_until(lambda: bool(caplog.records))
            with embedded_server(home, unused_port):
                reader.join(30)
        assert found == [b"x" * 20_000_000]
        assert all(
            "cannot get 'large'" in line and "trying again in" in line for line in caplog.messages
        )
