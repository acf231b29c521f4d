"""Loads every record of a source and keeps what can be counted, without writing anything."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import chain

from spurious.data.records import Record, RecordSource
from spurious.errors import DataError
from sweeps.staging.chunks import collect_warnings

_CHUNK = 32
_WORTH_PROCESSES = 4 * _CHUNK
"""Images below which starting processes takes longer than they save."""

Shape = tuple[tuple[int, ...], str]


@dataclass(frozen=True)
class ImageFacts:
    """One record without its pixels.

    Attributes:
        sample_id: Its id.
        split: Its split.
        label: 0 or 1.
        attributes: True, False or None by name.
        mask: Whether a mask is drawn and holds pixels; None where nobody drew one.
        boxes: Number of its boxes; None where nobody drew boxes of their own.
        shape: Shape and dtype of the image.
        class_number: Place among the source's classes; None where it has none.
    """

    sample_id: str
    split: str
    label: int
    attributes: Mapping[str, bool | None]
    mask: bool | None
    boxes: int | None
    shape: Shape
    class_number: int | None = None


@dataclass(frozen=True)
class Survey:
    """What loading everything showed.

    Attributes:
        images: Facts of all images that could be loaded.
        problems: A message for each that could not.
        warnings: What the reader warned of.
    """

    images: Sequence[ImageFacts]
    problems: Sequence[str]
    warnings: Sequence[str]


def survey(source: RecordSource, progress: Callable[[int, int], None]) -> Survey:
    """Load all records, by one process per core where there are many.

    Raises:
        DataError: The index is broken.
    """
    ids = source.index()
    chunks = [ids[start : start + _CHUNK] for start in range(0, len(ids), _CHUNK)]
    parts: list[Survey] = []
    for part in _load_chunks(source, chunks, len(ids)):
        parts.append(part)
        progress(min(len(parts) * _CHUNK, len(ids)), len(ids))
    return Survey(
        list(chain.from_iterable(part.images for part in parts)),
        list(chain.from_iterable(part.problems for part in parts)),
        list(chain.from_iterable(part.warnings for part in parts)),
    )


def _load_chunks(
    source: RecordSource, chunks: Sequence[Sequence[str]], images: int
) -> Iterator[Survey]:
    workers = len(os.sched_getaffinity(0))
    if images < _WORTH_PROCESSES or workers < 2:
        yield from (_load(source, chunk) for chunk in chunks)
        return
    spawn = multiprocessing.get_context("spawn")  # a fork would copy the locks of threads
    with ProcessPoolExecutor(workers, mp_context=spawn) as pool:
        yield from pool.map(_load, [source] * len(chunks), chunks)


def _load(source: RecordSource, ids: Sequence[str]) -> Survey:
    images: list[ImageFacts] = []
    problems: list[str] = []
    with collect_warnings() as warnings:
        for sample_id in ids:
            try:
                images.append(_describe(source.load(sample_id)))
            except DataError as error:
                problems.append(str(error))
    return Survey(images, problems, warnings)


def _describe(record: Record) -> ImageFacts:
    return ImageFacts(
        record.sample_id,
        record.split,
        record.label,
        record.attributes,
        None if record.mask is None else bool(record.mask.any()),
        None if record.boxes is None else len(record.boxes),
        (record.image.shape, record.image.dtype.name),
        record.class_number,
    )
