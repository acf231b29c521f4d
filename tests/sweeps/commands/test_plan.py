"""`sweeps plan` as a user calls it: light, and of use wherever the store is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_sweeps import FACTS, FILMS, TEXT, read_json, run_here, stage_here, tiny

from cluster.common.cpus import count_usable_cpus
from cluster.stores.folder import FolderStore
from sweeps.cli import main
from sweeps.commands.plan import find_pool
from sweeps.errors import ResultError
from sweeps.plan.archive import read_archive
from sweeps.plan.packing import Pool
from sweeps.plan.plan import make_plan
from sweeps.plan.render import as_text
from sweeps.results.tables import read_trials
from sweeps.spec.model import parse_spec


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What `sweeps plan` prints; it must succeed and say nothing else."""
    assert main(["plan", *arguments]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    """A spec on a staged dataset, and one on a generator."""
    for name, text in (("films.yaml", FILMS), ("tiny.yaml", TEXT)):
        (tmp_path / name).write_text(text)
    return str(tmp_path / "films.yaml"), str(tmp_path / "tiny.yaml")


def test_an_unstaged_dataset_has_cells_but_no_ids(
    files: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The plan says what is missing and why, and is no failure."""
    text = told(capsys, files[0], "--store", str(tmp_path / "store"))
    assert "4 trials = 2 cells x 2 seeds; 0 done, 4 to run" in text
    assert "dataset unknown" in text
    assert "note: dataset 'films' is not staged in" in text
    assert not (tmp_path / "store").exists()


def test_a_generator_has_ids_before_it_is_staged(
    files: tuple[str, str], folder_store: FolderStore, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its digest and counts are those of its options, so that the first plan shows dollars."""
    store = ("--store", folder_store.url)
    document = json.loads(told(capsys, files[1], "--json", *store))
    assert len(document["trials"]) == 4
    assert document["unknown"] == "'gaussian-squares' is not staged yet; `sweeps run` stages it"
    assert "for validation images" in told(capsys, files[1], *store)
    stage_here(folder_store, tiny())
    staged = read_json("plan", told(capsys, files[1], "--json", *store))
    assert [cell["cost"]["exact"] for cell in staged["cells"]] == [True, True]
    assert staged == {**document, "unknown": None}
    assert "for validation images" in told(capsys, files[1], *store)


@pytest.mark.parametrize("patience", [None, "0"])
def test_a_store_out_of_reach_is_no_failure_of_the_plan(
    files: tuple[str, str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    patience: str | None,
) -> None:
    """Cells, and ids of a generator, with the reason; in seconds, whatever `run` would wait."""
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # the discard port: nobody listens
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "k")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "k")
    monkeypatch.delenv("SWEEPS_STORE_TIMEOUT_S", raising=False)
    if patience is not None:
        monkeypatch.setenv("SWEEPS_STORE_TIMEOUT_S", patience)
    document = json.loads(told(capsys, files[1], "--json", "--store", "s3://bucket/prefix"))
    assert "cannot open s3://bucket/prefix at http://127.0.0.1:9" in document["unknown"]
    assert f"(now {patience or 5})" in document["unknown"]
    assert len(document["trials"]) == 4
    assert os.environ.get("SWEEPS_STORE_TIMEOUT_S") == patience
    if patience is not None:
        assert "dataset unknown" in told(capsys, files[0], "--store", "s3://bucket/prefix")


def test_planning_starts_without_torch_and_ray(files: tuple[str, str], tmp_path: Path) -> None:
    """Neither the command line nor a whole plan imports them, on a laptop it answers at once."""
    code = (
        "import sys, sweeps.cli; heavy = ('torch', 'ray', 'pandas', 'boto3');"
        "first = [m for m in (*heavy, 'numpy', 'yaml') if m in sys.modules];"
        "status = sweeps.cli.main(sys.argv[1:]);"
        "print(status, first, [m for m in heavy if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "plan", files[1], "--store", str(tmp_path / "store")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == "0 [] []\n"
    assert "4 trials" in done.stdout


def test_a_plan_estimates_compute_from_finished_trials(
    folder_store: FolderStore,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Other seeds of the same cells take as long; nothing is guessed before; JSON has it, too."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.delenv("RAY_API_SERVER_ADDRESS", raising=False)
    path = tmp_path / "tiny.yaml"
    path.write_text(TEXT)
    command = (str(path), "--store", folder_store.url)
    assert "compute: no estimate" in told(capsys, *command)
    plan = run_here(folder_store, tiny(axes__seed=[0]), tmp_path / "cache")
    capsys.readouterr()  # lines of the trials' log
    rows = read_trials(folder_store, plan.done).to_pylist()
    hours = sum(of["seconds_total"] for of in rows) / 3600.0
    compute = read_json("plan", told(capsys, *command, "--json"))["compute"]
    assert (compute["trials"], compute["estimated"]) == (2, 2)
    assert compute["cpu_hours"]["value"] == pytest.approx(hours, rel=0.05)
    assert compute["cpu_hours"]["low"] < hours < compute["cpu_hours"]["high"]
    assert (compute["gpu_hours"], compute["dollars"]) == (None, None)
    assert compute["at_once"] == count_usable_cpus()
    assert compute["sources"][0]["level"] == "the same configuration"
    text = told(capsys, *command)
    assert "compute left: " in text
    assert "trials at once on this machine" in text
    priced = {"node_types": {"small": {"dollars_per_hour": 3600.0, "cpus": 2}}, "count": 1}
    options = ("--set", f"cost.compute={json.dumps(priced)}", "--set", "limits.dollars=0.001")
    document = json.loads(told(capsys, *command, *options, "--json"))["compute"]
    assert document["dollars"]["value"] == pytest.approx(hours * 1800.0, rel=0.05)
    assert document["at_once"] == 2
    assert document["used"] == {"dollars": pytest.approx(hours * 1800.0)}
    assert "warning: limits.dollars: $0.0010 will not suffice" in told(capsys, *command, *options)
    other = ("--set", "train.learning_rate=0.001")  # takes as long, and is another trial
    scaled = json.loads(told(capsys, *command, *other, "--json"))["compute"]["sources"][0]
    assert scaled["level"].startswith("the same method and model")


def test_a_damaged_result_tells_no_time(
    folder_store: FolderStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is left out of the estimate, as of everything else, and is no failure of the plan."""
    run_here(folder_store, tiny(axes__seed=[0]), tmp_path / "cache")
    capsys.readouterr()
    for key in list(folder_store.list("results/trials/")):
        folder_store.put(key, folder_store.get(key)[:-9])
    path = tmp_path / "tiny.yaml"
    path.write_text(TEXT.replace("name: tiny", "name: other").replace("20", "18", 1))
    assert "compute: no estimate" in told(capsys, str(path), "--store", folder_store.url)


@pytest.mark.parametrize("variable", ["RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"])
def test_the_size_of_a_cluster_is_not_guessed(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where one is named, or nodes are priced and not counted, wall time is unknown."""
    for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    here = find_pool(tiny())
    assert here is not None
    assert here.words == "this machine"
    small = {"dollars_per_hour": 1, "cpus": 2}
    priced = tiny(cost__compute={"node_types": {"small": small}})
    assert find_pool(priced) is None
    counted = tiny(cost__compute={"node_types": {"small": small}, "count": 3})
    assert find_pool(counted) == Pool("3 nodes of small", 6)
    monkeypatch.setenv(variable, "http://127.0.0.1:8265")
    assert find_pool(tiny()) is None
    assert find_pool(counted) == Pool("3 nodes of small", 6)


def test_a_damaged_archive_is_named(folder_store: FolderStore) -> None:
    """The next run rewrites it."""
    folder_store.put("sweeps/tiny/plan.json", b'{"spec": "name: x"')
    with pytest.raises(ResultError, match=r"tiny/plan.json is damaged .*run the sweep again"):
        read_archive(folder_store, "tiny")


def test_options_are_written_once_below_the_table() -> None:
    """A method is named alone where nothing else has its name, and with its options where not."""
    jtts = [{"name": "jtt", "first_epochs": 5}, {"name": "jtt", "first_epochs": 9}]
    alone = parse_spec(FILMS, overrides={"axes.method": ["erm", jtts[0]]})
    lines = as_text(make_plan(alone, FACTS), alone).splitlines()
    assert [line.split()[2] for line in lines if line.startswith("label")] == ["erm", "jtt"]
    assert "method: jtt(first_epochs=5)" in lines
    both = parse_spec(FILMS, overrides={"axes.method": jtts})
    lines = as_text(make_plan(both, FACTS), both).splitlines()
    assert [line.split()[2] for line in lines if line.startswith("label")] == [
        *("jtt(first_epochs=5)", "jtt(first_epochs=9)")
    ]
