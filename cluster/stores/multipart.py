"""Objects in parts: memory as a file that is uploaded, and uploads that nobody ended."""

from __future__ import annotations

import io
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

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


def list_uploads(client: Any, query: Mapping[str, Any]) -> list[tuple[str, float, str]]:
    """List the uploads in parts that were begun and neither completed nor aborted.

    Args:
        client: Of boto3.
        query: Bucket and prefix.

    Returns:
        Name, age in seconds by this machine's clock, and id of each.
    """
    found: list[tuple[str, float, str]] = []
    now, marker = datetime.now(UTC), dict[str, str]()
    for _ in range(_MOST_PAGES):
        page = client.list_multipart_uploads(**query, **marker)
        for upload in page.get("Uploads", ()):
            age_s = (now - upload["Initiated"]).total_seconds()
            found.append((upload["Key"], age_s, upload["UploadId"]))
        following = page.get("NextKeyMarker")
        if not page["IsTruncated"] or not following:
            break
        marker = {"KeyMarker": following, "UploadIdMarker": page.get("NextUploadIdMarker", "")}
    return found
