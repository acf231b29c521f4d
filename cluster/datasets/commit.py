"""The last step of staging: a manifest is written once, and replaced where it is damaged."""

from __future__ import annotations

import dataclasses
import logging

from cluster.datasets.keys import shard_key
from cluster.datasets.manifest import Manifest, load_manifest
from cluster.datasets.verify import verify_dataset
from cluster.errors import AlreadyExists, ClusterError, Corrupt, NotFound
from cluster.stores.base import Store

_log = logging.getLogger(__name__)


def commit_manifest(store: Store, manifest: Manifest) -> bool:
    """Make a staged dataset visible; its shards have just been written, or read back whole.

    Returns:
        True where it was committed; False where the same content was staged before, in which case
        nothing is written. An earlier manifest that cannot be read, that contradicts its shards,
        or one of whose shards is damaged or gone, is replaced: staging again always mends.

    Raises:
        NotFound: a shard that the manifest names is not in the store.
        ClusterError: this digest is staged with other content, other attribute directions, or masks
            of something else.
        Denied, Unavailable: from the store.
    """
    keys = [shard_key(manifest.name, entry.sha256) for entry in manifest.shards]
    if missing := [key for key in keys if not store.exists(key)]:
        raise NotFound(f"cannot commit {manifest.key}: {missing[0]} is not in {store.url}")
    data = manifest.to_json().encode()
    try:
        store.create(manifest.key, data)
    except AlreadyExists:
        if (problem := _find_problem(store, manifest)) is None:
            _log.info("%s@%s is already staged: nothing written", manifest.name, manifest.digest)
            return False
        _log.warning("manifest replaced: %s", problem)
        store.put(manifest.key, data)
    return True


def _find_problem(store: Store, new: Manifest) -> str | None:
    """Return why the manifest in the store must give way to a new one of its key; None: it stays.

    Raises:
        ClusterError: it is whole, and of other content, other attribute directions, or masks of
            something else.
    """
    try:
        staged = load_manifest(store, new.key)
    except Corrupt as error:
        return str(error)
    if staged.mask_of != new.mask_of:
        raise ClusterError(
            f"dataset {new.name}@{new.digest} is already staged in {store.url} with masks of the "
            f"{staged.mask_of}, now of the {new.mask_of}: they are priced and used in another way; "
            f"stage it under another name, or delete {new.key} first"
        )
    if staged != dataclasses.replace(new, provenance=staged.provenance):
        if damage := verify_dataset(store, staged):
            return str(damage)
        _refuse_difference(staged, new, store.url)
        if staged.generator is not None and staged.generator != new.generator:
            return f"{staged.key} has other options than its digest stands for"
    return None


def _refuse_difference(staged: Manifest, new: Manifest, url: str) -> None:
    what = f"dataset {new.name}@{new.digest} is already staged in {url}"
    if staged.content_digest != new.content_digest:
        raise ClusterError(
            f"{what} with other content ({staged.content_digest}, now {new.content_digest}): "
            "the generator's output changed without a new version; raise its version"
        )
    if staged.attributes != new.attributes:
        raise ClusterError(
            f"{what} with other attribute directions ({_describe(staged)}, now {_describe(new)}): "
            f"results of both would mix; stage it under another name, or delete {new.key} first"
        )


def _describe(manifest: Manifest) -> str:
    return ", ".join(f"{a.name} {a.direction:+d} {a.source}" for a in manifest.attributes)
