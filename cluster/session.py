"""A Ray session: the cluster this process runs on, or a local one that ends with it."""

from __future__ import annotations

import logging
import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cluster.errors import Unavailable

_OBJECT_STORE_BYTES = 256 * 2**20
"""Trials read memory-mapped files, so Ray's object store carries next to nothing."""


@dataclass(frozen=True)
class Session:
    """What a user needs to find the session.

    Attributes:
        dashboard: URL of the Ray dashboard, or empty where there is none.
        token_file: File with the token that the dashboard asks for, or None.
        cpus: CPUs of the whole session.
        gpus: GPUs of the whole session.
    """

    dashboard: str
    token_file: Path | None
    cpus: float
    gpus: float


def ensure_token(path: Path) -> Path:
    """The file with this user's Ray token (0600), made on first use."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_hex(32))
    return path


def prepare_environment(home: Path) -> Path | None:
    """Settings that Ray reads when it is imported or started; the user's own values win.

    Returns:
        The token file of a local session, or None where the user's settings name no file.

    Raises:
        Unavailable: Ray was imported before, so that it would not see them.
    """
    if "RAY_ADDRESS" in os.environ:
        return None
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    # Ray's own default differs from version to version, and with files in HOME
    if "ray" in sys.modules and "RAY_AUTH_MODE" not in os.environ:
        raise Unavailable("set RAY_AUTH_MODE before Ray is imported: Ray reads it only then")
    if os.environ.setdefault("RAY_AUTH_MODE", "token") != "token":
        return None
    if "RAY_AUTH_TOKEN" in os.environ:
        return None
    token = ensure_token(home / "ray_auth_token")
    path = os.environ.setdefault("RAY_AUTH_TOKEN_PATH", str(token))
    return Path(path)


@contextmanager
def ray_session(home: Path, job_name: str, cpus: int | None = None) -> Iterator[Session]:
    """Connect to the cluster in RAY_ADDRESS, else start Ray here; shut down on leaving.

    Args:
        home: Folder for the local session's token.
        job_name: Shown with the job on the dashboard.
        cpus: CPUs that a local session offers; all of this machine's by default.

    Raises:
        Unavailable: Ray could not be started or reached.
    """
    on_cluster = "RAY_ADDRESS" in os.environ
    token = prepare_environment(home)
    import ray

    metadata = {"sweep": job_name}
    try:
        if on_cluster:
            context = ray.init(log_to_driver=False)
        else:
            context = ray.init(
                address="local",
                num_cpus=cpus,
                include_dashboard=True,
                dashboard_host="127.0.0.1",
                object_store_memory=_OBJECT_STORE_BYTES,
                log_to_driver=False,
                logging_level=logging.WARNING,
                job_config=ray.job_config.JobConfig(metadata=metadata),
            )
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        where = os.environ.get("RAY_ADDRESS", "this machine")
        raise Unavailable(f"Ray could not be started or reached on {where}: {error}") from error
    try:
        resources = ray.cluster_resources()  # type: ignore[no-untyped-call]
        url = context.dashboard_url
        yield Session(
            dashboard=f"http://{url}" if url else "",
            token_file=token,
            cpus=float(resources.get("CPU", 0.0)),
            gpus=float(resources.get("GPU", 0.0)),
        )
    finally:
        ray.shutdown()
