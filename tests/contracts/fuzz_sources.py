r"""Damages one file of a source folder at a time and reads all records: what the tests run apart.

    PYTHONPATH=.:tests/contracts:tests/cluster:tests/spurious .venv/bin/python \
        tests/contracts/fuzz_sources.py [--cases 40] [--seed 0] [--only NAME] [--case NUMBER]

Every reader of the registry is tried on the folder of its test values, and `folder` on those of
`fuzz_folders`, too. A case is decided by seed, source and number. A finding is a line of JSON: an
exception that is not the project's, a refusal without the file's name, damage that a strict decoder
can see and that gave other records, a case that hangs or takes gigabytes. A line before each case
names it, so that a crash is not anonymous.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import logging
import random
import resource
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contract_values import READER_VALUES
from fuzz_folders import FOLDERS

from spurious.config.datasets import READERS
from spurious.data.records import Record
from spurious.errors import SpuriousError
from sweeps.staging.sources import open_reader

HANG_SECONDS = 60
MEMORY = 2**33
"""Bytes of address space: who asks for more gets a MemoryError."""
GROWTH = 2**20
"""KiB by which a case may raise the peak of resident memory."""

TEXT = (".csv", ".tsv", ".jsonl", ".json", ".txt", ".pkl")
CHECKED = (".png", ".gz", ".xlsx")
"""Endings of formats with checksums: all damage can be seen."""
STRANGERS = (
    b"hello, this is no such file\n" * 9,
    b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n" + bytes(range(256)),
    b"\x1f\x8b\x08\x00" + bytes(300),
    b"\x7fELF\x02\x01\x01" + bytes(500),
    b"<html><body>404 Not Found</body></html>\n",
)


@dataclass(frozen=True)
class Source:
    """A folder that a reader reads."""

    write: Callable[[Path], Any]
    reader: str
    options: Mapping[str, Any]


@dataclass(frozen=True)
class Damage:
    """Damaged bytes, and whether a strict decoder sees that they are."""

    kind: str
    data: bytes
    visible: bool


def list_sources() -> dict[str, Source]:
    """Return the sources by name, a new reader's included."""
    sources = {
        name: Source(values.write, name, values.options) for name, values in READER_VALUES.items()
    }
    for name, (write, options) in FOLDERS.items():
        sources[f"folder {name}"] = Source(write, "folder", options)
    return sources


def damage(path: Path, data: bytes, rng: random.Random) -> Damage:
    """Damage a file in one of nine ways."""
    text, checked = path.suffix in TEXT, path.suffix in CHECKED
    begin = 128 if data[128:132] == b"DICM" else 0
    kind = rng.choice(
        ("cut", "empty", "header", "field", "noise", "zeros", "bit", "other", "twice")
    )
    length = min(rng.choice((1, 4, 16, 64, 512)), len(data))
    at = rng.randrange(len(data) - length + 1)
    if kind == "cut":
        return Damage(kind, data[: rng.randrange(1, len(data))], visible=True)
    if kind == "empty":
        return Damage(kind, b"", visible=True)
    if kind == "other":
        return Damage(kind, rng.choice(STRANGERS), visible=True)
    if kind == "twice":
        return Damage(kind, data + data, visible=checked)
    if kind == "header":
        size = rng.randrange(8, 33)
        noise = bytes(rng.randrange(128, 256) for _ in range(size))
        return Damage(kind, data[:begin] + noise + data[begin + size :], visible=True)
    if kind == "bit":
        at = rng.randrange(len(data))
        noise = bytes([data[at] ^ 1 << rng.randrange(8)])
    elif kind == "zeros":
        noise = bytes(length)
    else:
        if kind == "field":
            length = rng.choice((1, 2, 4))
            at = begin + rng.randrange(min(512, len(data) - begin))
        noise = rng.randbytes(min(length, len(data) - at))
    seen = checked or (text and kind == "zeros")
    return Damage(kind, data[:at] + noise + data[at + len(noise) :], visible=seen)


def content(record: Record) -> str:
    """Return all of a record as text."""
    arrays = {
        name: value.tobytes()
        for name, value in vars(record).items()
        if name in ("image", "mask", "boxes") and value is not None
    }
    rest = {name: value for name, value in vars(record).items() if name not in arrays}
    return repr((sorted(rest.items()), sorted(arrays.items())))


