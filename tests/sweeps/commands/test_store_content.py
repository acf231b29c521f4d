"""`sweeps store du`, `compact`, `copy` and `prune` on the store of a small sweep."""

from __future__ import annotations

import math
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from searching import REAL, real_spec, run_search_here
from tiny_sweeps import TEXT, assert_same, read_json, run_here, stage_here, tables, tiny
from tiny_weights import ARCHITECTURE, tiny_file

from cluster.errors import Corrupt, Unavailable
from cluster.stores import open_store
from cluster.stores.base import Store
from cluster.stores.folder import FolderStore
from sweeps.catalogue.copying import SweepCopy
from sweeps.catalogue.pruning import find_prunable, prune
from sweeps.cli import main
from sweeps.plan.archive import archive
from sweeps.plan.facts import plan_on
from sweeps.results import tables as results
from sweeps.results.keys import stopped_key
from sweeps.results.reader import ResultReader
from sweeps.spec.model import Spec
from sweeps.trial.weights import stage_weights

WEEK = 8 * 86_400.0


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the four trials of `tiny`, archived and compacted."""
    folder = tmp_path_factory.mktemp("finished")
    store, spec = FolderStore(folder / "store"), tiny()
    archive(store, spec, run_here(store, spec, folder / "cache"))
    return folder


@pytest.fixture
def here(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, in the folder where commands run."""
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    (tmp_path / "tiny.yaml").write_text(TEXT)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def kept(here: Path) -> FolderStore:
    """Its store."""
    return FolderStore(here / "store")


def run(capsys: pytest.CaptureFixture[str], verb: str, *options: str) -> dict[str, Any]:
    """Run a verb; return its JSON document."""
    capsys.readouterr()
    assert main([*verb.split(), *options, "--json"]) == 0
    return read_json(verb, capsys.readouterr().out)


