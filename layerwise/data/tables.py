"""Tables: files of named columns, read lazily through polars, and their columns as arrays."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from decimal import Decimal
from numbers import Real
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from layerwise.data._polars import check_names, columns, import_polars, match_names, reading
from layerwise.data.column_types import FLAGS, MARKERS
from layerwise.data.csv_tables import EXACT, read_header, scan_csv
from layerwise.data.naming import advise_to_ignore
from layerwise.data.profiles import as_number, describe_misfit, has_commas
from layerwise.errors import FileError
from layerwise.limits import DEFLATE_LIMIT, check_room

if TYPE_CHECKING:
    import polars as pl

_CSV = (".csv", ".tsv", ".csv.gz", ".tsv.gz")
TABLE_ENDINGS = (*_CSV, ".parquet", ".feather", ".arrow", ".ipc")
# What a column of objects may hold to be one of numbers.
_NUMBERS = (Real, Decimal, np.bool_, type(None))
# Values in a batch of rows.
_BATCH = 2**22


def is_csv(path: Path) -> bool:
    """Whether the name of a file ends like that of text with separators."""
    return path.name.lower().endswith(_CSV)


def is_table(path: str | PathLike[str]) -> bool:
    """Whether the name of a file ends like that of a table."""
    return Path(path).name.lower().endswith(TABLE_ENDINGS)


def scan_table(
    path: str | PathLike[str], *, text: Collection[str] = (), missing: Collection[Any] = (), as_written: bool = False
) -> pl.LazyFrame:
    r"""Open a table without reading it into memory.

    Parameters
    ----------
    path : str or path-like
        A CSV or TSV file in UTF-8, compressed with gzip or not, whose first line names the columns; or a Parquet,
        Feather or Arrow IPC file. The separator of a ``.csv`` is that of ``, ; |`` and tabulator which is most
        frequent in its first line. In CSV, a column is numbers, or true and false, if all its values are; blanks
        around values do not count; an empty value is missing, and among numbers ``NA``, ``NaN``, ``null``, ``?``,
        ``.``, ``-`` and the like are. Between ``;``, and tabulators, numbers may have decimal commas (1,234 between
        tabulators may be a thousand, and is left as text); where they have, numbers with thousands dots (5.620 beside
        12) are refused. A first column may be without a name, such as pandas writes for its index.
    text : collection of str, default=()
        Columns of CSV to leave as text even if they hold numbers. Other names do no harm.
    missing : collection of str, int or float, default=()
        Values that stand for nothing, in all columns.
    as_written : bool, default=False
        Leave true and false in CSV as text.

    Returns
    -------
    table : polars.LazyFrame
        With at least one row. The columns of CSV are of float64, boolean or text.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    FileError
        If it cannot be read, has no rows, is not regular (two columns of one name, rows of different lengths), or
        expands to more than ``LAYERWISE_MAX_BYTES``.
    ImportError
        If polars is not installed.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "people.csv"
    >>> _ = path.write_text("age,town\n31,Bern\n?,Basel\n")
    >>> scan_table(path).collect().rows()
    [(31.0, 'Bern'), (None, 'Basel')]
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there, or is not a file")
    pl = import_polars()
    if is_csv(path):
        return drop_marks(scan_csv(path, text, missing, as_written=as_written), missing)
    parquet = path.suffix.lower() == ".parquet"
    with reading(path, "Parquet" if parquet else "Feather or Arrow IPC"):
        table = (pl.scan_parquet if parquet else pl.scan_ipc)(path, glob=False, hive_partitioning=False)
        n_columns = len(table.collect_schema())
    n_rows = count_rows(path, table) if n_columns else 0
    if n_rows == 0:
        raise FileError(f"{path} holds a table without rows")
    n_bytes = 8 * n_rows * n_columns
    if n_bytes > DEFLATE_LIMIT * path.stat().st_size:  # values that repeat take no room in a file
        check_room(path, n_bytes)
    return drop_marks(table, missing)


