"""CSV files, read lazily as text; a column is numbers where all its values are."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import math
import warnings
import zlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any

from layerwise.data._polars import check_names, columns, composed, list_names, pl, reading
from layerwise.data.column_types import FLAGS, MARKERS
from layerwise.data.naming import advise_to_ignore, name_columns
from layerwise.data.parts import Keep, Part
from layerwise.data.profiles import as_number
from layerwise.errors import FileError
from layerwise.limits import EXPANSION, VARIABLE, check_room, max_bytes, max_expanded

CSV_ENDINGS = (".csv", ".tsv", ".csv.gz", ".tsv.gz")
# A number with a decimal comma, by what separates values. Where that is a tabulator, 1,234 may be a thousand.
_DECIMAL_COMMA = {
    ";": r"^[+-]?\d*,?\d+([eE][+-]?\d+)?$",
    "\t": r"^[+-]?(\d+|(0?|\d{4,}),\d+|\d*,(\d{1,2}|\d{4,}))([eE][+-]?\d+)?$",
}
# Whole numbers, those of a thousand or more written 5.620 and 1.234.567.
_THOUSANDS = r"^[+-]?(\d+|[1-9]\d{0,2}(\.\d{3})+)$"
# The header of a CSV file must end within this many characters, and name at most this many columns: polars takes
# 50 KB and 0.3 ms for each of them.
_HEADER, _MAX_COLUMNS = 2**21, 2**15
# The bytes that a value of text takes in memory, beside its letters.
_VALUE = 16
# The longest row, in bytes: polars takes 15 times as much memory for one that does not end.
_MAX_ROW = 2**22
# What to do about a first line that is not meant as names.
_HINT = "if the first line is not meant as names, add one with names above it"
# Whole numbers below this one have each a float64 of their own.
EXACT = 2**53


def open_csv(path: Path) -> Part:
    """Read the names of the columns of a CSV file."""
    names, separator, named_rows = read_header(path)
    return Part(path, names, partial(_scan, path, names, separator, named_rows), separator)


def _scan(path: Path, names: list[str], separator: str, named_rows: bool, keep: Keep) -> pl.LazyFrame:
    """Return the columns as text, with null for what is missing, once all rows were found to be whole."""
    n_separators = check_lines(path, separator)
    try:
        with reading(path, "CSV"):
            head: dict[str, Any] = {"has_header": False, "skip_rows": 1} if named_rows else {}
            raw = pl.scan_csv(path, separator=separator, infer_schema=False, glob=False, **head)
            found = raw.collect_schema().names()
            if len(found) != len(names):
                raise FileError(f"{path} has a first line that cannot be read as names of columns")
            raw = raw.rename(dict(zip(found, names, strict=True)))
            n_bytes = (n_separators + 1) * _VALUE + path.stat().st_size
            stripped = raw.select(columns(name).str.strip_chars() for name in names)
            table = keep(
                stripped.select(pl.when(columns(name) != "").then(columns(name)).alias(name) for name in names), n_bytes
            )
            counts = table.select(pl.all().null_count().name.prefix("-"), pl.len()).collect(engine="streaming").row(0)
            n_empty, n_rows = counts[-2:]
            # A row that ends early has no last value, and one that is too long ends where polars need not look if it is
            # not asked for all columns.
            doubtful = len(names) > 1 and n_empty
            if doubtful and n_separators != (n_rows + 1) * (len(names) - 1) - named_rows:
                n_rows -= _count_blank_end(path, separator, len(names))
                table = table.head(n_rows)
            if n_rows == 0:
                raise FileError(f"{path} has a line with the names of its columns, but no rows")
            return table
    except FileError:
        _count_blank_end(path, separator, len(names))  # says which line is wrong, if it is that
        raise


def type_columns(
    path: Any, table: pl.LazyFrame, text: Collection[str], separator: str, *, as_written: bool = False
) -> pl.LazyFrame:
    """Return a table of text with the columns typed, those named in ``text`` left as text; see `scan_table`.

    A column becomes numbers, or true and false, where all its values are that, or stand for nothing.
    """
    as_text = set(map(composed, text))
    with reading(path, "CSV"):
        candidates = [name for name in table.collect_schema().names() if composed(name) not in as_text]
        flags = {name: _known(name).replace_strict(FLAGS, default=None, return_dtype=pl.Boolean) for name in candidates}
        commas = {name: _with_decimal_commas(name, separator) for name in candidates if separator in _DECIMAL_COMMA}
        found, large, flagged = _find_numbers(table, candidates)
        for whole in (pl.Int64, pl.UInt64):
            exact = _that_lose_nothing(table, {name: _as_whole(name, whole) for name in large})
            found |= exact
            large = [name for name in large if name not in exact]
        found |= {name: columns(name) if as_written else flags[name] for name in flagged}
        fitting = _that_lose_nothing(table, {name: commas[name] for name in commas if name not in found})
        if fitting:
            _refuse_thousands(path, table, [name for name in candidates if name not in fitting], next(iter(fitting)))
        return table.with_columns((found | fitting).values())


def _find_numbers(table: pl.LazyFrame, names: Sequence[str]) -> tuple[dict[str, pl.Expr], list[str], list[str]]:
    """Return conversions of the columns that are numbers, which of them are too large for floats, and which are flags.

    Those that are too large may stand for more than one whole number.
    """
    numbers = {name: columns(name).cast(pl.Float64, strict=False) for name in names}
    parsed = [(columns(name).alias(f"text {k}"), numbers[name].alias(f"{k}")) for k, name in enumerate(names)]
    checks = [
        pl.struct(
            text.filter(number.is_null()).is_in(MARKERS).all().alias("fits"),
            number.is_nan().any().alias("nan"),
            (number.fill_nan(None).abs() >= EXACT).any().alias("large"),
            text.is_in([*FLAGS, *MARKERS]).all().alias("flags"),
        ).alias(f"{k}")
        for k in range(len(names))
        for text, number in [(pl.col(f"text {k}"), pl.col(f"{k}"))]
    ]
    found = table.select(chain.from_iterable(parsed)).select(checks).collect(engine="streaming").row(0) if names else ()
    verdicts = dict(zip(names, found, strict=True))
    fitting = [name for name, verdict in verdicts.items() if verdict["fits"]]
    # Only what stands for nothing and is read as a number, which is NaN, has to be looked for.
    with_nan = {name: _known(name).cast(pl.Float64, strict=False) for name in fitting if verdicts[name]["nan"]}
    kept = {name: with_nan.get(name, numbers[name]) for name in fitting}
    flags = [name for name, verdict in verdicts.items() if verdict["flags"] and name not in kept]
    return kept, [name for name in fitting if verdicts[name]["large"]], flags


def _refuse_thousands(path: Path, table: pl.LazyFrame, names: list[str], with_commas: str) -> None:
    """Refuse columns whose points are all before groups of three digits, as another column has decimal commas."""
    has_point = {name: columns(name).str.contains(".", literal=True) for name in names}
    suspicious = [(columns(name).str.contains(_THOUSANDS).all() & has_point[name].any()).alias(name) for name in names]
    if not names or not any(verdicts := table.select(suspicious).collect(engine="streaming").row(0)):
        return
    odd = [name for name, verdict in zip(names, verdicts, strict=True) if verdict]
    shown = [table.select(columns(name)).filter(has_point[name]).head(1).collect().item() for name in odd[:20]]
    raise FileError(
        f"{path} has decimal commas, as in column {with_commas!r}, but {name_columns(odd)} "
        f"{'looks' if len(odd) == 1 else 'look'} like whole numbers with thousands dots ({list_names(shown)}); remove "
        f"the dots, or write decimals with commas there too, or {advise_to_ignore(odd)}"
    )


def _with_decimal_commas(name: str, separator: str) -> pl.Expr:
    value = _known(name)
    number = value.str.replace(",", ".", literal=True).cast(pl.Float64, strict=False)
    return pl.when(value.str.contains(_DECIMAL_COMMA[separator])).then(number).alias(name)


def _as_whole(name: str, dtype: Any) -> pl.Expr:
    return _known(name).str.replace(r"\.0*$", "").cast(dtype, strict=False).alias(name)


def _that_lose_nothing(table: pl.LazyFrame, conversions: dict[str, pl.Expr]) -> dict[str, pl.Expr]:
    """Return the conversions of columns, by name, under which no value goes missing."""
    if not conversions:
        return {}
    lost = [
        (conversion.null_count() - _known(name).null_count()).alias(name) for name, conversion in conversions.items()
    ]
    found = table.select(lost).collect(engine="streaming").row(0, named=True)
    return {name: conversion for name, conversion in conversions.items() if found[name] == 0}


def _known(name: str) -> pl.Expr:
    """Return a column without what stands for nothing among numbers."""
    return pl.when(columns(name).is_in(MARKERS)).then(None).otherwise(columns(name)).alias(name)


def read_header(path: Path) -> tuple[list[str], str, bool]:
    """Return the names of the columns, the separator, and whether rows have names of which the first line says nothing.

    R writes such names; the name of their column is empty.
    """
    with open_text(path) as file:
        head = file.read(_HEADER).lstrip("\r\n")
    if not head.strip():
        raise FileError(f"{path} is empty")
    if "\0" in head:
        raise FileError(f"{path} is not a CSV file: it holds bytes that are not text")
    plain = not path.name.lower().endswith(CSV_ENDINGS)
    separator = _find_separator(path, head.split("\n", 1)[0], plain)
    lines = csv.reader(io.StringIO(head, newline=""), delimiter=separator)
    try:
        names = [name.strip() for name in next(lines)]
        second = next(lines, []) if plain else []
    except csv.Error as error:
        raise FileError(f"{path} has a first line that cannot be read as names of columns ({error})") from error
    named_rows = len(second) == len(names) + 1 and bool(second[-1].strip())
    names = ["", *names] if named_rows else names
    if separator == " " and ("" in names[1:] or "" in second[1:]):
        raise FileError(
            f"{path} has columns that are filled up with blanks; save it with one separator between values, for "
            f"example by: sed 's/^ *//; s/  */ /g' OLD.txt > NEW.txt"
        )
    _check_header(path, names, chain([second] if second else [], lines))
    return names, separator, named_rows


def _find_separator(path: Path, first: str, plain: bool) -> str:
    """Return what separates the names in a first line; blanks do so in plain text alone."""
    if ".tsv" in path.suffixes[-2:]:
        return "\t"
    found = max(",;\t|", key=first.count)
    return found if first.count(found) or not plain else " "


def _check_header(path: Path, names: list[str], lines: Iterator[list[str]]) -> None:
    if len(names) > _MAX_COLUMNS:
        raise FileError(
            f"{path} names {len(names)} columns in its first line, more than the {_MAX_COLUMNS} that CSV may have; "
            f"save it as .npy or .safetensors"
        )
    if "" in names[1:] or names == [""]:
        raise FileError(
            f"{path} has no name for column {names.index('', 1 if len(names) > 1 else 0) + 1} in its first line"
        )
    try:
        check_names(path, names)
    except ValueError as error:
        raise FileError(f"{error}; {_HINT}") from None
    check_numeric_names(path, names, lines, "its first line")


def check_numeric_names(path: Path, names: list[str], lines: Iterator[list[str]], where: str) -> None:
    """Refuse names of columns that are numbers, unless they rise or fall; warn of those that are like values below."""
    numbers = [float(name) for name in names if _is_number(name)]
    rising, falling = numbers == sorted(numbers), numbers == sorted(numbers, reverse=True)
    like = len(numbers) > 0 and _looks_like(names, lines)
    if not rising and (like or not falling):  # those that rise or fall may be positions or wavelengths
        raise FileError(f"{path} has numbers in {where}, which must name the columns; {_HINT}")
    if like:
        warnings.warn(
            f"{path} has numbers in {where}, like those below, which are taken as names of columns; {_HINT}",
            stacklevel=2,
        )


def _looks_like(names: list[str], lines: Iterator[list[str]]) -> bool:
    """Whether most of the numbers among these names lie among those in the first rows."""
    rows: list[list[str]] = []
    with suppress(csv.Error):
        rows += islice(lines, 50)
    inside = []
    for place, name in enumerate(names):
        values = [float(row[place]) for row in rows if len(row) == len(names) and _is_number(row[place])]
        if _is_number(name) and values:
            reach = max(values) - min(values) or abs(max(values)) / 2
            inside.append(min(values) - reach <= float(name) <= max(values) + reach)
    return sum(inside) > len(inside) / 2


def _is_number(text: str) -> bool:
    number = as_number(text)
    return number is not None and math.isfinite(number)


def _count_blank_end(path: Path, separator: str, width: int) -> int:
    """Return how many blank lines end a CSV file; refuse other lines that have not ``width`` values."""
    blank = 0
    with open_text(path) as file:
        reader = csv.reader(file, delimiter=separator)
        next(row for row in reader if row)  # the names; blank lines may stand above them
        for row in reader:
            if row and (blank or len(row) != width):
                line, found = (reader.line_num - 1, 0) if blank else (reader.line_num, len(row))
                values = f"{found} value{'s' * (found != 1)}"
                raise FileError(f"{path} has {values} in line {line}, but its first line names {width} columns")
            blank += not row
    return blank


def _look(block: bytes, separator: bytes, quoted: bool) -> tuple[int, int, bool]:
    """Return where the last row that ends in a block does so, how many separators it has, and whether a quote is open.

    The first is 0 for nowhere; separators within quotes are parts of values.
    """
    if not quoted and b'"' not in block:
        return block.rfind(b"\n") + 1, block.count(separator), False
    parts = block.split(b'"')  # every second one is within quotes
    n_separators = b"".join(parts[quoted::2]).count(separator)
    start, end = len(block) + 1, 0
    for place in reversed(range(len(parts))):
        start -= len(parts[place]) + 1
        end = parts[place].rfind(b"\n") + 1 if place % 2 == quoted else 0
        if end:
            break
    return (start + end if end else 0), n_separators, (len(parts) + quoted) % 2 == 0


def _is_compressed(path: Path) -> bool:
    return path.suffix.lower() == ".gz"


def check_lines(path: Path, separator: str = ",") -> int:
    """Return how many separators there are between values.

    Refuses rows that never end, and a compressed file that expands to too much: polars would hold it in memory.
    """
    compressed, size = _is_compressed(path), path.stat().st_size
    length = last = n_separators = 0  # last: where the last row ended
    quoted = False  # whether a quote is open
    with _refusing(path), gzip.open(path) if compressed else path.open("rb") as file:
        while block := file.read(2**20):
            end, count, quoted = _look(block, separator.encode(), quoted)
            last = length + end if end else last
            length, n_separators = length + len(block), n_separators + count
            if length - last > _MAX_ROW:
                raise FileError(
                    f"{path} has a row of more than {_MAX_ROW} bytes after byte {last}; close the quote that is open "
                    f"there, or save the table as .npy or Parquet"
                )
            if not compressed:
                continue
            check_room(path, length)
            if length > max_expanded(size, max_bytes()):
                raise FileError(
                    f"{path} expands to more than {EXPANSION} times its {size} bytes; decompress it, or raise "
                    f"{VARIABLE} in the environment, if you trust it"
                )
    return n_separators


@contextmanager
def open_text(path: Path) -> Iterator[IO[str]]:
    """Open a CSV file, compressed or not, for a look at its lines."""
    opener: Any = gzip.open if _is_compressed(path) else open
    with _refusing(path), opener(path, "rt", encoding="utf-8-sig", newline="") as file:
        yield file


@contextmanager
def _refusing(path: Path) -> Iterator[None]:
    """Say in one sentence what is wrong with the text, or its compression, that the block reads."""
    try:
        yield
    except UnicodeDecodeError as error:
        marked = error.object[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
        found, name = (
            ("is text in UTF-16", "utf-16") if marked else (f"is not text in UTF-8 ({error.reason})", "cp1252")
        )
        raise FileError(
            f"{path} {found}; save it as CSV in UTF-8, for example by: iconv -f {name} -t utf-8 OLD.csv > NEW.csv"
        ) from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise FileError(f"{path} is damaged: its gzip data cannot be read ({error}); fetch it again") from error
    except csv.Error as error:
        raise FileError(f"{path} cannot be read as CSV ({error})") from error
