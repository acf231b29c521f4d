"""Lists the staged datasets of a store, and finds one as a command names it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cluster.datasets.keys import manifest_key
from cluster.datasets.manifest import Manifest, find_manifest, list_datasets, load_manifest
from cluster.errors import ClusterError, Denied, Unavailable
from cluster.stores.base import Store


@dataclass(frozen=True)
class ListedDataset:
    """One version of a dataset in a store.

    Attributes:
        name: Its name.
        digest: Its digest.
        manifest: None where it cannot be read.
        problem: Why it cannot be read, or None.
    """

    name: str
    digest: str
    manifest: Manifest | None
    problem: str | None = None


def iterate_datasets(store: Store) -> Iterator[ListedDataset]:
    """Yield every version of every dataset by name; damaged ones too, with what is wrong.

    Raises:
        Denied, Unavailable: from the store.
    """
    for name, digests in list_datasets(store).items():
        for digest in digests:
            try:
                manifest = load_manifest(store, manifest_key(name, digest))
            except (Denied, Unavailable):
                raise
            except ClusterError as error:
                yield ListedDataset(name, digest, None, str(error))
            else:
                yield ListedDataset(name, digest, manifest)


def find_dataset(store: Store, label: str) -> Manifest:
    """Read the manifest of NAME, or of NAME@DIGEST where there are several versions.

    Raises:
        NotFound: there is none; names the nearest.
        ClusterError: several versions match; lists them.
    """
    name, _, digest = label.partition("@")
    return find_manifest(store, name, digest or None)
