"""A RayJob (KubeRay): one cluster for one job, rendered from a RayCluster and sent to Kubernetes.

In HTTPMode the operator itself submits the job to the head. When the head was lost, operators up to
1.7 submit it again to the new head whatever `backoffLimit` says (kuberay#4824); those with
kuberay#4984 fail the attempt, and `backoffLimit` decides whether a new cluster makes another one.
Either way the same command runs again, maybe beside the lost attempt's driver, so the job goes on
from what is committed.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import yaml

from cluster.errors import ClusterError

QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
ELASTIC_ANNOTATION = "kueue.x-k8s.io/elastic-job"
"""At "true" Kueue admits workers one by one, by its alpha gate ElasticJobsViaWorkloadSlices."""
API_VERSION = "ray.io/v1"
_MOST_QUEUED_GROUPS = 7  # Kueue takes eight pod sets, and the head is one
_CARRIED = ("labels", "annotations")
_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_TTL_S = 600  # its cluster stays for so long after the end, for a look at the dashboard


def read_raycluster(text: str, source: str) -> dict[str, Any]:
    """The one RayCluster among the documents of a YAML file, as `kubectl kustomize` prints them.

    Raises:
        ClusterError: the text is no YAML, or has none or several.
    """
    try:
        documents = list(yaml.safe_load_all(text))
    except yaml.YAMLError as error:
        raise ClusterError(f"{source}: no YAML ({error})") from None
    clusters = [
        document
        for document in documents
        if isinstance(document, dict) and document.get("kind") == "RayCluster"
    ]
    if len(clusters) != 1:
        raise ClusterError(
            f"{source}: {len(clusters)} documents of kind RayCluster, expected one; render it with "
            "`kubectl kustomize OVERLAY`"
        )
    [cluster] = clusters
    if cluster.get("apiVersion") != API_VERSION or not isinstance(cluster.get("spec"), dict):
        raise ClusterError(f"{source}: expected a RayCluster of apiVersion {API_VERSION} with spec")
    return cluster


def render_rayjob(
    cluster: Mapping[str, Any], request: Mapping[str, Any], retries: int = 0
) -> dict[str, Any]:
    """Return the whole RayJob.

    Labels, annotations and the namespace are the RayCluster's, also its Kueue queue.

    Args:
        cluster: A RayCluster, see `read_raycluster`.
        request: What `jobs.job_request` made; its id becomes the name.
        retries: Further clusters that the operator may build, one after the other, for a job that
            failed. None by default: a failed trial makes the job fail, too, its nodes would be
            paid for twice, and submitting again runs what has no result.

    Raises:
        ClusterError: the operator, or Kueue, would refuse it.
    """
    inherited = cluster.get("metadata") or {}
    carried = {key: dict(inherited[key]) for key in _CARRIED if inherited.get(key)}
    carried.get("annotations", {}).pop(_APPLIED, None)
    metadata = {
        "name": request["submission_id"],
        **({"namespace": inherited["namespace"]} if inherited.get("namespace") else {}),
        **{key: value for key, value in carried.items() if value},
    }
    spec = copy.deepcopy(cluster["spec"])
    for alone in ("suspend", "upgradeStrategy", "managedBy"):  # fields of a bare RayCluster only
        spec.pop(alone, None)
    _check(spec, carried.get("labels", {}), carried.get("annotations", {}))
    return {
        "apiVersion": API_VERSION,
        "kind": "RayJob",
        "metadata": metadata,
        "spec": {
            "entrypoint": request["entrypoint"],
            "jobId": request["submission_id"],
            "metadata": dict(request["metadata"]),
            "submissionMode": "HTTPMode",
            "entrypointNumCpus": request["entrypoint_num_cpus"],
            "entrypointNumGpus": request["entrypoint_num_gpus"],
            "shutdownAfterJobFinishes": True,
            "ttlSecondsAfterFinished": _TTL_S,
            "backoffLimit": retries,
            "rayClusterSpec": spec,
        },
    }


def _check(
    spec: Mapping[str, Any], labels: Mapping[str, str], annotations: Mapping[str, str]
) -> None:
    """Refuse what the schema takes and the operator or Kueue does not."""
    if (spec.get("authOptions") or {}).get("enableK8sTokenAuth"):
        raise ClusterError(
            "authOptions.enableK8sTokenAuth: KubeRay takes it for a RayCluster only; for a RayJob "
            "use mode: token with a secretName"
        )
    if QUEUE_LABEL not in labels:
        return
    if spec.get("enableInTreeAutoscaling") and annotations.get(ELASTIC_ANNOTATION) != "true":
        raise ClusterError(
            f"label {QUEUE_LABEL} with enableInTreeAutoscaling: true: Kueue queues clusters of a "
            "fixed size; set it to false, and replicas to the size, or, where Kueue's gate "
            f'ElasticJobsViaWorkloadSlices is on, add the annotation {ELASTIC_ANNOTATION}: "true"'
        )
    groups = len(spec.get("workerGroupSpecs") or [])
    if groups > _MOST_QUEUED_GROUPS:
        raise ClusterError(
            f"label {QUEUE_LABEL} with {groups} worker groups: Kueue takes at most "
            f"{_MOST_QUEUED_GROUPS}"
        )


def as_yaml(manifest: Mapping[str, Any]) -> str:
    """Return a manifest as `kubectl create -f -` reads it."""
    text: str = yaml.safe_dump(dict(manifest), sort_keys=False, width=100)
    return text
