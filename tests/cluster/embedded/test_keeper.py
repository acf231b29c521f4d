"""A server that ends while commands use it is started again for them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from server_processes import kill, processes_of, server_of, supervisor_of, wait_until

from cluster.embedded.server import embedded_server
from cluster.stores.s3 import S3Store

pytestmark = pytest.mark.timeout(180)


@pytest.mark.slow
@pytest.mark.parametrize("part", [server_of, supervisor_of])
def test_a_server_that_is_killed_in_use_comes_back_at_its_port(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    part: Callable[[Path], int],
) -> None:
    """Who uses it goes on with the address and keys that it has, as the workers of a run must.

    The next command shares it.
    """
    with embedded_server(tmp_path) as endpoint:
        for name, value in endpoint.environment().items():
            monkeypatch.setenv(name, value)
        store = S3Store.open(f"s3://{endpoint.bucket}")
        store.put("results/a", b"1")
        kill(part(tmp_path))
        assert store.get("results/a") == b"1"  # the one retry policy outlasts it
        wait_until(lambda: "had ended and was started again" in caplog.text)
        with embedded_server(tmp_path) as same:
            assert same == endpoint
    wait_until(lambda: not processes_of(tmp_path))
