"""What every method promises, at every supervision it takes: it trains, resumes and is priced."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from contract_values import METHOD_VALUES
from exported_models import assert_scores_again
from method_sweeps import Sweep, assert_resumes, group_by_model, method_list, run_sweep
from small_data import values
from tiny_sweeps import stage_here

from spurious.config import methods

EPOCHS, BUDGET, VAL = 3, 30, 40
TEXT = """
name: contract
dataset: {name: gaussian-squares, image_size: 16, abnormality_size: 4, spurious_size: 5,
          prevalence: 0.5, spurious_given_positive: 0.7, spurious_given_negative: 0.3,
          abnormality_mean: 4.0, n_train: 40, n_val: %d, n_test: 20}
axes: {specificity: [label, box, mask, {r: 4}], budget: [%d], method: %s, seed: [0]}
model: {classifier: %s,
        segmenter: {name: small-unet, channels: 4, levels: 1}}
train: {epochs: %d, batch_size: 10, learning_rate: 0.01, augment: flip}
checkpoint: {every_epochs: 1}
keep: model
"""
CASES = [(name, kind) for name, options in methods.METHODS.items() for kind in options.takes]


@pytest.fixture(scope="module")
def sweeps(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Sweep]]:
    """By method, the sweep that it is in; settings of torch are put back."""
    threads = torch.get_num_threads()
    found: dict[str, Sweep] = {}
    for classifier, names in group_by_model(list(methods.METHODS)).items():
        text = TEXT % (VAL, BUDGET, method_list(names), classifier, EPOCHS)
        swept = run_sweep(tmp_path_factory.mktemp("methods"), text, stage_here)
        found |= dict.fromkeys(names, swept)
    yield found
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)


class TestMethod:
    """One method; at every supervision it takes, or at the first one."""

    @pytest.mark.parametrize(("name", "kind"), CASES)
    def test_trains(self, sweeps: Mapping[str, Sweep], name: str, kind: str) -> None:
        """Its weights have moved, its loss has fallen, and its score is defined."""
        trained = sweeps[name].of(name, kind)
        assert np.isfinite(values(trained.fit, "test", "auroc")).all()
        kept = trained.fit.kept_state
        assert [key for key, value in trained.start.items() if torch.equal(kept[key], value)] == []
        if METHOD_VALUES[name].learns_from == "val":
            assert trained.val_loss[1] < trained.val_loss[0]
            return
        losses = values(trained.fit, "train", "loss")
        assert len(losses) == EPOCHS
        assert losses[-1] < losses[0]

    @pytest.mark.parametrize("name", methods.METHODS)
    def test_resumes(self, sweeps: Mapping[str, Sweep], name: str, tmp_path: Path) -> None:
        """Killed after epoch 1 of each of its stages, it continues there, bit for bit."""
        sweep = sweeps[name]
        assert_resumes(sweep, sweep.trials[name, methods.METHODS[name].takes[0]], tmp_path)

    @pytest.mark.parametrize(("name", "kind"), CASES)
    def test_its_exported_model_scores_as_the_trial_did(
        self, sweeps: Mapping[str, Sweep], name: str, kind: str
    ) -> None:
        """Built from its file alone, it gives the trial's stored predictions, bit for bit."""
        sweep = sweeps[name]
        assert_scores_again(sweep.spec, sweep.trials[name, kind], sweep.store, sweep.cache)

    @pytest.mark.parametrize(("name", "kind"), CASES)
    def test_is_priced_and_reported(
        self, sweeps: Mapping[str, Sweep], name: str, kind: str
    ) -> None:
        """The report has its row, whose dollars are those of its annotations by hand."""
        sweep = sweeps[name]
        cell = sweep.trials[name, kind].cell
        of = (str(cell.specificity), str(cell.budget), str(cell.method))
        [row] = [
            row for row in sweep.cells if (row["specificity"], row["budget"], row["method"]) == of
        ]
        assert row["seeds_done"] == 1
        per_abnormality = {"label": 1, "box": 2, "mask": 45, "r": 2}[kind]
        clicks = BUDGET // 2 * (per_abnormality + 1)  # one on each positive image, else a label
        options = cell.method.options
        if options.trains_on_validation:
            clicks += VAL // 2 * (per_abnormality + 1)
        clicks += {None: 0, "train": BUDGET, "val": VAL}[options.spurious_labels]
        clicks += METHOD_VALUES[name].further_clicks.get(kind, 0)
        bought = row["training_dollars"] + row["spurious_label_dollars"]
        assert bought == pytest.approx(clicks * 100 / 3600)
        assert row["dollars_mean"] == pytest.approx(bought + row["validation_dollars"])
