"""Files of tables by how their names end: what opens each, and what it is called."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from layerwise.data._polars import count_rows, pl, reading
from layerwise.data.arff import ARFF_ENDING, scan_arff
from layerwise.data.csv_tables import CSV_ENDINGS, open_csv
from layerwise.data.parts import Part
from layerwise.data.statistics_packages import STATISTICS_ENDINGS, open_statistics
from layerwise.data.workbooks import WORKBOOK_ENDINGS, open_workbook
from layerwise.errors import FileError
from layerwise.limits import DEFLATE_LIMIT, check_room
from layerwise.section import Section
from layerwise.urls import Place, Url


def _read_json(path: Path) -> pl.LazyFrame:
    """Return the objects of a list as rows; the types are those of all of them."""
    with path.open("rb") as file:
        start = file.read(2**12).lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    if start != b"[":
        raise FileError(
            f"{path} is no list of objects, [{{...}}, {{...}}], which is what is read of JSON; write a list of its "
            f"rows, or name it .jsonl if each line is an object"
        )
    return pl.read_json(path, infer_schema_length=None).lazy()


# Files whose columns have types, and that polars scans: what they are called, and how.
_Scanned: TypeAlias = tuple[str, Callable[[Path], "pl.LazyFrame"]]
_PARQUET: _Scanned = ("Parquet", lambda path: pl.scan_parquet(path, glob=False, hive_partitioning=False))
_IPC: _Scanned = ("Feather or Arrow IPC", lambda path: pl.scan_ipc(path, glob=False, hive_partitioning=False))
_JSON_LINES: _Scanned = (  # the types are those of all rows
    "JSON lines, one object a line with values of the same type",
    lambda path: pl.scan_ndjson(path.absolute(), infer_schema_length=None),
)
_SCANNED: dict[str, _Scanned] = {
    ".json": ("JSON, a list of objects", _read_json),
    ".parquet": _PARQUET,
    **dict.fromkeys((".feather", ".arrow", ".ipc"), _IPC),
    ARFF_ENDING: ("ARFF", scan_arff),
    **dict.fromkeys((".jsonl", ".ndjson"), _JSON_LINES),
}
# Others, which take a part of a `Section`.
_OPENED: dict[str, Callable[[Path, Section], Part]] = {
    **dict.fromkeys(WORKBOOK_ENDINGS, open_workbook),
    **dict.fromkeys(STATISTICS_ENDINGS, open_statistics),
}
TABLE_ENDINGS = (*CSV_ENDINGS, *_SCANNED, *_OPENED)


def is_named_table(path: Path) -> bool:
    """Whether a file is a table, by how its name ends."""
    return path.name.lower().endswith(TABLE_ENDINGS)


def open_table(path: Place, section: Section) -> Part:
    """Read the names of the columns of one file, or of a query."""
    if isinstance(path, Url):
        from layerwise.data.databases import open_database  # whose packages are asked for where there is one

        return open_database(path, section)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there, or is not a file")
    ending = path.suffix.lower()
    if ending in _OPENED:
        return _OPENED[ending](path, section)
    return _open_scanned(path, *_SCANNED[ending]) if ending in _SCANNED else open_csv(path)


def _open_scanned(path: Path, kind: str, scan: Callable[[Path], pl.LazyFrame]) -> Part:
    with reading(path, kind):
        table = scan(path)
        names = table.collect_schema().names()
        if not names:
            raise FileError(f"{path} holds a table without rows")
        n_bytes = 8 * count_rows(path, table) * len(names)
        if n_bytes > DEFLATE_LIMIT * path.stat().st_size:  # values that repeat take no room in a file
            check_room(path, n_bytes)
    return Part(path, names, lambda keep: table)
