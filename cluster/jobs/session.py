"""A Ray session: the cluster this process runs on, or a local one that ends with it."""

from __future__ import annotations

import logging
import os
import secrets
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from cluster.common.atomic import write_atomic
from cluster.common.cpus import count_usable_cpus
from cluster.errors import Unavailable
from cluster.jobs.control_store import end_without_ray
from cluster.jobs.local_processes import end_with_local_ray
from cluster.jobs.ray_internals import (
    LOOPBACK_VARIABLE,
    TEMPORARY_FOLDER,
    close_interfaces,
    keep_sigterm_handler,
    listens_on_loopback_only,
)
from cluster.jobs.session_folder import TOKEN, SessionFolder

_OBJECT_STORE_BYTES = 512 * 2**20
_OBJECT_STORE_PER_CPU = 64 * 2**20
"""Trials read memory-mapped files: Ray's object store carries what is being staged, and no more."""
_CONNECT_S = 10.0
_TOKEN_VARIABLE = "RAY_AUTH_TOKEN_PATH"  # noqa: S105 (its name)
_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_DEDUP_LOGS": "0",  # it takes lines of different trials for one
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_MAX_PENDING_TRIALS_PG": "16",  # enough for an autoscaler to see a demand
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",  # nothing is ever restored from Tune's own state
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # a sweep has one of its own, with checkpoints
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",  # a sweep tells them itself, one line each
}


@dataclass(frozen=True)
class Session:
    """What a user needs to find the session.

    Attributes:
        dashboard: URL of the Ray dashboard, or empty where there is none.
        token_file: File with the token that the dashboard asks for, or None.
        nodes: CPUs and GPUs of each node.
        folder: Ray's own folder of the session on this machine: logs, and what may end with them.
            A local session's is private and removed with it.
        may_grow: Whether nodes may come later, as an autoscaler brings them.
    """

    dashboard: str
    token_file: Path | None
    nodes: tuple[tuple[float, float], ...]
    folder: Path
    may_grow: bool = False


def on_cluster() -> bool:
    """Return whether the environment leads to a running cluster: no local session is started."""
    return os.environ.get("RAY_ADDRESS", "") not in ("", "local")


