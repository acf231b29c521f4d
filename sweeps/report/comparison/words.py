"""What a comparison says: its answer, what limits it, and how the two sweeps differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd
import yaml

from cluster.common.wording import count_of, has_or_have, is_or_are
from sweeps.report.comparison.frame import SAME, Side
from sweeps.report.gate import HAS_LEARNED
from sweeps.report.wording import axis_text, synthetic_note, yaml_line

_ABSENT = "not given"
_LEFT_OUT = ("name",)


def answer(frame: pd.DataFrame, first: str, second: str) -> str:
    """Return the answer in two sentences: how many purchases the second sweep is higher in."""
    both = compared(frame)
    if both.empty:
        same = (frame["verdict"] == SAME).any()
        shared = "only purchases of the very same trials" if same else "no purchase with results"
        return f"{first} and {second} have {shared} in common: nothing is compared."
    robust, overall = (
        _count(both[both["metric"] == metric]) for metric in ("robust_auroc", "auroc")
    )
    of_robust, of_overall = (count_of(sum(of.values()), "purchase") for of in (robust, overall))
    return (
        f"Against {first}, {second} has a higher robust AUROC in {robust['higher']} of "
        f"{of_robust} that both have a result of, a lower one in {robust['lower']}, and in "
        f"{robust['not decided']} it is not decided. Overall AUROC, of {of_overall}: higher in "
        f"{overall['higher']}, lower in {overall['lower']}, not decided in "
        f"{overall['not decided']}."
    )


def compared(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that have a verdict on a difference."""
    return frame[frame["verdict"].notna() & (frame["verdict"] != SAME)]


def _count(rows: pd.DataFrame) -> dict[str, int]:
    verdicts = ("higher", "lower", "not decided")
    return {verdict: int((rows["verdict"] == verdict).sum()) for verdict in verdicts}


def caveats(frame: pd.DataFrame, first: Side, second: Side, names: tuple[str, str]) -> list[str]:
    """Return what limits the answer, a sentence or two each.

    Args:
        frame: The result of `comparison_frame`.
        first, second: The sweeps.
        names: What they are called.
    """
    return [
        *_origins((first, second), names),
        *_pairing(frame),
        *_same(frame),
        *_alone(frame, names),
        *_unlearned(frame, names),
        *_unfinished((first, second), names),
        *_money(first, second, names),
    ]


def _origins(sides: Sequence[Side], names: Sequence[str]) -> Iterator[str]:
    drawn = [side.source.provenance.synthetic for side in sides]
    if drawn[0] is not None and drawn[0] == drawn[1]:
        yield synthetic_note(drawn[0])
        return
    for name, synthetic in zip(names, drawn, strict=True):
        if synthetic is not None:
            yield f"{name}: {synthetic_note(synthetic)}"


def _pairing(frame: pd.DataFrame) -> Iterator[str]:
    every = compared(frame)
    every = every[every["metric"] == "robust_auroc"]
    robust = every[every["low"].notna()]
    without, paired = len(every) - len(robust), int(robust["paired"].sum())
    if without:
        yield (
            f"{count_of(without, 'difference')} in robust AUROC {has_or_have(without)} no interval "
            f"and {is_or_are(without)} not decided; the table says why."
        )
    if robust.empty:
        return
    if paired == len(robust):
        which = "The other differences" if without else "Differences"
        yield f"{which} are paired: seed by seed, on the same test images."
    elif paired == 0:
        yield (
            "Differences are not paired, since the sweeps have no test images or too few seeds in "
            "common: each is of two independent groups of seeds and patients, which may differ for "
            "other reasons, too."
        )
    else:
        yield (
            f"{paired} of {count_of(len(robust), 'difference')} in robust AUROC with an interval "
            f"{is_or_are(paired)} paired, by seed and test image; the others are of independent "
            f"groups of seeds and patients."
        )


