"""Rendered overlays, a RayCluster and a RayJob to spoil, and ways to spoil them."""

from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from k8s.lint.documents import Document, read_documents
from k8s.lint.schema import Schemas, load_crds

ROOT = Path(__file__).resolve().parents[2]
K8S = ROOT / "k8s"
CRDS = ROOT.parent / "shared" / "kuberay-crds"
WITHOUT_CRDS = f"KubeRay's CRDs are not at {CRDS}"
OVERLAYS = ("base", "overlays/cpu-tryout", "overlays/gpu-pool", "overlays/kueue")
MISSING = object()


def kustomize(folder: Path) -> str:
    """A kustomization, rendered by the kubectl installed beside this Python."""
    kubectl = Path(sys.executable).parent / "kubectl"
    command = [str(kubectl), "kustomize", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@lru_cache
def _rendered(overlay: str) -> tuple[Document, ...]:
    return tuple(read_documents(kustomize(K8S / overlay), overlay))


def render(overlay: str) -> list[Document]:
    """The objects of an overlay, fresh copies."""
    return copy.deepcopy(list(_rendered(overlay)))


@lru_cache
def crds() -> Schemas:
    """KubeRay's schemas; only where CRDS exists."""
    return load_crds(CRDS)


def one(documents: list[Document], kind: str, name: str = "") -> Document:
    """The one object of a kind (and name)."""
    [found] = [d for d in documents if d.kind == kind and name in ("", d.metadata["name"])]
    return found


def place(body: Any, path: str, value: Any) -> None:
    """Set what lies at a dotted path, where numbers are list indices; MISSING removes it."""
    *steps, last = [int(step) if step.isdigit() else step for step in path.split("/")]
    for step in steps:
        body = body[step]
    if value is MISSING:
        del body[last]
    elif isinstance(last, int) and last == len(body):
        body.append(value)
    else:
        body[last] = value


def every_path(body: Any, above: str = "") -> Iterator[str]:
    """The path of every value below a body."""
    pairs = body.items() if isinstance(body, dict) else enumerate(body)
    for key, value in pairs:
        path = f"{above}/{key}" if above else str(key)
        if "." in str(key) or "/" in str(key):
            continue  # a label
        yield path
        if isinstance(value, (dict, list)):
            yield from every_path(value, path)


def raycluster() -> dict[str, Any]:
    """The rendered RayCluster of the base."""
    return one(render("base"), "RayCluster").body


def rayjob() -> dict[str, Any]:
    """A RayJob on such a cluster."""
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob",
        "metadata": {"name": "sweep"},
        "spec": {
            "entrypoint": "sweeps run stored:0",
            "submissionMode": "HTTPMode",
            "shutdownAfterJobFinishes": True,
            "ttlSecondsAfterFinished": 60,
            "rayClusterSpec": raycluster()["spec"],
        },
    }
