"""The boto3 client of S3 stores."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import boto3
import botocore.session
from botocore.config import Config
from botocore.utils import parse_timestamp

from cluster.stores.retry import retry_timeout_s

_LOOPBACK = {"127.0.0.1", "::1", "localhost"}


def make_client(config: Mapping[str, str] | None = None, **options: str) -> Any:
    """A boto3 S3 client without retries of its own; `options` as boto3's (endpoint_url, keys).

    `config` are further options of botocore's Config. Where no region is set boto3 takes us-east-1.
    A server on loopback is never sought by a proxy.
    """
    core = botocore.session.get_session()  # boto3's default one keeps the first credentials
    core.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=parse_time)
    session = boto3.Session(botocore_session=core)
    region = os.environ.get("AWS_REGION") or session.region_name
    endpoint = options.get("endpoint_url") or _configured_endpoint()
    loopback = urlsplit(endpoint).hostname in _LOOPBACK
    settings = Config(
        connect_timeout=3,
        read_timeout=min(30.0, max(5.0, retry_timeout_s())),
        retries={"total_max_attempts": 1, "mode": "standard"},
        max_pool_connections=32,
        tcp_keepalive=True,
        signature_version="s3v4",  # of signed URLs, too, which boto3 signs as of 2006 else
        **(config or {}),
        **({"proxies": {}} if loopback else {}),
    )
    return session.client("s3", **{"region_name": region, **options}, config=settings)


def parse_time(value: Any) -> datetime:
    """Return a time of an answer; those of lists are ISO 8601, which botocore takes 30 us to read.

    All other forms are botocore's, errors included.
    """
    try:
        time = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        time = None
    if time is not None and time.tzinfo is not None:
        return time
    parsed: datetime = parse_timestamp(value)
    return parsed


def _configured_endpoint() -> str:
    variables = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
    return next((os.environ[name] for name in variables if os.environ.get(name)), "")
