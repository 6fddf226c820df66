"""Files of SPSS, Stata and SAS, by pyreadstat, in blocks of rows: dates, labels and missing values as they declare."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
import weakref
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from layerwise.data import _statistics_reader
from layerwise.data._polars import columns, pl, reading
from layerwise.data.parts import Keep, Part
from layerwise.data.reading_process import run_reader
from layerwise.data.value_labels import Labels
from layerwise.errors import FileError
from layerwise.limits import DEFLATE_LIMIT, check_length, max_bytes, max_expanded
from layerwise.section import Section


class _Package(NamedTuple):
    """What writes a file, which function of pyreadstat reads it, what its dates are called, and since when they count.

    ``seconds`` are those from there to 1970; a second has so many ``ticks``, where dates have a time of day.
    """

    kind: str
    reader: str
    days: str
    moments: str
    times: str
    seconds: int
    ticks: int = 1
    days_in_seconds: bool = False


_SINCE_1960 = 3653 * 86_400
_SPSS_DATES = ("[AEJS]?DATE|MOYR|QYR|WKYR", "DATETIME|YMDHMS", "D?TIME|MTIME")
_SPSS = partial(_Package, "SPSS", seconds=12_219_379_200, days_in_seconds=True)
_SAS_DAYS = (
    r"(DATE|[A-Z]*8601DA|(DDMM|MMDD|MM|YYMM|YYMMDD)(YY)?[BCDNPS]?|YYQR?[CDNPS]?|YYMON|MON(NAME|TH|YY)|JUL(DAY|IAN)|"
    r"QTRR?|WEEKDA(TE|TX|Y)|WORDDAT[EX]|DOWNAME|DAY|YEAR|NLDATE[A-Z]*|NENGO|MINGUO)"
)
_SAS_MOMENTS = r"DATETIME|DATEAMPM|[A-Z]*8601D[NTXZL]|DT[A-Z]+|MDYAMPM|NLDATM[A-Z]*"
_SAS_TIMES = r"TIME|TOD|HHMM|HOUR|MMSS|TIMEAMPM|[A-Z]*8601T[MXZ]|NLTIM[A-Z]*"
_PACKAGES = {
    ".sav": _SPSS("read_sav", *_SPSS_DATES),
    ".zsav": _SPSS("read_sav", *_SPSS_DATES),
    ".por": _SPSS("read_por", *_SPSS_DATES),
    ".dta": _Package("Stata", "read_dta", "%T?D.*", "%TC.*", "-", _SINCE_1960, 1000),
    ".sas7bdat": _Package("SAS", "read_sas7bdat", _SAS_DAYS, _SAS_MOMENTS, _SAS_TIMES, _SINCE_1960),
    ".xpt": _Package("SAS", "read_xport", _SAS_DAYS, _SAS_MOMENTS, _SAS_TIMES, _SINCE_1960),
}
STATISTICS_ENDINGS = tuple(_PACKAGES)
# Months of the periods that Stata counts since 1960.
_MONTHS = {"%TM": 1, "%TQ": 3, "%TH": 6}
_DAY = 86_400
# The seconds that reading may take, and the bytes a second beyond them.
_SECONDS, _SPEED = 60, 2**21
# The longest description of columns, and the longest reason, in bytes.
_MAX_ABOUT, _MAX_REASON = 2**26, 2**10


def open_statistics(path: Path, section: Section) -> Part:
    """Read the names of the columns of a file of SPSS, Stata or SAS, with what they and their values mean."""
    package = _PACKAGES[path.suffix.lower()]
    with path.open("rb"):  # which says who may not read it
        pass
    with tempfile.TemporaryDirectory() as folder:
        _run(path, package, section.encoding, Path(folder), "about")
        about = _load_about(path, Path(folder) / "about.json")
    if not about.kinds:
        raise FileError(f"{path} holds a table without rows")
    n_bytes = max(8 * len(about.kinds), about.n_bytes) * max(about.n_rows or 0, 0)
    if n_bytes > DEFLATE_LIMIT * path.stat().st_size:
        raise FileError(f"{path} is damaged: it says that it holds {about.n_rows} rows, more than its bytes can")
    described = {name: " ".join(str(words or "").split()) for name, words in about.descriptions.items()}
    return Part(
        path,
        list(about.kinds),
        partial(_scan, path, package, section.encoding, about, n_bytes or path.stat().st_size),
        takes=("value_labels",) if package.reader == "read_por" else ("encoding", "value_labels"),
        labels={} if section.value_labels is False else _list_labels(about),
        descriptions={name: words for name, words in described.items() if words and words != name},
    )


class _About(NamedTuple):
    """What a file says of its rows, of which none may be known, and of its columns, by name."""

    n_rows: int | None
    n_bytes: int
    kinds: dict[str, str]
    formats: dict[str, str]
    labels: dict[str, list[tuple[Any, str]]]
    descriptions: dict[str, str | None]

    def is_text(self, name: str) -> bool:
        return self.kinds[name].startswith("string")


def _load_about(path: Path, result: Path) -> _About:
    try:
        check_length(result, _MAX_ABOUT, "a description of columns")
        about = json.loads(result.read_bytes())
        formats = {name: form.upper() for name, form in about["formats"].items()}
        return _About(**about | {"kinds": dict(about["kinds"]), "formats": formats})
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise FileError(f"{path} cannot be trusted: the process that read it did not hand back names") from error


def _list_labels(about: _About) -> Labels:
    """Return the labels of values; those of missing values, which Stata and SAS have letters for, are none."""
    found = {
        name: {
            value if isinstance(value, str) else float(value): words.strip()
            for value, words in pairs
            if words.strip() and isinstance(value, str) == about.is_text(name)
        }
        for name, pairs in about.labels.items()
        if name in about.kinds
    }
    return {name: labels for name, labels in found.items() if labels}


def _scan(path: Path, package: _Package, encoding: str | None, about: _About, n_bytes: int, keep: Keep) -> pl.LazyFrame:
    """Return the columns, typed."""
    table = keep(_scan_blocks(path, package, encoding), n_bytes)
    numbers = [name for name in about.kinds if not about.is_text(name)]
    with reading(path, package.kind):
        times = [name for name in numbers if _fits(package.times, about.formats[name])]
        within = table.select(columns(*times).is_between(0, _DAY, closed="left").all()) if times else None
        clocks = {} if within is None else within.collect(engine="streaming").row(0, named=True)
    typed = {name: _as_date(package, name, about.formats[name]) for name in numbers}
    # A time beyond a day is a duration, and stays a number of seconds.
    typed |= {name: (columns(name) * 1e9).round().cast(pl.Int64).cast(pl.Time) for name in times if clocks[name]}
    typed |= {name: pl.when(columns(name) != "").then(columns(name)) for name in about.kinds if about.is_text(name)}
    return table.with_columns(found.alias(name) for name, found in typed.items() if found is not None)


def _scan_blocks(path: Path, package: _Package, encoding: str | None) -> pl.LazyFrame:
    """Return the rows as they are in the file, in a folder of blocks that goes when nothing reads them any more."""
    from polars.io.plugins import register_io_source

    def blocks(names: Any, predicate: Any, n_rows: int | None, size: int | None) -> Iterator[pl.DataFrame]:
        for place in places:
            block = pl.scan_ipc(place, glob=False).select(pl.all() if names is None else columns(*names))
            found = (block if n_rows is None else block.head(n_rows)).collect()
            n_rows = None if n_rows is None else n_rows - len(found)
            yield found if predicate is None else found.filter(predicate)
            if n_rows == 0:
                return

    folder = Path(tempfile.mkdtemp(prefix="layerwise-"))
    weakref.finalize(blocks, shutil.rmtree, folder, ignore_errors=True)
    _run(path, package, encoding, folder, "rows")
    places = sorted(folder.glob("*.arrow"), key=lambda place: int(place.stem))
    return register_io_source(blocks, schema=pl.read_ipc_schema(places[0]))


def _as_date(package: _Package, name: str, form: str) -> pl.Expr | None:
    """Return a column as dates, or dates with times, if its format says that it holds such."""
    value = columns(name).cast(pl.Float64)
    if _fits(package.moments, form):
        micros = (value / package.ticks - package.seconds) * 1e6
        return micros.round().cast(pl.Int64, strict=False).cast(pl.Datetime("us"))
    if _fits(package.days, form):
        days = (value / _DAY if package.days_in_seconds else value) - package.seconds / _DAY
        return days.floor().cast(pl.Int32, strict=False).cast(pl.Date)
    if (months := _MONTHS.get(form[:3])) is not None:
        return pl.lit("1960-01-01").str.to_date().dt.offset_by((value * months).cast(pl.Int64).cast(pl.String) + "mo")
    return None


def _fits(pattern: str, form: str) -> bool:
    """Whether a format, which may have a width and decimals, is one of these."""
    return re.fullmatch(rf"(?:{pattern})(?:[\d.].*|[^A-Z\d].*)?", form.replace("%-", "%")) is not None


def _run(path: Path, package: _Package, encoding: str | None, folder: Path, what: str) -> None:
    """Let another process read from a file, and say in our words why it could not."""
    size = path.stat().st_size
    largest = max(16 * size, max_expanded(size, max_bytes()))
    # What is wrong in a header must not get more memory than the bytes can hold.
    memory = 3 * min(largest, DEFLATE_LIMIT * size)
    words = [path.absolute(), package.reader, encoding or "", folder, largest, memory, what]
    status, said = run_reader(path, _statistics_reader.__file__, words, seconds=_SECONDS + size / _SPEED)
    if status == _statistics_reader.NO_PYREADSTAT:
        raise ImportError(
            f"{path.suffix} files need pyreadstat, which is not installed: pip install 'layerwise[statistics]'"
        )
    if status == _statistics_reader.NO_ENCODING:
        why = "its text is not in the encoding that it names" if encoding is None else f"{encoding=!s:.65} is not its"
        raise FileError(
            f"{path} cannot be read as {package.kind}: {why}; say which it has, such as: --encoding latin1 "
            f"(encoding='latin1')"
        )
    if status:
        reason = said[:_MAX_REASON].decode(errors="replace").strip() if status == 1 else ""
        reason = reason or f"the process that read it broke down, exit status {status}"
        raise FileError(f"{path} cannot be read as {package.kind}, or is damaged ({reason})")
