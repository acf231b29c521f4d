"""Pretrained weights in the store, under their SHA-256, so that a trial never meets a hub.

A file is stored as it is, whatever its names: the SHA-256 in a spec and in a trial's id is the
file's. Its tensors are found and named by `read_state_dict` and `spurious.training.released`
whenever it is loaded. Which architectures it fits is found when it is staged, and is kept next to
it, so that a plan can refuse others without torch.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cluster.common.wording import count_of
from cluster.errors import NotFound
from cluster.stores.base import Store
from spurious.config.encoders import TIMM_PREFIX
from spurious.config.models import TIMM_CLASSIFIER
from spurious.errors import DataError
from spurious.training.architectures import is_architecture, match_released, recognise
from spurious.training.models import LoadWeights
from spurious.training.released import Match
from sweeps.spec.stored import read_fits, weights_key, weights_record_key

_WRAPPERS = ("state_dict", "model_state_dict", "model", "teacher")
"""Names under which checkpoints of trainers hold a model's state dict, the first that is there."""
_NUMPY_SCALARS: list[Any] = [
    np.float64(0).__reduce__()[0],
    np.dtype,
    *(type(np.dtype(kind)) for kind in (np.float64, np.float32, np.int64, np.int32, np.bool_)),
]
"""What pickled numbers of numpy name: learning rates and scores in trainers' checkpoints."""
_SUFFIXES = (".pth", ".pt", ".safetensors")


@dataclass(frozen=True)
class StagedWeights:
    """Weights in the store.

    Attributes:
        sha256: Of the file, to be named as `weights:` in a spec.
        fits: Architectures that can begin from it, as encoders and `timm:NAME` are named.
        prefix: What was left out before every name, of the first of them.
        tensors: How many tensors the first of them takes.
        left_out: How many of the file's tensors it does not take.
    """

    sha256: str
    fits: tuple[str, ...]
    prefix: str
    tensors: int
    left_out: int


def read_state_dict(data: bytes, origin: str) -> Mapping[str, torch.Tensor]:
    """Return a state dict from the bytes of a `.pth` or safetensors file, running none of its code.

    Checkpoints of trainers hold it one level down: under `state_dict`, `model_state_dict`, `model`
    or `teacher`, the first of these that is there, or as the only entry that maps names to tensors.

    Raises:
        DataError: neither format, or not a flat mapping of names to tensors.
    """
    try:
        # a safetensors file begins with the length of its header, of which any bytes may come
        if data.startswith((b"PK", b"\x80")) and data[8:9] != b"{":
            with torch.serialization.safe_globals(_NUMPY_SCALARS):
                state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        else:
            from safetensors.torch import load

            state = load(data)
    except Exception as error:  # noqa: BLE001 (both libraries raise many types for broken files)
        raise DataError(
            f"{origin} is no PyTorch state dict or safetensors file ({_reason(data, error)})"
        ) from None
    state = _unwrap(state)
    if not _is_state_dict(state):
        keys = ", ".join(map(str, list(state)[:5])) if isinstance(state, dict) else "no names"
        raise DataError(
            f"{origin} holds no flat mapping of names to tensors (it has {keys}); save the state "
            "dict of one model alone"
        )
    return state  # type: ignore[no-any-return]


def _reason(data: bytes, error: Exception) -> str:
    """Return why a file cannot be read as weights, in one line."""
    if data.startswith(b"version https://git-lfs"):
        return "it is a pointer of Git LFS, not the file: run `git lfs pull`"
    if data.lstrip()[:1] == b"<":
        return "it is a web page: download the file itself"
    text = str(error)
    if unsafe := re.search(r"GLOBAL ([\w.]+)", text):
        return (
            f"it holds an object of {unsafe[1]}, whose code is not run: save the state dict alone, "
            "`torch.save(model.state_dict(), FILE)`"
        )
    if "weights_only" in text:  # torch recommends to run the file's code
        text = "its pickle does not hold tensors alone; save a state dict by `torch.save`"
    return f"{type(error).__name__}: {text.partition(chr(10))[0]}"


def _unwrap(loaded: Any) -> Any:
    """Return what a checkpoint holds one level down, or the file's content as it is."""
    if not isinstance(loaded, dict) or _is_state_dict(loaded):
        return loaded
    named = next((loaded[name] for name in _WRAPPERS if name in loaded), None)
    if named is not None:
        return named
    parts = [part for part in loaded.values() if _is_state_dict(part)]
    return parts[0] if len(parts) == 1 else loaded


def _is_state_dict(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and bool(value)
        and all(isinstance(key, str) for key in value)
        and all(isinstance(tensor, torch.Tensor) for tensor in value.values())
    )


