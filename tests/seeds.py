"""Small good files of every kind, and what reads them, for `fuzz.py`."""

from __future__ import annotations

import gzip
import io
import json
import os
import random
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mutations as m
import numpy as np
import polars as pl
from scipy import sparse
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline

import layerwise
from layerwise import LBFGS, Autoencoder, KLSparsity, Masking, StackedAutoencoder, StackedClassifier, StackedRegressor
from layerwise.data import TableEncoder, load_image_folder, load_labels, load_mat, load_rows, read_input
from layerwise.recipes import DATA_KEYS, build, describe, read_toml, write_toml
from layerwise.runs import read_facts, read_metrics

X = np.arange(12.0).reshape(4, 3)
FRAME = pl.DataFrame({"age": [1.0, 2.0, None, 4.0], "town": ["Bern", "Basel", None, "Bern"], "old": [True, False] * 2})
_CSV = (
    b"age,town,old\n1,Bern,true\n2.5,,false\n?,Basel,true\n",
    b'a;"b ""c""";d\n1;"x\ny";3\n2;"z";NA\n\n',
    b"\xef\xbb\xbfx\ty\r\n1\t2\r\n3\t4\r\n",
)


def to_bytes(write: Callable[[Any], None]) -> bytes:
    """Return what is written into a file."""
    file = io.BytesIO()
    write(file)
    return file.getvalue()


def idx() -> list[bytes]:
    """Return IDX files of bytes, of floats, and without an axis."""
    header = bytes([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 3])
    floats = bytes([0, 0, 0x0D, 2, 0, 0, 0, 4, 0, 0, 0, 3])
    return [header + bytes(range(12)), floats + X.astype(">f4").tobytes()]


def idx_gz() -> list[bytes]:
    """Return the same, compressed."""
    return [gzip.compress(content, mtime=0) for content in idx()]


def npy() -> list[bytes]:
    """Return .npy files of numbers in both orders, and of text."""
    arrays = (X, np.asfortranarray(X.astype(np.float32)), X.astype(np.uint8)[:, :, None], X > 3)
    return [to_bytes(lambda file, array=array: np.save(file, array)) for array in arrays]


def npz() -> list[bytes]:
    """Return .npz files, compressed and not."""
    savers = (np.savez, np.savez_compressed)
    return [to_bytes(lambda file, save=save: save(file, X=X, y=np.arange(4))) for save in savers]


def safetensors() -> list[bytes]:
    """Return a safetensors file."""
    from safetensors.numpy import save

    return [save({"X": X, "y": np.arange(4)})]


def csv() -> list[bytes]:
    """Return CSV files with other separators, quotes, gaps."""
    return list(_CSV)


def txt() -> list[bytes]:
    """Return plain text: numbers between blanks and commas, and a table whose rows have names, as R writes it."""
    table = b'"a" "b"\n"1" 5.1 "x y"\n"2" NA "z"\n'
    return [to_bytes(lambda file: np.savetxt(file, X)), b"% made by hand\r\n1,2e3,nan\r\n-3,.5,4\r\n", table]


def csv_gz() -> list[bytes]:
    """Return the same, compressed."""
    return [gzip.compress(content, mtime=0) for content in _CSV]


def arff() -> list[bytes]:
    """Return ARFF files with attributes of each type, quotes and gaps."""
    head = "% made by hand\n@RELATION x\n@attribute 'a b' numeric\n@attribute c {x,'y z', \"w\"}\n"
    more = '@attribute d date "dd.MM.yyyy HH:mm"\n@attribute e string\n@data\n'
    rows = "1.5,x,?,'it\\'s'\n?,'y z',01.02.2003 04:05,\"a, b\"\n% no row\n-1e3,w,?,f\n"
    return [f"{head}{more}{rows}".encode(), f"{head}@data\n1,x\n2,'y z'\n".encode()]


def svmlight() -> list[bytes]:
    """Return SVMlight files, counted from 0 and from 1, with queries and without."""
    return [b"-1 1:0.5 3:2\n1 2:1e3 # no more\n", b"# x\n1.5 qid:1 0:1 4:-2\n2 qid:2 1:3\n"]


