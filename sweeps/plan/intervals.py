"""Intervals of estimates of time, whose errors are of logarithms."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Span:
    """An estimate and its 95 % interval."""

    value: float
    low: float
    high: float

    def times(self, factor: float) -> Span:
        """Return the span of a multiple."""
        return Span(self.value * factor, self.low * factor, self.high * factor)

    def plus(self, known: float) -> Span:
        """Return the span with what is known exactly."""
        return Span(self.value + known, self.low + known, self.high + known)


def span_around(value: float, deviation: float, df: int) -> Span:
    """Return the span of a value; `deviation` is of its logarithm, by `df` degrees of freedom."""
    width = student_t(df) * deviation
    return Span(value, value * math.exp(-width), value * math.exp(width))


def student_t(df: int) -> float:
    """Return the 0.975 quantile of Student's t, for `df` of at least 4 to within 0.01.

    The Cornish-Fisher expansion (Abramowitz and Stegun 1964, 26.7.5); scipy would take longer to
    import than a whole plan takes.
    """
    z = 1.959964
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return z + math.fsum(term / float(df) ** power for power, term in enumerate(terms, start=1))
