"""The operator's rules, each broken once; our own are broken in test_manifests.py."""

from __future__ import annotations

from typing import Any

import pytest
from kube_manifests import MISSING, every_path, one, place, raycluster, rayjob, render

from k8s.lint.documents import Document, number, quantity
from k8s.lint.kuberay import OLDEST, Version
from k8s.lint.lint import lint
from k8s.lint.rules import committed_problems, rule_problems

HEAD = "spec/headGroupSpec"
GROUP = "spec/workerGroupSpecs/0"
CLUSTER = "spec/rayClusterSpec"
RULES = [{"policy": "DeleteSelf", "condition": {"jobStatus": "FAILED", "ttlSeconds": 9}}]
LATER = [
    *RULES,
    {"policy": "DeleteCluster", "condition": {"jobStatus": "FAILED", "ttlSeconds": 10}},
]
V2 = [{"name": "RAY_enable_autoscaler_v2", "value": "1"}]
REDIS = [{"name": "RAY_REDIS_ADDRESS", "value": "redis:6379"}]
GENERATED = [{"name": "KUBERAY_GEN_AUTOSCALER_START_CMD", "value": "x"}]

SPOT = {f"{GROUP}/labels": {"ray.io/market-type": "spot"}}

Changes = dict[str, Any]
BAD_CLUSTERS: list[tuple[Changes, str, str]] = [
    ({"metadata/name": "a" * 54}, "metadata.name", "at most 53"),
    ({"metadata/name": "1st"}, "metadata.name", "beginning with a letter"),
    ({"metadata/name": "Sweeps"}, "metadata.name", "a-z"),
    ({"metadata/name": MISSING}, "metadata.name", "at most 53"),
    ({"apiVersion": "ray.io/v1alpha1"}, "apiVersion", "expected ray.io/v1"),
    ({f"{HEAD}/template/spec/containers": []}, "containers", "at least one"),
    ({f"{GROUP}/template/spec/containers": []}, "containers", "at least one"),
    ({f"{GROUP}/rayStartParams/labels": "a=b"}, "rayStartParams.labels", "the group's labels"),
    (
        {f"{GROUP}/rayStartParams/num-gpus": "1", f"{GROUP}/resources": {"GPU": "1"}},
        "resources",
        "one place only",
    ),
    ({f"{HEAD}/resources": {"CPU": "0"}}, "headGroupSpec.resources", "one place only"),
    ({f"{GROUP}/labels": {"ray.io/market type": "spot"}}, "labels", "a Kubernetes label"),
    ({f"{GROUP}/labels": {"pool": "-spot"}}, "labels", "a Kubernetes label"),
    ({f"{GROUP}/minReplicas": 9}, "minReplicas", "minReplicas <= maxReplicas"),
    ({f"{GROUP}/minReplicas": -1}, "minReplicas", "0 <= minReplicas"),
    ({f"{GROUP}/suspend": True}, "suspend", "where autoscaling is on"),
    ({f"{HEAD}/template/spec/restartPolicy": "Always"}, "restartPolicy", "autoscaler v2"),
    ({f"{GROUP}/template/spec/restartPolicy": "OnFailure"}, "restartPolicy", "autoscaler v2"),
    ({f"{HEAD}/template/spec/restartPolicy": MISSING}, "restartPolicy", "expected Never, written"),
    ({f"{GROUP}/template/spec/restartPolicy": MISSING}, "restartPolicy", "expected Never, written"),
    ({f"{HEAD}/template/spec/containers/0/env": V2}, "autoscalerOptions.version", "only"),
    (
        {"spec/enableInTreeAutoscaling": False, f"{HEAD}/template/spec/containers/0/env": V2},
        "enableInTreeAutoscaling",
        "expected true",
    ),
    ({"spec/autoscalerOptions/env": GENERATED}, "autoscalerOptions.env", "the operator's"),
    ({"spec/autoscalerOptions/idleTimeoutSeconds": -1}, "idleTimeoutSeconds", "0 or more"),
    ({f"{GROUP}/idleTimeoutSeconds": -1}, "idleTimeoutSeconds", "0 or more"),
    (
        {f"{GROUP}/idleTimeoutSeconds": 0, "spec/autoscalerOptions/version": "v1"},
        "workerGroupSpecs[0].idleTimeoutSeconds",
        "version v2",
    ),
    (
        {f"{GROUP}/priority": 1, "spec/autoscalerOptions/version": "v1"},
        "workerGroupSpecs[0].priority",
        "version v2",
    ),
    ({f"{GROUP}/priority": 1, "spec/rayVersion": "2.55.9"}, "priority", "2.56.0"),
    ({"spec/rayVersion": "2.51.0"}, "rayVersion", "2.52.0"),
    ({"spec/rayVersion": "newest"}, "rayVersion", "2.52.0"),
    (
        {
            "spec/authOptions": {"mode": "token", "enableK8sTokenAuth": True},
            "spec/rayVersion": "2.54.0",
        },
        "rayVersion",
        "2.55.0",
    ),
    ({"spec/authOptions/enableK8sTokenAuth": True}, "authOptions.secretName", "expected none"),
    ({"spec/authOptions": {"enableK8sTokenAuth": True}}, "authOptions.mode", "with enableK8s"),
    (
        {f"{HEAD}/template/spec/containers/0/env": REDIS},
        "gcsFaultToleranceOptions",
        "RAY_REDIS_ADDRESS",
    ),
    (
        {
            f"{HEAD}/template/spec/containers/0/env": REDIS,
            "spec/gcsFaultToleranceOptions": {"redisAddress": "redis:6379"},
        },
        "gcsFaultToleranceOptions",
        "no RAY_REDIS_ADDRESS",
    ),
    ({f"{HEAD}/rayStartParams/redis-username": "me"}, "redisUsername", "expected the user here"),
    (
        {
            f"{HEAD}/rayStartParams/redis-password": "x",
            "spec/gcsFaultToleranceOptions": {"redisAddress": "redis:6379"},
        },
        "gcsFaultToleranceOptions",
        "no redis-password",
    ),
    (
        {
            "metadata/annotations": {"ray.io/ft-enabled": "true"},
            "spec/gcsFaultToleranceOptions": {},
        },
        "gcsFaultToleranceOptions",
        "no annotation",
    ),
    ({"spec/gcsFaultToleranceOptions": {"backend": "rocksdb"}}, "backend", "feature gate"),
    ({"spec/gcsFaultToleranceOptions": {"storage": {}}}, "storage", "rocksdb only"),
    ({"spec/networkPolicy": {"mode": "DenyAll"}}, "networkPolicy", "RayClusterNetworkPolicy"),
    ({"spec/tlsOptions": {}}, "tlsOptions", "RayClusterMTLS"),
    ({"spec/historyServerOptions": {}}, "historyServerOptions", "RayClusterHistoryServer"),
    ({"spec/upgradeStrategy": {"type": "NewCluster"}}, "upgradeStrategy.type", "Recreate"),
    ({"spec/managedBy": "me"}, "managedBy", "kueue.x-k8s.io/multikueue"),
    (SPOT, "headGroupSpec.template.spec.nodeSelector", "as there are spot nodes"),
]
BAD_JOBS: list[tuple[Changes, str, str]] = [
    ({"metadata/name": "a" * 48}, "metadata.name", "at most 47"),
    ({"spec/shutdownAfterJobFinishes": False}, "ttlSecondsAfterFinished", "shutdownAfterJob"),
    (
        {
            "spec/shutdownAfterJobFinishes": False,
            "spec/ttlSecondsAfterFinished": 0,
            "spec/suspend": True,
        },
        "spec.suspend",
        "shutdownAfterJobFinishes",
    ),
    ({"spec/ttlSecondsAfterFinished": -1}, "ttlSecondsAfterFinished", "0 or more"),
    ({"spec/backoffLimit": -1}, "backoffLimit", "0 or more"),
    ({"spec/activeDeadlineSeconds": 0}, "activeDeadlineSeconds", "more than 0"),
    ({"spec/preRunningDeadlineSeconds": -5}, "preRunningDeadlineSeconds", "more than 0"),
    ({CLUSTER: MISSING}, "rayClusterSpec", "or a clusterSelector"),
    ({"spec/clusterSelector": {"name": "sweeps"}}, "clusterSelector", "ray.io/cluster"),
    (
        {"spec/clusterSelector": {"ray.io/cluster": "sweeps"}, "spec/suspend": True},
        "spec.suspend",
        "clusterSelector",
    ),
    (
        {"spec/clusterSelector": {"ray.io/cluster": "sweeps"}, "spec/backoffLimit": 1},
        "spec.backoffLimit",
        "clusterSelector",
    ),
    (
        {"spec/clusterSelector": {"ray.io/cluster": "s"}, "spec/submissionMode": "SidecarMode"},
        "spec.submissionMode",
        "clusterSelector",
    ),
    (
        {"spec/submissionMode": "InteractiveMode", "spec/backoffLimit": 1},
        "spec.backoffLimit",
        "InteractiveMode",
    ),
    (
        {"spec/submissionMode": "SidecarMode", "spec/submitterConfig": {"backoffLimit": 1}},
        "submitterConfig",
        "SidecarMode",
    ),
    (
        {"spec/submissionMode": "SidecarMode", "spec/submitterPodTemplate": {}},
        "submitterPodTemplate",
        "SidecarMode",
    ),
    (
        {
            "spec/submissionMode": "SidecarMode",
            f"{CLUSTER}/enableInTreeAutoscaling": False,
            f"{CLUSTER}/headGroupSpec/template/spec/restartPolicy": "Always",
        },
        "restartPolicy",
        "SidecarMode",
    ),
    ({"spec/deletionStrategy": {"deletionRules": RULES}}, "deletionRules", "no shutdownAfter"),
    ({"spec/deletionStrategy": {}}, "deletionRules", "at least one"),
    ({"spec/deletionStrategy": {"onSuccess": {}}}, "deletionStrategy", "deprecated"),
    (
        {"spec/deletionStrategy": {"deletionRules": [RULES[0], RULES[0]]}},
        "deletionRules[1]",
        "a second rule",
    ),
    ({"spec/deletionStrategy": {"deletionRules": LATER}}, "deletionRules", "workers before"),
    (
        {"spec/deletionStrategy": {"deletionRules": [{"policy": "DeleteSelf", "condition": {}}]}},
        "condition",
        "either jobStatus",
    ),
    (
        {
            "spec/deletionStrategy": {
                "deletionRules": [{"policy": "DeleteWorkers", "condition": {"jobStatus": "FAILED"}}]
            }
        },
        "policy",
        "autoscaling",
    ),
    (
        {
            "spec/clusterSelector": {"ray.io/cluster": "sweeps"},
            "spec/deletionStrategy": {
                "deletionRules": [{"policy": "DeleteCluster", "condition": {"jobStatus": "FAILED"}}]
            },
        },
        "policy",
        "clusterSelector",
    ),
    ({f"{CLUSTER}/upgradeStrategy": {"type": "Recreate"}}, "upgradeStrategy", "of its own"),
    (
        {f"{CLUSTER}/authOptions": {"mode": "token", "enableK8sTokenAuth": True}},
        "enableK8sTokenAuth",
        "not supported in a RayJob",
    ),
    ({f"{CLUSTER}/headGroupSpec/rayStartParams": {}}, "num-cpus", '"0"'),
]


