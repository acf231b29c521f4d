"""Maps of what a model looks at, against captum and finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from captum.attr import LayerGradCam, Saliency
from small_data import no_weights
from torch.nn import functional

from spurious.config.models import FourBlock, ResNet18SmallStem, SmallCnn, SmallUnet, Timm
from spurious.training.attribution import grad_cam
from spurious.training.explain import GRAD_CAM, PREDICTION, SALIENCY, explain
from spurious.training.model import Model
from spurious.training.models import TimmModel, build

SIDE = 32
CLASSIFIERS = {
    "small-cnn": SmallCnn(channels=4, levels=2),
    "four-block": FourBlock(channels=2, decoder="unet"),
    "resnet18-small-stem": ResNet18SmallStem(),
}


def built(name: str, options: object, channels: int = 1, classes: int = 2) -> Model:
    """A model from random weights that has seen a batch, so that its statistics are no defaults."""
    torch.manual_seed(0)
    model = build(name, options, (SIDE, SIDE, channels), 0, no_weights, classes)
    with torch.no_grad():
        model.train()(torch.randn(8, channels, SIDE, SIDE) * 2 + 1)
    return model.eval()


def images(channels: int = 1) -> torch.Tensor:
    """(3, C, 32, 32)."""
    return torch.randn(3, channels, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_maps_of_classifiers_are_those_of_captum(name: str) -> None:
    """Saliency of the log-odds, summed over channels; Grad-CAM of the predicted class."""
    model, x = built(name, CLASSIFIERS[name], channels=3), images(3)
    maps = explain(model, x, segments=False)
    assert maps.keys() == {SALIENCY, GRAD_CAM}
    odds = Saliency(lambda given: model(given)[:, 1] - model(given)[:, 0])
    expected = odds.attribute(x.clone().requires_grad_()).sum(dim=1)
    torch.testing.assert_close(maps[SALIENCY], expected, rtol=1e-4, atol=1e-6)
    layer = _layer_of_maps(model, x)
    predicted = model(x).argmax(dim=1)
    cam = LayerGradCam(model, layer).attribute(x, target=predicted, relu_attributions=True)
    enlarged = functional.interpolate(cam, (SIDE, SIDE), mode="bilinear", align_corners=False)
    torch.testing.assert_close(maps[GRAD_CAM], enlarged[:, 0].detach(), rtol=1e-4, atol=1e-6)
    assert maps[SALIENCY].max() > 0


def _layer_of_maps(model: Model, x: torch.Tensor) -> torch.nn.Module:
    """The module whose output is the last feature map."""
    with torch.no_grad():
        wanted = model.embedded(x).maps
    assert wanted is not None
    found: list[torch.nn.Module] = []
    modules = [module for module in model.modules() if module is not model]

    def remember(module: torch.nn.Module, _: object, output: object) -> None:
        same = isinstance(output, torch.Tensor) and output.shape == wanted.shape
        if same and torch.equal(output, wanted):  # type: ignore[arg-type]
            found.append(module)

    handles = [module.register_forward_hook(remember) for module in modules]
    with torch.no_grad():
        model.embedded(x)
    for handle in handles:
        handle.remove()
    return found[-1]


@pytest.mark.parametrize("classes", [2, 3])
def test_maps_of_segmenters(classes: int) -> None:
    """The prediction is the last class's probability; saliency is of its mean, by differences."""
    model = built("small-unet", SmallUnet(channels=4, levels=1), classes=classes).double()
    x = images().double()
    maps = explain(model, x, segments=True)
    assert maps.keys() == {SALIENCY, PREDICTION}
    probabilities = functional.softmax(model(x), dim=1)[:, -1].detach()
    np.testing.assert_allclose(maps[PREDICTION], probabilities, rtol=1e-5)
    step = torch.zeros_like(x)
    step[1, 0, 5, 7] = 1e-5
    with torch.no_grad():
        above, below = (
            functional.softmax(model(x + sign * step), dim=1)[1, -1].mean() for sign in (1, -1)
        )
    slope = float((above - below).abs() / 2e-5)
    assert float(maps[SALIENCY][1, 5, 7]) == pytest.approx(slope, rel=1e-5)


def test_a_certain_classifier_still_looks_somewhere() -> None:
    """Where float32 probabilities have no gradient left, log-odds have their direction."""
    model, x = built("small-cnn", CLASSIFIERS["small-cnn"]), images()
    before = explain(model, x, segments=False)[SALIENCY]
    with torch.no_grad():
        model.head.weight *= 1e4  # type: ignore[union-attr]
        model.head.bias *= 1e4  # type: ignore[union-attr]
    assert ((model(x).softmax(dim=1) * (1 - model(x).softmax(dim=1))) == 0).all()
    after = explain(model, x, segments=False)[SALIENCY]
    torch.testing.assert_close(after, before * 1e4, rtol=1e-3, atol=0)


def test_a_model_without_maps_has_saliency_alone() -> None:
    """As transformers are."""
    model = build("timm", Timm(architecture="test_vit"), (160, 160, 3), 0, no_weights).eval()
    assert explain(model, torch.zeros(1, 3, 160, 160), segments=False).keys() == {SALIENCY}


@pytest.mark.parametrize(
    "name", ["swin_tiny_patch4_window7_224", "mambaout_femto", "sequencer2d_s"]
)
def test_maps_of_models_with_channels_last_have_them_first(name: str) -> None:
    """Grad-CAM reads (B, D, h, w); logits are the model's own, bit for bit."""
    model = build("timm", Timm(architecture=name), (224, 224, 3), 0, no_weights).eval()
    assert isinstance(model, TimmModel)
    x = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    output = model.embedded(x)
    stored = model.inner.forward_features(x)
    assert output.maps is not None
    assert torch.equal(output.maps.permute(0, 2, 3, 1), stored)
    assert output.maps.shape[1] == stored.shape[3] == model.inner.num_features
    assert torch.equal(output.logits, model.head(model.inner.forward_head(stored)))
    predicted = output.logits.argmax(dim=1)
    (slope,) = torch.autograd.grad(
        model.head(model.inner.forward_head(stored))[0, predicted[0]], stored
    )
    expected = (slope.mean(dim=(1, 2), keepdim=True) * stored).sum(dim=3).relu()
    found = grad_cam(output.logits, predicted, output.maps, rectify=True)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-7)
