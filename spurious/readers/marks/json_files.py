"""Reads a JSON file that somebody else wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from spurious.errors import DataError


def read_json_object(path: Path) -> dict[str, Any]:
    """Return the object that a UTF-8 JSON file holds.

    Raises:
        DataError: It cannot be read, is not JSON or cut off, has a number that JSON does not have,
            names a key twice in one object, or is not an object.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
        held = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_take_keys_once)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text (byte {error.start}); export it again") from error
    except (ValueError, DataError, RecursionError) as error:
        raise DataError(f"{path}: not JSON, or cut off ({error}); export it again") from error
    if not isinstance(held, dict):
        raise DataError(f"{path}: holds a {type(held).__name__}; expected a JSON object")
    return held


def _refuse_constant(name: str) -> None:
    raise DataError(f"{name} is not a number of JSON")


def _take_keys_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    held = dict(pairs)
    if len(held) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise DataError(f"the key '{twice[:80]}' is there twice in one object")
    return held