def hub_weights(name: str) -> bytes:
    """Return ImageNet weights of an architecture as safetensors bytes.

    Args:
        name: `resnet50` (torchvision), an encoder of segmentation-models-pytorch, or `tu-NAME` or
            `timm:NAME` for timm's whole model.

    Raises:
        DataError: no such weights, or the hub cannot be reached from here.
    """
    from safetensors.torch import save

    try:
        if name == "resnet50":
            from torchvision.models import ResNet50_Weights

            state = ResNet50_Weights.IMAGENET1K_V1.get_state_dict(progress=True, check_hash=True)
        elif name.startswith((TIMM_CLASSIFIER, TIMM_PREFIX)):
            import timm

            plain = name.removeprefix(TIMM_CLASSIFIER).removeprefix(TIMM_PREFIX)
            state = timm.create_model(plain, pretrained=True).state_dict()
        else:
            from segmentation_models_pytorch.encoders import get_encoder

            state = get_encoder(name, weights="imagenet").state_dict()
    except Exception as error:  # noqa: BLE001 (hubs raise what their libraries raise)
        raise DataError(
            f"hub:{name} could not be fetched ({type(error).__name__}: {error}); download the "
            "file where there is a network and run `sweeps stage weights FILE`"
        ) from None
    return save({key: value.contiguous() for key, value in state.items()})


def stage_weights(store: Store, origin: str, architecture: str | None = None) -> StagedWeights:
    """Check weights from a file, an installed package or a hub and put them into the store.

    Args:
        store: Where to.
        origin: A path, `package:NAME` for the weights file of an installed package, or `hub:NAME`
            as of `hub_weights`.
        architecture: What they are for, as encoders and `timm:NAME` are named; None finds out.

    Raises:
        DataError: not a weights file, values that are not finite, no model begins from such
            tensors, or the hub has none of that name.
    """
    if architecture is not None and not is_architecture(architecture):
        raise DataError(
            f"--for {architecture}: expected an encoder such as resnet50 or tu-resnet50, or "
            "timm:NAME for a classifier of timm, such as timm:resnet50"
        )
    data = hub_weights(origin.removeprefix("hub:")) if origin.startswith("hub:") else _read(origin)
    state = read_state_dict(data, origin)
    matches = recognise(state) if architecture is None else {}
    if architecture is not None:
        matches = {architecture: match_released(state, architecture)}
    _require_fit(origin, state, matches, architecture)
    digest = hashlib.sha256(data).hexdigest()
    try:
        is_stored = store.get(weights_key(digest)) == data  # else damaged: it is replaced
    except NotFound:
        is_stored = False
    if not is_stored:
        store.put(weights_key(digest), data)
    _put_record(store, digest, tuple(matches))
    first = next(iter(matches.values()))
    left_out = len(state) - len(first.state)
    return StagedWeights(digest, tuple(matches), first.prefix, len(first.state), left_out)


def _read(origin: str) -> bytes:
    path = _find_in_package(origin) if origin.startswith("package:") else Path(origin)
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{origin}: cannot be read ({error.strerror}); check the path") from None


def _find_in_package(origin: str) -> Path:
    """Return the one weights file of an installed package, without running the package's code."""
    name = origin.removeprefix("package:").replace("-", "_")
    spec = importlib.util.find_spec(name) if name.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise DataError(
            f"{origin}: no package of that name is installed; install it here, e.g. "
            f"`pip install {name.replace('_', '-')}`"
        )
    folders = [Path(folder) for folder in spec.submodule_search_locations]
    files = [path for folder in folders for path in folder.rglob("*") if path.suffix in _SUFFIXES]
    if len(files) != 1:
        raise DataError(
            f"{origin}: expected one file of {', '.join(_SUFFIXES)} in it, it has {len(files)}; "
            "give the file's path"
        )
    return files[0]


def _require_fit(
    origin: str,
    state: Mapping[str, torch.Tensor],
    matches: Mapping[str, Match],
    architecture: str | None,
) -> None:
    """Refuse weights that no model can begin from.

    Raises:
        DataError: they do not fit, or hold values that are not finite.
    """
    if not matches:
        raise DataError(
            f"{origin} fits no model: no architecture of segmentation-models-pytorch or timm has "
            f"tensors such as {', '.join(sorted(state)[:3])}; stage the weights of one of them"
        )
    name, nearest = next(iter(matches.items()))
    if not nearest.fits:
        subject = f"{origin} does not fit {name}" if architecture else f"{origin} fits no model"
        near = "" if architecture else f"of the nearest, {name}: "
        raise DataError(
            f"{subject}: {near}{nearest.describe_misfit()}; stage the weights of one architecture, "
            "whole" + ("" if architecture else ", or name it with --for")
        )
    odd = [key for key, value in nearest.state.items() if not value.isfinite().all()]
    if odd:
        raise DataError(
            f"{origin}: values of {count_of(len(odd), 'tensor')} are not finite, e.g. "
            f"{', '.join(sorted(odd)[:3])}; no model can be trained from it, get the file again"
        )


def _put_record(store: Store, digest: str, fits: tuple[str, ...]) -> None:
    """Add architectures to those that weights are known to fit."""
    known = read_fits(store, digest) or ()
    document = {"fits": sorted({*known, *fits})}
    store.put(weights_record_key(digest), json.dumps(document).encode())


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
