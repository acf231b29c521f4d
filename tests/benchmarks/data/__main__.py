"""Reading data: what staging costs beyond decoding. One table, in Markdown.

make bench-data        # or, with a selection:
.venv/bin/python tests/benchmarks/data [--images 800] [--processes 2] [--rounds 3]
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import staging


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=800)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where written films are kept")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-data-") as scratch:
        folder = options.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        lines = staging.run(folder, options.images, options.processes, options.rounds)
    print("\n" + "\n".join(lines))


if __name__ == "__main__":
    main()
