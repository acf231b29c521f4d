"""The documents: tables as the registries have them, links, examples and commands that work."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from docs.generate.documents import ROOT, DocumentError, documents, render, table
from docs.generate.tables import TABLES
from docs.generate.verbs import parsers
from sweeps.commands.parser import build_parser
from sweeps.commands.verbs import VERBS
from sweeps.spec.model import parse_override, parse_spec

PAGES = [str(path.relative_to(ROOT)) for path in documents()]
LINKED = [*PAGES, "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "k8s/README.md"]
MOST_WORDS = 900
MOST_SECONDS = 1800
FRAGMENT_BASE: dict[str, Any] = {
    "name": "example",
    "dataset": "siim-acr",
    "axes": {"specificity": ["label"], "budget": [600], "method": ["erm"], "seed": [0]},
}
"""What an example that shows some keys alone is completed with."""


def read(document: str) -> str:
    """A document's text."""
    return (ROOT / document).read_text(encoding="utf-8")


def blocks(document: str, *languages: str) -> list[str]:
    """Code blocks of some languages, in order."""
    return re.findall(rf"```(?:{'|'.join(languages)})\n(.*?)```", read(document), re.DOTALL)


def commands(document: str) -> Iterator[list[str]]:
    """Command lines of code blocks as words, without comments, redirections and assignments."""
    for block in blocks(document, "bash", "sh", "text"):
        for line in block.replace("\\\n", " ").splitlines():
            with suppress(ValueError):  # an output with an apostrophe
                words = shlex.split(line, comments=True)
                ends = [i for i, word in enumerate(words) if word in (">", "|", "&", "&&")]
                yield words[: min(ends, default=len(words))]


