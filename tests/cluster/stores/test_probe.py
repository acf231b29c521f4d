"""Opening an S3 store: readiness is judged by bytes, whatever status a server answers with."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest
from fault_server import ACCESS_KEY, SECRET_KEY, Serve

from cluster.errors import AlreadyExists, ClusterError, Corrupt, Denied, NotFound
from cluster.stores import open_store
from cluster.stores.base import Store
from cluster.stores.s3 import S3Store


def use(store: Store) -> None:
    """What a run does."""
    store.put("a/x", b"1\r\n")
    assert store.get("a/x") == b"1\r\n"
    store.create("a/c", b"2")
    with pytest.raises(AlreadyExists):
        store.create("a/c", b"3")
    assert store.get("a/c") == b"2"
    assert not store.exists("a/none")
    with pytest.raises(NotFound):
        store.get("a/none")
    assert list(store.list("a/")) == ["a/c", "a/x"]
    store.delete("a/x")


SENT = "AWS_REQUEST_CHECKSUM_CALCULATION"
ASKED = "AWS_RESPONSE_CHECKSUM_VALIDATION"
CURED = {
    "framing is stored": (["tls", "framing-kept"], "more around them", [SENT]),
    "framing is refused": (["tls", "framing-400"], "answered 400", [SENT]),
    "framing without length": (["tls", "framing-411"], "answered 411", [SENT]),
    "checksums are refused": (["checksums-501"], "answered 501", [SENT]),
    "reading with them, too": (["checksums-501", "modes-501"], "answered 501", [SENT, ASKED]),
}


@pytest.mark.parametrize(("faults", "words", "cure"), CURED.values(), ids=CURED)
def test_a_server_without_checksums_is_told_with_the_cure(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, faults: list[str], words: str, cure: list[str]
) -> None:
    """Opening fails and names the setting; with it the store opens and works."""
    setting = " and ".join(f"{name}=when_required" for name in cure)
    with serve(*faults):
        with pytest.raises(ClusterError, match=words) as caught:
            open_store("s3://bucket/lab")
        assert f"set {setting}, with which it was tried and works" in str(caught.value)
        for name in cure:
            monkeypatch.setenv(name, "when_required")
        use(open_store("s3://bucket/lab"))


@pytest.mark.parametrize("status", [400, 411, 501])
def test_the_cure_is_not_promised_where_it_does_not_help(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    """A put that is refused with or without checksums says so; a worker's names the setting."""
    with serve(f"put:{status}"):
        with pytest.raises(ClusterError, match=rf"answered {status}.*was tried and does not help"):
            open_store("s3://bucket/lab")
        with pytest.raises(ClusterError, match="AWS_REQUEST_CHECKSUM_CALCULATION=when_required"):
            open_store("s3://bucket/lab", probe=False).put("x", b"")
        monkeypatch.setenv("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")
        with pytest.raises(ClusterError, match="was tried and does not help"):
            open_store("s3://bucket/lab")


CHANGED = {
    "line ends": ("text", "does not return the 112 bytes.* b['\"]sweeps probe"),
    "nothing is stored": ("drops", "does not return what was put"),
    "a login page": ("portal", "is not an S3 server, though it reported success"),
    "a login page with an ETag": ("portal-etag", "48 others, which begin with b'<html>"),
}


@pytest.mark.parametrize(("fault", "words"), CHANGED.values(), ids=CHANGED)
def test_a_success_with_other_bytes_is_not_believed(serve: Serve, fault: str, words: str) -> None:
    """A put and a get of status 200 are no proof."""
    with serve(fault), pytest.raises(ClusterError, match=words):
        open_store("s3://bucket/lab")


@pytest.mark.parametrize("fault", ["portal", "portal-etag"])
def test_a_login_page_that_comes_later_is_no_result(serve: Serve, fault: str) -> None:
    """An empty list or a result that was written nowhere is not taken from it."""
    with serve() as server:
        store = open_store("s3://bucket/lab")
        server.faults.add(fault)
        with pytest.raises(ClusterError, match=r"not an S3 server|Unable to parse"):
            list(store.list("results/"))
        if fault == "portal":
            for call in (lambda: store.create("a", b""), lambda: store.exists("a")):
                with pytest.raises(ClusterError, match="not an S3 server"):
                    call()


