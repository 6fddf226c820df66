"""The program that reads MAT files for `layerwise.data.mat`, in a process of its own; imports nothing of layerwise."""

from __future__ import annotations

import contextlib
import json
import math
import sys
import warnings
from collections.abc import Iterable, Iterator
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
# Classes whose values are looked into: what they hold decides whether they are rows or labels.
_CONTAINERS = ("sparse", "cell", "struct", "char")
# Address space of the reading process beside the array: Python, NumPy and SciPy map 0.2 GiB, and SciPy expands 128 KiB
# of compressed bytes at once.
READER_BYTES = 2**29
# How HDF5 begins, at the start of a file or, after MATLAB's own header, at byte 512.
_HDF5 = b"\x89HDF\r\n\x1a\n"
# Exit status of the reading process where h5py is missing.
NO_H5PY = 3
# The most arrays that are listed, and how deep structs and cells may lie in each other.
_MAX_NAMES, _MAX_DEPTH = 10_000, 16


class _RefusedError(Exception):
    """The file can be read, but does not hold what is wanted."""


def _main(path: str, result: str, max_bytes: str, memory: str, name: str | None = None) -> None:
    """Write the array to ``result``, or exit with the reason why not: the end of a sentence that names the file.

    If ``result`` is a ``.json`` file, names and shapes go there, and arrays to a file beside it as they are asked for.
    """
    warnings.simplefilter("ignore")
    _limit_memory(int(memory) + READER_BYTES)
    try:
        list_variables, read = (_list_hdf5, _read_hdf5) if _is_hdf5(path) else (_list_scipy, _read_scipy)
        variables = list_variables(path)
        if result.endswith(".json"):
            Path(result).write_text(json.dumps(_list(path, variables, read)))
            _answer(path, str(Path(result).with_name("array.npy")), int(max_bytes), variables, read)
            return
        _load(path, result, int(max_bytes), variables, read, name)
    except ModuleNotFoundError:
        sys.exit(NO_H5PY)
    except Exception as error:
        sys.exit(_reason(error, max_bytes))


def _reason(error: Exception, max_bytes: Any) -> str:
    if isinstance(error, MemoryError):
        return f"takes more memory to read than max_bytes={max_bytes} allows; raise max_bytes if you trust it"
    if isinstance(error, _RefusedError):
        return str(error)
    # Whatever SciPy or h5py comes upon in bytes that are not what they should be.
    return f"is not a MAT file, or is damaged ({type(error).__name__}: {str(error)[:200]!r})"


def _answer(path: str, result: str, max_bytes: int, variables: dict, read: Any) -> None:
    """Load each variable whose name comes as a line of JSON; answer by the reason why not, or by nothing."""
    print("null", flush=True)
    for line in sys.stdin:
        reason = None
        try:
            _load(path, result, max_bytes, variables, read, json.loads(line))
        except Exception as error:
            reason = _reason(error, max_bytes)
        print(json.dumps(reason), flush=True)


def _load(path: str, result: str, max_bytes: int, variables: dict, read: Any, name: str | None) -> None:
    name = _choose(variables, name)
    first, *fields = [name] if name in variables else name.split(".")
    shape, kind = variables[first]
    if not fields:
        _check_kind(name, shape, kind, max_bytes)
    value = read(path, first)
    for field in fields:
        value = _field(name, value, field)
    _save(name, value, kind if kind in _DTYPES and not fields else None, result, max_bytes)


def _check_kind(name: str, shape: tuple[int, ...], kind: str, max_bytes: int) -> None:
    """Refuse a variable by what the file says of it, before its values are read."""
    if kind in _DTYPES:
        _check_size(name, shape, math.prod(shape) * _DTYPES[kind].itemsize, max_bytes)
    elif kind not in _CONTAINERS:
        raise _RefusedError(f"holds {name!r} as {kind}, but an array of numbers is needed{_remedy(name, kind)}")


def _remedy(name: str, kind: str) -> str:
    """Return what to do about a variable of a class that only MATLAB reads."""
    if kind not in ("opaque", "object", "string", "table", "categorical", "datetime", "function_handle", "function"):
        return ""
    return (
        f": strings, tables and other objects can be read by MATLAB alone; save cellstr({name}), double({name}) or "
        f"table2array({name}) there"
    )


