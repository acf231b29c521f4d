"""Wait for a cluster whose head is still starting: its Jobs API then answers with errors.

Ray 2.60 answers 500 until the agent of the head's node has registered; a proxy or an ingress in
front of a head that restarts answers 502, 503 or 504.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import requests

from cluster.errors import Unavailable

READY_WITHIN_S = 120.0
"""A head starts in seconds, its agent in up to a minute, and a pod's image may have to come."""

_POLL_S = 2.0
_PROXY_STATUS = frozenset({502, 503, 504})
_STARTING = (
    "No available agent",
    "Failed to get head node agent",
    "Cannot connect to host",  # the agent was replaced, and the dashboard has its old port
)
"""What Ray's answers of status 500 contain where its head has no agent yet."""
_LONGEST = 160


@dataclass
class Readiness:
    """How long one command waits for a cluster that is starting.

    Attributes:
        seconds: The longest wait since the last usable answer; 0 for a single try.
        on_wait: Called with a line for the user when a wait begins.
    """

    seconds: float
    on_wait: Callable[[str], None]

    def request(self, address: str, ask: Callable[[], requests.Response]) -> requests.Response:
        """Ask until the answer is not that of a starting cluster.

        A job's id makes a repeated submission harmless: Ray takes each id once.

        Raises:
            Unavailable: the cluster was still starting at the end of the wait.
        """
        deadline = time.monotonic() + self.seconds
        is_waiting = False
        while (reason := describe_starting(response := ask())) is not None:
            if time.monotonic() + _POLL_S > deadline:
                raise Unavailable(
                    f"the Ray cluster at {address} is not ready ({reason})"
                    + (f" after {self.seconds:.0f} s" if self.seconds else "")
                    + ": see the head's dashboard_agent.log, and the proxy in front of it if there "
                    "is one; then run the same command again"
                )
            if not is_waiting:
                self.on_wait(
                    f"the Ray cluster at {address} is not ready ({reason}): trying again for up to "
                    f"{self.seconds:.0f} s"
                )
                is_waiting = True
            time.sleep(_POLL_S)
        return response


def describe_starting(response: requests.Response) -> str | None:
    """Describe an answer of a cluster that is starting; None for any other answer."""
    status = f"HTTP {response.status_code}"
    if response.status_code in _PROXY_STATUS:
        return f"{status} {response.reason}" if response.reason else status
    if response.status_code != requests.codes.internal_server_error:
        return None
    lines = [line for line in response.text.splitlines() if any(m in line for m in _STARTING)]
    if not lines:
        return None
    words = "".join(c for c in lines[-1].strip() if c.isprintable())
    return f"{status}: {words[:_LONGEST].removesuffix(', please try again later.')}"
