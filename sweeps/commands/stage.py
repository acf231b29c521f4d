"""`sweeps stage`: put a dataset or pretrained weights into the store."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cluster.common.wording import count_of
from cluster.datasets.image_counts import read_image_counts
from cluster.datasets.manifest import Manifest, find_manifest
from cluster.errors import Corrupt, NotFound
from cluster.stores.base import Store
from sweeps.commands.context import check_reachable, choose_store_url, store_session
from sweeps.commands.output import keep_stdout_for_json, note, print_json
from sweeps.spec.model import GeneratorDataset, Spec

if TYPE_CHECKING:
    from cluster.datasets.verify import DatasetDamage
    from sweeps.staging.bad_images import OnError
    from sweeps.staging.sources import Staging

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DatasetRequest:
    """A dataset to stage, as the command line names it.

    Attributes:
        kind: Name of a reader or generator.
        folder: Folder of the release; None for a generator.
        name: Name in the store; None is the kind.
        options: Options of the reader or generator.
        on_error: Whether bad images stop the staging, or stay out of the dataset.
    """

    kind: str
    folder: Path | None
    name: str | None
    options: Mapping[str, Any]
    on_error: OnError = "stop"


def stage(
    request: DatasetRequest,
    store_url: str | None,
    *,
    keep_logs: bool = False,
    as_json: bool = False,
) -> int:
    """Stage a dataset and print its name, digest and counts.

    Its index is read first, so that a broken folder is reported before Ray starts.
    """
    from cluster.datasets.keys import check_name
    from cluster.jobs.session import ray_session
    from sweeps.staging.sources import staging_from_command

    staging = staging_from_command(request.kind, request.folder, request.options)
    name = check_name(request.name or request.kind, "dataset")
    url = choose_store_url(store_url)
    check_reachable(url)
    staging.source.index()
    for text in getattr(staging.source, "notes", ()):  # generators have none
        note(text)
    with store_session(url) as store, keep_stdout_for_json(as_json):
        manifest = find_whole_dataset(store, name, staging.digest)
        if manifest is None:
            with ray_session(f"stage-{name}", keep_logs=keep_logs) as session:
                manifest = stage_into(store, name, staging, on_error=request.on_error)
            if keep_logs:
                note(f"Ray's logs: {session.folder}/logs")
    if as_json:
        print_json(summarize_manifest(manifest, store.url))
    else:
        print(f"staged {manifest.name}@{manifest.digest} in {store.url}")
        for split, counts in manifest.splits.items():
            print(f"  {split}: {count_of(counts.n, 'image')}, {counts.positives} positive")
        if skipped := manifest.provenance.get("images_skipped"):
            print(f"  left out: {count_of(int(skipped), 'image')} that cannot be staged")
    return 0


def summarize_manifest(manifest: Manifest, store_url: str) -> dict[str, Any]:
    """Summarize a staged dataset for programs."""
    return {
        "name": manifest.name,
        "digest": manifest.digest,
        "store": store_url,
        "skipped": int(manifest.provenance.get("images_skipped", 0)),
        "splits": {
            split: {
                "n": counts.n,
                "positives": counts.positives,
                "abnormalities": counts.abnormalities,
            }
            for split, counts in manifest.splits.items()
        },
    }


def stage_weights(
    origin: str, store_url: str | None, *, architecture: str | None = None, as_json: bool = False
) -> int:
    """Stage pretrained weights and print the SHA-256 that a spec names, and what they fit."""
    from sweeps.trial.weights import stage_weights as put_weights

    with store_session(choose_store_url(store_url)) as store:
        with keep_stdout_for_json(as_json):
            weights = put_weights(store, origin, architecture)
        if as_json:
            print_json({"sha256": weights.sha256, "store": store.url, "fits": list(weights.fits)})
            return 0
        taken = count_of(weights.tensors, "tensor")
        if weights.prefix:
            taken += f" under the prefix '{weights.prefix}'"
        note(f"{taken} fit {', '.join(weights.fits)}; {weights.left_out} of the file are left out")
        print(weights.sha256)
    return 0


def ensure_staged(spec: Spec, store: Store, *, in_process: bool = False) -> None:
    """Stage a generator's dataset unless it is staged and whole; with Ray, or in this process."""
    from sweeps.staging.sources import generator_staging

    dataset = spec.dataset
    if not isinstance(dataset, GeneratorDataset):
        return
    staging = generator_staging(dataset.name, dataset.options)
    if find_whole_dataset(store, dataset.name, staging.digest) is None:
        stage_into(store, dataset.name, staging, in_process=in_process)


def find_whole_dataset(store: Store, name: str, digest: str | None) -> Manifest | None:
    """Find the manifest of a generator's dataset; None where any part is missing or damaged.

    Every shard is read. That costs a download, as much as each node pays to fill its cache, and is
    the only way to see damaged bytes; a release, which has no digest before it is read, is read
    and written again anyway, see `cluster.datasets.shards.write_shards`.
    """
    if digest is None:
        return None
    from cluster.datasets.image_table import list_unlocated, read_image_table  # needs pyarrow

    try:
        manifest = find_manifest(store, name, digest)
    except NotFound:
        return None
    except Corrupt as error:
        _log.warning("%s: it is staged again", error)
        return None
    if damage := _verify(store, manifest):
        _log.warning("dataset %s@%s is staged again: %s", name, digest, damage)
        return None
    table = read_image_table(store, manifest)
    # a generator draws its features, but earlier versions kept no pixels of them
    is_described = table is not None and not list_unlocated(table)
    is_counted = read_image_counts(store, manifest) is not None
    return manifest if is_described and is_counted else None


def _verify(store: Store, manifest: Manifest) -> DatasetDamage:
    from cluster.datasets.verify import verify_dataset
    from sweeps.driver.progress import count_progress, make_console

    with count_progress(f"checking {manifest.name}", "images", make_console()) as progress:
        return verify_dataset(store, manifest, progress)


def stage_into(
    store: Store,
    name: str,
    staging: Staging,
    *,
    in_process: bool = False,
    on_error: OnError = "stop",
) -> Manifest:
    """Stage with progress on standard error; needs a Ray session unless in this process.

    Raises:
        BadImages: where they are many, their full list is in a file that the message names.
    """
    from sweeps.driver.progress import count_progress, make_console
    from sweeps.staging.bad_images import BadImages, write_list
    from sweeps.staging.stage import stage

    try:
        with count_progress(f"staging {name}", "images", make_console(), shows_end=True) as bar:
            return stage(
                store,
                staging.source,
                name,
                digest=staging.digest,
                options=staging.options,
                progress=bar,
                in_process=in_process,
                on_error=on_error,
            )
    except BadImages as error:
        path = write_list(name, error.bad)
        raise error if path is None else BadImages(f"{error}\n  all: {path}", error.bad) from error
