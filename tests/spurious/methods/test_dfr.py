"""Deep feature reweighting: what is drawn, the averaged regression, and the last layer it makes."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from small_data import SMALL, fit_config, fitted, squares, values

from spurious.config.methods import Dfr
from spurious.config.models import ResNet50
from spurious.config.options import FitConfig
from spurious.data.randomness import generator
from spurious.errors import ConfigError
from spurious.methods.dfr.dfr import check
from spurious.methods.dfr.last_layer import (
    PENALTIES,
    Line,
    best_penalty,
    draw_balanced,
    fit_averaged,
    put,
    regression,
    split_in_halves,
    undo_scaling,
)
from spurious.scoring.groups import known_groups
from spurious.training.loop import Fit, Hooks
from spurious.training.model import Model
from spurious.training.models import build

pytestmark = pytest.mark.usefixtures("torch_settings")

MIXED = replace(
    SMALL,
    spurious_given_positive=0.85,
    spurious_given_negative=0.15,
    spurious_mean=-4.0,
    abnormality_mean=2.5,
    n_train=120,
    n_val=160,
    n_test=300,
)
"""The block is the stronger sign; every group has validation images."""


def dfr_config(epochs: int = 3, seed: int = 0, **options: Any) -> FitConfig:
    """DFR on image labels with the smallest model."""
    config = fit_config("label", seed=seed, epochs=epochs)
    return replace(config, method_name="dfr", method=Dfr(**options))


def diagnostics(outcome: Fit) -> dict[str, float]:
    """What DFR tells of itself."""
    return {row.metric: row.value for row in outcome.rows if row.metric.startswith("dfr_")}


def cloud(
    count: int = 200, seed: int = 0
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Six features of two classes: the first tells the class, the second an attribute."""
    rng = np.random.default_rng(seed)
    groups = rng.choice(4, size=count, p=[0.4, 0.1, 0.1, 0.4])
    labels, attribute = groups // 2, groups % 2
    vectors = rng.normal(size=(count, 6))
    vectors[:, 0] += 1.5 * labels
    vectors[:, 1] += 3.0 * attribute
    return vectors, labels, groups


def objective(
    vectors: NDArray[np.float64], labels: NDArray[np.int64], penalty: float, line: Line
) -> float:
    """What liblinear minimises: |w|_1 + |b| + C sum of logistic losses."""
    signs = 2 * labels - 1
    margins = vectors @ line.weights + line.intercept
    losses = np.log1p(np.exp(-signs * margins)).sum()
    return float(np.abs(line.weights).sum() + abs(line.intercept) + penalty * losses)


def test_a_balanced_draw_takes_as_many_of_each_group_as_the_smallest_has() -> None:
    """Groups of 10, 4, 6 and 3: three of each, twelve in all, none twice, others each time."""
    groups = np.random.default_rng(0).permutation(np.repeat(np.arange(4), [10, 4, 6, 3]))
    draws = [draw_balanced(groups, np.random.default_rng(seed)) for seed in range(40)]
    for drawn in draws:
        assert len(drawn) == 12
        assert len(set(drawn.tolist())) == 12
        assert np.bincount(groups[drawn]).tolist() == [3, 3, 3, 3]
    assert len({tuple(sorted(drawn)) for drawn in draws}) > 10
    assert set(np.concatenate(draws).tolist()) == set(range(23))


@pytest.mark.parametrize("penalty", [1.0, 0.1])
def test_the_regression_minimises_its_objective(penalty: float) -> None:
    """Moving any coefficient either way costs; coefficients that do not pay are exactly 0."""
    vectors, labels, _ = cloud()
    line = regression(vectors, labels, penalty, 0)
    least = objective(vectors, labels, penalty, line)
    for step in (-0.02, 0.02):
        for at in range(6):
            moved = line.weights + step * np.eye(6)[at]
            assert objective(vectors, labels, penalty, replace(line, weights=moved)) > least
        moved_intercept = replace(line, intercept=line.intercept + step)
        assert objective(vectors, labels, penalty, moved_intercept) > least
    strong = regression(vectors, labels, 0.01, 0)
    assert (strong.weights[2:] == 0).any()


