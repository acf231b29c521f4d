"""What annotation is priced by, image by image: a small object next to the manifest.

It is part of no digest and no trial reads it. Datasets staged before it existed have none: a plan
then knows the manifest's sums alone, until the dataset is staged again.
"""

from __future__ import annotations

import gzip
import json
import logging
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cluster.datasets.keys import image_counts_key
from cluster.datasets.manifest import Manifest
from cluster.errors import Corrupt, NotFound
from cluster.stores.base import Store
from spurious.data.splits import SPLITS

if TYPE_CHECKING:
    from cluster.datasets.records import RowSummary  # needs numpy, which planning does without

FORMAT: Final = 1
PARTIAL_FORMAT: Final = 2
"""With what is drawn on each image, of datasets in which masks are missing or boxes drawn."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ImageCounts:
    """Label and number of abnormalities of every image of one split, in ascending order of ids.

    `drawn` holds the bits of `spurious.data.drawn`; None where every mask is drawn.
    """

    labels: tuple[int, ...]
    abnormalities: tuple[int, ...]
    drawn: tuple[int, ...] | None = None


def count_images(rows: Iterable[RowSummary], partial: bool = False) -> dict[str, ImageCounts]:
    """Collect the counts of all records of a dataset, by split."""
    ordered = sorted(rows, key=lambda row: row.sample_id)
    of_split = {split: [row for row in ordered if row.split == split] for split in SPLITS}
    return {
        split: ImageCounts(
            tuple(row.label for row in chosen),
            tuple(row.abnormalities for row in chosen),
            tuple(row.drawn for row in chosen) if partial else None,
        )
        for split, chosen in of_split.items()
    }


def write_image_counts(store: Store, manifest: Manifest, rows: Iterable[RowSummary]) -> None:
    """Store the counts of a staged dataset, unless its object is there and whole.

    Args:
        store: Where to.
        manifest: The committed manifest.
        rows: All records of the dataset, in any order.
    """
    if read_image_counts(store, manifest) is None:
        data = _encode(manifest, count_images(rows, manifest.is_partial))
        store.put(image_counts_key(manifest.name, manifest.digest), data)


def read_image_counts(store: Store, manifest: Manifest) -> dict[str, ImageCounts] | None:
    """Read the counts of a staged dataset, by split.

    Returns:
        None where the object is absent, and where it is damaged or contradicts the manifest, which
        is logged: it decides no result, so that nothing fails by it.
    """
    key = image_counts_key(manifest.name, manifest.digest)
    try:
        return _decode(manifest, store.get(key))
    except NotFound:
        return None
    except (
        Corrupt,
        OSError,
        EOFError,
        zlib.error,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        OverflowError,
        RecursionError,
    ) as error:
        _log.warning("%s cannot be read (%s): stage the dataset again to replace it", key, error)
        return None


def _encode(manifest: Manifest, counts: Mapping[str, ImageCounts]) -> bytes:
    """Compressed JSON of about a byte per image; equal counts give equal bytes."""
    document: dict[str, Any] = {
        "format": PARTIAL_FORMAT if manifest.is_partial else FORMAT,
        "content_digest": manifest.content_digest,
        "splits": {
            split: {"labels": "".join(map(str, of.labels)), "abnormalities": of.abnormalities}
            | ({} if of.drawn is None else {"drawn": "".join(map(str, of.drawn))})
            for split, of in counts.items()
        },
    }
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return gzip.compress(text.encode(), mtime=0)


def _decode(manifest: Manifest, data: bytes) -> dict[str, ImageCounts]:
    """Parse and check against the manifest; whatever does not fit raises."""
    document = json.loads(gzip.decompress(data))
    expected = PARTIAL_FORMAT if manifest.is_partial else FORMAT
    if document["format"] != expected:
        raise ValueError(f"format {document['format']!r}, expected {expected}")
    if document["content_digest"] != manifest.content_digest:
        raise ValueError("it belongs to other content")
    counts = {
        split: ImageCounts(
            tuple(map(int, of["labels"])),
            tuple(of["abnormalities"]),
            tuple(map(int, of["drawn"])) if manifest.is_partial else None,
        )
        for split, of in document["splits"].items()
    }
    for split in SPLITS:
        of, sums = counts[split], manifest.splits[split]
        stored = (len(of.labels), len(of.abnormalities), sum(of.labels), sum(of.abnormalities))
        if stored != (sums.n, sums.n, sums.positives, sums.abnormalities):
            raise ValueError(f"split {split} differs from the manifest's counts")
        if of.drawn is not None and (
            len(of.drawn) != sums.n or any(bits not in range(4) for bits in of.drawn)
        ):
            raise ValueError(f"split {split} differs in what is drawn")
    return counts
