"""The same rows in every format are the same encoder, the same numbers and the same model, to the bit.

A format is a row in `FORMATS`: how it is written here, and which kinds of columns it cannot hold, and why.
"""

import bz2
import gzip
import json
import tempfile
from collections.abc import Callable, Collection
from datetime import date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from scipy import sparse

import layerwise
from layerwise import LBFGS, Autoencoder, StackedClassifier

pl = pytest.importorskip("polars")

N_ROWS = 1000
_random = np.random.default_rng(0)
_towns = _random.choice(["Basel", "Bern", "Genf", "Thun"], N_ROWS)
# A column of each kind. The names are such as even the oldest formats can hold.
KINDS = {
    "NUMBER": pl.Series(_random.normal(50, 9, N_ROWS).round(3)),
    "WHOLE": pl.Series(_random.integers(-500, 500, N_ROWS)),
    "LARGE": pl.Series(_random.integers(10**9, 10**12, N_ROWS).astype(float)),
    "GAPS": pl.Series([None if gap else float(k) for k, gap in enumerate(_random.random(N_ROWS) < 0.2)]),
    "TEXT": pl.Series(_towns),
    "TWO": pl.Series(_random.choice(["no", "yes"], N_ROWS)),
    "ACCENTS": pl.Series(np.where(_towns == "Bern", "Zürich", _towns)),
    "TEXTGAPS": pl.Series([None if k % 7 == 0 else town for k, town in enumerate(_towns.tolist())]),
    "COMMAS": pl.Series([f'{town}, it\'s "here"' for town in _towns]),
    "LABELLED": pl.Series(_random.choice(["agree", "differ", "neither"], N_ROWS), dtype=pl.Categorical),
    "DAY": pl.Series([date(1950, 1, 1) + timedelta(int(k)) for k in _random.integers(0, 30_000, N_ROWS)]),
    "MOMENT": pl.Series([datetime(2001, 1, 1) + timedelta(seconds=int(k)) for k in _random.integers(0, 10**8, N_ROWS)]),
    "DAYGAPS": pl.Series([None if k % 5 == 0 else date(2020, 1, 1) + timedelta(k) for k in range(N_ROWS)]),
}
# The class of each row, as numbers and as text.
CODES = pl.Series(_random.integers(1, 4, N_ROWS))
NAMED = pl.Series([("low", "mid", "high")[code - 1] for code in CODES], dtype=pl.Categorical)


class Format(NamedTuple):
    """How a frame is written, and which kinds of columns the format cannot hold."""

    write: Callable[[pl.DataFrame, Path], None]
    lacks: Collection[str] = ()
    labels: str = "LABEL"


def _coded(frame: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, dict[float, str]]]:
    """Return a frame with numbers for categories, and what they stand for."""
    labels = {}
    for name in [name for name, dtype in frame.schema.items() if dtype == pl.Categorical]:
        texts = sorted(frame[name].cast(pl.String).unique())
        labels[name] = {float(code): text for code, text in enumerate(texts, 1)}
        codes = {text: code for code, text in labels[name].items()}
        frame = frame.with_columns(frame[name].cast(pl.String).replace_strict(codes, return_dtype=pl.Float64))
    return frame, labels


def _with_labels(writer: str, **options: bool) -> Callable[[pl.DataFrame, Path], None]:
    def write(frame: pl.DataFrame, path: Path) -> None:
        pyreadstat = pytest.importorskip("pyreadstat")
        coded, labels = _coded(frame)
        if writer == "write_dta":
            labels = {name: {int(code): text for code, text in own.items()} for name, own in labels.items()}
            coded = coded.with_columns(pl.col(name).cast(pl.Int32) for name in labels)
        getattr(pyreadstat, writer)(coded, path, variable_value_labels=labels, **options)

    return write


def _without_labels(writer: str) -> Callable[[pl.DataFrame, Path], None]:
    def write(frame: pl.DataFrame, path: Path) -> None:
        pyreadstat = pytest.importorskip("pyreadstat")
        getattr(pyreadstat, writer)(frame.with_columns(pl.col(pl.Categorical).cast(pl.String)), path)

    return write


