"""A Ray cluster of one node on this machine, behind a token, as processes of their own."""

from __future__ import annotations

import datetime
import ipaddress
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from free_ports import free_ports
from tiny_sweeps import ROOT, TEXT, Place, made_place

TOKEN = "0123456789abcdef" * 4
_PROGRAMS = Path(sys.executable).parent
_UNSET = ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN")


@dataclass(frozen=True)
class ClusterHere:
    """The cluster, and the user who submits to it.

    Attributes:
        address: Of its dashboard and Jobs API.
        user: Where `sweeps` runs with a token and nothing else that leads to the cluster.
        secrets: What must be written and shown nowhere.
        logs: Folder of the cluster's own logs.
        pid: Process that started everything else of it.
        gcs: Where further nodes join.
        place: Where its processes run.
    """

    address: str
    user: Place
    secrets: Mapping[str, str]
    logs: Path
    pid: int
    gcs: str
    place: Place

    def add_node(self, cpus: int) -> subprocess.Popen[bytes]:
        """Start `ray start` of a further node, which runs until it is told to end."""
        agent, metrics = free_ports(2)
        arguments = [
            *("start", f"--address={self.gcs}", "--block", f"--num-cpus={cpus}"),
            *("--node-ip-address=127.0.0.1", "--object-store-memory=100000000"),
            *(f"--dashboard-agent-listen-port={agent}", f"--metrics-export-port={metrics}"),
        ]
        return _start_ray(self.place, arguments)


@contextmanager
def cluster_here(
    folder: Path, store: Mapping[str, str], cpus: int = 2, **more: str
) -> Iterator[ClusterHere]:
    """Start a head, whose environment leads to a store; ended by its own ids.

    Args:
        folder: For the user's files.
        store: AWS_* variables of the cluster and of the user.
        cpus: CPUs of the head.
        more: Variables of the cluster alone.
    """
    settings = {
        **store,
        "PATH": f"{_PROGRAMS}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "HOME": str(folder),
        "SWEEPS_CACHE": str(folder / "cache"),
    }
    ray = {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": TOKEN,
        "RAY_JOB_STOP_SIGNAL": "SIGINT",
        "RAY_JOB_STOP_WAIT_TIME_S": "60",
    }
    with made_place(folder, **settings, **ray, **more) as place:
        address, pid, gcs = _started(place, cpus)
        (folder / "token").write_text(TOKEN)
        user = Place(folder, place.temporary, **settings)
        for name in _UNSET:
            user.environment.pop(name, None)
        user.environment["RAY_AUTH_TOKEN_PATH"] = str(folder / "token")
        keys = {name: value for name, value in store.items() if "KEY" in name}
        yield ClusterHere(
            address, user, {"Ray token": TOKEN, **keys}, place.temporary, pid, gcs, place
        )


def _start_ray(place: Place, arguments: Sequence[str]) -> subprocess.Popen[bytes]:
    """Start `ray` in a place, in a session of its own; what it says goes to the place's log."""
    with (place.folder / "ray.log").open("ab") as output:
        return subprocess.Popen(
            [f"{_PROGRAMS}/ray", *arguments],
            cwd=place.folder,
            env=place.environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _started(place: Place, cpus: int) -> tuple[str, int, str]:
    """Dashboard's address, process and GCS of a head started in a place, on other ports if need be.

    `ray start` ends, or goes on without a dashboard, where another process of this machine took a
    port meanwhile.
    """
    for attempt in range(3):
        port, dashboard, agent, metrics, client = free_ports(5)
        arguments = [
            *("start", "--head", "--block", f"--num-cpus={cpus}"),
            *("--object-store-memory=100000000", f"--temp-dir={place.temporary}/r{attempt}"),
            *("--node-ip-address=127.0.0.1", f"--port={port}", "--dashboard-host=127.0.0.1"),
            *(f"--dashboard-port={dashboard}", f"--dashboard-agent-listen-port={agent}"),
            *(f"--metrics-export-port={metrics}", f"--ray-client-server-port={client}"),
            *("--disable-usage-stats", "--include-dashboard=true"),
        ]
        process = _start_ray(place, arguments)
        address = f"http://127.0.0.1:{dashboard}"
        if _asks_for_a_token(address, process):
            return address, process.pid, f"127.0.0.1:{port}"
        place.kill()
    raise AssertionError(
        f"no Ray cluster after three tries:\n{(place.folder / 'ray.log').read_text()}"
    )


def _asks_for_a_token(address: str, process: subprocess.Popen[bytes]) -> bool:
    """Wait for the Jobs API; False once `ray start` ended, or after 80 seconds."""
    deadline = time.monotonic() + 80
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(f"{address}/api/version", timeout=5)
        except urllib.error.HTTPError as error:
            if error.code == 401:
                return True
        except OSError:
            pass
        time.sleep(0.2)
    return False


def spec_text(name: str) -> str:
    """The tiny sweep under another name, so that tests do not meet each other's jobs."""
    return TEXT.replace("name: tiny", f"name: {name}", 1)


@contextmanager
def behind_tls(address: str, folder: Path) -> Iterator[tuple[str, Path]]:
    """An https address on loopback that leads to an http one, and its certificate's file."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(_certificate(folder))
    target = int(address.rpartition(":")[2])
    listener = socket.create_server(("127.0.0.1", 0))

    def forward(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def accept() -> None:
        with suppress(OSError):  # the listener was closed
            while True:
                plain, _ = listener.accept()
                try:
                    near = context.wrap_socket(plain, server_side=True)
                except OSError:  # a client that does not trust us
                    continue
                far = socket.create_connection(("127.0.0.1", target))
                for ends in ((near, far), (far, near)):
                    threading.Thread(target=forward, args=ends, daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"https://127.0.0.1:{listener.getsockname()[1]}", folder / "ca.pem"
    finally:
        listener.close()


def _certificate(folder: Path) -> Path:
    """Write a self-signed certificate of 127.0.0.1 (ca.pem), and it with its key (both.pem)."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate = made.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (folder / "ca.pem").write_bytes(certificate)
    (folder / "both.pem").write_bytes(certificate + private)
    return folder / "both.pem"
