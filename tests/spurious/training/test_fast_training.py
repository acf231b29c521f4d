"""Options that make training faster: what each may change, and what not."""

from __future__ import annotations

import shutil
from typing import Any

import numpy as np
import pytest
import torch
from small_data import fit_config, fitted, keeping, numbers, squares, values

from spurious.config.options import Specificity, Train
from spurious.data.sampling import BatchSampler
from spurious.data.training_set import TrainingSet
from spurious.errors import ConfigError
from spurious.training.evaluate import Evaluator, layout
from spurious.training.loop import Hooks, Loop, make_optimizer
from spurious.training.model import Embedded, Model
from spurious.training.models import compile_model
from spurious.training.objective import Objective
from spurious.training.supervision import Classification

pytestmark = pytest.mark.usefixtures("torch_settings")


@pytest.mark.parametrize("kind", ["label", "mask"])
@pytest.mark.parametrize("option", [{"channels_last": True}, {"fused": True}])
def test_the_same_training_within_rounding(kind: str, option: dict[str, Any]) -> None:
    """Another memory layout or kernel gives the same losses up to rounding."""
    dataset = squares()
    plain = values(fitted(dataset, fit_config(kind, epochs=2)), "train", "loss")
    fast = values(fitted(dataset, fit_config(kind, epochs=2, **option)), "train", "loss")
    assert fast == pytest.approx(plain, rel=1e-3)


def test_channels_last_reaches_model_and_images() -> None:
    """The convolution's weights lie in that order while training."""
    seen: list[bool] = []

    def look(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        if module.training and inputs[0].shape[1] > 1:  # one channel has both layouts
            seen.append(inputs[0].is_contiguous(memory_format=torch.channels_last))

    handle = torch.nn.modules.module.register_module_forward_pre_hook(
        lambda module, inputs: look(module, inputs) if isinstance(module, torch.nn.Conv2d) else None
    )
    try:
        fitted(squares(), fit_config("mask", epochs=1, channels_last=True))
    finally:
        handle.remove()
    assert seen
    assert all(seen)


def test_by_default_images_stay_as_they_were_read() -> None:
    """Placing a batch changes no stride: for grey images that would mean slower kernels."""
    dataset, train = squares(), Train()
    images = TrainingSet(dataset, dataset.rows("train"), Specificity("label"), train, 0)
    (batch,) = images.batches([np.arange(5)], epoch=1)
    assert batch.x.is_contiguous(memory_format=torch.channels_last)
    placed = batch.to(torch.device("cpu"), layout(train))
    assert placed.x.stride() == batch.x.stride()


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_fused_optimizers(optimizer: Any) -> None:
    """Each optimizer has its fused form."""
    train = Train(optimizer=optimizer, fused=True)
    (group,) = make_optimizer(torch.nn.Linear(2, 2).parameters(), train).param_groups
    assert group["fused"] is True


class Flat(Model):
    """A linear layer on pixels: no batch statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.head = torch.nn.Linear(256, 2)

    def embedded(self, x: torch.Tensor) -> Embedded:
        images = x.flatten(1)
        return Embedded(self.head(images), images, None)


def test_accumulated_batches_are_one_large_batch() -> None:
    """Three batches of 7 make the step that one batch of 21 makes."""
    dataset, label = squares(), Specificity("label")  # 21 training images
    start = Flat().state_dict()
    losses = []
    for batch_size, accumulate in ((21, 1), (7, 3)):
        train = Train(epochs=4, batch_size=batch_size, accumulate=accumulate, keep="last")
        images = TrainingSet(dataset, dataset.rows("train"), label, train, 0)
        model = Flat()
        model.load_state_dict(start)
        loop = Loop(model, Objective(Classification()), train, 0, torch.device("cpu"))
        evaluator = Evaluator(dataset, label, Classification(), train, torch.device("cpu"))
        losses.append(
            values(loop.run(BatchSampler(images, batch_size, 0), evaluator, Hooks()), "val", "loss")
        )
    assert losses[0][0] != losses[0][-1]
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)


def test_a_last_smaller_group_weighs_its_own_batches() -> None:
    """Two batches at an epoch's end are averaged by two, not by `accumulate`."""
    dataset = squares()
    two = fitted(dataset, fit_config("label", epochs=2, batch_size=11, accumulate=2))
    many = fitted(dataset, fit_config("label", epochs=2, batch_size=11, accumulate=5))
    assert numbers(two) == numbers(many)


def test_an_accumulating_fit_resumes_bit_for_bit() -> None:
    """Gradients never wait across epochs, so a checkpoint holds all there is."""
    dataset, config = squares(), fit_config("mask", epochs=4, accumulate=3, channels_last=True)
    saved: list[bytes] = []
    whole = fitted(dataset, config, Hooks(save=keeping(saved)))
    assert numbers(fitted(dataset, config, Hooks(resume=saved[1]))) == numbers(whole)


def test_determinism_is_an_option() -> None:
    """Left out, operations without a deterministic form are allowed."""
    seen: list[bool] = []
    hooks = Hooks(on_epoch=lambda *_: seen.append(torch.are_deterministic_algorithms_enabled()))
    for deterministic in (False, True):
        fitted(squares(), fit_config("label", epochs=1, deterministic=deterministic), hooks)
    assert seen == [False, True]


def test_compiling_needs_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is none, one sentence says so before anything trains."""
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(ConfigError, match=r"needs a C\+\+ compiler .* compile: false"):
        fitted(squares(), fit_config("label", compile=True))


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs g++")
def test_a_compiled_model_computes_alike() -> None:
    """Logits agree within rounding, and its weights load into a plain model."""
    plain, compiled = Flat(), Flat()
    compiled.load_state_dict(plain.state_dict())
    compile_model(compiled)
    x = torch.randn(3, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.allclose(compiled(x), plain(x), atol=1e-6)
    assert compiled._compiled_call_impl is not None  # how `nn.Module.compile` marks itself
    assert set(compiled.state_dict()) == set(plain.state_dict())
