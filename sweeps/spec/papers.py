"""Numbers that papers print, to be set beside measured ones: a strict reader of `published/`.

A table is named `PAPER/TABLE`, e.g. `saab2022/table1`. Where it has numbers of several datasets, a
sweep is compared with those of its own dataset's name; `PAPER/TABLE/DATASET` chooses by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge, Le

from spurious.config.fields import Pattern
from spurious.config.methods import METHODS
from spurious.config.options import Budget, Specificity
from spurious.errors import ConfigError
from spurious.scoring.registry import METRICS
from spurious.scoring.selection import SelectionRule, parse_rule
from sweeps.spec.fields import Field, Refused, SpecIssues, options_of
from sweeps.spec.yaml import MappingNode, read

FOLDER = Path(__file__).parents[1] / "published"

_Text = Annotated[str, Pattern(r"(?s).*\S.*", "text that is not empty")]
_Dataset = Annotated[str, Pattern("[a-z0-9][a-z0-9_-]*", "the name of a staged dataset")]
_Specificity = Annotated[
    str, Pattern("label|box|mask|r=[1-9][0-9]*", "label, box, mask or r=N with N at least 1")
]
_Budget = Annotated[str, Pattern("all|[1-9][0-9]*", "all, or a number of images in quotes")]
_Method = Annotated[str, Pattern("|".join(METHODS), f"one of {', '.join(METHODS)}")]
_Metric = Annotated[str, Pattern("|".join(METRICS), f"one of {', '.join(METRICS)}")]
_Number = Annotated[float, Ge(0.0), Le(1e6)]


@dataclass(frozen=True, kw_only=True)
class PublishedValue:
    """What a paper says of one metric of one cell.

    Attributes:
        dataset: As in sweeps.
        specificity: `label`, `box`, `mask` or `r=N`.
        metric: One of `spurious.scoring.registry.METRICS`.
        mean: The number, over seeds where there are several; None where only an order is stated.
        sd: Standard deviation over seeds; None where none is printed.
        budget: Annotated training images, or `all`; None where the number is of any.
        method: None where the number is of any.
        rank: Place among the cells of an order without numbers, 1 for the lowest value.
        note: Where the paper contradicts the number.
    """

    dataset: _Dataset
    specificity: _Specificity
    metric: _Metric
    mean: _Number | None = None
    sd: _Number | None = None
    budget: _Budget | None = None
    method: _Method | None = None
    rank: int | None = None

    @property
    def bought(self) -> tuple[Specificity, Budget | None]:
        """Return what was annotated; the budget is None where the number is of any."""
        kind, _, r = self.specificity.partition("=")
        specificity = Specificity(kind, r=int(r) if r else None)  # type: ignore[arg-type]
        if self.budget is None:
            return specificity, None
        return specificity, Budget(None if self.budget == "all" else int(self.budget))

    note: _Text | None = None


@dataclass(frozen=True, kw_only=True)
class PublishedTable:
    """A table or figure of a paper.

    Attributes:
        name: `PAPER/TABLE`.
        paper: The citation.
        where: As the paper calls it, e.g. `Table 1`.
        shows: What it shows.
        seeds: Training runs behind each mean; None where the paper does not say.
        epoch: The rule by which the paper chose the epochs of its numbers, by which measured ones
            are chosen, too; None where the report's own rule counts.
        decimals: Of its numbers as printed; None for as many as measured ones have.
        notes: What a reader of all its numbers must know.
        values: What it says, in the paper's order.
    """

    name: str
    paper: str
    where: str
    shows: str
    seeds: int | None
    notes: tuple[str, ...]
    values: tuple[PublishedValue, ...]
    epoch: SelectionRule | None = None
    decimals: int | None = None

    @property
    def datasets(self) -> tuple[str, ...]:
        """Datasets that it says something of."""
        return tuple(dict.fromkeys(value.dataset for value in self.values))

    @property
    def metrics(self) -> tuple[str, ...]:
        """Metrics that it says something of."""
        return tuple(dict.fromkeys(value.metric for value in self.values))


@cache
def tables() -> Mapping[str, PublishedTable]:
    """Return every table by its name `PAPER/TABLE`."""
    by_name: dict[str, PublishedTable] = {}
    for path in sorted(FOLDER.glob("*.yaml")):
        by_name |= {t.name: t for t in read_paper(path.read_bytes(), str(path), path.stem)}
    return by_name


def names() -> list[str]:
    """Return every table, and every table with each of its datasets, as a sweep may name them."""
    return [
        name
        for key, table in tables().items()
        for name in (key, *(f"{key}/{dataset}" for dataset in table.datasets))
    ]


def find(name: str, dataset: str) -> PublishedTable | None:
    """Return what a table says of a dataset, or of the one that its name ends with.

    Args:
        name: `PAPER/TABLE` or `PAPER/TABLE/DATASET`.
        dataset: Used where the name says none.

    Returns:
        None where the table is missing, or has nothing of the dataset.
    """
    paper, _, rest = name.partition("/")
    key, _, chosen = rest.partition("/")
    table = tables().get(f"{paper}/{key}")
    if table is None:
        return None
    mine = tuple(value for value in table.values if value.dataset == (chosen or dataset))
    return replace(table, values=mine) if mine else None


def read_paper(text: str | bytes, source: str, paper: str) -> tuple[PublishedTable, ...]:
    """Return the tables of a paper's file.

    Args:
        text: The YAML.
        source: What messages call it, usually its path.
        paper: First part of the tables' names.

    Raises:
        SpecError: everything that is wrong with the file, one a line.
    """
    tree, issues = read(text)
    problems = SpecIssues(source, issues)
    read_here: list[PublishedTable] = []
    if tree is not None:
        with suppress(Refused):
            children = Field(tree, "", problems).mapping(_KEYS, _KEYS)
            cited = children["paper"].value(_Text) if "paper" in children else ""
            for key, child in _entries(children.get("tables")):
                with suppress(Refused):
                    read_here.append(_table(child, f"{paper}/{key}", cited))
    problems.raise_if_any()
    return tuple(read_here)


def _entries(field: Field | None) -> Iterable[tuple[str, Field]]:
    if field is None:
        return ()
    if not isinstance(field.node, MappingNode) or not field.node.items:
        raise field.refuse("a mapping from names to at least one table or figure")
    return field.mapping(list(field.node.items)).items()


def _table(field: Field, name: str, paper: str) -> PublishedTable:
    plain: dict[str, Any] = {"seeds": None}
    rule: SelectionRule | None = None
    lists: dict[str, list[tuple[Field, Any]]] = {"notes": [], "values": [], "orders": []}
    with field.complete():
        known = ("where", "shows", "seeds", "epoch", "decimals", *lists)
        children = field.mapping(known, ("where", "shows"))
        for key, child in children.items():
            with suppress(Refused):
                if key in lists:
                    lists[key] = child.each(key.rstrip("s"), _ITEMS[key])
                elif key == "epoch":
                    rule = _epoch(child)
                else:
                    plain[key] = child.value(_PLAIN[key])
        _refuse_doubles(lists["values"])
        if not {"values", "orders"} & children.keys():
            field.note("neither values nor orders; expected what the paper says")
    values = [value for _, value in lists["values"]]
    values += [cell for _, order in lists["orders"] for cell in order]
    notes = tuple(note for _, note in lists["notes"])
    return PublishedTable(
        name=name, paper=paper, notes=notes, values=tuple(values), epoch=rule, **plain
    )


def _epoch(field: Field) -> SelectionRule:
    try:
        return parse_rule(field.value(_Text))
    except ConfigError as error:
        raise field.refuse(str(error).partition("expected ")[2]) from None


def _value(field: Field) -> PublishedValue:
    known = [name for name in options_of(PublishedValue) if name != "rank"]
    with field.complete():
        children = field.mapping(known, ("dataset", "specificity", "metric", "mean"))
        mean = children.pop("mean", None)
        number: dict[str, Any] = {}
        if mean is not None:  # an order has none, but a value must
            with suppress(Refused):
                number["mean"] = mean.value(_Number)
        values = field.values(PublishedValue, children)
    return PublishedValue(**values, **number)


def _order(field: Field) -> tuple[PublishedValue, ...]:
    """Return the cells of `rising`, from the lowest value to the highest."""
    rising: list[tuple[Field, str]] = []
    with field.complete():
        known = ("dataset", "budget", "method", "metric", "rising")
        children = field.mapping(known, ("dataset", "metric", "rising"))
        of_cells = children.pop("rising", None)
        if of_cells is not None:
            with suppress(Refused):
                rising = of_cells.each("specificity", lambda item: item.value(_Specificity))
        values = field.values(PublishedValue, children)
    return tuple(
        PublishedValue(specificity=specificity, rank=place, **values)
        for place, (_, specificity) in enumerate(rising, start=1)
    )


def _refuse_doubles(values: Iterable[tuple[Field, PublishedValue]]) -> None:
    """Note cells that have a metric twice."""
    seen = set()
    for item, value in values:
        key = (value.dataset, value.specificity, value.budget, value.method, value.metric)
        if key in seen:
            item.note(f"{value.metric} of this cell is given before; remove one of them")
        seen.add(key)


_KEYS = ("paper", "tables")
_PLAIN: Mapping[str, Any] = {
    "where": _Text,
    "shows": _Text,
    "seeds": Annotated[int, Ge(2), Le(1000)],
    "decimals": Annotated[int, Ge(0), Le(6)],
}
_ITEMS: Mapping[str, Callable[[Field], Any]] = {
    "notes": lambda item: item.value(_Text),
    "values": _value,
    "orders": _order,
}
