"""Ask listening ports, without a key, for what only the holder of a key may have.

Ports come from the kernel and not from what the servers were told. Needs the standard library and
grpc alone, so that it also runs in a container: `python - seaweed < port_probes.py`, which prints
one JSON object a port.
"""

from __future__ import annotations

import ipaddress
import json
import os
import ssl
import sys
import urllib.error
import urllib.request
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

import grpc

SEAWEED_HTTP = (
    *("GET /dir/assign?collection=sweeps", "GET /dir/lookup?volumeId=1", "GET /dir/status"),
    *("GET /vol/vacuum", "GET /vol/status", "GET /vol/grow?count=1&collection=sweeps"),
    *("POST /submit", "GET /cluster/status", "GET /ui/index.html", "GET /", "GET /stats/counter"),
    *("GET /collection/info?collection=sweeps", "GET /buckets/sweeps/private", "GET /metrics"),
    *("DELETE /buckets/sweeps/private", "PUT /buckets/sweeps/new", "GET /debug/pprof/"),
    *("GET /1,0123456789", "DELETE /1,0123456789", "GET /col/delete?collection=sweeps"),
)
"""The destroying one is the last: an answer to it leaves nothing to ask for."""
SEAWEED_GRPC = (
    *(f"/master_pb.Seaweed/{name}" for name in ("Assign", "LookupVolume", "VolumeList")),
    *(f"/master_pb.Seaweed/{name}" for name in ("Statistics", "CollectionList", "VacuumVolume")),
    *(f"/filer_pb.SeaweedFiler/{name}" for name in ("ListEntries", "GetFilerConfiguration")),
    *(f"/filer_pb.SeaweedFiler/{name}" for name in ("DeleteEntry", "AssignVolume", "Statistics")),
    *(f"/volume_server_pb.VolumeServer/{name}" for name in ("VolumeServerStatus", "BatchDelete")),
    *(
        "/volume_server_pb.VolumeServer/DeleteCollection",
        "/messaging_pb.SeaweedS3IamCache/PutIdentity",
    ),
    "/master_pb.Seaweed/CollectionDelete",
)
RAY_HTTP = (
    *("GET /api/version", "GET /api/jobs/", "POST /api/jobs/", "GET /api/v0/actors?detail=1"),
    *("GET /api/v0/runtime_envs", "GET /api/v0/logs", "GET /nodes?view=summary", "GET /metrics"),
    *("GET /api/job_agent/jobs/", "POST /api/job_agent/jobs/", "POST /get_or_create_runtime_env"),
    "GET /logs/",
)
RAY_GRPC = (
    *(f"/ray.rpc.NodeInfoGcsService/{name}" for name in ("GetAllNodeInfo", "DrainNode")),
    *(f"/ray.rpc.InternalKVGcsService/InternalKV{name}" for name in ("Keys", "Get", "Put", "Del")),
    *("/ray.rpc.JobInfoGcsService/GetAllJobInfo", "/ray.rpc.ActorInfoGcsService/GetAllActorInfo"),
    *(f"/ray.rpc.NodeManagerService/{name}" for name in ("GetSystemConfig", "GetNodeStats")),
    *("/ray.rpc.NodeManagerService/ShutdownRaylet", "/ray.rpc.ObjectManagerService/Pull"),
    *(f"/ray.rpc.CoreWorkerService/{name}" for name in ("PushTask", "GetCoreWorkerStats", "Exit")),
    *("/ray.rpc.ReporterService/HealthCheck", "/ray.rpc.ReporterService/GetTraceback"),
    *(f"/ray.rpc.RayletDriver/{name}" for name in ("Init", "ClusterInfo", "KVList", "Schedule")),
)
TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Listener:
    """A TCP socket that accepts connections."""

    address: str
    port: int
    pid: int
    command: str

    @property
    def on_loopback(self) -> bool:
        """Whether only this machine reaches it."""
        return ipaddress.ip_address(self.address).is_loopback


def host_of(listener: Listener) -> str:
    """Where to ask a listener from its own machine."""
    address = ipaddress.ip_address(listener.address)
    return "127.0.0.1" if address.is_unspecified else listener.address


def listeners(pids: Collection[int] | None = None) -> list[Listener]:
    """TCP sockets that processes listen at, by the kernel: of some, or of all in sight."""
    sockets = _listening_sockets()
    entries = [e for e in Path("/proc").iterdir() if e.name.isdigit()]
    found = set()
    for entry in entries:
        if pids is not None and int(entry.name) not in pids:
            continue
        with suppress(OSError):  # it ended while we looked
            for link in _links(entry / "fd"):
                if link in sockets:
                    address, port = sockets[link]
                    command = " ".join(commands_of([int(entry.name)]))
                    found.add(Listener(address, port, int(entry.name), command))
    return sorted(found, key=lambda listener: (listener.port, listener.address))


