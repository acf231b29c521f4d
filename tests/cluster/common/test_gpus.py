"""GPUs that a process may use, by the files of their driver."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.common.gpus import count_usable_gpus


@pytest.mark.parametrize(
    ("visible", "counted"),
    [(None, 2), ("0", 1), ("0,1", 2), ("0,1,2", 2), ("", 0), ("-1", 0), ("1,-1,0", 1)],
)
def test_gpus_are_devices_that_are_visible(
    visible: str | None, counted: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The driver's other files are none, and CUDA_VISIBLE_DEVICES hides some."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    (tmp_path / "dev").mkdir()
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm", "null"):
        (tmp_path / "dev" / name).touch()
    assert count_usable_gpus(tmp_path) == counted


def test_a_machine_without_gpus_has_none(tmp_path: Path) -> None:
    """Also where there is no such folder."""
    assert count_usable_gpus(tmp_path) == 0
