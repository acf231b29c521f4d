"""Every generated block of the documents, by the name in its marker."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from docs.generate import measured, science, sweep, verbs

TABLES: Mapping[str, Callable[[], str]] = {
    "methods": science.methods,
    "method-options": science.method_options,
    "models": science.models,
    "model-options": science.model_options,
    "readout": science.readout,
    "weak-labels": science.weak_labels,
    "datasets": science.datasets,
    "dataset-options": science.dataset_options,
    "metrics": science.metrics,
    "prices": science.prices,
    "keys": sweep.keys,
    "specs": sweep.specs,
    "published": sweep.published,
    "pulled-columns": sweep.pulled_columns,
    "report-columns": sweep.report_columns,
    "evaluation-columns": sweep.evaluation_columns,
    "telemetry": sweep.telemetry,
    "failure-classes": sweep.failure_classes,
    "verbs": verbs.verbs,
    "mask-fraction": measured.mask_fraction,
    "mask-fraction-means": measured.mask_fraction_means,
}