def commands_of(pids: Iterable[int]) -> list[str]:
    """Command lines of processes that still run, arguments joined by blanks."""
    found = []
    for pid in pids:
        with suppress(OSError):
            text = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ")
            found.append(text.decode(errors="replace").strip())
    return found


def descendants(pid: int) -> set[int]:
    """A process and all that it started, and those in turn, that still run."""
    parents = {}
    for entry in Path("/proc").iterdir():
        with suppress(OSError):  # it ended while we looked
            if entry.name.isdigit():
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                parents[int(entry.name)] = int(fields[1])
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def _links(folder: Path) -> set[str]:
    found = set()
    for file in folder.iterdir():
        with suppress(OSError):
            found.add(os.readlink(file))
    return found


def _listening_sockets() -> dict[str, tuple[str, int]]:
    """`socket:[INODE]` to address and port."""
    found = {}
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] != "0A":  # LISTEN
                continue
            text, port = fields[1].split(":")
            words = [bytes.fromhex(text[at : at + 8])[::-1] for at in range(0, len(text), 8)]
            address = ipaddress.ip_address(b"".join(words))
            mapped = getattr(address, "ipv4_mapped", None)
            found[f"socket:[{fields[9]}]"] = (str(mapped or address), int(port, 16))
    return found


def ask_http(port: int, requests: Iterable[str], host: str = "127.0.0.1") -> dict[str, int]:
    """Status by request, over plain HTTP and, marked by `tls `, over TLS without a certificate.

    0 where no HTTP answer came.
    """
    anybody = ssl.create_default_context()
    anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE
    found = {}
    for request in requests:
        method, path = request.split(" ", 1)
        for mark, scheme in (("", "http"), ("tls ", "https")):
            asked = urllib.request.Request(
                f"{scheme}://{host}:{port:d}{path}",
                data=b"{}" if method in ("POST", "PUT") else None,
                method=method,
            )
            try:
                with urllib.request.urlopen(asked, timeout=TIMEOUT_S, context=anybody) as answer:
                    found[mark + request] = int(answer.status)
            except urllib.error.HTTPError as error:
                found[mark + request] = error.code
            except (OSError, HTTPException):  # refused, or what came was no HTTP
                found[mark + request] = 0
    return found


def ask_grpc(
    port: int,
    methods: Iterable[str],
    token: str = "",
    authority: bytes | None = None,
    host: str = "127.0.0.1",
) -> dict[str, str]:
    """Status code's name by method, for an empty request.

    Args:
        port: the TCP port.
        methods: /package.Service/Method.
        token: Ray's, sent where it is given.
        authority: a certificate to trust: then TLS without a certificate of our own.
        host: address of the port.
    """
    target = f"{host}:{port:d}"
    if authority is None:
        channel = grpc.insecure_channel(target)
    else:
        channel = grpc.secure_channel(target, grpc.ssl_channel_credentials(authority))
    metadata = [("authorization", f"Bearer {token}")] if token else []
    found = {}
    with channel:
        for method in methods:
            call: Any = channel.unary_unary(method)
            try:
                call(b"", timeout=TIMEOUT_S, metadata=metadata)
                found[method] = "OK"
            except grpc.RpcError as error:
                found[method] = error.code().name
            if found[method] == "UNAVAILABLE":  # it speaks no gRPC to us: no method differs
                break
    return found


def obeyed(port: int, authority: bytes | None = None) -> list[str]:
    """What a port of SeaweedFS did without a key: HTTP answers below 400, gRPC calls that arrived.

    An inner port gives no HTTP answer but that of a TLS server to plain HTTP, 400.

    Args:
        port: of 127.0.0.1.
        authority: the server's certificate, which is tried as a stranger's authority, too.
    """
    http = ask_http(port, SEAWEED_HTTP)
    found = [request for request, status in http.items() if status not in (0, 400, 403, 405)]
    for trusted in (None,) if authority is None else (None, authority):
        codes = ask_grpc(port, SEAWEED_GRPC, authority=trusted)
        found += [method for method, code in codes.items() if code != "UNAVAILABLE"]
    return found


def is_exporter(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a port serves metrics for Prometheus and nothing else."""
    with suppress(OSError, HTTPException):
        for path in ("/metrics", "/anything"):
            with urllib.request.urlopen(f"http://{host}:{port:d}{path}", timeout=30) as answer:
                if not answer.read(200).startswith((b"# HELP", b"# TYPE")):
                    return False
        return True
    return False


def main() -> None:
    """Ask every port of this machine or container, as SeaweedFS or as Ray."""
    kind = sys.argv[1]
    http, methods = (SEAWEED_HTTP, SEAWEED_GRPC) if kind == "seaweed" else (RAY_HTTP, RAY_GRPC)
    for listener in listeners():
        port, host = listener.port, host_of(listener)
        answers = {"http": ask_http(port, http, host), "grpc": ask_grpc(port, methods, host=host)}
        print(json.dumps({**asdict(listener), **answers, "exporter": is_exporter(port, host)}))


if __name__ == "__main__":
    main()
