"""`sweeps submit`: put the YAML into the store by its hash, and ask a cluster to run it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cluster.common.wording import count_of, is_or_are
from cluster.jobs.rayjob import as_yaml, read_raycluster, render_rayjob
from cluster.jobs.requests import api_address, is_loopback, job_id, job_request
from cluster.stores.base import Store, check_url
from cluster.stores.folder import FolderStore
from sweeps.commands.context import (
    STORE_VARIABLE,
    SpecSource,
    choose_store_url,
    name_again,
    open_results,
    plan_sweep,
    store_session,
)
from sweeps.commands.notify import NOTIFY_VARIABLE, check_notify_url, has_password
from sweeps.commands.output import keep_stdout_for_json, note, print_json
from sweeps.commands.ray_job import (
    EXIT_DETACHED,
    connect,
    describe_next_steps,
    follow,
    read_text,
)
from sweeps.commands.run_end import EXIT_LIMIT
from sweeps.errors import SweepError
from sweeps.plan.archive import archive
from sweeps.plan.render import describe_nothing_to_run
from sweeps.spec.model import Spec
from sweeps.spec.stored import STORED, digest_of, put_spec


@dataclass(frozen=True)
class Submission:
    """A sweep to submit, and the cluster that runs it.

    Attributes:
        source: The sweep's file and its overrides.
        store_url: The store; None for the specification's or that of SWEEPS_STORE.
        address: URL of the cluster's dashboard; None for RAY_API_SERVER_ADDRESS.
        rayjob: File with the RayCluster of a RayJob; None for a cluster that runs already.
        retries: Further clusters for a RayJob that failed.
        notify_url: Where the job posts how it ended; None for the cluster's SWEEPS_NOTIFY.
    """

    source: SpecSource
    store_url: str | None
    address: str | None
    rayjob: Path | None
    retries: int = 0
    notify_url: str | None = None


@dataclass(frozen=True)
class SubmittedJob:
    """The job that runs a sweep; all fields but `left` are None where nothing is left to run.

    Attributes:
        left: Trials left to run; None where the dataset is not staged.
        address: URL of the cluster's dashboard, or of the Kubernetes API.
        job_id: Id of the job, or name of the RayJob.
        state: State of the job as last seen, in the cluster's words.
        attached: Whether the job existed already.
    """

    left: int | None
    address: str | None = None
    job_id: str | None = None
    state: str | None = None
    attached: bool | None = None


def submit(submission: Submission, *, dry_run: bool, wait: bool, as_json: bool = False) -> int:
    """Submit a sweep, or attach to the job that runs it already.

    Returns:
        0, or with `wait` the exit status of the job's outcome.

    Raises:
        SweepError: no store or no cluster is named.
    """
    _check_notify_url(submission.notify_url)
    spec = submission.source.file_spec
    url = _require_store_url(submission, spec)
    cluster = None
    if submission.rayjob is not None:
        cluster = read_raycluster(read_text(submission.rayjob), str(submission.rayjob))
    _note_shared_folder(submission, url)
    if dry_run:
        request = build_request(spec, submission, _normalize_url(url))
        _print_request(request, cluster, submission.retries, as_json)
        return 0
    with store_session(url) as store:
        request = build_request(spec, submission, store.url)
        with keep_stdout_for_json(as_json):
            if cluster is None:
                job, status = _send_job(spec, submission, store, request, wait=wait)
            else:
                manifest = render_rayjob(cluster, request, submission.retries)
                job, status = _send_rayjob(spec, store, manifest, wait=wait)
        if as_json:
            print_json({"sweep": spec.name, "store": store.url, **asdict(job)})
        return status


def _check_notify_url(url: str | None) -> None:
    """Refuse what cannot be posted to, or has a password that everybody would see."""
    if url is None:
        return
    if has_password(check_notify_url(url, "--notify")):
        raise SweepError(
            "--notify: the dashboard shows a job's command, and this URL has a user name or "
            f"password: set {NOTIFY_VARIABLE} in the cluster's environment instead"
        )
    note(
        "note: the dashboard shows the URL of --notify with the job's command; where it is a "
        f"secret, set {NOTIFY_VARIABLE} in the cluster's environment instead"
    )


def _print_request(
    request: Mapping[str, Any], cluster: Mapping[str, Any] | None, retries: int, as_json: bool
) -> None:
    """Print the request to the Jobs API, or the manifest of a RayJob."""
    if cluster is None:
        print_json(request)
    elif as_json:
        print_json(render_rayjob(cluster, request, retries))
    else:
        print(as_yaml(render_rayjob(cluster, request, retries)).rstrip("\n"))


def build_request(spec: Spec, submission: Submission, store_url: str) -> dict[str, Any]:
    """Build the request to the Jobs API; equal for equal sweeps on one store.

    It has neither the store's endpoint nor keys: the cluster's environment has them.
    """
    digest = digest_of(spec.text)
    overrides = json.dumps(dict(spec.overrides), sort_keys=True, default=str)
    both = hashlib.sha256(spec.text.encode() + b"\0" + overrides.encode()).hexdigest()
    settings = [part for setting in submission.source.settings for part in ("--set", setting)]
    more = [] if submission.notify_url is None else ["--notify", submission.notify_url]
    if submission.rayjob is not None:  # its operator would run a failed job again
        more.append("--limit-ok")
    return job_request(
        job_id("sweep", spec.name, both),
        ["sweeps", "run", f"{STORED}{digest}", "--store", store_url, *settings, *more],
        {"sweep": spec.name, "spec": digest, "version": version("spurious-sweeps")},
    )


def _require_store_url(submission: Submission, spec: Spec) -> str:
    """Choose the store's URL; the embedded server would be another store to the cluster.

    Even a cluster at a loopback address may be far away, behind a port-forward.
    """
    url = choose_store_url(submission.store_url, spec)
    if url is None:
        raise SweepError(
            "no store is named: a cluster cannot reach the embedded server of this machine; give "
            f"one that both can, --store s3://BUCKET/PREFIX, or set {STORE_VARIABLE}"
        )
    return url


def _note_shared_folder(submission: Submission, url: str) -> None:
    """Print what a folder as the store requires of a cluster of other machines."""
    if url.startswith("s3://"):
        return
    address = None if submission.rayjob is not None else api_address(submission.address)
    if submission.rayjob is not None or (address is not None and not is_loopback(address)):
        note(f"note: the store is a folder: every node must have {_normalize_url(url)} mounted")


def _normalize_url(url: str) -> str:
    """Normalize a store's URL as opening the store does."""
    return check_url(url).rstrip("/") if url.startswith("s3://") else FolderStore(Path(url)).url


