"""Reads by signed URLs: the same objects, and boto3's word where an answer is not a plain one."""

from __future__ import annotations

import pytest
from fault_server import Serve

from cluster.errors import Denied, NotFound, Unavailable
from cluster.stores import open_store
from cluster.stores.s3 import S3Store


def test_a_read_is_one_signed_request(serve: Serve) -> None:
    """Signed as of today, with the store's prefix; a missing object is asked for twice."""
    with serve() as server:
        store = open_store("s3://bucket/lab", probe=False)
        store.put("a/b", b"one")
        server.requests.clear()
        data, item = store.read("a/b")
        [(command, key, query)] = server.requests
        assert (command, key, data) == ("GET", "lab/a/b", b"one")
        assert query["X-Amz-Algorithm"] == "AWS4-HMAC-SHA256"
        assert [item.tag] == [listed.tag or item.tag for listed in store.scan("a/b")]
        with pytest.raises(NotFound, match="a/c"):
            store.read("a/c")


@pytest.mark.parametrize(("fault", "error"), [("get:403", Denied), ("get:503", Unavailable)])
def test_a_refusal_is_told_in_the_stores_words(
    serve: Serve, fault: str, error: type[Exception]
) -> None:
    """And where signed URLs are refused, no further object is asked for that way."""
    with serve(fault) as server:
        store = open_store("s3://bucket/lab", probe=False)
        for _ in range(2):
            with pytest.raises(error, match="cannot get 'a/b'"):
                store.read("a/b")
        signed = [query for _, _, query in server.requests if "X-Amz-Signature" in query]
        assert len(signed) == (1 if error is Denied else 2)


def test_tls_with_its_own_certificate(serve: Serve) -> None:
    """AWS_CA_BUNDLE counts for signed URLs, too."""
    with serve("tls") as server:
        store = open_store("s3://bucket/lab", probe=False)
        store.put("a/b", b"one")
        server.requests.clear()
        assert store.read("a/b")[0] == b"one"
        [(_, _, query)] = server.requests
        assert "X-Amz-Signature" in query


def test_a_certificate_that_urllib3_does_not_know_is_no_obstacle(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """boto3 was opened with it: it reads the object."""
    with serve("tls") as server:
        store = open_store("s3://bucket/lab", probe=False)
        assert isinstance(store, S3Store)
        store.put("a/b", b"one")
        client = store._client
        monkeypatch.delenv("AWS_CA_BUNDLE")
        without = S3Store(client, "bucket", "lab/")
        server.requests.clear()
        assert [without.read("a/b")[0] for _ in range(2)] == [b"one"] * 2
        assert not any("X-Amz-Signature" in query for _, _, query in server.requests)


def test_a_proxy_in_the_way_is_left_to_boto3(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """But never for a server on loopback, which nobody reaches by one."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    with serve() as server:
        store = open_store("s3://bucket/lab", probe=False)
        store.put("a/b", b"one")
        server.requests.clear()
        assert store.read("a/b")[0] == b"one"
        assert len(server.requests) == 1
        monkeypatch.setattr("cluster.stores.s3_quick._LOOPBACK", ())
        monkeypatch.setenv("NO_PROXY", "")
        other = S3Store(store._client, "bucket", "lab/")  # type: ignore[attr-defined]
        server.requests.clear()
        assert other.read("a/b")[0] == b"one"
        assert not any("X-Amz-Signature" in query for _, _, query in server.requests)
