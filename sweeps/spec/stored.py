"""What the store keeps by its hash: sweep YAMLs of submitted sweeps, and pretrained weights."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING

from cluster.errors import NotFound
from sweeps.errors import SweepError

if TYPE_CHECKING:
    from cluster.stores.base import Store

STORED = "stored:"
"""What a command is given instead of a file, before the hash."""


def digest_of(text: str) -> str:
    """SHA-256 of a YAML's bytes, as 64 hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()


def stored_spec_key(digest: str) -> str:
    """Return the key of the YAML of a hash."""
    return f"specs/{digest}.yaml"


def weights_key(digest: str) -> str:
    """Return the key of the pretrained weights of a hash."""
    return f"weights/{digest}"


def weights_record_key(digest: str) -> str:
    """Return the key of what is known of pretrained weights: which architectures they fit."""
    return f"{weights_key(digest)}.json"


def read_fits(store: Store, digest: str) -> tuple[str, ...] | None:
    """Return the architectures that weights were found to fit when they were staged.

    Returns:
        None where they were staged before this was recorded, or the record cannot be read.
    """
    try:
        return tuple(json.loads(store.get(weights_record_key(digest)))["fits"])
    except (NotFound, ValueError, KeyError, TypeError):
        return None


def put_spec(store: Store, text: str) -> str:
    """Write a YAML under its hash, which is returned."""
    digest = digest_of(text)
    store.put(stored_spec_key(digest), text.encode())
    return digest


def get_spec(store: Store, digest: str) -> bytes:
    """Return the YAML of a hash.

    Raises:
        SweepError: not a hash, no YAML has it, or the YAML is another one.
    """
    if not re.fullmatch("[0-9a-f]{64}", digest):
        raise SweepError(f"{STORED}{digest}: expected 64 hexadecimal digits, a SHA-256")
    key = stored_spec_key(digest)
    try:
        data = store.get(key)
    except NotFound:
        raise SweepError(
            f"no {key} in {store.url}: expected the store that `sweeps submit` wrote it to"
        ) from None
    sha256 = hashlib.sha256(data).hexdigest()
    if sha256 != digest:
        raise SweepError(f"{store.url}/{key} is damaged (its SHA-256 is {sha256}): submit it again")
    return data
