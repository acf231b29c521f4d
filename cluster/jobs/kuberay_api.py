"""RayJobs through the Kubernetes API, as the user's kubeconfig leads to it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
import yaml
from lightkube import ApiError, Client, KubeConfig
from lightkube.core.exceptions import ConfigError, LoadResourceError
from lightkube.generic_resource import create_namespaced_resource

from cluster.errors import ClusterError, Denied, NotFound, Unavailable
from cluster.jobs.requests import add_number, same_work

_RayJob = create_namespaced_resource("ray.io", "v1", "RayJob", "rayjobs")
_TIMEOUT_S = 10.0
_POLL_S = 5.0
_PATIENCE_S = 120.0
"""How long a watched API may be away: an API server is updated now and then."""
_MOST = 1000
_BY_HAND = "; `--dry-run` prints the RayJob, for `kubectl create -f -`"
_ENDED = frozenset({"Complete", "Failed", "ValidationFailed"})


@dataclass(frozen=True)
class RayJobState:
    """A RayJob as Kubernetes knows it.

    Attributes:
        name: Its name.
        namespace: Its namespace.
        entrypoint: Its command.
        deployment: The operator's word: Initializing, Running, Retrying, Complete, Failed, ...
        job: Ray's word, empty before it is submitted.
        message: Why it failed.
        retries: Its `backoffLimit`.
    """

    name: str
    namespace: str
    entrypoint: str
    deployment: str
    job: str
    message: str
    retries: int = 0

    @property
    def live(self) -> bool:
        """Whether it waits or runs."""
        return self.deployment not in _ENDED

    @property
    def status(self) -> int:
        """The exit status that stands for its outcome."""
        return {"SUCCEEDED": 0, "STOPPED": 130}.get(self.job, 1)


class RayJobs:
    """The RayJobs that the user's kubeconfig leads to."""

    def __init__(self) -> None:
        """Read KUBECONFIG, else the pod's service account, else ~/.kube/config.

        Raises:
            ClusterError: there is none, or it cannot be used.
        """
        with _translate_errors("the Kubernetes API", ""):
            self._client = Client(KubeConfig.from_env(), timeout=httpx2.Timeout(_TIMEOUT_S))
        self.server = self._client.config.cluster.server

    def submit(self, manifest: Mapping[str, Any]) -> tuple[RayJobState, bool]:
        """Create a RayJob, or attach to the live one of its name and command.

        One that has ended keeps its name, and one of another command (the same sweep on another
        store) goes on: a further one gets the next suffix.

        Returns:
            Its state, and whether it was there already.

        Raises:
            Denied: this user may not.
            NotFound: no such namespace, or no KubeRay.
            Unavailable: the API cannot be reached.
        """
        base = manifest["metadata"]["name"]
        namespace = manifest["metadata"].get("namespace") or self._client.namespace
        for number in range(1, _MOST):
            name = add_number(base, number)
            renamed = {
                **manifest,
                "metadata": {**manifest["metadata"], "name": name, "namespace": namespace},
                "spec": {**manifest["spec"], "jobId": name},
            }
            try:
                with _translate_errors(self.server, namespace):
                    created = self._client.create(_RayJob.from_dict(renamed), namespace=namespace)
                    return _state(created), False
            except _Conflict:
                there = self._find(name, namespace)
                entrypoint = manifest["spec"]["entrypoint"]
                if there is not None and there.live and same_work(there.entrypoint, entrypoint):
                    return there, True
        raise ClusterError(f"{_MOST} RayJobs named {base} in {namespace}: delete the ended ones")

    def state(self, name: str, namespace: str) -> RayJobState:
        """Return a RayJob now; raises NotFound where it was deleted."""
        with _translate_errors(self.server, namespace):
            return _state(self._client.get(_RayJob, name, namespace=namespace))

    def wait(self, job: RayJobState, on_change: Callable[[RayJobState], None]) -> RayJobState:
        """Wait for the end; `on_change` is called with every new state.

        Raises:
            Unavailable: the API was away for too long.
            NotFound: the RayJob was deleted.
        """
        last, seen = None, time.monotonic()
        while job.live:
            if job != last:
                on_change(job)
                last = job
            time.sleep(_POLL_S)
            try:
                job = self.state(job.name, job.namespace)
                seen = time.monotonic()
            except Unavailable:
                if time.monotonic() - seen > _PATIENCE_S:
                    raise
        return job

    def _find(self, name: str, namespace: str) -> RayJobState | None:
        try:
            return self.state(name, namespace)
        except NotFound:  # deleted meanwhile
            return None


class _Conflict(ClusterError):
    """An object of this name exists."""


def _state(rayjob: Mapping[str, Any]) -> RayJobState:
    status, spec = rayjob.get("status") or {}, rayjob.get("spec") or {}
    metadata = rayjob["metadata"]
    return RayJobState(
        name=metadata["name"],
        namespace=metadata["namespace"],
        entrypoint=spec.get("entrypoint") or "",
        deployment=status.get("jobDeploymentStatus") or "New",
        job=status.get("jobStatus") or "",
        message=status.get("message") or "",
        retries=spec.get("backoffLimit") or 0,
    )


@contextmanager
def _translate_errors(server: str, namespace: str) -> Iterator[None]:
    """The errors of the client, each as one of ours with what to do."""
    try:
        yield
    except ApiError as error:
        raise _refusal(error, server, namespace) from error
    except (
        *(ConfigError, LoadResourceError, yaml.YAMLError),
        *(OSError, KeyError, TypeError, AttributeError),
    ) as error:
        raise ClusterError(
            f"no usable kubeconfig ({_words(error)}): set KUBECONFIG to one file{_BY_HAND}"
        ) from error
    except httpx2.HTTPError as error:
        raise Unavailable(
            f"the Kubernetes API at {server} does not answer ({_words(error)}): check the "
            f"kubeconfig's context and your network{_BY_HAND}"
        ) from error
    except ValueError as error:
        raise ClusterError(
            f"{server} does not answer as a Kubernetes API ({_words(error)}): check the "
            f"kubeconfig's server{_BY_HAND}"
        ) from error


def _words(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _refusal(error: ApiError, server: str, namespace: str) -> ClusterError:
    code, message = error.status.code, error.status.message or ""
    if code == 409:
        return _Conflict(message)
    if code in (401, 403):
        return Denied(
            f"{server} refuses this user ({code}: {message}): it needs to create and get rayjobs "
            f"of ray.io in namespace '{namespace}'{_BY_HAND}"
        )
    if code == 404:
        return NotFound(
            f"{server} has no such thing in namespace '{namespace}' ({message or 'not found'}): "
            "check the namespace, and that the KubeRay operator is installed"
        )
    if code is not None and code >= 500:
        return Unavailable(f"{server} failed ({code}: {message}): try again")
    return ClusterError(f"{server} refuses the RayJob ({code}: {message})")
