"""Results out: what is written can be read back."""

import io
import json
import re
import sys

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file
from scipy.io import loadmat, whosmat

from layerwise.data import (
    check_output,
    load_labels,
    load_rows,
    mat_output,
    outputs,
    read_input,
    write_columns,
    write_csv,
)
from layerwise.data.mat_output import name_variables

CODES = np.array([[0.1, np.nan], [1e-10, 2], [3e20, -0.5]], np.float32)
COLUMNS = {
    "code": CODES,
    "label": np.array(["a", 'b,"c"', "d\ne"], dtype=object),
    "wrong": np.array([True, False, True]),
}
IDS = {"file": ["x.png", None, "ü.png"], "row": np.array([7, 8, 9])}
NAMES = ["file", "row", "code_0", "code_1", "label", "wrong"]
RECORDS = [
    {"file": "x.png", "row": 7, "code_0": 0.1, "code_1": None, "label": "a", "wrong": True},
    {"file": None, "row": 8, "code_0": 1e-10, "code_1": 2.0, "label": 'b,"c"', "wrong": False},
    {"file": "ü.png", "row": 9, "code_0": 3e20, "code_1": -0.5, "label": "d\ne", "wrong": True},
]


@pytest.mark.parametrize("ending", ["csv", "tsv", "parquet", "feather", "json", "jsonl", "CSV"])
def test_table_that_is_written(tmp_path, ending):
    path = tmp_path / f"x.{ending}"
    write_columns(path, COLUMNS, ids=IDS)
    if ending == "json":
        assert json.loads(path.read_text(encoding="utf-8")) == RECORDS
    elif ending == "jsonl":
        assert [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] == RECORDS
        assert read_input(path, id=["file", "row"], labels="label").y.tolist() == COLUMNS["label"].tolist()
    else:
        rows = read_input(path, id=["file", "row"], labels="label")
        assert rows.feature_names == ["code_0", "code_1", "wrong"]
        np.testing.assert_array_equal(rows.X[:, :2].astype(np.float32), CODES)
        assert rows.X[:, 2].tolist() == [1, 0, 1]
        assert rows.y.tolist() == COLUMNS["label"].tolist()
        assert rows.ids["file"].tolist() == IDS["file"]
        assert rows.ids["row"].tolist() == [7, 8, 9]


def test_arrays_that_are_written(tmp_path):
    write_columns(tmp_path / "x.npz", COLUMNS, ids=IDS)
    with np.load(tmp_path / "x.npz", allow_pickle=False) as arrays:
        assert sorted(arrays) == ["code", "file", "label", "row", "wrong"]
        np.testing.assert_array_equal(arrays["code"], CODES)
        assert arrays["label"].tolist() == COLUMNS["label"].tolist()
        assert arrays["file"].tolist() == ["x.png", "", "ü.png"]
    numbers = {name: COLUMNS[name] for name in ("code", "wrong")}
    write_columns(tmp_path / "x.safetensors", numbers, ids=IDS)
    arrays = load_file(tmp_path / "x.safetensors")
    assert sorted(arrays) == ["code", "wrong"]
    np.testing.assert_array_equal(arrays["code"], CODES)
    write_columns(tmp_path / "x.npy", numbers, ids=IDS)
    np.testing.assert_array_equal(load_rows(tmp_path / "x.npy").X, np.column_stack([CODES, numbers["wrong"]]))
    for values in ([3, 1], ["b", "a"], np.array(["b", "a"], dtype=object)):
        write_columns(tmp_path / "y.npy", {"label": values})
        assert load_labels(tmp_path / "y.npy").tolist() == list(values)


def test_variables_that_are_written_for_matlab(tmp_path):
    """Names are those that MATLAB takes, vectors stand upright, booleans are logical, text is a cell array of it."""
    columns = COLUMNS | {"error: age": [1.5, 2, 3], "error age": [4, 5, 6], "end": np.arange(3, dtype=np.float16)}
    with pytest.warns(UserWarning, match=r"x\.mat has names .*: 'error: age' as error_age, 'error age' as error_age_2"):
        write_columns(tmp_path / "x.mat", columns, ids=IDS)
    kinds = {name: (shape, kind) for name, shape, kind in whosmat(tmp_path / "x.mat")}
    assert kinds["wrong"] == ((3, 1), "logical")
    assert kinds["label"] == ((3, 1), "cell")
    found = loadmat(tmp_path / "x.mat")
    assert sorted(kinds) == ["code", "error_age", "error_age_2", "file", "label", "row", "wrong", "x_end"]
    np.testing.assert_array_equal(found["code"], CODES)
    assert found["code"].dtype == np.float32
    assert found["error_age_2"].tolist() == [[4], [5], [6]]
    assert found["x_end"].tolist() == [[0], [1], [2]]
    np.testing.assert_array_equal(load_rows(tmp_path / "x.mat", "code").X, CODES)
    assert load_labels(tmp_path / "x.mat", "label").tolist() == COLUMNS["label"].tolist()
    assert load_labels(tmp_path / "x.mat", "file").tolist() == ["x.png", "", "ü.png"]
    assert load_labels(tmp_path / "x.mat", "row").tolist() == [7, 8, 9]


