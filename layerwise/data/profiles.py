"""What a column of a table is: a profile of its values, from one pass over them, and the rule that chooses its type."""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import cached_property
from typing import Any, NamedTuple

from layerwise.data._polars import list_names, pl
from layerwise.data.column_types import MARKERS, Date, Flag, Reading, find_dates, find_flag, find_marks, parse_numbers
from layerwise.data.naming import advise_to_ignore, name_columns

# The category of a text that is missing, and that of values too rare to have one of their own.
MISSING, OTHER = "missing", "other"
# A column is taken for numbers, dates or names of rows if this share of its values are: a heuristic choice.
NEARLY_ALL = 0.9
# Fewer rows than this do not tell what a column is, unless its name does: a heuristic choice.
FEW_ROWS = 10
# Values that occur less often are rare, where there are too many to keep all; those kept are of this share of the rows,
# or the column tells little: heuristic choices.
_RARE, _KEPT = 5, 0.2
# Different values of a column that are looked at, chosen by their hashes where there are more.
_MAX_VALUES = 2**16
# Names that say that a column names rows, and those of codes that are no amounts.
_NAMING = re.compile(
    r"|unnamed: ?\d+|__index_level_\d+__|row_?\.?names?|(row|record|case|serial)?[_. -]?(id|ids|key|no|nr)|uid|uuid|"
    r"guid|index|rows?|records?|obs|observation|case|subject|patient|names?|.*[_. -](id|ids|key|uuid|no|nr)",
    re.IGNORECASE,
)
_CAMEL = re.compile(r".*[a-z](Id|ID|Key)")
_INDEX = re.compile(r"|Unnamed: 0|__index_level_\d+__|row_?\.?names?", re.IGNORECASE)
_CODED = re.compile(r"(.*[_. -])?(zip|zip_?code|plz|postcode|postal_?code|year|id|code|fips|isin|ean)", re.IGNORECASE)
# 3,14 and 1.234,56, and 1,234.5 too, among numbers that need no comma.
_NUMBER = re.compile(r"[+-]?(\d+(,\d+)?|,\d+|\d{1,3}([., ]\d{3})*([.,]\d+)?)([eE][+-]?\d+)?")
# 2026-01-31 and 31.1.26, with a time after it or not.
_DAY, _MONTH = "(?:0?[1-9]|[12][0-9]|3[01])", "(?:0?[1-9]|1[0-2])"
_DATE = re.compile(rf"(\d{{4}}([-/.]){_MONTH}\2{_DAY}|{_DAY}([-/.]){_DAY}\3(\d{{4}}|\d{{2}}))([T ].*)?")
# 13.0%, 12 kg and $5, but not row 12: what stands around a number, if anything does.
_WITH_UNIT = re.compile(r"([^\w\s.,+-]{0,3})\s?[+-]?\d[\d.,']*\s?(\D{0,15})")
# More units than this in a column are rather names: a heuristic choice.
_MAX_UNITS = 3


class Stray(NamedTuple):
    """The first value that is no number in a column where nearly all are.

    The row is counted from 1, below the names; so many of all values are numbers.
    """

    value: str
    row: int
    n_numbers: int
    n_values: int


class Choice(NamedTuple):
    """What a column is taken for.

    The kind is ``"number"``, ``"category"``, ``"pooled"`` (categories, of which the rare ones are one), ``"row name"``,
    ``"text"`` (too many values), or what a `Reading` is: ``"flag"``, ``"date"``, ``"marked"``. The values are those of
    categories, in order, and the misfit says why it should rather be refused.
    """

    kind: str
    reading: Reading | None = None
    values: list[str] = []  # noqa: RUF012
    misfit: str | None = None


