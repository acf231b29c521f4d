"""Whether a rule can choose an epoch: refused before training, or where nothing was chosen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from small_data import copy_array, fit_config, fitted, squares, with_arrays

from spurious.config.methods import Cnc, Dfr, George, Jtt
from spurious.data.attributes import GroupCounts
from spurious.errors import ConfigError
from spurious.scoring.choices import SplitFacts, find_obstacle
from spurious.scoring.selection import parse_rule
from spurious.training.loop import Loop

FULL = GroupCounts(3, 2, 2, 3, 0, 0)
NO_CONTRADICTION = GroupCounts(5, 0, 2, 3, 0, 0)
AGAINST = GroupCounts(0, 5, 2, 3, 0, 0)


def facts(**changes: object) -> SplitFacts:
    """A split of five images of each class, every group present."""
    whole = SplitFacts(10, 5, 5, {"tube": FULL}, {"tube": 1})
    return replace(whole, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("metric", ["auroc", "robust_auroc", "loss", "accuracy", "dice"])
@pytest.mark.parametrize(("positives", "words"), [(0, "0 abnormal and 10"), (10, "10 abnormal")])
def test_one_class_judges_nothing(metric: str, positives: int, words: str) -> None:
    """Whichever class, and whichever metric; `last` needs no choice."""
    assert find_obstacle(parse_rule(f"best val.{metric}"), facts()) is None
    assert words in str(find_obstacle(parse_rule(f"best val.{metric}"), facts(positives=positives)))
    assert find_obstacle(parse_rule("last"), facts(positives=positives)) is None


@pytest.mark.parametrize(
    ("metric", "changes", "words"),
    [
        ("dice", {"drawn": 0}, "no mask is drawn on the validation split"),
        ("robust_auroc", {"groups": {"tube": NO_CONTRADICTION}}, "groups of tube (y=0 s=1)"),
        ("robust_auroc", {"groups": {}}, "no spurious attribute"),
        ("worst_group_accuracy", {"groups": {"tube": AGAINST}}, "groups of tube (y=0 s=0)"),
        ("worst_group_accuracy", {"groups": {"a": FULL, "b": AGAINST}}, "of b (y=0 s=0)"),
        ("auroc", {"drawn": 0, "groups": {"tube": AGAINST}}, None),
        ("robust_auroc", {"groups": {"tube": AGAINST}}, None),  # it goes with the label
        ("robust_auroc", {"groups": {"a": FULL, "b": NO_CONTRADICTION}}, None),  # others decide
    ],
)
def test_what_a_metric_reads_must_be_there(
    metric: str, changes: dict[str, object], words: str | None
) -> None:
    """Drawn masks for Dice, the compared groups for metrics of groups; nothing else."""
    obstacle = find_obstacle(parse_rule(f"best val.{metric}"), facts(**changes))
    assert (words is None) == (obstacle is None)
    assert words is None or words in str(obstacle)


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training would fail the test."""

    def fail(*_: object) -> None:
        raise AssertionError("trained")

    monkeypatch.setattr(Loop, "run", fail)


@pytest.mark.usefixtures("torch_settings", "untrained")
def test_a_trial_refuses_before_it_trains() -> None:
    """Its own rule, and the one of a first model where the method reads what that chose."""
    dataset = squares()
    labels = copy_array(dataset, "labels")
    labels[dataset.rows("val")] = 1
    one_class = with_arrays(dataset, labels=labels)
    config = fit_config("label", keep="best val.auroc")
    message = r"train.keep: 'best val.auroc' cannot .* use train.keep: last"
    with pytest.raises(ConfigError, match=message):
        fitted(one_class, config)
    last = fit_config("label", keep="last")
    for name, method in (("george", George()), ("cnc", Cnc()), ("dfr", Dfr())):
        with pytest.raises(ConfigError, match=r"first_keep: .* use first_keep: last"):
            fitted(one_class, replace(last, method_name=name, method=method))
    with pytest.raises(AssertionError, match="trained"):  # it reads the last epoch's errors
        fitted(one_class, replace(last, method_name="jtt", method=Jtt()))


@pytest.mark.usefixtures("torch_settings")
def test_a_choice_that_the_counts_allowed_may_still_be_undefined() -> None:
    """Several attributes: no image that most of them contradict, which no count tells."""
    dataset = squares()
    attributes = np.stack([dataset.labels, 1 - dataset.labels], axis=1).astype(np.int8)
    two = replace(
        dataset,
        attributes=attributes,
        attribute_names=("first", "second"),
        directions=(1, 1),
    )
    with pytest.raises(ConfigError, match=r"undefined in all of them; use 'last'"):
        fitted(two, fit_config("label", epochs=2, keep="best val.robust_auroc"))


@pytest.mark.usefixtures("torch_settings")
def test_the_remedy_trains() -> None:
    """`last` on the dataset that no rule can choose by."""
    dataset = squares()
    labels = copy_array(dataset, "labels")
    labels[dataset.rows("val")] = 1
    outcome = fitted(
        with_arrays(dataset, labels=labels), fit_config("label", epochs=2, keep="last")
    )
    assert outcome.kept_epoch == 2
