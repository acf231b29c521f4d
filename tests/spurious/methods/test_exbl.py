"""eXBL: its loss beside the same one written again, by hand, and where its examples come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import plain_steering as plain
import pytest
import torch
from small_data import (
    copy_array,
    fit_config,
    fitted,
    no_weights,
    numbers,
    read_only,
    squares,
    values,
    weights,
    with_arrays,
)

from spurious.config.exemplars import Exbl
from spurious.config.fields import problems
from spurious.config.machine import Machine
from spurious.config.models import SmallCnn
from spurious.config.options import Budget, FitConfig, Specificity, WeakLabels
from spurious.data.examined import draw_shown
from spurious.errors import ConfigError
from spurious.fit import _problem
from spurious.methods import exbl
from spurious.methods.base import TrainingProblem
from spurious.methods.exbl import NearGood, distances, triplet_loss
from spurious.methods.exemplars import Exemplar, find_exemplars, judge, multiply, pick_extremes
from spurious.methods.first_model import first_model, load_first_model
from spurious.training.attribution import grad_cam, scale_to_unit
from spurious.training.loop import Hooks
from spurious.training.objective import Forward, Objective

CPU = torch.device("cpu")
CASES: list[Mapping[str, Any]] = [
    {},
    {"hinge": "text", "margin": 0.01},
    {"distance": "mse", "average": "active", "grid": "map", "weight": 100.0, "margin": 0.0},
    {"average": "mean", "margin": 0.2},
    {"grid": "map"},
]


@pytest.fixture(autouse=True)
def one_thread(torch_settings: None) -> None:
    """As fits run here."""
    torch.set_num_threads(1)


def config_of(kind: str = "label", batch_size: int = 10, **options: Any) -> FitConfig:
    """eXBL after two epochs of a first model."""
    return replace(
        fit_config("label", batch_size=batch_size, epochs=2),
        specificity=Specificity(kind),  # type: ignore[arg-type]
        budget=Budget(None, "natural"),
        method_name="exbl",
        method=Exbl(**{"first_epochs": 2, **options}),
        model=SmallCnn(channels=4, levels=1),
    )


def problem_of(side: int = 16, kind: str = "label", **options: Any) -> TrainingProblem:
    """Twenty-three images."""
    data = squares(image_size=side, n_train=23)
    return _problem(data, config_of(kind, **options), Machine(), no_weights)


def objective_of(problem: TrainingProblem) -> tuple[NearGood, torch.nn.Module]:
    """What the method gives to the loop, with the model that it trains on."""
    given: list[Any] = []
    watched = replace(problem)

    def take(model: Any, objective: NearGood, hooks: Hooks) -> Any:
        given.extend((objective, model))
        return type("Untrained", (), {"rows": []})()

    original = type(problem).run

    def run(self: Any, model: Any, objective: Any, hooks: Any, sampler: Any = None) -> Any:
        if isinstance(objective, NearGood):
            return take(model, objective, hooks)
        return original(self, model, objective, hooks, sampler)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainingProblem, "run", run)
        exbl.fit(watched, problem.config.method, Hooks())
    return given[0], given[1]


@pytest.mark.parametrize("side", [16, 24])
@pytest.mark.parametrize("options", CASES)
def test_losses_are_those_of_the_paper(options: Mapping[str, Any], side: int) -> None:
    """Of batches of 10, 10 and 3 images, in training mode, after a first model."""
    data = squares(image_size=side, n_train=23)
    train = data.rows("train")
    named = {"good": str(data.sample_ids[train[4]]), "bad": str(data.sample_ids[train[9]])}
    problem = problem_of(side, **named, **options)
    objective, model = objective_of(problem)
    first = {key: value.double() for key, value in model.state_dict().items()}
    shown = torch.from_numpy(data.images[train[[4, 9]]]).permute(0, 3, 1, 2).double()
    model.train()
    forward = Forward(model, CPU, False)  # type: ignore[arg-type]
    sizes, batches = problem.batch_sampler().epoch(1)
    assert sizes == [10, 10, 3]
    for stored in batches:
        batch = stored.to(CPU, torch.preserve_format)
        loss = objective.loss(forward, batch)
        state = {key: value.double() for key, value in model.state_dict().items()}
        x = batch.x.double().requires_grad_()
        expected = plain.exbl(
            first,
            shown.clone().requires_grad_(),
            state,
            x,
            batch.targets,
            asdict(problem.config.method),
        )
        assert loss.item() == pytest.approx(expected.item(), rel=1e-6, abs=1e-6)
        erm = plain.cross_entropies(plain.network(state, x).logits, batch.targets).mean()
        assert abs(loss.item() - erm.item()) > 1e-3 * loss.item()


def test_triplets_by_hand() -> None:
    """The formula is 0 only where the bad example is farther by the margin; the text differs."""
    good, bad = torch.tensor([0.2]), torch.tensor([0.5])
    assert triplet_loss(good, bad, Exbl()).item() == pytest.approx(0.7)
    assert triplet_loss(good, torch.tensor([1.5]), Exbl()).item() == 0
    assert triplet_loss(good, bad, Exbl(hinge="text")).item() == 0
    far = torch.tensor([1.7])
    assert triplet_loss(far, bad, Exbl(hinge="text")).item() == pytest.approx(0.2)
    assert triplet_loss(far, bad, Exbl()).item() == pytest.approx(2.2)
    two = torch.tensor([0.2, 0.2]), torch.tensor([0.5, 1.5])
    for average, expected in (("sum", 0.7), ("mean", 0.35), ("active", 0.7)):
        found = triplet_loss(*two, Exbl(average=average))  # type: ignore[arg-type]
        assert found.item() == pytest.approx(expected)
    none = triplet_loss(good, torch.tensor([9.0]), Exbl(average="active"))
    assert none.item() == 0


def test_distances_and_products_by_hand() -> None:
    """One channel of 2 x 2 pixels; a map of one cell is the same everywhere."""
    x = torch.tensor([[[[1.0, 3.0], [5.0, 7.0]]]])
    cam = torch.tensor([[[0.5]]])
    assert multiply(x, cam, "image")[0].tolist() == [[[0.5, 1.5], [2.5, 3.5]]]
    assert multiply(x, cam, "map")[0].tolist() == [[[2.0]]]
    product = torch.tensor([[[[3.0, 0.0], [0.0, 4.0]]]])
    zero = torch.zeros(1, 2, 2)
    assert distances(product, zero, squared=False).tolist() == [5.0]
    assert distances(product, zero, squared=True).tolist() == [6.25]


def test_equal_products_have_a_finite_gradient() -> None:
    """Where a map is 0 everywhere, and so is the example's."""
    product = torch.zeros(2, 1, 3, 3, requires_grad=True)
    distances(product, torch.zeros(1, 3, 3), squared=False).sum().backward()
    assert product.grad is not None
    assert torch.equal(product.grad, torch.zeros_like(product))


