"""A store in an S3 bucket: Amazon's, or any server that honours conditional puts."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TypeVar

from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import (
    BotoCoreError,
    ChecksumError,
    ClientError,
    FlexibleChecksumError,
)

from cluster.common.redaction import redact
from cluster.errors import AlreadyExists, ClusterError, Corrupt, Denied, NotFound, Unavailable
from cluster.stores.base import (
    StoredObject,
    Unfinished,
    check_key,
    check_prefix,
    check_url,
    is_key,
    other_size,
)
from cluster.stores.multipart import MemoryFile, PartSource, Uploads
from cluster.stores.probe import check_bytes, probe_store
from cluster.stores.retry import call_with_retries
from cluster.stores.s3_client import make_client
from cluster.stores.s3_errors import (
    CHECKSUM_HINT,
    CHECKSUM_VARIABLES,
    MULTIPART_HINT,
    OLD_CHECKSUMS,
    ForeignAnswer,
    is_mismatch,
    status_of,
    translate,
)
from cluster.stores.s3_pages import describe, list_objects, read_pages
from cluster.stores.s3_quick import QuickGet
from cluster.stores.s3_settings import check_settings

_MIB = 1 << 20
_PART = 16 * _MIB
"""Bytes of a part, and size from which objects are moved in parts."""
_TRANSFER = TransferConfig(
    multipart_threshold=_PART,
    multipart_chunksize=_PART,
    max_concurrency=4,
    num_download_attempts=1,  # retries are cluster.stores.retry's alone
    preferred_transfer_client="classic",
)
_TRANSFER.max_in_memory_upload_chunks = _TRANSFER.max_concurrency  # ten by default
_MISMATCHES = 3
"""Reads that differ from their checksum before it is the object, not the way, that is damaged.

