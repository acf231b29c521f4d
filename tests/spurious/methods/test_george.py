"""GEORGE: a first model's features, their clusters, and group DRO on them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from small_data import SMALL, fit_config, fitted, keeping, squares, values

from spurious.config.methods import George, GroupDro
from spurious.config.options import FitConfig
from spurious.data.dataset import Dataset
from spurious.errors import ConfigError, DataError
from spurious.methods.george.george import KIND, pairs_of
from spurious.training import checkpoint
from spurious.training.loop import Fit, Hooks
from spurious.training.shared_models import SharedModel

pytestmark = pytest.mark.usefixtures("torch_settings")

MIXED = replace(
    SMALL,
    spurious_given_positive=0.7,
    spurious_given_negative=0.3,
    spurious_mean=-6.0,
    n_train=40,
    n_val=30,
    n_test=20,
)


class Kept:
    """Stages kept in memory, and which were made."""

    def __init__(self) -> None:
        self.results: dict[str, bytes] = {}
        self.made: list[SharedModel] = []

    def __call__(self, stage: SharedModel, make: Callable[[Hooks], bytes]) -> bytes:
        """The stored result, or a new one."""
        if repr(stage) not in self.results:
            self.results[repr(stage)] = make(Hooks())
            self.made.append(stage)
        return self.results[repr(stage)]


def george_config(epochs: int = 3, seed: int = 0, keep: str = "last", **options: Any) -> FitConfig:
    """GEORGE on image labels with the smallest model, and few clusters of all features."""
    config = fit_config("label", seed=seed, epochs=epochs, keep=keep)
    given = {"reduce": "none", "max_clusters": 3, "first_epochs": 2, **options}
    return replace(config, method_name="george", method=George(**given))


def mixed() -> Dataset:
    """Both classes with and without the block."""
    return squares(MIXED)


def diagnostics(outcome: Fit) -> dict[str, float]:
    """What GEORGE tells of its clusters."""
    return {r.metric: r.value for r in outcome.rows if r.metric.startswith("george_")}


def weights(outcome: Fit) -> bytes:
    """The kept model as bytes."""
    return b"".join(tensor.numpy().tobytes() for tensor in outcome.kept_state.values())


@pytest.mark.parametrize("reduction", ["pca", "hardness", "none"])
def test_george_tells_its_clusters(reduction: str) -> None:
    """Their number and silhouette per class, and the worst one's accuracy at each evaluation."""
    config = george_config(reduce=reduction, keep="best val.worst_cluster_accuracy")
    outcome = fitted(mixed(), config)
    found = diagnostics(outcome)
    for label in (0, 1):
        assert found[f"george_clusters_y{label}"] in (2.0, 3.0)
        assert -1.0 <= found[f"george_silhouette_y{label}"] <= 1.0
    worst = values(outcome, "val", "worst_cluster_accuracy")
    assert len(worst) == 3
    assert (worst <= values(outcome, "val", "accuracy")).all()
    assert outcome.kept_epoch == 1 + worst.argmax()
    assert outcome.kept_value == worst.max()
    assert values(outcome, "test", "worst_cluster_accuracy").size == 0
    assert outcome.images_trained == 3 * MIXED.n_train


def test_the_worst_cluster_is_the_one_of_lowest_accuracy() -> None:
    """Recomputed from the stored clusters and the scores of the last epoch."""
    dataset, kept = mixed(), Kept()
    outcome = fitted(dataset, george_config(), Hooks(shared_models=kept))
    ids = checkpoint.unpack(kept.results[repr(kept.made[-1])])["validation"].numpy()
    labels = dataset.labels[dataset.rows("val")]
    right = (outcome.last_scores["val"] > 0.5) == labels
    assert len(set(ids)) > 2
    expected = min(right[ids == cluster].mean() for cluster in set(ids))
    assert values(outcome, "val", "worst_cluster_accuracy")[-1] == pytest.approx(expected)


def test_the_first_model_and_the_clusters_are_stages() -> None:
    """One is ERM by the options' own training options, the other named by the trial's."""
    kept, config = Kept(), george_config()
    first = fitted(mixed(), config, Hooks(shared_models=kept))
    assert [stage.kind for stage in kept.made] == ["erm", KIND]
    assert kept.made[0].config.train.epochs == 2
    assert kept.made[1].config == config
    again = fitted(mixed(), config, Hooks(shared_models=kept))
    assert len(kept.made) == 2
    assert repr(again.rows) == repr(first.rows)
    assert weights(again) == weights(first)
    other = fitted(mixed(), george_config(step_size=5.0), Hooks(shared_models=kept))
    assert [stage.kind for stage in kept.made] == ["erm", KIND, KIND]
    assert diagnostics(other) == diagnostics(first)
    assert weights(other) != weights(first)


