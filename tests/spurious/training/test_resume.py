"""Checkpoints: saving, loading and continuing equals never having stopped, bit for bit."""

from __future__ import annotations

import hashlib
import io
import math
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_data import fit_config, fitted, grey_squares, keeping, squares

from spurious.config.options import FitConfig
from spurious.data.dataset import Dataset
from spurious.errors import DataError, Stopped
from spurious.training import checkpoint
from spurious.training.loop import ControlSignal, Fit, Hooks

pytestmark = pytest.mark.usefixtures("torch_settings")
EPOCHS = 6


def flat(value: Any, path: str = "") -> dict[str, Any]:
    """A nested state as leaves that compare bit for bit; wall times are left out."""
    if isinstance(value, dict):
        inner: Any = value.items()
    elif isinstance(value, list | tuple):
        inner = enumerate(value)
    elif isinstance(value, torch.Tensor):
        return {path: (str(value.dtype), tuple(value.shape), value.numpy().tobytes())}
    else:
        return {path: repr(value)}
    found = {}
    for key, item in inner:
        found |= flat(item, f"{path}/{key}")
    return {key: leaf for key, leaf in found.items() if key != "/work/0"}


def outcome_of(fit: Fit) -> dict[str, Any]:
    """Everything a fit decides, bit for bit."""
    return flat(
        {
            "rows": repr(fit.rows),
            "kept": [fit.kept_epoch, fit.kept_value],
            "kept_state": fit.kept_state,
            "scores": [
                {split: torch.from_numpy(np.array(found)) for split, found in scores.items()}
                for scores in (fit.kept_scores, fit.last_scores)
            ],
            "images": fit.images_trained,
        }
    )


def run(
    dataset: Dataset, config: FitConfig, resume: bytes | None = None
) -> tuple[Fit, list[bytes]]:
    """A fit with the checkpoint of every epoch but the last."""
    saved: list[bytes] = []
    return fitted(dataset, config, Hooks(resume=resume, save=keeping(saved))), saved


@pytest.mark.parametrize(
    ("kind", "augment", "optimizer"), [("label", "paper", "sgd"), ("mask", "flip", "sgd")]
)
def test_continuing_equals_never_stopping(kind: str, augment: str, optimizer: str) -> None:
    """From any epoch: same rows, scores, kept model, and same model and optimizer at the end."""
    dataset = grey_squares()
    config = fit_config(
        kind, augment=augment, optimizer=optimizer, epochs=EPOCHS, keep="best val.auroc"
    )
    undisturbed, saved = run(dataset, config)
    assert len(saved) == EPOCHS - 1
    for stopped_after in (1, 3, 5):
        torch.manual_seed(stopped_after)
        continued, later = run(dataset, config, resume=saved[stopped_after - 1])
        assert continued.resumed_from_epoch == stopped_after
        assert outcome_of(continued) == outcome_of(undisturbed)
        assert len(later) == EPOCHS - 1 - stopped_after
        for ours, theirs in zip(later, saved[stopped_after:], strict=True):
            assert flat(checkpoint.unpack(ours)) == flat(checkpoint.unpack(theirs))


def test_an_epoch_kept_before_the_interruption_stays_kept() -> None:
    """Its weights and scores travel in the checkpoint though training has moved on."""
    dataset = squares()
    config = fit_config("mask", epochs=EPOCHS, keep="best val.dice")
    undisturbed, saved = run(dataset, config)
    assert undisturbed.kept_epoch == 1
    assert undisturbed.kept_value == 0.0
    state = checkpoint.unpack(saved[3])
    assert flat(state["kept_state"]) != flat(state["model"])
    continued, _ = run(dataset, config, resume=saved[3])
    assert continued.kept_epoch == 1
    assert outcome_of(continued) == outcome_of(undisturbed)


def test_a_better_epoch_after_the_interruption_wins() -> None:
    """The value to beat is restored with the checkpoint, so a worse epoch does not replace it."""
    dataset = squares()
    config = fit_config("mask", epochs=EPOCHS, keep="best val.loss")
    undisturbed, saved = run(dataset, config)
    assert undisturbed.kept_epoch > 2
    continued, _ = run(dataset, config, resume=saved[1])
    assert outcome_of(continued) == outcome_of(undisturbed)
    spoilt = checkpoint.unpack(saved[1])
    spoilt["kept"][1] = -1.0  # a loss that nothing beats
    stubborn, _ = run(dataset, config, resume=checkpoint.pack(spoilt))
    assert stubborn.kept_epoch == spoilt["kept"][0]


def test_several_interruptions() -> None:
    """Stopping after every single epoch gives the same end."""
    dataset = grey_squares()
    config = fit_config("mask", augment="paper", epochs=4)
    undisturbed, saved = run(dataset, config)
    data = saved[0]
    for _ in range(2):
        _, later = run(dataset, config, resume=data)
        data = later[0]
    continued, _ = run(dataset, config, resume=data)
    assert continued.resumed_from_epoch == 3
    assert outcome_of(continued) == outcome_of(undisturbed)


