"""The sweep of Hagos et al. 2023: its settings, and its numbers as the paper prints them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from shipped_sweeps import shipped

from spurious.config.models import MobileNetV2
from spurious.methods.first_model import first_config
from sweeps.spec.model import parse_override
from sweeps.spec.papers import tables

PAPER = Path(__file__).resolve().parents[4] / "shared" / "seeds" / "002_98a140eb276cffe1.txt"
SHA256 = "c" * 64


@pytest.mark.skipif(not PAPER.is_file(), reason="the paper is not beside us")
def test_the_numbers_are_as_printed() -> None:
    """Test accuracy as values; validation accuracy and Activation Precision in notes."""
    table = tables()["hagos2023/table1"]
    found = {str(value.method): value.mean for value in table.values}
    text = PAPER.read_text()
    precisions, val = [], {}
    for method, name in (("erm", "Unrefined"), ("exbl", "eXBL <sub>EUC</sub>")):
        [line] = re.findall(rf"^{name}\t(.*)$", text, re.MULTILINE)
        validation, test, *precision = [float(number) for number in line.split("\t")]
        assert found.pop(method) == test
        val[method] = validation
        precisions += precision
    assert not found
    assert {value.metric for value in table.values} == {"accuracy"}
    accuracy, precision = table.notes[:2]
    assert re.findall(r"0\.\d\d", accuracy) == [f"{val[method]:.2f}" for method in ("erm", "exbl")]
    assert [float(number) for number in re.findall(r"0\.\d\d", precision)] == precisions


def test_the_settings_are_the_papers() -> None:
    """MobileNetV2, 60 epochs of one model and 100 more from it, Adam at 1e-4, 3,200 films."""
    spec, plan = shipped("covid-exbl")
    assert [str(cell) for cell in plan.cells] == [
        "label / 3200 / erm",
        "label / 3200 / exbl(first_epochs=60)",
    ]
    configs = {trial.cell.method.name: trial.config for trial in plan.trials}
    for config in configs.values():
        assert (config.train.optimizer, config.train.learning_rate) == ("adam", 1e-4)
        assert config.train.keep == "best val.loss"
        assert config.model == MobileNetV2()
    unrefined, refined = configs["erm"], configs["exbl"]
    assert (unrefined.train.epochs, refined.train.epochs) == (60, 100)
    options: Any = refined.method
    assert (options.margin, options.distance, options.hinge) == (1.0, "euclidean", "formula")
    assert options.average == "sum"
    first = first_config(refined, options).train
    assert (first.epochs, first.learning_rate, first.batch_size) == (60, 1e-4, 32)
    assert spec.published == ("hagos2023/table1",)


def test_the_papers_weights_and_frozen_layers_are_overrides() -> None:
    """As the file says; without weights nothing can be frozen."""
    text = (f"model.classifier.weights={SHA256}", "model.classifier.frozen=50")
    _, plan = shipped("covid-exbl", **dict(parse_override(one) for one in text))
    assert {trial.config.model for trial in plan.trials} == {MobileNetV2(weights=SHA256, frozen=50)}
