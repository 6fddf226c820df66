"""Writing so that nothing is lost or half-written: aside first, then in place by one rename."""

from __future__ import annotations

import ctypes
import errno
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from os import PathLike
from pathlib import Path
from typing import Any

from layerwise.errors import FileError
from layerwise.strict_json import read_json
from layerwise.urls import is_collapsed, redact

LOCK = "lock"
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_NEVER_OF_READING = (*NO_ROOM, errno.EFBIG)
# A folder that layerwise wrote holds one of these, an object of JSON that says or has this: a model, a training, a
# comparison.
_MARKS: dict[str, dict[str, Any]] = {
    "config.json": {"format": "layerwise model"},
    "run.json": {"layerwise_version": None},
    "comparison.json": {"budgets": None, "starts": None, "methods": None, "accuracies": None},
}
# What renameat2 of Linux can be asked for: to replace nothing, to let two names change places.
_NOREPLACE, _EXCHANGE = 1, 2
_AT_FDCWD = -100
_IS_THERE = (errno.EEXIST, errno.ENOTEMPTY)
# As many characters of a name go into that of what is temporary: no name is too long then.
_N_NAMED = 30


@contextmanager
def atomic(path: str | PathLike[str], *, folder: bool = False, overwrite: bool = False) -> Iterator[Path]:
    """Give a place beside ``path`` to write to; move it there at the end if all went well.

    Parameters
    ----------
    path : str or path-like
        The file or folder to make. Missing parent folders are made. Of a link it is what the link points to.
    folder : bool, default=False
        Whether it is to be a folder.
    overwrite : bool, default=False
        Whether it may replace what is there: a file another file, a folder one that is empty or that layerwise wrote.

    Yields
    ------
    staging : Path
        Make a file there, which does not exist yet, or files in the folder, which does. It is removed if the block
        raises, and ``path`` is then as it was.

    Raises
    ------
    FileExistsError
        If ``path`` exists and must not be replaced; also if it has come to be in the meantime.
    OSError
        If the place cannot be written; it names ``path``, or the file in it.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "note.txt"
    >>> with atomic(path) as staging:
    ...     _ = staging.write_text("whole")
    >>> path.read_text()
    'whole'
    """
    name, path = Path(path).name, target_of(path)
    check_replaceable(path, overwrite, folder=folder)
    make_folder(path.parent)
    aside = _make_aside(path)
    try:
        staging = aside / name  # that of a link: its ending may say what is to be written
        with naming(path, staging=staging, reads=True):
            if folder:
                staging.mkdir()
            yield staging
            publish(staging, path, overwrite=overwrite)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def publish(staging: Path, path: Path, *, overwrite: bool = False) -> None:
    """Move a file or folder to its place by one rename, once all of it is on disk; what it replaces goes.

    Whoever looks finds what was there before or what is there now, never nothing and never a half. Of two who publish
    at once without ``overwrite`` the second is refused.

    Parameters
    ----------
    staging : Path
        In another file system than ``path`` it is copied beside that first.
    path : Path
        Of a link it is what the link points to.
    overwrite : bool, default=False
        As in `atomic`.

    Notes
    -----
    Where the system cannot let two folders change places (other than Linux, NFS), the old one is in
    ``path.replaced.*`` for an instant, and a process that is killed just then leaves it there.
    """
    path = target_of(path)
    sync_tree(staging)
    make_folder(path.parent)
    try:
        _move(staging, path, overwrite)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _move_copy(staging, path, overwrite)
    sync(path.parent)
    if staging.exists():  # what was replaced
        discard(staging)


def discard(folder: Path) -> None:
    """Remove a folder under a hidden name: who is killed meanwhile leaves no half of it in its place."""
    with suppress(OSError):
        folder = folder.rename(folder.with_name(f".{folder.name[:_N_NAMED]}.{secrets.token_hex(4)}"))
    shutil.rmtree(folder, ignore_errors=True)


def target_of(path: str | PathLike[str]) -> Path:
    """Return the absolute place that a path stands for: that of a link is where it points to."""
    if is_collapsed(path):
        raise ValueError(
            f"{redact(str(path))} is a database, but what is written here is files; choose a place for them"
        )
    path = Path(path).absolute()
    if not path.name:
        raise FileExistsError(f"{path} is the root of all files; choose a name below it")
    if not path.is_symlink():
        return path
    target = Path(os.path.realpath(path))
    if target.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
    return target


@contextmanager
def naming(path: Path, *, staging: Path | None = None, reads: bool = False) -> Iterator[None]:
    """Let what the block cannot write be an OSError that names the file; packages have errors of their own.

    Parameters
    ----------
    path : Path
        Named where the error tells no name.
    staging : Path or None, default=None
        Where ``path`` is while the block runs, alone in a folder: what lies in it is named as it is to be called in
        the end.
    reads : bool, default=False
        Whether the block reads files too: only that there is no room is certainly of writing then.
    """
    try:
        yield
    except Exception as error:
        told = re.search(r"\(os error (\d+)\)", str(error))  # by a package that is written in Rust
        number: int | None = getattr(error, "errno", None) or (int(told[1]) if told else None)
        name = getattr(error, "filename", None)
        place = None if name is None or isinstance(name, int) else Path(os.fsdecode(name))
        if staging is not None and place is not None and place.is_relative_to(staging.parent):
            place = path / place.relative_to(staging) if place.is_relative_to(staging) else path
        elif place is not None or (reads and number not in _NEVER_OF_READING):
            raise
        if number is None:
            raise
        raise OSError(number, os.strerror(number), str(place or path)) from error


