"""Numbers with their nouns and verbs, as messages have them."""

from __future__ import annotations


def count_of(number: float, noun: str) -> str:
    """Return a number with its noun: `1 trial`, `1,200 trials`, `0.5 CPUs`, `inf minutes`.

    Args:
        number: How many.
        noun: In the singular; of several words the last one has the plural.
    """
    shown = f"{int(number):,}" if float(number).is_integer() else f"{number:,g}"
    return f"{shown} {noun_of(number, noun)}"


def all_of(number: int, noun: str) -> str:
    """Return that all are meant: `all 12 trials`, of one alone `the 1 trial`."""
    return f"{'the' if number == 1 else 'all'} {count_of(number, noun)}"


def is_or_are(number: float) -> str:
    """Return the verb that goes with a number: `is` of one, else `are`."""
    return "is" if number == 1 else "are"


def has_or_have(number: float) -> str:
    """Return the verb that goes with a number: `has` of one, else `have`."""
    return "has" if number == 1 else "have"


def noun_of(number: float, noun: str) -> str:
    """Return the noun that goes with a number: in the singular of one, else in the plural."""
    if number == 1:
        return noun
    if noun.endswith(("s", "x", "ch", "sh")) and not noun.endswith("epoch"):
        return f"{noun}es"
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return f"{noun[:-1]}ies"
    return f"{noun}s"
