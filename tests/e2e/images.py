"""The image under test, built for real; and its base image, made here where none can be had."""

from __future__ import annotations

import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path

from podman_here import Podman

ROOT = Path(__file__).resolve().parents[2]
BASE = "docker.io/library/debian:bookworm-slim"
IMAGE = "localhost/spurious-sweeps:e2e"
BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
"""This machine's certificates: behind a proxy that ends TLS a build needs them, and no image."""

TITLE = "org.opencontainers.image.title=spurious-sweeps"
ROOM = 25e9
"""Bytes that a build from nothing takes at most: the requirements in two layers and in a temporary
archive, 7 GB each."""

_IN_BUILD = "/run/host-ca.crt"


def have_base(podman: Podman, folder: Path) -> str:
    """Debian's slim image: at hand, else pulled, else made by debootstrap; says which."""
    if podman.has(BASE):
        return "at hand"
    podman("pull", "--quiet", BASE, check=False, timeout=60)
    if podman.has(BASE):
        return "pulled"
    if shutil.which("debootstrap") is None:
        raise RuntimeError(f"no {BASE} within reach, and no debootstrap to make one")
    root = folder / "debian"
    podman.program("debootstrap", "--variant=minbase", "bookworm", str(root))
    with subprocess.Popen(["tar", "-C", root, "-c", "."], stdout=subprocess.PIPE) as archive:
        subprocess.run(
            ["podman", "import", "-", BASE],
            stdin=archive.stdout,
            env=podman.environment,
            check=True,
            capture_output=True,
        )
    shutil.rmtree(root)
    return "made by debootstrap: no registry within reach"


def make_room(podman: Podman) -> str:
    """Prune untagged images of this Dockerfile where a build may fill the disk; says what is free.

    Each change of the locked requirements leaves two layers of 6 GB behind. They stay while there
    is room: they are the cache of the next build.
    """
    storage = podman("info", "--format", "{{.Store.GraphRoot}}").strip()
    if shutil.disk_usage(storage).free < ROOM:
        podman("image", "prune", "--force", "--filter", f"label={TITLE}")
    free = shutil.disk_usage(storage).free
    if free < ROOM:
        raise RuntimeError(
            f"{storage} has {free / 1e9:.0f} GB free and a build takes up to {ROOM / 1e9:.0f} GB: "
            "free some space, as with podman image prune --all"
        )
    return f"{free / 1e9:.0f} GB free"


def build(podman: Podman) -> None:
    """Build the image as the README says, with this commit in its label."""
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()
    behind_proxy = [
        *("--volume", f"{BUNDLE}:{_IN_BUILD}:ro"),
        *("--build-arg", f"SSL_CERT_FILE={_IN_BUILD}"),
        *("--build-arg", f"PIP_CERT={_IN_BUILD}"),
    ]
    podman.program(
        *("buildah", "bud", "--pull-never", "--network", "host", "--layers"),
        *(behind_proxy if BUNDLE.exists() else []),
        *(
            "--build-arg",
            f"COMMIT={commit}",
            "--build-arg",
            f"VERSION={version('spurious-sweeps')}",
        ),
        *("--file", str(ROOT / "docker/Dockerfile"), "--tag", IMAGE, str(ROOT)),
        timeout=1500,
    )