def _save(name: str, value: Any, kind: str | None, result: str, max_bytes: int) -> None:
    """Save the values of a variable as .npy, in the type that it has in MATLAB; of a sparse one in four files."""
    array = _as_array(name, value, max_bytes)
    if hasattr(array, "indptr"):
        _check_size(name, array.shape, array.data.nbytes + array.indices.nbytes + array.indptr.nbytes, max_bytes)
        parts = {"indices": array.indices, "indptr": array.indptr, "shape": np.array(array.shape, np.int64)}
        for part, values in parts.items():
            np.save(str(Path(result).with_name(f"{part}.npy")), values, allow_pickle=False)
        array = array.data
    elif kind is not None:  # MATLAB writes doubles that are whole numbers as integers, and SciPy returns them as such
        array = array.astype(_DTYPES[kind], copy=False)
    _check_size(name, array.shape, array.nbytes, max_bytes)
    np.save(result, array, allow_pickle=False)


def _as_array(name: str, value: Any, max_bytes: int) -> Any:
    """Return an array of numbers or texts, or a sparse matrix (CSR), of what a variable holds."""
    if isinstance(value, dict):
        fields = _quote(f"{name}.{field}" for field in value)
        raise _RefusedError(f"holds {name!r} as struct, but an array is needed; name one of its fields: {fields}")
    if hasattr(value, "tocsr"):
        if value.dtype.kind == "c":
            raise _RefusedError(f"holds {name!r} as sparse complex128, but an array of real numbers is needed")
        return value.astype(np.float64).tocsr()
    if isinstance(value, np.ndarray) and value.dtype.kind == "O":
        return _stack(name, value, max_bytes)
    if isinstance(value, np.ndarray) and value.dtype.kind == "U" and value.size > 1:
        return value.reshape(-1)
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "biuf":
        found = getattr(value, "dtype", type(value).__name__)
        found = "char" if isinstance(value, np.ndarray) and value.dtype.kind == "U" else found
        raise _RefusedError(f"holds {name!r} as {found}, but an array of real numbers is needed")
    return value


def _stack(name: str, cells: np.ndarray, max_bytes: int) -> np.ndarray:
    """Return what the cells hold as one array: texts, rows of numbers, or along a new last axis images."""
    refused = f"holds {name!r} as cell, but an array of numbers is needed"
    items = list(cells.ravel(order="F"))
    if not items or cells.size != max(cells.shape):
        shape = " x ".join(map(str, cells.shape))
        raise _RefusedError(f"{refused}: its cells are {shape}, and only those of one row or column are taken as rows")
    if not all(isinstance(item, np.ndarray) and item.dtype.kind in "biufU" for item in items):
        raise _RefusedError(f"{refused}: a cell of it is neither numbers nor text")
    kinds = {item.dtype.kind == "U" and item.size <= 1 for item in items}
    if kinds == {True}:
        texts = [str(item.reshape(-1)[0]) if item.size else "" for item in items]
        _check_size(name, (len(texts),), 4 * len(texts) * max(map(len, texts)), max_bytes)
        return np.array(texts, dtype=str)
    if len(kinds) > 1 or any(item.dtype.kind == "U" for item in items):
        raise _RefusedError(f"{refused}: its cells mix text and numbers")
    shapes = {item.shape for item in items}
    if len(shapes) > 1:
        shown = " and ".join(" x ".join(map(str, shape)) for shape in sorted(shapes)[:2])
        raise _RefusedError(f"{refused}: its cells are of different sizes, such as {shown}")
    (shape,) = shapes
    _check_size(name, (*shape, len(items)), sum(item.nbytes for item in items), max_bytes)
    if sum(side != 1 for side in shape) <= 1:
        return np.stack([item.reshape(-1) for item in items])
    return np.stack(items, axis=-1)


def _field(name: str, value: Any, field: str) -> Any:
    if not isinstance(value, dict) or field not in value:
        known = _quote(value) if isinstance(value, dict) else "none"
        raise _RefusedError(f"holds no variable name={name!r}: there is no field {field!r}; there are: {known}")
    return value[field]


