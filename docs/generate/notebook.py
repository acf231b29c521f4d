"""Runs the notebook's cells and writes what they show: `python -m docs.generate.notebook`.

The store that SWEEPS_STORE names, else the embedded one, holds a finished `quickstart`.
"""

from __future__ import annotations

import ast
import io
import json
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from typing import Any

from docs.generate.documents import ROOT

NOTEBOOK = ROOT / "docs" / "questions.ipynb"


def code_cells(notebook: Mapping[str, Any]) -> list[dict[str, Any]]:
    """List a notebook's cells of code."""
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def run_cells(notebook: Mapping[str, Any]) -> tuple[list[str], dict[str, Any]]:
    """Run all cells of code in one namespace, as Jupyter does after a restart.

    Returns:
        Per cell what it shows, which is what it prints and the text of its last expression; and the
        names that the cells have defined.
    """
    names: dict[str, Any] = {"__name__": "__main__"}
    return [_run("".join(cell["source"]), names) for cell in code_cells(notebook)], names


def _run(source: str, names: dict[str, Any]) -> str:
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    printed = io.StringIO()
    with redirect_stdout(printed):
        exec(compile(tree, str(NOTEBOOK), "exec"), names)  # noqa: S102 (this project's own code)
        if isinstance(last, ast.Expr):
            code = compile(ast.Expression(last.value), str(NOTEBOOK), "eval")
            value = eval(code, names)  # noqa: S307 (likewise)
            if value is not None:
                printed.write(f"{value}\n")
    return printed.getvalue()


def main() -> int:
    """Write the outputs of all cells into the notebook."""
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    texts, _ = run_cells(notebook)
    for number, (cell, text) in enumerate(zip(code_cells(notebook), texts, strict=True), start=1):
        stream = {"name": "stdout", "output_type": "stream", "text": text.splitlines(keepends=True)}
        cell |= {"execution_count": number, "outputs": [stream] if text else []}
    NOTEBOOK.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
