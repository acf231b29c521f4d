"""Datasets: their manifests, the shards these name, and the counts per image."""

from __future__ import annotations

from collections.abc import Iterator

from cluster.datasets.image_counts import read_image_counts
from cluster.datasets.image_table import read_image_table
from cluster.datasets.keys import image_counts_key, image_table_key, manifest_key
from cluster.datasets.manifest import Manifest, list_datasets, load_manifest
from cluster.datasets.verify import verify_dataset
from cluster.errors import ClusterError, Corrupt, Denied, NotFound, Unavailable
from cluster.stores.base import Store
from spurious.config.datasets import GENERATORS
from sweeps.catalogue.store_check.findings import Finding, Progress, Section


def check_datasets(store: Store, progress: Progress) -> Section:
    """Read every shard of every dataset.

    Raises:
        Denied, Unavailable: from the store.
    """
    versions = [(name, digest) for name, all_ in list_datasets(store).items() for digest in all_]
    findings = [
        finding
        for name, digest in versions
        for finding in check_version(store, name, digest, progress)
    ]
    return Section("datasets", len(versions), findings)


def check_version(store: Store, name: str, digest: str, progress: Progress) -> Iterator[Finding]:
    """Yield what is wrong with one version of a dataset; every shard is read.

    Raises:
        Denied, Unavailable: from the store.
    """
    key, label = manifest_key(name, digest), f"{name}@{digest}"
    try:
        manifest = load_manifest(store, key)
    except (Corrupt, NotFound) as error:
        yield Finding("dataset", label, str(error), _cost(name, None), (key,))
        return
    except (Denied, Unavailable):
        raise
    except ClusterError as error:  # of a later version of this program, or damaged in one digit
        yield Finding("dataset", label, f"{key}: {error}", "this program cannot use it")
        return
    damage = verify_dataset(
        store, manifest, lambda done, total: progress(f"images of {name}", done, total)
    )
    for shard, problem in damage.shards.items():
        yield Finding("dataset", label, problem, _cost(name, manifest), (shard,))
    if damage.manifest is not None:
        yield Finding("dataset", label, damage.manifest, _cost(name, manifest), (key,))
    counts = image_counts_key(name, digest)
    if store.exists(counts) and read_image_counts(store, manifest) is None:
        cost = "exact prices, until it is staged again"
        yield Finding("dataset", label, f"{counts} cannot be read", cost, (counts,))
    table = image_table_key(name, digest)
    if store.exists(table) and read_image_table(store, manifest) is None:
        cost = "what `sweeps data show` and `pull` say of each image, until it is staged again"
        if manifest.attribute_names:
            cost += (
                "; trials with `explanations: true` fail until then, since the pixels of spurious "
                "features are in it"
            )
        yield Finding("dataset", label, f"{table} cannot be read", cost, (table,))


def _cost(name: str, manifest: Manifest | None) -> str:
    """Say who makes a dataset whole; results on it stay as they are."""
    if name in GENERATORS or (manifest is not None and manifest.generator is not None):
        return "draw it again: the next `sweeps run` of a sweep on it does, or `sweeps stage`"
    return f"stage it again from its release: sweeps stage KIND DIR --name {name}"
