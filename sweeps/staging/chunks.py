"""What one loading task does: decode a chunk of images, and name those that cannot be staged."""

from __future__ import annotations

import ctypes
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from spurious.data.near_duplicates import SIDE, make_fingerprint
from spurious.data.records import Record, RecordSource
from spurious.errors import DataError

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3  # of <malloc.h>
_KEPT_BYTES = 64 * 2**20
_LARGEST_KEPT = 32 * 2**20
"""Bytes of an array above which the C library takes no other threshold."""


@dataclass(frozen=True)
class LoadedChunk:
    """The outcome of a chunk.

    Attributes:
        records: Of the images that are good, in the order of their ids.
        bad: Why each other one cannot be staged, by id.
        warnings: What readers logged, which a worker's own log would hide.
        fingerprints: What near copies are found by, by id, see `make_fingerprint`.
    """

    records: Sequence[Record]
    bad: Mapping[str, str]
    warnings: Sequence[str]
    fingerprints: Mapping[str, bytes]


def load_chunk(source: RecordSource, ids: Sequence[str]) -> LoadedChunk:
    """Load a chunk's records; bad images are left out and named, so that one pass names all."""
    records: list[Record] = []
    bad: dict[str, str] = {}
    with collect_warnings() as warnings:
        for sample_id in ids:
            try:
                records.append(source.load(sample_id))
            except DataError as error:
                bad[sample_id] = str(error)
    fingerprints = {r.sample_id: make_fingerprint(r.image) for r in records if _is_picture(r)}
    return LoadedChunk(records, bad, warnings, fingerprints)


def _is_picture(record: Record) -> bool:
    """Return whether an image is large enough to be known by its hash."""
    image = record.image
    return image.ndim == 3 and image.size > 0 and min(image.shape[:2]) > SIDE


def keep_freed_memory() -> None:
    """Make this process keep 64 MiB that it freed, for the next image.

    The C library gives every image's pixels back to the system and asks for them again, page by
    page, which takes as long as decoding a JPEG. Only glibc has the switch.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(_TOP_PAD, _KEPT_BYTES)
        libc.mallopt(_TRIM_THRESHOLD, 2 * _KEPT_BYTES)
        # Without it, either of the others fixes this at 128 KiB: every image would be mapped again.
        libc.mallopt(_MMAP_THRESHOLD, _LARGEST_KEPT)


@contextmanager
def collect_warnings() -> Iterator[list[str]]:
    """Take the readers' warnings out of this process's log, into a list."""
    texts: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: texts.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("spurious.readers")
    propagates, logger.propagate = logger.propagate, False
    logger.addHandler(handler)
    try:
        yield texts
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagates
