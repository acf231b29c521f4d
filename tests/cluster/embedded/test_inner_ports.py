"""No port of the store's server obeys or answers without a key, by the kernel's list of ports.

The same requests are sent to a server as it was started before, which obeys them.
"""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError
from port_probes import SEAWEED_GRPC, ask_grpc, ask_http, listeners, obeyed
from server_processes import server_of

from cluster.embedded import inner_tls, server
from cluster.embedded.inner_tls import (
    CERTIFICATE,
    KEY,
    closed_environment,
    find_open_ports,
    is_own_listener,
)
from cluster.embedded.seaweed import choose_ports, find_binary, inner_ports, server_command, sockets
from cluster.embedded.server import Endpoint, embedded_server
from cluster.errors import ServerError
from cluster.stores.s3_client import make_client

pytestmark = pytest.mark.timeout(180)
PRIVATE = {"Bucket": "sweeps", "Key": "private"}


def client_of(endpoint: Endpoint) -> Any:
    """A boto3 client with the endpoint's keys."""
    return make_client(
        endpoint_url=endpoint.url,
        aws_access_key_id=endpoint.access_key,
        aws_secret_access_key=endpoint.secret_key,
    )


def unix_sockets(pid: int) -> list[Path]:
    """Paths of a process's listening Unix sockets, by the kernel."""
    links = {os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir()}
    found = []
    for line in Path("/proc/net/unix").read_text().splitlines()[1:]:
        fields = line.split()
        if len(fields) == 8 and f"socket:[{fields[6]}]" in links and fields[3] == "00010000":
            found.append(Path(fields[7]))
    return found


def test_no_port_obeys_without_a_key(tmp_path: Path) -> None:
    """Every TCP port is on loopback and refuses every request; Unix sockets are the owner's."""
    with embedded_server(tmp_path) as endpoint:
        client = client_of(endpoint)
        client.put_object(**PRIVATE, Body=b"kept")
        pid = server_of(tmp_path)
        found = listeners({pid})
        assert len(found) == 8, found  # four parts, HTTP and gRPC
        assert all(listener.on_loopback for listener in found)
        authority = (tmp_path / CERTIFICATE).read_bytes()
        assert [request for each in found for request in obeyed(each.port, authority)] == []
        assert client.get_object(**PRIVATE)["Body"].read() == b"kept"
        paths = unix_sockets(pid)
        assert len(paths) == 6
        modes = {stat.S_IMODE((tmp_path / path).stat().st_mode) & 0o077 for path in paths}
        assert modes == {0}
        assert stat.S_IMODE((tmp_path / KEY).stat().st_mode) == 0o600


@pytest.fixture
def earlier_server(tmp_path: Path) -> Iterator[tuple[dict[str, int], Any]]:
    """A server as it was started before: signing keys and no TLS. Its ports, and a client."""
    (tmp_path / "data").mkdir()
    signing = {n: v for n, v in closed_environment(tmp_path).items() if n.startswith("WEED_JWT")}
    keys = {"AWS_ACCESS_KEY_ID": "earlier", "AWS_SECRET_ACCESS_KEY": "earlier-secret"}
    ports = choose_ports(None)
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            server_command(find_binary(), ports),
            env={"PATH": os.defpath, "HOME": str(tmp_path), **signing, **keys},
            stdout=log,
            stderr=log,
            cwd=tmp_path,
        )
    endpoint = Endpoint(f"http://127.0.0.1:{ports['s3']}", "sweeps", *keys.values())
    client = client_of(endpoint)
    try:
        deadline = time.monotonic() + 60
        while True:
            with suppress(ClientError, BotoCoreError):
                client.create_bucket(Bucket="sweeps")
            with suppress(ClientError, BotoCoreError):
                client.put_object(**PRIVATE, Body=b"x" * 1_000_000)
                break
            assert time.monotonic() < deadline, (tmp_path / "log").read_text()
            time.sleep(0.2)
        yield ports, client
    finally:
        process.kill()
        process.wait()
        for path in sockets(ports):
            (tmp_path / path).unlink(missing_ok=True)


