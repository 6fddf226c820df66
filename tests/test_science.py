"""Arrays of science: HDF5, Zarr, AnnData, and counts that are scaled."""

import json
import os
import subprocess
import sys
import textwrap
import warnings
import zlib
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import zarr
from scipy import sparse
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

import layerwise
from layerwise import LBFGS, Autoencoder, FileError
from layerwise.data import CountScaler, load_labels, load_rows
from layerwise.export import export_matlab, export_numpy, export_onnx

RNG = np.random.default_rng(0)
COUNTS = RNG.poisson(0.3, size=(1000, 20)).astype(np.float32)
TYPES = np.array(["B", "T", "NK"], object)[RNG.integers(3, size=1000)]


def make_cells(X, **columns):
    """Return an AnnData with texts as objects, which all versions of it can write."""
    n_cells, n_genes = X.shape
    return anndata.AnnData(
        X,
        obs=pd.DataFrame(columns, index=pd.Index([f"cell{k}" for k in range(n_cells)], dtype=object)),
        var=pd.DataFrame(index=pd.Index([f"gene{k}" for k in range(n_genes)], dtype=object)),
    )


@pytest.fixture(autouse=True)
def _texts_are_objects():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pd.option_context("future.infer_string", False):
            yield


def write_zarr(path, version, **arrays):
    group = zarr.open_group(path, mode="w", zarr_format=version)
    for name, values in arrays.items():
        group.create_array(name, data=values, chunks=(min(len(values), 300), *values.shape[1:]))


def write_hdf5(path, **arrays):
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file[name] = values


def fit(X):
    return Autoencoder(4, solver=LBFGS(max_iter=3), random_state=0).fit(X)


# HDF5 and Zarr


def test_any_file_gives_the_same_model_to_the_bit(tmp_path):
    np.save(tmp_path / "x.npy", COUNTS)
    write_hdf5(tmp_path / "x.h5", X=COUNTS)
    with h5py.File(tmp_path / "chunked.hdf5", "w") as file:
        file.create_dataset("X", data=COUNTS.astype(">f4"), chunks=(70, 7), compression="gzip", shuffle=True)
    write_zarr(tmp_path / "x.zarr", 3, X=COUNTS)
    write_zarr(tmp_path / "old.zarr", 2, X=COUNTS)
    with zarr.storage.ZipStore(tmp_path / "x.zarr.zip", mode="w") as store:
        write_zarr(store, 3, X=COUNTS)
    kinds = {"dense": COUNTS, "csr": sparse.csr_matrix(COUNTS), "csc": sparse.csc_matrix(COUNTS)}
    for name, X in kinds.items():
        cells = make_cells(X, kind=TYPES)
        cells.write_h5ad(tmp_path / f"{name}.h5ad", compression="gzip" if name == "csr" else None)
    cells.write_zarr(tmp_path / "cells.zarr")
    wanted = [w.tobytes() for w in fit(np.load(tmp_path / "x.npy")).coefs_]
    for path in sorted(tmp_path.iterdir()):
        found = layerwise.read(path)
        assert found.X.dtype == np.float32
        assert sparse.issparse(found.X) == (path.name in ("csr.h5ad", "csc.h5ad", "cells.zarr"))
        assert [w.tobytes() for w in fit(found.X).coefs_] == wanted, path
    found = layerwise.read(make_cells(kinds["csc"]))
    assert [w.tobytes() for w in fit(found.X).coefs_] == wanted


