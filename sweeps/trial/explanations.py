"""What a trial is to explain, with the pixels of spurious features where the store has them."""

from __future__ import annotations

from cluster.datasets.image_table import read_features, require_image_table
from cluster.datasets.manifest import find_manifest
from cluster.stores.base import Store
from spurious.data.dataset import Dataset
from spurious.training.explained import EXPLAINED, ExplanationRequest
from sweeps.trial.tasks import Task


def explanation_request(store: Store, task: Task, dataset: Dataset) -> ExplanationRequest | None:
    """Return what is to be explained; None where the sweep asks for nothing.

    A dataset whose table of images knows no pixels of a spurious feature is explained without
    them, as the plan says (`sweeps.plan.located`).

    Raises:
        NotFound: a dataset with spurious attributes has no readable table: a trial that would
            commit less than was asked for is never run again.
    """
    if not task.explanations and not task.examples:
        return None
    if not task.explanations:
        return ExplanationRequest(measures=False, examples=task.examples)
    manifest = find_manifest(store, task.dataset, task.dataset_digest)
    if not manifest.attribute_names:
        return ExplanationRequest(examples=task.examples)
    table = require_image_table(store, manifest)
    ids = [str(name) for name in dataset.sample_ids[dataset.rows(EXPLAINED)]]
    return ExplanationRequest(read_features(table, ids), examples=task.examples)
