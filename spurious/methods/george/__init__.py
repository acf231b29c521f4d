"""GEORGE: clusters of a first model's features as groups."""

from spurious.methods.george.george import fit

__all__ = ["fit"]
