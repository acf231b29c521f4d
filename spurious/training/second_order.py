"""Layers whose second derivatives are as fast on CPUs as their first ones.

torch differentiates the backward pass of a normalisation layer by two dozen passes over its values,
and that of a convolution by one whose kernel is as large as the image. Here both are written with
the kernels that their first derivatives have. Values and first derivatives are torch's own, bit for
bit; second ones agree up to rounding.

Shape legend: B batch, C channels, H height, W width, D output channels, k kernel.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn.attention import SDPBackend, sdpa_kernel

_inputs_alone = ContextVar("inputs_alone", default=False)
_aten = torch.ops.aten
_ALL = [True, True, True]


def speed_up_second_derivatives(model: nn.Module) -> None:
    """Turn a model's convolutions and normalisation layers into those of this module, in place.

    Parameters, buffers and their names stay. The layers fall back to torch's on other devices,
    under autocast, and in evaluation mode, where the statistics are constants.
    """
    for module in model.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = _BatchNorm
        elif type(module) is nn.Conv2d and module.padding_mode == "zeros":
            module.__class__ = _Convolution


@contextmanager
def for_inputs_alone() -> Iterator[None]:
    """Let a backward pass leave out the derivatives by weights, where nobody asks for them."""
    token = _inputs_alone.set(True)
    try:
        yield
    finally:
        _inputs_alone.reset(token)


def twice_differentiable() -> AbstractContextManager[None]:
    """Let attention use torch's one kernel that has second derivatives, within forward passes."""
    return sdpa_kernel(SDPBackend.MATH)


def _takes(x: torch.Tensor) -> bool:
    return x.device.type == "cpu" and x.requires_grad and not torch.is_autocast_enabled("cpu")


class _BatchNorm(nn.BatchNorm2d):
    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to the same."""
        is_plain = self.training and self.affine and self.momentum is not None
        if not is_plain or not _takes(input):
            return super().forward(input)
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        statistics = (self.running_mean, self.running_var, self.momentum, self.eps)
        normalised: torch.Tensor = _Normalise.apply(input, self.weight, self.bias, *statistics)
        return normalised


class _Normalise(Function):
    @staticmethod
    def forward(ctx: Any, x: Any, weight: Any, bias: Any, *statistics: Any) -> torch.Tensor:
        mean, variance, momentum, eps = statistics
        out, of_batch, inverse = torch.native_batch_norm(
            x, weight, bias, mean, variance, True, momentum, eps
        )
        ctx.save_for_backward(x, weight, of_batch, inverse)
        ctx.eps = eps
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        slopes = _NormaliseBackward.apply(gradients[0], *ctx.saved_tensors, ctx.eps)
        return (*slopes, None, None, None, None)


class _NormaliseBackward(Function):
    """g, x to (dx, dweight, dbias); differentiated by Ioffe & Szegedy's formulas once more."""

    @staticmethod
    def forward(ctx: Any, g: Any, x: Any, weight: Any, mean: Any, inverse: Any, eps: Any) -> Any:
        of = _aten.native_batch_norm_backward(
            g, x, weight, None, None, mean, inverse, True, eps, _ALL
        )
        ctx.save_for_backward(g, x, weight, mean, inverse, of[1], of[2])
        ctx.eps = eps
        ctx.set_materialize_grads(False)
        return of

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *cotangents: torch.Tensor | None) -> Any:
        """Return the derivatives by g, x and weight, of which v is the cotangent of dx.

        With x' the normalised x, m() a mean over B, H and W, s = 1 / standard deviation:
        dx = weight s (g - m(g) - x' m(g x')), dweight = sum(g x'), dbias = sum(g).
        """
        v, of_weight, of_bias = cotangents
        g, x, weight, mean, inverse, sum_gx, sum_g = ctx.saved_tensors
        by_g = by_x = by_weight = None
        count = x.numel() // x.shape[1]
        if v is not None:
            by_g, sum_vx, sum_v = _aten.native_batch_norm_backward(
                v, x, weight, None, None, mean, inverse, True, ctx.eps, _ALL
            )
            vg = (v * g).sum(dim=(0, 2, 3)) / count
            gx, vx, g0, v0 = (total / count for total in (sum_gx, sum_vx, sum_g, sum_v))
            scale = weight * inverse**2
            along = scale * (v0 * g0 - vg + 3 * gx * vx)  # of x'
            constant = scale * (vx * g0 + gx * v0) - along * inverse * mean
            by_x = torch.addcmul(_wide(constant), x, _wide(along * inverse))
            by_x = by_x.addcmul_(g, _wide(-scale * vx)).addcmul_(v, _wide(-scale * gx))
            by_weight = count * inverse * (vg - v0 * g0 - vx * gx)
        if of_weight is not None:
            normalised = (x - _wide(mean)) * _wide(inverse)
            by_g = _sum(by_g, _wide(of_weight) * normalised)
            centred = g - _wide(sum_g / count) - normalised * _wide(sum_gx / count)
            by_x = _sum(by_x, _wide(of_weight * inverse) * centred)
        if of_bias is not None:
            by_g = _sum(by_g, _wide(of_bias).expand_as(x))
        return by_g, by_x, by_weight, None, None, None


