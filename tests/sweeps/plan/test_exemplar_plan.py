"""Plans and reports of eXBL: which ids are refused, what is bought, and which examples it had."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny_sweeps import COUNTS, FACTS, FILMS, TEXT, run_here, stage_here

from cluster.datasets.keys import image_table_key
from cluster.stores.folder import FolderStore
from spurious.data.records import Record
from spurious.generators import open_generator
from sweeps.commands.context import SpecSource
from sweeps.commands.report import report
from sweeps.errors import PlanError, SpecError
from sweeps.plan.facts import plan_on
from sweeps.plan.plan import Plan, make_plan
from sweeps.plan.prices import cell_price
from sweeps.results import tables as results
from sweeps.spec.model import GeneratorDataset, Spec, parse_spec

DOLLAR = {"cost.wage_per_hour": 3600, "axes.seed": [0], "train.epochs": 2}
LABELS = {"axes.specificity": ["label"]}


def spec_of(method: Any, **overrides: Any) -> Spec:
    """One method on generated squares; one click is a dollar."""
    return parse_spec(TEXT, overrides={**DOLLAR, "axes.method": [method], **overrides})


def exbl(**options: Any) -> dict[str, Any]:
    """The method with a short first model."""
    return {"name": "exbl", "first_epochs": 2, **options}


def records() -> list[Record]:
    """The images of the spec's dataset, ascending by id."""
    dataset = spec_of("exbl").dataset
    assert isinstance(dataset, GeneratorDataset)
    source = open_generator(dataset.name, dataset.options)
    return [source.load(name) for name in source.index()]


def ids_of(split: str) -> list[str]:
    """Of one split, ascending."""
    return [record.sample_id for record in records() if record.split == split]


def refusal(store: FolderStore, **named: str) -> str:
    """Why a plan with two named examples is refused."""
    with pytest.raises(PlanError) as refused:
        plan_on(spec_of(exbl(**named), **LABELS), store)
    return str(refused.value)


@pytest.mark.parametrize("staged", [False, True])
def test_ids_that_are_not_training_images(staged: bool, tmp_path: Path) -> None:
    """Are refused by the plan, all at once, before and after staging; the remedies are taken."""
    store = FolderStore(tmp_path)
    if staged:
        stage_here(store, spec_of("exbl"))
    train, val = ids_of("train"), ids_of("val")
    wrong = train[3] + "x"
    text = refusal(store, good=wrong, bad=val[0])
    assert f"good: the dataset has no image '{wrong}'; did you mean '{train[3]}'?" in text
    assert f"bad: image '{val[0]}' is of val; expected the id of a training image" in text
    mended = spec_of(exbl(good=train[3], bad=train[0]), **LABELS)
    assert plan_on(mended, store).trials


def test_a_dataset_without_a_table_of_ids_is_left_to_the_trial(tmp_path: Path) -> None:
    """As those that were staged before there was one."""
    store = FolderStore(tmp_path)
    stage_here(store, spec_of("exbl"))
    planned = plan_on(spec_of(exbl(), **LABELS), store)
    assert planned.facts is not None
    store.delete(image_table_key(planned.facts.name, planned.facts.digest))
    assert plan_on(spec_of(exbl(good="a", bad="b"), **LABELS), store).trials


def test_one_id_without_the_other() -> None:
    """Is refused with line and key; each remedy is taken."""
    with pytest.raises(SpecError, match=r"good needs bad, too: give both ids, or neither"):
        spec_of(exbl(good="a"))
    assert spec_of(exbl(good="a", bad="b"))
    assert spec_of(exbl())


def plan_unstaged(method: Any, store: FolderStore, **overrides: Any) -> tuple[Spec, Plan]:
    """A spec and its plan before its dataset is staged."""
    spec = spec_of(method, **overrides)
    return spec, plan_on(spec, store)