@pytest.mark.parametrize("ending", ["h5", "zarr"])
def test_groups_and_texts(tmp_path, ending):
    """An array is named by its path, with or without a / before; labels may be texts of fixed or any length."""
    path, cube = tmp_path / f"x.{ending}", np.arange(120.0).reshape(6, 5, 4)
    fixed = np.array(["é", "b", "", "dd", "e", "f"])
    arrays = {"a/X": cube[:, :, 0], "b/cube": cube, "b/y": np.arange(6), "b/text": fixed}
    if ending == "h5":
        write_hdf5(path, **arrays | {"b/text": fixed.astype(object), "b/bytes": np.char.encode(fixed)})
    else:
        write_zarr(path, 3, **arrays, **{"b/bytes": fixed})
    found = layerwise.read(path, labels="/b/text")
    np.testing.assert_array_equal(found.X, cube[:, :, 0])  # the usual name, in whichever group
    assert found.y.tolist() == load_labels(path, "b/bytes").tolist() == fixed.tolist()
    found = layerwise.read(path, array="/b/cube", labels="b/y")
    assert (found.X.shape, found.image_shape, found.y.tolist()) == ((6, 20), (5, 4), list(range(6)))
    assert layerwise.read(path, array="b/cube", layout="pixels").X.shape == (30, 4)
    assert layerwise.read(path, array="a/X", transpose=True).X.tolist() == cube[:, :, 0].T.tolist()
    with pytest.raises(ValueError, match=r"holds no array array='c'; there are: 'a/X' \(6, 5\)"):
        layerwise.read(path, array="c")


def test_rows_are_mapped_or_spilled(tmp_path):
    """What lies in the file as it is stays there, behind a user block too; the rest goes to scratch if large."""
    X = RNG.random((50, 3))
    with h5py.File(tmp_path / "x.h5", "w", userblock_size=1024) as file:
        file["plain"] = X
        file.create_dataset("packed", data=X, chunks=(7, 2), compression="lzf")
    plain = layerwise.read(tmp_path / "x.h5", array="plain").X
    packed = layerwise.read(tmp_path / "x.h5", array="packed").X
    spilled = layerwise.read(tmp_path / "x.h5", array="packed", memory=100, scratch=tmp_path).X
    assert [type(rows) for rows in (plain, packed, spilled)] == [np.memmap, np.ndarray, np.memmap]
    for rows in (plain, packed):
        np.testing.assert_array_equal(rows, X)
    np.testing.assert_array_equal(spilled, X.astype(np.float32))
    assert Path(spilled.filename).parent == tmp_path


def test_numbers_of_any_type(tmp_path):
    types = ["?", "<i2", ">u4", "<f2", ">f8", "|u1"]
    write_hdf5(tmp_path / "x.h5", **{f"t{k}": np.eye(5).astype(dtype) for k, dtype in enumerate(types)})
    for k, dtype in enumerate(types):
        found = load_rows(tmp_path / "x.h5", f"t{k}").X
        assert found.dtype == np.dtype(dtype).newbyteorder("=")
        np.testing.assert_array_equal(found, np.eye(5))


