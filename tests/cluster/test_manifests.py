"""The manifests in k8s/: they render, they are clean, and spoiling them is noticed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError
from kube_manifests import (
    CRDS,
    K8S,
    MISSING,
    OVERLAYS,
    WITHOUT_CRDS,
    crds,
    kustomize,
    one,
    place,
    render,
)

from cluster.kube_documents import Document, pod_templates, quantity, read_documents
from cluster.kube_lint import lint
from cluster.s3_store import make_client
from cluster.seaweed import choose_ports, find_binary

MONITORING = {"PodMonitor", "PrometheusRule"}
HEAD = "spec/headGroupSpec/template/spec"
WORKER = "spec/workerGroupSpecs/0/template/spec"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_renders_and_is_clean(overlay: str) -> None:
    """Core schemas, pod templates and all rules find nothing, even without CRDs."""
    report = lint(render(overlay), {}, committed=True)
    assert report.problems == []
    assert {d.kind for d in report.unchecked} == {*MONITORING, "RayCluster"}
    assert report.checked >= 15


@pytest.mark.skipif(not CRDS.exists(), reason=WITHOUT_CRDS)
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_fits_kuberays_schema(overlay: str) -> None:
    """With KubeRay's CRDs only what the Prometheus operator reads stays unchecked."""
    report = lint(render(overlay), crds(), committed=True)
    assert report.problems == []
    assert {d.kind for d in report.unchecked} == MONITORING


Change = tuple[str, str, str, Any, str]
CHANGES: list[Change] = [
    ("RayCluster", "", f"{HEAD}/containers/0/securityContext", MISSING, "readOnlyRootFilesystem"),
    ("RayCluster", "", f"{WORKER}/containers/0/securityContext", MISSING, "capabilities"),
    ("RayCluster", "", f"{WORKER}/securityContext", MISSING, "runAsNonRoot"),
    ("RayCluster", "", f"{HEAD}/securityContext/runAsUser", 0, "runAsUser"),
    ("RayCluster", "", f"{WORKER}/securityContext/seccompProfile", MISSING, "seccompProfile"),
    ("RayCluster", "", f"{WORKER}/containers/0/resources/requests/cpu", "1m", "requests.cpu"),
    ("RayCluster", "", f"{HEAD}/containers/0/resources/limits/memory", MISSING, "limits.memory"),
    ("RayCluster", "", f"{WORKER}/terminationGracePeriodSeconds", 34, "GracePeriod"),
    ("RayCluster", "", f"{WORKER}/terminationGracePeriodSeconds", MISSING, "GracePeriod"),
    ("RayCluster", "", f"{HEAD}/containers/0/image", "sweeps:latest", "image"),
    ("RayCluster", "", f"{WORKER}/containers/0/image", "host:5000/sweeps", "image"),
    ("RayCluster", "", f"{WORKER}/volumes/3/emptyDir", {}, "sizeLimit"),
    ("RayCluster", "", f"{WORKER}/volumes/3/emptyDir/sizeLimit", "1Ti", "volumes"),
    ("RayCluster", "", f"{WORKER}/volumes/3", {"name": "c", "hostPath": {"path": "/"}}, "hostPath"),
    ("RayCluster", "", f"{WORKER}/hostNetwork", True, "hostNetwork"),
    ("RayCluster", "", f"{WORKER}/automountServiceAccountToken", True, "automount"),
    ("RayCluster", "", f"{WORKER}/serviceAccountName", "sweeps-head", "serviceAccountName"),
    ("RayCluster", "", f"{WORKER}/serviceAccountName", "nobody", "serviceAccountName"),
    ("RayCluster", "", f"{WORKER}/priorityClassName", "absent", "priorityClassName"),
    ("RayCluster", "", "spec/headGroupSpec/rayStartParams/num-cpus", "4", "num-cpus"),
    ("RayCluster", "", "spec/authOptions", MISSING, "authOptions.mode"),
    ("RayCluster", "", "spec/rayVersion", MISSING, "rayVersion"),
    ("ConfigMap", "sweeps-settings", "metadata/name", "other", "configMapRef"),
    (
        "ConfigMap",
        "sweeps-settings",
        "data/RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S",
        "61",
        "GracePeriod",
    ),
    ("PodDisruptionBudget", "", "spec", {"maxUnavailable": 0}, ""),
    ("NetworkPolicy", "names", "spec/policyType", ["Egress"], "policyType"),
    ("PodMonitor", "ray-head", "kind", "RayJob", "kind"),
    ("Namespace", "", "kind", "Secret", "kind"),
]


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("change", CHANGES, ids=lambda c: f"{c[2].split('/')[-1]}-{c[4]}")
def test_spoiling_a_manifest_is_noticed(overlay: str, change: Change) -> None:
    """Each rule of the project, broken in an otherwise clean overlay, is a problem there."""
    kind, name, path, value, expected = change
    documents = render(overlay)
    body = one(documents, kind, name).body
    if kind == "PodDisruptionBudget":
        value = {**body["spec"], **value}
        del value["minAvailable"]
        expected = "minAvailable"
    place(body, path, value)
    paths = [problem.path for _, problem in lint(documents, {}, committed=True).problems]
    assert [found for found in paths if expected in found]


