"""Training state as one object of bytes; saving, loading and continuing equals never stopping."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from typing import Any, Final, Protocol

import torch

from spurious.errors import DataError

FORMAT = 2
_DIGEST_BYTES = 32
_HEAD_BYTES: Final = 256
"""Bytes kept free before a state, so that a caller's own head needs no copy of it."""


class Snapshot:
    """A state of tensors, numbers, strings, lists and dicts as bytes that no later step changes.

    These bytes are the one further copy of the state: nothing here copies them again. Their
    SHA-256 is taken when they are asked for, which another thread may do.
    """

    def __init__(self, state: dict[str, Any]) -> None:
        self._buffer = io.BytesIO()
        self._buffer.write(bytes(_HEAD_BYTES + _DIGEST_BYTES))
        torch.save({"format": FORMAT, **state}, self._buffer)

    @property
    def size_bytes(self) -> int:
        """Bytes of the state, without a head."""
        return self._buffer.getbuffer().nbytes - _HEAD_BYTES

    def seal(self, head: bytes = b"") -> memoryview:
        """Return `head`, the SHA-256 of the state, and the state: one piece of memory.

        Raises:
            ValueError: `head` is longer than 256 bytes.
        """
        if len(head) > _HEAD_BYTES:
            raise ValueError(
                f"the head of a checkpoint has {len(head)} bytes; expected {_HEAD_BYTES}"
            )
        data = self._buffer.getbuffer()
        data[_HEAD_BYTES - len(head) : _HEAD_BYTES] = head
        end = _HEAD_BYTES + _DIGEST_BYTES
        data[_HEAD_BYTES:end] = hashlib.sha256(data[end:]).digest()
        return data[_HEAD_BYTES - len(head) :]


class SaveCheckpoint(Protocol):
    """Where a loop's checkpoints go."""

    def __call__(self, take: Callable[[], Snapshot], *, urgent: bool) -> bool:
        """Take a snapshot and keep it, now or beside the training that follows.

        Args:
            take: Makes the snapshot; called at most once, before this returns.
            urgent: The next epoch may be too late.

        Returns:
            False where nothing was taken since an earlier checkpoint is still being written, and
            this one can wait for the end of the next epoch. Never where it is urgent.
        """
        ...


def pack(state: dict[str, Any]) -> bytes:
    """Serialise a state of tensors, numbers, strings, lists and dicts, behind its SHA-256."""
    return bytes(Snapshot(state).seal())


def unpack(data: bytes | memoryview) -> dict[str, Any]:
    """Read a state without running any code that it holds (`weights_only`); tensors on the CPU.

    Raises:
        DataError: the bytes are not a checkpoint of this format, or damaged.
    """
    whole = memoryview(data)
    digest, content = whole[:_DIGEST_BYTES], whole[_DIGEST_BYTES:]
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
