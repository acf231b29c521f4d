"""Fixtures that every package's tests share: stores, and an environment that is the same anywhere.

The settings below are read when Ray and Albumentations are imported, so they come first.
"""

from __future__ import annotations

import os
import signal
import time

os.environ["RAY_AUTH_MODE"] = "disabled"
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # before Ray is imported: loopback alone
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
os.environ.pop("SWEEPS_STORE", None)

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import hypothesis
import pytest
from fault_server import ACCESS_KEY, SECRET_KEY, FaultServer, Serve, serve_faults, write_certificate
from store_kinds import STORES

from cluster.embedded.server import Endpoint, embedded_server
from cluster.stores.base import Store
from cluster.stores.folder import FolderStore
from cluster.stores.s3 import S3Store

# Whoever runs the tests may ignore Ctrl-C, as a shell's background does; what they start must not.
signal.signal(signal.SIGINT, signal.default_int_handler)
# No test is timed: a busy machine takes a second for what it does in a millisecond.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what takes minutes and begins after $TESTS_UNTIL, in seconds since 1970, where set."""
    until = os.environ.get("TESTS_UNTIL")
    late = until and time.time() > float(until)
    if late and any(item.get_closest_marker(name) for name in ("slow", "readme")):
        pytest.skip("it would have begun after $TESTS_UNTIL")


@pytest.fixture(scope="session", autouse=True)
def sweeps_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """$SWEEPS_HOME for the whole run: no test touches the embedded store of whoever runs it."""
    home = tmp_path_factory.mktemp("sweeps-home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SWEEPS_HOME", str(home))
        yield home


@pytest.fixture(scope="session")
def s3_endpoint(sweeps_home: Path) -> Iterator[Endpoint]:
    """One SeaweedFS for the whole run, in $SWEEPS_HOME."""
    with embedded_server(sweeps_home) as endpoint:
        yield endpoint


@pytest.fixture
def s3_environment(s3_endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> Endpoint:
    """The endpoint, with AWS_* variables that lead to it and nothing else of the user's setup."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, os.devnull)
    for name, value in s3_endpoint.environment().items():
        monkeypatch.setenv(name, value)
    return s3_endpoint


@pytest.fixture
def s3_store(s3_environment: Endpoint) -> S3Store:
    """An empty store: a prefix of its own in the bucket of the run's server."""
    return S3Store.open(f"s3://{s3_environment.bucket}/test-{uuid.uuid4().hex}")


@pytest.fixture
def folder_store(tmp_path: Path) -> FolderStore:
    """An empty store in a temporary folder."""
    return FolderStore(tmp_path / "store")


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest) -> Store:
    """An empty store of each kind in turn."""
    found: Store = request.getfixturevalue(f"{request.param}_store")
    return found


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Serve:
    """Serve faults, with AWS_* variables that lead there; over TLS where `tls` is one of them."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, os.devnull)
    settings = {
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_EC2_METADATA_DISABLED": "true",
        "SWEEPS_STORE_TIMEOUT_S": "1",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)

    @contextmanager
    def start(*faults: str, page_size: int = 1000) -> Iterator[FaultServer]:
        certificate = None
        if "tls" in faults:
            write_certificate(certificate := tmp_path / "server.pem")
            monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))
        with serve_faults(*faults, page_size=page_size, certificate=certificate) as server:
            scheme = "http" if certificate is None else "https"
            address = f"{scheme}://127.0.0.1:{server.server_address[1]}"
            monkeypatch.setenv("AWS_ENDPOINT_URL_S3", address)
            yield server

    return start
