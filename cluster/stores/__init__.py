"""Object stores: a folder, or a bucket of any S3 server with conditional puts."""

from __future__ import annotations

from pathlib import Path

from cluster.errors import ClusterError
from cluster.stores.base import Store, check_url


def open_store(url: str, *, probe: bool = True) -> Store:
    """Open `s3://bucket[/prefix]` (endpoint and credentials from AWS_* variables) or a folder.

    Args:
        url: A bucket or a folder.
        probe: Try first whether a server stores bytes and honours conditional puts. Workers leave
            that to the command that started them.

    Raises:
        ClusterError: the URL names neither, or the server fails the probe.
        Denied, Unavailable, NotFound: the bucket or folder cannot be used.
    """
    if check_url(url).startswith("s3://"):
        from cluster.stores.s3 import S3Store  # boto3 takes 0.3 s to import; a folder needs none

        return S3Store.open(url, probe=probe)
    if "://" in url or not url:
        raise ClusterError(f"unknown store '{url}': expected s3://BUCKET[/PREFIX] or a folder path")
    from cluster.stores.folder import FolderStore

    return FolderStore(Path(url))