def _write_arff(frame: pl.DataFrame, path: Path) -> None:
    def quote(value: object) -> str:
        text = str(value.isoformat() if isinstance(value, date) else value)
        return "?" if value is None else "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"

    kinds = []
    for name, dtype in frame.schema.items():
        values = ",".join(map(quote, frame[name].drop_nulls().unique().to_list()))
        kind = "numeric" if dtype.is_numeric() else f"{{{values}}}" if dtype == pl.Categorical else "string"
        kind = {pl.Date: "date yyyy-MM-dd", pl.Datetime("us"): "DATE"}.get(dtype, kind)
        kinds.append(f"@attribute '{name}' {kind}\n")
    rows = (
        ",".join("?" if v is None else repr(v) if isinstance(v, (int, float)) else quote(v) for v in row)
        for row in frame.iter_rows()
    )
    path.write_text("% people\n@RELATION people\n" + "".join(kinds) + "@DATA\n" + "\n".join(rows) + "\n", "utf-8")


def _write_svm(frame: pl.DataFrame, path: Path) -> None:
    from sklearn.datasets import dump_svmlight_file

    X = frame.drop("LABEL").to_numpy().astype(float)
    dump_svmlight_file(X, frame["LABEL"].to_numpy(), str(path), zero_based=False)


def _write_json(frame: pl.DataFrame, path: Path) -> None:
    rows = [{name: v.isoformat() if isinstance(v, date) else v for name, v in row.items()} for row in frame.to_dicts()]
    lines = [json.dumps({name: value for name, value in row.items() if value is not None}) for row in rows]
    path.write_text("\n\n".join(lines) if path.suffix == ".jsonl" else f"[{','.join(lines)}]", "utf-8")


_NUMBERS = {"NUMBER", "WHOLE", "LARGE"}
_DATES = {"DAY", "MOMENT", "DAYGAPS"}
FORMATS = {
    ".parquet": Format(lambda frame, path: frame.write_parquet(path)),
    ".feather": Format(lambda frame, path: frame.write_ipc(path)),
    ".csv": Format(lambda frame, path: frame.write_csv(path, datetime_format="%Y-%m-%d %H:%M:%S"), _DATES),
    ".jsonl": Format(_write_json, _DATES),  # dates are text there, as in CSV
    ".json": Format(_write_json, _DATES),
    ".sav": Format(_with_labels("write_sav")),
    ".zsav": Format(_with_labels("write_sav", compress=True)),
    ".dta": Format(_with_labels("write_dta")),
    ".xpt": Format(_without_labels("write_xport")),
    ".por": Format(_without_labels("write_por"), {"ACCENTS"}),  # ASCII alone
    ".arff": Format(_write_arff),
    ".svm": Format(_write_svm, set(KINDS) - _NUMBERS, "y"),  # numbers, labels of numbers, no gaps
}


def _columns(ending):
    return [name for name in KINDS if name not in FORMATS[ending].lacks]


@cache
def _read(ending, held):
    """Return the columns that a format holds, read from it and from Parquet: each file once."""
    frame = pl.DataFrame({name: KINDS[name] for name in held})
    frame = frame.with_columns((CODES if ending == ".svm" else NAMED).alias("LABEL"))
    found = []
    for own in (ending, ".parquet"):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"rows{own}"
            FORMATS[own].write(frame, path)
            found.append(layerwise.read(path, labels=FORMATS[own].labels))
    return found


def _dense(X):
    return X.toarray() if sparse.issparse(X) else np.asarray(X)


@pytest.mark.filterwarnings("ignore:.*become categories without an order")
@pytest.mark.parametrize(("ending", "kind"), [(ending, kind) for ending in FORMATS for kind in _columns(ending)])
def test_a_column_of_a_kind_is_the_same_in_all_formats(ending, kind):
    found, expected = _read(ending, tuple(_columns(ending)))
    places = [place for place, name in enumerate(expected.feature_columns) if name == kind]
    assert (_dense(found.X)[:, places].tobytes(), found.X.shape) == (expected.X[:, places].tobytes(), expected.X.shape)
    if found.encoder is not None:
        assert found.encoder.get_reading(kind) == expected.encoder.get_reading(kind)
        assert found.encoder.categories_.get(kind) == expected.encoder.categories_.get(kind)
        assert [found.feature_names[place] for place in places] == [expected.feature_names[place] for place in places]


