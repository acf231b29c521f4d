"""Options that follow a method's reference code where it differs from the default here."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from clouds import blobs, seen
from sklearn.preprocessing import StandardScaler
from small_data import fit_config, fitted, no_weights, squares, values

from spurious.config.fields import problems
from spurious.config.machine import Machine
from spurious.config.methods import METHODS, Dfr, George, GroupWeights, Lff
from spurious.fit import _problem
from spurious.methods.dfr.last_layer import best_penalty
from spurious.methods.george.clusters import cluster
from spurious.methods.george.reductions import reduce_dimensions
from spurious.methods.group_weights import GroupObjective
from spurious.methods.lff import LearningFromFailure, biased_network
from spurious.training.objective import Forward
from spurious.training.supervision import Classification

pytestmark = pytest.mark.usefixtures("torch_settings")
CPU = torch.device("cpu")
SIZES, PAIRS = (9, 3, 7), np.array([(0, 2), (1, 2)])


@pytest.mark.parametrize(("by_first", "sizes"), [(False, (16, 10)), (True, (9, 3))])
@pytest.mark.parametrize("rule", ["exponentiated", "greedy"])
def test_the_images_that_a_pair_s_adjustment_is_by(
    rule: Any, by_first: bool, sizes: tuple[int, int]
) -> None:
    """Both clusters', or the negative one's; the greedy rule's shares stay those of the pairs."""
    options = GroupWeights(rule=rule, adjustment=2.0)
    groups = np.repeat(np.arange(3), SIZES)
    of = GroupObjective(Classification(), groups, options, CPU, PAIRS, by_first)
    assert of.rule.adjustments.tolist() == pytest.approx(2.0 / np.sqrt(sizes))  # type: ignore[attr-defined]
    if rule == "greedy":
        assert of.rule.fractions.tolist() == pytest.approx([16 / 26, 10 / 26])  # type: ignore[attr-defined]


def test_centring_by_all_images() -> None:
    """Each class is moved by the mean of both, which is not its own."""
    points, labels = blobs([20, 20], apart=6.0)
    points = points + 3.0
    options = George(centre=True, centre_by="all", normalise=False, reduce="none")
    moved, others = reduce_dimensions(points[:20], points[:3], points[0], options, 0, np.ones(2))
    assert moved == pytest.approx(points[:20] - 1)
    assert others == pytest.approx(points[:3] - 1)
    images = seen(points, labels)
    silhouettes = {
        by: cluster(images, images, points[0], replace(options, centre_by=by, normalise=True), 0)
        for by in ("class", "all")
    }
    assert not np.allclose(silhouettes["class"].silhouettes, silhouettes["all"].silhouettes)


@pytest.mark.parametrize(("factor", "times"), [("one", 1.0), ("power", 0.7)])
def test_the_biased_network_s_gradient(factor: Any, times: float) -> None:
    """Times q in the reference code: cross-entropy weighted by a detached q p^q."""
    config = fit_config("label")
    config = replace(config, method_name="lff", method=Lff(gradient_factor=factor))
    problem = _problem(squares(), config, Machine(), no_weights)
    objective = LearningFromFailure(problem, config.method, biased_network(problem))
    model = problem.build()
    (batch,) = problem.training.batches([np.arange(8)], epoch=1)
    objective.loss(Forward(model, CPU, False), batch).backward()
    moved = [p.grad.clone() for p in objective.biased.parameters() if p.grad is not None]
    objective.biased.zero_grad()
    losses = problem.supervision.losses(objective.biased(batch.x), batch.targets)
    weights = times * torch.exp(-losses.detach()) ** 0.7
    (weights * losses).mean().backward()
    expected = [p.grad for p in objective.biased.parameters() if p.grad is not None]
    assert len(moved) == len(expected) > 0
    for found, wanted in zip(moved, expected, strict=True):
        assert torch.allclose(found, wanted, atol=1e-6)


def test_dfr_standardises_by_training_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """The refits' features by the training images', the penalty's by the half that it fits."""
    fitted_to: list[int] = []
    fit = StandardScaler.fit

    def note(scaler: StandardScaler, vectors: Any, *rest: Any) -> Any:
        fitted_to.append(len(vectors))
        return fit(scaler, vectors, *rest)

    monkeypatch.setattr(StandardScaler, "fit", note)
    dataset = squares(
        **{"n_train": 30, "n_val": 40, "spurious_given_positive": 0.5},
        **{"spurious_given_negative": 0.5, "spurious_mean": -4.0},
    )
    outcomes = {}
    for by in ("val", "train"):
        config = replace(fit_config("label", epochs=2), method_name="dfr")
        outcomes[by] = fitted(dataset, replace(config, method=Dfr(refits=2, scale_by=by)))
    assert fitted_to[:2] == [40, 30]
    assert len(fitted_to) == 3  # the last one by a balanced half
    assert fitted_to[2] < 40
    assert values(outcomes["val"], "val", "loss") != values(outcomes["train"], "val", "loss")


def test_the_penalty_is_scaled_by_the_fitted_half() -> None:
    """Features of any scale give one choice, as standardised ones do."""
    rng = np.random.default_rng(1)
    labels = np.repeat((0, 1), 40)
    groups = 2 * labels + np.tile((0, 1), 40)
    vectors = rng.normal(size=(80, 3)) + labels[:, None]
    chosen = {
        best_penalty(vectors * scale, labels, groups, 0, scale_fitted=True)
        for scale in (1e-3, 1.0, 1e3)
    }
    assert len(chosen) == 1


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("george", {"adjust_pairs": "negatives"}, "adjust_pairs is not read by groups: clusters"),
        ("george", {"centre_by": "all"}, "centre_by is not read without centre: true"),
        ("george", {"centre_by": "all", "centre": True}, None),
        ("george", {"adjust_pairs": "negatives", "groups": "pairs"}, None),
    ],
)
def test_an_option_that_nothing_reads_is_refused(
    name: str, options: dict[str, Any], message: str | None
) -> None:
    """And the remedy is not."""
    found = problems(METHODS[name](**options))
    assert found == [] if message is None else [m for m in found if message in m]
