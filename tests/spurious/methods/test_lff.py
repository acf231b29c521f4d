"""Learning from failure: the biased network's loss, and the weights that it gives."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from small_data import fit_config, fitted, keeping, no_weights, numbers, squares, values
from torch.nn import functional

from spurious.config.machine import Machine
from spurious.config.methods import Lff
from spurious.config.options import FitConfig
from spurious.data.batches import Batch
from spurious.data.dataset import Dataset
from spurious.errors import DataError
from spurious.fit import _problem
from spurious.methods.base import TrainingProblem
from spurious.methods.lff import (
    AveragedLosses,
    LearningFromFailure,
    biased_network,
    generalised_cross_entropy,
    relative_difficulty,
)
from spurious.scoring.metrics import auroc
from spurious.training import checkpoint
from spurious.training.loop import Hooks
from spurious.training.objective import Forward

CPU = torch.device("cpu")
BOTH = ("averaged", "instantaneous")


@pytest.fixture(autouse=True)
def one_thread(torch_settings: None) -> None:
    """As fits run here."""
    torch.set_num_threads(1)


def with_lff(config: FitConfig, **options: Any) -> FitConfig:
    """A configuration with this method."""
    return replace(config, method_name="lff", method=Lff(**options))


def problem_of(dataset: Dataset, **options: Any) -> TrainingProblem:
    """What a fit on labels gives the method."""
    return _problem(dataset, with_lff(fit_config("label"), **options), Machine(), no_weights)


def losses_of(logits: torch.Tensor, targets: torch.Tensor) -> NDArray[np.float64]:
    """Cross-entropies in numpy, (B,) float64."""
    found = logits.double().detach().numpy()
    rows = np.arange(len(found))
    return np.asarray(np.log(np.exp(found).sum(axis=1)) - found[rows, targets.numpy()])


def test_generalised_cross_entropy_by_hand() -> None:
    """At p = 1/2 and q = .7 it is .549183; q = 1 is 1 - p, a small q cross-entropy."""
    half = torch.tensor([math.log(2)], dtype=torch.float64)
    assert generalised_cross_entropy(half, 0.7).item() == pytest.approx(0.549183, abs=1e-6)
    assert generalised_cross_entropy(half, 1.0).item() == pytest.approx(0.5)
    assert generalised_cross_entropy(half, 1e-9).item() == pytest.approx(math.log(2), rel=1e-6)


@settings(max_examples=30)
@given(
    st.lists(st.tuples(st.floats(-6, 6), st.floats(-6, 6)), min_size=1, max_size=6),
    st.floats(0.05, 1.0),
)
def test_its_gradient_is_cross_entropy_s_times_p_to_the_q(
    logits: list[tuple[float, float]], power: float
) -> None:
    """Image by image, in the logits."""
    values_ = torch.tensor(logits, dtype=torch.float64)
    targets = torch.arange(len(values_)) % 2

    def gradient(general: bool) -> torch.Tensor:
        x = values_.clone().requires_grad_()
        losses = functional.cross_entropy(x, targets, reduction="none")
        (generalised_cross_entropy(losses, power) if general else losses).sum().backward()
        assert x.grad is not None
        return x.grad

    p = values_.softmax(dim=1)[torch.arange(len(values_)), targets]
    expected = p[:, None] ** power * gradient(False)
    torch.testing.assert_close(gradient(True), expected, rtol=1e-9, atol=1e-12)


def test_relative_difficulty_by_hand() -> None:
    """Equal losses weigh a half; an image that both know weighs nothing."""
    biased, debiased = torch.tensor([0.3, 3.0, 0.0, 0.0]), torch.tensor([0.3, 1.0, 2.0, 0.0])
    assert relative_difficulty(biased, debiased).tolist() == pytest.approx([0.5, 0.75, 0.0, 0.0])


@pytest.mark.parametrize("memory", [0.7, 0.0])
def test_averages_follow_the_formula_over_several_steps(memory: float) -> None:
    """Against numpy: first losses as they are, then moving, over the class's largest so far."""
    rng = np.random.default_rng(0)
    labels = np.array([0, 1, 1, 0, 1, 0, 1, 0, 0])  # the last image is never seen
    found = AveragedLosses(torch.from_numpy(labels), memory)
    average = np.full((2, 9), np.nan)
    for _ in range(7):
        positions = rng.permutation(8)[:5]
        losses = rng.exponential(size=(2, 5)).astype(np.float32)
        given_back = found.update(torch.from_numpy(positions), torch.from_numpy(losses)).numpy()
        expected = np.empty((2, 5))
        for network in (0, 1):
            for column, image in enumerate(positions):
                old, new = average[network, image], losses[network, column]
                moved = new if math.isnan(old) else memory * old + (1 - memory) * new
                average[network, image] = moved
            for column, image in enumerate(positions):
                same = average[network, labels == labels[image]]
                expected[network, column] = average[network, image] / np.nanmax(same)
        np.testing.assert_allclose(given_back, expected, rtol=1e-5)
    np.testing.assert_allclose(found.values.numpy(), average, rtol=1e-5)
    assert found.values[:, 8].isnan().all()


