"""The faults of the end-to-end run, each with what it cost, read from the store and the tables."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import Any

import boto3
from e2e_cluster import Cluster, log, wait_for
from e2e_user import STORE, User

from sweeps.results import tables as results

BUCKET = STORE.removeprefix("s3://")


@dataclass
class Seen:
    """A checkpoint in the store.

    Attributes:
        epoch: The epoch after which it was saved.
        age: Seconds since, by the store's clock (whole seconds).
    """

    epoch: int
    age: float


@dataclass
class Protocol:
    """What each fault cost, by trial: its checkpoint at the fault, for the table at the end.

    `saved_in_drain` holds the epochs whose checkpoints were seen between SIGTERM and the end.
    """

    killed: dict[str, Seen] = field(default_factory=dict)
    drained: dict[str, Seen] = field(default_factory=dict)
    saved_in_drain: dict[str, set[int]] = field(default_factory=dict)


class StoreView:
    """The bucket as an administrator sees it from the host."""

    def __init__(self, cluster: Cluster) -> None:
        environment = cluster.user_environment()
        self.client = boto3.client(
            "s3",
            endpoint_url=environment["AWS_ENDPOINT_URL_S3"],
            region_name=environment["AWS_REGION"],
            aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        )

    def keys(self, prefix: str) -> list[str]:
        """Keys below a prefix."""
        page = self.client.list_objects_v2(Bucket=BUCKET, Prefix=prefix)
        return [item["Key"] for item in page.get("Contents", ())]

    def checkpoints(self) -> dict[str, Seen]:
        """Trial id to the checkpoint that is there now."""
        from spurious.training import checkpoint

        found = {}
        for key in self.keys("checkpoints/"):
            try:
                answer = self.client.get_object(Bucket=BUCKET, Key=key)
            except self.client.exceptions.NoSuchKey:  # its trial has just ended
                continue
            state, _ = results.unpack_checkpoint(answer["Body"].read())
            age = time.time() - answer["LastModified"].timestamp()
            found[key.split("/")[1]] = Seen(checkpoint.unpack(state)["epoch"], age)
        return found

    def committed(self) -> int:
        """How many trials have a result."""
        return len(self.keys("results/trials/"))


def wait_for_checkpoints(store: StoreView, count: int, within: float = 300) -> dict[str, Seen]:
    """Wait until so many trials have one."""
    wait_for(f"{count} checkpoints", lambda: len(store.keys("checkpoints/")) >= count, within, 0.5)
    return store.checkpoints()


def state_of(user: User) -> dict[str, Any]:
    """What `sweeps status --json` says."""
    told: dict[str, Any] = json.loads(
        user.sweeps("status", "sweep.yaml", "--store", STORE, "--json").stdout
    )
    return told


def kill_worker(cluster: Cluster, store: StoreView, name: str) -> dict[str, Seen]:
    """SIGKILL in mid-trial, and a new pod in its place; returns the checkpoints at that time."""
    log(f"FAULT: SIGKILL of {name}")
    cluster.lose(name)
    seen = store.checkpoints()
    cluster.start_worker(name)
    log(f"{name} is back; checkpoints then: {_told(seen)}")
    return seen


def drain_worker(cluster: Cluster, store: StoreView, name: str, protocol: Protocol) -> None:
    """SIGTERM as before a node goes away, and a new pod in its place."""
    log(f"FAULT: SIGTERM (drain) of {name}")

    def look() -> None:
        for trial_id, seen in store.checkpoints().items():
            protocol.saved_in_drain.setdefault(trial_id, set()).add(seen.epoch)

    seconds = cluster.drain(name, look)
    protocol.drained = store.checkpoints()
    told = _told(protocol.drained)
    log(f"{name} ended {seconds:.0f} s after the notice; checkpoints then: {told}")
    cluster.start_worker(name)
    log(f"{name} is back")


def stop_store(cluster: Cluster, seconds: float) -> None:
    """The S3 server away for some time; its data stays on the volume."""
    log(f"FAULT: the store is away for {seconds:.0f} s")
    cluster.stop("store")
    time.sleep(seconds)
    cluster.start_store()
    log("the store is back")


def lose_head(cluster: Cluster, workers: tuple[str, ...]) -> None:
    """SIGKILL of the head; without a GCS fault-tolerant store the workers end with it."""
    log("FAULT: SIGKILL of the head")
    cluster.lose("head")
    cluster.start_head()
    for name in workers:
        cluster.podman.remove(name)
        cluster.start_worker(name)
    log("a new head and new workers are up")


def _told(seen: dict[str, Seen]) -> str:
    return ", ".join(
        f"{key[:8]} epoch {found.epoch} ({found.age:.0f} s old)" for key, found in seen.items()
    )
