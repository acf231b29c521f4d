"""From a planned trial to what a worker is sent."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from spurious.config.machine import Machine
from spurious.config.options import FitConfig
from sweeps.plan.packing import Share, default_share
from sweeps.plan.plan import Trial
from sweeps.spec.model import Spec


@dataclass(frozen=True)
class Task:
    """What a worker is sent: a trial and where it runs. Nothing but `config` decides numbers.

    `share` is what it asks for, and on its worker what it has: more after a want of memory.
    `has_checkpoint` says whether the store held one when the run began. `until_epoch` is the epoch
    at which a search compares it, where that is not the end.
    """

    trial_id: str
    label: str
    dataset: str
    dataset_digest: str
    config: FitConfig
    store_url: str
    cache_dir: str
    machine: Machine
    share: Share
    checkpoint_every: int = 10
    keep_checkpoint: bool = False
    has_checkpoint: bool = False
    sweep: str = ""
    embeddings: bool = False
    explanations: bool = False
    examples: int = 0
    keep_model: bool = False
    until_epoch: int | None = None


def task_for(
    trial: Trial, spec: Spec, store_url: str, cache: Path, has_checkpoint: bool = False
) -> Task:
    """Return what a worker is sent for a trial."""
    resources = spec.resources
    machine = Machine(
        device="cuda" if resources.gpus else "cpu",
        threads=resources.threads,
        workers=max(1, int(resources.cpus)),
    )
    return Task(
        trial_id=trial.id,
        label=trial.label,
        dataset=trial.dataset,
        dataset_digest=trial.dataset_digest,
        config=trial.config,
        store_url=store_url,
        cache_dir=str(cache),
        machine=machine,
        share=default_share(resources),
        checkpoint_every=spec.checkpoint.every_epochs,
        keep_checkpoint=spec.checkpoint.keep,
        has_checkpoint=has_checkpoint,
        sweep=spec.name,
        embeddings=spec.embeddings,
        explanations=spec.explanations,
        examples=spec.examples,
        keep_model=spec.keep == "model",
    )