@pytest.mark.parametrize("difficulty", BOTH)
def test_the_loss_of_a_step(difficulty: Any) -> None:
    """Generalised cross-entropy of the biased network plus weighted one of the model, in numpy."""
    problem = problem_of(squares(), difficulty=difficulty)
    model, biased = problem.build(), biased_network(problem)
    objective = LearningFromFailure(problem, problem.config.method, biased)
    labels = problem.training.labels
    average: dict[int, NDArray[np.float64]] = {}
    for positions in (np.arange(8), np.arange(4, 12)):
        (batch,) = problem.training.batches([positions], epoch=1)
        with torch.no_grad():
            found = objective.loss(Forward(model, CPU, False), batch)
            both = np.stack([losses_of(net(batch.x), batch.targets) for net in (biased, model)])
        weighed = both
        if difficulty == "averaged":
            for column, image in enumerate(positions):
                old = average.get(int(image), both[:, column])
                average[int(image)] = 0.7 * old + 0.3 * both[:, column]
            weighed = np.stack(
                [
                    average[i]
                    / np.max([a for j, a in average.items() if labels[i] == labels[j]], 0)
                    for i in positions
                ],
                axis=1,
            )
        weights = weighed[0] / weighed.sum(axis=0)
        expected = ((1 - np.exp(-both[0]) ** 0.7) / 0.7).mean() + (weights * both[1]).mean()
        assert found.item() == pytest.approx(expected, rel=1e-5)


def test_weights_carry_no_gradient() -> None:
    """Each network's gradient is that of its own term, the weights being numbers."""
    problem = problem_of(squares(), difficulty="instantaneous")
    model, biased = problem.build(), biased_network(problem)
    (batch,) = problem.training.batches([np.arange(8)], epoch=1)
    LearningFromFailure(problem, Lff(difficulty="instantaneous"), biased).loss(
        Forward(model, CPU, False), batch
    ).backward()
    found = [net.head.weight.grad.clone() for net in (model, biased)]
    for net in (model, biased):
        net.zero_grad()
    b, d = (
        functional.cross_entropy(n(batch.x), batch.targets, reduction="none")
        for n in (biased, model)
    )
    weights = torch.tensor((b / (b + d)).tolist())
    ((weights * d).mean() + ((1 - (-b).exp() ** 0.7) / 0.7).mean()).backward()
    for gradient, net in zip(found, (model, biased), strict=True):
        torch.testing.assert_close(gradient, net.head.weight.grad, rtol=1e-4, atol=1e-7)


