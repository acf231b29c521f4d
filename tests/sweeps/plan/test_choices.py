"""A plan whose trials could choose no epoch is refused; what has run already is marked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tiny_sweeps import COUNTS, FACTS, FILMS, TEXT, run_here, stage_here

from cluster.stores.folder import FolderStore
from spurious import fit
from spurious.data.attributes import GroupCounts
from sweeps.cli import main
from sweeps.commands.status import list_cautions
from sweeps.errors import PlanError
from sweeps.plan.choices import refuse_impossible_choices
from sweeps.plan.facts import plan_on
from sweeps.plan.plan import DatasetFacts, make_plan
from sweeps.results import tables as results
from sweeps.spec.model import parse_spec

ONE_CLASS = {**COUNTS, "val": {"n": 30, "positives": 30, "abnormalities": 12}}
ONE_CLASS_TEXT = TEXT.replace("n_val: 30", "n_val: 4, prevalence: 0.9, test_prevalence: 0.5")
ONE_CLASS_TEXT = ONE_CLASS_TEXT.replace("          prevalence: 0.5, n_train", "          n_train")
ONE_CLASS_TEXT = ONE_CLASS_TEXT.replace("budget: [20]", "budget: [all]").replace("[0, 1]", "[0]")
EMPTY = {"val": {"tube": GroupCounts(10, 0, 5, 5, 0, 0)}}


def facts(**changes: object) -> DatasetFacts:
    """The films, otherwise."""
    return replace(FACTS, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("overrides", "of", "words"),
    [
        ({}, FACTS, None),
        ({}, facts(counts=ONE_CLASS), "train.keep of label / 20 / erm: 'best val.auroc' cannot"),
        ({"train.keep": "last"}, facts(counts=ONE_CLASS), None),
        ({"train.keep": "best val.robust_auroc"}, FACTS, None),  # groups are unknown
        (
            {"train.keep": "best val.robust_auroc"},
            facts(attributes=("tube",), groups=EMPTY, directions={"tube": 1}),
            r"no image in groups of tube \(y=0 s=1\); use train.keep: last",
        ),
        (
            {"axes.specificity": ["label"], "axes.method": ["cnc"], "train.keep": "last"},
            facts(counts=ONE_CLASS),
            "first_keep of label / 20 / cnc: 'best val.loss' cannot",
        ),
        (
            {},
            facts(counts={**COUNTS, "val": {"n": 30, "positives": 10, "abnormalities": 0}}),
            "train.keep of mask / 20 / erm: 'best val.dice' .* no mask is drawn",
        ),
    ],
)
def test_counts_refuse_what_they_can(
    overrides: dict[str, object], of: DatasetFacts, words: str | None
) -> None:
    """All reasons at once; trials with a result are not refused."""
    plan = make_plan(parse_spec(FILMS, overrides=overrides), of)
    if words is None:
        refuse_impossible_choices(plan)
        return
    with pytest.raises(PlanError, match=words):
        refuse_impossible_choices(plan)
    refuse_impossible_choices(plan.refreshed([trial.id for trial in plan.trials]))


def test_a_validation_split_of_one_class(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Refused by `plan` and `run`; results from before are reported by `status` and `report`."""
    store, file = FolderStore(tmp_path / "store"), tmp_path / "one.yaml"
    file.write_text(ONE_CLASS_TEXT)
    spec = parse_spec(ONE_CLASS_TEXT)
    stage_here(store, spec)
    for verb in ("plan", "run"):
        assert main([verb, str(file), "--store", store.url]) == 2
        message = "'best val.auroc' cannot choose an epoch: the validation split has 4 abnormal"
        assert message in capsys.readouterr().err
    monkeypatch.setattr(fit, "check_choices", lambda *_: None)
    monkeypatch.setattr(fit, "_require_choice", lambda *_: None)
    plan = run_here(store, spec, tmp_path / "cache")
    assert {caution["kind"]: caution["trials"] for caution in list_cautions(store, plan)} == {
        "undefined_choice": ["label-all-erm-s0"],
        "one_sided_choice": ["mask-all-erm-s0"],
    }
    assert main(["status", str(file), "--check", "--store", store.url]) == 0
    assert "caution: label-all-erm-s0: the metric that was to" in capsys.readouterr().out
    folder = tmp_path / "report"
    assert main(["report", str(file), "--store", store.url, "--out", str(folder)]) == 0
    assert "is undefined in all of them" in (folder / "report.md").read_text()
    assert main(["plan", str(file), "--store", store.url]) == 0
    assert plan_on(spec, store).missing == ()


def test_a_model_that_never_moved_is_marked(tmp_path: Path) -> None:
    """A learning rate below what a weight can hold; noted by the trial itself."""
    store = FolderStore(tmp_path / "store")
    spec = parse_spec(TEXT, overrides={"train.learning_rate": 1e-30, "axes.seed": [0]})
    plan = run_here(store, spec, tmp_path / "cache")
    trials = results.read_trials(store, plan.done)
    kinds = {caution["kind"] for caution in list_cautions(store, plan)}
    assert kinds == {"never_moved", "constant_choice"}
    noted = results.read_attempts(store, "epochs", trials).to_pandas()
    assert (noted["metric"] == "unmoved_weights").sum() == 2