def test_stored_clusters_decide_the_groups() -> None:
    """They are taken as they are, and refused where they are of other images."""
    kept, config = Kept(), george_config()
    first = fitted(mixed(), config, Hooks(shared_models=kept))
    key = repr(kept.made[1])
    state = checkpoint.unpack(kept.results[key])
    labels = torch.from_numpy(mixed().labels[mixed().rows("train")].copy())
    state |= {"training": 1 - labels, "counts": torch.tensor([1, 1])}
    kept.results[key] = checkpoint.pack(state)
    swapped = fitted(mixed(), config, Hooks(shared_models=kept))
    assert diagnostics(swapped)["george_clusters_y0"] == 1.0
    assert weights(swapped) != weights(first)
    kept.results[key] = checkpoint.pack({**state, "training": labels[1:]})
    with pytest.raises(DataError, match="clusters are of other training images"):
        fitted(mixed(), config, Hooks(shared_models=kept))


def test_one_cluster_per_class_is_group_dro_on_classes() -> None:
    """The same bytes as with known groups that are the classes, of the same fresh model."""
    dataset = mixed()
    alike = replace(dataset, attributes=np.zeros_like(dataset.attributes))
    shared: dict[str, Any] = {"step_size": 0.5, "adjustment": 1.0, "draw": "groups"}
    george = fitted(alike, george_config(clusters=1, **shared))
    config = replace(george_config(), method_name="group-dro", method=GroupDro(**shared))
    known = fitted(alike, config)
    assert weights(george) == weights(known)
    assert values(george, "train", "loss").tolist() == values(known, "train", "loss").tolist()
    found = diagnostics(george)
    assert found["george_clusters_y0"] == found["george_clusters_y1"] == 1.0
    assert math.isnan(found["george_silhouette_y0"])


def test_pairs_are_every_negative_with_every_positive_cluster() -> None:
    """Three and two clusters make six groups; a class without clusters is refused."""
    found = pairs_of(np.array([3, 2]))
    assert found.tolist() == [[0, 3], [0, 4], [1, 3], [1, 4], [2, 3], [2, 4]]
    with pytest.raises(ConfigError, match="training images of both classes"):
        pairs_of(np.array([0, 2]))


def test_groups_can_be_pairs_of_clusters() -> None:
    """Other weights than with clusters, for the same clusters; with one pair it is plain ERM."""
    kept = Kept()
    clusters = fitted(mixed(), george_config(step_size=1.0), Hooks(shared_models=kept))
    pairs = fitted(mixed(), george_config(step_size=1.0, groups="pairs"), Hooks(shared_models=kept))
    assert diagnostics(pairs) == diagnostics(clusters)
    assert weights(pairs) != weights(clusters)
    alone = fitted(mixed(), george_config(clusters=1, groups="pairs", draw="natural"))
    erm = fitted(mixed(), fit_config("label", epochs=3))
    expected = values(erm, "train", "loss")
    assert values(alone, "train", "loss") == pytest.approx(expected, rel=1e-4)


def test_continuing_equals_never_stopping() -> None:
    """With the greedy rule's memory, and with the clusters stored or found again."""
    saved: list[bytes] = []
    kept = Kept()
    config = george_config(epochs=4, rule="greedy", keep="best val.auroc")
    whole = fitted(mixed(), config, Hooks(save=keeping(saved), shared_models=kept))
    assert len(saved) == 3
    for hooks in (Hooks(resume=saved[2], shared_models=kept), Hooks(resume=saved[2])):
        torch.manual_seed(3)
        continued = fitted(mixed(), config, hooks)
        assert continued.resumed_from_epoch == 3
        assert repr(continued.rows) == repr(whole.rows)
        assert weights(continued) == weights(whole)
    assert len(kept.made) == 2


def test_another_seed_has_other_clusters_and_numbers() -> None:
    """The same seed the same, whatever the global generators say."""
    np.random.seed(1)  # noqa: NPY002 (a fit may not read the global generators)
    first = fitted(mixed(), george_config())
    np.random.seed(2)  # noqa: NPY002
    assert repr(fitted(mixed(), george_config()).rows) == repr(first.rows)
    other = diagnostics(fitted(mixed(), george_config(seed=1)))
    assert other != diagnostics(first)


def test_clusters_find_the_block() -> None:
    """Where the first model sees the block best, clusters are the images with and without it."""
    plain = replace(
        MIXED,
        spurious_given_positive=0.8,
        spurious_given_negative=0.2,
        spurious_mean=-10.0,
        abnormality_mean=0.5,
        n_train=100,
    )
    dataset, kept = squares(plain), Kept()
    config = george_config(epochs=1, first_epochs=6, max_clusters=2)
    fitted(dataset, config, Hooks(shared_models=kept))
    ids = checkpoint.unpack(kept.results[repr(kept.made[-1])])["training"].numpy()
    train = dataset.rows("train")
    labels, block = dataset.labels[train], dataset.attributes[train][:, 0]
    for label in (0, 1):
        own = labels == label
        first = ids[own] == ids[own].min()
        agreement = (first == (block[own] == 1)).mean()
        assert max(agreement, 1.0 - agreement) > 0.9
