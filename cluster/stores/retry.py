"""The one retry policy for stores: only what may pass by itself, bounded in tries and in time."""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable
from typing import TypeVar

import stamina
from stamina.instrumentation import RetryDetails, set_on_retry_hooks

from cluster.common.wording import count_of
from cluster.errors import ClusterError, StoreAway, Unavailable

TIMEOUT_VARIABLE = "SWEEPS_STORE_TIMEOUT_S"
"""Seconds for which an unavailable store is tried again; 0 means a single try. Default 90."""

_DEFAULT_TIMEOUT_S = 90.0  # outlasts a store that is down for a minute
_MOST_ATTEMPTS = 60

T = TypeVar("T")
_log = logging.getLogger(__name__)


def retry_timeout_s() -> float:
    """The bound from the environment, in seconds; ClusterError where it is not a number >= 0."""
    text = os.environ.get(TIMEOUT_VARIABLE, "")
    if not text:
        return _DEFAULT_TIMEOUT_S
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise ClusterError(f"{TIMEOUT_VARIABLE}={text!r}: expected a number of seconds, 0 or more")
    return seconds


def call_with_retries(call: Callable[[], T]) -> T:
    """Call, and call again after Unavailable with growing, jittered waits (0.2 s up to 5 s).

    Raises:
        StoreAway: at the bound, with the last cause, how often and for how long it was tried.
        Anything else that `call` raises, at once.
    """
    bound = retry_timeout_s()
    start = time.monotonic()
    tries = 0
    try:
        for attempt in stamina.retry_context(
            on=Unavailable,
            attempts=_MOST_ATTEMPTS if bound else 1,
            timeout=bound or None,
            wait_initial=0.2,
            wait_max=5.0,
            wait_jitter=0.5,
        ):
            with attempt:
                tries = attempt.num
                return call()
    except Unavailable as error:
        spent = time.monotonic() - start
        raise StoreAway(
            f"{error} (tried {count_of(tries, 'time')} in {spent:.0f} s). Check that the store "
            "runs and can be reached (AWS_ENDPOINT_URL_S3), then start again: what was stored "
            f"stays. {TIMEOUT_VARIABLE} (now {bound:g}) sets for how long it is tried"
        ) from error
    raise AssertionError("unreachable: the loop returns or raises")


def _log_retry(details: RetryDetails) -> None:
    _log.warning("%s; trying again in %.1f s", details.caused_by, details.wait_for)


set_on_retry_hooks([_log_retry])  # in place of stamina's own line, which leaves the cause out
