"""Pretrained weights: real files in, fitting models out, and nothing that a file holds is run."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import segmentation_models_pytorch as smp
import torch
import torchvision

from spurious.config.models import FcnResNet50, ResNet50, Unet
from spurious.errors import ConfigError, DataError
from spurious.training.models import build
from sweeps.trial.weights import read_state_dict

State = dict[str, torch.Tensor]
SHA = "ab" * 32


def as_pth(state: Mapping[str, Any]) -> bytes:
    """What `torch.save(state_dict)` writes today."""
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    return buffer.getvalue()


def as_legacy_pth(state: Mapping[str, Any]) -> bytes:
    """What it wrote before zip files; many released weights still are."""
    buffer = io.BytesIO()
    torch.save(dict(state), buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


def as_safetensors(state: Mapping[str, torch.Tensor]) -> bytes:
    """A safetensors file."""
    return safetensors.torch.save({key: value.contiguous() for key, value in state.items()})


FORMATS = [as_pth, as_legacy_pth, as_safetensors]


@pytest.fixture(scope="module")
def resnet50_release() -> State:
    """A state dict as torchvision releases it: ResNet-50 with a classifier of 1,000 classes."""
    torch.manual_seed(5)
    return dict(torchvision.models.resnet50(weights=None).state_dict())


@pytest.fixture(scope="module")
def encoder_release() -> State:
    """A state dict as encoders are released: the encoder's tensors and a classifier's."""
    torch.manual_seed(6)
    encoder = smp.encoders.get_encoder("resnet18", weights=None)
    state = dict(encoder.state_dict())
    return {**state, "fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)}


def loader(data: bytes) -> Callable[[str], Mapping[str, torch.Tensor]]:
    """Weights under one digest, read from a file's bytes."""

    def load(digest: str) -> Mapping[str, torch.Tensor]:
        assert digest == SHA
        return read_state_dict(data, "file")

    return load


def carries(model: torch.nn.Module, prefix: str, state: State, *, without: str) -> bool:
    """Whether a model's tensors under a prefix are the state's, except the classifier's."""
    own = model.state_dict()
    return all(
        torch.equal(own[prefix + key], value)
        for key, value in state.items()
        if not key.startswith(without)
    )


@pytest.mark.parametrize("write", FORMATS)
def test_resnet50(resnet50_release: State, write: Callable[..., bytes]) -> None:
    """Every tensor but the classifier is loaded; the two-class head stays as the seed drew it."""
    load = loader(write(resnet50_release))
    model = build("resnet50", ResNet50(weights=SHA), (32, 32, 1), 0, load)
    assert carries(model, "inner.", resnet50_release, without="fc.")
    random = build("resnet50", ResNet50(), (32, 32, 1), 0, load)
    head = "head.weight"
    assert torch.equal(model.state_dict()[head], random.state_dict()[head])
    assert model.state_dict()[head].shape == (2, 2048)


def test_fcn_backbone(resnet50_release: State) -> None:
    """The FCN takes the same file for its backbone."""
    load = loader(as_safetensors(resnet50_release))
    model = build("fcn-resnet50", FcnResNet50(weights=SHA), (32, 32, 1), 0, load)
    assert carries(model, "backbone.", resnet50_release, without="fc.")


@pytest.mark.parametrize("write", FORMATS)
def test_unet_encoder(encoder_release: State, write: Callable[..., bytes]) -> None:
    """An encoder file fills the U-Net's encoder and leaves decoder and head alone."""
    options = Unet(encoder="resnet18", weights=SHA)
    model = build("unet", options, (32, 32, 1), 0, loader(write(encoder_release)))
    assert carries(model, "encoder.", encoder_release, without="fc.")
    random = build("unet", Unet(encoder="resnet18"), (32, 32, 1), 0, loader(b""))
    for key, value in random.state_dict().items():
        if not key.startswith("encoder."):
            assert torch.equal(model.state_dict()[key], value), key


def test_the_paper_s_encoder() -> None:
    """se_resnext50_32x4d loads, with the classifier that its release calls last_linear."""
    torch.manual_seed(7)
    state = dict(smp.encoders.get_encoder("se_resnext50_32x4d", weights=None).state_dict())
    release = {**state, "last_linear.weight": torch.zeros(1000, 2048)}
    model = build("unet", Unet(weights=SHA), (32, 32, 1), 0, loader(as_safetensors(release)))
    assert carries(model, "encoder.", state, without="last_linear.")


@pytest.mark.parametrize("name", ["densenet121", "mit_b0", "vgg11_bn"])
def test_encoders_with_a_loading_of_their_own(name: str) -> None:
    """Encoders override `load_state_dict` in several ways; their own tensors fit all the same."""
    torch.manual_seed(8)
    state = dict(smp.encoders.get_encoder(name, weights=None).state_dict())
    options = Unet(encoder=name, weights=SHA)
    model = build("unet", options, (32, 32, 3), 0, loader(as_safetensors(state)))
    assert carries(model, "encoder.", state, without="none")