def json_list() -> list[bytes]:
    """Return JSON files of one list of objects."""
    return [b'[{"a": 1, "b": "x"}, {"a": 2.5, "c": true}]', b'[\n{"a": -1e3},\n{"a": null}, {"a": 7}]\n']


def sav() -> list[bytes]:
    """Return files of SPSS, compressed and not, with labels."""
    import pyreadstat

    found = []
    for options in ({}, {"row_compress": True}):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "x.sav"
            labels = {"n": {1.0: "one", 2.0: "two"}}
            frame = pl.DataFrame({"n": [1.0, 2.0, None], "x": [0.5, -1e9, 3.0], "t": ["a", "", "bcdefghijk"]})
            pyreadstat.write_sav(frame, path, variable_value_labels=labels, **options)
            found.append(path.read_bytes())
    return found


def parquet() -> list[bytes]:
    """Return Parquet files, compressed and not."""
    kinds = ("uncompressed", "zstd", "snappy")
    return [to_bytes(lambda file, kind=kind: FRAME.write_parquet(file, compression=kind)) for kind in kinds]


def feather() -> list[bytes]:
    """Return Feather files, compressed and not."""
    kinds = ("uncompressed", "zstd", "lz4")
    return [to_bytes(lambda file, kind=kind: FRAME.write_ipc(file, compression=kind)) for kind in kinds]


def mat() -> list[bytes]:
    """Return MAT files of versions 4, 5 and compressed 5, and of 7.3 where h5py is there."""
    from scipy.io import savemat

    kinds = ({"format": "4"}, {}, {"do_compression": True})
    plain = [to_bytes(lambda file, kind=kind: savemat(file, {"X": X}, **kind)) for kind in kinds]
    cells = np.empty((3, 1), object)
    cells[:, 0] = [X, X + 1, X + 2]
    return [*plain, *(to_bytes(lambda file, v=v: savemat(file, {"X": v})) for v in (sparse.csc_matrix(X), cells))]


def images() -> list[dict[str, bytes]]:
    """Return folders of one image: grey, colour, palette and 16 bits, of each format."""
    from PIL import Image

    grey = Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8))
    pictures = [
        *((grey, "png", {}), (grey.convert("RGB"), "png", {}), (grey.convert("P"), "png", {}), (grey, "bmp", {})),
        *((grey.convert("RGB"), "jpeg", {}), (grey, "jpeg", {"progressive": True}), (grey, "tiff", {})),
        *((grey, "webp", {"lossless": True}), (grey, "gif", {"save_all": True, "append_images": [grey]})),
        *((grey, "tiff", {"compression": "tiff_lzw"}), (grey.convert("RGB"), "tiff", {"compression": "tiff_deflate"})),
    ]
    return [
        {f"x.{kind}": to_bytes(lambda file, p=picture, k=kind, o=options: p.save(file, k, **o))}
        for picture, kind, options in pictures
    ]


def models() -> list[dict[str, bytes]]:
    """Return folders of models of every class."""
    rows, solver = np.random.default_rng(0).random((20, 3)), LBFGS(max_iter=2)
    stack = StackedAutoencoder(
        [Autoencoder(3, solver=solver, sparsity=KLSparsity(), corruption=Masking()), Autoencoder(2, solver=solver)],
        random_state=0,
    )
    number = np.arange(20) % 3
    names = np.array(["a", "b", "c"])[number]
    encoder = TableEncoder().fit(FRAME)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        encoded = encoder.transform(FRAME)
        imputer = layerwise.AutoencoderImputer(Autoencoder(2, solver=solver)).fit(encoded)
        filled = imputer.transform(encoded)
        fitted = (
            Autoencoder(2, solver="adam", tied=True, early_stopping=layerwise.EarlyStopping()).fit(rows),
            StackedClassifier(
                Autoencoder(3, scale="standard", output_activation="identity", solver=solver), solver=solver
            ).fit(rows, names),
            StackedClassifier(FrozenEstimator(Autoencoder(2, solver=solver).fit(rows)), solver=solver).fit(
                rows, number
            ),
            StackedRegressor(stack, solver=solver).fit(rows, rows[:, :2]),
            layerwise.AutoencoderOutlierDetector(Autoencoder(2, solver=solver)).fit(rows),
            Pipeline([("table", encoder), ("imputer", imputer), ("model", Autoencoder(2, solver=solver).fit(filled))]),
        )
    return [_saved(model) for model in fitted]


