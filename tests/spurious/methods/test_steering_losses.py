"""Losses of methods that steer, beside the same ones written again, batch by batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
import torch
from plain_steering import LOSSES, grown
from steered_problems import objective_of, problem_of
from torch.nn import functional

from spurious.data.batches import Batch
from spurious.methods.adversarial import Fooling
from spurious.methods.steered import Steered
from spurious.training.objective import Forward

CPU = torch.device("cpu")
CASES: list[tuple[str, Mapping[str, Any]]] = [
    ("actdiff", {}),
    ("actdiff", {"norm": "channel"}),
    ("actdiff", {"norm": "width", "blur": 0.0}),
    ("actdiff", {"layers": "last"}),
    ("actdiff", {"compared": "after_relu"}),
    ("actdiff", {"compared": "after_relu", "norm": "channel"}),
    ("gradmask", {}),
    ("gradmask", {"size": "l1", "dilate": 1}),
    ("actdiff-gradmask", {}),
    ("actdiff-gradmask", {"compared": "after_relu"}),
    ("classify-masked", {}),
    ("classify-shuffled", {}),
    ("adversarial", {"hidden": 8}),
    ("rrr", {}),
    ("rrr", {"normalise": True, "weight": 1000.0}),
    ("rbr", {"weight": 100.0}),
    ("xbl", {}),
    ("xbl", {"rectify": False}),
    ("care", {"threshold": 3.0}),
    ("care", {"share": 0.25}),
]


@pytest.fixture(autouse=True)
def one_thread(torch_settings: None) -> None:
    """As fits run here."""
    torch.set_num_threads(1)


@pytest.mark.parametrize("side", [16, 24])
@pytest.mark.parametrize(("name", "options"), CASES)
def test_losses_are_those_of_the_papers(name: str, options: Mapping[str, Any], side: int) -> None:
    """Of batches of 10, 10 and 3 images, some of them without a region, in training mode."""
    problem, chosen = problem_of(name, side, **options)
    model = problem.build().train()
    if name in ("rrr", "rbr"):  # whose penalties are small beside cross-entropy of even logits
        with torch.no_grad():
            model.get_parameter("head.weight").mul_(40.0)
    objective, forward = objective_of(problem, name, chosen, model), Forward(model, CPU, False)
    objective.begin_epoch(1)
    further: dict[str, Any] = {}
    if isinstance(objective, Fooling):
        objective.discriminator.eval()  # no further power iterations
    sizes, batches = problem.batch_sampler().epoch(1)
    assert sizes == [10, 10, 3]
    for stored in batches:
        batch = stored.to(CPU, torch.preserve_format)
        assert batch.regions is not None
        shuffled: list[torch.Tensor] = []
        keep_shuffled(objective, shuffled)
        loss = objective.loss(forward, batch)
        state = {key: value.double() for key, value in model.state_dict().items()}
        inside = grown(batch.regions, chosen.radius)
        x = batch.x.double().requires_grad_()
        masked = shuffled[0].double() if shuffled else None
        if isinstance(objective, Fooling):
            further["discriminator"] = plain_discriminator(objective)
        expected = LOSSES[name](
            state, x, batch.targets, ~inside[:, None], masked, asdict(chosen) | further
        )
        assert loss.item() == pytest.approx(expected.item(), rel=1e-6, abs=1e-6)
        erm = functional.cross_entropy(forward(batch.x), batch.targets).item()
        assert abs(loss.item() - erm) > 1e-3 * loss.item()  # a thousand times the tolerance


def plain_discriminator(objective: Fooling) -> dict[str, torch.Tensor]:
    """Weights, biases and singular vectors, by short names, in float64."""
    names = {
        "parametrizations.weight.original": "weight",
        "parametrizations.weight.0._u": "u",
        "parametrizations.weight.0._v": "v",
        "bias": "bias",
    }
    found = {}
    for key, value in objective.discriminator.state_dict().items():
        layer, _, name = key.partition(".")
        found[f"{layer}.{names[name]}"] = value.double()
    return found


def keep_shuffled(objective: Steered, into: list[torch.Tensor]) -> None:
    """Let an objective tell which shuffled images it used; what shuffling does is tested apart."""
    shuffle = type(objective).shuffled

    def remembered(batch: Batch, inside: torch.Tensor) -> torch.Tensor:
        into.append(shuffle(objective, batch, inside))
        return into[-1]

    objective.shuffled = remembered  # type: ignore[method-assign]


@pytest.mark.parametrize("name", LOSSES)
def test_labels_of_the_rest_join_without_regions(name: str) -> None:
    """All images make an epoch; those without a mask may be looked at everywhere."""
    problem, _ = problem_of(name, 16, rest=True)
    assert len(problem.training) == 23
    assert problem.rest is None
    _, batches = problem.batch_sampler().epoch(1)
    whole = 0
    for stored in batches:
        batch = stored.to(CPU, torch.preserve_format)
        assert batch.regions is not None
        assert torch.equal(
            batch.targets, torch.from_numpy(problem.training.labels[batch.positions])
        )
        whole += int(batch.regions.flatten(1).all(dim=1).sum())
    positives = np.count_nonzero(problem.training.targets.classes)  # type: ignore[union-attr]
    assert 0 < positives <= 12
    assert whole == 23 - positives
