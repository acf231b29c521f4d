"""Podman for a test: everything it makes bears one label, and is removed by that label alone."""

from __future__ import annotations

import os
import subprocess
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

LABEL = "spurious-sweeps-e2e"
CONF = """\
[containers]
default_ulimits = ["nofile={files}:{files}", "nproc={processes}:{processes}"]
[engine]
runtime = "runc"
"""


class Podman:
    """One run's containers, network and volumes."""

    def __init__(self, folder: Path) -> None:
        """Configure podman by a file in `folder`: limits that this machine may set, and runc."""
        import resource

        hard = [resource.getrlimit(kind)[1] for kind in (resource.RLIMIT_NOFILE, _NPROC)]
        files, processes = (min(limit, 20000) if limit > 0 else 20000 for limit in hard)
        self.conf = folder / "containers.conf"
        self.conf.write_text(CONF.format(files=files, processes=processes))
        self.run_id = uuid.uuid4().hex[:8]
        self.network = f"{LABEL}-{self.run_id}"
        self.environment = {**os.environ, "CONTAINERS_CONF": str(self.conf)}

    def __call__(self, *arguments: str, check: bool = True, timeout: float = 600) -> str:
        """Run a podman command; returns its output, raises with its errors.

        Warnings, as of a machine where podman is new, are no output.
        """
        done = self._run("podman", *arguments, timeout=timeout)
        if check and done.returncode:
            raise RuntimeError(f"podman {' '.join(arguments)}\n{done.stderr}{done.stdout}")
        return done.stdout

    def program(self, *command: str, timeout: float = 600) -> None:
        """Run a program that makes something, such as buildah; raises with what it said."""
        done = self._run(*command, timeout=timeout)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}\n{done.stdout}{done.stderr}")

    def _run(self, *command: str, timeout: float) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=timeout
        )

    def has(self, image: str) -> bool:
        """Whether an image is at hand."""
        return self._run("podman", "image", "exists", image, timeout=60).returncode == 0

    def make_network(self) -> None:
        """A network with DNS for this run's containers."""
        self("network", "create", "--label", self.label, self.network)

    @property
    def label(self) -> str:
        """What everything of this run bears."""
        return f"{LABEL}={self.run_id}"

    def start(self, name: str, image: str, flags: Sequence[str], command: Sequence[str]) -> str:
        """Start a container in the background; returns its full name."""
        full = self.name(name)
        own = ["--label", self.label, "--name", full, "--network", self.network]
        self("run", "--detach", *own, *flags, image, *command)
        return full

    def name(self, name: str) -> str:
        """The name of this run's container."""
        return f"{self.network}-{name}"

    def kill(self, name: str, signal: str) -> None:
        """Send a signal to a container's first process."""
        self("kill", "--signal", signal, self.name(name))

    def ended(
        self, name: str, within: float, meanwhile: Callable[[], object] = lambda: None
    ) -> int:
        """Wait for a container's end and remove it; returns its exit status."""
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            meanwhile()
            state = self(
                "inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", self.name(name)
            )
            status, code = state.split()
            if status in ("exited", "stopped"):
                self.remove(name)
                return int(code)
            time.sleep(0.5)
        raise TimeoutError(f"{self.name(name)} still runs after {within} s")

    def runs(self, name: str) -> bool:
        """Whether a container has not ended."""
        return (
            self("inspect", "--format", "{{.State.Status}}", self.name(name)).strip() == "running"
        )

    def remove(self, name: str) -> None:
        """Remove a container and its scratch volumes, whatever it does."""
        self("rm", "--force", "--volumes", self.name(name))

    def logs(self, name: str) -> str:
        """What a container has written."""
        done = self._run("podman", "logs", self.name(name), timeout=600)
        return done.stdout + done.stderr

    def execute(
        self, name: str, *command: str, user: str | None = None, timeout: float = 600
    ) -> str:
        """Run a command in a container."""
        flags = ["--user", user] if user else []
        return self("exec", *flags, self.name(name), *command, timeout=timeout)

    def address(self, name: str) -> str:
        """A container's IP address on the network."""
        form = f'{{{{(index .NetworkSettings.Networks "{self.network}").IPAddress}}}}'
        return self("inspect", "--format", form, self.name(name)).strip()

    def left(self) -> Mapping[str, str]:
        """What of this run exists: kind to names."""
        own = f"label={self.label}"
        found = {
            "containers": self("ps", "--all", "--quiet", "--filter", own),
            "networks": self("network", "ls", "--quiet", "--filter", own),
            "volumes": self("volume", "ls", "--quiet", "--filter", own),
        }
        return {kind: text.strip() for kind, text in found.items() if text.strip()}

    def clean(self) -> None:
        """Remove all of it."""
        own = f"label={self.label}"
        for container in self("ps", "--all", "--quiet", "--filter", own).split():
            self("rm", "--force", "--volumes", container)
        for volume in self("volume", "ls", "--quiet", "--filter", own).split():
            self("volume", "rm", "--force", volume)
        for network in self("network", "ls", "--quiet", "--filter", own).split():
            self("network", "rm", "--force", network)


def _nproc() -> int:
    import resource

    return resource.RLIMIT_NPROC


_NPROC = _nproc()
