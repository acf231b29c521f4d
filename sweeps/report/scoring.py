"""Scores the stored predictions of many trials, on all cores where there are many.

A batch of trials goes to a process as one stream of Arrow, and comes back as rows of `epochs` and
readings.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final

from spurious.scoring.operating_point import OperatingPoint
from sweeps.report.processes import count_processes, start_processes
from sweeps.report.readings import Readings, ReadingTaker
from sweeps.report.scored import Row, as_epochs, score_rows
from sweeps.results.reader import by_dictionary

if TYPE_CHECKING:
    import pyarrow as pa

    from sweeps.report.inference.components import Reading

_BATCH: Final = 64


@dataclass(frozen=True)
class Scorer:
    """How predictions are scored.

    Attributes:
        directions: Per spurious attribute +1 where it goes with the label in training, else -1.
        point: How the threshold is fixed on validation.
    """

    directions: Mapping[str, int]
    point: OperatingPoint

    def score(
        self, trials: Sequence[tuple[bool, pa.Table]]
    ) -> tuple[pa.Table, dict[tuple[str, int], Mapping[str, Reading]]]:
        """Return rows of `epochs`, and readings.

        Args:
            trials: Of each whether its model is a segmenter, and its rows of `predictions`.
        """
        taker = ReadingTaker(self.directions)
        readings: dict[tuple[str, int], Mapping[str, Reading]] = {}
        rows: list[Row] = []
        for segments, table in trials:
            readings.update(taker.read(table))
            rows += score_rows(table, segments, self.directions, self.point)
        return by_dictionary(as_epochs(rows)), readings


def score_trials(
    scorer: Scorer, segments: Sequence[bool], tables: Iterable[pa.Table]
) -> tuple[pa.Table | None, Readings]:
    """Return rows of `epochs` and readings of all trials; None for the rows without a trial.

    Args:
        scorer: How.
        segments: Of each trial whether its model is a segmenter.
        tables: Each trial's rows of `predictions`, in that order.
    """
    import pyarrow as pa

    readings: dict[tuple[str, int], Mapping[str, Reading]] = {}
    rows: list[pa.Table] = []
    trials = zip(segments, tables, strict=True)
    batches = iter(lambda: list(islice(trials, _BATCH)), [])
    for scored, read in _score(scorer, batches, len(segments)):
        rows.append(scored)
        readings.update(read)
    return pa.concat_tables(rows).unify_dictionaries().combine_chunks() if rows else None, readings


def _score(
    scorer: Scorer, batches: Iterable[list[tuple[bool, pa.Table]]], count: int
) -> Iterator[tuple[pa.Table, Readings]]:
    processes = count_processes(count)
    if not processes:
        yield from map(scorer.score, batches)
        return
    waiting: deque[Future[tuple[pa.Table, Readings]]] = deque()
    with start_processes(processes) as pool:
        for batch in batches:
            counts = [(segments, table.num_rows) for segments, table in batch]
            packed = _pack([table for _, table in batch])
            waiting.append(pool.submit(_score_packed, scorer, counts, packed))
            if len(waiting) > 2 * processes:  # so that predictions do not pile up
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _pack(tables: Sequence[pa.Table]) -> bytes:
    import pyarrow as pa

    if len({table.schema for table in tables}) > 1:
        tables = [by_dictionary(table) for table in tables]
    table = pa.concat_tables(tables, promote_options="default").unify_dictionaries()
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table.combine_chunks())
    return bytes(sink.getvalue())


def _score_packed(
    scorer: Scorer, counts: Sequence[tuple[bool, int]], packed: bytes
) -> tuple[pa.Table, Readings]:
    import pyarrow as pa

    table, first, trials = pa.ipc.open_stream(packed).read_all(), 0, []
    for segments, rows in counts:
        trials.append((segments, table.slice(first, rows)))
        first += rows
    return scorer.score(trials)