def problems(
    body: dict[str, Any], changes: Changes | None = None, operator: Version = OLDEST
) -> list[tuple[str, str]]:
    """Path and message of what the rules find, with the base's settings beside the object."""
    for path, value in (changes or {}).items():
        place(body, path, value)
    document = Document("bad.yaml", body)
    settings = one(render("base"), "ConfigMap", "sweeps-settings")
    return [(p.path, p.message) for p in rule_problems(document, [document, settings], operator)]


def test_the_unspoilt_cluster_and_job_are_clean() -> None:
    """What the tables below change is clean before."""
    assert problems(raycluster()) == []
    assert problems(rayjob()) == []


@pytest.mark.parametrize(("changes", "path", "message"), BAD_CLUSTERS)
def test_a_cluster_that_the_operator_refuses_is_a_problem(
    changes: Changes, path: str, message: str
) -> None:
    """Every rule of the operator for a RayCluster is found, at its place and with its reason."""
    found = problems(raycluster(), changes)
    assert [f for f in found if path in f[0] and message in f[1]], found


@pytest.mark.parametrize(("changes", "path", "message"), BAD_JOBS)
def test_a_job_that_the_operator_refuses_is_a_problem(
    changes: Changes, path: str, message: str
) -> None:
    """Every rule of the operator for a RayJob is found, in its cluster as well."""
    found = problems(rayjob(), changes)
    assert [f for f in found if path in f[0] and message in f[1]], found