def prepare_environment() -> bool:
    """Set what Ray reads when it is imported or started; the user's own values win.

    Returns:
        Whether a local session needs a token, which no setting of the user's names.

    Raises:
        Unavailable: Ray was imported before, so that it would not see them.
    """
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    if on_cluster():
        return False
    close_interfaces()
    # Ray's own default differs from version to version, and with files in HOME
    if "ray" in sys.modules and "RAY_AUTH_MODE" not in os.environ:
        raise Unavailable("set RAY_AUTH_MODE before Ray is imported: Ray reads it only then")
    if os.environ.setdefault("RAY_AUTH_MODE", "token") != "token":
        return False
    return not {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & set(os.environ)


@contextmanager
def _token_of_session(folder: SessionFolder) -> Iterator[Path]:
    """A new token in the session's private folder, named to Ray while the block runs.

    Never one token for two sessions: processes of a session that ends may send theirs to a port
    that somebody else has taken over by then.
    """
    path = folder.path.parent / TOKEN
    write_atomic(path, secrets.token_hex(32).encode(), mode=0o600)
    os.environ[_TOKEN_VARIABLE] = str(path)
    try:
        yield path
    finally:
        del os.environ[_TOKEN_VARIABLE]
        path.unlink(missing_ok=True)


@contextmanager
def ray_session(
    job_name: str, cpus: int | None = None, *, keep_logs: bool = False
) -> Iterator[Session]:
    """Connect to the cluster in RAY_ADDRESS, else start Ray here; shut down on leaving.

    A local session listens on loopback alone, behind a token of its own. SIGTERM acts as Ctrl-C
    does. Logs of workers are shown where this process logs at INFO.

    Args:
        job_name: Shown with the job on the dashboard; names a local session's folder to
            `session_folder.find_sessions`.
        cpus: CPUs that a local session offers; by default all that this process may use.
        keep_logs: Leave a local session's folder, with Ray's logs, when it ends.

    Raises:
        Unavailable: Ray could not be started or reached.
    """
    needs_token = prepare_environment()
    import ray

    address = os.environ["RAY_ADDRESS"] if on_cluster() else "local"
    _check_address(address)
    if ray.is_initialized():
        raise Unavailable("this process has a Ray session already, and takes one at a time")
    with ExitStack() as ending:
        folder = None
        named = os.environ.get(_TOKEN_VARIABLE) if address == "local" else None
        token = Path(named) if named else None
        if address == "local":
            folder = _private_folder(keep_logs, job_name)
            ending.callback(folder.close)
            ending.enter_context(folder.short_temporary_folder())
            if needs_token:
                token = ending.enter_context(_token_of_session(folder))
        ending.enter_context(_name_lost_ray())
        ending.callback(ray.shutdown)  # before the start: an interrupted one leaves no process
        if folder is not None:
            ending.enter_context(end_with_local_ray(folder.path))
        ending.enter_context(_terminate_as_interrupt())
        with keep_sigterm_handler():
            context = _connect(address, job_name, cpus, folder)
        ending.enter_context(_end_without_ray(is_local=folder is not None))
        yield Session(
            dashboard=f"http://{context.dashboard_url}" if context.dashboard_url else "",
            token_file=token,
            nodes=_alive_nodes(),
            folder=Path(context.address_info["session_dir"]),
            may_grow=on_cluster(),
        )


def _alive_nodes() -> tuple[tuple[float, float], ...]:
    """CPUs and GPUs of every node that is alive."""
    import ray

    return tuple(
        (node["Resources"].get("CPU", 0.0), node["Resources"].get("GPU", 0.0))
        for node in ray.nodes()  # type: ignore[no-untyped-call]
        if node["Alive"]
    )


def _end_without_ray(*, is_local: bool) -> AbstractContextManager[None]:
    """Watch the control store of this process's session and the raylet of its node."""
    import ray

    context = ray.get_runtime_context()
    here = context.get_node_id()
    [node] = [n for n in ray.nodes() if n["NodeID"] == here]  # type: ignore[no-untyped-call]
    raylet = f"{node['NodeManagerAddress']}:{node['NodeManagerPort']}"
    return end_without_ray(context.gcs_address, raylet, is_local=is_local)


def _private_folder(keep: bool, name: str = "") -> SessionFolder:
    try:
        return SessionFolder(keep=keep, name=name)
    except OSError as error:
        raise Unavailable(
            f"Ray needs a temporary folder for its logs and sockets ({error}): set RAY_TMPDIR or "
            "TMPDIR to a folder that you can write, on a disk with space"
        ) from error


def _connect(address: str, job_name: str, cpus: int | None, folder: SessionFolder | None) -> Any:
    """Ray's context of a new local session in a folder, or of the cluster at an address."""
    import ray

    number = count_usable_cpus() if cpus is None else cpus
    local: dict[str, Any] = {
        TEMPORARY_FOLDER: None if folder is None else str(folder.path),
        "num_cpus": number,
        "include_dashboard": True,
        "dashboard_host": "127.0.0.1",
        "object_store_memory": max(_OBJECT_STORE_BYTES, number * _OBJECT_STORE_PER_CPU),
    }
    try:
        context = ray.init(
            address=address,
            # a submitted driver's log is where people look for their trials' lines
            log_to_driver=on_cluster() or logging.getLogger().isEnabledFor(logging.INFO),
            logging_level=logging.WARNING,
            job_config=ray.job_config.JobConfig(metadata={"sweep": job_name}),
            **({} if folder is None else local),
        )
    except Exception as error:  # what a process of Ray's could not do comes as this very class
        if folder is not None:
            folder.keep = True
            raise Unavailable(
                f"Ray could not be started on this machine: {_ends_of(error)}; its logs are in "
                f"{folder.path}"
            ) from error
        raise Unavailable(
            f"the Ray cluster at {address} cannot be used ({error}): check RAY_ADDRESS and the "
            "cluster's token (RAY_AUTH_MODE=token, RAY_AUTH_TOKEN_PATH)"
        ) from error
    if folder is not None and not listens_on_loopback_only():
        raise Unavailable(
            f"Ray listens on every interface of this machine: set {LOOPBACK_VARIABLE}=0 before "
            "Ray is imported"
        )
    return context


def _ends_of(error: Exception) -> str:
    """Return the first and the last line of an error; Ray puts lines of its logs between them."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ... ".join(dict.fromkeys([*lines[:1], *lines[-1:]])) or type(error).__name__


def _check_address(address: str) -> None:
    """Refuse an address that leads nowhere: Ray itself would try for minutes."""
    if "://" in address:
        raise Unavailable(
            f"RAY_ADDRESS={address}: expected HOST:PORT of the cluster's head, from a process on "
            "the cluster; from elsewhere submit the command as a Ray job"
        )
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdigit():
        return  # `local` or `auto`
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_S).close()
    except (OSError, OverflowError) as error:
        raise Unavailable(
            f"no Ray cluster at RAY_ADDRESS={address} ({error}): correct it, or unset it to run on "
            "this machine"
        ) from error


@contextmanager
def _name_lost_ray() -> Iterator[None]:
    """Turn what Ray raises where its own processes died into an error that says what to do."""
    import ray

    try:
        yield
    except ray.exceptions.RayTaskError:  # what a task raised, with its traceback
        raise
    except ray.exceptions.RayError as error:
        raise Unavailable(
            f"Ray failed ({str(error).splitlines()[0] if str(error) else type(error).__name__}): "
            "one of its processes was killed or ran out of memory; run the command again"
        ) from error


@contextmanager
def _terminate_as_interrupt() -> Iterator[None]:
    """SIGTERM ends the block as Ctrl-C does: Ray's own handler would abort the process."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        handler = signal.getsignal(signal.SIGINT)
        if not callable(handler):  # a shell's background job ignores SIGINT
            raise KeyboardInterrupt
        handler(signal.SIGINT, frame)

    if threading.current_thread() is not threading.main_thread():  # only that one has handlers
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
