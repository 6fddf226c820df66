"""What strict JSON can hold, which knows no NaN and no infinity; and reading it from files that nobody vouches for."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from layerwise.errors import FileError
from layerwise.limits import check_length

# The longest file of JSON, and the most lists and objects in it: an empty one takes 64 bytes of memory and 2 of a file.
_MAX_JSON, _MAX_CONTAINERS = 2**24, 2**18
# The largest whole number: that of 64 bits.
_MAX_DIGITS = 19


def as_strict(value: Any) -> Any:
    """Return what strict JSON can hold: None stands for numbers that are not finite."""
    if isinstance(value, Mapping):
        return {name: as_strict(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_strict(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_json(path: Path) -> Any:
    """Return what a file of strict JSON holds; a FileError if it is too large, too deep, or no JSON."""
    check_length(path, _MAX_JSON, "a JSON file of layerwise")
    return parse_json(path.read_bytes(), path)


def parse_json(content: bytes, what: Any) -> Any:
    """Return what bytes of strict JSON say; ``what`` they are is named in messages."""
    if content.count(b"[") + content.count(b"{") > _MAX_CONTAINERS:
        raise FileError(f"{what} holds more than {_MAX_CONTAINERS} lists and objects, which no file of layerwise does")
    try:
        return json.loads(content.decode(), parse_int=_whole, parse_float=_finite, parse_constant=_finite)
    except RecursionError as error:
        raise FileError(f"{what} is damaged: its lists and objects are nested too deeply") from error
    except ValueError as error:
        raise FileError(f"{what} is damaged: {error}") from error


def _whole(text: str) -> int:
    if len(text.lstrip("-")) > _MAX_DIGITS:
        raise ValueError(f"a whole number of {len(text)} digits is too large")
    return int(text)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:20]} is no finite number")
    return value
