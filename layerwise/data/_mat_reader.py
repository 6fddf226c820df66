"""The program that reads MAT files for `layerwise.data.mat`, in a process of its own; imports nothing of layerwise."""

from __future__ import annotations

import contextlib
import json
import math
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np

# MATLAB's classes of numbers.
_DTYPES: dict[str, np.dtype] = {
    "double": np.dtype(np.float64),
    "single": np.dtype(np.float32),
    "logical": np.dtype(np.bool_),
    **{f"{sign}int{bits}": np.dtype(f"{sign}int{bits}") for sign in ("", "u") for bits in (8, 16, 32, 64)},
}
# Address space of the reading process beside the array: Python, NumPy and SciPy map 0.2 GiB, and SciPy expands 128 KiB
# of compressed bytes at once.
READER_BYTES = 2**29
# How HDF5 begins, at the start of a file or, after MATLAB's own header, at byte 512.
_HDF5 = b"\x89HDF\r\n\x1a\n"
# Exit status of the reading process where h5py is missing.
NO_H5PY = 3


class _RefusedError(Exception):
    """The file can be read, but does not hold what is wanted."""


def _main(path: str, result: str, max_bytes: str, memory: str, name: str | None = None) -> None:
    """Write the array to ``result``, or exit with the reason why not: the end of a sentence that names the file."""
    warnings.simplefilter("ignore")
    _limit_memory(int(memory) + READER_BYTES)
    try:
        list_variables, read = (_list_hdf5, _read_hdf5) if _is_hdf5(path) else (_list_scipy, _read_scipy)
        variables = list_variables(path)
        if result.endswith(".json"):
            Path(result).write_text(
                json.dumps({key: shape for key, (shape, kind) in variables.items() if kind in _DTYPES})
            )
        else:
            name = _choose(variables, name)
            _check_header(name, *variables[name], int(max_bytes))
            _save(name, read(path, name), variables[name][1], result, int(max_bytes))
    except _RefusedError as error:
        sys.exit(str(error))
    except ModuleNotFoundError:
        sys.exit(NO_H5PY)
    except MemoryError:
        sys.exit(f"takes more memory to read than max_bytes={max_bytes} allows; raise max_bytes if you trust it")
    except Exception as error:
        # Whatever SciPy or h5py comes upon in bytes that are not what they should be.
        sys.exit(f"is not a MAT file, or is damaged ({type(error).__name__}: {str(error)[:200]!r})")


def _check_header(name: str, shape: tuple[int, ...], kind: str, max_bytes: int) -> None:
    """Refuse a variable by what the file says of it, before its values are read."""
    if kind not in _DTYPES:
        raise _RefusedError(f"holds {name!r} as {kind}, but an array of numbers is needed")
    _check_size(name, shape, math.prod(shape) * _DTYPES[kind].itemsize, max_bytes)


def _save(name: str, array: Any, kind: str, result: str, max_bytes: int) -> None:
    """Save the values of a variable as .npy, in the type that it has in MATLAB."""
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "biuf":
        found = getattr(array, "dtype", type(array).__name__)
        raise _RefusedError(f"holds {name!r} as {found}, but an array of real numbers is needed")
    # MATLAB writes doubles that are whole numbers as integers, and SciPy returns them as such.
    array = array.astype(_DTYPES[kind], copy=False)
    _check_size(name, array.shape, array.nbytes, max_bytes)
    np.save(result, array, allow_pickle=False)


# Both kinds of file: what there is by name, as (shape, MATLAB's class), and the values of one variable.


def _list_scipy(path: str) -> dict[str, tuple[tuple[int, ...], str]]:
    from scipy.io import whosmat

    return {key: (shape, kind) for key, shape, kind in whosmat(path, appendmat=False) if key[:2] != "__"}


def _read_scipy(path: str, name: str) -> Any:
    from scipy.io import loadmat

    return loadmat(path, appendmat=False, variable_names=[name])[name]


def _is_hdf5(path: str) -> bool:
    with open(path, "rb") as file:
        head = file.read(520)
    return head.startswith(_HDF5) or head[512:] == _HDF5


def _list_hdf5(path: str) -> dict[str, tuple[tuple[int, ...], str]]:
    import h5py

    variables: dict[str, tuple[tuple[int, ...], str]] = {}
    with h5py.File(path, "r") as file:
        for name in file:
            # A link may lead to another file, and so may values that are stored outside.
            if name[0] == "#" or not isinstance(file.get(name, getlink=True), h5py.HardLink):
                continue
            item = file[name]
            kind = item.attrs.get("MATLAB_class", b"no variable of MATLAB").decode()
            if not isinstance(item, h5py.Dataset):
                variables[name] = ((), f"sparse {kind}" if "MATLAB_sparse" in item.attrs else kind)
            elif item.external or item.is_virtual:
                variables[name] = ((), "values in another file")
            else:
                variables[name] = (_shape_hdf5(item), kind)
    return variables


def _read_hdf5(path: str, name: str) -> Any:
    import h5py

    with h5py.File(path, "r") as file:
        item = file[name]
        # HDF5 counts along the last axis first, MATLAB along the first one.
        return np.zeros(_shape_hdf5(item)) if "MATLAB_empty" in item.attrs else item[()].T


def _shape_hdf5(item: Any) -> tuple[int, ...]:
    """Return the shape that a variable has in MATLAB; one without values is stored as its shape."""
    if "MATLAB_empty" in item.attrs and item.size <= 32:
        return tuple(int(side) for side in np.ravel(item[()]))
    return item.shape[::-1]


def _choose(variables: dict, name: str | None) -> str:
    """Return the name of the variable to load."""
    known = ", ".join(repr(key[:63]) for key in list(variables)[:20]) or "none"
    if name is None and len(variables) != 1:
        raise _RefusedError(f"holds {len(variables)} variables, so name must say which to load; there are: {known}")
    if name is None:
        return next(iter(variables))
    if name not in variables:
        raise _RefusedError(f"holds no variable name={name!r}; there are: {known}")
    return name


def _check_size(name: str, shape: tuple[int, ...], n_bytes: int, max_bytes: int) -> None:
    if n_bytes > max_bytes:
        raise _RefusedError(
            f"holds {name!r} of shape {shape}, {n_bytes} bytes, which is more than max_bytes={max_bytes}; raise "
            f"max_bytes if you trust it"
        )


def _limit_memory(n_bytes: int) -> None:
    """Limit the address space of this process, where the system can and no lower limit is set already."""
    try:
        import resource
    except ImportError:  # Windows
        return
    with contextlib.suppress(ValueError, OSError, OverflowError):
        resource.setrlimit(resource.RLIMIT_AS, (n_bytes, n_bytes))


if __name__ == "__main__":
    _main(*sys.argv[1:])
