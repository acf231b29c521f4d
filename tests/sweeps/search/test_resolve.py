"""Searches in plans: what they show, share and refuse."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from searching import plan_here, real_spec, run_search_here, search_spec
from tiny_sweeps import TEXT, run_here, stage_here

from cluster.stores.folder import FolderStore
from sweeps.errors import PlanError
from sweeps.plan.archive import archive, read_archive
from sweeps.plan.facts import plan_on
from sweeps.plan.plan import Plan
from sweeps.plan.render import as_dict, as_text
from sweeps.plan.searched import count_searches, describe_counts, find_repeats
from sweeps.results import tables as results
from sweeps.search.assumed import assume_trials
from sweeps.search.resolve import resolve_searches
from sweeps.spec.model import Spec, parse_spec


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[FolderStore, Spec, Plan]:
    """A store with a search that is over."""
    folder = tmp_path_factory.mktemp("finished")
    store, spec = FolderStore(folder / "store"), real_spec()
    return store, spec, run_search_here(store, spec, folder / "cache")


def test_a_search_is_in_no_identity_and_its_trials_are_shared(
    finished: tuple[FolderStore, Spec, Plan],
) -> None:
    """A sweep that writes the chosen options out has the same trials, and nothing to run."""
    store, spec, plan = finished
    erm, spl = plan.searches
    rates = [search.values["learning_rate"] for search in (erm, spl)]
    text = spec.text.partition("search:")[0].replace("epochs: 9", "epochs: 9, PER")
    per = f"per_method: {{erm: {{learning_rate: {rates[0]}}}, spl: {{learning_rate: {rates[1]}}}}}"
    weight = spl.values["spl.weight"]
    written = parse_spec(
        text.replace("PER", per).replace("spl]", f"{{name: spl, weight: {weight}}}]")
    )
    other = plan_on(written, store)
    assert {trial.id for trial in other.trials} == {trial.id for trial in plan.trials}
    assert other.done == plan.done
    assert [str(cell) for cell in other.cells] == [str(cell) for cell in plan.cells]


def test_trials_of_other_sweeps_are_used_by_a_search(tmp_path: Path) -> None:
    """A grid whose values another sweep has run trains nothing."""
    store = FolderStore(tmp_path / "store")
    text = TEXT.replace("label, mask", "label").replace("batch_size: 10", "batch_size: 10, RATE")
    for rate in (0.001, 0.01):
        run_here(store, parse_spec(text.replace("RATE", f"learning_rate: {rate}")), tmp_path / "c")
    before = results.committed_ids(store)
    section = "search: {sampler: grid, space: {learning_rate: [0.001, 0.01]}}\n"
    plan = plan_here(store, parse_spec(text.replace(", RATE", "") + section))
    assert not plan.is_searching
    assert not plan.missing
    assert before >= {trial.id for trial in plan.trials}


def test_archived_searches_are_believed_where_they_are_over(
    finished: tuple[FolderStore, Spec, Plan],
) -> None:
    """They are read back as they were, and results are not; others are followed from results."""
    store, spec, plan = finished
    archive(store, spec, plan)
    archived = read_archive(store, spec.name).searches
    planned = plan_on(spec, store)
    assert resolve_searches(planned, spec, store, archived).searches == plan.searches
    longer = real_spec(SECTION.replace("trials: 5", "trials: 6"))
    assert resolve_searches(plan_on(longer, store), longer, store, archived).is_searching
    assert archived is not None
    damaged = json.loads(json.dumps(archived))
    damaged["cells"][0]["tried"][0]["ids"] = ["0" * 16]
    damaged["cells"][0]["chosen"] = 0
    assert resolve_searches(planned, spec, store, damaged).searches == plan.searches
    again = json.loads(json.dumps(archived))  # as where few combinations were tried again
    again["cells"][0]["tried"].append(again["cells"][0]["tried"][0])
    assert resolve_searches(planned, spec, store, again).searches == plan.searches


SECTION = (
    "{trials: 5, batch: 3, stop: asha, metric: val.loss, "
    "space: {learning_rate: {log: [1.0e-4, 1.0]}, spl: {weight: [0.1, 1]}}}"
)


def test_a_plan_counts_what_is_tried_and_foresees_the_rest(tmp_path: Path) -> None:
    """Before anything ran: no trials, the first batch is known, and all is foreseen for hours."""
    store, spec = FolderStore(tmp_path / "store"), real_spec()
    stage_here(store, spec)
    plan = plan_here(store, spec)
    assert plan.trials == ()
    assert plan.is_searching
    assert len(plan.searched_next) == 6
    assert plan.size == 4
    text = as_text(plan, spec)
    assert "search: 5 configurations a cell by tpe, in batches of 3 on seed 0" in text
    assert "learning_rate from 0.0001 to 1, by its logarithm; spl.weight of 0.1, 1" in text
    assert "0 of 2 cells done; configurations: 0 finished, 0 stopped, 0 failed, 10 to try" in text
    # 5 configurations and one more seed of the chosen one, in two cells
    assert len(assume_trials(plan, spec).missing) == 12
    document = as_dict(plan, spec)
    assert [len(cell["tried"]) for cell in document["searches"]["cells"]] == [3, 3]


def test_a_plan_says_where_there_are_fewer_combinations(tmp_path: Path) -> None:
    """Before anything ran, with the cells that have them; hours and counts are of these alone."""
    store = FolderStore(tmp_path / "store")
    spec = real_spec("{trials: 5, batch: 3, space: {batch_size: [4, 5], spl: {weight: [0.1, 1]}}}")
    stage_here(store, spec)
    plan = plan_here(store, spec)
    text = as_text(plan, spec)
    few = "for erm (2 combinations), spl (4 combinations): each is tried once"
    assert f"search: the space has fewer than 5 configurations {few}" in text
    assert "0 of 2 cells done; configurations: 0 finished, 0 stopped, 0 failed, 6 to try" in text
    # 2 and 4 on one seed, and another seed of the chosen ones
    assert len(assume_trials(plan, spec).missing) == 8
    assert "6 trials in all cells, at most" in as_text(replace(plan, searches=()), spec)
    more = "search: {trials: 2, space: {batch_size: [4, 5]}}\n"
    assert "the space has" not in as_text(plan, parse_spec(TEXT + more))


def test_repeated_suggestions_are_counted(finished: tuple[FolderStore, Spec, Plan]) -> None:
    """Those with the values of an earlier one of their cell, in plan and status."""
    _, spec, plan = finished
    erm, spl = plan.searches
    repeated = replace(
        erm, tried=(*erm.tried[:4], replace(erm.tried[4], values=erm.tried[1].values))
    )
    counts = count_searches(spec, [repeated, spl])
    assert counts["repeated"] == 1
    assert describe_counts(counts).endswith("; 1 has the values of an earlier one")
    assert find_repeats(repeated.tried) == {4: 1}
    assert count_searches(spec, plan.searches)["repeated"] == 0
    assert "earlier one" not in describe_counts(count_searches(spec, plan.searches))


def test_a_finished_search_shows_its_choice(finished: tuple[FolderStore, Spec, Plan]) -> None:
    """The cell has the chosen options, and so have its trials."""
    _, spec, plan = finished
    erm, spl = plan.searches
    weight = spl.values["spl.weight"]
    assert str(plan.cells[1].method) == ("spl" if weight == 0.1 else f"spl(weight={weight})")
    for trial in plan.trials:
        search = erm if trial.config.method_name == "erm" else spl
        assert trial.config.train.learning_rate == search.values["learning_rate"]
    assert f"learning_rate {erm.values['learning_rate']:g} chosen" in as_text(plan, spec)


def test_a_cell_without_anything_of_the_space_runs_as_it_is(tmp_path: Path) -> None:
    """Its trials are those of a sweep without a search, and it waits for nothing."""
    store = FolderStore(tmp_path / "store")
    spec = real_spec("{trials: 3, space: {spl: {weight: {log: [0.01, 1]}}}}")
    stage_here(store, spec)
    plan = plan_here(store, spec)
    plain = parse_spec(spec.text.partition("search:")[0])
    erm = {trial.id for trial in plan_on(plain, store).trials if trial.cell.method.name == "erm"}
    assert {trial.id for trial in plan.trials} == erm
    assert [search.is_over for search in plan.searches] == [True, False]


def test_dollars_that_nothing_changes_are_refused(tmp_path: Path) -> None:
    """A learning rate costs no annotation: the message names what to do, and that works."""
    store = FolderStore(tmp_path / "store")
    section = "{trials: 4, metric: [val.auroc, dollars], space: {learning_rate: [0.1, 0.01]}}"
    spec = search_spec(section)
    stage_here(store, spec)
    with pytest.raises(PlanError, match="nothing in search"):
        plan_here(store, spec)
    assert plan_here(store, search_spec(section.replace("[val.auroc, dollars]", "val.auroc")))


def test_dollars_are_an_objective_where_options_cost(tmp_path: Path) -> None:
    """Refitting on groups needs spurious labels of validation, on classes it does not."""
    store = FolderStore(tmp_path / "store")
    text = TEXT.replace("label, mask", "label").replace(
        "[erm]", "[{name: dfr, first_epochs: 1, refits: 1}]"
    )
    section = "search: {sampler: grid, metric: [val.auroc, dollars], "
    section += "space: {dfr: {balance: [groups, classes]}}}\n"
    spec = parse_spec(text + section)
    plan = run_search_here(store, spec, tmp_path / "cache")
    [search] = plan.searches
    groups, classes = search.tried
    assert groups.dollars is not None
    assert classes.dollars is not None
    assert groups.dollars - classes.dollars == pytest.approx(30 / 36, abs=0.01)
    assert search.chosen in search.best
    if (groups.value or 0) <= (classes.value or 0):
        assert search.best == (1,)


def test_options_that_make_a_cell_impossible_drop_it(tmp_path: Path) -> None:
    """A searched value that a dataset cannot carry is named with its reason."""
    store = FolderStore(tmp_path / "store")
    text = TEXT.replace("[erm]", "[erm, {name: ssl, views: flip}]").replace("label, mask", "mask")
    spec = parse_spec(text + "search: {sampler: grid, space: {ssl: {views: [flip, paper]}}}\n")
    stage_here(store, spec)
    plan = plan_here(store, spec)
    assert [cell.method.name for cell in plan.cells] == ["erm"]
    [(cell, reason)] = [skipped for skipped in plan.skipped if "with" in skipped[1]]
    assert str(cell.method) == "ssl(views=flip)"
    assert reason.startswith("with ssl.views paper: ssl with views: paper changes gamma")