class Profile:
    """What there is to know of a column, from as many batches of it as there are, in any order."""

    def __init__(self, name: str, dtype: Any):
        self.name, self.dtype = name, dtype
        self.n_rows = self.n_missing = 0
        self.is_number = dtype.is_numeric() or dtype in (pl.Boolean, pl.Null)
        self.is_text = dtype in (pl.String, pl.Categorical, pl.Enum)
        self.is_time = dtype in (pl.Date, pl.Time) or dtype == pl.Datetime
        self.is_known = self.is_number or self.is_text or self.is_time
        # Of numbers as long as none repeats: their values.
        self.values: Any = None
        self.n_values, self.is_sampled = 0.0, False
        self._has_times = False
        self._differs = self.is_number and dtype != pl.Boolean
        self.low: Any = None
        self.high: Any = None

    def add(self, column: pl.Series) -> None:
        """Look at further values, of which text has no blanks around it."""
        start, self.n_rows = self.n_rows, self.n_rows + len(column)
        if self.is_time and column.dtype.is_temporal() and not self._has_times:
            self._has_times = _hold_times(column, Date(str(column.dtype.base_type())))
        if self.is_time or not (self.is_text or self._differs) or not len(column):
            return
        if self.is_number:
            filled = (
                column.drop_nulls() if column.dtype.is_integer() else column.cast(pl.Float64).drop_nans().drop_nulls()
            )
            whole = column.dtype.is_integer() or (filled == filled.floor()).all()
            self._differs = bool(len(filled) == len(column) == filled.n_unique() and whole)
            if not self._differs:
                self.values = None
                return
            ends: list[Any] = [filled.min(), filled.max(), *({self.low, self.high} - {None})]
            self.low, self.high = min(ends), max(ends)
        self.__dict__.pop("texts", None)
        found = pl.DataFrame({"value": column}).with_row_index("first", offset=start).drop_nulls()
        self.n_missing += len(column) - len(found)
        found = found.with_columns(pl.lit(1, pl.UInt32).alias("n"))
        both = found if self.values is None else pl.concat([self.values, found.select(self.values.columns)])
        both = both.group_by("value").agg(pl.sum("n"), pl.min("first"))
        self.is_sampled |= len(both) > _MAX_VALUES
        if self.is_sampled:  # by their hashes: which values are kept depends on no order, and all of each are counted
            both = both.sort(pl.col("value").hash(0)).head(_MAX_VALUES)
        self.values = both
        mean: Any = both["n"].mean()
        self.n_values = self.n_filled / mean if self.is_sampled else float(len(both))
        if self.is_number and (both["n"] > 1).any():
            self._differs, self.values = False, None

    @property
    def n_filled(self) -> int:
        """How many values are not missing."""
        return self.n_rows - self.n_missing

    @cached_property
    def texts(self) -> list[str]:
        """The different values, but none that stands for nothing, in the order in which they come."""
        assert self.values is not None
        return self.values.filter(~pl.col("value").is_in(MARKERS)).sort("first")["value"].to_list()

    def has_name(self) -> bool:
        """Whether the name of the column says that it names rows."""
        return bool(_NAMING.fullmatch(self.name.strip()) or _CAMEL.fullmatch(self.name))

    def differs(self) -> bool:
        """Whether the values differ in nearly every row, of enough rows."""
        enough = self.n_filled >= (2 if self.has_name() else FEW_ROWS)
        return enough and self.n_values >= NEARLY_ALL * self.n_filled

    def has_times(self, dates: Date) -> bool:
        """Whether not all values, which are such dates, are without a time of day, or at midnight."""
        return self._has_times if self.is_time else _hold_times(pl.Series(self.texts), dates)

    def find_stray(self) -> Stray | None:
        """Return the first value that is no number, where nearly all are but not all."""
        if self.values is None or not len(self.values):
            return None
        odd = self.values.filter(parse_numbers(self.values["value"]).is_null())
        n_values, n_odd = int(self.values["n"].sum()), int(odd["n"].sum())
        if not n_odd or n_odd > (1 - NEARLY_ALL) * n_values:
            return None
        first = odd.sort("first")
        return Stray(first["value"][0], first["first"][0] + 1, n_values - n_odd, n_values)


def begin_profiles(frame: pl.DataFrame, ignored: Collection[str]) -> dict[str, Profile]:
    """Return empty profiles of the columns of a table, but of those to be ignored; refuse what none can be made of."""
    known = list_names(frame.columns) or "none"
    absent = [name for name in ignored if name not in frame.columns]
    if absent:
        raise ValueError(f"ignore={absent[0]!r} is no column of the table, which has {known}")
    profiles = {name: Profile(name, frame[name].dtype) for name in frame.columns if name not in ignored}
    if not profiles:
        raise ValueError(f"no column is left to learn from; the table has {known}")
    other = [name for name, profile in profiles.items() if not profile.is_known]
    if other:
        types = ", ".join(dict.fromkeys(str(frame[name].dtype) for name in other))
        raise ValueError(
            f"{name_columns(other)} {'holds' if len(other) == 1 else 'hold'} values of type {types}, but numbers, "
            f"text or dates are needed; make numbers of them first, or {advise_to_ignore(other)}"
        )
    return profiles


def choose(profile: Profile, max_categories: int) -> Choice:
    """Return what a column is taken for: the rule of ``docs/concepts/columns.md``."""
    if not profile.name:
        return Choice("row name")
    if profile.is_time:
        return Choice("date", Date(str(profile.dtype.base_type())))
    if profile.is_number:
        return Choice("row name" if _names_rows(profile) else "number")
    if profile.values is None or not len(profile.values):
        return Choice("category", values=[MISSING] if profile.n_rows else [])
    if _INDEX.fullmatch(profile.name) and profile.differs():
        return Choice("row name")
    declared = str(profile.dtype) != "String"
    reading = None if declared or not profile.texts else _read(profile)
    if isinstance(reading, str):
        return Choice(reading)
    if reading is not None:
        return Choice(type(reading).__name__.lower(), reading)
    many = profile.n_values + bool(profile.n_missing) > max_categories
    misfit = None if declared else describe_misfit(profile.texts, profile.find_stray(), units=many)
    if misfit and many:
        return Choice("category", misfit=misfit)
    if not misfit and profile.differs():
        return Choice("row name")
    values = sorted(profile.values["value"].to_list())
    if not many:
        if profile.n_missing:
            values = sorted({*values, MISSING})
        if len(values) == 2 and MISSING not in values:
            return Choice("flag", Flag(*values))
        return Choice("category", values=values, misfit=misfit)
    return _pool(profile, max_categories)


