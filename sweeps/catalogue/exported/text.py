"""An evaluation in words: a short Markdown text that stands beside its tables."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cluster.common.wording import count_of
from sweeps.catalogue.exported.cautions import cautions
from sweeps.catalogue.exported.evaluation import ModelEvaluation, SplitEvaluation
from sweeps.plan.cell import cell_of
from sweeps.report.wording import describe_cell, limits, number, sentence

_RATES = ("sensitivity", "specificity")


def evaluation_text(evaluation: ModelEvaluation) -> str:
    """Return the text: whose model, what was scored, two tables and what limits them."""
    document = evaluation.exported.document
    lines = [
        f"# {document['label']} of sweep {document['sweep']}, scored on {evaluation.manifest.name}",
        "",
        *_describe(evaluation),
        "",
        *_table(
            _HEADINGS, [*_row_of_training(document), *(_row(each) for each in evaluation.splits)]
        ),
        "",
        _about_numbers(evaluation),
    ]
    by_attribute = [row for each in evaluation.splits for row in _attributes(each, evaluation)]
    if by_attribute:
        lines += ["", "## Per spurious attribute", "", *_table(_OF_ATTRIBUTE, by_attribute)]
    notes = cautions(evaluation)
    if notes:
        lines += ["", "## Cautions", "", *(f"- {note}" for note in notes)]
    return "\n".join(lines) + "\n"


def _describe(evaluation: ModelEvaluation) -> Iterator[str]:
    document, manifest = evaluation.exported.document, evaluation.manifest
    trained_on, kept = document["dataset"], document["kept"]
    words = sentence(describe_cell(cell_of(document["config"])))
    synthetic = f", synthetic: {trained_on['synthetic']}" if trained_on["synthetic"] else ""
    yield (
        f"{words}, on {trained_on['name']}@{trained_on['digest'][:12]}{synthetic}; epoch "
        f"{kept['kept_epoch']} of {kept['epochs']}, kept by the rule '{kept['keep_rule']}'; trial "
        f"{document['trial_id']}."
    )
    scored = "; ".join(
        f"{each.split} ({count_of(len(each.labels), 'image')} of "
        f"{count_of(each.patients, 'patient')}, {int((each.labels == 1).sum())} abnormal)"
        for each in evaluation.splits
    )
    yield f"Scored: {manifest.name}@{manifest.digest[:12]}, {scored}."
    if (seeds := _seeds(document)) is not None:
        yield seeds


def _seeds(document: Mapping[str, Any]) -> str | None:
    """Say that this is one of several models that the same purchase gave."""
    values = [each["robust_auroc"] for each in document["seeds"].values()]
    known = [value for value in values if value is not None]
    if len(known) < 2:
        return None
    return (
        f"It is one of {len(values)} seeds of this purchase, whose robust AUROC on the test images "
        f"of {document['dataset']['name']} is from {number(min(known))} to {number(max(known))}."
    )


_HEADINGS = ("split", "overall AUROC", "robust AUROC", "sensitivity", "specificity")
_OF_ATTRIBUTE = (
    *("split", "attribute", "y=0 s=0", "y=0 s=1", "y=1 s=0", "y=1 s=1", "robust AUROC"),
    *("AUROC gap", "sensitivity s=0", "s=1", "specificity s=0", "s=1"),
)


def _row_of_training(document: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """Yield what the trial measured on its own test images, for comparison."""
    values = {row["metric"]: row["value"] for row in document["own"]
              if row["split"] == "test" and row["attribute"] is None}  # fmt: skip
    known = [values.get(name) for name in ("auroc", "robust_auroc", *_RATES)]
    shown = (number(math.nan if value is None else value) for value in known)
    yield (f"own test ({document['dataset']['name']})", *shown)


def _row(of: SplitEvaluation) -> tuple[str, ...]:
    aurocs = (_with_limits(of, name) for name in ("auroc", "robust_auroc"))
    return (of.split, *aurocs, *(number(of.value(rate)) for rate in _RATES))


def _with_limits(of: SplitEvaluation, metric: str, attribute: str | None = None) -> str:
    interval = of.intervals.get((metric, attribute))
    value = number(of.value(metric, attribute))
    if interval is None or interval.kind == "none":
        return value
    return f"{value} ({limits(interval)})"


def _attributes(of: SplitEvaluation, evaluation: ModelEvaluation) -> Iterator[tuple[str, ...]]:
    for attribute in evaluation.manifest.attribute_names:
        [row] = [each for each in of.metrics
                 if (each["metric"], each["attribute"]) == ("robust_auroc", attribute)]  # fmt: skip
        sizes = (f"{row[name]:,}" for name in ("n_y0_s0", "n_y0_s1", "n_y1_s0", "n_y1_s1"))
        rates = [number(of.value(f"{rate}_s{s}", attribute)) for rate in _RATES for s in (0, 1)]
        yield (
            *(of.split, attribute, *sizes, _with_limits(of, "robust_auroc", attribute)),
            *(number(of.value("auroc_gap", attribute)), *rates),
        )


def _about_numbers(evaluation: ModelEvaluation) -> str:
    document, threshold = evaluation.exported.document, evaluation.threshold
    rule = document["operating_point"]["rule"]
    point = (
        f"The model brought no threshold ({rule} is undefined), so that no image is called"
        if math.isnan(threshold)
        else f"An image is called abnormal from a score of {threshold:.6g} on, which was fixed on "
        f"{document['dataset']['name']} ({rule}); nothing was fitted here"
    )
    return (
        "Intervals (95 %) are for new patients and this one model: they do not say what another "
        f"seed, and so another model, would have given. {point}."
    )


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [headings, ["---"] * len(headings), *rows]
    return [f"| {' | '.join(line)} |" for line in lines]
