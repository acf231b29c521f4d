"""A trial's share of a GPU: enforced, and what it took of it."""

from __future__ import annotations

from typing import Any

CONTEXT_BYTES = 600 * 2**20
"""GPU memory of a process outside of PyTorch's allocator: CUDA's context and loaded kernels.

An allowance, which no setting bounds: 300 to 550 MiB with PyTorch 2 on recent GPUs.
"""


def enforce_share(cuda: Any, share: float) -> None:
    """Bound what this process allocates to its share of its GPU, less its context.

    Beyond it PyTorch raises OutOfMemoryError, as on a smaller GPU; without a bound a trial that
    takes more than its share ends its neighbours. Peaks are counted from here on.

    Args:
        cuda: `torch.cuda`.
        share: Of one GPU; one or more of them are not bounded.
    """
    cuda.reset_peak_memory_stats()
    if share >= 1:
        cuda.set_per_process_memory_fraction(1.0)  # a worker may have had less before
        return
    total = cuda.get_device_properties(cuda.current_device()).total_memory
    allowed = share - CONTEXT_BYTES / total
    if allowed <= 0:
        raise MemoryError(
            f"a share of {share:g} of a GPU with {total / 2**30:.0f} GiB leaves no memory beside "
            "CUDA's context: raise resources.gpus"
        )
    cuda.set_per_process_memory_fraction(allowed)


def read_memory(cuda: Any) -> tuple[int, int]:
    """Return the most bytes that PyTorch held since `enforce_share`, and the GPU's bytes."""
    total = cuda.get_device_properties(cuda.current_device()).total_memory
    return int(cuda.max_memory_reserved()), int(total)


def trials_per_gpu(peak_bytes: int, total_bytes: int) -> int:
    """Return how many trials of a kind a GPU holds at once, with a tenth to spare; at least 1."""
    return max(1, int(total_bytes // (1.1 * peak_bytes + CONTEXT_BYTES)))