@pytest.mark.filterwarnings("ignore:.*become categories without an order")
@pytest.mark.parametrize("ending", FORMATS)
def test_rows_of_all_kinds_train_the_same_model(ending):
    pair = _read(ending, tuple(_columns(ending)))
    assert pair[0].y.tolist() == pair[1].y.tolist()
    assert (pair[0].encoder or pair[1].encoder).describe() == pair[1].encoder.describe()
    whole = ~np.isnan(pair[1].X).any(axis=0)
    models = [
        StackedClassifier(
            Autoencoder(3, solver=LBFGS(max_iter=2)), finetune=0, solver=LBFGS(max_iter=2), random_state=0
        )
        for _ in pair
    ]
    first, second = (
        model.fit(_dense(found.X)[:, whole], found.y).predict_proba(pair[1].X[:, whole])
        for model, found in zip(models, pair, strict=True)
    )
    assert first.tobytes() == second.tobytes()


# ARFF


def _arff(folder, text):
    path = folder / "x.arff"
    path.write_text(text, "utf-8")
    return path


def test_arff_as_weka_writes_it(tmp_path):
    path = _arff(
        tmp_path,
        """% a comment
@RELATION 'people of a town'

@ATTRIBUTE age INTEGER
@attribute 'home town' {Bern, 'Zürich', "La Chaux", 'it\\'s'}  % of birth
@attribute note string
@attribute born date "dd.MM.yyyy"
@attribute at DATE
@attribute code {1,2}
@data
31, Bern, 'a, b', 03.02.2001, 2001-02-03T04:05:06, 1
?, 'Zürich', ?, ?, ?, 2
% in between

4e1,'it\\'s','don\\'t', 29.02.2000, 1999-12-31T23:59:59,?
7, "La Chaux", x, ?, ?, 1
""",
    )
    assert layerwise.data.scan_table(path).collect().to_dict(as_series=False) == {
        "age": [31.0, None, 40.0, 7.0],
        "home town": ["Bern", "Zürich", "it's", "La Chaux"],
        "note": ["a, b", None, "don't", "x"],
        "born": [date(2001, 2, 3), None, date(2000, 2, 29), None],
        "at": [datetime(2001, 2, 3, 4, 5, 6), None, datetime(1999, 12, 31, 23, 59, 59), None],
        "code": ["1", "2", None, "1"],  # categories, as they are declared
    }
    found = layerwise.read(path, ignore=["note"])
    assert found.encoder.categories_["code"] == ["1", "2", "missing"]


def test_arff_is_as_scipy_reads_it(tmp_path):
    from scipy.io import arff

    frame = pl.DataFrame({name: KINDS[name] for name in ("NUMBER", "WHOLE", "GAPS", "LABELLED")})
    path = tmp_path / "x.arff"
    _write_arff(frame, path)
    expected, _ = arff.loadarff(path)
    found = layerwise.data.scan_table(path).collect()
    for name in ("NUMBER", "WHOLE", "GAPS"):
        np.testing.assert_array_equal(found[name].cast(float).to_numpy(), expected[name])
    assert found["LABELLED"].to_list() == [text.decode() for text in expected["LABELLED"]]


