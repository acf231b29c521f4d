"""Filling the node cache: shards are fetched one at a time, verified, decoded and dropped."""

from __future__ import annotations

import json
import logging
import math
import os
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from cluster.common.atomic import sync
from cluster.datasets.keys import shard_key
from cluster.datasets.manifest import Manifest, ShardEntry
from cluster.datasets.shard_reader import read_shard
from cluster.errors import Corrupt, NotFound
from cluster.node_cache.checksums import hash_new_files, protect
from cluster.node_cache.eviction import disk_errors, make_room, remove_folder, temporary_folder
from cluster.stores.base import Store
from spurious.data.dataset import COLUMNS
from spurious.data.masks import PackedMasks, packed_bytes

INDEX: Final = "index.json"
_COLUMN_BYTES: Final = 1024
"""A guess at what the columns take per row; ids decide it."""

Progress = Callable[[int, int], None]
"""Called with the bytes fetched so far and the bytes of all shards."""

_log = logging.getLogger(__name__)


def fetch_dataset(
    store: Store,
    manifest: Manifest,
    folder: Path,
    progress: Progress | None,
) -> int:
    """Build the cached dataset beside `folder` and rename it into place.

    The caller holds the dataset's lock. Whatever goes wrong, `folder` is whole or absent.

    Returns:
        Bytes downloaded.

    Raises:
        Corrupt, NotFound, DiskFull, Denied, Unavailable: see `open_dataset`.
    """
    temporary = temporary_folder(folder)
    for leftover in (temporary, folder):
        remove_folder(leftover)
    shapes = pixel_arrays(manifest)
    decoded = sum(math.prod(shape) * dtype.itemsize for shape, dtype in shapes.values())
    largest_shard = max(entry.size_bytes for entry in manifest.shards)
    needed = decoded + manifest.rows * _COLUMN_BYTES + largest_shard
    _log.info("fetching dataset %s into %s", manifest.name, folder)
    try:
        with disk_errors(folder.parent, needed):
            with make_room(folder, needed):
                temporary.mkdir()
                for name, (shape, dtype) in shapes.items():
                    _allocate(temporary / f"{name}.npy", shape, dtype)
            fetched = _decode_shards(store, manifest, temporary, progress)
            _seal(temporary, manifest)
            temporary.rename(folder)
            sync(folder.parent)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return fetched


def pixel_arrays(manifest: Manifest) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
    """Return shape and dtype of the arrays that are written row by row.

    These are images and packed mask bits, and those of filled boxes where some are drawn as such.
    """
    n, (height, width, channels) = manifest.rows, manifest.image_shape
    bits = ((n, packed_bytes(height, width)), np.dtype(np.uint8))
    arrays = {"images": ((n, height, width, channels), np.dtype(manifest.dtype)), "masks": bits}
    return arrays | {"boxes": bits} if manifest.is_partial else arrays


def column_names(manifest: Manifest) -> tuple[str, ...]:
    """Return the names of the arrays that hold no pixels."""
    drawn = ("drawn",) if manifest.is_partial else ()
    return (*COLUMNS, *drawn, *(("class_numbers",) if manifest.classes else ()))


def array_names(manifest: Manifest) -> tuple[str, ...]:
    """Return the names of all cached arrays."""
    return (*pixel_arrays(manifest), *column_names(manifest))


def _allocate(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Create an array file with its blocks reserved: no other fetch can count on them.

    Moving rows through a map of a sparse file on a full disk would kill the process (SIGBUS).
    """
    npy.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    with path.open("r+b") as file:
        os.posix_fallocate(file.fileno(), 0, path.stat().st_size)


def _decode_shards(
    store: Store, manifest: Manifest, folder: Path, progress: Progress | None
) -> int:
    parts: dict[str, list[NDArray[Any]]] = {name: [] for name in column_names(manifest)}
    total = sum(entry.size_bytes for entry in manifest.shards)
    path = folder / "shard.parquet"
    fetched = 0
    with ExitStack() as stack:
        files = {
            name: stack.enter_context(_rows_of(folder / f"{name}.npy"))
            for name in pixel_arrays(manifest)
        }
        for entry in manifest.shards:
            _download(store, manifest, entry, path)
            for rows in read_shard(path, manifest, entry):
                # Not through a map: a page fault for each new 4 kB is several times slower.
                for name, file in files.items():
                    array = getattr(rows, name)
                    file.write((array.bits if isinstance(array, PackedMasks) else array).data)
                for name, columns_so_far in parts.items():
                    columns_so_far.append(getattr(rows, name))
            path.unlink()
            fetched += entry.size_bytes
            if progress is not None:
                progress(fetched, total)
    columns = {name: np.concatenate(of_shards) for name, of_shards in parts.items()}
    order = _id_order(columns["sample_ids"], manifest)
    for name in pixel_arrays(manifest):
        _permute_rows(npy.open_memmap(folder / f"{name}.npy", mode="r+"), order)
    for name, column in columns.items():
        np.save(folder / f"{name}.npy", column[order], allow_pickle=False)
    return fetched


def _rows_of(path: Path) -> BinaryIO:
    """Open an array file for writing, positioned at its first row."""
    file = path.open("r+b")
    npy.read_magic(file)
    npy.read_array_header_1_0(file)
    return file


def _download(store: Store, manifest: Manifest, entry: ShardEntry, path: Path) -> None:
    key = shard_key(manifest.name, entry.sha256)
    try:
        store.download(key, path)
    except NotFound as error:
        raise NotFound(
            f"shard {key} of dataset {manifest.name}@{manifest.digest} is missing from "
            f"{store.url}: stage the dataset again"
        ) from error


def _id_order(sample_ids: NDArray[np.str_], manifest: Manifest) -> NDArray[np.int64]:
    """(N,) row numbers in ascending order of their ids."""
    order = np.argsort(sample_ids, kind="stable")
    ordered = sample_ids[order]
    repeated = ordered[1:][ordered[1:] == ordered[:-1]]
    if len(repeated):
        raise Corrupt(f"{manifest.key}: its shards repeat id '{repeated[0]}'")
    return order


def _permute_rows(array: NDArray[Any], order: NDArray[np.int64]) -> None:
    """Set row i to the old row order[i] in place, so that the disk need not hold two copies.

    Follows each cycle of the permutation; shards staged in id order need no move at all.
    """
    moved = order == np.arange(len(order))
    for start in np.flatnonzero(~moved):
        if moved[start]:
            continue
        held, row = array[start].copy(), start
        while order[row] != start:
            array[row] = array[order[row]]
            moved[row] = True
            row = order[row]
        array[row] = held
        moved[row] = True


def _seal(folder: Path, manifest: Manifest) -> None:
    """Write the index last, everything before it on disk: a power cut leaves no believed half."""
    names = [f"{name}.npy" for name in array_names(manifest)]
    for name in names:
        protect(folder / name)
        sync(folder / name)
    index = {
        "content_digest": manifest.content_digest,
        "files": hash_new_files(folder, names),
    }
    (folder / INDEX).write_text(json.dumps(index))
    protect(folder / INDEX)
    sync(folder / INDEX)
    sync(folder)
