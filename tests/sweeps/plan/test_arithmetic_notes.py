"""What a plan says of bfloat16 on processors that do not compute in it."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest
import torch
from tiny_sweeps import FACTS, FILMS

from sweeps.plan import arithmetic
from sweeps.plan.plan import make_plan
from sweeps.plan.render import as_dict, as_text
from sweeps.spec.model import parse_spec

HALF = {"train.precision": "bfloat16"}
PLAIN = "processor\t: 0\nflags\t\t: fpu sse2 avx2 fma\nbugs\t\t:\n"


def notes(
    cpu_info: str | None, overrides: dict[str, object], at: Path, patch: pytest.MonkeyPatch
) -> list[str]:
    """Of precision, on a machine with these flags; the text has the same ones."""
    path = at / "cpuinfo"
    if cpu_info is not None:
        path.write_text(cpu_info)
    patch.setattr(arithmetic, "CPU_INFO", path)
    spec = parse_spec(FILMS, overrides=overrides)
    plan = make_plan(spec, FACTS)
    found = [str(n) for n in as_dict(plan, spec)["notes"] if "precision" in str(n)]
    assert as_text(plan, spec).count("note: train.precision") == len(found)
    return found


def test_it_is_said_where_trials_run_on_such_a_processor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once, with the remedy, which ends it."""
    [note] = notes(PLAIN, HALF, tmp_path, monkeypatch)
    assert "ten times as long" in note
    assert "set train.precision=float32" in note
    assert notes(PLAIN, {"train.precision": "float32"}, tmp_path, monkeypatch) == []
    of_masks = {"train.per_specificity": {"mask": {"precision": "bfloat16"}}}
    [note] = notes(PLAIN, {"train.precision": "float32", **of_masks}, tmp_path, monkeypatch)
    assert "no other under train.per_specificity" in note


@pytest.mark.parametrize(
    "cpu_info",
    [PLAIN.replace("avx2", "avx2 avx512f"), "processor: 0\nFeatures: fp asimd bf16\n", "", None],
    ids=["avx512", "arm", "empty", "no-linux"],
)
def test_others_are_not_told(
    cpu_info: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Processors that compute in it, and those whose flags nobody lists."""
    assert notes(cpu_info, HALF, tmp_path, monkeypatch) == []


def test_trials_on_gpus_are_not_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The plan's machine then tells nothing of theirs."""
    assert notes(PLAIN, {**HALF, "resources.gpus": 1}, tmp_path, monkeypatch) == []


def test_the_flag_is_the_one_that_torch_goes_by() -> None:
    """On this machine both say the same."""
    if platform.machine() == "x86_64" and torch.backends.mkldnn.is_available():
        has_code = torch.ops.mkldnn._is_mkldnn_bf16_supported()
        assert arithmetic.computes_bfloat16() == has_code
