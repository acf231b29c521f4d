"""Models that methods steer: what they show of themselves, and layers that stay."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from small_data import fit_config, fitted, no_weights, squares

from spurious.config.fields import problems
from spurious.config.models import (
    CLASSIFIERS,
    SHOWING,
    FourBlock,
    MobileNetV2,
    ResNet18SmallStem,
    SmallCnn,
    shown_by,
)
from spurious.training.attribution import grad_cam
from spurious.training.block_models import FourBlockModel
from spurious.training.mobilenet import MobileNetModel, number_layers
from spurious.training.model import Model
from spurious.training.models import build

OPTIONS: dict[str, Any] = {
    "small-cnn": SmallCnn(channels=4, levels=2),
    "four-block": FourBlock(channels=2),
    "resnet18-small-stem": ResNet18SmallStem(),
}


def make(name: str, options: Any, side: int = 28, channels: int = 1) -> Model:
    """A model with random weights."""
    return build(name, options, (side, side, channels), 0, no_weights).eval()


@pytest.mark.parametrize("name", OPTIONS)
def test_layers_are_seen_before_their_activation(name: str) -> None:
    """Each output has values below 0, and the map after the last one has none."""
    from spurious.methods.steered import keep_pre_activations, record

    model = make(name, OPTIONS[name])
    keep_pre_activations(model)
    with record(model.pre_activations()) as outputs:
        seen = model.embedded(torch.randn(2, 1, 28, 28))
    assert len(outputs) == {"small-cnn": 6, "four-block": 8, "resnet18-small-stem": 17}[name]
    assert all((output < 0).any() for output in outputs)
    assert seen.maps is not None
    assert torch.equal(seen.maps, outputs[-1].relu())
    with record(model.pre_activations()) as again:
        pass
    assert again == []


def test_names_of_what_models_show() -> None:
    """The remedy of a dropped cell names classifiers that show it, and all of them."""
    drawing = FourBlock(decoder="unet")
    for part, words in SHOWING.items():
        able = {n for n, cls in CLASSIFIERS.items() if part in shown_by(cls())}
        if part == "decoder":
            assert "four-block with decoder: autoencoder, or unet" in words
            assert part in shown_by(drawing)
            assert not able
        elif part == "layers":
            assert {n for n in CLASSIFIERS if n in words} == able
        else:
            assert able == set(CLASSIFIERS)


@pytest.mark.parametrize(("decoder", "side"), [("autoencoder", 28), ("unet", 28), ("unet", 37)])
def test_decoders_draw_the_image(decoder: Any, side: int) -> None:
    """At its size, also where a side cannot be halved three times; the logits stay the same."""
    model = make("four-block", FourBlock(channels=2, decoder=decoder), side, 3)
    assert isinstance(model, FourBlockModel)
    x = torch.randn(2, 3, side, side)
    output, image = model.reconstructed(x)
    assert image.shape == x.shape
    assert torch.equal(output.logits, model(x))
    widths = (2, 4, 8, 16)
    inputs = [3, 2, 2, 4, 4, 8, 8, 16]
    outputs = [width for width in widths for _ in range(2)]
    encoder = sum(9 * a * b + b for a, b in zip(inputs, outputs, strict=True))
    head = 16 * (side // 8) ** 2 * 2 + 2
    skip = decoder == "unet"
    decoded = [(16 + 8 * skip, 8), (8 + 4 * skip, 4), (4 + 2 * skip, 2)]
    up = sum(9 * a * b + b + 9 * b * b + b for a, b in decoded)
    assert sum(p.numel() for p in model.parameters()) == encoder + head + up + (2 * 3 + 3)
    with pytest.raises(NotImplementedError, match="no decoder"):
        make("small-cnn", SmallCnn(channels=4, levels=1)).reconstructed(x)


def test_small_stem_is_a_resnet_18() -> None:
    """torchvision's has as many weights but for the stem and the classes, and four times halves."""
    from torchvision.models import resnet18

    model = make("resnet18-small-stem", ResNet18SmallStem())
    reference = resnet18(weights=None, num_classes=2)
    counted = sum(p.numel() for p in reference.parameters()) - 3 * 64 * 49 + 64 * 9
    assert sum(p.numel() for p in model.parameters()) == counted
    maps = model.embedded(torch.randn(1, 1, 28, 28)).maps
    assert maps is not None
    assert maps.shape == (1, 512, 4, 4)


