"""Objects in parts: read into memory, put from memory, and uploads that nobody ended."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from botocore.exceptions import ClientError, IncompleteReadError

from cluster.stores.base import Unfinished, check_key, check_prefix
from cluster.stores.s3_errors import NO_UPLOAD, status_of

Call = Callable[[str, str, Callable[[], Any]], Any]
_NOT_IN_RANGE: Final = 416
_CHUNK: Final = 1 << 20
"""Bytes that are read at once, so that no part is in memory twice."""
_MOST_PAGES = 10_000


class MemoryFile(io.BufferedIOBase):
    """Memory as a file to read: of the whole nothing is copied, of what is read one copy made."""

    def __init__(self, data: bytes | memoryview) -> None:
        self._data, self._at = memoryview(data), 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move from the start, the position or the end; return the new position."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: len(self._data)}[whence]
        self._at = max(0, start + offset)
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        """Return the next bytes, at most `size`."""
        end = len(self._data) if size is None or size < 0 else self._at + size
        read = bytes(self._data[self._at : end])
        self._at += len(read)
        return read


class PartSource:
    """An object of a known size, read part by part into memory; safe for threads.

    Args:
        client: Of boto3.
        bucket: Its bucket.
        name: Its name.
        size: Bytes that it should have.
    """

    def __init__(self, client: Any, bucket: str, name: str, size: int) -> None:
        self._client, self._names, self._size = client, {"Bucket": bucket, "Key": name}, size

    def read(self, start: int, part: memoryview) -> int:
        """Fill a part of memory with the bytes from `start` on; return the object's own size.

        Where that differs from the size that it should have, the part's content is any.

        Raises:
            ClientError, BotoCoreError: of boto3; also where the connection ends early.
        """
        whole = start == 0 and len(part) == self._size
        chosen = {} if whole else {"Range": f"bytes={start}-{start + len(part) - 1}"}
        try:
            answer = self._client.get_object(**self._names, **chosen)
        except ClientError as error:
            if status_of(error) != _NOT_IN_RANGE:
                raise
            return int(self._client.head_object(**self._names)["ContentLength"])
        size = int(answer["ContentLength"] if whole else _total(answer))
        if size != self._size:
            answer["Body"].close()
            return size
        at = 0
        while read := answer["Body"].readinto(part[at : at + _CHUNK]):
            at += read
        if at != len(part):
            raise IncompleteReadError(actual_bytes=at, expected_bytes=len(part))
        return size


def _total(answer: Mapping[str, Any]) -> str:
    """Return the size of the object of which an answer is a part; raises KeyError where it is none.

    A server without ranges answers with the whole.
    """
    return str(answer["ContentRange"]).rpartition("/")[2]


class Uploads:
    """Uploads in parts that were begun and neither completed nor aborted.

    Args:
        client: Of boto3.
        bucket: Its bucket.
        prefix: Of the store in it.
        call: Runs a request with a store's retries and errors; takes what it does and to which key.
    """

    def __init__(self, client: Any, bucket: str, prefix: str, call: Call) -> None:
        self._client, self._bucket, self._prefix, self._call = client, bucket, prefix, call

    def list(self, prefix: str) -> list[Unfinished]:
        """List those of keys that start with a prefix; ages are by this machine's clock."""
        query = {"Bucket": self._bucket, "Prefix": self._prefix + check_prefix(prefix)}
        uploads = self._call("list uploads of", prefix, lambda: _list(self._client, query))
        return [upload.below(self._prefix) for upload in uploads]

    def measure(self, unfinished: Unfinished) -> int:
        """Return the bytes of the parts that an upload has; 0 where it is gone by now."""
        upload = self._describe(unfinished)
        measure = _unless_gone(lambda: _measure(self._client, upload), 0)
        return int(self._call("list parts of", unfinished.key, measure))

    def discard(self, unfinished: Unfinished) -> None:
        """Give up an upload, whose parts the server then removes."""
        upload, abort = self._describe(unfinished), self._client.abort_multipart_upload
        self._call("give up the upload of", unfinished.key, _unless_gone(lambda: abort(**upload)))

    def _describe(self, unfinished: Unfinished) -> dict[str, str]:
        name = self._prefix + check_key(unfinished.key)
        return {"Bucket": self._bucket, "Key": name, "UploadId": unfinished.token}


def _unless_gone(call: Callable[[], Any], gone: Any = None) -> Callable[[], Any]:
    """Return a call that gives `gone` where the upload was completed or given up by now."""

    def checked() -> Any:
        try:
            return call()
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") == NO_UPLOAD:
                return gone
            raise

    return checked


def _list(client: Any, query: Mapping[str, Any]) -> list[Unfinished]:
    """List uploads under their objects' names, page by page."""
    uploads: list[Unfinished] = []
    now, marker = datetime.now(UTC), dict[str, str]()
    for _ in range(_MOST_PAGES):
        page = client.list_multipart_uploads(**query, **marker)
        for upload in page.get("Uploads", ()):
            age_s = (now - upload["Initiated"]).total_seconds()
            if upload["Key"].startswith(query["Prefix"]):
                uploads.append(Unfinished(upload["Key"], age_s, upload["UploadId"]))
        following = page.get("NextKeyMarker")
        if not page["IsTruncated"] or not following:
            break
        marker = {"KeyMarker": following, "UploadIdMarker": page.get("NextUploadIdMarker", "")}
    return uploads


def _measure(client: Any, upload: Mapping[str, Any]) -> int:
    """Sum the sizes of an upload's parts, page by page."""
    size_bytes, marker = 0, dict[str, int]()
    for _ in range(_MOST_PAGES):
        page = client.list_parts(**upload, **marker)
        size_bytes += sum(part["Size"] for part in page.get("Parts", ()))
        following = page.get("NextPartNumberMarker")
        if not page.get("IsTruncated") or not following:
            break
        marker = {"PartNumberMarker": following}
    return size_bytes
