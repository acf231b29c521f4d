"""Methods that steer: numbers by hand, where penalties vanish, derivatives, and what they share."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_data import fitted, method_config, numbers, squares, with_arrays
from torch.nn import functional

from spurious.config.fields import problems
from spurious.config.methods import METHODS, Erm
from spurious.config.models import Timm
from spurious.config.options import Budget, FitConfig, Specificity
from spurious.config.steering import ActDiff, Steering
from spurious.errors import ConfigError
from spurious.methods.actdiff import activation_difference
from spurious.methods.care import attention_losses
from spurious.methods.gradmask import gradient_outside
from spurious.methods.rbr import influence
from spurious.methods.rrr import squares_outside
from spurious.methods.steered import reconstruction_loss
from spurious.methods.xbl import map_outside
from spurious.training.attribution import (
    contrast,
    grad_cam,
    input_gradient,
    log_probabilities,
    scale_to_unit,
)
from spurious.training.block_models import FourBlockModel
from spurious.training.regions import dilate, shuffle_outside

STEERING = [name for name, options in METHODS.items() if issubclass(options, Steering)]
WEIGHTLESS = {
    "actdiff": {"weight": 0.0},
    "gradmask": {"weight": 0.0},
    "actdiff-gradmask": {"weight": 0.0, "gradient_weight": 0.0},
    "reconstruct-masked": {"weight": 0.0},
    "adversarial": {"weight": 0.0},
    "rrr": {"weight": 0.0},
    "rbr": {"weight": 0.0},
    "xbl": {"weight": 0.0},
    "care": {"share": 0.0},
}
"""Methods with a penalty, without it."""


@pytest.fixture(autouse=True)
def one_thread(torch_settings: None) -> None:
    """As fits run here."""
    torch.set_num_threads(1)


def config_of(name: str, seed: int = 0, **options: Any) -> FitConfig:
    """A method on masks; the model draws where the method needs it to."""
    chosen = METHODS[name](**options)
    kind = "mask" if chosen.steers else "label"
    return method_config(name, kind, chosen, seed=seed, epochs=2)


@pytest.mark.parametrize(("norm", "expected"), [("layer", 5.0), ("channel", 2.5), ("width", 3.5)])
def test_activations_by_hand(norm: str, expected: float) -> None:
    """Two channels of one row and two columns, against zeros; layers count alike, or by places."""
    layer = torch.tensor([[[[3.0, 0.0]], [[4.0, 0.0]]]])
    zero = torch.zeros_like(layer)
    difference = activation_difference([layer], [zero], norm)
    assert difference.item() == pytest.approx(expected, abs=2e-6)
    wide = torch.zeros(1, 2, 1, 6)
    two = activation_difference([layer, wide], [zero, wide], norm).item()
    share = {"layer": 1 / 2, "channel": 2 / 8, "width": 1 / 2}[norm]
    assert two == pytest.approx(expected * share, abs=5e-6)


def test_equal_activations_have_no_gradient() -> None:
    """Where nothing differs the paper's norm is 0, and so is its derivative."""
    a = torch.randn(3, 2, 4, 4, requires_grad=True)
    difference = activation_difference([a], [a.detach().clone()], "layer")
    difference.backward()
    assert difference.item() == 0
    assert a.grad is not None
    assert not a.grad.any()


