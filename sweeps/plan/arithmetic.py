"""What a plan says of bfloat16 where this machine's processor does not compute in it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from sweeps.plan.plan import Plan
from sweeps.spec.model import Spec

CPU_INFO = Path("/proc/cpuinfo")
SINCE: Final = "avx512f"
"""The flag without which oneDNN, that PyTorch computes with on x86, has no code for bfloat16."""


def arithmetic_notes(plan: Plan, spec: Spec) -> Iterator[str]:
    """Yield that trials on CPUs like this machine's would take many times as long in bfloat16."""
    chosen = any(trial.config.train.precision == "bfloat16" for trial in plan.to_run)
    if chosen and not spec.resources.gpus and not computes_bfloat16():
        yield (
            "train.precision: bfloat16 is emulated by this machine's processor, which has no "
            "AVX-512: a step takes about ten times as long as in float32. Where trials run on such "
            "processors, set train.precision=float32, and no other under train.per_specificity; "
            "trial ids and numbers change"
        )


def computes_bfloat16() -> bool:
    """Return whether this machine's processor has code for it, or is not known to lack it.

    Known are x86 processors under Linux, whose flags the kernel lists; another machine's are not.
    """
    if not CPU_INFO.exists():
        return True
    flags = re.search(r"^flags\s*:(.*)$", CPU_INFO.read_text(encoding="utf-8"), re.MULTILINE)
    return flags is None or SINCE in flags[1].split()
