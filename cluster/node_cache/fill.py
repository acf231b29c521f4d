"""Filling the node cache: shards are read into memory ahead, verified, decoded and dropped."""

from __future__ import annotations

import json
import logging
import math
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from cluster.datasets.manifest import Manifest
from cluster.errors import Corrupt
from cluster.node_cache.array_files import ArrayFiles, ArrayForm, allocate
from cluster.node_cache.checksums import hash_new_files, protect, settle_on_disk
from cluster.node_cache.eviction import disk_errors, make_room, remove_folder, temporary_folder
from cluster.node_cache.shards_ahead import read_shards
from cluster.stores.base import Store
from spurious.data.dataset import COLUMNS, Dataset
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
    needed = decoded + manifest.rows * _COLUMN_BYTES
    _log.info("fetching dataset %s into %s", manifest.name, folder)
    try:
        with disk_errors(folder.parent, needed):
            with make_room(folder, needed):
                temporary.mkdir()
                for name, (shape, dtype) in shapes.items():
                    allocate(temporary / f"{name}.npy", shape, dtype)
            fetched, known = _decode_shards(store, manifest, temporary, progress)
            _seal(temporary, manifest, known)
            temporary.rename(folder)
            settle_on_disk(folder.parent)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return fetched


def pixel_arrays(manifest: Manifest) -> dict[str, ArrayForm]:
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


def _decode_shards(
    store: Store, manifest: Manifest, folder: Path, progress: Progress | None
) -> tuple[int, dict[str, str]]:
    """Write every array; return the bytes that were read, and the SHA-256 of those files known."""
    parts: dict[str, list[NDArray[Any]]] = {name: [] for name in column_names(manifest)}
    total = sum(entry.size_bytes for entry in manifest.shards)
    fetched = 0
    with ArrayFiles(folder, tuple(pixel_arrays(manifest))) as files:

        def write(first: int, rows: Dataset) -> None:
            files.write(first, {name: _pixels(rows, name) for name in pixel_arrays(manifest)})

        for entry, shard in read_shards(store, manifest, write):
            for rows in shard:
                files.hash({name: _pixels(rows, name) for name in pixel_arrays(manifest)})
                for name, columns_so_far in parts.items():
                    columns_so_far.append(getattr(rows, name))
            fetched += entry.size_bytes
            if progress is not None:
                progress(fetched, total)
    known = files.hexdigests()
    columns = {name: np.concatenate(of_shards) for name, of_shards in parts.items()}
    order = _id_order(columns["sample_ids"], manifest)
    if (order != np.arange(len(order))).any():
        known = {}
        for name in pixel_arrays(manifest):
            _permute_rows(npy.open_memmap(folder / f"{name}.npy", mode="r+"), order)
    for name, column in columns.items():
        np.save(folder / f"{name}.npy", column[order], allow_pickle=False)
    return fetched, known


def _pixels(rows: Dataset, name: str) -> NDArray[Any]:
    array = getattr(rows, name)
    return array.bits if isinstance(array, PackedMasks) else np.asarray(array)


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


def _seal(folder: Path, manifest: Manifest, known: Mapping[str, str]) -> None:
    """Write the index last; see `checksums` for what a power cut leaves."""
    names = [f"{name}.npy" for name in array_names(manifest)]
    for name in names:
        protect(folder / name)
        settle_on_disk(folder / name)
    index = {
        "content_digest": manifest.content_digest,
        "files": hash_new_files(folder, names, known),
    }
    (folder / INDEX).write_text(json.dumps(index))
    protect(folder / INDEX)
    settle_on_disk(folder / INDEX)
    settle_on_disk(folder)
