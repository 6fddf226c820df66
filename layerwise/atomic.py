"""Writing so that nothing is lost or half-written: aside first, then in place by one rename."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from os import PathLike
from pathlib import Path

LOCK = "lock"
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
    check_replaceable(path, overwrite)
    _make_folder(path.parent)
    aside = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        staging = aside / path.name
        yield staging
        publish(staging, path, overwrite=overwrite)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def publish(staging: Path, path: Path, *, overwrite: bool = False) -> None:
    """Move a file or folder to its place by one rename, once all of it is on disk; what it replaces goes.

    Parameters
    ----------
    staging : Path
        In another file system than ``path`` it is copied beside that first.
    path : Path
    overwrite : bool, default=False
        As in `atomic`.
    """
    sync_tree(staging)
    check_replaceable(path, overwrite)
    if staging.is_dir() and path.is_symlink() and not path.exists():  # where it points to there is nothing yet
        path = path.resolve()
        _make_folder(path.parent)
    aside = None
    try:
        if path.is_dir():
            aside = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
            path.rename(aside / path.name)
        _move(staging, path)
        sync(path.parent)
    finally:
        if aside is not None:
            if not path.exists() and (aside / path.name).exists():
                (aside / path.name).rename(path)
            shutil.rmtree(aside, ignore_errors=True)


def _move(staging: Path, path: Path) -> None:
    """Rename a file or folder, or a copy of it beside ``path`` if that is in another file system."""
    try:
        staging.replace(path)
        return
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
    beside = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        copy = beside / path.name
        if staging.is_dir():
            shutil.copytree(staging, copy)
        else:
            shutil.copy2(staging, copy)
        sync_tree(copy)
        copy.replace(path)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    if staging.is_dir():
        shutil.rmtree(staging, ignore_errors=True)
    else:
        staging.unlink()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes out of a folder, which is made; a process that dies lets go of it.

    Parameters
    ----------
    folder : Path
        Will hold a file ``lock``, with the number of the process.

    Raises
    ------
    ValueError
        If another process is in it.
    """
    _make_folder(folder)
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        with suppress(OSError, ImportError):  # some network file systems know no locks, nor does Windows
            import fcntl

            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.read(descriptor, 20).decode(errors="replace")
                which = f", {holder}" if holder.isdecimal() else ""
                raise ValueError(
                    f"{folder} is in use by another process{which}; wait for its end, or stop it"
                ) from None
            os.ftruncate(descriptor, 0)
            os.write(descriptor, str(os.getpid()).encode())
        yield
    finally:
        os.close(descriptor)


def _make_folder(folder: Path) -> None:
    for path in (folder, *folder.parents):
        if path.is_file():
            raise NotADirectoryError(f"{path} is a file, not a folder")
    folder.mkdir(parents=True, exist_ok=True)


def check_replaceable(path: Path, overwrite: bool) -> None:
    """Refuse to replace what is there, unless that is allowed and a run of layerwise."""
    if not path.exists():
        return
    if not overwrite:
        raise FileExistsError(
            f"{path} exists; choose another place, or replace it with overwrite=True (--overwrite at the command line)"
        )
    if path.is_mount():
        raise FileExistsError(f"{path} is a mount point, which nothing can take the place of; choose a folder in it")
    if path.is_dir() and any(path.iterdir()) and not any((path / mark).is_file() for mark in _MARKS):
        raise FileExistsError(f"{path} is not a run of layerwise (no {_MARKS[0]}), so it is not overwritten")


def sync_tree(path: Path) -> None:
    """Wait until a file, or a folder and all that is in it, is on disk."""
    if path.is_dir():
        for entry in path.iterdir():
            sync_tree(entry)
    sync(path)


def sync(path: Path) -> None:
    """Wait until a file, or a folder and its list of names, is on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
