"""Writing so that nothing is lost or half-written: aside first, then in place by one rename."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path

# A folder with one of these was written by layerwise: a model, a training, a comparison.
_MARKS = ("config.json", "metrics.jsonl", "comparison.json")


@contextmanager
def atomic(path: str | PathLike[str], *, overwrite: bool = False) -> Iterator[Path]:
    """Give a place beside ``path`` to write to; move it there at the end if all went well.

    Parameters
    ----------
    path : str or path-like
        The file or folder to make. Missing parent folders are made.
    overwrite : bool, default=False
        Whether it may replace what is there. A folder is replaced only if it is empty or a run of layerwise.

    Yields
    ------
    staging : Path
        Does not exist yet; make a file or a folder there. It is removed if the block raises, and ``path`` is then as
        it was.

    Raises
    ------
    FileExistsError
        If ``path`` exists and must not be replaced.
    OSError
        If the place cannot be written.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "note.txt"
    >>> with atomic(path) as staging:
    ...     _ = staging.write_text("whole")
    >>> path.read_text()
    'whole'
    """
    path = Path(path).absolute()
    _check_replaceable(path, overwrite)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise NotADirectoryError(f"{path.parent} is a file, not a folder") from None
    aside = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        staging = aside / path.name
        yield staging
        _sync_tree(staging)
        _check_replaceable(path, overwrite)
        if path.is_dir():
            path.rename(aside / "replaced")
        staging.replace(path)
        _sync(path.parent)
    finally:
        if not path.exists() and (aside / "replaced").exists():
            (aside / "replaced").rename(path)
        shutil.rmtree(aside, ignore_errors=True)


def _check_replaceable(path: Path, overwrite: bool) -> None:
    if not path.exists():
        return
    if not overwrite:
        raise FileExistsError(f"{path} exists; choose another place, or allow it to be overwritten")
    if path.is_dir() and any(path.iterdir()) and not any((path / mark).is_file() for mark in _MARKS):
        raise FileExistsError(f"{path} is not a run of layerwise (no {_MARKS[0]}), so it is not overwritten")


def _sync_tree(path: Path) -> None:
    if path.is_dir():
        for entry in path.iterdir():
            _sync_tree(entry)
    _sync(path)


def _sync(path: Path) -> None:
    """Wait until a file or folder is on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
