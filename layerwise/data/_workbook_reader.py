"""The program that reads workbooks for `layerwise.data.workbooks`, in a process of its own.

It imports nothing of layerwise, and hands back what is in the cells: ``sheet.json``, and the values below the header as
``typed.arrow``, or, where a column mixes types, as text, kinds and dates. What they mean is up to the other process.
"""

from __future__ import annotations

import contextlib
import json
import re
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Memory of the reading process beside the cells: Python, polars and the threads of both.
READER_BYTES = 2**28
# Exit status of the reading process where fastexcel is missing.
NO_FASTEXCEL = 3
# What a cell holds, in ``kinds.arrow``.
NOTHING, TEXT, NUMBER, FLAG, DATE = range(5)
# Rows from the first with a value on, among which the header must be.
_HEAD = 200
# Cells with a fault, or merged, that are listed at most.
_MAX_LIST = 1000
# How many bytes of XML are looked at together, and the longest row.
_CHUNK, _MAX_ROW = 2**20, 2**24
_CELL = re.compile(rb"<(?:\w+:)?c\b([^>]*?)(?:/>|>(.*?)</(?:\w+:)?c>)", re.DOTALL)
_PLACE = re.compile(rb"""\sr=["']([A-Z]{1,3}\d{1,7})["']""")
_KIND = re.compile(rb"""\st=["'](\w+)["']""")
_NO_VALUE = re.compile(rb"<(?:\w+:)?f\b(?!.*<(?:\w+:)?v>[^<])", re.DOTALL)
_HIDDEN = re.compile(rb"""<(?:\w+:)?row\b[^>]*\shidden=["'](?:1|true)["']""")
_MERGED = re.compile(rb"""<(?:\w+:)?mergeCell\b[^>]*\sref=["']([A-Z]{1,3}\d{1,7}:[A-Z]{1,3}\d{1,7})["']""")
_ODS_TOKEN = re.compile(rb"<table:(table|table-row|table-cell|covered-table-cell)(?=[\s>/])([^>]*)>")
_RELATION = re.compile(rb"<(?:\w+:)?Relationship\b[^>]*>")
_SHEET = re.compile(rb"<(?:\w+:)?sheet\b[^>]*>")


class _RefusedError(Exception):
    """The file can be read, but does not hold what is wanted."""


def _main(path: str, folder: str, memory: str, wanted: str, lists: str = "") -> None:
    """Write what is in the sheet to the folder, or exit with the reason why not: the end of a sentence.

    With a last argument the names of the sheets are all that is written.
    """
    try:
        import fastexcel
        import polars  # noqa: F401
    except ModuleNotFoundError:
        sys.exit(NO_FASTEXCEL)
    _limit_memory(int(memory) + READER_BYTES)
    try:
        _refuse_entities(path)
        book = fastexcel.read_excel(path)
        found: dict[str, Any] = {"sheets": book.sheet_names}
        if not lists:
            sheet, first = _choose(book, json.loads(wanted))
            found |= {"sheet": sheet, **_look(path, sheet), **_load(book, sheet, first, Path(folder))}
        (Path(folder) / "sheet.json").write_text(json.dumps(found))
    except _RefusedError as error:
        sys.exit(str(error))
    except MemoryError:
        sys.exit(
            "takes more memory to read than a workbook of its size does; raise LAYERWISE_MAX_BYTES if you trust it"
        )
    except Exception as error:  # whatever calamine comes upon in bytes that are not what they should be
        if "No space left" in str(error):
            sys.exit("cannot be read: no space is left in the temporary folder for its rows; make room, or set TMPDIR")
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        if "password" in str(error).lower() or "encrypted" in str(error).lower():
            sys.exit("is encrypted; save it without a password")
        sys.exit(f"is not a workbook, or is damaged ({reason[:200]})")


def _choose(book: Any, wanted: str | None) -> tuple[str, Any]:
    """Return the name and the first rows of the sheet asked for, else of the first visible one that has values."""
    names = book.sheet_names
    listed = ", ".join(repr(name[:63]) for name in names[:20]) + (f" and {len(names) - 20} more" * (len(names) > 20))
    if wanted is not None and wanted not in names and wanted.isdecimal() and 1 <= float(wanted) <= len(names):
        wanted = names[int(wanted) - 1]
    if wanted is not None and wanted in names:
        return wanted, _load_head(book, wanted)
    if wanted is not None:
        raise _RefusedError(f"has no sheet={wanted!r:.65}; it has {listed}")
    for name in names:
        try:
            sheet = _load_head(book, name)
        except Exception as error:
            if "not a valid worksheet" in str(error):  # a sheet that is a chart
                continue
            raise
        if sheet.visible == "visible" and sheet.total_height > 0:
            return name, sheet
    raise _RefusedError(f"has no visible sheet with values; it has {listed}")


