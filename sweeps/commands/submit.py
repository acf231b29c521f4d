"""`sweeps submit`: put the YAML into the store by its hash, and ask a cluster to run that."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cluster.jobs.rayjob import as_yaml, read_raycluster, render_rayjob
from cluster.jobs.requests import api_address, is_loopback, job_id, job_request
from cluster.stores.base import Store, check_url
from cluster.stores.folder import FolderStore
from sweeps.commands.context import STORE_VARIABLE, SpecSource, chosen_store, opened_store
from sweeps.commands.ray_job import EXIT_DETACHED, connected, follow, how_to_go_on, note, read_text
from sweeps.errors import SweepError
from sweeps.plan.archive import archive
from sweeps.plan.facts import plan_on
from sweeps.spec.model import Spec
from sweeps.spec.stored import STORED, digest_of, put_spec


@dataclass(frozen=True)
class Submission:
    """What is submitted, and where to.

    Attributes:
        source: The sweep's file and its overrides.
        store_url: The store, None for the specification's or that of SWEEPS_STORE.
        address: Where the cluster's dashboard is, None for RAY_API_SERVER_ADDRESS.
        rayjob: File with the RayCluster of a RayJob, None for a cluster that runs already.
    """

    source: SpecSource
    store_url: str | None
    address: str | None
    rayjob: Path | None


def submit(given: Submission, *, dry_run: bool, wait: bool) -> int:
    """Submit a sweep, or attach to the job that runs it already.

    Returns:
        0, or with `wait` the exit status of the job's outcome.

    Raises:
        SweepError: no store or no cluster is named.
    """
    spec = given.source.file_spec
    url = _named_store(given, spec)
    cluster = None
    if given.rayjob is not None:
        cluster = read_raycluster(read_text(given.rayjob), str(given.rayjob))
    _warn_of_folder(given, url)
    if dry_run:
        request = sweep_request(spec, given, _plain_url(url))
        print(json.dumps(request, indent=1) if cluster is None else _rayjob_yaml(cluster, request))
        return 0
    with opened_store(url) as store:
        request = sweep_request(spec, given, store.url)
        if cluster is not None:
            return _send_rayjob(spec, given, store, render_rayjob(cluster, request), wait=wait)
        return _send_job(spec, given, store, request, wait=wait)


def sweep_request(spec: Spec, given: Submission, store_url: str) -> dict[str, Any]:
    """The request to the Jobs API; equal sweeps on one store make equal ones.

    The store's endpoint and keys are in the cluster's environment and not in here.
    """
    digest = digest_of(spec.text)
    overrides = json.dumps(dict(spec.overrides), sort_keys=True, default=str)
    both = hashlib.sha256(spec.text.encode() + b"\0" + overrides.encode()).hexdigest()
    settings = [part for setting in given.source.settings for part in ("--set", setting)]
    return job_request(
        job_id("sweep", spec.name, both),
        ["sweeps", "run", f"{STORED}{digest}", "--store", store_url, *settings],
        {"sweep": spec.name, "spec": digest, "version": version("spurious-sweeps")},
    )


def _named_store(given: Submission, spec: Spec) -> str:
    """The store's URL; the embedded server's would be another store to the cluster.

    Also a cluster at a loopback address may be far away, behind a port-forward.
    """
    url = chosen_store(given.store_url, spec)
    if url is None:
        raise SweepError(
            "no store is named: a cluster cannot reach the embedded server of this machine; give "
            f"one that both can, --store s3://BUCKET/PREFIX, or set {STORE_VARIABLE}"
        )
    return url


def _warn_of_folder(given: Submission, url: str) -> None:
    """Say what a folder asks of a cluster of other machines."""
    if url.startswith("s3://"):
        return
    address = None if given.rayjob is not None else api_address(given.address)
    if given.rayjob is not None or (address is not None and not is_loopback(address)):
        note(f"note: the store is a folder: every node must have {_plain_url(url)} mounted")


def _plain_url(url: str) -> str:
    """A store's URL as the opened store would tell it."""
    return check_url(url).rstrip("/") if url.startswith("s3://") else FolderStore(Path(url)).url


def _rayjob_yaml(cluster: Mapping[str, Any], request: Mapping[str, Any]) -> str:
    return as_yaml(render_rayjob(cluster, request)).rstrip("\n")


def _worth_it(spec: Spec, given: Submission, store: Store) -> bool:
    """Whether anything is left to run; then the store gets the YAML and the sweep's plan."""
    plan = plan_on(spec, store)
    if plan.unknown is None and not plan.missing:
        note(f"sweep '{spec.name}': all {len(plan.trials)} trials have a result; nothing to run")
        return False
    put_spec(store, spec.text)
    archive(store, spec, plan)
    left = len(plan.missing) if plan.trials else "unknown"
    note(f"sweep '{spec.name}': {len(plan.trials)} trials, {len(plan.done)} done, {left} to run")
    return True


def _send_job(
    spec: Spec, given: Submission, store: Store, request: Mapping[str, Any], *, wait: bool
) -> int:
    """To a running cluster; it is asked first, so that a wrong token leaves nothing behind."""
    api = connected(given.address)
    if not _worth_it(spec, given, store):
        return 0
    job, attached = api.submit(request)
    note(f"{'attached to' if attached else 'submitted'} job {job.id} at {api.address}/#/jobs")
    if wait:
        return follow(api, job, spec.name)
    note(how_to_go_on(api, spec.name))
    return 0


def _send_rayjob(
    spec: Spec, given: Submission, store: Store, manifest: Mapping[str, Any], *, wait: bool
) -> int:
    """To Kubernetes, where KubeRay makes a cluster for it."""
    from cluster.jobs.kuberay_api import RayJobs, RayJobState

    jobs = RayJobs()
    if not _worth_it(spec, given, store):
        return 0
    job, attached = jobs.submit(manifest)
    at = f"{job.name} -n {job.namespace}"
    note(f"{'attached to' if attached else 'created'} RayJob {at} at {jobs.server}")
    on_its_own = f"Look: kubectl get rayjob {at}; stop: kubectl delete rayjob {at}"
    if not wait:
        note(on_its_own)
        return 0

    def told(seen: RayJobState) -> None:
        note(f"RayJob {seen.name}: {seen.deployment} {seen.job}".rstrip())

    try:
        ended = jobs.wait(job, told)
    except KeyboardInterrupt:
        note(f"\ndetached; the RayJob goes on. {on_its_own}")
        return EXIT_DETACHED
    note(f"RayJob {ended.name}: {ended.deployment} {ended.job} {ended.message}".rstrip())
    return ended.status
