"""Numbers as plain text, a row a line: what `numpy.savetxt` and MATLAB write. Text with names above is a table."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from layerwise.data.column_types import MARKERS
from layerwise.data.csv_tables import check_lines, open_text
from layerwise.data.profiles import as_number
from layerwise.errors import FileError
from layerwise.limits import check_room

TEXT_ENDINGS = (".txt", ".dat", ".txt.gz", ".dat.gz")
# How a line begins that is a remark.
_REMARKS = ("#", "%")
# Characters of the first line that are looked at.
_LINE = 2**21


def is_text(path: Path) -> bool:
    """Whether the name of a file ends like that of plain text."""
    return path.name.lower().endswith(TEXT_ENDINGS)


def holds_numbers(path: Path) -> bool:
    """Whether the first line of a file of text is numbers, so that it names no columns."""
    if not path.is_file():
        return False
    first = _first_line(path)
    values = _split(first, find_delimiter(first))
    numbers = [as_number(value) for value in values]
    return any(number is not None for number in numbers) and all(
        number is not None or value in MARKERS for number, value in zip(numbers, values, strict=True)
    )


def find_delimiter(line: str) -> str | None:
    """Return what separates the values of a line of numbers; None for blanks, any number of them."""
    return next((separator for separator in ",;|" if separator in line), "\t" if "\t" in line.strip() else None)


def load_text(path: Path) -> np.ndarray:
    """Return the rows of numbers of a file of text, float64; remarks, which begin with # or %, are left out."""
    first = _first_line(path)
    delimiter, n_lines = find_delimiter(first), check_lines(path, "\n")
    if not first:
        raise FileError(f"{path} is empty")
    check_room(path, 8 * n_lines * len(_split(first, delimiter)))
    try:
        with open_text(path) as file:
            return np.loadtxt(_rows(file), delimiter=delimiter, comments=_REMARKS, ndmin=2)
    except FileError:
        raise
    except ValueError as error:
        reason = str(error)[:200]
    with open_text(path) as file:
        for place, line in enumerate(_rows(file), 1):
            values = _split(re.split("[#%]", line)[0], delimiter)
            wrong = next((value for value in values if as_number(value) is None), None)
            if wrong is not None:
                raise FileError(
                    f"{path} holds {wrong!r:.65} in row {place} of its numbers (counted from 1, remarks left out); "
                    f"write nan for what is missing, or name the columns in a first line if it is a table"
                )
    raise FileError(f"{path} cannot be read as rows of numbers ({reason})")


def _rows(lines: Iterable[str]) -> Iterator[str]:
    """Yield the lines that are neither blank nor a remark."""
    return (line for line in lines if line.strip() and not line.lstrip().startswith(_REMARKS))


def _first_line(path: Path) -> str:
    with open_text(path) as file:
        return next(_rows(iter(lambda: file.readline(_LINE), "")), "")


def _split(line: str, delimiter: str | None) -> list[str]:
    return [value.strip().strip('"') for value in line.split(delimiter)]