KERAS = {
    1: (32, 3),
    4: (32, 1),
    7: (16, 32),
    9: (96, 16),
    13: (96, 1),
    16: (24, 96),
    45: (192, 32),
    48: (192, 1),
    51: (32, 192),
    151: (1280, 320),
}
"""Some convolutions of MobileNetV2 by their place in Keras' list: output and input channels."""


def test_layers_are_counted_as_keras_lists_them() -> None:
    """The input is 0; the last one, a ReLU, is 153. Grouped convolutions have one input channel."""
    from torchvision.models import mobilenet_v2

    places = dict(number_layers(mobilenet_v2(weights=None)))
    for at, (out, into) in KERAS.items():
        layer = places[at]
        assert isinstance(layer, torch.nn.Conv2d)
        assert tuple(layer.weight.shape[:2]) == (out, into)
        assert isinstance(places[at + 1], torch.nn.BatchNorm2d)
    assert max(places) == 153


def test_frozen_layers_do_not_change(torch_settings: None) -> None:
    """Neither weights nor statistics of the first 50; all behind them do."""
    assert problems(MobileNetV2(frozen=50)) == [
        "frozen layers need weights: random ones would never learn; set weights"
    ]
    data = squares(image_size=32, n_train=8, n_val=4, n_test=4)
    from torchvision.models import mobilenet_v2

    torch.manual_seed(0)
    released = mobilenet_v2(weights=None).state_dict()
    config = replace(
        fit_config("label", epochs=1, batch_size=4),
        model_name="mobilenet-v2",
        model=MobileNetV2(weights="0" * 64, frozen=50),
    )
    from spurious.config.machine import Machine
    from spurious.fit import fit
    from spurious.training.loop import Hooks

    trained = fit(data, config, Machine(), Hooks(), lambda digest: released).kept_state
    model = build("mobilenet-v2", config.model, (32, 32, 1), 0, lambda digest: released)
    assert isinstance(model, MobileNetModel)
    frozen = {
        f"inner.{name}.{key}"
        for at, part in number_layers(model.inner)
        for name, module in model.inner.named_modules()
        if module is part and at < 50
        for key in part.state_dict()
    }
    assert len(frozen) > 60
    for key, value in model.state_dict().items():
        assert torch.equal(trained[key], value) == (key in frozen), key


def test_grad_cam_of_a_model_that_is_frozen_below_its_head(torch_settings: None) -> None:
    """Its maps have no slope of their own to offer, and Grad-CAM asks for one."""
    from torchvision.models import mobilenet_v2

    options = MobileNetV2(weights="0" * 64, frozen=154)
    released = mobilenet_v2(weights=None).state_dict()
    model = build("mobilenet-v2", options, (32, 32, 1), 0, lambda digest: released)
    output = model.train().embedded(torch.rand(3, 1, 32, 32))
    assert output.maps is not None
    cam = grad_cam(output.logits, output.logits.argmax(dim=1), output.maps, rectify=False)
    cam.square().sum().backward()
    assert model.head.weight.grad is not None
    with torch.no_grad():
        assert not model.embedded(torch.rand(3, 1, 32, 32)).logits.requires_grad


def test_small_stem_trains_on_crosses(torch_settings: None) -> None:
    """Sides that are no multiple of anything."""
    config = replace(
        fit_config("label", epochs=1),
        model_name="resnet18-small-stem",
        model=ResNet18SmallStem(),
    )
    found = fitted(squares(image_size=15, n_train=6, n_val=4, n_test=4), config)
    assert len(found.kept_scores["test"]) == 4
