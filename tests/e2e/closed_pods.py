"""What a pod lets out: its files, its processes' arguments, and its ports without a key."""

from __future__ import annotations

import json
from pathlib import Path

import port_probes
from e2e_cluster import WORKERS
from leaks import GRPC_REFUSED, HTTP_REFUSED, Secrets
from podman_here import Podman

PODS = ("head", *WORKERS, "store")
EXPORTERS = {8080, 44217, 44227}
"""Ports of metrics, which a network policy opens to monitoring alone."""
_ARGUMENTS = """
import pathlib
for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
    print(path.read_bytes().decode("latin-1"))
"""
_FILES = """
import pathlib, sys
found = [path for folder in ("/tmp", "/home") for path in pathlib.Path(folder).rglob("*")]
files = [path for path in found if path.is_file() and not path.is_symlink()]
for path in files:
    if any(secret.encode() in path.read_bytes() for secret in sys.argv[1:]):
        print(path)
print(len(files))
"""


def arguments_in(podman: Podman, name: str) -> str:
    """Command lines of all of a pod's processes."""
    return podman.execute(name, "python", "-c", _ARGUMENTS)


def holding_files(podman: Podman, name: str, secrets: Secrets) -> list[str]:
    """Files of a pod, Ray's logs among them, that hold a secret."""
    *holding, looked_at = podman.execute(
        name, "python", "-c", _FILES, *secrets.values()
    ).splitlines()
    assert int(looked_at) >= (2 if name == "store" else 30), looked_at
    return holding


def assert_pod_is_closed(podman: Podman, name: str, kind: str) -> dict[int, str]:
    """Every port of a pod, asked from its own loopback, refuses; returns what answers there."""
    source = Path(port_probes.__file__).read_text()
    lines = podman.execute(name, "python", "-c", source, kind, timeout=900).splitlines()
    found = {}
    for port in map(json.loads, lines):
        number, codes, statuses = port["port"], set(port["grpc"].values()), port["http"].values()
        if port["exporter"]:
            assert number in EXPORTERS, port
            found[number] = "metrics"
        elif kind == "seaweed":
            assert set(statuses) <= {0, 400, 403, 405}, port
            assert codes == {"UNAVAILABLE"}, port
            found[number] = "closed"
        else:
            assert set(statuses) <= HTTP_REFUSED, port
            assert codes <= GRPC_REFUSED, port
            assert set(statuses) & {401, 403} or "UNAUTHENTICATED" in codes, port
            found[number] = "asks for the token"
    return found
