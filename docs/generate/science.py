"""Tables of methods, models, datasets, metrics and prices."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from docs.generate.documents import code, table
from docs.generate.options import (
    OPTION_COLUMNS,
    option_rows,
    option_table,
    schema_meanings,
    section,
    summary,
)
from spurious.config.datasets import GENERATORS, READERS
from spurious.config.method import EVERY, FirstModelOptions, Method
from spurious.config.methods import METHODS
from spurious.config.models import CLASSIFIERS, SEGMENTERS, Aggregation
from spurious.config.options import RESTS, Prices
from spurious.scoring.metric import Metric
from spurious.scoring.registry import METRICS
from sweeps.commands.phantom import HALF_REAL, PHANTOMS
from sweeps.spec.schema import spec_schema

_SPLITS = {"train": "of training images", "val": "of validation images"}


def methods() -> str:
    """Write one row a method: what it trains on, does and needs."""
    rows = []
    for name, cls in METHODS.items():
        needs = cls().spurious_labels
        kinds = "all" if cls.takes == EVERY else ", ".join(cls.takes)
        labels = "" if needs is None else _SPLITS[needs]
        rows.append((code(name), kinds, summary(cls), labels, "; ".join(_traits(cls))))
    return table(("method", "annotation", "what it does", "spurious labels", "also"), rows)


def _traits(cls: type[Method]) -> Iterator[str]:
    if cls.oracle:
        yield "given the groups"
    if issubclass(cls, FirstModelOptions):
        yield "begins with a pretrained ERM model"
    if cls.trains_on_validation:
        yield "trains on validation images"
    if cls.steers:
        yield "steers a classifier"
    if not cls.takes_lesions:
        yield "not with `negatives: lesion`"
    if cls.two_classes:
        yield "classifies two classes alone"


def method_options() -> str:
    """Write the options of each method, and once those that several methods share."""
    choice = spec_schema()["$defs"]["method"]
    blocks = []
    for part in _shared_parts():
        users = [code(name) for name, cls in METHODS.items() if issubclass(cls, part)]
        rows = option_rows(part, _defined_options(part))
        blocks.append(f"### Shared by {', '.join(users)}\n\n{table(OPTION_COLUMNS, rows)}")
    for name, cls in METHODS.items():
        rows = option_rows(cls, _defined_options(cls), schema_meanings(choice, name))
        if rows:
            blocks.append(f"### `{name}`\n\n{table(OPTION_COLUMNS, rows)}")
    return "\n\n".join(blocks)


def _shared_parts() -> list[type[Method]]:
    """List the classes whose options several methods inherit."""
    parts = [part for cls in METHODS.values() for part in cls.__mro__ if issubclass(part, Method)]
    registered = set(METHODS.values())
    return [p for p in dict.fromkeys(parts) if p not in registered and _defined_options(p)]


def _defined_options(cls: type[Any]) -> list[str]:
    """List the options that a class itself declares, not its bases."""
    hints = vars(cls).get("__annotations__", {})
    return [name for name, hint in hints.items() if "ClassVar" not in str(hint)]


def models() -> str:
    """Write one row a model."""
    rows = [
        (role, code(name), summary(cls))
        for role, registry in (("classifier", CLASSIFIERS), ("segmenter", SEGMENTERS))
        for name, cls in registry.items()
    ]
    return table(("role", "name", "what it is"), rows)


def model_options() -> str:
    """Write the options of every model."""
    rows = []
    for role, registry in (("classifier", CLASSIFIERS), ("segmenter", SEGMENTERS)):
        choice = section("model", role)
        for name, cls in registry.items():
            meanings = schema_meanings(choice, name)
            rows += [(code(name), *row) for row in option_rows(cls, meanings=meanings)]
    return table(("model", *OPTION_COLUMNS), rows)


def readout() -> str:
    """Write what the read-outs compute, and their options."""
    text, _, _ = (inspect.getdoc(Aggregation) or "").partition("\n\nAttributes:")
    return f"{text}\n\n{option_table(Aggregation)}"


def weak_labels() -> str:
    """Write the options of image labels beyond the budget."""
    rows = option_rows(RESTS["label"], meanings=schema_meanings(section("rest"), "label"))
    return table(OPTION_COLUMNS, rows)


def datasets() -> str:
    """Write one row a dataset that can be staged, and how."""
    rows = [
        (code(name), kind, summary(cls), code(f"sweeps stage {name}{folder}"))
        for kind, folder, registry in (
            ("reader", " DIR", READERS),
            ("generator", "", GENERATORS),
        )
        for name, cls in registry.items()
    ]
    return table(("dataset", "kind", "what it is", "staged by"), rows)


def dataset_options() -> str:
    """Write the options of readers, generators and phantoms."""
    blocks = [
        f"### Reader `{name}`\n\nOptions of `sweeps stage {name} DIR --set OPTION=VALUE`.\n\n"
        + option_table(cls)
        for name, cls in READERS.items()
    ]
    for name, cls in GENERATORS.items():
        rows = option_rows(cls, meanings=schema_meanings(section("dataset"), name))
        blocks.append(
            f"### Generator `{name}`\n\nOptions of `dataset: {{name: {name}, ...}}` in a sweep.\n\n"
            + table(OPTION_COLUMNS, rows)
        )
    blocks += [
        f"### Phantom `{name}`\n\nOptions of `sweeps phantom {name} DIR --set OPTION=VALUE`.\n\n"
        + option_table(cls)
        for name, (cls, _) in PHANTOMS.items()
    ]
    blocks += [
        f"### Half-real `{name}`\n\nOptions of "
        f"`sweeps phantom {name} DIR --set annotations=FILE --set OPTION=VALUE`.\n\n"
        + option_table(cls)
        for name, (cls, _) in HALF_REAL.items()
    ]
    return "\n\n".join(blocks)


def metrics() -> str:
    """Write one row a metric."""
    rows = [
        (code(m.name), m.words, m.unit, m.better, _known(m), _of(m), m.meaning)
        for m in METRICS.values()
    ]
    return table(("metric", "in words", "unit", "better", "known at", "of", "meaning"), rows)


def _known(metric: Metric) -> str:
    if metric.per_epoch:
        return "every epoch"
    if metric.once is not None:
        return f"the kept epoch, on {metric.once}"
    return "kept and last epoch" if metric.compute is not None else "any time"


def _of(metric: Metric) -> str:
    if metric.of_images:
        return "images and annotation"
    return f"{metric.head}s" if metric.head else "every model"


def prices() -> str:
    """Write the default price of each kind of annotation."""
    default, meanings = Prices(), _price_meanings()
    rows = []
    for name, meaning in meanings.items():
        clicks = getattr(default, name)
        dollars = clicks * default.seconds_per_click * default.wage_per_hour / 3600
        rows.append((code(name), f"{clicks:g}", f"${1000 * dollars:,.2f}", meaning))
    return table(("`cost.clicks`", "clicks", "for 1,000", "meaning"), rows)


def _price_meanings() -> Mapping[str, str]:
    clicks = section("cost", "clicks")["properties"]
    return {name: value["description"] for name, value in clicks.items()}
