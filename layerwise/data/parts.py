"""Which files a path, a pattern or a list stands for, and what a file of a table must answer."""

from __future__ import annotations

import glob
from collections.abc import Callable, Mapping, Sequence
from os import PathLike, fspath
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

from layerwise.data._polars import pl
from layerwise.errors import FileError
from layerwise.urls import Place, Url, as_place

Where: TypeAlias = str | PathLike[str] | Sequence[str | PathLike[str]]


class Keep:
    """What holds the rows of a table for the questions to come; this one leaves them where they are."""

    def __call__(self, table: pl.LazyFrame, n_bytes: int) -> pl.LazyFrame:
        """Return a table, of so many bytes in memory, from where it is kept."""
        return table

    def new_file(self) -> Path | None:
        """Return where rows that come once, of nobody knows how many bytes, are to be written; None is memory."""
        return None


class Part(NamedTuple):
    """A file of a table, whose header has been read.

    ``scan`` checks the rows, and returns the columns; it takes what keeps them if they would else be read anew for each
    question. There is a separator where the file is text, and so are all columns. Of a `Section` it takes these. Of a
    workbook with several sheets it is this ``sheet``; ``notes`` are sentences on how the rows were read, where
    that is a guess, and ``misfits`` columns that cannot be used, each with the reason. The text of a ``loose`` one may
    be numbers, as in CSV. Some files have ``labels`` for values of columns, and ``descriptions`` of columns. Of a
    database there is an origin: facts on when, and in which order, the rows were read.
    """

    path: Place
    names: list[str]
    scan: Callable[[Keep], pl.LazyFrame]
    separator: str | None = None
    takes: tuple[str, ...] = ()
    sheet: str | None = None
    notes: tuple[str, ...] = ()
    misfits: Mapping[str, str] = MappingProxyType({})
    loose: bool = False
    labels: Mapping[str, Mapping[Any, str]] = MappingProxyType({})
    descriptions: Mapping[str, str] = MappingProxyType({})
    origin: Mapping[str, str] = MappingProxyType({})


def find_parts(where: Where) -> list[Place]:
    """Return the files that a path, a pattern such as ``part-*.csv`` or a list of paths stands for; or a database.

    A FileNotFoundError says that there are none, a ValueError that the list is empty, or names a file twice.
    """
    if not isinstance(where, (str, PathLike)):
        parts = [part for item in where for part in find_parts(item)]
        twice = next((part for place, part in enumerate(parts) if part in parts[:place]), None)
        if not parts or twice:
            raise ValueError(f"{twice} is named twice; name each file once" if twice else "no file is named")
        return parts
    path = as_place(where)
    if isinstance(path, Url) or path.exists():
        return [path]
    if glob.has_magic(fspath(where)) and (found := sorted(glob.glob(fspath(where)))):
        return [Path(part) for part in found]
    raise FileNotFoundError(f"{path} is not there" if not glob.has_magic(fspath(where)) else f"no file fits {path}")


def name_parts(where: Where, parts: Sequence[Place]) -> Place:
    """Return what to call all files in messages."""
    if isinstance(where, (str, PathLike)):
        return as_place(where)
    more = len(parts) - 1
    return parts[0] if not more else Path(f"{parts[0]} and {more} more file{'s' if more > 1 else ''}")


def check_parts(parts: Sequence[tuple[Place, Sequence[str]]]) -> None:
    """Refuse parts that have not the same columns, in one order or another."""
    first, names = parts[0]
    for path, others in parts[1:]:
        for owner, own, other, known in ((path, others, first, names), (first, names, path, others)):
            absent = [name for name in known if name not in set(own)]
            if absent:
                raise FileError(
                    f"{owner} has no column {absent[0]!r}, which {other} has; the parts of one table need the same "
                    f"columns"
                )
