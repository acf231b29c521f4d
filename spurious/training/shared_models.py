"""Models that several trials begin with: named by what decides them, trained once, and kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from spurious.config.options import FitConfig

if TYPE_CHECKING:
    from spurious.training.loop import Hooks


@dataclass(frozen=True)
class SharedModel:
    """What decides a shared model, besides the dataset.

    Attributes:
        kind: What is trained, e.g. `erm`; part of the identity.
        config: The fully resolved configuration that it is trained by.
        augments_copies: Whether an epoch of it may hold augmented copies of one image.
    """

    kind: str
    config: FitConfig
    augments_copies: bool = False


SharedModels = Callable[[SharedModel, Callable[["Hooks"], bytes]], bytes]
"""Returns a shared model's bytes: stored ones, or what the function trains with its hooks."""
