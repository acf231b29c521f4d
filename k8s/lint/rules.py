"""Rules for manifests that no schema holds: the operator's, and those this project sets itself.

Ours: pods fit the restricted pod-security profile with a read-only root file system, ask for what
they may use, and end after Ray's drain; heads run no trials, clusters have a token, images a tag.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from k8s.lint.documents import (
    Document,
    LintFinding,
    PodTemplate,
    entries,
    mapping,
    pod_templates,
    quantity,
    ray_cluster,
)
from k8s.lint.kuberay import OLDEST, Findings, Version, kuberay_problems

DRAIN = "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"
_RAY_DRAIN_S = 30  # Ray's default
_MARGIN_S = 15  # for Ray to end its processes after the drain
_KUBERNETES_GRACE_S = 30  # Kubernetes' default
_MARKET = "ray.io/market-type"
_JOBS = ("Job", "CronJob", "RayJob", "RayCronJob")


def rule_problems(
    document: Document, everything: list[Document], operator: Version = OLDEST
) -> list[LintFinding]:
    """What the operator's rules and ours find wrong in a document.

    Args:
        document: the object.
        everything: all objects that are applied with it, where ConfigMaps are looked up.
        operator: KubeRay's version.
    """
    findings = list(kuberay_problems(document, operator))
    for template in pod_templates(document):
        findings += _security(template)
        findings += _resources(template)
        findings += _images(template)
        findings += _volumes(template)
        if template.role != "other":
            findings += _grace(template, everything)
    if cluster := ray_cluster(document):
        findings += _cluster(*cluster)
    if document.kind == "PodDisruptionBudget":
        findings += _budget(document)
    return findings


def committed_problems(document: Document) -> list[LintFinding]:
    """What must not lie in a repository of manifests: work to do once, and secrets."""
    if document.kind in _JOBS:
        return [
            LintFinding("kind", f"{document.kind}: expected only what stays; submit jobs instead")
        ]
    if document.kind == "Secret":
        return [
            LintFinding("kind", "Secret: expected none here; make it with kubectl create secret")
        ]
    return []


def _security(template: PodTemplate) -> Findings:
    pod = mapping(template.spec.get("securityContext"))
    where = f"{template.path}.spec".removeprefix(".")
    for name in ("hostNetwork", "hostPID", "hostIPC"):
        if template.spec.get(name):
            yield LintFinding(f"{where}.{name}", "expected false (restricted pod security)")
    for path, container in template.containers():
        yield from _check_restricted(
            f"{path}.securityContext", container.get("securityContext"), pod
        )


def _check_restricted(path: str, value: Any, pod: dict[str, Any]) -> Findings:
    """Check one container for the restricted profile; what it leaves out it has from the pod."""
    container = mapping(value)
    both = {**pod, **container}
    if both.get("runAsNonRoot") is not True:
        yield LintFinding(f"{path}.runAsNonRoot", "expected true, here or for the pod")
    if both.get("runAsUser") in (None, 0):
        yield LintFinding(
            f"{path}.runAsUser", "expected a number other than 0, here or for the pod"
        )
    if mapping(both.get("seccompProfile")).get("type") not in ("RuntimeDefault", "Localhost"):
        yield LintFinding(
            f"{path}.seccompProfile.type", "expected RuntimeDefault, here or for the pod"
        )
    if container.get("privileged"):
        yield LintFinding(f"{path}.privileged", "expected false")
    if container.get("allowPrivilegeEscalation") is not False:
        yield LintFinding(f"{path}.allowPrivilegeEscalation", "expected false")
    if container.get("readOnlyRootFilesystem") is not True:
        yield LintFinding(f"{path}.readOnlyRootFilesystem", "expected true")
    capabilities = mapping(container.get("capabilities"))
    if capabilities.get("drop") != ["ALL"] or capabilities.get("add"):
        yield LintFinding(f"{path}.capabilities", "expected drop: [ALL] and nothing added")


def _resources(template: PodTemplate) -> Findings:
    for path, container in template.containers():
        yield from _requests_are_limits(f"{path}.resources", container.get("resources"))


def _requests_are_limits(path: str, value: Any) -> Findings:
    resources = mapping(value)
    limits, requests = mapping(resources.get("limits")), mapping(resources.get("requests"))
    for name in ("cpu", "memory"):
        limit, request = limits.get(name), requests.get(name)
        if quantity(limit) is None:
            yield LintFinding(
                f"{path}.limits.{name}", f"{limit}: expected a quantity, as requested"
            )
        elif quantity(request) != quantity(limit):
            yield LintFinding(
                f"{path}.requests.{name}",
                f"{request}: expected the limit, {limit}: Ray schedules by it",
            )


def _images(template: PodTemplate) -> Findings:
    for path, container in template.containers():
        image = str(container.get("image", ""))
        tag = image.rpartition("/")[2].partition(":")[2]
        if "@sha256:" not in image and tag in {"", "latest"}:
            yield LintFinding(
                f"{path}.image", f"'{image}': expected a tag other than latest, or a digest"
            )


def _volumes(template: PodTemplate) -> Findings:
    """Every emptyDir is bounded, and together they fit into what the pod may keep on its node."""
    on_disk = Decimal(0)
    for index, volume in enumerate(entries(template.spec.get("volumes"))):
        path = f"{template.path}.spec.volumes[{index}]".removeprefix(".")
        if "hostPath" in volume:
            yield LintFinding(f"{path}.hostPath", "expected none (restricted pod security)")
        if "emptyDir" not in volume:
            continue
        directory = mapping(volume["emptyDir"])
        size = quantity(directory.get("sizeLimit"))
        if size is None:
            yield LintFinding(
                f"{path}.emptyDir.sizeLimit", "expected a quantity: a node's disk is shared"
            )
        elif directory.get("medium") != "Memory":
            on_disk += size
    limits = [
        quantity(
            mapping(mapping(container.get("resources")).get("limits")).get("ephemeral-storage")
        )
        for _, container in template.containers()
    ]
    limit_sum = sum((limit for limit in limits if limit is not None), Decimal(0))
    if on_disk > limit_sum:
        yield LintFinding(
            f"{template.path}.spec.volumes".removeprefix("."),
            f"emptyDirs of {on_disk} bytes on disk with ephemeral-storage limits of {limit_sum}: "
            "expected no more, or the pod is evicted before they are full",
        )


def _grace(template: PodTemplate, everything: list[Document]) -> Findings:
    """Kubernetes kills a pod after its grace period: Ray's drain must have ended by then."""
    grace = template.spec.get("terminationGracePeriodSeconds", _KUBERNETES_GRACE_S)
    drain = max((_drain(c, everything) for _, c in template.containers()), default=_RAY_DRAIN_S)
    if not isinstance(grace, int) or grace < drain + _MARGIN_S:
        yield LintFinding(
            f"{template.path}.spec.terminationGracePeriodSeconds",
            f"{grace} with {DRAIN}={drain:g}: expected {drain + _MARGIN_S:g} or more",
        )


