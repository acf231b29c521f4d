"""Removes one version of a dataset from a store, and no object that another version names."""

from __future__ import annotations

from dataclasses import dataclass

from cluster.datasets.keys import DATASETS, manifest_key, shard_key
from cluster.datasets.manifest import Manifest, list_datasets, load_manifest
from cluster.errors import ClusterError
from cluster.stores.base import Store


@dataclass(frozen=True)
class Removal:
    """What removing a dataset takes away.

    Attributes:
        manifest_key: Removed first, so that nothing reads a dataset in part.
        keys: The other objects, shards that no other version names among them.
        size_bytes: Of those shards.
        kept_shards: Shards that stay, since other versions of the dataset name them.
    """

    manifest_key: str
    keys: tuple[str, ...]
    size_bytes: int
    kept_shards: int


def plan_removal(store: Store, manifest: Manifest) -> Removal:
    """List what removing a version of a dataset takes away; changes nothing.

    Raises:
        ClusterError: the manifest of another version cannot be read, which may name the shards.
    """
    shared: set[str] = set()
    for digest in list_datasets(store).get(manifest.name, ()):
        if digest == manifest.digest:
            continue
        try:
            other = load_manifest(store, manifest_key(manifest.name, digest))
        except ClusterError as error:
            raise ClusterError(
                f"{manifest.name}@{digest} cannot be read and may share shards with "
                f"@{manifest.digest}: mend or remove it first with `sweeps store check --repair` "
                f"({error})"
            ) from error
        shared |= {entry.sha256 for entry in other.shards}
    lone = [entry for entry in manifest.shards if entry.sha256 not in shared]
    folder = f"{DATASETS}{manifest.name}/{manifest.digest}/"
    described = [key for key in store.list(folder) if key != manifest.key]
    shards = [shard_key(manifest.name, entry.sha256) for entry in lone]
    return Removal(
        manifest.key,
        (*described, *shards),
        sum(entry.size_bytes for entry in lone),
        len(manifest.shards) - len(lone),
    )


def remove(store: Store, removal: Removal) -> None:
    """Delete the objects, the manifest first; what is missing already is passed over."""
    store.delete(removal.manifest_key)
    for key in removal.keys:
        store.delete(key)
