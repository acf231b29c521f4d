"""A Ray session for a module, whose workers reach S3 through a gate; a folder with a spec."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from ray_here import Gate, RayHere
from tiny_sweeps import TEXT

from cluster.embedded.server import Endpoint
from cluster.jobs.session import ray_session


@pytest.fixture(scope="module")
def ray_here(s3_endpoint: Endpoint) -> Iterator[RayHere]:
    """Ray in this process, until the module's last test has ended."""
    import ray

    gate = Gate(int(s3_endpoint.url.rpartition(":")[2]))
    temporary = tempfile.mkdtemp(prefix="sw", dir="/tmp")  # sockets need a short path
    environment = {
        **s3_endpoint.environment(),
        "AWS_ENDPOINT_URL": gate.url,
        "AWS_ENDPOINT_URL_S3": gate.url,
        "SWEEPS_STORE_TIMEOUT_S": "1",
        "RAY_TMPDIR": temporary,
        "PYTHONPATH": str(Path(__file__).parent),  # for training functions of the tests
    }
    patch = pytest.MonkeyPatch()
    for name, value in environment.items():
        patch.setenv(name, value)
    try:
        with ray_session("tests", cpus=2) as session:
            patch.undo()  # the workers have it for good
            address = ray.get_runtime_context().gcs_address
            yield RayHere(session, address, gate, environment)
    finally:
        patch.undo()
        gate.close()
        shutil.rmtree(temporary, ignore_errors=True)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with `tiny.yaml` in it."""
    (tmp_path / "tiny.yaml").write_text(TEXT)
    monkeypatch.chdir(tmp_path)
    return tmp_path