def _publish_if_work_left(spec: Spec, store: Store) -> int | None:
    """Put the YAML and the sweep's plan into the store where trials are left to run.

    Returns:
        The number of trials left; None where the dataset is not staged.
    """
    plan = plan_sweep(spec, open_results(store))
    if plan.unknown is None and not plan.to_run and not plan.is_searching:
        note(describe_nothing_to_run(plan))
        return 0
    put_spec(store, spec.text)
    archive(store, spec, plan)
    left = len(plan.to_run) if plan.trials else None
    note(
        f"sweep '{spec.name}': {count_of(len(plan.trials), 'trial')}, {len(plan.done)} done, "
        f"{'unknown' if left is None else left} to run"
    )
    return left


def _note_differences(differs: Mapping[str, bool]) -> None:
    """Print which options of this command a job that was attached to was submitted without."""
    names = " and ".join(name for name, is_other in differs.items() if is_other)
    if names:
        note(f"note: the job goes on as it was submitted, with another {names} than this command's")


def _send_job(
    spec: Spec, submission: Submission, store: Store, request: Mapping[str, Any], *, wait: bool
) -> tuple[SubmittedJob, int]:
    """Send a job to a running cluster and return it with the exit status.

    The cluster is asked first, so that a wrong token leaves nothing in the store.
    """
    api = connect(submission.address)
    left = _publish_if_work_left(spec, store)
    if left == 0:
        return SubmittedJob(left), 0
    job, attached = api.submit(request)
    note(f"{'attached to' if attached else 'submitted'} job {job.id} at {api.address}/#/jobs")
    if attached:
        _note_differences({"--notify": job.entrypoint != request["entrypoint"]})
    status, target = 0, name_again(submission.source, spec.name)
    if wait:
        job, status = follow(api, job, target)
    else:
        note(describe_next_steps(api, target))
    return SubmittedJob(left, api.address, job.id, job.state, attached), status


def _find_limit(spec: Spec, store: Store) -> int:
    """Return the exit status of a RayJob that ended well: one that a limit stopped did, too."""
    plan = plan_sweep(spec, open_results(store))
    if not plan.to_run and not plan.is_searching:
        return 0
    note(
        f"sweep '{spec.name}': {count_of(len(plan.to_run), 'trial')} "
        f"{is_or_are(len(plan.to_run))} not done, since one of its limits stopped it; "
        "raise it, or submit again for as many more where that is limits.trials"
    )
    return EXIT_LIMIT


def _send_rayjob(
    spec: Spec, store: Store, manifest: Mapping[str, Any], *, wait: bool
) -> tuple[SubmittedJob, int]:
    """Send a RayJob to Kubernetes, where KubeRay makes a cluster for it, and return it."""
    from cluster.jobs.kuberay_api import RayJobs, RayJobState

    jobs = RayJobs()
    left = _publish_if_work_left(spec, store)
    if left == 0:
        return SubmittedJob(left), 0
    job, attached = jobs.submit(manifest)
    at = f"{job.name} -n {job.namespace}"
    note(f"{'attached to' if attached else 'created'} RayJob {at} at {jobs.server}")
    if attached:
        fields = manifest["spec"]
        differs = {"--notify": job.entrypoint != fields["entrypoint"]}
        _note_differences({**differs, "--retries": job.retries != fields["backoffLimit"]})
    next_steps = f"Look: kubectl get rayjob {at}; stop: kubectl delete rayjob {at}"

    def note_state(seen: RayJobState) -> None:
        note(f"RayJob {seen.name}: {seen.deployment} {seen.job}".rstrip())

    status = 0
    if wait:
        try:
            job = jobs.wait(job, note_state)
            note(f"RayJob {job.name}: {job.deployment} {job.job} {job.message}".rstrip())
            status = job.status or _find_limit(spec, store)
        except KeyboardInterrupt:
            note(f"\ndetached; the RayJob goes on. {next_steps}")
            status = EXIT_DETACHED
    else:
        note(next_steps)
    return SubmittedJob(left, jobs.server, job.name, job.deployment, attached), status
