"""What is known of each image without its pixels: a Parquet table next to the manifest.

It holds what belongs to no digest, too: covariates (sex, age, site), what drawing each mask takes,
and the pixels of spurious features. No number of a trial depends on it; explanations are measured
on the features. Datasets staged before it existed have none until they are staged again.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from cluster.datasets.keys import image_table_key
from cluster.datasets.manifest import Manifest
from cluster.datasets.records import RowSummary
from cluster.datasets.shards import ATTRIBUTE_PREFIX
from cluster.errors import Corrupt, NotFound
from cluster.stores.base import Store
from spurious.data.drawn import BOXES, MASK

COVARIATE_PREFIX: Final = "covariate_"
FEATURE_PREFIX: Final = "feature_"
CONTENT_KEY: Final = b"content_digest"
HASH_KEY: Final = b"values_sha256"
_OUTLINE: Final = (
    ("vertices_2px", pa.int32()),
    ("vertices_5px", pa.int32()),
    ("components", pa.int32()),
    ("area", pa.float64()),
)
_RUNS: Final = pa.list_(pa.field("element", pa.int32()))
"""As a Parquet file names it, so that what is written equals what is read."""
_log = logging.getLogger(__name__)


def build_image_table(rows: Iterable[RowSummary], manifest: Manifest) -> Any:
    """Build the table of all images, ascending by id.

    Columns: `sample_id`, `patient_id`, `split`, `label`, `abnormalities`, `mask_drawn`,
    `boxes_drawn`, `class` (a name, where the dataset has classes), `spurious_<attribute>`, of the
    native mask `vertices_2px`, `vertices_5px`, `components` and `area` (share of the image), null
    where nobody measured it, `<attribute>_in_mask` and `<attribute>_in_boxes` (shares of a spurious
    feature's pixels, where these are known), `feature_<attribute>` (these pixels, see
    `spurious.data.runs`), and `covariate_<name>`, numbers where all values are, else text.

    Returns:
        A `pyarrow.Table`, with the content digest in its metadata.
    """
    ordered = sorted(rows, key=lambda row: row.sample_id)
    columns: dict[str, Any] = {
        name: pa.array([getattr(row, name) for row in ordered], kind)
        for name, kind in (
            ("sample_id", pa.string()),
            ("patient_id", pa.string()),
            ("split", pa.string()),
            ("label", pa.int8()),
            ("abnormalities", pa.int16()),
        )
    }
    for name, bit in (("mask_drawn", MASK), ("boxes_drawn", BOXES)):
        columns[name] = pa.array([bool(row.drawn & bit) for row in ordered], pa.bool_())
    if names := [each.name for each in manifest.classes]:
        numbers = (row.class_number for row in ordered)
        columns["class"] = pa.array([names[n] for n in numbers if n is not None], pa.string())
    for column, name in enumerate(manifest.attribute_names):
        values = [row.attributes[column] for row in ordered]
        columns[ATTRIBUTE_PREFIX + name] = pa.array(values, pa.bool_())
    outlines = [None if row.details is None else row.details.outline for row in ordered]
    for name, kind in _OUTLINE:
        values = [None if outline is None else getattr(outline, name) for outline in outlines]
        columns[name] = pa.array(values, kind)
    columns |= _overlaps(ordered, manifest) | _features(ordered, manifest) | _covariates(ordered)
    table = pa.table(columns)
    metadata = {CONTENT_KEY: manifest.content_digest, HASH_KEY: _hash_values(table)}
    return table.replace_schema_metadata(metadata)


def _hash_values(table: Any) -> str:
    """Return the SHA-256 of names, types and values: page checksums leave the footer out."""
    sha = hashlib.sha256()
    for field in table.schema:
        values = table.column(field.name).to_pylist()
        sha.update(json.dumps([field.name, str(field.type), values]).encode())
    return sha.hexdigest()


def _overlaps(rows: Sequence[RowSummary], manifest: Manifest) -> dict[str, Any]:
    """Return how known spurious features lie to masks and boxes; no column where none is known."""
    columns = {}
    for name in manifest.attribute_names:
        known = [None if row.details is None else row.details.overlaps.get(name) for row in rows]
        if any(known):
            for share in ("in_mask", "in_boxes"):
                values = [None if overlap is None else getattr(overlap, share) for overlap in known]
                columns[f"{name}_{share}"] = pa.array(values, pa.float64())
    return columns


def _features(rows: Sequence[RowSummary], manifest: Manifest) -> dict[str, Any]:
    """Return the runs of spurious features; no column where no image's are known."""
    columns = {}
    for name in manifest.attribute_names:
        known = [None if row.details is None else row.details.features.get(name) for row in rows]
        if any(runs is not None for runs in known):
            columns[FEATURE_PREFIX + name] = pa.array(known, _RUNS)
    return columns


