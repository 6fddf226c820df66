"""Tables to numbers and back: numbers stay, text becomes one column of 0 and 1 for each of its values."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping, Sequence
from numbers import Integral
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import check_array
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted

from layerwise import distributed
from layerwise.data._polars import import_polars, list_names, match_names
from layerwise.data.misfits import (
    MISSING,
    advise_to_ignore,
    describe_doubts,
    describe_twins,
    name_columns,
    refuse_misfits,
)
from layerwise.data.strays import Stray, find_strays, find_text, parse_numbers
from layerwise.data.tables import to_frame

if TYPE_CHECKING:
    import polars as pl

# How many different values a column of text may have.
MAX_CATEGORIES = 100
# Where nothing is known of all rows.
_NO_STRAYS: Mapping[str, Stray] = MappingProxyType({})


class TableEncoder(TransformerMixin, BaseEstimator):
    """Turn the columns of a data frame into numbers.

    Columns of numbers, and of true and false, come first and keep their values; what is missing is NaN. Each column of
    text follows as one column for each value that it had in training, in alphabetical order, 1 where a row has that
    value and 0 elsewhere. A missing text is a value too, called ``"missing"``. As in CSV, blanks around text do not
    count, and text of nothing else is missing. In pandas, categories are text whatever they hold, numbers and intervals
    (``pandas.cut``) too; a column of objects that are all numbers is one of numbers.

    Needs polars: ``pip install 'layerwise[tables]'``.

    Parameters
    ----------
    ignore : str or sequence of str, default=()
        Columns to leave out.
    max_categories : int, default=100
        How many different values a column of text may have; more are refused, because such a column is rather a name
        or a number of each row, dates, or free text. Text that looks like numbers with commas is refused in any case;
        columns of fewer values, nearly all of which are numbers or dates, are told in a warning.

    Attributes
    ----------
    feature_names_in_ : ndarray of shape (n_features,), object
        The columns that are used, in the order of the data frame.
    n_features_in_ : int
    numbers_ : list of str
        The columns of numbers.
    categories_ : dict of str to list of str
        The columns of text, and the values of each.

    Examples
    --------
    >>> import polars as pl
    >>> people = pl.DataFrame({"town": ["Bern", None, "Basel"], "age": [31, 28, None]})
    >>> encoder = TableEncoder().fit(people)
    >>> encoder.get_feature_names_out().tolist()
    ['age', 'town=Basel', 'town=Bern', 'town=missing']
    >>> encoder.transform(people)
    array([[31.,  0.,  1.,  0.],
           [28.,  0.,  0.,  1.],
           [nan,  1.,  0.,  0.]])
    """

    _parameter_constraints: ClassVar[dict] = {
        "ignore": ["array-like", str],
        "max_categories": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(self, *, ignore: str | Sequence[str] = (), max_categories: int = MAX_CATEGORIES):
        self.ignore = ignore
        self.max_categories = max_categories

    def fit(self, X: Any, y: Any = None) -> TableEncoder:
        """Learn the columns, and the values of those of text.

        Parameters
        ----------
        X : polars or pandas data frame of shape (n_samples, n_columns)
        y : None
            Not used.

        Returns
        -------
        self : TableEncoder

        Raises
        ------
        ValueError
            If a column to ignore is not there, or columns are neither numbers nor text, or have more than
            ``max_categories`` values, or look like numbers with commas.
        TypeError
            If ``X`` is no data frame.

        Warns
        -----
        UserWarning
            If columns are taken as categories though at least 90 % of their values are numbers, or dates: names the
            first value that is no number, and its row. If values of a column differ only in blanks or case.
        """
        self.__dict__.pop("feature_names_in_", None)
        frame = to_frame(X)
        if not len(frame):
            raise ValueError("X has no rows, but at least one is needed to learn the values of its columns")
        self.partial_fit(frame.clear())
        strays = find_strays(frame.lazy(), self.categories_)
        self.add_categories(self.find_categories(frame), strays)
        self.check_categories(strays)
        return self

    def partial_fit(self, X: Any, y: Any = None) -> TableEncoder:
        """Learn from some of the rows; all batches together teach what `fit` learns from the whole.

        Columns that look like numbers with commas are refused by `check_categories` once all rows are known.

        Parameters
        ----------
        X : polars or pandas data frame of shape (n_samples, n_columns)
            The first one decides which columns there are and which are numbers. It may be without rows.
        y : None
            Not used.

        Returns
        -------
        self : TableEncoder

        Raises
        ------
        ValueError, TypeError
            As for `fit`.
        """
        self._validate_params()
        frame = to_frame(X)
        if not hasattr(self, "feature_names_in_"):
            self._learn_columns(match_names(frame, self.list_ignored()))
        frame = match_names(frame, self.feature_names_in_)
        self.add_categories(self.find_categories(frame))
        return self

    def find_categories(self, frame: pl.DataFrame) -> dict[str, set[str]]:
        """Return the different values of the columns of text in these rows."""
        _check_names(frame.columns, list(self.categories_))
        return {name: set(_as_text(frame[name].unique())) for name in self.categories_}

    def add_categories(self, found: Mapping[str, Collection[str]], strays: Mapping[str, Stray] = _NO_STRAYS) -> None:
        """Learn values of columns of text that were found in other rows.

        Parameters
        ----------
        found : mapping of str to collection of str
            Values by column.
        strays : mapping of str to Stray, default={}
            What `find_strays` found in all rows, where they are known.

        Raises
        ------
        ValueError
            If a column has more than ``max_categories`` values.
        """
        learnt = self.categories_ | {name: sorted({*self.categories_[name], *found[name]}) for name in found}
        if any(len(categories) > self.max_categories for categories in learnt.values()):
            refuse_misfits(learnt, self.max_categories, strays)
        self.categories_.update(learnt)

    def check_categories(self, strays: Mapping[str, Stray] = _NO_STRAYS) -> None:
        """Refuse columns of text that are rather something else, once the values in all rows are known.

        Warns, on the first rank, of columns of few values that are nearly all numbers, or dates, and of values that
        differ only in blanks or case.

        Parameters
        ----------
        strays : mapping of str to Stray, default={}
            What `find_strays` found in all rows.

        Raises
        ------
        ValueError
            As for `fit`.
        """
        refuse_misfits(self.categories_, self.max_categories, strays)
        doubts = describe_doubts(self.categories_, strays)
        twins = describe_twins(self.categories_)
        for told in filter(None, (doubts, twins)):
            if distributed.rank() == 0:
                warnings.warn(told, UserWarning, stacklevel=3)  # where fit is called

    def transform(self, X: Any) -> np.ndarray:
        """Encode rows. Columns that training did not have are passed over.

        Parameters
        ----------
        X : polars or pandas data frame of shape (n_samples, n_columns)

        Returns
        -------
        rows : ndarray of shape (n_samples, n_features_out), float64
            A text that training did not have is 0 in all columns of its values, with a warning.

        Raises
        ------
        ValueError
            If a column is missing, or holds text where training had numbers.
        """
        check_is_fitted(self, "categories_")
        pl = import_polars()
        frame = match_names(to_frame(X), self.feature_names_in_)
        self.check_columns(frame.lazy())
        self._warn_of_unknown(frame)
        columns = [_as_numbers(frame[name]) for name in self.numbers_]
        for name, categories in self.categories_.items():
            values = _as_text(frame[name])
            columns += [(values == category).cast(pl.Float64) for category in categories]
        named = [column.alias(str(place)) for place, column in enumerate(columns)]
        return pl.DataFrame(named).to_numpy(order="c", writable=True)

    def inverse_transform(self, X: Any) -> pl.DataFrame:
        """Turn numbers back into a table; a text is the value whose column is largest.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features_out)
            As `transform` returns it, or reconstructions of such rows.

        Returns
        -------
        table : polars.DataFrame of shape (n_samples, n_features)
            Numbers as float64. A text is missing where the largest is that of ``"missing"``, or where all are equal.
        """
        check_is_fitted(self, "categories_")
        pl = import_polars()
        X = check_array(X, dtype=np.float64, ensure_all_finite="allow-nan", ensure_min_samples=0, input_name="X")
        width = len(self.get_feature_names_out())
        if X.shape[1] != width:
            raise ValueError(f"X has shape {X.shape}, but encoded rows of shape (n_samples, {width}) are expected")
        columns = {name: pl.Series(name, X[:, place]).fill_nan(None) for place, name in enumerate(self.numbers_)}
        start = len(self.numbers_)
        for name, categories in self.categories_.items():
            columns[name] = _largest(name, categories, X[:, start : start + len(categories)])
            start += len(categories)
        return pl.DataFrame([columns[name] for name in self.feature_names_in_])

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the names of the encoded columns: ``"age"``, ..., ``"town=Basel"``, ...

        A name that is taken, by a column of just that name, gets a number: ``"town=Basel (2)"``.

        Parameters
        ----------
        input_features : None
            Not used.

        Returns
        -------
        names : ndarray of shape (n_features_out,), object
        """
        check_is_fitted(self, "categories_")
        names = dict.fromkeys(self.numbers_)
        for column, values in self.categories_.items():
            for category in values:
                name, count = f"{column}={category}", 1
                while name in names:
                    count += 1
                    name = f"{column}={category} ({count})"
                names[name] = None
        return np.array(list(names), dtype=object)

    def get_feature_columns(self) -> list[str]:
        """Return, for each encoded column, the column of the table that it was made of: ``"age"``, ..., ``"town"``, ...

        Returns
        -------
        names : list of str of length n_features_out
        """
        check_is_fitted(self, "categories_")
        return [*self.numbers_, *(name for name, values in self.categories_.items() for _ in values)]

    def list_ignored(self) -> list[str]:
        """Return the names of the columns that are left out."""
        return [self.ignore] if isinstance(self.ignore, str) else list(self.ignore)

    def _learn_columns(self, frame: pl.DataFrame) -> None:
        ignored = self.list_ignored()
        absent = [name for name in ignored if name not in frame.columns]
        if absent:
            raise ValueError(
                f"ignore={absent[0]!r} is no column of the table, which has {list_names(frame.columns) or 'none'}"
            )
        names = [name for name in frame.columns if name not in ignored]
        if not names:
            raise ValueError(f"no column is left to learn from; the table has {list_names(frame.columns) or 'none'}")
        other = [name for name in names if not (_is_number(frame[name].dtype) or _is_text(frame[name].dtype))]
        if other:
            types = ", ".join(dict.fromkeys(str(frame[name].dtype) for name in other))
            raise ValueError(
                f"{name_columns(other)} {'holds' if len(other) == 1 else 'hold'} values of type {types}, but numbers "
                f"or text are needed; make numbers of them first, or {advise_to_ignore(other)}"
            )
        self.numbers_ = [name for name in names if _is_number(frame[name].dtype)]
        self.categories_: dict[str, list[str]] = {name: [] for name in names if _is_text(frame[name].dtype)}
        self.n_features_in_ = len(names)
        self.feature_names_in_ = np.array(names, dtype=object)

    def check_columns(self, table: pl.LazyFrame) -> None:
        """Refuse a table without the columns of the training, or with something else in those of numbers.

        Parameters
        ----------
        table : polars.LazyFrame
            The columns may be in any order, and there may be more.

        Raises
        ------
        ValueError
            If it does not fit; tells all columns of one kind.
        """
        types = table.collect_schema()
        _check_names(types.names(), self.feature_names_in_.tolist())
        odd = [name for name in self.numbers_ if not (_is_number(types[name]) or _is_text(types[name]))]
        if odd:
            listed = ", ".join(f"{name!r} {types[name]}" for name in odd)
            raise ValueError(f"training had numbers where columns hold values of other types: {listed}")
        found = {name: find_text(table, name) for name in self.numbers_ if _is_text(types[name])}
        listed = ", ".join(f"{name!r} holds {text[0]!r:.65} in row {text[1]}" for name, text in found.items() if text)
        if listed:
            raise ValueError(
                f"training had only numbers where columns hold text: {listed} (counted from 1, below the names); make "
                f"numbers of it, or leave such values empty"
            )

    def _warn_of_unknown(self, frame: pl.DataFrame) -> None:
        found = self.find_categories(frame).items()
        unknown = {name: sorted(values.difference(self.categories_[name])) for name, values in found}
        named = "; ".join(f"{name}: {_list_values(values)}" for name, values in unknown.items() if values)
        if named:
            message = f"the table has values that training did not have, which are encoded as zeros: {named}"
            warnings.warn(message, UserWarning, stacklevel=4)  # scikit-learn wraps transform

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = tags.input_tags.string = tags.input_tags.categorical = True
        return tags