def test_files_that_do_not_count_batches(encoder_release: State) -> None:
    """Weights from before torch 0.4.1 lack `num_batches_tracked` and fit."""
    old = {k: v for k, v in encoder_release.items() if not k.endswith("num_batches_tracked")}
    assert len(old) < len(encoder_release)
    options = Unet(encoder="resnet18", weights=SHA)
    model = build("unet", options, (32, 32, 1), 0, loader(as_pth(old)))
    assert carries(model, "encoder.", old, without="fc.")


def misfits(state: State) -> dict[str, State]:
    """A file of another architecture, one with a tensor missing, one of another width."""
    return {
        "unknown": {**state, "layer9.weight": torch.zeros(1)},
        "missing": {key: value for key, value in state.items() if key != "conv1.weight"},
        "of another shape": {**state, "conv1.weight": torch.zeros(64, 1, 7, 7)},
    }


@pytest.mark.parametrize("what", ["unknown", "missing", "of another shape"])
def test_misfits_are_refused(encoder_release: State, what: str) -> None:
    """The message counts what is wrong and names a tensor; a half-loaded model never trains."""
    options = Unet(encoder="resnet18", weights=SHA)
    culprit = "layer9.weight" if what == "unknown" else "conv1.weight"
    load = loader(as_safetensors(misfits(encoder_release)[what]))
    with pytest.raises(ConfigError, match=rf"1[a-z ]* {what}.*{culprit}") as caught:
        build("unet", options, (32, 32, 1), 0, load)
    assert str(caught.value).startswith(f"weights {SHA[:12]} do not fit")


def test_another_architecture_is_refused(resnet50_release: State) -> None:
    """ResNet-50's file in a ResNet-18 encoder fits nowhere."""
    options = Unet(encoder="resnet18", weights=SHA)
    with pytest.raises(ConfigError, match="same architecture"):
        build("unet", options, (32, 32, 1), 0, loader(as_pth(resnet50_release)))


class Hostile:
    """Unpickles to a shell command that leaves a trace."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch '{self.trace}'",)


def hostile_zip(trace: Path) -> bytes:
    """A `.pth` archive whose pickle is hostile."""
    buffer = io.BytesIO(as_pth({"a": torch.zeros(1)}))
    out = io.BytesIO()
    with zipfile.ZipFile(buffer) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            bad = name.endswith("data.pkl")
            new.writestr(name, pickle.dumps(Hostile(trace), 2) if bad else old.read(name))
    return out.getvalue()


def test_hostile_pickles_are_refused_unexecuted(tmp_path: Path) -> None:
    """Every pickle flavour is refused with a clear error, and its command does not run."""
    trace = tmp_path / "trace"
    files = [hostile_zip(trace), as_legacy_hostile(trace)]
    files += [pickle.dumps(Hostile(trace), protocol) for protocol in range(6)]
    for data in files:
        with pytest.raises(DataError, match=r"^evil\.pth is no PyTorch state dict"):
            read_state_dict(data, "evil.pth")
        assert not trace.exists()
    pickle.loads(files[-1])  # the pickle does what it says where it is trusted
    assert trace.exists()


def as_legacy_hostile(trace: Path) -> bytes:
    """A legacy `.pth` stream with a hostile object inside the state dict."""
    return as_legacy_pth({"a": torch.zeros(1), "b": Hostile(trace)})


@pytest.mark.parametrize(
    "data",
    [b"", b"PK", b"PK\x03\x04 no archive", b"\x80\x02", b"<html>not found</html>", b"\x00" * 64],
)
def test_files_that_are_no_weights_are_refused(data: bytes) -> None:
    """Empty, cut off or a web page: one line that names the file."""
    with pytest.raises(DataError, match=r"^downloads/w\.pth is no PyTorch state dict") as caught:
        read_state_dict(data, "downloads/w.pth")
    assert "\n" not in str(caught.value)


def test_containers_of_other_things_are_refused() -> None:
    """A checkpoint of two models is not a flat mapping; that of one is unwrapped by its name."""
    state, other = {"w": torch.zeros(1)}, {"other": torch.zeros(1)}
    with pytest.raises(DataError, match=r"no flat mapping .*it has generator, student"):
        read_state_dict(as_pth({"generator": state, "student": state}), "file")
    for name in ("state_dict", "model_state_dict", "model", "teacher"):
        wrapped = {"epoch": 3, "student": other, name: state}
        assert list(read_state_dict(as_pth(wrapped), "file")) == ["w"]


@pytest.mark.parametrize("length", [0x4B50, 0x0280])
def test_safetensors_whose_header_has_another_format_s_first_bytes(length: int) -> None:
    """The first bytes are the header's length; a zip file and a pickle begin with two of them."""
    state = {"w": torch.arange(3.0)}
    note = safetensors.torch.save(state, {"note": ""})
    padding = length - int.from_bytes(note[:8], "little")
    data = safetensors.torch.save(state, {"note": "x" * padding})
    assert int.from_bytes(data[:8], "little") == length
    assert torch.equal(read_state_dict(data, "file")["w"], state["w"])
