"""Does the cost grow linearly with the rows, while memory stays flat? Exact evaluations of rows on disk.

A sparse layer of 784-200-784 on synthetic rows, each count of rows in a process of its own: seconds of an exact
evaluation (value and gradient over all rows; the mean of two after a warm-up), microseconds a row, and by how much
anonymous memory grew above what it was before, at most; the pages of the map itself are the system's and do not count.
An evaluation keeps the codes of all rows if they take at most 1000 MB, and otherwise makes six matrix products a row
instead of five; so that counts of rows can be compared, each is also measured without codes kept. The rival is the same
evaluation of rows loaded into memory, where they have room: it says what reading from disk costs.

    python benchmarks/bench_rows.py [--rows 60000 600000] [--dtype uint8] [--folder /tmp] [--json figures.json]
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from common import Figures, alone, parser, show, write

N_FEATURES, N_HIDDEN = 784, 200
CACHE_BYTES = 10**9
# More rows than these are not loaded into memory.
LARGEST_IN_MEMORY = 600_000


def make_rows(path: Path, n_rows: int, dtype: str) -> None:
    """Write random rows block by block: bytes, or floats in [0, 1]."""
    generator = np.random.default_rng(0)
    X = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=(n_rows, N_FEATURES))
    for start in range(0, n_rows, 10_000):
        block = X[start : start + 10_000]
        values = generator.integers(0, 256, block.shape, dtype=np.uint8)
        block[:] = values if dtype == "uint8" else values / 255


def anonymous_memory() -> int:
    """Return the bytes of memory of this process that are no pages of a file."""
    return 1024 * int(re.search(r"RssAnon:\s+(\d+)", Path("/proc/self/status").read_text())[1])


class Peak(threading.Thread):
    """Follows the anonymous memory of this process, until it is told to end."""

    def __init__(self):
        super().__init__(daemon=True)
        self.end = threading.Event()
        self.start_bytes = self.bytes = anonymous_memory()
        self.start()

    def run(self) -> None:
        while not self.end.wait(0.01):
            self.bytes = max(self.bytes, anonymous_memory())


def evaluate(where: str, path: str, n_rows: str, cache_bytes: str) -> Figures:
    """Time exact evaluations of the first rows of a file, from disk or loaded into memory."""
    from layerwise.data import Rows
    from layerwise.modules import AutoencoderLayer
    from layerwise.objective import LayerObjective
    from layerwise.penalties import KLSparsity

    X = np.load(path, mmap_mode="r")[: int(n_rows)]
    X = np.array(X) if where == "memory" else X
    peak = Peak()
    layer = AutoencoderLayer(N_FEATURES, N_HIDDEN)
    objective = LayerObjective(
        layer, Rows(X), terms=[KLSparsity(target=0.1, weight=3.0)], alpha=3e-3, cache_bytes=int(cache_bytes)
    )
    theta = objective.vector.read()
    objective(theta)
    began = time.perf_counter()
    for _ in range(2):
        objective(theta)
    seconds = (time.perf_counter() - began) / 2
    peak.end.set()
    codes = len(X) * N_HIDDEN * 4
    return {
        "seconds": seconds,
        "us a row": 1e6 * seconds / len(X),
        "peak MB": (peak.bytes - peak.start_bytes) / 1e6,
        "MB of codes": codes / 1e6 if codes <= int(cache_bytes) else 0.0,
    }


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--rows", type=int, nargs="+", default=[60_000, 600_000, 6_000_000])
    options.add_argument("--dtype", choices=["uint8", "float16", "float32", "float64"], default="uint8")
    options.add_argument("--folder", type=Path, help="where the rows are written, for as long as this runs")
    arguments = options.parse_args()
    figures: dict[str, Figures] = {}
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        path = Path(folder) / "rows.npy"
        make_rows(path, max(arguments.rows), arguments.dtype)
        for n_rows in arguments.rows:
            for where in ("disk", "memory") if n_rows <= LARGEST_IN_MEMORY else ("disk",):
                for cache_bytes in (CACHE_BYTES, 0):
                    name = f"{n_rows:,} {where}, cache {cache_bytes // 10**6} MB"
                    figures[name] = alone(__file__, where, path, n_rows, cache_bytes)
    show(f"One evaluation of {N_FEATURES}-{N_HIDDEN}-{N_FEATURES}, rows of {arguments.dtype}", figures)
    write(arguments.json, {"dtype": arguments.dtype, "evaluations": figures})


if __name__ == "__main__":
    if sys.argv[1:2] == ["--contestant"]:
        print(json.dumps(evaluate(*sys.argv[2:])))
    else:
        main()
