"""One safetensors file with a model's tensors and a document, which vouch for each other.

Nothing in it is code, and reading it runs none. The document is JSON in the file's metadata beside
a SHA-256 over document, names, types, shapes and bytes, since the format notices no damage.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

import torch

from spurious.errors import DataError

_DOCUMENT: Final = "spurious_sweeps"
_SHA256: Final = "sha256"
_METADATA: Final = "__metadata__"
_LENGTH: Final = 8
"""Bytes before the header, which say how long it is; tensors begin at a multiple of it."""


def pack(document: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> bytes:
    """Return the file; the same content gives the same bytes.

    Args:
        document: Plain JSON values, no NaN.
        tensors: Of any device, by name.
    """
    from safetensors.torch import save

    data = save({name: each.detach().cpu().contiguous() for name, each in tensors.items()})
    header, start = _split(data)
    text = _canonical(document)
    described = {_DOCUMENT: text, _SHA256: _digest(text, header, memoryview(data)[start:])}
    head = _canonical({_METADATA: described, **header}).encode()
    head += b" " * (-len(head) % _LENGTH)
    return b"".join([len(head).to_bytes(_LENGTH, "little"), head, memoryview(data)[start:]])


def unpack(data: bytes, origin: str) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Read a file that `pack` made.

    Args:
        data: Its bytes.
        origin: What messages call it.

    Returns:
        The document, and the tensors on the CPU.

    Raises:
        DataError: another file, or a damaged one.
    """
    from safetensors.torch import load

    try:
        header, start = _split(data)
        metadata = header.pop(_METADATA, {})
        text, sha256 = metadata.get(_DOCUMENT), metadata.get(_SHA256)
    except (ValueError, AttributeError, RecursionError):
        text = sha256 = None
    if not isinstance(text, str):
        raise DataError(f"{origin} is not a model file: expected one written by `sweeps export`")
    if _digest(text, header, memoryview(data)[start:]) != sha256:
        raise DataError(f"{origin} is truncated or damaged: copy it again, or export it again")
    try:
        document = json.loads(text)
        return document, load(data)
    except Exception as error:  # noqa: BLE001 (the library raises many types for odd files)
        raise DataError(f"{origin} cannot be read ({type(error).__name__}: {error})") from None


def _split(data: bytes) -> tuple[dict[str, Any], int]:
    """Return the header of a safetensors file and where its tensors begin; raises ValueError."""
    start = _LENGTH + int.from_bytes(data[:_LENGTH], "little")
    if not _LENGTH < start <= len(data):
        raise ValueError("not a safetensors file")
    header = json.loads(data[_LENGTH:start])
    if not isinstance(header, dict):
        raise ValueError("not a safetensors file")
    return header, start


def _digest(text: str, header: Mapping[str, Any], tensors: memoryview) -> str:
    hashed = hashlib.sha256(_canonical([text, header]).encode())
    hashed.update(tensors)
    return hashed.hexdigest()


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