def read_all(source: Source, folder: Path) -> tuple[dict[str, str], list[str]]:
    """Read as staging does; return the content of every record that is taken, and all refusals."""
    records: dict[str, str] = {}
    refusals = []
    try:
        reader = open_reader(source.reader, folder, READERS[source.reader](**source.options))
        names = reader.index()
        reader.provenance()
    except SpuriousError as error:
        return {}, [str(error)]
    for name in names:
        try:
            records[name] = content(reader.load(name))
        except SpuriousError as error:
            refusals.append(str(error))
    return records, refusals


def find_fault(
    path: Path, harm: Damage, whole: Mapping[str, str], held: Mapping[str, str], refusals: list[str]
) -> str | None:
    """Return what is wrong with the outcome of a case."""
    nameless = [text for text in refusals if path.name not in text]
    if nameless:
        return f"does not name the file: {nameless[0][:300]}"
    changed = sorted(name for name, of in held.items() if whole.get(name) != of)
    last_cell = harm.kind == "cut" and path.suffix in (".csv", ".tsv") and len(changed) == 1
    if harm.visible and changed and not refusals and not last_cell:  # which nothing can show
        return f"read to {len(changed)} other records: {changed[:3]}"
    if len(held) + len(refusals) < len(whole) and not refusals and path.suffix not in TEXT:
        return f"left out without a word: {sorted(whole.keys() - held.keys())[:3]}"
    return None


def pick_file(folder: Path, rng: random.Random) -> Path:
    """Return a random file; tables have their share next to many images."""
    groups: dict[tuple[Path, str], list[Path]] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            groups.setdefault((path.parent, path.suffix), []).append(path)
    return rng.choice(groups[rng.choice(sorted(groups))])


def fuzz(name: str, source: Source, folder: Path, seed: int, numbers: range) -> Iterator[str]:
    """Run cases; yield a finding each, and at last how they ended."""
    source.write(folder)
    whole, refusals = read_all(source, folder)
    assert whole, f"{name}: refused undamaged: {refusals[0]}"
    assert not refusals, f"{name}: refused undamaged: {refusals[0]}"
    ends: Counter[str] = Counter()
    for number in numbers:
        rng = random.Random(f"{seed} {name} {number}")
        path = pick_file(folder, rng)
        data = path.read_bytes()
        harm = damage(path, data, rng)
        case = f"{name}, seed {seed}, case {number}: {path.relative_to(folder)}, {harm.kind}"
        print(case, end=" ... ", flush=True)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        path.write_bytes(harm.data)
        faulthandler.dump_traceback_later(HANG_SECONDS, exit=True)
        try:
            held, refusals = read_all(source, folder)
            fault = find_fault(path, harm, whole, held, refusals)
        except Exception as error:  # noqa: BLE001 (any of them is a finding)
            held, refusals = {}, []
            fault = f"{type(error).__name__}: {str(error)[:300]}"
        faulthandler.cancel_dump_traceback_later()
        path.write_bytes(data)
        if resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before > GROWTH:
            fault = fault or "takes more than a gigabyte"
        end = "refused" if refusals else "same" if held == whole else "other"
        ends[end] += 1
        print(end, flush=True)
        if fault:
            yield f"{case}: {fault}"
    yield json.dumps({"source": name, **ends})


def main() -> int:
    """Run the cases of all sources or of some; return 1 where there is a finding."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", action="append", help="a source; several times for several")
    parser.add_argument("--case", type=int, help="this one alone")
    options = parser.parse_args()
    faulthandler.enable()
    logging.disable(logging.CRITICAL)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    numbers = range(options.cases)
    if options.case is not None:
        numbers = range(options.case, options.case + 1)
    findings = 0
    with tempfile.TemporaryDirectory(prefix="fuzz-") as scratch:
        for name, source in list_sources().items():
            if options.only is None or name in options.only:
                folder = Path(scratch) / name.replace(" ", "-")
                for line in fuzz(name, source, folder, options.seed, numbers):
                    findings += not line.startswith("{")
                    print(line if line.startswith("{") else f"FINDING {line}", flush=True)
    return int(findings > 0)


if __name__ == "__main__":
    sys.exit(main())