def _load_head(book: Any, name: str, skip_rows: int | None = 0) -> Any:
    return book.load_sheet(name, header_row=None, skip_rows=skip_rows, n_rows=_HEAD, dtypes="string")


def _load(book: Any, name: str, first: Any, folder: Path) -> dict[str, Any]:
    """Write the cells below the header, and return where that is, and what stands in it and above it."""
    head, above = _as_texts(first), 0
    if not any(map(any, head)):  # it begins further below
        height, first = first.total_height, _load_head(book, name, None)
        head, above = _as_texts(first), height - first.total_height
    if not any(map(any, head)):
        raise _RefusedError(f"holds no values in sheet {name!r:.65}")
    place = _find_header(head)
    columns = [column.absolute_index for column in first.available_columns()]
    where = {"header_row": above + place + 1, "columns": columns, "head": head[: place + 2], "place": place}
    _write_cells(book, name, folder, above + place + 1, columns)
    return where


def _as_texts(sheet: Any) -> list[list[str]]:
    return [[(value or "").strip() for value in row] for row in sheet.to_polars().rows()]


def _find_header(head: list[list[str]]) -> int:
    """Return which of the first rows names the columns: the first that fills at least half of them, and not only one.

    Titles above a table fill one cell, or few. A name that is missing at the left is that of an index of pandas.
    """
    width = sum(any(column) for column in zip(*head, strict=True))
    for place, row in enumerate(head):
        n_filled = sum(map(bool, row))
        index = width == 2 and len(row) == 2 and not row[0]
        if 2 * n_filled >= width and (n_filled > 1 or width == 1 or (n_filled and index)):
            return place
    return next(place for place, row in enumerate(head) if any(row))


def _write_cells(book: Any, name: str, folder: Path, n_above: int, places: list[int]) -> None:
    import polars as pl

    def load(**options: Any) -> Any:
        frame = book.load_sheet(
            name, header_row=None, skip_rows=n_above, schema_sample_rows=None, **options
        ).to_polars()
        return frame.rename({own: str(place) for place, own in enumerate(frame.columns)})

    try:
        load(dtype_coercion="strict").write_ipc(folder / "typed.arrow")
        return
    except Exception as error:
        if type(error).__name__ != "UnsupportedColumnTypeCombinationError":
            raise
    names = [f"{k}" for k in range(len(load(dtypes="string").columns))]
    text, days, moments = (load(dtypes=dtype) for dtype in ("string", "date", "datetime"))
    lengths, truths = load(dtypes="duration"), load(dtypes="boolean")
    moment = pl.datetime(1899, 12, 31, time_unit="ms")
    kinds, dates = {}, {}
    for column in names:
        has_day, is_value = days[column].is_not_null() | moments[column].is_not_null(), truths[column].is_not_null()
        is_date = ~is_value & (has_day | lengths[column].is_not_null())
        kind = pl.when(is_value & has_day).then(NUMBER).when(is_value).then(FLAG).when(is_date).then(DATE)
        kind = kind.when(text[column].is_not_null()).then(TEXT)
        kinds[column] = pl.select(kind.otherwise(NOTHING).cast(pl.UInt8)).to_series()
        date = pl.coalesce(moments[column], days[column].cast(pl.Datetime("ms")), moment + lengths[column])
        dates[column] = pl.select(pl.when(is_date).then(date)).to_series()
    dated = [column for column in names if set(kinds[column].unique()) <= {DATE, NOTHING}]
    with contextlib.suppress(Exception):  # where no other type is among them, lengths of time are told from dates
        pure = load(use_columns=[places[int(column)] for column in dated], dtype_coercion="strict")
        dates |= {column: pure[str(k)] for k, column in enumerate(dated) if pure[str(k)].dtype == pl.Duration}
    text.write_ipc(folder / "text.arrow")
    pl.DataFrame(kinds).write_ipc(folder / "kinds.arrow")
    pl.DataFrame(dates).write_ipc(folder / "dates.arrow")


def _look(path: str, sheet: str) -> dict[str, Any]:
    """Return what calamine does not tell of cells of an .xlsx file: merged, hidden, errors, formulas without value."""
    found: dict[str, Any] = {"merged": [], "errors": [], "no_value": [], "n_hidden": 0}
    if not zipfile.is_zipfile(path):
        return found
    with zipfile.ZipFile(path) as archive:
        if "content.xml" in archive.namelist():
            _look_open(archive, sheet, found)
            return found
        place = _find_part(archive, sheet)
        if place is None:
            return found
        with archive.open(place) as file:
            for rows in _in_rows(file):
                _note(rows, found)
    return found


