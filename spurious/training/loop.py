"""The one training loop that every method composes.

Every random draw of an epoch derives from (seed, purpose, epoch), so a loop that continues from a
checkpoint at an epoch's end makes the draws that an undisturbed one would have made.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum
from itertools import groupby
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from spurious.config.options import Train
from spurious.data.batches import Batch
from spurious.data.randomness import derive
from spurious.data.sampling import BatchSampler
from spurious.data.splits import TEST, VALIDATION
from spurious.errors import DataError, NumericalError, Stopped
from spurious.scoring.events import UNMOVED_WEIGHTS
from spurious.scoring.registry import METRICS
from spurious.scoring.selection import Candidates, SelectionRule, parse_rule
from spurious.training import checkpoint
from spurious.training.evaluate import (
    Evaluation,
    Evaluator,
    MetricRow,
    as_columns,
    from_columns,
    layout,
)
from spurious.training.explained import Explanations
from spurious.training.model import Model
from spurious.training.models import compile_model
from spurious.training.objective import Forward, Objective
from spurious.training.shared_models import SharedModel, SharedModels

_UNMOVED = 1e-6
"""Distance of weights from where they began, over their length, that counts as none."""


class ControlSignal(Enum):
    """What to do after an epoch: train on, save a checkpoint first, or save it and stop."""

    CONTINUE = "continue"
    SAVE = "save"
    STOP = "stop"


def train_here(model_key: SharedModel, make: Callable[[Hooks], bytes]) -> bytes:
    """Stages without a place to keep them."""
    return make(Hooks())


@dataclass(frozen=True)
class Hooks:
    """How a caller watches and persists a fit; the defaults do nothing.

    Attributes:
        resume: Bytes of an earlier checkpoint, or None.
        save: Keeps a checkpoint after every `save_every` epochs, see
            `spurious.training.checkpoint.SaveCheckpoint`.
        save_every: Epochs between checkpoints.
        on_epoch: Receives epoch, number of epochs and the evaluation's `val.auroc`-like values.
        poll: Returns the control signal, after every epoch but the last.
        shared_models: Keeps models that several trials begin with; by default each is trained here.
    """

    resume: bytes | memoryview | None = None
    save: checkpoint.SaveCheckpoint | None = None
    save_every: int = 1
    on_epoch: Callable[[int, int, dict[str, float]], None] | None = None
    poll: Callable[[], ControlSignal] = lambda: ControlSignal.CONTINUE
    shared_models: SharedModels = train_here


@dataclass
class Fit:
    """The outcome of training.

    Attributes:
        rows: Every evaluated epoch's metrics, the training loss of every epoch, and what is
            measured once, at the kept epoch.
        kept_epoch: Epoch of the kept checkpoint, from 1.
        kept_value: What the rule's metric was there; NaN for `last` or where it is undefined.
        kept_state: The model's state dict at the kept epoch.
        kept_scores: Image scores per split at the kept epoch, (n,) float64.
        last_scores: The same at the last epoch.
        kept_probabilities: Per split (n, K) float64 at the kept epoch, of a classifier of classes;
            else empty.
        last_probabilities: The same at the last epoch.
        embeddings: The kept model's image embeddings of the test split in row order, (n, D); None
            where the loop could not take them, before `spurious.fit.fit` has measured them.
        explanations: Of the test images by the kept model; None where nobody asked for them.
        seconds_training: Wall time of training steps, seconds.
        images_trained: Images that went through training steps.
        resumed_from_epoch: 0 where training began afresh.
    """

    rows: list[MetricRow] = field(default_factory=list)
    kept_epoch: int = 0
    kept_value: float = math.nan
    kept_state: dict[str, torch.Tensor] = field(default_factory=dict)
    kept_scores: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    last_scores: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    kept_probabilities: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    last_probabilities: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    embeddings: NDArray[np.float32] | None = None
    explanations: Explanations | None = None
    seconds_training: float = 0.0
    images_trained: int = 0
    resumed_from_epoch: int = 0


def make_optimizer(
    parameters: Iterable[torch.nn.Parameter], config: Train
) -> torch.optim.Optimizer:
    """Return the optimizer that the options name."""
    arguments: dict[str, Any] = {"lr": config.learning_rate, "weight_decay": config.weight_decay}
    if config.fused:
        arguments["fused"] = True
    if config.optimizer == "sgd":
        return torch.optim.SGD(parameters, momentum=config.momentum, **arguments)
    kind = torch.optim.Adam if config.optimizer == "adam" else torch.optim.AdamW
    return kind(parameters, **arguments)


def _weights(model: torch.nn.Module) -> torch.Tensor:
    """What training moves, without the statistics of layers; a copy on the CPU, float32."""
    return torch.cat([p.detach().float().cpu().flatten() for p in model.parameters()])


class Loop:
    """Model, objective, optimizer and bookkeeping of one fit."""

    def __init__(
        self, model: Model, objective: Objective, config: Train, seed: int, device: torch.device
    ) -> None:
        self.layout = layout(config)
        self.model, self.objective = model, objective
        for module in (model, objective.networks):
            module.to(device).to(memory_format=self.layout)  # type: ignore[call-overload]
        self.config, self.seed, self.device = config, seed, device
        self.forward = Forward(self.model, device, config.precision == "bfloat16")
        self.parameters = [*self.model.parameters(), *objective.networks.parameters()]
        self.optimizer = make_optimizer(self.parameters, config)
        self.rule: SelectionRule = parse_rule(config.keep)
        self.candidates = Candidates()
        self.fit = Fit()
        self.epoch = 0
        self.owes_checkpoint = False
        self.start = _weights(model)
        if config.compile:
            compile_model(self.model)

    def run(self, batch_sampler: BatchSampler, evaluator: Evaluator, hooks: Hooks) -> Fit:
        """Train to the last epoch, from the checkpoint in `hooks` where there is one.

        Raises:
            NumericalError: the loss became NaN or infinite.
            Stopped: the caller wished so, and the checkpoint is saved.
        """
        if hooks.resume is not None:
            self.restore(hooks.resume)
        while self.epoch < self.config.epochs:
            self.epoch += 1
            before = self.fit.seconds_training, self.fit.images_trained
            loss = self._train_epoch(batch_sampler)
            self.fit.rows.append(MetricRow(self.epoch, "train", "loss", None, loss))
            last = self.epoch == self.config.epochs
            images = self.fit.images_trained - before[1]
            speed = images / (self.fit.seconds_training - before[0])
            values = {"train.loss": loss, "train.images_per_second": speed}
            if last or self.epoch % self.config.evaluate_every == 0:
                evaluation = self._evaluate(evaluator, last=last)
                self._keep(evaluation)
                values |= evaluation.values()
            if hooks.on_epoch is not None:
                hooks.on_epoch(self.epoch, self.config.epochs, values)
            if not last:
                self._between_epochs(hooks)
        if (_weights(self.model) - self.start).norm() <= _UNMOVED * self.start.norm():
            self.fit.rows.append(MetricRow(self.epoch, "train", UNMOVED_WEIGHTS, None, 1.0))
        return self.fit

    def _between_epochs(self, hooks: Hooks) -> None:
        """Save a checkpoint where one is due or wished for, and stop where that is wished."""
        poll = hooks.poll()
        urgent = poll is not ControlSignal.CONTINUE
        due = urgent or self.owes_checkpoint or self.epoch % hooks.save_every == 0
        if hooks.save is not None and due:
            self.owes_checkpoint = not hooks.save(self.snapshot, urgent=urgent)
        if poll is ControlSignal.STOP:
            raise Stopped(f"stopped after epoch {self.epoch} of {self.config.epochs}, as asked")

    def _train_epoch(self, batch_sampler: BatchSampler) -> float:
        """Train for one pass; return the mean loss over images."""
        started = time.perf_counter()
        self.model.train()
        self.objective.networks.train()
        self.objective.begin_epoch(self.epoch)
        torch.manual_seed(derive("epoch", self.seed, self.epoch))  # dropout and the like
        sizes, batches = batch_sampler.epoch(self.epoch)
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        for index, batch in enumerate(batches):
            total += self._step(batch.to(self.device, self.layout), index, len(sizes)) * len(batch)
        images = sum(sizes)
        loss = float(total) / images
        if not math.isfinite(loss):
            raise NumericalError(
                f"the training loss became {loss} in epoch {self.epoch}: lower the learning rate "
                f"({self.config.learning_rate}) or use precision float32"
            )
        self.fit.seconds_training += time.perf_counter() - started
        self.fit.images_trained += images
        return loss

    def _step(self, batch: Batch, index: int, count: int) -> torch.Tensor:
        """Add a batch's gradient; every `accumulate` batches, and at the end, step."""
        parts = self.config.accumulate
        loss = self.objective.loss(self.forward, batch)
        if not loss.requires_grad:  # the objective trains something else in this batch
            return loss
        if parts == 1:
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()
            return loss.detach()
        first = index - index % parts
        (loss / min(parts, count - first)).backward()  # the last group may be smaller
        if index % parts == parts - 1 or index == count - 1:
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
        return loss.detach()

    def _evaluate(self, evaluator: Evaluator, *, last: bool) -> Evaluation:
        """Score validation, and test where the options ask for it.

        What is kept so far is embedded in the same passes, unless arithmetic would differ from the
        kept model's own.
        """
        validation = evaluator(self.model, self.epoch, [VALIDATION])
        is_candidate = self.candidates.note(validation.values())
        if TEST not in evaluator.rows:
            return validation
        if self.config.score_test == "candidates" and not (is_candidate or last):
            return validation
        is_kept = last if self.rule.metric is None else self._prefers(validation)
        plain = not (self.config.compile or self.config.channels_last)
        embeds = is_kept and plain
        return validation | evaluator(self.model, self.epoch, [TEST], embeds=embeds)

    def _value(self, evaluation: Evaluation) -> float:
        """Return what the rule's metric is; NaN where it is undefined, or of no rule."""
        return evaluation.values().get(f"{self.rule.split}.{self.rule.metric}", math.nan)

    def _prefers(self, evaluation: Evaluation) -> bool:
        """Return whether the rule prefers this epoch to the kept one; the first while undefined."""
        if self.rule.metric is None or not self.fit.kept_epoch:
            return True
        value, sign = self._value(evaluation), METRICS[self.rule.metric].sign
        return not math.isnan(value) and not sign * self.fit.kept_value >= sign * value

    def _keep(self, evaluation: Evaluation) -> None:
        """Keep the checkpoint where the rule prefers this epoch."""
        self.fit.rows += evaluation.rows
        self.fit.last_scores = evaluation.scores
        self.fit.last_probabilities = evaluation.probabilities
        if not self._prefers(evaluation):
            return
        fit = self.fit
        fit.kept_value = self._value(evaluation)
        fit.kept_epoch = self.epoch
        fit.embeddings = evaluation.embeddings.get(TEST)
        fit.kept_scores = evaluation.scores
        fit.kept_probabilities = evaluation.probabilities
        fit.kept_state = {k: v.detach().clone() for k, v in self.model.state_dict().items()}

    def snapshot(self) -> checkpoint.Snapshot:
        """Copy everything that continuing needs; the last epoch is still to come."""
        fit = self.fit
        plain: dict[str, Any] = {
            "epoch": self.epoch,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "networks": self.objective.networks.state_dict(),
            "objective": self.objective.state(),
            "rows": as_columns(fit.rows),
            "kept": [fit.kept_epoch, fit.kept_value],
            "kept_state": fit.kept_state,
            "kept_scores": {k: torch.from_numpy(v) for k, v in fit.kept_scores.items()},
            "kept_probabilities": {
                k: torch.from_numpy(v) for k, v in fit.kept_probabilities.items()
            },
            "work": [fit.seconds_training, fit.images_trained],
        }
        return checkpoint.Snapshot(plain)

    def restore(self, data: bytes | memoryview) -> None:
        """Take up a sealed snapshot.

        Raises:
            DataError: the bytes are not a checkpoint, or one of another model or optimizer.
        """
        state = checkpoint.unpack(data)
        try:
            self._take_up(state)
        except torch.OutOfMemoryError:
            raise
        except (KeyError, IndexError, TypeError, ValueError, RuntimeError) as error:
            raise DataError(
                "the checkpoint is of another model or optimizer; delete it to start "
                f"from the beginning ({type(error).__name__}: {error})"
            ) from None

    def _take_up(self, state: dict[str, Any]) -> None:
        # from the CPU, where Adam keeps its step counts: on a GPU each would be waited for
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.objective.networks.load_state_dict(state.get("networks", {}))
        self.objective.restore(state.get("objective", {}))
        self.epoch = int(state["epoch"])
        self.fit = Fit(
            rows=from_columns(state["rows"]),
            kept_epoch=state["kept"][0],
            kept_value=state["kept"][1],
            kept_state=state["kept_state"],
            kept_scores={k: v.numpy() for k, v in state["kept_scores"].items()},
            kept_probabilities={
                k: v.numpy() for k, v in state.get("kept_probabilities", {}).items()
            },
            seconds_training=state["work"][0],
            images_trained=state["work"][1],
            resumed_from_epoch=self.epoch,
        )
        self.candidates = Candidates()
        for _, rows in groupby(self.fit.rows, key=lambda row: row.epoch):
            values = Evaluation([row for row in rows if row.split == VALIDATION], {}).values()
            if values:  # the training loss alone is of an epoch that was not evaluated
                self.candidates.note(values)
