"""A RayJob from a RayCluster, and its way to Kubernetes."""

from __future__ import annotations

import copy
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from kube_manifests import CRDS, K8S, OVERLAYS, WITHOUT_CRDS, crds, kustomize
from kubernetes_here import KubernetesHere, kubernetes_here, write_kubeconfig

from cluster.errors import ClusterError, Denied, NotFound, Unavailable
from cluster.jobs.kuberay_api import RayJobs, RayJobState
from cluster.jobs.rayjob import QUEUE_LABEL, as_yaml, read_raycluster, render_rayjob
from cluster.jobs.requests import job_id, job_request
from k8s.lint.documents import Document
from k8s.lint.kuberay import kuberay_problems
from k8s.lint.lint import lint
from k8s.lint.schema import schema_problems

GOLDEN = Path(__file__).resolve().parents[2] / "golden"
REQUEST = job_request(
    "sweep-tiny-0123456789ab",
    ["sweeps", "run", "stored:" + "ab" * 32, "--store", "s3://sweeps", "--set", "axes.seed=[0, 1]"],
    {"sweep": "tiny", "spec": "ab" * 32, "version": "0.1.0"},
)


def cluster() -> dict[str, Any]:
    """The golden input."""
    path = GOLDEN / "raycluster.yaml"
    return read_raycluster(path.read_text(), path.name)


@pytest.fixture
def kubernetes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KubernetesHere]:
    """The acting API server, to which KUBECONFIG leads."""
    with kubernetes_here(tmp_path) as here:
        monkeypatch.setenv("KUBECONFIG", str(here.kubeconfig))
        monkeypatch.setattr("cluster.jobs.kuberay_api._POLL_S", 0.01)
        yield here


def test_the_whole_rayjob_is_the_golden_one() -> None:
    """Every field that is sent is on record, and none of a bare RayCluster's own is left.

    A failed trial makes the job fail: the operator builds no second cluster for it.
    """
    rendered = render_rayjob(cluster(), REQUEST)
    assert rendered["spec"]["backoffLimit"] == 0
    assert rendered == yaml.safe_load((GOLDEN / "rayjob.yaml").read_text())
    assert yaml.safe_load(as_yaml(rendered)) == rendered


def test_rules_of_beginning_and_end_are_written() -> None:
    """What a queue may set is left out, so that its own setting stands."""
    spec = render_rayjob(cluster(), REQUEST)["spec"]
    assert not {"suspend", "activeDeadlineSeconds"} & spec.keys()
    assert (spec["ttlSecondsAfterFinished"], spec["backoffLimit"]) == (600, 0)


@pytest.mark.parametrize("retries", [1, 3])
def test_retries_are_the_operators_backoff_limit(retries: int) -> None:
    """And nothing else differs; the mode and the cluster's origin are ones that it retries."""
    made = render_rayjob(cluster(), REQUEST, retries)
    plain = render_rayjob(cluster(), REQUEST)
    assert made["spec"].pop("backoffLimit") == retries
    assert plain["spec"].pop("backoffLimit") == 0
    assert made == plain
    assert made["spec"]["submissionMode"] == "HTTPMode"
    assert "clusterSelector" not in made["spec"]


def test_a_rendered_raycluster_is_not_changed() -> None:
    """The caller's manifest stays what it was."""
    given = cluster()
    before = copy.deepcopy(given)
    render_rayjob(given, REQUEST)
    assert given == before


@pytest.mark.skipif(not CRDS.exists(), reason=WITHOUT_CRDS)
def test_the_rayjob_holds_against_the_crd_and_the_operators_rules() -> None:
    """KubeRay's schema after defaults, and what its operator refuses besides."""
    for retries in (0, 2):
        document = Document("here", render_rayjob(cluster(), REQUEST, retries))
        assert schema_problems(document, crds(), "1.33") == ([], True)
        assert list(kuberay_problems(document)) == []


@pytest.mark.skipif(not CRDS.exists(), reason=WITHOUT_CRDS)
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_projects_own_clusters_become_rayjobs(overlay: str) -> None:
    """`--rayjob` takes what `kubectl kustomize` makes of every overlay, by every rule we have."""
    made = render_rayjob(read_raycluster(kustomize(K8S / overlay), overlay), REQUEST)
    report = lint([Document(overlay, made)], crds())
    assert report.problems == []
    assert report.checked == 1


