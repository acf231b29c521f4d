"""Ports for servers under test that no outgoing connection takes before they listen."""

from __future__ import annotations

import random
import socket

# Below the range of outgoing connections, above Ray's worker ports and beside the embedded store's.
_PORTS = range(23_000, 29_900)


def free_ports(number: int) -> list[int]:
    """Different TCP ports of loopback that nobody listens at just now."""
    order = random.SystemRandom().sample(_PORTS, len(_PORTS))
    found = [port for port in order[: 10 * number] if _free(port)][:number]
    assert len(found) == number, f"hardly any port is free in {_PORTS}"
    return found


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
