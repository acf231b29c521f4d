"""A researcher on the host: the command line, and nothing else of the cluster."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from e2e_cluster import log

STORE = "s3://sweeps"


class User:
    """Runs `sweeps` as a user does, in a folder and an environment of their own."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        kept = ("PATH", "HOME", "LANG", "TMPDIR")
        self.folder = folder
        self.environment = {
            **{key: os.environ[key] for key in kept if key in os.environ},
            "SWEEPS_HOME": str(folder / "home"),
            "NO_ALBUMENTATIONS_UPDATE": "1",
            "RAY_USAGE_STATS_ENABLED": "0",
            **environment,
        }

    def sweeps(
        self, *arguments: str, status: int | None = 0, timeout: float = 600, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end; `status` is the exit status it must have."""
        log(f"$ sweeps {' '.join(arguments)}")
        done = subprocess.run(
            [sys.executable, "-m", "sweeps", *arguments],
            cwd=self.folder,
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        assert status is None or done.returncode == status, (done.stdout, done.stderr)
        return done

    def follow(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a command that goes on; its output is kept in a file `follow.log`."""
        log(f"$ sweeps {' '.join(arguments)} &")
        with (self.folder / "follow.log").open("a") as output:
            return subprocess.Popen(
                [sys.executable, "-m", "sweeps", *arguments],
                cwd=self.folder,
                env=self.environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
            )
