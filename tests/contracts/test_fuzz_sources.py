"""Random damage of source folders: refused by name or harmless, without a hang or a crash.

Thousands of other cases: `FUZZ_CASES=800 FUZZ_SEED=1 pytest tests/contracts/test_fuzz_sources.py`.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import fuzz_sources
import pytest
from PIL import Image
from small_folder import COLUMNS, ROWS, pixels, reader, write_csv

from spurious.errors import DataError

CASES, SEED = int(os.environ.get("FUZZ_CASES", "16")), os.environ.get("FUZZ_SEED", "0")
PARTS = 2
"""Processes that share the sources: to import libraries takes two seconds."""


@pytest.mark.parametrize("part", range(PARTS))
def test_damage_is_refused_by_name_or_harmless(part: int) -> None:
    """A new reader's folder is damaged, too; a process that dies or hangs names its last case."""
    sources = list(fuzz_sources.list_sources())[part::PARTS]
    only = [word for name in sources for word in ("--only", name)]
    command = [sys.executable, fuzz_sources.__file__, "--cases", str(CASES), "--seed", SEED, *only]
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}  # this test's helpers
    done = subprocess.run(command, env=paths, capture_output=True, text=True, timeout=240 + CASES)
    lines = done.stdout.splitlines()
    assert not [line for line in lines if line.startswith("FINDING")]
    assert done.returncode == 0, f"{lines[-1:]}\n{done.stderr[-3000:]}"
    ends = [json.loads(line) for line in lines if line.startswith("{")]
    assert [end["source"] for end in ends] == sources
    refused = [end.get("refused", 0) for end in ends]
    assert min(refused) > CASES / 4  # a flipped bit of a JPEG may be harmless, as may unread fields
    assert sum(refused) > len(sources) * CASES / 2


def test_every_bit_counts_where_the_table_has_checksums(tmp_path: Path) -> None:
    """Of an uncompressed picture, whose pixels show no damage of themselves."""
    rows = []
    for name, *cells in ROWS:
        path = tmp_path / f"{name[0]}.bmp"
        Image.fromarray(pixels(path.name, colour=True)[:8, :8]).save(path)
        rows.append((path.name, *cells, hashlib.sha256(path.read_bytes()).hexdigest()))
    write_csv(tmp_path / "metadata.csv", (*COLUMNS, "sha256"), rows)
    source, path = reader(tmp_path), tmp_path / "a.bmp"
    source.load("a")
    data = path.read_bytes()
    for place in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[place // 8] ^= 1 << place % 8
        path.write_bytes(flipped)
        with pytest.raises(DataError, match=r"a\.bmp: its sha256 is"):
            source.load("a")
