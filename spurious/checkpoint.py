"""Training state as one object of bytes; saving, loading and continuing equals never stopping."""

from __future__ import annotations

import io
from typing import Any

import torch

from spurious.errors import DataError

FORMAT = 1


def pack(state: dict[str, Any]) -> bytes:
    """Serialise a state of tensors, numbers, strings, lists and dicts."""
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, **state}, buffer)
    return buffer.getvalue()


def unpack(data: bytes, device: torch.device) -> dict[str, Any]:
    """Read a state without running any code that it holds (`weights_only`).

    Raises:
        DataError: the bytes are no checkpoint of this format.
    """
    try:
        state = torch.load(io.BytesIO(data), map_location=device, weights_only=True)
    except Exception as error:  # noqa: BLE001 (torch raises many types for broken files)
        raise DataError(
            f"the checkpoint cannot be read ({type(error).__name__}: {error})"
        ) from None
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise DataError(f"the checkpoint has another format than {FORMAT}; delete it to start anew")
    return {str(key): value for key, value in state.items() if key != "format"}
