"""The error that tells a bad file from a bad argument."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class FileError(ValueError):
    """A file or folder that cannot be used: damaged, made to do harm, too large, or of another kind.

    Whatever `layerwise.load` and the loaders of `layerwise.data` refuse in the content of a file is this. A file that
    is not there or must not be read stays an OSError, a package that is missing an ImportError.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import layerwise
    >>> from layerwise.data import load_idx
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "digits.idx"
    >>> _ = path.write_text("no digits")
    >>> try:
    ...     load_idx(path)
    ... except layerwise.FileError as error:
    ...     print(str(error).removeprefix(str(path)).split(":")[0])
    is not an IDX file
    """


class PeerError(ValueError):
    """What another of the processes that fit together came upon, in its words; that one raises the error itself."""


@contextmanager
def in_content_of(path: Any) -> Iterator[None]:
    """Let a ValueError of the block be a FileError that names the file: what is refused stands in it."""
    try:
        yield
    except FileError:
        raise
    except ValueError as error:
        raise FileError(str(error) if str(path) in str(error) else f"{path}: {error}") from error
