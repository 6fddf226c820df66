"""The program that reads files of SPSS, Stata and SAS, in a process of its own; imports nothing of layerwise.

ReadStat, which pyreadstat is built on, breaks down on some damaged files. Rows are written as they come, in blocks.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import warnings
from pathlib import Path
from typing import Any

# Address space of the reading process beside what the file expands to.
READER_BYTES = 3 * 2**29
# Exit status where pyreadstat is missing, and where text is not in the encoding that the file names.
NO_PYREADSTAT, NO_ENCODING = 3, 4
# Values in a block of rows, which Python holds as objects for a moment; more of files in which each block is looked for
# from the start.
_BLOCK, _LARGE, _FROM_START = 2**21, 2**23, (".zsav", ".por", ".xpt")


def _main(path: str, reader: str, encoding: str, folder: str, max_bytes: str, memory: str, what: str) -> None:
    """Write what the file says of its columns to ``about.json``, or its rows to ``0.arrow``, ``1.arrow``, ...

    Where that fails, exit with the reason: the end of a sentence that names the file.
    """
    warnings.simplefilter("ignore")
    _limit_memory(int(memory) + READER_BYTES)
    try:
        import pyreadstat
    except ModuleNotFoundError:
        sys.exit(NO_PYREADSTAT)
    options: dict[str, Any] = {"output_format": "dict", "disable_datetime_conversion": True}
    if encoding:
        options["encoding"] = encoding

    def read(**more: Any) -> Any:
        return getattr(pyreadstat, reader)(path, **options, **more)

    try:
        if what == "about":
            Path(folder, "about.json").write_text(json.dumps(_describe(read(metadataonly=True)[1])))
        else:
            _write_rows(read, Path(folder), int(max_bytes), _LARGE if path.lower().endswith(_FROM_START) else _BLOCK)
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        if isinstance(error, UnicodeError) or "encoding" in reason or "character set" in reason:
            sys.exit(NO_ENCODING)
        sys.exit("takes too much memory" if isinstance(error, MemoryError) else reason)


def _limit_memory(n_bytes: int) -> None:
    try:
        import resource
    except ImportError:  # Windows has no such limits
        return
    with contextlib.suppress(ValueError, OSError, OverflowError):  # a lower limit is set already
        resource.setrlimit(resource.RLIMIT_AS, (n_bytes, n_bytes))


def _describe(about: Any) -> dict[str, Any]:
    names, kinds = about.column_names, about.readstat_variable_types
    labels = {name: list(pairs.items()) for name, pairs in about.variable_value_labels.items()}
    return {
        "n_rows": about.number_rows,
        "kinds": [[name, kinds[name]] for name in names],
        "formats": {name: str(about.original_variable_types.get(name) or "") for name in names},
        "labels": labels,
        "descriptions": about.column_names_to_labels,
        "n_bytes": sum(about.variable_storage_width.values()),  # of a row
    }


def _write_rows(read: Any, folder: Path, max_bytes: int, n_values: int) -> None:
    import polars as pl

    kinds = _describe(read(metadataonly=True)[1])["kinds"]
    schema = {name: _type_of(kind) for name, kind in kinds}
    size, place = max(1, n_values // len(schema)), 0
    n_bytes = 0.0
    while True:
        values, _ = read(row_offset=place * size, row_limit=size)
        block = pl.DataFrame({name: values.get(name, []) for name in schema}, schema=schema)
        n_bytes += block.estimated_size()
        if n_bytes > max_bytes:
            raise MemoryError
        block.write_ipc(folder / f"{place}.arrow", compression="lz4")
        if len(block) < size:
            return
        place += 1


def _type_of(kind: str) -> Any:
    import polars as pl

    if kind.startswith("string"):
        return pl.String
    return pl.Int64 if kind.startswith("int") else pl.Float64


if __name__ == "__main__":
    os.environ["POLARS_MAX_THREADS"] = "1"
    _main(*sys.argv[1:])
