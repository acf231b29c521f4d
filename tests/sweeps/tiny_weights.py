"""Weights that a model of the project can begin from, small enough for every test."""

from __future__ import annotations

from functools import cache

import timm
import torch
from safetensors.torch import save

ARCHITECTURE = "test_resnet"


@cache
def tiny_release() -> dict[str, torch.Tensor]:
    """The state dict of timm's smallest ResNet, its classifier of 1,000 classes too."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return dict(timm.create_model(ARCHITECTURE).state_dict())


@cache
def tiny_file() -> bytes:
    """It as a safetensors file."""
    return save({name: value.contiguous() for name, value in tiny_release().items()})
