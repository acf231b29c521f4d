"""The check of private words sees what it looks for, and an allowance that nothing needs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import private_words

SOURCE = '''
def told(found: int) -> str:
    """The port is no port; a newcomer waits in vain and starts anew, or there is no port."""
    _given = found  # is no longer used
    return f"{_given} takes up to {found} s"
'''


def test_names_and_phrases_are_seen(tmp_path: Path) -> None:
    """By line; plain uses of the same words are not."""
    file = tmp_path / "module.py"
    file.write_text(SOURCE)
    keys = [key for key, _ in private_words.findings(file, "m")]
    assert sorted(keys) == [
        "m: _given",
        "m: anew",
        "m: found",
        "m: in vain",
        "m: is no port",
        "m: told",
    ]
    assert "m:2: name 'told'; write what it holds, e.g. error_message" in [
        message for _, message in private_words.findings(file, "m")
    ]


def test_an_allowance_without_a_use_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """So that the list of what may stay shrinks with the code."""
    monkeypatch.setattr(private_words, "ALLOWED", {"sweeps/cli.py: told": "no reason"})
    assert private_words.main() == 1
    assert "'sweeps/cli.py: told' is not needed any more" in capsys.readouterr().out
