"""Pretrained weights in the store: checked, named by their bytes, and running no code."""

from __future__ import annotations

import hashlib
import io
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from cluster.stores.base import Store
from spurious.errors import DataError
from sweeps.spec.stored import weights_key
from sweeps.trial.weights import load_weights, stage_weights

STATE = {"layer.weight": torch.arange(6.0).reshape(2, 3), "layer.bias": torch.zeros(2)}


def pth(state: object) -> bytes:
    """What `torch.save` writes."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "data",
    [pth(STATE), pth({"epoch": 3, "state_dict": STATE}), pth({"model": STATE}), save(STATE)],
    ids=["pth", "of Lightning", "of a trainer", "safetensors"],
)
def test_weights_come_back_under_their_hash(store: Store, tmp_path: Path, data: bytes) -> None:
    """Either format, on either store; staging again is no change."""
    path = tmp_path / "weights"
    path.write_bytes(data)
    digest = stage_weights(store, str(path))
    assert digest == hashlib.sha256(data).hexdigest() == stage_weights(store, str(path))
    assert list(store.list("weights/")) == [weights_key(digest)]
    loaded = load_weights(store)(digest)
    assert loaded.keys() == STATE.keys()
    assert all(torch.equal(loaded[name], STATE[name]) for name in STATE)


class Boom:
    """Code in a pickle."""

    def __reduce__(self) -> tuple[object, ...]:
        return exec, ("raise SystemExit('ran')",)


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"text", pth([1, 2]), pth({"layer": "text"}), pickle.dumps(Boom()), pth(Boom())),
        pth({"teacher": STATE, "student": STATE}),
    ],
    ids=["empty", "text", "list", "no tensors", "code", "code in a zip", "two models"],
)
def test_what_is_no_state_dict_is_refused(store: Store, tmp_path: Path, data: bytes) -> None:
    """One line that names the file; nothing is stored, nothing of it is run."""
    path = tmp_path / "weights.pth"
    path.write_bytes(data)
    with pytest.raises(DataError, match=str(path)) as caught:
        stage_weights(store, str(path))
    assert "\n" not in str(caught.value)
    assert list(store.list("weights/")) == []


def test_a_file_that_is_not_there_is_named(store: Store, tmp_path: Path) -> None:
    """The message has the path and the reason."""
    with pytest.raises(DataError, match=r"nowhere\.pth: cannot be read \(No such file"):
        stage_weights(store, str(tmp_path / "nowhere.pth"))


def test_weights_that_are_missing_or_damaged_stop_the_trial(store: Store) -> None:
    """Neither is trained with: the digest is named, and what to do."""
    digest = "ab" * 32
    with pytest.raises(DataError, match=f"{digest} are not in the store: run `sweeps stage"):
        load_weights(store)(digest)
    store.put(weights_key(digest), save(STATE))
    with pytest.raises(DataError, match=f"weights/{digest} does not have that SHA-256"):
        load_weights(store)(digest)
