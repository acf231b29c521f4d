"""What kind of failure an exception is; imports no torch, since a driver asks, too."""

from __future__ import annotations

import sys

from cluster.common.redaction import redact
from cluster.errors import ClusterError, Corrupt, NotFound, Unavailable
from spurious.errors import ConfigError, DataError, NumericalError, SpuriousError


def classify(error: BaseException) -> str:
    """Return the failure class that the retry policy and the failures table use."""
    if isinstance(error, NumericalError):
        return "numerical"
    if isinstance(error, DataError | ConfigError | Corrupt | NotFound):
        return "data"
    if isinstance(error, MemoryError) or _is_of_torch(error):
        return "out_of_memory"
    if isinstance(error, Unavailable | ClusterError | OSError):
        return "infrastructure"
    return "unexpected"


def _is_of_torch(error: BaseException) -> bool:
    """Return whether a device had no memory left."""
    torch = sys.modules.get("torch")  # without it there is no such error
    return torch is not None and isinstance(error, torch.OutOfMemoryError)


def describe_error(error: BaseException) -> str:
    """Return the message for people, without secrets; a foreign error is named by its type."""
    if isinstance(error, SpuriousError | ClusterError):
        return redact(str(error))
    return redact(f"{type(error).__name__}: {error}")
