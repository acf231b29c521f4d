"""The node cache: a dataset is fetched and decoded once per node, then shared by all its trials.

A cached dataset is a folder of `.npy` files that every trial maps read-only, so the node holds
each page once. The folder is built under a lock beside its place and renamed into it when whole.
Its files have checksums (`checksums`); a copy that does not match them is fetched again.
"""

from __future__ import annotations

import json
import logging
import os
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from cluster.common.locks import lock_shared
from cluster.common.wording import count_of
from cluster.datasets.manifest import Manifest
from cluster.errors import ClusterError, Corrupt, Denied
from cluster.node_cache.cached_file import OF_THIS_PROCESS, CachedFile, map_array
from cluster.node_cache.checksums import verify_files
from cluster.node_cache.derived import DerivedFiles
from cluster.node_cache.eviction import dataset_folder, held_lock
from cluster.node_cache.fill import INDEX, Progress, array_names, fetch_dataset, pixel_arrays
from cluster.stores.base import Store
from spurious.data.dataset import Dataset
from spurious.data.masks import PackedMasks

_log = logging.getLogger(__name__)


_Mapped = tuple[Dataset, tuple[CachedFile, ...]]


@dataclass(frozen=True)
class CachedDataset:
    """A dataset on this node, and what opening it took.

    Attributes:
        dataset: Rows ascending by sample id. All arrays are read-only memory maps; the cached files
            cannot be evicted while an array, or a view of one, is alive.
        hit: False where this call fetched the dataset.
        bytes_fetched: Bytes that this call downloaded.
        seconds_waited: Wall time until no other process or thread was at the dataset, seconds.
        seconds_fetching: Wall time of fetching and decoding, 0 on a hit, seconds.
        discarded: Why the cached copy was discarded and fetched again; else empty.
        files: The mapped files.
        derived: Where the dataset's derived arrays are kept.
    """

    dataset: Dataset
    hit: bool
    bytes_fetched: int
    seconds_waited: float
    seconds_fetching: float
    discarded: str = ""
    files: tuple[CachedFile, ...] = ()
    derived: DerivedFiles | None = None

    def check_unchanged(self) -> None:
        """Verify that what was mapped is what was verified; takes microseconds if nothing changed.

        Raises:
            CacheChanged: a file's content was changed in place; what was computed from it may be
                wrong.
        """
        derived = () if self.derived is None else self.derived.files
        for file in (*self.files, *derived):
            file.check()


def open_dataset(
    store: Store,
    manifest: Manifest,
    cache_dir: Path,
    *,
    progress: Progress | None = None,
    wait_seconds: float = 6 * 3600,
) -> CachedDataset:
    """Map a dataset from the node cache, fetching it first where it is not there.

    However many processes and threads of a node open a dataset, one fetches it and the others
    wait. What a killed process left is removed by the next one that fetches. Datasets that nobody
    has open are evicted, least recently opened first, where the disk or SWEEPS_CACHE_MAX is short.

    Args:
        store: Where the shards are.
        manifest: The dataset.
        cache_dir: Folder on a local disk, the same for all trials of the node.
        progress: Called after each shard that this call fetches.
        wait_seconds: How long to wait for another process that fetches the same dataset.

    Raises:
        Corrupt, NotFound: a shard is damaged or missing; names it, and nothing is cached.
        DiskFull, ClusterError: the disk or SWEEPS_CACHE_MAX has no room, or it is not a size.
        Denied: the cache folder cannot be written.
        Unavailable: the store failed, or waiting took too long.
    """
    _make_cache_folder(cache_dir)
    folder, began = dataset_folder(cache_dir, manifest.content_digest), time.monotonic()
    with held_lock(folder, f"dataset {manifest.name} being fetched", wait_seconds):
        free, fetched, fetching = time.monotonic(), 0, 0.0
        mapped, discarded = _map_if_sound(folder, manifest)
        if not (hit := mapped is not None):
            fetched = fetch_dataset(store, manifest, folder, progress)
            fetching = time.monotonic() - free
            mapped = _map(folder, manifest)
        with suppress(PermissionError):  # another user's
            os.utime(folder / INDEX)  # eviction goes by the time of the last opening
    derived = DerivedFiles(folder, mapped[1], wait_seconds)
    return CachedDataset(
        replace(mapped[0], derived=derived),
        hit=hit,
        bytes_fetched=fetched,
        seconds_waited=free - began,
        seconds_fetching=fetching,
        discarded=discarded,
        files=mapped[1],
        derived=derived,
    )


def _make_cache_folder(cache_dir: Path) -> None:
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Denied(f"cannot use {cache_dir} as cache folder: {error}") from error


def _map_if_sound(folder: Path, manifest: Manifest) -> tuple[_Mapped | None, str]:
    """Map a cached dataset; None with the reason where it must be fetched again."""
    if not folder.exists():
        return None, ""
    try:
        return _map(folder, manifest), ""
    except Corrupt as error:
        _log.warning("%s: fetching dataset %s again", error, manifest.name)
        return None, str(error)


def _map(folder: Path, manifest: Manifest) -> _Mapped:
    """Map every array of a cached dataset; raises Corrupt where a file is not as recorded."""
    try:
        index = json.loads((folder / INDEX).read_bytes())
        if index["content_digest"] != manifest.content_digest:
            raise Corrupt(f"cached dataset {folder} holds content {index['content_digest']}")
        entries = index["files"]
        with ExitStack() as stack:
            names = array_names(manifest)
            files = {
                f"{name}.npy": stack.enter_context((folder / f"{name}.npy").open("rb"))
                for name in names
            }
            for file in files.values():
                lock_shared(file)
            identities = verify_files(folder, files, entries)
            arrays = {name: map_array(files[f"{name}.npy"]) for name in names}
    except (ClusterError, ImportError, MemoryError):
        raise
    except Exception as error:  # a damaged header or index may raise anything in its parser
        if isinstance(error, OSError) and error.errno in OF_THIS_PROCESS:
            raise
        raise Corrupt(f"cached dataset {folder} cannot be opened: {error!r}") from error
    _check_shapes(arrays, folder, manifest)
    cached_files = tuple(
        CachedFile(folder / f"{name}.npy", entries[f"{name}.npy"]["sha256"], identity, array)
        for (name, array), identity in zip(arrays.items(), identities.values(), strict=True)
    )
    height, width, _ = manifest.image_shape
    packed = {
        name: PackedMasks(arrays.pop(name), height, width)
        for name in ("masks", "boxes")
        if name in arrays
    }
    dataset = Dataset(
        **(arrays | packed),  # type: ignore[arg-type]
        attribute_names=manifest.attribute_names,
        directions=manifest.directions,
        digest=manifest.digest,
        mask_of=manifest.mask_of,
        classes=manifest.classes,
    )
    return dataset, cached_files


def _check_shapes(arrays: dict[str, NDArray[Any]], folder: Path, manifest: Manifest) -> None:
    """Raise Corrupt where arrays are not of the manifest's shapes and types."""
    for name, (shape, dtype) in pixel_arrays(manifest).items():
        if (arrays[name].shape, arrays[name].dtype) != (shape, dtype):
            raise Corrupt(
                f"cached {name} in {folder} are {arrays[name].shape} {arrays[name].dtype}; "
                f"expected {shape} {dtype}"
            )
    if any(len(array) != manifest.rows for array in arrays.values()):
        raise Corrupt(f"cached columns in {folder} do not have {count_of(manifest.rows, 'row')}")
