"""The node cache: a dataset is fetched and decoded once per node, then shared by all its trials.

A cached dataset is a folder of `.npy` files that every trial maps read-only, so the node holds
each page once. The folder is built under a lock beside its place and renamed into it when whole.
"""

from __future__ import annotations

import json
import logging
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from cluster.common.locks import lock_shared
from cluster.datasets.manifest import Manifest
from cluster.errors import Corrupt, Denied
from cluster.node_cache.eviction import dataset_folder, held_lock
from cluster.node_cache.fill import ARRAYS, INDEX, Progress, fetch_dataset, pixel_arrays
from cluster.stores.base import Store
from spurious.data.dataset import Dataset
from spurious.data.masks import PackedMasks

_log = logging.getLogger(__name__)


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
    """

    dataset: Dataset
    hit: bool
    bytes_fetched: int
    seconds_waited: float
    seconds_fetching: float


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
        DiskFull: the disk or SWEEPS_CACHE_MAX has no room.
        ClusterError: SWEEPS_CACHE_MAX is not a size.
        Denied: the cache folder cannot be written.
        Unavailable: the store failed, or waiting took too long.
    """
    _make_cache_folder(cache_dir)
    folder = dataset_folder(cache_dir, manifest.content_digest)
    began = time.monotonic()
    with held_lock(folder, f"dataset {manifest.name} being fetched", wait_seconds):
        free = time.monotonic()
        fetched, fetching = 0, 0.0
        dataset = _map_if_sound(folder, manifest)
        hit = dataset is not None
        if dataset is None:
            fetched = fetch_dataset(store, manifest, folder, progress)
            fetching = time.monotonic() - free
            dataset = _map(folder, manifest)
        os.utime(folder / INDEX)  # eviction goes by the time of the last opening
    return CachedDataset(
        dataset,
        hit=hit,
        bytes_fetched=fetched,
        seconds_waited=free - began,
        seconds_fetching=fetching,
    )


def _make_cache_folder(cache_dir: Path) -> None:
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Denied(f"cannot use {cache_dir} as cache folder: {error}") from error


def _map_if_sound(folder: Path, manifest: Manifest) -> Dataset | None:
    if not folder.exists():
        return None
    try:
        return _map(folder, manifest)
    except Corrupt as error:
        _log.warning("%s: fetching dataset %s again", error, manifest.name)
        return None


def _map(folder: Path, manifest: Manifest) -> Dataset:
    """Map every array of a cached dataset; raises Corrupt where a file is not as recorded."""
    try:
        sizes = json.loads((folder / INDEX).read_bytes())["files"]
        for name, size in sizes.items():
            size_on_disk = (folder / name).stat().st_size
            if size_on_disk != size:
                raise Corrupt(
                    f"cached file {folder / name} has {size_on_disk} bytes; expected {size}"
                )
        arrays = {name: _map_array(folder / f"{name}.npy") for name in ARRAYS}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Corrupt(f"cached dataset {folder} cannot be opened: {error}") from error
    for name, (shape, dtype) in pixel_arrays(manifest).items():
        if (arrays[name].shape, arrays[name].dtype) != (shape, dtype):
            raise Corrupt(
                f"cached {name} in {folder} are {arrays[name].shape} {arrays[name].dtype}; "
                f"expected {shape} {dtype}"
            )
    if any(len(array) != manifest.rows for array in arrays.values()):
        raise Corrupt(f"cached columns in {folder} do not have {manifest.rows} rows")
    height, width, _ = manifest.image_shape
    masks = PackedMasks(arrays.pop("masks"), height, width)
    return Dataset(
        **arrays,
        masks=masks,
        attribute_names=manifest.attribute_names,
        directions=manifest.directions,
        digest=manifest.digest,
    )


def _map_array(path: Path) -> NDArray[Any]:
    """Map one `.npy` file and hold a shared lock on it for as long as the map lives.

    The lock belongs to the open file, which `mmap` duplicates and closes when it goes; so the lock
    ends with the last view of the array, or with the process, however that ends.
    """
    with path.open("rb") as file:
        lock_shared(file)
        npy.read_magic(file)
        shape, fortran, dtype = npy.read_array_header_1_0(file)
        if fortran:
            raise ValueError(f"{path} is in Fortran order")
        return np.memmap(file, dtype=dtype, mode="r", offset=file.tell(), shape=shape)