def test_work_adds_up() -> None:
    """Seconds and images of the interrupted part are counted too."""
    dataset = squares()
    config = fit_config("label", epochs=4)
    undisturbed, saved = run(dataset, config)
    continued, _ = run(dataset, config, resume=saved[2])
    assert continued.images_trained == undisturbed.images_trained
    before = checkpoint.unpack(saved[2])["work"][0]
    assert continued.seconds_training > before > 0


def test_how_often_checkpoints_are_saved() -> None:
    """Every `save_every` epochs and never at the end, where a result follows."""
    saved: list[bytes] = []
    fitted(squares(), fit_config("label", epochs=6), Hooks(save=keeping(saved), save_every=2))
    assert [checkpoint.unpack(data)["epoch"] for data in saved] == [2, 4]


def test_a_checkpoint_that_could_not_be_taken_is_owed() -> None:
    """Where one before is still being written, the next epoch's end takes it, due or not."""
    asked: list[tuple[int, bool]] = []

    def save(take: Callable[[], checkpoint.Snapshot], *, urgent: bool) -> bool:
        is_free = len(asked) != 1
        epoch = checkpoint.unpack(take().seal())["epoch"] if is_free else 0
        asked.append((epoch, urgent))
        return is_free

    fitted(squares(), fit_config("label", epochs=8), Hooks(save=save, save_every=2))
    assert asked == [(2, False), (0, False), (5, False), (6, False)]


def test_a_wish_saves_between_due_checkpoints() -> None:
    """SAVE trains on, STOP raises once the checkpoint is saved; neither is asked at the end."""
    wishes = iter(
        [ControlSignal.CONTINUE, ControlSignal.SAVE, ControlSignal.CONTINUE, ControlSignal.STOP]
    )
    saved: list[bytes] = []
    hooks = Hooks(save=keeping(saved), save_every=100, poll=lambda: next(wishes))
    with pytest.raises(Stopped, match="after epoch 4 of 6"):
        fitted(squares(), fit_config("label", epochs=6), hooks)
    assert [checkpoint.unpack(data)["epoch"] for data in saved] == [2, 4]
    asked: list[int] = []

    def poll() -> ControlSignal:
        asked.append(1)
        return ControlSignal.CONTINUE

    fitted(squares(), fit_config("label", epochs=3), Hooks(poll=poll))
    assert len(asked) == 2


def test_states_survive_packing() -> None:
    """Tensors, numbers (NaN too), strings, lists and None come back as they were."""
    state = {
        "tensor": torch.arange(6, dtype=torch.float64).reshape(2, 3),
        "list": [1, 2.5, math.nan, "text", None, [True]],
        "dict": {"a": {"b": torch.tensor(3)}},
    }
    assert flat(checkpoint.unpack(checkpoint.pack(state))) == flat(state)


def signed(payload: bytes) -> bytes:
    """Bytes whose digest is right, whatever they are."""
    return hashlib.sha256(payload).digest() + payload


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("empty", "cut off or damaged"),
        ("text", "cut off or damaged"),
        ("cut", "cut off or damaged"),
        ("one bit", "cut off or damaged"),
        ("no pickle", "cannot be read"),
        ("no dict", "another format"),
        ("other format", "another format"),
    ],
)
def test_broken_checkpoints_are_refused(what: str, reason: str) -> None:
    """A data error that says what to do; torch alone would train on from damaged tensors."""
    config = fit_config("label", epochs=2)
    _, (good,) = run(squares(), config)
    listed, other = io.BytesIO(), io.BytesIO()
    torch.save([1, 2], listed)
    torch.save({"format": checkpoint.FORMAT + 1}, other)
    middle = len(good) // 2
    broken = {
        "empty": b"",
        "text": b"<html>503</html>" * 9,
        "cut": good[: 2 * middle // 3],
        "one bit": good[:middle] + bytes([good[middle] ^ 1]) + good[middle + 1 :],
        "no pickle": signed(b"garbage"),
        "no dict": signed(listed.getvalue()),
        "other format": signed(other.getvalue()),
    }[what]
    with pytest.raises(
        DataError, match=rf"(?s)^the checkpoint .*{reason}.*delete it to start from the beginning"
    ):
        run(squares(), config, resume=broken)


@pytest.mark.parametrize("other", ["mask", "sgd", "nothing"])
def test_a_checkpoint_of_another_fit_is_refused(other: str) -> None:
    """Another model, another optimizer or a state without its parts is a data error too."""
    config = fit_config("label", epochs=2)
    _, saved = run(squares(), config)
    data = saved[0]
    if other == "mask":
        config = fit_config("mask", epochs=2)
    elif other == "sgd":
        state = checkpoint.unpack(data)
        state["optimizer"]["param_groups"] = []
        data = checkpoint.pack(state)
    else:
        data = checkpoint.pack({"epoch": 1})
    with pytest.raises(DataError, match="another model or optimizer; delete it"):
        run(squares(), config, resume=data)


def test_a_hostile_checkpoint_is_not_run(tmp_path: Path) -> None:
    """A pickle that would run a command is refused, and its command does not run."""
    trace = tmp_path / "trace"

    class Hostile:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.system, (f"touch '{trace}'",)

    for data in (checkpoint.pack({"epoch": Hostile()}), signed(pickle.dumps(Hostile(), 2))):
        with pytest.raises(DataError):
            checkpoint.unpack(data)
        assert not trace.exists()
