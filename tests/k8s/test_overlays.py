"""What the manifests in k8s/ say: room, groups, queues, metrics, network, rights, the store."""

from __future__ import annotations

import os
from decimal import Decimal
from typing import Any

import boto3
import pytest
from kube_manifests import OVERLAYS, one, render

from cluster.stores.s3_client import make_client
from k8s.lint.documents import Document, pod_templates, quantity


def _most(document: Document) -> dict[str, Decimal]:
    """What a RayCluster requests at its largest."""
    spec = document.spec
    groups = [(1, spec["headGroupSpec"])]
    groups += [(group["maxReplicas"], group) for group in spec["workerGroupSpecs"]]
    total: dict[str, Decimal] = {}
    parts = [(n, g["template"]["spec"]["containers"][0]["resources"]) for n, g in groups]
    if spec["enableInTreeAutoscaling"]:
        parts.append((1, spec["autoscalerOptions"]["resources"]))
    for count, resources in parts:
        for name, value in resources["requests"].items():
            size = quantity(value)
            assert size is not None
            total[name] = total.get(name, Decimal(0)) + count * size
    total["pods"] = Decimal(sum(count for count, _ in groups))
    return total


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_quota_admits_the_cluster_at_its_largest(overlay: str) -> None:
    """An autoscaler that may ask for more than the quota allows would try for ever."""
    documents = render(overlay)
    hard = one(documents, "ResourceQuota").spec["hard"]
    most = _most(one(documents, "RayCluster"))
    assert most["pods"] <= int(hard["pods"])
    for name in ("cpu", "memory"):
        for side in ("requests", "limits"):
            allowed = quantity(hard[f"{side}.{name}"])
            assert allowed is not None
            assert most[name] <= allowed
    if gpus := most.get("nvidia.com/gpu"):
        assert gpus <= int(hard["requests.nvidia.com/gpu"])


def test_the_gpu_pool_prefers_spot_nodes_and_drains_them_sooner() -> None:
    """Two groups with the same GPU; the spot one has the priority, the label, and less time."""
    documents = render("overlays/gpu-pool")
    cluster = one(documents, "RayCluster").spec
    demand, spot = cluster["workerGroupSpecs"]
    assert [demand["groupName"], spot["groupName"]] == ["gpu-ondemand", "gpu-spot"]
    assert spot["priority"] > demand.get("priority", 0)
    assert spot["labels"] == {"ray.io/market-type": "spot"}
    pods = [group["template"]["spec"] for group in (demand, spot)]
    assert [pod["terminationGracePeriodSeconds"] for pod in pods] == [75, 40]
    for pod, kind in zip(pods, ("on-demand", "spot"), strict=True):
        assert pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
        assert pod["nodeSelector"]["karpenter.sh/capacity-type"] == kind
        assert {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"} in pod[
            "tolerations"
        ]
        names = [variable["name"] for variable in pod["containers"][0]["env"]]
        assert "NVIDIA_VISIBLE_DEVICES" not in names  # it would overrule the device plugin
        assert "NVIDIA_DRIVER_CAPABILITIES" in names
    head = cluster["headGroupSpec"]["template"]["spec"]
    assert head["nodeSelector"] == {"karpenter.sh/capacity-type": "on-demand"}


def test_kueue_gets_a_queue_and_a_fixed_size() -> None:
    """Kueue admits a cluster as a whole: no autoscaler, and no right to change pods."""
    cluster = one(render("overlays/kueue"), "RayCluster")
    assert cluster.metadata["labels"]["kueue.x-k8s.io/queue-name"] == "sweeps"
    assert cluster.spec["enableInTreeAutoscaling"] is False
    for group in cluster.spec["workerGroupSpecs"]:
        assert group["minReplicas"] == group["replicas"] == group["maxReplicas"] > 0
    for template in pod_templates(cluster):
        assert template.spec["automountServiceAccountToken"] is False


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_metrics_are_asked_where_something_answers(overlay: str) -> None:
    """Head ports are scraped, let through and served together; the autoscaler's with it alone."""
    documents = render(overlay)
    cluster = one(documents, "RayCluster")
    [container] = pod_templates(cluster)[0].spec["containers"]
    served = {port["name"]: port["containerPort"] for port in container["ports"]}
    monitor = one(documents, "PodMonitor", "ray-head").spec
    scraped = {endpoint["port"] for endpoint in monitor["podMetricsEndpoints"]}
    scales = cluster.spec["enableInTreeAutoscaling"]
    assert ("as-metrics" in scraped) is scales
    assert scraped == {name for name in served if name.endswith("metrics")}
    [rule] = _policy(overlay, "metrics-from-monitoring")["ingress"]
    assert {port["port"] for port in rule["ports"]} == {served[name] for name in scraped}


