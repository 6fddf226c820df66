"""Arrays from MATLAB's MAT files, read in a process of their own: a hostile file harms only that one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from layerwise.data import _mat_reader
from layerwise.data.npy import read_header, read_values
from layerwise.errors import FileError
from layerwise.limits import DEFLATE_LIMIT, max_expanded

# The longest list of names.
_MAX_LIST = 2**23


def load_mat(
    path: str | PathLike[str],
    name: str | None = None,
    *,
    max_bytes: int = 2**30,
    timeout: float = 60,
) -> Any:
    """Load one array from a MAT file; one of version 7.3 needs h5py (``pip install 'layerwise[matlab]'``).

    Another Python process reads the file, with limits on its memory (where the system has such limits) and its time,
    so a file that is damaged or made to do harm cannot crash or exhaust this process.

    Parameters
    ----------
    path : str or path-like
        The file.
    name : str or None, default=None
        The variable to load, or a field of a struct, as in ``"data.train"``; None takes the only variable that there
        is.
    max_bytes : int, default=2**30
        The largest array to accept; of one that takes more than a sixteenth of it, the file must have 1 byte for 200.
    timeout : float, default=60
        How many seconds reading may take.

    Returns
    -------
    array : ndarray of at least 2 axes, or CSR matrix
        In the type that it has in MATLAB; a sparse matrix is float64. Cells that hold vectors of one length are rows,
        and those that hold arrays of one size are put side by side along a new last axis; a cell array of texts, and
        a char array of several rows, is an ndarray of texts of shape (n,).

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    FileError
        If the file is no MAT file or is damaged, has no such variable, or holds it as something that is no array (a
        struct, cells of different sizes, an object of MATLAB such as a string array or a table); or if reading takes
        more memory or time than allowed.
    ImportError
        If it is of version 7.3 and h5py is not installed.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from scipy.io import savemat
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "images.mat"
    >>> savemat(path, {"IMAGES": np.zeros((8, 8, 2))})
    >>> load_mat(path).shape
    (8, 8, 2)
    """
    path = _check_there(path)
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "array.npy"
        max_bytes = max_expanded(path.stat().st_size, int(max_bytes))
        _read_in_child(path, name, result, max_bytes, timeout)
        if not result.is_file():
            raise FileError(f"{path} cannot be trusted: the process that read it did not hand back an array")
        values = _read_back(path, result, max_bytes)
        if not (Path(folder) / "indices.npy").is_file():
            return values
        parts = [
            _read_back(path, result.with_name(f"{name}.npy"), max_bytes) for name in ("indices", "indptr", "shape")
        ]
        return _as_sparse(path, values, *parts)


def _read_back(path: Path, result: Path, max_bytes: int) -> np.ndarray:
    """Return what the child has written, which is not trusted either."""
    with result.open("rb") as file:
        header = read_header(file, path)
        if header.start + header.n_bytes != result.stat().st_size or header.n_bytes > max(max_bytes, 2**10):
            raise FileError(f"{path} cannot be trusted: the process that read it did not hand back a whole array")
        return read_values(file, header)[0]


def _as_sparse(
    path: Path, values: np.ndarray, indices: np.ndarray, indptr: np.ndarray, shape: np.ndarray
) -> sparse.csr_matrix:
    try:
        matrix = sparse.csr_matrix((values, indices, indptr), shape=tuple(shape.tolist()))
        matrix.check_format(full_check=True)
    except (ValueError, TypeError, OverflowError) as error:
        raise FileError(f"{path} cannot be trusted: its sparse matrix is none ({error})") from error
    return matrix


class Shapes(dict[str, tuple[int, ...]]):
    """The names and shapes of arrays.

    Attributes
    ----------
    others : dict of str to str
        What else there is, and why it cannot be read.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], others: Mapping[str, str]):
        super().__init__(shapes)
        self.others = dict(others)


def list_mat(path: str | PathLike[str], *, max_bytes: int = 2**30, timeout: float = 60) -> Shapes:
    """Return the names and shapes of the arrays in a MAT file that `load_mat` reads, fields of structs among them.

    Parameters
    ----------
    path : str or path-like
        The file.
    max_bytes : int, default=2**30
        As for `load_mat`; structs and cells are read to list what they hold.
    timeout : float, default=60
        How many seconds reading may take.

    Returns
    -------
    shapes : Shapes

    Raises
    ------
    FileNotFoundError, FileError, ImportError
        As for `load_mat`.
    """
    path = _check_there(path)
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "shapes.json"
        _read_in_child(path, None, result, max_expanded(path.stat().st_size, int(max_bytes)), timeout)
        try:
            if result.stat().st_size > _MAX_LIST:
                raise ValueError("the list is too long")
            found = json.loads(result.read_bytes())
            shapes = {str(name): tuple(map(int, shape)) for name, shape in found["shapes"].items()}
            return Shapes(shapes, {str(name): str(reason) for name, reason in found["others"].items()})
        except (OSError, LookupError, ValueError, AttributeError, TypeError) as error:
            raise FileError(f"{path} cannot be trusted: the process that read it did not hand back names") from error


def _check_there(path: str | PathLike[str]) -> Path:
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there, or is not a file")
    return path


def _read_in_child(path: Path, name: str | None, result: Path, max_bytes: int, timeout: float) -> None:
    """Run this file as a program that writes the array, or names and shapes, to ``result``; raise where it fails."""
    # No variable can be larger than deflate makes the file, and a wrong header must not get more memory than that.
    memory = 3 * min(int(max_bytes), DEFLATE_LIMIT * path.stat().st_size)
    # -P keeps modules in the working directory from being imported.
    command = [sys.executable, "-P", _mat_reader.__file__, str(path.absolute()), str(result), str(int(max_bytes))]
    command += [str(memory), *([] if name is None else [name])]
    # Threads of NumPy's matrix products would take address space, and nothing is multiplied.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    try:
        child = subprocess.run(command, env=environment, timeout=timeout, capture_output=True, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired as error:
        message = f"{path} was not read within timeout={timeout:g} seconds; raise timeout if you trust it"
        raise FileError(message) from error
    if child.returncode == _mat_reader.NO_H5PY:
        raise ImportError(
            f"{path} is a MAT file of version 7.3, which needs h5py: pip install 'layerwise[matlab]', or save it in "
            f"MATLAB with the option '-v7'"
        )
    if child.returncode == 1:
        raise FileError(f"{path} {child.stderr.decode(errors='replace').strip()}")
    if child.returncode != 0:
        raise FileError(
            f"{path} is damaged or made to do harm: the process that read it broke down (exit status "
            f"{child.returncode})"
        )
