"""Errors of the science side."""

from __future__ import annotations


class SpuriousError(Exception):
    """Root of every error that `spurious` raises on purpose."""


class DataError(SpuriousError):
    """A dataset, file or annotation is unusable; never retried."""


class ConfigError(SpuriousError):
    """A combination of options that has no meaning, found while building a method or model."""


class Stopped(SpuriousError):
    """Training ended early because the caller wished so; its checkpoint is saved."""


class NumericalError(SpuriousError):
    """Training produced a NaN or infinite loss; retried only with another configuration."""
