"""Training state as one object of bytes; saving, loading and continuing equals never stopping."""

from __future__ import annotations

import hashlib
import io
from typing import Any

import torch

from spurious.errors import DataError

FORMAT = 2
_DIGEST_BYTES = 32


def pack(state: dict[str, Any]) -> bytes:
    """Serialise a state of tensors, numbers, strings, lists and dicts, behind its SHA-256."""
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, **state}, buffer)
    data = buffer.getvalue()
    return hashlib.sha256(data).digest() + data


def unpack(data: bytes) -> dict[str, Any]:
    """Read a state without running any code that it holds (`weights_only`); tensors on the CPU.

    Raises:
        DataError: the bytes are not a checkpoint of this format, or damaged.
    """
    digest, content = data[:_DIGEST_BYTES], data[_DIGEST_BYTES:]
    if hashlib.sha256(content).digest() != digest:  # torch reads damaged tensors without a word
        raise DataError(
            "the checkpoint is cut off or damaged; delete it to start from the beginning"
        )
    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # noqa: BLE001 (torch raises many types for broken files)
        raise DataError(
            f"the checkpoint cannot be read ({type(error).__name__}: {error}); delete it to start "
            "from the beginning"
        ) from None
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise DataError(
            f"the checkpoint has another format than {FORMAT}; delete it to start from "
            "the beginning"
        )
    return {str(key): value for key, value in state.items() if key != "format"}
