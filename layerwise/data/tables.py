"""Tables: files of named columns, read lazily through polars, and their columns as arrays."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator, Sequence
from decimal import Decimal
from numbers import Real
from os import PathLike
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np

from layerwise.data._polars import check_names, columns, count_rows, match_names, pl, reading
from layerwise.data.column_types import FLAGS, MARKERS, find_marks
from layerwise.data.csv_tables import EXACT, type_columns
from layerwise.data.naming import advise_to_ignore
from layerwise.data.parts import Keep, Where, check_parts, find_parts, name_parts
from layerwise.data.profiles import as_number, describe_misfit, has_commas
from layerwise.data.table_formats import is_named_table, open_table
from layerwise.data.text_arrays import holds_numbers, is_text
from layerwise.data.value_labels import apply_labels
from layerwise.data.workbooks import is_workbook
from layerwise.errors import FileError
from layerwise.section import WHOLE, Section
from layerwise.urls import Place, Url, as_place

# What a column of objects may hold to be one of numbers.
_NUMBERS = (Real, Decimal, np.bool_, type(None))
# What Hive, Spark and Dask write for a value that is missing.
_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
# How names begin that are no parts of a table; ~$ of what Excel leaves there as long as a workbook is open.
_PASSED_OVER = ("_", ".", "~$")
# Where there are no further questions.
_LEAVE = Keep()
# Values in a batch of rows.
_BATCH = 2**22


def is_table(path: str | PathLike[str]) -> bool:
    """Whether a file is a table, by how its name ends; plain text is one if its first line is not numbers."""
    path = as_place(path)
    if isinstance(path, Url):
        return True
    return is_named_table(path) or (is_text(path) and path.is_file() and not holds_numbers(path))


def find_tables(folder: Path) -> dict[Path, dict[str, str | None]]:
    """Return the files of a table in a folder, such as Spark and Dask write, each with the columns that folders name.

    Names that begin with ``_``, ``.`` or ``~$`` (``_SUCCESS``, ``_metadata``) are passed over; a folder ``year=2024``
    is a column ``year``. There are none where there is anything else in the folder.
    """
    found: dict[Path, dict[str, str | None]] = {}
    for path in folder.rglob("*"):
        inner = path.relative_to(folder)
        if any(name.startswith(_PASSED_OVER) for name in inner.parts) or not path.is_file():
            continue
        if not is_named_table(path):
            return {}
        pairs = [name.split("=", 1) for name in inner.parts[:-1] if "=" in name]
        found[path] = {unquote(name): None if value == _NO_VALUE else unquote(value) for name, value in pairs}
    return dict(sorted(found.items()))


def find_workbooks(where: Where) -> list[Path]:
    """Return the files of a table that is in workbooks alone; none of others."""
    parts = [Path(part) for part in find_parts(where) if not isinstance(part, Url)]
    paths = [path for part in parts for path in (find_tables(part) if part.is_dir() else [part])]
    return paths if all(map(is_workbook, paths)) else []


class TableFile:
    """A table in a file, or in several, whose names of columns have been read.

    ``path`` is what to call it in messages; ``separator`` stands between values, where it is text, and is else None; of
    a `Section` it ``takes`` these. ``sheet``, ``notes`` and ``loose`` are as in `Part`.
    """

    def __init__(self, where: Where, section: Section = WHOLE):
        paths = find_parts(where)
        self.path = name_parts(where, paths)
        named: dict[Place, dict[str, str | None]] = {}
        for path in paths:
            if isinstance(path, Path) and path.is_dir():
                named |= dict(find_tables(path).items())
            else:
                named[path] = {}
        if not named:
            raise FileError(f"{self.path} is a folder without tables, or with other files among them")
        self._parts = [(open_table(path, section), folders) for path, folders in named.items()]
        check_parts([(part.path, [*part.names, *folders]) for part, folders in self._parts])
        first, folders = self._parts[0]
        self.names, self.separator, self._folders = [*first.names, *folders], first.separator, list(folders)
        self.takes, self.sheet, self.loose, self.origin = first.takes, first.sheet, first.loose, first.origin
        self.notes = [f"{part.path}: {note}" for part, _ in self._parts for note in part.notes]
        self.descriptions = {name: words for part, _ in self._parts[::-1] for name, words in part.descriptions.items()}
        check_names(first.path, self.names)
        for part, _ in self._parts:
            if part.separator != first.separator:
                raise FileError(
                    f"{part.path} and {first.path} do not separate their values alike; the parts of one table need the "
                    f"same format"
                )

    def scan(
        self,
        text: Collection[str] = (),
        keep: Keep = _LEAVE,
        *,
        missing: Collection[Any] = (),
        as_written: bool = False,
        used: Collection[str] | None = None,
        numbers: Collection[str] | None = None,
    ) -> pl.LazyFrame:
        """Return the columns, typed but for those named in ``text``, see `scan_table`; each question reads anew.

        Others than those ``used`` may be of no type; None uses all but the text. Columns named in ``numbers`` stay that
        where their values have labels, see `apply_labels`.
        """
        self._refuse_misfits(set(self.names).difference(text) if used is None else used)
        folders = pl.DataFrame(
            [pl.Series(name, [own[name] for _, own in self._parts], pl.String) for name in self._folders]
        )
        if self.separator is None and self._folders:
            folders = type_columns(self.path, folders.lazy(), text, ",", as_written=as_written).collect()
        tables = []
        for place, (part, _) in enumerate(self._parts):
            own = [pl.lit(folders[name][place], folders[name].dtype).alias(name) for name in self._folders]
            tables.append(part.scan(keep).with_columns(own).select(columns(*self.names)))
        if self.separator is not None:
            table = drop_marks(pl.concat(tables), missing)
            typed = type_columns(self.path, table, text, self.separator, as_written=as_written)
            return drop_marks(typed, missing)
        if self.loose:
            tables = [self._type_loose(table, text, missing, as_written) for table in tables]
        if any(part.labels for part, _ in self._parts):
            tables = [drop_marks(table, missing) for table in tables]
            labels = [part.labels for part, _ in self._parts]
            tables = apply_labels(self.path, tables, labels, text=text, numbers=numbers)
        self._check_types(tables)
        with reading(self.path):
            table = pl.concat(tables, how="vertical_relaxed") if len(tables) > 1 else tables[0]
            table.collect_schema()
        if count_rows(self.path, table) == 0:
            raise FileError(f"{self.path} holds a table without rows")
        return drop_marks(table, missing)

    def warn(self) -> None:
        """Say how the rows were read, where that is a guess."""
        for note in self.notes:
            warnings.warn(note, stacklevel=5)

    def _type_loose(
        self, table: pl.LazyFrame, text: Collection[str], missing: Collection[Any], as_written: bool
    ) -> pl.LazyFrame:
        """Return a part with numbers where its text is that, and text where it is asked for, as CSV has them."""
        schema = table.collect_schema()
        if len(self._parts) > 1:
            wanted = [name for name in text if name in schema and schema[name].is_numeric()]
            table = table.with_columns(columns(name).cast(pl.String).str.replace(r"\.0$", "") for name in wanted)
        known = [*text, *(name for name, dtype in schema.items() if dtype != pl.String)]
        return type_columns(self.path, drop_marks(table, missing), known, ",", as_written=as_written)

    def _refuse_misfits(self, used: Collection[str]) -> None:
        for part, _ in self._parts:
            for name, why in part.misfits.items():
                if name in used:
                    raise FileError(f"{part.path}: {why}, or {advise_to_ignore([name])}")

    def _check_types(self, tables: Sequence[pl.LazyFrame]) -> None:
        first = tables[0].collect_schema()
        for (part, _), table in zip(self._parts, tables, strict=True):
            for name, dtype in table.collect_schema().items():
                known = [found for found in (dtype, first[name]) if found != pl.Null]
                if len({"number" if found.is_numeric() else str(found) for found in known}) > 1:
                    raise FileError(
                        f"{part.path} holds column {name!r} as {dtype}, but {self._parts[0][0].path} as {first[name]}; "
                        f"the parts of one table need the same types"
                    )


def scan_table(
    path: Where, *, text: Collection[str] = (), missing: Collection[Any] = (), as_written: bool = False
) -> pl.LazyFrame:
    r"""Open a table without reading it into memory.

    Parameters
    ----------
    path : str, path-like or sequence of those
        A CSV or TSV file in UTF-8, compressed with gzip or not, whose first line names the columns; or a Parquet,
        Feather or Arrow IPC file, or one of JSON lines (``.jsonl``, ``.ndjson``: an object a row, without lists or
        objects in it) or JSON (``.json``: one list of such objects); an ARFF file (``.arff``, not sparse: nominal
        attributes are categories); a file of SPSS (``.sav``, ``.zsav``, ``.por``), Stata (``.dta``) or SAS
        (``.sas7bdat``, ``.xpt``), by the extra ``layerwise[statistics]``: a column is text of its value labels if all
        values have one, what is declared missing is missing, dates are dates; or several with the same columns: a list,
        a pattern such as ``part-*.csv``, or a folder, as Spark and Dask write them, in which names that begin with
        ``_`` or ``.`` are passed over, and a folder ``year=2024`` is a column ``year``. A sheet of a workbook
        (``.xlsx``, ``.xlsm``, ``.xls``, ``.ods``) is a table too: the first visible one with values, of which text may
        be numbers, as in CSV. Plain text (``.txt``, ``.dat``) is CSV too, with blanks between values where there is no
        other separator, also if its rows begin with names that the first line says nothing of, as R writes them. The
        separator of a ``.csv`` is that of ``, ; |`` and tabulator which is most frequent in its first line. In CSV, a
        column is numbers, or true and false, if all its values are; blanks around values do not count; an empty value
        is missing, and among numbers ``NA``, ``NaN``, ``null``, ``?``, ``.``, ``-`` and the like are. Between ``;``,
        and tabulators, numbers may have decimal commas (1,234 between tabulators may be a thousand, and is left as
        text); where they have, numbers with thousands dots (5.620 beside 12) are refused. A first column may be without
        a name, such as pandas writes for its index.
    text : collection of str, default=()
        Columns of CSV and workbooks to leave as text even if they hold numbers. Other names do no harm.
    missing : collection of str, int or float, default=()
        Values that stand for nothing, in all columns.
    as_written : bool, default=False
        Leave true and false in text as text.

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
    file = TableFile(path)
    table = file.scan(text, missing=missing, as_written=as_written)
    file.warn()
    return table


