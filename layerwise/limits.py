"""How much a file may ask for, before memory is taken for it, and where it may lie."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from layerwise.errors import FileError

# Deflate cannot expand by more than this (zlib's documentation, "Maximum Compression Factor").
DEFLATE_LIMIT = 1032
# What raises the limit, and what it is without that.
VARIABLE, _DEFAULT = "LAYERWISE_MAX_BYTES", 2**32
# How far what is compressed may expand beyond a sixteenth of the limit; tables of numbers expand 2 to 20 times.
EXPANSION = 200
# NumPy's limits, of version 1 and of a 64-bit machine.
_MAX_AXES, _MAX_SIZE = 32, 2**63 - 1


def max_bytes() -> int:
    """Return the largest number of bytes that a file may expand to: ``LAYERWISE_MAX_BYTES``, or 4 GiB.

    Files that are mapped or read block by block, at the size that they have on disk, know no limit.
    """
    text = os.environ.get(VARIABLE, "")
    if not text.strip():
        return _DEFAULT
    if not text.strip().isdecimal():
        raise ValueError(f"{VARIABLE}={text!r} in the environment must be a whole number of bytes")
    return int(text)


def check_room(what: Any, n_bytes: int) -> None:
    """Refuse what would expand to more than `max_bytes`."""
    limit = max_bytes()
    if n_bytes > limit:
        raise FileError(
            f"{what} takes {n_bytes} bytes of memory, more than {VARIABLE}={limit} allows; raise that in the "
            f"environment if you trust the file"
        )


def max_expanded(size: int, limit: int) -> int:
    """Return to how many bytes a compressed file of ``size`` may expand, where ``limit`` is the most for any."""
    return min(limit, max(limit // 16, EXPANSION * size))


def check_expansion(what: Any, n_bytes: int, size: int) -> None:
    """Refuse what would expand from ``size`` bytes to more than `max_bytes`, or to many times as much as data do."""
    check_room(what, n_bytes)
    if n_bytes > max_expanded(size, max_bytes()):
        raise FileError(
            f"{what} expands to {n_bytes} bytes, more than {EXPANSION} times the {size} bytes that it has; save it "
            f"without compression, or raise {VARIABLE} in the environment, if you trust the file"
        )


def check_length(path: Path, limit: int, purpose: str) -> None:
    """Refuse a file that is longer than one of its kind ever is."""
    length = path.stat().st_size
    if length > limit:
        raise FileError(
            f"{path} has {length} bytes, but {purpose} has at most {limit}; it is of another kind, or damaged"
        )


def array_bytes(what: Any, shape: Sequence[int], itemsize: int) -> int:
    """Return how many bytes an array takes; refuse a shape that no array can have, if only for its other sides."""
    sides = math.prod(max(side, 1) for side in shape)
    if len(shape) > _MAX_AXES or min(shape, default=0) < 0 or sides * max(itemsize, 1) > _MAX_SIZE:
        shown = tuple(shape[:8]) if sides.bit_length() < 2**12 else f"of {len(shape)} sides"
        raise FileError(f"{what} is damaged: no array can have the shape {shown} that its header names")
    return math.prod(shape) * itemsize


def own_file(folder: Path, name: str) -> Path | None:
    """Return a file of a folder; None if it is not there. A link to somewhere else is refused."""
    path = folder / name
    try:
        leaves = path.is_symlink() and path.resolve(strict=True).parent != folder.resolve()
    except FileNotFoundError:  # a link to what is not there
        leaves = False
    except (OSError, RuntimeError) as error:
        raise FileError(f"{path} is a link that leads back to itself; put the file itself there") from error
    if leaves:
        raise FileError(f"{path} is a link that leaves its folder; put the file itself there if you trust it")
    return path if path.is_file() else None


def is_utf8(text: Any) -> bool:
    """Whether a name is text: Linux has others, which Python can open, but not every package."""
    try:
        str(text).encode()
    except UnicodeEncodeError:
        return False
    return True
