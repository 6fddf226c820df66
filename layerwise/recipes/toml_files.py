"""Settings as a TOML file: read with limits, and refused where a key means nothing; written with comments."""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from layerwise.errors import FileError, in_content_of
from layerwise.limits import check_length, is_utf8
from layerwise.section import SECTION_KEYS
from layerwise.urls import Url, as_place

# The longest TOML file, and how deep it may be nested: layers, each with a solver, with a list.
_MAX_TOML, _MAX_DEPTH = 2**17, 8
# Names joined by dots take Python's parser a time that grows with the square of their number: half a second here.
_MAX_DOTS = 4000
# Which rows `layerwise fit` does not train on.
HELD_OUT_KEYS = ("validation_fraction", "validation_data", "groups", "ordered")
# What names a file or a folder.
_PLACES = {"data", "out", "validation_data"}
# What each key holds.
_KINDS: dict[str, tuple[Any, str]] = {
    **dict.fromkeys(
        (
            *SECTION_KEYS,
            "data",
            "out",
            "labels",
            "sample_weight",
            "model",
            "dtype",
            "device",
            "validation_data",
            "groups",
        ),
        (str, "a text in quotes"),
    ),
    **dict.fromkeys(("validation_fraction", "contamination"), ((int, float), "a number")),
    **dict.fromkeys(
        (
            "impute",
            "library_size",
            "log1p",
            "deterministic",
            "report",
            "ordered",
            "transpose",
            "value_labels",
            "zero_based",
        ),
        (bool, "true or false"),
    ),
    **dict.fromkeys(("transpose", "value_labels", "zero_based"), (bool, "true or false")),
    **dict.fromkeys(("id", "ignore"), (list, "a list of names of columns")),
    "missing": (list, "a list of texts"),
    "date_parts": (list, "a list of year, week and day"),
    **dict.fromkeys(("max_categories", "random_state"), (int, "a whole number")),
    "image_shape": (list, "a list of height and width, and 3 for colour"),
    "layers": (list, "a list of tables, [[layers]]"),
    "finetuning": (dict, "a table, [finetuning]"),
}
# What lists hold.
_ITEMS: dict[str, tuple[type, str]] = {
    **dict.fromkeys(("id", "ignore"), (str, "names of columns")),
    "missing": (str, "texts"),
    "date_parts": (str, "year, week or day"),
    "image_shape": (int, "whole numbers"),
    "layers": (dict, "tables, [[layers]]"),
}
DATA_KEYS = (
    *("data", "out", "labels", "id", "ignore", "sample_weight", "max_categories", "missing", *SECTION_KEYS),
    *("image_shape", "date_parts"),
)


def read_toml(path: str | PathLike[str]) -> dict[str, Any]:
    """Read settings from a TOML file, and refuse keys that mean nothing.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    settings : dict
        As `build` takes them, and the keys of ``DATA_KEYS`` and ``HELD_OUT_KEYS``.

    Raises
    ------
    OSError
        If the file cannot be read.
    FileError
        If it is no TOML, has an unknown key or a value of the wrong kind, or is larger than any recipe.
    """
    if Path(path).is_dir():
        raise FileError(f"config={path} is a folder, but a TOML file is expected")
    with in_content_of(path):
        return _parse(Path(path))


def _parse(path: Path) -> dict[str, Any]:
    check_length(path, _MAX_TOML, "a recipe")
    text = ""
    try:
        text = path.read_text(encoding="utf-8-sig")
        if text.count(".") > _MAX_DOTS:
            raise ValueError(f"it holds more than {_MAX_DOTS} dots")
        settings = tomllib.loads(text)
        _check_depth(settings, _MAX_DEPTH)
    except RecursionError as error:
        raise FileError(f"{path} is no recipe: its tables and lists are nested too deeply") from error
    except ValueError as error:
        hint = " (write paths of Windows in single quotes, or with /)" if "\\" in text else ""
        raise FileError(f"{path} is no TOML file: {str(error)[:200]}{hint}") from error
    check_keys(str(path), settings, _KINDS)
    for name, value in settings.items():
        kind, words = _KINDS[name]
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise FileError(f"{path}: {name}={value!r:.80} must be {words}")
        if value == "":
            raise FileError(f'{path}: {name} = "" is empty; write what it shall be, or leave the line out')
    for name in _PLACES & settings.keys():
        place = as_place(settings[name])
        settings[name] = place if isinstance(place, Url) else str(place.expanduser())
    for name, (kind, words) in _ITEMS.items():
        _check_items(f"{path}: {name}", settings.get(name, []), kind, words)
    return settings


def _check_depth(value: Any, depth: int) -> None:
    """Refuse what no recipe holds: deep nesting, whole numbers of more than 64 bits, dates."""
    if depth == 0 or not isinstance(value, (str, int, float, list, dict)):
        raise ValueError(f"it holds {'lists and tables too deep' if depth == 0 else type(value).__name__}")
    if isinstance(value, int) and abs(value) >= 2**63:
        raise ValueError("it holds a whole number of more than 64 bits")
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _check_depth(item, depth - 1)


def write_toml(settings: Mapping[str, Any]) -> str:
    """Return settings as a TOML file with comments, which `layerwise fit --config` takes.

    Parameters
    ----------
    settings : mapping
        As `describe` returns them, and keys of ``DATA_KEYS`` and ``HELD_OUT_KEYS``.

    Returns
    -------
    text : str

    Raises
    ------
    ValueError
        If a name is no text in UTF-8.
    """
    environment = Environment(
        loader=PackageLoader("layerwise.recipes", "."), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["toml"] = _toml
    known = dict.fromkeys(_KINDS) | {"finetuning": {}, "layers": []}
    text = environment.get_template("run.toml.j2").render(known | dict(settings))
    if not is_utf8(text):
        odd = [f"{name}={value!r}" for name, value in settings.items() if not is_utf8(value)]
        raise ValueError(
            f"{', '.join(odd) or 'a name'} is no text in UTF-8, so run.toml cannot tell of it; choose another name"
        )
    return text


def check_keys(where: str, found: Mapping[str, Any], known: Any) -> None:
    """Refuse keys that mean nothing."""
    unknown = [key for key in found if key not in known]
    if unknown:
        raise ValueError(f"{where} has {unknown[0]!r}, which means nothing there; known are {', '.join(sorted(known))}")


def _check_items(where: str, values: list[Any], kind: type, words: str) -> None:
    for value in values:
        if not isinstance(value, kind) or isinstance(value, bool):
            raise ValueError(f"{where} holds {value!r}, but {words} are expected")


def _key(name: Any) -> str:
    """Return a key as TOML writes it; labels of classes may be any text or number."""
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name := str(name)) else json.dumps(name, ensure_ascii=False)


def _toml(value: Any) -> str:
    """Return a value as TOML writes it."""
    if isinstance(value, dict):
        return (
            "{ " + ", ".join(f"{_key(name)} = {_toml(item)}" for name, item in value.items() if item is not None) + " }"
        )
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return '"none"' if value is None else json.dumps(value, ensure_ascii=False)