def _same(frame: pd.DataFrame) -> Iterator[str]:
    count = int(((frame["verdict"] == SAME) & (frame["metric"] == "robust_auroc")).sum())
    if count:
        yield (
            f"{count_of(count, 'purchase')} {is_or_are(count)} of the very same trials in both and "
            f"not counted."
        )


def _alone(frame: pd.DataFrame, names: Sequence[str]) -> Iterator[str]:
    once = frame[frame["metric"] == "robust_auroc"]
    for name, which in zip(names, ("first", "second"), strict=True):
        count = int((once["in_sweeps"] == which).sum())
        if count:
            purchases = f"{count_of(count, 'purchase')} {is_or_are(count)}"
            yield f"{purchases} in the plan of {name} alone and not compared."
    shared = once[(once["in_sweeps"] == "both") & once["verdict"].isna()]
    if len(shared):
        purchases = f"{count_of(len(shared), 'purchase')} {is_or_are(len(shared))}"
        yield f"{purchases} without a robust AUROC in one of the two and not compared."


def _unlearned(frame: pd.DataFrame, names: Sequence[str]) -> Iterator[str]:
    both = frame[(frame["metric"] == "robust_auroc") & (frame["in_sweeps"] == "both")]
    for name, which in zip(names, ("first", "second"), strict=True):
        count = int(both[f"{which}_unlearned"].notna().sum())
        if count:
            yield (
                f"In {name}, {count_of(count, 'purchase')} {is_or_are(count)} not ranked: not "
                f"{HAS_LEARNED}, or lost on validation. The table says which and why; their "
                f"differences say little."
            )


def _unfinished(sides: Sequence[Side], names: Sequence[str]) -> Iterator[str]:
    for name, side in zip(names, sides, strict=True):
        planned, done = (int(side.cells[f"seeds_{of}"].sum()) for of in ("planned", "done"))
        if done < planned:
            missing = planned - done
            yield (
                f"Provisional: {missing} of {count_of(planned, 'planned trial')} of {name} "
                f"{'has' if missing == 1 else 'have'} no result."
            )


def _money(first: Side, second: Side, names: Sequence[str]) -> Iterator[str]:
    one, other = (side.source for side in (first, second))
    if set(one.axis) != set(other.axis):
        yield (
            f"Dollars do not compare: those of {names[0]} are {axis_text(one.axis)}; those of "
            f"{names[1]} {axis_text(other.axis)}."
        )
    elif one.prices != other.prices:
        yield "Dollars are by different price tables."


def find_differences(first: Side, second: Side) -> list[tuple[str, str, str]]:
    """Return (key, first, second) of what the sweeps' specifications and datasets differ in."""
    one, other = (_facts(side) for side in (first, second))
    keys = [*one, *(key for key in other if key not in one)]
    pairs = [(key, one.get(key, _ABSENT), other.get(key, _ABSENT)) for key in keys]
    return [pair for pair in pairs if pair[1] != pair[2]]


def _facts(side: Side) -> dict[str, str]:
    of = side.source.provenance
    known = {"dataset": f"{of.dataset}@{of.dataset_digest[:12]}"}
    document = yaml.safe_load(of.spec_text)
    for key, value in _flat(document if isinstance(document, dict) else {}, ""):
        known.setdefault(key, value)
    for key, value in of.overrides.items():
        nested = value if isinstance(value, dict) else {}
        known = {name: text for name, text in known.items() if not name.startswith(f"{key}.")}
        known |= dict(_flat(nested, f"{key}.")) or {key: yaml_line(value)}
    return {key: value for key, value in known.items() if key not in _LEFT_OUT}


def _flat(value: Mapping[str, Any], before: str) -> Iterator[tuple[str, str]]:
    for key, each in value.items():
        if isinstance(each, dict) and each:
            yield from _flat(each, f"{before}{key}.")
        else:
            yield f"{before}{key}", yaml_line(each)
