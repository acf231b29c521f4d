"""Settings that boto3 would only fail on later, or would quote in an error: checked at once."""

from __future__ import annotations

import os

import boto3
from botocore.credentials import Credentials
from botocore.exceptions import BotoCoreError

from cluster.errors import ClusterError

_VARIABLES = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT_URL",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
)


def check_settings() -> None:
    """Refuse keys, addresses and regions with a line break, blank or other odd character.

    A line break at the end, as `echo` and editors on Windows leave, goes into an HTTP header: the
    request is then refused with a message that quotes the key. Values are never quoted here.

    Raises:
        ClusterError: names the variable or file, and where in the value the character is.
    """
    for name in _VARIABLES:
        _check(os.environ.get(name, ""), f"the variable {name}")
    try:
        keys = boto3.Session().get_credentials()
    except BotoCoreError:  # reported by the first request, with what to do
        return
    if type(keys) is Credentials:  # others fetch their keys over a network when asked for them
        for part in ("access_key", "secret_key", "token"):
            _check(getattr(keys, part) or "", f"{part} of the AWS credentials ({keys.method})")


def _check(value: str, what: str) -> None:
    for position, character in enumerate(value, 1):
        if not "!" <= character <= "~":
            kind = {"\r": "a carriage return", "\n": "a line break", " ": "a blank"}.get(
                character, "a character that is not printable ASCII"
            )
            raise ClusterError(
                f"{what} has {kind} at position {position} of {len(value)}: set it without"
            )