@pytest.mark.parametrize("options", CASES)
def test_derivatives_agree_with_finite_differences(options: Mapping[str, Any]) -> None:
    """By all weights along three random directions, in float64, with batch normalisation."""
    torch.manual_seed(3)
    body = torch.nn.Sequential(
        torch.nn.Conv2d(1, 3, 3, stride=2, padding=1),
        torch.nn.BatchNorm2d(3),
        torch.nn.Softplus(),
        torch.nn.Conv2d(3, 4, 3, padding=1),
        torch.nn.Softplus(),
    )
    model = torch.nn.ModuleList([body, torch.nn.Linear(4, 2)]).double()
    x = torch.randn(5, 1, 6, 6, dtype=torch.float64)
    chosen = Exbl(**{"margin": 1.0, **options})
    size = (1, 3, 3) if chosen.grid == "map" else (1, 6, 6)
    examples = list(torch.randn(2, *size, dtype=torch.float64))

    def penalty() -> torch.Tensor:
        maps = body(x)
        logits = model[1](maps.mean(dim=(2, 3)))
        cam = scale_to_unit(grad_cam(logits, torch.tensor([0, 1, 1, 0, 1]), maps, rectify=False))
        products = multiply(x, cam, chosen.grid)
        parts = [distances(products, e, squared=chosen.distance == "mse") for e in examples]
        return triplet_loss(*parts, chosen)

    if not penalty():
        examples.reverse()  # the good one was nearer by the margin
    parameters = list(model.parameters())
    found = penalty()
    assert found.item() > 0
    gradients = torch.autograd.grad(found, parameters, materialize_grads=True)
    step = 1e-6
    for seed in range(3):
        rng = torch.Generator().manual_seed(seed)
        way = [torch.randn(p.shape, generator=rng, dtype=p.dtype) for p in parameters]
        sides = []
        for sign in (1, -2, 1):
            with torch.no_grad():
                for parameter, by in zip(parameters, way, strict=True):
                    parameter += sign * step * by
            sides.append(penalty().item())
        along = sum(float((g * by).sum()) for g, by in zip(gradients, way, strict=True))
        assert along == pytest.approx((sides[0] - sides[1]) / (2 * step), rel=2e-5, abs=1e-8)


