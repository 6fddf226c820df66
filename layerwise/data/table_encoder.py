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
from layerwise.data._polars import match_names, pl
from layerwise.data.column_types import Date, Flag, as_plain, as_text, encode
from layerwise.data.column_words import LEFT_OUT, describe_unknown, judge, refuse_parts
from layerwise.data.known_columns import KnownColumns, check_names
from layerwise.data.profiles import MISSING, OTHER, begin_profiles, choose
from layerwise.data.tables import drop_marks, to_frame

# How many different values a column of text may have.
MAX_CATEGORIES = 100


class TableEncoder(KnownColumns, TransformerMixin, BaseEstimator):
    """Turn the columns of a data frame into numbers.

    Each column is taken for what its values say it is:

    - Numbers keep their values, and what is missing (also ``NA``, ``-`` and the like, written among them) is NaN. True
      and false are 1 and 0.
    - Dates and times become days (since 1970), with sines and cosines of the ``date_parts`` beside them; numbers with a
      unit, a percent sign or a currency, with thousands separators or in parentheses, numbers, if all of a column are
      written alike.
    - Text of two values is one column; of more values one for each, in alphabetical order, 1 where a row has that value
      and 0 elsewhere. A missing text is a value too, called ``"missing"``. Of more than ``max_categories`` the rare
      ones are one, called ``"other"``.
    - Names of rows are left out: text that differs in nearly every row, whole numbers that count the rows, or differ
      under a name such as ``id``, and a column without a name; and so is text of many values that hardly repeat.

    Columns of numbers come first, then those of categories. As in CSV, blanks around text do not count, and text of
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
    date_parts : {"year", "week", "day"} or sequence of these, default=()
        Periods in which dates come round, so that December is beside January and Sunday beside Monday: each adds two
        columns after the days of every column of dates, such as ``"when:year:sin"`` and ``"when:year:cos"``. Times of
        a day have no other part than ``"day"``, and dates without such (or all at midnight) have not that one.

    Attributes
    ----------
    feature_names_in_ : ndarray of shape (n_features,), object
        The columns that are used, in the order of the data frame.
    n_features_in_ : int
    numbers_ : list of str
        The columns that are read as one number, and become one column, or more with ``date_parts``.
    categories_ : dict of str to list of str
        The columns of text that become more, and the values of each.
    readings_ : dict of str to dict
        How other columns than plain numbers and categories are read, by ``"type"``: ``"flag"``, ``"date"``,
        ``"marked"``, ``"pooled"``; ``"row name"`` and ``"text"`` are left out.

    Notes
    -----
    With d days since the beginning of 1970, in UTC, f the share of a period that has passed::

        year   f = (d - beginning of the year) / (365 or 366)
        week   f = (d - beginning of the Monday) / 7
        day    f = d - beginning of the day

    its columns are sin(2 pi f) and cos(2 pi f): a point of a circle. Both are NaN where the date is missing, and
    `inverse_transform`, which goes by the days, does not read them.

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
        "date_parts": ["array-like", str],
    }

    def __init__(
        self,
        *,
        ignore: str | Sequence[str] = (),
        max_categories: int = MAX_CATEGORIES,
        missing: Any = (),
        date_parts: str | Sequence[str] = (),
    ):
        self.ignore = ignore
        self.max_categories = max_categories
        self.missing = missing
        self.date_parts = date_parts

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
            than ``max_categories`` values nearly all of which are numbers, or dates. If no column has any of the
            ``date_parts``.
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
            self.list_date_parts()  # which refuses what is none
            self._profiles = begin_profiles(match_names(frame, self.list_ignored()), self.list_ignored())
        frame = match_names(frame, self._profiles)
        check_names(frame.columns, list(self._profiles))
        for name, profile in self._profiles.items():
            profile.add(as_text(frame[name]) if profile.is_text else frame[name])

    def check_types(self) -> None:
        """Refuse columns of text that are rather something else, and warn of doubts, as `fit` does, by all rows."""
        self._choose()
        refusal, doubts = judge(self._choices, self.max_categories)
        asked = self.list_date_parts()
        if not refusal and asked and not any("parts" in plain for plain in self.readings_.values()):
            refusal = refuse_parts(asked)
        if refusal:
            raise ValueError(refusal)
        if distributed.rank() == 0:
            for told in doubts:
                warnings.warn(told, UserWarning, stacklevel=3)  # where fit is called

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
        columns: list[pl.Series] = []
        unknown = {}
        for name in self.numbers_:
            reading = self.get_reading(name)
            column = encode(frame[name], reading)
            columns += [column, *(reading.encode_parts(column) if isinstance(reading, Date) else ())]
            if isinstance(reading, Flag) and (column == 0.5).any():
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
        columns, start = {}, 0
        for name, suffixes in self._suffixes().items():
            own = X[:, start : start + len(suffixes)]
            start += len(suffixes)
            if name in self.categories_:
                columns[name] = _largest(name, self.categories_[name], own)
            else:
                numbers, reading = pl.Series(name, own[:, 0]).fill_nan(None), self.get_reading(name)
                columns[name] = numbers if reading is None else reading.decode(numbers).alias(name)
        return pl.DataFrame([columns[name] for name in self.feature_names_in_])

    def _choose(self) -> None:
        """Choose the types of the columns by their profiles."""
        choices = {name: choose(profile, self.max_categories) for name, profile in self._profiles.items()}
        used = [name for name, choice in choices.items() if choice.kind not in LEFT_OUT]
        several = [name for name in used if choices[name].kind in ("category", "pooled")]
        self.numbers_ = [name for name in used if name not in several]
        self.categories_ = {name: choices[name].values for name in several}
        self.readings_: dict[str, dict[str, Any]] = {}
        for name, choice in choices.items():
            reading = choice.reading
            if isinstance(reading, Date):
                reading = reading.with_parts(self._parts_of(name, reading))
            if reading is not None:
                self.readings_[name] = as_plain(reading)
            elif choice.kind in LEFT_OUT:
                self.readings_[name] = {"type": choice.kind}
            elif choice.kind == "pooled":
                self.readings_[name] = {"type": "pooled", "n_values": int(self._profiles[name].n_values)}
        self.n_features_in_ = len(used)
        self.feature_names_in_ = np.array(used, dtype=object)
        self._choices = choices

    def _parts_of(self, name: str, dates: Date) -> list[str]:
        """Return the parts of dates that are asked for; of those without a time not what would be the same in all."""
        asked = self.list_date_parts()
        return (
            asked
            if "day" not in asked or self._profiles[name].has_times(dates)
            else [part for part in asked if part != "day"]
        )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = tags.input_tags.string = tags.input_tags.categorical = True
        return tags


def _largest(name: str, categories: list[str], columns: np.ndarray) -> pl.Series:
    """Return the category of the largest column in each row; nothing where it is ``"missing"`` or all are equal."""
    values = pl.Series(name, categories, dtype=pl.String).gather(columns.argmax(axis=1))
    unclear = (values == MISSING).to_numpy()
    if len(categories) > 1:
        unclear |= columns.max(axis=1) == columns.min(axis=1)
    return pl.select(pl.when(pl.Series(~unclear)).then(values)).to_series().alias(name)
