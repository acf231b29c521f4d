"""The sweeps that come with the project: each is read and planned, and does what it says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from shipped_sweeps import FILES, HALF_REAL, ISIC, SIIM_ACR, kinds, shipped

from spurious.config.method import FirstModelOptions
from spurious.config.methods import Jtt
from spurious.config.models import FcnResNet50, SmallUnet
from spurious.config.options import Train
from spurious.methods.first_model import first_config
from spurious.scoring.cost import Cost
from sweeps.plan.cell import Cell
from sweeps.plan.identity import generator_digest, trial_id
from sweeps.plan.plan import DatasetFacts, Plan, make_trial
from sweeps.plan.prices import cell_price
from sweeps.plan.searched import dimensions_of
from sweeps.spec.model import GeneratorDataset, Spec
from sweeps.spec.papers import find


@pytest.mark.parametrize("file", FILES)
def test_every_shipped_sweep_is_planned(file: str) -> None:
    """It has its file's name, cells with something to train, and trials with ids of their own."""
    spec, plan = shipped(Path(file).stem)
    assert f"{spec.name}.yaml" == file
    assert plan.cells
    assert plan.facts is not None
    facts = plan.facts
    trials = [make_trial(spec, cell, seed, facts) for cell in plan.cells for seed in spec.axes.seed]
    assert len({trial.id for trial in trials}) == len(trials)
    of = facts.digest, facts.training_images
    assert [trial.id for trial in trials] == [trial_id(trial.config, *of) for trial in trials]
    assert list(plan.trials) in ([], trials)
    for name in spec.published:
        assert find(name, spec.dataset.name) is not None


def test_the_synthetic_experiment_is_the_papers() -> None:
    """Section 3.3.2: data, model, 50 epochs of one batch, Adam at 0.001, five resolutions."""
    spec, plan = shipped("gaussian-squares-figure3")
    assert [str(cell) for cell in plan.cells] == [f"r={r} / all / erm" for r in (1, 2, 4, 20, 40)]
    assert len(plan.trials) == 15
    assert plan.skipped == ()
    assert isinstance(spec.dataset, GeneratorDataset)
    data = spec.dataset.options
    assert (data.n_train, data.image_size, data.prevalence) == (150, 40, 0.9)
    assert (data.abnormality_size, data.spurious_size) == (8, 12)
    assert (data.abnormality_mean, data.spurious_mean, data.noise_sd) == (2.0, -10.0, 1.0)
    assert (data.spurious_given_positive, data.spurious_given_negative) == (1.0, 0.0)
    assert spec.model_for(plan.cells[0].specificity, plan.cells[0].method) == (
        "fcn-resnet50",
        FcnResNet50(),
    )
    assert plan.trials[0].config.train == Train(
        epochs=50,
        batch_size=data.n_train,
        optimizer="adam",
        learning_rate=1e-3,
        precision="bfloat16",
        evaluate_every=5,
        score_test="candidates",
        keep="best val.loss",
    )


def test_the_companions_change_training_or_model_alone() -> None:
    """Same images and rules; more steps in one, more steps and another model in the other."""
    figure, _ = shipped("gaussian-squares-figure3")
    longer, plan = shipped("gaussian-squares-converged")
    other, full = shipped("gaussian-squares-small-unet")
    digests = {
        generator_digest(spec.dataset.name, spec.dataset.options)
        for spec in (figure, longer, other)
        if isinstance(spec.dataset, GeneratorDataset)
    }
    assert len(digests) == 1
    assert longer.model == figure.model
    assert other.model.segmenter == ("small-unet", SmallUnet(channels=16))
    assert other.model.readout == figure.model.readout
    assert (len(plan.trials), len(full.trials)) == (9, 15)
    assert {cell.specificity for cell in plan.cells} < {cell.specificity for cell in full.cells}
    of_figure = figure.train.base
    for spec, steps in ((longer, 400), (other, 600)):
        train = spec.train.base
        assert replace(train, epochs=50, batch_size=150, evaluate_every=5) == replace(
            of_figure, precision=train.precision
        )
        assert train.epochs * 150 // train.batch_size == steps
        assert spec.published == figure.published == ("saab2022/figure3", "saab2022/table2")
        assert spec.embeddings
        assert figure.embeddings