@pytest.mark.parametrize("names", [["a", "a_", "ä", "_"], ["x" * 70, "x" * 71, "x" * 63], ["1", "x1", "for", "x_for"]])
def test_names_of_variables(names):
    chosen = name_variables(names)
    assert list(chosen) == names
    assert len(set(chosen.values())) == len(names)
    assert all(re.fullmatch("[A-Za-z][A-Za-z0-9_]{0,62}", name) for name in chosen.values())
    assert [chosen[name] for name in names if name in ("a", "a_", "x1", "x_for")] == [
        name for name in names if name in ("a", "a_", "x1", "x_for")
    ]


def test_variable_that_is_too_large_for_a_mat_file(tmp_path, monkeypatch):
    monkeypatch.setattr(mat_output, "_MOST_BYTES", 31)
    write_columns(tmp_path / "x.mat", {"a": np.zeros(3)})
    with pytest.raises(ValueError, match=r"cannot hold 'a' of .* at most 2 GiB a variable; write a \.npz"):
        write_columns(tmp_path / "x.mat", {"a": np.ones(4)})
    assert loadmat(tmp_path / "x.mat")["a"].tolist() == [[0], [0], [0]]


text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=4)
values = st.lists(st.tuples(st.floats(allow_nan=True), text, st.integers(-(2**60), 2**60)), min_size=1, max_size=8)


@settings(deadline=None, max_examples=100)
@given(rows=values, use_polars=st.booleans())
@example(rows=[(0.0, "\r", 0)], use_polars=False)
def test_csv_is_what_any_reader_takes(rows, use_polars):
    numbers, texts, whole = (list(column) for column in zip(*rows, strict=True))
    stream = io.StringIO(newline="")
    with pytest.MonkeyPatch.context() as patch:
        if not use_polars:
            patch.setattr(outputs, "find_spec", lambda name: None)
        write_csv(stream, {"x": numbers, "i": whole}, ids={"name": np.array(texts, dtype=object)})
    table = pl.read_csv(
        io.BytesIO(stream.getvalue().encode()), schema={"name": pl.String, "x": pl.Float64, "i": pl.Int64}
    )
    np.testing.assert_array_equal(table["x"].to_numpy(), numbers)
    assert table["i"].to_list() == whole
    assert table["name"].fill_null("").to_list() == texts


def test_csv_without_polars_is_the_same(monkeypatch):
    streams = io.StringIO(), io.StringIO()
    ids = {"file": ["x.png", None, "ü, z.png"]}
    write_csv(streams[0], COLUMNS, ids=ids)
    monkeypatch.setattr(outputs, "find_spec", lambda name: None)
    write_csv(streams[1], COLUMNS, ids=ids)
    assert streams[0].getvalue() == streams[1].getvalue()


def test_csv_of_many_rows(monkeypatch):
    monkeypatch.setattr(outputs, "_BLOCK", 4)
    stream = io.StringIO()
    write_csv(stream, {"x": np.arange(11)})
    assert stream.getvalue() == "x\n" + "".join(f"{place}\n" for place in range(11))


def test_missing_labels_survive(tmp_path):
    for labels in (["a", None, "b"], [1.5, np.nan, 2]):
        write_columns(tmp_path / "y.csv", {"y": labels})
        y = load_labels(tmp_path / "y.csv")
        np.testing.assert_array_equal(y, np.array(labels, dtype=y.dtype))


@pytest.mark.parametrize(
    ("name", "columns", "ids", "message"),
    [
        ("x.xls", {"a": [1]}, None, r"must end in \.csv, .* or \.safetensors"),
        ("x", {"a": [1]}, None, "must end in"),
        ("x.csv", {}, {"a": [1]}, "there is no column to write"),
        ("x.csv", {"a": [1, 2]}, {"b": [1]}, "equally many rows, but they have: 'b' 1, 'a' 2"),
        ("x.npy", {"a": [1, 2], "b": [1]}, None, "equally many rows"),
        ("x.csv", {"a": [1]}, {"a": [1]}, "two columns are called 'a'"),
        ("x.npz", {"a": [[1, 2]], "a_1": [1]}, None, "two columns are called 'a_1'"),
        ("x.csv", {"a": np.zeros((1, 2, 3))}, None, r"'a' has shape \(1, 2, 3\)"),
        ("x.json", {"a": [1j]}, None, "type complex128"),
        ("x.npy", {"a": [1], "b": ["x"]}, None, "cannot hold 'b', which is text"),
        ("x.safetensors", {"b": ["x"]}, None, "cannot hold 'b', which is text"),
    ],
)
def test_columns_that_are_refused(tmp_path, name, columns, ids, message):
    with pytest.raises(ValueError, match=message):
        write_columns(tmp_path / name, columns, ids=ids)
    assert not list(tmp_path.iterdir())


def test_json_has_no_infinity(tmp_path):
    write_columns(tmp_path / "x.json", {"x": [np.inf, 1.0, np.nan]})
    assert json.loads((tmp_path / "x.json").read_text(), parse_constant=pytest.fail) == [
        {"x": None},
        {"x": 1},
        {"x": None},
    ]


def test_outputs_without_polars(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "polars", None)
    for name in ("x.parquet", "x.feather"):
        with pytest.raises(ImportError, match=r"pip install 'layerwise\[tables\]'"):
            check_output(name)
    for name in ("x.csv", "x.json", "x.npy"):
        check_output(name)
