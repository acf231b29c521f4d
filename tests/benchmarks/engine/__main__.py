"""The engine beside its peers: cost of a trial, a full pool, short real trials.

make bench-engine      # or, with a selection:
.venv/bin/python tests/benchmarks/engine [--only PART ...] [--trials 10000] [--fresh 60]
    [--slots 64] [--longest 120] [--real 100]

A table in Markdown for each part, printed when the part ends.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import no_ops
import pool
import real_trials

PARTS = ("no-ops", "virtual", "pool", "real")


def main() -> None:
    """Run the parts one after the other."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--trials", type=int, default=10_000, help="that do nothing")
    parser.add_argument("--fresh", type=int, default=60, help="with an actor of their own each")
    parser.add_argument("--slots", type=int, default=64, help="of the real pool")
    parser.add_argument("--longest", type=float, default=120, help="seconds of its longest trial")
    parser.add_argument("--real", type=int, default=100, help="short trials that train")
    options = parser.parse_args()
    for part in options.only:
        with tempfile.TemporaryDirectory(prefix="bench-engine-") as folder:
            if part == "no-ops":
                lines = no_ops.run(Path(folder), options.trials, options.fresh)
            elif part == "virtual":
                lines = pool.run_virtual((64, 128, 256))
            elif part == "pool":
                lines = pool.run_real(options.slots, options.longest)
            else:
                lines = real_trials.run(Path(folder), options.real)
        print("\n" + "\n".join(lines), flush=True)


if __name__ == "__main__":
    main()