def test_table_1_has_the_papers_methods_and_hyper_parameters() -> None:
    """Appendix A: ERM at every specificity, JTT and GEORGE on labels, each trained its own way."""
    spec, plan = shipped("siim-acr-table1")
    assert kinds(plan) == {"erm": {"label", "box", "mask"}, "jtt": {"label"}, "george": {"label"}}
    assert len(plan.trials) == 15
    assert [reason for _, reason in plan.skipped] == [
        f"{method} takes label, not {kind}"
        for kind in ("box", "mask")
        for method in ("jtt", "george")
    ]
    trained = {
        (str(trial.cell.specificity), trial.cell.method.name): trial.config.train
        for trial in plan.trials
    }
    erm = Train(
        epochs=150,
        normalise="imagenet",
        keep="best val.auroc",
        learning_rate=1e-5,
        score_test="candidates",
    )
    assert trained["label", "erm"] == erm
    segmented = replace(erm, learning_rate=5e-4, augment="paper", keep="best val.dice")
    assert trained["box", "erm"] == trained["mask", "erm"] == segmented
    second = replace(erm, epochs=100, batch_size=32, optimizer="sgd", learning_rate=1e-4)
    assert trained["label", "jtt"] == replace(second, weight_decay=0.0)
    assert trained["label", "george"] == replace(
        second, weight_decay=1e-3, keep="best val.worst_cluster_accuracy"
    )
    firsts = {
        (first_config(trial.config, trial.config.method), trial.config.method.first_balance)
        for trial in plan.trials
        if isinstance(trial.config.method, FirstModelOptions) and trial.config.seed == 0
    }
    assert len(firsts) == 1  # one model for both methods
    [(first, balance)] = firsts
    assert (first.train.epochs, first.train.weight_decay, balance) == (30, 0.1, "classes")
    assert spec.published == ("saab2022/table1", "saab2022/table3")
    assert second.momentum == 0.9
    assert spec.resources.gpus == 1
    assert {trial.config.model_name for trial in plan.trials} == {"resnet50", "unet"}


def test_the_isic_rows_have_the_papers_hyper_parameters() -> None:
    """Appendix A.2 where ISIC differs from the films: first model, JTT, GEORGE, three classes."""
    spec, plan = shipped("isic-table1")
    films, of_films = shipped("siim-acr-table1")
    assert [str(cell.specificity) for cell in plan.cells] == [
        str(cell.specificity) for cell in of_films.cells
    ]
    assert (len(plan.trials), spec.published) == (15, films.published)
    assert (spec.model, spec.axes.seed) == (films.model, films.axes.seed)
    trained = {
        (str(trial.cell.specificity), trial.cell.method.name): trial.config
        for trial in plan.trials
        if trial.config.seed == 0
    }
    for trial in of_films.trials:
        key = (str(trial.cell.specificity), trial.cell.method.name)
        if key != ("label", "george"):
            assert trained[key].train == trial.config.train
    george = trained["label", "george"].train
    assert (george.optimizer, george.learning_rate, george.weight_decay) == ("sgd", 1e-5, 1e-5)
    assert (george.epochs, george.batch_size, george.momentum) == (100, 32, 0.9)
    assert trained["label", "george"].method.adjustment == 3
    assert {key: config.negatives for key, config in trained.items()} == {
        ("label", "erm"): "background",
        ("label", "jtt"): "background",
        ("label", "george"): "background",
        ("box", "erm"): "lesion",
        ("mask", "erm"): "lesion",
    }
    first = first_config(trained["label", "jtt"], trained["label", "jtt"].method).train
    assert (first.epochs, first.weight_decay, first.learning_rate) == (15, 0.1, 1e-4)


