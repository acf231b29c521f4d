"""A store in an S3 bucket: Amazon's, or any server that honours conditional puts."""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import boto3
from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from cluster.errors import AlreadyExists, ClusterError, NotFound, Unavailable
from cluster.stores.base import check_key, check_prefix, check_url, is_key
from cluster.stores.retry import call_with_retries, retry_timeout_s
from cluster.stores.s3_errors import translate

_MIB = 1 << 20
_TRANSFER = TransferConfig(
    multipart_threshold=16 * _MIB,
    multipart_chunksize=16 * _MIB,
    max_concurrency=4,
    num_download_attempts=1,  # retries are cluster.stores.retry's alone
    preferred_transfer_client="classic",
)
_LOOPBACK = {"127.0.0.1", "::1", "localhost"}

T = TypeVar("T")


class S3Store:
    """Objects below `s3://BUCKET[/PREFIX]`; safe for threads, opened in every process."""

    def __init__(self, client: Any, bucket: str, prefix: str) -> None:
        """Wrap a boto3 S3 client; `prefix` is empty or ends in '/'. Use `open` instead."""
        self._client = client
        self._bucket = bucket
        self._prefix = prefix
        self._commits = False  # whether the server is known to honour If-None-Match
        self._commits_lock = threading.Lock()

    @classmethod
    def open(cls, url: str) -> S3Store:
        """Open a bucket with the endpoint, region and credentials of the AWS_* variables and files.

        Raises:
            ClusterError: the URL or the configuration is invalid.
            NotFound, Denied, Unavailable: no such bucket, not for these keys, or out of reach.
        """
        bucket, _, prefix = check_url(url).removeprefix("s3://").partition("/")
        prefix = prefix.rstrip("/")
        if not bucket or (prefix and not is_key(prefix)):
            raise ClusterError(f"bad store '{url}': expected s3://BUCKET or s3://BUCKET/PREFIX")
        try:
            client = make_client()
        except (BotoCoreError, ValueError) as error:
            raise ClusterError(f"cannot open '{url}': {error}: check the AWS_* settings") from error
        store = cls(client, bucket, f"{prefix}/" if prefix else "")
        try:
            store._call("open", "", lambda: client.head_bucket(Bucket=bucket))
        except NotFound:
            raise NotFound(
                f"no bucket '{bucket}' at {store._endpoint}: create it, or correct the store's URL "
                "or AWS_ENDPOINT_URL_S3"
            ) from None
        return store

    @property
    def url(self) -> str:
        """The URL that `open` takes, without a '/' at the end."""
        return f"s3://{self._bucket}/{self._prefix}".rstrip("/")

    def get(self, key: str) -> bytes:
        """Return the whole object; raises NotFound."""
        name = self._name(key)

        def call() -> bytes:
            body: bytes = self._client.get_object(Bucket=self._bucket, Key=name)["Body"].read()
            return body

        return self._call("get", key, call)

    def put(self, key: str, data: bytes) -> None:
        """Write or replace an object, atomically."""
        name = self._name(key)
        self._call("put", key, lambda: self._put(name, data))

    def create(self, key: str, data: bytes) -> None:
        """Write an object only where there is none; raises AlreadyExists.

        The first call asks the server whether it can do that, and raises ClusterError if it cannot.
        """
        name = self._name(key)
        self._check_conditional_puts()
        self._call("create", key, lambda: self._put(name, data, IfNoneMatch="*"))

    def download(self, key: str, path: Path) -> None:
        """Stream an object to a local file, put in place at the end; raises NotFound, OSError."""
        name = self._name(key)

        def call() -> None:
            try:
                self._client.download_file(self._bucket, name, str(path), Config=_TRANSFER)
            except ClientError as error:
                if error.response["ResponseMetadata"]["HTTPStatusCode"] == 412:  # If-Match
                    raise Unavailable(f"'{key}' in {self.url} changed while it was read") from error
                raise

        self._call("download", key, call)

    def upload(self, path: Path, key: str) -> None:
        """Stream a local file into an object, atomically; OSError where it cannot be read."""
        name = self._name(key)

        def call() -> None:
            with path.open("rb") as file:
                self._client.upload_fileobj(file, self._bucket, name, Config=_TRANSFER)

        self._call("upload", key, call)

    def list(self, prefix: str) -> Iterator[str]:
        """Keys that start with `prefix`, ascending by code point.

        Sorted here, since servers that keep folders (SeaweedFS) list `a/b` before `a.b`.
        """
        keys: set[str] = set()
        query = {"Bucket": self._bucket, "Prefix": self._prefix + check_prefix(prefix)}
        while True:
            page = self._call("list", prefix, lambda: self._client.list_objects_v2(**query))
            names = (item["Key"].removeprefix(self._prefix) for item in page.get("Contents", ()))
            keys.update(name for name in names if is_key(name))
            if not page.get("IsTruncated"):
                return iter(sorted(keys))
            query["ContinuationToken"] = page["NextContinuationToken"]

    def exists(self, key: str) -> bool:
        """Return whether the key holds an object."""
        name = self._name(key)
        try:
            self._call("find", key, lambda: self._client.head_object(Bucket=self._bucket, Key=name))
        except NotFound:
            return False
        return True

    def delete(self, key: str) -> None:
        """Remove an object; a missing one is fine."""
        self._delete(self._name(key))

    @property
    def _endpoint(self) -> str:
        return str(self._client.meta.endpoint_url)

    def _name(self, key: str) -> str:
        return self._prefix + check_key(key)

    def _put(self, name: str, data: bytes, **condition: str) -> None:
        self._client.put_object(Bucket=self._bucket, Key=name, Body=data, **condition)

    def _delete(self, name: str) -> None:
        self._call(
            "delete", name, lambda: self._client.delete_object(Bucket=self._bucket, Key=name)
        )

    def _call(self, verb: str, key: str, call: Callable[[], T]) -> T:
        """Run one request under the retry policy, with errors in this package's terms."""
        what = f"{verb} '{key}' in {self.url}" if key else f"{verb} {self.url}"
        where = f"cannot {what} at {self._endpoint}"

        def attempt() -> T:
            try:
                return call()
            except (ClientError, BotoCoreError, Boto3Error) as error:
                raise translate(error, where) from error

        return call_with_retries(attempt)

    def _check_conditional_puts(self) -> None:
        """Write one probe object twice: a server that lets the second pass would lose results."""
        with self._commits_lock:
            if self._commits:
                return
            name = f"{self._prefix}.probe-{uuid.uuid4().hex}"  # hidden: `list` leaves it out
            try:
                for _ in range(2):
                    self._call("probe", name, lambda: self._put(name, b"", IfNoneMatch="*"))
            except AlreadyExists:
                self._commits = True
            finally:
                self._delete(name)
            if not self._commits:
                raise ClusterError(
                    f"the S3 server at {self._endpoint} ignores conditional puts (If-None-Match), "
                    "so results there could overwrite each other: use a server that honours them, "
                    "or a folder as the store"
                )


def make_client(**options: str) -> Any:
    """A boto3 S3 client without retries of its own; `options` as boto3's (endpoint_url, keys).

    Where no region is set boto3 takes us-east-1. A server on loopback is never sought by a proxy.
    """
    session = boto3.Session()  # boto3's default one keeps the first credentials it found
    region = os.environ.get("AWS_REGION") or session.region_name
    endpoint = options.get("endpoint_url") or _configured_endpoint()
    loopback = urlsplit(endpoint).hostname in _LOOPBACK
    config = Config(
        connect_timeout=3,
        read_timeout=min(30.0, max(5.0, retry_timeout_s())),
        retries={"total_max_attempts": 1, "mode": "standard"},
        max_pool_connections=32,
        tcp_keepalive=True,
        **({"proxies": {}} if loopback else {}),
    )
    return session.client("s3", **{"region_name": region, **options}, config=config)


def _configured_endpoint() -> str:
    variables = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
    return next((os.environ[name] for name in variables if os.environ.get(name)), "")
