"""The adversarial method: whose turn it is, and what the discriminator learns."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from small_data import fitted, squares, weights
from steered_problems import objective_of, problem_of

from spurious.config.methods import METHODS
from spurious.errors import ConfigError
from spurious.methods.adversarial import Fooling, make_discriminator, told_apart
from spurious.training.objective import Forward

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def one_thread(torch_settings: None) -> None:
    """As fits run here."""
    torch.set_num_threads(1)


def test_the_model_has_its_turn_in_one_of_so_many_batches() -> None:
    """The discriminator moves in each; what it says of features is learnt from both kinds."""
    problem, options = problem_of("adversarial", 16, hidden=8, every=2)
    model = problem.build().train()
    objective = objective_of(problem, "adversarial", options, model)
    assert isinstance(objective, Fooling)
    objective.begin_epoch(1)
    turns, before = [], [p.clone() for p in objective.discriminator.parameters()]
    for stored in problem.batch_sampler().epoch(1)[1]:
        loss = objective.loss(Forward(model, CPU, False), stored.to(CPU, torch.preserve_format))
        turns.append(loss.requires_grad)
        after = [p.clone() for p in objective.discriminator.parameters()]
        assert not any(torch.equal(a, b) for a, b in zip(before, after, strict=True))
        before = after
    assert turns == [True, False, True]


def test_batches_of_the_discriminator_leave_the_model() -> None:
    """One model step of three batches is another fit than three; of one batch it is the same."""
    fits = {}
    for every in (1, 3):
        problem, _ = problem_of("adversarial", 16, hidden=8, every=every)
        config = replace(problem.config, train=replace(problem.train, epochs=1))
        for size in (10, 23):
            of = replace(config, train=replace(config.train, batch_size=size))
            fits[every, size] = weights(fitted(squares(n_train=23), of))
    assert fits[1, 10] != fits[3, 10]
    assert fits[1, 23] == fits[3, 23]


def test_gradients_are_not_averaged_over_batches_without_any() -> None:
    """The message's remedies work."""
    problem, _ = problem_of("adversarial", 16, every=2)
    data, config = squares(n_train=23), problem.config
    averaged = replace(config, train=replace(config.train, accumulate=2, epochs=1))
    with pytest.raises(ConfigError, match=r"one of 2 batches.* use accumulate: 1, or every: 1"):
        fitted(data, averaged)
    fitted(data, replace(averaged, train=replace(averaged.train, accumulate=1)))
    fitted(data, replace(averaged, method=METHODS["adversarial"](every=1)))


def test_the_discriminator_is_bounded() -> None:
    """Each layer stretches no vector; the losses of a coin are ln 2."""
    layers = make_discriminator(16, 32, seed=0).eval()
    for layer in (layers[0], layers[2], layers[4]):
        assert torch.linalg.matrix_norm(layer.weight, 2).item() == pytest.approx(1.0, abs=0.05)
    zero = torch.zeros(4, 1)
    assert told_apart(zero, whole=True).item() == pytest.approx(0.693147, abs=1e-6)
    assert told_apart(zero + 3, whole=True) < told_apart(zero + 3, whole=False)
