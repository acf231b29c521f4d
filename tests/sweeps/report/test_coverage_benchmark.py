"""`make bench-coverage` fails where an interval covers too little; its rules by hand."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from sweeps.report.inference.attainment import attainment

FOLDER = Path(__file__).parents[2] / "benchmarks"


def load(name: str) -> ModuleType:
    """A benchmark as a module."""
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    """The benchmark of intervals and frontiers."""
    return load("interval_coverage")


def test_the_settings_are_the_44(bench: ModuleType) -> None:
    """Each once, and the two kinds of weak corner among them."""
    assert len(set(bench.SETTINGS)) == len(bench.SETTINGS) == 44
    assert sum(setting.weak for setting in bench.SETTINGS) == 8 + 5


def test_intervals_that_are_too_narrow_break_the_rules(
    bench: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As they are all hold; half as wide, cells break theirs, and so does a lack of settings."""
    monkeypatch.setattr(bench, "SETTINGS", bench.SETTINGS[14:15])
    assert [rule for rule in bench.check_coverage(400) if "fewer than 30" not in rule] == []
    limits = bench.logit_limits
    monkeypatch.setattr(bench, "logit_limits", lambda mean, se, df: limits(mean, se / 2, df))
    broken = bench.check_coverage(400)
    assert broken[0].startswith("cells of     5")
    assert sum("fewer than 30" in rule for rule in broken) == 2


def test_calibration_counts_deciles_and_certain_errors(bench: ModuleType) -> None:
    """Ten cases by hand: one said to be certain comes out otherwise."""
    said = np.array([0.999, 1.0, 0.55, 0.52, 0.0, 0.001, 0.004, 0.3, 0.31, 0.35])
    came = np.array([True, False, True, False, False, False, False, False, True, False])
    rows, brier, wrong = bench.calibration(said, came)
    assert [n for n, _, _ in rows] == [3, 0, 0, 3, 0, 2, 0, 0, 0, 2]
    assert rows[9][1:] == (pytest.approx(0.9995), 0.5)
    assert wrong == pytest.approx(0.1)
    assert brier == pytest.approx(np.mean((said - came) ** 2))


def test_bands_that_are_too_narrow_break_the_rules(
    bench: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bands without width never hold the truth; of every sum one cell is the best."""
    bands = load("attainment_coverage")
    monkeypatch.setattr(bands, "PRIORS", bench.PRIORS[:1])
    highest, reached, said, came = bands.attained_cases(
        bench.PRIORS[0], 3, 40, np.random.default_rng(0)
    )
    assert reached.shape == (*highest.shape, 3) == (40, bench.FRONTIER_CELLS, 3)
    assert (np.diff(highest, axis=1) >= 0).all()
    np.testing.assert_allclose(said.sum(axis=1), 5.0)  # one best cell for each of five sums
    np.testing.assert_array_equal(came.sum(axis=1), 5)

    def narrow() -> list[str]:
        return [rule.partition(",")[0] for rule in bands.check(60) if "band covers" in rule]

    assert narrow() == []

    def without_width(*arguments: Any) -> Any:
        of = attainment(*arguments)
        return replace(of, low=of.median, high=of.median)

    monkeypatch.setattr(bands, "attainment", without_width)
    assert narrow() == ["3 seeds", "5 seeds"]