def _saved(model: Any) -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        layerwise.save(model, Path(folder) / "model")
        return {path.name: path.read_bytes() for path in (Path(folder) / "model").iterdir()}


def toml() -> list[bytes]:
    """Return recipes."""
    stack = StackedAutoencoder([Autoencoder(3, sparsity=KLSparsity(), corruption=Masking(), solver="adam"), 2])
    settings = describe(stack) | {"data": "x.csv", "id": ["name"], "ignore": [], "image_shape": [2, 3]}
    return [write_toml(settings).encode(), b'model = "outliers"\ncontamination = 0.1\n[[layers]]\nn_hidden = 3\n']


def metrics() -> list[dict[str, bytes]]:
    """Return folders of a run, without its model."""
    step = {"stage": "layer 0", "iteration": 1, "value": 0.5, "parts": {"loss": 0.5}, "n_rows": 4, "status": None}
    facts = {"command": "layerwise fit x.csv", "data": "x.csv", "id": ["name"], "image_shape": [2, 3], "seconds": 1.5}
    lines = [json.dumps(step | {"iteration": k}) for k in range(3)]
    return [{"metrics.jsonl": "\n".join(lines).encode(), "run.json": json.dumps(facts).encode()}]


def mutate_run(rng: random.Random, content: dict[str, bytes], others: list[Any]) -> dict[str, bytes]:
    """Change one of the two files of a run."""
    name = rng.choice(sorted(content))
    lines = content[name].split(b"\n")
    place = rng.randrange(len(lines))
    if rng.random() < 0.5:
        lines[place] = json.dumps(m.mutate_tree(rng, json.loads(lines[place]))).encode()
    else:
        lines[place] = m.mutate_lines(rng, lines[place], [content[name]])
    return content | {name: b"\n".join(lines)}


# What reads them, as a user would


def rows(path: Path) -> None:
    """Read rows, and all of their values."""
    load_rows(path).X.sum()


def rows_and_labels(path: Path) -> None:
    """Read an array as rows or as labels, whichever it can be."""
    try:
        rows(path)
    except layerwise.FileError:
        load_labels(path).tolist()


def table(path: Path) -> None:
    """Read a table as the command line does."""
    found = read_input(path)
    assert found.X.ndim == 2


def matlab(path: Path) -> None:
    """Read the only array."""
    load_mat(path, timeout=4)


def matlab_rows(path: Path) -> None:
    """Read rows as the command line does."""
    load_rows(path)


def image_folder(path: Path) -> None:
    """Read the rows of a folder, as they are and resized."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of further frames
        load_image_folder(path)
        load_image_folder(path, (4, 4, 3))


def recipe(path: Path) -> None:
    """Read settings; what they mean is another matter."""
    settings = read_toml(path)
    try:
        build({name: value for name, value in settings.items() if name not in (*DATA_KEYS, "impute")})
    except layerwise.FileError:
        raise
    except ValueError:
        pass


def run(path: Path) -> None:
    """Read what is told of a run."""
    read_metrics(path)
    read_facts(path)


def use(model: Any) -> None:
    """Ask a model for whatever it can do."""
    n_features = getattr(model, "n_features_in_", 3)
    given = FRAME if isinstance(model, Pipeline) else np.full((2, min(n_features, 1000)), 0.5)
    for name in ("transform", "predict", "predict_proba", "score_samples"):
        if hasattr(model, name):
            getattr(model, name)(given)


# A loader that has every defect


def broken() -> list[bytes]:
    """Return a file that loads."""
    return [b"loads"]


def mutate_broken(rng: random.Random, content: bytes, others: list[bytes]) -> bytes:
    """Return a file that does not, mostly."""
    return rng.choice((b"loads", b"is refused", b"raises", b"ends", b"is slow", b"is large"))


def read_broken(path: Path) -> None:
    """Do what the file says."""
    word = path.read_bytes().split()[-1]
    if word == b"refused":
        raise layerwise.FileError("refused")
    if word == b"raises":
        raise KeyError("raises")
    if word == b"ends":
        os._exit(7)
    if word == b"slow":
        start = time.process_time()
        while time.process_time() < start + 1.2:
            pass
    if word == b"large":
        np.ones(2**25)