UNCONDITIONAL = [
    "condition-ignored",
    "condition-501",
    "condition-400",
    "condition-405",
    "condition-304",
    "condition-second-304",
    "condition-first-412",
    "condition-overwrites",
]


@pytest.mark.parametrize(
    ("fault", "extra"),
    [
        *((fault, []) for fault in UNCONDITIONAL),
        *((fault, ["no-delete"]) for fault in UNCONDITIONAL if fault[-3:] in ("red", "412", "501")),
    ],
)
def test_a_server_without_conditional_puts_is_named(
    serve: Serve, fault: str, extra: list[str]
) -> None:
    """Whatever it answers to them, and where deletes are refused; a folder is the way out."""
    with (
        serve(fault, *extra) as server,
        pytest.raises(ClusterError, match=r"conditional puts \(If-None-Match\).*a folder as the"),
    ):
        open_store("s3://bucket/lab")
    left = {"lab/probe/put", "lab/probe/create"} if extra else set()
    assert server.objects.keys() <= left


def test_a_conflict_is_a_lost_race(serve: Serve) -> None:
    """409 for an object that is there, as some servers answer for 412."""
    with serve("condition-second-409"):
        use(open_store("s3://bucket/lab"))


def test_opening_costs_seven_small_requests(serve: Serve) -> None:
    """And leaves nothing; workers open without any."""
    with serve() as server:
        store = open_store("s3://bucket/lab")
        verbs = [method for method, *_ in server.requests]
        assert verbs == ["PUT", "GET", "DELETE", "PUT", "PUT", "GET", "DELETE"]
        assert all(key.startswith("lab/probe/") for _, key, _ in server.requests)
        assert server.objects == {}
        server.requests.clear()
        open_store("s3://bucket/lab", probe=False)
        assert server.requests == []
        use(store)


def test_keys_of_a_prefix_are_enough(serve: Serve) -> None:
    """Neither the bucket nor other prefixes are asked for; a missing object's 403 is understood."""
    with serve("prefix-only") as server:
        use(open_store("s3://bucket/lab"))
    for method, key, query in server.requests:
        assert (key or query["prefix"]).startswith("lab/"), (method, key, query)


def test_keys_without_a_list_are_refused_with_the_right_named(serve: Serve) -> None:
    """What is missing cannot be told from what is refused then."""
    with serve("no-list"):
        store = open_store("s3://bucket/lab")
        with pytest.raises(Denied, match=r"rights on this bucket \(docs/cluster.md lists them\)"):
            store.get("a")


