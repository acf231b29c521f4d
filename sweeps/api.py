"""What scripts and notebooks call: the command line's verbs, with documents instead of text.

Each function is one verb and does what it does: the same store, results and files, the same errors
(`SweepError`, `SpuriousError`, `ClusterError`). What it returns is the document that the verb
prints with `--json`, whose fields `sweeps VERB --help` lists. Notes and progress go to standard
error.
These names, arguments and fields stay; modules below this one may change.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from sweeps.commands.context import SpecSource
from sweeps.commands.output import take_json

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["evaluate", "export", "plan", "report", "run", "tables"]

Document = dict[str, Any]
Place = str | Path
_NOTHING: Mapping[str, Any] = MappingProxyType({})


def plan(
    spec: Place, *, store: Place | None = None, settings: Mapping[str, Any] = _NOTHING
) -> Document:
    """Return cells, trials, prices and estimates of a sweep; runs nothing.

    Args:
        spec: The sweep's YAML file.
        store: A folder or `s3://BUCKET/PREFIX`; None is the YAML's, $SWEEPS_STORE's or the embedded
            server, here and below.
        settings: Dotted keys of the YAML to values that replace its own, here and below.
    """
    from sweeps.commands.plan import plan as command

    return _document(lambda: command(_source(spec, settings), _url(store), as_json=True))


def run(
    spec: Place, *, store: Place | None = None, settings: Mapping[str, Any] = _NOTHING
) -> Document:
    """Run the trials that have no result yet, and return how many have one then.

    Trials that fail raise nothing: `failed` counts them, and `missing` those that a limit or an
    interrupt left.

    Args:
        spec: The sweep's YAML file.
        store: Where to.
        settings: Of the YAML.
    """
    from sweeps.commands.run import run as command

    source = _source(spec, settings)
    return _document(lambda: command(source, _url(store), quiet=True, as_json=True))


def tables(
    sweep: Place, *, store: Place | None = None, settings: Mapping[str, Any] = _NOTHING
) -> dict[str, pa.Table]:
    """Return a sweep's tables, as `sweeps pull` writes them, by name.

    Args:
        sweep: The name of one that was run, or its YAML file.
        store: Where it is.
        settings: Of the YAML.
    """
    import pyarrow.parquet as pq

    from sweeps.commands.pull import pull as command

    with tempfile.TemporaryDirectory(prefix="sweeps-") as folder:
        source = _source(sweep, settings)
        document = _document(lambda: command(source, _url(store), Path(folder), as_json=True))
        return {
            name: pq.ParquetFile(of["path"]).read(use_threads=False)
            for name, of in document["tables"].items()
        }


def report(
    sweep: Place,
    other: Place | None = None,
    *,
    out: Place | None = None,
    store: Place | None = None,
    settings: Mapping[str, Any] = _NOTHING,
) -> Document:
    """Write a sweep's report and return its answer, caveats and paths.

    Args:
        sweep: The name of one that was run, or its YAML file.
        other: Another one; how its purchases differ from the first one's is written instead.
        out: The folder; None is NAME-report, or OTHER-against-NAME.
        store: Where it is.
        settings: Of the YAML.
    """
    from sweeps.commands.compare import compare
    from sweeps.commands.report import report as command

    source, where = _source(sweep, settings), (_url(store), _path(out))
    if other is None:
        return _document(lambda: command(source, *where, as_json=True))
    second = _source(other, settings)
    return _document(lambda: compare(source, second, *where, as_json=True))


def export(
    sweep: Place,
    cell: str,
    *,
    seed: int | None = None,
    out: Place | None = None,
    store: Place | None = None,
    settings: Mapping[str, Any] = _NOTHING,
) -> Document:
    """Write the model that a trial kept as one file, and return its path.

    Args:
        sweep: The name of one that was run, or its YAML file.
        cell: The purchase, as `mask-600-erm`.
        seed: Which of its seeds; None is its only one.
        out: The file; None is NAME-CELL-sSEED.safetensors.
        store: Where the sweep is.
        settings: Of the YAML.
    """
    from sweeps.commands.export import export as command

    source = _source(sweep, settings)
    return _document(lambda: command(source, _url(store), cell, seed, _path(out), as_json=True))


def evaluate(
    file: Place,
    dataset: str,
    *,
    splits: Sequence[str] = (),
    out: Place | None = None,
    store: Place | None = None,
    device: str = "cpu",
) -> Document:
    """Score an exported model on a staged dataset and return what `splits` and `cautions` say.

    Args:
        file: What `export` wrote.
        dataset: NAME or NAME@DIGEST.
        splits: Which are scored; by default validation and test.
        out: The folder; None is FILE-DATASET-evaluation.
        store: Where the dataset is.
        device: `cpu` or `cuda`.
    """
    from sweeps.commands.evaluate import evaluate as command

    return _document(
        lambda: command(
            *(Path(file), dataset, _url(store), _path(out)),
            splits=splits,
            device=device,
            as_json=True,
        )
    )


def _document(command: Callable[[], int]) -> Document:
    """Run a command and return the one document that it gives."""
    with take_json() as documents:
        command()
    [document] = documents
    return document


def _source(target: Place, settings: Mapping[str, Any]) -> SpecSource:
    """Return a sweep as the command line names it; JSON is YAML."""
    return SpecSource(str(target), tuple(f"{k}={json.dumps(v)}" for k, v in settings.items()))


def _url(store: Place | None) -> str | None:
    return None if store is None else str(store)


def _path(out: Place | None) -> Path | None:
    return None if out is None else Path(out)