As many writes that the server finds so, before it is the server that cannot tell.
"""
_log = logging.getLogger(__name__)

T = TypeVar("T")


class S3Store:
    """Objects below `s3://BUCKET[/PREFIX]`; safe for threads, opened in every process."""

    _hints: Mapping[str, str] = {
        "put": CHECKSUM_HINT,
        "upload": f"{MULTIPART_HINT}, or {CHECKSUM_HINT}",
    }
    """What the message of a refused request adds, by verb."""

    def __init__(
        self, client: Any, bucket: str, prefix: str, *, transfer: Any = None, page_size: int = 1000
    ) -> None:
        """Wrap a boto3 S3 client; `prefix` is empty or ends in '/'. Use `open` instead."""
        self._transfer = transfer or _TRANSFER
        self._page_size = page_size
        self._client = client
        self._bucket = bucket
        self._prefix = prefix
        self._refuses_deletes = False
        self._quick = QuickGet(client, bucket)
        self._uploads = Uploads(client, bucket, prefix, self._call)

    @classmethod
    def open(cls, url: str, *, probe: bool = True) -> S3Store:
        """Open a bucket with the endpoint, region and credentials of the AWS_* variables and files.

        Args:
            url: `s3://BUCKET[/PREFIX]`.
            probe: Store a small object, read it back and try conditional puts: seven requests.
                A run's workers leave that to the command that started them.

        Raises:
            ClusterError: the URL or the configuration is invalid, or the server does not store what
                it is given, or has no conditional puts.
            NotFound, Denied, Unavailable: no such bucket, not for these keys, or out of reach.
        """
        bucket, _, prefix = check_url(url).removeprefix("s3://").partition("/")
        prefix = prefix.rstrip("/")
        if not bucket or (prefix and not is_key(prefix)):
            raise ClusterError(f"bad store '{url}': expected s3://BUCKET or s3://BUCKET/PREFIX")
        check_settings()
        try:
            client = make_client()
        except (BotoCoreError, ValueError) as error:
            raise ClusterError(
                f"cannot open '{url}': {redact(str(error))}: check the AWS_* settings"
            ) from error
        place = (bucket, f"{prefix}/" if prefix else "")
        if probe:
            opening = _Opening(client, *place)
            try:
                probe_store(opening, opening.measure_cure)
            except NotFound:
                raise NotFound(
                    f"no bucket '{bucket}' at {opening.endpoint}: create it, or correct the "
                    "store's URL or AWS_ENDPOINT_URL_S3"
                ) from None
        return cls(client, *place)

    def in_small_parts(self) -> S3Store:
        """Return the same store, with files in parts and lists of a key a page: to try these."""
        transfer = TransferConfig(
            multipart_threshold=1,
            multipart_chunksize=64,  # of what is downloaded; a part that is uploaded may be larger
            num_download_attempts=1,
            preferred_transfer_client="classic",
        )
        place = (self._client, self._bucket, self._prefix)
        return S3Store(*place, transfer=transfer, page_size=1)

    @property
    def url(self) -> str:
        """The URL that `open` takes, without a '/' at the end."""
        return f"s3://{self._bucket}/{self._prefix}".rstrip("/")

    def get(self, key: str) -> bytes:
        """Return the whole object; raises NotFound."""
        return self._get(key)[0]

    def read(self, key: str) -> tuple[bytes, StoredObject]:
        """Return the whole object and how the store lists these bytes; raises NotFound."""
        data, answer = self._quick(self._name(key)) or self._get(key)
        return data, describe(key, {**answer, "Size": len(data)})

    def _get(self, key: str) -> tuple[bytes, Mapping[str, Any]]:
        name = self._name(key)

        def call() -> tuple[bytes, Mapping[str, Any]]:
            answer = self._client.get_object(Bucket=self._bucket, Key=name)
            return answer["Body"].read(), answer

        return self._read("get", key, call)

    def read_into(self, key: str, memory: memoryview) -> None:
        """Fill memory with an object of its size, several parts at once; see `Store`."""
        source = PartSource(self._client, self._bucket, self._name(key), len(memory))

        def read(start: int) -> None:
            part = memory[start : start + _PART]
            size = self._read("read", key, lambda: source.read(start, part))
            if size != len(memory):
                raise other_size(f"read '{key}' in {self.url}", size, len(memory))

        starts = range(0, max(1, len(memory)), _PART)
        with ThreadPoolExecutor(min(len(starts), 2 * _TRANSFER.max_concurrency)) as pool:
            for _ in pool.map(read, starts):
                pass

    def put(self, key: str, data: bytes | memoryview) -> None:
        """Write or replace an object, atomically; a large one in parts, a few at a time."""
        name = self._name(key)
        if len(data) < _PART:
            self._call("put", key, lambda: self._put(name, bytes(data)))
        else:
            self._upload(key, lambda: MemoryFile(data))

    def create(self, key: str, data: bytes) -> None:
        """Write an object only where there is none; raises AlreadyExists.

        Opening the store has shown that the server can do that.
        """
        name = self._name(key)

        def call() -> None:
            try:
                self._put(name, data, IfNoneMatch="*")
            except ClientError as error:
                # Amazon's answer to two at once, to be tried again; other servers' to any object.
                if status_of(error) == 409 and self.exists(key):
                    raise AlreadyExists(f"{self._where('create', key)}: it is there") from error
                raise

        self._call("create", key, call)

    def download(self, key: str, path: Path) -> None:
        """Stream an object to a local file, put in place at the end; raises NotFound, OSError."""
        name = self._name(key)

        def call() -> None:
            received: list[int] = []
            try:
                self._client.download_file(
                    self._bucket, name, str(path), Config=self._transfer, Callback=received.append
                )
            except ClientError as error:
                if status_of(error) == 412:  # If-Match
                    raise Unavailable(f"'{key}' in {self.url} changed while it was read") from error
                raise
            if sum(received) != path.stat().st_size:  # whole objects in place of parts
                raise ClusterError(
                    f"{self._where('download', key)}: the server does not honour ranges of bytes, "
                    "in which large objects are read: use another server, or a folder as the store"
                )

        self._read("download", key, call)

    def upload(self, path: Path, key: str) -> None:
        """Stream a local file into an object, atomically; OSError where it cannot be read."""
        self._upload(key, lambda: path.open("rb"))

    def list(self, prefix: str) -> Iterator[str]:
        """Keys that start with `prefix`, ascending by code point."""
        return (item.key for item in self.scan(prefix))

    def scan(self, prefix: str) -> Iterator[StoredObject]:
        """Objects whose keys start with `prefix`, ascending by code point of the key."""
        start = self._prefix + check_prefix(prefix)
        query = {"Bucket": self._bucket, "Prefix": start, "MaxKeys": self._page_size}
        pages = read_pages(
            lambda query: self._call("list", prefix, lambda: self._list_page(query)),
            query,
            self._where("list", prefix),
        )
        return iter(list_objects(pages, start, self._prefix))

    def exists(self, key: str) -> bool:
        """Return whether the key holds an object."""
        name = self._name(key)

        def call() -> Any:
            return self._client.head_object(Bucket=self._bucket, Key=name)

        try:
            answer = self._read("find", key, call)
        except NotFound:
            return False
        if "ETag" not in answer:
            raise ForeignAnswer(self._where("find", key))
        return True

    def delete(self, key: str) -> bool:
        """Remove an object; a missing one is fine. False where the server refuses to."""
        name = self._name(key)
        try:
            self._call(
                "delete", key, lambda: self._client.delete_object(Bucket=self._bucket, Key=name)
            )
        except (NotFound, Unavailable) as error:
            if isinstance(error, Unavailable):
                raise
        except ClusterError as error:  # keys without this right, or a bucket that keeps all
            if not self._refuses_deletes:
                _log.warning("%s; what a run no longer needs stays there", error)
            self._refuses_deletes = True
            return False
        return True

    @property
    def endpoint(self) -> str:
        """The server's address, without any password."""
        return redact(str(self._client.meta.endpoint_url))

    def measure_cure(self, error: ClusterError) -> str:
        """Say whether the store keeps bytes once boto3 sends and asks for no checksums.

        Args:
            error: Why it does not now.
        """
        if isinstance(error, ForeignAnswer):
            return ""
        for count in range(1, len(CHECKSUM_VARIABLES) + 1):
            chosen = dict(list(CHECKSUM_VARIABLES.items())[:count])
            client = make_client(dict.fromkeys(chosen, OLD_CHECKSUMS))
            setting = " and ".join(f"{name}={OLD_CHECKSUMS}" for name in chosen.values())
            try:
                check_bytes(type(self)(client, self._bucket, self._prefix))
            except ClusterError:
                continue
            return (
                f"; the server does not know boto3's checksums: set {setting}, with which it was "
                "tried and works"
            )
        return f" ({setting}, as for servers without checksums, was tried and does not help)"

    def list_unfinished(self, prefix: str) -> Iterator[Unfinished]:
        """Uploads in parts that were neither completed nor given up, see `Store`."""
        return iter(self._uploads.list(prefix))

    def measure_unfinished(self, unfinished: Unfinished) -> int:
        """Bytes of an upload's parts, see `Store`."""
        return self._uploads.measure(unfinished)

    def discard(self, unfinished: Unfinished) -> None:
        """Give up an upload in parts, see `Store`."""
        self._uploads.discard(unfinished)

    def _name(self, key: str) -> str:
        return self._prefix + check_key(key)

    def _where(self, verb: str, key: str) -> str:
        what = f"{verb} '{key}' in {self.url}" if key else f"{verb} {self.url}"
        return f"cannot {what} at {self.endpoint}"

    def _upload(self, key: str, open_source: Callable[[], AbstractContextManager[Any]]) -> None:
        name = self._name(key)

        def call() -> None:
            with open_source() as source:
                self._client.upload_fileobj(source, self._bucket, name, Config=self._transfer)

        self._call("upload", key, call)

    def _put(self, name: str, data: bytes, **condition: str) -> None:
        answer = self._client.put_object(Bucket=self._bucket, Key=name, Body=data, **condition)
        if "ETag" not in answer:  # a login page's 200, say
            raise ForeignAnswer(self._where("put", name.removeprefix(self._prefix)))

    def _list_page(self, query: Mapping[str, Any]) -> Any:
        page = self._client.list_objects_v2(**query)
        if "IsTruncated" not in page:
            raise ForeignAnswer(self._where("list", query["Prefix"].removeprefix(self._prefix)))
        return page

    def _read(self, verb: str, key: str, call: Callable[[], T]) -> T:
        """Run a request on one object.

        Amazon answers 403 rather than 404 for a missing object to keys that may list a prefix only,
        so a list of the object's own name decides.
        """
        try:
            return self._call(verb, key, call)
        except Denied:
            name = self._name(key)
            query = {"Bucket": self._bucket, "Prefix": name, "MaxKeys": 1}
            try:
                page = self._call(verb, key, lambda: self._list_page(query))
            except Denied:
                page = None
            if page is None or any(item["Key"] == name for item in page.get("Contents", ())):
                raise
            raise NotFound(f"{self._where(verb, key)}: it is not there") from None

    def _call(self, verb: str, key: str, call: Callable[[], T]) -> T:
        """Run one request under the retry policy, with errors in this package's terms.

        Raises:
            Corrupt: what is stored differs from its stored checksum, each time that it is read.
        """
        where = self._where(verb, key)
        mismatches = 0

        def attempt() -> T:
            nonlocal mismatches
            try:
                return call()
            except (ChecksumError, FlexibleChecksumError) as error:
                mismatches += 1
                if mismatches == _MISMATCHES:
                    raise Corrupt(f"{where}: {error}: the stored object is damaged") from error
                raise translate(error, where) from error
            except (ClientError, BotoCoreError, Boto3Error) as error:
                if is_mismatch(error) and (mismatches := mismatches + 1) < _MISMATCHES:
                    raise Unavailable(
                        f"{where}: what arrived differs from what was sent"
                    ) from error
                raise translate(error, where, self._hints.get(verb, "")) from error
            except KeyError as error:  # boto3's own look at a part of the answer
                raise ForeignAnswer(where) from error

        return call_with_retries(attempt)


class _Opening(S3Store):
    """The store while it is opened: whatever fails, opening does; checksums are tried then."""

    _hints: Mapping[str, str] = {}

    def _where(self, verb: str, key: str) -> str:
        return f"cannot open {self.url} at {self.endpoint}"