def anchors(document: Path) -> set[str]:
    """Names of headings, as links to them are written."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in headings}


@pytest.mark.parametrize("document", PAGES)
def test_tables_are_those_of_the_registries(document: str) -> None:
    """What `make docs` would write stands there already."""
    text = read(document)
    assert render(text, TABLES, document) == text, "run `make docs`"


def test_every_table_stands_in_one_document() -> None:
    """No table is written for nobody, and none twice."""
    shown = re.findall(r"<!-- table: ([\w-]+) -->", "".join(map(read, PAGES)))
    assert sorted(shown) == sorted(TABLES)


def test_blocks_are_filled_and_markers_are_checked() -> None:
    """Lines between markers are replaced; a wrong name or a lone marker is an error."""
    text = "a\n<!-- table: t -->\nold\n<!-- /table -->\nb\n"
    filled = render(text, {"t": lambda: table(("x", "empty", "y"), [("1|2", "", "b")])})
    lines = "| x | y |\n| --- | --- |\n| 1\\|2 | b |"
    assert filled == f"a\n<!-- table: t -->\n\n{lines}\n\n<!-- /table -->\nb\n"
    assert render(filled, {"t": lambda: lines}) == filled
    with pytest.raises(DocumentError, match="unknown table 't'; expected one of u"):
        render(text, {"u": str})
    with pytest.raises(DocumentError, match="without a partner"):
        render(text.replace("<!-- /table -->", ""), {"t": str})


def test_every_verb_is_in_the_table() -> None:
    """The command line and the table have the same verbs."""
    assert [verb.name for verb in VERBS] == [name for name, _ in parsers()]


def test_the_readme_is_short_and_says_how_to_get_the_project() -> None:
    """At most 900 words, with the clone, the two commands and the way on."""
    text = read("README.md")
    assert len(text.split()) <= MOST_WORDS
    assert "git clone" in text
    assert len(blocks("README.md", "bash")) >= 2
    missing = [page for page in [*PAGES, *LINKED] if page != "README.md" and page not in text]
    assert missing == []


@pytest.mark.parametrize("document", LINKED)
def test_every_relative_link_leads_somewhere(document: str) -> None:
    """Links and pictures name files of the repository, and headings in them."""
    links = [link for link in re.findall(r"\]\(([^)]+)", read(document)) if "://" not in link]
    missing = []
    for link in links:
        name, _, heading = link.partition("#")
        target = (ROOT / document).parent / name if name else ROOT / document
        if not target.exists() or (heading and heading not in anchors(target)):
            missing.append(link)
    assert missing == []


@pytest.mark.parametrize("document", PAGES)
def test_examples_are_valid_specifications(document: str) -> None:
    """Every YAML block is a sweep, or keys that complete one."""
    for text in blocks(document, "yaml"):
        keys = yaml.safe_load(text)
        parse_spec(text if "name" in keys else yaml.safe_dump({**FRAGMENT_BASE, **keys}), document)


@pytest.mark.parametrize("document", LINKED)
def test_commands_exist(document: str) -> None:
    """Every command of a code block is one that the command line or the Makefile takes."""
    targets = re.findall(r"^([\w-]+):", read("Makefile"), re.MULTILINE)
    parser, wrong = build_parser(), []
    for words in commands(document):
        program, *arguments = words or [""]
        if program == "make":
            wrong += [word for word in arguments if "=" not in word and word not in targets]
        if Path(program).name == "sweeps" and arguments:
            wrong += [] if _is_taken(parser, arguments) else [shlex.join(words)]
    assert wrong == []


def _is_taken(parser: argparse.ArgumentParser, arguments: list[str]) -> bool:
    try:
        parser.parse_args(arguments)
    except SystemExit:
        return False
    return True


@pytest.mark.parametrize("document", LINKED)
def test_commands_in_sentences_exist(document: str) -> None:
    """A verb or target that is named in a sentence exists, and the verb has the options."""
    text = read(document)
    targets = re.findall(r"^([\w-]+):", read("Makefile"), re.MULTILINE)
    assert [name for name in re.findall(r"`make ([\w-]+)", text) if name not in targets] == []
    known = dict(parsers())
    for line in re.findall(r"`(?:\.venv/bin/)?sweeps ([a-z][^`]*)`", text):
        words = re.sub(r"[\[\]|]", " ", line).split()
        names = [" ".join(words[:2]), words[0]]
        taken = next((known[name].format_help() for name in names if name in known), "")
        assert taken, line
        flags = [word for word in words if word.startswith("--")]
        assert [flag for flag in flags if flag not in re.findall(r"--[\w-]+", taken)] == [], line


@pytest.mark.parametrize(
    "spec", sorted((ROOT / "sweeps/specs").glob("*.yaml")), ids=lambda p: p.stem
)
def test_commands_of_shipped_specifications_can_be_typed(spec: Path) -> None:
    """In a clone, as they stand in the comment: verbs, paths and keys exist."""
    lines = re.findall(r"^#   sweeps (.+)$", spec.read_text(encoding="utf-8"), re.MULTILINE)
    for line in lines:
        words = shlex.split(line, comments=True)
        parsed = build_parser().parse_args(words)
        if words[0] == "run":
            pairs = [word.replace("SHA256", "a" * 64) for word in words if "=" in word]
            named = dict(parse_override(pair) for pair in pairs)
            assert parse_spec((ROOT / words[1]).read_text(encoding="utf-8"), overrides=named)
            assert parsed.spec == words[1]


def test_environment_variables_are_documented() -> None:
    """Every variable of this project that the code reads stands in the table."""
    sources = [path for top in ("cluster", "sweeps") for path in (ROOT / top).rglob("*.py")]
    names = re.findall(r'"(SWEEPS_[A-Z_]+)"', "".join(path.read_text() for path in sources))
    assert len(set(names)) >= 4
    assert [
        name for name in sorted(set(names)) if f"| `{name}`" not in read("docs/cluster.md")
    ] == []


@pytest.mark.readme
@pytest.mark.timeout(3 * MOST_SECONDS)
def test_the_documents_commands_run_in_a_clean_clone(tmp_path: Path) -> None:
    """Every bash block of the README, then of docs/, exits 0, typed in order in a clean clone."""
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    environment = {**os.environ, "SWEEPS_HOME": str(tmp_path / "home")}
    for block in [block for page in PAGES for block in blocks(page, "bash")]:
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
