"""From boto3's exceptions to what a user of a store can be told."""

from __future__ import annotations

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

from cluster.errors import AlreadyExists, ClusterError, Denied, NotFound, Unavailable

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
_TRANSIENT_STATUS = {408, 409, 425, 429, 500, 502, 503, 504, 507}


def translate(error: Exception, where: str) -> ClusterError:
    """Translate an error of boto3 into one of this package.

    Args:
        error: a ClientError (the server's answer), BotoCoreError (the client's) or Boto3Error.
        where: the start of the message: what failed, and at which store.
    """
    if isinstance(error, ClientError):
        return _answer(error, where)
    cause = getattr(error, "last_exception", None) or error.__context__  # a transfer's own wrapper
    if isinstance(cause, ClientError):
        return _answer(cause, where)
    if not isinstance(error, BotoCoreError) and isinstance(cause, Exception):
        error = cause
    if isinstance(error, SSLError):
        return ClusterError(f"{where}: {error}: check the server's certificate (AWS_CA_BUNDLE)")
    if isinstance(error, _NO_KEYS):
        return Denied(
            f"{where}: {error}: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile; on "
            "a Ray cluster on every node, since keys do not travel with the driver"
        )
    if isinstance(error, _TRANSIENT) or not isinstance(error, BotoCoreError):
        return Unavailable(f"{where}: {error}")
    return ClusterError(f"{where}: {error}: check the store's URL and the AWS_* settings")


def _answer(error: ClientError, where: str) -> ClusterError:
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    code = str(error.response.get("Error", {}).get("Code", ""))
    answer = f"the server answered {status} {error.response.get('Error', {}).get('Message', '')}"
    text = f"{where}: {answer.strip()}" + ("" if code in {"", str(status)} else f" ({code})")
    if code == "NoSuchBucket":
        return NotFound(f"{text}: create the bucket, or correct the store's URL")
    if status == 412:
        return AlreadyExists(f"{where}: it was written before")
    if status in _TRANSIENT_STATUS or code in _TRANSIENT_CODES:
        return Unavailable(text)
    if status in {401, 403} or code in _DENIED_CODES:
        return Denied(
            f"{text}: check the keys (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY), their rights on "
            "this bucket, and this machine's clock"
        )
    if status == 404:
        return NotFound(f"{text}")
    return ClusterError(f"{text}: check the store's URL and the AWS_* settings")
