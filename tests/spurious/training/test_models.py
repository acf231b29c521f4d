"""Models: shapes, seeds and refusals."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from small_data import no_weights

from spurious.config.encoders import ENCODERS
from spurious.config.fields import problems
from spurious.config.models import CLASSIFIERS, SEGMENTERS, ResNet50, SmallCnn, SmallUnet, Unet
from spurious.errors import ConfigError
from spurious.training.models import FcnModel, build

OPTIONS = {**CLASSIFIERS, **SEGMENTERS}
LIGHT: dict[str, Any] = {"unet": Unet(encoder="resnet18")}
"""Options where the default would take seconds to build."""


def weights_of(model: torch.nn.Module) -> bytes:
    """All parameters and buffers as bytes."""
    return b"".join(value.numpy().tobytes() for value in model.state_dict().values())


def make(name: str, shape: tuple[int, int, int] = (32, 64, 1), seed: int = 0) -> torch.nn.Module:
    """A model with light options and random weights."""
    return build(name, LIGHT.get(name, OPTIONS[name]()), shape, seed, no_weights)


def test_grey_is_repeated_to_three_channels() -> None:
    """A grey image scores as the colour image with equal channels does."""
    model = make("resnet50").eval()
    x = torch.rand(1, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(model(x), model(x.repeat(1, 3, 1, 1)))


def test_building_leaves_the_global_generator_alone() -> None:
    """Nor do weights depend on what was drawn from it before."""
    torch.manual_seed(1)
    first = weights_of(make("small-unet"))
    drawn = torch.rand(3)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(3), drawn)
    torch.manual_seed(2)
    assert weights_of(make("small-unet")) == first


@pytest.mark.parametrize(
    ("name", "options", "multiple"),
    [
        ("small-cnn", SmallCnn(levels=2), 4),
        ("small-unet", SmallUnet(levels=3), 8),
        ("unet", Unet(), 32),
    ],
)
@pytest.mark.parametrize("shape", [(32, 30, 1), (30, 32, 1)])
def test_sides_that_cannot_be_halved_are_refused(
    name: str, options: Any, multiple: int, shape: tuple[int, int, int]
) -> None:
    """Before anything is built; the message names the multiple and the image's sides."""
    assert options.sides.multiple == multiple
    with pytest.raises(ConfigError, match=rf"'{name}' .* multiples of {multiple}; .* {shape[0]} x"):
        build(name, options, shape, 0, no_weights)


@pytest.mark.parametrize("levels", [1, 2, 4])
def test_small_models_take_their_own_multiple(levels: int) -> None:
    """Sides that are a multiple of 2 ** levels work, down to a single deepest pixel."""
    side = 2**levels
    for name, options in (
        ("small-cnn", SmallCnn(channels=2, levels=levels)),
        ("small-unet", SmallUnet(channels=2, levels=levels)),
    ):
        logits = build(name, options, (side, 3 * side, 1), 0, no_weights)(
            torch.zeros(2, 1, side, 3 * side)
        )
        assert logits.shape[:2] == (2, 2)


def test_small_models_share_their_encoder() -> None:
    """`small-cnn` is `small-unet`'s encoder with a head, so that specificities compare."""
    shapes = [
        {k: v.shape for k, v in make(name).state_dict().items() if k.startswith("encoder.")}
        for name in ("small-cnn", "small-unet")
    ]
    assert shapes[0] == shapes[1]


def test_small_unet_sees_the_whole_image() -> None:
    """A pixel's logit depends on far pixels through the deep levels, and on near ones in detail."""
    model = make("small-unet", (16, 16, 1)).eval()
    x = torch.randn(1, 1, 16, 16, generator=torch.Generator().manual_seed(0)).requires_grad_()
    model(x)[0, 1, 8, 8].backward()
    assert x.grad is not None
    touched = x.grad[0, 0] != 0
    assert touched[8, 8]
    assert touched.float().mean() > 0.8


