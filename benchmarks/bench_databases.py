"""How fast, and in how much memory, `layerwise.read` takes a table of numbers out of a database, beside Parquet.

PostgreSQL runs in a folder of its own, on a socket; each contestant reads in a process of its own, once to warm the
caches of the system and then in rounds. Needs the packages of `layerwise[databases]`, and initdb and pg_ctl.

    python benchmarks/bench_databases.py [--rows 5000000] [--rounds 3]
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
from adbc_driver_postgresql import dbapi
from common import Figures, alone, answer, medians, parser, show, write

import layerwise

COLUMNS = 20
PLACE = "LAYERWISE_BENCH_DATABASES"  # of the data, for the processes of the contestants
NAMES = ("Parquet", "DuckDB", "PostgreSQL")
ALONE = "PostgreSQL alone"


def contest(name: str) -> Figures:
    """Read all rows once."""
    place = Path(os.environ[PLACE])
    where, more = {
        "Parquet": (place / "rows.parquet", {}),
        "DuckDB": (f"duckdb:///{place}/rows.duckdb", {"table": "numbers"}),
        "PostgreSQL": (f"postgresql://bench@/postgres?host={place}", {"table": "numbers"}),
    }[name]
    began = time.perf_counter()
    found = layerwise.read(where, **more)
    return {"seconds": time.perf_counter() - began, "rows": len(found.X), "sum": float(found.X[:, 0].sum())}


def hand_over() -> Figures:
    """Take all rows from PostgreSQL, and let them go: what no reader can save."""
    began = time.perf_counter()
    address = f"postgresql://bench@/postgres?host={os.environ[PLACE]}"
    with dbapi.connect(address) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT * FROM numbers")
        n_rows = sum(batch.num_rows for batch in cursor.fetch_record_batch())
    return {"seconds": time.perf_counter() - began, "rows": n_rows}


@contextmanager
def server(place: Path) -> Iterator[str]:
    """Run PostgreSQL, not as root, and give its address."""
    found = shutil.which("initdb") or next(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    binaries = Path(found).resolve().parent
    as_nobody = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"] if os.getuid() == 0 else []
    if as_nobody:
        shutil.chown(place, "nobody")

    def call(*words: object) -> None:
        subprocess.run([*as_nobody, *map(str, words)], check=True, stdout=subprocess.DEVNULL, cwd=place)

    data = place / "data"
    call(binaries / "initdb", "-D", data, "-U", "bench", "-A", "trust", "-N")
    settings = f"-c listen_addresses='' -c unix_socket_directories={place} -c fsync=off -c max_wal_size=8GB"
    call(binaries / "pg_ctl", "-D", data, "-o", settings, "-w", "-l", place / "log", "start")
    try:
        yield f"postgresql://bench@/postgres?host={place}"
    finally:
        call(binaries / "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")


def fill(place: Path, address: str, n_rows: int) -> None:
    """Write the same numbers into all three."""
    rng = np.random.default_rng(0)
    table = pl.DataFrame({f"x{place}": rng.normal(size=n_rows) for place in range(COLUMNS)})
    table.write_parquet(place / "rows.parquet")
    path = place / "rows.parquet"
    with duckdb.connect(str(place / "rows.duckdb")) as connection:
        connection.execute(f"CREATE TABLE numbers AS SELECT * FROM '{path}'")
    with dbapi.connect(address) as connection, connection.cursor() as cursor:
        cursor.adbc_ingest("numbers", table.to_arrow(), mode="create")
        connection.commit()
    with dbapi.connect(address, autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE numbers")  # or the first reader would write, too


def main() -> None:
    if answer({name: partial(contest, name) for name in NAMES} | {ALONE: hand_over}):
        return
    options = parser(__doc__)
    options.add_argument("--rows", type=int, default=5_000_000)
    options.add_argument("--rounds", type=int, default=3)
    arguments = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="lwb-", dir="/tmp") as folder:
        place = Path(folder)
        place.chmod(0o755)
        os.environ[PLACE] = folder
        with server(place) as address:
            fill(place, address, arguments.rows)
            runs = [{name: alone(__file__, name) for name in (*NAMES, ALONE)} for _ in range(arguments.rounds + 1)][1:]
    figures: dict[str, Figures] = {}
    for name in (*NAMES, ALONE):
        own = medians([run[name] for run in runs])
        assert own["rows"] == arguments.rows
        assert name == ALONE or own["sum"] == runs[0]["Parquet"]["sum"]
        figures[name] = {"seconds": own["seconds"], "peak memory MB": own["peak memory MB"]}
    for own in figures.values():
        for name in ("seconds", "peak memory MB"):
            own[f"{name} / Parquet"] = own[name] / figures["Parquet"][name]
    show(f"layerwise.read of {arguments.rows:,} rows x {COLUMNS} numbers", figures)
    write(arguments.json, figures)


if __name__ == "__main__":
    main()