@pytest.mark.parametrize(
    "changes",
    [
        {"metadata/name": MISSING, "metadata/generateName": "sweeps-"},
        {f"{GROUP}/priority": 0, f"{GROUP}/idleTimeoutSeconds": 0},
        {f"{GROUP}/minReplicas": MISSING, f"{GROUP}/maxReplicas": MISSING},
        {f"{GROUP}/labels": {"ray.io/market-type": "on-demand", "empty": ""}},
        {**SPOT, f"{HEAD}/template/spec/nodeSelector": {"capacity": "on-demand"}},
        {**SPOT, f"{HEAD}/template/spec/affinity": {"nodeAffinity": {}}},
        {
            "metadata/annotations": {"ray.io/ft-enabled": "true"},
            f"{HEAD}/template/spec/containers/0/env": REDIS,
        },
        {"spec/upgradeStrategy": {"type": "Recreate"}},
        {f"{GROUP}/template/spec/containers/0/resources/requests/cpu": "4000m"},
        {f"{GROUP}/template/spec/containers/0/image": "host:5000/sweeps@sha256:" + "0" * 64},
        {f"{GROUP}/template/spec/terminationGracePeriodSeconds": 60},
    ],
)
def test_what_the_operator_takes_is_no_problem(changes: Changes) -> None:
    """Rules refuse no more than they must."""
    assert problems(raycluster(), changes) == []


