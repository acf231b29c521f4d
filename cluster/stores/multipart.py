"""Objects in parts: read into memory, put from memory, and uploads that nobody ended."""

from __future__ import annotations

import io
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from botocore.exceptions import ClientError, IncompleteReadError

from cluster.stores.base import Unfinished
from cluster.stores.s3_errors import status_of

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


def list_uploads(client: Any, query: Mapping[str, Any]) -> list[Unfinished]:
    """List the uploads in parts that were begun and neither completed nor aborted.

    Args:
        client: Of boto3.
        query: Bucket and prefix.

    Returns:
        Each under its object's name, with its age by this machine's clock.
    """
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
