"""Types of columns that are written as text: how each becomes numbers, and comes back as it was written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import Any, TypeAlias

import numpy as np

from layerwise.data._polars import columns, pl
from layerwise.data.cycles import PERIODS, as_circle, name_parts

# What stands for nothing in a column of numbers: what R, pandas, databases, spreadsheets and the UCI repository write.
MARKERS = (
    *("", "?", "NA", "N/A", "n/a", "#N/A", "#NA", "<NA>", "NaN", "nan", "NAN", "-NaN", "-nan", "null", "NULL", "Null"),
    *("None", ".", "..", "-", "--", r"\N", "#DIV/0!", "#VALUE!", "#REF!", "#NUM!", "unknown", "Unknown", "missing"),
)
# What stands for true and false.
FLAGS = {"false": False, "False": False, "FALSE": False, "true": True, "True": True, "TRUE": True}
# What may stand between thousands, and before the fraction, in the order in which they are tried.
_SYNTAXES = ((",", "."), ("", ","), (".", ","), ("'", "."), ("’", "."), (" ", "."), (" ", ","), ("\u00a0", ","))  # noqa: RUF001
_CURRENCIES = "USD|EUR|GBP|CHF|JPY|CNY|INR|AUD|CAD|NZD|SEK|NOK|DKK|PLN|CZK|BRL|KRW|ZAR|[A-Z]{1,2}\\$"
_MARKED = re.compile(
    rf"(?P<open>\()?(?P<first>[+-])?(?P<before>[^\w\s.,+()<>~#*'\"-]|{_CURRENCIES})?(?P<space>\s?)(?P<second>[+-])?"
    r"(?P<number>[\d.,](?:[\d.,'’\u00a0 ]*[\d.])?(?:[eE][+-]?\d+)?)"  # noqa: RUF001
    r"(?P<after>\s?(?:[^\W\d_]|[%‰°€$£¥₹])(?:[^\d()]|(?<=[^\W\d_])\d(?!\d)){0,14})?(?P<close>\))?"  # m2, kg/m3
)
_DAYS = (
    *("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%d.%m.%Y", "%d.%m.%y", "%m/%d/%Y", "%d/%m/%Y", "%m/%d/%y", "%d/%m/%y"),
    *("%d-%m-%Y", "%m-%d-%Y", "%d-%m-%y", "%d %b %Y", "%d-%b-%Y", "%d-%b-%y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y"),
)
_TIMES = ("%H:%M", "%H:%M:%S", "%H:%M:%S%.f", "%H:%M:%SZ", "%H:%M:%S%.fZ")
_UNPADDED = [re.sub("%([dm])", r"%-\1", day) for day in _DAYS]
# As dates and times are written; - stands for digits without a leading 0.
FORMATS = (
    *_DAYS,
    *_UNPADDED,
    *(f"{day}{gap}{time}" for day in _DAYS for gap in " T" for time in _TIMES),
    *(f"{day} {time}" for day in _UNPADDED for time in (*_TIMES[:2], "%-H:%M")),
    *("%H:%M", "%H:%M:%S", "%-H:%M"),
)
_DAY = 86_400_000_000  # in microseconds
# The periods that dates, and times, tell their place in.
_CYCLES = {"Date": PERIODS[:2], "Datetime": PERIODS, "Time": PERIODS[2:]}


@dataclass(frozen=True)
class Flag:
    """Two texts, 0 and 1; true and false however they are spelt."""

    low: str
    high: str

    @property
    def is_truth(self) -> bool:
        """Whether they are true and false."""
        return self.low in FLAGS and self.high in FLAGS

    def encode(self, text: pl.Series) -> pl.Series:
        """Return text as numbers; another text, and of two that are no truth values none, is halfway."""
        known: dict[Any, Any] = {self.low: 0.0, self.high: 1.0}
        if self.is_truth:
            known = {name: float(flag) for name, flag in FLAGS.items()} | dict.fromkeys((*MARKERS, None), None)
        return text.replace_strict(known, default=0.5, return_dtype=pl.Float64)

    def decode(self, numbers: pl.Series) -> pl.Series:
        """Return the nearer text."""
        value = pl.when(numbers > 0.5).then(pl.lit(self.high)).when(numbers < 0.5).then(pl.lit(self.low))
        return pl.select(value).to_series()

    def __str__(self) -> str:
        return f"{self.low!r} or {self.high!r}"


@dataclass(frozen=True)
class Date:
    """Dates, dates with times, or times of a day, as days (since 1970).

    The format is one of ``FORMATS``; or ``"Date"``, ``"Datetime"`` or ``"Time"`` of columns that are that. The
    ``parts`` are periods whose sine and cosine stand beside the days, see `layerwise.data.cycles`.
    """

    format: str
    parts: tuple[str, ...] = ()

    def with_parts(self, periods: Iterable[str]) -> Date:
        """Return this with those of the periods that such dates tell their place in."""
        return replace(self, parts=tuple(part for part in periods if part in _CYCLES[self._kind]))

    def encode_parts(self, days: pl.Series) -> list[pl.Series]:
        """Return what stands beside the days: two columns a part."""
        days = days.fill_nan(None)
        return [column for part in self.parts for column in as_circle(days, part)]

    def name_parts(self) -> list[str]:
        """Return what their names end in."""
        return name_parts(self.parts)

    def encode(self, values: pl.Series) -> pl.Series:
        """Return dates as days."""
        if values.dtype == pl.String:
            values = _parse_dates(values, self.format)
        if values.dtype == pl.Date:
            return values.to_physical().cast(pl.Float64)
        if values.dtype == pl.Time:
            return values.to_physical().cast(pl.Float64) / (1000 * _DAY)
        if values.dtype == pl.Datetime:
            return values.dt.epoch("us").cast(pl.Float64) / _DAY
        return values.cast(pl.String).cast(pl.Float64, strict=False) * float("nan")

    def decode(self, numbers: pl.Series) -> pl.Series:
        """Return days as dates, to a day, a minute or a second as they are written."""
        numbers = numbers.set(~numbers.is_finite().fill_null(False), None)
        if self._kind == "Date":
            dates = numbers.round().clip(-700_000, 2_900_000).cast(pl.Int32).cast(pl.Date)
        else:
            step = _DAY // (1440 if self.format.endswith("%H:%M") else 86_400)
            if self.format in ("Datetime", "Time") or "%.f" in self.format:
                step = 1000
            steps = (numbers.clip(-700_000, 2_900_000) * _DAY / step).round().cast(pl.Int64) * step
            dates = (
                (1000 * steps.clip(0, _DAY - step)).cast(pl.Time)
                if self._kind == "Time"
                else steps.cast(pl.Datetime("us"))
            )
        return dates if self.format == self._kind else dates.dt.strftime(self.format)

    @property
    def _kind(self) -> str:
        return _kind_of(self.format) if "%" in self.format else self.format

    def __str__(self) -> str:
        return self.format


@dataclass(frozen=True)
class Marked:
    """Numbers with the same around all of them: a unit, a percent sign, a currency; or with thousands, or a comma.

    ``thousands`` stands between them, if anything does, and ``point`` before a fraction of at most so many
    ``decimals``; ``negative`` says that numbers in parentheses are.
    """

    before: str = ""
    after: str = ""
    thousands: str = ""
    point: str = "."
    negative: bool = False
    decimals: int = 0

    def encode(self, text: pl.Series) -> pl.Series:
        """Return text as numbers, with null for what is not written so; plain numbers may stand among others."""
        if text.dtype.is_numeric():
            return text.cast(pl.Float64)
        value = pl.col("value")
        inside = value.str.strip_prefix("(").str.strip_suffix(")")
        inner = pl.when(value.str.contains(r"^\(.*\)$") & self.negative).then("-" + inside).otherwise(value)
        inner = inner.str.strip_suffix(self.after.strip()).str.strip_chars()
        sign = inner.str.extract(r"^([+-])").fill_null("")
        inner = inner.str.replace(r"^[+-]", "").str.strip_prefix(self.before).str.strip_chars()
        fits = inner.str.contains(f"^(?:[+-]?(?:{_pattern(self.thousands, self.point)}))$")
        digits = inner.str.replace_all(self.thousands, "", literal=True) if self.thousands else inner
        plain = sign + pl.when(fits).then(digits).str.replace(self.point, ".", literal=True)
        return pl.DataFrame({"value": text.cast(pl.String)}).select(plain.cast(pl.Float64, strict=False)).to_series()

    def decode(self, numbers: pl.Series) -> pl.Series:
        """Return numbers as text as it was written."""
        return pl.Series(
            [None if x is None or not np.isfinite(x) else self._write(x) for x in numbers], dtype=pl.String
        )

    def _write(self, number: float) -> str:
        size = f"{abs(number):,.{self.decimals}f}" if self.thousands else f"{abs(number):.{self.decimals}f}"
        size = size.replace(",", "\0").replace(".", self.point).replace("\0", self.thousands)
        below = number < 0 and any(digit in size for digit in "123456789")
        text = f"{self.before}{size}{self.after}"
        if not below:
            return text
        return f"({text})" if self.negative else f"-{text}"

    def __str__(self) -> str:
        marks = [repr(mark.strip()) for mark in (self.before, self.after) if mark.strip()]
        marks += [f"thousands {self.thousands!r}"] if self.thousands else []
        marks += ["decimal commas"] if self.point == "," else []
        return ", ".join([*marks, *(["parentheses"] if self.negative else [])])


Reading: TypeAlias = Flag | Date | Marked
_READINGS: dict[str, Any] = {"flag": Flag, "date": Date, "marked": Marked}


def as_plain(reading: Reading) -> dict[str, Any]:
    """Return a type as JSON can hold it."""
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(reading).items()}
    return {"type": type(reading).__name__.lower(), **{name: value for name, value in plain.items() if value != []}}


@cache
def _of_items(items: tuple[tuple[str, Any], ...]) -> Reading:
    fields = dict(items)
    reading = _READINGS[fields.pop("type")](**fields)
    given = asdict(reading)
    kinds = {"negative": bool, "decimals": int, "parts": tuple}
    if not all(type(value) is kinds.get(name, str) and len(str(value)) < 1000 for name, value in given.items()):
        raise ValueError("a type of a column has fields that it never has")
    if isinstance(reading, Date) and reading.format not in (*FORMATS, "Date", "Datetime", "Time"):
        raise ValueError(f"{reading.format!r:.65} is no format of dates")
    if isinstance(reading, Date) and reading.with_parts(dict.fromkeys(reading.parts)) != reading:
        raise ValueError("dates have parts that they never have")
    if isinstance(reading, Marked) and not (
        0 <= reading.decimals <= 20 and (reading.thousands, reading.point) in (*_SYNTAXES, ("", "."))
    ):
        raise ValueError("numbers are written otherwise")
    return reading


def from_plain(plain: dict[str, Any]) -> Reading:
    """Return a type that `as_plain` has made plain."""
    fields = {name: tuple(value) if isinstance(value, list) else value for name, value in plain.items()}
    return _of_items(tuple(sorted(fields.items())))


def is_plain(plain: Any) -> bool:
    """Whether this is what `as_plain` gives, or says of a column that it has no such type."""
    if not isinstance(plain, dict):
        return False
    if plain.get("type") in ("row name", "text"):
        return len(plain) == 1
    if plain.get("type") == "pooled":
        return plain.keys() == {"type", "n_values"} and type(plain["n_values"]) is int
    try:
        return as_plain(from_plain(plain)) == plain
    except (KeyError, TypeError, ValueError):
        return False


def as_text(column: pl.Series) -> pl.Series:
    """Return a column as text, as CSV would hold it: without blanks around it, and missing where nothing is left."""
    text = column.cast(pl.String).str.strip_chars()
    return text.set(text == "", None)


def encode(column: pl.Series, reading: Reading | None) -> pl.Series:
    """Return a column as float64, with null for what is missing."""
    if reading is not None:
        return reading.encode(column if isinstance(reading, Date) and column.dtype.is_temporal() else as_text(column))
    plain = column.dtype.is_numeric() or column.dtype in (pl.Boolean, pl.Null)
    return column.cast(pl.Float64) if plain else parse_numbers(column)


def find_stray(table: pl.LazyFrame, name: str, reading: Reading | None) -> tuple[str, int] | None:
    """Return the first value of a column that is not written as it was, and its row from 1; None if all are."""
    rows = table.select(columns(name).alias("value")).with_row_index("row")
    rows = rows.group_by(pl.col("value").cast(pl.String).str.strip_chars()).agg(pl.min("row"))
    found = rows.collect(engine="streaming").filter(~pl.col("value").is_in(MARKERS))
    odd = found.filter(encode(found["value"], reading).is_null()).sort("row").head(1)
    return (odd["value"][0], odd["row"][0] + 1) if len(odd) else None


def parse_numbers(text: Any) -> Any:
    """Return a column, or an expression, of text as float64, with null for what is no number."""
    return text.cast(pl.String).str.strip_chars().cast(pl.Float64, strict=False)


def find_flag(values: Sequence[str]) -> Flag | None:
    """Return true and false as these values spell them; None if they are something else."""
    if not values or not all(value in FLAGS for value in values):
        return None
    spelt = {FLAGS[value]: value for value in reversed(values)}
    like = next(style for style in (str.isupper, str.istitle, str.islower) if style(values[0]))
    alike = {FLAGS[flag]: flag for flag in FLAGS if like(flag)} | spelt
    return Flag(alike[False], alike[True])


def find_dates(values: pl.Series) -> Date | None:
    """Return how all of these different values are written as dates, or times; None if they are not."""
    if not values.str.contains(r"\d[-/.: ]|\d, \d").all():
        return None
    few = values.head(8)
    for form in FORMATS:
        for sample in (few, values):
            parsed = _parse_dates(sample, form)
            if parsed.null_count() or not (parsed.dt.strftime(form) == sample).all():
                break
        else:
            return Date(form)
    return None


def find_marks(values: Iterable[str]) -> Marked | None:
    """Return how all of these values are written as numbers, where that is not plain; None if they are not."""
    matches = [_MARKED.fullmatch(value) for value in values]
    if not matches or not all(matches):
        return None
    parts = [match.groupdict(default="") for match in matches if match]
    around = {(part["before"], part["after"].strip()) for part in parts}
    odd = any(
        (part["open"] == "") != (part["close"] == "") or (part["open"] and part["first"] + part["second"])
        for part in parts
    )
    if len(around) != 1 or odd:
        return None
    numbers = [part["number"] for part in parts]
    for thousands, point in (("", "."), *_SYNTAXES):
        if all(map(re.compile(_pattern(thousands, point)).fullmatch, numbers)):
            break
    else:
        return None
    if not any(thousands in number for number in numbers if thousands):
        thousands = ""
    decimals = max(len(re.split("[eE]", number)[0].partition(point)[2]) for number in numbers)
    before, after = (
        (parts[0]["before"] + parts[0]["space"], parts[0]["after"]) if parts[0]["before"] else ("", parts[0]["after"])
    )
    return Marked(before, after, thousands, point, any(part["open"] for part in parts), min(decimals, 20))


def _pattern(thousands: str, point: str) -> str:
    """Return a pattern of numbers without sign that are written with these."""
    between, point = re.escape(thousands), re.escape(point)
    groups = rf"|[1-9]\d{{0,2}}(?:{between}\d{{3}})+" if thousands else ""
    return rf"(?:\d+{groups})(?:{point}\d*)?(?:[eE][+-]?\d+)?|{point}\d+"


def _parse_dates(text: pl.Series, form: str) -> pl.Series:
    kinds: dict[str, Any] = {"Date": pl.Date, "Time": pl.Time, "Datetime": pl.Datetime("us")}
    return text.str.strptime(kinds[_kind_of(form)], form.replace("%-", "%"), strict=False)


def _kind_of(form: str) -> str:
    padded = form.replace("%-", "%")
    return ("Datetime" if "%H" in padded else "Date") if "%d" in padded else "Time"