def _drain(container: dict[str, Any], everything: list[Document]) -> float:
    """The drain time of a container, in seconds: `env` goes before `envFrom`, the last wins."""
    value: Any = _RAY_DRAIN_S
    for source in entries(container.get("envFrom")):
        name = mapping(source.get("configMapRef")).get("name")
        for other in everything:
            if other.kind == "ConfigMap" and name and other.metadata.get("name") == name:
                value = mapping(other.body.get("data")).get(DRAIN, value)
    for variable in entries(container.get("env")):
        if variable.get("name") == DRAIN:
            value = variable.get("value", value)
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("inf")


def _cluster(path: str, spec: dict[str, Any]) -> Findings:
    head = mapping(spec.get("headGroupSpec"))
    if mapping(head.get("rayStartParams")).get("num-cpus") != "0":
        yield LintFinding(
            f"{path}.headGroupSpec.rayStartParams.num-cpus",
            'expected "0": trials on the head take the memory of every sweep\'s driver',
        )
    if mapping(spec.get("authOptions")).get("mode") != "token":
        yield LintFinding(f"{path}.authOptions.mode", "expected token: the job port runs any code")
    if not spec.get("rayVersion"):
        yield LintFinding(
            f"{path}.rayVersion", "expected the image's Ray version: probes depend on it"
        )
    head_pod = mapping(mapping(head.get("template")).get("spec"))
    groups = entries(spec.get("workerGroupSpecs"))
    for where, group in [("headGroupSpec", head), *_numbered(groups)]:
        if not mapping(mapping(group.get("template")).get("spec")).get("restartPolicy"):
            yield LintFinding(
                f"{path}.{where}.template.spec.restartPolicy",
                "expected Never, written out: without it pods restart in place under some versions "
                "of the operator and are replaced under others",
            )
    spot = any(mapping(group.get("labels")).get(_MARKET) == "spot" for group in groups)
    if spot and not (head_pod.get("nodeSelector") or head_pod.get("affinity")):
        yield LintFinding(
            f"{path}.headGroupSpec.template.spec.nodeSelector",
            "expected nodes that stay, as there are spot nodes: every sweep ends with the head",
        )
    for index, group in enumerate(groups):
        pod = mapping(mapping(group.get("template")).get("spec"))
        where = f"{path}.workerGroupSpecs[{index}].template.spec"
        if pod.get("automountServiceAccountToken") is not False:
            yield LintFinding(f"{where}.automountServiceAccountToken", "expected false")
        if pod.get("serviceAccountName") == head_pod.get("serviceAccountName"):
            yield LintFinding(
                f"{where}.serviceAccountName",
                "expected another account than the head's, which may change pods",
            )
    if spec.get("enableInTreeAutoscaling"):
        yield from _autoscaler(path, spec, mapping(head_pod.get("securityContext")))


