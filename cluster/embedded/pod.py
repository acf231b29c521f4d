"""The try-out store of `k8s/`: SeaweedFS as a container's only process, and its start-up probe.

Only the S3 port leaves the container. A port-forward enters its loopback, so the inner ports demand
a certificate there as they do on a user's machine (`cluster.embedded.inner_tls`).
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from cluster.embedded.inner_tls import closed_environment, find_open_ports
from cluster.embedded.seaweed import find_binary, inner_ports, server_command

_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


def main() -> None:
    """Run the server, or with --probe store an object in the one that runs."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--data", type=Path, default=Path("/data"), help="folder of the objects")
    for part, port in (("s3", 8333), ("master", 9333), ("volume", 8080), ("filer", 8888)):
        parser.add_argument(f"--{part}-port", type=int, default=port)
    parser.add_argument("--bind", default="0.0.0.0", help="address of the S3 port")  # noqa: S104
    parser.add_argument("--probe", action="store_true", help="exit 0 when the store is ready")
    options = parser.parse_args()
    missing = [name for name in _KEYS if not os.environ.get(name)]
    if missing:  # without an identity SeaweedFS serves everybody
        parser.error(f"{' and '.join(missing)} not set: give the store its key pair")
    ports = {part: getattr(options, f"{part}_port") for part in ("s3", "master", "volume", "filer")}
    if options.probe:
        _probe(ports)
    else:
        _serve(ports, options.data.absolute(), options.bind)


def _serve(ports: dict[str, int], data: Path, bind: str) -> None:
    """Become the server; the environment's key pair is its only identity."""
    command = [*server_command(find_binary(), ports, data), f"-s3.ip.bind={bind}"]
    environment = {**os.environ, **closed_environment(Path.home())}
    os.umask(0o077)  # SeaweedFS's Unix sockets in /tmp are for this user alone
    os.execve(command[0], command, environment)  # noqa: S606 (fixed arguments)


def _probe(ports: dict[str, int]) -> None:
    """Store an object, which also makes the bucket; raises where the store is not ready.

    The server calls itself healthy before it can store, and runs without TLS where it cannot read
    its certificate.
    """
    if open_ports := find_open_ports(inner_ports(ports)):
        raise SystemExit(f"ports {open_ports} answer without a certificate")
    import boto3  # the server need not wait for it

    client = boto3.client(
        "s3", endpoint_url=f"http://127.0.0.1:{ports['s3']}", region_name="us-east-1"
    )
    client.put_object(Bucket="sweeps", Key=".started", Body=b"")


if __name__ == "__main__":
    main()