def test_what_is_bought(tmp_path: Path) -> None:
    """On labels the ranking, on masks the masks; what is named reads nothing that is drawn."""
    store, train = FolderStore(tmp_path), ids_of("train")
    kinds = {"axes.specificity": ["label", "mask", {"r": 1}, {"r": 4}]}
    spec, plan = plan_unstaged(exbl(candidates=6), store, **kinds)
    prices = {cell.key[0]: cell_price(spec, cell, plan.facts) for cell in plan.cells}
    dollars = {kind: price.cost.training for kind, price in prices.items() if price is not None}
    assert dollars == {"label": 20 + 6 + 2, "mask": 10 * 46, "r=4": 10 * 3}
    assert all(price is not None and price.cost.validation == 30 for price in prices.values())
    [(dropped, reason)] = plan.skipped
    assert (dropped.key[0], reason) == (
        "r=1",
        "exbl ranks explanations by regions, and r=1 is the whole image; use label",
    )
    spec, plan = plan_unstaged(exbl(good=train[0], bad=train[1]), store, **kinds)
    [cell] = plan.cells
    price = cell_price(spec, cell, plan.facts)
    assert price is not None
    assert (cell.key[0], price.cost.training) == ("label", 20 + 2)
    assert "exbl with good and bad reads nothing that is drawn; use label" in {
        reason for _, reason in plan.skipped
    }
    spec, plan = plan_unstaged(exbl(), store, **LABELS)  # no more than there are positives
    price = cell_price(spec, plan.cells[0], plan.facts)
    assert price is not None
    assert price.cost.training == 20 + 10 + 2


def test_nothing_to_pick_by() -> None:
    """Where nobody drew on positive training images the rule is dropped, with what helps."""
    bare = {"masks_y0": 0, "masks_y1": 0, "boxes_y0": 0, "boxes_y1": 0, "own_boxes": 0}
    counts = {split: {**of, **bare, "regions_y1": 0} for split, of in COUNTS.items()}
    facts = replace(FACTS, counts=counts)

    def planned(**named: str) -> Plan:
        chosen = {**LABELS, "axes.method": [exbl(**named)], "axes.seed": [0]}
        return make_plan(parse_spec(FILMS, overrides=chosen), facts)

    plan = planned()
    assert not plan.trials
    [(_, reason)] = plan.skipped
    assert reason.endswith("nothing is; name good and bad")
    assert planned(good="a", bad="b").trials


def test_the_report_names_the_examples(tmp_path: Path) -> None:
    """By their ids, with the precision by which the rule picked them; counts are stored."""
    store, train = FolderStore(tmp_path / "store"), ids_of("train")
    file = tmp_path / "exbl.yaml"
    file.write_text(TEXT)
    overrides = {
        **DOLLAR,
        **LABELS,
        "axes.method": [exbl(candidates=6), exbl(good=train[5], bad=train[2])],
    }
    spec = parse_spec(TEXT, overrides=overrides)
    plan = run_here(store, spec, tmp_path / "cache")
    trials = results.read_trials(store, plan.done).to_pandas()
    ranked = trials[["train_ranked_pairs", "train_explanations"]].to_numpy().tolist()
    assert sorted(ranked) == [[1, 0], [1, 6]]
    epochs = results.read_attempts(store, "epochs", results.read_trials(store, plan.done))
    rows = epochs.to_pandas()
    known = [record.sample_id for record in records()]
    settings = tuple(f"{key}={json.dumps(value)}" for key, value in overrides.items())
    source = SpecSource(str(file), settings)
    report(source, store.url, tmp_path / "report")
    text = (tmp_path / "report" / "report.md").read_text()
    html = (tmp_path / "report" / "report.html").read_text()
    assert "ranked_pair" in html
    section = text.partition("## Exemplary explanations")[2].partition("\n## ")[0]
    assert f"| {train[5]} | {train[2]} |" in section
    for what in ("good", "bad"):
        places = rows[rows["metric"] == f"exemplar_{what}"]["value"].astype(int)
        for place in places:
            assert known[place] in section
            assert known[place] in html
    precise = rows[rows["metric"] == "exemplar_good_precision"]["value"].dropna()
    assert f"(AP {precise.iloc[0]:.3f})" in section
    store.delete(image_table_key(plan.facts.name, plan.facts.digest))  # type: ignore[union-attr]
    report(source, store.url, tmp_path / "report")
    text = (tmp_path / "report" / "report.md").read_text()
    assert "by ascending id" in text
