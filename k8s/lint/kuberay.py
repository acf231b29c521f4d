"""Rules of the KubeRay operator 1.7 that no schema holds: it refuses what breaks them at run time.

Its alpha features count as switched off, as they are by default. Where releases differ, the
strictest holds unless the operator's version is given.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from k8s.lint.documents import Document, LintFinding, entries, mapping, number, ray_cluster

Findings = Iterator[LintFinding]
Version = tuple[int, ...]

_LONGEST = {"RayCluster": 53, "RayJob": 47}
_V2_SWITCH = "RAY_enable_autoscaler_v2"
_RESOURCES = ("num-cpus", "num-gpus", "memory", "resources")
_ALPHA = {
    "networkPolicy": "RayClusterNetworkPolicy",
    "tlsOptions": "RayClusterMTLS",
    "historyServerOptions": "RayClusterHistoryServer",
}
OLDEST: Version = (1, 7, 0)
"""The operator whose rules are held by default."""
_ANY_RESTART: tuple[Version, Version] = ((1, 7, 1), (2, 56, 0))
"""KubeRay and Ray from which pods of an autoscaled cluster may restart (kuberay#4816)."""
_LABEL_PART = r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?"
_LABEL_KEY = rf"([a-z0-9]([a-z0-9.-]{{0,251}}[a-z0-9])?/)?{_LABEL_PART}"


def kuberay_problems(document: Document, operator: Version = OLDEST) -> Findings:
    """What the operator would refuse in a RayCluster or a RayJob; other kinds have none.

    Args:
        document: The object.
        operator: The operator's version, (1, 7, 0) say.
    """
    if document.kind not in _LONGEST:
        return
    yield from _name(document)
    if document.api_version != "ray.io/v1":
        yield LintFinding(
            "apiVersion", f"'{document.api_version}' is deprecated: expected ray.io/v1"
        )
    if cluster := ray_cluster(document):
        for rule in (_groups, _autoscaling, _authentication, _gates):
            yield from rule(*cluster)
        yield from _restarts(*cluster, operator)
        yield from _fault_tolerance(*cluster, mapping(document.metadata.get("annotations")))
    if document.kind == "RayJob":
        for job_rule in _JOB_RULES:
            yield from job_rule(document.spec)


def _name(document: Document) -> Findings:
    name, most = str(document.metadata.get("name", "")), _LONGEST[document.kind]
    if not name and (prefix := document.metadata.get("generateName")):
        name = f"{prefix}12345"  # as many characters as an API server adds
    if len(name) > most or not re.fullmatch(r"[a-z]([a-z0-9-]*[a-z0-9])?", name):
        yield LintFinding(
            "metadata.name",
            f"'{name}': expected at most {most} of a-z, 0-9 and '-', beginning with a letter and "
            "not ending with '-'",
        )


def _all_groups(path: str, spec: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    yield f"{path}.headGroupSpec", mapping(spec.get("headGroupSpec"))
    for index, group in enumerate(entries(spec.get("workerGroupSpecs"))):
        yield f"{path}.workerGroupSpecs[{index}]", group


def _pod(group: dict[str, Any]) -> dict[str, Any]:
    return mapping(mapping(group.get("template")).get("spec"))


def _groups(path: str, spec: dict[str, Any]) -> Findings:
    for where, group in _all_groups(path, spec):
        parameters = mapping(group.get("rayStartParams"))
        if not entries(_pod(group).get("containers")):
            yield LintFinding(
                f"{where}.template.spec.containers", "expected at least one container"
            )
        if "labels" in parameters:
            yield LintFinding(
                f"{where}.rayStartParams.labels",
                "not supported: expected them in the group's labels",
            )
        if group.get("resources") and any(parameters.get(name) for name in _RESOURCES):
            yield LintFinding(
                f"{where}.resources", "set in rayStartParams too: expected in one place only"
            )
        for key, value in mapping(group.get("labels")).items():
            if not re.fullmatch(_LABEL_KEY, str(key)) or not re.fullmatch(
                f"({_LABEL_PART})?", str(value)
            ):
                yield LintFinding(
                    f"{where}.labels", f"'{key}: {value}': expected a Kubernetes label"
                )
    for index, group in enumerate(entries(spec.get("workerGroupSpecs"))):
        least, most = group.get("minReplicas", 0), group.get("maxReplicas", 2**31 - 1)
        if isinstance(least, int) and isinstance(most, int) and not 0 <= least <= most:
            yield LintFinding(
                f"{path}.workerGroupSpecs[{index}].minReplicas",
                f"{least} with maxReplicas {most}: expected 0 <= minReplicas <= maxReplicas",
            )


def _environment(pod: dict[str, Any]) -> dict[str, str]:
    """Names and literal values of the Ray container's `env`, which is the first container's."""
    first = next(iter(entries(pod.get("containers"))), {})
    return {str(e.get("name")): str(e.get("value", "")) for e in entries(first.get("env"))}


def read_version(text: object) -> Version:
    """Read a version such as 2.60.0 or v1.7; (0,) is what cannot be read."""
    match = re.match(r"v?(\d+)\.(\d+)(?:\.(\d+))?", str(text))
    return tuple(int(part or 0) for part in match.groups()) if match else (0,)


def _autoscaling(path: str, spec: dict[str, Any]) -> Findings:
    options = mapping(spec.get("autoscalerOptions"))
    switch = _environment(_pod(mapping(spec.get("headGroupSpec")))).get(_V2_SWITCH)
    v2 = options.get("version") == "v2"
    if spec.get("enableInTreeAutoscaling"):
        if options.get("version") and switch is not None:
            yield LintFinding(
                f"{path}.autoscalerOptions.version",
                f"set together with the head's variable {_V2_SWITCH}: expected the version only",
            )
        for where, group in _all_groups(path, spec):
            if group.get("suspend"):
                yield LintFinding(f"{where}.suspend", "expected false where autoscaling is on")
    elif switch in {"1", "true"}:
        yield LintFinding(
            f"{path}.enableInTreeAutoscaling", f"expected true, as the head sets {_V2_SWITCH}"
        )
    if "KUBERAY_GEN_AUTOSCALER_START_CMD" in _environment({"containers": [options]}):
        yield LintFinding(
            f"{path}.autoscalerOptions.env", "sets KUBERAY_GEN_AUTOSCALER_START_CMD, the operator's"
        )
    if number(options.get("idleTimeoutSeconds")) < 0:
        yield LintFinding(f"{path}.autoscalerOptions.idleTimeoutSeconds", "expected 0 or more")
    yield from _scaled_groups(path, spec, v2 or switch in {"1", "true"})


def _restarts(path: str, spec: dict[str, Any], operator: Version) -> Findings:
    """Without a policy, operators that lift the rule leave Kubernetes' own default, Always."""
    options = mapping(spec.get("autoscalerOptions"))
    least_operator, least_ray = _ANY_RESTART
    if not spec.get("enableInTreeAutoscaling") or options.get("version") != "v2":
        return
    if operator >= least_operator and read_version(spec.get("rayVersion")) >= least_ray:
        return
    for where, group in _all_groups(path, spec):
        if _pod(group).get("restartPolicy", "Never") != "Never":
            yield LintFinding(
                f"{where}.template.spec.restartPolicy",
                "expected Never or none with autoscaler v2 before KubeRay "
                f"{_dotted(least_operator)} and Ray {_dotted(least_ray)}; --kuberay VERSION says "
                "which operator it is",
            )


def _dotted(version: Version) -> str:
    return ".".join(map(str, version))


def _scaled_groups(path: str, spec: dict[str, Any], v2: bool) -> Findings:
    for where, group in _all_groups(path, spec):
        idle = group.get("idleTimeoutSeconds")
        if number(idle) < 0:
            yield LintFinding(f"{where}.idleTimeoutSeconds", "expected 0 or more")
        if group.get("priority") and read_version(spec.get("rayVersion")) < (2, 56, 0):
            yield LintFinding(
                f"{where}.priority", "expected a rayVersion of 2.56.0 or later for it"
            )
        only_v2 = {"idleTimeoutSeconds": idle is not None, "priority": group.get("priority")}
        for name in (name for name, used in only_v2.items() if used):
            if not v2:
                yield LintFinding(f"{where}.{name}", "expected autoscalerOptions.version v2 for it")


def _authentication(path: str, spec: dict[str, Any]) -> Findings:
    options = mapping(spec.get("authOptions"))
    where = f"{path}.authOptions"
    token, delegated = options.get("mode") == "token", options.get("enableK8sTokenAuth")
    if token and read_version(spec.get("rayVersion")) < (2, 52, 0):
        yield LintFinding(
            f"{path}.rayVersion", "expected 2.52.0 or later with authOptions.mode token"
        )
    if delegated and read_version(spec.get("rayVersion")) < (2, 55, 0):
        yield LintFinding(f"{path}.rayVersion", "expected 2.55.0 or later with enableK8sTokenAuth")
    if delegated and not token:
        yield LintFinding(f"{where}.mode", "expected token with enableK8sTokenAuth")
    if delegated and options.get("secretName"):
        yield LintFinding(f"{where}.secretName", "expected none with enableK8sTokenAuth")
    if delegated and path != "spec":
        yield LintFinding(
            f"{where}.enableK8sTokenAuth", "not supported in a RayJob: expected false"
        )


def _fault_tolerance(path: str, spec: dict[str, Any], annotations: dict[str, Any]) -> Findings:
    head = mapping(spec.get("headGroupSpec"))
    variables = _environment(_pod(head))
    parameters = mapping(head.get("rayStartParams"))
    options = spec.get("gcsFaultToleranceOptions")
    where = f"{path}.gcsFaultToleranceOptions"
    annotated = str(annotations.get("ray.io/ft-enabled", ""))
    if annotated and options is not None:
        yield LintFinding(where, "expected no annotation ray.io/ft-enabled beside it")
    if options is None and "RAY_REDIS_ADDRESS" in variables and annotated.lower() != "true":
        yield LintFinding(where, "expected with RAY_REDIS_ADDRESS in the head's env")
    if "redis-username" in parameters or "REDIS_USERNAME" in variables:
        yield LintFinding(
            f"{where}.redisUsername", "expected the user here, not in the head's settings"
        )
    if options is None:
        return
    for name in ("RAY_REDIS_ADDRESS", "REDIS_PASSWORD"):
        if name in variables:
            yield LintFinding(where, f"expected no {name} in the head's env beside it")
    if parameters.get("redis-password"):
        yield LintFinding(
            where, "expected no redis-password in the head's rayStartParams beside it"
        )
    if mapping(options).get("backend") == "rocksdb":
        yield _off(f"{where}.backend", "GCSFaultToleranceEmbeddedStorage")
    elif "storage" in mapping(options):
        yield LintFinding(f"{where}.storage", "expected with the backend rocksdb only")


def _off(path: str, gate: str) -> LintFinding:
    return LintFinding(path, f"needs the operator's feature gate {gate}, which is off by default")


def _gates(path: str, spec: dict[str, Any]) -> Findings:
    for field, gate in _ALPHA.items():
        if spec.get(field) is not None:
            yield _off(f"{path}.{field}", gate)
    upgrade = mapping(spec.get("upgradeStrategy")).get("type")
    if upgrade is not None and path != "spec":
        yield LintFinding(f"{path}.upgradeStrategy", "expected only in a RayCluster of its own")
    elif upgrade not in (None, "Recreate", "None"):
        yield LintFinding(f"{path}.upgradeStrategy.type", f"'{upgrade}': expected Recreate or None")
    managed = ("ray.io/kuberay-operator", "kueue.x-k8s.io/multikueue")
    if spec.get("managedBy", managed[0]) not in managed:
        yield LintFinding(f"{path}.managedBy", f"expected {' or '.join(managed)}")


def _job_end(spec: dict[str, Any]) -> Findings:
    shutdown = bool(spec.get("shutdownAfterJobFinishes"))
    if number(spec.get("ttlSecondsAfterFinished")) > 0 and not shutdown:
        yield LintFinding(
            "spec.ttlSecondsAfterFinished", "expected shutdownAfterJobFinishes: true beside it"
        )
    if spec.get("suspend") and not shutdown:
        yield LintFinding("spec.suspend", "expected shutdownAfterJobFinishes: true beside it")
    for name in ("ttlSecondsAfterFinished", "backoffLimit"):
        if number(spec.get(name)) < 0:
            yield LintFinding(f"spec.{name}", "expected 0 or more")
    for name in ("activeDeadlineSeconds", "preRunningDeadlineSeconds"):
        if isinstance(spec.get(name), int) and spec[name] <= 0:
            yield LintFinding(f"spec.{name}", "expected more than 0")
    strategy = spec.get("deletionStrategy")
    if strategy is not None:
        yield from _deletion(mapping(strategy), spec, shutdown)


def _deletion(strategy: dict[str, Any], spec: dict[str, Any], shutdown: bool) -> Findings:
    where = "spec.deletionStrategy"
    legacy = {name for name in ("onSuccess", "onFailure") if strategy.get(name) is not None}
    rules = entries(strategy.get("deletionRules"))
    if legacy:
        yield LintFinding(where, "onSuccess and onFailure are deprecated: expected deletionRules")
    if not rules and not legacy:
        yield LintFinding(f"{where}.deletionRules", "expected at least one rule")
    if rules and shutdown:
        yield LintFinding(
            f"{where}.deletionRules", "expected no shutdownAfterJobFinishes beside them"
        )
    autoscaling = mapping(spec.get("rayClusterSpec")).get("enableInTreeAutoscaling")
    times: dict[tuple[str, str], dict[str, int]] = {}
    for index, rule in enumerate(rules):
        at, policy = f"{where}.deletionRules[{index}]", str(rule.get("policy"))
        condition = mapping(rule.get("condition"))
        states = [
            (n, str(condition[n])) for n in ("jobStatus", "jobDeploymentStatus") if n in condition
        ]
        if len(states) != 1:
            yield LintFinding(f"{at}.condition", "expected either jobStatus or jobDeploymentStatus")
            continue
        if spec.get("clusterSelector") and policy in {"DeleteCluster", "DeleteWorkers"}:
            yield LintFinding(f"{at}.policy", f"'{policy}': not supported with clusterSelector")
        if autoscaling and policy == "DeleteWorkers":
            yield LintFinding(f"{at}.policy", "'DeleteWorkers': not supported with autoscaling")
        seen = times.setdefault(states[0], {})
        if policy in seen:
            yield LintFinding(at, f"a second rule for {policy} and {states[0][1]}")
        seen[policy] = number(condition.get("ttlSeconds"))
    for state, seen in times.items():
        order = [seen[p] for p in ("DeleteWorkers", "DeleteCluster", "DeleteSelf") if p in seen]
        if order != sorted(order):
            yield LintFinding(
                f"{where}.deletionRules",
                f"ttlSeconds of {state[1]}: expected workers before the cluster before the job",
            )


def _job_cluster(spec: dict[str, Any]) -> Findings:
    selector = spec.get("clusterSelector")
    if not selector and "rayClusterSpec" not in spec:
        yield LintFinding("spec.rayClusterSpec", "expected, or a clusterSelector")
    if not selector:
        return
    if not mapping(selector).get("ray.io/cluster"):
        yield LintFinding(
            "spec.clusterSelector", "expected the cluster's name under ray.io/cluster"
        )
    if spec.get("suspend"):
        yield LintFinding("spec.suspend", "expected false with clusterSelector")
    if spec.get("submissionMode") == "SidecarMode":
        yield LintFinding(
            "spec.submissionMode", "SidecarMode is not supported with clusterSelector"
        )
    if number(spec.get("backoffLimit")) > 0:
        yield LintFinding("spec.backoffLimit", "expected 0 with clusterSelector")


def _job_mode(spec: dict[str, Any]) -> Findings:
    mode = spec.get("submissionMode")
    if mode == "InteractiveMode" and number(spec.get("backoffLimit")) > 0:
        yield LintFinding("spec.backoffLimit", "expected 0 in InteractiveMode")
    if mode != "SidecarMode":
        return
    for name in ("submitterPodTemplate", "submitterConfig"):
        if spec.get(name) is not None:
            yield LintFinding(f"spec.{name}", "expected none in SidecarMode")
    head = mapping(mapping(spec.get("rayClusterSpec")).get("headGroupSpec"))
    if _pod(head).get("restartPolicy", "Never") != "Never":
        yield LintFinding(
            "spec.rayClusterSpec.headGroupSpec.template.spec.restartPolicy",
            "expected Never or none in SidecarMode",
        )


_JOB_RULES: tuple[Callable[[dict[str, Any]], Findings], ...] = (_job_end, _job_cluster, _job_mode)
