"""Writes the tables of README.md and docs/ from the registries; `--check` compares them."""

from __future__ import annotations

import argparse
import sys

from docs.generate.documents import DocumentError, documents, render
from docs.generate.tables import TABLES


def main() -> int:
    """Rewrite every document whose tables differ; with `--check` only name it.

    Returns:
        0 where every table is as the registries have it (now), 1 where `--check` saw another,
        2 where a document cannot be read.
    """
    parser = argparse.ArgumentParser(prog="python -m docs.generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 if outdated")
    check = parser.parse_args().check
    outdated = 0
    for path in documents():
        text = path.read_text(encoding="utf-8")
        try:
            rendered = render(text, TABLES, str(path))
        except DocumentError as error:
            print(f"docs: error: {error}", file=sys.stderr)
            return 2
        if rendered == text:
            continue
        outdated += 1
        print(f"{path}: {'outdated; run `make docs`' if check else 'written'}")
        if not check:
            path.write_text(rendered, encoding="utf-8")
    return int(check and outdated > 0)


if __name__ == "__main__":
    sys.exit(main())
