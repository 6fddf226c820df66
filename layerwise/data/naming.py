"""What messages call the columns of rows that bear no names themselves, where a caller knows some: those of a file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

_KNOWN: ContextVar[Mapping[str, Sequence[object] | None] | None] = ContextVar("names of columns", default=None)


@contextmanager
def naming_columns(**names: Sequence[object] | None) -> Iterator[None]:
    """Let messages of the block call the columns of ``X``, ``y``, ... by these names.

    Examples
    --------
    >>> with naming_columns(X=["age", "size"]):
    ...     names_of("X", 2)
    ['age', 'size']
    >>> names_of("X", 2)
    """
    token = _KNOWN.set(names)
    try:
        yield
    finally:
        _KNOWN.reset(token)


def names_of(rows: str, n_columns: int) -> Sequence[object] | None:
    """Return what to call so many columns of ``X``, ``y``, ...; None for their numbers."""
    names = (_KNOWN.get() or {}).get(rows)
    return names if names is not None and len(names) == n_columns else None
