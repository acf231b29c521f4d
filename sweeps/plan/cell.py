"""The cell of a sweep: what is compared, in a plan and in a report."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from spurious.config.methods import METHODS
from spurious.config.models import CLASSIFIERS, SEGMENTERS, Aggregation
from spurious.config.options import Budget, FitConfig, Specificity, Train, WeakLabels
from sweeps.errors import ResultError
from sweeps.spec.model import MethodChoice


@dataclass(frozen=True)
class Cell:
    """One (specificity, budget, method): what is compared; seeds are replicates of it."""

    specificity: Specificity
    budget: Budget
    method: MethodChoice

    def __str__(self) -> str:
        return f"{self.specificity} / {self.budget} / {self.method}"

    @property
    def label(self) -> str:
        """A short name for people: `mask-600-erm`."""
        return f"{self.specificity}-{self.budget}-{self.method}"

    @property
    def segments(self) -> bool:
        """Whether its models are segmenters."""
        segments: bool = self.method.options.segments(self.specificity.kind)
        return segments

    @property
    def key(self) -> tuple[str, str, str]:
        """The text columns of result tables: specificity, budget and method."""
        return str(self.specificity), str(self.budget), str(self.method)


@lru_cache(maxsize=1 << 15)
def cell_of(config: str) -> Cell:
    """Read a result's cell from `config`, the canonical JSON that its row holds.

    Options that were added after the result are at their defaults.

    Raises:
        ResultError: the text is not the configuration of a trial, or of another version.
    """
    with _reading(config):
        return _cell(json.loads(config))


def config_of(config: str) -> FitConfig:
    """Read all of a result's configuration, as `cell_of` reads its cell.

    Raises:
        ResultError: see `cell_of`.
    """
    with _reading(config):
        fields = json.loads(config)
        cell, model = _cell(fields), dict(fields["model"])
        name = model.pop("name")
        readout, rest = fields["readout"], dict(fields["rest"] or {})
        rest.pop("name", None)
        return FitConfig(
            specificity=cell.specificity,
            budget=cell.budget,
            method_name=cell.method.name,
            method=cell.method.options,
            model_name=name,
            model={**CLASSIFIERS, **SEGMENTERS}[name](**model),
            readout=None if readout is None else Aggregation(**readout),
            train=Train(**fields["train"]),
            seed=int(fields["seed"]),
            rest=None if fields["rest"] is None else WeakLabels(**rest),
            negatives=fields["negatives"],
            science_version=int(fields["science_version"]),
        )


def _cell(fields: Mapping[str, Any]) -> Cell:
    options = dict(fields["method"])
    name = options.pop("name")
    return Cell(
        Specificity(**fields["specificity"]),
        Budget(**fields["budget"]),
        MethodChoice(name, METHODS[name](**options)),
    )


@contextmanager
def _reading(config: str) -> Iterator[None]:
    """Raise ResultError where the block finds that the text is not a configuration."""
    try:
        yield
    except (ValueError, KeyError, TypeError) as error:
        raise ResultError(
            f"a result's config cannot be read ({type(error).__name__}: {error}): {config[:200]}; "
            "use a program at least as new as the one that wrote it"
        ) from error
