"""The columns that a reader knows: features by themselves, or the text that several of them were made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from layerwise.report.section import number


@dataclass(frozen=True)
class Column:
    """A column of the data.

    Attributes
    ----------
    name : str
    features : list of int
        What it was made into; of dates the days come first.
    texts : list of str or None
        What each of these stands for; None if the column holds numbers. A single one is of two: 1 is it, 0 the other.
    """

    name: str
    features: list[int]
    texts: list[str] | None

    def largest(self, row: np.ndarray) -> int:
        """Return the feature that is largest in a row, the one that its text stands for; of numbers the first."""
        if self.texts is None:
            return self.features[0]
        return self.features[int(np.argmax(row[self.features]))]

    def holds(self, row: np.ndarray) -> bool:
        """Whether a row has a value here: a number, or one of the texts that training had."""
        if self.texts is None:
            return True
        return self.certainty(row) > (0.75 if len(self.texts) == 1 else 0.5)  # of two texts, 0.5 is neither

    def certainty(self, row: np.ndarray) -> float:
        """Return how near to 1 the text comes that is told of a row."""
        largest = float(row[self.largest(row)])
        return 1 - largest if self._is_other(row) else largest

    def tell(self, row: np.ndarray) -> str:
        """Return what a row has here, in words."""
        feature = self.largest(row)
        if self.texts is None:
            return number(float(row[feature]))
        return f"not {self.texts[0]}" if self._is_other(row) else self.texts[self.features.index(feature)]

    def _is_other(self, row: np.ndarray) -> bool:
        return self.texts is not None and len(self.texts) == 1 and bool(row[self.features[0]] < 0.5)


def list_columns(features: Sequence[str], columns: Sequence[str] | None) -> list[Column]:
    """Return the columns that features were made of; each feature alone if that is not told.

    Parameters
    ----------
    features : sequence of str
        As `layerwise.data.TableEncoder` names them: ``"age"``, ``"town=Basel"``.
    columns : sequence of str or None
        The column of each.

    Returns
    -------
    columns : list of Column

    Examples
    --------
    >>> [(column.features, column.texts) for column in list_columns(["age", "town=Basel"], ["age", "town"])]
    [([0], None), ([1], ['Basel'])]
    """
    if columns is None:
        return [Column(name, [place], None) for place, name in enumerate(features)]
    places: dict[str, list[int]] = {}
    for place, name in enumerate(columns):
        places.setdefault(name, []).append(place)
    return [
        Column(name, own, None if features[own[0]] == name else [features[k].removeprefix(f"{name}=") for k in own])
        for name, own in places.items()
    ]