def _list(path: str, variables: dict[str, tuple[tuple[int, ...], str]], read: Any) -> dict[str, dict[str, Any]]:
    """Return the shapes of the arrays that can be read, by name, and why others cannot."""
    shapes: dict[str, Any] = {}
    others: dict[str, str] = {}
    for variable, (shape, kind) in variables.items():
        if kind in _DTYPES:
            shapes[variable] = shape
            continue
        try:
            _check_kind(variable, shape, kind, 0)
            for name, value in _leaves(variable, read(path, variable)):
                try:
                    shapes[name] = _as_array(name, value, sys.maxsize).shape
                except _RefusedError as error:
                    others[name] = str(error)
        except _RefusedError as error:
            others[variable] = str(error)
        except MemoryError:
            others[variable] = f"holds {variable!r}, which takes more memory to read than is allowed"
    if len(shapes) + len(others) > _MAX_NAMES:
        raise _RefusedError(f"holds more than {_MAX_NAMES} arrays and fields")
    return {"shapes": shapes, "others": others}


def _leaves(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield what a struct holds, by names such as ``data.train.x``."""
    if not isinstance(value, dict):
        yield name, value
        return
    for field, item in value.items():
        yield from _leaves(f"{name}.{field}", item)


# Both kinds of file: what there is by name, as (shape, MATLAB's class), and the values of one variable: an array of
# numbers or texts, one of objects for cells, a dict for a struct, a sparse matrix.


def _list_scipy(path: str) -> dict[str, tuple[tuple[int, ...], str]]:
    from scipy.io import whosmat

    return {key: (shape, kind) for key, shape, kind in whosmat(path, appendmat=False) if key[:2] != "__"}


def _read_scipy(path: str, name: str) -> Any:
    from scipy.io import loadmat

    value = loadmat(path, appendmat=False, variable_names=[name])[name]
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "OV":
        return value
    _refuse_complex(name, _plain(name, value, 0))  # of which mat_dtype would drop a part
    return _plain(name, loadmat(path, appendmat=False, variable_names=[name], mat_dtype=True)[name], 0)


def _refuse_complex(name: str, value: Any) -> None:
    for field, item in _leaves(name, value):
        kind = getattr(item, "dtype", np.dtype(float)).kind
        if kind == "c":
            raise _RefusedError(f"holds {field!r} as complex128, but an array of real numbers is needed")
        for part in item.flat if kind == "O" else ():
            _refuse_complex(field, part)


def _plain(name: str, value: Any, depth: int) -> Any:
    """Return structs of SciPy as dicts, also within cells."""
    if depth > _MAX_DEPTH:
        raise _RefusedError(f"holds {name!r}, whose structs and cells lie more than {_MAX_DEPTH} deep")
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "OV":
        return value
    if type(value) is not np.ndarray:
        raise _RefusedError(f"holds {name!r} as object, but an array is needed{_remedy(name, 'object')}")
    if value.dtype.names is None:
        for place in np.ndindex(value.shape):
            value[place] = _plain(name, value[place], depth + 1)
        return value
    if value.size != 1:
        raise _RefusedError(_no_struct_array(name, value.shape))
    (record,) = value.reshape(-1)
    return {field: _plain(f"{name}.{field}", record[field], depth + 1) for field in value.dtype.names}


def _no_struct_array(name: str, shape: tuple[int, ...]) -> str:
    sides = " x ".join(map(str, shape))
    return f"holds {name!r} as struct array of {sides}, but an array is needed; save its fields as matrices in MATLAB"


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
            item, kind = file[name], _kind_hdf5(file[name])
            variables[name] = (_shape_hdf5(item) if kind in (*_DTYPES, "cell", "char") else (), kind)
    return variables


def _kind_hdf5(item: Any) -> str:
    """Return MATLAB's class of a variable, or what it is instead."""
    import h5py

    kind = item.attrs.get("MATLAB_class", b"no variable of MATLAB").decode()
    if not isinstance(item, h5py.Dataset):
        return "sparse" if "MATLAB_sparse" in item.attrs else kind
    return "values in another file" if item.external or item.is_virtual else kind


def _read_hdf5(path: str, name: str) -> Any:
    import h5py

    with h5py.File(path, "r") as file:
        return _value_hdf5(file, name, file[name], 0)


def _value_hdf5(file: Any, name: str, item: Any, depth: int) -> Any:
    import h5py

    if depth > _MAX_DEPTH:
        raise _RefusedError(f"holds {name!r}, whose structs and cells lie more than {_MAX_DEPTH} deep")
    kind = _kind_hdf5(item)
    if kind == "sparse":
        return _sparse_hdf5(name, item)
    if kind == "struct" and not isinstance(item, h5py.Dataset):
        fields = {field: item[field] for field in item if isinstance(item.get(field, getlink=True), h5py.HardLink)}
        for part in fields.values():  # of a struct array each field holds references
            if "MATLAB_class" not in part.attrs and isinstance(part, h5py.Dataset):
                raise _RefusedError(_no_struct_array(name, part.shape[::-1]))
        return {field: _value_hdf5(file, f"{name}.{field}", part, depth + 1) for field, part in fields.items()}
    if "MATLAB_empty" in item.attrs and isinstance(item, h5py.Dataset):
        return np.zeros(_shape_hdf5(item), _DTYPES.get(kind, "U1" if kind == "char" else "O"))
    if kind == "cell":
        places = item[()].T
        cells = np.empty(places.shape, object)
        for place in np.ndindex(places.shape):
            cells[place] = _value_hdf5(file, name, file[places[place]], depth + 1)
        return cells
    if kind == "char":
        codes = item[()].T
        return np.array(["".join(map(chr, row)) for row in codes.reshape(len(codes), -1)])
    if kind not in _DTYPES:
        raise _RefusedError(f"holds {name!r} as {kind}, but an array of numbers is needed{_remedy(name, kind)}")
    values = item[()].T  # HDF5 counts along the last axis first, MATLAB along the first one
    return values.astype(_DTYPES[kind], copy=False) if values.dtype.kind in "biuf" else values


def _sparse_hdf5(name: str, item: Any) -> Any:
    from scipy import sparse

    n_rows = int(item.attrs["MATLAB_sparse"])
    parts = [item[part] for part in ("data", "ir", "jc") if part in item]
    if any(part.external or part.is_virtual for part in parts):
        raise _RefusedError(f"holds {name!r} as values in another file, but an array of numbers is needed")
    starts = item["jc"][()].astype(np.int64)
    values, rows = (item[part][()] if part in item else np.zeros(0, np.int64) for part in ("data", "ir"))
    if values.dtype.names:
        raise _RefusedError(f"holds {name!r} as sparse complex128, but an array of real numbers is needed")
    matrix = sparse.csc_matrix(
        (values.astype(np.float64), rows.astype(np.int64), starts), shape=(n_rows, len(starts) - 1)
    )
    matrix.check_format(full_check=True)
    return matrix


def _shape_hdf5(item: Any) -> tuple[int, ...]:
    """Return the shape that a variable has in MATLAB; one without values is stored as its shape."""
    if "MATLAB_empty" in item.attrs and item.size <= 32:
        return tuple(int(side) for side in np.ravel(item[()]))
    return item.shape[::-1]


def _quote(names: Iterable[str]) -> str:
    """Return the first 20 names for a message."""
    return ", ".join(repr(name[:63]) for name in list(names)[:20])


def _choose(variables: dict, name: str | None) -> str:
    """Return the name of the variable to load."""
    known = _quote(variables) or "none"
    if name is None and len(variables) != 1:
        raise _RefusedError(f"holds {len(variables)} variables, so name must say which to load; there are: {known}")
    if name is None:
        return next(iter(variables))
    if name not in variables and name.split(".")[0] not in variables:
        raise _RefusedError(f"holds no variable name={name!r}; there are: {known}")
    return name


def _check_size(name: str, shape: tuple[int, ...], n_bytes: int, max_bytes: int) -> None:
    if n_bytes > max_bytes:
        raise _RefusedError(
            f"holds {name!r} of shape {shape}, {n_bytes} bytes, which is more than max_bytes={max_bytes}; raise "
            f"max_bytes (LAYERWISE_MAX_BYTES in the environment) if you trust it"
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