@pytest.mark.parametrize("overlay", [o for o in OVERLAYS if o != "overlays/kueue"])
def test_the_autoscaler_reaches_api_servers_at_their_usual_ports(overlay: str) -> None:
    """Of kubeadm and most clouds, minikube and MicroK8s; 443 is open for the store."""
    [rule] = _policy(overlay, "api-server-from-head")["egress"]
    assert {port["port"] for port in rule["ports"]} == {6443, 8443, 16443}


def _rights(overlay: str, role: str) -> dict[tuple[str, ...], set[str]]:
    """What a Role allows: (group/resource, names it is limited to) to verbs."""
    return {
        (f"{group}/{resource}".strip("/"), *rule.get("resourceNames", ())): set(rule["verbs"])
        for rule in one(render(overlay), "Role", role).body["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_submitters_reach_the_head_and_nothing_else(overlay: str) -> None:
    """Roles are bound to nobody, read no Secret, and open port-forwards to named pods only."""
    documents = render(overlay)
    assert not [d for d in documents if d.kind.endswith("RoleBinding")]
    cluster = one(documents, "RayCluster").metadata["name"]
    assert _rights(overlay, "sweeps-submitter") == {
        ("pods/portforward", f"{cluster}-head"): {"create"},
        ("services", f"{cluster}-head-svc"): {"get"},
        ("pods",): {"get", "list"},
    }
    assert _rights(overlay, "sweeps-rayjob-submitter") == {
        ("ray.io/rayjobs",): {"create", "get", "list", "watch", "delete"},
        ("ray.io/rayclusters",): {"get", "list"},
    }
    for role in (d for d in documents if d.kind == "Role"):
        for rule in role.body["rules"]:
            assert "secrets" not in rule["resources"]
            assert "pods/portforward" not in rule["resources"] or rule["resourceNames"]


def test_the_tryout_store_is_reached_by_a_role_of_its_own() -> None:
    """A port-forward to the StatefulSet's only pod."""
    store = one(render("overlays/cpu-tryout"), "StatefulSet", "store")
    assert store.spec["replicas"] == 1
    assert _rights("overlays/cpu-tryout", "tryout-store-user") == {
        ("pods/portforward", "store-0"): {"create"},
        ("pods", "store-0"): {"get"},
    }


def _policy(overlay: str, name: str) -> dict[str, Any]:
    return one(render(overlay), "NetworkPolicy", name).spec


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_network_is_closed_but_for_what_is_named(overlay: str) -> None:
    """Everything is denied first, and every opening to the outside names its ports."""
    policies = [d for d in render(overlay) if d.kind == "NetworkPolicy"]
    assert _policy(overlay, "default-deny") == {
        "podSelector": {},
        "policyTypes": ["Ingress", "Egress"],
    }
    for policy in policies:
        rules = policy.spec.get("ingress", []) + policy.spec.get("egress", [])
        if policy.metadata["name"] != "between-ray-nodes":
            assert all(rule["ports"] for rule in rules), policy
        for rule in rules:
            peers = rule.get("to", []) + rule.get("from", [])
            assert peers, policy  # no peers would mean everybody
            blocks = [peer["ipBlock"] for peer in peers if "ipBlock" in peer]
            assert all(block["except"] == ["169.254.0.0/16"] for block in blocks)


def test_the_labels_of_policies_are_the_operators() -> None:
    """Ray's pods are chosen by labels that the operator gives to every pod."""
    given = {"ray.io/is-ray-node", "ray.io/node-type", "ray.io/cluster"}
    chosen = {
        label
        for document in render("base")
        if document.kind in {"NetworkPolicy", "PodDisruptionBudget", "PodMonitor"}
        for label in (document.spec.get("podSelector") or document.spec.get("selector") or {}).get(
            "matchLabels", {}
        )
    }
    assert chosen <= given
    assert len(chosen) > 1


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_stores_address_redirects_s3_alone(
    overlay: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a pod's settings the store is at its address, and STS, for workload identity, at AWS."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, os.devnull)
    settings = one(render(overlay), "ConfigMap", "sweeps-settings").body["data"]
    for name, value in settings.items():
        if name.startswith("AWS_"):
            monkeypatch.setenv(name, value)
    assert make_client().meta.endpoint_url == settings["AWS_ENDPOINT_URL_S3"]
    sts = boto3.Session().client("sts", region_name=settings["AWS_REGION"])
    assert sts.meta.endpoint_url.endswith(".amazonaws.com")
