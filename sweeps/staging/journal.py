"""The journal of a staging: an entry for each finished part, so that the next run continues.

    datasets/<name>/parts/<key>.json.gz

A part's key stands for all that its records depend on (`fingerprint`): a changed file makes another
key and its old entry is not looked at. An entry is believed where it is whole and the store has
every shard that it names, with the bytes of its name. Entries go when the dataset is committed.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import logging
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import numpy as np

from cluster.datasets.keys import check_name, shard_key
from cluster.errors import ClusterError, Corrupt, NotFound
from cluster.stores.base import Store
from sweeps.staging.parts import StagedPart

STALE_AFTER_S: Final = 86_400.0
"""Another staging of the same name may run: its entries are not removed before they are so old."""
_FORMAT: Final = 1
_TYPES: Final = ("cluster.", "spurious.", "sweeps.")
_log = logging.getLogger(__name__)


def journal_prefix(name: str) -> str:
    """What the keys of a dataset's entries begin with."""
    return f"datasets/{check_name(name, 'dataset')}/parts/"


def entry_key(name: str, key: str) -> str:
    """Key in the store of a part's entry."""
    return f"{journal_prefix(name)}{key}.json.gz"


def write_entry(store: Store, name: str, key: str, part: StagedPart) -> None:
    """Note that a part is finished; its shards are in the store."""
    body = json.dumps(pack(part))
    document = {
        "format": _FORMAT,
        "key": key,
        "written_at": time.time(),
        "sha256": hashlib.sha256(body.encode()).hexdigest(),
        "body": body,
    }
    store.put(entry_key(name, key), gzip.compress(json.dumps(document).encode(), 1))


def read_entry(store: Store, name: str, key: str) -> StagedPart | None:
    """Return a finished part; None where its entry is absent, damaged or contradicts the shards.

    Raises:
        Denied, Unavailable: from the store.
    """
    part = _parse_entry(store, name, key)
    if part is None or not all(_is_whole(store, name, shard.sha256) for shard in part.shards):
        return None
    return part


def named_shards(store: Store, name: str) -> set[str]:
    """Return the keys of all shards that entries of a dataset name."""
    parts = (_parse_entry(store, name, _key_of(entry)) for entry in _entries(store, name))
    return {shard_key(name, shard.sha256) for part in parts if part for shard in part.shards}


def remove_entries(store: Store, name: str, keys: Iterable[str]) -> set[str]:
    """Remove the entries of some parts, and those that have become stale.

    Returns:
        Keys of the shards that they named.
    """
    gone = set(keys)
    shards: set[str] = set()
    for entry in list(_entries(store, name)):
        key = _key_of(entry)
        if key not in gone and not _is_stale(store, entry):
            continue
        if (part := _parse_entry(store, name, key)) is not None:
            shards |= {shard_key(name, shard.sha256) for shard in part.shards}
        store.delete(entry)
    return shards


def _entries(store: Store, name: str) -> Iterable[str]:
    return store.list(journal_prefix(name))


def _key_of(entry: str) -> str:
    return entry.rpartition("/")[2].removesuffix(".json.gz")


def _is_stale(store: Store, entry: str) -> bool:
    document = _parse(store, entry)
    written_at = 0.0 if document is None else float(document.get("written_at", 0.0))
    return time.time() - written_at > STALE_AFTER_S


def _parse(store: Store, entry: str) -> dict[str, Any] | None:
    try:
        document = json.loads(gzip.decompress(store.get(entry)))
        return document if isinstance(document, dict) else None
    except (NotFound, Corrupt):
        return None
    except Exception as error:  # noqa: BLE001 (whatever damage makes the libraries raise)
        _log.info("%s cannot be read (%s): its part is staged again", entry, error)
        return None


def _parse_entry(store: Store, name: str, key: str) -> StagedPart | None:
    document = _parse(store, entry_key(name, key))
    try:
        if document is None or (document["format"], document["key"]) != (_FORMAT, key):
            return None
        body = document["body"]
        if hashlib.sha256(body.encode()).hexdigest() != document["sha256"]:
            return None
        part = unpack(json.loads(body))
    except Exception as error:  # noqa: BLE001 (of another version, or damaged)
        _log.info("entry %s cannot be read (%s): its part is staged again", key, error)
        return None
    return part if isinstance(part, StagedPart) else None


def _is_whole(store: Store, name: str, sha256: str) -> bool:
    with tempfile.TemporaryDirectory(prefix="part-") as folder:
        copy = Path(folder) / "shard"
        try:
            store.download(shard_key(name, sha256), copy)
        except (NotFound, Corrupt):
            return False
        with copy.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == sha256


def pack(value: Any) -> Any:
    """Turn dataclasses, tuples, bytes and arrays into JSON values that `unpack` turns back.

    Raises:
        ClusterError: a value of another kind.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, bytes):
        return {"bytes": base64.b64encode(value).decode()}
    if isinstance(value, tuple | list):
        return {type(value).__name__: [pack(item) for item in value]}
    if isinstance(value, Mapping):
        return {"dict": [[pack(key), pack(item)] for key, item in value.items()]}
    if isinstance(value, np.ndarray):
        return {"array": [value.dtype.str, list(value.shape), pack(value.tobytes())]}
    if isinstance(value, np.generic):
        return pack(value.item())
    if is_dataclass(value) and type(value).__module__.startswith(_TYPES):
        kind = type(value)
        held = {field.name: pack(getattr(value, field.name)) for field in fields(value)}
        return {"class": [kind.__module__, kind.__qualname__, held]}
    raise ClusterError(f"a journal holds no {type(value).__name__}")


def unpack(value: Any) -> Any:
    """Turn back what `pack` made; raises whatever does not fit."""
    if not isinstance(value, dict):
        return value
    [(kind, content)] = value.items()
    return _UNPACK[kind](content)


def _unpack_class(content: Any) -> Any:
    module, name, held = content
    kind = getattr(import_module(module), name) if module.startswith(_TYPES) else None
    if not (isinstance(kind, type) and is_dataclass(kind)):
        raise ValueError(f"{module}.{name} is not a dataclass of this program")
    return kind(**{field: unpack(item) for field, item in held.items()})


def _unpack_array(content: Any) -> Any:
    dtype, shape, data = content
    return np.frombuffer(unpack(data), np.dtype(dtype)).reshape(shape).copy()


_UNPACK: Mapping[str, Callable[[Any], Any]] = {
    "bytes": lambda content: base64.b64decode(content, validate=True),
    "tuple": lambda content: tuple(unpack(item) for item in content),
    "list": lambda content: [unpack(item) for item in content],
    "dict": lambda content: {unpack(key): unpack(item) for key, item in content},
    "array": _unpack_array,
    "class": _unpack_class,
}
