"""What a sweep will do, told before anything runs and wherever the store is."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from tiny_sweeps import FACTS, FILMS, TEXT

from cluster.datasets.manifest import Attribute, Manifest, SplitCounts
from cluster.stores.folder import FolderStore
from spurious.data.attributes import GroupCounts
from spurious.scoring.cost import Cost
from sweeps.errors import PlanError
from sweeps.plan.cell import Cell
from sweeps.plan.facts import facts_of, generator_facts, plan_on
from sweeps.plan.identity import trial_id
from sweeps.plan.plan import DatasetFacts, fit_config, make_plan
from sweeps.plan.prices import cell_price
from sweeps.plan.render import as_dict, as_text
from sweeps.spec.model import GeneratorDataset, Spec, parse_spec
from sweeps.spec.stored import weights_key, weights_record_key


def test_a_plan_has_a_trial_per_cell_and_seed() -> None:
    """Cells in the order of the spec, a trial per seed with the id that its result will have."""
    spec = parse_spec(FILMS)
    plan = make_plan(spec, FACTS)
    assert [str(cell) for cell in plan.cells] == ["label / 20 / erm", "mask / 20 / erm"]
    assert [trial.label for trial in plan.trials] == [
        *("label-20-erm-s0", "label-20-erm-s1", "mask-20-erm-s0", "mask-20-erm-s1")
    ]
    for trial in plan.trials:
        config = fit_config(spec, trial.cell, trial.config.seed)
        assert trial.id == trial_id(config, FACTS.digest, FACTS.training_images)
    done = [plan.trials[1].id, "of another sweep"]
    again = make_plan(spec, FACTS, done)
    assert again.done == {plan.trials[1].id}
    assert [trial.label for trial in again.missing] == [
        *("label-20-erm-s0", "mask-20-erm-s0", "mask-20-erm-s1")
    ]


def test_combinations_without_sense_are_dropped_with_the_reason() -> None:
    """They are no trials, and both forms of the plan say why."""
    spec = parse_spec(FILMS, overrides={"axes.method": ["erm", "jtt"]})
    plan = make_plan(spec, FACTS)
    assert [str(cell) for cell in plan.cells] == [
        *("label / 20 / erm", "label / 20 / jtt", "mask / 20 / erm")
    ]
    reason = "jtt takes label, not mask"
    assert f"skipped: mask / 20 / jtt: {reason}" in as_text(plan, spec)
    assert as_dict(plan, spec)["skipped"] == [
        {"specificity": "mask", "budget": "20", "method": "jtt", "reason": reason}
    ]


def test_no_rest_no_semi_supervision() -> None:
    """A method that needs images without annotation is dropped where all are annotated."""
    spec = parse_spec(FILMS, overrides={"axes.method": ["ssl"], "axes.budget": [20, "all"]})
    plan = make_plan(spec, FACTS)
    assert [str(cell) for cell in plan.cells] == ["mask / 20 / ssl"]
    assert [str(reason) for cell, reason in plan.skipped if cell.specificity.kind == "mask"] == [
        "ssl needs images without annotation; a budget of all leaves none"
    ]


def test_methods_that_need_spurious_labels_are_refused_without() -> None:
    """All of them at once, with what the dataset has."""
    methods = ["group-dro", {"name": "dfr", "attribute": "hair"}, "erm"]
    spec = parse_spec(FILMS, overrides={"axes.method": methods})
    with pytest.raises(PlanError) as caught:
        make_plan(spec, FACTS)
    assert str(caught.value).splitlines()[1:] == [
        "  axes.method: dfr needs spurious labels of hair, and the dataset lacks them (it has "
        "tube, ink); use a method that does without"
    ]
    with pytest.raises(PlanError, match=r"group-dro needs spurious labels, and .*it has none"):
        make_plan(spec, replace(FACTS, attributes=()))


def test_methods_that_need_labels_nobody_gave_are_dropped() -> None:
    """By the split that each reads and the attribute it takes; every trial of theirs would fail."""
    names = ("tube", "ink")
    unlabelled = {"train": {"tube": 7, "ink": 0}, "val": dict.fromkeys(names, 0)}
    facts = replace(FACTS, unlabelled=unlabelled)
    ink = {"name": "group-dro", "attribute": "ink"}
    methods = ["group-dro", ink, "reweight", "dfr", "erm"]
    spec = parse_spec(FILMS, overrides={"axes.method": methods, "axes.specificity": ["label"]})
    plan = make_plan(spec, facts)
    kept = ["group-dro(attribute=ink)", "dfr", "erm"]
    assert [str(cell.method) for cell in plan.cells] == kept
    assert [(str(cell.method), reason) for cell, reason in plan.skipped] == [
        (
            name,
            f"{name} needs spurious labels of all train images, and 7 have none of tube; annotate "
            "them, or use a method that does without",
        )
        for name in ("group-dro", "reweight")
    ]
    spoilt = replace(facts, unlabelled={"train": {"tube": 0}, "val": {"tube": 1, "ink": 0}})
    assert [cell.method.name for cell, _ in make_plan(spec, spoilt).skipped] == ["dfr"]


def test_augmentations_of_integers_are_not_planned_on_floats() -> None:
    """Views of ssl drop its cells; training under them refuses the sweep; integers may."""
    methods = ["erm", "ssl", {"name": "ssl", "views": "flip"}]
    spec = parse_spec(FILMS, overrides={"axes.method": methods, "axes.specificity": ["mask"]})
    for dtype, dropped in (("float32", ["ssl"]), ("uint8", []), (None, [])):
        plan = make_plan(spec, replace(FACTS, dtype=dtype))
        assert [str(cell.method) for cell, _ in plan.skipped] == dropped
    generated = parse_spec(TEXT, overrides={"axes.method": ["ssl"]})
    assert isinstance(generated.dataset, GeneratorDataset)
    plan = make_plan(generated, generator_facts(generated.dataset))
    assert [reason for _, reason in plan.skipped][-1] == (
        "ssl with views: paper changes gamma and brightness, which needs integer images, and these "
        "are float32; use views: flip"
    )
    augmented = parse_spec(FILMS, overrides={"train.augment": "paper"})
    assert make_plan(augmented, FACTS).cells
    with pytest.raises(PlanError, match=r"train.augment: 'paper' changes gamma .* are float32"):
        make_plan(augmented, replace(FACTS, dtype="float32"))


def test_a_manifest_says_who_is_unlabelled() -> None:
    """Its counts of both labels, per split and attribute, and the dtype of the images."""
    counts = SplitCounts(10, 4, 4, {"tube": GroupCounts(1, 1, 1, 1, y0_unknown=4, y1_unknown=2)})
    manifest = Manifest(
        name="films",
        digest="ab" * 32,
        content_digest="cd" * 32,
        image_shape=(96, 64, 1),
        dtype="uint8",
        attributes=(Attribute("tube", 1, "declared"),),
        splits=dict.fromkeys(("train", "val", "test"), counts),
        shards=(),
        provenance={},
    )
    facts = facts_of(manifest)
    assert facts.dtype == "uint8"
    assert facts.unlabelled == {split: {"tube": 6} for split in manifest.splits}


def cost_of(spec: Spec, cell: Cell, facts: DatasetFacts = FACTS) -> Cost:
    """The expected cost of a cell."""
    price = cell_price(spec, cell, facts)
    assert price is not None
    return price.cost


def test_labels_of_the_rest_are_priced() -> None:
    """Every training image beyond the budget costs a label; a label cell has no such rest."""
    spec = parse_spec(FILMS, overrides={"rest": "label"})
    label, mask = make_plan(spec, FACTS).cells
    plain = parse_spec(FILMS)
    per_click = 100 / 3600
    more = cost_of(spec, mask).training - cost_of(plain, mask).training
    assert more == pytest.approx(80 * per_click)
    assert cost_of(spec, label) == cost_of(plain, label)


def test_labels_that_a_method_does_not_read_are_no_part_of_it() -> None:
    """Without the filter ssl reads none: no price and no other id; with it, no weight of a loss."""
    methods = [{"name": "ssl", "filter_by_label": read} for read in (False, True)]
    cells, trials = {}, {}
    for rest in ("unlabelled", "label", {"name": "label", "weight": 3, "fraction": 0.5}):
        found = [
            method for method in methods if rest != "unlabelled" or not method["filter_by_label"]
        ]
        overrides = {"rest": rest, "axes.method": found, "axes.specificity": ["mask"]}
        spec = parse_spec(FILMS, overrides=overrides)
        plan = make_plan(spec, FACTS)
        for cell in plan.cells:
            cost = cost_of(spec, cell)
            cells.setdefault(cell.method.options.filter_by_label, []).append(cost.training)
        for trial in plan.trials:
            trials.setdefault(trial.label, set()).add(trial.id)
    assert len(set(cells[False])) == len(set(cells[True])) == 1
    assert cells[True][0] - cells[False][0] == pytest.approx(80 * 100 / 3600)
    assert {len(ids) for ids in trials.values()} == {1}
    assert len(trials) == 4


LESIONS = {
    "train": {"n": 100, "positives": 40, "abnormalities": 180, "negative_abnormalities": 120},
    "val": {"n": 30, "positives": 10, "abnormalities": 32, "negative_abnormalities": 20},
    "test": {"n": 30, "positives": 10, "abnormalities": 32, "negative_abnormalities": 20},
}
"""Three regions on two positive images, two on each negative one."""


@pytest.mark.parametrize(
    ("negatives", "budget", "training", "validation"),
    [
        ("background", 20, 15 * 45 + 10, 12 * 45 + 20),
        ("lesion", 20, (15 + 20) * 45, 32 * 45),
        ("background", "all", 60 * 45 + 60, 12 * 45 + 20),
        ("lesion", "all", 180 * 45, 32 * 45),
    ],
)
def test_regions_of_negative_images_are_priced_where_they_are_drawn(
    negatives: str, budget: Any, training: float, validation: float
) -> None:
    """They are abnormalities under `negatives: lesion`, and else their images cost a label."""
    facts = replace(FACTS, counts=LESIONS)
    overrides = {"negatives": negatives, "axes.budget": [budget]}
    spec = parse_spec(FILMS, overrides=overrides)
    label, mask = make_plan(spec, facts).cells
    found, of_labels = (cost_of(spec, cell, facts) for cell in (mask, label))
    assert (found.training * 36, found.validation * 36) == pytest.approx((training, validation))
    assert of_labels == cost_of(parse_spec(FILMS, overrides={"axes.budget": [budget]}), label)


def test_a_third_class_needs_masks_and_methods_that_take_it() -> None:
    """A dataset without such masks is refused, and the similarity losses are dropped."""
    overrides = {"negatives": "lesion", "axes.method": ["erm", "spl", "ssl"]}
    spec = parse_spec(FILMS, overrides=overrides)
    with pytest.raises(PlanError, match="negatives: lesion needs masks of negative images"):
        make_plan(spec, FACTS)
    plan = make_plan(spec, replace(FACTS, counts=LESIONS))
    assert [str(cell) for cell in plan.cells] == ["label / 20 / erm", "mask / 20 / erm"]
    assert [reason for cell, reason in plan.skipped if cell.specificity.kind == "mask"] == [
        f"{name} knows two classes of pixels, and negatives: lesion has three"
        for name in ("spl", "ssl")
    ]


def test_validation_images_that_are_trained_on_are_training_annotation() -> None:
    """DFR's 30 validation labels are on the axis, once; its spurious labels come beside them."""
    methods = [{"name": "dfr", "balance": "classes"}, "dfr", "erm"]
    spec = parse_spec(FILMS, overrides={"axes.method": methods, "axes.specificity": ["label"]})
    costs = [cost_of(spec, cell) for cell in make_plan(spec, FACTS).cells]
    clicks = [
        [item * 36 for item in (cost.training, cost.spurious_labels, cost.validation)]
        for cost in costs
    ]
    assert clicks == [pytest.approx(row) for row in ([50, 0, 0], [50, 60, 0], [20, 0, 30])]