_HEAD = "@relation x\n@attribute a numeric\n@attribute b {x,y}\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{_HEAD}@data\n{{0 1, 1 x}}\n", "is sparse ARFF, which is not read; save it dense in Weka"),
        ("@relation x\n@attribute a relational\n@data\n1\n", "attribute 'a' of type 'relational', but numeric"),
        ("@relation x\n@attribute a date 'EEE d MMM'\n@data\n1\n", "dates written as 'EEE d MMM' in attribute 'a'"),
        (f"{_HEAD}@data\n1,x\n2\n", r"has 1 values in row 2 \(counted from 1, below @data\), but 2 attributes"),
        (f"{_HEAD}@data\n1,x\n2,z\n", "has 'z' in attribute 'b', which is no one of its 2 values"),
        (f"{_HEAD}@data\n1,x\none,y\n", "has 'one' in attribute 'a', which is no number"),
        (f"{_HEAD}@data\n", "holds a table without rows"),
        (_HEAD, "is not an ARFF file, or is damaged: it has no attributes, or no line @data"),
        ("a,b\n1,2\n", "is not an ARFF file, or is damaged: line 1 is 'a,b'"),
        (f"@attribute a numeric\n{_HEAD}@data\n1,1,x\n", "has two columns called 'a'"),
        ("@relation x\n" + "@attribute a numeric\n" * 10**5, "has more than the 32768 attributes that ARFF may have"),
    ],
)
def test_arff_that_is_refused(tmp_path, text, message):
    with pytest.raises(ValueError, match=message) as error:
        layerwise.data.scan_table(_arff(tmp_path, text))
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400


# SVMlight and LIBSVM


@pytest.mark.parametrize("packed", [None, gzip, bz2])
def test_svmlight_is_sparse_rows_with_labels_and_queries(tmp_path, packed):
    path = tmp_path / f"x.libsvm{'' if packed is None else '.gz' if packed is gzip else '.bz2'}"
    text = b"# a comment\n-1 qid:3 1:0.5 3:2\n1 qid:3 2:1e3 # no more\n1 qid:4\n"
    path.write_bytes(text if packed is None else packed.compress(text))
    found = layerwise.read(path, labels="y", ids="qid")
    assert found.X.format == "csr"
    assert found.X.toarray().tolist() == [[0.5, 0, 2], [0, 1000, 0], [0, 0, 0]]
    assert (found.y.tolist(), found.y.dtype.kind, found.ids["qid"].tolist()) == ([-1, 1, 1], "i", [3, 3, 4])
    assert found.zero_based is False
    assert layerwise.read(path, zero_based=True).X.shape == (3, 4)
    assert layerwise.data.load_labels(path).tolist() == [-1, 1, 1]


def test_columns_of_svmlight_count_as_in_the_training(tmp_path, run):
    X = (np.arange(400).reshape(50, 8) % 7 == 0) * 1.0
    y = X[:, 0] + 2 * X[:, 1] > 0
    from sklearn.datasets import dump_svmlight_file

    dump_svmlight_file(X, y, str(tmp_path / "train.svm"), zero_based=True)
    fit = ["fit", tmp_path / "train.svm", "--labels", "y", "--out", tmp_path / "run", "--max-iter", 2, "--layers", 2]
    code, _, said = run(*fit)
    assert code == 0, said
    assert "columns counted from 0, see --zero-based" in said
    (tmp_path / "one.svm").write_text("0 3:1\n1 2:1 5:1\n")  # by itself, counted from 1; and of fewer columns
    np.save(tmp_path / "one.npy", np.eye(8)[[3, 2]] + np.eye(8)[[3, 5]] * [[0], [1]])
    answers = [run("encode", tmp_path / "run", tmp_path / f"one.{ending}") for ending in ("svm", "npy")]
    assert answers[0] == answers[1]
    code, _, said = run("encode", tmp_path / "run", tmp_path / "one.svm", "--no-zero-based")
    assert code == 0
    (tmp_path / "wide.svm").write_text("0 0:1 3:1 9:1\n")
    assert "has 10 features" in run("encode", tmp_path / "run", tmp_path / "wide.svm")[2]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.svm", b"a,b\n1,2\n", "cannot be read as SVMlight, one label and pairs of column:value a row"),
        ("x.svm", b"1,2 1:3\n", "cannot be read as SVMlight"),
        ("x.svm", b"1 2:1 1:1\n", "cannot be read as SVMlight"),
        ("x.svm", b"", "so there is no value in it"),
        ("x.svm", b"1 1:2 999999999999:1\n", "cannot be read as SVMlight"),
        ("x.svm", b"1 1:2 2000000000:1\n", "rows of 2000000000 columns, one of which takes 16000000000 bytes"),
        ("x.svm.gz", gzip.compress(b"1 1:1\n" * 1000, mtime=0)[:40], "cannot be read as SVMlight"),
        ("x.svm.bz2", bz2.compress(b"1 1:1\n" * 500_000), "more than 200 times"),
    ],
)
def test_svmlight_that_is_refused(tmp_path, name, content, message, monkeypatch):
    monkeypatch.setenv("LAYERWISE_MAX_BYTES", str(2**20))
    (tmp_path / name).write_bytes(content)
    with pytest.raises(layerwise.FileError, match=message):
        layerwise.read(tmp_path / name)


