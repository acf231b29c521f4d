"""Sessions are found by name, and their workers' lines read as they are written."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.jobs.session_folder import FoundSession, SessionFolder, find_sessions
from cluster.jobs.session_logs import read_lines

MARKS = b":job_id:01000000\n:actor_name:Trainable\n:actor_name:tiny\n"


@pytest.fixture
def base(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """RAY_TMPDIR of the test, with a path that is short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="sw", dir="/tmp") as folder:
        monkeypatch.setenv("RAY_TMPDIR", folder)
        yield Path(folder)


@pytest.fixture
def folder(base: Path) -> Iterator[SessionFolder]:
    """A running session named `tiny`, with a folder for Ray's logs."""
    made = SessionFolder(keep=False, name="tiny")
    (made.path / "session_1" / "logs").mkdir(parents=True)
    (made.path / "session_latest").symlink_to("session_1")
    yield made
    if made.path.exists():
        made.close()


def write(folder: SessionFolder, pid: int, kind: str, data: bytes) -> None:
    """Append to the log of a worker."""
    name = f"worker-{'ab' * 28}-ffffffff-{pid}.{kind}"
    with (folder.path / "session_latest" / "logs" / name).open("ab") as file:
        file.write(data)


def found(name: str = "tiny") -> FoundSession:
    """The one session of a name."""
    [session] = find_sessions(name)
    return session


def lines(session: FoundSession) -> list[str]:
    """All lines there are."""
    return [line for batch in read_lines(session, follow=False) for line in batch]


def test_sessions_are_found_by_name_and_state(base: Path, folder: SessionFolder) -> None:
    """Running, kept after the end, or left by a killed driver; others' and other names' are not."""
    kept = SessionFolder(keep=True, name="tiny")
    kept.close()
    SessionFolder(keep=True, name="other").close()
    killed = SessionFolder(keep=False, name="tiny")
    killed._owner.close()
    assert [session.state for session in find_sessions("tiny")] == ["running", "kept", "killed"]
    assert [session.folder for session in find_sessions("tiny")] == [
        each.path.parent for each in (folder, kept, killed)
    ]
    (base / "sweeps-ray-link").symlink_to(kept.path.parent)
    assert len(find_sessions("tiny")) == 3
    assert find_sessions("") == []
    folder.close()
    SessionFolder(keep=False, name="new").close()  # a new session removes what a killed one left
    assert found().state == "kept"


def test_lines_have_their_workers_name(folder: SessionFolder) -> None:
    """Ray's own marks are left out and name what follows; its other logs are not read."""
    write(folder, 11, "err", MARKS + b"mask-20-erm-s0 " + b"ab" * 8 + b": INFO x: begins\n")
    write(folder, 11, "out", MARKS + b"said\n\nmore")
    write(folder, 12, "err", b":job_id:01000000\nno actor\xff yet\n")
    (folder.path / "session_latest" / "logs" / "raylet.err").write_text("not a worker\n")
    assert sorted(lines(found())) == [
        "(tiny pid=11) ",
        f"(tiny pid=11) mask-20-erm-s0 {'ab' * 8}: INFO x: begins",
        "(tiny pid=11) more",
        "(tiny pid=11) said",
        "(worker pid=12) no actor\ufffd yet",
    ]


def test_many_lines_come_in_batches(folder: SessionFolder) -> None:
    """Memory does not grow with a log."""
    write(folder, 11, "out", b"".join(b"%d\n" % number for number in range(2500)))
    assert [len(batch) for batch in read_lines(found(), follow=False)] == [1000, 1000, 500]


def test_a_session_is_followed_to_its_end(
    folder: SessionFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lines and files that come later are read; half a line waits for its end.

    The last line is read also though the session removes its folder as it ends.
    """
    monkeypatch.setattr("cluster.jobs.session_logs._POLL_S", 0.01)
    write(folder, 11, "out", MARKS + b"one\nha")
    followed = read_lines(found(), follow=True)
    assert next(followed) == ["(tiny pid=11) one"]
    write(folder, 11, "out", b"lf\n")
    assert next(followed) == ["(tiny pid=11) half"]
    write(folder, 12, "err", MARKS + b"two\n")
    assert next(followed) == ["(tiny pid=12) two"]
    write(folder, 12, "err", b"last")
    folder.close()
    assert not folder.path.exists()
    assert list(followed) == [["(tiny pid=12) last"]]


def test_a_session_without_logs_yet_has_no_lines(base: Path) -> None:
    """Ray has not started, or was killed before."""
    made = SessionFolder(keep=False, name="tiny")
    assert lines(found()) == []
    timer = threading.Timer(0.2, made.close)
    timer.start()
    assert list(read_lines(found(), follow=True)) == []
    timer.join()


def test_somebody_elses_folder_is_not_looked_into(
    folder: SessionFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a shared machine, where names of sweeps meet."""
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    assert find_sessions("tiny") == []
