"""A whole trial beside a bare training loop that evaluates nothing: `make bench`.

A trial builds its model, trains, scores 1,000 images of validation and 1,000 of test as its options
say, and measures what was kept. Its share is the time of a bare PyTorch loop over the same images,
batches and epochs, over its own. Nothing is augmented, so that training is as cheap as it gets.
Both take turns, in CPU time with one torch thread, so that other processes do not count; a share is
the median over the turns.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from training_speed import Setting, bare

from spurious.config.datasets import GaussianSquares
from spurious.config.methods import Erm
from spurious.config.models import Aggregation, SmallCnn, SmallUnet
from spurious.config.options import Budget, FitConfig, Specificity, Train
from spurious.data.dataset import Dataset
from spurious.data.masks import PackedMasks
from spurious.fit import Machine, annotated_rows, fit
from spurious.generators.gaussian_squares import GaussianSquaresSource
from spurious.training.loop import Hooks
from sweeps.spec.model import load_spec

SIDE, BATCH = 32, 16
EPOCHS = {600: 10, 40: 20}
"""By budget."""
GOAL = 0.6
"""Of budget 600 at the shipped settings."""
SHIPPED = Path(__file__).parents[2] / "sweeps" / "specs" / "siim-acr-table4.yaml"


def settings() -> dict[str, dict[str, Any]]:
    """When images are scored: as a shipped sweep of budget 600 says, and more often."""
    shipped = load_spec(SHIPPED).train.base
    every, tests = shipped.evaluate_every, shipped.score_test
    return {
        f"shipped: every {every} epochs, {tests}": {"evaluate_every": every, "score_test": tests},
        "every epoch, candidates": {"evaluate_every": 1, "score_test": "candidates"},
        "every epoch, test as well": {"evaluate_every": 1, "score_test": "every"},
    }


def data() -> Dataset:
    """Grey images with a spurious attribute, one byte a pixel as films are staged."""
    options = GaussianSquares(
        image_size=SIDE,
        abnormality_size=SIDE // 5,
        spurious_size=SIDE // 4,
        prevalence=0.5,
        spurious_given_positive=0.9,
        spurious_given_negative=0.1,
        n_train=max(EPOCHS) * 2,
        n_val=1000,
        n_test=1000,
    )
    source = GaussianSquaresSource(options)
    records = [source.load(sample_id) for sample_id in source.index()]
    pixels = np.stack([record.image for record in records])
    [name] = records[0].attributes
    return Dataset(
        images=(np.clip((pixels + 13.0) / 26.0, 0.0, 1.0) * 255).astype(np.uint8),
        masks=PackedMasks.pack(record.mask for record in records),
        labels=np.array([record.label for record in records]),
        attributes=np.array([[record.attributes[name]] for record in records], np.int8),
        splits=np.array([record.split for record in records]),
        sample_ids=np.array([record.sample_id for record in records]),
        patient_ids=np.array([record.patient_id for record in records]),
        abnormalities=np.array([record.abnormalities for record in records]),
        attribute_names=(name,),
        directions=(1,),
        digest="0" * 64,
    )


def config_of(model: str, budget: int) -> FitConfig:
    """ERM on labels or masks."""
    is_label = model == "small-cnn"
    return FitConfig(
        specificity=Specificity("label" if is_label else "mask"),
        budget=Budget(budget),
        method_name="erm",
        method=Erm(),
        model_name=model,
        model=SmallCnn() if is_label else SmallUnet(),
        readout=None if is_label else Aggregation(),
        train=Train(epochs=EPOCHS[budget], batch_size=BATCH, keep="best val.auroc"),
        seed=0,
    )


def whole(dataset: Dataset, config: FitConfig) -> int:
    """Run a trial; return at how many epochs test images were scored."""
    fitted = fit(dataset, config, Machine(), Hooks(), lambda digest: {})
    return sum((row.split, row.metric) == ("test", "loss") for row in fitted.rows)


def of_training(dataset: Dataset, config: FitConfig) -> Dataset:
    """The annotated images alone, converted once, for the bare loop."""
    rows = annotated_rows(dataset, config)
    names = ("images", "labels", "attributes", "splits", "sample_ids", "patient_ids")
    masks = PackedMasks.pack(dataset.masks[rows])
    parts = {name: getattr(dataset, name)[rows] for name in (*names, "abnormalities")}
    parts["images"] = ((parts["images"] / 255 - 0.5) / 0.25).astype(np.float32)
    return replace(dataset, masks=masks, **parts)


def seconds_of(run: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds, and what it gave."""
    began = time.process_time()
    found = run()
    return time.process_time() - began, found


def main() -> None:
    """Print a line for each model, budget and setting."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["small-cnn", "small-unet"])
    parser.add_argument("--turns", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    dataset = data()
    print("| model | budget | scored | on test | of a bare loop | goal |")
    print("| --- | --: | --- | --: | --: | --: |")
    for model in options.models:
        for budget, epochs in EPOCHS.items():
            config = config_of(model, budget)
            setting = Setting(model, budget, SIDE, BATCH, "float32", "cpu")
            epoch = bare(setting, of_training(dataset, config))
            shares: dict[str, list[float]] = {name: [] for name in settings()}
            tests: dict[str, int] = {}
            epoch()  # the first one warms up
            for _ in range(options.turns):
                plain, _ = seconds_of(lambda: [epoch() for _ in range(epochs)])  # noqa: B023
                for name, changes in settings().items():
                    changed = replace(config, train=replace(config.train, **changes))
                    took, tests[name] = seconds_of(lambda: whole(dataset, changed))  # noqa: B023
                    shares[name].append(plain / took)
            for at, (name, found) in enumerate(shares.items()):
                goal = GOAL if budget == max(EPOCHS) and at == 0 else ""
                share = statistics.median(found)
                print(
                    f"| {model} | {budget} | {name} | {tests[name]} of {epochs} | {share:.2f} "
                    f"| {goal} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
