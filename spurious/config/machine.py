"""The machine part of a fit: devices and threads."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Machine:
    """Where a fit runs; nothing here may change its numbers on one CPU type, except `threads`.

    Attributes:
        device: `cpu` or `cuda`.
        threads: torch threads; recorded in the provenance.
        workers: Augmentation threads.
    """

    device: str = "cpu"
    threads: int = 1
    workers: int = 1
