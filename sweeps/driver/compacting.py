"""A process that compacts results of a run while the run goes on; see `sweeps.driver.compactor`.

It reads trial ids from standard input, works at the low priority of trials, and ends with the
process that started it, also where that one was killed. Where it fails, it says why and ends with a
status.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
import time
from pathlib import Path

from cluster.errors import ClusterError
from cluster.stores import open_store
from sweeps.errors import ResultError
from sweeps.results.compaction import compact
from sweeps.results.pack_cache import PackCache
from sweeps.results.reader import ResultReader

_LOOK_EVERY_S = 0.5
_NICENESS = 15
"""That of Ray's workers: the driver goes first, and on a full machine trials do not starve this."""


def main() -> int:
    """Compact the results of some trials; return the exit status."""
    parser = argparse.ArgumentParser()
    parser.add_argument("store", help="URL of the store")
    parser.add_argument("--folder", type=Path, required=True, help="where packs are kept here")
    parser.add_argument("--limit", type=int, required=True, help="bytes that it takes at most")
    parser.add_argument("--parent", type=int, required=True, help="process to end with")
    arguments = parser.parse_args()
    os.nice(_NICENESS)
    threading.Thread(target=_end_with, args=(arguments.parent,), daemon=True).start()
    ids = sys.stdin.read().split()
    try:
        store = open_store(arguments.store, probe=False)
        compact(ResultReader(store, PackCache(arguments.folder, arguments.limit)), ids)
    except (ClusterError, ResultError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _end_with(parent: int) -> None:
    """End this process once its parent is another one; what it was writing names nothing yet."""
    while os.getppid() == parent:
        time.sleep(_LOOK_EVERY_S)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
