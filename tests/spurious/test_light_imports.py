"""What planning and reporting read of the science starts at once."""

from __future__ import annotations

import subprocess
import sys

LIGHT = (
    "config.datasets",
    "config.models",
    "config.options",
    "config.methods",
    "scoring.cost",
    "scoring.groups",
    "scoring.measures",
    "scoring.metrics",
    "scoring.selection",
    "data.attributes",
    "data.budget",
    "data.dataset",
    "data.masks",
    "data.records",
    "data.splits",
    "squares.model",
    "training.shared_models",
)
HEAVY = ("torch", "torchvision", "albumentations", "cv2", "scipy", "pandas", "ray", "pyarrow")


def test_the_light_part_needs_numpy_at_most() -> None:
    """Importing it in a fresh process loads none of the heavy libraries."""
    imports = ", ".join(f"spurious.{name}" for name in LIGHT)
    code = f"import sys, {imports}; print([n for n in {HEAVY!r} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_training_needs_neither_cluster_nor_sweeps() -> None:
    """The science is imported without Ray, an S3 client, YAML or the other packages."""
    barred = ("ray", "boto3", "botocore", "yaml", "optuna", "cluster", "sweeps")
    code = f"import sys, spurious.fit; print([n for n in {barred!r} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
