"""What a verb of the command line is: a row of the table of verbs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Verb:
    """One verb of the command line.

    Attributes:
        name: What is typed after `sweeps`; a verb below another has two words.
        group: Its heading, one of `sweeps.commands.verbs.GROUPS`.
        summary: One line for a list of verbs.
        example: A command that works as it stands, on files of this repository where possible.
        details: Sentences for the verb's own help.
        json_fields: Fields of the document that `--json` prints, with their meanings; empty for a
            verb without `--json`.
    """

    name: str
    group: str
    summary: str
    example: str
    details: str
    json_fields: Mapping[str, str] = field(default_factory=dict)
