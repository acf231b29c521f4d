"""Rules that map the names of released state dicts, and architectures known without torch."""

from __future__ import annotations

import pytest
import segmentation_models_pytorch as smp
import timm
import torch

from docs.generate.architectures import encoder_sketch, rows
from spurious.config.architectures import Sides, encoder_sketches, timm_architectures
from spurious.config.encoders import ENCODERS
from spurious.config.fields import problems
from spurious.config.models import Timm, Unet
from spurious.errors import ConfigError
from spurious.training.architectures import match_released, recognise
from spurious.training.models import build
from spurious.training.released import rename_efficientnet

State = dict[str, torch.Tensor]
NAME = "test_resnet"
"""An architecture of timm for tests: 0.5 million parameters."""


@pytest.fixture(scope="module")
def release() -> State:
    """A whole model of timm, its classifier of 1,000 classes too."""
    torch.manual_seed(0)
    return dict(timm.create_model(NAME).state_dict())


def test_a_release_fits_classifier_and_encoder(release: State) -> None:
    """It is recognised as both, and as no other; each is filled, but for their own last layers."""
    assert recognise(release).keys() == {f"timm:{NAME}", f"tu-{NAME}"}
    digest = "ab" * 32
    classifier = build(
        "timm",
        Timm(architecture=NAME, weights=digest),
        (33, 47, 1),
        0,
        {digest: release}.__getitem__,
    )
    body = classifier.get_submodule("inner").state_dict()
    assert release.keys() - body.keys() == {"fc.weight", "fc.bias"}
    assert all(torch.equal(body[name], release[name]) for name in body)
    options = Unet(encoder=f"tu-{NAME}", weights=digest)
    unet = build("unet", options, (32, 64, 1), 0, {digest: release}.__getitem__)
    encoder = unet.get_submodule("encoder").state_dict()
    assert all(torch.equal(v, release[k.removeprefix("model.")]) for k, v in encoder.items())


def test_an_encoder_s_own_file_fits_it(release: State) -> None:
    """Saved from a U-Net of this project, under the names that smp gives; not a classifier."""
    encoder = smp.encoders.get_encoder(f"tu-{NAME}", weights=None)
    state = dict(encoder.state_dict())
    assert match_released(state, f"tu-{NAME}").fits


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda state: {"module." + name: value for name, value in state.items()},
        lambda state: (
            {"module.backbone." + name: value for name, value in state.items()}
            | {"module.head.mlp.0.weight": torch.zeros(2)}
        ),
        lambda state: (
            {"model.encoder." + name: value for name, value in state.items()}
            | {"model.decoder.blocks.0.conv1.weight": torch.zeros(2), "loss.weight": torch.zeros(2)}
        ),
    ],
    ids=["DataParallel", "DINO", "Lightning's U-Net"],
)
def test_prefixes_and_other_parts_are_left_out(release: State, wrapped: object) -> None:
    """The tensors under the prefix are the model's; the others are another part's."""
    assert callable(wrapped)
    state = wrapped(release)
    match = recognise(state)[f"timm:{NAME}"]
    assert all(match.state[name] is release[name] for name in match.state)
    assert len(match.state) == len(release) - 2
    assert match.prefix.startswith("mod")


def test_two_parts_that_fit_are_refused(release: State) -> None:
    """As of MoCo, which keeps two encoders: neither is taken by chance."""
    both = {
        f"module.{part}.{k}": v for part in ("encoder_q", "encoder_k") for k, v in release.items()
    }
    [match] = recognise(both).values()
    assert not match.fits
    assert "those under 'module.encoder_q.' and 'module.encoder_k.'" in match.describe_misfit()


def test_misfits_say_what_is_wrong(release: State) -> None:
    """Counts and names of the nearest architecture, under the prefix, which is named."""
    names = [name for name in release if not name.endswith("num_batches_tracked")]
    half = {f"module.{name}": release[name] for name in names[::2]}
    [(nearest, match)] = recognise(half).items()
    assert NAME in nearest
    assert set(match.missing) <= set(names[1::2])
    assert "after the prefix 'module.'" in match.describe_misfit()
    grey = {**release, "conv1.0.weight": release["conv1.0.weight"][:, :1]}
    [match] = recognise(grey).values()
    assert (match.missing, match.unknown, match.misshapen) == ((), (), ("conv1.0.weight",))
    assert recognise({"layer.weight": torch.zeros(2)}) == {}


