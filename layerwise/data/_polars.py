"""What the modules that use polars share: the import, its errors in our words, names of columns."""

from __future__ import annotations

import errno
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from layerwise.errors import FileError
from layerwise.urls import Place

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def import_polars() -> Any:
    """Return the module polars; an ImportError names the extra it comes with."""
    try:
        import polars
    except ImportError as error:
        raise ImportError("tables need polars, which is not installed: pip install 'layerwise[tables]'") from error
    return polars


class _Polars:
    """The module polars, imported when something of it is asked for."""

    def __getattr__(self, name: str) -> Any:
        return getattr(import_polars(), name)


if TYPE_CHECKING:
    import polars as pl
else:
    pl = _Polars()


def columns(*names: str) -> Any:
    """Return an expression of the columns of just these names; ``polars.col`` takes ``*`` and ``^x$`` for patterns."""
    return pl.selectors.by_name(*names).as_expr()


@contextmanager
def reading(path: Place, kind: str = "a table") -> Iterator[None]:
    """Say in one sentence what polars found wrong with a file in the block."""
    try:
        yield
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        if isinstance(error, PermissionError) or getattr(error, "errno", None) in _NO_ROOM:  # not of the file
            raise
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise FileError(f"{path} cannot be read as {kind} ({reason})") from error


def count_rows(path: Any, table: Any) -> int:
    """Return how many rows a lazy table has that was read from ``path``."""
    with reading(path):
        return table.select(pl.len()).collect(engine="streaming").item()


def check_names(what: Any, names: Sequence[str]) -> None:
    """Refuse columns of which two have the same name; ``what`` has them."""
    name, count = Counter(names).most_common(1)[0] if names else ("", 0)
    if count > 1:
        raise ValueError(f"{what} has two columns called {name!r}; give each column a name of its own")


def composed(name: str) -> str:
    """Return a name with its letters and accents composed (NFC): what looks the same is the same."""
    return unicodedata.normalize("NFC", name)


def match_names(table: Any, wanted: Iterable[str]) -> Any:
    """Return a table, whose columns bear the wanted names where theirs differ from them only in how accents are coded.

    Files and names from macOS often have letters and accents apart (NFD).
    """
    there = table.collect_schema().names()
    wanted = set(wanted)
    absent = {composed(name): name for name in wanted.difference(there)}
    renamed = {name: absent[composed(name)] for name in there if name not in wanted and composed(name) in absent}
    return table.rename(renamed) if len(set(renamed.values())) == len(renamed) > 0 else table


def list_names(names: Sequence[str]) -> str:
    """Return names for a message: the first 20."""
    rest = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return ", ".join(repr(name[:63]) for name in names[:20]) + rest
