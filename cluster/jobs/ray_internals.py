"""What this project needs of Ray and Ray has no public way for, written for Ray 2.60.

Each function fails loudly where a later version of Ray has moved what it touches.
"""

from __future__ import annotations

import os

LOOPBACK_VARIABLE = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""At 0 Ray's own nodes are at 127.0.0.1, where they listen on loopback alone.

Ray does so by default on macOS and Windows. An address given to `ray.init` does not help: Ray
replaces 127.0.0.1 by the machine's outer address, and then listens on every interface.
"""


def keep_environment_out_of_actors() -> None:
    """Stop Ray Tune from copying variables of the driver into its actors' runtime environment.

    It copies AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN among others, and Ray writes runtime
    environments into its logs and shows them on its dashboard, in clear text. Workers have an
    environment of their own: that of the driver on this machine, of the pod in a cluster.
    """
    from ray.tune.execution import class_cache

    class_cache.ENV_VARS_TO_PROPAGATE.clear()


def listens_on_loopback_only() -> bool:
    """Whether the node of this process's local session has a loopback address."""
    import ray

    return all(
        node["NodeManagerAddress"] == "127.0.0.1"
        for node in ray.nodes()  # type: ignore[no-untyped-call]
    )


def close_interfaces() -> None:
    """Make a later `ray.init` of a local session listen on loopback; before Ray is imported."""
    os.environ[LOOPBACK_VARIABLE] = "0"
