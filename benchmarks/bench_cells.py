"""Do cells of AnnData cost what the same sparse matrix costs? Reading, and one epoch of Adam.

Random counts, 5 % of them not 0, written as CSR to .npz (`scipy.sparse.save_npz`) and as CSR and CSC to .h5ad, without
compression. Each file is read in a process of its own, and then an autoencoder of 64 units is trained on it for one
epoch with batches of 256: seconds, and the peak of the resident memory after each; of .h5ad also that of the process
that reads for it.

    OMP_NUM_THREADS=1 python benchmarks/bench_cells.py [--rows 100000] [--genes 5000] [--folder /tmp]
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
import time
import warnings
from pathlib import Path

import h5py
import numpy as np
from common import Figures, alone, parser, peak_memory_mb, show, write
from scipy import sparse

SHARE, N_HIDDEN = 0.05, 64


def make_counts(n_cells: int, n_genes: int) -> sparse.csr_matrix:
    """Return random counts, block by block."""
    generator, blocks = np.random.default_rng(0), []
    for start in range(0, n_cells, 1000):
        filled = generator.random((min(1000, n_cells - start), n_genes), np.float32) < SHARE
        block = sparse.csr_matrix(filled, dtype=np.float32)
        block.data = generator.geometric(0.4, block.nnz).astype(np.float32)
        blocks.append(block)
    return sparse.vstack(blocks, format="csr")


def write_cells(path: Path, X: sparse.csr_matrix | sparse.csc_matrix) -> None:
    """Write an AnnData file without anything but its matrix and names."""
    with h5py.File(path, "w") as file:
        file.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
        kind = {"encoding-type": f"{X.format}_matrix", "encoding-version": "0.1.0", "shape": np.array(X.shape)}
        file.create_group("X").attrs.update(kind)
        for name in ("data", "indices", "indptr"):
            file["X"].create_dataset(name, data=getattr(X, name), maxshape=(None,))
        for axis, length in (("obs", X.shape[0]), ("var", X.shape[1])):
            file.create_group(axis).attrs.update({"encoding-type": "dataframe", "encoding-version": "0.2.0"})
            file[axis].attrs["_index"] = "_index"
            file[axis].attrs.create("column-order", [], dtype=h5py.string_dtype())
            names = np.array([f"{axis}{k}" for k in range(length)], object)
            file[axis].create_dataset("_index", data=names, dtype=h5py.string_dtype())


def readers_mb() -> float | None:
    """Return the peak of the resident memory of processes that this one has started, and that have not ended."""
    listed = [Path(path) for path in Path("/proc/self/task").glob("*/children")]
    pids = {pid for path in listed for pid in path.read_text().split()}
    peaks = [re.search(r"VmHWM:\s+(\d+)", (Path("/proc") / pid / "status").read_text()) for pid in pids]
    return max((int(peak[1]) / 2**10 for peak in peaks if peak), default=None)


def train(path: str) -> Figures:
    """Read a file, and train on it for an epoch."""
    import layerwise
    from layerwise import Adam, Autoencoder
    from layerwise.data.inputs import open_source

    Autoencoder(2, solver=Adam(max_iter=1), random_state=0).fit(np.eye(4, dtype=np.float32))  # imports, too
    warnings.simplefilter("ignore")  # of few cells some have no counts
    before = peak_memory_mb()
    began = time.perf_counter()
    source = open_source(path)
    X = layerwise.read(source).X
    figures: Figures = {"read s": time.perf_counter() - began, "start MB": before, "read MB": peak_memory_mb()}
    figures["reader MB"] = readers_mb()
    del source
    began = time.perf_counter()
    solver = Adam(max_iter=1, batch_size=256)
    model = Autoencoder(N_HIDDEN, solver=solver, dtype="float32", random_state=0).fit(X)
    figures |= {"epoch s": time.perf_counter() - began, "epoch MB": peak_memory_mb()}
    return figures | {"loss": model.history_[0]["loss"]}


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--rows", type=int, default=100_000)
    options.add_argument("--genes", type=int, default=5000)
    options.add_argument("--folder", type=Path, help="where the files are written, for as long as this runs")
    arguments = options.parse_args()
    figures: dict[str, Figures] = {}
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        files = {name: Path(folder) / name for name in ("csr.npz", "csr.h5ad", "csc.h5ad")}
        X = make_counts(arguments.rows, arguments.genes)
        sparse.save_npz(files["csr.npz"], X, compressed=False)
        write_cells(files["csr.h5ad"], X)
        write_cells(files["csc.h5ad"], X.tocsc())
        mb = (X.data.nbytes + X.indices.nbytes + X.indptr.nbytes) / 2**20
        del X
        for name, path in files.items():
            figures[name] = alone(__file__, "train", path)
    show(f"{arguments.rows:,} cells x {arguments.genes:,} genes, a matrix of {mb:.0f} MB", figures)
    write(arguments.json, {"matrix MB": mb, "files": figures})


if __name__ == "__main__":
    if sys.argv[1:2] == ["--contestant"]:
        print(json.dumps(train(sys.argv[3])))
    else:
        main()
