"""One process at a time in a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from layerwise.atomic import LOCK, make_folder


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
    descriptor = _lock(folder)
    while not _is_same(descriptor, folder / LOCK):  # whoever had it has removed it, or moved it away, meanwhile
        os.close(descriptor)
        descriptor = _lock(folder)
    try:
        yield
    finally:
        os.close(descriptor)


def _lock(folder: Path) -> int:
    """Return a descriptor that holds the lock of a folder, as far as its file system knows locks."""
    make_folder(folder)
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    with suppress(OSError, ImportError):  # some network file systems know no locks, nor does Windows
        import fcntl

        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 20).decode(errors="replace")
            os.close(descriptor)
            which = f", {holder}" if holder.isdecimal() else ""
            raise ValueError(f"{folder} is in use by another process{which}; wait for its end, or stop it") from None
        os.ftruncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())
    return descriptor


def _is_same(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
