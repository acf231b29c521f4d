"""What a reader of an evaluation must know before trusting its numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from cluster.common.wording import count_of
from spurious.data.mask_of import is_region
from spurious.scoring.registry import METRICS
from sweeps.catalogue.exported.evaluation import ModelEvaluation, SplitEvaluation
from sweeps.report.wording import number, sentence


def cautions(evaluation: ModelEvaluation) -> list[str]:
    """Return what limits an evaluation, one sentence or more each."""
    notes = [*_about_origin(evaluation), *_about_attributes(evaluation)]
    notes += [note for split in evaluation.splits for note in _about_split(split, evaluation)]
    of_model = evaluation.exported.document["cautions"]
    return [*notes, *(f"Of the model itself: {sentence(text)}" for text in of_model)]


def _about_origin(evaluation: ModelEvaluation) -> Iterator[str]:
    """Yield how the images that were scored relate to those that the model was trained on."""
    manifest, trained_on = evaluation.manifest, evaluation.exported.document["dataset"]
    if manifest.synthetic is not None:
        yield (
            f"The images of {manifest.name} are synthetic ({manifest.synthetic}): these numbers "
            "say nothing of patients."
        )
    scored = {each.split for each in evaluation.splits}
    if manifest.digest == trained_on["digest"]:
        rule = evaluation.exported.document["kept"]["keep_rule"]
        chose = "" if rule == "last" else f" and, by the rule '{rule}', chose the epoch"
        yield (
            f"This is the dataset that the model was trained on. Its validation images fixed the "
            f"threshold{chose}, and its test images are those of the sweep's report: nothing here "
            "says how the model does elsewhere."
        )
        if "train" in scored:
            yield (
                "The model was trained on images of the split train, so that its numbers there "
                "measure nothing."
            )
    elif manifest.name == trained_on["name"]:
        yield (
            f"This is another version of the dataset {manifest.name}, on which the model was "
            "trained: images and patients may be among those that it has seen."
        )
    here = manifest.provenance.get("image")
    there = trained_on["prepared"].get("image")
    if here is not None and there is not None and here != there:
        yield (
            f"Images were prepared otherwise than those that the model was trained on: {here}, "
            f"and there {there}."
        )
    if evaluation.exported.model.config.segments and is_region(manifest.mask_of):
        yield (
            f"Masks of {manifest.name} are of the {manifest.mask_of}, not of the abnormality, so "
            "that loss and Dice are undefined."
        )


def _about_attributes(evaluation: ModelEvaluation) -> Iterator[str]:
    """Yield what robust AUROC means here, where that differs from what the model learned."""
    there = evaluation.exported.document["dataset"]["attributes"]
    here = {each.name: each.direction for each in evaluation.manifest.attributes}
    if not here:
        yield (
            f"{evaluation.manifest.name} has no spurious attribute; its robust AUROC is undefined."
        )
    elif not here.keys() & there.keys() and there:
        yield (
            f"The spurious attributes here ({', '.join(here)}) are others than where the model was "
            f"trained ({', '.join(there)})."
        )
    for name in sorted(here.keys() & there.keys()):
        if here[name] != there[name]:
            words = {1: "goes with the label", -1: "goes against the label"}
            yield (
                f"{name} {words[here[name]]} in training images of {evaluation.manifest.name}, and "
                f"{words[there[name]]} where the model was trained: its robust AUROC is of images "
                "that contradict the former."
            )


def _about_split(of: SplitEvaluation, evaluation: ModelEvaluation) -> Iterator[str]:
    """Yield what the images of a split cannot say."""
    positives = int((of.labels == 1).sum())
    negatives = len(of.labels) - positives
    if not positives or not negatives:
        yield (
            f"{of.split} has {count_of(positives, 'abnormal image')} and "
            f"{count_of(negatives, 'normal image')}, so that no AUROC is defined."
        )
    elif undefined := [
        "robust AUROC" + (f" of {row['attribute']}" if row["attribute"] else "")
        for row in of.metrics
        if row["metric"] == "robust_auroc"
        and math.isnan(row["value"])
        and _is_named(row["attribute"], evaluation)
    ]:
        yield (
            f"{of.split}: no {', '.join(undefined)}: a group that it compares has no image "
            "with a known attribute."
        )
    few = [which for which, interval in of.intervals.items()
           if interval.reason and _is_named(which[1], evaluation)]  # fmt: skip
    if few:
        names = [METRICS[metric].words + (f" of {name}" if name else "") for metric, name in few]
        reasons = sorted({of.intervals[which].reason for which in few})
        yield f"{of.split}: no interval for {', '.join(names)}: {'; '.join(reasons)}."
    if any(interval.is_near_end for interval in of.intervals.values()):
        yield (
            f"{of.split}: an AUROC near 0 or 1 on few images has an interval that is somewhat too "
            "narrow."
        )
    if len(of.scores) > 1 and np.ptp(of.scores) == 0:
        yield f"{of.split}: all images have the same score, {number(float(of.scores[0]))}."
    threshold = evaluation.threshold
    if not math.isnan(threshold) and (of.scores < threshold).all():
        yield f"{of.split}: no score reaches the threshold, so that no image is called abnormal."
    if not math.isnan(threshold) and (of.scores >= threshold).all():
        yield f"{of.split}: every score reaches the threshold, so that all are called abnormal."


def _is_named(attribute: str | None, evaluation: ModelEvaluation) -> bool:
    """Return whether an attribute's robust AUROC says more than that of all together."""
    return attribute is None or len(evaluation.manifest.attributes) > 1
