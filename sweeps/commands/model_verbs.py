"""The verbs `export` and `evaluate`: their rows of the table of verbs, and their arguments."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from spurious.data.splits import SPLITS
from sweeps.commands.arguments import add_spec, add_store
from sweeps.commands.verb import Verb

MODEL_VERBS: Sequence[Verb] = (
    Verb(
        "export",
        "results",
        "write the model that a trial kept as one file",
        "sweeps export quickstart mask-250-erm --seed 0",
        "Writes a safetensors file with the weights of the trial's kept epoch, how images are "
        "prepared, how a score is read out, the threshold of the sweep's operating point, and "
        "where all of it comes from; it holds no code and names no image. Trials keep their models "
        "where the sweep's YAML says `keep: model`.",
        {
            "sweep": "name of the sweep",
            "store": "URL of the store",
            "trial": "id of the trial",
            "label": "its label",
            "path": "path of the file",
            "size_bytes": "size of the file",
        },
    ),
    Verb(
        "evaluate",
        "results",
        "score an exported model on a staged dataset, such as another hospital's",
        "sweeps evaluate quickstart-mask-250-erm-s0.safetensors gaussian-squares",
        "Scores images with the model's own weights, read-out and threshold; nothing is fitted. "
        "Writes predictions, metrics per split and spurious attribute of that dataset, with "
        "intervals for new patients, and a short text with cautions. Images of another size, "
        "number of channels or classes are refused.",
        {
            "store": "URL of the store",
            "sweep": "name of the sweep that trained the model",
            "label": "label of its trial",
            "dataset": "name and digest of the dataset that was scored",
            "threshold": "score from which on an image is called abnormal, or null",
            "splits": "by split: images, positives, auroc and robust_auroc (value, low and high, "
            "null where undefined), sensitivity, specificity",
            "cautions": "what limits these numbers, a list of sentences",
            "paths": "paths of all files written",
        },
    ),
)


def _add_export(parser: argparse.ArgumentParser) -> None:
    add_spec(parser, "the sweep's YAML, or the name of a sweep that was run")
    parser.add_argument("cell", metavar="CELL", help="the purchase, e.g. mask-600-erm")
    parser.add_argument("--seed", type=int, help="which of its seeds; default: its only one")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="default: NAME-CELL-sSEED.safetensors"
    )


def _add_evaluate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="what `sweeps export` wrote")
    parser.add_argument("dataset", metavar="DATASET", help="NAME, or NAME@DIGEST of one version")
    parser.add_argument(
        "--split",
        action="append",
        default=[],
        choices=SPLITS,
        help="a split to score, may be given again; default: val and test",
    )
    parser.add_argument(
        "--device", choices=["cpu", "cuda"], default="cpu", help="where to; default: cpu"
    )
    parser.add_argument("--out", type=Path, help="folder; default: FILE-DATASET-evaluation")
    add_store(parser, "SWEEPS_STORE, else the embedded server")


MODEL_ARGUMENTS: Mapping[str, Callable[[argparse.ArgumentParser], None]] = {
    "export": _add_export,
    "evaluate": _add_evaluate,
}
"""What each of them takes."""
