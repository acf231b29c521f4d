"""What every model and every aggregation of its pixels promises."""

from __future__ import annotations

import pytest
import torch
from contract_values import AGGREGATION_VALUES, MODEL_VALUES
from small_data import no_weights

from spurious.config.models import CLASSIFIERS, SEGMENTERS
from spurious.training.models import BUILDERS, build
from spurious.training.supervision import aggregate

OPTIONS = {**CLASSIFIERS, **SEGMENTERS}


def make(name: str, channels: int = 1, seed: int = 0) -> torch.nn.Module:
    """A model with its test values, for oblong images."""
    return build(name, OPTIONS[name](**MODEL_VALUES[name]), (32, 64, channels), seed, no_weights)


def images(channels: int = 1) -> torch.Tensor:
    """Two images of noise."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, channels, 32, 64, generator=generator)


def shape_of(name: str) -> tuple[int, ...]:
    """Two logits for each image, or for each of its pixels."""
    return (2, 2) if name in CLASSIFIERS else (2, 2, 32, 64)


def test_names_and_builders_agree() -> None:
    """The registry of the specification and the builders hold the same names, each once."""
    assert set(BUILDERS) == set(OPTIONS)
    assert not set(CLASSIFIERS) & set(SEGMENTERS)


@pytest.mark.parametrize("name", OPTIONS)
class TestModel:
    """One model with random weights."""

    def test_gradient_reaches_every_parameter(self, name: str) -> None:
        """From the logits of colour images."""
        model = make(name, 3).train()
        logits = model(images(3))
        assert logits.shape == shape_of(name)
        logits.square().mean().backward()
        untouched = [
            key
            for key, parameter in model.named_parameters()
            if parameter.grad is None or not parameter.grad.any()
        ]
        assert untouched == []

    def test_state_dict_round_trip(self, name: str) -> None:
        """Another seed's model is the same once it has these weights; logits of grey images."""
        model, other = make(name).eval(), make(name, seed=1).eval()
        with torch.no_grad():
            expected = model(images())
            assert expected.shape == shape_of(name)
            assert expected.dtype == torch.float32
            assert not torch.equal(other(images()), expected)
            other.load_state_dict(model.state_dict())
            assert torch.equal(other(images()), expected)


@pytest.mark.parametrize("name", AGGREGATION_VALUES)
class TestAggregation:
    """One read-out: from a map of pixel logits to an image's score."""

    def test_scores_are_probabilities(self, name: str) -> None:
        """In [0, 1] and finite, 0 and 1 at the extremes, also with a third class of pixels."""
        generator = torch.Generator().manual_seed(0)
        readout = AGGREGATION_VALUES[name]
        for classes in (2, 3):
            logits = torch.randn(16, classes, 6, 6, generator=generator) * 3
            scores = aggregate(logits, readout)
            assert scores.shape == (16,)
            assert scores.dtype == torch.float32
            assert ((scores >= 0) & (scores <= 1)).all()
            sure = torch.zeros(2, classes, 6, 6)
            sure[0, -1], sure[1, -1] = 1000.0, -1000.0
            assert aggregate(sure, readout).tolist() == [1.0, 0.0]

    def test_images_are_scored_apart(self, name: str) -> None:
        """An image's score does not change with its neighbours in the batch, nor its order."""
        logits = torch.randn(5, 2, 6, 6, generator=torch.Generator().manual_seed(1)) * 3
        readout = AGGREGATION_VALUES[name]
        together = aggregate(logits, readout)
        apart = [aggregate(logits[i : i + 1], readout).item() for i in range(5)]
        assert together.tolist() == pytest.approx(apart, abs=1e-6)
        assert aggregate(logits.flip(0), readout).tolist() == pytest.approx(apart[::-1], abs=1e-6)
