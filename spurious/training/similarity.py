"""Directions of embeddings, what losses on cosine similarity are made of."""

from __future__ import annotations

import torch

_SHORTEST = 1e-8


def unit(vectors: torch.Tensor) -> torch.Tensor:
    """Vectors scaled to length 1, in float32 whatever precision they come in.

    A vector shorter than 1e-8 has no direction: it becomes zero and gets no gradient.

    Args:
        vectors: (n, D).

    Returns:
        (n, D) float32.
    """
    vectors = vectors.float()
    # the length of a zero vector must not enter the graph: its gradient would be 0 / 0
    directed = vectors.detach().norm(dim=1, keepdim=True) > _SHORTEST
    safe = torch.where(directed, vectors, 1.0)
    return torch.where(directed, safe / safe.norm(dim=1, keepdim=True), 0.0)
