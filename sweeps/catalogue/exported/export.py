"""Writes a trial's kept model as one file that stands alone.

The file is one of safetensors, see `spurious.training.model_file`: the tensors of the kept epoch,
and a document that says how images are prepared, how a score is read out and from which one on an
image is called abnormal, and where all of it comes from. It names no image and no patient.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cluster.datasets.manifest import find_manifest
from sweeps.catalogue.exported.facts import describe_dataset, describe_result
from sweeps.errors import ResultError
from sweeps.plan.plan import Plan, Trial
from sweeps.results.kept import describe_no_model, model_keys
from sweeps.results.reader import ResultReader
from sweeps.spec.model import Spec

if TYPE_CHECKING:
    from spurious.training.kept_model import KeptModel


_NEEDED = (
    *("trial_id", "attempt", "image_shape", "dtype", "classes", "sweep", "label", "dataset"),
    *("config", "kept", "operating_point", "own", "seeds", "cautions", "trained_with"),
)
"""What the document of an exported model has at least."""


@dataclass(frozen=True)
class ExportedModel:
    """A model as its file has it.

    Attributes:
        label: Of its trial, as `mask-600-erm-s0`.
        document: What the file says of it.
        model: The model.
    """

    label: str
    document: dict[str, Any]
    model: KeptModel


def export_model(spec: Spec, plan: Plan, trial: Trial, reader: ResultReader) -> bytes:
    """Return the file of a trial's kept model; the same result gives the same bytes.

    Raises:
        ResultError: the trial has no result, kept no model, or its model is damaged.
    """
    from spurious.training.model_file import pack
    from sweeps.trial.kept_models import check_format, get_model

    if trial.id not in plan.done:
        why = f"damaged ({plan.damaged[trial.id]})" if trial.id in plan.damaged else "missing"
        raise ResultError(
            f"the result of trial {trial.label} of sweep '{plan.name}' is {why}: run the sweep "
            "with `keep: model` first, which keeps the model next to the result"
        )
    key = model_keys(reader, [trial.id]).get(trial.id)
    if key is None:
        raise ResultError(describe_no_model(f"trial {trial.label} of sweep '{plan.name}' has"))
    stored, tensors = get_model(reader.store, key)
    check_format(stored, key)
    manifest = find_manifest(reader.store, trial.dataset, trial.dataset_digest)
    directions = {each.name: each.direction for each in manifest.attributes}
    document = {
        **stored,
        "sweep": plan.name,
        "label": trial.label,
        "dataset": describe_dataset(manifest),
        **describe_result(spec, plan, trial, reader, directions),
        "exported_by": f"spurious-sweeps {version('spurious-sweeps')}",
    }
    return pack(document, tensors)


def read_exported(path: Path) -> ExportedModel:
    """Read a file that `export_model` made; nothing in it is run.

    Raises:
        DataError: another file, a damaged one, or one of a newer program.
        ResultError: its configuration is of another version.
        OSError: it cannot be read.
    """
    from spurious.data.classes import ImageClass
    from spurious.errors import DataError
    from spurious.training.kept_model import KeptModel
    from spurious.training.model_file import unpack
    from sweeps.plan.cell import config_of
    from sweeps.trial.kept_models import check_format

    document, tensors = unpack(path.read_bytes(), str(path))
    check_format(document, str(path))
    if "config" not in document:
        raise DataError(
            f"{path} is a model as a store keeps it, without its trial's result: write it by "
            "`sweeps export NAME CELL --seed SEED`"
        )
    lacking = sorted(set(_NEEDED) - document.keys())
    if lacking:
        raise DataError(f"{path} is incomplete: its document has no {', '.join(lacking)}")
    height, width, channels = document["image_shape"]
    model = KeptModel(
        config=config_of(document["config"]),
        image_shape=(height, width, channels),
        dtype=document["dtype"],
        classes=tuple(ImageClass(**each) for each in document["classes"]),
        state=tensors,
    )
    return ExportedModel(document["label"], document, model)