def test_a_lesion_costs_a_mask_whether_it_is_benign_or_not() -> None:
    """One on each of 1,563 images, 298 of them malignant."""
    for negatives, masks, labels in (("lesion", 1563, 0), ("background", 298, 1265)):
        spec, plan = shipped("isic-table1", negatives=negatives)
        [cell] = [cell for cell in plan.cells if cell.specificity.kind == "mask"]
        found = cell_price(spec, cell, ISIC)
        assert found is not None
        assert found.cost.training == pytest.approx((45 * masks + labels) / 36)


@pytest.mark.parametrize("name", ["siim-acr-table1", "isic-table1"])
def test_jtt_and_george_begin_with_one_model(name: str) -> None:
    """Their first stages are equal in everything, so that it is trained once per seed."""
    _, plan = shipped(name, axes__seed=[0])
    first = {
        trial.cell.method.name: first_config(trial.config, trial.cell.method.options)
        for trial in plan.trials
        if trial.cell.method.name != "erm"
    }
    assert first["jtt"] == first["george"]
    train = first["jtt"].train
    assert train.epochs == (15 if name == "isic-table1" else 30)
    assert (train.batch_size, train.optimizer) == (32, "sgd")
    assert (train.learning_rate, train.momentum, train.weight_decay) == (1e-4, 0.9, 0.1)
    [jtt] = [cell.method.options for cell in plan.cells if cell.method.name == "jtt"]
    assert isinstance(jtt, Jtt)
    assert jtt.upsample == "groups"


def test_table_4_crosses_budgets_with_similarity_losses() -> None:
    """ERM at all specificities, the two similarity losses where there are masks or boxes."""
    spec, plan = shipped("siim-acr-table4")
    assert kinds(plan) == {
        "erm": {"label", "box", "mask"},
        "ssl": {"box", "mask"},
        "spl": {"box", "mask"},
    }
    assert (len(plan.cells), len(plan.skipped), len(spec.axes.seed)) == (28, 8, 3)
    assert {reason for _, reason in plan.skipped} == {
        "ssl takes box, mask, r, not label",
        "spl takes box, mask, r, not label",
    }
    assert {cell.budget.images for cell in plan.cells} == {600, 1100, 2200, 4400}
    assert {cell.budget.balance for cell in plan.cells} == {"equal"}
    assert {spec.train_for(cell.specificity, cell.method).epochs for cell in plan.cells} == {150}
    assert spec.rest is None


@pytest.mark.parametrize("name", ["siim-acr-table4", "siim-acr-half-real-spl"])
def test_the_weight_of_the_similarity_is_searched_for_validation_dice(name: str) -> None:
    """As the paper did, in spl's cells alone; every other cell runs as it is."""
    spec, plan = shipped(name)
    assert spec.search is not None
    assert (spec.search.metric, spec.search.trials, spec.search_seeds) == (("val.dice",), 8, (0,))
    searched = {cell for cell in plan.cells if dimensions_of(spec.search, cell)}
    assert searched == {cell for cell in plan.cells if cell.method.name == "spl"}
    [weight] = spec.search.space
    assert (weight.name, weight.scale, weight.values) == ("spl.weight", "log", (1e-5, 1.0))


def test_half_real_searches_share_trials_with_the_other_sweeps() -> None:
    """Masks without the loss are the trials of `siim-acr-half-real`."""
    _, plan = shipped("siim-acr-half-real")
    spec, searching = shipped("siim-acr-half-real-spl")
    ids = {trial.id for trial in plan.trials}
    erm = [cell for cell in searching.cells if cell.method.name == "erm"]
    trials = [make_trial(spec, cell, seed, HALF_REAL).id for cell in erm for seed in (0, 1, 2)]
    assert len(trials) == 6
    assert set(trials) <= ids


