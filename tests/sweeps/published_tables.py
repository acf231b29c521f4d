"""Tables that papers print, as the tests of the report make and read them."""

from __future__ import annotations

from typing import Any

import pandas as pd
from report_tables import Made, evidence

from spurious.scoring.selection import SelectionRule
from sweeps.report.published import Judged, published_frame
from sweeps.report.published_words import published_sections
from sweeps.spec.papers import PublishedTable, read_paper


def paper(text: str) -> PublishedTable:
    """A table of siim-acr with values and orders as YAML."""
    start = "paper: A. Nobody, 2020\ntables:\n  table9:\n    where: Table 9\n    shows: Nothing\n"
    [table] = read_paper(start + "    seeds: 3\n" + text, "here.yaml", "nobody2020")
    return table


def value(specificity: str, budget: str, mean: float, sd: float, method: str = "erm") -> str:
    """One published robust AUROC."""
    cell = f'specificity: {specificity}, budget: "{budget}", method: {method}'
    return f"      - {{dataset: siim-acr, {cell}, metric: robust_auroc, mean: {mean}, sd: {sd}}}\n"


def judged(made: Made, *published: PublishedTable) -> dict[SelectionRule | None, Judged]:
    """The trials at the epochs that they kept, and at those of the tables' rules."""
    by_rule = {}
    for rule in {None, *(table.epoch for table in published)}:
        priced, _, rests_on = evidence(made, rule=rule)
        by_rule[rule] = Judged(priced, rests_on)
    return by_rule


def framed(made: Made, *published: PublishedTable) -> pd.DataFrame:
    """The table of a report on some result tables."""
    _, cells, _ = evidence(made)
    return published_frame(published, cells, judged(made, *published), made.epochs)


def sections(made: Made, *published: PublishedTable) -> list[dict[str, Any]]:
    """What the page shows of them."""
    return published_sections(published, framed(made, *published), judged(made, *published))


def rows(frame: pd.DataFrame, **wanted: Any) -> list[dict[str, Any]]:
    """The rows with some values in some columns."""
    for name, of in wanted.items():
        frame = frame[frame[name] == of]
    return [{str(k): v for k, v in row.items()} for row in frame.to_dict("records")]
