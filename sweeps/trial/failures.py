"""What kind of failure an exception is, and what follows; imports no torch, as a driver asks."""

from __future__ import annotations

import errno
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from cluster.common.redaction import redact
from cluster.errors import ClusterError, Corrupt, NotFound, Unavailable
from spurious.errors import ConfigError, DataError, NumericalError, SpuriousError
from sweeps.errors import TimeLimit

Remedy = Literal["again", "elsewhere", "larger", "none"]


@dataclass(frozen=True)
class Policy:
    """What follows a failure of a class.

    Attributes:
        retries: Further attempts in one run, None without a bound.
        remedy: What is different in the next attempt: its node, its share of one, or nothing.
        meaning: The class in words, for people.
        is_final: Whether no later run tries the trial again, unless the user wants it.
    """

    retries: int | None
    remedy: Remedy
    meaning: str
    is_final: bool = False


POLICIES: Mapping[str, Policy] = {
    "preempted": Policy(None, "again", "its node went away on notice; free"),
    "infrastructure": Policy(2, "elsewhere", "its worker, node or store was lost"),
    "out_of_memory": Policy(3, "larger", "its machine or GPU had no memory left"),
    "timeout": Policy(0, "none", "it took longer than limits.trial_minutes, or hung"),
    "numerical": Policy(0, "none", "training became NaN or infinite", is_final=True),
    "data": Policy(0, "none", "a file or annotation cannot be used"),
    "user_error": Policy(0, "none", "its options cannot be used together"),
    "unexpected": Policy(0, "none", "an error of a program"),
}
"""Every class of failure, by its name in the failures table."""


def classify(error: BaseException) -> str:
    """Return the failure class that the retry policy and the failures table use."""
    if isinstance(error, NumericalError):
        return "numerical"
    if isinstance(error, TimeLimit):
        return "timeout"
    if isinstance(error, ConfigError):
        return "user_error"
    if isinstance(error, DataError | Corrupt | NotFound):
        return "data"
    if lacks_memory(error):
        return "out_of_memory"
    if isinstance(error, Unavailable | ClusterError | OSError):
        return "infrastructure"
    return "unexpected"


def lacks_memory(error: BaseException) -> bool:
    """Return whether a machine or a GPU had no memory left."""
    if isinstance(error, MemoryError) or lacks_gpu_memory(error):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    # torch has no class of its own for its allocator on CPUs
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)


def lacks_gpu_memory(error: BaseException) -> bool:
    """Return whether it was a GPU, and not its machine, that had no memory left."""
    torch = sys.modules.get("torch")  # without it no such error exists
    return torch is not None and isinstance(error, torch.OutOfMemoryError)


def describe_error(error: BaseException) -> str:
    """Return the message for people, without secrets; a foreign error is named by its type."""
    if isinstance(error, SpuriousError | ClusterError | TimeLimit):
        return redact(str(error))
    return redact(f"{type(error).__name__}: {error}")
