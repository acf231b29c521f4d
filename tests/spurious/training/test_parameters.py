"""Sizes of models and checkpoints that a plan knows, against those that are built and saved."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from small_data import fit_config, fitted, keeping, squares

from spurious.config.methods import Lff
from spurious.config.models import (
    FcnResNet50,
    FourBlock,
    MobileNetV2,
    ResNet18SmallStem,
    ResNet50,
    SmallCnn,
    SmallUnet,
    Timm,
    Unet,
)
from spurious.config.options import Train
from spurious.config.parameters import count_numbers, estimate_checkpoint_bytes
from spurious.training.loop import Hooks
from spurious.training.models import build

pytestmark = pytest.mark.usefixtures("torch_settings")
HEAD = 10_000
"""Numbers of a last layer at most, and of counters, which the counts leave out."""


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("resnet50", ResNet50()),
        ("fcn-resnet50", FcnResNet50()),
        ("mobilenet-v2", MobileNetV2()),
        ("resnet18-small-stem", ResNet18SmallStem()),
        ("small-cnn", SmallCnn(channels=6, levels=3)),
        ("small-unet", SmallUnet(channels=6, levels=3)),
        ("four-block", FourBlock(channels=4)),
        ("four-block", FourBlock(channels=4, decoder="unet")),
        ("four-block", FourBlock(channels=4, decoder="autoencoder")),
        ("timm", Timm(architecture="resnet18")),
        ("unet", Unet(encoder="resnet18")),
        ("unet", Unet(encoder="tu-resnet18")),
    ],
)
def test_numbers_are_those_of_the_model(name: str, options: Any) -> None:
    """Of every model, but for its last layer; of small ones within a hundredth."""
    shape = (64, 96, 3)
    state = build(name, options, shape, 0, dict[str, Any]().__getitem__).state_dict()
    built = sum(tensor.numel() for tensor in state.values())
    counted = count_numbers(options, shape)
    assert counted is not None
    assert counted == pytest.approx(built, rel=0.01, abs=0 if built < 1e6 else HEAD)


@pytest.mark.parametrize(
    "train", [{}, {"optimizer": "sgd"}, {"optimizer": "sgd", "momentum": 0.0}], ids=str
)
@pytest.mark.parametrize("method", ["erm", "lff"])
def test_a_checkpoint_has_the_estimated_size(train: dict[str, Any], method: str) -> None:
    """Within a tenth, with the state of each optimizer, and of a second network."""
    config = fit_config("label", epochs=2, **train)
    config = replace(config, model=SmallCnn(channels=32, levels=2))
    if method == "lff":
        config = replace(config, method_name="lff", method=Lff())
    saved: list[bytes] = []
    fitted(squares(), config, Hooks(save=keeping(saved)))
    estimate = estimate_checkpoint_bytes(config, (16, 16, 1))
    assert estimate == pytest.approx(len(saved[0]), rel=0.1)


def test_a_model_that_nobody_counted_has_no_estimate() -> None:
    """A name that the table lacks is no error here."""
    config = replace(fit_config("label"), model=Timm(architecture="unheard-of"), train=Train())
    assert estimate_checkpoint_bytes(config, (64, 64, 3)) is None