def _numbered(groups: list[dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    return [(f"workerGroupSpecs[{index}]", group) for index, group in enumerate(groups)]


def _autoscaler(path: str, spec: dict[str, Any], pod: dict[str, Any]) -> Findings:
    """Check the container that the operator adds to the head's pod like the others."""
    options = mapping(spec.get("autoscalerOptions"))
    where = f"{path}.autoscalerOptions"
    if options.get("version") != "v2":
        yield LintFinding(f"{where}.version", "expected v2")
    yield from _check_restricted(f"{where}.securityContext", options.get("securityContext"), pod)
    yield from _requests_are_limits(f"{where}.resources", options.get("resources"))


def _budget(document: Document) -> Findings:
    labels = mapping(mapping(document.spec.get("selector")).get("matchLabels"))
    if not any(str(label).startswith("ray.io/") for label in labels):
        return
    least = document.spec.get("minAvailable")
    if isinstance(least, bool) or not isinstance(least, int) or "maxUnavailable" in document.spec:
        yield LintFinding(
            "spec.minAvailable",
            "expected a whole number and no maxUnavailable: Kubernetes cannot count the rest for "
            "pods of a custom resource",
        )


def unmet_settings(documents: list[Document]) -> Iterator[tuple[Document, LintFinding]]:
    """ConfigMaps, accounts and priority classes that a pod names and nobody makes."""
    existing = {(d.kind, str(d.metadata.get("name"))) for d in documents}
    for document in documents:
        for template in pod_templates(document):
            for path, kind, name in _references(template):
                if (kind, name) not in existing:
                    yield (
                        document,
                        LintFinding(path, f"{kind} '{name}': expected among the manifests"),
                    )


def _references(template: PodTemplate) -> Iterator[tuple[str, str, str]]:
    where = f"{template.path}.spec".removeprefix(".")
    for field, kind in (
        ("serviceAccountName", "ServiceAccount"),
        ("priorityClassName", "PriorityClass"),
    ):
        if name := template.spec.get(field):
            yield f"{where}.{field}", kind, str(name)
    for path, container in template.containers():
        for index, source in enumerate(entries(container.get("envFrom"))):
            reference = mapping(source.get("configMapRef"))
            if (name := reference.get("name")) and not reference.get("optional"):
                yield f"{path}.envFrom[{index}].configMapRef", "ConfigMap", str(name)
