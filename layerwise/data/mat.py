"""Arrays from MATLAB's MAT files, read in a process of their own: a hostile file harms only that one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from layerwise.data import _mat_reader
from layerwise.data.npy import read_header, read_values
from layerwise.data.reading_process import MAX_ANSWER, ReadingProcess
from layerwise.errors import FileError
from layerwise.limits import DEFLATE_LIMIT, max_expanded


def load_mat(path: str | PathLike[str], name: str | None = None, *, max_bytes: int = 2**30, timeout: float = 60) -> Any:
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
    wanted = [] if name is None else [name]
    return MatFile(path, "array.npy", *wanted, max_bytes=max_bytes, timeout=timeout).take_array()


class Shapes(dict[str, tuple[int, ...]]):
    """The names and shapes of arrays; ``others`` says what else there is, and why it cannot be read."""

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], others: Mapping[str, str]):
        super().__init__(shapes)
        self.others = dict(others)


class MatFile(ReadingProcess):
    """A MAT file, and the process that reads it; that, and the folder that it writes to, go with this object.

    It lists what there is (structs and cells are read for that), and answers until nobody asks any more; or, if
    ``result`` is ``"array.npy"``, it reads one array and ends. Each answer may take ``timeout`` seconds.
    """

    no_package = (
        "is a MAT file of version 7.3, which needs h5py: pip install 'layerwise[matlab]', or save it in MATLAB with "
        "the option '-v7'"
    )

    def __init__(
        self, path: str | PathLike[str], result: str = "shapes.json", *name: str, max_bytes: int, timeout: float
    ):
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"{path} is not there, or is not a file")
        size = path.stat().st_size
        self.max_bytes = max_expanded(size, int(max_bytes))
        # No variable can be larger than deflate makes the file, and a wrong header must not get more memory than that.
        memory = 3 * min(self.max_bytes, DEFLATE_LIMIT * size)
        words = [path.absolute(), result, self.max_bytes, memory, *name]
        super().__init__(path, _mat_reader.__file__, words, timeout=timeout)
        self._check(self.hear())

    def _place(self, name: str) -> Path:
        return Path(self.folder.name) / name

    def load(self, name: str) -> Any:
        """Load one array, as `load_mat` does."""
        self._check(self.ask(name))
        return self.take_array()

    def _check(self, line: bytes) -> None:
        if line and line.strip() != b"null":
            raise FileError(f"{self.path} {self.as_text(line)}")

    def take_array(self) -> Any:
        """Return the array that the process has written, which is not trusted either."""
        values, *parts = (self._take(name) for name in ("array", "indices", "indptr", "shape"))
        if values is None:
            raise FileError(f"{self.path} cannot be trusted: the process that read it did not hand back an array")
        if any(part is None for part in parts):
            return values
        *places, shape = parts
        try:
            matrix = sparse.csr_matrix((values, *places), shape=tuple(shape.tolist()))  # type: ignore[union-attr]
            matrix.check_format(full_check=True)
        except (ValueError, TypeError, OverflowError) as error:
            raise FileError(f"{self.path} cannot be trusted: its sparse matrix is none ({error})") from error
        return matrix

    def _take(self, name: str) -> np.ndarray | None:
        result = self._place(f"{name}.npy")
        if not result.is_file():
            return None
        with result.open("rb") as file:
            header = read_header(file, self.path)
            if header.start + header.n_bytes != result.stat().st_size or header.n_bytes > max(self.max_bytes, 2**10):
                raise FileError(
                    f"{self.path} cannot be trusted: the process that read it did not hand back a whole array"
                )
            values = read_values(file, header)[0]
        result.unlink()
        return values

    @cached_property
    def shapes(self) -> Shapes:
        """Of the arrays that `load_mat` reads, fields of structs among them; the list is not trusted either."""
        result = self._place("shapes.json")
        try:
            if result.stat().st_size > MAX_ANSWER:
                raise ValueError("the list is too long")
            found = json.loads(result.read_bytes())
            shapes = {str(name): tuple(map(int, shape)) for name, shape in found["shapes"].items()}
            return Shapes(shapes, {str(name): str(reason) for name, reason in found["others"].items()})
        except (OSError, LookupError, ValueError, AttributeError, TypeError) as error:
            raise FileError(
                f"{self.path} cannot be trusted: the process that read it did not hand back names"
            ) from error
