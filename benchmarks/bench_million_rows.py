"""What a table of a million rows costs, beside the commit before: seconds, memory, passes over the file.

The table is CSV of 22 columns: a name of the row, twelve numbers (four of them with gaps), four texts of 3 to 40 values
and one of two, two dates, an amount with thousands separators and a currency, and a label. Each contestant reads it in
a process of its own, by `layerwise.read` alone or by the whole of ``layerwise fit``, in this working tree and, where
``--before`` names one, in another. An earlier one knows neither dates nor amounts, so that both are told to ignore
them, and which column names the rows; this one is measured on all columns too. A pass over the file is as many bytes
as it has that Python reads of it, or one run of a query of polars, which maps it into memory, that scans it.

Seconds of the processor are those of all threads, and count on a machine that others use too; there OMP_NUM_THREADS=1
keeps threads of torch from waiting for each other. A fit takes one epoch of Adam, or as many steps of L-BFGS as by
default (``--max-iter 0``); the side by side is without columns that have gaps, unless ``--gaps`` is given, as filling
them would be most of what is measured.

    git worktree add /tmp/before 38739ae
    python benchmarks/bench_million_rows.py --before /tmp/before [--rows 1000000] [--rounds 3] [--json figures.json]
"""

from __future__ import annotations

import builtins
import io
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
from common import HERE, Figures, alone, medians, parser, peak_memory_mb, show, write

# Numbers of the table, how many of them have gaps, and which share of their values is missing.
N_NUMBERS, N_GAPPY, SHARE_MISSING = 12, 4, 0.05
N_VALUES = (3, 8, 20, 40)
GAPPY = [f"number_{place}" for place in range(N_GAPPY)]
# What the commit before cannot read, and the words that let it pass over that.
LATER = ["day", "moment", "price"]
LABEL, ROW_NAME = "kind", "row"


def make_table(path: Path, n_rows: int) -> None:
    """Write the table."""
    import polars as pl

    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(n_rows, 3))
    names = "r" + pl.Series(np.arange(n_rows)).cast(pl.String).str.zfill(8)
    columns: dict[str, Any] = {ROW_NAME: names}
    for place in range(N_NUMBERS):
        values = hidden @ rng.normal(size=3) + 0.5 * rng.normal(size=n_rows)
        number = pl.Series(np.round(100 * (place + 1) * values, place % 4))
        missing = pl.Series(rng.random(n_rows) < SHARE_MISSING)
        columns[f"number_{place}"] = number.set(missing, None) if place < N_GAPPY else number
    for count in N_VALUES:
        nearest = np.abs(hidden[:, :1] + rng.normal(size=n_rows)[:, None] - rng.normal(size=count)).argmin(axis=1)
        columns[f"text_of_{count}"] = pl.Series([f"value {value}" for value in range(count)]).gather(nearest)
    columns["answer"] = pl.Series(["no", "yes"]).gather(hidden[:, 1] > rng.normal(size=n_rows))
    columns["day"] = pl.Series(rng.integers(0, 20_000, n_rows, dtype=np.int32)).cast(pl.Date)
    columns["moment"] = pl.Series(1000 * rng.integers(0, 1_700_000_000, n_rows)).cast(pl.Datetime("ms"))
    columns["price"] = pl.Series([f"${value:,}" for value in rng.integers(0, 1_000_000, n_rows).tolist()])
    columns[LABEL] = pl.Series(["low", "middle", "high"]).gather(np.digitize(hidden.sum(axis=1), [-1, 1]))
    pl.DataFrame(columns).write_csv(path, datetime_format="%Y-%m-%d %H:%M:%S")


class _Counted(io.FileIO):
    """A file that adds what is read of it to a count."""

    n_bytes = 0

    def readinto(self, buffer: Any) -> int | None:
        count = super().readinto(buffer)
        _Counted.n_bytes += count or 0
        return count

    def readall(self) -> bytes:
        content = super().readall()
        _Counted.n_bytes += len(content)
        return content


@contextmanager
def counting_passes(path: Path) -> Iterator[Callable[[], float]]:
    """Count how often a file is read in the block, by Python or by queries of polars; yields what tells it."""
    import polars as pl

    usual, queries, running = io.open, [], []
    _Counted.n_bytes = 0

    def opened(file: Any, mode: str = "r", buffering: int = -1, *more: Any, **named: Any) -> Any:
        if isinstance(file, int) or Path(os.fsdecode(file)).absolute() != path.absolute():
            return usual(file, mode, buffering, *more, **named)
        raw = io.BufferedReader(_Counted(file))
        return raw if "b" in mode else io.TextIOWrapper(raw, *more, **named)

    def watched(run: Callable[..., Any]) -> Callable[..., Any]:
        def call(query: Any, *words: Any, **named: Any) -> Any:
            if not running:
                queries.append(query.explain().count("Csv SCAN"))
            running.append(run)  # what it calls in turn is the same query
            try:
                return run(query, *words, **named)
            finally:
                running.pop()

        return call

    names = ("collect", "collect_batches", "sink_ipc")
    before = {name: getattr(pl.LazyFrame, name) for name in names}
    try:
        builtins.open = io.open = opened
        for name, run in before.items():
            setattr(pl.LazyFrame, name, watched(run))
        yield lambda: sum(queries) + _Counted.n_bytes / path.stat().st_size
    finally:
        builtins.open = io.open = usual
        for name, run in before.items():
            setattr(pl.LazyFrame, name, run)


