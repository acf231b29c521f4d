"""The table of the command line's verbs."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from docs.generate.documents import DocumentError, code, table
from sweeps.cli import build_parser

EXAMPLES = {
    "stage": ("data", "sweeps stage siim-acr DIR --set image_size=512"),
    "phantom": ("data", "sweeps phantom siim-acr DIR --set n_train=200"),
    "plan": ("run", "sweeps plan my.yaml"),
    "run": ("run", "sweeps run my.yaml --set train.epochs=2"),
    "schema": ("run", "sweeps schema > sweep.schema.json"),
    "submit": ("cluster", "sweeps submit my.yaml --address http://localhost:8265"),
    "status": ("cluster", "sweeps status my-sweep --json"),
    "logs": ("cluster", "sweeps logs my-sweep --trial 3f2a91c0 --follow"),
    "stop": ("cluster", "sweeps stop my-sweep"),
    "report": ("results", "sweeps report my-sweep --out my-report"),
    "pull": ("results", "sweeps pull my-sweep --out my-tables"),
    "serve": ("store", "sweeps serve --port 8333"),
}
"""Verb to its group and an example, in the order of the table."""


def parsers(
    parser: argparse.ArgumentParser | None = None, parent: str = ""
) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Yield each verb with its parser; a verb below another one as `VERB SUBVERB`."""
    for action in (build_parser() if parser is None else parser)._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, below in action.choices.items():
                yield from list(parsers(below, f"{parent}{name} ")) or [(f"{parent}{name}", below)]


def entries() -> list[tuple[str, str, str, str]]:
    """List group, name, summary and example of each verb.

    Raises:
        DocumentError: a verb of the command line has no group and example.
    """
    summaries = {
        each.dest: each.help or ""
        for action in build_parser()._actions
        if isinstance(action, argparse._SubParsersAction)
        for each in action._choices_actions
    }
    if summaries.keys() != EXAMPLES.keys():
        different = sorted(summaries.keys() ^ EXAMPLES.keys())
        raise DocumentError(
            f"verbs {', '.join(different)}: in the command line or in docs.generate.verbs alone; "
            "give each new verb its group and example there"
        )
    return [(group, name, summaries[name], text) for name, (group, text) in EXAMPLES.items()]


def verbs() -> str:
    """Write one row a verb, by groups."""
    rows = [(group, code(name), summary, code(text)) for group, name, summary, text in entries()]
    return table(("group", "verb", "what it does", "example"), rows)