def test_one_half_of_each_group_fits_and_the_other_judges() -> None:
    """No image does both; the fitting one is balanced, the judging one has all of its half."""
    groups = np.random.default_rng(0).permutation(np.repeat(np.arange(3), [9, 4, 2]))
    found = [split_in_halves(groups, np.random.default_rng(seed)) for seed in range(30)]
    for fitting, judging in found:
        assert not set(fitting.tolist()) & set(judging.tolist())
        assert np.bincount(groups[fitting]).tolist() == [1, 1, 1]
        assert np.bincount(groups[judging]).tolist() == [4, 2, 1]
    assert len({tuple(judging) for _, judging in found}) > 10


def test_the_penalty_is_the_one_of_the_most_accurate_worst_group() -> None:
    """Recomputed by the library's own predictions; of equals the largest is taken."""
    vectors, labels, groups = cloud(count=300, seed=3)
    chosen = set()
    for seed in range(6):
        fitting, judging = split_in_halves(groups, generator("dfr-halves", seed))
        worst = []
        for penalty in PENALTIES:
            model = LogisticRegression(C=penalty, l1_ratio=1.0, solver="liblinear", max_iter=1000)
            model.fit(vectors[fitting], labels[fitting])
            right = model.predict(vectors[judging]) == labels[judging]
            worst.append(min(right[groups[judging] == g].mean() for g in range(4)))
        best = best_penalty(vectors, labels, groups, seed)
        assert best == PENALTIES[worst.index(max(worst))]
        chosen.add(best)
    assert len(chosen) > 1
    separable = np.where(labels == 1, 50.0, -50.0)[:, None]
    assert best_penalty(separable, labels, groups, 0) == 1.0  # all of them are right


def test_the_refits_are_averaged() -> None:
    """Coefficients and intercept are means over draws of their own; one group is all images."""
    vectors, labels, groups = cloud()
    found = fit_averaged(vectors, labels, groups, 0.3, refits=3, seed=5)
    lines = []
    for number in range(3):
        drawn = draw_balanced(groups, generator("dfr", 5, number))
        model = LogisticRegression(C=0.3, l1_ratio=1.0, solver="liblinear", max_iter=1000)
        lines.append(model.fit(vectors[drawn], labels[drawn]))
    assert found.weights == pytest.approx(np.mean([m.coef_[0] for m in lines], axis=0), abs=1e-3)
    assert found.intercept == pytest.approx(np.mean([m.intercept_ for m in lines]), abs=1e-3)
    assert np.ptp([m.coef_[0, 0] for m in lines]) > 0.01


def test_the_attribute_weighs_less_where_groups_are_balanced() -> None:
    """Balancing classes alone leaves the attribute its coefficient; balancing groups does not."""
    vectors, labels, groups = cloud(count=600)
    by_groups = fit_averaged(vectors, labels, groups, 0.3, 5, seed=0)
    by_classes = fit_averaged(vectors, labels, labels, 0.3, 5, seed=0)
    assert abs(by_groups.weights[1]) < 0.2 < by_classes.weights[1]


@pytest.mark.parametrize("name", ["small-cnn", "resnet50"])
def test_the_folded_head_gives_sklearn_s_probabilities(name: str) -> None:
    """Standardisation and regression as a last layer: their softmax is `predict_proba`."""
    rng = np.random.default_rng(1)
    head = a_model(name).head
    assert isinstance(head, torch.nn.Linear)
    vectors = rng.normal(
        loc=3.0, scale=rng.uniform(0.1, 4.0, head.in_features), size=(80, head.in_features)
    )
    labels = (vectors[:, 0] + rng.normal(size=80) > 3.0).astype(np.int64)
    mean, scale = vectors.mean(axis=0), vectors.std(axis=0)
    model = LogisticRegression(C=0.3, l1_ratio=1.0, solver="liblinear", max_iter=1000)
    model.fit((vectors - mean) / scale, labels)
    line = Line(model.coef_[0], float(model.intercept_[0]))
    put(head, undo_scaling(line, mean, scale))
    logits = head(torch.from_numpy(vectors.astype(np.float32)))
    expected = model.predict_proba((vectors - mean) / scale)
    assert logits.softmax(dim=1).detach().numpy() == pytest.approx(expected, abs=1e-5)
    assert logits.sum(dim=1).detach().numpy() == pytest.approx(np.zeros(80), abs=1e-4)


def a_model(name: str) -> Model:
    """A classifier as trials build it."""
    options: Any = fit_config("label").model
    if name == "resnet50":
        options = ResNet50()
    return build(name, options, (16, 16, 1), 0, lambda digest: {})