def test_keys_without_deletes_work(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    """One warning; probes do not add up."""
    with serve("no-delete") as server, caplog.at_level(logging.WARNING):
        for _ in range(3):
            store = open_store("s3://bucket/lab")
        assert server.objects.keys() == {"lab/probe/put", "lab/probe/create"}
        caplog.clear()
        use(store)
        assert store.delete("a/c") is False
        assert store.get("a/c") == b"2"
    [line] = caplog.messages
    assert "what a run no longer needs stays there" in line


def test_keys_that_only_read_open(serve: Serve) -> None:
    """As `report` needs it; a write is refused when it is tried."""
    with serve() as server:
        open_store("s3://bucket/lab").put("a", b"1")
        server.faults.add("read-only")
        store = open_store("s3://bucket/lab")
        assert store.get("a") == b"1"
        with pytest.raises(Denied, match="cannot put 'b'"):
            store.put("b", b"")
        server.faults.add("no-list")
        with pytest.raises(Denied, match=r"cannot open s3://bucket/lab.*403"):
            open_store("s3://bucket/lab")


@pytest.mark.parametrize("fault", ["no-token", "same-token"])
def test_a_list_that_cannot_go_on_is_an_error(serve: Serve, fault: str) -> None:
    """Neither short nor without an end."""
    with serve(fault, page_size=3) as server:
        store = open_store("s3://bucket/lab", probe=False)
        for number in range(5):
            server.objects[f"lab/a/{number}"] = b""
        with pytest.raises(ClusterError, match=r"after 3 keys.*no \(new\) token"):
            list(store.list("a/"))


def test_a_list_of_many_pages_has_keys_of_the_prefix_alone(serve: Serve) -> None:
    """Also where the server cuts pages smaller than asked."""
    with serve(page_size=2) as server:
        store = open_store("s3://bucket/lab", probe=False)
        for number in range(5):
            server.objects[f"lab/a/{number}"] = b""
        assert list(store.list("a/")) == [f"a/{number}" for number in range(5)]


def test_a_server_without_ranges_is_named(serve: Serve, tmp_path: Path) -> None:
    """Where it sends whole objects for parts of one, they are not put together to a file."""
    with serve("no-range") as server:
        server.objects["lab/large"] = bytes(17 * 2**20)
        with pytest.raises(ClusterError, match="does not honour ranges"):
            open_store("s3://bucket/lab", probe=False).download("large", tmp_path / "large")
        server.faults.clear()
        open_store("s3://bucket/lab", probe=False).download("large", tmp_path / "large")
        assert (tmp_path / "large").read_bytes() == bytes(17 * 2**20)


def test_an_upload_in_parts_that_is_refused_says_so(serve: Serve, tmp_path: Path) -> None:
    """Not only that checksums may be why."""
    (tmp_path / "large").write_bytes(bytes(17 * 2**20))
    with serve(), pytest.raises(ClusterError, match="without multipart uploads refuses large"):
        open_store("s3://bucket/lab", probe=False).upload(tmp_path / "large", "large")


def test_an_object_that_differs_from_its_checksum_is_corrupt(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not a store out of reach, once it has been read three times."""
    monkeypatch.setenv("SWEEPS_STORE_TIMEOUT_S", "20")
    with serve("rotten"):
        store = open_store("s3://bucket/lab", probe=False)
        store.put("a/rotten", b"1")
        with pytest.raises(Corrupt, match="the stored object is damaged"):
            store.get("a/rotten")


SETTINGS = [
    ("AWS_ACCESS_KEY_ID", f"{ACCESS_KEY}\r", "a carriage return at position 19 of 19"),
    ("AWS_ACCESS_KEY_ID", f"\n{ACCESS_KEY}", "a line break at position 1 of 19"),
    ("AWS_SECRET_ACCESS_KEY", f"{SECRET_KEY}\n", "a line break at position 20 of 20"),
    ("AWS_SECRET_ACCESS_KEY", f"{SECRET_KEY} ", "a blank at position 20"),
    ("AWS_SESSION_TOKEN", "token-of-a-session\t", "not printable ASCII at position 19"),
    ("AWS_ENDPOINT_URL_S3", "http://name:secret@127.0.0.1:1\r", "a carriage return at position 31"),
    ("AWS_ENDPOINT_URL", "http://127.0.0.1 :1", "a blank at position 17"),
    ("AWS_REGION", "eu-west-1\n", "a line break at position 10"),
]


@pytest.mark.parametrize(("name", "value", "words"), SETTINGS)
def test_a_line_break_in_a_setting_is_told_at_once(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, name: str, value: str, words: str
) -> None:
    """Before any request; the value is not repeated."""
    with serve() as server:
        monkeypatch.setenv(name, value)
        with pytest.raises(ClusterError, match=f"variable {name} has .*{words}") as caught:
            open_store("s3://bucket/lab")
        assert value.strip() not in str(caught.value)
        assert server.requests == []


def test_a_line_break_in_a_profile_is_told(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Keys of the credentials file are checked, too."""
    (tmp_path / "keys").write_text(
        "[default]\naws_access_key_id = AKIAFROMAFILE\naws_secret_access_key = se cret\n"
    )
    with serve():
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "keys"))
        with pytest.raises(ClusterError, match=r"secret_key of the AWS credentials \(shared-cred"):
            open_store("s3://bucket/lab")


@pytest.mark.parametrize(
    "faults", [["put:403", "no-list"], ["put:400"], ["put:501"], ["condition-501"], ["put:503"]]
)
def test_keys_reach_neither_messages_nor_logs(
    serve: Serve,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    faults: list[str],
) -> None:
    """Though the server repeats the request's authorisation, and the address has a password."""
    monkeypatch.setenv("SWEEPS_STORE_TIMEOUT_S", "0.3")
    caplog.set_level(logging.INFO)
    with serve(*faults):
        address = os.environ["AWS_ENDPOINT_URL_S3"]
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", address.replace("://", "://me:my-password@"))
        with pytest.raises(ClusterError) as caught:
            S3Store.open("s3://bucket/lab")
    for secret in (ACCESS_KEY, SECRET_KEY, "my-password"):
        assert secret not in str(caught.value)
        assert secret not in caplog.text
