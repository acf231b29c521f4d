"""Names and keys of datasets in a store: one place says what may be called what and lies where."""

from __future__ import annotations

import re
from typing import Final

from cluster.errors import ClusterError

DTYPES: Final = ("uint8", "uint16", "float32")
DATASETS: Final = "datasets/"

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_HEX64 = re.compile(r"[0-9a-f]{64}")


def check_name(name: str, what: str) -> str:
    """Return a dataset's or attribute's name, or raise ClusterError where it is not plain."""
    if not _NAME.fullmatch(name):
        raise ClusterError(
            f"bad {what} name {name!r}: expected 1 to 64 of a-z, 0-9, '_' and '-', "
            "starting with a letter or digit"
        )
    return name


def check_sha256(value: str, what: str) -> str:
    """Return 64 lower-case hex digits, or raise ClusterError."""
    if not _HEX64.fullmatch(value):
        raise ClusterError(f"bad {what} {value!r}: expected 64 lower-case hex digits (SHA-256)")
    return value


def shard_key(name: str, sha256: str) -> str:
    """Key of a shard; shards are shared by all versions of a dataset."""
    return f"{DATASETS}{check_name(name, 'dataset')}/shards/{check_sha256(sha256, 'shard')}.parquet"


def manifest_key(name: str, digest: str) -> str:
    """Key of the manifest of one version of a dataset."""
    digest = check_sha256(digest, "dataset digest")
    return f"{DATASETS}{check_name(name, 'dataset')}/{digest}/manifest.json"


def image_counts_key(name: str, digest: str) -> str:
    """Key of the counts per image of one version of a dataset, next to its manifest."""
    return manifest_key(name, digest).replace("manifest.json", "image_counts.json.gz")


def image_table_key(name: str, digest: str) -> str:
    """Key of the table of images of one version of a dataset, next to its manifest."""
    return manifest_key(name, digest).replace("manifest.json", "images.parquet")


def parse_manifest_key(key: str) -> tuple[str, str] | None:
    """Return the name and digest that a key belongs to, or None for another key."""
    parts = key.split("/")
    if len(parts) != 4 or parts[0] + "/" != DATASETS or parts[3] != "manifest.json":
        return None
    if not _NAME.fullmatch(parts[1]) or not _HEX64.fullmatch(parts[2]):
        return None
    return parts[1], parts[2]
