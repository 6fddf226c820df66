"""What databases are asked for, and how PostgreSQL answers: tables, rows as Arrow batches, and to write."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from layerwise.data._polars import columns, pl
from layerwise.urls import Url

if TYPE_CHECKING:
    import pyarrow as pa

# Rows in a batch.
BATCH = 2**16
# Digits of a decimal, at most.
_DIGITS = 38
# Types that are numbers or text to Arrow, and are neither: cents, documents.
_OF_POSTGRES = {"money": "money", "json": "json", "jsonb": "json"}
# Of PostgreSQL and DuckDB.
OF_TYPES = (
    "SELECT column_name::text, data_type::text FROM information_schema.columns WHERE table_schema = {} "
    "AND table_name = {}"
)


class Table(NamedTuple):
    """The schema and the name of a table, and whether it is found without its schema."""

    schema: str
    name: str
    is_visible: bool

    def is_called(self, name: str) -> bool:
        """Whether a name, perhaps after that of a schema and a dot, is its own."""
        return (self.is_visible and name == self.name) or name == f"{self.schema}.{self.name}"

    @property
    def quoted(self) -> str:
        """In a statement."""
        return f"{quote_name(self.schema)}.{quote_name(self.name)}"

    @property
    def texts(self) -> list[str]:
        """Schema and name, as texts in a statement."""
        return ["'" + text.replace("'", "''") + "'" for text in (self.schema, self.name)]


def quote_name(name: str) -> str:
    """Return a name as SQL takes any."""
    return '"' + name.replace('"', '""') + '"'


def package(name: str) -> Any:
    """Import a package; an ImportError names the extra it comes with."""
    try:
        return import_module(name)
    except ImportError as error:
        raise ImportError(
            f"databases need {name.partition('.')[0].replace('_', '-')}, which is not installed: "
            f"pip install 'layerwise[databases]'"
        ) from error


def refused(kind: str, n_rows: int) -> Any:
    """Return a column of a type that nothing can be learned from; messages call it that."""
    arrow = package("pyarrow")
    return arrow.StructArray.from_arrays([arrow.nulls(n_rows, arrow.string())], [kind])


class Driver:
    """A connection to a database, that reads or writes in one transaction.

    Attributes
    ----------
    errors : tuple of exception classes
        What it raises where the database refuses something.
    """

    errors: tuple[type[Exception], ...]
    of_tables: ClassVar[str]
    of_key: ClassVar[str]
    of_types: ClassVar[str]

    def __init__(self, url: Url, *, writes: bool = False):
        raise NotImplementedError

    def close(self) -> None:
        """Give it back; what has not been committed is undone."""
        raise NotImplementedError

    def list_tables(self) -> list[Table]:
        """Return the tables and views there are."""
        return [Table(schema, name, bool(visible)) for schema, name, visible in self.ask(self.of_tables)]

    def find_table(self, name: str) -> Table | None:
        """Return the table of a name, or of a schema and a name with a dot between them, where there is one."""
        return next((table for table in self.list_tables() if table.is_called(name)), None)

    def list_key(self, table: Table) -> list[str]:
        """Return the columns of the primary key of a table; none without."""
        return [name for (name,) in self.ask(self.of_key.format(*table.texts))]

    def list_types(self, table: Table) -> dict[str, str]:
        """Return the columns of a table, and their types as it declares them."""
        return dict(self.ask(self.of_types.format(*table.texts)))

    def ask(self, statement: str) -> list[tuple[Any, ...]]:
        """Run a statement, and return what it answers."""
        raise NotImplementedError

    def list_columns(self, query: str) -> list[str]:
        """Return the names of the columns of a query, without running it."""
        raise NotImplementedError

    def settle_order(self, *, of_table: bool) -> None:
        """Let rows of a table, or a query, without order come in the same one as long as nothing is changed."""

    def stream(self, query: str) -> Iterator[pa.RecordBatch]:
        """Run a query, and yield its rows."""
        raise NotImplementedError

    def convert(self, batch: Any) -> list[Any]:
        """Return the columns of a batch as types that files have too."""
        return [self._convert(field, column) for field, column in zip(batch.schema, batch.columns, strict=True)]

    def _convert(self, field: Any, column: Any) -> Any:
        types = package("pyarrow").types
        if types.is_interval(field.type) or types.is_binary(field.type) or types.is_large_binary(field.type):
            return refused("binary" if not types.is_interval(field.type) else "interval", len(column))
        return refused(str(field.type)[:63], len(column)) if types.is_nested(field.type) else column

    def restore(self, table: pl.LazyFrame, schema: Any) -> pl.LazyFrame:
        """Return columns of which more is known than Arrow tells."""
        return table

    def insert(self, table: str, frame: pl.DataFrame) -> None:
        """Add rows to a table, whose name is quoted, by the names of its columns."""
        raise NotImplementedError

    def commit(self) -> None:
        """Make what was written last."""
        raise NotImplementedError


class Postgres(Driver):
    """PostgreSQL, through ADBC."""

    of_tables = (
        "SELECT n.nspname::text, c.relname::text, pg_table_is_visible(c.oid) FROM pg_class c JOIN pg_namespace n "
        "ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'v', 'm', 'f', 'p') AND n.nspname <> 'information_schema' "
        "AND n.nspname !~ '^pg_' ORDER BY 1, 2"
    )
    of_key = (
        "SELECT a.attname::text FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n "
        "ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey) "
        "WHERE i.indisprimary AND n.nspname = {} AND c.relname = {} ORDER BY array_position(i.indkey::int2[], a.attnum)"
    )

    of_types = OF_TYPES

    def __init__(self, url: Url, *, writes: bool = False):
        dbapi = package("adbc_driver_postgresql.dbapi")
        self.errors = (dbapi.Error,)
        address = url.expanded
        if "connect_timeout" not in address:
            address += f"{'&' if '?' in address else '?'}connect_timeout=20"
        self._connection = dbapi.connect(address)
        self._cursor = self._connection.cursor()
        if not writes:
            self._cursor.execute("SET TRANSACTION READ ONLY")

    def close(self) -> None:
        """Roll back, and close."""
        with contextlib.suppress(*self.errors):
            self._cursor.close()
        with contextlib.suppress(*self.errors):
            self._connection.close()

    def ask(self, statement: str) -> list[tuple[Any, ...]]:
        """Run a statement."""
        self._cursor.execute(statement)
        return self._cursor.fetchall() if self._cursor.description else []

    def list_columns(self, query: str) -> list[str]:
        """Prepare it."""
        return self._cursor.adbc_execute_schema(query).names

    def settle_order(self, *, of_table: bool) -> None:
        """Begin scans at the beginning, by one process."""
        self._cursor.execute("SET LOCAL synchronize_seqscans = off")
        self._cursor.execute("SET LOCAL max_parallel_workers_per_gather = 0")

    def stream(self, query: str) -> Iterator[pa.RecordBatch]:
        """Copy the rows out."""
        self._cursor.execute(query)
        yield from self._cursor.fetch_record_batch()

    def _convert(self, field: Any, column: Any) -> Any:
        arrow = package("pyarrow")
        of_postgres = _type_name(field)
        if of_postgres in _OF_POSTGRES:
            return refused(_OF_POSTGRES[of_postgres], len(column))
        if of_postgres == "uuid":
            return arrow.array([None if value is None else str(value) for value in column.to_pylist()], arrow.string())
        if isinstance(column, arrow.ExtensionArray):
            column = column.storage
            if not arrow.types.is_string(column.type):
                return refused(of_postgres, len(column))
        return super()._convert(field, column)

    def restore(self, table: pl.LazyFrame, schema: Any) -> pl.LazyFrame:
        """Make numbers of numeric, which comes as text, and categories of enums."""
        enums = {name for (name,) in self.ask("SELECT typname::text FROM pg_type WHERE typtype = 'e'")}
        changed = []
        for field in schema:
            kind, value = _type_name(field), columns(field.name)
            if kind == "numeric":
                dtype = _choose_number(field, table)
                changed.append(value.cast(dtype, strict=dtype == pl.Float64))  # a decimal cannot be NaN
            elif kind in enums:
                changed.append(value.cast(pl.Categorical))
        return table.with_columns(changed)

    def insert(self, table: str, frame: pl.DataFrame) -> None:
        """Copy the rows into a table of this connection, and from there, where the server fits the types."""
        names = ", ".join(map(quote_name, frame.columns))
        rows = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
        self._cursor.adbc_ingest("layerwise_rows", rows, mode="create_append", temporary=True)
        self._cursor.execute(f"INSERT INTO {table} ({names}) SELECT {names} FROM layerwise_rows")
        self._cursor.execute("TRUNCATE layerwise_rows")

    def commit(self) -> None:
        """Without the table of this connection."""
        self._cursor.execute("DROP TABLE IF EXISTS layerwise_rows")
        self._connection.commit()


def _type_name(field: Any) -> str:
    return (field.metadata or {}).get(b"POSTGRESQL:type", b"").decode()


def _choose_number(field: Any, table: pl.LazyFrame) -> Any:
    """Return the type of a column of numeric: as declared, and if that is any, by the values."""
    declared = int((field.metadata or {}).get(b"POSTGRESQL:typmod", b"-1")) - 4
    precision, scale = declared >> 16, declared & 0x7FF
    if declared >= 0:
        return pl.Decimal(precision, scale) if scale <= precision <= _DIGITS else pl.Float64
    text = columns(field.name)
    is_odd = text.str.contains("[.NI]").any() | (text.str.len_chars().max() >= _DIGITS)
    return pl.Float64 if table.select(is_odd).collect().item() else pl.Decimal(_DIGITS, 0)