def test_one_epoch_is_evaluated_and_kept() -> None:
    """Its number is that of the last epoch; rows, scores, state, work and progress are there."""
    told: list[tuple[int, int, dict[str, float]]] = []
    dataset = squares(MIXED)
    config = dfr_config(epochs=4, refits=7)
    config = replace(config, train=replace(config.train, keep="best val.auroc"))
    outcome = fitted(dataset, config, Hooks(on_epoch=lambda *news: told.append(news)))
    assert {row.epoch for row in outcome.rows} == {4}
    assert outcome.kept_epoch == 4
    assert outcome.kept_value == values(outcome, "val", "auroc")[0]
    assert outcome.kept_scores == outcome.last_scores
    assert {split: len(s) for split, s in outcome.kept_scores.items()} == {"val": 160, "test": 300}
    val = dataset.rows("val")
    counts = np.bincount(known_groups(dataset.labels[val], dataset.attributes[val]))
    assert diagnostics(outcome)["dfr_images"] == 4 * counts.min()
    assert outcome.images_trained == 7 * 4 * counts.min()
    assert outcome.seconds_training > 0
    assert diagnostics(outcome)["dfr_c"] in PENALTIES
    assert [news[:2] for news in told] == [(4, 4)]
    assert told[0][2]["val.auroc"] == outcome.kept_value


def test_only_the_last_layer_is_new() -> None:
    """The kept state is the first model's but for the head, whose scores are the evaluated ones."""
    dataset = squares(MIXED)
    outcome = fitted(dataset, dfr_config())
    erm = fitted(dataset, fit_config("label", epochs=3, keep="best val.auroc"))
    changed = {
        name for name, own in erm.kept_state.items() if not own.equal(outcome.kept_state[name])
    }
    assert changed == {"head.weight", "head.bias"}
    model = a_model("small-cnn").eval()
    model.load_state_dict(outcome.kept_state)
    with torch.no_grad():
        x = torch.from_numpy(dataset.images[dataset.rows("test")]).permute(0, 3, 1, 2)
        scores = model(x).softmax(dim=1)[:, 1].double().numpy()
    assert outcome.kept_scores["test"] == pytest.approx(scores, abs=1e-6)


def test_dfr_is_more_robust_than_its_first_model() -> None:
    """ERM leans on the block; with groups balanced, the same features rank by the abnormality."""
    leaning = replace(
        MIXED,
        spurious_given_positive=0.95,
        spurious_given_negative=0.05,
        abnormality_mean=1.0,
        seed=1,
    )
    dataset = squares(leaning)
    config = fit_config("label", epochs=12, keep="best val.auroc", seed=1)
    erm = fitted(dataset, config)
    before = values(erm, "test", "robust_auroc")[erm.kept_epoch - 1]
    dfr = fitted(dataset, replace(config, method_name="dfr", method=Dfr()))
    after = values(dfr, "test", "robust_auroc")[0]
    assert before < 0.25
    assert after > before + 0.2


def test_balancing_classes_needs_no_spurious_labels() -> None:
    """It runs where nobody annotated the attribute; balancing groups is refused there."""
    dataset = squares(MIXED)
    bare = replace(dataset, attributes=np.full_like(dataset.attributes, -1))
    outcome = fitted(bare, dfr_config(balance="classes"))
    assert math.isfinite(values(outcome, "val", "auroc")[0])
    smaller = np.bincount(dataset.labels[dataset.rows("val")]).min()
    assert diagnostics(outcome)["dfr_images"] == 2 * smaller
    with pytest.raises(ConfigError, match="method dfr needs spurious labels"):
        fitted(bare, dfr_config())


def test_groups_too_small_to_halve_are_refused() -> None:
    """A group of one, or a single class; two of each are enough."""
    labels = np.array([0, 0, 0, 1, 1, 1])
    with pytest.raises(ConfigError, match=r"dfr .*two of each group; the groups here have 3, 2, 1"):
        check(labels, np.array([0, 0, 0, 1, 1, 2]))
    with pytest.raises(ConfigError, match="both classes"):
        check(np.zeros(6, dtype=np.int64), np.array([0, 0, 0, 1, 1, 1]))
    with pytest.raises(ConfigError, match="the groups here have 0, 4"):
        check(np.ones(4, dtype=np.int64), np.ones(4, dtype=np.int64))
    check(labels, np.array([0, 0, 1, 2, 2, 1]))
    best_penalty(np.arange(6.0)[:, None], labels, np.array([0, 0, 1, 2, 2, 1]), 0)