def measure(tree: str, table: str, what: str, columns: str, labels: str, max_iter: str) -> Figures:
    """Read a table, or train on it, by the layerwise of a working tree; return what that took."""
    sys.path.insert(0, tree)
    import layerwise

    assert Path(layerwise.__file__).parents[1] == Path(tree), f"{layerwise.__file__} is not of {tree}"
    action = _reading if what == "read" else _fitting
    run = action(Path(table), columns, labels == "labels", int(max_iter))
    with counting_passes(Path(table)) as count:
        began, spent = time.perf_counter(), os.times()
        found = run()
        seconds, after = time.perf_counter() - began, os.times()
    return {
        "seconds": seconds,
        "seconds of the processor": sum(after[:4]) - sum(spent[:4]),
        "passes": count(),
        "peak MB": peak_memory_mb(),
        **found,
    }


def _reading(table: Path, columns: str, labelled: bool, _: int) -> Callable[[], Figures]:
    import polars  # noqa: F401
    import torch  # noqa: F401

    from layerwise.data.inputs import read_input

    options: dict[str, Any] = {"labels": LABEL} if labelled else {"ignore": [LABEL]}
    if columns != "all":
        options |= {"id": ROW_NAME, "ignore": [*options.get("ignore", []), *_ignored(columns)]}

    def run() -> Figures:
        found = read_input(table, **options)
        return {"columns of X": found.X.shape[1], "MB of X": found.X.nbytes / 2**20}

    return run


def _ignored(columns: str) -> list[str]:
    return {"all": [], "known": LATER, "whole": [*LATER, *GAPPY]}[columns]


def _fitting(table: Path, columns: str, labelled: bool, max_iter: int) -> Callable[[], Figures]:
    from layerwise.cli import main

    ignored = [*_ignored(columns), *([] if labelled else [LABEL])]
    words = ["--labels", LABEL] if labelled else []
    words += ["--id", ROW_NAME] if columns != "all" else []
    words += [word for name in ignored for word in ("--ignore", name)]
    words += ["--impute"] if columns == "known" else []
    words += ["--solver", "adam", "--max-iter", str(max_iter)] if max_iter else []

    def run() -> Figures:
        before = sys.argv
        with tempfile.TemporaryDirectory() as folder, redirect_stdout(io.StringIO()):
            sys.argv = ["layerwise", "fit", str(table), *words, "--out", f"{folder}/run", "--random-state", "0"]
            try:
                main()
            finally:
                sys.argv = before
        return {}

    return run


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--rows", type=int, default=1_000_000)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--what", nargs="+", choices=["read", "fit"], default=["read", "fit"])
    options.add_argument("--labels", action="store_true", help="train a classifier; otherwise an autoencoder")
    options.add_argument("--gaps", action="store_true", help="fit with columns that have gaps")
    options.add_argument("--max-iter", type=int, default=1, help="epochs of Adam; 0 is what is trained by default")
    options.add_argument("--before", type=Path, help="a working tree of the commit to compare with")
    options.add_argument("--folder", type=Path, help="where the table is written, for as long as this runs")
    arguments = options.parse_args()
    figures: dict[str, Figures] = {}
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        table = Path(folder) / "table.csv"
        make_table(table, arguments.rows)
        size = table.stat().st_size / 2**20
        for what in arguments.what:
            known = "known" if what == "read" or arguments.gaps else "whole"
            sides = {f"{what}, all columns": (HERE.parent, "all"), f"{what}, those of both": (HERE.parent, known)}
            if arguments.before is not None:
                sides[f"{what}, before"] = (arguments.before.absolute(), known)
            labels = "labels" if arguments.labels else "none"
            runs: dict[str, list[Figures]] = {name: [] for name in sides}
            for _ in range(arguments.rounds):
                for name, (tree, columns) in sides.items():
                    runs[name].append(alone(__file__, "any", tree, table, what, columns, labels, arguments.max_iter))
            figures |= {name: medians(found) for name, found in runs.items()}
    show(f"A table of {arguments.rows:,} rows and 22 columns, {size:.0f} MB", figures)
    write(arguments.json, {"rows": arguments.rows, "MB of the file": size, "contestants": figures})


if __name__ == "__main__":
    if sys.argv[1:2] == ["--contestant"]:
        print(json.dumps(measure(*sys.argv[3:])))
    else:
        main()
