"""Columns of text that are no categories: what they look like, and what to do about all of them, in one sentence."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Mapping

from layerwise.data._polars import list_names

# The category of a text that is missing.
MISSING = "missing"
# A column is taken for numbers or dates if this share of its values are: a heuristic choice.
_NEARLY_ALL = 0.9
# 3,14 and 1.234,56, and 1,234.5 too, among numbers that need no comma.
_NUMBER = re.compile(r"[+-]?(\d+(,\d+)?|,\d+|\d{1,3}([., ]\d{3})*([.,]\d+)?)([eE][+-]?\d+)?")
# 2026-01-31 and 31.1.26, with a time after it or not.
_DATE = re.compile(r"(\d{4}([-/.])\d{1,2}\2\d{1,2}|\d{1,2}([-/.])\d{1,2}\3(\d{4}|\d{2}))([T ].*)?")


def refuse_misfits(categories: Mapping[str, Collection[str]], max_categories: int) -> None:
    """Refuse columns of text that are rather numbers, dates, names or free text.

    Parameters
    ----------
    categories : mapping of str to collection of str
        The different values of each column.
    max_categories : int
        How many there may be; numbers with commas are refused even if there are fewer.

    Raises
    ------
    ValueError
        If there are such columns; one sentence tells all of them.
    """
    numbers = [name for name, values in categories.items() if has_commas(values)]
    many = [name for name, values in categories.items() if len(values) > max_categories and name not in numbers]
    dates = [name for name in many if _are_nearly_all(categories[name], _DATE)]
    texts = [name for name in many if name not in dates]
    complaints = [describe_commas({name: categories[name] for name in numbers})] if numbers else []
    if dates:
        shown = list_names([min(categories[name]) for name in dates])
        complaints.append(
            f"{name_columns(dates)} {_looks(dates)} like dates ({shown}); make numbers of them, such as days since a "
            f"certain one"
        )
    if texts:
        counts = ", ".join(str(len(categories[name])) for name in texts)
        complaints.append(
            f"{name_columns(texts)} {'holds' if len(texts) == 1 else 'hold'} text with at least {counts} different "
            f"values, more than max_categories={max_categories} (--max-categories); raise that if they are categories"
        )
    if complaints:
        raise ValueError(f"{'; '.join(complaints)}, or {advise_to_ignore([*numbers, *dates, *texts])}")


def has_commas(values: Collection[str]) -> bool:
    """Whether text looks like numbers, at least one of them with a comma."""
    return any(map(_has_comma, values)) and _are_nearly_all(values, _NUMBER)


def describe_commas(columns: Mapping[str, Collection[str]]) -> str:
    """Return a sentence on columns that `has_commas`."""
    commas = [min(filter(_has_comma, values)) for values in columns.values()]
    others = {value for values in columns.values() for value in values if not _NUMBER.fullmatch(value)} - {MISSING}
    also = f", but also {list_names(sorted(others)[:3])}" if others else ""
    return (
        f"{name_columns(list(columns))} {_looks(list(columns))} like numbers with commas "
        f"({list_names(commas)}{also}); save plain numbers with decimal points"
    )


def name_columns(names: list[str]) -> str:
    """Return the subject of a sentence on columns."""
    return f"{'column' if len(names) == 1 else 'columns'} {list_names(names)}"


def advise_to_ignore(names: list[str]) -> str:
    """Return how to do without columns."""
    flags = " ".join([*map(shlex.quote, names[:20]), *(["..."] if len(names) > 20 else [])])
    return (
        f"leave {'it' if len(names) == 1 else 'them'} out with ignore (at the command line: --ignore {flags}, or --id "
        f"for what names the rows)"
    )


def _has_comma(value: str) -> bool:
    return "," in value and _NUMBER.fullmatch(value) is not None


def _are_nearly_all(values: Collection[str], pattern: re.Pattern) -> bool:
    filled = [value for value in values if value != MISSING]
    return bool(filled) and sum(map(bool, map(pattern.fullmatch, filled))) >= _NEARLY_ALL * len(filled)


def _looks(names: list[str]) -> str:
    return "looks" if len(names) == 1 else "look"