def write_file(path: Path, content: str | bytes) -> None:
    """Write a file as bytes or as UTF-8; an OSError names it."""
    with naming(path):
        path.write_bytes(content.encode() if isinstance(content, str) else content)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it; what is in the way is named."""
    for path in (folder, *folder.parents):
        if path.exists() and not path.is_dir():
            raise NotADirectoryError(f"{path} is a file, not a folder")
    folder.mkdir(parents=True, exist_ok=True)


def _make_aside(path: Path, form: str = ".{}.") -> Path:
    """Make a temporary folder in the same file system as a path: beside it."""
    try:
        return Path(tempfile.mkdtemp(prefix=form.format(path.name[:_N_NAMED]), dir=path.parent))
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def check_replaceable(path: Path, overwrite: bool, *, folder: bool) -> None:
    """Refuse to replace what is there, unless that is allowed, and a file for a file or a folder that layerwise wrote.

    Parameters
    ----------
    path : Path
    overwrite : bool
    folder : bool
        Whether a folder shall take its place, or a file.

    Raises
    ------
    FileExistsError
        With the reason.
    """
    path = target_of(path)
    while (before := identify(path)) is not None:
        try:
            refusal = _find_refusal(path, overwrite, folder)
        except FileNotFoundError:  # replaced meanwhile, by a system that takes two renames for it
            continue
        if refusal is None:
            return
        if identify(path) == before:
            raise FileExistsError(refusal)


def _find_refusal(path: Path, overwrite: bool, folder: bool) -> str | None:
    """Return why what is there must not be replaced."""
    if not overwrite:
        return (
            f"{path} exists; choose another place, or replace it with overwrite=True (--overwrite at the command line)"
        )
    if path.is_mount():
        return f"{path} is a mount point, which nothing can take the place of; choose a folder in it"
    found = "a folder" if path.is_dir() else "a file" if path.is_file() else "neither a file nor a folder"
    wanted = "a folder" if folder else "a file"
    if found != wanted:
        return f"{path} is {found}, but what is written is {wanted}; choose another place"
    if folder and not is_written(path) and os.listdir(path):
        *marks, last = _MARKS
        return (
            f"{path} is not a run of layerwise (it holds no {', '.join(marks)} or {last} that layerwise wrote), so it "
            f"is not overwritten; choose another place"
        )
    return None


def identify(path: Path) -> tuple[int, ...] | None:
    """Return what tells a file or folder from another one that has taken its place; None if nothing is there."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns


def is_written(folder: Path) -> bool:
    """Whether layerwise wrote a folder: a model, a run or a comparison, by what is said in its files."""
    return any(_says(folder / name, what) for name, what in _MARKS.items())


def _says(path: Path, what: dict[str, Any]) -> bool:
    """Whether a file holds a JSON object with these keys, and these values where they are not None."""
    try:
        found = read_json(path) if path.is_file() else None
    except (OSError, FileError):
        return False
    return isinstance(found, dict) and all(
        name in found and value in (None, found[name]) for name, value in what.items()
    )


def _move(staging: Path, path: Path, overwrite: bool) -> None:
    """Rename a file or folder to its place; a folder that was there is in place of ``staging`` then."""
    is_folder = staging.is_dir()
    while not _move_where_nothing_is(staging, path, is_folder):
        check_replaceable(path, overwrite, folder=is_folder)
        if not is_folder:
            with suppress(OSError):
                shutil.copymode(path, staging)  # what only its owner could read stays so
            _rename(staging, path)
            return
        if _exchange(staging, path):
            return


def _move_where_nothing_is(staging: Path, path: Path, is_folder: bool) -> bool:
    """Rename a file or folder; return False if something has that name."""
    try:
        if _rename2(staging, path, _NOREPLACE):
            return True
        if is_folder:  # a rename never replaces a folder that holds something
            _rename(staging, path)
            return True
        try:
            os.link(staging, path)
        except FileExistsError:
            raise
        except OSError:  # of a file system that knows no links
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
            _rename(staging, path)
        else:
            staging.unlink()
    except OSError as error:
        is_there = os.path.lexists(path) if error.errno == errno.ENOTDIR else error.errno in _IS_THERE
        if is_there:
            return False
        raise
    return True


def _exchange(staging: Path, path: Path) -> bool:
    """Let two folders change places; return False if there is nothing at ``path`` any more."""
    try:
        if _rename2(staging, path, _EXCHANGE):
            return True
        aside = _make_aside(path, "{}.replaced.")
        try:
            _rename(path, aside / path.name)
            if not _move_where_nothing_is(staging, path, True):
                return False  # another one was faster
        except BaseException:
            if (aside / path.name).exists():
                _move_where_nothing_is(aside / path.name, path, True)
            raise
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    except FileNotFoundError:
        return False
    return True


def _move_copy(staging: Path, path: Path, overwrite: bool) -> None:
    """Move by a copy beside the place, from another file system."""
    beside = _make_aside(path)
    try:
        copy = beside / path.name
        with naming(path, staging=copy, reads=True):
            if staging.is_dir():
                shutil.copytree(staging, copy)
            else:
                shutil.copy2(staging, copy)
            sync_tree(copy)
            _move(copy, path, overwrite)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _rename(source: Path, target: Path) -> None:
    try:
        os.replace(source, target)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(target)) from error


def _rename2(source: Path, target: Path, flag: int) -> bool:
    """Rename by renameat2; return False where the system or the file system has no such thing."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):
        return False
    if renameat2(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), flag) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EPERM):
        return False
    raise OSError(number, os.strerror(number), str(target))


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
