"""Labels of a folder of images from a table: one column of file names and one of labels, or labels by position."""

from __future__ import annotations

import itertools
import re
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from layerwise import distributed
from layerwise.data._polars import list_names, pl, reading
from layerwise.data.archives import LABEL_NAMES
from layerwise.data.files import load_labels
from layerwise.data.tables import TableFile, is_table, label_values, scan_table
from layerwise.errors import FileError, in_content_of

# What names in a table may be: paths from the folder on, or names alone, each with or without the ending. Whole paths
# are cut to these, and .PNG is .png where that is needed.
_KEYS: tuple[Callable[[PurePosixPath], str], ...] = (
    str,
    lambda path: str(path.with_suffix("")),
    lambda path: path.name,
    lambda path: path.stem,
)


# How a path begins that does not begin in the folder: /data and C:/data.
_WHOLE = re.compile(r"(/|[A-Za-z]:/)")


def load_image_labels(path: Path, folder: Path, files: Sequence[str]) -> np.ndarray:
    """Return a label for each image: of a table of file names and labels, or of labels in the order of ``files``."""
    if is_table(path) and len(TableFile(path).names) > 1:
        with in_content_of(path):
            return _look_up(path, folder, files)
    y = load_labels(path)
    if len(y) != len(files):
        raise FileError(f"{folder} has {len(files)} images, but labels has {len(y)}; each image needs one")
    if list(files) != sorted(files, key=_natural) and distributed.rank() == 0:
        warnings.warn(
            f"{path} gives labels by position, and images are in the order of their names as text ("
            f"{_shorten(files)}), not in that of the numbers in them ({_shorten(sorted(files, key=_natural))}): give a "
            f"table of file names and labels instead if labels are in another order",
            stacklevel=4,
        )
    return y


def _look_up(path: Path, folder: Path, files: Sequence[str]) -> np.ndarray:
    """Return the labels that a table has for these files."""
    names = TableFile(path).names
    texts = scan_table(path, text=names)
    with reading(path):
        frame = texts.collect()
    name, keys, rows = _find_names(frame, folder, files)
    label = _choose_label([other for other in names if other != name])
    with reading(path):
        labels = label_values(scan_table(path, text=[name]).collect()[label])
    absent = [file for file, key in zip(files, keys, strict=True) if key not in rows]
    if absent:
        raise ValueError(
            f"{len(absent)} of {len(files)} images of {folder} are not in column {name!r}, such as {absent[0]!r}; give "
            f"each a row, with no label if it has none"
        )
    n_alien = len(rows.keys() - set(keys))
    if n_alien and distributed.rank() == 0:
        alien = next(key for key in rows if key not in set(keys))
        warnings.warn(
            f"{path}: {n_alien} of {len(rows)} names in column {name!r} are no images of {folder}, such as {alien!r}; "
            f"their labels are not used",
            stacklevel=5,
        )
    return labels[[rows[key] for key in keys]]


def _find_names(frame: pl.DataFrame, folder: Path, files: Sequence[str]) -> tuple[str, list[str], dict[str, int]]:
    """Return the column of file names, what stands there for each image, and the row of each name.

    It is the column that names most images, at least half of them, in that of the `_KEYS` which gives each its own.
    """
    best: tuple[int, str, list[str], list[str]] | None = None
    for name, any_case in itertools.product(frame.columns, (False, True)):
        texts = frame[name].cast(pl.String).to_list()
        values = [str(_with_ending(_normal(text, folder), any_case)) for text in texts]
        there = set(values)
        for key in _KEYS:
            keys = [key(_with_ending(PurePosixPath(file), any_case)) for file in files]
            count = len(set(keys) & there) if len(set(keys)) == len(keys) else 0
            if 2 * count >= len(keys) and count > (best[0] if best else 0):  # class numbers may be names by chance
                best = count, name, keys, values
    if best is None:
        raise ValueError(
            f"none of its columns {list_names(frame.columns)} names the images of {folder}, such as {files[0]!r}; "
            f"labels need a column of file names and one of labels, or a single column in the order of the images"
        )
    _, name, keys, values = best
    rows: dict[str, int] = {}
    for row, value in enumerate(values):
        if value in rows:
            raise ValueError(f"column {name!r} names {value!r} in rows {rows[value] + 1} and {row + 1}; keep one")
        rows[value] = row
    return name, keys, rows


def _choose_label(names: Sequence[str]) -> str:
    usual = [name for name in names if name.lower() in {word.lower() for word in (*LABEL_NAMES, "class")}]
    for found in (names, usual):
        if len(found) == 1:
            return found[0]
    raise ValueError(
        f"several columns could be labels: {list_names(names)}; call one of them 'label', or leave the others out"
    )


def _normal(name: str | None, folder: Path) -> PurePosixPath:
    """Return a file name of a table as a path from the folder on; of a whole path elsewhere the name alone."""
    path, own = PurePosixPath((name or "").strip().replace("\\", "/")), folder.absolute()
    if path.is_relative_to(own):
        return path.relative_to(own)
    if _WHOLE.match(str(path)):
        parts = path.parts[path.parts.index(own.name) + 1 :] if own.name in path.parts[:-1] else path.parts[-1:]
    else:
        parts = path.parts[1:] if path.parts[:1] == (own.name,) else path.parts
    return PurePosixPath(*parts)


def _with_ending(path: PurePosixPath, any_case: bool) -> PurePosixPath:
    return path.with_suffix(path.suffix.lower()) if any_case and path.suffix else path


def _natural(file: str) -> list[tuple[int, str]]:
    """Return a key that sorts names by the numbers in them."""
    return [(int(part[:18]), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", file) if part]


def _shorten(files: Sequence[str]) -> str:
    return ", ".join(files[:3])