@pytest.mark.parametrize("overlay", [o for o in OVERLAYS if o != "overlays/kueue"])
@pytest.mark.parametrize("field", ["securityContext", "resources", "version"])
def test_the_autoscalers_container_is_held_too(overlay: str, field: str) -> None:
    """The container that the operator adds has the same rules as those in the file."""
    documents = render(overlay)
    place(one(documents, "RayCluster").body, f"spec/autoscalerOptions/{field}", MISSING)
    paths = [problem.path for _, problem in lint(documents, {}).problems]
    assert [path for path in paths if path.startswith(f"spec.autoscalerOptions.{field}")]


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


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_submitters_may_submit_and_no_more(overlay: str) -> None:
    """A Role for RayJobs and port-forwards that is bound to nobody, and reads no Secret."""
    documents = render(overlay)
    assert not [d for d in documents if d.kind.endswith("RoleBinding")]
    rules = one(documents, "Role", "sweeps-submitter").body["rules"]
    granted = {
        f"{group}/{resource}".strip("/"): set(rule["verbs"])
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }
    assert granted == {
        "ray.io/rayjobs": {"create", "get", "list", "watch", "delete"},
        "ray.io/rayclusters": {"get", "list"},
        "pods": {"get", "list"},
        "services": {"get", "list"},
        "pods/portforward": {"create"},
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


@pytest.mark.parametrize("overlay", OVERLAYS[1:])
def test_workload_identity_replaces_the_keys(overlay: str, tmp_path: Path) -> None:
    """With the component in an overlay no pod of Ray reads the key pair, and nothing is amiss."""
    for part in ("base", "components", overlay):
        target = tmp_path / "k8s" / part
        target.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cp", "-r", str(K8S / part), str(target)], check=True)
    own = tmp_path / "k8s" / overlay / "kustomization.yaml"
    own.write_text(own.read_text() + "components: [../../components/workload-identity]\n")
    documents = read_documents(kustomize(own.parent), overlay)
    assert lint(documents, {}, committed=True).problems == []
    assert "store-credentials" not in yaml.safe_dump(one(documents, "RayCluster").body)
    accounts = [d for d in documents if d.kind == "ServiceAccount"]
    assert len(accounts) == 2
    assert all("eks.amazonaws.com/role-arn" in d.metadata["annotations"] for d in accounts)


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


def test_no_secret_and_no_job_lies_in_the_folder() -> None:
    """The files hold what stays; keys and jobs are made by commands."""
    kinds = {
        document["kind"]
        for path in K8S.rglob("*.yaml")
        for document in yaml.safe_load_all(path.read_text())
        if isinstance(document, dict) and "kind" in document
    }
    assert "RayCluster" in kinds
    assert not kinds & {"Secret", "Job", "CronJob", "RayJob"}


def test_readme_names_files_that_exist() -> None:
    """Folders and kustomizations that the instructions name are there."""
    text = (K8S / "README.md").read_text()
    for overlay in OVERLAYS[1:]:
        assert overlay in text
        assert (K8S / overlay / "kustomization.yaml").exists()


@pytest.fixture
def tryout_store(tmp_path: Path) -> Any:
    """The try-out store's own container, run here: endpoint, its start-up probe, its command."""
    documents = render("overlays/cpu-tryout")
    container = pod_templates(one(documents, "StatefulSet"))[0].spec["containers"][0]
    ports = choose_ports(None)
    here = {"-dir": tmp_path / "data", "-s3.ip.bind": "127.0.0.1", "-s3.port": ports["s3"]}
    command = [str(find_binary())]
    for argument in container["command"][1:]:
        name, _, _ = argument.partition("=")
        command.append(f"{name}={here[name]}" if name in here else argument)
    command += [f"-{part}.port={ports[part]}" for part in ("master", "volume", "filer")]
    (tmp_path / "data").mkdir()
    keys = {"AWS_ACCESS_KEY_ID": "tryout", "AWS_SECRET_ACCESS_KEY": "tryout-secret"}
    assert {variable["name"] for variable in container["env"]} == set(keys)
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(
            command, env={**os.environ, **keys}, stdout=log, stderr=log, cwd=tmp_path
        )
    try:
        endpoint = f"http://127.0.0.1:{ports['s3']}"
        probe = container["startupProbe"]["exec"]["command"]
        code = probe[-1].replace("http://127.0.0.1:8333", endpoint)
        assert code != probe[-1]
        yield endpoint, [sys.executable, *probe[1:-1], code], keys
    finally:
        server.kill()
        server.wait()


def test_the_tryout_store_makes_its_bucket_and_refuses_strangers(
    tryout_store: tuple[str, list[str], dict[str, str]],
) -> None:
    """The start-up probe makes the bucket; a wrong key and no key are refused."""
    endpoint, probe, keys = tryout_store
    environment = {**os.environ, **keys}
    deadline = time.monotonic() + 60
    while subprocess.run(probe, env=environment, capture_output=True, check=False).returncode:
        assert time.monotonic() < deadline, "the start-up probe does not succeed"
        time.sleep(0.5)

    def client(secret: str = "", **options: Any) -> Any:
        return boto3.client(
            "s3",
            endpoint_url=endpoint,
            region_name="us-east-1",
            aws_access_key_id=keys["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=secret or keys["AWS_SECRET_ACCESS_KEY"],
            **options,
        )

    client().head_bucket(Bucket="sweeps")
    client().put_object(Bucket="sweeps", Key="x", Body=b"1", IfNoneMatch="*")
    refused: list[Callable[[], Any]] = [
        lambda: client("wrong").get_object(Bucket="sweeps", Key="x"),
        lambda: client(config=Config(signature_version=UNSIGNED)).get_object(
            Bucket="sweeps", Key="x"
        ),
    ]
    for request in refused:
        with pytest.raises(ClientError) as error:
            request()
        assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
