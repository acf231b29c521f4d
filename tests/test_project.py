"""The project as a whole: locks, packages, where imports come from, the Makefile."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path
from statistics import median

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("cluster", "spurious", "sweeps")


@pytest.mark.parametrize(("lock", "fewest"), [("runtime", 100), ("dev", 20), ("tables", 1)])
def test_lock_files_pin_with_hashes_and_name_no_host(lock: str, fewest: int) -> None:
    """Every requirement is exact and hashed, and no address of a package index is recorded."""
    text = (ROOT / "requirements" / f"{lock}.txt").read_text()
    assert "://" not in text
    assert "--index" not in text
    pins = re.findall(r"^[a-zA-Z0-9][^\n]*", text, re.MULTILINE)
    assert len(pins) >= fewest
    assert [pin for pin in pins if not re.match(r"[\w.-]+(\[[\w,-]+\])?==\S+", pin)] == []
    assert text.count("--hash=sha256:") >= len(pins)


def test_the_development_lock_only_adds_to_the_runtime_lock() -> None:
    """What is tested is what is installed: each package is pinned once, in one of the two files."""
    runtime, dev = (
        (ROOT / "requirements" / name).read_text() for name in ("runtime.txt", "dev.txt")
    )
    names = [set(re.findall(r"^([\w.-]+)==", text, re.MULTILINE)) for text in (runtime, dev)]
    assert dev.startswith("-r runtime.txt\n")
    assert not names[0] & names[1]
    assert {"pytest", "ruff", "uv"} <= names[1]


def test_files_and_functions_are_short() -> None:
    """Files have 400 lines at most, half of them 130; functions of the packages 50."""
    tops = (*PACKAGES, "k8s", "docs", "tests")
    files = [path for top in tops for path in (ROOT / top).rglob("*.py")]
    counts = {path: len(path.read_text().splitlines()) for path in files}
    assert {path: count for path, count in counts.items() if count > 400} == {}
    ours = [path for path in files if path.relative_to(ROOT).parts[0] != "tests"]
    texts = {path: path.read_text() for path in ours if path.name != "__init__.py"}
    lines = {path: counts[path] for path in texts}
    assert median(lines.values()) <= 130
    functions = [
        (str(path), node.name, 1 + (node.end_lineno or 0) - node.lineno)
        for path, text in texts.items()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    assert [function for function in functions if function[2] > 50] == []


def test_every_folder_of_modules_is_a_package() -> None:
    """What is installed is all there is: a folder without `__init__.py` would be left out."""
    modules = [path for top in PACKAGES for path in (ROOT / top).rglob("*.py")]
    assert len(modules) > 100
    assert [path for path in modules if not (path.parent / "__init__.py").exists()] == []


def test_the_three_imports_come_from_this_project() -> None:
    """No other distribution's `cluster` or `sweeps` shadows ours, from any working folder."""
    code = (
        "import cluster, spurious, sweeps; "
        "print(cluster.__file__, spurious.__file__, sweeps.__file__)"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], cwd="/", capture_output=True, text=True, check=True
    ).stdout.split()
    assert [Path(path).parent for path in out] == [ROOT / name for name in PACKAGES]


def test_the_command_line_starts_without_torch_ray_or_pandas() -> None:
    """Importing the command line loads none of the heavy libraries."""
    code = (
        "import sys, sweeps.cli, sweeps.commands.context; "
        "print([m for m in ('torch', 'ray', 'pandas', 'pyarrow', 'boto3') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_make_targets_have_at_most_three_lines() -> None:
    """The Makefile stays a list of commands."""
    targets = re.findall(
        r"^([\w./-]+):[^\n]*\n((?:\t[^\n]*\n)*)", (ROOT / "Makefile").read_text(), re.M
    )
    names = {name for name, _ in targets}
    assert {"setup", "demo", "check", "test", "bench"} <= names
    assert [name for name, body in targets if body.count("\n") > 3] == []


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.parametrize(
    ("there", "called"),
    [
        ("Python 3.11.4", "-m venv .venv"),
        ("Python 3.12.1", "-m venv --clear .venv"),
        (None, "-m venv --clear .venv"),
    ],
)
def test_setup_replaces_an_environment_of_another_python(
    tmp_path: Path, there: str | None, called: str
) -> None:
    """Else two versions share a folder; after a change of pins the same one is brought up to date.

    The Python that is called notes its arguments and fails, so that nothing is installed.
    """

    def write_python(path: Path, version: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        script = f'[ "$1" = -V ] && echo "{version}" && exit; echo "$@" >> {tmp_path}/calls; exit 1'
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    for name in ("runtime", "dev", "tables"):
        (tmp_path / "requirements").mkdir(exist_ok=True)
        (tmp_path / "requirements" / f"{name}.txt").touch()
    (tmp_path / "pyproject.toml").touch()
    shutil.copy(ROOT / "Makefile", tmp_path)
    write_python(tmp_path / "python", "Python 3.11.4")
    if there is not None:
        write_python(tmp_path / ".venv" / "bin" / "python", there)
    make = ["make", "-C", str(tmp_path), "setup", f"PYTHON={tmp_path}/python"]
    assert subprocess.run(make, capture_output=True, check=False).returncode
    assert (tmp_path / "calls").read_text().strip() == called
