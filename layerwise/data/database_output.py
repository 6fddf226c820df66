"""Results into a table of a database: all of them, or none."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from layerwise.data._polars import list_names, pl
from layerwise.data.database_drivers import BATCH, Table, quote_name
from layerwise.data.databases import connected
from layerwise.data.outputs import Columns, as_frame
from layerwise.urls import Url

# What values are called in a new table, and which declared types take them.
_KINDS = {"bool": "boolean", "whole": "bigint", "number": "double precision", "text": "text"}
_TAKES = {
    "bool": r"bool",
    "whole": r"int|serial|double|real|float|numeric|decimal",
    "number": r"double|real|float|numeric|decimal",
    "text": r"char|text|clob|string",
}


def check_table(url: Url, name: str, *, overwrite: bool = False, append: bool = False) -> None:
    """Refuse a table that `write_table` could not write, before the work is done.

    Parameters
    ----------
    url : Url
        Of a database; a file of SQLite or DuckDB that is not there will be made.
    name : str
        Of the table, or of its schema and the table, with a dot between them.
    overwrite : bool, default=False
        Whether it may replace a table that is there.
    append : bool, default=False
        Whether the rows are added to one that is there.

    Raises
    ------
    FileExistsError
        If the table is there, and must not be touched.
    ValueError
        If it is not there, and rows are to be added to it.
    """
    if overwrite and append:
        raise ValueError("overwrite and append exclude each other; replace the table, or add rows to it")
    if url.file is not None and not url.file.exists():
        found = None
    else:
        with connected(url) as driver:
            found = driver.find_table(name)
    _check(url, name, found, overwrite=overwrite, append=append)


def write_table(
    url: Url, name: str, columns: Columns, *, ids: Columns | None = None, overwrite: bool = False, append: bool = False
) -> int:
    """Write columns to a table of a database, in one transaction: all rows are there in the end, or none.

    Parameters
    ----------
    url, name, overwrite, append
        As for `check_table`.
    columns, ids : mapping of str to array-like
        As for `layerwise.data.outputs.write_columns`.

    Returns
    -------
    n_rows : int
    """
    frame = as_frame(columns, ids or {})
    frame = frame.with_columns(
        pl.selectors.float().cast(pl.Float64),
        pl.selectors.integer().cast(pl.Int64),
        pl.selectors.by_dtype(pl.Null).cast(pl.String),
    )
    with _undoing(url), connected(url, writes=True) as driver:
        table = driver.find_table(name)
        _check(url, name, table, overwrite=overwrite, append=append)
        if append and table is not None:
            _check_fit(url, name, frame, driver.list_types(table))
        else:
            if table is not None:
                driver.ask(f"DROP TABLE {table.quoted}")
            declared = ", ".join(f"{quote_name(column)} {_KINDS[_kind(frame[column])]}" for column in frame.columns)
            driver.ask(f"CREATE TABLE {_quote(name)} ({declared})")
        for part in frame.iter_slices(BATCH):
            driver.insert(_quote(name) if table is None else table.quoted, part)
        driver.commit()
    return len(frame)


@contextmanager
def _undoing(url: Url) -> Iterator[None]:
    """Remove the file of a database that the block has made, and not filled."""
    file = url.file
    made = file is not None and not file.exists()
    try:
        yield
    except BaseException:
        if made and file is not None:
            file.unlink(missing_ok=True)
        raise


def _quote(name: str) -> str:
    """Return the name of a new table, perhaps after that of a schema, as SQL takes it."""
    return ".".join(map(quote_name, name.split(".", 1)))


def _check(url: Url, name: str, found: Table | None, *, overwrite: bool, append: bool) -> None:
    if found is None and append:
        raise ValueError(
            f"append=True adds rows to a table, but {url} has no table {name!r:.80}; leave it out to make one"
        )
    if found is not None and not (overwrite or append):
        raise FileExistsError(
            f"table {name!r:.80} of {url} exists; choose another name, replace it with overwrite=True (--overwrite at "
            f"the command line), or add rows with append=True (--append)"
        )


def _check_fit(url: Url, name: str, frame: pl.DataFrame, there: dict[str, str]) -> None:
    """Refuse columns that a table has not, or has with another type."""
    for column in frame.columns:
        if column not in there:
            raise ValueError(
                f"table {name!r:.80} of {url} has no column {column!r:.65}, but {list_names(list(there))}; add rows "
                f"to a table with the same columns"
            )
        kind, declared = _kind(frame[column]), there[column]
        if declared and not re.search(_TAKES[kind], declared, re.IGNORECASE):
            raise ValueError(
                f"table {name!r:.80} of {url} declares column {column!r:.65} as {declared}, but what is added is "
                f"{_KINDS[kind]}; give a table with the same types"
            )


def _kind(column: pl.Series) -> str:
    if column.dtype == pl.Boolean:
        return "bool"
    return "whole" if column.dtype.is_integer() else "number" if column.dtype.is_float() else "text"
