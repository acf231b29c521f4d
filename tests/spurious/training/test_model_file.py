"""A model's file: what was written is read, anything else is refused, and nothing is run."""

from __future__ import annotations

import hashlib
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load, save

from spurious.errors import DataError
from spurious.training.model_file import pack, unpack

DOCUMENT = {"format": 1, "threshold": 0.25, "label": "mask-20-erm-s0", "nothing": None}
TENSORS = {
    "weight": torch.arange(24, dtype=torch.float32).reshape(1, 2, 3, 4),
    "layout": torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0)).to(
        memory_format=torch.channels_last
    ),
    "batches": torch.tensor(7),
    "half": torch.tensor([1.5, -2.0], dtype=torch.bfloat16),
    "none": torch.zeros(0, 3),
}


def test_what_was_written_is_read() -> None:
    """Document and tensors come back, whatever their layout, and twice they give the same bytes."""
    data = pack(DOCUMENT, TENSORS)
    document, tensors = unpack(data, "a file")
    assert document == DOCUMENT
    assert tensors.keys() == TENSORS.keys()
    for name, value in TENSORS.items():
        assert tensors[name].dtype == value.dtype
        assert torch.equal(tensors[name], value)
    assert pack(dict(reversed(DOCUMENT.items())), dict(reversed(TENSORS.items()))) == data


def test_the_file_is_one_of_safetensors(tmp_path: Path) -> None:
    """Its own library reads the tensors and the metadata, without this project."""
    (tmp_path / "model.safetensors").write_bytes(pack(DOCUMENT, TENSORS))
    assert load(pack(DOCUMENT, TENSORS)).keys() == TENSORS.keys()
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        assert json.loads(file.metadata()["spurious_sweeps"]) == DOCUMENT
        assert torch.equal(file.get_tensor("weight"), TENSORS["weight"])


def test_any_damage_is_noticed() -> None:
    """A bit of any byte, or a byte that is missing or more: of document, names, or numbers."""
    data = pack(DOCUMENT, TENSORS)
    for place in range(len(data)):
        damaged = bytearray(data)
        damaged[place] ^= 1
        with pytest.raises(DataError):
            unpack(bytes(damaged), "a file")
    for cut in (data[:-1], data + b"\0", data[: len(data) // 2], data[:8], b""):
        with pytest.raises(DataError):
            unpack(cut, "a file")


class Told:
    """What an unpickled object would run."""

    def __reduce__(self) -> Any:
        return exec, ("raise SystemExit('it was run')",)


@pytest.mark.parametrize(
    "data",
    [
        save({"weight": torch.zeros(2)}),
        save({"weight": torch.zeros(2)}, {"spurious_sweeps": "{}"}),
        pickle.dumps(Told()),
        b"PK\x03\x04 a zip file",
        (2**63).to_bytes(8, "little") + b"{}",
        (2).to_bytes(8, "little") + b"[]",
        (40_000).to_bytes(8, "little") + b"[" * 40_000,
        hashlib.sha256().digest(),
    ],
)
def test_other_files_are_refused(data: bytes) -> None:
    """Weights of others, pickles, and bytes of any kind."""
    with pytest.raises(DataError, match=r"^a file is (not a model file|truncated or damaged)"):
        unpack(data, "a file")
