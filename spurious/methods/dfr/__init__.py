"""Deep feature re-weighting: a last layer on balanced data."""

from spurious.methods.dfr.dfr import fit

__all__ = ["fit"]