def test_half_real_films_are_asked_the_questions_of_both_tables() -> None:
    """Table 1's methods and table 4's losses at its two smaller budgets; no trial is run twice."""
    spec, plan = shipped("siim-acr-half-real")
    other, losses = shipped("siim-acr-half-real-table4")
    assert kinds(plan) == kinds(shipped("siim-acr-table1")[1])
    assert kinds(losses) == {key: {"mask"} for key in ("erm", "ssl", "spl")}
    cells = (*plan.cells, *losses.cells)
    assert {(cell.budget.images, cell.budget.balance) for cell in cells} == {
        (600, "equal"), (1100, "equal"),
    }  # fmt: skip
    ids = [{trial.id: trial.cell for trial in each.trials} for each in (plan, losses)]
    assert (len(ids[0]), len(ids[1]), spec.axes.seed) == (30, 18, other.axes.seed)
    shared = [ids[0][trial] for trial in ids[0].keys() & ids[1].keys()]
    assert {(str(cell.specificity), cell.method.name) for cell in shared} == {("mask", "erm")}
    assert len(shared) == 6
    assert {trial.config.train.epochs for trial in plan.trials} == {30}
    firsts = {
        first_config(trial.config, trial.config.method)
        for trial in plan.trials
        if isinstance(trial.config.method, FirstModelOptions)
    }
    assert len(firsts) == 6  # jtt and george share one per seed and budget


def additional(spec: Spec, plan: Plan, facts: DatasetFacts, budget: str) -> dict[str, float]:
    """Dollars of training annotation by ERM's boxes and masks beyond those of its labels."""
    costs: dict[str, Cost] = {}
    for cell in plan.cells:
        if cell.method.name == "erm" and str(cell.budget) == budget:
            found = cell_price(spec, cell, facts)
            assert found is not None
            costs[str(cell.specificity)] = found.cost
    return {kind: costs[kind].training - costs["label"].training for kind in ("box", "mask")}


def test_ten_thousand_positives_cost_what_the_paper_says() -> None:
    """Section 4.1, one abnormality each: $280 more for boxes, $12,200 more for masks."""
    counts = {
        name: {"n": 45_000, "positives": 10_000, "abnormalities": 10_000}
        for name in ("train", "val", "test")
    }
    facts = replace(SIIM_ACR, counts=counts)
    spec, plan = shipped("siim-acr-table1")
    more = additional(spec, plan, facts, "all")
    assert more["box"] == pytest.approx(10_000 * 1 * 100 / 3600)
    assert more["mask"] == pytest.approx(10_000 * 44 * 100 / 3600)
    assert round(more["box"], -1) == 280
    assert round(more["mask"], -2) == 12_200


def test_a_budget_costs_by_its_positives() -> None:
    """Half of 600 images are positive, each abnormality 2 or 45 clicks where a label is 1."""
    spec, plan = shipped("siim-acr-table4")
    abnormalities = 390  # 2,906 on 2,236 positive images
    more = additional(spec, plan, SIIM_ACR, "600")
    assert more["box"] == pytest.approx((2 * abnormalities - 300) / 36)
    assert more["mask"] == pytest.approx((45 * abnormalities - 300) / 36)


def test_a_sweep_sets_measured_beside_published_cells() -> None:
    """Every number of tables 1 and 4 has a cell in the sweep that names it."""

    def covered(plan: Plan) -> set[tuple[str, str, str]]:
        return {_key(cell) for cell in plan.cells}

    names = ("siim-acr-table1", "siim-acr-table4", "isic-table1", "gaussian-squares-figure3")
    for name in names:
        spec, plan = shipped(name)
        for table_name in spec.published:
            table = find(table_name, spec.dataset.name)
            assert table is not None
            wanted = {
                (value.specificity, value.budget or "all", value.method or "erm")
                for value in table.values
            }
            assert wanted <= covered(plan)


def _key(cell: Cell) -> tuple[str, str, str]:
    return str(cell.specificity), str(cell.budget), cell.method.name