def drop_marks(table: Any, missing: Collection[Any]) -> Any:
    """Return a table without values that stand for nothing, which text may be, or numbers."""
    if not missing:
        return table
    pl = import_polars()
    numbers = [float(value) for value in missing if as_number(value) is not None]
    changed = []
    for name, dtype in table.collect_schema().items():
        value = columns(name)
        if dtype.is_numeric() and numbers:
            changed.append(pl.when(value.cast(pl.Float64).is_in(numbers)).then(None).otherwise(value).alias(name))
        elif dtype in (pl.String, pl.Categorical, pl.Enum):
            odd = value.cast(pl.String).str.strip_chars().is_in(list(map(str, missing)))
            changed.append(pl.when(odd).then(None).otherwise(value).alias(name))
    return table.with_columns(changed)


def column_names(path: Path) -> list[str]:
    """Return the names of the columns of a table, without a look at its rows."""
    if is_csv(path):
        return read_header(path)[0]
    return scan_table(path).collect_schema().names()


def find_separator(path: Path) -> str:
    """Return what separates the values of a CSV file, and would those of another table."""
    return read_header(path)[1] if is_csv(path) and path.is_file() else ","


def count_rows(path: Path, table: pl.LazyFrame) -> int:
    """Return how many rows a table has that was read from ``path``."""
    with reading(path):
        return table.select(import_polars().len()).collect(engine="streaming").item()


def without_rows(table: pl.LazyFrame) -> pl.DataFrame:
    """Return the columns of a table, and none of its rows."""
    return import_polars().DataFrame(schema=table.collect_schema())


