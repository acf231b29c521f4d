"""The end-to-end run's podman, image and cluster; everything is removed at the end."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e_cluster import WORKERS, Cluster, log
from e2e_user import STORE, User
from images import build, have_base, make_room
from load import seconds_of_steps, share_for, shortened
from podman_here import Podman

NEEDED = ("podman", "buildah", "runc", "iptables", "prometheus")


@pytest.fixture(scope="module")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Podman]:
    """Podman with the image built; afterwards nothing of the run is left."""
    absent = [program for program in NEEDED if shutil.which(program) is None]
    if absent:
        pytest.fail(
            f"{', '.join(absent)} not found: apt-get install podman buildah runc netavark "
            "aardvark-dns iptables debootstrap prometheus"
        )
    folder = tmp_path_factory.mktemp("podman")
    made = Podman(folder)
    log(f"base image: {have_base(made, folder)}")
    log(f"room for the image: {make_room(made)}")
    log("building the image (minutes where no layer is at hand)")
    build(made)
    log("built")
    made.make_network()
    try:
        yield made
    finally:
        for name in ("head", *WORKERS, "store"):
            (folder / f"{name}.log").write_text(made.logs(name))
        log(f"logs of the containers: {folder}")
        made.clean()
        assert made.left() == {}


@pytest.fixture(scope="module")
def cluster(podman: Podman) -> Cluster:
    """Store, head and two workers, up."""
    made = Cluster(podman, Path(sys.executable).parent / "kubectl")
    made.start_store()
    log("store is up")
    made.start_head()
    log("head is up")
    for worker in WORKERS:
        made.start_worker(worker)
    log("workers are up")
    return made


@pytest.fixture(scope="module")
def user(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> User:
    """A researcher with the cluster's address, token and keys, and a dataset staged."""
    folder = tmp_path_factory.mktemp("user")
    made = User(folder, cluster.user_environment())
    small = ("n_train=60", "n_val=20", "n_test=30", "prevalence=0.5")
    made.sweeps("phantom", "siim-acr", "films", *(part for s in small for part in ("--set", s)))
    made.sweeps(
        *("stage", "siim-acr", "films", "--name", "phantom"),
        *("--set", "image_size=64", "--store", STORE),
    )
    share = share_for(seconds_of_steps())
    log(f"epochs: {share:.0%} of sweep.yaml's, by the speed of this machine")
    sweep = (Path(__file__).parent / "sweep.yaml").read_text()
    (folder / "sweep.yaml").write_text(shortened(sweep, share))
    return made
