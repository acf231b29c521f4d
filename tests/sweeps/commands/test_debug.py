"""`sweeps run --debug`: one trial in this process, its result, its errors, and pdb on demand."""

from __future__ import annotations

import pdb
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tiny_sweeps import DIVERGES, TEXT, assert_same, run_here, tables, tiny

from cluster.stores.folder import FolderStore
from sweeps.cli import main
from sweeps.commands.debug import find_trial
from sweeps.errors import SweepError
from sweeps.plan.facts import plan_on
from sweeps.results import tables as results

LABEL = "mask-20-erm-s1"
ONE = {"axes__specificity": ["mask"], "axes__seed": [1]}


@pytest.fixture
def arguments(tmp_path: Path, folder_store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Arguments of `sweeps run` on an empty store, with a cache of the test's own."""
    (tmp_path / "tiny.yaml").write_text(TEXT)
    monkeypatch.setenv("SWEEPS_CACHE", str(tmp_path / "cache"))
    return ["run", str(tmp_path / "tiny.yaml"), "--store", folder_store.url]


def test_a_debugged_trial_commits_what_a_run_does(
    arguments: list[str], folder_store: FolderStore, tmp_path: Path, capsys: Any
) -> None:
    """It alone, from an empty store, with a line per epoch; `report` then knows the sweep by name.

    A second time it is refused with what to do.
    """
    assert main([*arguments, "--debug", LABEL]) == 0
    lines = capsys.readouterr().err.splitlines()
    epochs = [line for line in lines if line.startswith("epoch ")]
    assert [line.split()[1] for line in epochs] == ["1/3", "2/3", "3/3"]
    assert all("train.loss 0." in line and "val.robust_auroc" in line for line in epochs)
    assert lines[-1].startswith(f"{LABEL} committed: robust AUROC ")
    plan = plan_on(tiny(), folder_store)
    assert [trial.label for trial in plan.trials if trial.id in plan.done] == [LABEL]
    alone = FolderStore(tmp_path / "alone")
    expected = tables(alone, run_here(alone, tiny(**ONE), tmp_path / "cache"))
    assert_same(tables(folder_store, plan), expected)
    assert main(["pull", "tiny", "--store", folder_store.url, "--out", str(tmp_path / "out")]) == 0

    assert main([*arguments, "--debug", LABEL]) == 2
    told = capsys.readouterr().err
    assert f"trial {LABEL} has a result already" in told
    assert "give an empty store, e.g. --store /tmp/debug, or delete " in told
    folder_store.delete(told.partition(", or delete ")[2].split()[0])
    assert main([*arguments, "--debug", LABEL]) == 0


def test_ray_is_not_imported(arguments: list[str]) -> None:
    """Neither by the trial nor by the staging of its generator: a breakpoint needs one process."""
    code = (
        "import sys; from sweeps.cli import main; status = main(sys.argv[1:]);"
        "print(status, 'torch' in sys.modules, 'ray' in sys.modules)"
    )
    process = subprocess.run(
        [sys.executable, "-c", code, *arguments, "--debug", LABEL],
        capture_output=True,
        text=True,
        check=True,
    )
    assert process.stdout == "0 True False\n", process.stderr
    assert process.stderr.count(" begins\n") == 1  # in one log, not in the command's, too


@pytest.mark.parametrize("asked", [True, False])
def test_pdb_is_entered_where_the_trial_raised(
    arguments: list[str],
    folder_store: FolderStore,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Any,
    asked: bool,
) -> None:
    """With `--pdb` alone; either way the traceback is shown, status 1, and no failure counted."""
    frames: list[str] = []

    def post_mortem(trace: Any) -> None:
        while trace.tb_next is not None:
            trace = trace.tb_next
        frames.append(trace.tb_frame.f_code.co_name)

    monkeypatch.setattr(pdb, "post_mortem", post_mortem)
    diverging = {f"train.{key}": value for key, value in DIVERGES.items()} | {"train.epochs": 8}
    changes = [item for key, value in diverging.items() for item in ("--set", f"{key}={value}")]
    pdb_option = ["--pdb"] if asked else []
    assert main([*arguments, *changes, "--debug", LABEL, *pdb_option]) == 1
    assert frames == (["_train_epoch"] if asked else [])
    told = capsys.readouterr().err
    assert "Traceback (most recent call last)" in told
    assert told.splitlines()[-1].startswith(f"failed: {LABEL} ")
    spec = tiny(**{key.replace(".", "__"): value for key, value in diverging.items()})
    ids = [trial.id for trial in plan_on(spec, folder_store).trials]
    assert "numerical: " in told.splitlines()[-1]
    assert results.read_failures(folder_store, ids).num_rows == 0
    assert results.committed_ids(folder_store) == set()


def test_a_trial_is_named_by_label_or_first_digits(folder_store: FolderStore) -> None:
    """What names none, or several, is an error that lists the nearest or all of them."""
    plan = plan_on(tiny(), folder_store)
    for trial in plan.trials:
        assert find_trial(plan, trial.label) == find_trial(plan, trial.id[:8]) == trial
    with pytest.raises(SweepError, match="4 trials, none with this label") as unknown:
        find_trial(plan, "mask-20-erm-s7")
    assert "nearest: mask-20-erm-s" in str(unknown.value)
    many = plan_on(tiny(axes__seed=list(range(20))), folder_store)
    first = many.trials[0].id[0]
    shared = [trial for trial in many.trials if trial.id.startswith(first)]
    assert len(shared) > 1
    with pytest.raises(SweepError, match=f"--debug {first}: {len(shared)} trials") as several:
        find_trial(many, first)
    assert f"{shared[1].id} ({shared[1].label})" in str(several.value)
    assert "give more digits of the id" in str(several.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--pdb"], "--pdb needs a trial"),
        (["--debug", LABEL, "--keep-logs"], "leave it out"),
        (["--debug", LABEL, "--json"], "leave it out"),
    ],
)
def test_options_that_do_not_go_together(
    arguments: list[str], capsys: Any, options: list[str], message: str
) -> None:
    """A whole sweep runs in other processes, which have no pdb; one trial has no logs of Ray."""
    assert main([*arguments, *options]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("SWEEPS_CACHE_MAX", "much", "SWEEPS_CACHE_MAX"),
        ("SWEEPS_CACHE", "/dev/null/cache", "set SWEEPS_CACHE or SWEEPS_HOME"),
    ],
)
def test_a_cache_that_cannot_be_is_refused_before_the_trial(
    arguments: list[str],
    folder_store: FolderStore,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Any,
    variable: str,
    value: str,
    expected: str,
) -> None:
    """As `sweeps run` does: a wrong setting of this machine is not a failure of the trial."""
    monkeypatch.setenv(variable, value)
    assert main([*arguments, "--debug", LABEL]) == 2
    assert expected in capsys.readouterr().err
    assert list(folder_store.list("results/failures/")) == []
