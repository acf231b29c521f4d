"""Kubernetes manifests as data: where they stand, their problems, and the pods in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import yaml

from cluster.errors import ClusterError

_TEMPLATES = {  # kind: where its pod template lies
    "Deployment": ("spec", "template"),
    "StatefulSet": ("spec", "template"),
    "DaemonSet": ("spec", "template"),
    "ReplicaSet": ("spec", "template"),
    "Job": ("spec", "template"),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
}
_UNITS = {
    **{unit: Decimal(1000) ** power for power, unit in enumerate(("", "k", "M", "G", "T", "P"))},
    **{unit: Decimal(1024) ** n for n, unit in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi"), start=1)},
    "m": Decimal("0.001"),
}


class ManifestError(ClusterError):
    """A manifest file cannot be read as YAML documents, or a schema cannot be found."""


@dataclass(frozen=True)
class LintFinding:
    """One thing that is wrong in a document.

    Attributes:
        path: where, as a JSON path below the document (`spec.containers[0].image`).
        message: what is there and what was expected.
    """

    path: str
    message: str


@dataclass(frozen=True)
class Document:
    """One Kubernetes object and the file it was read from."""

    source: str
    body: dict[str, Any]

    @property
    def kind(self) -> str:
        """Its kind, or `?`."""
        return str(self.body.get("kind", "?"))

    @property
    def api_version(self) -> str:
        """Its apiVersion, or `?`."""
        return str(self.body.get("apiVersion", "?"))

    @property
    def metadata(self) -> dict[str, Any]:
        """Its metadata, empty where there is none."""
        return mapping(self.body.get("metadata"))

    @property
    def spec(self) -> dict[str, Any]:
        """Its spec, empty where there is none."""
        return mapping(self.body.get("spec"))

    @property
    def identity(self) -> tuple[str, ...]:
        """What an API server knows it by."""
        names = [str(self.metadata.get(name, "")) for name in ("namespace", "name")]
        return (self.api_version.partition("/")[0], self.kind, *names)

    def __str__(self) -> str:
        return f"{self.source}: {self.kind}/{self.metadata.get('name', '?')}"


@dataclass(frozen=True)
class PodTemplate:
    """A pod template inside a document; `role` is head, worker, or other."""

    path: str
    role: str
    body: dict[str, Any]

    @property
    def spec(self) -> dict[str, Any]:
        """The pod's spec."""
        return mapping(self.body.get("spec"))

    def containers(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Path and body of every container, init containers first."""
        for kind in ("initContainers", "containers"):
            for index, container in enumerate(entries(self.spec.get(kind))):
                yield f"{self.path}.spec.{kind}[{index}]".removeprefix("."), container


def mapping(value: Any) -> dict[str, Any]:
    """Return the value if it is a mapping, else an empty one: schemas name the wrong types."""
    return value if isinstance(value, dict) else {}


def entries(value: Any) -> list[dict[str, Any]]:
    """Return the mappings of a list; anything else counts as empty ones, so that indices stay."""
    return [mapping(entry) for entry in value] if isinstance(value, list) else []


def read_documents(text: str, source: str) -> list[Document]:
    """Return the objects of a YAML text; raises ManifestError, which names the source."""
    try:
        bodies = [body for body in yaml.safe_load_all(text) if body is not None]
    except yaml.YAMLError as error:
        raise ManifestError(f"{source}: not YAML: {error}") from error
    for body in bodies:
        if not isinstance(body, dict):
            raise ManifestError(f"{source}: expected Kubernetes objects, found {body!r:.80}")
    return [Document(source, body) for body in bodies]


def read_file(path: Path) -> list[Document]:
    """Return the objects of a YAML file; raises ManifestError."""
    try:
        return read_documents(path.read_text(), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError(f"{path}: cannot be read: {error}") from error


def ray_cluster(document: Document) -> tuple[str, dict[str, Any]] | None:
    """Path and body of the RayCluster's spec in a RayCluster or a RayJob, if there is one."""
    if document.kind == "RayCluster":
        return "spec", document.spec
    if document.kind == "RayJob" and "rayClusterSpec" in document.spec:
        return "spec.rayClusterSpec", mapping(document.spec["rayClusterSpec"])
    return None


def pod_templates(document: Document) -> list[PodTemplate]:
    """Every pod template of a document; a Pod is its own."""
    if document.kind == "Pod":
        return [PodTemplate("", "other", document.body)]
    templates = []
    if steps := _TEMPLATES.get(document.kind):
        body: Any = document.body
        for step in steps:
            body = mapping(body).get(step)
        templates.append(PodTemplate(".".join(steps), "other", mapping(body)))
    if cluster := ray_cluster(document):
        path, spec = cluster
        head = mapping(mapping(spec.get("headGroupSpec")).get("template"))
        templates.append(PodTemplate(f"{path}.headGroupSpec.template", "head", head))
        for index, group in enumerate(entries(spec.get("workerGroupSpecs"))):
            where = f"{path}.workerGroupSpecs[{index}].template"
            templates.append(PodTemplate(where, "worker", mapping(group.get("template"))))
    if document.kind == "RayJob" and "submitterPodTemplate" in document.spec:
        submitter = mapping(document.spec["submitterPodTemplate"])
        templates.append(PodTemplate("spec.submitterPodTemplate", "other", submitter))
    return templates


def number(value: Any) -> int:
    """Return the value if it is a whole number, else 0: schemas name the wrong types."""
    return value if isinstance(value, int) else 0


def quantity(value: Any) -> Decimal | None:
    """Return a Kubernetes quantity (`500m`, `4Gi`, 2) as a number, or None where it is none."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([A-Za-z]*)", str(value))
    if not match or match[2] not in _UNITS:
        return None
    return Decimal(match[1]) * _UNITS[match[2]]
