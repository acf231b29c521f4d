"""What a trial is to explain, with the pixels of spurious features where the store has them."""

from __future__ import annotations

from cluster.datasets.image_table import read_features, read_image_table
from cluster.datasets.manifest import find_manifest
from cluster.stores.base import Store
from spurious.data.dataset import Dataset
from spurious.training.explained import EXPLAINED, ExplanationRequest
from sweeps.trial.result_rows import Task


def explanation_request(store: Store, task: Task, dataset: Dataset) -> ExplanationRequest | None:
    """Return what is to be explained; None where the sweep asks for nothing.

    A dataset that was staged before its table of images had features is explained without them.
    """
    if not task.explanations and not task.examples:
        return None
    if not task.explanations:
        return ExplanationRequest(measures=False, examples=task.examples)
    manifest = find_manifest(store, task.dataset, task.dataset_digest)
    table = read_image_table(store, manifest)
    ids = [str(name) for name in dataset.sample_ids[dataset.rows(EXPLAINED)]]
    features = {} if table is None else read_features(table, ids)
    return ExplanationRequest(features, examples=task.examples)
