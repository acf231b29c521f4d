"""What closing the inner ports of SeaweedFS costs: start-up and throughput, with and without.

Both servers run at once and take turns, since machines are noisy. Prints medians and what answers
a client without a certificate.
"""

from __future__ import annotations

import json
import os
import secrets
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from cluster.embedded.inner_tls import closed_environment, find_open_ports
from cluster.embedded.seaweed import choose_ports, find_binary, inner_ports, server_command, sockets
from cluster.stores.s3_client import make_client

STARTS = 5
TURNS = 15
LARGE, SMALL = 20_000_000, 1_000
SMALL_OBJECTS = 100


class Server:
    """A server in a temporary folder, with TLS or with signing keys alone."""

    def __init__(self, *, tls: bool) -> None:
        """Start it, and note the seconds until an object was stored."""
        self.folder = tempfile.TemporaryDirectory()
        home = Path(self.folder.name)
        (home / "data").mkdir()
        pair = {"accessKey": "bench", "secretKey": secrets.token_urlsafe(30)}
        owner = {"name": "bench", "credentials": [pair], "actions": ["Admin", "Read", "Write"]}
        (home / "keys.json").write_text(json.dumps({"identities": [owner]}))
        self.ports = choose_ports(None)
        began = time.perf_counter()
        settings = closed_environment(home)
        if not tls:
            settings = {n: v for n, v in settings.items() if n.startswith("WEED_JWT")}
        self.process = subprocess.Popen(
            [*server_command(find_binary(), self.ports), "-s3.config=keys.json"],
            cwd=home,
            env={"PATH": os.defpath, "HOME": str(home), **settings},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.client: Any = make_client(
            endpoint_url=f"http://127.0.0.1:{self.ports['s3']}",
            aws_access_key_id=pair["accessKey"],
            aws_secret_access_key=pair["secretKey"],
            region_name="us-east-1",
        )
        while not self._ready():
            if time.perf_counter() > began + 60:
                self.end()
                raise TimeoutError("the server does not start")
            time.sleep(0.02)
        self.start_s = time.perf_counter() - began
        self.open = find_open_ports(inner_ports(self.ports))

    def _ready(self) -> bool:
        with suppress(ClientError, BotoCoreError):
            self.client.create_bucket(Bucket="bench")
        with suppress(ClientError, BotoCoreError):
            self.client.put_object(Bucket="bench", Key="first", Body=b"x")
            return True
        return False

    def put(self, size: int, number: int) -> None:
        """Store objects of a size."""
        body = os.urandom(size)
        for index in range(number):
            self.client.put_object(Bucket="bench", Key=f"{size}/{index}", Body=body)

    def get(self, size: int, number: int) -> None:
        """Read them back."""
        for index in range(number):
            self.client.get_object(Bucket="bench", Key=f"{size}/{index}")["Body"].read()

    def end(self) -> None:
        """Kill it, and remove what it left."""
        self.process.kill()
        self.process.wait()
        for path in sockets(self.ports):
            Path(self.folder.name, path).unlink(missing_ok=True)
        self.folder.cleanup()


def seconds(call: Callable[[], None]) -> float:
    """How long a call took."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def main() -> None:
    """Print a table."""
    kinds = {"signing keys alone": False, "mutual TLS": True}
    starts: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(STARTS):
        for name, tls in kinds.items():
            server = Server(tls=tls)
            server.end()
            starts[name].append(server.start_s)
    servers = {name: Server(tls=tls) for name, tls in kinds.items()}
    units = {
        "put 20 MB, MB/s": (lambda s: s.put(LARGE, 1), LARGE / 1e6),
        "get 20 MB, MB/s": (lambda s: s.get(LARGE, 1), LARGE / 1e6),
        "put 1 kB, objects/s": (lambda s: s.put(SMALL, SMALL_OBJECTS), SMALL_OBJECTS),
        "get 1 kB, objects/s": (lambda s: s.get(SMALL, SMALL_OBJECTS), SMALL_OBJECTS),
    }
    try:
        print(f"{'':22}" + "".join(f"{name:>22}" for name in kinds))
        print(
            f"{'start, s':22}" + "".join(f"{statistics.median(s):22.2f}" for s in starts.values())
        )
        for what, (call, amount) in units.items():
            took: dict[str, list[float]] = {name: [] for name in kinds}
            for _ in range(TURNS):
                for name, server in servers.items():
                    took[name].append(seconds(lambda s=server, c=call: c(s)))
            rates = [amount / statistics.median(values) for values in took.values()]
            print(f"{what:22}" + "".join(f"{rate:22.0f}" for rate in rates))
        print(f"{'inner ports open':22}" + "".join(f"{len(s.open):22}" for s in servers.values()))
    finally:
        for server in servers.values():
            server.end()


if __name__ == "__main__":
    main()
