"""Pretrained weights in the store, under their SHA-256, so that a trial never meets a hub."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from pathlib import Path

import torch

from cluster.errors import NotFound
from cluster.stores.base import Store
from spurious.errors import DataError
from spurious.training.models import LoadWeights
from sweeps.spec.stored import weights_key

_WRAPPERS = ("state_dict", "model_state_dict", "model")
"""Names under which checkpoints of trainers hold a model's state dict."""


def read_state_dict(data: bytes, origin: str) -> Mapping[str, torch.Tensor]:
    """A state dict from a `.pth` file's bytes or a safetensors file's, running none of its code.

    Raises:
        DataError: neither format, or not a flat mapping of names to tensors.
    """
    try:
        if data[:2] in (b"PK", b"\x80\x02"):
            state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        else:
            from safetensors.torch import load

            state = load(data)
    except Exception as error:  # noqa: BLE001 (both libraries raise many types for broken files)
        raise DataError(
            f"{origin} is no PyTorch state dict or safetensors file "
            f"({type(error).__name__}: {str(error).partition(chr(10))[0]})"
        ) from None
    wrapper = next((key for key in _WRAPPERS if isinstance(state, dict) and key in state), None)
    if wrapper is not None:
        state = state[wrapper]
    if not isinstance(state, dict) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        keys = ", ".join(map(str, list(state)[:5])) if isinstance(state, dict) else "no names"
        raise DataError(
            f"{origin} holds no flat mapping of names to tensors (it has {keys}); save the state "
            "dict of one model alone"
        )
    return state


def hub_weights(name: str) -> bytes:
    """ImageNet weights of `resnet50` (torchvision) or of an smp encoder, as safetensors bytes.

    Raises:
        DataError: no such weights, or the hub cannot be reached from here.
    """
    from safetensors.torch import save

    try:
        if name == "resnet50":
            from torchvision.models import ResNet50_Weights

            state = ResNet50_Weights.IMAGENET1K_V1.get_state_dict(progress=True, check_hash=True)
        else:
            from segmentation_models_pytorch.encoders import get_encoder

            state = get_encoder(name, weights="imagenet").state_dict()
    except Exception as error:  # noqa: BLE001 (hubs raise what their libraries raise)
        raise DataError(
            f"hub:{name} could not be fetched ({type(error).__name__}: {error}); download the "
            "file where there is a network and run `sweeps stage weights FILE`"
        ) from None
    return save({key: value.contiguous() for key, value in state.items()})


def stage_weights(store: Store, origin: str) -> str:
    """Check weights from a local file or a hub and put them into the store.

    Args:
        store: Where to.
        origin: A path, or `hub:resnet50`, `hub:se_resnext50_32x4d` and the like.

    Returns:
        Their SHA-256, to be named as `weights:` in a spec.

    Raises:
        DataError: not a weights file, or the hub has none of that name.
    """
    if origin.startswith("hub:"):
        data = hub_weights(origin.removeprefix("hub:"))
    else:
        try:
            data = Path(origin).read_bytes()
        except OSError as error:
            raise DataError(
                f"{origin}: cannot be read ({error.strerror}); check the path"
            ) from None
    read_state_dict(data, origin)
    digest = hashlib.sha256(data).hexdigest()
    try:
        is_stored = store.get(weights_key(digest)) == data  # else damaged: it is replaced
    except NotFound:
        is_stored = False
    if not is_stored:
        store.put(weights_key(digest), data)
    return digest


def load_weights(store: Store) -> LoadWeights:
    """Return a loader of state dicts by SHA-256 from a store."""

    def load(digest: str) -> Mapping[str, torch.Tensor]:
        try:
            data = store.get(weights_key(digest))
        except NotFound:
            raise DataError(
                f"weights {digest} are not in the store: run `sweeps stage weights FILE` first"
            ) from None
        if hashlib.sha256(data).hexdigest() != digest:
            raise DataError(f"weights/{digest} does not have that SHA-256: stage the file again")
        return read_state_dict(data, f"weights/{digest}")

    return load
