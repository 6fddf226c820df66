"""Columns of text that are no categories: what they look like, and what to do about all of them, in one sentence."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from layerwise.data._polars import list_names
from layerwise.data.strays import NEARLY_ALL, Stray

# The category of a text that is missing.
MISSING = "missing"
# 3,14 and 1.234,56, and 1,234.5 too, among numbers that need no comma.
_NUMBER = re.compile(r"[+-]?(\d+(,\d+)?|,\d+|\d{1,3}([., ]\d{3})*([.,]\d+)?)([eE][+-]?\d+)?")
# 2026-01-31 and 31.1.26, with a time after it or not.
_DATE = re.compile(r"(\d{4}([-/.])\d{1,2}\2\d{1,2}|\d{1,2}([-/.])\d{1,2}\3(\d{4}|\d{2}))([T ].*)?")
# 13.0%, 12 kg and $5, but not row 12: what stands around a number, if anything does.
_WITH_UNIT = re.compile(r"([^\w\s.,+-]{0,3})\s?[+-]?\d[\d.,']*\s?(\D{0,15})")
# More units than this in a column are rather names: a heuristic choice.
_MAX_UNITS = 3


def refuse_misfits(categories: Mapping[str, Collection[str]], max_categories: int, strays: Mapping[str, Stray]) -> None:
    """Refuse columns of text that are rather numbers, dates, names or free text.

    Parameters
    ----------
    categories : mapping of str to collection of str
        The different values of each column.
    max_categories : int
        How many there may be; numbers with commas are refused even if there are fewer.
    strays : mapping of str to Stray
        The columns where nearly all values are numbers.

    Raises
    ------
    ValueError
        If there are such columns; one sentence tells all of them.
    """
    commas = {name: values for name, values in categories.items() if has_commas(values)}
    many = {name: values for name, values in categories.items() if len(values) > max_categories and name not in commas}
    astray = {name: strays[name] for name in many if name in strays}
    rest = {name: values for name, values in many.items() if name not in astray}
    dates = _find_dates(rest)
    units = {name: values for name, values in rest.items() if name not in dates and _find_units(values)}
    texts = {name: values for name, values in rest.items() if name not in {*dates, *units}}
    kinds: list[tuple[Callable[[Any], str], Mapping[str, Any]]] = [
        (_with_commas, commas),
        (_with_strays, astray),
        (_with_units, units),
        (_as_dates, dates),
    ]
    complaints = [_look(found, describe) for describe, found in kinds if found]
    if texts:
        counts = ", ".join(str(len(values)) for values in texts.values())
        complaints.append(
            f"{name_columns(list(texts))} {'holds' if len(texts) == 1 else 'hold'} text with at least {counts} "
            f"different values, more than max_categories={max_categories} (--max-categories); raise that if they are "
            f"categories"
        )
    if complaints:
        names = [*commas, *astray, *units, *dates, *texts]
        raise ValueError(f"{'; '.join(complaints)}, or {advise_to_ignore(names)}")


def describe_doubts(categories: Mapping[str, Collection[str]], strays: Mapping[str, Stray]) -> str | None:
    """Say in a sentence which columns are taken as categories, but are rather numbers or dates; None without such."""
    dates = _find_dates({name: values for name, values in categories.items() if name not in strays})
    complaints = ([_look(strays, _with_strays)] if strays else []) + ([_look(dates, _as_dates)] if dates else [])
    if not complaints:
        return None
    names = [*strays, *dates]
    counts = ", ".join(str(len(categories[name])) for name in names)
    return (
        f"{name_columns(names)} {'is' if len(names) == 1 else 'are'} taken as {counts} categories, but "
        f"{'; '.join(complaints)}, or {advise_to_ignore(names)}"
    )


def describe_twins(categories: Mapping[str, Collection[str]]) -> str | None:
    """Say in a sentence which columns have values that differ only in blanks or case; None without such."""
    twins = {name: found for name, values in categories.items() if (found := find_twins(values))}
    if not twins:
        return None
    shown = "; ".join(
        f"{name}: {list_names([text for group in found for text in group])}" for name, found in twins.items()
    )
    return (
        f"{name_columns(list(twins))} {'has' if len(twins) == 1 else 'have'} values that differ only in blanks or "
        f"case, and are taken as different ({shown}); write them alike if they are the same"
    )


def find_twins(texts: Iterable[str]) -> list[list[str]]:
    """Return groups of different texts that are the same but for blanks and case."""
    groups: dict[str, list[str]] = {}
    for text in texts:
        groups.setdefault(" ".join(text.split()).casefold(), []).append(text)
    return [group for group in groups.values() if len(group) > 1]


def has_commas(values: Collection[str]) -> bool:
    """Whether text looks like numbers, at least one of them with a comma."""
    return any(map(_has_comma, values)) and _are_nearly_all(values, _NUMBER)


def describe_label_misfit(labels: Collection[str], stray: Stray | None) -> str | None:
    """Say what labels of text, of which these are the different ones, rather look like; None where they are classes."""
    columns = {"labels": labels}
    if stray is not None:
        return _with_strays({"labels": stray}, counted="counted from 1")
    if has_commas(labels):
        return _with_commas(columns)
    if _find_dates(columns):
        return _as_dates(columns)
    return _with_units(columns) if _find_units(labels) else None


def describe_commas(columns: Mapping[str, Collection[str]]) -> str:
    """Return a sentence on columns that `has_commas`."""
    return _look(columns, _with_commas)


def _look(columns: Mapping[str, Any], describe: Callable[[Any], str]) -> str:
    return f"{name_columns(list(columns))} {'looks' if len(columns) == 1 else 'look'} like {describe(columns)}"


def _with_commas(columns: Mapping[str, Collection[str]]) -> str:
    commas = [min(filter(_has_comma, values)) for values in columns.values()]
    others = {value for values in columns.values() for value in values if not _NUMBER.fullmatch(value)} - {MISSING}
    also = f", but also {list_names(sorted(others)[:3])}" if others else ""
    return f"numbers with commas ({list_names(commas)}{also}); save plain numbers with decimal points"


def _with_strays(strays: Mapping[str, Stray], counted: str = "counted from 1, below the names") -> str:
    found = "; ".join(
        f"{stray.n_numbers} of {stray.n_values} values are, but not {stray.value!r:.65} in row {stray.row}"
        for stray in strays.values()
    )
    return f"numbers ({found}, {counted}); correct such values or leave them empty"


def _with_units(columns: Mapping[str, Collection[str]]) -> str:
    around = dict.fromkeys(unit for values in columns.values() for unit in _find_units(values))
    shown = list_names([min(filter(_WITH_UNIT.fullmatch, values)) for values in columns.values()])
    return f"numbers with {list_names(list(around))} around them ({shown}); remove that, and save plain numbers"


def _as_dates(columns: Mapping[str, Collection[str]]) -> str:
    shown = list_names([min(values) for values in columns.values()])
    return f"dates ({shown}); make numbers of them, such as days since a certain one"


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
    return bool(filled) and sum(map(bool, map(pattern.fullmatch, filled))) >= NEARLY_ALL * len(filled)


def _find_dates(categories: Mapping[str, Collection[str]]) -> dict[str, Collection[str]]:
    return {name: values for name, values in categories.items() if _are_nearly_all(values, _DATE)}


def _find_units(values: Collection[str]) -> list[str]:
    """Return what stands around nearly all values, which are numbers otherwise: percent signs, units, currencies."""
    if not _are_nearly_all(values, _WITH_UNIT):
        return []
    units = {"".join(match.groups()).strip() for match in map(_WITH_UNIT.fullmatch, values) if match}
    return sorted(units - {""}) if len(units) <= _MAX_UNITS else []
