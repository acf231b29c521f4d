"""Rules that choose an epoch."""

from __future__ import annotations

import math

import pytest

from spurious.errors import ConfigError
from spurious.scoring.selection import SELECTABLE, parse_rule, select_epoch

NAN = math.nan


def rows(metric: str, *values: float) -> list[dict[str, float]]:
    """Evaluated epochs 2, 4, 6 ... with one metric."""
    return [{"epoch": 2 * (i + 1), metric: value} for i, value in enumerate(values)]


@pytest.mark.parametrize(
    ("rule", "values", "expected"),
    [
        ("best val.auroc", (0.5, 0.9, 0.9, 0.7), 4),  # the first epoch attaining the maximum
        ("best val.auroc", (NAN, 0.0, NAN, 0.1, 0.1), 8),
        ("best val.dice", (0.0,), 2),
        ("best val.loss", (0.7, 0.2, 0.2, 0.3), 4),
        ("best val.loss", (math.inf, NAN, 3.0), 6),
        ("best test.robust_auroc", (0.1, 0.2, 0.1), 4),
        ("best val.auroc", (NAN, NAN), None),
        ("best val.auroc", (), None),
        ("last", (0.9, 0.1), 4),
        ("last", (NAN,), 2),
        ("last", (), None),
    ],
)
def test_chosen_epoch(rule: str, values: tuple[float, ...], expected: int | None) -> None:
    """Strictly better wins, losses are minimised, NaN is never chosen, and `last` is the last."""
    metric = rule.removeprefix("best ") if rule != "last" else "val.auroc"
    assert select_epoch(parse_rule(rule), rows(metric, *values)) == expected


def test_an_absent_metric_is_undefined() -> None:
    """Classifiers have no Dice: no epoch is chosen by it."""
    assert select_epoch(parse_rule("best val.dice"), rows("val.auroc", 0.5)) is None


def test_splits_and_metrics_are_not_mixed_up() -> None:
    """Each rule reads its own column only."""
    table = [
        {"epoch": 1.0, "val.auroc": 0.1, "test.auroc": 0.9, "val.loss": 0.5},
        {"epoch": 2.0, "val.auroc": 0.2, "test.auroc": 0.8, "val.loss": 0.6},
    ]
    assert select_epoch(parse_rule("best val.auroc"), table) == 2
    assert select_epoch(parse_rule("best test.auroc"), table) == 1
    assert select_epoch(parse_rule("best val.loss"), table) == 1


def test_oracles_and_spurious_labels() -> None:
    """A rule that reads test is an oracle; one on robust AUROC needs spurious labels."""
    assert parse_rule("best test.auroc").oracle
    assert not parse_rule("best val.robust_auroc").oracle
    assert not parse_rule("last").oracle
    assert parse_rule("best val.robust_auroc").needs_spurious_labels
    assert not parse_rule("best val.auroc").needs_spurious_labels
    assert not parse_rule("last").needs_spurious_labels


@pytest.mark.parametrize("split", ["val", "test"])
@pytest.mark.parametrize("metric", SELECTABLE)
def test_a_rule_prints_as_it_is_written(split: str, metric: str) -> None:
    """Rules are stored as text and parsed again."""
    text = f"best {split}.{metric}"
    assert str(parse_rule(text)) == text
    assert str(parse_rule("last")) == "last"


@pytest.mark.parametrize(
    "text",
    ["", "best", "first", "best auroc", "best train.auroc", "best val.precision", "best val.auroc ",
     "Best val.auroc", "last val.auroc", "best val.robust_auroc.tube", "auto", "best val.auroc\n"],
)  # fmt: skip
def test_bad_rules_are_refused(text: str) -> None:
    """The message gives what was written and what is allowed."""
    with pytest.raises(ConfigError, match=r"best SPLIT\.METRIC") as caught:
        parse_rule(text)
    assert repr(text)[1:-1] in str(caught.value) or text in str(caught.value)
    assert "robust_auroc" in str(caught.value)
