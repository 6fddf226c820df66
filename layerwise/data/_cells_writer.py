"""The program that writes arrays into an AnnData file, a copy, for `layerwise.data.cells_output`; imports no layerwise.

The file was made by others, so it is opened in a process of its own. No link in it is followed.
"""

from __future__ import annotations

import json
import resource
import sys

import numpy as np

# Address space beside the arrays, and exit status where h5py is missing.
WRITER_BYTES = 2**29
NO_PACKAGE = 3


class _RefusedError(Exception):
    """The file is not one to write into."""


def _main(path: str, arrays: str) -> None:
    try:
        with np.load(arrays, allow_pickle=False) as loaded:
            found = {name: loaded[name] for name in loaded.files}
        most = WRITER_BYTES + 3 * sum(array.nbytes for array in found.values())
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        _write(path, found)
        print(json.dumps(list(found)), flush=True)
    except ModuleNotFoundError:
        sys.exit(NO_PACKAGE)
    except _RefusedError as error:
        sys.exit(str(error))
    except Exception as error:
        sys.exit(f"could not be written ({type(error).__name__}: {str(error)[:200]!r})")


def _write(path: str, found: dict[str, np.ndarray]) -> None:
    import h5py

    with h5py.File(path, "r+") as file:
        for place, array in found.items():
            group, _, name = place.partition("/")
            if group not in file:
                file.create_group(group).attrs.update({"encoding-type": "dict", "encoding-version": "0.1.0"})
            if not isinstance(file.get(group, getlink=True), h5py.HardLink):
                raise _RefusedError(f"holds {group} as a link, which is not followed")
            if name in file[group]:
                del file[group][name]
            is_text = array.dtype.kind == "U"
            values = array.astype(object) if is_text else array
            dataset = file[group].create_dataset(name, data=values, dtype=h5py.string_dtype() if is_text else None)
            kind = "string-array" if is_text else "array"
            dataset.attrs.update({"encoding-type": kind, "encoding-version": "0.2.0"})
            if group == "obs":
                attributes = file[group].attrs
                order = [str(column) for column in attributes.get("column-order", [])]
                order = order if name in order else [*order, name]
                attributes.create("column-order", order, dtype=h5py.string_dtype())


if __name__ == "__main__":
    _main(*sys.argv[1:])
