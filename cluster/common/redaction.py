"""Keep secrets out of what is written or shown: failure rows, log lines, error messages.

Errors of libraries may quote what they were given: a proxy's URL with its password, a header with a
token. Texts that leave the process go through `redact` first.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

REDACTED = "[redacted]"
_SECRET_NAME = re.compile(r"(SECRET|TOKEN|PASSWORD|PASSPHRASE|CREDENTIALS?|KEY|NOTIFY)$")
_SHORTEST = 8
"""Shorter values are words like `true`, whose removal would garble a text and protect nothing."""
_USER_INFO = re.compile(r"(?<=://)[^/\s'\"]+@")
_PROXY_PASSWORD = re.compile(r"^\w+://[^:]*:(.+)@")


def redact(text: str) -> str:
    """Replace user names and passwords in URLs, and the values of this process's secrets.

    Secrets are the values of variables named *SECRET, *TOKEN, *PASSWORD, *PASSPHRASE,
    *CREDENTIALS, *KEY or *NOTIFY (a webhook's URL is one), the values in RAY_JOB_HEADERS, and the
    token in the file that RAY_AUTH_TOKEN_PATH names.
    """
    text = _USER_INFO.sub(f"{REDACTED}@", text)
    for secret in sorted(set(_secrets()), key=len, reverse=True):  # one may be part of another
        text = text.replace(secret, REDACTED)
    return text


class RedactingFormatter(logging.Formatter):
    """Formats log records, tracebacks included, without secrets."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter.format`."""
        return redact(super().format(record))


def _secrets() -> Iterator[str]:
    values = [value for name, value in os.environ.items() if _SECRET_NAME.search(name.upper())]
    proxies = [value for name, value in os.environ.items() if name.upper().endswith("_PROXY")]
    values += [match[1] for match in map(_PROXY_PASSWORD.match, proxies) if match]
    with suppress(ValueError, AttributeError):
        values += map(str, json.loads(os.environ.get("RAY_JOB_HEADERS", "{}")).values())
    if path := os.environ.get("RAY_AUTH_TOKEN_PATH"):
        with suppress(OSError, UnicodeDecodeError):
            values.append(Path(path).read_text())
    return (stripped for value in values if len(stripped := value.strip()) >= _SHORTEST)