def test_without_weight_it_is_erm_on_the_first_model() -> None:
    """Bit for bit: weights and losses of training the same first model on by cross-entropy."""
    config = config_of(weight=0.0)
    data = squares(n_train=23)
    steered = fitted(data, config)
    problem = _problem(data, config, Machine(), no_weights)
    state = first_model(problem, config.method, Hooks()).kept
    model = problem.build()
    model.load_state_dict(state)
    torch.manual_seed(99)  # epochs draw by seeds of their own
    plainly = problem.run(model, Objective(problem.supervision), Hooks())
    assert weights(steered) == weights(plainly)
    losses = [values(fit, "train", "loss").tobytes() for fit in (steered, plainly)]
    assert losses[0] == losses[1]
    heavy = fitted(data, config_of(weight=1.0))
    assert weights(heavy) != weights(plainly)


def test_the_rule_picks_the_highest_and_the_lowest() -> None:
    """Activation precision, computed again, of the positive images' explanations."""
    problem = problem_of(kind="mask")
    state = first_model(problem, problem.config.method, Hooks()).kept
    first = load_first_model(problem, state)
    found = judge(problem, first)
    data = squares(n_train=23)
    rows = data.rows("train")
    x = torch.from_numpy(data.images[rows]).permute(0, 3, 1, 2).double().requires_grad_()
    result = plain.network({k: v.double() for k, v in state.items()}, x, running=True)
    cam = plain._cam(result, result.logits.argmax(dim=1), rectify=True)
    large = torch.nn.functional.interpolate(cam[:, None], (16, 16), mode="bilinear")[:, 0]
    expected = []
    for row, attention in zip(rows, large.detach().numpy(), strict=True):
        mask = data.masks[int(row)]
        if not mask.any() or data.labels[row] == 0 or not attention.any():
            expected.append(np.nan)
            continue
        strongest = attention >= np.percentile(attention, 95)
        expected.append((strongest & mask).sum() / strongest.sum())
    np.testing.assert_allclose(found[:, 0], expected, atol=1e-6)
    best, worst = pick_extremes(found)
    fit = fitted(data, config_of("mask"))
    facts = {row.metric: row.value for row in fit.rows if row.metric.startswith("exemplar")}
    assert facts == pytest.approx(
        {
            "exemplar_good": rows[best],
            "exemplar_bad": rows[worst],
            "exemplar_good_precision": np.nanmax(expected),
            "exemplar_bad_precision": np.nanmin(expected),
            "exemplars_alike": 0.0,
        }
    )


def test_a_good_example_that_is_no_better_is_noted() -> None:
    """By the named measure: what decides between equal ones does not show in the report."""
    problem = _problem(squares(n_train=23), config_of("mask"), Machine(), no_weights)
    product = torch.zeros(1, 16, 16)
    for good, bad, alike in ((0.2, 0.2, 1.0), (0.3, 0.2, 0.0), (np.nan, np.nan, 0.0)):
        rows = exbl._facts(problem, Exemplar(0, good, product), Exemplar(1, bad, product))
        assert {row.metric: row.value for row in rows}["exemplars_alike"] == alike


def test_equal_values_go_to_the_second_and_then_to_the_first_image() -> None:
    """And NaN to none; where nothing differs there is neither a good nor a bad one."""
    nan = np.nan
    alike = [[nan, nan], [0.5, 0.2], [0.1, 0.3], [0.5, 0.2], [0.1, 0.3]]
    assert pick_extremes(np.array(alike)).tolist() == [1, 2]
    finer = [[1.0, 0.2], [1.0, 0.7], [nan, nan], [1.0, 0.1], [0.9, 0.8]]
    assert pick_extremes(np.array(finer)).tolist() == [1, 4]
    assert pick_extremes(np.array(finer[:4])).tolist() == [1, 3]
    with pytest.raises(ConfigError, match=r"of 3 images 2 have .*, all alike"):
        pick_extremes(np.array([[0.5, 0.5], [nan, nan], [0.5, 0.5]]))


