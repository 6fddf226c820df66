"""Arrays to a MAT file (level 5), which MATLAB, Octave and SciPy read."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

# The longest name of a variable, and the most bytes of one, in this kind of file.
_LONGEST, _MOST_BYTES = 63, 2**31 - 1
# Names that MATLAB keeps for itself (iskeyword).
_KEYWORDS = frozenset(
    ("break", "case", "catch", "classdef", "continue", "else", "elseif", "end", "for", "function", "global", "if")
    + ("otherwise", "parfor", "persistent", "return", "spmd", "switch", "try", "while")
)


def write_mat(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write each array as a variable; vectors become columns, and text a cell array of it.

    A name that is none in MATLAB is changed, and a warning says so. A ValueError tells of an array that is too large.
    """
    from scipy.io import savemat

    names = name_variables(arrays)
    renamed = [f"{name!r} as {names[name]}" for name in arrays if names[name] != name]
    if renamed:
        shown = ", ".join(renamed[:5]) + (f" and {len(renamed) - 5} more" if len(renamed) > 5 else "")
        warnings.warn(f"{path.name} has names as MATLAB takes them: {shown}", stacklevel=5)
    for name, array in arrays.items():
        if array.nbytes > _MOST_BYTES:
            raise ValueError(
                f"{path.name} cannot hold {name!r} of {array.nbytes / 2**30:.1f} GiB, as MAT files have at most 2 GiB "
                f"a variable; write a .npz or .parquet file instead"
            )
    with path.open("wb") as file:
        savemat(file, {names[name]: _as_variable(array) for name, array in arrays.items()}, do_compression=True)


def name_variables(names: Iterable[str]) -> dict[str, str]:
    """Return a name that MATLAB takes for each: letters of ASCII, digits and underscores, a letter first.

    Examples
    --------
    >>> name_variables(["code", "error: age", "error age", "2", "end"])
    {'code': 'code', 'error: age': 'error_age', 'error age': 'error_age_2', '2': 'x2', 'end': 'x_end'}
    """
    names = list(names)
    taken = {name for name in names if is_name(name)}
    chosen: dict[str, str] = {}
    for name in names:
        if name in taken:
            chosen[name] = name
            continue
        plain = re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_")
        plain = plain if plain[:1].isalpha() else f"x{plain}"
        plain = f"x_{plain}" if plain in _KEYWORDS else plain
        number, candidate = 1, plain[:_LONGEST]
        while candidate in taken:
            number += 1
            candidate = f"{plain[: _LONGEST - 1 - len(str(number))]}_{number}"
        taken.add(candidate)
        chosen[name] = candidate
    return chosen


def is_name(name: str) -> bool:
    """Whether MATLAB takes this as the name of a variable or a function."""
    return len(name) <= _LONGEST and re.fullmatch("[A-Za-z][A-Za-z0-9_]*", name) is not None and name not in _KEYWORDS


def _as_variable(array: np.ndarray) -> np.ndarray:
    """Return an array of two axes in a type that SciPy writes as MATLAB has it."""
    array = array.reshape(-1, 1) if array.ndim == 1 else array
    if array.dtype.kind == "U":
        return array.astype(object)
    return array.astype(np.float32) if array.dtype == np.float16 else array
