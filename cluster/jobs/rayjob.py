"""A RayJob (KubeRay): one cluster for one job, rendered from a RayCluster and sent to Kubernetes.

In HTTPMode the operator itself submits the job to the head; it does so again when the head was
lost, so the job must go on where it was.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import yaml

from cluster.errors import ClusterError

QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
API_VERSION = "ray.io/v1"
_MOST_QUEUED_GROUPS = 7  # Kueue takes eight pod sets, and the head is one
_CARRIED = ("labels", "annotations")
_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_TTL_S = 600  # its cluster stays for so long after the end, for a look at the dashboard
_BACKOFF_LIMIT = 0
"""A failed job is not tried again: a failed trial makes it fail, its nodes would be paid for twice,
and submitting again runs what has no result.
"""


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


def render_rayjob(cluster: Mapping[str, Any], request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the whole RayJob.

    Labels, annotations and the namespace are the RayCluster's, also its Kueue queue.

    Args:
        cluster: A RayCluster, see `read_raycluster`.
        request: What `jobs.job_request` made; its id becomes the name.

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
    _check(spec, carried.get("labels", {}))
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
            "backoffLimit": _BACKOFF_LIMIT,
            "rayClusterSpec": spec,
        },
    }


def _check(spec: Mapping[str, Any], labels: Mapping[str, str]) -> None:
    """Refuse what the schema takes and the operator or Kueue does not."""
    if (spec.get("authOptions") or {}).get("enableK8sTokenAuth"):
        raise ClusterError(
            "authOptions.enableK8sTokenAuth: KubeRay takes it for a RayCluster only; for a RayJob "
            "use mode: token with a secretName"
        )
    if QUEUE_LABEL not in labels:
        return
    if spec.get("enableInTreeAutoscaling"):
        raise ClusterError(
            f"label {QUEUE_LABEL} with enableInTreeAutoscaling: true: Kueue queues clusters of a "
            "fixed size; set it to false, and replicas to the size"
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