def test_parts_of_svmlight_count_alike(tmp_path):
    (tmp_path / "a.svm").write_text("0 1:1 2:1\n")
    (tmp_path / "b.svm").write_text("0 0:1 1:1\n")
    with pytest.raises(layerwise.FileError, match="do not count their columns alike"):
        layerwise.read([tmp_path / "a.svm", tmp_path / "b.svm"])
    with pytest.raises(layerwise.FileError, match=r"of 3 values, but .* of 2|of 2 values, but .* of 3"):
        layerwise.read([tmp_path / "a.svm", tmp_path / "b.svm"], zero_based=True)


# JSON


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("x.json", '{"x": 1}', r"is no list of objects, \[\{...\}, \{...\}\]"),
        ("x.json", '{"x": 1}\n{"x": 2}\n', "or name it .jsonl if each line is an object"),
        ("x.json", "", "is no list of objects"),
        ("x.json", "[1, 2]", "cannot be read as JSON, a list of objects"),
        ("x.json", '[{"x": 1},', "cannot be read as JSON, a list of objects"),
        ("x.json", "[" * 100_000, "cannot be read as JSON, a list of objects"),
        ("x.json", "[]", "holds a table without rows"),
        ("x.json", '[{"x": {"y": 1}}, {"x": {"y": 2}}]', "column 'x' holds values of type Struct"),
        ("x.jsonl", '{"x": [1]}\n{"x": [2]}\n', "column 'x' holds values of type List"),
        ("x.jsonl", '[{"x": 1}, {"x": 2}]', "cannot be read as JSON lines, one object a line"),
    ],
)
def test_json_that_is_refused(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(layerwise.FileError, match=message):
        layerwise.read(tmp_path / name)


def test_json_that_layerwise_writes_is_read(tmp_path):
    layerwise.data.write_columns(tmp_path / "x.json", {"a": np.array([1.5, 2.5]), "t": np.array(["u", "v"])})
    assert layerwise.read(tmp_path / "x.json").X.tolist() == [[1.5, 0.0], [2.5, 1.0]]


# What is not read


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("x.pkl", "what is pickled can run programs when it is opened, and is never read; save arrays by numpy.savez"),
        ("x.joblib", "is never read"),
        ("x.pt", "save tensors by safetensors.torch.save_file"),
        ("x.rds", r'write Parquet there: arrow::write_parquet\(x, "x.parquet"\)'),
        ("x.RData", "arrow::write_parquet"),
        ("x.docx", "copy the table in it into a spreadsheet, and save that as CSV"),
        ("x.pdf", "save that as CSV"),
        ("x.zip", "unpack it, and name the file or the folder that was in it"),
        ("x.tar.gz", "unpack it"),
        ("x.csv.zip", "unpack it"),
        ("x.parquet.gz", r"decompress it first: gunzip x\.parquet\.gz"),
        ("x.sav.bz2", "decompress it first: bunzip2"),
        ("x.png", "an image is one row of many: name the folder that it is in"),
        ("x.xml", "write its records as JSON lines"),
        ("x.data", "name it .csv, with the names of its columns in the first line"),
        ("x.sas7bcat", "name that file"),
    ],
)
def test_what_is_not_read_says_how_to_get_to_what_is(tmp_path, name, advice):
    for content in (b"\x80\x04N.", gzip.compress(b"what"), b""):
        (tmp_path / name).write_bytes(content)
        told = rf"is of no known format \(.*{advice}.*; known are .csv"
        for load in (layerwise.read, layerwise.data.load_labels):
            with pytest.raises(layerwise.FileError, match=told) as error:
                load(tmp_path / name)
            assert "\n" not in str(error.value)
