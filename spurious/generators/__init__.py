"""Synthetic datasets with a known truth, and writers of releases in the formats of real ones.

A generator `x-y` of `spurious.config.datasets.GENERATORS` is the class `Generator` of
`spurious.generators.x_y`.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from spurious.data.records import GeneratedSource


def open_generator(name: str, options: Any) -> GeneratedSource:
    """Make the generator of a registered name, whose module has it as `Generator`."""
    module = import_module(f"spurious.generators.{name.replace('-', '_')}")
    generator: GeneratedSource = module.Generator(options)
    return generator
