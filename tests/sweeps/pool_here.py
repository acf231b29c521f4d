"""A Ray cluster of three nodes on this machine: a head without CPUs, and two with one each."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
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
        nodes: The two nodes with a CPU each, by their ids.
    """

    session: Session
    cluster: Any
    nodes: Mapping[str, Any]


@contextmanager
def pool_here(**environment: str) -> Iterator[PoolHere]:
    """Start the cluster, connect, and end both.

    Args:
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
            workers = [cluster.add_node(num_cpus=1, **small) for _ in range(2)]
            patch.setenv("RAY_ADDRESS", cluster.address)
            with ray_session("tests") as session:
                nodes = {worker.node_id: worker for worker in workers}
                yield PoolHere(session, cluster, nodes)
        finally:
            cluster.shutdown()
            shutil.rmtree(temporary, ignore_errors=True)
