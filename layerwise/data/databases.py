"""Databases as tables: a query, or a table in them, whose rows are streamed into a file of their own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from layerwise import distributed
from layerwise.atomic import naming
from layerwise.data._polars import check_names, list_names, pl
from layerwise.data.database_drivers import Driver, Postgres, Table, package, quote_name
from layerwise.data.database_files import DuckDB, SQLite
from layerwise.data.parts import Keep, Part
from layerwise.errors import FileError
from layerwise.section import Section
from layerwise.urls import HIDDEN, Url

_DRIVERS: dict[str, type[Driver]] = {"PostgreSQL": Postgres, "SQLite": SQLite, "DuckDB": DuckDB}
# What a query may end with, and what of it is no statement.
_END = re.compile(r"[\s;]*\Z")
_NO_CODE = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|--[^\n]*|/\*.*?\*/", re.DOTALL)
_INNER = re.compile(r"\([^()]*\)")
# What a database says where it is not there, or not any more, and not that a statement is wrong.
_GONE = re.compile(
    r"terminating connection|server closed|no connection|connection (?:was|is|not|lost|reset|to)|"
    r"could not (?:receive|send)|SSL|broken pipe",
    re.IGNORECASE,
)
# The same in a code of SQL: of connections, of a server that ends.
_GONE_STATES = ("08", "57P")
_READ_ONLY = re.compile(r"read-only|readonly|read only", re.IGNORECASE)


class _Broken(Exception):
    """Rows that Arrow did not get to the end."""


@contextmanager
def connected(url: Url, *, writes: bool = False, query: str | None = None) -> Iterator[Driver]:
    """Give a connection, within one transaction; what a database refuses is one sentence without its password.

    Parameters
    ----------
    url : Url
    writes : bool, default=False
        Whether it may write.
    query : str or None, default=None
        The user's, to name in messages.

    Raises
    ------
    ConnectionError
        If there is no such database, it lets nobody in, or it went away.
    FileError
        If it refuses a statement.
    """
    kind = url.database
    driver: Driver | None = None
    try:
        driver = _DRIVERS[kind](url, writes=writes)
        yield driver
    except Exception as error:
        known = getattr(driver or _DRIVERS[kind], "errors", ()) or _errors_of(kind)
        if not isinstance(error, (*known, _Broken)):
            raise
        told = _explain(url, error, query, began=driver is not None, writes=writes)
        raise told from None  # the database's own words may tell the password
    finally:
        if driver is not None:
            driver.close()


def _errors_of(kind: str) -> tuple[type[Exception], ...]:
    """Return what a driver raises that could not be made."""
    name = {"PostgreSQL": "adbc_driver_postgresql.dbapi", "DuckDB": "duckdb"}[kind]
    return (package(name).Error,)


def _explain(url: Url, error: Exception, query: str | None, *, began: bool, writes: bool) -> Exception:
    """Return what to say of an error, in one sentence."""
    said = re.sub(r"^[A-Z_]+: (?:\[libpq\] )?", "", str(error)).split("\nQuery was:")[0].split("\nLINE ")[0]
    said = url.scrub(" ".join(said.split()))[:300].rstrip(" .;")
    if not began:
        hint = ""
        if "password" in said:
            hidden = " its password, which is not written down, is to be given again:" if HIDDEN in url else ""
            hint = f";{hidden} set PGPASSWORD, write ~/.pgpass, or name an environment variable in the address"
        return ConnectionError(f"{url} cannot be opened ({said}){hint}")
    said = re.sub(r"^.*?(?:ERROR|FATAL): +", "", said)
    nothing = "; nothing was written" if writes else ""
    state = getattr(error, "sqlstate", None)
    if url.file is None and (state.startswith(_GONE_STATES) if state else _GONE.search(said)):
        return ConnectionError(f"{url}: the connection was lost ({said}){nothing}; run the same command again")
    if _READ_ONLY.search(said) and not writes:
        return FileError(
            f"query={query!r:.200} writes, but {url} is only read ({said}); give a query that selects rows"
        )
    asked = f"query={query!r:.200}" if query is not None else "what was asked"
    return FileError(f"{url}: {asked} is refused by the database ({said}){nothing}")


def open_database(url: Url, section: Section) -> Part:
    """Look at the columns of a query or a table; the rows are read when asked for.

    Parameters
    ----------
    url : Url
    section : Section
        Its ``query`` or its ``table``.

    Returns
    -------
    part : Part
    """
    if (section.query is None) == (section.table is None):
        which = "both" if section.query is not None else "neither"
        raise ValueError(f"{url} needs a query or a table, but {which} is given; give --query or --table")
    package("pyarrow")
    with connected(url, query=section.query) as driver:
        if section.table is not None:
            table = _find_table(url, driver, section.table)
            key = driver.list_key(table)
            order = f" ORDER BY {', '.join(map(quote_name, key))}" if key else ""
            query, is_ordered = f"SELECT * FROM {table.quoted}{order}", bool(key)
        else:
            assert section.query is not None
            query = _END.sub("", section.query)
            is_ordered = has_order(query)
        names = driver.list_columns(query)
    if not names:
        raise FileError(f"query={section.query!r:.200} gives no rows of {url}; give a query that selects rows")
    check_names(f"what is read from {url}", names)
    origin = {"read_at": datetime.now(UTC).isoformat(timespec="seconds")}
    if not is_ordered:
        what = "the query has no ORDER BY" if section.table is None else "the table has no primary key"
        origin["row_order"] = f"none ({what})"
        if distributed.world_size() > 1:
            raise ValueError(
                f"{url}: several processes share rows by their order, but {what}; give a query with ORDER BY"
            )
    kept: list[tuple[pl.LazyFrame, Keep]] = []  # files go with what keeps them

    def scan(keep: Keep) -> pl.LazyFrame:
        if kept:  # in whatever order a second query would give them
            return kept[0][0]
        with connected(url, query=section.query) as driver:
            if not is_ordered:
                driver.settle_order(of_table=section.table is not None)
            kept.append((_read(url, driver, query, names, keep), keep))
        return kept[0][0]

    return Part(url, names, scan, takes=("query", "table"), origin=origin)


def _find_table(url: Url, driver: Driver, name: str) -> Table:
    """Return the table of a name; refuse one that is not there."""
    found = driver.find_table(name)
    if found is not None:
        return found
    tables = driver.list_tables()
    there = list_names([table.name if table.is_visible else f"{table.schema}.{table.name}" for table in tables])
    raise FileError(f"table={name!r:.80} is not in {url}, which has {there or 'no tables'}")


def has_order(query: str) -> bool:
    """Whether a query puts its rows in order: says ORDER BY outside of parentheses.

    Examples
    --------
    >>> has_order("select x from t order by x"), has_order("select * from (select x from t order by x) -- order by")
    (True, False)
    """
    query, inner = _NO_CODE.sub(" ", query), ""
    while query != inner:
        query, inner = _INNER.sub(" ", query), query
    return re.search(r"\border\s+by\b", query, re.IGNORECASE) is not None


def _stream(driver: Driver, query: str) -> Iterator[Any]:
    try:
        yield from driver.stream(query)
    except (OSError, package("pyarrow").ArrowException) as error:
        raise _Broken(str(error)) from None


def _read(url: Url, driver: Driver, query: str, names: list[str], keep: Keep) -> pl.LazyFrame:
    """Stream the rows into a file, or into memory where there is none for them."""
    arrow, path = package("pyarrow"), keep.new_file()
    batches = _stream(driver, query)
    first = next(batches, None)
    if first is None:
        raise FileError(f"{url} holds a table without rows")
    if first.schema.names != names:
        raise FileError(f"the columns of {url} were changed while they were read; run the same command again")
    described = first.schema
    made = arrow.RecordBatch.from_arrays(driver.convert(first), names)
    if path is None:
        rest = [arrow.RecordBatch.from_arrays(driver.convert(batch), names) for batch in batches]
        table = pl.DataFrame(pl.from_arrow(arrow.Table.from_batches([made, *rest]))).lazy()
    else:
        # Parquet, as an Arrow file would be mapped as a whole; plain, as it is read twice.
        parquet, plain = package("pyarrow.parquet"), {"compression": "lz4", "use_dictionary": False}
        with naming(path, reads=True), parquet.ParquetWriter(str(path), made.schema, **plain) as file:
            file.write_batch(made)
            for batch in batches:
                file.write_batch(arrow.RecordBatch.from_arrays(driver.convert(batch), names))
        table = pl.scan_parquet(path, glob=False)
    return driver.restore(table, described)