LINEAR = torch.tensor([[1.0, -2.0, 3.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
"""Weights of two logits whose difference is (1, -2, 3)."""


def linear(margin: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """An image of three pixels, its logits with this margin, and the first pixel as its region."""
    x = torch.zeros(1, 1, 1, 3, dtype=torch.float64)
    x[..., 0] = margin
    x.requires_grad_()
    return x, x.flatten(1) @ LINEAR.T, torch.tensor([[[True, False, False]]])


@pytest.mark.parametrize("margin", [2.0, -2.0])
@pytest.mark.parametrize(("size", "expected"), [("l1", 5.0), ("l2", math.sqrt(13))])
def test_contrast_gradient_by_hand(margin: float, size: Any, expected: float) -> None:
    """Of linear logits; the sign of their difference does not matter, and none has no gradient."""
    x, logits, inside = linear(margin)
    gradient = input_gradient(contrast(logits), x)
    assert gradient_outside(gradient, inside, size).item() == pytest.approx(expected)
    x, logits, inside = linear(0.0)
    assert gradient_outside(input_gradient(contrast(logits), x), inside, size).item() == 0.0


@pytest.mark.parametrize(
    ("margin", "expected"), [(0.0, 0.0), (math.log(3), 3.25), (4.0, 12.081539)]
)
def test_log_probability_gradient_by_hand(margin: float, expected: float) -> None:
    """It is (p1 - p0)(w0 - w1), which vanishes where both classes are as likely."""
    x, logits, inside = linear(margin)
    gradient = input_gradient(log_probabilities(logits), x)
    if margin == math.log(3):
        assert gradient.flatten().tolist() == pytest.approx([-0.5, 1.0, -1.5])
    assert squares_outside(gradient, inside).item() == pytest.approx(expected, abs=1e-6)
    halved = squares_outside(gradient, inside, normalise=True).item()
    assert halved == pytest.approx(expected / 2, abs=1e-6)


@pytest.mark.parametrize(("w", "x"), [(0.7, 1.3), (-2.0, 0.4), (1.0, -1.0)])
def test_influence_by_hand(w: float, x: float) -> None:
    """Logistic regression in one dimension, whose derivatives are those of log(1 + exp(-wx))."""
    weight = torch.nn.Parameter(torch.tensor([w], dtype=torch.float64))
    image = torch.tensor([x], dtype=torch.float64, requires_grad=True)
    losses = functional.softplus(-weight * image)
    s = 1 / (1 + math.exp(w * x))
    expected = -s + w * x * s * (1 - s)
    assert influence(losses, [weight], image).item() == pytest.approx(expected)


def test_attention_by_hand() -> None:
    """A map of ones on 2 x 2 pixels: one inside earns half, three outside cost one each."""
    inside = torch.tensor([[[True, False], [False, False]]])
    assert attention_losses(torch.ones(1, 2, 2), inside, 0.5).item() == 2.5
    assert attention_losses(torch.ones(1, 2, 2), inside, 3.0).item() == 2.0


def test_map_outside_counts_cells_by_their_share() -> None:
    """Of four cells one is outside by a half, and one wholly."""
    inside = torch.ones(1, 4, 4, dtype=torch.bool)
    inside[0, 0, :2], inside[0, 2:, 2:] = False, False
    cam = torch.tensor([[[0.5, 1.0], [1.0, 0.25]]])
    assert map_outside(cam, inside).item() == pytest.approx(0.25**2 + 0.25**2)


def test_maps_run_from_0_to_1() -> None:
    """Each by itself; an even one becomes 0."""
    scaled = scale_to_unit(torch.tensor([[[2.0, 4.0]], [[-8.0, 0.0]], [[3.0, 3.0]]]))
    assert scaled.flatten().tolist() == pytest.approx([0, 1, 0, 1, 0, 0], abs=1e-5)


@pytest.mark.parametrize(("sigma", "radius"), [(0.5, 2), (1.0, 4), (8.0, 32), (16.0, 64)])
def test_blur_dilates_by_a_square(sigma: float, radius: int) -> None:
    """A Gaussian filter cut at four sigma, and all above 0, as the published code has it."""
    from scipy import ndimage

    assert ActDiff(blur=sigma).radius == radius
    assert ActDiff(blur=sigma, dilate=3).radius == radius + 3
    mask = np.zeros((1, 160, 160), dtype=bool)
    mask[0, 70:73, 90:96] = mask[0, 5, 5] = True
    blurred = ndimage.gaussian_filter(mask[0].astype(np.float64), sigma, truncate=4.0) > 0
    grown = dilate(torch.from_numpy(mask), radius)
    np.testing.assert_array_equal(grown[0].numpy(), blurred)


@given(seed=st.integers(0, 2**31), channels=st.sampled_from([1, 3]), share=st.floats(0, 1))
@settings(max_examples=30)
def test_shuffling_moves_values_outside_only(seed: int, channels: int, share: float) -> None:
    """Over all channels together; the multiset outside is kept, and nothing moves without it."""
    rng = torch.Generator().manual_seed(seed)
    x = torch.rand(3, channels, 6, 5, generator=rng)
    inside = torch.rand(3, 6, 5, generator=rng) < share
    inside[2] = True
    shuffled = shuffle_outside(x, inside, torch.Generator().manual_seed(seed))
    for old, new, region in zip(x, shuffled, inside, strict=True):
        assert torch.equal(old[:, region], new[:, region])
        assert torch.equal(
            old[:, ~region].flatten().sort().values, new[:, ~region].flatten().sort().values
        )
    assert torch.equal(shuffled[2], x[2])
    again = shuffle_outside(x, inside, torch.Generator().manual_seed(seed))
    assert torch.equal(shuffled, again)


def test_shuffles_differ_from_step_to_step() -> None:
    """And not from one run to the next, which resuming rests on."""
    runs = [fitted(squares(), config_of("classify-shuffled")) for _ in range(2)]
    assert numbers(runs[0]) == numbers(runs[1])
    x = torch.arange(64.0).reshape(1, 1, 8, 8)
    inside = torch.zeros(1, 8, 8, dtype=torch.bool)
    rng = torch.Generator().manual_seed(0)
    assert not torch.equal(shuffle_outside(x, inside, rng), shuffle_outside(x, inside, rng))


class TestDerivatives:
    """Of every penalty by the weights, against finite differences in float64."""

    def network(self) -> tuple[torch.nn.Module, torch.Tensor, torch.Tensor]:
        """A convolution with batch normalisation and a smooth activation; images; regions."""
        torch.manual_seed(3)
        body = torch.nn.Sequential(
            torch.nn.Conv2d(1, 3, 3, padding=1),
            torch.nn.BatchNorm2d(3),
            torch.nn.Softplus(),
            torch.nn.Conv2d(3, 4, 3, padding=1),
            torch.nn.Softplus(),
        )
        model = torch.nn.ModuleList([body, torch.nn.Linear(4, 2)]).double()
        x = torch.randn(5, 1, 6, 6, dtype=torch.float64)
        inside = torch.zeros(5, 6, 6, dtype=torch.bool)
        inside[:4, 1:4, 2:5] = True
        inside[4] = True
        return model, x, inside

    def penalty(self, name: str, model: Any, x: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
        """One method's penalty."""
        body, head = model
        x = x.clone().requires_grad_()
        maps = body(x)
        logits = head(maps.mean(dim=(2, 3)))
        labels = torch.tensor([0, 1, 1, 0, 1])
        if name in ("l1", "l2"):
            return gradient_outside(input_gradient(contrast(logits), x), inside, name)  # type: ignore[arg-type]
        if name == "rrr":
            return squares_outside(input_gradient(log_probabilities(logits), x), inside)
        if name == "rbr":
            losses = functional.cross_entropy(logits, labels, reduction="none")
            product = influence(losses, list(model.parameters()), x)
            return squares_outside(product * input_gradient(log_probabilities(logits), x), inside)
        if name in ("layer", "channel", "width"):
            shuffled = shuffle_outside(x, inside, torch.Generator().manual_seed(1))
            return activation_difference([body(shuffled)], [maps], name)
        cam = scale_to_unit(grad_cam(logits, labels, maps, rectify=name == "xbl"))
        return map_outside(cam, inside) + attention_losses(cam, inside, 0.5).mean()

    @pytest.mark.parametrize(
        "name", ["l1", "l2", "rrr", "rbr", "layer", "channel", "width", "xbl", "cam"]
    )
    def test_agree_with_finite_differences(self, name: str) -> None:
        """Along three random directions of all weights."""
        model, x, inside = self.network()
        parameters = list(model.parameters())
        penalty = self.penalty(name, model, x, inside)
        gradients = torch.autograd.grad(penalty, parameters, materialize_grads=True)
        step = 1e-6
        for seed in range(3):
            rng = torch.Generator().manual_seed(seed)
            way = [torch.randn(p.shape, generator=rng, dtype=p.dtype) for p in parameters]
            sides = []
            for sign in (1, -2):
                with torch.no_grad():
                    for parameter, by in zip(parameters, way, strict=True):
                        parameter += sign * step * by
                sides.append(self.penalty(name, model, x, inside).item())
            with torch.no_grad():
                for parameter, by in zip(parameters, way, strict=True):
                    parameter += step * by
            expected = (sides[0] - sides[1]) / (2 * step)
            along = sum(float((g * by).sum()) for g, by in zip(gradients, way, strict=True))
            assert along == pytest.approx(expected, rel=2e-5, abs=1e-8)


@pytest.mark.parametrize("name", WEIGHTLESS)
def test_without_weight_it_is_erm(name: str) -> None:
    """Bit for bit: weights, scores and losses, of the same model on the same images."""
    config = config_of(name, **WEIGHTLESS[name])
    erm = replace(config, specificity=Specificity("label"), method_name="erm", method=Erm())
    steered, plain = fitted(squares(), config), fitted(squares(), erm)
    once = ("variance_measure",)  # of what is annotated
    rows = [[row for row in fit.rows if row.metric not in once] for fit in (steered, plain)]
    assert repr(rows[0]) == repr(rows[1])
    assert numbers(replace(steered, rows=[])) == numbers(replace(plain, rows=[]))


@pytest.mark.parametrize("name", STEERING)
def test_nothing_is_penalised_where_nobody_drew(name: str) -> None:
    """No batch has a region: what penalises is ERM then, and shuffled images are whole."""
    data = squares()
    data = replace(data, labels=data.labels.copy())
    masks = np.zeros(data.images.shape[:3], dtype=bool)
    bare = with_arrays(data, masks=masks)
    config = config_of(name)
    erm = replace(config, specificity=Specificity("label"), method_name="erm", method=Erm())
    steered, plain = fitted(bare, config), fitted(bare, erm)
    assert np.isfinite(steered.kept_scores["test"]).all()
    if name != "reconstruct-masked":  # which trains the decoder, too
        assert numbers(replace(steered, rows=[])) == numbers(replace(plain, rows=[]))


def test_reconstruction_losses() -> None:
    """Mean square error, or cross-entropy, which refuses images that leave [0, 1]."""
    images = torch.tensor([[[[0.0, 1.0]]]])
    drawn = torch.tensor([[[[0.5, -1.0]]]])
    assert reconstruction_loss(drawn, images, "squared").item() == pytest.approx(2.125)
    expected = (math.log(1 + math.exp(0.5)) + math.log(1 + math.exp(1.0))) / 2
    found = reconstruction_loss(drawn, images, "cross_entropy").item()
    assert found == pytest.approx(expected)
    with pytest.raises(ConfigError, match=r"images in \[0, 1\].* -1.00 to 1.00; use .*squared"):
        reconstruction_loss(drawn, 2 * images - 1, "cross_entropy")


@pytest.mark.parametrize("name", ["reconstruct", "reconstruct-masked"])
def test_reconstruction_adds_its_loss(name: str) -> None:
    """The classification of the same weights is the same; the decoder learns beside it."""
    from steered_problems import objective_of

    from spurious.config.machine import Machine
    from spurious.data.batches import Batch
    from spurious.fit import _problem
    from spurious.training.objective import Forward

    config = config_of(name, weight=0.3)
    problem = _problem(squares(), config, Machine(), lambda digest: {})
    model = problem.build().train()
    objective = objective_of(problem, name, config.method, model)
    objective.begin_epoch(1)
    x, labels = torch.rand(4, 1, 16, 16), torch.tensor([0, 1, 1, 0])
    inside = torch.zeros(4, 16, 16, dtype=torch.bool)
    inside[:, 3:9, 4:9] = True
    batch = Batch(x, labels, torch.arange(4), regions=inside)
    loss = objective.loss(Forward(model, torch.device("cpu"), False), batch)
    assert isinstance(model, FourBlockModel)
    output, drawn = model.reconstructed(x)
    supervised = functional.cross_entropy(output.logits, labels)
    seen = x
    if name == "reconstruct-masked":
        objective.begin_epoch(1)
        seen = objective.shuffled(batch, dilate(inside, config.method.radius))
        assert not torch.equal(seen, x)
    expected = supervised + 0.3 * ((drawn - seen) ** 2).mean()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)


def test_models_that_show_too_little_are_refused() -> None:
    """By fitting, where no plan stood before it."""
    config = replace(
        config_of("actdiff"), model_name="timm", model=Timm(architecture="test_efficientnet")
    )
    with pytest.raises(ConfigError, match=r"actdiff reads the model's layers, which timm"):
        fitted(squares(), config)
    assert problems(METHODS["actdiff"](reconstruction="cross_entropy")) == [
        "reconstruction is not read where reconstruct is 0; give that a weight"
    ]


@pytest.mark.parametrize("name", ["rrr", "gradmask", "rbr", "actdiff-gradmask"])
def test_gradients_of_a_transformer_are_differentiated(name: str) -> None:
    """Its attention has second derivatives in one of torch's kernels, which others do not use."""
    options = {"layers": "last"} if name == "actdiff-gradmask" else {}
    model = Timm(architecture="test_vit")
    config = replace(config_of(name, **options), model_name="timm", model=model)
    config = replace(config, train=replace(config.train, epochs=1, batch_size=2))
    data = squares(image_size=160, n_train=4, n_val=2, n_test=2)
    assert np.isfinite(fitted(data, config).kept_scores["test"]).all()


def test_annotation_of_validation_is_labels() -> None:
    """Masks steer training alone: epochs are chosen by image labels."""
    from spurious.config.options import Prices
    from spurious.scoring.annotations import count_annotations, image_facts
    from spurious.scoring.cost import cost

    data, config = squares(), replace(config_of("actdiff"), budget=Budget(None, "natural"))
    counts = count_annotations(image_facts(data), config)
    price = cost(config.specificity, counts, Prices(wage_per_hour=3600.0))
    positives = int((data.labels[data.rows("train")] == 1).sum())
    assert price.training == pytest.approx(45 * positives + (21 - positives))
    assert price.validation == pytest.approx(16)
