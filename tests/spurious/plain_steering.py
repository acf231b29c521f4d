"""Losses of methods that steer, written again from their papers; imports nothing of the project.

The network is the small CNN of one level, from its state dict: two convolutions with batch
normalisation, a maximum over 2 x 2, two more, the mean over places, a linear layer. All in float64.

Shape legend: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch.nn import functional

State = Mapping[str, torch.Tensor]


class Pass(NamedTuple):
    """Logits (B, 2), the last feature map, and what comes before each ReLU."""

    logits: torch.Tensor
    maps: torch.Tensor
    before: list[torch.Tensor]


def network(state: State, x: torch.Tensor, running: bool = False) -> Pass:
    """The forward pass, with the batch's statistics or the running ones."""
    before = []
    for block in range(2):
        if block:
            x = functional.max_pool2d(x, 2)
        for at in (0, 3):
            name = f"encoder.blocks.{block}"
            x = functional.conv2d(x, state[f"{name}.{at}.weight"], padding=1)
            norm = f"{name}.{at + 1}"
            mean = state[f"{norm}.running_mean"] if running else x.mean(dim=(0, 2, 3))
            variance = (
                state[f"{norm}.running_var"] if running else x.var(dim=(0, 2, 3), unbiased=False)
            )
            x = (x - mean[:, None, None]) / (variance[:, None, None] + 1e-5) ** 0.5
            x = x * state[f"{norm}.weight"][:, None, None] + state[f"{norm}.bias"][:, None, None]
            before.append(x)
            x = x * (x > 0)
    logits = x.mean(dim=(2, 3)) @ state["head.weight"].T + state["head.bias"]
    return Pass(logits, x, before)


