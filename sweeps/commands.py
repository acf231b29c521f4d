"""What each command does; `sweeps.cli` parses, this module acts.

Heavy imports (Ray, torch, pandas) stay inside the commands that need them: `plan` must answer at
once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cluster.errors import ClusterError, NotFound
from cluster.layout import shard_key
from cluster.manifest import Manifest, find_manifest
from cluster.store import Store, open_store
from sweeps.archive import archive, read_archive
from sweeps.errors import PlanError, SweepError, UnknownSweep
from sweeps.identity import generator_digest
from sweeps.plan import DatasetFacts, Plan, make_plan
from sweeps.results import committed_ids, drop_checkpoints
from sweeps.spec import GeneratorDataset, Spec, load_spec, parse_spec
from sweeps.spec_store import STORED, get_spec

if TYPE_CHECKING:
    from sweeps.sources import Staging

PLAN_TIMEOUT_S = "5"
"""Seconds that `plan` waits for a store that is down: it can answer without."""

STORE_VARIABLE = "SWEEPS_STORE"
_EMBEDDED = "the embedded server of this machine (give --store for another store)"


@dataclass(frozen=True)
class SpecSource:
    """A sweep by file, by the name of one that has been run, or as `stored:` and a YAML's hash.

    With overrides of spec fields.
    """

    target: str
    overrides: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_file(self) -> bool:
        """Whether the target names a file rather than a sweep in the store."""
        return self.target.endswith((".yaml", ".yml")) or os.sep in self.target

    @property
    def digest(self) -> str | None:
        """The hash of a YAML in the store, None for a file or a name."""
        is_stored = self.target.startswith(STORED)
        return self.target.removeprefix(STORED) if is_stored else None


def chosen_store(given: str | None, spec: Spec | None = None) -> str | None:
    """The URL of the store to use: as given by --store, else the spec's, else $SWEEPS_STORE.

    None is the embedded server.
    """
    if given is not None:
        return given
    own = None if spec is None else spec.store
    return own or os.environ.get(STORE_VARIABLE) or None


@contextmanager
def opened_store(url: str | None) -> Iterator[Store]:
    """The store at a URL; without one the embedded server, started if need be.

    Its address and keys go into the environment, where workers on this machine find them.

    Raises:
        UnknownSweep: as in the block, with the embedded server told by that word: its URL may well
            be that of a cluster's store.
    """
    if url is not None:
        yield open_store(url)
        return
    from cluster.embedded import embedded_server

    with embedded_server() as endpoint:
        os.environ.update(endpoint.environment())
        try:
            yield open_store(f"s3://{endpoint.bucket}")
        except UnknownSweep as error:
            raise UnknownSweep(error.name, _EMBEDDED) from None


def home() -> Path:
    """Where this user's embedded server, token and cache lie: absolute, for workers elsewhere."""
    from cluster.embedded import default_home

    return default_home().expanduser().absolute()


def cache_folder() -> Path:
    """The node cache, at the same place on every node."""
    chosen = os.environ.get("SWEEPS_CACHE")
    return Path(chosen).expanduser().absolute() if chosen else home() / "cache"


def check_reachable(store_url: str | None) -> None:
    """Refuse the embedded server where workers run on other machines.

    Raises:
        SweepError: no store is named, and RAY_ADDRESS leads to a cluster.
    """
    from cluster.session import on_cluster

    if store_url is None and on_cluster():
        raise SweepError(
            f"RAY_ADDRESS={os.environ['RAY_ADDRESS']} leads to a cluster, whose workers cannot "
            "reach the embedded server of this machine: name a store that they can, "
            "--store s3://BUCKET/PREFIX or a shared folder"
        )


def facts_of(manifest: Manifest) -> DatasetFacts:
    """A manifest as planning sees it."""
    return DatasetFacts(
        name=manifest.name,
        digest=manifest.digest,
        image_shape=manifest.image_shape,
        counts={
            split: {
                "n": c.n,
                "positives": c.positives,
                "abnormalities": c.abnormalities,
                "negative_abnormalities": c.negative_abnormalities,
            }
            for split, c in manifest.splits.items()
        },
        attributes=manifest.attribute_names,
        unlabelled={
            split: {name: of.y0_unknown + of.y1_unknown for name, of in c.cells.items()}
            for split, c in manifest.splits.items()
        },
        dtype=manifest.dtype,
    )