def test_tables_of_pandas_are_refused(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.attrs["PYTABLES_FORMAT_VERSION"] = "2.1"
        file.create_group("df").attrs["pandas_type"] = np.bytes_("frame_table")
        file["df/table"] = np.zeros(3, [("index", int), ("values", float)])
    with pytest.raises(FileError, match=r"x.h5 is a table that pandas wrote \(PyTables\).*to_parquet"):
        layerwise.read(tmp_path / "x.h5")


def test_a_package_that_is_missing(tmp_path, monkeypatch):
    (tmp_path / "h5py.py").write_text("raise ModuleNotFoundError('no h5py')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    for name, extra in (("x.h5", "hdf5"), ("x.h5ad", "cells")):
        write_hdf5(tmp_path / name, X=np.eye(3))
        with pytest.raises(ImportError, match=rf"{name} needs h5py.*pip install 'layerwise\[{extra}\]'"):
            layerwise.read(tmp_path / name)


# What files may be made to do


def hostile_files(folder):
    """Write files that would be followed elsewhere, or take much memory, and what is said of each."""
    np.save(folder / "secret.npy", np.eye(4))
    np.eye(4).tofile(folder / "secret.bin")
    write_hdf5(folder / "other.h5", X=np.eye(4))
    said = {"outside.h5": "'X' as a link", "circle.h5": "'a' as a link", "stored.h5": "'X' as values in another file"}
    with h5py.File(folder / "outside.h5", "w") as file:
        file["X"] = h5py.ExternalLink(str(folder / "other.h5"), "X")
    with h5py.File(folder / "circle.h5", "w") as file:
        file["a"], file["b"] = h5py.SoftLink("/b"), h5py.SoftLink("/a")
        file["group/itself"] = file["/"]
    with h5py.File(folder / "stored.h5", "w") as file:
        file.create_dataset("X", (4, 4), "f8", external=[(str(folder / "secret.bin"), 0, 128)])
    with h5py.File(folder / "virtual.h5", "w") as file:
        layout = h5py.VirtualLayout((4, 4), "f8")
        layout[:] = h5py.VirtualSource(str(folder / "other.h5"), "X", (4, 4))
        file.create_virtual_dataset("X", layout)
    said["virtual.h5"] = "'X' as values in another file"
    (folder / "cut.h5").write_bytes((folder / "other.h5").read_bytes()[:1000])
    (folder / "none.h5").write_bytes(b"not HDF5")
    said |= dict.fromkeys(("cut.h5", "none.h5"), "is not an HDF5 or Zarr file, or is damaged")
    with h5py.File(folder / "huge.h5", "w") as file:
        file.create_dataset("X", (2**28, 2**10), "f4", chunks=(2**10, 2**10))
    said["huge.h5"] = "more than LAYERWISE_MAX_BYTES"
    packed = zlib.compress(bytes(2**24))
    with h5py.File(folder / "bomb.h5", "w") as file:  # 1 GiB of zeros in 1 MB
        bomb = file.create_dataset("X", (2**8, 2**20), "f4", chunks=(4, 2**20), compression="gzip")
        for row in range(0, 2**8, 4):
            bomb.id.write_direct_chunk((row, 0), packed)
    said["bomb.h5"] = "more than 200 times"
    zeros = zlib.compressobj(1)
    long = b"".join(zeros.compress(bytes(2**24)) for _ in range(64)) + zeros.flush()
    with h5py.File(folder / "lies.h5", "w") as file:  # a chunk of 32 KB whose bytes expand to 1 GiB
        file.create_dataset("X", (64, 64), "f8", chunks=(64, 64), compression="gzip").id.write_direct_chunk(
            (0, 0), long
        )
    said["lies.h5"] = ""
    settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    settings.set_chunk((4, 4))
    settings.set_filter(32123, h5py.h5z.FLAG_OPTIONAL, ())
    with h5py.File(folder / "filter.h5", "w") as file:
        h5py.h5d.create(file.id, b"X", h5py.h5t.NATIVE_DOUBLE, h5py.h5s.create_simple((4, 4)), settings)
    said["filter.h5"] = "compressed by 32123, for which HDF5 has no filter here"
    write_zarr(folder / "huge.zarr", 3, X=np.eye(4))
    meta = json.loads((folder / "huge.zarr/X/zarr.json").read_text())
    (folder / "huge.zarr/X/zarr.json").write_text(json.dumps(meta | {"shape": [2**40, 4]}))
    said["huge.zarr"] = "more than LAYERWISE_MAX_BYTES"
    for name, change in {
        "pickle.zarr": {"dtype": "|O", "filters": [{"id": "pickle"}]},
        "unknown.zarr": {"filters": [{"id": "run_me"}]},
    }.items():
        write_zarr(folder / name, 2, X=np.eye(4))
        meta = json.loads((folder / name / "X/.zarray").read_text())
        (folder / name / "X/.zarray").write_text(json.dumps(meta | change))
    said |= {"pickle.zarr": "coded by 'pickle', which is not read", "unknown.zarr": "coded by 'run_me'"}
    write_zarr(folder / "link.zarr", 3, X=np.eye(4))
    (chunk,) = (folder / "link.zarr/X/c").rglob("0/0")
    chunk.unlink()
    chunk.symlink_to(folder / "secret.bin")
    said["link.zarr"] = "'X', whose values are links"
    make_cells(np.eye(4)).write_h5ad(folder / "cells.h5ad")
    with h5py.File(folder / "cells.h5ad", "r+") as file:
        del file["X"]
        file["X"] = h5py.ExternalLink(str(folder / "other.h5"), "X")
    said["cells.h5ad"] = "holds 'X' as a link"
    return said


_READ_ALL = """
    import json, pathlib, resource, sys
    import layerwise

    said = {}
    for path in sys.argv[1:]:
        try:
            said[path] = f"read {layerwise.read(path).X.shape}"
        except (layerwise.FileError, ValueError) as error:
            said[path] = str(error)
    # Of this process alone: ru_maxrss begins with that of the process which started it.
    own = pathlib.Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]
    peaks = [int(own) << 10, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss << 10]
    print(json.dumps([said, peaks]))
"""


def test_hostile_files_are_refused_below_a_gigabyte(tmp_path):
    said = hostile_files(tmp_path)
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-c",
        textwrap.dedent(_READ_ALL),
        *(str(tmp_path / name) for name in said),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    child = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert child.returncode == 0, child.stderr
    found, peaks = json.loads(child.stdout)
    for name, reason in said.items():
        answer = found[str(tmp_path / name)]
        assert not answer.startswith("read"), (name, answer)
        assert reason in answer, (name, answer)
        assert name in answer
    assert sum(peaks) < 1e9


def test_damaged_cells_are_refused(tmp_path):
    cells = make_cells(sparse.csr_matrix(COUNTS[:5]), kind=pd.Categorical(TYPES[:5]))
    damages = {
        "X/indices": (lambda values: values + 100, "damaged"),
        "X/indptr": (lambda values: values[::-1], "damaged"),
        "X/data": (lambda values: values[:-1], "damaged"),
        "obs/kind/codes": (lambda values: values + 9, "codes beyond its categories"),
        "var/_index": (lambda values: values[1:], "20 genes|19 genes"),
    }
    for csc in (False, True):
        cells.X = sparse.csc_matrix(cells.X) if csc else cells.X
        for name, (change, message) in damages.items():
            cells.write_h5ad(tmp_path / "x.h5ad")
            with h5py.File(tmp_path / "x.h5ad", "r+") as file:
                values = change(file[name][()])
                del file[name]
                file[name] = values
            with pytest.raises(FileError, match=message):
                layerwise.read(tmp_path / "x.h5ad", labels="kind")


# Cells


@pytest.fixture
def cells():
    """Return 60 cells of three types, whose layer has whole counts, with all kinds of columns."""
    X = sparse.csr_matrix(COUNTS[:60])
    columns = {
        "kind": pd.Categorical(np.where(np.arange(60) == 7, None, TYPES[:60])),
        "size": np.arange(60.0),
        "batch": np.array(["p1", "p2", "p3"] * 20, object),
        "treated": np.arange(60) % 2 == 0,
        "age": pd.array([None, *range(59)], dtype="Int64"),
    }
    cells = make_cells(X * 2, **columns)
    cells.layers["counts"] = X
    cells.obsm["X_pca"] = RNG.random((60, 3))
    return cells


@pytest.fixture(params=["memory", "h5ad", "zarr 2", "zarr 3"])
def stored(request, cells, tmp_path):
    kind, _, version = request.param.partition(" ")
    if kind == "memory":
        return cells
    if kind == "h5ad":
        cells.write_h5ad(tmp_path / "cells.h5ad")
    else:
        with anndata.settings.override(zarr_write_format=int(version)):
            cells.write_zarr(tmp_path / "cells.zarr")
    return tmp_path / f"cells.{kind}"


def test_parts_of_cells(cells, stored):
    found = layerwise.read(stored, labels="kind", ids=["batch", "treated"], sample_weight="size")
    assert (found.X != cells.X).nnz == 0
    assert found.y.tolist() == [None if k == 7 else kind for k, kind in enumerate(TYPES[:60])]
    assert list(found.ids) == ["batch", "treated", "obs_names"]
    assert found.ids["obs_names"].tolist() == cells.obs_names.tolist()
    assert found.ids["treated"].tolist() == [True, False] * 30
    assert (found.feature_names, found.weights.tolist()) == (cells.var_names.tolist(), list(range(60)))
    age = layerwise.read(stored, labels="age", layer="counts")
    assert (cells.layers["counts"] != age.X).nnz == 0
    np.testing.assert_array_equal(age.y, [np.nan, *range(59)])
    pca = layerwise.read(stored, obsm="X_pca")
    np.testing.assert_array_equal(pca.X, cells.obsm["X_pca"])
    assert pca.feature_names == ["X_pca_0", "X_pca_1", "X_pca_2"]
    for wrong, message in (
        ({"layer": "raw"}, "layer='raw' is not in .*, of which layer may be: 'counts'"),
        ({"layer": "counts", "obsm": "X_pca"}, "exclude each other"),
        ({"labels": "sort"}, "labels='sort' is neither a file nor a column of obs"),
        ({"array": "X"}, "array='X' cannot be used"),
        ({"ignore": "gene1"}, "ignore='gene1' cannot be used"),
    ):
        with pytest.raises(ValueError, match=message):
            layerwise.read(stored, **wrong)


def test_layers_and_obsm_are_of_cells_alone(tmp_path):
    np.save(tmp_path / "x.npy", np.eye(3))
    with pytest.raises(ValueError, match=r"layer='counts' cannot be used: .*x.npy is no table"):
        layerwise.read(tmp_path / "x.npy", layer="counts")


def test_an_anndata_is_no_matrix(cells):
    with pytest.raises(ValueError, match=r"X is an AnnData; pass its matrix, X.X, or one of its layers"):
        Autoencoder(2).fit(cells)
    assert fit(cells.X).transform(cells.X).shape == (60, 4)


def test_empty_cells_and_genes_are_named_and_give_no_nan(tmp_path):
    X = COUNTS[:50].copy()
    X[3], X[:, [5, 8]] = 0, 0
    for matrix in (X, sparse.csr_matrix(X)):
        make_cells(matrix).write_h5ad(tmp_path / "x.h5ad")
        with pytest.warns(UserWarning, match="holds") as told:
            found = layerwise.read(tmp_path / "x.h5ad")
        said = [str(warning.message).partition("holds ")[2] for warning in told if "holds" in str(warning.message)]
        assert said == [
            "1 cell without counts: 'cell3'; all zeros stay zeros",
            "2 genes in no cell: 'gene5', 'gene8'; all zeros stay zeros",
        ]
        model = make_pipeline(CountScaler(), Autoencoder(3, solver=LBFGS(max_iter=2), random_state=0)).fit(found.X)
        assert np.isfinite(model.transform(found.X)).all()


def test_columns_are_turned_to_rows_some_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr("layerwise.data.cell_parts._BLOCK", 37)
    X = sparse.random(80, 23, 0.2, format="csc", dtype=np.float64, random_state=0)
    make_cells(X).write_h5ad(tmp_path / "x.h5ad")
    found = layerwise.read(tmp_path / "x.h5ad").X
    assert found.format == "csr"
    assert found.has_canonical_format
    np.testing.assert_array_equal(found.toarray(), X.toarray())


def test_cells_on_the_command_line(cells, tmp_path, monkeypatch, run):
    """A run keeps the layer and how counts are scaled; codes and predictions go into a copy of the file."""
    monkeypatch.chdir(tmp_path)
    cells.obs["kind"] = pd.Categorical(TYPES[:60])
    cells.write_h5ad("x.h5ad")
    before = Path("x.h5ad").read_bytes()
    flags = ["--labels", "kind", "--layer", "counts", "--groups", "batch", "--log1p", "--library-size", "--no-report"]
    run("fit", "x.h5ad", *flags, "--layers", "3", "--max-iter", "3", "--random-state", "0", "--out", "run")
    facts = json.loads(Path("run/run.json").read_text())
    assert (facts["layer"], facts["log1p"], facts["library_size"]) == ("counts", True, True)
    assert facts["scale"].startswith("each row is divided by its sum, times")
    model = layerwise.load("run")
    assert model[-1].column_names_.tolist() == cells.var_names.tolist()
    run("encode", "run", "x.h5ad", "--out", "codes.h5ad")
    run("predict", "run", "x.h5ad", "--probabilities", "--out", "labels.h5ad")
    assert Path("x.h5ad").read_bytes() == before
    X = sparse.csr_matrix(cells.layers["counts"])
    codes = anndata.read_h5ad("codes.h5ad")
    np.testing.assert_array_equal(codes.obsm["X_layerwise"], model[-1].transform(model[0].transform(X)))
    assert list(codes.obsm) == ["X_layerwise", "X_pca"]
    labels = anndata.read_h5ad("labels.h5ad")
    assert labels.obs["layerwise_label"].tolist() == model.predict(X).tolist()
    np.testing.assert_array_equal(
        labels.obs[["layerwise_p_B", "layerwise_p_NK", "layerwise_p_T"]], model.predict_proba(X)
    )
    cells[:, ::-1].copy().write_h5ad("turned.h5ad")  # genes are found by name
    run("encode", "run", "turned.h5ad", "--out", "turned.npy")
    np.testing.assert_array_equal(np.load("turned.npy"), codes.obsm["X_layerwise"])
    _, out, _ = run("evaluate", "run", "codes.h5ad")  # its labels are where they were
    assert "n_labelled: 60" in out
    cells[:, :5].copy().write_h5ad("few.h5ad")
    np.save("x.npy", np.eye(20))
    for words, message in (
        (["encode", "run", "few.h5ad"], "few.h5ad lacks 15 of the 20 genes of the training, such as 'gene5'"),
        (["encode", "run", "x.npy", "--out", "new.h5ad"], "the data must be a .h5ad file, but it is x.npy"),
        (["encode", "run", "x.h5ad", "--out", "codes.h5ad"], "codes.h5ad exists"),
        (["encode", "run", "x.h5ad", "--out", "x.h5ad", "--overwrite"], "out=x.h5ad is the data itself"),
    ):
        code, _, err = run(*words)
        assert code == 2
        assert message in " ".join(err.split())
    assert not Path("new.h5ad").exists()


def test_many_sparse_cells_are_measured_on_some(tmp_path, monkeypatch, run):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("layerwise.cli.judging._MOST_DENSE", 20 * 150)
    make_cells(sparse.csr_matrix(COUNTS)).write_h5ad("x.h5ad")
    flags = ["--layers", "2", "--max-iter", "1", "--no-report", "--out", "run", "--random-state", "0"]
    _, _, err = run("fit", "x.h5ad", *flags)
    assert "Held out: measured on 150 of them, at random" in err
    assert json.loads(Path("run/run.json").read_text())["held_out_figures"]["n_rows"] == 150


def test_a_copy_that_cannot_be_written_is_not_there(cells, tmp_path, monkeypatch, run):
    monkeypatch.chdir(tmp_path)
    cells.write_h5ad("x.h5ad")
    run("fit", "x.h5ad", "--layers", "2", "--max-iter", "1", "--no-report", "--out", "run", "--random-state", "0")
    with h5py.File("x.h5ad", "r+") as file:
        file.move("obsm", "elsewhere")
        file["obsm"] = h5py.SoftLink("/elsewhere")
    code, _, err = run("encode", "run", "x.h5ad", "--out", "codes.h5ad")
    assert (code, "x.h5ad holds obsm as a link, which is not followed" in err) == (2, True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "x.h5ad"]


# Counts on one scale


@parametrize_with_checks([CountScaler()])
def test_count_scaler_is_a_citizen_of_sklearn(estimator, check):
    check(estimator)


@pytest.mark.parametrize("library_size", [True, False])
@pytest.mark.parametrize("log1p", [True, False])
@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_matrix, sparse.csc_array])
def test_counts_are_scaled_as_the_formula_says(kind, log1p, library_size):
    X, new = COUNTS[:300].astype(np.float64), COUNTS[300:310].astype(np.float64)
    X[4] = new[2] = 0
    sums = [sum(row) for row in X.tolist()]
    target = np.median([total for total in sums if total > 0])
    expected = []
    for row in new.tolist():
        total = sum(row) or 1.0
        row = [value * target / total if library_size else value for value in row]
        expected.append([np.log(1 + value) if log1p else value for value in row])
    scaler = CountScaler(library_size=library_size, log1p=log1p).fit(kind(X))
    found = scaler.transform(kind(new))
    assert scaler.target_sum_ == target
    assert sparse.issparse(found) == (kind is not np.asarray)
    found = found.toarray() if sparse.issparse(found) else found
    np.testing.assert_allclose(found, expected, rtol=1e-14)
    scaled = new * target / np.maximum(new.sum(axis=1, keepdims=True), 1) if library_size else new
    np.testing.assert_allclose(scaler.inverse_transform(found), scaled, rtol=1e-12, atol=1e-14)