@pytest.mark.parametrize(
    ("keep", "select", "labels"),
    [
        ("best val.auroc", "kept", {"erm": 0, "ssl": 0}),
        ("best val.robust_auroc", "kept", {"erm": 60, "ssl": 60}),
        ("best val.robust_auroc", "best val.auroc", {"erm": 0, "ssl": 60}),
        ("best val.auroc", "best val.robust_auroc", {"erm": 60, "ssl": 60}),
        ("best val.auroc", "best test.robust_auroc", {"erm": 0, "ssl": 0}),
    ],
)
def test_spurious_labels_that_rules_read_are_expected(
    keep: str, select: str, labels: dict[str, int]
) -> None:
    """The reporting rule's; of ssl, whose teacher is what `keep` chose, those of both."""
    overrides = {"train.keep": keep, "select.epoch": select, "axes.method": [*labels]}
    spec = parse_spec(FILMS, overrides={**overrides, "axes.specificity": ["mask"]})
    for cell in make_plan(spec, FACTS).cells:
        found = cost_of(spec, cell)
        assert found.spurious_labels == pytest.approx(labels[cell.method.name] * 100 / 3600)


def test_what_a_dataset_cannot_carry_is_refused_all_at_once() -> None:
    """A budget, a resolution and image sides that do not fit, each with what would."""
    overrides = {
        "axes.budget": [20, 82],
        "axes.specificity": ["mask", {"r": 65}],
        "model.segmenter.levels": 6,
    }
    with pytest.raises(PlanError) as caught:
        make_plan(parse_spec(FILMS, overrides=overrides), FACTS)
    assert str(caught.value).splitlines() == [
        "sweep 'tiny' does not fit dataset 'films':",
        "  model: 'small-unet' needs image sides that are multiples of 64, these are 96 x 64; "
        "stage the dataset at another size or choose another model",
        "  axes.budget: 82 with balance equal is more than this training split holds (40 positive, "
        "60 negative): expected at most 80",
        "  axes.specificity: r=65 is larger than the image side 64; expected 1 to 64",
    ]