def generator_facts(dataset: GeneratorDataset) -> DatasetFacts:
    """What is known of a generator's dataset before it is staged: its digest and image side."""
    side = getattr(dataset.options, "image_size", None)
    return DatasetFacts(
        name=dataset.name,
        digest=generator_digest(dataset.name, dataset.options),
        image_shape=None if side is None else (side, side, 1),
        counts=None,
        dtype=dataset.options.DTYPE,
    )


def plan_on(spec: Spec, store: Store) -> Plan:
    """The plan against a store's datasets and results."""
    dataset = spec.dataset
    if isinstance(dataset, GeneratorDataset):
        digest = generator_digest(dataset.name, dataset.options)
        try:
            facts = facts_of(find_manifest(store, dataset.name, digest))
        except NotFound:
            unknown = f"'{dataset.name}' is not staged yet (`sweeps run` does it): counts unknown"
            return make_plan(spec, generator_facts(dataset), committed_ids(store), unknown)
    else:
        facts = facts_of(find_manifest(store, dataset.name, dataset.digest_prefix))
    return make_plan(spec, facts, committed_ids(store))


def plan_anyway(spec: Spec, store_url: str | None) -> tuple[Plan, Mapping[str, float]]:
    """The plan and seconds per trial so far, as far as the store can tell.

    A store that cannot be reached, or a dataset that is not staged, leaves ids and counts out.
    """
    try:
        with opened_store(chosen_store(store_url, spec)) as store:
            return plan_on(spec, store), read_archive(store, spec.name).seconds
    except ClusterError as error:
        dataset = spec.dataset
        facts = generator_facts(dataset) if isinstance(dataset, GeneratorDataset) else None
        return make_plan(spec, facts, unknown=str(error)), {}


def loaded(source: SpecSource, store: Store | None = None) -> Spec:
    """The spec of a file, or the one in the store under its hash or a sweep's name."""
    if store is not None and source.digest is not None:
        return parse_spec(get_spec(store, source.digest), source.target, source.overrides)
    if source.is_file or store is None:
        return load_spec(Path(source.target), source.overrides)
    archived = read_archive(store, source.target)
    if archived.spec_text is None:
        raise UnknownSweep(source.target, store.url)
    overrides = {**archived.overrides, **source.overrides}
    return parse_spec(archived.spec_text, f"{source.target} (stored)", overrides)


def url_of(source: SpecSource, store_url: str | None) -> str | None:
    """The store of a sweep by file or by name, see `chosen_store`."""
    reads_file = store_url is None and source.is_file
    return chosen_store(store_url, loaded(source) if reads_file else None)


def staged(spec: Spec, store: Store) -> None:
    """Stage a generator's dataset where it is not staged yet."""
    from sweeps.sources import generator_staging

    dataset = spec.dataset
    if not isinstance(dataset, GeneratorDataset):
        return
    staging = generator_staging(dataset.name, dataset.options)
    if whole_manifest(store, dataset.name, staging.digest) is None:
        stage_into(store, dataset.name, staging)


def whole_manifest(store: Store, name: str, digest: str | None) -> Manifest | None:
    """The manifest of a generator's dataset, None where it or one of its shards is missing."""
    if digest is None:
        return None
    try:
        manifest = find_manifest(store, name, digest)
    except NotFound:
        return None
    keys = [shard_key(name, entry.sha256) for entry in manifest.shards]
    return manifest if all(store.exists(key) for key in keys) else None


def stage_into(store: Store, name: str, staging: Staging) -> Manifest:
    """Stage with progress on standard error; needs a Ray session."""
    from sweeps.progress import make_console, staging_progress
    from sweeps.stage import stage

    with staging_progress(name, make_console()) as progress:
        return stage(
            store,
            staging.source,
            name,
            digest=staging.digest,
            options=staging.options,
            progress=progress,
        )


def run(source: SpecSource, store_url: str | None, *, keep_logs: bool = False) -> int:
    """Run what is missing; returns the exit status (0 all done, 1 some failed, 130 interrupted).

    Args:
        source: The sweep.
        store_url: The store; None is the specification's, $SWEEPS_STORE's or the embedded one.
        keep_logs: Leave the logs of a local Ray session, and print where they are.
    """
    spec = loaded(source) if source.digest is None else None
    url = chosen_store(store_url, spec)
    check_reachable(url)
    with opened_store(url) as store:
        from sweeps.progress import make_console

        spec = spec or loaded(source, store)
        console = make_console()
        before = plan_on(spec, store)
        if before.unknown is None and not before.missing:
            _tidy(spec, store, before, source.overrides)
            console.print(
                f"sweep '{spec.name}': all {len(before.trials)} trials have a result; "
                "nothing to run",
                highlight=False,
            )
            return 0
        return _run_on_ray(spec, store, console, source.overrides, keep_logs=keep_logs)


