"""A Croissant 1.0 description of a staged dataset: what machine-learning catalogues read.

Source: MLCommons Croissant format specification 1.0 (mlcommons.org/croissant/1.0).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from cluster.common.wording import count_of
from cluster.datasets.keys import shard_key
from cluster.datasets.manifest import Manifest
from cluster.datasets.shards import shard_schema

CONTEXT: Final[Mapping[str, Any]] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
_TYPES: Final = {"string": "sc:Text", "bool": "sc:Boolean", "binary": "sc:Text"}
_MEANINGS: Final = {
    "sample_id": "unique id of the image",
    "patient_id": "id of the patient; no two splits share one",
    "split": "train, val or test",
    "label": "1 when the abnormality is present, else 0",
    "abnormalities": "separate regions of the mask, else boxes",
    "image": "raw little-endian pixels in C order, of height x width x channels",
    "mask": "bits of the mask in C order, eight pixels to a byte, the last byte padded with zeros",
    "mask_drawn": "whether anybody drew the mask; where not, its bits are zeros",
    "boxes": "(k, 4) little-endian int32: x0, y0, x1, y1, the last two exclusive; null: not drawn",
}


def describe(manifest: Manifest, store_url: str) -> dict[str, Any]:
    """Describe the shards of a dataset as a Croissant document.

    Args:
        manifest: The dataset.
        store_url: URL of the store, which shards are addressed by.
    """
    files = list(_describe_files(manifest, store_url))
    document: dict[str, Any] = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "name": manifest.name,
        "description": _describe_dataset(manifest),
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "version": f"1.0.0+{manifest.digest[:12]}",
        "distribution": [*files, _describe_set(files)],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": "images",
                "name": "images",
                "field": list(_describe_fields(manifest)),
            }
        ],
    }
    if staged_at := manifest.provenance.get("staged_at"):
        document["dateCreated"] = staged_at
    return document


def _describe_dataset(manifest: Manifest) -> str:
    height, width, channels = manifest.image_shape
    parts = ", ".join(f"{counts.n} {split}" for split, counts in manifest.splits.items())
    origin = "; ".join(f"{key}: {value}" for key, value in sorted(manifest.provenance.items()))
    names = ", ".join(each.name for each in manifest.classes)
    classes = f" Classes: {names}." if names else ""
    return (
        f"{count_of(manifest.rows, 'image')} of {height} x {width} x {channels} {manifest.dtype} "
        f"({parts}), with masks and spurious attributes "
        f"({', '.join(manifest.attribute_names) or 'none'}).{classes} "
        f"Digest {manifest.digest}. {origin}"
    )


def _describe_files(manifest: Manifest, store_url: str) -> Iterator[dict[str, Any]]:
    for entry in manifest.shards:
        yield {
            "@type": "cr:FileObject",
            "@id": f"{entry.sha256}.parquet",
            "name": f"{entry.sha256}.parquet",
            "contentUrl": f"{store_url.rstrip('/')}/{shard_key(manifest.name, entry.sha256)}",
            "contentSize": f"{entry.size_bytes} B",
            "encodingFormat": "application/x-parquet",
            "sha256": entry.sha256,
        }


def _describe_set(files: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "@type": "cr:FileSet",
        "@id": "shards",
        "name": "shards",
        "containedIn": [{"@id": file["@id"]} for file in files],
        "encodingFormat": "application/x-parquet",
        "includes": "*.parquet",
    }


def _describe_fields(manifest: Manifest) -> Iterator[dict[str, Any]]:
    of = (manifest.attribute_names, manifest.dtype, manifest.is_partial, bool(manifest.classes))
    numbers = ", ".join(f"{number} {each.name}" for number, each in enumerate(manifest.classes))
    meanings = {**_MEANINGS, "class": f"number of the image's class: {numbers}"}
    for column in shard_schema(*of):
        attribute = column.name.removeprefix("spurious_")
        meaning = meanings.get(column.name, f"{attribute} of the image, in pixels or values")
        if column.name != attribute:
            meaning = f"spurious attribute {attribute}; null where nobody annotated it"
        yield {
            "@type": "cr:Field",
            "@id": f"images/{column.name}",
            "name": column.name,
            "description": meaning,
            "dataType": _TYPES.get(str(column.type), "sc:Integer"),
            "source": {"fileSet": {"@id": "shards"}, "extract": {"column": column.name}},
        }
