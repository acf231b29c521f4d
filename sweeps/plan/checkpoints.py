"""What a plan says of checkpoints that are too large for the time that a leaving node has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from cluster.jobs.drain import DRAIN_VARIABLE, drain_seconds
from spurious.config.parameters import estimate_checkpoint_bytes
from sweeps.plan.plan import Plan, fit_config
from sweeps.spec.model import Spec

WRITTEN_BYTES_PER_S: Final = 25e6
"""What a plan takes for the speed of writing one: that of a store on two busy cores."""


def checkpoint_notes(plan: Plan, spec: Spec) -> Iterator[str]:
    """Yield each model whose checkpoint a node cannot save between its notice and its end."""
    if plan.facts is None or plan.facts.image_shape is None or not plan.seeds:
        return
    drain, noted = drain_seconds(), set[tuple[str, int]]()
    for cell in plan.cells:
        config = fit_config(spec, cell, plan.seeds[0], plan.facts)
        size = estimate_checkpoint_bytes(config, plan.facts.image_shape)
        if size is None or size <= drain * WRITTEN_BYTES_PER_S:
            continue
        if (config.model_name, size) not in noted:
            noted.add((config.model_name, size))
            yield (
                f"checkpoints: one of {config.model_name} takes about {size / 1e6:,.0f} MB (its "
                f"weights, those of the kept epoch, {config.train.optimizer}), at "
                f"{WRITTEN_BYTES_PER_S / 1e6:.0f} MB/s {size / WRITTEN_BYTES_PER_S:,.0f} s, and a "
                f"node that leaves lets trials go on for {drain:g} s: where nodes leave, set "
                f"{DRAIN_VARIABLE} to more than that on them, or lower checkpoint.every_epochs "
                f"({spec.checkpoint.every_epochs}), the most epochs that are lost"
            )
