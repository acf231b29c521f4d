"""The cell of a sweep: what is compared, in a plan and in a report."""

from __future__ import annotations

import json
from dataclasses import dataclass

from spurious.config.methods import METHODS
from spurious.config.options import Budget, Specificity
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
    def segments(self) -> bool:
        """Whether its models are segmenters."""
        segments: bool = self.method.options.segments(self.specificity.kind)
        return segments

    @property
    def key(self) -> tuple[str, str, str]:
        """The text columns of result tables: specificity, budget and method."""
        return str(self.specificity), str(self.budget), str(self.method)


def cell_of(config: str) -> Cell:
    """Read a result's cell from `config`, the canonical JSON that its row holds.

    Options that were added after the result are at their defaults.

    Raises:
        ResultError: the text is not the configuration of a trial, or of another version.
    """
    try:
        fields = json.loads(config)
        options = dict(fields["method"])
        name = options.pop("name")
        return Cell(
            Specificity(**fields["specificity"]),
            Budget(**fields["budget"]),
            MethodChoice(name, METHODS[name](**options)),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ResultError(
            f"a result's config cannot be read ({type(error).__name__}: {error}): {config[:200]}; "
            "use a program at least as new as the one that wrote it"
        ) from error
