"""What the KubeRay operator makes of a RayCluster, as arguments of `podman run`.

A Kubernetes API cannot run here. This follows the operator's `common/pod.go` (KubeRay 1.7):
command, injected environment, shared memory, init container; and from the pod template it takes
what a kubelet would: environment, volumes, resources, security context.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Document = Mapping[str, Any]
UNITS = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30}
_INIT_MEMORY = "256Mi"
"""The operator's limit of the init container."""


@dataclass(frozen=True)
class Pod:
    """A container to start.

    Attributes:
        flags: Options of `podman run`.
        command: What runs in it.
        init_flags: Options of the init container that must end well first, or None.
        init_command: What runs in that.
        grace: Seconds between SIGTERM and SIGKILL.
    """

    flags: list[str]
    command: list[str]
    init_flags: list[str] | None
    init_command: list[str]
    grace: int


class Manifests:
    """Rendered manifests with the Secrets that a user makes by hand."""

    def __init__(self, documents: list[Document], secrets: Mapping[str, Mapping[str, str]]) -> None:
        self.documents, self.secrets = documents, secrets

    def one(self, kind: str, name: str) -> Document:
        """The only document of a kind and name."""
        [found] = [
            doc for doc in self.documents if (doc["kind"], doc["metadata"]["name"]) == (kind, name)
        ]
        return found

    def environment(self, container: Document) -> dict[str, str]:
        """As a kubelet resolves `envFrom` and `env`."""
        found: dict[str, str] = {}
        for source in container.get("envFrom", []):
            if "configMapRef" in source:
                found |= self.one("ConfigMap", source["configMapRef"]["name"])["data"]
            else:
                found |= self.secrets[source["secretRef"]["name"]]
        for item in container.get("env", []):
            if "value" in item:
                found[item["name"]] = item["value"]
            else:
                reference = item["valueFrom"]["secretKeyRef"]
                found[item["name"]] = self.secrets[reference["name"]][reference["key"]]
        return found

    def cluster_pod(self, group: str | None) -> Pod:
        """The head's pod, or one of a worker group."""
        cluster = self.one("RayCluster", "sweeps")
        spec = cluster["spec"]
        section = (
            spec["headGroupSpec"]
            if group is None
            else next(g for g in spec["workerGroupSpecs"] if g["groupName"] == group)
        )
        pod = section["template"]["spec"]
        [container] = pod["containers"]
        limits = container["resources"]["limits"]
        head = "sweeps-head-svc.spurious-sweeps.svc.cluster.local"
        address = "127.0.0.1:6379" if group is None else f"{head}:6379"
        auth = spec["authOptions"]
        environment = {
            **self.environment(container),
            "RAY_ADDRESS": address,
            "RAY_CLUSTER_NAME": cluster["metadata"]["name"],
            "RAY_AUTH_MODE": auth["mode"],
            "RAY_AUTH_TOKEN": self.secrets[auth["secretName"]]["auth_token"],
        }
        flags = [*_flags(pod, container), *_environment_flags(environment)]
        flags += ["--shm-size", str(size(limits["memory"]))]
        return Pod(
            flags=flags,
            command=["/bin/bash", "-c", "--", _ray_start(section, limits, address, group is None)],
            init_flags=None
            if group is None
            else [
                *flags,
                "--memory",
                str(size(_INIT_MEMORY)),
                "--memory-swap",
                str(size(_INIT_MEMORY)),
            ],
            init_command=[
                "/bin/bash",
                "-c",
                f"until ray health-check --address {address}; do sleep 2; done",
            ],
            grace=pod["terminationGracePeriodSeconds"],
        )

    def store_pod(self, volume: str) -> Pod:
        """The try-out's S3 server, on a volume in place of its claim."""
        pod = self.one("StatefulSet", "store")["spec"]["template"]["spec"]
        [container] = pod["containers"]
        flags = [*_flags(pod, container), *_environment_flags(self.environment(container))]
        [data] = [m for m in container["volumeMounts"] if m["name"] == "data"]
        flags += ["--volume", f"{volume}:{data['mountPath']}:U"]
        return Pod(flags, container["command"], None, [], pod["terminationGracePeriodSeconds"])


def _ray_start(section: Document, limits: Document, address: str, is_head: bool) -> str:
    """The operator's command line: `ulimit` first, whose failure it ignores."""
    params = {
        "num-cpus": str(int(float(limits["cpu"]))),
        "memory": str(size(limits["memory"])),
        "metrics-export-port": "8080",
        "dashboard-agent-listen-port": "52365",
        **section["rayStartParams"],
    }
    if is_head:
        params |= {"dashboard-host": "0.0.0.0", "no-monitor": ""}
        start = "ray start --head"
    else:
        start = f"ray start --address={address}"
    options = [f"--{key}={value}" if value else f"--{key}" for key, value in params.items()]
    return f"ulimit -n 65536; {' '.join([start, *options, '--block'])}"


def _flags(pod: Document, container: Document) -> list[str]:
    """Security context, resources and scratch volumes."""
    security = {**pod["securityContext"], **container["securityContext"]}
    flags = ["--user", f"{security['runAsUser']}:{security['runAsGroup']}"]
    flags += [f"--cap-drop={name}" for name in security["capabilities"]["drop"]]
    if security["allowPrivilegeEscalation"] is False:
        flags.append("--security-opt=no-new-privileges")
    if security["readOnlyRootFilesystem"]:
        flags += ["--read-only", "--read-only-tmpfs=false"]
    limits = container["resources"]["limits"]
    flags += ["--memory", str(size(limits["memory"])), "--cpus", str(limits["cpu"])]
    # a volume for each emptyDir: runc gives a tmpfs the mount point's owner, a kubelet the fsGroup
    scratch = {volume["name"] for volume in pod["volumes"] if "emptyDir" in volume}
    for mount in container["volumeMounts"]:
        if mount["name"] in scratch:
            flags += ["--mount", f"type=volume,destination={mount['mountPath']},U=true"]
    return flags


def _environment_flags(environment: Mapping[str, str]) -> list[str]:
    return [part for key, value in environment.items() for part in ("--env", f"{key}={value}")]


def size(text: str) -> int:
    """Bytes of a Kubernetes quantity of memory."""
    for unit, factor in UNITS.items():
        if text.endswith(unit):
            return int(text.removesuffix(unit)) * factor
    return int(text)
