"""Fixtures of the science's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture
def torch_settings() -> Iterator[None]:
    """A fit sets threads and determinism for its process, which here is every test's."""
    import torch  # most tests of readers do without it

    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)
