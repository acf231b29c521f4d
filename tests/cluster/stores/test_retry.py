"""The retry policy: what is tried again, for how long, and what is said about it."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator

import pytest
import stamina

from cluster.errors import ClusterError, NotFound, Unavailable
from cluster.stores.retry import call_with_retries, retry_timeout_s


@pytest.fixture
def without_waits() -> Iterator[None]:
    """Up to five tries, and no sleep between them."""
    with stamina.set_testing(True, attempts=5):
        yield


class _Failing:
    """A call that raises the given errors in turn, then returns 7."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.calls = 0

    def __call__(self) -> int:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return 7


@pytest.mark.usefixtures("without_waits")
def test_unavailable_passes(caplog: pytest.LogCaptureFixture) -> None:
    """A call that succeeds at the third try returns, with one warning line for each retry."""
    call = _Failing(Unavailable("cannot get 'a' from b"), Unavailable("cannot get 'a' from c"))
    with caplog.at_level(logging.WARNING):
        assert call_with_retries(call) == 7
    assert call.calls == 3
    lines = [message.partition(";")[0] for message in caplog.messages]
    assert lines == ["cannot get 'a' from b", "cannot get 'a' from c"]


@pytest.mark.usefixtures("without_waits")
@pytest.mark.parametrize("error", [NotFound("no"), ClusterError("no"), ValueError("no")])
def test_other_errors_are_final(error: Exception) -> None:
    """Only Unavailable is tried again; anything else comes through at once, as it is."""
    call = _Failing(error)
    with pytest.raises(type(error)) as caught:
        call_with_retries(call)
    assert caught.value is error
    assert call.calls == 1


@pytest.mark.usefixtures("without_waits")
def test_bound_in_tries() -> None:
    """At the bound the last cause is told, with the number of tries and the way out."""
    call = _Failing(*[Unavailable(f"cause {number}") for number in range(9)])
    with pytest.raises(
        Unavailable, match=r"cause 4 \(tried 5 times in 0 s\).*SWEEPS_STORE_TIMEOUT_S"
    ):
        call_with_retries(call)


def test_bound_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time set by the variable ends the tries, however many are left; 0 leaves one."""
    monkeypatch.setenv("SWEEPS_STORE_TIMEOUT_S", "0.5")
    call = _Failing(*[Unavailable("down")] * 99)
    start = time.monotonic()
    with pytest.raises(Unavailable, match=r"now 0\.5"):
        call_with_retries(call)
    assert 0.4 < time.monotonic() - start < 3
    assert 2 <= call.calls < 20
    monkeypatch.setenv("SWEEPS_STORE_TIMEOUT_S", "0")
    single = _Failing(Unavailable("down"))
    with pytest.raises(Unavailable, match="tried 1 time"):
        call_with_retries(single)


def test_timeout_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The default outlasts a minute; what is no number of seconds is refused by name."""
    monkeypatch.delenv("SWEEPS_STORE_TIMEOUT_S", raising=False)
    assert retry_timeout_s() > 60
    for text in ("soon", "-1", "nan", "inf"):
        monkeypatch.setenv("SWEEPS_STORE_TIMEOUT_S", text)
        with pytest.raises(ClusterError, match=f"SWEEPS_STORE_TIMEOUT_S='{text}'"):
            retry_timeout_s()
