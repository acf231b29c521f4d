"""Gets of small objects at a third of boto3's processor time, for reading thousands of them.

boto3 signs a URL, and urllib3 fetches it; endpoint rules, hooks and parsers are left out. So are
checks of the server's checksums: whoever reads this way compares the bytes with a hash. Any answer
but a plain one is None, and the caller asks again through boto3, which has retries and errors.
"""

from __future__ import annotations

import os
from typing import Any, Final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3
from botocore.exceptions import BotoCoreError, ClientError
from urllib3.exceptions import HTTPError, SSLError

_EXPIRES_S: Final = 60
_CONNECTIONS: Final = 32
_LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")
_REFUSED: Final = (400, 403, 501)
"""Answers of a server that takes no signed URLs: the next object is not asked for that way."""


class QuickGet:
    """Fetches objects of one bucket with a boto3 client's address and credentials."""

    def __init__(self, client: Any, bucket: str) -> None:
        """Connect to nothing yet; where a proxy is in the way, fetch nothing."""
        self._client, self._bucket = client, bucket
        host = urlsplit(client.meta.endpoint_url).hostname or ""
        self._works = host in _LOOPBACK or not getproxies() or bool(proxy_bypass(host))
        settings = client.meta.config
        self._pool = urllib3.PoolManager(
            maxsize=_CONNECTIONS,
            timeout=urllib3.Timeout(settings.connect_timeout, settings.read_timeout),
            ca_certs=os.environ.get("AWS_CA_BUNDLE") or None,
        )

    def __call__(self, name: str) -> tuple[bytes, dict[str, Any]] | None:
        """Return an object's bytes, and its `ETag`.

        Args:
            name: The object's whole name in the bucket.
        """
        if not self._works:
            return None
        try:
            place = {"Bucket": self._bucket, "Key": name}
            url = self._client.generate_presigned_url("get_object", place, ExpiresIn=_EXPIRES_S)
            answer = self._pool.request("GET", url, redirect=False, retries=False)
        except SSLError:  # its certificate is one that boto3 knows from its files alone
            self._works = False
            return None
        except (BotoCoreError, ClientError, HTTPError, OSError, ValueError):
            return None
        if answer.status in _REFUSED:
            self._works = False
        tag, length = answer.headers.get("ETag"), answer.headers.get("Content-Length")
        if answer.status != 200 or not tag or length != str(len(answer.data)):
            return None
        return answer.data, {"ETag": tag}