def _read(profile: Profile) -> Reading | str | None:
    """Return how all values are written, or ``"number"``, or ``"row name"``; None if they are text."""
    values = pl.Series(profile.texts)
    numbers = parse_numbers(values)
    if not numbers.null_count() and numbers.is_finite().any():
        differs = profile.has_name() and len(values) == profile.n_rows and (numbers == numbers.floor()).all()
        return "row name" if differs and len(values) > 1 else "number"
    return find_flag(profile.texts) or find_dates(values) or find_marks(profile.texts)


def _names_rows(profile: Profile) -> bool:
    """Whether whole numbers count the rows, in any order, or differ under the name of an identifier."""
    if profile.values is None or profile.n_rows < 2:
        return False
    counts = profile.low in (0, 1) and profile.high - profile.low == profile.n_rows - 1
    return profile.has_name() or (counts and profile.n_rows >= FEW_ROWS)


def _pool(profile: Profile, max_categories: int) -> Choice:
    """Return the most frequent categories, others as one of their own; text of too many values where they are few."""
    assert profile.values is not None
    frequent = profile.values.filter(pl.col("n") >= _RARE).sort("n", "value", descending=[True, False])
    frequent = frequent.head(max_categories - 1 - bool(profile.n_missing))
    if frequent["n"].sum() < _KEPT * profile.n_filled:
        return Choice("text")
    missing = [MISSING] if profile.n_missing else []
    return Choice("pooled", values=[*sorted({*frequent["value"].to_list(), *missing} - {OTHER}), OTHER])


def _hold_times(values: pl.Series, dates: Date) -> bool:
    return bool((dates.encode(values) % 1 != 0).any())


def looks_coded(name: str) -> bool:
    """Whether the name of a column of numbers says that they are codes rather than amounts."""
    return _CODED.fullmatch(name) is not None


def describe_misfit(
    values: Collection[str],
    stray: Stray | None,
    counted: str = "counted from 1, below the names",
    *,
    units: bool = True,
) -> str | None:
    """Say what these different values of text rather look like than categories; None if they do not."""
    if stray is not None:
        return (
            f"numbers ({stray.n_numbers} of {stray.n_values} values are, but not {stray.value!r:.65} in row "
            f"{stray.row}, {counted}); correct such values or leave them empty"
        )
    if has_commas(values):
        others = sorted(value for value in values if not _NUMBER.fullmatch(value))[:3]
        also = f", but also {', '.join(map(repr, others))}" if others else ""
        example = min(filter(_has_comma, values))
        return f"numbers with commas ({example!r:.65}{also}); save plain numbers with decimal points"
    if _are_nearly_all(values, _DATE):
        return f"dates ({min(values)!r:.65}); make numbers of them, such as days since a certain one"
    if units and (found := _find_units(values)):
        example = min(filter(_WITH_UNIT.fullmatch, values))
        around = ", ".join(map(repr, found))
        return f"numbers with {around} around them ({example!r:.65}); remove that, and save plain numbers"
    return None


def has_commas(values: Collection[str]) -> bool:
    """Whether text looks like numbers, at least one of them with a comma."""
    return any(map(_has_comma, values)) and _are_nearly_all(values, _NUMBER)


def find_twins(texts: Collection[str]) -> list[list[str]]:
    """Return groups of different texts that are the same but for blanks and case."""
    groups: dict[str, list[str]] = {}
    for text in texts:
        groups.setdefault(" ".join(text.split()).casefold(), []).append(text)
    return [group for group in groups.values() if len(group) > 1]


def as_number(text: Any) -> float | None:
    """Return a text as the number that it is; None if it is none."""
    try:
        return float(text)
    except ValueError:
        return None


def find_stray_label(labels: Collection[str | None]) -> Stray | None:
    """Return the first label that is no number, where nearly all different ones are but not all; None is no label."""
    known = [label for label in labels if label is not None]
    different = set(known)
    odd = {label for label in different if as_number(label) is None}
    if not odd or len(odd) > (1 - NEARLY_ALL) * len(different):
        return None
    row, first = next((row, label) for row, label in enumerate(labels, 1) if label in odd)
    return Stray(str(first), row, sum(label not in odd for label in known), len(known))


def _has_comma(value: str) -> bool:
    return "," in value and _NUMBER.fullmatch(value) is not None


def _are_nearly_all(values: Collection[str], pattern: re.Pattern) -> bool:
    return len(values) > 0 and sum(map(bool, map(pattern.fullmatch, values))) >= NEARLY_ALL * len(values)


def _find_units(values: Collection[str]) -> list[str]:
    """Return what stands around nearly all values, which are numbers otherwise: percent signs, units, currencies."""
    if not _are_nearly_all(values, _WITH_UNIT):
        return []
    units = {"".join(match.groups()).strip() for match in map(_WITH_UNIT.fullmatch, values) if match}
    return sorted(units - {""}) if len(units) <= _MAX_UNITS else []
