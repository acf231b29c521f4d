"""A cluster in containers: the pods of the try-out overlay, as the operator would make them."""

from __future__ import annotations

import secrets
import subprocess
import time
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import yaml
from free_ports import free_ports
from images import IMAGE, ROOT
from operator_pods import Manifests, Pod
from podman_here import Podman

OVERLAY = ROOT / "k8s/overlays/cpu-tryout"
HEAD_NAMES = ("sweeps-head-svc", "sweeps-head-svc.spurious-sweeps.svc.cluster.local")
WORKERS = ("worker-0", "worker-1")
STORE_VOLUME = "store-data"
STARTED = "Ray runtime started"
"""What `ray start` prints when it has joined."""
STAYS_S = 30.0
STARTS = 3


def log(text: str) -> None:
    """A line of the run's protocol, with the time of day."""
    print(f"{time.strftime('%H:%M:%S')}  {text}", flush=True)


def wait_for(what: str, condition: Callable[[], object], within: float, every: float = 1.0) -> None:
    """Poll until a condition holds; says what was waited for where it never does."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        if condition():
            return
        time.sleep(every)
    raise TimeoutError(f"{what}: not within {within:.0f} s")


class Cluster:
    """Store, head and workers, each started, killed and replaced as a kubelet would."""

    def __init__(self, podman: Podman, kubectl: Path) -> None:
        """Render the overlay and make the Secrets that its README has a user make."""
        self.podman = podman
        self.keys = {
            "AWS_ACCESS_KEY_ID": "e2e" + secrets.token_hex(8),
            "AWS_SECRET_ACCESS_KEY": secrets.token_hex(20),
        }
        self.token = secrets.token_hex(32)
        rendered = subprocess.run(
            [kubectl, "kustomize", OVERLAY], capture_output=True, text=True, check=True
        ).stdout
        self.manifests = Manifests(
            [doc for doc in yaml.safe_load_all(rendered) if doc],
            {"store-credentials": self.keys, "ray-token": {"auth_token": self.token}},
        )
        self.store_port, self.dashboard_port = free_ports(2)
        self.graces: dict[str, int] = {}

    @property
    def dashboard(self) -> str:
        """Where the host reaches the head's dashboard and Jobs API."""
        return f"http://127.0.0.1:{self.dashboard_port}"

    def user_environment(self) -> Mapping[str, str]:
        """What a researcher sets to use the cluster."""
        return {
            **self.keys,
            "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{self.store_port}",
            "AWS_REGION": "us-east-1",
            "RAY_API_SERVER_ADDRESS": self.dashboard,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": self.token,
        }

    def start_store(self) -> None:
        """The S3 server, and its start-up probe, which makes the bucket."""
        volume = self.podman.name(STORE_VOLUME)
        if not self.podman("volume", "ls", "--quiet", "--filter", f"name={volume}").strip():
            self.podman("volume", "create", "--label", self.podman.label, volume)
        pod = self.manifests.store_pod(volume)
        port = ["--publish", f"127.0.0.1:{self.store_port}:8333", "--network-alias", "store"]
        self._start("store", pod, port)
        stateful = self.manifests.one("StatefulSet", "store")["spec"]["template"]["spec"]
        probe = stateful["containers"][0]["startupProbe"]["exec"]["command"]
        wait_for("the store's start-up probe", lambda: self._probe(probe), 120, 3)

    def start_head(self) -> None:
        """The head, until its health check answers."""
        aliases = [part for name in HEAD_NAMES for part in ("--network-alias", name)]
        port = ["--publish", f"127.0.0.1:{self.dashboard_port}:8265"]
        self._start("head", self.manifests.cluster_pod(None), [*aliases, *port])
        wait_for("the head", self._head_answers, 180)

    def start_worker(self, name: str) -> None:
        """A worker, after its init container has found the head; until it has joined.

        Where Ray ends at its start, the pod is replaced as the operator does: its restartPolicy is
        Never.
        """
        pod = self.manifests.cluster_pod("cpu")
        assert pod.init_flags is not None
        own = ["--rm", "--label", self.podman.label, "--network", self.podman.network]
        for _ in range(STARTS):
            self.podman("run", *own, *pod.init_flags, IMAGE, *pod.init_command, timeout=120)
            self._start(name, pod, [])
            if self._stays(name):
                return
            log(f"{name} ended at its start, a new one: {self.podman.logs(name).splitlines()[-1:]}")
            self.podman.remove(name)
        raise RuntimeError(f"{name} ended at its start {STARTS} times")

    def drain(self, name: str, meanwhile: Callable[[], object] = lambda: None) -> float:
        """SIGTERM as a kubelet sends it; seconds until the container ended, within its grace."""
        began = time.monotonic()
        self.podman.kill(name, "TERM")
        self.podman.ended(name, self.graces[name], meanwhile)
        return time.monotonic() - began

    def stop(self, name: str) -> None:
        """As a kubelet stops a pod: SIGTERM, and SIGKILL when the grace is over."""
        try:
            self.drain(name)
        except TimeoutError:
            self.lose(name)

    def lose(self, name: str) -> None:
        """SIGKILL: a node that is gone."""
        self.podman.kill(name, "KILL")
        self.podman.ended(name, 30)

    def _start(self, name: str, pod: Pod, more: list[str]) -> None:
        self.graces[name] = pod.grace
        self.podman.start(name, IMAGE, [*pod.flags, *more], pod.command)

    def _probe(self, command: list[str]) -> bool:
        with suppress(RuntimeError):
            self.podman.execute("store", *command)
            return True
        return False

    def _stays(self, name: str) -> bool:
        """Whether a pod is there when Ray has started in it, or after a while."""
        deadline = time.monotonic() + STAYS_S
        while time.monotonic() < deadline and STARTED not in self.podman.logs(name):
            if not self.podman.runs(name):
                return False
            time.sleep(1)
        return self.podman.runs(name)

    def _head_answers(self) -> bool:
        url = f"{self.dashboard}/api/gcs_healthz"
        with suppress(OSError), urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
        return False