def test_sizes_are_those_of_the_objects(
    kept: FolderStore, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every object is counted once, but for results that sweeps share; text names each part."""
    two = tiny(axes__seed=[0], axes__specificity=["label"])
    archive(kept, Spec(**{**two.__dict__, "name": "two"}), plan_on(two, kept))
    kept.put("results/trials/00112233445566ff.parquet", b"of no sweep")
    document = run(capsys, "store du", "--store", kept.url)
    sizes = {item.key: item.size_bytes for item in kept.scan("")}
    assert (document["objects"], document["total"]) == (len(sizes), sum(sizes.values()))
    by_name = {sweep["name"]: sweep for sweep in document["sweeps"]}
    assert (by_name["tiny"]["trials"], by_name["two"]["trials"]) == (4, 1)
    assert by_name["two"]["results"] == by_name["two"]["shared"] == by_name["tiny"]["shared"] > 0
    of_dataset = sum(size for key, size in sizes.items() if key.startswith("datasets/"))
    assert document["datasets"] == {"gaussian-squares": of_dataset}
    assert document["rest"]["results of no named sweep"] == len(b"of no sweep")
    counted = sum(s["results"] + s["checkpoints"] + s["files"] for s in document["sweeps"])
    counted += of_dataset + sum(document["rest"].values()) - by_name["two"]["shared"]
    assert counted == document["total"]
    assert main(["store", "du", "--store", kept.url]) == 0
    text = capsys.readouterr().out
    assert all(word in text for word in ("tiny", "two", "gaussian-squares", "of no named sweep"))


def test_a_store_is_compacted_once(kept: FolderStore, capsys: pytest.CaptureFixture[str]) -> None:
    """The verb says what it wrote; again there is nothing to write."""
    document = run(capsys, "store compact", "--store", kept.url)
    assert (document["objects"], document["damaged"]) == (12, 0)
    assert document["packs"] >= 3
    again = run(capsys, "store compact", "--store", kept.url)
    assert (again["objects"], again["packs"]) == (0, 0)
    assert main(["store", "check", "--store", kept.url]) == 0
    assert f"{document['packs'] + 1} compacted results" in capsys.readouterr().out


def test_a_run_compacts_what_it_finds_done(
    kept: FolderStore, capsys: pytest.CaptureFixture[str]
) -> None:
    """One with nothing to do, after a driver that was killed before it could."""
    assert main(["run", "tiny.yaml", "--store", kept.url]) == 0
    assert any(kept.list("results/compact/trials/"))
    assert run(capsys, "store compact", "--store", kept.url)["objects"] == 0


def report_tables(store: Store, name: str, out: Path) -> dict[str, pd.DataFrame]:
    """Tables of a report from a store, by file."""
    assert main(["report", name, "--store", store.url, "--out", str(out)]) == 0
    return {path.name: pd.read_parquet(path) for path in sorted(out.glob("*.parquet"))}


def test_a_report_from_a_copy_equals_the_original(
    kept: FolderStore, s3_store: Store, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """So do the tables themselves; the copy is whole and compacted."""
    document = run(capsys, "store copy", "tiny", s3_store.url, "--store", kept.url)
    assert document["results"] == 4
    expected = report_tables(kept, "tiny", here / "original")
    copied = report_tables(s3_store, "tiny", here / "copy")
    assert copied.keys() == expected.keys()
    for name, frame in copied.items():
        pd.testing.assert_frame_equal(frame, expected[name], check_exact=True, obj=name)
    spec = tiny()
    plan = plan_on(spec, s3_store)
    assert not plan.missing
    assert_same(tables(s3_store, plan), tables(kept, plan))
    assert main(["store", "check", "--store", s3_store.url]) == 0
    assert any(s3_store.list("results/compact/trials/"))
    again = run(capsys, "store copy", "tiny", s3_store.url, "--store", kept.url)
    of_dataset = [key for key in kept.list("datasets/") if key.split("/")[2] != "shards"]
    assert again["objects"] == len([*of_dataset, *kept.list("sweeps/tiny/")])
    assert again["results"] == 4


def test_a_copy_has_the_weights_that_its_trials_begin_from(
    folder_store: FolderStore, tmp_path: Path
) -> None:
    """Trials that are left to run find them there."""
    (tmp_path / "weights").write_bytes(tiny_file())
    staged = stage_weights(folder_store, str(tmp_path / "weights"))
    classifier = {"name": "timm", "architecture": ARCHITECTURE, "weights": staged.sha256}
    spec = tiny(axes__specificity=["label"], model__classifier=classifier)
    stage_here(folder_store, spec)
    plan = plan_on(spec, folder_store)
    archive(folder_store, spec, plan)
    target = FolderStore(tmp_path / "target")
    reader = ResultReader(folder_store)
    SweepCopy(reader, target, lambda *_: None).copy(plan_on(spec, reader))
    assert target.get(f"weights/{staged.sha256}") == tiny_file()


class Dying:
    """A store that takes some objects, and then no more."""

    def __init__(self, store: Store, puts: int) -> None:
        self.store, self.puts = store, puts

    def __getattr__(self, name: str) -> Any:
        if name in ("put", "create", "upload"):
            if not self.puts:
                raise Unavailable("killed")
            self.puts -= 1
        return getattr(self.store, name)


def test_a_copy_that_is_killed_goes_on(kept: FolderStore, tmp_path: Path) -> None:
    """At any object; nothing is committed in part, and what is whole is not copied again."""
    spec = tiny()
    expected = tables(kept, plan_on(spec, kept))
    puts = 0
    while True:
        target = FolderStore(tmp_path / f"target-{puts}")
        reader = ResultReader(kept)
        plan = plan_on(spec, reader)
        try:
            SweepCopy(reader, Dying(target, puts), lambda *_: None).copy(plan)  # type: ignore[arg-type]
            break
        except Unavailable:
            puts += 3
        assert not plan_on(spec, target).damaged
        before = {item.key: item.tag for item in target.scan("results/trials/")}
        copied = SweepCopy(ResultReader(kept), target, lambda *_: None).copy(plan)
        assert copied.results == 4
        assert_same(tables(target, plan_on(spec, target)), expected)
        after = {item.key: item.tag for item in target.scan("results/trials/")}
        assert before.items() <= after.items()
    assert puts > 15


def test_what_is_damaged_is_not_copied(kept: FolderStore, tmp_path: Path) -> None:
    """A damaged shard ends the copy by name; a damaged result is left out, as in a report."""
    reader = ResultReader(kept)
    plan = plan_on(tiny(), reader)
    trials = results.read_trials(reader, plan.done)
    [key, *_] = results.attempt_keys("epochs", trials)
    kept.put(key, kept.get(key)[:-40])
    reader = ResultReader(kept)
    plan = plan_on(tiny(), reader)
    assert len(plan.damaged) == 1
    target = FolderStore(tmp_path / "target")
    assert SweepCopy(reader, target, lambda *_: None).copy(plan).results == 3
    [shard] = kept.list("datasets/gaussian-squares/shards/")
    kept.put(shard, kept.get(shard)[:-1])
    with pytest.raises(Corrupt, match=shard):
        SweepCopy(reader, FolderStore(tmp_path / "other"), lambda *_: None).copy(plan)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["copy", "tiny", "store"], "is the store that 'tiny' is in; name another one"),
        (["copy", "tiny.yaml", "other"], "expected the name of a sweep that was run"),
        (["copy", "huge", "other"], "no sweep 'huge' in"),
        (["prune", "--days", "0.5"], "--days 0.5: expected at least 1"),
        (["prune", "--days", "nan"], "--days nan: expected at least 1"),
    ],
)
def test_mistakes_are_told(
    kept: FolderStore, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    """One line, status 2, and nothing is changed."""
    before = {item.key: item.tag for item in kept.scan("")}
    assert main(["store", *arguments, "--store", kept.url]) == 2
    assert message in capsys.readouterr().err
    assert {item.key: item.tag for item in kept.scan("")} == before


def litter(store: Store) -> dict[str, str]:
    """Leave behind what killed drivers and lost races do; keys to kinds."""
    [first, *_] = sorted(store.list("results/trials/"))
    trial = first.split("/")[2].partition(".")[0]
    keys = {
        f"results/epochs/{trial}/{'0' * 12}.parquet": "tables of attempts",
        f"results/predictions/{'ab' * 8}/{'1' * 12}.parquet": "tables of attempts",
        f"checkpoints/{trial}/state.pt": "checkpoints",
        f"checkpoints/{'ab' * 8}/state.pt": "checkpoints",
        f"stages/{'cd' * 8}/result.pt": "shared models",
        f"results/compact/{'ef' * 32}.parquet": "compacted results",
        f"results/compact/epochs/{'ef' * 32}.parquet": "compacted results",
        f"datasets/gaussian-squares/shards/{'ef' * 32}.parquet": "parts of datasets",
        "datasets/gaussian-squares/parts/key.json.gz": "parts of datasets",
    }
    for key in keys:
        store.put(key, b"left behind")
    return keys


def make_old(folder: Path) -> None:
    """Make all files of a folder eight days old."""
    for path in folder.rglob("*"):
        if path.is_file():
            then = time.time() - WEEK
            os.utime(path, (then, then))


def test_what_nothing_needs_is_listed_and_deleted(
    kept: FolderStore, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only what is old, and only with --yes; a report needs none of it, and says the same after."""
    assert main(["store", "compact", "--store", kept.url]) == 0
    expected = report_tables(kept, "tiny", here / "before")
    keys = litter(kept)
    assert run(capsys, "store prune", "--store", kept.url)["prunable"] == []
    make_old(here / "store")
    young = f"results/epochs/{'ab' * 8}/{'2' * 12}.parquet"
    kept.put(young, b"an attempt that is about to commit")
    document = run(capsys, "store prune", "--store", kept.url)
    listed = {key: each["kind"] for each in document["prunable"] for key in each["objects"]}
    assert {key: kind for key, kind in listed.items() if key in keys} == keys
    assert document["removed"] == 0
    assert all(kept.exists(key) for key in keys)
    removed = run(capsys, "store prune", "--store", kept.url, "--yes")["removed"]
    assert removed == len(listed)
    assert not any(kept.exists(key) for key in keys)
    assert kept.exists(young)
    after = report_tables(kept, "tiny", here / "after")
    for name, frame in after.items():
        pd.testing.assert_frame_equal(frame, expected[name], check_exact=True, obj=name)
    assert main(["store", "check", "--store", kept.url]) in (0, 1)
    assert not plan_on(tiny(), kept).missing


def test_what_an_unfinished_sweep_needs_stays(kept: FolderStore, here: Path) -> None:
    """Its checkpoint, and models that its trials may begin with."""
    litter(kept)
    plan = plan_on(tiny(), kept)
    [trial, *_] = plan.trials
    kept.delete(results.trial_key(trial.id))
    kept.put(results.checkpoint_key(trial.id), b"half way")
    make_old(here / "store")
    listed = [
        item.key
        for each in find_prunable(ResultReader(kept), 7.0, results=True)
        for item in each.objects
    ]
    assert results.checkpoint_key(trial.id) not in listed
    assert not any(key.startswith("stages/") for key in listed)


@pytest.mark.slow
def test_checkpoints_of_stopped_trials_go_when_the_search_is_over(tmp_path: Path) -> None:
    """Not before; and the search, made longer, is the one that it would have been."""
    store, spec = FolderStore(tmp_path / "store"), real_spec()
    for most in (4, math.inf):
        archive(store, spec, run_search_here(store, spec, tmp_path / "cache", most))
        make_old(tmp_path / "store")
        left = set(store.list("checkpoints/"))
        prunable = find_prunable(ResultReader(store), 7.0)
        listed = {item.key for each in prunable for item in each.objects}
        assert left
        assert left & listed == (left if most == math.inf else set())
    assert prune(store, prunable) >= len(left)
    longer = real_spec(REAL.replace("trials: 5", "trials: 7"))
    after = run_search_here(store, longer, tmp_path / "cache")
    undisturbed = run_search_here(FolderStore(tmp_path / "new"), longer, tmp_path / "cache")
    assert not after.is_searching
    assert after.searches == undisturbed.searches


@pytest.fixture
def unnamed(kept: FolderStore, here: Path) -> FolderStore:
    """The store with its sweep shrunk to one seed, so that two results are of no named sweep."""
    spec = tiny(axes__seed=[0])
    archive(kept, spec, plan_on(spec, kept))
    make_old(here / "store")
    return kept


def test_results_of_no_named_sweep_go_on_request_alone(
    unnamed: FolderStore, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Those of a named one never do, nor what is known of its trials before their end."""
    [kept_id, *_] = sorted(trial.id for trial in plan_on(tiny(axes__seed=[0]), unnamed).trials)
    for trial in (kept_id, "ab" * 8):
        unnamed.put(stopped_key(trial), b"of a search")
    make_old(here / "store")
    assert run(capsys, "store prune", "--store", unnamed.url, "--yes")["removed"] == 0
    assert len(results.committed_ids(unnamed)) == 4
    assert run(capsys, "store prune", "--store", unnamed.url, "--yes", "--results")["removed"] == 7
    assert unnamed.exists(stopped_key(kept_id))
    plan = plan_on(tiny(axes__seed=[0]), unnamed)
    assert results.committed_ids(unnamed) == plan.done
    assert not plan.missing


def test_nothing_is_pruned_where_a_plan_is_damaged(
    kept: FolderStore, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody knows what that sweep refers to; the message says what to do, and it helps."""
    litter(kept)
    make_old(here / "store")
    kept.put("sweeps/tiny/plan.json", b"{")
    assert main(["store", "prune", "--store", kept.url, "--yes"]) == 2
    assert "run the sweep again to rewrite it" in capsys.readouterr().err
    assert main(["run", "tiny.yaml", "--store", kept.url]) == 0
    assert main(["store", "prune", "--store", kept.url, "--yes"]) == 0


def test_objects_in_s3_are_pruned_by_their_age(s3_store: Store, finished: Path) -> None:
    """The server's own times decide."""
    for path in (finished / "store").rglob("*.*"):
        s3_store.put(path.relative_to(finished / "store").as_posix(), path.read_bytes())
    keys = litter(s3_store)
    store = open_store(s3_store.url)
    assert find_prunable(ResultReader(store), 7.0) == []
    prunable = find_prunable(ResultReader(store), 7.0, now=time.time() + WEEK)
    assert {item.key for each in prunable for item in each.objects} == keys.keys()
    assert prune(store, prunable) == len(keys)
    assert not plan_on(tiny(), store).missing
