"""The table of the command line's verbs."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from docs.generate.documents import DocumentError, code, table
from sweeps.cli import build_parser

VERBS = {
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
"""Verb to its group and an example."""

GROUPS = ("data", "run", "cluster", "results", "store")


def verbs_of(parser: argparse.ArgumentParser, parent: str = "") -> Iterator[tuple[str, str]]:
    """Yield each verb of a command line with its help; a verb's own verbs as `VERB SUBVERB`."""
    for action in parser._actions:
        if not isinstance(action, argparse._SubParsersAction):
            continue
        helps = {each.dest: each.help or "" for each in action._choices_actions}
        for name, below in action.choices.items():
            inner = list(verbs_of(below, f"{parent}{name} "))
            yield from inner or [(f"{parent}{name}", helps.get(name, ""))]


def verbs() -> str:
    """Write one row a verb, by groups.

    Raises:
        DocumentError: `VERBS` and the command line have different verbs.
    """
    known = dict(verbs_of(build_parser()))
    if known.keys() != VERBS.keys():
        different = sorted(known.keys() ^ VERBS.keys())
        raise DocumentError(
            f"verbs {', '.join(different)}: in the command line or in docs.generate.verbs alone; "
            "give each new verb its group and example there"
        )
    rows = [
        (group, code(name), known[name], code(example))
        for group in GROUPS
        for name, (of, example) in VERBS.items()
        if of == group
    ]
    return table(("group", "verb", "what it does", "example"), rows)
