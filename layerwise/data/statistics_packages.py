"""Files of SPSS, Stata and SAS, by pyreadstat, in blocks of rows: dates, labels and missing values as they declare."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from layerwise.data._polars import columns, pl, reading
from layerwise.data.parts import Keep, Part
from layerwise.data.value_labels import Labels
from layerwise.errors import FileError
from layerwise.limits import DEFLATE_LIMIT, check_room
from layerwise.section import Section


class _Package(NamedTuple):
    """What writes a file, which function of pyreadstat reads it, what its dates are called, and since when they count.

    ``seconds`` are those from there to 1970; a second has so many ``ticks``, where dates have a time of day.
    """

    kind: str
    reader: str
    days: str
    moments: str
    times: str
    seconds: int
    ticks: int = 1
    days_in_seconds: bool = False


_SINCE_1960 = 3653 * 86_400
_SPSS_DATES = ("[AEJS]?DATE|MOYR|QYR|WKYR", "DATETIME|YMDHMS", "D?TIME|MTIME")
_SPSS = partial(_Package, "SPSS", seconds=12_219_379_200, days_in_seconds=True)
_SAS_DAYS = (
    r"(DATE|[A-Z]*8601DA|(DDMM|MMDD|MM|YYMM|YYMMDD)(YY)?[BCDNPS]?|YYQR?[CDNPS]?|YYMON|MON(NAME|TH|YY)|JUL(DAY|IAN)|"
    r"QTRR?|WEEKDA(TE|TX|Y)|WORDDAT[EX]|DOWNAME|DAY|YEAR|NLDATE[A-Z]*|NENGO|MINGUO)"
)
_SAS_MOMENTS = r"DATETIME|DATEAMPM|[A-Z]*8601D[NTXZL]|DT[A-Z]+|MDYAMPM|NLDATM[A-Z]*"
_SAS_TIMES = r"TIME|TOD|HHMM|HOUR|MMSS|TIMEAMPM|[A-Z]*8601T[MXZ]|NLTIM[A-Z]*"
_PACKAGES = {
    ".sav": _SPSS("read_sav", *_SPSS_DATES),
    ".zsav": _SPSS("read_sav", *_SPSS_DATES),
    ".por": _SPSS("read_por", *_SPSS_DATES),
    ".dta": _Package("Stata", "read_dta", "%T?D", "%TC", "%-", _SINCE_1960, 1000),
    ".sas7bdat": _Package("SAS", "read_sas7bdat", _SAS_DAYS, _SAS_MOMENTS, _SAS_TIMES, _SINCE_1960),
    ".xpt": _Package("SAS", "read_xport", _SAS_DAYS, _SAS_MOMENTS, _SAS_TIMES, _SINCE_1960),
}
STATISTICS_ENDINGS = tuple(_PACKAGES)
# Months of the periods that Stata counts since 1960.
_MONTHS = {"%TM": 1, "%TQ": 3, "%TH": 6}
_DAY = 86_400
# Values in a block of rows, which Python holds as objects for a moment.
_BLOCK = 2**21


def open_statistics(path: Path, section: Section) -> Part:
    """Read the names of the columns of a file of SPSS, Stata or SAS, with what they and their values mean."""
    package = _PACKAGES[path.suffix.lower()]
    read = partial(_read, path, package, section.encoding)
    _, about = read(metadataonly=True)
    if not about.column_names:
        raise FileError(f"{path} holds a table without rows")
    n_rows = about.number_rows if about.number_rows and about.number_rows > 0 else 0
    n_bytes = 8 * n_rows * len(about.column_names)
    if n_bytes > DEFLATE_LIMIT * path.stat().st_size:
        check_room(path, n_bytes)
    labels = {} if section.value_labels is False else _list_labels(about)
    described = {name: " ".join(words.split()) for name, words in about.column_names_to_labels.items() if words}
    return Part(
        path,
        about.column_names,
        partial(_scan, path, package, read, about, n_bytes),
        takes=("encoding", "value_labels"),
        labels=labels,
        descriptions={name: words for name, words in described.items() if words and words != name},
    )


def _list_labels(about: Any) -> Labels:
    """Return the labels of values; those of missing values, which Stata and SAS have letters for, are none."""
    text = {name for name, kind in about.readstat_variable_types.items() if kind.startswith("string")}
    found = {
        name: {
            value if isinstance(value, str) else float(value): words.strip()
            for value, words in labels.items()
            if words.strip() and isinstance(value, str) == (name in text)
        }
        for name, labels in about.variable_value_labels.items()
    }
    return {name: labels for name, labels in found.items() if labels}


def _scan(
    path: Path, package: _Package, read: Callable[..., Any], about: Any, n_bytes: int, keep: Keep
) -> pl.LazyFrame:
    """Return the columns, typed."""
    from polars.io.plugins import register_io_source

    schema = pl.Schema({name: _type_of(about.readstat_variable_types[name]) for name in about.column_names})

    def blocks(names: Any, predicate: Any, n_rows: int | None, size: int | None) -> Iterator[pl.DataFrame]:
        wanted = about.column_names if names is None else names
        for block in _blocks(read, schema, wanted or about.column_names[:1], n_rows):
            block = block.select(wanted) if wanted else block.select([])
            yield block if predicate is None else block.filter(predicate)

    table = keep(register_io_source(blocks, schema=schema), n_bytes)
    formats = {name: str(about.original_variable_types.get(name) or "").upper() for name in about.column_names}
    numbers = [name for name, dtype in schema.items() if dtype != pl.String]
    with reading(path, package.kind):
        times = [name for name in numbers if _fits(package.times, formats[name])]
        within = table.select(columns(*times).is_between(0, _DAY, closed="left").all()) if times else None
        clocks = {} if within is None else within.collect(engine="streaming").row(0, named=True)
    typed = {name: _as_date(package, name, formats[name]) for name in numbers}
    # A time beyond a day is a duration, and stays a number of seconds.
    typed |= {name: (columns(name) * 1e9).round().cast(pl.Int64).cast(pl.Time) for name in times if clocks[name]}
    typed |= {name: pl.when(columns(name) != "").then(columns(name)) for name in schema.names() if name not in numbers}
    return table.with_columns(found.alias(name) for name, found in typed.items() if found is not None)


def _type_of(kind: str) -> Any:
    if kind.startswith("string"):
        return pl.String
    return pl.Int64 if kind.startswith("int") else pl.Float64


def _as_date(package: _Package, name: str, form: str) -> pl.Expr | None:
    """Return a column as dates, or dates with times, if its format says that it holds such."""
    value = columns(name).cast(pl.Float64)
    if _fits(package.moments, form):
        micros = (value / package.ticks - package.seconds) * 1e6
        return micros.round().cast(pl.Int64, strict=False).cast(pl.Datetime("us"))
    if _fits(package.days, form):
        days = (value / _DAY if package.days_in_seconds else value) - package.seconds / _DAY
        return days.floor().cast(pl.Int32, strict=False).cast(pl.Date)
    if (months := _MONTHS.get(form[:3])) is not None:
        return pl.lit("1960-01-01").str.to_date().dt.offset_by((value * months).cast(pl.Int64).cast(pl.String) + "mo")
    return None


def _fits(pattern: str, form: str) -> bool:
    """Whether a format, which may have a width and decimals, is one of these."""
    return re.fullmatch(rf"(?:{pattern})(?:[\d.].*|[^A-Z\d].*)?", form.replace("%-", "%")) is not None


def _blocks(
    read: Callable[..., Any], schema: pl.Schema, names: list[str], n_rows: int | None
) -> Iterator[pl.DataFrame]:
    """Yield the rows of these columns, at least one block of them, which may be empty."""
    size, start = max(1, _BLOCK // len(names)), 0
    kinds = {name: schema[name] for name in names}
    while n_rows is None or start < n_rows:
        at_most = size if n_rows is None else min(size, n_rows - start)
        values, _ = read(usecols=names, row_offset=start, row_limit=at_most)
        block = pl.DataFrame({name: values.get(name, []) for name in names}, schema=kinds)
        yield block
        start += len(block)
        if len(block) < at_most:
            return


def _read(path: Path, package: _Package, encoding: str | None, **options: Any) -> Any:
    """Read from a file, with its errors in our words."""
    try:
        import pyreadstat
    except ImportError as error:
        raise ImportError(
            f"{path.suffix} files need pyreadstat, which is not installed: pip install 'layerwise[statistics]'"
        ) from error
    with _refusing(path, package.kind, encoding):
        return getattr(pyreadstat, package.reader)(
            path, encoding=encoding, output_format="dict", disable_datetime_conversion=True, **options
        )


@contextmanager
def _refusing(path: Path, kind: str, encoding: str | None) -> Iterator[None]:
    from pyreadstat import PyreadstatError, ReadstatError

    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there, or is not a file")
    with path.open("rb"):  # which says who may not read it
        pass
    try:
        yield
    except (PyreadstatError, ReadstatError, ValueError, OverflowError, MemoryError, UnicodeError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        if "encoding" in reason or "character set" in reason or isinstance(error, UnicodeError):
            said = "its text is not in the encoding that it names" if encoding is None else f"{encoding=!s:.65} is not"
            raise FileError(
                f"{path} cannot be read as {kind}: {said}; say which it is: --encoding latin1 (encoding='latin1')"
            ) from error
        raise FileError(f"{path} cannot be read as {kind}, or is damaged ({reason})") from error