def test_negative_values_are_no_counts():
    with pytest.raises(ValueError, match="X holds -1, but counts are not negative"):
        CountScaler().fit(-np.eye(3))


def test_scaled_counts_are_saved_and_exported(tmp_path):
    model = make_pipeline(CountScaler(), Autoencoder(3, solver=LBFGS(max_iter=5), random_state=0))
    X = COUNTS[:200]
    codes = model.fit_transform(sparse.csr_matrix(X))
    layerwise.save(model, tmp_path / "model")
    loaded = layerwise.load(tmp_path / "model")
    assert loaded[0].target_sum_ == model[0].target_sum_
    np.testing.assert_array_equal(loaded.transform(sparse.csr_matrix(X)), codes)
    export_numpy(model, tmp_path / "my_model.py")
    program = {"__file__": str(tmp_path / "my_model.py"), "__name__": "my_model"}
    exec((tmp_path / "my_model.py").read_text(), program)
    np.testing.assert_allclose(program["encode"](X), codes, atol=1e-6)
    with pytest.raises(ValueError, match="counts are not negative"):
        program["encode"](-X)
    export_onnx(model, tmp_path / "model.onnx")
    import onnxruntime

    found, _ = onnxruntime.InferenceSession(tmp_path / "model.onnx").run(None, {"rows": X})
    np.testing.assert_allclose(found, codes, atol=1e-5)
    export_matlab(model, tmp_path / "my_model.m")
    text = (tmp_path / "my_model.m").read_text()
    assert f"x = x .* ({model[0].target_sum_} ./ sums);" in text
    assert "x = log1p(x);" in text


def test_flags_of_counts_are_refused_where_they_mean_nothing(tmp_path, monkeypatch, run):
    monkeypatch.chdir(tmp_path)
    Path("x.csv").write_text("n,town\n" + "3,Bern\n4,Basel\n" * 30)
    Path("gaps.csv").write_text("n,m\n" + "3,1\n,2\n" * 30)
    for name, message in (("x.csv", "log1p=True is for counts, but column 'town' is text"), ("gaps.csv", "missing")):
        code, _, err = run("fit", name, "--log1p", "--out", "run")
        assert (code, message in " ".join(err.split())) == (2, True)