def test_networks_begin_with_one_body_and_other_heads() -> None:
    """As two loads of a pretrained network do; the same each time, drawn from the seed."""
    problem = problem_of(squares())
    state = torch.get_rng_state()
    model, biased, again = problem.build(), biased_network(problem), biased_network(problem)
    assert torch.equal(state, torch.get_rng_state())
    own, theirs, twice = (net.state_dict() for net in (model, biased, again))
    differ = {key for key, tensor in own.items() if not torch.equal(tensor, theirs[key])}
    assert differ == {"head.weight", "head.bias"}
    assert all(torch.equal(tensor, twice[key]) for key, tensor in theirs.items())


@pytest.mark.parametrize("difficulty", BOTH)
def test_it_resumes_bit_for_bit(difficulty: str) -> None:
    """Biased network, both optimizer states and the averages travel in the checkpoint."""
    dataset = squares()
    config = with_lff(fit_config("label", epochs=4), difficulty=difficulty)
    saved: list[bytes] = []
    undisturbed = fitted(dataset, config, Hooks(save=keeping(saved)))
    continued = fitted(dataset, config, Hooks(resume=saved[2]))
    assert continued.resumed_from_epoch == 3
    assert numbers(continued) == numbers(undisturbed)
    state = checkpoint.unpack(saved[0])
    assert set(state["objective"]) == ({"averages"} if difficulty == "averaged" else set())
    assert any(key.startswith("biased.") for key in state["networks"])
    assert set(undisturbed.kept_state) == set(state["model"])


def test_averages_of_other_images_are_refused() -> None:
    """A checkpoint of another number of images is a data error."""
    saved: list[bytes] = []
    config = with_lff(fit_config("label", epochs=2))
    fitted(squares(n_train=30), config, Hooks(save=keeping(saved)))
    with pytest.raises(DataError, match="delete it"):
        fitted(squares(), config, Hooks(resume=saved[0]))


def test_images_against_the_bias_weigh_more() -> None:
    """What the spurious block tells wrongly has the larger relative difficulty."""
    dataset = squares(
        spurious_given_positive=0.9, spurious_given_negative=0.1, n_train=100, abnormality_mean=1.5
    )
    saved: list[bytes] = []
    config = with_lff(fit_config("label", epochs=6, batch_size=20, learning_rate=2e-2))
    outcome = fitted(dataset, config, Hooks(save=keeping(saved)))
    assert np.isfinite(values(outcome, "train", "loss")).all()
    averages = checkpoint.unpack(saved[-1])["objective"]["averages"].numpy()
    rows = dataset.rows("train")
    labels, block = dataset.labels[rows], dataset.attributes[rows][:, 0]
    for label in (0, 1):
        averages[:, labels == label] /= averages[:, labels == label].max(axis=1, keepdims=True)
    weights = averages[0] / averages.sum(axis=0)
    against = labels != block
    assert 4 < against.sum() < 30
    assert auroc(against.astype(np.int64), weights) > 0.9


def test_it_is_more_robust_than_erm() -> None:
    """Where the block almost tells the label, the robust AUROC on the test images is higher."""
    dataset = squares(
        abnormality_mean=1.5,
        spurious_given_positive=0.95,
        spurious_given_negative=0.05,
        n_train=200,
        n_test=200,
    )
    config = fit_config("label", epochs=12, batch_size=20, learning_rate=2e-2, evaluate_every=12)
    erm, lff = (
        values(fitted(dataset, own), "test", "robust_auroc")[-1]
        for own in (config, with_lff(config))
    )
    assert lff > erm + 0.2


def test_bfloat16_trains() -> None:
    """Both networks run under the trial's arithmetic; losses are float32 and finite."""
    config = with_lff(fit_config("label", epochs=2, precision="bfloat16"))
    outcome = fitted(squares(), config)
    assert np.isfinite(values(outcome, "train", "loss")).all()
    problem = problem_of(squares())
    objective = LearningFromFailure(problem, Lff(), biased_network(problem))
    batch = Batch(torch.zeros(4, 1, 16, 16), torch.tensor([0, 1, 0, 1]), torch.arange(4))
    assert objective.loss(Forward(problem.build(), CPU, True), batch).dtype == torch.float32