def test_the_same_requests_destroy_a_server_without_certificates(
    earlier_server: tuple[dict[str, int], Any], tmp_path: Path
) -> None:
    """The probes see what they look for: 204 for a deletion, tokens, and gRPC that obeys."""
    ports, client = earlier_server
    assert sorted(find_open_ports(inner_ports(ports))) == sorted(inner_ports(ports))
    authority = (tmp_path / CERTIFICATE).read_bytes()
    assert len([each for each in listeners() if each.port in inner_ports(ports)]) == 7
    for name in ("volume", "filer", "master"):
        codes = ask_grpc(ports[name] + 10_000, SEAWEED_GRPC[:-1])
        assert "OK" in codes.values(), (name, codes)
    assert ask_http(ports["master"], ["GET /col/delete?collection=sweeps"]) == {
        "GET /col/delete?collection=sweeps": 204,
        "tls GET /col/delete?collection=sweeps": 0,
    }
    with pytest.raises(ClientError):
        client.get_object(**PRIVATE)["Body"].read()
    assert "GET /dir/status" in obeyed(ports["master"], authority)


def test_a_server_that_cannot_close_its_ports_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SeaweedFS without TLS, as it runs when it cannot read its certificate, is an error."""
    spoiled = (
        "import cluster.embedded.inner_tls as tls\ntls.closed_environment = lambda folder: {}\n"
    )
    (tmp_path / "sitecustomize.py").write_text(spoiled)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    home = tmp_path / "home"
    with (
        pytest.raises(ServerError, match=r"ports \[.*\] answer without a certificate: install"),
        embedded_server(home, grace_s=0),
    ):
        raise AssertionError("it was used")


def test_each_start_has_a_certificate_of_its_own(tmp_path: Path) -> None:
    """Files are the owner's alone, and replaced: what an earlier server had opens nothing."""
    first = closed_environment(tmp_path)
    one = (tmp_path / CERTIFICATE).read_bytes()
    (tmp_path / CERTIFICATE).chmod(0o644)
    second = closed_environment(tmp_path)
    assert one != (tmp_path / CERTIFICATE).read_bytes()
    assert first["WEED_JWT_SIGNING_KEY"] != second["WEED_JWT_SIGNING_KEY"]
    for name in (CERTIFICATE, KEY):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
    assert inner_tls.CERTIFICATE in second["WEED_GRPC_CA"]


def test_a_port_counts_as_closed_only_where_tls_is_demanded() -> None:
    """Nobody there and nothing said are no proof."""
    absent = choose_ports(None)["s3"]
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        assert find_open_ports([absent, port]) == [absent, port]
        assert is_own_listener(port)
    assert not is_own_listener(absent)


@pytest.mark.skipif(os.getuid() != 0, reason="acts as another user, which root alone can")
def test_another_users_server_gets_no_object() -> None:
    """Who takes the S3 port before the server does is not believed, whatever it answers."""
    code = (
        "import socket, sys\n"
        "server = socket.create_server(('127.0.0.1', int(sys.argv[1])))\n"
        "print('up', flush=True)\n"
        "while True:\n"
        "    client, _ = server.accept()\n"
        "    print(client.recv(100), flush=True)\n"
    )
    port = choose_ports(None)["s3"]
    with subprocess.Popen(
        ["/usr/bin/python3", "-c", code, str(port)], stdout=subprocess.PIPE, text=True, user=65534
    ) as other:
        try:
            assert other.stdout is not None
            assert other.stdout.readline() == "up\n"
            endpoint = Endpoint(f"http://127.0.0.1:{port}", "sweeps", "key", "secret")
            assert not server._prove(endpoint)
        finally:
            other.kill()
            assert other.communicate()[0] == ""
