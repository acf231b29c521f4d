"""The project as a whole: links, locks, where imports come from, and the README's commands."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("cluster", "spurious", "sweeps")
DOCUMENTS = (
    *("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"),
    *("k8s/README.md", "docs/results.md", "docs/security.md"),
)
MOST_SECONDS = 1800


def readme_commands() -> list[str]:
    """The bash blocks of the README, in order."""
    return re.findall(r"```bash\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_relative_link_leads_somewhere(document: str) -> None:
    """Links and pictures in the documents name files of the repository."""
    links = re.findall(r"\]\(([^)#]+)", (ROOT / document).read_text())
    local = [link for link in links if "://" not in link]
    missing = [link for link in local if not (ROOT / document).parent.joinpath(link).exists()]
    assert missing == []


def test_the_readme_links_and_has_commands() -> None:
    """The two tests of the README have something to look at."""
    assert len(readme_commands()) >= 3
    assert "](ARCHITECTURE.md)" in (ROOT / "README.md").read_text()


@pytest.mark.parametrize(("lock", "fewest"), [("runtime", 100), ("dev", 20)])
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


@pytest.mark.readme
@pytest.mark.timeout(3 * MOST_SECONDS)
def test_the_readme_commands_run_in_a_clean_clone(tmp_path: Path) -> None:
    """Every bash block of the README exits 0, typed in order in a clean clone."""
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    environment = {**os.environ, "SWEEPS_HOME": str(tmp_path / "home")}
    for block in readme_commands():
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block],
            cwd=clone,
            env=environment,
            capture_output=True,
            text=True,
            timeout=MOST_SECONDS,
        )
        assert done.returncode == 0, f"{block}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    for name in ("quickstart", "phantom"):
        assert (clone / f"{name}-report" / "report.html").stat().st_size > 10_000