@pytest.mark.parametrize("name", ["a", "tiny", "9-lives", "x" * 63, "a-" * 31 + "a"])
def test_every_sweeps_name_makes_a_name_that_the_operator_takes(name: str) -> None:
    """DNS-1035, at most 47 characters with a suffix, and different for different requests."""
    made = job_id("sweep", name, "0123456789abcdef")
    assert len(f"{made}-999") <= 47
    assert made.startswith("sweep-")
    assert made.endswith("-0123456789ab")
    assert made != job_id("sweep", name, "f123456789abcdef")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind: [", "x.yaml: no YAML"),
        ("", "0 documents of kind RayCluster, expected one; render it with"),
        ("kind: Pod\n---\n[1]\n---\n", "0 documents of kind RayCluster"),
        ("kind: RayCluster\n---\nkind: RayCluster\n", "2 documents of kind RayCluster"),
        ("kind: RayCluster\napiVersion: ray.io/v1alpha1\nspec: {}\n", "apiVersion ray.io/v1"),
        ("kind: RayCluster\napiVersion: ray.io/v1\n", "with spec"),
    ],
)
def test_a_file_without_one_raycluster_is_refused(text: str, message: str) -> None:
    """One line that says what was expected."""
    with pytest.raises(ClusterError, match=message):
        read_raycluster(text, "x.yaml")


def queued(**changes: Any) -> dict[str, Any]:
    """The golden input with a Kueue queue and other fields of its spec."""
    found = cluster()
    found["metadata"]["labels"][QUEUE_LABEL] = "research"
    found["spec"] |= changes
    return found


def test_a_queue_is_carried_to_the_rayjob() -> None:
    """Kueue looks at the RayJob's own label."""
    made = render_rayjob(queued(enableInTreeAutoscaling=False), REQUEST)
    assert made["metadata"]["labels"][QUEUE_LABEL] == "research"


def test_an_elastic_cluster_is_queued_as_it_is() -> None:
    """The remedy that the refusal names: Kueue's annotation is carried to the RayJob as well."""
    elastic = queued()
    with pytest.raises(ClusterError) as refused:
        render_rayjob(elastic, REQUEST)
    name, _, value = str(refused.value).rpartition("annotation ")[2].partition(": ")
    elastic["metadata"].setdefault("annotations", {})[name] = value.strip('"')
    made = render_rayjob(elastic, REQUEST)
    assert made["metadata"]["annotations"][name] == "true"
    assert made["spec"]["rayClusterSpec"]["enableInTreeAutoscaling"] is True


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (queued(), "enableInTreeAutoscaling: true"),
        (queued(enableInTreeAutoscaling=False, workerGroupSpecs=[{}] * 8), "at most 7"),
        (
            {**cluster(), "spec": {"authOptions": {"mode": "token", "enableK8sTokenAuth": True}}},
            "for a RayCluster only",
        ),
    ],
)
def test_what_the_operator_or_kueue_would_refuse_is_told_before(
    given: dict[str, Any], message: str
) -> None:
    """Else it is accepted, and never starts."""
    with pytest.raises(ClusterError, match=message):
        render_rayjob(given, REQUEST)


def test_a_rayjob_is_created_once_and_then_attached_to(kubernetes: KubernetesHere) -> None:
    """On a server that acts as the Kubernetes API: 409 attaches while the first one is live.

    What arrives is what was rendered. One that has ended makes the next suffix.
    """
    manifest = render_rayjob(cluster(), REQUEST)
    jobs = RayJobs()
    first, attached = jobs.submit(manifest)
    assert (first.name, first.namespace, first.live, attached) == (
        *("sweep-tiny-0123456789ab", "spurious-sweeps", True),
        False,
    )
    assert kubernetes.jobs == {first.name: manifest}
    kubernetes.jobs[first.name]["status"] = {"jobDeploymentStatus": "Running"}
    again, attached = jobs.submit(manifest)
    assert (again.name, again.deployment, attached) == (first.name, "Running", True)
    assert list(kubernetes.jobs) == [first.name]

    ended = [
        {"jobDeploymentStatus": "Failed", "jobStatus": "FAILED", "message": "it broke"},
        {"jobDeploymentStatus": "ValidationFailed", "message": "refused by the operator"},
    ]
    for number, status in enumerate(ended, start=2):
        [*_, newest] = kubernetes.jobs.values()
        newest["status"] = status
        further, attached = jobs.submit(manifest)
        assert (further.name, attached) == (f"{first.name}-{number}", False)
        assert kubernetes.jobs[further.name]["spec"]["jobId"] == further.name


def test_a_rayjob_on_another_store_is_not_attached_to(kubernetes: KubernetesHere) -> None:
    """A name is made of the sweep alone: its command tells the store; a second look finds each.

    On a server that acts as the Kubernetes API.
    """
    jobs = RayJobs()
    here = render_rayjob(cluster(), REQUEST)
    request = {**REQUEST, "entrypoint": REQUEST["entrypoint"].replace("s3://sweeps", "s3://other")}
    elsewhere = render_rayjob(cluster(), request)
    names = [REQUEST["submission_id"], f"{REQUEST['submission_id']}-2"]
    assert [jobs.submit(each)[0].name for each in (here, elsewhere)] == names
    assert kubernetes.jobs[names[1]]["spec"]["entrypoint"] == request["entrypoint"]
    again = [jobs.submit(each) for each in (here, elsewhere)]
    assert [(job.name, attached) for job, attached in again] == [(name, True) for name in names]