def batches(path: Path, table: pl.LazyFrame, n_rows: int) -> Iterator[pl.DataFrame]:
    """Yield the ``n_rows`` rows of a table that was read from ``path`` in order, a few million values at a time."""
    size = max(1, _BATCH // max(1, len(table.collect_schema())))
    found = 0
    with reading(path):
        for batch in table.collect_batches(chunk_size=size, maintain_order=True):
            found += len(batch)
            if found > n_rows:
                break
            yield batch
    if found != n_rows:  # a thread of polars that breaks down on damaged bytes ends the batches without a word
        raise FileError(f"{path} is damaged: its {n_rows} rows cannot all be read")


def to_frame(X: Any) -> pl.DataFrame:
    """Return a polars or pandas data frame as one of polars, with names that are text.

    Raises
    ------
    TypeError
        If it is no data frame.
    ValueError
        If a column mixes types, or two have the same name.
    """
    pl = import_polars()
    if isinstance(X, pl.LazyFrame):
        return X.collect()
    if isinstance(X, pl.DataFrame):
        return X
    if not (hasattr(X, "columns") and hasattr(X, "items") and hasattr(X, "dtypes")):
        raise TypeError(f"X is a {type(X).__name__}, but a data frame of polars or pandas is needed")
    names = [str(name) for name in X.columns]
    check_names("X", names)
    # Column by column: polars itself would need pyarrow for this.
    return pl.DataFrame({name: _from_pandas(name, X.iloc[:, place]) for place, name in enumerate(names)})


def _from_pandas(name: str, column: Any) -> pl.Series:
    pl = import_polars()
    missing = column.isna().to_numpy(dtype=bool)
    categories = hasattr(column.dtype, "categories")
    if getattr(column.dtype, "kind", "O") in "iufb" and not categories:
        return pl.Series(name, column.to_numpy(dtype=np.float64, na_value=np.nan))
    values = [None if gap else value for value, gap in zip(column.tolist(), missing, strict=True)]
    if categories or hasattr(column.dtype, "closed"):  # intervals, as pandas.cut makes them
        return pl.Series(name, [None if value is None else str(value) for value in values], dtype=pl.Categorical)
    if any(value is not None for value in values) and all(isinstance(value, _NUMBERS) for value in values):
        return pl.Series(name, [None if value is None else float(value) for value in values], dtype=pl.Float64)
    try:
        return pl.Series(name, values)
    except (TypeError, pl.exceptions.PolarsError) as error:
        kinds = sorted({type(value).__name__ for value in values if value is not None})
        raise ValueError(f"column {name!r} mixes values of types {', '.join(kinds)}; make them one type") from error


def label_values(column: pl.Series) -> np.ndarray:
    """Return a column of labels as an array of numbers or text.

    Parameters
    ----------
    column : polars.Series of n_samples values

    Returns
    -------
    y : ndarray of shape (n_samples,)
        Numbers as float64 with NaN for what is missing, but whole ones as integers where none is missing; text, true
        and false beside gaps, and whole numbers beyond 2**53 beside gaps as objects, with None for what is missing.

    Raises
    ------
    ValueError
        If it holds neither numbers nor text, or nothing, or text that looks like numbers with commas.
    """
    pl = import_polars()
    if column.null_count() == len(column):
        raise ValueError(f"column {column.name!r} holds no label at all")
    column = _as_integers(column)
    if column.dtype == pl.Boolean:
        return np.array(column.to_list(), dtype=object if column.null_count() else bool)
    if column.dtype.is_numeric():
        whole = column.dtype.is_integer()
        if whole and not column.null_count():
            return column.to_numpy()
        if whole and max(abs(int(value)) for value in (column.min(), column.max())) >= EXACT:  # type: ignore[arg-type]
            return np.array(column.to_list(), dtype=object)
        column = column.cast(pl.Float64)
        small = column.drop_nulls().drop_nans()
        exact = len(small) == len(column) and small.is_between(-EXACT, EXACT, closed="none").all()
        if exact and (small == small.cast(pl.Int64)).all():
            return column.cast(pl.Int64).to_numpy()
        return column.to_numpy()
    if column.dtype not in (pl.String, pl.Categorical, pl.Enum):
        raise ValueError(f"column {column.name!r} holds values of type {column.dtype}, but labels are numbers or text")
    labels = column.cast(pl.String)
    values = labels.drop_nulls().unique().to_list()
    if has_commas(values):
        like = describe_misfit(values, None)
        raise ValueError(f"column {column.name!r:.65} looks like {like}, or {advise_to_ignore([column.name])}")
    return np.array(labels.to_list(), dtype=object)


def _as_integers(column: pl.Series) -> pl.Series:
    """Return a column of decimals that are whole numbers of 64 bits as those; others as they are."""
    pl = import_polars()
    if column.dtype != pl.Decimal:
        return column
    text = column.cast(pl.String).str.replace(r"\.0*$", "")
    whole = [text.cast(dtype, strict=False) for dtype in (pl.Int64, pl.UInt64)]
    return next((found for found in whole if found.null_count() == column.null_count()), column)


def read_labels(path: Path, table: pl.LazyFrame, name: str) -> np.ndarray:
    """Return a column of labels of a table that was read from ``path``, as `label_values` does.

    Raises
    ------
    FileError
        If it cannot be read, or holds whole numbers too long to be told apart as numbers.
    """
    pl = import_polars()
    with reading(path):
        column = table.select(columns(name)).collect().to_series()
        if column.dtype == pl.String and is_csv(path) and column.drop_nulls().is_in([*FLAGS, *MARKERS]).all():
            column = column.replace_strict(FLAGS, default=None, return_dtype=pl.Boolean)
        if column.dtype == pl.Float64 and is_csv(path) and (column.abs() >= EXACT).any():
            text = match_names(scan_csv(path, [name]), [name]).select(columns(name)).collect().to_series()
            whole = text.filter(text.str.contains(r"^[+-]?\d+$").fill_null(False))
            if whole.n_unique() > whole.cast(pl.Float64).n_unique():
                raise FileError(
                    f"{path} has whole numbers in column {name!r} that take more than 64 bits, such as "
                    f"{whole[0]:.65}, and would run together; put a letter before them, so that they are text"
                )
    return label_values(column)


def identifier_values(column: pl.Series) -> np.ndarray:
    """Return a column of identifiers as an array: whole numbers where that loses nothing, otherwise text.

    Parameters
    ----------
    column : polars.Series of n_samples values

    Returns
    -------
    names : ndarray of shape (n_samples,)
        Numbers, or objects: text, with None for what is missing.
    """
    pl = import_polars()
    column = _as_integers(column)
    if column.dtype.is_numeric() and not column.null_count() and column.dtype != pl.Decimal:
        return column.to_numpy()
    text = column.cast(pl.String)
    numbers = text.cast(pl.Int64, strict=False)
    if not column.null_count() and (numbers.cast(pl.String) == text).fill_null(False).all():
        return numbers.to_numpy()
    return np.array(text.to_list(), dtype=object)
