"""The cells of a sheet as a table: its header, its rows, the types of its columns, and what was passed over."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from layerwise.data._polars import pl
from layerwise.data._workbook_reader import DATE, FLAG, NOTHING, NUMBER, TEXT, name_cell
from layerwise.data.column_types import FLAGS, MARKERS
from layerwise.data.csv_tables import check_numeric_names
from layerwise.data.profiles import NEARLY_ALL, as_number, parse_numbers
from layerwise.errors import FileError

_KINDS = {TEXT: "text", NUMBER: "numbers", FLAG: "true or false", DATE: "dates"}
# Dates before this are times, of the last day of 1899.
_FIRST, _ZERO = datetime(1900, 1, 1), datetime(1899, 12, 31)
# What a row of sums is called.
_TOTAL = re.compile(
    r"(grand |sub)?totals?:?|sums?:?|summen?:?|gesamt(summe)?:?|somme:?|suma:?|insgesamt:?", re.IGNORECASE
)
# A row of sums without a name is known by its numbers, if there are so many rows above it: a heuristic choice.
_FEW = 5
# Names of columns of dates, and the numbers that days of 1954 to 2119 have in workbooks.
_DATED = re.compile(r"(.*[_. -])?(date|day|datum|tag|fecha|dia|jour)", re.IGNORECASE)
_SERIAL = (20_000, 80_000)


class Found(NamedTuple):
    """A table, what is to be said of how it was read, and columns that cannot be used, each with the reason."""

    frame: pl.DataFrame
    notes: Sequence[str]
    misfits: Mapping[str, str]


class Cells:
    """What another process has found in a sheet: ``facts``, and the cells below the header as ``frames``."""

    def __init__(self, path: Path, facts: Mapping[str, Any], frames: Mapping[str, pl.DataFrame]):
        self.path, self.facts, self._frames = path, facts, frames
        self.header: int = facts["header_row"]
        self._letters = [name_cell(column) for column in facts["columns"]]
        self.names = [" ".join(name.removesuffix(" 00:00:00").split()) for name in facts["head"][facts["place"]]]
        self._kinds, self._values = self._sort()
        self.notes: list[str] = []
        self.misfits: dict[str, str] = {}

    def address(self, column: int, row: int) -> str:
        """Return what a spreadsheet program calls a cell; ``row`` counts from 0 below the header."""
        return f"{self._letters[column]}{self.header + 1 + row}"

    def _sort(self) -> tuple[list[pl.Series], list[pl.Series]]:
        """Return the kinds of the cells, column by column, and their values: of one type, or text where kinds mix."""
        kinds, values = [], []
        for column in range(len(self._letters)):
            name = str(column)
            if "typed" in self._frames:
                value, kind = self._frames["typed"][name], None
            else:
                value, kind = self._frames["text"][name], self._frames["kinds"][name]
            if value.dtype == pl.String:
                value = value.str.strip_chars()
                value = value.set(value == "", None)
            if kind is None:
                kind = pl.select(
                    pl.when(value.is_not_null()).then(_kind_of(value.dtype)).otherwise(NOTHING)
                ).to_series()
            else:
                empty = pl.when((kind == TEXT) & value.is_null()).then(NOTHING).otherwise(kind)
                kind = pl.select(empty).to_series()
            kinds.append(kind.cast(pl.UInt8))
            values.append(value)
        return kinds, values

    def _refuse(self, what: str) -> FileError:
        return FileError(f"{self.path}, sheet {self.facts['sheet']!r:.65}: {what}")

    def as_table(self) -> Found:
        """Return the table; refuse what is none, with the cell where that shows."""
        self._check_lines()
        columns = self._choose_columns()
        kept = self._choose_rows(columns)
        self._check_header(columns)
        self._check_totals(columns, kept)
        self._check_marked(columns, kept)
        series = {self.names[column]: self._type(column, kept) for column in columns}
        return Found(pl.DataFrame(series), self.notes, self.misfits)

    def _choose_columns(self) -> list[int]:
        """Return the columns of the table: those that have a name, and the first, which may have none."""
        used = [column for column, name in enumerate(self.names) if name or (self._kinds[column] != NOTHING).any()]
        for column in used[1:]:
            if not self.names[column]:
                first = int((self._kinds[column] != NOTHING).arg_true()[0])
                raise self._refuse(
                    f"column {self._letters[column]} has values, as in {self.address(column, first)}, but no name in "
                    f"row {self.header} ({self._letters[column]}{self.header}); each column needs one, in one line"
                )
        between = [k for k in range(used[0], used[-1]) if k not in used]
        if between:
            blocks: list[list[int]] = [[used[0]]]
            for last, column in pairwise(used):
                blocks.append([column]) if column > last + 1 else blocks[-1].append(column)
            ends = [self._filled(block).arg_true()[-1:].to_list() for block in blocks]
            if any(end != ends[0] for end in ends):
                places = ", ".join(f"{self._letters[block[0]]}{self.header}" for block in blocks)
                raise self._refuse(
                    f"there are several tables side by side, at {places}; put each on a sheet of its own"
                )
            self.notes.append(
                f"empty columns between others are passed over: {', '.join(map(self._letters.__getitem__, between))}"
            )
        return used

    def _filled(self, columns: Sequence[int]) -> pl.Series:
        """Return which rows have a value in one of these columns."""
        return pl.select(pl.any_horizontal([self._kinds[column] != NOTHING for column in columns])).to_series()

    def _choose_rows(self, columns: Sequence[int]) -> pl.Series:
        """Return which rows are the table's: not those without values, nor remarks below an empty one."""
        filled = self._filled(columns)
        rows = filled.arg_true()
        if not len(rows):
            raise self._refuse(f"below the names of the columns in row {self.header} there are no rows")
        last = int(rows[-1])
        gaps = [int(row) for row in (~filled).arg_true() if row < last]
        if gaps and len(columns) > 1:
            below = self._find_remarks(columns, gaps[-1] + 1, filled)
            if below is not None:
                last = max(row for row in rows.to_list() if row < below)
                gaps = [row for row in gaps if row < last]
                filled = filled & (pl.Series(range(len(filled))) <= last)
        if gaps:
            listed = ", ".join(str(self.header + 1 + row) for row in gaps[:10])
            more = f" and {len(gaps) - 10} more" if len(gaps) > 10 else ""
            self.notes.append(f"empty rows between others are passed over: {listed}{more}")
        for gap in gaps:
            self._check_below(columns, gap, filled)
        return filled

    def _find_remarks(self, columns: Sequence[int], start: int, filled: pl.Series) -> int | None:
        """Return where remarks begin, rows with a single text, to the end, below an empty row."""
        rows = [row for row in filled.arg_true().to_list() if row >= start]
        if len(rows) > 10 or rows[0] == filled.arg_true()[0]:
            return None
        told = []
        for row in rows:
            there = [column for column in columns if self._kinds[column][row] != NOTHING]
            if len(there) != 1 or self._kinds[there[0]][row] != TEXT:
                return None
            told.append(f"{self.address(there[0], row)} {self._values[there[0]][row]!r:.65}")
        self.notes.append(f"rows below the table are passed over: {', '.join(told[:3])}")
        return rows[0]

    def _check_below(self, columns: Sequence[int], gap: int, filled: pl.Series) -> None:
        """Refuse another table below an empty row: one whose first row is text where there were none, or its names."""
        row = next(row for row in range(gap + 1, len(filled)) if filled[row])
        texts = [column for column in columns if self._kinds[column][row] == TEXT]
        odd = [column for column in texts if not (self._kinds[column][:gap] == TEXT).any()]
        same = texts and all(self._values[column][row] == self.names[column] for column in texts)
        if same or (odd and len(texts) == sum(self._kinds[column][row] != NOTHING for column in columns)):
            raise self._refuse(
                f"there is another table below the empty row {self.header + 1 + gap}, at "
                f"{self.address((odd or texts)[0], row)}; put each on a sheet of its own"
            )

    def _check_lines(self) -> None:
        """Refuse names of columns that take two lines: with texts above them, or that complete them."""
        head, place = self.facts["head"], self.facts["place"]
        last = self.header
        above, below = head[place - 1] if place else [], head[place + 1] if place + 1 < len(head) else []
        known = [name for name in self.names if name]
        double = len(set(known)) < len(known) or any(
            text and not name for name, text in zip(self.names, below, strict=False)
        )
        numbers = [text for text in below if text[:1].isdecimal() or as_number(text) is not None]
        if not sum(map(bool, above)) > 1:
            if not (double and len(known) > 1 and not numbers and len(set(filter(None, below))) >= len(known)):
                return
            above, last = head[place], self.header + 1
        cell = next(column for column, text in enumerate(above) if text)
        raise self._refuse(
            f"the names of the columns take more than one line (rows {last - 1} and {last}, see "
            f"{self._letters[cell]}{last - 1}); leave one line with a name for each column, or an empty row between"
        )

    def _check_header(self, columns: Sequence[int]) -> None:
        head, place = self.facts["head"], self.facts["place"]
        titles = [" ".join(row).strip() for row in head[:place]]
        if any(titles):
            told = ", ".join(repr(text)[:65] for text in filter(None, titles))
            self.notes.append(
                f"the names of the columns are in row {self.header}; what is above is passed over: {told}"
            )
        names = [self.names[column] for column in columns]
        first: dict[str, int] = {}
        for column in columns:
            if (twin := first.setdefault(self.names[column], column)) != column:
                cells = " and ".join(f"{self._letters[other]}{self.header}" for other in (twin, column))
                raise self._refuse(
                    f"two columns are called {self.names[column]!r:.65} ({cells}); give each its own name"
                )
        below = head[place + 1 : place + 2]
        rows = [[row[column] for column in columns] for row in below]
        check_numeric_names(self.path, names, iter(rows), f"row {self.header}")

    def _check_totals(self, columns: Sequence[int], kept: pl.Series) -> None:
        """Refuse a last row of sums, which is known by its name, or by its numbers."""
        rows = kept.arg_true()
        last, above = int(rows[-1]), rows[:-1]
        if not len(above):
            return
        for column in columns:
            value = self._values[column][last]
            if self._kinds[column][last] == TEXT and _TOTAL.fullmatch(value):
                if (self._values[column].gather(above) == value).any():
                    continue
                raise self._refuse(
                    f"the last row looks like one of totals ({value!r} in {self.address(column, last)}); delete it"
                )
        if len(above) < _FEW:
            return
        sums = []
        for column in columns:
            kinds = self._kinds[column].gather(rows)
            if kinds[-1] == NOTHING:
                continue
            if kinds[-1] != NUMBER or not kinds.is_in([NUMBER, NOTHING]).all():
                return
            numbers = self._numbers(column).gather(above).fill_null(0)
            size = float(numbers.abs().sum())
            if not size or abs(numbers.sum() - self._numbers(column)[last]) > 1e-9 * size:
                return
            sums.append(column)
        if len(sums) > 1:
            raise self._refuse(
                f"the last row looks like one of totals (see {self.address(sums[0], last)}, the sum of what is above); "
                f"delete it"
            )

    def _numbers(self, column: int) -> pl.Series:
        return self._values[column].cast(pl.Float64, strict=False)

    def _check_marked(self, columns: Sequence[int], kept: pl.Series) -> None:
        """Refuse merged cells and formulas without a value, and tell of errors and hidden rows, where these show."""
        first, last = self.header + 1, self.header + 1 + int(kept.arg_true()[-1])
        for place in self.facts["merged"]:
            start, end = place.split(":")
            if _row(end) >= first and _row(start) <= last:
                raise self._refuse(f"cells are merged within the table ({place}); split them, and fill in each")
        for place in self.facts["no_value"]:
            raise self._refuse(
                f"the formula in {place or 'a cell'} has no saved value, and formulas are not calculated; open the "
                f"file in a spreadsheet program and save it"
            )
        letters = {self._letters[column] for column in columns}
        errors = [
            place
            for place in self.facts["errors"]
            if first <= _row(place) <= last and place.rstrip("0123456789") in letters
        ]
        if errors:
            n = f"{len(errors)} cells" if len(errors) > 1 else "a cell"
            self.notes.append(f"errors such as #N/A in {n} ({', '.join(errors[:5])}) are missing values")
        if self.facts["n_hidden"]:
            self.notes.append(f"hidden rows ({self.facts['n_hidden']}) are read like others")

    def _type(self, column: int, kept: pl.Series) -> pl.Series:
        """Return a column, typed as its cells are; note what mixes types."""
        kind, value = self._kinds[column], self._values[column]
        found = sorted(set(kind.filter(kept).unique().to_list()) - {NOTHING})
        if not found or found == [NUMBER]:
            return self._note_serial(column, self._numbers(column).filter(kept))
        if found == [TEXT]:
            return value.filter(kept)
        if found == [FLAG]:
            return (value if value.dtype == pl.Boolean else value == "true").filter(kept)
        dates = self._frames["dates"][str(column)] if "dates" in self._frames else value
        if found == [DATE]:
            return self._as_dates(column, dates, kept)
        return self._mixed(column, found, dates, kept)

    def _mixed(self, column: int, found: list[int], dates: pl.Series, kept: pl.Series) -> pl.Series:
        """Return a column of several kinds: as CSV would be read, or as text that is not to be used."""
        kind, value, name = self._kinds[column], self._values[column], self.names[column]
        is_text = (kind == TEXT) & kept
        texts = value.filter(is_text)
        if TEXT in found and len(found) == 2:
            other = next(each for each in found if each != TEXT)
            if texts.is_in(MARKERS).all():
                fitting = pl.select(pl.when(kind == other).then(dates if other == DATE else value)).to_series()
                self._kinds[column] = pl.select(pl.when(kind == other).then(kind).otherwise(NOTHING)).to_series()
                if other == DATE:
                    return self._as_dates(column, fitting, kept)
                return ((fitting == "true") if other == FLAG else fitting.cast(pl.Float64, strict=False)).filter(kept)
            odd = is_text & ~value.is_in(MARKERS)
            if other == NUMBER:
                odd = odd & parse_numbers(value).is_null()
            if other == FLAG:
                odd = odd & ~value.is_in([*FLAGS])
            n_odd, n_all = int(odd.sum()), int(((kind != NOTHING) & kept).sum())
            if not n_odd:
                return value.filter(kept)
            cell = self.address(column, int(odd.arg_true()[0]))
            example = value.filter(odd)[0]
            if other != DATE and n_odd > (1 - NEARLY_ALL) * n_all:
                self.notes.append(
                    f"column {name!r:.65} mixes {_KINDS[other]} and text ({example!r:.65} in {cell}), and is text"
                )
                return value.filter(kept)
            self.misfits[name] = (
                f"column {name!r:.65} holds {_KINDS[other]}, but {example!r:.65} in {cell}; correct such cells or "
                f"leave them empty"
            )
            return value.filter(kept)
        counts = {each: int(((kind == each) & kept).sum()) for each in found}
        rare = min(counts, key=lambda each: counts[each])
        cell = self.address(column, int(((kind == rare) & kept).arg_true()[0]))
        rest = " and ".join(_KINDS[each] for each in found if each != rare)
        self.misfits[name] = f"column {name!r:.65} holds {rest}, but {_KINDS[rare]} in {cell}; make its cells one type"
        return value.filter(kept).cast(pl.String)

    def _as_dates(self, column: int, value: pl.Series, kept: pl.Series) -> pl.Series:
        """Return dates as dates, with times where any has one; times of a day as those, and longer ones as days."""
        name, value = self.names[column], value.filter(kept)
        if value.dtype == pl.Date:
            value = value.cast(pl.Datetime("ms"))
        if value.dtype == pl.Duration:
            return self._as_lengths(column, value)
        early = (value < _FIRST).fill_null(False)
        if early.any() and not early.filter(value.is_not_null()).all():
            cell = self.address(column, int(kept.arg_true().filter(early)[0]))
            self.misfits[name] = (
                f"column {name!r:.65} holds dates, but a time without one in {cell}; make its cells one type"
            )
            return value
        if not early.any():
            return value.cast(pl.Date) if (value.dt.truncate("1d") == value).all() else value.cast(pl.Datetime("us"))
        return self._as_lengths(column, value - pl.Series([_ZERO]).cast(pl.Datetime("ms")))

    def _as_lengths(self, column: int, length: pl.Series) -> pl.Series:
        """Return times of a day as those, and durations, which may be longer, as numbers of days."""
        if ((length >= timedelta(0)) & (length < timedelta(days=1))).all():
            return (length + pl.Series([_ZERO]).cast(pl.Datetime("ms"))).dt.time()
        self.notes.append(f"column {self.names[column]!r:.65} holds durations, and is numbers of days")
        return length.dt.total_milliseconds().cast(pl.Float64) / 86_400_000

    def _note_serial(self, column: int, numbers: pl.Series) -> pl.Series:
        """Tell of numbers that may be dates."""
        known = numbers.drop_nulls()
        if len(known) and _DATED.fullmatch(self.names[column]) and known.is_between(*_SERIAL).all():
            self.notes.append(
                f"column {self.names[column]!r:.65} holds numbers, as in {self._letters[column]}{self.header + 1}; if "
                f"they are dates, give the cells a format of dates"
            )
        return numbers


def _kind_of(dtype: Any) -> int:
    if dtype.is_numeric():
        return NUMBER
    return {pl.String: TEXT, pl.Boolean: FLAG, pl.Null: NOTHING}.get(dtype.base_type(), DATE)


def _row(place: str) -> int:
    return int(place.lstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZ") or 0)
