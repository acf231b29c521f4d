"""Layers with fast second derivatives: torch's values and slopes, and its curvature."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from small_data import no_weights
from torch import nn

from spurious.config.models import FourBlock, MobileNetV2, ResNet18SmallStem, SmallCnn
from spurious.training.models import build
from spurious.training.second_order import for_inputs_alone, speed_up_second_derivatives

LAYERS: dict[str, Callable[[], nn.Module]] = {
    "normalisation": lambda: nn.BatchNorm2d(4),
    "convolution": lambda: nn.Conv2d(4, 6, 3, padding=1),
    "without a bias": lambda: nn.Conv2d(4, 6, 3, padding=1, bias=False),
    "strides": lambda: nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(0, 1)),
    "dilation": lambda: nn.Conv2d(4, 2, 2, dilation=2),
    "a layer a channel": lambda: nn.Conv2d(4, 8, 3, groups=4),
}


def pair_of(make: Callable[[], nn.Module]) -> tuple[nn.Module, nn.Module]:
    """A layer of torch's and the same one turned; in float64, with parameters that are no 1."""
    torch.manual_seed(0)
    plain = make().double()
    for parameter in plain.parameters():
        nn.init.normal_(parameter)
    turned = copy.deepcopy(plain)
    speed_up_second_derivatives(turned)
    return plain, turned


def images(dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """(3, 4, 5, 6), of which derivatives are asked for."""
    drawn = torch.randn(3, 4, 5, 6, generator=torch.Generator().manual_seed(1), dtype=dtype)
    return (drawn * 2 + 1).requires_grad_()


@pytest.mark.parametrize("name", LAYERS)
def test_both_derivatives_agree_with_finite_differences(name: str) -> None:
    """By the input and by every parameter, in any combination."""
    _, layer = pair_of(LAYERS[name])
    assert type(layer) not in (nn.BatchNorm2d, nn.Conv2d)
    names = [key for key, _ in layer.named_parameters()]

    def run(x: torch.Tensor, *values: torch.Tensor) -> torch.Tensor:
        out = torch.func.functional_call(layer, dict(zip(names, values, strict=True)), (x,))
        assert isinstance(out, torch.Tensor)
        return out

    given = (images(), *(p.detach().clone().requires_grad_() for p in layer.parameters()))
    assert torch.autograd.gradcheck(run, given, fast_mode=True)
    assert torch.autograd.gradgradcheck(run, given, fast_mode=True)


@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("name", LAYERS)
def test_values_and_slopes_are_torchs_bit_for_bit(name: str, memory: torch.memory_format) -> None:
    """In float32, in either layout, with the statistics that a step leaves behind."""
    plain, turned = (layer.float() for layer in pair_of(LAYERS[name]))
    outcomes = []
    for layer in (plain, turned):
        x = images(torch.float32).detach().to(memory_format=memory).requires_grad_()
        out = layer(x)
        out.square().sum().backward()
        slopes = [parameter.grad for parameter in (x, *layer.parameters())]
        outcomes.append([out, *slopes, *layer.buffers()])
    for expected, value in zip(*outcomes, strict=True):
        assert torch.equal(expected, value)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("small-cnn", SmallCnn(channels=4, levels=2)),
        ("four-block", FourBlock(channels=2)),
        ("resnet18-small-stem", ResNet18SmallStem()),
        ("mobilenet-v2", MobileNetV2()),
    ],
)
def test_the_curvature_of_models_is_torchs(name: str, options: object) -> None:
    """Of a penalty on the input's gradient, by every parameter that has one."""
    plain = build(name, options, (16, 16, 3), 0, no_weights).double().train()
    turned = copy.deepcopy(plain)
    speed_up_second_derivatives(turned)
    assert plain.state_dict().keys() == turned.state_dict().keys()
    for model in (plain, turned):
        torch.manual_seed(2)  # of dropout
        x = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(3)).double()
        x.requires_grad_()
        with for_inputs_alone():
            (gradient,) = torch.autograd.grad(model(x)[:, 1].sum(), x, create_graph=True)
        gradient.square().sum().backward()
    pairs = [
        (expected.grad, value.grad)
        for expected, value in zip(plain.parameters(), turned.parameters(), strict=True)
        if expected.requires_grad
    ]
    largest = max(float(expected.abs().max()) for expected, _ in pairs if expected is not None)
    assert largest > 0
    for expected, value in pairs:
        assert (expected is None) == (value is None)
        if expected is not None:
            torch.testing.assert_close(value, expected, rtol=1e-8, atol=1e-10 * largest)


def test_torchs_layers_take_over_where_these_cannot() -> None:
    """In evaluation, under autocast, of images without derivatives, of layers of another kind."""
    plain, turned = pair_of(LAYERS["normalisation"])
    plain.eval()
    turned.eval()
    assert torch.equal(plain(images()), turned(images()))
    single = turned.float().train()
    with torch.autocast("cpu", torch.bfloat16):
        assert type(single(images(torch.float32)).grad_fn).__name__ == "NativeBatchNormBackward0"
    assert single(images(torch.float32).detach()).grad_fn.name() == "NativeBatchNormBackward0"
    mirrored = nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect")
    speed_up_second_derivatives(mirrored)
    assert type(mirrored) is nn.Conv2d