def _covariates(rows: Sequence[RowSummary]) -> dict[str, Any]:
    details = [{} if row.details is None else row.details.covariates for row in rows]
    columns = {}
    for name in sorted({name for of in details for name in of}):
        values = [of.get(name) for of in details]
        is_text = any(isinstance(value, str) for value in values)
        if is_text:
            values = [None if value is None else str(value) for value in values]
        columns[COVARIATE_PREFIX + name] = pa.array(
            values, pa.string() if is_text else pa.float64()
        )
    return columns


def write_image_table(store: Store, manifest: Manifest, rows: Iterable[RowSummary]) -> None:
    """Store the table of a staged dataset, unless an equal one is there.

    Args:
        store: Where to.
        manifest: The committed manifest.
        rows: All records of the dataset, in any order, with their details.
    """
    table = build_image_table(rows, manifest)
    stored = read_image_table(store, manifest)
    if stored is None or not stored.equals(table, check_metadata=True):
        sink = io.BytesIO()
        pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
        store.put(image_table_key(manifest.name, manifest.digest), sink.getvalue())


def read_image_table(store: Store, manifest: Manifest) -> Any | None:
    """Read the table of a staged dataset as a `pyarrow.Table`.

    Returns:
        None where it is absent, and where it is damaged or belongs to other content, which is
        logged: staging again replaces it.
    """
    key = image_table_key(manifest.name, manifest.digest)
    try:
        source = pa.BufferReader(store.get(key))
        file = pq.ParquetFile(source, page_checksum_verification=True)
        table = file.read(use_threads=False)
        table.validate(full=True)
        metadata = table.schema.metadata or {}
        if metadata.get(CONTENT_KEY, b"").decode() != manifest.content_digest:
            raise ValueError("it belongs to other content")
        if metadata.get(HASH_KEY, b"").decode() != _hash_values(table):
            raise ValueError("its values differ from their SHA-256")
    except NotFound:
        return None
    except (Corrupt, pa.ArrowException, OSError, ValueError) as error:
        _log.warning("%s cannot be read (%s): stage the dataset again to replace it", key, error)
        return None
    return table


def require_image_table(store: Store, manifest: Manifest) -> Any:
    """Read the table of a staged dataset for what cannot do without it.

    Raises:
        NotFound: there is none, since an older version staged the dataset, or it is damaged.
    """
    table = read_image_table(store, manifest)
    if table is None:
        raise NotFound(
            f"dataset '{manifest.name}' in {store.url} has no readable table of its images: stage "
            "it again, which adds it and keeps the digest"
        )
    return table


def list_unlocated(table: Any) -> list[str]:
    """List the spurious attributes of a table that some image has, and whose pixels none has.

    Args:
        table: Of `read_image_table`.
    """
    columns = set(table.column_names)
    return [
        name.removeprefix(ATTRIBUTE_PREFIX)
        for name in table.column_names
        if name.startswith(ATTRIBUTE_PREFIX)
        and FEATURE_PREFIX + name.removeprefix(ATTRIBUTE_PREFIX) not in columns
        and True in table.column(name).to_pylist()
    ]


def read_features(table: Any, sample_ids: Sequence[str]) -> Mapping[str, list[list[int] | None]]:
    """Return the runs of each attribute's pixels on some images, in the order of the ids.

    Args:
        table: Of `read_image_table`.
        sample_ids: Ids of images in the table.

    Returns:
        Attribute name to a value per id: None where no such feature is known.
    """
    place = {name: at for at, name in enumerate(table.column("sample_id").to_pylist())}
    rows = [place[name] for name in sample_ids]
    return {
        name.removeprefix(FEATURE_PREFIX): table.column(name).take(rows).to_pylist()
        for name in table.column_names
        if name.startswith(FEATURE_PREFIX)
    }
