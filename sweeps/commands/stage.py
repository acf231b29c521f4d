"""`sweeps stage`: puts a dataset or pretrained weights into the store."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cluster.datasets.keys import shard_key
from cluster.datasets.manifest import Manifest, find_manifest
from cluster.errors import NotFound
from cluster.stores.base import Store
from sweeps.commands.context import check_reachable, chosen_store, opened_store
from sweeps.spec.model import GeneratorDataset, Spec

if TYPE_CHECKING:
    from sweeps.staging.sources import Staging


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
    from cluster.datasets.image_counts import read_image_counts
    from cluster.datasets.keys import check_name
    from cluster.jobs.session import ray_session
    from sweeps.staging.sources import staging_from_command

    staging = staging_from_command(name, folder, options)
    stored_as = check_name(dataset_name or name, "dataset")
    url = chosen_store(store_url)
    check_reachable(url)
    staging.source.index()
    with opened_store(url) as store:
        manifest = whole_manifest(store, stored_as, staging.digest)
        if manifest is None or read_image_counts(store, manifest) is None:
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
    from sweeps.trial.weights import stage_weights as put

    with opened_store(chosen_store(store_url)) as store:
        print(put(store, origin))
    return 0


def staged(spec: Spec, store: Store, *, in_process: bool = False) -> None:
    """Stage a generator's dataset where it is not staged yet; with Ray, or in this process."""
    from sweeps.staging.sources import generator_staging

    dataset = spec.dataset
    if not isinstance(dataset, GeneratorDataset):
        return
    staging = generator_staging(dataset.name, dataset.options)
    if whole_manifest(store, dataset.name, staging.digest) is None:
        stage_into(store, dataset.name, staging, in_process=in_process)


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


def stage_into(store: Store, name: str, staging: Staging, *, in_process: bool = False) -> Manifest:
    """Stage with progress on standard error; needs a Ray session, except in this process."""
    from sweeps.driver.progress import make_console, staging_progress
    from sweeps.staging.stage import stage

    with staging_progress(name, make_console()) as progress:
        return stage(
            store,
            staging.source,
            name,
            digest=staging.digest,
            options=staging.options,
            progress=progress,
            in_process=in_process,
        )
