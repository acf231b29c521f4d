"""Post one JSON line about a run to a URL of the user's: at its end, and at a stop by a limit.

The URL may be a secret as a whole (webhooks have theirs in the path), so messages name its scheme
and host alone. A post that fails is a warning: it changes neither results nor the exit status.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

from cluster.common.redaction import REDACTED, redact
from cluster.jobs.requests import authorities
from sweeps.errors import SweepError

NOTIFY_VARIABLE = "SWEEPS_NOTIFY"
"""Where to post when the command does not say: the place for a URL that is a secret."""

BOUND_S = 10.0
"""Seconds for the whole post: a server that answers byte by byte is left, too."""

_SHORTEST = 6
"""Shorter parts of a URL are words that would garble a message."""
_log = logging.getLogger(__name__)

Status = Literal["done", "failed", "interrupted", "error", "limit"]


@dataclass(frozen=True)
class Event:
    """What is posted; a golden test holds its fields.

    Attributes:
        event: `end`, or `limit` where a limit of the sweep stopped it.
        sweep: Name of the sweep.
        status: `done`, `failed` (trials failed), `interrupted`, `error` (the command could not go
            on), or `limit`.
        exit_status: The command's; null where it goes on.
        trials: Trials of the sweep; null, as the next three, where the command ended before it
            knew them.
        done: Trials with a result.
        failed: Trials without a result of which an attempt failed.
        missing: All other trials.
        seconds: Wall-clock seconds of the command so far.
        failures: Failed attempts of trials without a result, by class.
        message: The error, or which limit; empty otherwise.
    """

    event: Literal["end", "limit"]
    sweep: str
    status: Status
    exit_status: int | None = None
    trials: int | None = None
    done: int | None = None
    failed: int | None = None
    missing: int | None = None
    seconds: float = 0.0
    failures: Mapping[str, int] = field(default_factory=dict)
    message: str = ""


def choose_notify_url(option: str | None) -> str | None:
    """Choose where to post: the URL of --notify, else $SWEEPS_NOTIFY, else None.

    Raises:
        SweepError: it is not a URL that can be posted to.
    """
    if option is not None:
        return check_notify_url(option, "--notify")
    named = os.environ.get(NOTIFY_VARIABLE)
    return check_notify_url(named, NOTIFY_VARIABLE) if named else None


def check_notify_url(url: str, origin: str) -> str:
    """Return a URL that can be posted to; the message of a bad one does not repeat it.

    Raises:
        SweepError: it is not an http or https URL with a host.
    """
    wrong = f"{origin}: expected http://HOST[:PORT]/PATH or https://HOST[:PORT]/PATH"
    if not url.isascii() or not url.isprintable() or " " in url:
        raise SweepError(f"{wrong} without spaces; write other characters as %XX")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise SweepError(f"{wrong}; its host or port cannot be read") from None
    if parts.scheme not in ("http", "https"):
        scheme = f"the scheme is '{parts.scheme}'" if "://" in url else "it has no http://"
        raise SweepError(f"{wrong}; {scheme}")
    if not host or port == 0:
        raise SweepError(f"{wrong}; {'its port is 0' if host else 'it names no host'}")
    return url


def has_password(url: str) -> bool:
    """Return whether a URL has a user name or password before its host."""
    return "@" in urlsplit(url).netloc


def name_of(url: str) -> str:
    """Return scheme, host and port of a URL: what may be shown of it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def notify(url: str | None, event: Event) -> bool:
    """Post an event within a bounded time; without a URL do nothing.

    Returns:
        Whether it was taken. Where it was not, a warning has been logged.
    """
    if url is None:
        return False
    reasons: list[str] = []

    def work() -> None:
        try:
            _post(url, encode_event(event))
            reasons.append("")
        except Exception as error:  # noqa: BLE001 (whatever it is, the run is over and well)
            reasons.append(_describe(error, url))

    thread = threading.Thread(target=work, name="notify", daemon=True)
    thread.start()
    thread.join(BOUND_S)
    reason = reasons[0] if reasons else f"no answer within {BOUND_S:g} s"
    if reason:
        _log.warning("%s was not notified of sweep '%s': %s", name_of(url), event.sweep, reason)
    return not reason


def encode_event(event: Event) -> bytes:
    """Return an event as one line of JSON without the secrets of this process."""
    return redact(json.dumps(asdict(event), allow_nan=False)).encode() + b"\n"


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Leaves a redirect an error: following it would turn the POST into a GET."""

    def redirect_request(self, *arguments: Any, **named: Any) -> None:
        """Follow nothing."""


def _post(url: str, body: bytes) -> None:
    parts = urlsplit(url)
    headers = {"Content-Type": "application/json", "User-Agent": "spurious-sweeps"}
    if "@" in parts.netloc:  # which urllib would take for a part of the host's name
        user = unquote(parts.netloc.rpartition("@")[0])
        headers["Authorization"] = f"Basic {base64.b64encode(user.encode()).decode()}"
    bare = SplitResult(parts.scheme, parts.netloc.rpartition("@")[2], parts.path, parts.query, "")
    request = urllib.request.Request(urlunsplit(bare), body, headers, method="POST")  # noqa: S310
    bundle = authorities()
    trusted = ssl.create_default_context(cafile=bundle if isinstance(bundle, str) else None)
    https = urllib.request.HTTPSHandler(context=trusted)
    opener = urllib.request.build_opener(_NoRedirects, https)
    with opener.open(request, timeout=BOUND_S):  # what it answers does not matter
        pass


def _describe(error: Exception, url: str) -> str:
    """Describe why a post failed, without any part of the URL that may be a secret."""
    if isinstance(error, urllib.error.HTTPError):
        hint = "; give the address that it redirects to" if 300 <= error.code < 400 else ""
        return f"it answered {error.code}{hint}"
    reason = getattr(error, "reason", error)
    text = " ".join(str(reason).split()) or type(error).__name__
    parts = urlsplit(url)
    for secret in (url, parts.netloc.rpartition("@")[0], parts.path.strip("/"), parts.query):
        text = text.replace(secret, REDACTED) if len(secret) >= _SHORTEST else text
    return redact(text)
