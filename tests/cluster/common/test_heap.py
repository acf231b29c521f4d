"""What a process does with freed memory: page faults and memory held, as the kernel counts them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from cluster.common.heap import variables_that_keep_memory

TIMES = 10
CODE = f"""
import json, os, resource, threading
from cluster.common.heap import return_freed_memory

def held():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20

def work():
    first = held()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range({TIMES}):
        bytearray(48 << 20)
        bytearray(96 << 20)
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    blocks = [bytearray(1 << 20) for _ in range(200)]
    last = blocks[-1]  # above all others
    del blocks
    between = held()
    return_freed_memory()
    print(json.dumps([faults, between - first, held() - first]))

thread = threading.Thread(target=work)
thread.start()
thread.join()
"""


def run(variables: dict[str, str]) -> Any:
    """Faults of a thread that takes and frees, and MiB held more than at first: freed, returned."""
    clean = {name: os.environ[name] for name in os.environ if not name.startswith("MALLOC_")}
    command = [sys.executable, "-c", CODE]
    done = subprocess.run(command, env=clean | variables, check=True, stdout=subprocess.PIPE)
    return json.loads(done.stdout)


def test_freed_memory_is_kept_until_it_is_returned() -> None:
    """A block that is taken again costs no further faults; what was freed below a used one goes."""
    own, *_ = run({})
    faults, between, returned = run(variables_that_keep_memory({"PATH": "/bin"}))
    assert faults < 2 * own / TIMES
    assert between > 150
    assert returned < 50


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MALLOC_ARENA_MAX", "4"),
        ("MALLOC_MMAP_MAX_", "65536"),
        ("MALLOC_MMAP_THRESHOLD_", "1048576"),
        ("MALLOC_TRIM_THRESHOLD_", "131072"),
        ("GLIBC_TUNABLES", "glibc.rtld.nns=4:glibc.malloc.mmap_threshold=1048576"),
    ],
)
def test_a_user_who_has_set_glibc_is_left_alone(name: str, value: str) -> None:
    """Whatever it is: one of our variables beside it could mean something else."""
    assert variables_that_keep_memory({name: value}) == {}


def test_other_tunables_do_not_count() -> None:
    """They are of something else."""
    assert variables_that_keep_memory({"GLIBC_TUNABLES": "glibc.rtld.nns=4"})