def test_a_budget_of_the_natural_prevalence_may_be_larger() -> None:
    """The most is what can be drawn with the balance asked for."""
    overrides = {"axes.budget": [100], "balance": "natural"}
    assert len(make_plan(parse_spec(FILMS, overrides=overrides), FACTS).trials) == 4
    with pytest.raises(PlanError, match="expected at most 100"):
        make_plan(parse_spec(FILMS, overrides={**overrides, "axes.budget": [101]}), FACTS)


@pytest.mark.parametrize(
    ("specificity", "budget", "method", "clicks"),
    [
        ("label", 20, "erm", 20),
        ("mask", 20, "erm", 10 * 1.5 * 45 + 10),  # 1.5 abnormalities per positive image
        ("mask", "all", "erm", 60 * 45 + 60),
        ("box", 20, "erm", 10 * 1.5 * 2 + 10),
        ("label", 20, "jtt", 20),
        ("label", 20, "resample", 20 + 20 * 2),  # two attributes
    ],
)
def test_dollars_are_told_before_anything_runs(
    specificity: str, budget: Any, method: str, clicks: float
) -> None:
    """Expected counts times clicks, at one second a click and 100 dollars an hour."""
    spec = parse_spec(
        FILMS,
        overrides={
            **{"axes.specificity": [specificity], "axes.budget": [budget]},
            **{"axes.method": [method]},
        },
    )
    plan = make_plan(spec, FACTS)
    found = cell_price(spec, plan.cells[0], FACTS)
    assert found is not None
    annotated = found.cost.training + found.cost.spurious_labels
    assert annotated == pytest.approx(clicks * 100 / 3600)
    assert found.dollars == pytest.approx(annotated + found.cost.validation)
    dollars = f"{found.dollars:,.2f}"
    if specificity in ("mask", "box") and budget == 20:
        assert not found.is_exact
        dollars = f"about {dollars}, {found.low:,.2f} to {found.high:,.2f}"
    line = f"  {dollars} ({found.cost.validation:,.2f} of it for validation images)\n"
    assert line in as_text(plan, spec)
    assert as_dict(plan, spec)["cells"][0]["cost"] == {
        **{"dollars": found.dollars, "low": found.low, "high": found.high},
        **{"exact": found.is_exact, "validation": found.cost.validation},
    }


