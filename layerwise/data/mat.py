"""Arrays from MATLAB's MAT files, read in a process of their own: a hostile file harms only that one."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Mapping
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from layerwise.data import _mat_reader
from layerwise.data.npy import read_header, read_values
from layerwise.errors import FileError
from layerwise.limits import DEFLATE_LIMIT, max_expanded

# The longest list of names, and the longest reason why an array cannot be read, in bytes.
_MAX_LIST, _MAX_REASON = 2**23, 2**16


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


class MatFile:
    """A MAT file, and the process that reads it; that, and the folder that it writes to, go with this object.

    It lists what there is (structs and cells are read for that), and answers until nobody asks any more; or, if
    ``result`` is ``"array.npy"``, it reads one array and ends. Each answer may take ``timeout`` seconds.
    """

    def __init__(
        self, path: str | PathLike[str], result: str = "shapes.json", *name: str, max_bytes: int, timeout: float
    ):
        self.path, self.timeout = Path(path), timeout
        if not self.path.is_file():
            raise FileNotFoundError(f"{path} is not there, or is not a file")
        size = self.path.stat().st_size
        self.max_bytes = max_expanded(size, int(max_bytes))
        # No variable can be larger than deflate makes the file, and a wrong header must not get more memory than that.
        memory = 3 * min(self.max_bytes, DEFLATE_LIMIT * size)
        self._folder = tempfile.TemporaryDirectory()
        # -P keeps modules in the working directory from being imported.
        command = [sys.executable, "-P", _mat_reader.__file__, str(self.path.absolute()), str(self._place(result))]
        # Threads of NumPy's matrix products would take address space, and nothing is multiplied.
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        pipes: Any = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        self._process = subprocess.Popen([*command, str(self.max_bytes), str(memory), *name], env=environment, **pipes)
        self._lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        threading.Thread(target=_pass_lines, args=(self._process, self._lines), daemon=True).start()
        weakref.finalize(self, _end, self._process, self._folder)
        self._hear()

    def _place(self, name: str) -> Path:
        return Path(self._folder.name) / name

    def load(self, name: str) -> Any:
        """Load one array, as `load_mat` does."""
        with contextlib.suppress(BrokenPipeError):  # what it died of, `_hear` says
            self._process.stdin.write(json.dumps(name).encode() + b"\n")  # type: ignore[union-attr]
            self._process.stdin.flush()  # type: ignore[union-attr]
        self._hear()
        return self.take_array()

    def _hear(self) -> None:
        """Wait for an answer, or for a good end; raise the reason why there is none."""
        try:
            line = self._lines.get(timeout=self.timeout)
            code = None if line else self._process.wait(timeout=self.timeout)
        except (queue.Empty, subprocess.TimeoutExpired) as error:
            message = f"{self.path} was not read within timeout={self.timeout:g} seconds; raise timeout if you trust it"
            raise FileError(message) from error
        if code == _mat_reader.NO_H5PY:
            raise ImportError(
                f"{self.path} is a MAT file of version 7.3, which needs h5py: pip install 'layerwise[matlab]', or save "
                f"it in MATLAB with the option '-v7'"
            )
        if code == 1:
            reason = self._process.stderr.read(_MAX_REASON).decode(errors="replace")  # type: ignore[union-attr]
            raise FileError(f"{self.path} {reason.strip()}")
        if code:
            raise FileError(
                f"{self.path} is damaged or made to do harm: the process that read it broke down (exit status {code})"
            )
        if line and line.strip() != b"null":
            raise FileError(f"{self.path} {_as_text(line)}")

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
            if result.stat().st_size > _MAX_LIST:
                raise ValueError("the list is too long")
            found = json.loads(result.read_bytes())
            shapes = {str(name): tuple(map(int, shape)) for name, shape in found["shapes"].items()}
            return Shapes(shapes, {str(name): str(reason) for name, reason in found["others"].items()})
        except (OSError, LookupError, ValueError, AttributeError, TypeError) as error:
            raise FileError(
                f"{self.path} cannot be trusted: the process that read it did not hand back names"
            ) from error


def _pass_lines(process: subprocess.Popen, lines: queue.SimpleQueue[bytes]) -> None:
    """Hand on what a process says, line by line, and an empty one at its end."""
    with process.stdout as answers:  # type: ignore[union-attr]
        while line := answers.readline(_MAX_REASON):
            lines.put(line)
    lines.put(b"")


def _end(process: subprocess.Popen, folder: tempfile.TemporaryDirectory) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stderr):  # that of its answers is closed by the thread that reads them
        with contextlib.suppress(OSError):
            pipe.close()  # type: ignore[union-attr]
    folder.cleanup()


def _as_text(line: bytes) -> str:
    try:
        return str(json.loads(line))
    except ValueError:
        return "cannot be trusted: the process that read it gave no answer"
