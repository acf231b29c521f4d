"""The table of purchases for a paper, as LaTeX that needs the booktabs package alone."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

_SPECIAL = {
    **{each: f"\\{each}" for each in "&%$#_{}"},
    **{"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"},
    **{"<": r"\textless{}", ">": r"\textgreater{}", "\N{MINUS SIGN}": "$-$", "\N{EN DASH}": "--"},
}
_HEAD = (
    *("Annotation", "Images", "Method", "Cost", "Robust AUROC", "Overall AUROC"),
    *("Seeds", "P(on the frontier)"),
)


def escape(text: str) -> str:
    """Return text that LaTeX prints as it is."""
    return re.sub("[" + re.escape("".join(_SPECIAL)) + "]", lambda m: _SPECIAL[m[0]], text)


def purchases_table(rows: Sequence[Mapping[str, Any]], caption: str) -> str:
    """Return a floating table with a row for each purchase, those of the frontier in bold.

    Args:
        rows: As the page has them, `sweeps.report.page`: `annotation`, `images`, `method`,
            `dollars`, `robust`, `robust_interval`, `auroc`, `auroc_interval`, `seeds`,
            `probability`, `on_frontier` and `unlearned`.
        caption: What the table is of.
    """
    lines = [
        "% needs \\usepackage{booktabs}",
        r"\begin{table}",
        rf"\caption{{{escape(caption)}}}",
        r"\begin{tabular}{lrlrllrr}",
        r"\toprule",
        " & ".join(_HEAD) + r" \\",
        r"\midrule",
        *(_line(row) for row in rows),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join([*lines, r"\end{table}", ""])


def _line(row: Mapping[str, Any]) -> str:
    def with_interval(value: str, interval: str) -> str:
        return f"{value} ({interval})" if interval and interval != "\N{EN DASH}" else value

    texts = [
        *(row["annotation"], row["images"], row["method"], row["dollars"]),
        with_interval(row["robust"], row["robust_interval"]),
        with_interval(row["auroc"], row["auroc_interval"]),
        row["seeds"],
        "not ranked" if row["unlearned"] else row["probability"],
    ]
    parts = [escape(str(text)) for text in texts]
    if row["on_frontier"]:
        parts = [rf"\textbf{{{part}}}" for part in parts]
    return " & ".join(parts) + r" \\"