def test_what_an_annotator_is_shown() -> None:
    """Positive images with a mask, at most so many, fewer of the same ones, by the seed."""
    data = squares(n_train=23)
    rows = data.rows("train")
    masks = copy_array(data, "masks")
    drawn = rows[data.labels[rows] == 1]
    masks[drawn[0]] = False
    bare = read_only(with_arrays(data, masks=masks))
    every = draw_shown(bare, rows, 100, seed=0)
    assert every.tolist() == drawn[1:].tolist()
    few = draw_shown(bare, rows, 4, seed=0)
    assert len(few) == 4
    assert set(few) < set(draw_shown(bare, rows, 6, seed=0)) < set(every)
    assert few.tolist() != draw_shown(bare, rows, 4, seed=1).tolist()


def test_too_few_to_pick_from() -> None:
    """The remedies that the message names are taken."""
    data = squares(n_train=23)
    few = replace(config_of(), budget=Budget(2))
    expected = r"1 of 1 annotated positive images have .*; raise the budget, or name good and bad"
    with pytest.raises(ConfigError, match=expected):
        fitted(data, few)
    assert fitted(data, replace(few, budget=Budget(12)))
    rows = data.rows("train")
    ids = [str(name) for name in data.sample_ids[rows[:2]]]
    named = replace(few.method, good=ids[0], bad=ids[1])
    assert fitted(data, replace(few, method=named))


def test_named_examples_need_no_mask() -> None:
    """They may be of any training image, annotated or not; facts say which they are."""
    data = squares(n_train=23)
    rows = data.rows("train")
    masks = np.zeros(data.images.shape[:3], dtype=bool)
    bare = read_only(with_arrays(data, masks=masks))
    good, bad = rows[-1], rows[0]
    config = config_of(good=str(data.sample_ids[good]), bad=str(data.sample_ids[bad]))
    few = replace(config, budget=Budget(12, "natural"))
    problem = _problem(data, few, Machine(), no_weights)
    assert {good, bad} - set(problem.training.rows)
    fit = fitted(bare, few)
    facts = {row.metric: row.value for row in fit.rows if row.metric.startswith("exemplar")}
    assert (facts["exemplar_good"], facts["exemplar_bad"]) == (good, bad)
    assert np.isnan(facts["exemplar_good_precision"])
    assert numbers(fit) == numbers(fitted(data, few))


def test_names_that_are_not_of_training_images() -> None:
    """Are refused before anything trains, where no plan stood before it."""
    data = squares(n_train=23)
    good = str(data.sample_ids[data.rows("train")[0]])
    with pytest.raises(ConfigError, match="no image 'absent'; expected the id of a training"):
        fitted(data, config_of(good=good, bad="absent"))
    val = str(data.sample_ids[data.rows("val")[0]])
    with pytest.raises(ConfigError, match=f"image '{val}' is of val; expected"):
        fitted(data, config_of(good=good, bad=val))


def test_an_empty_explanation_is_no_example() -> None:
    """Of a named image: its map is 0 everywhere where all feature maps are."""
    data = squares(n_train=23)
    train = data.rows("train")
    images = copy_array(data, "images")
    names = [str(name) for name in data.sample_ids[train[:2]]]
    problem = _problem(
        read_only(replace(data, images=images)),
        config_of(good=names[0], bad=names[1]),
        Machine(),
        no_weights,
    )
    dead = problem.build()
    with torch.no_grad():
        dead.get_parameter("head.weight").zero_()
    with pytest.raises(ConfigError, match=f"explanation of image '{names[0]}' is 0 everywhere"):
        find_exemplars(problem, problem.config.method, dead.eval())


def test_options_that_do_not_go_together() -> None:
    """One id without the other, one image twice, candidates that nobody needs."""
    assert problems(Exbl(good="a")) == [
        "good needs bad, too: give both ids, or neither, and the rule picks"
    ]
    assert problems(Exbl(bad="a"))[0].startswith("bad needs good, too")
    assert problems(Exbl(good="a", bad="a")) == ["good and bad are both a; expected two images"]
    assert "remove it" in problems(Exbl(good="a", bad="b", candidates=3))[0]
    assert problems(Exbl()) == problems(Exbl(good="a", bad="b")) == []


def test_labels_of_the_rest_join() -> None:
    """On masks with labels of the rest all images train, and the rule picks among the masks."""
    config = replace(config_of("mask"), budget=Budget(12, "natural"), rest=WeakLabels())
    problem = _problem(squares(n_train=23), config, Machine(), no_weights)
    assert len(problem.training) == 23
    assert problem.examined is not None
    assert len(problem.examined) == 12
    assert fitted(squares(n_train=23), config).rows