def _tidy(spec: Spec, store: Store, plan: Plan, overrides: Mapping[str, Any]) -> None:
    """After a run: what the store remembers of the sweep, and no checkpoint without a use."""
    archive(store, spec, plan, overrides)
    if not spec.checkpoint.keep:
        drop_checkpoints(store, plan.done)


def _check_cache() -> None:
    """Refuse a folder that this machine's workers could not fill, before Ray starts."""
    from cluster.session import on_cluster

    folder = cache_folder()
    try:
        if not on_cluster():  # whose nodes have folders of their own
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SweepError(
            f"cannot keep decoded datasets in {folder} ({error.strerror}): set SWEEPS_CACHE or "
            "SWEEPS_HOME to a folder that you can write"
        ) from error


def _run_on_ray(
    spec: Spec, store: Store, console: Any, overrides: Mapping[str, Any], *, keep_logs: bool
) -> int:
    from cluster.session import ray_session

    _check_cache()
    with ray_session(spec.name, keep_logs=keep_logs) as session:
        from sweeps.runner import run_plan  # imports Ray, which the session must set up first

        if session.dashboard:
            token = f" (token in {session.token_file})" if session.token_file else ""
            console.print(
                f"Ray dashboard: {session.dashboard}{token}", highlight=False, markup=False
            )
        staged(spec, store)
        before = plan_on(spec, store)
        archive(store, spec, before, overrides)
        status = run_plan(spec, before, store, session, cache_folder(), console)
        _tidy(spec, store, plan_on(spec, store), overrides)
        if keep_logs:
            console.print(f"Ray's logs: {session.folder}/logs", highlight=False, markup=False)
        return status


def stage(
    name: str,
    folder: Path | None,
    dataset_name: str | None,
    options: Mapping[str, Any],
    store_url: str | None,
    *,
    keep_logs: bool = False,
) -> int:
    """`sweeps stage`: the index comes first, so that a broken folder is told before Ray starts."""
    from cluster.layout import check_name
    from cluster.session import ray_session
    from sweeps.sources import staging_from_command

    staging = staging_from_command(name, folder, options)
    stored_as = check_name(dataset_name or name, "dataset")
    url = chosen_store(store_url)
    check_reachable(url)
    staging.source.index()
    with opened_store(url) as store:
        manifest = whole_manifest(store, stored_as, staging.digest)
        if manifest is None:
            with ray_session(f"stage-{stored_as}", keep_logs=keep_logs) as session:
                manifest = stage_into(store, stored_as, staging)
            if keep_logs:
                print(f"Ray's logs: {session.folder}/logs", file=sys.stderr)
        print(f"staged {manifest.name}@{manifest.digest} in {store.url}")
    for split, counts in manifest.splits.items():
        print(f"  {split}: {counts.n} images, {counts.positives} positive")
    return 0


def stage_weights(origin: str, store_url: str | None) -> int:
    """`sweeps stage weights`: prints the SHA-256 that a spec names."""
    from sweeps.weights import stage_weights as put

    with opened_store(chosen_store(store_url)) as store:
        print(put(store, origin))
    return 0


def plan(source: SpecSource, store_url: str | None, *, as_json: bool) -> int:
    """`sweeps plan`."""
    import json

    from sweeps.plan_text import as_dict, as_text

    spec = loaded(source)
    with _short_of_patience():
        planned, seconds = plan_anyway(spec, store_url)
    print(json.dumps(as_dict(planned), indent=1) if as_json else as_text(planned, spec, seconds))
    return 0


@contextmanager
def _short_of_patience() -> Iterator[None]:
    """Give an unavailable store PLAN_TIMEOUT_S, unless the user has set another time."""
    from cluster.retry import TIMEOUT_VARIABLE

    chosen = os.environ.get(TIMEOUT_VARIABLE)
    os.environ[TIMEOUT_VARIABLE] = chosen or PLAN_TIMEOUT_S
    try:
        yield
    finally:
        if chosen is None:
            del os.environ[TIMEOUT_VARIABLE]


def trials_of(source: SpecSource, store: Store) -> tuple[Spec, Plan]:
    """A sweep's spec and its plan against the store, for reading results.

    Raises:
        PlanError: its dataset is not in the store, so that its trials cannot be named.
    """
    spec = loaded(source, store)
    planned = plan_on(spec, store)
    if not planned.trials:
        raise PlanError(f"sweep '{spec.name}' has no trials: {planned.unknown}")
    return spec, planned