def _list_values(values: Sequence[str]) -> str:
    """Return the values of a column of text in words; what is missing has no name in the table."""
    there = [value for value in values if value != MISSING]
    return ", ".join(
        [*([list_names(there)] if there else []), *(["an empty field"] if len(there) < len(values) else [])]
    )


def _check_names(there: Sequence[str], needed: Sequence[str]) -> None:
    absent = [name for name in needed if name not in set(there)]
    if absent:
        raise ValueError(
            f"the table has no column {list_names(absent)}, which training had; it has {list_names(there) or 'none'}"
        )


def _is_number(dtype: Any) -> bool:
    pl = import_polars()
    return dtype.is_numeric() or dtype in (pl.Boolean, pl.Null)


def _is_text(dtype: Any) -> bool:
    pl = import_polars()
    return dtype in (pl.String, pl.Categorical, pl.Enum)


def _as_text(column: pl.Series) -> pl.Series:
    """Return a column as text, as CSV would hold it: without blanks around it, and missing where nothing is left."""
    pl = import_polars()
    text = column.cast(pl.String).str.strip_chars()
    return text.set(text == "", None).fill_null(MISSING)


def _as_numbers(column: pl.Series) -> pl.Series:
    """Return a column as float64, with null for what is missing."""
    return column.cast(import_polars().Float64) if _is_number(column.dtype) else parse_numbers(column)


def _largest(name: str, categories: list[str], columns: np.ndarray) -> pl.Series:
    """Return the category of the largest column in each row; nothing where it is ``"missing"`` or all are equal."""
    pl = import_polars()
    values = pl.Series(name, categories, dtype=pl.String).gather(columns.argmax(axis=1))
    unclear = (values == MISSING).to_numpy()
    if len(categories) > 1:
        unclear |= columns.max(axis=1) == columns.min(axis=1)
    return pl.select(pl.when(pl.Series(~unclear)).then(values)).to_series().alias(name)
