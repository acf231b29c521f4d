"""Sweeps of Viviano et al.: every row of their tables is in one, with the paper's settings."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from shipped_sweeps import shipped

from spurious.config.models import FourBlock, ResNet18SmallStem
from spurious.config.options import Train, WeakLabels
from sweeps.plan.plan import Plan
from sweeps.spec.model import parse_override
from sweeps.spec.papers import find, tables

RESNET = ("resnet18-small-stem", ResNet18SmallStem())
TABLE_1 = {
    "crosses-table1-cnn": ("table1-cnn", ("four-block", FourBlock(channels=16))),
    "crosses-table1-resnet": ("table1-resnet", RESNET),
    "crosses-table1-autoencoder": (
        "table1-autoencoder",
        ("four-block", FourBlock(channels=16, decoder="autoencoder")),
    ),
    "crosses-table1": ("table1-unet", ("four-block", FourBlock(channels=16, decoder="unet"))),
}
LONG = Train(epochs=500, batch_size=32, learning_rate=1e-4, keep="last", evaluate_every=10)


def rows(plan: Plan) -> set[tuple[str, str, str]]:
    """Specificity, budget and method of what is trained."""
    return {(str(c.specificity), str(c.budget), c.method.name) for c in plan.cells}


def published(name: str, dataset: str) -> set[tuple[str, str, str]]:
    """The same of what a paper prints; where it says no budget, `all`."""
    table = find(name, dataset)
    assert table is not None
    return {(v.specificity, v.budget or "all", str(v.method)) for v in table.values}


def _check_form_of_code(options: Any, compared: str) -> None:
    """Its ReLU overwrites what actdiff compares, in all models but the ResNet."""
    assert getattr(options, "norm", "channel") == "channel"
    assert getattr(options, "compared", compared) == compared
    assert getattr(options, "size", "l1") == "l1"


@pytest.mark.parametrize("name", TABLE_1)
def test_table_1_is_four_sweeps(name: str) -> None:
    """The cells of each are the rows of its model and no others, with weights of 10 everywhere."""
    table, model = TABLE_1[name]
    spec, plan = shipped(name)
    assert rows(plan) == published(f"viviano2019/{table}", "crosses")
    assert spec.model.classifier == model
    assert spec.published == (f"viviano2019/{table}", f"viviano2019/{table.replace('1', '2')}")
    assert len(plan.trials) == 5 * len(plan.cells)
    has_decoder = getattr(model[1], "decoder", "none") != "none"
    for trial in plan.trials:
        options = trial.config.method
        assert trial.config.train == LONG
        assert trial.config.model == model[1]
        for weight in ("weight", "gradient_weight"):
            assert getattr(options, weight, 10.0) == 10.0
        if getattr(options, "steers", False):
            assert options.radius == 2
            assert trial.config.negatives == "lesion"
        if trial.cell.method.name not in ("erm", "reconstruct", "reconstruct-masked"):
            assert options.reconstruct == (10.0 if has_decoder else 0.0)
        if has_decoder:
            assert options.reconstruction == "cross_entropy"
        _check_form_of_code(options, "before_relu" if name.endswith("resnet") else "after_relu")


def test_all_rows_of_table_1_are_in_these_sweeps() -> None:
    """Twenty-two of them."""
    assert sum(len(shipped(name)[1].cells) for name in TABLE_1) == 22
    of_paper = [n for n in tables() if n.startswith("viviano2019/table1-")]
    assert sorted(of_paper) == sorted(f"viviano2019/{table}" for table, _ in TABLE_1.values())


def test_a_cpu_has_three_rows_at_the_next_papers_length() -> None:
    """The same trials as the long sweep's but for epochs, seeds and evaluations."""
    spec, plan = shipped("crosses-table1-resnet-short")
    _, whole = shipped("crosses-table1-resnet")
    assert [str(cell) for cell in plan.cells] == [
        "label / 500 / erm", "mask / 500 / actdiff(norm=channel)", "mask / 500 / gradmask(size=l1)",
    ]  # fmt: skip
    assert (spec.axes.seed, spec.resources.gpus) == ((0, 1, 2), 0.0)
    long = {trial.label: trial.config for trial in whole.trials}
    for trial in plan.trials:
        train = replace(trial.config.train, epochs=500, evaluate_every=10)
        assert replace(trial.config, train=train) == long[trial.label]
        assert trial.config.train.epochs == 100