@pytest.mark.parametrize(
    ("operator", "ray", "allowed"),
    [
        ((1, 7, 0), "2.60.0", False),
        ((1, 7, 1), "2.55.1", False),
        ((1, 7, 1), "newest", False),
        ((1, 7, 1), "2.56.0", True),
        ((1, 8, 0), "2.60.0", True),
    ],
)
def test_whether_pods_may_restart_depends_on_the_operator_and_ray(
    operator: Version, ray: str, allowed: bool
) -> None:
    """Where both are new enough any policy may be written out; no other rule changes."""
    policy = {f"{HEAD}/template/spec/restartPolicy": "Always", "spec/rayVersion": ray}
    found = problems(raycluster(), policy, operator)
    about = [message for path, message in found if path.endswith("restartPolicy")]
    assert (about == []) == allowed
    assert all("before KubeRay 1.7.1 and Ray 2.56.0" in message for message in about)
    unsaid = problems(raycluster(), {f"{HEAD}/template/spec/restartPolicy": MISSING}, operator)
    assert [path for path, _ in unsaid] == ["spec.headGroupSpec.template.spec.restartPolicy"]


def test_a_group_may_set_its_own_drain() -> None:
    """A container's own drain time goes before that of the shared settings."""
    variable = [{"name": "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S", "value": "60"}]
    changes = {f"{GROUP}/template/spec/containers/0/env": variable}
    assert problems(raycluster(), changes) == []
    variable[0]["value"] = "61"
    found = problems(raycluster(), changes)
    assert [message for _, message in found] == [
        "75 with RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S=61: expected 76 or more"
    ]


@pytest.mark.parametrize("kind", ["Job", "CronJob", "RayJob", "RayCronJob", "Secret"])
def test_jobs_and_secrets_are_not_for_a_repository(kind: str) -> None:
    """Only with `committed`: a RayJob to be submitted is checked without."""
    assert committed_problems(Document("x", {"kind": kind}))[0].path == "kind"


@pytest.mark.parametrize("make", [raycluster, rayjob])
@pytest.mark.parametrize("value", [[], {}, "x", 7, None], ids=repr)
def test_values_of_any_type_stop_no_rule(make: Any, value: Any) -> None:
    """A manifest that is wrong in kind is reported by its schema, never by a traceback."""
    for path in every_path(make()):
        body = make()
        place(body, path, value)
        lint([Document("odd.yaml", body)], {}, committed=True)


@pytest.mark.parametrize(
    ("text", "size"),
    [("1", 1), (2, 2), ("500m", 0.5), ("1Ki", 1024), ("1.5Gi", 1.5 * 2**30), ("2M", 2e6)],
)
def test_quantities_are_read_as_kubernetes_does(text: Any, size: float) -> None:
    """Decimal and binary units differ."""
    read = quantity(text)
    assert read is not None
    assert float(read) == size


@pytest.mark.parametrize("text", [None, "", "lots", "1 Gi", "-1", "1gi"])
def test_what_is_no_quantity_has_none(text: Any) -> None:
    """A misspelt unit is no number."""
    assert quantity(text) is None
    assert number(text) == 0
