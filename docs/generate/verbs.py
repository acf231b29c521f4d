"""The table of the command line's verbs."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from docs.generate.documents import code, table
from sweeps.commands.parser import build_parser
from sweeps.commands.verbs import VERBS


def parsers(
    parser: argparse.ArgumentParser | None = None, parent: str = ""
) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Yield each verb with its parser; a verb below another one as `VERB SUBVERB`."""
    for action in (build_parser() if parser is None else parser)._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, below in action.choices.items():
                yield from list(parsers(below, f"{parent}{name} ")) or [(f"{parent}{name}", below)]


def verbs() -> str:
    """Write one row a verb, by groups."""
    rows = [(verb.group, code(verb.name), verb.summary, code(verb.example)) for verb in VERBS]
    return table(("group", "verb", "what it does", "example"), rows)