def test_every_level_of_small_unet_joins_deep_and_skipped_features() -> None:
    """In each decoder block the weights of both halves of the input get a gradient."""
    model: Any = make("small-unet", (16, 16, 1))
    model(torch.randn(2, 1, 16, 16, generator=torch.Generator().manual_seed(0)))[
        :, 1
    ].sum().backward()
    assert len(model.blocks) == SmallUnet().levels
    for block in model.blocks:
        skip = block[0].out_channels
        gradient = block[0].weight.grad
        assert gradient[:, :-skip].abs().sum() > 0
        assert gradient[:, -skip:].abs().sum() > 0


def test_an_unknown_encoder_is_refused() -> None:
    """The name of the encoder is in the message."""
    with pytest.raises(ConfigError, match="no encoder 'resnet-9000'"):
        build("unet", Unet(encoder="resnet-9000"), (32, 32, 3), 0, no_weights)


def test_options_without_weights_load_none() -> None:
    """Random weights ask nobody: neither a store nor a hub."""
    assert ResNet50().weights is None
    make("fcn-resnet50")  # `no_weights` would raise


def test_pixels_of_fcn_are_taken_before_dropout() -> None:
    """While training only logits depend on what is struck out, and they are torchvision's."""
    from torchvision.models.segmentation import fcn_resnet50

    theirs = fcn_resnet50(weights=None, weights_backbone=None, num_classes=2).train()
    ours = FcnModel(copy.deepcopy(theirs)).train()
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    found = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        found.append(ours.embedded(x))
        torch.manual_seed(seed)
        assert torch.equal(found[-1].logits, theirs(x)["out"])
    assert not torch.equal(found[0].logits, found[1].logits)
    assert found[0].pixels is not None
    assert found[1].pixels is not None
    assert torch.equal(found[0].pixels, found[1].pixels)
    assert not any(key.startswith("dropout") for key in ours.state_dict())


@pytest.mark.parametrize(
    ("name", "features", "pixels"),
    [
        ("resnet50", 2048, None),
        ("timm", 1280, None),
        ("fcn-resnet50", 2048, (512, 8, 8)),
        ("unet", 2048, (16, 64, 64)),
        ("small-cnn", 64, None),
        ("small-unet", 64, (16, 64, 64)),
    ],
)
def test_embeddings_are_what_the_last_layer_takes(
    name: str, features: int, pixels: tuple[int, int, int] | None
) -> None:
    """Their sizes by the papers' own models, and the head over them is the model's output."""
    model: Any = build(name, OPTIONS[name](), (64, 64, 1), 0, no_weights).eval()
    x = torch.randn(2, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found, logits = model.embedded(x), model(x)
        assert found.images.shape == (2, features)
        if pixels is None:
            assert found.pixels is None
            assert torch.equal(model.head(found.images), logits)
            return
        assert found.pixels.shape == (2, *pixels)
        again = model.head(found.pixels)
        if name == "fcn-resnet50":
            size = {"size": (64, 64), "mode": "bilinear", "align_corners": False}
            again = torch.nn.functional.interpolate(again, **size)
        assert torch.equal(again, logits)


@pytest.mark.parametrize("prefix", ["", "module.", "model.encoder.", "module.net."])
def test_weights_of_wrapped_models_load(prefix: str) -> None:
    """DataParallel and Lightning put a prefix before every name; the tensors are the same."""
    options = Unet(encoder="resnet18", weights="ab" * 32)
    source = build("unet", Unet(encoder="resnet18"), (32, 32, 1), 1, no_weights)
    encoder = source.get_submodule("encoder").state_dict()
    wrapped = {prefix + key: value for key, value in encoder.items()}
    loaded = build("unet", options, (32, 32, 1), 2, lambda digest: wrapped)
    state = loaded.get_submodule("encoder").state_dict()
    assert all(torch.equal(state[key], encoder[key]) for key in encoder)


def test_encoders_that_a_plan_knows_are_the_librarys() -> None:
    """A misspelt one is refused with the nearest, before anything runs."""
    from segmentation_models_pytorch.encoders import get_encoder_names

    assert set(get_encoder_names()) == ENCODERS
    assert problems(Unet(encoder="resnet50")) == []
    [message] = problems(Unet(encoder="resnet500"))
    assert "encoder 'resnet500' is not one of" in message
    assert "did you mean resnet50" in message
