"""Lists names and phrases that are this project's private vocabulary; `make check` runs it.

A name is an identifier that the code assigns or defines; a phrase is in a string or comment. What
must stay is in `ALLOWED`, with the reason. An allowance that nothing needs any more is an error.
"""

from __future__ import annotations

import ast
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("cluster", "k8s", "spurious", "sweeps")

NAMES = {
    "asked": "is_requested, or what was requested",
    "as_many_as_the_largest": "oversample_to_largest_group",
    "beside": "what it is",
    "equally_often": "group_balanced",
    "feed": "sampler",
    "further": "remaining_..., val_...: what it is",
    "found": "what it holds, e.g. matches",
    "given": "what it holds, e.g. options",
    "lies": "is stored",
    "made": "what it holds, e.g. created_job",
    "others": "remaining_..., val_...: what it is",
    "outside": "remaining_..., val_...: what it is",
    "own": "what it holds, e.g. local_store",
    "purchase": "cell",
    "room": "space",
    "said": "what it holds, e.g. message",
    "told": "what it holds, e.g. error_message",
    "wanted": "what it is",
    "wish": "control_signal",
}
"""Whole names, and what to write; a leading underscore does not matter."""

PHRASES = {
    r"\bin vain\b": "timed out waiting",
    r"\banew\b": "again, or from the beginning",
    r"(?<!there )\b(?:is|are) no (?!longer\b|more\b|fewer\b|less\b)[a-z]+": "is not a",
    r"\bnone but\b": "only",
    r"\btakes? up\b(?! to\b)": "resumes",
}
"""Phrases of strings and comments as regular expressions, and what to write."""

ALLOWED: dict[str, str] = {}
"""`path: name or phrase` to the reason why it stays."""


def names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield every defined or assigned identifier with its line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.lineno, node.name
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id if isinstance(node, ast.Name) else node.attr


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """Yield every string and comment with its first line, white space collapsed."""
    with path.open("rb") as file:
        for token in tokenize.tokenize(file.readline):
            if token.type in (tokenize.STRING, tokenize.COMMENT):
                yield token.start[0], " ".join(token.string.split())


def findings(path: Path, where: str) -> Iterator[tuple[str, str]]:
    """Yield `path: name or phrase` with a line for the reader."""
    for line, name in names(ast.parse(path.read_text())):
        better = NAMES.get(name.lower().strip("_"))
        if better is not None:
            yield f"{where}: {name}", f"{where}:{line}: name '{name}'; write {better}"
    for line, text in texts(path):
        for pattern, better in PHRASES.items():
            for match in re.finditer(pattern, text):
                phrase = match.group()
                yield f"{where}: {phrase}", f"{where}:{line}: '{phrase}'; write {better}"


def main() -> int:
    """Print what is left and return the exit status."""
    left: list[str] = []
    used: set[str] = set()
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            for key, message in findings(path, str(path.relative_to(ROOT))):
                used.add(key)
                if key not in ALLOWED:
                    left.append(message)
    left += [f"ALLOWED: '{key}' is not needed any more; remove it" for key in ALLOWED.keys() - used]
    print("\n".join(left or [f"private words: none; {len(ALLOWED)} allowed"]))
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