def test_squeeze_and_excitation_is_mapped() -> None:
    """EfficientNets beyond the Lite ones have it; a stage begins where the width changes."""
    shapes = {"_conv_stem": 4, "_blocks.0._project_conv": 4, "_blocks.0._se_reduce": 1}
    shapes |= {
        f"_blocks.{n}.{layer}": width
        for n, width in ((1, 8), (2, 8), (3, 12))
        for layer in ("_expand_conv", "_se_expand", "_project_conv")
    }
    state = {f"net.{name}.weight": torch.zeros(width, 1) for name, width in shapes.items()}
    renamed = rename_efficientnet(state)
    assert renamed is not None
    assert list(renamed)[:3] == [
        "net.conv_stem.weight",
        "net.blocks.0.0.conv_pw.weight",
        "net.blocks.0.0.se.conv_reduce.weight",
    ]
    places = [name.split(".")[2:4] for name in list(renamed)[3::3]]
    assert places == [["1", "0"], ["1", "1"], ["2", "0"]]
    assert "net.blocks.1.0.se.conv_expand.weight" in renamed
    assert rename_efficientnet({"conv_stem.weight": torch.zeros(1)}) is None


def test_the_table_is_the_libraries() -> None:
    """Every name but those that give no vector an image, and lines as they are computed now."""
    table = timm_architectures()
    none = {f"{name}_enc" for name in ("deepseek_vit_412m", "gemma4_vit_167m", "gemma4_vit_570m")}
    none |= {f"qwen3_vit_{size}_enc" for size in ("88m", "306m", "416m")}
    assert set(timm.list_models()) - none == table.keys()
    assert encoder_sketches().keys() == ENCODERS
    for name in (NAME, "test_vit", "test_convnext"):
        [(classifier, encoder, maps, of_classifier, of_unet, sketch)] = rows(name)
        known = table[name]
        assert "".join(sorted(known.sketch)) == sketch
        assert (maps == "maps") == known.maps == (name != "test_vit")
        assert (classifier, encoder) == (_cell(known.classifier), _cell(known.encoder))
        numbers = (known.classifier_numbers, known.unet_numbers)
        assert (of_classifier, of_unet) == tuple("-" if n is None else str(n) for n in numbers)
    assert "".join(sorted(encoder_sketches()["resnet18"])) == encoder_sketch("resnet18")


def _cell(sides: Sides | None) -> str:
    """A cell of the table for sides without a shortest one."""
    return "-" if sides is None else f"{'=' * sides.fixed}{sides.multiple}"


def test_names_are_checked_without_torch() -> None:
    """A misspelt architecture is refused with those that are like it, a tag with the plain name."""
    assert problems(Timm(architecture=NAME)) == problems(Unet(encoder=f"tu-{NAME}")) == []
    [message] = problems(Timm(architecture="resnet18.a1_in1k"))
    assert message.endswith("leave out the tag of its weights: resnet18")
    [message] = problems(Timm(architecture="resnet181"))
    assert "did you mean resnet18" in message
    [message] = problems(Unet(encoder="tu-test_vit"))
    assert "cannot be one" in message
    [message] = problems(Unet(encoder="tf_efficientnet_lite0"))
    assert "did you mean" in message
    assert "tu-tf_efficientnet_lite0" in message
    with pytest.raises(ConfigError, match="timm has no architecture 'resnet181'"):
        build(
            "timm", Timm(architecture="resnet181"), (32, 32, 1), 0, dict[str, State]().__getitem__
        )


@pytest.mark.parametrize("shape", [(160, 128), (32, 32), (320, 320)])
def test_transformers_take_images_of_one_size(shape: tuple[int, int]) -> None:
    """Their position embeddings are of one size; the message names it."""
    options = Timm(architecture="test_vit")
    assert options.sides == Sides(160, fixed=True)
    assert options.sides.take(160, 160)
    with pytest.raises(ConfigError, match=r"needs image sides of exactly 160 pixels; this dataset"):
        build("timm", options, (*shape, 1), 0, dict[str, State]().__getitem__)


def test_features_that_are_no_maps() -> None:
    """Of a transformer and of one with two branches: trained all the same, without Grad-CAM."""
    for name, side in (("test_vit", 160), ("crossvit_9_240", 240), ("test_convnext", 64)):
        options = Timm(architecture=name)
        model = build("timm", options, (side, side, 1), 0, dict[str, State]().__getitem__).eval()
        output = model.embedded(torch.zeros(1, 1, side, side))
        assert output.logits.shape == (1, 2)
        assert (output.maps is not None) == timm_architectures()[name].maps
