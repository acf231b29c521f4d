"""Jobs for a running Ray cluster: what is asked of its Jobs API, and how it is reached.

Nothing here imports Ray, which reads its authentication mode when it is imported; the calls
themselves are in `cluster.jobs.ray_api`.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cluster.errors import ClusterError, Denied, Unavailable

TERMINAL = frozenset({"SUCCEEDED", "FAILED", "STOPPED"})
"""States of a job that has ended; Ray has PENDING and RUNNING besides."""

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_ID = re.compile(r"[a-z]([a-z0-9-]*[a-z0-9])?")
_LONGEST_ID = 47
"""What KubeRay takes as the name of a RayJob: it makes longer names of it."""

_SUFFIX_ROOM = 4
_HASH = 12
_NOTIFY, _LIMIT_OK = "--notify", "--limit-ok"
_DEFAULT_TOKEN = Path("~/.ray/auth_token")
_ADDRESS_VARIABLES = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")


@dataclass(frozen=True)
class Job:
    """A job as its cluster knows it.

    Attributes:
        id: The submission id.
        state: PENDING, RUNNING, SUCCEEDED, FAILED or STOPPED.
        entrypoint: Its command.
        metadata: What it was submitted with.
        message: Ray's own words on the state.
        exit_code: Exit code of the command, where it has ended by itself.
        started_ms: Unix time in milliseconds, 0 before the start.
    """

    id: str
    state: str
    entrypoint: str
    metadata: Mapping[str, str]
    message: str = ""
    exit_code: int | None = None
    started_ms: int = 0

    @property
    def live(self) -> bool:
        """Whether it waits or runs."""
        return self.state not in TERMINAL

    @property
    def status(self) -> int:
        """The exit status that stands for its outcome: its command's own, 130 where stopped."""
        if self.state == "SUCCEEDED":
            return 0
        if self.state == "STOPPED":
            return 130
        return self.exit_code if self.exit_code is not None and self.exit_code > 0 else 1


def job_id(prefix: str, name: str, digest: str) -> str:
    """A submission id that is also the name of a RayJob: DNS-1035, short enough for suffixes.

    Args:
        prefix: What kind of job, lower-case.
        name: Lower-case letters, digits and hyphens; cut where it is too long.
        digest: Hexadecimal; its first 12 digits keep ids apart.
    """
    space = _LONGEST_ID - _SUFFIX_ROOM - len(prefix) - _HASH - 2
    identifier = f"{prefix}-{name[:space].strip('-')}-{digest[:_HASH]}"
    if not _ID.fullmatch(identifier):
        raise ClusterError(
            f"'{identifier}' cannot be a job's id: expected lower-case letters, digits and hyphens"
        )
    return identifier


def add_number(base: str, number: int) -> str:
    """Return the id of the first, second, ... job of the same request: Ray takes each id once."""
    return base if number <= 1 else f"{base}-{number}"


def number_of(base: str, identifier: str) -> int | None:
    """Return which of `add_number(base, ...)` an id is, or None."""
    if identifier == base:
        return 1
    rest = identifier.removeprefix(f"{base}-")
    return int(rest) if rest != identifier and rest.isdecimal() else None


def job_request(
    submission_id: str,
    arguments: Sequence[str],
    metadata: Mapping[str, str],
) -> dict[str, Any]:
    """Return the whole request to Ray's Jobs API.

    The code is in the cluster's image, and credentials are in its environment: a request is shown
    on the dashboard, so its runtime environment is empty.

    Args:
        submission_id: See `job_id`.
        arguments: The command; it is quoted for the shell that Ray runs it in.
        metadata: Shown with the job.
    """
    return {
        "submission_id": submission_id,
        "entrypoint": shlex.join(arguments),
        "metadata": dict(metadata),
        "runtime_env": {},
        "entrypoint_num_cpus": 0,  # reserves nothing, so it runs on the head
        "entrypoint_num_gpus": 0,
    }


def same_work(entrypoint: str, other: str) -> bool:
    """Return whether two commands do the same: how they tell of their end does not count."""
    return _work(entrypoint) == _work(other)


