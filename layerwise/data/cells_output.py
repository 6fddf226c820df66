"""Results into a copy of an AnnData file: codes to obsm, what is said of each cell to obs."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from layerwise.atomic import naming
from layerwise.data import _cells_writer
from layerwise.data.reading_process import ReadingProcess
from layerwise.errors import FileError

ENDING = ".h5ad"
# The seconds that writing may take, and the bytes a second beyond them.
_SECONDS, _SPEED = 120, 2**24


class _Writer(ReadingProcess):
    no_package = "needs h5py to be written: pip install 'layerwise[cells]'"


def check_cells_output(out: Path, data: Path) -> None:
    """Refuse to write a ``.h5ad`` file that is no copy of one."""
    if data.suffix.lower() != ENDING or not data.is_file():
        raise ValueError(
            f"out={out} would be a copy of the data with the results in it, so the data must be a {ENDING} file, but "
            f"it is {data}; choose another ending, such as .csv"
        )


def write_cells(path: Path, data: Path, columns: Mapping[str, Any]) -> list[str]:
    """Copy an AnnData file, and write columns into the copy.

    Parameters
    ----------
    path : Path
        The copy.
    data : Path
        The file.
    columns : mapping of str to array-like of shape (n_cells,) or (n_cells, n_values)
        One of two axes goes to ``obsm``, as ``X_layerwise`` if it is ``code``, else ``X_layerwise_NAME``; one of one
        axis to ``obs``, as ``layerwise_NAME``.

    Returns
    -------
    places : list of str
        Where they are.
    """
    placed: dict[str, np.ndarray] = {}
    for name, values in columns.items():
        array = np.asarray(values)
        array = array.astype(str) if array.dtype.kind == "O" else array
        own = name.replace("/", "|")  # which parts the names of groups
        in_obsm = "obsm/X_layerwise" if name == "code" else f"obsm/X_layerwise_{own}"
        placed[in_obsm if array.ndim == 2 else f"obs/layerwise_{own}"] = array
    with naming(path, reads=True):
        shutil.copyfile(data, path)
    arrays = path.with_name(f"{path.name}.npz")
    try:
        with naming(arrays), arrays.open("wb") as file:
            np.savez(file, allow_pickle=False, **placed)
        n_bytes = path.stat().st_size + arrays.stat().st_size
        words = [path.absolute(), arrays.absolute()]
        writer = _Writer(path, _cells_writer.__file__, words, timeout=_SECONDS + n_bytes / _SPEED)
        try:
            writer.hear()
        except FileError as error:
            raise FileError(str(error).replace(str(path), str(data), 1)) from error
    finally:
        arrays.unlink(missing_ok=True)
    return list(placed)