def drop_marks(table: Any, missing: Collection[Any]) -> Any:
    """Return a table without values that stand for nothing, which text may be, or numbers."""
    if not missing:
        return table
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


def batches(path: Place, table: pl.LazyFrame, n_rows: int) -> Iterator[pl.DataFrame]:
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
    """Return a polars or pandas data frame as one of polars, with names that are text."""
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

    Numbers become float64 with NaN for what is missing, but whole ones integers where none is missing; text, true and
    false beside gaps, and whole numbers beyond 2**53 beside gaps objects, with None for what is missing.
    """
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
    if has_commas(values) and find_marks(value.strip() for value in values) is None:
        like = describe_misfit(values, None)
        raise ValueError(f"column {column.name!r:.65} looks like {like}, or {advise_to_ignore([column.name])}")
    return np.array(labels.to_list(), dtype=object)


def _as_integers(column: pl.Series) -> pl.Series:
    """Return a column of decimals that are whole numbers of 64 bits as those; others as they are."""
    if column.dtype != pl.Decimal:
        return column
    text = column.cast(pl.String).str.replace(r"\.0*$", "")
    whole = [text.cast(dtype, strict=False) for dtype in (pl.Int64, pl.UInt64)]
    return next((found for found in whole if found.null_count() == column.null_count()), column)


def read_labels(file: TableFile, table: pl.LazyFrame, name: str, as_text: bool = False) -> np.ndarray:
    """Return a column of labels of a table that was read from ``file``, as `label_values` does.

    Those of CSV that were left as text stay so with ``as_text``.
    """
    with reading(file.path):
        column = table.select(columns(name)).collect().to_series()
        if as_text and file.separator and column.null_count() < len(column):
            return np.array(column.to_list(), dtype=object)
        if column.dtype == pl.String and file.separator and column.drop_nulls().is_in([*FLAGS, *MARKERS]).all():
            column = column.replace_strict(FLAGS, default=None, return_dtype=pl.Boolean)
        if column.dtype == pl.Float64 and file.separator and (column.abs() >= EXACT).any():
            text = match_names(file.scan([name]), [name]).select(columns(name)).collect().to_series()
            whole = text.filter(text.str.contains(r"^[+-]?\d+$").fill_null(False))
            if whole.n_unique() > whole.cast(pl.Float64).n_unique():
                raise FileError(
                    f"{file.path} has whole numbers in column {name!r} that take more than 64 bits, such as "
                    f"{whole[0]:.65}, and would run together; put a letter before them, so that they are text"
                )
    return label_values(column)


def identifier_values(column: pl.Series) -> np.ndarray:
    """Return a column of identifiers as an array: whole numbers where that loses nothing.

    Otherwise text, as objects, with None for what is missing.
    """
    column = _as_integers(column)
    if column.dtype.is_numeric() and not column.null_count() and column.dtype != pl.Decimal:
        return column.to_numpy()
    text = column.cast(pl.String)
    numbers = text.cast(pl.Int64, strict=False)
    if not column.null_count() and (numbers.cast(pl.String) == text).fill_null(False).all():
        return numbers.to_numpy()
    return np.array(text.to_list(), dtype=object)
