"""Shell completion by argcomplete: `eval "$(register-python-argcomplete sweeps)"`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import argcomplete
from argcomplete.completers import FilesCompleter


def complete(parser: argparse.ArgumentParser) -> None:
    """Print the completions that the shell asks for and end the process.

    A sweep completes to folders and YAML files; all other arguments to files.
    """
    for action in _walk_actions(parser):
        if action.dest == "spec" or action.metavar == "RAYCLUSTER.yaml":
            action.completer = FilesCompleter(("yaml", "yml"))  # type: ignore[attr-defined]
    argcomplete.autocomplete(parser)


def _walk_actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Yield the arguments of a parser and of all parsers below it."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from _walk_actions(below)
        else:
            yield action
