"""A Ray cluster on this machine: a head without CPUs, and nodes that run trials."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from ray.cluster_utils import Cluster

from cluster.jobs.session import Session, ray_session


@dataclass(frozen=True)
class PoolHere:
    """The cluster and its session in this process.

    Attributes:
        session: As `ray_session` gives it.
        cluster: Ray's own, to remove nodes of.
        nodes: Those that run trials, by their ids.
    """

    session: Session
    cluster: Any
    nodes: Mapping[str, Any]


@contextmanager
def pool_here(
    *nodes: Mapping[str, float], environment: Mapping[str, str] = MappingProxyType({})
) -> Iterator[PoolHere]:
    """Start the cluster, connect, and end both.

    Args:
        nodes: What each offers to trials, as `Cluster.add_node` takes it.
        environment: Variables of the nodes and their workers.
    """
    temporary = tempfile.mkdtemp(prefix="sw", dir="/tmp")  # sockets need a short path
    small = {"object_store_memory": 80_000_000, "include_dashboard": False}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_TMPDIR", temporary)
        patch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), os.getcwd()]))
        for name, value in environment.items():
            patch.setenv(name, value)
        cluster = Cluster(initialize_head=True, head_node_args={**small, "num_cpus": 0})
        try:
            workers = [cluster.add_node(**small, **offered) for offered in nodes]
            patch.setenv("RAY_ADDRESS", cluster.address)
            with ray_session("tests") as session:
                yield PoolHere(session, cluster, {each.node_id: each for each in workers})
        finally:
            cluster.shutdown()
            shutil.rmtree(temporary, ignore_errors=True)
