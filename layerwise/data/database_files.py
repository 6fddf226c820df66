"""Databases that are files: SQLite, DuckDB."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from layerwise.data._polars import pl
from layerwise.data.database_drivers import BATCH, OF_TYPES, Driver, package, quote_name, refused
from layerwise.urls import Url

if TYPE_CHECKING:
    import pyarrow as pa

# Columns that SQLite tells the types of at once.
_AT_ONCE = 200
# The types of values in a column of SQLite are a sum of these.
_WHOLE, _REAL, _TEXT, _BLOB = 1, 2, 4, 8
_TYPES = (
    "sum(DISTINCT CASE typeof({0}) WHEN 'integer' THEN 1 WHEN 'real' THEN 2 WHEN 'text' THEN 4 WHEN 'blob' THEN 8 END)"
)
# Which values a declared type does not fit.
_ODD: dict[str | None, str] = {
    "bool": "max({0} NOT IN (0, 1))",
    "date": "max({0} NOT GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]')",
    "time": "max({0} IS NOT NULL AND (julianday({0}) IS NULL OR {0} NOT GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-*'))",
}
_DECLARED = {"BOOLEAN": "bool", "BOOL": "bool", "DATE": "date", "DATETIME": "time", "TIMESTAMP": "time"}


def _find_file(url: Url, *, writes: bool) -> Path:
    """Return the file of a database, which is there if it is to be read."""
    path = url.file
    assert path is not None
    if not (writes or path.is_file()):
        root = Path("/", path)
        slashes = f"; {root} is, which has four slashes: {url.replace(':///', ':////', 1)}" if root.is_file() else ""
        raise FileNotFoundError(f"{url}: {path} is not there, or is not a file{slashes}")
    return path


class SQLite(Driver):
    """SQLite, by Python's own module: a column may hold values of any type there, whatever it says."""

    errors = (sqlite3.Error, sqlite3.Warning)
    of_tables = "SELECT 'main', name, 1 FROM sqlite_master WHERE type IN ('table', 'view') ORDER BY 2"
    of_key = "SELECT name FROM pragma_table_info({1}) WHERE pk > 0 AND {0} = 'main' ORDER BY pk"
    of_types = "SELECT name, type FROM pragma_table_info({1}) WHERE {0} = 'main'"

    def __init__(self, url: Url, *, writes: bool = False):
        path = quote(str(_find_file(url, writes=writes).absolute()))
        address = f"file:{path}?mode={'rwc' if writes else 'ro'}"
        self._connection = sqlite3.connect(address, uri=True, isolation_level=None)
        try:
            self._connection.execute("BEGIN")
            self._connection.execute("SELECT count(*) FROM sqlite_master")  # which a file of another kind refuses
        except sqlite3.Error:
            self._connection.close()
            raise

    def close(self) -> None:
        """Roll back, and close."""
        self._connection.close()

    def ask(self, statement: str) -> list[tuple[Any, ...]]:
        """Run a statement."""
        return self._connection.execute(statement).fetchall()

    def list_columns(self, query: str) -> list[str]:
        """Make a view of it."""
        return [name for name, _ in self._look_at(query)]

    def _look_at(self, query: str) -> list[tuple[str, str]]:
        """Return the names and declared types of the columns of a query, of which there is a view then."""
        self.ask("DROP VIEW IF EXISTS temp.layerwise_rows")
        self.ask(f"CREATE TEMP VIEW layerwise_rows AS {query}")
        return self.ask("SELECT name, type FROM pragma_table_info('layerwise_rows')")

    def _find_types(self, query: str) -> Any:
        """Return what all values are, as an Arrow schema, by a pass of its own."""
        arrow = package("pyarrow")
        plain = {"bool": arrow.bool_(), "date": arrow.date32(), "time": arrow.timestamp("us")}
        info, fields = self._look_at(query), []
        for start in range(0, len(info), _AT_ONCE):
            some = [
                (name, quote_name(name), _DECLARED.get(declared.upper().partition("(")[0].strip()))
                for name, declared in info[start : start + _AT_ONCE]
            ]
            asked = [f"{_TYPES.format(name)}, {_ODD.get(kind, '1').format(name)}" for _, name, kind in some]
            (found,) = self.ask(f"SELECT {', '.join(asked)} FROM layerwise_rows")
            for (name, _, kind), types, odd in zip(some, found[::2], found[1::2], strict=True):
                fits = types == (_WHOLE if kind == "bool" else _TEXT) and odd == 0
                fields.append(arrow.field(name, plain[kind] if kind and fits else _plain_type(types)))
        return arrow.schema(fields)

    def stream(self, query: str) -> Iterator[pa.RecordBatch]:
        """Make Arrow of Python's values."""
        arrow = package("pyarrow")
        schema = self._find_types(query)
        cursor = self._connection.execute(query)
        while rows := cursor.fetchmany(BATCH):
            made = [
                _as_arrow(values, field.type) for values, field in zip(zip(*rows, strict=True), schema, strict=True)
            ]
            yield arrow.record_batch(made, schema=schema)

    def insert(self, table: str, frame: pl.DataFrame) -> None:
        """Add rows."""
        names, marks = ", ".join(map(quote_name, frame.columns)), ", ".join("?" * frame.width)
        self._connection.executemany(f"INSERT INTO {table} ({names}) VALUES ({marks})", frame.rows())

    def commit(self) -> None:
        """End the transaction."""
        self._connection.execute("COMMIT")


