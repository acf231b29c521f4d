"""`sweeps evaluate`: score an exported model on a staged dataset."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cluster.common.atomic import write_atomic
from sweeps.commands.context import (
    check_cache_folder,
    choose_store_url,
    get_cache_folder,
    store_session,
)
from sweeps.commands.output import keep_stdout_for_json, note, print_json

if TYPE_CHECKING:
    from sweeps.catalogue.exported.evaluation import ModelEvaluation, SplitEvaluation

DEFAULT_SPLITS = ("val", "test")


def evaluate(
    file: Path,
    dataset: str,
    store_url: str | None,
    out: Path | None,
    *,
    splits: Sequence[str] = (),
    device: str = "cpu",
    as_json: bool = False,
) -> int:
    """Score a dataset and write tables and a short text into a folder.

    Args:
        file: What `sweeps export` wrote.
        dataset: NAME or NAME@DIGEST of a staged one.
        store_url: The store that it is in; None is $SWEEPS_STORE's or the embedded one.
        out: The folder; None is the file's name, the dataset's and `-evaluation`.
        splits: Which are scored; by default validation and test.
        device: `cpu` or `cuda`.
        as_json: Print a JSON document instead of the text.

    Raises:
        DataError: no exported model, or a damaged one.
        SweepError: the images do not fit it.
        NotFound: the dataset is not staged.
    """
    from cluster.node_cache.open import open_dataset
    from sweeps.catalogue.exported.evaluation import evaluate_model
    from sweeps.catalogue.exported.export import read_exported
    from sweeps.catalogue.listing import find_dataset

    exported = read_exported(file)
    check_cache_folder()
    with store_session(choose_store_url(store_url)) as store, keep_stdout_for_json(as_json):
        manifest = find_dataset(store, dataset)
        cached = open_dataset(store, manifest, get_cache_folder())
        chosen = tuple(dict.fromkeys(splits)) or DEFAULT_SPLITS
        evaluation = evaluate_model(exported, manifest, cached.dataset, chosen, device)
        cached.check_unchanged()
        url = store.url
    folder = out or Path(f"{_plain(file.stem)}-{manifest.name}-evaluation")
    paths, text = write_evaluation(evaluation, folder)
    if as_json:
        print_json({"store": url, **_document(evaluation), "paths": [str(path) for path in paths]})
        return 0
    print(text, end="")
    for path in paths:
        note(str(path))
    return 0


def write_evaluation(evaluation: ModelEvaluation, folder: Path) -> tuple[list[Path], str]:
    """Write both tables and the text; return their paths, and the text."""
    from sweeps.catalogue.exported.tables import encode_table
    from sweeps.catalogue.exported.text import evaluation_text

    text = evaluation_text(evaluation)
    names = evaluation.manifest.attribute_names
    contents = {
        "evaluation_predictions.parquet": encode_table(
            "evaluation_predictions", evaluation.predictions, names, evaluation.class_names
        ),
        "evaluation_metrics.parquet": encode_table("evaluation_metrics", evaluation.metrics),
        "evaluation.md": text.encode(),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in contents.items():
        write_atomic(folder / name, data, mode=0o644)
    return [folder / name for name in contents], text


def _plain(stem: str) -> str:
    return re.sub(r"[^A-Za-z0-9._=-]+", "-", stem)


def _document(evaluation: ModelEvaluation) -> dict[str, Any]:
    from sweeps.catalogue.exported.cautions import cautions

    document, manifest = evaluation.exported.document, evaluation.manifest
    return {
        "sweep": document["sweep"],
        "label": document["label"],
        "dataset": {"name": manifest.name, "digest": manifest.digest},
        "threshold": _number(evaluation.threshold),
        "splits": {each.split: _of_split(each) for each in evaluation.splits},
        "cautions": cautions(evaluation),
    }


def _of_split(of: SplitEvaluation) -> dict[str, Any]:
    document: dict[str, Any] = {"images": len(of.labels), "positives": int((of.labels == 1).sum())}
    for metric in ("auroc", "robust_auroc"):
        interval = of.intervals.get((metric, None))
        limits = (math.nan, math.nan) if interval is None else (interval.low, interval.high)
        low, high = map(_number, limits)
        document[metric] = {"value": _number(of.value(metric)), "low": low, "high": high}
    return document | {rate: _number(of.value(rate)) for rate in ("sensitivity", "specificity")}


def _number(value: float) -> float | None:
    """Return a number for JSON, which has no NaN."""
    return None if math.isnan(value) else value