def _work(entrypoint: str) -> list[str]:
    try:
        words = shlex.split(entrypoint)
    except ValueError:  # a stranger's, for another shell
        return [entrypoint]
    while _NOTIFY in words:
        at = words.index(_NOTIFY)
        del words[at : at + 2]
    return [word for word in words if word != _LIMIT_OK]


def api_address(endpoint: str | None) -> str | None:
    """Return the URL of the Jobs API: as given, else of Ray's own variables, else None.

    Raises:
        ClusterError: what was given is no HTTP address.
    """
    if endpoint is None:
        candidates = [os.environ.get(name, "") for name in _ADDRESS_VARIABLES]
        endpoint = next(
            (value for value in candidates if value.startswith(("http://", "https://"))), None
        )
        if endpoint is None:
            return None
    address = endpoint if "://" in endpoint else f"http://{endpoint}"
    try:
        parts = urlsplit(address)
        usable = parts.scheme in ("http", "https") and parts.hostname and (parts.port or 1) > 0
    except ValueError:
        usable = False
    if not usable or parts.query or parts.username:
        raise ClusterError(
            f"bad address '{endpoint}' of a Ray cluster: expected http://HOST:8265 or "
            "https://HOST[:PORT], where its dashboard is"
        )
    return address.rstrip("/")


def is_loopback(address: str) -> bool:
    """Return whether an address leads to this machine."""
    return urlsplit(address).hostname in LOOPBACK


def prepare_client() -> None:
    """Set Ray's authentication mode from what this user has, before Ray is imported.

    Ray's own default differs from version to version. A mode that is set is kept.

    Raises:
        Denied: token mode is requested without a token.
        Unavailable: Ray was imported before, so that it would not see the mode.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    token = _has_token()
    if "RAY_AUTH_MODE" not in os.environ:
        if "ray" in sys.modules:
            raise Unavailable("set RAY_AUTH_MODE before Ray is imported: Ray reads it only then")
        os.environ["RAY_AUTH_MODE"] = "token" if token else "disabled"
    if os.environ["RAY_AUTH_MODE"] == "token" and not token:
        raise Denied(f"RAY_AUTH_MODE=token without a token: {HOW_TO_AUTHENTICATE}")


HOW_TO_AUTHENTICATE = (
    "set RAY_AUTH_TOKEN_PATH to a file with the cluster's token, or RAY_AUTH_TOKEN to the token"
)


def _has_token() -> bool:
    if os.environ.get("RAY_AUTH_TOKEN"):
        return True
    named = os.environ.get("RAY_AUTH_TOKEN_PATH")
    path = Path(named) if named else _DEFAULT_TOKEN.expanduser()
    try:
        return bool(path.read_text().strip())
    except FileNotFoundError:
        if named:
            raise Denied(f"RAY_AUTH_TOKEN_PATH={named}: no such file") from None
        return False
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise Denied(f"the Ray token in {path} cannot be read ({reason})") from error


def extra_headers() -> dict[str, str]:
    """Headers for a proxy before the cluster, from RAY_JOB_HEADERS as Ray's own tools read it.

    Raises:
        ClusterError: it is no JSON object of texts; its value is not told, it may be a secret.
    """
    text = os.environ.get("RAY_JOB_HEADERS")
    if not text:
        return {}
    try:
        headers = json.loads(text)
    except ValueError:
        headers = None
    if not isinstance(headers, dict) or not all(isinstance(v, str) for v in headers.values()):
        raise ClusterError('RAY_JOB_HEADERS: expected a JSON object, {"HEADER": "VALUE"}')
    return headers


def authorities() -> str | bool:
    """Return the certificates that an https address is checked against, from REQUESTS_CA_BUNDLE.

    Raises:
        ClusterError: the file is missing.
    """
    path = os.environ.get("REQUESTS_CA_BUNDLE")
    if not path:
        return True
    if not Path(path).exists():
        raise ClusterError(f"REQUESTS_CA_BUNDLE={path}: no such file")
    return path
