"""Tables to numbers and back: each column as what it is, by the rule of `layerwise.data.profiles`."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import check_array
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted

from layerwise import distributed
from layerwise.data._polars import list_names, match_names, pl
from layerwise.data.column_types import Date, Flag, Reading, as_plain, as_text, encode, find_stray, from_plain
from layerwise.data.column_words import LEFT_OUT, describe_reading, describe_types, describe_unknown, judge
from layerwise.data.profiles import MISSING, OTHER, Profile, begin_profiles, choose, looks_coded
from layerwise.data.tables import drop_marks, to_frame

# How many different values a column of text may have.
MAX_CATEGORIES = 100


class TableEncoder(TransformerMixin, BaseEstimator):
    """Turn the columns of a data frame into numbers.

    Each column is taken for what its values say it is:

    - Numbers keep their values, and what is missing (also ``NA``, ``-`` and the like, written among them) is NaN. True
      and false are 1 and 0.
    - Dates and times become days (since 1970); numbers with a unit, a percent sign or a currency, with thousands
      separators or in parentheses, numbers, if all of a column are written alike.
    - Text of two values is one column; of more values one for each, in alphabetical order, 1 where a row has that value
      and 0 elsewhere. A missing text is a value too, called ``"missing"``. Of more than ``max_categories`` the rare
      ones are one, called ``"other"``.
    - Names of rows are left out: text that differs in nearly every row, whole numbers that count the rows, or differ
      under a name such as ``id``, and a column without a name; and so is text of many values that hardly repeat.

    Columns of one number come first, then those of categories. As in CSV, blanks around text do not count, and text of
    nothing else is missing. In pandas, categories are text whatever they hold, numbers and intervals (``pandas.cut``)
    too; a column of objects that are all numbers is one of numbers.

    Needs polars: ``pip install 'layerwise[tables]'``.

    Parameters
    ----------
    ignore : str or sequence of str, default=()
        Columns to leave out.
    max_categories : int, default=100
        How many different values a column of text may have; of more the rare ones are pooled.
    missing : str, int, float or sequence of these, default=()
        Values that stand for nothing, in all columns: ``-999``, ``"unknown"``.

    Attributes
    ----------
    feature_names_in_ : ndarray of shape (n_features,), object
        The columns that are used, in the order of the data frame.
    n_features_in_ : int
    numbers_ : list of str
        The columns that become one column of numbers.
    categories_ : dict of str to list of str
        The columns of text that become more, and the values of each.
    readings_ : dict of str to dict
        How other columns than plain numbers and categories are read, by ``"type"``: ``"flag"``, ``"date"``,
        ``"marked"``, ``"pooled"``; ``"row name"`` and ``"text"`` are left out.

    Examples
    --------
    >>> import polars as pl
    >>> people = pl.DataFrame({"town": ["Bern", None, "Basel"], "age": [31, 28, None], "wage": ["$20", "$35", "-"]})
    >>> encoder = TableEncoder().fit(people)
    >>> encoder.get_feature_names_out().tolist()
    ['age', 'wage', 'town=Basel', 'town=Bern', 'town=missing']
    >>> encoder.transform(people)
    array([[31., 20.,  0.,  1.,  0.],
           [28., 35.,  0.,  0.,  1.],
           [nan, nan,  1.,  0.,  0.]])
    >>> encoder.describe()
    "1 number, 1 number written with '$' ('wage'), 1 text of 3 values"
    """

    _parameter_constraints: ClassVar[dict] = {
        "ignore": ["array-like", str],
        "max_categories": [Interval(Integral, 1, None, closed="left")],
        "missing": ["array-like", str, int, float],
    }

    def __init__(self, *, ignore: str | Sequence[str] = (), max_categories: int = MAX_CATEGORIES, missing: Any = ()):
        self.ignore = ignore
        self.max_categories = max_categories
        self.missing = missing

    def fit(self, X: Any, y: Any = None) -> TableEncoder:
        """Learn what the columns are, and the values of those of text.

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
            If a column to ignore is not there, if columns are of types that are no numbers, text or dates, or have more
            than ``max_categories`` values nearly all of which are numbers, or dates.
        TypeError
            If ``X`` is no data frame.

        Warns
        -----
        UserWarning
            If columns are taken as categories though at least 90 % of their values are numbers, or dates. If values of
            a column differ only in blanks or case.
        """
        for name in ("feature_names_in_", "_profiles"):
            self.__dict__.pop(name, None)
        frame = to_frame(X)
        if not len(frame):
            raise ValueError("X has no rows, but at least one is needed to learn the values of its columns")
        self.partial_fit(frame)
        self.check_types()
        return self

    def partial_fit(self, X: Any, y: Any = None) -> TableEncoder:
        """Learn from some of the rows; all batches together teach what `fit` learns from the whole.

        Columns that look like numbers or dates, but not all of whose values are, are refused by `check_types` once all
        rows are known.

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
        self.add_rows(X)
        self._choose()
        return self

    def add_rows(self, X: Any) -> None:
        """Look at some of the rows, as `partial_fit` does, which learns from them too."""
        frame = drop_marks(to_frame(X), self.list_missing())
        if not hasattr(self, "_profiles"):
            if hasattr(self, "feature_names_in_"):
                raise ValueError("this TableEncoder was loaded, which kept no counts of its values; fit a new one")
            self._profiles = begin_profiles(match_names(frame, self.list_ignored()), self.list_ignored())
        frame = match_names(frame, self._profiles)
        _check_names(frame.columns, list(self._profiles))
        for name, profile in self._profiles.items():
            profile.add(as_text(frame[name]) if profile.is_text else frame[name])

    def check_types(self) -> None:
        """Refuse columns of text that are rather something else, and warn of doubts, as `fit` does, by all rows."""
        self._choose()
        refusal, doubts = judge(self._choices, self.max_categories)
        if refusal:
            raise ValueError(refusal)
        if distributed.rank() == 0:
            for told in doubts:
                warnings.warn(told, UserWarning, stacklevel=3)  # where fit is called

    def describe(self) -> str:
        """Return what the columns are taken for, in words, with the names of those that are read otherwise or left out.

        Returns
        -------
        words : str
            Such as "4 numbers, 1 date, 1 text of 3 values, 1 name per row left out".
        """
        check_is_fitted(self, "categories_")
        numbers = {name: self.get_reading(name) for name in self.numbers_}
        return describe_types(numbers, self.categories_, self._readings())

    def transform(self, X: Any) -> np.ndarray:
        """Encode rows. Columns that training did not have are passed over.

        Parameters
        ----------
        X : polars or pandas data frame of shape (n_samples, n_columns)

        Returns
        -------
        rows : ndarray of shape (n_samples, n_features_out), float64
            A text that training did not have is 0 in all columns of its values, or 0.5 where they are one, with a
            warning; where rare values were pooled, it is one of those.

        Raises
        ------
        ValueError
            If a column is missing, or holds text where training had numbers.
        """
        check_is_fitted(self, "categories_")
        frame = drop_marks(match_names(to_frame(X), self.feature_names_in_), self.list_missing())
        self.check_columns(frame.lazy())
        rows = np.empty((len(frame), len(self.get_feature_columns())))
        unknown = self._encode(frame, rows)
        if unknown:
            # scikit-learn wraps transform
            warnings.warn(describe_unknown(unknown, self.categories_), UserWarning, stacklevel=3)
        return rows

    def write_rows(self, frame: pl.DataFrame, rows: np.ndarray) -> None:
        """Encode the rows of a table that `check_columns` has seen into an array of shape (n_samples, n_features_out).

        Warns as `transform` does.
        """
        unknown = self._encode(frame, rows)
        if unknown:
            warnings.warn(describe_unknown(unknown, self.categories_), UserWarning, stacklevel=2)

    def _encode(self, frame: pl.DataFrame, rows: np.ndarray) -> dict[str, list[str]]:
        """Write the rows of a table into an array; return the texts that training did not have, by column."""
        columns = [encode(frame[name], self.get_reading(name)) for name in self.numbers_]
        unknown = {}
        for name, column in zip(self.numbers_, columns, strict=True):
            if isinstance(self.get_reading(name), Flag) and (column == 0.5).any():
                unknown[name] = frame[name].filter(column == 0.5).unique().sort().to_list()
        if columns:
            numbers = pl.DataFrame([column.alias(str(place)) for place, column in enumerate(columns)])
            rows[:, : len(columns)] = numbers.to_numpy(order="c")
        rows[:, len(columns) :] = 0.0
        start = len(columns)
        for name, categories in self.categories_.items():
            values = as_text(frame[name]).fill_null(MISSING)
            known = {category: start + place for place, category in enumerate(categories)}
            rare = known.get(OTHER) if name in self._readings() else None
            places = values.replace_strict(known, default=rare, return_dtype=pl.Int64)
            if rare is None and places.null_count():
                unknown[name] = values.filter(places.is_null()).unique().sort().to_list()
            rows[places.is_not_null().arg_true().to_numpy(), places.drop_nulls().to_numpy()] = 1.0
            start += len(categories)
        return unknown

    def inverse_transform(self, X: Any) -> pl.DataFrame:
        """Turn numbers back into a table; a text is the value whose column is largest.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features_out)
            As `transform` returns it, or reconstructions of such rows.

        Returns
        -------
        table : polars.DataFrame of shape (n_samples, n_features)
            Numbers as float64; dates, numbers with units and the like as they were written. A text is missing where the
            largest is that of ``"missing"``, or where all are equal.
        """
        check_is_fitted(self, "categories_")
        X = check_array(X, dtype=np.float64, ensure_all_finite="allow-nan", ensure_min_samples=0, input_name="X")
        width = len(self.get_feature_names_out())
        if X.shape[1] != width:
            raise ValueError(f"X has shape {X.shape}, but encoded rows of shape (n_samples, {width}) are expected")
        columns = {}
        for place, name in enumerate(self.numbers_):
            numbers, reading = pl.Series(name, X[:, place]).fill_nan(None), self.get_reading(name)
            columns[name] = numbers if reading is None else reading.decode(numbers).alias(name)
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
        readings = {name: self.get_reading(name) for name in self.numbers_}
        flags = {name: [at.high] for name, at in readings.items() if isinstance(at, Flag) and not at.is_truth}
        taken = set(self.numbers_).difference(flags)
        found = []
        for name, values in ({name: flags.get(name) for name in self.numbers_} | self.categories_).items():
            if values is None:
                found.append(name)
            for value in values or ():
                unique, count = f"{name}={value}", 1
                while unique in taken:
                    count += 1
                    unique = f"{name}={value} ({count})"
                taken.add(unique)
                found.append(unique)
        return np.array(found, dtype=object)

    def get_feature_columns(self) -> list[str]:
        """Return the column of the table that each encoded column was made of: ``"age"``, ..., ``"town"``, ..."""
        check_is_fitted(self, "categories_")
        return [*self.numbers_, *(name for name, values in self.categories_.items() for _ in values)]

    def list_ignored(self) -> list[str]:
        """Return the names of the columns that are left out."""
        return [self.ignore] if isinstance(self.ignore, str) else list(self.ignore)

    def list_missing(self) -> list[Any]:
        """Return the values that stand for nothing."""
        return [self.missing] if isinstance(self.missing, (str, int, float)) else list(self.missing)

    def list_row_names(self) -> list[str]:
        """Return the names of the columns that name rows."""
        return [name for name, plain in self._readings().items() if plain["type"] == "row name"]

    def list_texts(self) -> list[str]:
        """Return the names of the columns that are read as text."""
        return [*self.categories_, *self._readings()]

    def list_codes(self) -> list[str]:
        """Return the names of the columns of numbers that are rather codes, by their names."""
        return [name for name in self.numbers_ if self.get_reading(name) is None and looks_coded(name)]

    def _readings(self) -> dict[str, dict[str, Any]]:
        """Return the types of columns; models of before know none."""
        return getattr(self, "readings_", {})

    def _choose(self) -> None:
        """Choose the types of the columns by their profiles."""
        choices = {name: choose(profile, self.max_categories) for name, profile in self._profiles.items()}
        used = [name for name, choice in choices.items() if choice.kind not in LEFT_OUT]
        several = [name for name in used if choices[name].kind in ("category", "pooled")]
        self.numbers_ = [name for name in used if name not in several]
        self.categories_ = {name: choices[name].values for name in several}
        self.readings_: dict[str, dict[str, Any]] = {}
        for name, choice in choices.items():
            if choice.reading is not None:
                self.readings_[name] = as_plain(choice.reading)
            elif choice.kind in LEFT_OUT:
                self.readings_[name] = {"type": choice.kind}
            elif choice.kind == "pooled":
                self.readings_[name] = {"type": "pooled", "n_values": int(self._profiles[name].n_values)}
        self.n_features_in_ = len(used)
        self.feature_names_in_ = np.array(used, dtype=object)
        self._choices = choices

    def get_reading(self, name: str) -> Reading | None:
        """Return how a column of one number is written, if that is not plain."""
        plain = self._readings().get(name)
        return None if plain is None or plain["type"] in ("pooled", *LEFT_OUT) else from_plain(plain)

    def check_columns(self, table: pl.LazyFrame) -> None:
        """Refuse a table without the columns of the training, or with something else in those of numbers."""
        types = table.collect_schema()
        _check_names(types.names(), self.feature_names_in_.tolist())
        readings = {name: self.get_reading(name) for name in self.numbers_}
        profiles = {name: Profile(name, types[name]) for name in self.numbers_}
        odd = [
            f"{name!r} {types[name]}"
            for name, profile in profiles.items()
            if not (profile.is_text or (profile.is_time if isinstance(readings[name], Date) else profile.is_number))
        ]
        if odd:
            raise ValueError(f"training had numbers where columns hold values of other types: {', '.join(odd)}")
        found = {name: find_stray(table, name, readings[name]) for name, at in profiles.items() if at.is_text}
        listed = ", ".join(
            f"{name!r} holds {text[0]!r:.65} in row {text[1]}{describe_reading(readings[name])}"
            for name, text in found.items()
            if text
        )
        if listed:
            raise ValueError(
                f"training had only numbers where columns hold text: {listed} (counted from 1, below the names); make "
                f"numbers of it, or leave such values empty"
            )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = tags.input_tags.string = tags.input_tags.categorical = True
        return tags


def _check_names(there: Sequence[str], needed: Sequence[str]) -> None:
    absent = [name for name in needed if name not in set(there)]
    if absent:
        raise ValueError(
            f"the table has no column {list_names(absent)}, which training had; it has {list_names(there) or 'none'}"
        )


def _largest(name: str, categories: list[str], columns: np.ndarray) -> pl.Series:
    """Return the category of the largest column in each row; nothing where it is ``"missing"`` or all are equal."""
    values = pl.Series(name, categories, dtype=pl.String).gather(columns.argmax(axis=1))
    unclear = (values == MISSING).to_numpy()
    if len(categories) > 1:
        unclear |= columns.max(axis=1) == columns.min(axis=1)
    return pl.select(pl.when(pl.Series(~unclear)).then(values)).to_series().alias(name)