def test_the_synthetic_data_of_2021_has_its_codes_forms() -> None:
    """Pooled features without a weight, absolute values, and the tuned settings by method."""
    spec, plan = shipped("crosses-2021")
    printed = find("viviano2021/synthetic", "crosses")
    assert printed is not None
    assert rows(plan) == {(v.specificity, "500", str(v.method)) for v in printed.values}
    by_method = {trial.cell.method.name: trial.config for trial in plan.trials}
    rates = {name: config.train.learning_rate for name, config in by_method.items()}
    assert rates == {
        "erm": 3.11e-4, "actdiff": 3.11e-4, "classify-masked": 3.11e-4,
        "adversarial": 3.71e-4, "gradmask": 1e-2, "rrr": 1e-5,
    }  # fmt: skip
    of_all = {(c.train.epochs, c.train.batch_size, c.train.keep) for c in by_method.values()}
    assert of_all == {(100, 16, "best val.loss")}
    actdiff: Any = by_method["actdiff"].method
    gradmask: Any = by_method["gradmask"].method
    rrr: Any = by_method["rrr"].method
    assert (actdiff.layers, actdiff.weight) == ("last", 1.0)
    assert (gradmask.size, gradmask.weight, gradmask.blur) == ("l1", 0.203, 1.0)
    assert rrr.weight == 10 * spec.train.base.batch_size


def test_every_mask_fraction_trains_on_all_labels() -> None:
    """20 to 100 % of 500 masks, and the other training images with their labels."""
    spec, plan = shipped("crosses-mask-fraction")
    assert [cell.budget.images for cell in plan.cells] == [100, 200, 300, 400, 500]
    assert {trial.config.rest for trial in plan.trials} == {WeakLabels()}
    assert spec.axes.seed == (0, 1, 2)
    _, whole = shipped("crosses-table1")
    [like] = [
        trial.config
        for trial in whole.trials
        if trial.cell.method.name == "actdiff" and trial.config.seed == 0
    ]
    for trial in plan.trials:
        changed = replace(trial.config, rest=None, seed=0, budget=like.budget, train=like.train)
        assert changed == like
        assert trial.config.train == replace(LONG, keep="best val.accuracy", evaluate_every=5)


MSD = {
    "msd-table2": (RESNET, ("msd-liver", "msd-pancreas"), 1e-4, 12),
    "msd-table2-cardiac": (RESNET, ("msd-cardiac",), 4e-3, 10),
    "msd-table2-unet": (
        ("four-block", FourBlock(channels=64, decoder="unet")),
        ("msd-liver", "msd-pancreas"), 1e-4, 12,
    ),
    "msd-table2-unet-cardiac": (
        ("four-block", FourBlock(channels=64, decoder="unet")), ("msd-cardiac",), 4e-3, 10,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MSD)
def test_table_2_is_swept_on_the_decathlon(name: str) -> None:
    """Every row of a model on its tasks, weights of 1, masks dilated as blur at full size is."""
    model, datasets, rate, radius = MSD[name]
    spec, plan = shipped(name)
    assert spec.model.classifier == model
    assert spec.dataset.name == datasets[0]
    for dataset in datasets:
        [table] = spec.published
        assert rows(plan) == published(table, dataset)
    for trial in plan.trials:
        options, train = trial.config.method, trial.config.train
        assert (train.epochs, train.batch_size, train.learning_rate) == (500, 32, rate)
        assert train.keep == "best val.accuracy"
        assert {getattr(options, n, 1.0) for n in ("weight", "gradient_weight")} == {1.0}
        if getattr(options, "steers", False):
            assert options.radius == radius
            assert getattr(options, "reconstruct", 1.0) == (1.0 if "unet" in name else 0.0)
        _check_form_of_code(options, "after_relu" if "unet" in name else "before_relu")


@pytest.mark.parametrize(
    ("name", "model", "table"),
    [
        ("msd-table2", "{name: four-block, channels: 64}", "table2-cnn"),
        ("msd-table2-unet", "{name: four-block, channels: 64, decoder: autoencoder}",
         "table2-autoencoder"),
    ],
)  # fmt: skip
def test_other_models_of_table_2_are_overrides(name: str, model: str, table: str) -> None:
    """As the files say: the same rows, set beside the other model's numbers."""
    override = dict([parse_override(f"model.classifier={model}")])
    spec, plan = shipped(name, published=f"viviano2019/{table}", **override)
    assert spec.model.classifier[0] == "four-block"
    assert rows(plan) == published(f"viviano2019/{table}", "msd-liver")


def test_two_sites_have_the_methods_of_2021() -> None:
    """A circle on films of both labels, all films, and the forms of the code of 2021."""
    spec, plan = shipped("two-site-cxr")
    assert rows(plan) == published("viviano2021/two-sites", "two-site-cxr")
    assert spec.model.classifier == RESNET
    methods: dict[str, Any] = {t.cell.method.name: t.config.method for t in plan.trials}
    assert methods["actdiff"].layers == "last"
    assert methods["gradmask"].size == "l1"
    assert {m.radius for m in methods.values() if m.steers} == {0}
    assert {t.config.negatives for t in plan.trials if t.cell.method.name != "erm"} == {"lesion"}
    for name in ("two-site-emphysema", "two-site-emphysema-even"):
        assert published("viviano2019/figure5", name) == {("label", "all", "erm")}
