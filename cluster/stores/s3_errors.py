"""From boto3's exceptions to what a user of a store can be told."""

from __future__ import annotations

import os
import re

from botocore.exceptions import (
    BotoCoreError,
    ChecksumError,
    ClientError,
    ConnectionError,
    CredentialRetrievalError,
    FlexibleChecksumError,
    HTTPClientError,
    IncompleteReadError,
    NoAuthTokenError,
    NoCredentialsError,
    PartialCredentialsError,
    SSLError,
    TokenRetrievalError,
)

from cluster.common.redaction import REDACTED, redact
from cluster.errors import AlreadyExists, ClusterError, Denied, NotFound, Unavailable

CHECKSUM_VARIABLES = {
    "request_checksum_calculation": "AWS_REQUEST_CHECKSUM_CALCULATION",
    "response_checksum_validation": "AWS_RESPONSE_CHECKSUM_VALIDATION",
}
"""boto3's options for the checksums that it sends and asks for, and their variables."""
OLD_CHECKSUMS = "when_required"
"""Their value for servers from before them."""

CHECKSUM_HINT = (
    "a server that does not know the checksums that boto3 sends answers so; then set "
    f"AWS_REQUEST_CHECKSUM_CALCULATION={OLD_CHECKSUMS}"
)
MULTIPART_HINT = "a server without multipart uploads refuses large files"

NO_UPLOAD = "NoSuchUpload"
"""Code of an answer that an upload in parts is not known, since it ended, say."""
_MOST_TEXT = 300
"""Characters quoted of an error, which may hold a page of HTML."""

_SHORTEST_KEY = 8
_SIGNED = re.compile(r"(Credential|Signature|AWSAccessKeyId)=[^,&\s]+")
"""What an answer may repeat of a request's authorisation."""

_NO_KEYS = (
    NoCredentialsError,
    PartialCredentialsError,
    CredentialRetrievalError,
    NoAuthTokenError,
    TokenRetrievalError,
)
_TRANSIENT = (
    ConnectionError,
    HTTPClientError,
    IncompleteReadError,
    ChecksumError,
    FlexibleChecksumError,
)
_DENIED_CODES = {"ExpiredToken", "InvalidToken", "TokenRefreshRequired"}  # sent with status 400
_TRANSIENT_CODES = {"RequestTimeout", "SlowDown", "Throttling", "InternalError"}
_MISMATCH_CODES = {"BadDigest", "XAmzContentSHA256Mismatch"}
_REFUSED_STATUS = {400, 411, 501}
_TRANSIENT_STATUS = {408, 409, 425, 429, 500, 502, 503, 504, 507}


class ForeignAnswer(ClusterError):
    """A success that is not S3's."""

    def __init__(self, where: str) -> None:
        """Say what failed, and at which store."""
        super().__init__(
            f"{where}: what answered is not an S3 server, though it reported success: perhaps a "
            "login page or a proxy; open its address in a browser, or correct AWS_ENDPOINT_URL_S3"
        )


class UploadGone(Unavailable):
    """An upload in parts that the server does not know (any more); another try begins again."""


def status_of(error: ClientError) -> int:
    """Return the HTTP status of a server's answer; 0 where it had none."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def is_mismatch(error: Exception) -> bool:
    """Return whether the server says that it received other bytes than were sent."""
    if not isinstance(error, ClientError):
        cause = getattr(error, "last_exception", None) or error.__context__
        return isinstance(cause, ClientError) and is_mismatch(cause)
    return error.response.get("Error", {}).get("Code") in _MISMATCH_CODES


def translate(error: Exception, where: str, hint: str = "") -> ClusterError:
    """Translate an error of boto3 into one of this package.

    Args:
        error: a ClientError (the server's answer), BotoCoreError (the client's) or Boto3Error.
        where: the start of the message: what failed, and at which store.
        hint: what a refusal of the request as such may be due to.
    """
    if isinstance(error, ClientError):
        return _answer(error, where, hint)
    cause = getattr(error, "last_exception", None) or error.__context__  # a transfer's own wrapper
    if isinstance(cause, ClientError):
        return _answer(cause, where, hint)
    if not isinstance(error, BotoCoreError) and isinstance(cause, Exception):
        error = cause
    text = _quote(error)
    if isinstance(error, SSLError):
        return ClusterError(f"{where}: {text}: check the server's certificate (AWS_CA_BUNDLE)")
    if isinstance(error, _NO_KEYS):
        return Denied(
            f"{where}: {text}: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile; on "
            "a Ray cluster on every node, since keys do not travel with the driver"
        )
    if isinstance(error, _TRANSIENT) or not isinstance(error, BotoCoreError):
        return Unavailable(f"{where}: {text}")
    return ClusterError(f"{where}: {text}: check the store's URL and the AWS_* settings")


def _quote(text: object) -> str:
    """Quote what a library or a server said: in one line, not at length, without keys."""
    clean = _SIGNED.sub(rf"\1={REDACTED}", str(text))
    access_key = os.environ.get("AWS_ACCESS_KEY_ID", "").strip()
    if len(access_key) >= _SHORTEST_KEY:  # `redact` leaves it, since it opens nothing by itself
        clean = clean.replace(access_key, REDACTED)
    line = " ".join(redact(clean).split())
    return line if len(line) <= _MOST_TEXT else f"{line[:_MOST_TEXT]}..."


def _answer(error: ClientError, where: str, hint: str) -> ClusterError:
    status = status_of(error)
    code = _quote(error.response.get("Error", {}).get("Code", ""))
    message = _quote(error.response.get("Error", {}).get("Message", ""))
    text = f"{where}: {f'the server answered {status} {message}'.strip()}"
    text += "" if code in {"", str(status)} else f" ({code})"
    if code == NO_UPLOAD:
        return UploadGone(text)
    if code == "NoSuchBucket":
        return NotFound(f"{text}: create the bucket, or correct the store's URL")
    if status == 412:
        return AlreadyExists(f"{where}: it was written before")
    if status in _TRANSIENT_STATUS or code in _TRANSIENT_CODES:
        return Unavailable(text)
    if status in {401, 403} or code in _DENIED_CODES:
        return Denied(
            f"{text}: check the keys (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY), their rights on "
            "this bucket (docs/cluster.md lists them), and this machine's clock"
        )
    if status == 404:
        return NotFound(f"{text}")
    if hint and status in _REFUSED_STATUS:
        return ClusterError(f"{text}: {hint}")
    return ClusterError(f"{text}: check the store's URL and the AWS_* settings")
