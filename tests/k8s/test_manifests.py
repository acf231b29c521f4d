"""The manifests in k8s/: they render, they are clean, and spoiling them is noticed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
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
from port_probes import listeners, obeyed

from cluster.embedded.inner_tls import CERTIFICATE
from cluster.embedded.seaweed import choose_ports, inner_ports
from cluster.jobs.rayjob import render_rayjob
from cluster.jobs.requests import job_request
from k8s.lint.documents import Document, pod_templates, read_documents
from k8s.lint.lint import lint
from k8s.lint.rules import unmet_settings

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


def _beside_a_clone(folder: Path, *names: str) -> None:
    """Write kustomizations of the README beside a copy of `k8s/`, as its readers do."""
    blocks = re.findall(r"```yaml\n# (.*?)\n(.*?)```", (K8S / "README.md").read_text(), re.DOTALL)
    shutil.copytree(K8S, folder / "spurious-sweeps/k8s")
    for name in names:
        [text] = [body for title, body in blocks if title == f"{name}/kustomization.yaml"]
        (folder / name).mkdir()
        (folder / name / "kustomization.yaml").write_text(text)


def test_the_readmes_own_overlay_works(tmp_path: Path) -> None:
    """Image, settings, the registry's password and Prometheus' label arrive where they must."""
    _beside_a_clone(tmp_path, "my-sweeps")
    documents = read_documents(kustomize(tmp_path / "my-sweeps"), "my-sweeps")
    assert lint(documents, {}, committed=True).problems == []
    for template in pod_templates(one(documents, "RayCluster")):
        [container] = template.spec["containers"]
        assert container["image"] == "registry.example.com/spurious-sweeps:0.1.0"
    settings = one(documents, "ConfigMap", "sweeps-settings").body["data"]
    assert settings["SWEEPS_STORE"] == "s3://my-bucket/sweeps"
    assert settings["SWEEPS_CACHE"] == "/cache"
    accounts = [d.body for d in documents if d.kind == "ServiceAccount"]
    assert [each["imagePullSecrets"] for each in accounts] == [[{"name": "registry"}]] * 2
    watched = [d for d in documents if d.kind in MONITORING]
    assert len(watched) == 3
    assert all(d.metadata["labels"]["release"] == "kube-prometheus-stack" for d in watched)


@pytest.mark.parametrize("overlay", OVERLAYS[1:])
def test_without_the_long_lived_cluster_rayjobs_find_all_they_name(
    overlay: str, tmp_path: Path
) -> None:
    """The component takes away what runs, and leaves what a RayJob of the same overlay needs."""
    _beside_a_clone(tmp_path, "my-sweeps", "my-rayjobs")
    own = tmp_path / "my-sweeps/kustomization.yaml"
    own.write_text(own.read_text().replace("overlays/gpu-pool", overlay))
    full = read_documents(kustomize(tmp_path / "my-sweeps"), overlay)
    left = read_documents(kustomize(tmp_path / "my-rayjobs"), overlay)
    assert lint(left, {}, committed=True).problems == []
    gone = {d.identity for d in full} - {d.identity for d in left}
    assert {identity[1::2] for identity in gone} == {
        ("RayCluster", "sweeps"),
        ("PodDisruptionBudget", "sweeps-head"),
    }
    request = job_request("sweep-x", ["sweeps"], {})
    rayjob = render_rayjob(one(full, "RayCluster").body, request)
    assert list(unmet_settings([Document("rayjob", rayjob), *left])) == []


def test_readme_names_what_exists() -> None:
    """Overlays and components are all in the instructions, and what those name is there."""
    text = (K8S / "README.md").read_text()
    made = {
        str(path.parent.relative_to(K8S))
        for folder in ("overlays", "components")
        for path in (K8S / folder).glob("*/kustomization.yaml")
    }
    assert {*OVERLAYS[1:]} < made
    assert set(re.findall(r"\b(?:overlays|components)/[a-z-]+", text)) == made


@pytest.fixture
def tryout_store(tmp_path: Path) -> Any:
    """The try-out store's own container, run here: endpoint, its start-up probe, its command."""
    documents = render("overlays/cpu-tryout")
    container = pod_templates(one(documents, "StatefulSet"))[0].spec["containers"][0]
    ports = choose_ports(None)
    own = [f"--{part}-port={number}" for part, number in ports.items()]
    command = [sys.executable, *container["command"][1:], *own]
    (tmp_path / "data").mkdir()
    keys = {"AWS_ACCESS_KEY_ID": "tryout", "AWS_SECRET_ACCESS_KEY": "tryout-secret"}
    assert {variable["name"] for variable in container["env"]} == set(keys)
    place = [f"--data={tmp_path / 'data'}", "--bind=127.0.0.1"]
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(
            [*command, *place],
            env={**os.environ, **keys, "HOME": str(tmp_path)},
            stdout=log,
            stderr=log,
            cwd=tmp_path,
        )
    try:
        probe = [sys.executable, *container["startupProbe"]["exec"]["command"][1:], *own]
        yield ports, probe, keys
    finally:
        server.kill()
        server.wait()


def test_the_tryout_store_makes_its_bucket_and_refuses_strangers(
    tryout_store: tuple[dict[str, int], list[str], dict[str, str]], tmp_path: Path
) -> None:
    """The start-up probe makes the bucket; a wrong key and no key are refused, at every port."""
    ports, probe, keys = tryout_store
    endpoint = f"http://127.0.0.1:{ports['s3']}"
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
    found = [each for each in listeners() if each.port in {ports["s3"], *inner_ports(ports)}]
    assert len(found) == 8
    authority = (tmp_path / CERTIFICATE).read_bytes()
    assert [request for each in found for request in obeyed(each.port, authority)] == []
    assert client().get_object(Bucket="sweeps", Key="x")["Body"].read() == b"1"


def test_the_tryout_store_does_not_start_without_keys(tmp_path: Path) -> None:
    """SeaweedFS without an identity would serve everybody."""
    command = [sys.executable, "-m", "cluster.embedded.pod", f"--data={tmp_path}"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
    done = subprocess.run(
        command, env={**environment, "AWS_ACCESS_KEY_ID": "x"}, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "AWS_SECRET_ACCESS_KEY not set: give the store its key pair" in done.stderr
