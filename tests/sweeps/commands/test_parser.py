"""The parser of the command line: help, options and code of every verb, completion."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_sweeps import (
    ROOT,
)

from sweeps.cli import HANDLERS, main
from sweeps.commands.parser import ARGUMENTS, build_parser
from sweeps.commands.verbs import GROUPS, VERBS, Verb


def printed_before_exit(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Standard output of options that print and exit with status 0."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def test_help_lists_all_verbs_under_their_headings(capsys: pytest.CaptureFixture[str]) -> None:
    """Each in one line of a terminal; the examples of the footer are commands."""
    text = printed_before_exit(capsys, "--help")
    assert text.startswith("usage: sweeps")
    sections = dict(section.split(":\n", 1) for section in text.split("\n\n") if ":\n" in section)
    listed = {group: re.findall("^  (.+?)  ", sections[group], re.M) for group in GROUPS}
    assert listed == {
        group: [verb.name for verb in VERBS if verb.group == group] for group in GROUPS
    }
    assert max(len(line) for line in text.splitlines()) <= 88
    for line in sections["examples"].splitlines():
        parse_command(line.partition("#")[0])
    assert "docs/yaml.md" in text


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.name)
def test_a_verb_has_help_an_example_and_code(
    verb: Verb, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its example is a command of this verb, on a file of the repository where it names one."""
    text = printed_before_exit(capsys, *verb.name.split(), "--help")
    assert text.startswith(f"usage: sweeps {verb.name} ")
    assert f"\nexample:\n  {verb.example}\n" in text
    options = parse_command(verb.example.partition(">")[0])
    assert options.verb == verb.name
    assert hasattr(options, "json") == bool(verb.json_fields)


def parse_command(line: str) -> argparse.Namespace:
    """Options of a command as a user types it; files that it reads are there."""
    sweeps, *arguments = shlex.split(line)
    assert sweeps == "sweeps"
    assert [a for a in arguments if a.endswith(".yaml") and not (ROOT / a).exists()] == []
    return build_parser().parse_args(arguments)


def test_every_verb_has_options_and_code() -> None:
    """The table of verbs, what they take and what runs them name the same ones, in one order."""
    assert list(ARGUMENTS) == list(HANDLERS) == [verb.name for verb in VERBS]


def test_verbs_of_two_words_stand_below_their_first(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`sweeps films --help` lists them; nothing else has to be told of them."""
    films = [
        replace(VERBS[-1], name=name, summary=f"{name} it") for name in ("films show", "films list")
    ]
    for verb in films:
        monkeypatch.setitem(ARGUMENTS, verb.name, lambda parser: parser.add_argument("name"))
    parser = build_parser([*VERBS, *films])
    assert parser.parse_args(["films", "list", "x"]).verb == "films list"
    assert parser.parse_args(["schema"]).verb == "schema"
    with pytest.raises(SystemExit):
        parser.parse_args(["films", "--help"])
    text = capsys.readouterr().out
    assert text.startswith("usage: sweeps films VERB ...")
    assert "  films show  films show it\n" in text


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    """From its metadata, as in `pyproject.toml`."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert printed_before_exit(capsys, "--version") == f"sweeps {project['version']}\n"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("sweeps sta", {"stage", "status"}),
        ("sweeps plan ", {"tiny.yaml", "specs/"}),
        ("sweeps plan tiny.yaml --st", {"--store"}),
        ("sweeps phantom i", {"isic"}),
    ],
)
def test_a_shell_completes_verbs_options_and_specs(
    here: Path, line: str, expected: set[str]
) -> None:
    """As bash asks for it; of files only YAML and folders, and nothing is run."""
    (here / "notes.txt").touch()
    (here / "specs").mkdir()
    done = subprocess.run(
        ["bash", "-c", f'"{sys.executable}" -m sweeps 8>&1 9>&2 >/dev/null 2>&1'],
        env={
            **os.environ,
            "_ARGCOMPLETE": "1",
            "COMP_LINE": line,
            "COMP_POINT": str(len(line)),
            "_ARGCOMPLETE_IFS": "\n",
            "_ARGCOMPLETE_SUPPRESS_SPACE": "1",
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert {*done.stdout.split("\n")} >= expected
    assert "notes.txt" not in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [(), ("plam",), ("plan",), ("run", "tiny.yaml", "--fast"), ("serve", "--port", "x")],
)
def test_a_command_line_that_is_none_shows_its_usage(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """Status 2, as for every error that the user can mend."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: sweeps" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "error", "help_of"),
    [
        ("plna x.yaml", "sweeps: error: 'plna' is unknown: did you mean plan?", "sweeps"),
        ("zzzzz", "sweeps: error: 'zzzzz' is unknown: expected one of ", "sweeps"),
        (
            "plan x.yaml --jsno",
            "sweeps plan: error: unrecognized arguments: --jsno: did you mean --json?",
            "sweeps plan",
        ),
        (
            "schema --zzzzz",
            "sweeps schema: error: unrecognized arguments: --zzzzz",
            "sweeps schema",
        ),
        ("plan", "sweeps plan: error: the following arguments are required: spec", "sweeps plan"),
    ],
)
def test_a_mistyped_command_names_the_nearest_and_its_help(
    capsys: pytest.CaptureFixture[str], command: str, error: str, help_of: str
) -> None:
    """The help that the message names is printed by that command."""
    with pytest.raises(SystemExit) as caught:
        main(command.split())
    assert caught.value.code == 2
    first, second = capsys.readouterr().err.splitlines()[-2:]
    assert first.startswith(error)
    assert second == f"See: {help_of} --help"
    assert printed_before_exit(capsys, *help_of.split()[1:], "--help").startswith("usage: ")
