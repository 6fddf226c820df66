"""What is known of the columns of a table once they have been learnt: their types, and what they are encoded as."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from layerwise.data._polars import list_names, pl
from layerwise.data.column_types import Date, Flag, Reading, find_stray, from_plain
from layerwise.data.column_words import LEFT_OUT, describe_reading, describe_types
from layerwise.data.cycles import PERIODS
from layerwise.data.naming import name_features
from layerwise.data.profiles import Profile, looks_coded


class KnownColumns:
    """The part of `layerwise.data.TableEncoder` that answers questions on its parameters and on what it has learnt."""

    ignore: Any
    missing: Any
    date_parts: Any
    feature_names_in_: np.ndarray
    numbers_: list[str]
    categories_: dict[str, list[str]]

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

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the names of the encoded columns: ``"age"``, ..., ``"town=Basel"``, ...

        Behind the days of a column of dates, ``"born"``, are its ``date_parts``: ``"born:year:sin"``, ...
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
        return np.array(name_features(self._suffixes()), dtype=object)

    def get_feature_columns(self) -> list[str]:
        """Return the column of the table that each encoded column was made of: ``"age"``, ..., ``"town"``, ..."""
        check_is_fitted(self, "categories_")
        return [name for name, suffixes in self._suffixes().items() for _ in suffixes]

    def numbers_of(self, X: np.ndarray) -> dict[str, np.ndarray]:
        """Return the column of encoded rows that each of ``numbers_`` has become, of dates the days."""
        places: dict[str, int] = {}
        for place, name in enumerate(self.get_feature_columns()):
            places.setdefault(name, place)
        return {name: X[:, places[name]] for name in self.numbers_}

    def _suffixes(self) -> dict[str, list[str]]:
        """Return what is added to the name of each column for those that it becomes, in their order."""
        found = {}
        for name in self.numbers_:
            reading = self.get_reading(name)
            own = reading.name_parts() if isinstance(reading, Date) else []
            found[name] = [f"={reading.high}" if isinstance(reading, Flag) and not reading.is_truth else "", *own]
        return found | {name: [f"={value}" for value in values] for name, values in self.categories_.items()}

    def list_ignored(self) -> list[str]:
        """Return the names of the columns that are left out."""
        return [self.ignore] if isinstance(self.ignore, str) else list(self.ignore)

    def list_missing(self) -> list[Any]:
        """Return the values that stand for nothing."""
        return [self.missing] if isinstance(self.missing, (str, int, float)) else list(self.missing)

    def list_date_parts(self) -> list[str]:
        """Return the parts of dates that are asked for."""
        parts = [self.date_parts] if isinstance(self.date_parts, str) else list(self.date_parts)
        odd = [part for part in parts if not isinstance(part, str) or part not in PERIODS]
        if odd:
            raise ValueError(f"date_parts={odd[0]!r:.65} is no part of a date; known are {', '.join(PERIODS)}")
        return list(dict.fromkeys(parts))

    def list_row_names(self) -> list[str]:
        """Return the names of the columns that name rows."""
        return [name for name, plain in self._readings().items() if plain["type"] == "row name"]

    def list_texts(self) -> list[str]:
        """Return the names of the columns that are read as text."""
        return [*self.categories_, *self._readings()]

    def list_numbers(self) -> list[str]:
        """Return the names of the columns that are read as plain numbers."""
        return [name for name in self.numbers_ if self.get_reading(name) is None]

    def list_codes(self) -> list[str]:
        """Return the names of the columns of numbers that are rather codes, by their names."""
        return [name for name in self.numbers_ if self.get_reading(name) is None and looks_coded(name)]

    def _readings(self) -> dict[str, dict[str, Any]]:
        """Return the types of columns; models of before know none."""
        return getattr(self, "readings_", {})

    def get_reading(self, name: str) -> Reading | None:
        """Return how a column of one number is written, if that is not plain."""
        plain = self._readings().get(name)
        return None if plain is None or plain["type"] in ("pooled", *LEFT_OUT) else from_plain(plain)

    def check_columns(self, table: pl.LazyFrame) -> None:
        """Refuse a table without the columns of the training, or with something else in those of numbers."""
        types = table.collect_schema()
        check_names(types.names(), self.feature_names_in_.tolist())
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


def check_names(there: Sequence[str], needed: Sequence[str]) -> None:
    """Refuse a table without columns that are needed."""
    absent = [name for name in needed if name not in set(there)]
    if absent:
        raise ValueError(
            f"the table has no column {list_names(absent)}, which training had; it has {list_names(there) or 'none'}"
        )
