"""ARFF, the text format of Weka and OpenML: attributes with their types, then rows of values between commas."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

from layerwise.data._polars import check_names, columns, pl
from layerwise.data.csv_tables import open_text
from layerwise.errors import FileError, in_content_of

ARFF_ENDING = ".arff"
_WORD = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\""""
_ATTRIBUTE = re.compile(rf"@attribute\s+({_WORD}|[^\s{{]+)\s*(.*)", re.IGNORECASE)
_QUOTED = re.compile(_WORD)
_VALUE = re.compile(rf"\s*(?:{_WORD})|[^,]+")
_DATE = re.compile(rf"date\s*({_WORD}|\S*)", re.IGNORECASE)
_NUMBERS = ("numeric", "real", "integer")
# Java's letters of dates, as polars has them.
_LETTERS = {"yyyy": "%Y", "yy": "%y", "MM": "%m", "dd": "%d", "HH": "%H", "mm": "%M", "ss": "%S"}
_ISO = "yyyy-MM-dd'T'HH:mm:ss"
# The most attributes, and values that are taken as text at a time.
_MAX_ATTRIBUTES, _BATCH = 2**15, 2**20


class _Attribute(NamedTuple):
    """The kind is ``"number"``, ``"string"``, a list of values, or how dates are written."""

    name: str
    kind: Any
    is_date: bool = False


def scan_arff(path: Path) -> pl.LazyFrame:
    """Return the table of an ARFF file: numbers, dates, text; nominal attributes are categories."""
    with open_text(path) as file:
        attributes = _read_header(path, file)
        names = [attribute.name for attribute in attributes]
        with in_content_of(path):
            check_names(path, names)
        with _refusing(path):
            found = [
                _type(path, pl.DataFrame(batch, schema=dict.fromkeys(names, pl.String), orient="row"), attributes)
                for batch in _batches(path, _find_rows(path, file), len(names))
            ]
    if not found:
        raise FileError(f"{path} holds a table without rows")
    return pl.concat(found).lazy()


def _read_header(path: Path, file: Iterable[str]) -> list[_Attribute]:
    """Return the attributes, up to the line that says that rows follow."""
    attributes: list[_Attribute] = []
    for place, line in enumerate(map(str.strip, file), 1):
        if "\0" in line:
            break
        if line.lower() == "@data":
            if not attributes:
                break
            return attributes
        if match := _ATTRIBUTE.fullmatch(line):
            attributes.append(_read_attribute(path, _unquote(match[1]), match[2].split("%")[0].strip() or match[2]))
        elif line and not line.startswith("%") and not line.lower().startswith("@relation"):
            raise FileError(f"{path} is not an ARFF file, or is damaged: line {place} is {line!r:.65}")
        if len(attributes) > _MAX_ATTRIBUTES:
            raise FileError(
                f"{path} has more than the {_MAX_ATTRIBUTES} attributes that ARFF may have; save it as .npy or .svm"
            )
    raise FileError(f"{path} is not an ARFF file, or is damaged: it has no attributes, or no line @data")


def _read_attribute(path: Path, name: str, kind: str) -> _Attribute:
    if kind.lower() in _NUMBERS:
        return _Attribute(name, "number")
    if kind.lower() == "string":
        return _Attribute(name, "string")
    if kind.startswith("{") and kind.endswith("}"):
        return _Attribute(name, [_unquote(value.strip()) for value in _VALUE.findall(kind[1:-1])])
    if match := _DATE.fullmatch(kind):
        return _Attribute(name, _read_date(path, name, _unquote(match[1]) or _ISO), is_date=True)
    raise FileError(
        f"{path} has attribute {name!r:.65} of type {kind!r:.65}, but numeric, nominal, string and date are read; "
        f"remove it in Weka (weka.filters.unsupervised.attribute.Remove)"
    )


def _read_date(path: Path, name: str, form: str) -> str:
    """Return how dates are written, from the letters of Java."""
    parts = re.findall(r"'([^']*)'|([A-Za-z]+)|([^A-Za-z']+)", form)
    if any(letters and letters not in _LETTERS for _, letters, _ in parts):
        raise FileError(
            f"{path} has dates written as {form!r:.65} in attribute {name!r:.65}, but {', '.join(_LETTERS)} are read"
        )
    return "".join(quoted or _LETTERS.get(letters, letters) or between for quoted, letters, between in parts)


def _unquote(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text[1:-1]) if text[:1] in ("'", '"') and len(text) > 1 else text


def _find_rows(path: Path, file: Iterable[str]) -> Iterator[str]:
    """Yield the lines of rows, without comments and blank ones, with all quotes single ones."""
    lines = (line for line in file if line.strip() and not line.lstrip().startswith("%"))
    first = next(lines, "")
    if first.lstrip().startswith("{"):
        raise FileError(
            f"{path} is sparse ARFF, which is not read; save it dense in Weka "
            f"(weka.filters.unsupervised.instance.SparseToNonSparse), or in SVMlight format as .svm"
        )
    for line in chain([first] if first else [], lines):
        yield _QUOTED.sub(_quote, line) if '"' in line else line


def _quote(match: re.Match) -> str:
    text = match[0]
    return text if text[0] == "'" else "'" + text[1:-1].replace("'", r"\'") + "'"


def _batches(path: Path, rows: Iterator[str], width: int) -> Iterator[list[list[str]]]:
    parsed, place = csv.reader(rows, quotechar="'", escapechar="\\", skipinitialspace=True), 0
    while batch := list(islice(parsed, max(1, _BATCH // width))):
        wrong = next((row for row, values in enumerate(batch, place + 1) if len(values) != width), None)
        if wrong is not None:
            raise FileError(
                f"{path} has {len(batch[wrong - place - 1])} values in row {wrong} (counted from 1, below @data), but "
                f"{width} attributes"
            )
        place += len(batch)
        yield batch


def _type(path: Path, batch: pl.DataFrame, attributes: list[_Attribute]) -> pl.DataFrame:
    text = {name: columns(name).str.strip_chars() for name in batch.columns}
    batch = batch.with_columns(pl.when(~value.is_in(["?", ""])).then(value).alias(name) for name, value in text.items())
    typed = batch.with_columns(_convert(attribute) for attribute in attributes)
    for attribute in attributes:
        name, kind = attribute.name, attribute.kind
        lost = batch[name].filter(typed[name].is_null() & batch[name].is_not_null())
        if len(lost):
            words = (
                f"one of its {len(kind)} values" if isinstance(kind, list) else "a date" if attribute.is_date else kind
            )
            raise FileError(
                f"{path} has {lost[0]!r:.65} in attribute {name!r:.65}, which is no {words}; correct it, or write ? "
                f"for what is missing"
            )
    return typed


def _convert(attribute: _Attribute) -> pl.Expr:
    value, kind = columns(attribute.name), attribute.kind
    if kind == "number":
        return value.cast(pl.Float64, strict=False)
    if isinstance(kind, list):
        return pl.when(value.is_in(kind)).then(value).cast(pl.Categorical).alias(attribute.name)
    if attribute.is_date:
        dtype = pl.Datetime("us") if "%H" in kind else pl.Date
        return value.str.strptime(dtype, kind, strict=False)
    return value


@contextmanager
def _refusing(path: Path) -> Iterator[None]:
    try:
        yield
    except csv.Error as error:
        raise FileError(f"{path} cannot be read as ARFF ({error})") from error
