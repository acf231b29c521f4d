"""Reading data beside its peers: staging, loading, augmentation, memory. Tables in Markdown.

make bench-data        # or, with a selection:
.venv/bin/python tests/benchmarks/data [--only PART ...] [--images 800] [--rounds 3]
    [--epochs 3] [--scale 1] [--folder FOLDER]
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import augmentation
import loading
import memory
import staging

PARTS = ("staging", "loading", "augmentation", "memory")


def main() -> None:
    """Print the tables of each part as soon as it ends."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--images", type=int, default=800, help="films that are staged")
    parser.add_argument("--processes", type=int, default=2, help="of staging and bare decoding")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=3, help="of loading, after the first")
    parser.add_argument("--scale", type=float, default=1.0, help="of the images that are loaded")
    parser.add_argument("--folder", type=Path, help="keeps written films and the peers' packages")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-data-") as scratch:
        folder = options.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        for part in options.only:
            if part == "staging":
                lines = staging.run(folder, options.images, options.processes, options.rounds)
            elif part == "loading":
                lines = loading.run(folder, options.rounds, options.epochs, options.scale)
            elif part == "augmentation":
                with tempfile.TemporaryDirectory(dir=folder) as home:
                    lines = augmentation.run(Path(home), options.scale)
            else:
                with tempfile.TemporaryDirectory(dir=folder) as home:
                    lines = memory.run(Path(home), max(64, int(1500 * options.scale)))
            print("\n" + "\n".join(lines), flush=True)


if __name__ == "__main__":
    main()
