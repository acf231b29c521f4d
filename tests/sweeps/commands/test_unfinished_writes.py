"""What interrupted writers left: listed by `store check`, removed by `store prune` where old."""

from __future__ import annotations

import datetime
import os
import shlex
import time
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from fault_server import Serve
from tiny_sweeps import read_json

from cluster.errors import Denied
from cluster.stores import multipart, open_store
from cluster.stores.base import Store
from cluster.stores.folder import FolderStore
from cluster.stores.s3 import S3Store
from sweeps.catalogue.pruning import find_prunable, prune
from sweeps.catalogue.unfinished import find_unfinished
from sweeps.cli import main
from sweeps.results.reader import ResultReader

KEYS = ("checkpoints/aa/state.pt", "datasets/films/shards/bb.parquet")
PART = 5 << 20
"""Bytes of a part, the smallest that S3 takes of one that is not the last."""
DAY = 86_400.0


def begin(store: S3Store, key: str, parts: int) -> None:
    """Begin an upload as a process that is killed after some parts."""
    names = {"Bucket": store._bucket, "Key": store._prefix + key}
    upload = store._client.create_multipart_upload(**names)["UploadId"]
    for number in range(1, parts + 1):
        part = {"PartNumber": number, "UploadId": upload, "Body": bytes(PART)}
        store._client.upload_part(**names, **part)


@pytest.fixture
def littered(store: Store) -> Store:
    """A store of each kind with two unfinished writes, of two parts and of one, and an object."""
    for key, parts in zip(KEYS, (2, 1), strict=True):
        if isinstance(store, S3Store):
            begin(store, key, parts)
        else:
            path = Path(store.url) / key
            path.parent.mkdir(parents=True)
            path.with_name(f".{path.name}.0123.tmp").write_bytes(bytes(parts * PART))
    store.put("specs/kept", b"an object")
    return store


def make_old(store: Store, days: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make what is unfinished older, by this machine's clock."""
    if isinstance(store, FolderStore):
        for path in Path(store.url).rglob(".*.tmp"):
            then = time.time() - days * DAY
            os.utime(path, (then, then))
        return

    class Later(datetime.datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.datetime.now(tz) + datetime.timedelta(days=days)

    monkeypatch.setattr(multipart, "datetime", Later)


def check(store: Store, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    """Run `store check`, which finds no damage; return what it prints."""
    capsys.readouterr()
    assert main(["store", "check", "--store", store.url, *options]) == 0
    return capsys.readouterr().out


def test_they_are_a_caution_with_size_and_age(
    littered: Store, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No damage; the command that is named lists the old ones and, with --yes, removes them."""
    document = read_json("store check", check(littered, capsys, "--json"))
    assert document["damage"] == []
    sizes = sorted(each["size_bytes"] for each in document["unfinished"])
    assert sizes == [PART, 2 * PART]
    assert all(0 <= each["age_s"] < 600 for each in document["unfinished"])
    make_old(littered, 1.5, monkeypatch)
    printed = check(littered, capsys)
    assert "no damage" in printed
    assert "caution: 2 unfinished writes take 15.7 MB; nothing reads them" in printed
    assert ": 10.5 MB, 1.5 days old" in printed
    [line] = [line for line in printed.splitlines() if line.startswith("next: sweeps store prune")]
    command = shlex.split(line.removeprefix("next: ").partition("#")[0])[1:]
    assert main(command) == 0
    assert "unfinished writes: 2 objects, 15.7 MB" in capsys.readouterr().out
    assert len(find_unfinished(littered).writes) == 2
    assert main([*command, "--yes"]) == 0
    assert "2 objects deleted" in capsys.readouterr().out
    assert find_unfinished(littered).writes == []
    assert list(littered.list("")) == ["specs/kept"]
    assert "caution:" not in check(littered, capsys)


def test_what_a_run_may_be_writing_stays(
    littered: Store, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Younger than the bound, which is a day at least: an upload that goes on can be completed."""
    make_old(littered, 0.9, monkeypatch)
    assert main(["store", "prune", "--days", "1", "--store", littered.url, "--yes"]) == 0
    assert "nothing to delete that is older than 1 day\n" in capsys.readouterr().out
    assert len(find_unfinished(littered).writes) == 2


def test_a_server_that_does_not_list_uploads_is_told(
    serve: Serve, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """In one line; all else is checked and pruned as it is elsewhere."""
    with serve("uploads-501"):
        store = open_store("s3://bucket")
        found = find_unfinished(store)
        assert found.writes == ()
        assert "cannot list uploads of s3://bucket" in found.problem
        main(["store", "check", "--store", store.url])
        printed = capsys.readouterr().out
        assert "no damage" in printed
        assert "caution: what interrupted writers left is not known: cannot list" in printed
        assert prune(store, find_prunable(ResultReader(store), 1.0)) == 0
    assert "what interrupted writers left there stays" in caplog.text


def test_keys_that_may_not_remove_them_are_told(
    s3_store: S3Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Nor know their size; what may go is removed all the same."""
    begin(s3_store, KEYS[0], 1)
    make_old(s3_store, 8.0, monkeypatch)

    def refuse(*_: object) -> int:
        raise Denied("not for these keys")

    with monkeypatch.context() as patch:
        patch.setattr(s3_store, "measure_unfinished", refuse)
        patch.setattr(s3_store, "discard", refuse)
        [listed] = find_prunable(ResultReader(s3_store), 7.0)
        assert (listed.keys, listed.size_bytes) == ([KEYS[0]], 0)
        assert listed.unfinished[0].size_bytes is None
        assert prune(s3_store, [listed]) == 0
    assert "not for these keys; it stays" in caplog.text
    [write] = find_unfinished(s3_store).writes
    assert write.size_bytes == PART
    s3_store.discard(write.source)


def test_an_upload_that_ended_meanwhile_is_no_error(
    s3_store: S3Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though the server answers as it does to a writer, which begins again then."""
    begin(s3_store, KEYS[0], 1)
    [write] = find_unfinished(s3_store).writes
    s3_store.discard(write.source)
    monkeypatch.setenv("SWEEPS_STORE_TIMEOUT_S", "0")
    assert s3_store.measure_unfinished(write.source) == 0
    gone = ClientError({"Error": {"Code": "NoSuchUpload"}}, "AbortMultipartUpload")

    def refuse(**_: object) -> None:
        raise gone

    monkeypatch.setattr(s3_store._client, "abort_multipart_upload", refuse)
    s3_store.discard(write.source)
