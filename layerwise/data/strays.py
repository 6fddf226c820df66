"""Numbers in columns of text: all values of one but a few may be that."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from layerwise.data._polars import columns, import_polars

if TYPE_CHECKING:
    import polars as pl

# A column is taken for numbers, or dates, if this share of its values are: a heuristic choice.
NEARLY_ALL = 0.9


class Stray(NamedTuple):
    """The first value that is no number in a column where nearly all are.

    Attributes
    ----------
    value : str
    row : int
        Counted from 1, below the names.
    n_numbers, n_values : int
        How many values are numbers, and how many there are.
    """

    value: str
    row: int
    n_numbers: int
    n_values: int


def as_number(text: Any) -> float | None:
    """Return a text as the number that it is; None if it is none."""
    try:
        return float(text)
    except ValueError:
        return None


def parse_numbers(text: Any) -> Any:
    """Return a column, or an expression, of text as float64, with null for what is no number."""
    pl = import_polars()
    return text.cast(pl.String).str.strip_chars().cast(pl.Float64, strict=False)


def find_text(table: pl.LazyFrame, name: str) -> tuple[str, int] | None:
    """Return the first value of a column that is no number, and its row from 1; None if all are numbers."""
    value = import_polars().col("value")
    rows = table.select(columns(name).alias("value")).with_row_index("row")
    found = rows.filter(_is_filled(value) & parse_numbers(value).is_null()).head(1).collect(engine="streaming")
    return (found["value"][0], found["row"][0] + 1) if len(found) else None


def find_strays(table: pl.LazyFrame, names: Iterable[str]) -> dict[str, Stray]:
    """Return, by column, the first value that is no number, where nearly all are but not all."""
    names = list(names)
    counts = [
        count.alias(f"{place} {kind}")
        for place, name in enumerate(names)
        for kind, count in (
            ("numbers", parse_numbers(columns(name)).is_not_null().sum()),
            ("values", _is_filled(columns(name)).sum()),
        )
    ]
    found = table.select(counts).collect(engine="streaming").row(0) if counts else ()
    strays = {}
    for name, n_numbers, n_values in zip(names, found[::2], found[1::2], strict=True):
        if NEARLY_ALL * n_values <= n_numbers < n_values and (first := find_text(table, name)):
            strays[name] = Stray(*first, n_numbers, n_values)
    return strays


def find_stray_label(labels: Sequence[str | None]) -> Stray | None:
    """Return the first label that is no number, where nearly all different ones are but not all; None is no label."""
    odd = {label for label in labels if label is not None and as_number(label) is None}
    n_different = len(set(labels) - {None})
    if not odd or len(odd) > (1 - NEARLY_ALL) * n_different:
        return None
    row = next(place for place, label in enumerate(labels) if label in odd)
    n_numbers = sum(label is not None and label not in odd for label in labels)
    return Stray(str(labels[row]), row + 1, n_numbers, sum(label is not None for label in labels))


def _is_filled(text: Any) -> Any:
    return text.cast(import_polars().String).str.strip_chars().fill_null("") != ""
