"""What messages call the columns of rows that bear no names themselves, where a caller knows some: those of a file."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

from layerwise.data._polars import list_names

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


def name_columns(names: Sequence[str]) -> str:
    """Return the subject of a sentence on columns."""
    return f"{'column' if len(names) == 1 else 'columns'} {list_names(names)}"


def as_flag(flag: str, names: Sequence[str]) -> str:
    """Return names of columns behind a flag of the command line, as a shell takes them."""
    plain = [shlex.quote(name) for name in names[:20] if not name.startswith("-")]
    words = [flag, *plain] if plain else []
    return " ".join([*words, *(f"{flag}={shlex.quote(name)}" for name in names[:20] if name.startswith("-"))])


def advise_to_ignore(names: Sequence[str]) -> str:
    """Return how to do without columns."""
    more = " ..." if len(names) > 20 else ""
    return (
        f"leave {'it' if len(names) == 1 else 'them'} out with ignore (at the command line: "
        f"{as_flag('--ignore', names)}{more}, or --id for what names the rows)"
    )


def name_features(suffixes: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the names of what columns are made into: each column's own with what is added to it, or nothing.

    A name that is taken, by a column of just that name, gets a number.

    Examples
    --------
    >>> name_features({"town=Bern": [""], "town": ["=Basel", "=Bern"]})
    ['town=Bern', 'town=Basel', 'town=Bern (2)']
    """
    taken = {name for name, own in suffixes.items() if "" in own}
    found = []
    for name, own in suffixes.items():
        for suffix in own:
            unique, count = f"{name}{suffix}", 1
            while suffix and unique in taken:
                count += 1
                unique = f"{name}{suffix} ({count})"
            taken.add(unique)
            found.append(unique)
    return found