def test_the_contexts_namespace_is_used_where_the_manifest_has_none(
    kubernetes: KubernetesHere,
) -> None:
    """As kubectl does; the server only acts as the Kubernetes API."""
    kubernetes.namespaces = ("default",)
    given = cluster()
    del given["metadata"]["namespace"]
    job, _ = RayJobs().submit(render_rayjob(given, REQUEST))
    assert job.namespace == "default"


@pytest.mark.parametrize(
    ("job_status", "deployment", "status"),
    [
        ("SUCCEEDED", "Complete", 0),
        ("FAILED", "Failed", 1),
        ("STOPPED", "Complete", 130),
        ("", "ValidationFailed", 1),
    ],
)
def test_waiting_tells_every_change_and_ends_with_the_outcome(
    kubernetes: KubernetesHere, job_status: str, deployment: str, status: int
) -> None:
    """On a server that acts as the Kubernetes API and plays the operator's states."""
    jobs = RayJobs()
    job, _ = jobs.submit(render_rayjob(cluster(), REQUEST))
    kubernetes.states = [
        {"jobDeploymentStatus": "Initializing"},
        *[{"jobDeploymentStatus": "Running", "jobStatus": "RUNNING"}] * 2,
        {"jobDeploymentStatus": deployment, "jobStatus": job_status},
    ]
    told: list[RayJobState] = []
    ended = jobs.wait(job, told.append)
    assert [seen.deployment for seen in told] == ["New", "Initializing", "Running"]
    assert (ended.job, ended.status, ended.live) == (job_status, status, False)


def test_waiting_goes_on_through_a_retry(kubernetes: KubernetesHere) -> None:
    """A lost head under an operator that fails the attempt: another cluster, then the outcome.

    The server only acts as the Kubernetes API and plays the operator's states.
    """
    jobs = RayJobs()
    job, _ = jobs.submit(render_rayjob(cluster(), REQUEST, 1))
    assert job.retries == 1
    kubernetes.states = [
        {"jobDeploymentStatus": "Running", "jobStatus": "RUNNING"},
        {"jobDeploymentStatus": "Retrying", "message": "job not found on the new head"},
        {"jobDeploymentStatus": "Initializing"},
        {"jobDeploymentStatus": "Complete", "jobStatus": "SUCCEEDED"},
    ]
    told: list[RayJobState] = []
    ended = jobs.wait(job, told.append)
    assert [seen.deployment for seen in told] == ["New", "Running", "Retrying", "Initializing"]
    assert (ended.status, ended.live) == (0, False)


def test_a_deleted_rayjob_ends_the_wait(kubernetes: KubernetesHere) -> None:
    """Deleting it is how a user stops it; the server only acts as the Kubernetes API."""
    jobs = RayJobs()
    job, _ = jobs.submit(render_rayjob(cluster(), REQUEST))
    kubernetes.jobs.clear()
    with pytest.raises(NotFound, match="not found"):
        jobs.wait(job, lambda seen: None)


def refused(kind: type[ClusterError], message: str) -> None:
    """Submitting must fail so, and soon."""
    began = time.monotonic()
    with pytest.raises(kind, match=message):
        RayJobs().submit(render_rayjob(cluster(), REQUEST))
    assert time.monotonic() - began < 15


def test_a_user_without_the_right_is_told_which(kubernetes: KubernetesHere) -> None:
    """403 names verb, resource and namespace; the server only acts as the Kubernetes API."""
    write_kubeconfig(kubernetes.kubeconfig, kubernetes.url, "somebody-else")
    refused(Denied, r"needs to create and get rayjobs of ray\.io in namespace 'spurious-sweeps'")
    assert kubernetes.jobs == {}


def test_a_missing_namespace_or_operator_is_told(kubernetes: KubernetesHere) -> None:
    """404 has one of the two reasons; the server only acts as the Kubernetes API."""
    kubernetes.namespaces = ()
    refused(NotFound, "check the namespace, and that the KubeRay operator is installed")


def test_what_is_no_kubernetes_is_told(kubernetes: KubernetesHere) -> None:
    """A page of a login proxy, say; the server only acts as the Kubernetes API."""
    kubernetes.broken = "<html>log in</html>"
    refused(ClusterError, "does not answer as a Kubernetes API")


def test_an_api_that_is_away_is_told_soon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody listens at the kubeconfig's address."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    write_kubeconfig(tmp_path / "config", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    refused(Unavailable, r"does not answer \(.*refused.*--dry-run` prints the RayJob")


@pytest.mark.parametrize("text", [None, "{", "clusters: 3"])
def test_a_kubeconfig_that_is_none_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None
) -> None:
    """Missing, no YAML, or no kubeconfig: what to set, and what else can be done."""
    path = tmp_path / "config"
    if text is not None:
        path.write_text(text)
    monkeypatch.setenv("KUBECONFIG", str(path))
    refused(ClusterError, "no usable kubeconfig .*set KUBECONFIG to one file; `--dry-run`")