def cross_entropies(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """(B,) minus the log-probability of the label."""
    return logits.exp().sum(dim=1).log() - logits[torch.arange(len(labels)), labels]


def gradient(of: torch.Tensor, by: torch.Tensor) -> torch.Tensor:
    """The derivative of a scalar."""
    return torch.autograd.grad(of, by, create_graph=True)[0]


def grown(regions: torch.Tensor, radius: int) -> torch.Tensor:
    """Regions with all pixels that are at most `radius` rows and columns away."""
    result = regions.clone()
    height, width = regions.shape[1:]
    for image, row, column in regions.nonzero().tolist():
        rows = slice(max(0, row - radius), min(height, row + radius + 1))
        columns = slice(max(0, column - radius), min(width, column + radius + 1))
        result[image, rows, columns] = True
    return result


def actdiff(state: State, x: Any, labels: Any, outside: Any, masked: Any, of: Any) -> torch.Tensor:
    """Equation 1 of Viviano et al. 2019, or the norms of their code."""
    shuffled, whole = network(state, masked), network(state, x)
    pairs = list(zip(shuffled.before, whole.before, strict=True))
    if of["compared"] == "after_relu":
        pairs = [(a * (a > 0), b * (b > 0)) for a, b in pairs]
    if of["layers"] == "last":
        pairs = [(shuffled.maps.mean(dim=(2, 3)), whole.maps.mean(dim=(2, 3)))]
    if of["norm"] == "layer":
        per_layer = [((a - b) ** 2).flatten(1).sum(dim=1).sqrt().mean() for a, b in pairs]
        penalty = sum(per_layer) / len(per_layer)
    else:
        dim = 1 if of["norm"] == "channel" else -1
        every = torch.cat([((a - b + 1e-6) ** 2).sum(dim=dim).sqrt().flatten() for a, b in pairs])
        penalty = every.sum() / len(every)
    return cross_entropies(whole.logits, labels).mean() + of["weight"] * penalty


def _contrast(x: torch.Tensor, logits: torch.Tensor, outside: torch.Tensor, size: str) -> Any:
    saliency = gradient((logits[:, 0] - logits[:, 1]).abs().sum(), x) * outside
    if size == "l1":
        return saliency.abs().sum()
    return (saliency**2).flatten(1).sum(dim=1).sqrt().mean()


def gradmask(state: State, x: Any, labels: Any, outside: Any, masked: Any, of: Any) -> torch.Tensor:
    """Equation 2 of Viviano et al. 2019, or the sum of their code."""
    logits = network(state, x).logits
    penalty = _contrast(x, logits, outside, of["size"])
    return cross_entropies(logits, labels).mean() + of["weight"] * penalty


def both(state: State, x: Any, labels: Any, outside: Any, masked: Any, of: Any) -> torch.Tensor:
    """The sum of both penalties."""
    first = actdiff(state, x, labels, outside, masked, of)
    penalty = _contrast(x, network(state, x).logits, outside, of["size"])
    return first + of["gradient_weight"] * penalty


def masked_inputs(
    state: State, x: Any, labels: Any, outside: Any, masked: Any, of: Any
) -> torch.Tensor:
    """Nothing outside the region is seen."""
    return cross_entropies(network(state, x * ~outside).logits, labels).mean()


def shuffled_inputs(
    state: State, x: Any, labels: Any, outside: Any, masked: Any, of: Any
) -> torch.Tensor:
    """What is outside is shuffled."""
    return cross_entropies(network(state, masked).logits, labels).mean()


def _log_probabilities(logits: torch.Tensor) -> torch.Tensor:
    return (logits - logits.exp().sum(dim=1, keepdim=True).log()).sum()


def rrr(state: State, x: Any, labels: Any, outside: Any, masked: Any, of: Any) -> torch.Tensor:
    """Ross et al. 2017, equation 1, as a mean over images."""
    logits = network(state, x).logits
    squares = (gradient(_log_probabilities(logits), x) * outside) ** 2
    penalty = squares.sum() / len(x)
    if of["normalise"]:
        penalty = penalty / outside.sum()
    return cross_entropies(logits, labels).mean() + of["weight"] * penalty


def rbr(state: State, x: Any, labels: Any, outside: Any, masked: Any, of: Any) -> torch.Tensor:
    """Shao et al. 2021 with the identity for the Hessian."""
    trained = {key for key in state if not key.endswith(("running_mean", "running_var", "tracked"))}
    weights = {key: state[key].clone().requires_grad_() for key in trained}
    logits = network({**state, **weights}, x, running=True).logits
    losses = cross_entropies(logits, labels).sum()
    parts = torch.autograd.grad(losses, list(weights.values()), create_graph=True)
    influence = gradient(sum(part.sum() for part in parts), x)  # type: ignore[arg-type]
    product = influence * gradient(_log_probabilities(logits), x) * outside
    loss = cross_entropies(network(state, x).logits, labels).mean()
    return loss + of["weight"] * (product**2).sum() / len(x)


def _cam(result: Pass, classes: torch.Tensor, rectify: bool) -> torch.Tensor:
    """Grad-CAM from 0 to 1, (B, h, w)."""
    chosen = result.logits[torch.arange(len(classes)), classes].sum()
    weights = gradient(chosen, result.maps).mean(dim=(2, 3))
    cam = torch.einsum("bd,bdhw->bhw", weights, result.maps)
    cam = cam * (cam > 0) if rectify else cam
    cam = cam - cam.amin(dim=(1, 2), keepdim=True)
    return cam / (cam.amax(dim=(1, 2), keepdim=True) + 1e-6)


def xbl(state: State, x: Any, labels: Any, outside: Any, masked: Any, of: Any) -> torch.Tensor:
    """Schramowski et al. 2020; a cell of the map is 2 x 2 pixels here."""
    result = network(state, x)
    cam = _cam(result, result.logits.argmax(dim=1), of["rectify"])
    b, h, w = cam.shape
    share = outside[:, 0].double().reshape(b, h, 2, w, 2).mean(dim=(2, 4))
    penalty = ((share * cam) ** 2).sum() / len(x)
    return cross_entropies(result.logits, labels).mean() + of["weight"] * penalty


def care(state: State, x: Any, labels: Any, outside: Any, masked: Any, of: Any) -> torch.Tensor:
    """Zhuang et al. 2019, on images with a region."""
    result = network(state, x)
    losses = cross_entropies(result.logits, labels)
    cam = functional.interpolate(
        _cam(result, labels, rectify=True)[:, None], x.shape[2:], mode="bilinear"
    )
    total = torch.zeros((), dtype=torch.float64)
    for image in range(len(x)):
        where = outside[image, 0]
        if not where.any():
            total = total + losses[image]
            continue
        attention = cam[image, 0]
        earned = min(attention[~where].sum(), torch.tensor(of["threshold"], dtype=torch.float64))
        lost = attention[where].sum() - earned
        total = total + of["share"] * lost + (1 - of["share"]) * losses[image]
    return total / len(x)


def _product(result: Pass, x: torch.Tensor, grid: str) -> torch.Tensor:
    """Image times map; a cell of the map is 2 x 2 pixels here."""
    cam = _cam(result, result.logits.argmax(dim=1), rectify=True)
    b, h, w = cam.shape
    if grid == "map":
        return x.reshape(b, -1, h, 2, w, 2).mean(dim=(3, 5)) * cam[:, None]
    return x * functional.interpolate(cam[:, None], x.shape[2:], mode="bilinear")


def exbl(first: State, examples: torch.Tensor, state: State, x: Any, labels: Any, of: Any) -> Any:
    """Hagos et al. 2023, equations 4 to 8; the first model has its running statistics."""
    grid = of["grid"]
    good, bad = _product(network(first, examples, running=True), examples, grid).detach()
    result = network(state, x)
    products = _product(result, x, grid)
    total, active = torch.zeros((), dtype=torch.float64), 0
    for product in products:
        squares = [((product - example) ** 2).flatten() for example in (good, bad)]
        to_good, to_bad = (
            part.mean() if of["distance"] == "mse" else part.sum().sqrt() for part in squares
        )
        signed = of["margin"] if of["hinge"] == "formula" else -of["margin"]
        hinge = to_good - to_bad + signed
        if hinge > 0:
            total, active = total + hinge, active + 1
    shares = {"sum": 1, "mean": len(x), "active": max(active, 1)}
    loss = cross_entropies(result.logits, labels).mean()
    return loss + of["weight"] * total / shares[of["average"]]


def adversarial(state: State, x: Any, labels: Any, outside: Any, masked: Any, of: Any) -> Any:
    """Viviano et al. 2021: the discriminator, as it is after its step, has both labels flipped."""
    shuffled, whole = network(state, masked), network(state, x)

    def logit(features: torch.Tensor) -> torch.Tensor:
        for layer in (0, 2, 4):
            weight, u, v = (of["discriminator"][f"{layer}.{part}"] for part in ("weight", "u", "v"))
            scaled = weight / (u @ weight @ v)
            features = features @ scaled.T + of["discriminator"][f"{layer}.bias"]
            features = features * (features > 0) if layer < 4 else features
        return features

    as_whole = logit(shuffled.maps.mean(dim=(2, 3)))
    as_shuffled = logit(whole.maps.mean(dim=(2, 3)))
    fooled = (1 + (-as_whole).exp()).log().mean() + (1 + as_shuffled.exp()).log().mean()
    return cross_entropies(whole.logits, labels).mean() + of["weight"] * fooled


LOSSES: Mapping[str, Callable[..., torch.Tensor]] = {
    "actdiff": actdiff,
    "gradmask": gradmask,
    "actdiff-gradmask": both,
    "classify-masked": masked_inputs,
    "classify-shuffled": shuffled_inputs,
    "adversarial": adversarial,
    "rrr": rrr,
    "rbr": rbr,
    "xbl": xbl,
    "care": care,
}
