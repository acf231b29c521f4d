"""The command line: statuses, one-line errors, and sweeps by name."""

from __future__ import annotations

import os
import shlex
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from tiny_sweeps import (
    DIVERGES,
    TEXT,
    Place,
    made_place,
    read_json,
    run_here,
    stage_here,
    tiny,
    wait_until,
)
from tiny_weights import tiny_release

from cluster.stores.folder import FolderStore
from spurious.errors import NumericalError
from sweeps.cli import main
from sweeps.commands.context import get_cache_folder, get_home


def failed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The error of a command that must end with status 2 and print nothing else."""
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("sweeps: error: ")
    assert "Traceback" not in captured.err
    return captured.err.removeprefix("sweeps: error: ").rstrip("\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("run nowhere.yaml", "nowhere.yaml: cannot be read (No such file or directory)"),
        ("run tiny.yaml --set train.epochs", "override 'train.epochs': expected KEY=VALUE"),
        ("run tiny.yaml --set train.epoch=2", "train.epoch"),
        ("run tiny.yaml --set train.epochs=0", "train.epochs"),
        ("run tiny.yaml --store ftp://x", "unknown store 'ftp://x'"),
        ("run tiny.yaml --store=", "unknown store '': expected s3://BUCKET[/PREFIX] or a folder"),
        ("run tiny.yaml --store tiny.yaml", "is a file: give a folder"),
        ("plan tiny.yaml --set axes.budget=[21]", "an even number with balance: equal"),
        ("report unknown --store store", "no sweep 'unknown' in"),
        ("run tiny.yaml --set dataset=films --store store", "stage siim-acr DIR --name films"),
        (
            "status tiny.yaml --set axes.budget=[all] --set axes.method=[ssl] --store store",
            "has no trials, all cells are skipped: ssl takes box, mask, r, not label; ssl needs",
        ),
        ("pull unknown --store store", "expected the name of one that was run there, or a YAML"),
        (
            "pull tiny.yaml --store store",
            "no finished trial yet; run it: sweeps run tiny.yaml --store store",
        ),
        ("stage mnist", "'mnist' cannot be staged; expected one of candid-ptx, chexlocalize,"),
        ("stage siim-acrr", "did you mean 'siim-acr'?"),
        ("stage siim-acr", "sweeps stage siim-acr DIR"),
        ("stage gaussian-squares films", "takes no folder; leave 'films' out"),
        ("stage gaussian-squares --set sise=2", "sise"),
        ("stage gaussian-squares --name a/b --store store", "bad dataset name 'a/b'"),
        ("stage siim-acr nowhere --store store", "siim-acr: "),
        ("stage weights", "sweeps stage weights FILE, or hub:NAME"),
        ("stage weights nowhere.pth --store store", "nowhere.pth: cannot be read"),
        ("phantom siim-acr .", "is not empty; expected a new or empty folder"),
        ("phantom siim-acr films --set n_trian=2", "n_trian"),
    ],
)
def test_an_error_is_one_clear_line(
    here: Path, capsys: pytest.CaptureFixture[str], arguments: str, message: str
) -> None:
    """Status 2, no traceback, and Ray is not started for it."""
    assert message in failed(capsys, *arguments.split())


def test_a_sweep_is_known_by_name_with_its_overrides(
    here: Path, folder_store: FolderStore, capsys: pytest.CaptureFixture[str]
) -> None:
    """`run` archives the YAML and its overrides; `pull` and `report` need the name only."""
    run_here(folder_store, tiny(axes__seed=[3]), here / "cache")
    capsys.readouterr()
    store = ("--store", folder_store.url)
    run = ["run", "tiny.yaml", "--set", "axes.seed=[3]", *store]
    assert main([*run, "--json"]) == 0
    captured = capsys.readouterr()
    assert "all 2 trials have a result; nothing to run" in captured.err
    summary = read_json("run", captured.out)
    assert [summary[key] for key in ("trials", "done", "failed", "missing")] == [2, 2, 0, 0]
    used = [summary[key] for key in ("cpu_hours", "gpu_hours", "dollars")]
    assert used == [0, 0, None]  # nodes have no price
    assert main(run) == 0
    follow_next_commands(capsys, "report", "pull")
    assert folder_store.get("sweeps/tiny/spec.yaml").decode() == TEXT
    (here / "tiny.yaml").unlink()

    assert main(["pull", "tiny", "--out", "tables/new", *store]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "tables/new/trials.parquet: 2 rows"
    assert sorted(path.name for path in (here / "tables" / "new").iterdir()) == [
        *("epochs.parquet", "failures.parquet", "predictions.parquet", "trials.parquet")
    ]
    trials = pq.read_table(here / "tables" / "new" / "trials.parquet")
    assert trials.column("seed").to_pylist() == [3, 3]
    assert main(["report", "tiny", *store]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "tiny-report/report.html"
    stored = list(folder_store.list("sweeps/tiny/report/"))
    assert "sweeps/tiny/report/report.html" in stored


def follow_next_commands(capsys: pytest.CaptureFixture[str], *verbs: str) -> None:
    """Type what each command printed as the next one; the last one of `verbs` names none."""
    for verb in verbs:
        lines = capsys.readouterr().err.splitlines()
        commands = [line.removeprefix("next: ") for line in lines if line.startswith("next: ")]
        [command] = [line for line in commands if line.startswith(f"sweeps {verb} ")]
        assert main(shlex.split(command, comments=True)[1:]) == 0
    captured = capsys.readouterr()
    assert "tiny-tables/trials.parquet: 2 rows\n" in captured.out
    assert "next: " not in captured.err


def test_the_store_is_the_option_else_the_specs_else_the_environments(
    here: Path,
    folder_store: FolderStore,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """For every command; nobody has to write --store again and again."""
    trial = run_here(folder_store, tiny(), here / "cache").trials[0].id
    monkeypatch.setenv("SWEEPS_STORE", folder_store.url)
    sizes = ("image_size=16", "abnormality_size=4", "spurious_size=4", "prevalence=0.5")
    counts = ("n_train=40", "n_val=30", "n_test=30")
    options = [part for pair in (*sizes, *counts) for part in ("--set", pair)]
    torch.save(tiny_release(), here / "weights.pth")
    commands = {
        "stage gaussian-squares": f"in {folder_store.url}\n",
        "plan tiny.yaml": "4 done, 0 to run",
        "run tiny.yaml": "all 4 trials have a result",
        "status tiny": "4 trials, 4 done",
        "pull tiny": "trials.parquet: 4 rows",
        "report tiny": "report.html",
        "submit tiny.yaml --dry-run": f"--store {folder_store.url}",
    }
    for command, expected in commands.items():
        more = options if command.startswith("stage") else []
        assert main([*command.split(), *more]) == 0
        captured = capsys.readouterr()
        assert expected in captured.out + captured.err, command
    for command in ("stage gaussian-squares", "status tiny", "pull tiny", "report tiny"):
        more = options if command.startswith("stage") else []
        assert main([*command.split(), *more, "--json"]) == 0
        read_json(command.split()[0], capsys.readouterr().out)
    assert main(["stage", "weights", "weights.pth"]) == 0
    captured = capsys.readouterr()
    sha256 = captured.out.strip()
    assert "fit timm:test_resnet, tu-test_resnet; 2 of the file are left out" in captured.err
    assert folder_store.exists(f"weights/{sha256}")
    assert main(["stage", "weights", "weights.pth", "--for", "tu-test_resnet", "--json"]) == 0
    document = read_json("stage", capsys.readouterr().out)
    assert (document["sha256"], document["fits"]) == (sha256, ["tu-test_resnet"])
    message = failed(capsys, "stage", "weights", "weights.pth", "--for", "resnet18")
    assert "weights.pth does not fit resnet18: " in message
    assert "--for is for `sweeps stage weights`" in failed(
        capsys, "stage", "isic", "--for", "vgg11"
    )
    assert "the store keeps no log of trial" in failed(capsys, "logs", "tiny", "--trial", trial)

    (here / "tiny.yaml").write_text(f"{TEXT}store: {here / 'of-the-spec'}\n")
    for more, done in (([], 0), (["--store", folder_store.url], 4)):
        assert main(["plan", "tiny.yaml", *more]) == 0
        assert f"{done} done" in capsys.readouterr().out


def test_failures_can_be_pulled_where_no_trial_finished(
    here: Path, folder_store: FolderStore, capsys: pytest.CaptureFixture[str]
) -> None:
    """Tracebacks of a sweep that failed as a whole are what its user wants to see."""
    training = {f"train__{key}": value for key, value in DIVERGES.items()}
    spec = tiny(axes__seed=[0], axes__specificity=["label"], train__epochs=8, **training)
    with pytest.raises(NumericalError):
        run_here(folder_store, spec, here / "cache")
    overrides = ["axes.seed=[0]", "axes.specificity=[label]", "train.epochs=8"]
    overrides += [f"train.{key}={value}" for key, value in DIVERGES.items()]
    options = [item for override in overrides for item in ("--set", override)]
    assert main(["pull", "tiny.yaml", *options, "--store", folder_store.url]) == 0
    table = pq.read_table(here / "tiny-tables" / "failures.parquet")
    assert table.column("failure_class").to_pylist() == ["numerical"]


def test_output_that_cannot_be_written_is_an_error(
    here: Path, folder_store: FolderStore, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line that names the path."""
    run_here(folder_store, tiny(axes__seed=[0]), here / "cache")
    store = ("--set", "axes.seed=[0]", "--store", folder_store.url)
    capsys.readouterr()
    for command, out, reason in (
        ("pull", "tiny.yaml", "File exists"),
        ("report", "tiny.yaml/x", "Not a directory"),
    ):
        error = failed(capsys, command, "tiny.yaml", "--out", out, *store)
        assert error == f"{out}: {reason}"


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("SWEEPS_HOME", "tiny.yaml", "cannot keep decoded datasets in"),
        ("SWEEPS_CACHE_MAX", "much", "SWEEPS_CACHE_MAX='much': expected a size"),
    ],
)
def test_a_cache_that_cannot_be_used_is_an_error(
    here: Path, folder_store: FolderStore, variable: str, value: str, words: str
) -> None:
    """A folder that cannot be written and a bad limit are named before Ray starts."""
    stage_here(folder_store, tiny())
    environment = {**os.environ, "SWEEPS_CACHE": "", variable: value}
    del environment["RAY_AUTH_MODE"]
    arguments = ["run", "tiny.yaml", "--store", folder_store.url]
    done = subprocess.run(
        [sys.executable, "-m", "sweeps", *arguments],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_places_are_absolute(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers run in other folders, and must find the same cache."""
    monkeypatch.setenv("SWEEPS_HOME", "relative")
    assert get_home() == here / "relative"
    assert get_cache_folder() == here / "relative" / "cache"
    monkeypatch.setenv("SWEEPS_CACHE", "elsewhere")
    assert get_cache_folder() == here / "elsewhere"


@pytest.mark.parametrize(("trials", "read"), [(2000, 1), (1, 0)])
def test_a_reader_that_goes_away_is_no_error(here: Path, trials: int, read: int) -> None:
    """As with `sweeps plan --json | head -1`, whether more is to come or all is still buffered."""
    (here / "tiny.yaml").write_text(f"{TEXT}store: store\n")
    seeds = f"axes.seed=[{','.join(map(str, range(trials)))}]"
    process = subprocess.Popen(
        [sys.executable, "-m", "sweeps", "plan", "tiny.yaml", "--json", "--set", seeds],
        env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    assert [process.stdout.readline() for _ in range(read)] == [b"{\n"] * read
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(timeout=60) == 0


def test_verbose_tells_where_an_error_came_from(here: Path) -> None:
    """The traceback that a bug report wants, on request."""
    done = subprocess.run(
        [sys.executable, "-m", "sweeps", "--verbose", "run", "nowhere.yaml"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "Traceback" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("sweeps: error: nowhere.yaml: cannot be read")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve_stops_cleanly(tmp_path: Path, number: int) -> None:
    """The server is up until a signal, tells no key, and nothing of it is left."""
    with made_place(tmp_path) as place:
        server = place.start("serve")
        assert server.stdout is not None
        lines = [server.stdout.readline() for _ in range(3)]
        assert lines[0].startswith("S3 endpoint: http://127.0.0.1:")
        assert lines[1] == f"keys: {place.folder / 'home' / 'keys.json'}\n"
        keys = place.folder / "home" / "keys.json"
        assert stat.S_IMODE(keys.stat().st_mode) == 0o600
        server.send_signal(number)
        out, errors = server.communicate(timeout=60)
        assert (server.returncode, out, errors) == (0, "", "")
        wait_until(lambda: not served(place))


def served(place: Place) -> list[str]:
    """What runs in the home of a place: the server and its supervisor."""
    home = str(place.folder / "home")
    return [
        entry.name
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and _works_in(entry, home)
    ]


def _works_in(entry: Path, folder: str) -> bool:
    try:
        return os.readlink(entry / "cwd") == folder
    except OSError:  # it ended while we looked, or is another user's
        return False
