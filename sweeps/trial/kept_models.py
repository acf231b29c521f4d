"""The models that trials keep in the store beside their results.

An attempt writes its model before the commit that makes it the trial's, under its own id and a name
that is the SHA-256 of the bytes. So a model is the trial's where the committed attempt is in its
key, and whole where its bytes have that hash. No result depends on it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

import torch

from cluster.stores.base import Store
from spurious.data.dataset import Dataset
from spurious.errors import DataError
from spurious.fit import keep_model
from spurious.training.loop import Fit
from spurious.training.model_file import pack, unpack
from sweeps.errors import ResultError
from sweeps.results.keys import model_key
from sweeps.trial.tasks import Task

FORMAT = 1
"""Of the documents in files of models; counts up when an older program could misread one."""


def put_model(store: Store, task: Task, attempt: str, dataset: Dataset, fitted: Fit) -> str | None:
    """Write an attempt's model and return its key; None where the sweep keeps none."""
    if not task.keep_model:
        return None
    kept = keep_model(dataset, task.config, fitted)
    document = {
        "format": FORMAT,
        "trial_id": task.trial_id,
        "attempt": attempt,
        "image_shape": list(kept.image_shape),
        "dtype": kept.dtype,
        "classes": [{"name": each.name, "positive": each.positive} for each in kept.classes],
    }
    data = pack(document, kept.state)
    key = model_key(task.trial_id, attempt, hashlib.sha256(data).hexdigest())
    store.put(key, data)
    return key


def get_model(store: Store, key: str) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Read a kept model: what `put_model` wrote of it, and its tensors.

    Raises:
        ResultError: its bytes are not those of its name.
        NotFound, Denied, Unavailable: from the store.
    """
    data = store.get(key)
    sha256 = hashlib.sha256(data).hexdigest()
    if sha256 != PurePosixPath(key).stem:
        raise ResultError(
            f"{key} in {store.url} is damaged: it has SHA-256 {sha256}; `sweeps store check "
            "--repair` removes it, and the same sweep in another store trains it again"
        )
    return unpack(data, key)


def check_format(document: Mapping[str, Any], origin: str) -> None:
    """Refuse the document of a file that this program does not know.

    Raises:
        DataError: of a newer format, or of none.
    """
    version = document.get("format")
    if version != FORMAT:
        raise DataError(
            f"{origin} has format {version}, this program knows {FORMAT}: use a program at least "
            "as new as the one that wrote it"
        )