def _sum(total: torch.Tensor | None, part: torch.Tensor) -> torch.Tensor:
    return part if total is None else total + part


def _wide(of_channels: torch.Tensor) -> torch.Tensor:
    """(C,) to (1, C, 1, 1)."""
    return of_channels[None, :, None, None]


class _Convolution(nn.Conv2d):
    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to (B, D, h, w)."""
        if isinstance(self.padding, str) or not _takes(input):
            return super().forward(input)
        shape = (self.stride, self.padding, self.dilation, self.groups)
        convolved: torch.Tensor = _Convolve.apply(input, self.weight, self.bias, *shape)
        return convolved


class _Convolve(Function):
    @staticmethod
    def forward(ctx: Any, x: Any, weight: Any, bias: Any, *shape: Any) -> torch.Tensor:
        ctx.save_for_backward(x, weight)
        ctx.shape, ctx.biased = shape, bias is not None
        return torch.conv2d(x, weight, bias, *shape)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        x, weight = ctx.saved_tensors
        # torch says what a layer's parameters could be asked for, never what is asked for
        weighted = ctx.needs_input_grad[1] and not _inputs_alone.get()
        needed = [ctx.needs_input_grad[0], weighted, weighted and ctx.biased]
        slopes = _ConvolveBackward.apply(gradients[0], x, weight, ctx.shape, needed)
        return (*slopes, None, None, None, None)


class _ConvolveBackward(Function):
    """g, x, weight to (dx, dweight, dbias), bilinear in g and each of the others."""

    @staticmethod
    def forward(ctx: Any, g: Any, x: Any, weight: Any, shape: Any, needed: Any) -> Any:
        ctx.save_for_backward(g, x, weight)
        ctx.shape = shape
        ctx.set_materialize_grads(False)
        return _slopes(g, x, weight, shape, needed)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *cotangents: torch.Tensor | None) -> Any:
        v, of_weight, of_bias = cotangents
        g, x, weight = ctx.saved_tensors
        by_g = by_x = by_weight = None
        if v is not None:
            by_g = torch.conv2d(v, weight, None, *ctx.shape)
            by_weight = _slopes(g, v, weight, ctx.shape, [False, True, False])[1]
        if of_weight is not None:
            by_g = _sum(by_g, torch.conv2d(x, of_weight, None, *ctx.shape))
            by_x = _slopes(g, x, of_weight, ctx.shape, [True, False, False])[0]
        if of_bias is not None:
            by_g = _sum(by_g, _wide(of_bias).expand_as(g))
        return by_g, by_x, by_weight, None, None


def _slopes(g: Any, x: Any, weight: Any, shape: Any, mask: list[bool]) -> Any:
    """Return the derivatives of a convolution by x, weight and bias, None where masked out."""
    stride, padding, dilation, groups = shape
    sides = ([len(weight)], stride, padding, dilation, False, [0, 0], groups, mask)
    return _aten.convolution_backward(g, x, weight, *sides)