def test_a_budget_that_a_generator_cannot_meet_is_refused_before_it_is_staged() -> None:
    """Its labels follow from its options, so planning knows how many there are of each."""
    spec = parse_spec(TEXT, overrides={"axes.budget": [4000]})
    assert isinstance(spec.dataset, GeneratorDataset)
    facts = generator_facts(spec.dataset)
    assert facts.counts is not None
    n, positives = facts.counts["train"]["n"], facts.counts["train"]["positives"]
    most = 2 * min(positives, n - positives)
    with pytest.raises(PlanError, match=f"4000 .* is more than .* expected at most {most}"):
        make_plan(spec, facts)


def test_weights_that_are_not_in_the_store_are_refused(folder_store: FolderStore) -> None:
    """With how to stage them; a sweep that has all its results needs none."""
    spec = parse_spec(
        TEXT,
        overrides={
            "axes.specificity": ["label"],
            "model.classifier": {"name": "resnet50", "weights": "ab" * 32},
        },
    )
    with pytest.raises(PlanError, match=r"weights abab.* are not in .*: stage them first, "):
        plan_on(spec, folder_store)
    folder_store.put(weights_key("ab" * 32), b"any")
    assert plan_on(spec, folder_store).missing


def test_weights_of_another_architecture_are_refused(folder_store: FolderStore) -> None:
    """As staging recorded what they fit; weights from before there was a record are not."""
    digest = "ab" * 32
    folder_store.put(weights_key(digest), b"any")
    models = {
        "resnet50": {"name": "resnet50"},
        "timm:resnet18": {"name": "timm", "architecture": "resnet18"},
    }
    specs = {
        released: parse_spec(
            TEXT,
            overrides={
                "axes.specificity": ["label"],
                "model.classifier": {**model, "weights": digest},
            },
        )
        for released, model in models.items()
    }
    for record in (None, b"damaged", b'{"fits": ["resnet50", "timm:resnet50"]}'):
        if record is not None:
            folder_store.put(weights_record_key(digest), record)
        assert plan_on(specs["resnet50"], folder_store).missing
        if record is None or b"fits" not in record:
            assert plan_on(specs["timm:resnet18"], folder_store).missing
    expected = (
        f"weights {digest} do not fit timm:resnet18: they fit resnet50, timm:resnet50; name one of "
        "these as the model, or see what is missing: "
        "`sweeps stage weights FILE --for timm:resnet18`"
    )
    with pytest.raises(PlanError, match=re.escape(expected)):
        plan_on(specs["timm:resnet18"], folder_store)
