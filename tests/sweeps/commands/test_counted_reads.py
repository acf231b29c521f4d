"""Rate and time left of commands that read many objects."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from compacted_results import IDS, fill
from rich.console import Console
from tiny_sweeps import run_here, stage_here, tiny

from cluster.stores.folder import FolderStore
from sweeps.commands import counted_reads, store_check
from sweeps.commands import report as report_command
from sweeps.commands.context import SpecSource
from sweeps.commands.counted_reads import count_reads
from sweeps.commands.pull import pull
from sweeps.commands.report import report
from sweeps.commands.status import status
from sweeps.driver import progress
from sweeps.results import tables as results
from sweeps.results.checking import check_results
from sweeps.results.pack_cache import PackCache
from sweeps.results.reader import ResultReader


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """What was printed where there is no terminal, on a clock that adds a minute a look."""
    now, text = [0.0], io.StringIO()

    def later() -> float:
        now[0] += 60.0
        return now[0]

    monkeypatch.setattr(progress.time, "monotonic", later)
    console = Console(file=text, width=200)
    for module in (counted_reads, store_check, report_command):
        monkeypatch.setattr(module, "make_console", lambda: console)
    return lambda: text.getvalue().splitlines()


def test_reads_are_counted(folder_store: FolderStore, lines: Callable[[], list[str]]) -> None:
    """Each object once, with rate and time left, and none after the block."""
    fill(folder_store)
    reader = ResultReader(folder_store)
    trials = results.read_trials(reader, IDS)
    with count_reads(reader, "reading things", 7):
        for _ in results.each_table(
            reader, "examples", results.trials_with(reader, "examples", trials)
        ):
            pass
        results.read_attempts(reader, "epochs", trials)  # more than were expected
    results.read_attempts(reader, "predictions", trials)
    printed = lines()
    assert printed[0] == "reading things: 0 of 7 objects"
    assert "reading things: 2 of 7 objects, 0.0 objects/s, " in printed[2]
    assert printed[2].endswith(" left")
    assert [line.partition(" of ")[0] for line in printed] == [
        *(f"reading things: {n}" for n in (0, 1, 2, 3, 4, 7)),
    ]


def test_objects_that_are_read_one_by_one_are_counted(folder_store: FolderStore) -> None:
    """Where there are many, by table; rows from packs are not."""
    ids = [f"{number:016x}" for number in range(220)]
    fill(folder_store, ids)
    shown: list[tuple[str, int, int]] = []

    @contextmanager
    def show(text: str) -> Iterator[Callable[[int, int], None]]:
        yield lambda done, total: shown.append((text, done, total))

    cache = PackCache.temporary()
    check_results(ResultReader(folder_store, cache, show), ids)
    tables = ("trials", "epochs", "predictions")
    assert shown == [(f"checking {name}", n, 220) for name in tables for n in range(20, 221, 20)]
    shown.clear()
    check_results(ResultReader(folder_store, cache, show), ids)
    assert shown == []


def test_pull_and_report_tell_where_they_are(
    folder_store: FolderStore, tmp_path: Path, lines: Callable[[], list[str]]
) -> None:
    """Of trials, epochs and predictions; a report also of its steps, all of them."""
    spec = tiny(embeddings=True)
    (tmp_path / "tiny.yaml").write_text(
        spec.text.replace("name: tiny", "name: tiny\nembeddings: true")
    )
    run_here(folder_store, spec, tmp_path / "cache")
    source = SpecSource(str(tmp_path / "tiny.yaml"))
    assert pull(source, folder_store.url, tmp_path / "tables") == 0
    read = {line.partition(":")[0] for line in lines()}
    tables = {"trials", "epochs", "predictions", "embeddings", "explanations", "examples"}
    assert read == {f"reading {name}" for name in tables}
    assert report(source, folder_store.url, tmp_path / "report") == 0
    assert any(line.startswith("scoring predictions: 4 of 4 objects") for line in lines())
    steps = [line for line in lines() if line.startswith("writing the report: ")]
    total = len(steps) - 1
    assert [line.split()[3] for line in steps] == [str(n) for n in range(total + 1)]
    assert all(f"of {total} steps" in line for line in steps)
    assert steps[1].endswith(" left")
    seen = len(lines())
    assert status(source, folder_store.url, None, check=True) == 0
    said = [line.partition(" of ")[0] for line in lines()[seen:]]
    assert [f"reading {name}: 4" in said for name in ("trials", "epochs")] == [True, True]


def test_a_check_of_a_store_tells_each_part(
    folder_store: FolderStore, lines: Callable[[], list[str]]
) -> None:
    """One after the other, each with a rate of its own."""
    stage_here(folder_store, tiny())
    folder_store.put("specs/" + "a" * 64 + ".yaml", b"damaged")
    assert store_check.check(folder_store.url) == 1
    parts = [line.partition(": ")[0] for line in lines()]
    assert "checking images of gaussian-squares" in parts
    assert parts.index("checking images of gaussian-squares") < len(parts) - 1
    assert len(set(parts)) > 1