def _look_open(archive: zipfile.ZipFile, sheet: str, found: dict[str, Any]) -> None:
    """Note merged cells, and formulas without value, of a sheet of an OpenDocument file, where it has any of both."""
    with archive.open("content.xml") as file:
        content = file.read()
    if b"-spanned=" not in content and b"table:formula=" not in content:
        return
    row = column = 0
    following, inside = 1, False
    for token in _ODS_TOKEN.finditer(content):
        kind, entry = token[1], b" " + token[2]
        if kind == b"table":
            following, inside = 1, _attribute(entry, "table:name") == sheet
        elif kind == b"table-row":
            row, column = following, 0
            following += _count(entry, "number-rows-repeated")
        elif inside:
            n = _count(entry, "number-columns-repeated")
            height, width = _count(entry, "number-rows-spanned"), _count(entry, "number-columns-spanned")
            if (height > 1 or width > 1) and len(found["merged"]) < _MAX_LIST:
                found["merged"].append(f"{name_cell(column, row)}:{name_cell(column + width - 1, row + height - 1)}")
            if b"table:formula=" in entry and b"office:value-type=" not in entry:
                found["no_value"] = found["no_value"] or [name_cell(column, row)]
            column += n


def name_cell(column: int, row: int | str = "") -> str:
    """Return what a spreadsheet program calls a cell, or a column, counted from 0."""
    text, column = "", column + 1
    while column:
        column, rest = divmod(column - 1, 26)
        text = chr(65 + rest) + text
    return f"{text}{row}"


def _count(entry: bytes, name: str) -> int:
    text = _attribute(entry, f"table:{name}") or "1"
    return int(text) if text.isdecimal() else 1


def _refuse_entities(path: str) -> None:
    """Refuse XML that declares words of its own; calamine knows none, but others that open the file may."""
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        for part in archive.namelist():
            if part.endswith((".xml", ".rels")):
                with archive.open(part) as file:
                    start = file.read(2**16)
                if b"<!DOCTYPE" in start or b"<!ENTITY" in start:
                    raise _RefusedError(f"declares entities of XML in {part[:65]}, which no spreadsheet program writes")


def _find_part(archive: zipfile.ZipFile, sheet: str) -> str | None:
    """Return where the XML of a sheet is in an .xlsx file; None of others."""
    names = set(archive.namelist())
    if not {"xl/workbook.xml", "xl/_rels/workbook.xml.rels"} <= names:
        return None
    for entry in _SHEET.findall(_read(archive, "xl/workbook.xml")):
        if _attribute(entry, "name") == sheet:
            wanted = _attribute(entry, r"\w+:id")
            for relation in _RELATION.findall(_read(archive, "xl/_rels/workbook.xml.rels")):
                if _attribute(relation, "Id") == wanted:
                    target = (_attribute(relation, "Target") or "").lstrip("/")
                    return next((part for part in (target, f"xl/{target}") if part in names), None)
    return None


def _read(archive: zipfile.ZipFile, part: str) -> bytes:
    with archive.open(part) as file:
        return file.read(_MAX_ROW)


def _attribute(entry: bytes, name: str) -> str | None:
    from html import unescape

    match = re.search(rf"""\s{name}=("([^"]*)"|'([^']*)')""", entry.decode(errors="replace"))
    return None if match is None else unescape(match[2] if match[3] is None else match[3])


def _in_rows(file: Any) -> Iterator[bytes]:
    """Yield the XML of a sheet in pieces that end where a row does."""
    rest = b""
    while block := file.read(_CHUNK):
        rest += block
        end = rest.rfind(b"row>") + 4
        if end > 4 or len(rest) > _MAX_ROW:
            yield rest[: end if end > 4 else None]
            rest = rest[end:] if end > 4 else b""
    yield rest


def _note(rows: bytes, found: dict[str, Any]) -> None:
    if b"hidden=" in rows:
        found["n_hidden"] += len(_HIDDEN.findall(rows))
    if b"mergeCell" in rows:
        found["merged"] += [match.decode() for match in _MERGED.findall(rows)][: _MAX_LIST - len(found["merged"])]
    has_errors = b't="e"' in rows or b"t='e'" in rows
    if not has_errors and b"<f" not in rows and b":f" not in rows:
        return
    for match in _CELL.finditer(rows):
        kind, place = _KIND.search(match[1]), _PLACE.search(match[1])
        name = "" if place is None else place[1].decode()
        if kind is not None and kind[1] == b"e" and len(found["errors"]) < _MAX_LIST:
            found["errors"].append(name)
        elif match[2] and (kind is None or kind[1] != b"str") and _NO_VALUE.search(match[2]):
            found["no_value"] = found["no_value"] or [name]


def _limit_memory(n_bytes: int) -> None:
    """Limit the memory of this process, where the system can; what is only reserved does not count."""
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (n_bytes, n_bytes))
    except (ImportError, ValueError, OSError, OverflowError):  # Windows; or a lower limit is set already
        return


if __name__ == "__main__":
    _main(*sys.argv[1:])