def _plain_type(types: int | None) -> Any:
    """Return what holds values of these types of SQLite."""
    arrow = package("pyarrow")
    if types in (None, 0):
        return arrow.null()
    if types in (_WHOLE, _REAL, _TEXT, _WHOLE | _REAL):
        return arrow.int64() if types == _WHOLE else arrow.string() if types == _TEXT else arrow.float64()
    kind = "binary" if types & _BLOB else "numbers and text"
    return refused(kind, 0).type


def _as_arrow(values: Any, kind: Any) -> Any:
    arrow = package("pyarrow")
    if arrow.types.is_struct(kind):
        return refused(kind.field(0).name, len(values))
    if arrow.types.is_boolean(kind):
        values = [None if value is None else bool(value) for value in values]
    elif arrow.types.is_date(kind):
        values = [None if value is None else date.fromisoformat(value) for value in values]
    elif arrow.types.is_timestamp(kind):
        values = [None if value is None else _in_utc(datetime.fromisoformat(value)) for value in values]
    return arrow.array(values, kind)


def _in_utc(moment: datetime) -> datetime:
    return moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)


class DuckDB(Driver):
    """DuckDB."""

    of_tables = (
        "SELECT table_schema, table_name, table_schema = current_schema() FROM information_schema.tables "
        "WHERE table_catalog = current_catalog() ORDER BY 1, 2"
    )
    of_key = (
        "SELECT unnest(constraint_column_names) FROM duckdb_constraints() WHERE constraint_type = 'PRIMARY KEY' "
        "AND schema_name = {} AND table_name = {}"
    )
    of_types = OF_TYPES

    def __init__(self, url: Url, *, writes: bool = False):
        self._duckdb = package("duckdb")
        self.errors = (self._duckdb.Error,)
        self._connection = self._duckdb.connect(str(_find_file(url, writes=writes)), read_only=not writes)
        self._connection.execute("SET TimeZone = 'UTC'")
        self._connection.execute("SET python_enable_replacements = false")  # no table is a variable of ours
        self._connection.begin()

    def close(self) -> None:
        """Roll back, and close."""
        self._connection.close()

    def ask(self, statement: str) -> list[tuple[Any, ...]]:
        """Run a statement."""
        return self._connection.execute(statement).fetchall()

    def _relate(self, query: str) -> Any:
        statements = self._connection.extract_statements(query)
        if [statement.type.name for statement in statements] != ["SELECT"]:
            raise self._duckdb.InvalidInputException("it is not one statement that selects rows")
        return self._connection.sql(query)

    def list_columns(self, query: str) -> list[str]:
        """Bind it."""
        return self._relate(query).columns

    def settle_order(self, *, of_table: bool) -> None:
        """Compute on one thread; those of a table come as they were inserted anyway."""
        if not of_table:
            self._connection.execute("SET threads = 1")

    def stream(self, query: str) -> Iterator[pa.RecordBatch]:
        """Fetch the rows as they are made; text that is a document is marked."""
        arrow, relation = package("pyarrow"), self._relate(query)
        kinds, reader = [str(kind) for kind in relation.types], relation.to_arrow_reader(BATCH)
        marked = [field.with_metadata({"type": kind}) for field, kind in zip(reader.schema, kinds, strict=True)]
        for batch in reader:
            yield arrow.RecordBatch.from_arrays(batch.columns, schema=arrow.schema(marked))

    def _convert(self, field: Any, column: Any) -> Any:
        if (field.metadata or {}).get(b"type") == b"JSON":
            return refused("json", len(column))
        if package("pyarrow").types.is_dictionary(field.type):
            return column.dictionary_decode()
        return super()._convert(field, column)

    def restore(self, table: pl.LazyFrame, schema: Any) -> pl.LazyFrame:
        """Make categories of enums."""
        types = package("pyarrow").types
        enums = [field.name for field in schema if types.is_dictionary(field.type)]
        return table.with_columns(pl.col(name).cast(pl.Categorical) for name in enums)

    def insert(self, table: str, frame: pl.DataFrame) -> None:
        """Add rows."""
        names = ", ".join(map(quote_name, frame.columns))
        self._connection.register("layerwise_rows", frame.to_arrow(compat_level=pl.CompatLevel.oldest()))
        self._connection.execute(f"INSERT INTO {table} ({names}) SELECT {names} FROM layerwise_rows")
        self._connection.unregister("layerwise_rows")

    def commit(self) -> None:
        """End the transaction."""
        self._connection.commit()
