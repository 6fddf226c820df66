"""Whatever a user has, as rows, labels and identifiers."""

import csv
import gzip
import io
import struct
import sys
import unicodedata
import zipfile
from functools import partial

import h5py
import numpy as np
import polars as pl
import pytest
from PIL import Image, ImageOps
from safetensors.numpy import save_file
from scipy import sparse
from scipy.io import savemat

import layerwise
from layerwise import FileError
from layerwise.data import (
    TableEncoder,
    csv_tables,
    describe_missing,
    load_image_folder,
    load_images,
    load_labels,
    load_mat,
    load_rows,
    read_input,
    reading_process,
    scan_table,
)
from layerwise.data.archives import open_archive
from layerwise.data.inputs import open_source
from layerwise.section import Section

CSV = "id,age,town,class\n007,31,Bern,a\n008,,Basel,\n009,5,,b\n"


@pytest.fixture
def people(tmp_path):
    (tmp_path / "people.csv").write_text(CSV)
    return tmp_path / "people.csv"


def write_mat73(path, variables, **attributes):
    """Write arrays as MATLAB does with the option -v7.3."""
    names = {np.dtype(np.float64): "double", np.dtype(np.float32): "single"}
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, values in variables.items():
            item = file.create_dataset(name, data=np.asarray(values).T)
            item.attrs["MATLAB_class"] = np.bytes_(names.get(np.asarray(values).dtype, str(np.asarray(values).dtype)))
            for key, value in attributes.items():
                item.attrs[key] = value
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file".ljust(124) + struct.pack("<H", 0x0200) + b"IM")


# Tables


def test_table(people):
    rows = read_input(people, id="id", labels="class")
    assert rows.feature_names == ["age", "town=Basel", "town=Bern", "town=missing"]
    np.testing.assert_array_equal(rows.X, [[31, 0, 1, 0], [np.nan, 1, 0, 0], [5, 0, 0, 1]])
    assert rows.X.dtype == np.float64
    assert rows.y.tolist() == ["a", None, "b"]
    assert rows.ids["id"].tolist() == ["007", "008", "009"]
    assert rows.image_shape is None


@pytest.mark.parametrize("ending", ["tsv", "csv.gz", "parquet", "feather", "arrow", "jsonl", "ndjson"])
def test_table_in_every_format(tmp_path, ending):
    frame = pl.DataFrame({"id": [3, 1, 2], "age": [31.0, None, 5.0], "town": ["Bern", "Basel", None], "k": [0, 1, 1]})
    path = tmp_path / f"x.{ending}"
    if ending == "csv.gz":
        path.write_bytes(gzip.compress(frame.write_csv().encode()))
    elif ending == "tsv":
        frame.write_csv(path, separator="\t")
    elif "json" in ending:
        frame.write_ndjson(path)
    else:
        (frame.write_parquet if ending == "parquet" else frame.write_ipc)(path)
    rows = read_input(str(path), id=["id"], labels="k")
    np.testing.assert_array_equal(rows.X, [[31, 0, 1, 0], [np.nan, 1, 0, 0], [5, 0, 0, 1]])
    assert rows.y.tolist() == [0, 1, 1]
    assert rows.y.dtype == np.int64
    assert rows.ids["id"].tolist() == [3, 1, 2]
    assert rows.ids["id"].dtype == np.int64


def test_json_lines(tmp_path):
    """Keys that a row leaves out are missing; types are those of all rows, not of the first ones."""
    lines = ['{"a": 1, "town": "Bern"}', "", '{"town": "Basel", "a": null, "late": true}'] + ['{"a": 2}'] * 1500
    (tmp_path / "x.jsonl").write_text("\n".join([*lines, '{"a": 0.5, "late": false}']) + "\n")
    rows = layerwise.read(tmp_path / "x.jsonl")
    assert rows.X.shape == (1503, len(rows.feature_names))
    a, late = rows.feature_names.index("a"), rows.feature_names.index("late")
    np.testing.assert_array_equal(rows.X[[0, 1, 2, -1], a], [1, np.nan, 2, 0.5])
    np.testing.assert_array_equal(rows.X[[0, 1, -1], late], [np.nan, 1, 0])
    (tmp_path / "y.jsonl").write_text('{"a": null, "town": "Bern", "late": true}\n')
    few = layerwise.read(tmp_path / "y.jsonl", encoder=rows.encoder)
    np.testing.assert_array_equal(few.X[0, [a, late]], [np.nan, 1])
    assert layerwise.read(str(tmp_path / "?.jsonl"), encoder=rows.encoder).X[-1, late] == 1
    for name, text in (
        ("cut", '{"a": 1}\n{"a": 1'),
        ("list", '[{"a": 1}]\n'),
        ("empty", ""),
        ("words", "a,b\n1,2\n"),
        ("mixed", '{"a": 1}\n{"a": true}\n'),
    ):
        (tmp_path / f"{name}.ndjson").write_text(text)
        with pytest.raises(FileError, match=rf"{name}\.ndjson cannot be read as (JSON lines, one object|a table)"):
            layerwise.read(tmp_path / f"{name}.ndjson")
    for name, text in (("none", "{}\n{}\n"), ("deep", '{"a": [1, 2]}\n{"a": [3]}\n')):
        (tmp_path / f"{name}.jsonl").write_text(text)
        with pytest.raises(ValueError, match=f"{name}.jsonl"):
            layerwise.read(tmp_path / f"{name}.jsonl")


@pytest.mark.parametrize(
    ("values", "labels", "kind"),
    [
        ("1 2 1", [1, 2, 1], "i"),
        ("1 ? 2", [1, np.nan, 2], "f"),
        ("1.5 2 3", [1.5, 2, 3], "f"),
        ("yes no ?", ["yes", "no", "?"], "O"),
        ("True False True", [True, False, True], "b"),
        ("True ? False", [True, None, False], "O"),
        ("9007199254740992 9007199254740993 -9007199254740993", [2**53, 2**53 + 1, -(2**53) - 1], "i"),
        ("9007199254740993 NA 9007199254740995.0", [2**53 + 1, None, 2**53 + 3], "O"),
        ("18446744073709551615 7 18446744073709551614", [2**64 - 1, 7, 2**64 - 2], "u"),
        ("1e20 2.5e17 3", [1e20, 2.5e17, 3], "f"),
    ],
)
def test_labels_of_a_table(tmp_path, values, labels, kind):
    values = values.split()
    (tmp_path / "x.csv").write_text("a,y\n" + "".join(f"1,{value}\n" for value in values))
    (tmp_path / "y.csv").write_text("y\n" + "".join(f"{value}\n" for value in values))
    for y in (read_input(tmp_path / "x.csv", labels="y").y, load_labels(tmp_path / "y.csv")):
        assert y.dtype.kind == kind
        np.testing.assert_array_equal(y, np.array(labels, dtype=y.dtype))


@pytest.mark.parametrize(
    ("dtype", "kind"), [(pl.Int64, "i"), (pl.UInt64, "u"), (pl.Decimal(30, 0), "i"), (pl.Decimal(30, 2), "i")]
)
def test_long_numbers_of_parquet_stay_apart(tmp_path, dtype, kind):
    values = [2**62 + 1, 2**62 + 2, 2**62 + 4]
    for gap in (False, True):
        column = pl.Series([*values[:-1], None] if gap else values, dtype=dtype)
        pl.DataFrame({"x": [1.0, 2, 3], "y": column, "key": column}).write_parquet(tmp_path / "x.parquet")
        found = read_input(tmp_path / "x.parquet", labels="y", id="key")
        assert found.y.dtype.kind == ("O" if gap else kind)
        assert found.y.tolist() == column.cast(pl.Int64).to_list()
        assert [str(name) for name in found.ids["key"]] == [str(value) for value in found.y]


def test_labels_too_long_for_numbers_are_told(tmp_path):
    (tmp_path / "x.csv").write_text("a,y\n1,99999999999999999999991\n2,99999999999999999999992\n")
    with pytest.raises(FileError, match="column 'y' that take more than 64 bits, such as 99999999999999999999991"):
        read_input(tmp_path / "x.csv", labels="y")
    assert read_input(tmp_path / "x.csv", id="y").ids["y"].tolist()[1] == "99999999999999999999992"


def test_labels_in_a_file_of_their_own(people, tmp_path):
    np.save(tmp_path / "y.npy", [1, 2, 3])
    rows = read_input(people, labels=tmp_path / "y.npy", ignore=["id", "class"])
    assert rows.y.tolist() == [1, 2, 3]
    np.save(tmp_path / "y.npy", [1, 2])
    with pytest.raises(ValueError, match="has 3 rows, but labels has 2"):
        read_input(people, labels=tmp_path / "y.npy")


def test_encoder_of_a_trained_model(people, tmp_path, monkeypatch):
    trained = read_input(people, id="id", labels="class")
    (tmp_path / "new.csv").write_text("town,age,more\nBasel,3,1\n1,4,2\n")
    with pytest.warns(UserWarning, match="town: '1'"):
        rows = read_input(tmp_path / "new.csv", encoder=trained.encoder)
    assert rows.X.tolist() == [[3, 1, 0, 0], [4, 0, 0, 0]]
    assert rows.encoder is trained.encoder
    monkeypatch.setattr("layerwise.data.tables._BATCH", 2)  # one row a batch
    (tmp_path / "new.csv").write_text("town,age\nBasel,3\nBasel,\nBasel,old\nBasel,new\n")
    with pytest.raises(ValueError, match="'age' holds 'old' in row 3"):
        read_input(tmp_path / "new.csv", encoder=trained.encoder)
    (tmp_path / "new.csv").write_text("town\nBasel\n")
    with pytest.raises(ValueError, match="no column 'age'"):
        read_input(tmp_path / "new.csv", encoder=trained.encoder)
    np.save(tmp_path / "x.npy", np.eye(4))
    with pytest.raises(ValueError, match="trained on one; give it a table"):
        read_input(tmp_path / "x.npy", encoder=trained.encoder)


@pytest.mark.parametrize("own_folder", [True, False])
def test_table_larger_than_memory(people, tmp_path, own_folder, monkeypatch):
    monkeypatch.setattr("layerwise.data.tables._BATCH", 4)  # one row a batch
    folder = tmp_path / "scratch"
    folder.mkdir()
    whole = read_input(people, id="id", labels="class")
    rows = read_input(people, id="id", labels="class", memory=10, scratch=folder if own_folder else None)
    assert isinstance(rows.X, np.memmap)
    assert rows.X.dtype == np.float32
    np.testing.assert_array_equal(rows.X, whole.X.astype(np.float32))
    assert rows.ids["id"].tolist() == whole.ids["id"].tolist()
    assert rows.y.tolist() == whole.y.tolist()
    assert len(list(folder.iterdir())) == own_folder


def test_columns_whose_names_look_like_patterns(tmp_path):
    (tmp_path / "x.csv").write_text("*,^.*$,a,y\n1,u,3,0\n2,v,4,1\n3,w,3,1\n")
    rows = read_input(tmp_path / "x.csv", id="*", labels="y")
    assert rows.feature_names == ["a", "^.*$=u", "^.*$=v", "^.*$=w"]
    assert rows.ids["*"].tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"id": "name"}, "id='name' is no column of .*, which has 'id', 'age', 'town', 'class'"),
        ({"ignore": ["age", "x"]}, "ignore='x' is no column"),
        ({"labels": "y"}, "labels='y' is neither a file nor a column of .*, which has 'id'"),
        ({"ignore": ("age", "town", "class"), "id": "id"}, "no column is left"),
        ({"array": "X"}, "array='X' cannot be used: .* is a table"),
        ({"image_shape": (2, 3)}, r"image_shape=\(2, 3\) must be .* has, "),
    ],
)
def test_table_that_is_refused(people, options, message):
    with pytest.raises(ValueError, match=message):
        read_input(people, **options)


def test_how_many_values_a_text_may_have(people, tmp_path):
    few = read_input(people, id="id", labels="class", max_categories=2)
    assert few.feature_names == ["age"]
    assert few.encoder.readings_["town"] == {"type": "text"}
    assert read_input(people, id="id", labels="class", max_categories=3).encoder.max_categories == 3
    np.save(tmp_path / "x.npy", np.eye(2))
    with pytest.raises(ValueError, match="max_categories=3 cannot be used"):
        read_input(tmp_path / "x.npy", max_categories=3)


def test_one_bad_cell_among_numbers_is_found_in_whichever_batch(tmp_path, monkeypatch):
    monkeypatch.setattr("layerwise.data.tables._BATCH", 16)
    values = [str(place % 31) for place in range(300)]
    values[250] = "12kg"
    (tmp_path / "x.csv").write_text("\n".join(["weight,size", *(f"{value},1" for value in values)]))
    with pytest.warns(
        UserWarning, match="'weight' is taken as 32 categories, .*299 of 300 .*'12kg' in row 251"
    ) as told:
        assert read_input(tmp_path / "x.csv").X.shape == (300, 33)
    assert len(told) == 1
    assert read_input(tmp_path / "x.csv", ignore="weight").X.shape == (300, 1)
    with pytest.raises(ValueError, match=r"'weight' looks like numbers .*'12kg' in row 251"):
        read_input(tmp_path / "x.csv", max_categories=9)


@pytest.mark.parametrize("value", ["inf", "-Infinity"])
def test_infinity_in_a_table_is_told_by_column_and_row(tmp_path, value):
    (tmp_path / "x.csv").write_text(f"town,age,size\nBern,1,2\nBasel,3,{value}\n")
    with pytest.raises(ValueError, match=r"x\.csv: column 'size' holds infinity in row 2 \(counted from 1"):
        read_input(tmp_path / "x.csv")
    assert len(read_input(tmp_path / "x.csv", ignore="size").X) == 2


@pytest.mark.parametrize(
    ("name", "content", "line", "width"),
    [
        ("x.csv", "key,x,y,kind\n" + "k,1,2,low\n" * 30 + "k,1,5,2,low\n" + "k,1,2,low\n" * 30, 32, 4),
        ("x.csv", "key,x,y,kind\nk,1,2,low\nk,1,2,\n" + 'k,1,2,"one,\ntwo",\n', 5, 4),  # the extra one is empty
        ("x.csv", ",x,kind\n0,1,low\n1,2,low,\n", 3, 3),  # beside an index, which is left out
        ("x.csv", "key;x;kind\nk;1,5;low\nk;1;5;low\n", 3, 3),
        ("x.tsv", "key\tx\tkind\nk\t1\tlow\nk\t1,5\t2\tlow\n", 3, 3),
        ("x.csv", "key,x,y,kind\nk,1,2,low\nk,1,low\n", 3, 4),
    ],
)
def test_row_of_another_width_is_told_whichever_columns_are_read(tmp_path, name, content, line, width):
    path = tmp_path / name
    path.write_text(content)
    encoder = TableEncoder(ignore="key").fit(pl.DataFrame({"key": ["a", "b"], "x": [1.0, 2.0]}))
    for options in ({}, {"id": "kind"}, {"ignore": "kind"}, {"labels": "kind", "id": "x"}, {"encoder": encoder}):
        with pytest.raises(FileError, match=rf"values in line {line}, but its first line names {width} columns"):
            read_input(path, **options)
    with pytest.raises(FileError, match=f"line {line}"):
        scan_table(path, text=["kind"])


def test_separators_and_line_ends_in_quotes_are_no_more_values(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text('key,x,kind\n"a, b",1,"low,\n""very"" low"\n"c\n\nd",2,high\n')
    found = read_input(path, id="key", labels="kind")
    assert found.ids["key"].tolist() == ["a, b", "c\n\nd"]
    assert found.y.tolist() == ['low,\n"very" low', "high"]
    assert found.X.tolist() == [[1], [2]]


def test_thousands_dots_in_columns_that_are_not_used(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("a;b;key\n1,5;5.620;1.000\n2;12;3\n")
    with pytest.raises(ValueError, match="columns 'b', 'key' look like whole numbers with thousands dots"):
        read_input(path)
    rows = read_input(path, ignore="b", id="key")
    assert rows.X.tolist() == [[1.5], [2]]
    assert rows.ids["key"].tolist() == ["1.000", "3"]
    assert read_input(path, encoder=rows.encoder, id="key").X.tolist() == [[1.5], [2]]


def test_labels_with_decimal_commas(tmp_path):
    (tmp_path / "x.csv").write_text("a;y\n1;2,5\n2;3\n")
    assert read_input(tmp_path / "x.csv", labels="y").y.tolist() == [2.5, 3]
    (tmp_path / "x.csv").write_text('a,y\n1,"2,5"\n2,3\n')
    assert read_input(tmp_path / "x.csv", labels="y").y.tolist() == ["2,5", "3"]  # of which fit makes numbers
    (tmp_path / "x.csv").write_text('a,y\n1,"2,5"\n2,"3.100,5"\n3,"1,300.5"\n')
    with pytest.raises(ValueError, match="'y' looks like numbers with commas"):
        read_input(tmp_path / "x.csv", labels="y")


def test_labels_that_are_none(tmp_path):
    (tmp_path / "x.csv").write_text("a,y\n1,\n2,?\n")
    with pytest.raises(ValueError, match="'y' holds no label at all"):
        read_input(tmp_path / "x.csv", labels="y")
    (tmp_path / "x.csv").write_text("a,y\n1,2\n")
    with pytest.raises(ValueError, match="has the 2 columns 'a', 'y', but a file of labels needs a single one"):
        load_labels(tmp_path / "x.csv")
    with pytest.raises(ValueError, match="is a table with named columns"):
        load_rows(tmp_path / "x.csv")


def test_damaged_table_is_not_read_in_part(tmp_path):
    """Threads of polars may break down without an exception."""
    random = np.random.default_rng(0)
    frame = pl.DataFrame({"a": random.normal(size=200), "b": random.integers(0, 9, 200)})
    frame.write_ipc(tmp_path / "good.feather")
    good = (tmp_path / "good.feather").read_bytes()
    messages = []
    for place in random.integers(0, len(good), 40):
        (tmp_path / "x.feather").write_bytes(good[:place] + bytes([good[place] ^ 0xFF]) + good[place + 1 :])
        try:
            assert read_input(tmp_path / "x.feather").X.shape == (200, 2)
        except ValueError as error:
            messages.append(str(error))
    assert messages
    assert all("x.feather" in message or "column" in message for message in messages)


# Arrays


X = np.random.default_rng(0).random((6, 4))
Y = np.arange(6) % 2


@pytest.mark.parametrize("ending", ["npz", "mat", "v7.3.mat", "safetensors"])
@pytest.mark.parametrize("vertical", [False, True])
def test_arrays_by_name(tmp_path, ending, vertical):
    path = tmp_path / f"x.{ending}"
    arrays = {"features": X, "target": Y[:, np.newaxis] if vertical else Y, "row": np.arange(6.0)}
    write = {
        "npz": lambda: np.savez_compressed(path, **arrays),
        "mat": lambda: savemat(path, arrays),
        "v7.3.mat": lambda: write_mat73(path, arrays),
        "safetensors": lambda: save_file(arrays, path),
    }
    write[ending]()
    rows = read_input(path, labels="target", id="row")
    np.testing.assert_array_equal(rows.X, X)
    np.testing.assert_array_equal(rows.y, Y)
    np.testing.assert_array_equal(rows.ids["row"], np.arange(6))
    assert rows.y.shape == rows.ids["row"].shape == (6,)
    assert (rows.encoder, rows.feature_names, rows.image_shape) == (None, None, None)
    np.testing.assert_array_equal(read_input(path, array="features").X, X)
    with pytest.raises(ValueError, match=r"no array array='Z'; there are: .*'features' \(6, 4\)"):
        read_input(path, array="Z")
    with pytest.raises(ValueError, match=r"labels='z' is neither a file nor an array of .*, which has .*'target'"):
        read_input(path, labels="z")


@pytest.mark.parametrize("ending", ["mat", "v7.3.mat", "npz"])
def test_images_in_a_file_of_arrays(tmp_path, ending):
    """MATLAB counts images along the last axis."""
    images = np.random.default_rng(0).integers(0, 255, (5, 4, 3), dtype=np.uint8)
    path = tmp_path / f"x.{ending}"
    if ending == "npz":
        np.savez(path, images=images)
    else:
        (savemat if ending == "mat" else write_mat73)(path, {"images": np.moveaxis(images, 0, -1)})
    rows = read_input(path)
    assert rows.image_shape == (4, 3)
    assert rows.X.dtype == np.uint8
    np.testing.assert_array_equal(rows.X, images.reshape(5, 12))


def test_which_array_must_be_said(tmp_path):
    np.savez(tmp_path / "x.npz", a=X, b=X[:, :3], c=Y, d=Y)
    with pytest.raises(
        ValueError, match=r"holds 4 arrays, and array must say .*'a' \(6, 4\), 'b' \(6, 3\), 'c' \(6,\)"
    ):
        load_rows(tmp_path / "x.npz")
    with pytest.raises(ValueError, match="labels must say"):
        load_labels(tmp_path / "x.npz")
    assert load_rows(tmp_path / "x.npz", "b").X.shape == (6, 3)
    assert load_labels(tmp_path / "x.npz", "d").tolist() == Y.tolist()
    np.savez(tmp_path / "x.npz", a=X, y=Y, z=Y)
    assert load_rows(tmp_path / "x.npz").X.shape == (6, 4)
    assert load_labels(tmp_path / "x.npz").tolist() == Y.tolist()


def test_single_arrays(tmp_path):
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", Y)
    rows = read_input(tmp_path / "x.npy", labels=str(tmp_path / "y.npy"), image_shape=(2, 2))
    assert isinstance(rows.X, np.memmap)
    assert rows.image_shape == (2, 2)
    assert rows.y.tolist() == Y.tolist()
    with pytest.raises(ValueError, match=r"image_shape=\(3, 2\) must be .* row of .* has, 4"):
        read_input(tmp_path / "x.npy", image_shape=(3, 2))
    for options in ({"array": "x"}, {"id": "x"}):
        with pytest.raises(ValueError, match="holds no arrays with names"):
            read_input(tmp_path / "x.npy", **options)
    with pytest.raises(ValueError, match=r"neither a file nor an array of .*, which has none"):
        read_input(tmp_path / "x.npy", labels="y")
    with pytest.raises(ValueError, match=r"ignore='x' cannot be used: .*x\.npy is no table"):
        read_input(tmp_path / "x.npy", ignore="x")


def npz_that_lies(path):
    """Write an array whose header claims 32 TiB."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("x.npy", "w") as file:
        header = {"descr": "<f8", "fortran_order": False, "shape": (2**40, 4)}
        np.lib.format.write_array_header_1_0(file, header)
        file.write(bytes(1000))


def npz_of_objects(path):
    np.savez(path, x=np.array([[{}, []]], dtype=object))


def npz_cut(path):
    np.savez(path, x=X)
    path.write_bytes(path.read_bytes()[:200])


def npz_of_text(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", "no array")


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("x.npz", npz_that_lies, "which its bytes cannot hold"),
        ("x.npz", npz_of_objects, "holds 'x', which holds pickled objects"),
        ("x.npz", npz_cut, "is not a .npz file, or is damaged"),
        ("x.npz", npz_of_text, "holds 'x', which is not a .npy file"),
        ("x.npz", lambda path: np.savez(path), "holds 0 arrays.*there are: none"),
        ("x.npz", lambda path: np.savez(path, x=X.astype(str)), "but numbers are needed"),
        ("x.npz", lambda path: np.savez(path, x=X * 1j), "but numbers, or text for labels, are needed"),
        ("x.safetensors", lambda path: path.write_bytes(b"no tensors"), "is not a .safetensors file"),
        ("x.mat", lambda path: path.write_bytes(b"no matrix"), "is not a MAT file"),
        ("x.odd", lambda path: path.write_bytes(b"PK"), "is of no known format; known are .csv"),
    ],
)
def test_file_of_arrays_that_is_refused(tmp_path, name, write, message):
    write(tmp_path / name)
    with pytest.raises(ValueError, match=message) as error:
        read_input(tmp_path / name)
    assert str(tmp_path / name) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["x.csv", "x.npz", "x.npy", "x.mat", "x.safetensors", "x.idx", "x"])
def test_file_that_is_absent(tmp_path, name):
    for load in (read_input, load_labels) if name == "x.csv" else (read_input, load_rows, load_labels):
        with pytest.raises(FileNotFoundError, match=name):
            load(tmp_path / name)


# MATLAB's files of version 7.3


# Which axis counts rows


CUBE = np.arange(4 * 3 * 2.0).reshape(4, 3, 2)


@pytest.mark.parametrize("ending", ["npy", "npz", "mat", "safetensors"])
def test_layouts_of_three_axes(tmp_path, ending):
    path = tmp_path / f"x.{ending}"
    arrays = {"cube": CUBE, "other": np.eye(2)}
    write = {
        "npy": lambda: np.save(path, CUBE),
        "npz": lambda: np.savez(path, **arrays),
        "mat": lambda: savemat(path, arrays),
        "safetensors": lambda: save_file(arrays, path),
    }
    write[ending]()
    expected = {
        "images-first": (CUBE.reshape(4, 6), (3, 2)),
        "images-last": (np.array([CUBE[:, :, place].ravel() for place in range(2)]), (4, 3)),
        "pixels": (np.array([CUBE[row, column] for row in range(4) for column in range(3)]), None),
        "windows": (CUBE.reshape(4, 6), None),
    }
    for layout, (rows, image_shape) in expected.items():
        found = read_input(path, layout=layout)
        np.testing.assert_array_equal(found.X, rows)
        assert (found.image_shape, found.layout, found.shape) == (image_shape, layout, (4, 3, 2))
        np.testing.assert_array_equal(load_rows(path, layout=layout).X, rows)
    usual = read_input(path, array=None if ending == "npy" else "cube")
    assert usual.layout == ("images-last" if ending == "mat" else "images-first")


def test_map_of_labels_beside_a_cube(tmp_path):
    truth = np.array([[0, 1, 2], [1, 1, 0], [2, 2, 0], [0, 0, 1]], np.uint8)
    savemat(tmp_path / "x.mat", {"cube": CUBE, "truth": truth, "column": truth.reshape(-1, 1)})
    savemat(tmp_path / "truth.mat", {"gt": truth, "palette": np.eye(5)})
    np.save(tmp_path / "truth.npy", np.asfortranarray(truth))
    for labels in ("truth", tmp_path / "truth.mat", tmp_path / "truth.npy"):
        rows = read_input(tmp_path / "x.mat", layout="pixels", labels=labels)
        assert rows.y.tolist() == [truth[row, column] for row in range(4) for column in range(3)]
    with pytest.warns(UserWarning, match=r"no map of 4 x 3, and are taken line by line; map\(:\) in MATLAB goes down"):
        read_input(tmp_path / "x.mat", layout="pixels", labels="column")
    np.save(tmp_path / "turned.npy", truth.T)
    with pytest.raises(ValueError, match=r"turned.npy has shape \(3, 4\), but a map of 4 x 3 pixels is needed"):
        read_input(tmp_path / "x.mat", layout="pixels", labels=tmp_path / "turned.npy")
    with pytest.raises(ValueError, match=r"has shape \(4, 3\), but labels need one axis"):
        read_input(tmp_path / "x.mat", array="cube", labels="truth")


def test_layout_that_does_not_fit(tmp_path, people):
    np.save(tmp_path / "four.npy", np.zeros((2, 3, 4, 5)))
    np.save(tmp_path / "two.npy", np.arange(6.0).reshape(2, 3))
    for path, layout, message in (
        (tmp_path / "four.npy", "pixels", r"shape \(2, 3, 4, 5\), but layout='pixels' needs height x width x bands"),
        (tmp_path / "four.npy", "rows", "layout='rows' must be one of images-first, images-last, pixels, windows"),
        (people, "pixels", "layout='pixels' cannot be used: .* is a table"),
        (tmp_path, "pixels", "layout='pixels' cannot be used: .* is a folder of images"),
    ):
        with pytest.raises(ValueError, match=message):
            read_input(path, layout=layout)
    assert read_input(tmp_path / "four.npy", layout="images-last").X.shape == (5, 24)
    with pytest.warns(UserWarning, match=r"layout='images-last' changes nothing: .* a matrix of 2 x 3, whose rows"):
        assert read_input(tmp_path / "two.npy", layout="images-last").X.tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize("ending", ["mat", "v7.3.mat", "npy", "npz", "txt", "sparse.mat"])
def test_matrix_of_features_by_samples(tmp_path, ending):
    """As MATLAB's trainAutoencoder takes it: the columns are the rows."""
    path = tmp_path / f"x.{ending}"
    write = {
        "mat": lambda: savemat(path, {"X": X.T, "y": Y}),
        "v7.3.mat": lambda: write_mat73(path, {"X": X.T, "y": Y}),
        "npy": lambda: np.save(path, X.T),
        "npz": lambda: np.savez(path, X=X.T, y=Y),
        "txt": lambda: np.savetxt(path, X.T),
        "sparse.mat": lambda: savemat(path, {"X": sparse.csc_matrix(X.T), "y": Y}),
    }[ending]
    write()
    rows = layerwise.read(path, transpose=True, labels=None if ending in ("npy", "txt") else "y")
    np.testing.assert_array_equal(rows.X.toarray() if sparse.issparse(rows.X) else rows.X, X)
    assert rows.y is None or rows.y.tolist() == Y.tolist()
    np.testing.assert_array_equal(load_rows(path, transpose=True).X.shape, X.shape)
    assert layerwise.read(path).X.shape == X.T.shape


def test_transpose_is_for_matrices_alone(tmp_path, people):
    np.save(tmp_path / "three.npy", np.zeros((2, 3, 4)))
    savemat(tmp_path / "wide.mat", {"X": X.T, "y": Y})
    for path, message in (
        (tmp_path / "three.npy", "transpose=True is for a matrix of features x samples, but .* an array of 2 x 3 x 4"),
        (people, "transpose=True cannot be used: .* is a table"),
        (tmp_path, "transpose=True cannot be used: .* is a folder of images"),
    ):
        with pytest.raises(ValueError, match=message):
            layerwise.read(path, transpose=True)
    with pytest.raises(ValueError, match=r"has 4 rows, but labels has 6; .*its columns are as many: add --transpose"):
        layerwise.read(tmp_path / "wide.mat", labels="y")
    savemat(tmp_path / "tall.mat", {"X": X, "y": Y})
    with pytest.raises(ValueError, match=r"has 4 rows, but labels has 6; .*read as it is: --no-transpose"):
        layerwise.read(tmp_path / "tall.mat", labels="y", transpose=True)
    savemat(tmp_path / "odd.mat", {"X": X[:, :3], "y": Y[:5]})
    with pytest.raises(ValueError, match=r"has 6 rows, but labels has 5; each row needs one$"):
        layerwise.read(tmp_path / "odd.mat", labels="y")


def test_parts_of_a_transposed_matrix(tmp_path):
    np.save(tmp_path / "part-0.npy", X[:2].T)
    np.save(tmp_path / "part-1.npy", X[2:].T)
    np.testing.assert_array_equal(layerwise.read(str(tmp_path / "part-*.npy"), transpose=True).X, X)


@pytest.mark.parametrize("ending", ["mat", "v7.3.mat", "sparse.mat", "npz", "npy"])
@pytest.mark.parametrize("by_column", [False, True])
def test_labels_as_ones_among_zeros(tmp_path, ending, by_column):
    """Classes count from 1 in the files of MATLAB, as vec2ind does, and from 0 in others."""
    classes = np.array([2, 0, 3, 0, 1, 2, 2])  # of five, the last of which does not occur
    T = np.eye(5)[classes].T if by_column else np.eye(5)[classes]
    rows, path = np.random.default_rng(0).random((7, 3)), tmp_path / f"x.{ending}"
    write = {
        "mat": lambda: savemat(path, {"X": rows, "T": T.astype(bool)}),
        "v7.3.mat": lambda: write_mat73(path, {"X": rows, "T": T}),
        "sparse.mat": lambda: savemat(path, {"X": rows, "T": sparse.csc_matrix(T)}),
        "npz": lambda: np.savez(path, X=rows, T=T.astype(np.uint8)),
        "npy": lambda: (np.save(path, T), np.save(tmp_path / "rows.npy", rows)),
    }[ending]
    write()
    first = 1 if "mat" in ending else 0
    counted = f"taken as one of the classes {first} to {first + 4}, as {'MATLAB' if first else 'numpy'}"
    side, named, alone = "column" if by_column else "row", ending != "npy", tmp_path / "rows.npy"
    with pytest.warns(UserWarning, match=f"are one-hot, and each {side} is {counted}"):
        found = layerwise.read(path, array="X", labels="T") if named else layerwise.read(alone, labels=path)
    assert found.y.tolist() == (classes + first).tolist()


def test_a_file_of_ones_among_zeros(tmp_path):
    """The only array of a file of labels needs no name."""
    savemat(tmp_path / "T.mat", {"T": np.eye(3)[[0, 2, 1, 1]].T})
    with pytest.warns(UserWarning, match="each column is taken as one of the classes 1 to 3"):
        assert load_labels(tmp_path / "T.mat").tolist() == [1, 3, 2, 2]
    for name, T in (("two", [[1, 1, 0], [0, 1, 0]]), ("none", [[0, 0, 0], [0, 1, 1]]), ("amounts", [[2, 0], [0, 1]])):
        np.save(tmp_path / f"{name}.npy", np.array(T))
        with pytest.raises(ValueError, match="labels need one axis: one label a row, or one 1 among zeros in each row"):
            load_labels(tmp_path / f"{name}.npy")
    np.save(tmp_path / "gap.npy", np.array([[1, np.nan], [0, 1], [1, 0]]))
    with pytest.raises(ValueError, match="labels need one axis"):
        load_labels(tmp_path / "gap.npy")


def test_cells_of_images_with_names_of_classes(tmp_path):
    """Like digitTrainCellArrayData, whose labels are ones among zeros, or cells of texts."""
    images = np.random.default_rng(0).random((5, 4, 3))
    cells, names = np.empty((1, 5), object), np.empty((5, 1), object)
    for place, image in enumerate(images):
        cells[0, place], names[place, 0] = image, "cat" if place % 2 else "horse"
    savemat(tmp_path / "x.mat", {"xTrain": cells, "t": np.eye(2)[[0, 1, 0, 1, 0]].T, "names": names})
    found = layerwise.read(tmp_path / "x.mat", array="xTrain", labels="names")
    np.testing.assert_array_equal(found.X, images.reshape(5, -1))
    assert found.image_shape == (4, 3)
    assert found.y.tolist() == ["horse", "cat", "horse", "cat", "horse"]
    with pytest.warns(UserWarning, match="one-hot, and each column is taken as one of the classes 1 to 2"):
        assert layerwise.read(tmp_path / "x.mat", array="xTrain", labels="t").y.tolist() == [1, 2, 1, 2, 1]


def test_mat_of_version_73(tmp_path):
    path = tmp_path / "x.mat"
    values = np.arange(24.0).reshape(2, 3, 4)
    write_mat73(path, {"a": values, "b": np.arange(3, dtype=np.int16).reshape(1, 3)})
    np.testing.assert_array_equal(load_mat(path, "a"), values)
    assert load_mat(path, "b").dtype == np.int16
    assert open_archive(path).shapes == {"a": (2, 3, 4), "b": (1, 3)}
    with pytest.raises(ValueError, match="holds 2 variables, so name must say"):
        load_mat(path)


def test_mat_of_version_73_that_is_refused(tmp_path):
    path = tmp_path / "x.mat"
    cases = [
        ({"x": np.zeros((9, 9)) + 1j}, "holds 'x' as complex128"),
        ({"x": np.zeros((999, 999))}, "which is more than max_bytes"),
    ]
    for variables, message in cases:
        write_mat73(path, variables)
        with pytest.raises(ValueError, match=message):
            load_mat(path, max_bytes=2**20)
    with h5py.File(path, "w") as file:
        file["elsewhere"] = h5py.ExternalLink("/etc/passwd", "/x")
        file["plain"] = np.eye(3)
        file.create_dataset("outside", (4,), "u1", external=[("/etc/passwd", 0, 4)])
    assert open_archive(path).shapes == {}
    with pytest.raises(ValueError, match="holds 'outside' as values in another file"):
        load_mat(path, "outside")
    write_mat73(path, {"x": np.array([0.0, 5.0])}, MATLAB_empty=1)
    assert load_mat(path).shape == (0, 5)


def write_parts73(file, place, value):
    """Write a value as MATLAB does with -v7.3: cells by reference, sparse matrices and structs as groups."""
    if isinstance(value, dict):
        item = file.create_group(place)
        item.attrs["MATLAB_class"] = np.bytes_("struct")
        for name, part in value.items():
            write_parts73(file, f"{place}/{name}", part)
    elif sparse.issparse(value):
        value = value.tocsc()
        item = file.create_group(place)
        item.attrs["MATLAB_class"], item.attrs["MATLAB_sparse"] = np.bytes_("double"), np.uint64(value.shape[0])
        for name, part in (("data", value.data), ("ir", value.indices), ("jc", value.indptr)):
            item[name] = part.astype(np.float64 if name == "data" else np.uint64)
    elif isinstance(value, list):
        references = np.empty((1, len(value)), h5py.ref_dtype)
        for number, part in enumerate(value):
            name = f"#refs#/{place.replace('/', '_')}{number}"
            write_parts73(file, name, part)
            references[0, number] = file[name].ref
        item = file.create_dataset(place, data=references, dtype=h5py.ref_dtype)
        item.attrs["MATLAB_class"] = np.bytes_("cell")
    else:
        text = isinstance(value, str)
        values = np.array([list(map(ord, value))], np.uint16) if text else np.atleast_2d(value)
        item = file.create_dataset(place, data=values.T)
        item.attrs["MATLAB_class"] = np.bytes_("char" if text else {"f": "double", "u": "uint8"}[values.dtype.kind])


def as_matlab(value):
    """Return a value as `savemat` takes it: a list is a column of cells."""
    if isinstance(value, dict):
        return {name: as_matlab(part) for name, part in value.items()}
    if not isinstance(value, list):
        return value
    cells = np.empty((len(value), 1), object)
    for place, part in enumerate(value):
        cells[place, 0] = as_matlab(part)
    return cells


@pytest.fixture(params=["v5", "v7.3"])
def matlab(request, tmp_path):
    """Return a function that writes variables into a MAT file of each version."""

    def write(**variables):
        path = tmp_path / "x.mat"
        if request.param == "v5":
            savemat(path, {name: as_matlab(value) for name, value in variables.items()}, do_compression=True)
            return path
        with h5py.File(path, "w", userblock_size=512) as file:
            for name, value in variables.items():
                write_parts73(file, name, value)
        return path

    return write


@pytest.mark.parametrize("kind", ["csr", "csc", "coo"])
def test_sparse_matrix_of_scipy(tmp_path, kind):
    dense = np.random.default_rng(0).random((9, 4)).astype(np.float32) * (np.arange(36).reshape(9, 4) % 3 == 0)
    sparse.save_npz(tmp_path / "x.npz", sparse.coo_matrix(dense).asformat(kind))
    X = load_rows(tmp_path / "x.npz").X
    assert X.format == "csr"
    assert X.dtype == np.float32
    np.testing.assert_array_equal(X.toarray(), dense)
    np.testing.assert_array_equal(read_input(tmp_path / "x.npz").X.toarray(), dense)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": np.array(b"dia")}, "is not CSR, CSC or COO; save it by its method tocsr"),
        ({"indices": np.array([0, 9], np.int32)}, "sparse matrix that is damaged"),
        ({"indptr": np.array([0, 2, 1], np.int32)}, "sparse matrix that is damaged"),
        ({"shape": np.array([2, 3, 4])}, "its shape is not two whole numbers"),
        ({"shape": np.array([2**60, 3])}, "which takes|LAYERWISE_MAX_BYTES"),
    ],
)
def test_sparse_matrix_of_scipy_that_is_refused(tmp_path, change, message):
    parts = {"format": np.array(b"csr"), "data": np.ones(2), "indices": np.array([0, 2], np.int32)}
    parts |= {"indptr": np.array([0, 1, 2], np.int32), "shape": np.array([2, 3])}
    np.savez(tmp_path / "x.npz", **(parts | change))
    with pytest.raises(FileError, match=message):
        load_rows(tmp_path / "x.npz")


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_names_match_however_their_accents_are_coded(tmp_path, ending):
    names = ["Länge", "Höhe", "Ärzte", "ключ й"]
    frame = pl.DataFrame([pl.Series(name, [place, 2, 4]) for place, name in enumerate(names)])
    path = tmp_path / f"x.{ending}"
    split = frame.rename({name: unicodedata.normalize("NFD", name) for name in names})
    read = []
    for table in (frame, split):
        getattr(table, f"write_{ending}")(path)
        for form in ("NFC", "NFD"):
            label, key, gone = (unicodedata.normalize(form, name) for name in ("Ärzte", "ключ й", "Höhe"))
            found = read_input(path, labels=label, id=key, ignore=gone)
            assert (found.y.tolist(), found.ids[key].tolist(), found.X.tolist()) == (
                [2, 2, 4],
                [3, 2, 4],
                [[0], [2], [4]],
            )
            read.append(found.encoder)
        for encoder in read:
            assert read_input(path, encoder=encoder).X.tolist() == [[0], [2], [4]]
            assert encoder.transform(table).tolist() == [[0], [2], [4]]


def test_sparse_matrix_of_matlab(matlab):
    dense = np.where(np.random.default_rng(0).random((9, 5)) < 0.3, 2.0, 0.0)
    path = matlab(X=sparse.csc_matrix(dense), y=np.arange(9.0))
    assert open_archive(path).shapes == {"X": (9, 5), "y": (1, 9)}
    rows = read_input(path, labels="y")
    assert rows.X.format == "csr"
    assert rows.X.dtype == np.float64
    np.testing.assert_array_equal(rows.X.toarray(), dense)
    assert rows.y.tolist() == list(range(9))
    codes = layerwise.Autoencoder(2, solver=layerwise.LBFGS(max_iter=2), random_state=0)
    np.testing.assert_allclose(codes.fit(rows.X).transform(rows.X), codes.fit(dense).transform(dense), rtol=1e-4)


def test_cells_and_structs_of_matlab(matlab):
    images = [np.arange(6.0).reshape(2, 3) + 10 * place for place in range(4)]
    path = matlab(
        data={"train": {"images": images, "kind": ["cat", "dog", "", "cow"]}, "rows": [image[0] for image in images]},
        note="made by hand",
        ragged=[np.eye(2), np.eye(3)],
    )
    shapes = open_archive(path).shapes
    assert shapes == {"data.train.images": (2, 3, 4), "data.train.kind": (4,), "data.rows": (4, 3)}
    rows = read_input(path, array="data.train.images", labels="data.train.kind")
    np.testing.assert_array_equal(rows.X, [image.reshape(-1) for image in images])
    assert rows.image_shape == (2, 3)
    assert rows.X.dtype == np.float64  # MATLAB stores doubles that are whole numbers as bytes
    assert rows.y.tolist() == ["cat", "dog", "", "cow"]
    np.testing.assert_array_equal(load_rows(path, "data.rows").X, [image[0] for image in images])
    with pytest.raises(ValueError, match=r"no array array='data'; .*'note' as char.*of different sizes"):
        load_rows(path, "data")
    with pytest.raises(ValueError, match=r"labels='ragged' is neither a file nor an array of .*2 x 2 and 3 x 3"):
        read_input(path, array="data.rows", labels="ragged")
    with pytest.raises(ValueError, match=r"holds 'data' as struct, but .*'data.train'"):
        load_mat(path, "data")


def test_parts_of_mat_files_that_are_refused(tmp_path):
    path = tmp_path / "x.mat"
    records = np.array([(1.0,), (2.0,)], dtype=[("a", "O")])
    savemat(path, {"x": {"z": as_matlab([1j, 2.0])}, "s": records})
    with pytest.raises(ValueError, match=r"holds 0 arrays.*'x.z' as complex128.*'s' as struct array of 1 x 2, .* save"):
        load_rows(path)
    with h5py.File(path, "w") as file:
        file["t"] = np.zeros((1, 6), np.uint32)
        file["t"].attrs["MATLAB_class"] = np.bytes_("string")
    with pytest.raises(ValueError, match=r"'t' as string, .* can be read by MATLAB alone; save cellstr\(t\)"):
        load_rows(path)


def test_mat_of_version_73_without_h5py(tmp_path, monkeypatch):
    (tmp_path / "h5py.py").write_text("raise ModuleNotFoundError")
    write_mat73(tmp_path / "x.mat", {"x": X})
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(ImportError, match=r"needs h5py: pip install 'layerwise\[matlab\]'"):
        load_mat(tmp_path / "x.mat")


# Folders of images


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4)
    for place, name in enumerate(
        ["dog/a.png", "cat/b.BMP", "cat/a.tif", ".hidden/a.png", "dog/.a.png", "cat/.hidden/a.png"]
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(grey + place).save(folder / name)
    return folder


def test_folder_of_images(pictures):
    rows = read_input(pictures, labels="class")
    assert rows.ids["file"].tolist() == ["cat/a.tif", "cat/b.BMP", "dog/a.png"]
    assert rows.y.tolist() == ["cat", "cat", "dog"]
    assert rows.image_shape == (3, 4)
    assert rows.X.dtype == np.uint8
    assert rows.X[:, 0].tolist() == [2, 1, 0]
    np.testing.assert_array_equal(rows.X[2], np.arange(12))


def test_one_colour_image_makes_all_colour(pictures):
    colour = np.random.default_rng(0).integers(0, 255, (3, 4, 3), dtype=np.uint8)
    Image.fromarray(colour).save(pictures / "z.png")
    rows = read_input(pictures)
    assert rows.image_shape == (3, 4, 3)
    np.testing.assert_array_equal(rows.X[-1].reshape(3, 4, 3), colour)
    np.testing.assert_array_equal(rows.X[0].reshape(3, 4, 3)[:, :, 1], rows.X[0].reshape(3, 4, 3)[:, :, 2])
    with pytest.raises(ValueError, match=r"labels='class' needs every image in a sub-folder .*, but z\.png is in none"):
        read_input(pictures, labels="class")


@pytest.mark.parametrize("image_shape", [(6, 5), (6, 5, 3)])
def test_images_are_resized(pictures, image_shape):
    Image.new("RGB", (9, 7), (255, 0, 0)).save(pictures / "dog" / "z.jpg", quality=95)
    with pytest.raises(
        ValueError, match=r"different sizes: a.tif is 3 x 4 and z.jpg 7 x 9; .*--image-shape HEIGHT WIDTH"
    ):
        read_input(pictures)
    rows = read_input(pictures, image_shape=image_shape)
    assert rows.image_shape == image_shape
    assert rows.X.shape == (4, np.prod(image_shape))
    expected = 76 if len(image_shape) == 2 else np.tile([254, 0, 0], 30)
    np.testing.assert_allclose(rows.X[-1].astype(float), expected, atol=2)


def test_photographs_stand_upright(tmp_path):
    """As Pillow's own exif_transpose turns them, in every format that can say so."""
    values = np.arange(6, dtype=np.uint8).reshape(2, 3)
    for turn in range(2, 10):
        exif = Image.Exif()
        exif[0x0112] = turn
        for ending, options in (("png", {}), ("tif", {}), ("webp", {"lossless": True})):
            folder = tmp_path / f"{turn}{ending}"
            folder.mkdir()
            Image.fromarray(np.dstack([values] * 3)).save(folder / f"x.{ending}", exif=exif, **options)
            with Image.open(folder / f"x.{ending}") as image:
                image.load()
                upright = np.asarray(ImageOps.exif_transpose(image))
            assert upright.shape == ((3, 2, 3) if 5 <= turn <= 8 else (2, 3, 3))
            assert np.array_equal(upright, np.dstack([values] * 3)) == (turn == 9)
            rows = read_input(folder)
            assert rows.image_shape == upright.shape
            np.testing.assert_array_equal(rows.X[0].reshape(upright.shape), upright)
            np.testing.assert_allclose(load_images(folder)[0] * 255, upright[:, :, 0], atol=1e-9)


def test_what_is_transparent_is_put_on_white(tmp_path):
    """A drawing whose colour channels are all 0, in the ways that a file can say where it is."""
    alpha = np.array([[0, 255, 51]], np.uint8)
    grey = Image.fromarray(np.zeros((1, 3), np.uint8))
    drawing = Image.merge("LA", (grey, Image.fromarray(alpha)))
    drawing.save(tmp_path / "a.png")
    drawing.convert("RGBA").save(tmp_path / "b.png")
    drawing.convert("RGBA").save(tmp_path / "c.webp", lossless=True, exact=True)
    expected = [255, 0, 204]
    for name in ("a.png", "b.png", "c.webp"):
        np.testing.assert_array_equal(load_image_folder(tmp_path, (1, 3)).X["abc".index(name[0])], expected)
    np.testing.assert_allclose(load_images(tmp_path)[0], [[1, 0, 0.8]])
    key = tmp_path / "key"
    key.mkdir()
    palette = Image.fromarray(np.array([[0, 1, 2]], np.uint8)).convert("P")
    palette.putpalette([0, 0, 0, 10, 20, 30, 255, 0, 0])
    palette.save(key / "a.png", transparency=0)
    palette.save(key / "b.gif", transparency=0)
    np.testing.assert_array_equal(read_input(key).X, [[255, 255, 255, 10, 20, 30, 255, 0, 0]] * 2)
    Image.fromarray(np.array([[0, 1, 2]], np.uint8)).save(tmp_path / "d.png", transparency=1)
    (tmp_path / "b.png").unlink()
    (tmp_path / "c.webp").unlink()
    (tmp_path / "key").rename(tmp_path / ".key")
    rows = read_input(tmp_path)
    assert rows.image_shape == (1, 3)
    assert rows.X[1].tolist() == [0, 255, 2]


def test_every_image_is_read_or_counted(pictures):
    (pictures / "dog" / "deep" / "deeper").mkdir(parents=True)
    grey = Image.fromarray(np.full((3, 4), 7, np.uint8))
    grey.save(pictures / "dog" / "deep" / "deeper" / "e.webp", lossless=True)
    Image.fromarray(np.full((3, 4), 9, np.uint8)).save(
        pictures / "dog" / "deep" / "d.gif", save_all=True, append_images=[grey]
    )
    (pictures / "dog" / "back").symlink_to(pictures)
    for name in ("notes.txt", "dog/a.svg", "cat/b.SVG", "cat/README"):
        (pictures / name).write_text("no image")
    with pytest.warns(UserWarning, match="images") as told:
        rows = read_input(pictures, labels="class")
    messages = [str(warning.message) for warning in told]
    assert len(messages) == 3
    assert "holds 4 files beside the 5 images, left out by the ending: 2 of .svg" in messages[0]
    assert "1 of 5 images have several frames or pages, such as d.gif; the first of each is read" in messages[1]
    assert "2 of 5 images lie deeper, such as dog/deep/d.gif" in messages[2]
    assert rows.ids["file"].tolist()[3:] == ["dog/deep/d.gif", "dog/deep/deeper/e.webp"]
    assert rows.y.tolist() == ["cat", "cat", "dog", "dog", "dog"]
    assert rows.X[3, 0] == 9
    assert rows.X[4, 0] == 7


@pytest.mark.parametrize("image_shape", [None, (3, 4), (3, 4, 3), (6, 8)])
def test_images_of_16_bits_keep_them(pictures, image_shape):
    values = np.array([[0, 1, 2, 4095]] * 3, np.uint16) * 16
    Image.fromarray(values).save(pictures / "z.png")
    Image.fromarray(values).save(pictures / "z.tif")
    rows = read_input(pictures, image_shape=image_shape)
    assert rows.X.dtype == np.float32
    assert rows.X.min() >= 0
    assert rows.X.max() <= 1
    for row in rows.X[-2:]:
        image = row.reshape(rows.image_shape)
        expected = values / 65535 if rows.X.shape[1] == 12 else None
        if image_shape == (3, 4, 3):
            expected = np.dstack([values / 65535] * 3)
        if expected is not None:
            np.testing.assert_allclose(image, expected, atol=1e-7)
    if image_shape == (3, 4):
        np.testing.assert_allclose(rows.X[2] * 255, np.arange(12), atol=1e-5)


def test_inks_and_palettes_are_colours(tmp_path):
    colour = Image.new("RGB", (16, 16), (200, 30, 60))
    colour.convert("CMYK").save(tmp_path / "a.tif")
    colour.convert("CMYK").save(tmp_path / "b.jpg", quality=95)
    colour.quantize(4).save(tmp_path / "c.png")
    colour.quantize(4).save(tmp_path / "d.bmp")
    rows = read_input(tmp_path)
    assert rows.image_shape == (16, 16, 3)
    np.testing.assert_allclose(rows.X.reshape(4, -1, 3).mean(axis=1), [[200, 30, 60]] * 4, atol=4)


@pytest.fixture
def scans(tmp_path):
    """Twelve images in two folders, whose order as text is 1, 10, 11, 12, 2."""
    for place in range(1, 13):
        folder = tmp_path / "scans" / "ab"[place % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((2, 2), place, np.uint8)).save(folder / f"{place}.png")
    return tmp_path / "scans"


@pytest.mark.parametrize(
    ("column", "names"),
    [
        ("image", "scans/{folder}/{place}.png"),
        ("image", "{folder}/{place}.png"),
        ("image", "{folder}\\{place}"),
        ("file name", "{place}.png"),
        ("key", "{place}"),
    ],
)
@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_labels_of_images_go_by_file_names(scans, tmp_path, column, names, ending):
    rows = [(names.format(folder="ab"[place % 2], place=place), place * 10, "x") for place in range(12, 0, -1)]
    table = pl.DataFrame(rows, schema=[column, "Label", "site"], orient="row")
    path = tmp_path / f"labels.{ending}"
    (table.write_csv if ending == "csv" else table.write_parquet)(path)
    found = read_input(scans, labels=path)
    assert found.y.tolist() == [10 * row[0] for row in found.X.tolist()]
    assert found.y.dtype == np.int64
    assert not np.array_equal(found.y, np.sort(found.y))


def test_table_of_labels_that_does_not_fit_the_images(scans, tmp_path):
    path = tmp_path / "labels.csv"

    def write(rows, head="file,label"):
        path.write_text("\n".join([head, *rows]) + "\n")

    rows = [f"{place}.png,{place % 3}" for place in range(1, 13)]
    write([*rows, "13.png,1", "14.png,1"])
    with pytest.warns(UserWarning, match=r"2 of 14 names in column 'file' are no images of .*, such as '13.png'"):
        assert read_input(scans, labels=path).y.tolist() == [
            int(name.split("/")[1][:-4]) % 3 for name in read_input(scans).ids["file"]
        ]
    write([*rows[:-1], "12.png,"])
    assert np.isnan(read_input(scans, labels=path).y).sum() == 1
    for lines, head, message in (
        (
            rows[2:],
            "file,label",
            r"2 of 12 images of .*scans are not in column 'file', such as 'a/2.png'; give each",
        ),
        ([*rows, "3.png,1"], "file,label", "column 'file' names '3.png' in rows 3 and 13; keep one"),
        (
            [f"x{row}" for row in rows],
            "file,label",
            r"none of its columns 'file', 'label' names the images of .*'a/10.p",
        ),
        (
            [f"{row},1" for row in rows],
            "file,one,two",
            "several columns could be labels: 'one', 'two'; call one of them",
        ),
    ):
        write(lines, head)
        with pytest.raises(ValueError, match=message) as error:
            read_input(scans, labels=path)
        assert str(path) in str(error.value)


def test_labels_by_position_warn_where_the_order_may_be_another(scans, tmp_path):
    (tmp_path / "y.csv").write_text("label\n" + "\n".join(map(str, range(12))) + "\n")
    with pytest.warns(
        UserWarning, match=r"by position, .*\(a/10.png, a/12.png, a/2.png\), not .*\(a/2.png, a/4.png, a/6"
    ):
        assert read_input(scans, labels=tmp_path / "y.csv").y.tolist() == list(range(12))
    for folder in "ab":
        for file in (scans / folder).iterdir():
            file.rename(file.with_name(f"{file.stem:0>2}.png"))
    assert read_input(scans, labels=tmp_path / "y.csv").y.tolist() == list(range(12))
    np.save(tmp_path / "y.npy", np.arange(11))
    with pytest.raises(ValueError, match="has 12 images, but labels has 11"):
        read_input(scans, labels=tmp_path / "y.npy")


def test_images_larger_than_memory(pictures, tmp_path):
    images = load_image_folder(pictures, memory=10, scratch=tmp_path)
    assert isinstance(images.X, np.memmap)
    np.testing.assert_array_equal(images.X, read_input(pictures).X)


def test_folder_that_is_refused(pictures, tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "a.svg").write_text("no image")
    with pytest.raises(FileNotFoundError, match=r"holds no image, .*; left out: 1 of .svg"):
        load_image_folder(tmp_path / "empty")
    for options, message in (
        ({"array": "x"}, "array='x' cannot be used: .* is a folder of images"),
        ({"labels": "y"}, "labels='y' is neither a file nor a label of .*, which has 'class'"),
        ({"image_shape": (3,)}, r"image_shape=\(3,\) must be \(height, width\)"),
        ({"image_shape": (3, 4, 4)}, "for colour"),
    ):
        with pytest.raises(ValueError, match=message):
            read_input(pictures, **options)
    Image.fromarray(np.zeros((3, 4), np.float32)).save(pictures / "dog" / "b.tif")
    with pytest.raises(ValueError, match=r"b\.tif cannot be read .*8 or 16 bits a value"):
        read_input(pictures)
    (pictures / "dog" / "b.tif").unlink()
    monkeypatch.setattr("layerwise.data.image_folder._MAX_VALUES", 11)
    with pytest.raises(ValueError, match=r"images of 3 x 4, 12 values each, more than a model can take; give image_s"):
        read_input(pictures)
    monkeypatch.undo()
    (pictures / "dog" / "b.png").write_text("no image")
    with pytest.raises(ValueError, match=r"b\.png cannot be read"):
        read_input(pictures)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5)
    with pytest.raises(ValueError, match="so many pixels"):
        read_input(pictures)
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match="pip install pillow"):
        read_input(pictures)


# What is missing


def test_description_of_missing_values():
    assert describe_missing(np.zeros((2, 3), np.uint8)) is None
    assert describe_missing(np.zeros((2, 3))) is None
    rows = np.zeros((9, 8), np.float32)
    rows[2:4, 1] = rows[5, 7] = np.nan
    assert (
        describe_missing(rows) == "2 of 8 columns have missing values: column 1 (2 of 9 rows), column 7 (1 of 9 rows)"
    )
    rows[:] = np.nan
    assert describe_missing(rows, list("abcdefgh")).endswith("d (9 of 9 rows), e (9 of 9 rows) and 3 more")


@pytest.mark.parametrize(
    "name",
    [
        "{folder}/{sub}/{k}.png",  # where it is
        "/elsewhere/pictures/{sub}/{k}.png",
        "C:\\data\\pictures\\{sub}\\{k}.png",
        "/elsewhere/{k}.png",
        "{sub}/{k}.PNG",
        "pictures/{sub}/{k}.Png",
    ],
)
def test_labels_by_whole_paths_and_endings_in_capitals(tmp_path, name):
    folder = tmp_path / "pictures"
    for k in range(6):
        (folder / "ab"[k % 2]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4, 4), 20 * k, np.uint8)).save(folder / "ab"[k % 2] / f"{k}.png")
    lines = [f"{name.format(folder=folder, sub='ab'[k % 2], k=k)},{'uv'[k % 3 == 0]}" for k in range(6)]
    (tmp_path / "labels.csv").write_text("\n".join(["picture,label", *lines]))
    found = read_input(folder, labels=tmp_path / "labels.csv")
    assert found.y.tolist() == ["uv"[int(file[2:-4]) % 3 == 0] for file in found.ids["file"]]


# Several files as one


MIXED = pl.DataFrame(
    {
        "key": ["p0", "p1", "p2", "p3", "p4", "p5"],
        "age": [31.0, None, 5.5, 8.0, 1.0, 2.0],
        "town": ["Bern", "Basel", None, "Bern", "Bern", "Chur"],
        "ill": [1, 0, 1, 1, 0, 0],
        "weight": [1.0, 2.0, 1.0, 0.5, 1.0, 3.0],
    }
)
NAMED = {"ids": "key", "labels": "ill", "sample_weight": "weight"}


def check_mixed(found, more=()):
    """What was read is `MIXED`, perhaps with other columns of numbers behind its own."""
    assert found.feature_names == ["age", *more, "town=Basel", "town=Bern", "town=Chur", "town=missing"]
    np.testing.assert_array_equal(found.X[:, 0], [31, np.nan, 5.5, 8, 1, 2])
    assert found.X[:, 1 + len(more) :].argmax(axis=1).tolist() == [1, 0, 3, 1, 1, 2]
    assert found.y.tolist() == [1, 0, 1, 1, 0, 0]
    assert found.ids["key"].tolist() == MIXED["key"].to_list()
    assert found.weights.tolist() == MIXED["weight"].to_list()
    assert found.label_name == "ill"


@pytest.mark.parametrize("ending", ["csv", "tsv.gz", "parquet", "feather"])
def test_parts_of_a_table_are_one(tmp_path, ending):
    paths = [tmp_path / f"part-{place}.{ending}" for place in range(3)]
    for place, path in enumerate(paths):
        part = MIXED[2 * place : 2 * place + 2]
        part = part.select(reversed(part.columns)) if place == 1 else part  # by name, not by place
        if ending == "tsv.gz":
            path.write_bytes(gzip.compress(part.write_csv(separator="\t").encode()))
        else:
            getattr(part, {"csv": "write_csv", "parquet": "write_parquet"}.get(ending, "write_ipc"))(path)
    for where in (tmp_path / f"part-*.{ending}", str(tmp_path / f"p*[0-9].{ending}"), paths, tmp_path):
        check_mixed(layerwise.read(where, **NAMED))
    backwards = layerwise.read(paths[::-1], **NAMED)
    assert backwards.ids["key"].tolist() == ["p4", "p5", "p2", "p3", "p0", "p1"]
    assert layerwise.read(paths[0], ids="key").feature_names == ["age", "town=Bern", "ill", "weight"]


def test_type_of_a_column_is_that_of_all_parts(tmp_path):
    (tmp_path / "a.csv").write_text("x,y,z\n1,true,9007199254740993\n")
    (tmp_path / "b.csv").write_text("x,y,z\nred,false,9007199254740995\n")
    found = layerwise.read([tmp_path / "a.csv", tmp_path / "b.csv"], labels="z")
    assert found.feature_names == ["x=red", "y"]
    assert found.X.tolist() == [[0, 1], [1, 0]]
    assert found.y.tolist() == [2**53 + 1, 2**53 + 3]
    pl.DataFrame({"x": [1, 2]}).write_parquet(tmp_path / "a.parquet")
    pl.DataFrame({"x": [0.5, None]}).write_parquet(tmp_path / "b.parquet")
    pl.DataFrame({"x": [None]}).write_parquet(tmp_path / "c.parquet")
    np.testing.assert_array_equal(layerwise.read(tmp_path / "*.parquet").X[:, 0], [1, 2, 0.5, np.nan, np.nan])


def test_folder_as_spark_and_dask_write_it(tmp_path):
    for place, (year, kind) in enumerate([("2023", "a%20b"), ("2023", "c"), ("2024", "__HIVE_DEFAULT_PARTITION__")]):
        folder = tmp_path / "rows.parquet" / f"year={year}" / f"kind={kind}"
        folder.mkdir(parents=True)
        MIXED[2 * place : 2 * place + 2].write_parquet(folder / f"part-0000{place}.snappy.parquet")
        (folder / f".part-0000{place}.snappy.parquet.crc").write_bytes(b"crc")
    MIXED.clear().write_parquet(tmp_path / "rows.parquet" / "part-9.snappy.parquet")
    for name in ("_SUCCESS", "_metadata", "_common_metadata"):
        (tmp_path / "rows.parquet" / name).write_bytes(b"no table")
    with pytest.raises(FileError, match=r"part-9\.snappy\.parquet has no column '(year|kind)', which .*part-00000"):
        layerwise.read(tmp_path / "rows.parquet")
    (tmp_path / "rows.parquet" / "part-9.snappy.parquet").unlink()
    (tmp_path / "rows.parquet" / "year=2024" / "kind=c").mkdir()
    MIXED.clear().write_parquet(tmp_path / "rows.parquet" / "year=2024" / "kind=c" / "part-9.parquet")  # as Spark does
    found = layerwise.read(tmp_path / "rows.parquet", ignore="kind", **NAMED)
    check_mixed(found, ["year"])
    assert found.X[:, 1].tolist() == [2023] * 4 + [2024] * 2
    kinds = layerwise.read(tmp_path / "rows.parquet", labels="kind").y
    assert kinds.tolist() == ["a b", "a b", "c", "c", None, None]
    (tmp_path / "csv" / "k=5").mkdir(parents=True)
    (tmp_path / "csv" / "k=0x").mkdir()
    (tmp_path / "csv" / "k=5" / "1.csv").write_text("a\n1\n")
    (tmp_path / "csv" / "k=0x" / "1.csv").write_text("a\n2\n")
    assert layerwise.read(tmp_path / "csv", ids="k").ids["k"].tolist() == ["0x", "5"]


def test_a_table_beside_images_makes_no_table_of_their_folder(pictures):
    (pictures / "labels.csv").write_text("file,label\ncat/a.tif,1\ncat/b.BMP,2\ndog/a.png,3\n")
    with pytest.warns(UserWarning, match=r"left out by the ending: 1 of \.csv"):
        assert layerwise.read(pictures, labels=pictures / "labels.csv").y.tolist() == [1, 2, 3]


def test_parts_that_do_not_agree(tmp_path):
    for name, text in {
        "a.csv": "x,y\n1,2\n",
        "b.csv": "x,z\n1,2\n",
        "c.csv": "x\n1\n",
        "d.csv": "x,y,w\n1,2,3\n",
        "e.csv": "x;y\n1;2\n",
        "f.csv": "x,y\n1,2\n3\n",
    }.items():
        (tmp_path / name).write_text(text)
    pl.DataFrame({"x": [1], "y": [2]}).write_parquet(tmp_path / "a.parquet")
    pl.DataFrame({"x": [1], "y": ["2"]}).write_parquet(tmp_path / "b.parquet")
    np.save(tmp_path / "a.npy", np.eye(2))
    np.save(tmp_path / "b.npy", np.eye(3))
    (tmp_path / "f1").mkdir()
    (tmp_path / "f2").mkdir()
    for names, message in (
        ("a.csv b.csv", r"b\.csv has no column 'y', which .*a\.csv has; the parts of one table need the same columns"),
        ("a.csv c.csv", r"c\.csv has no column 'y', which .*a\.csv has"),
        ("a.csv d.csv", r"a\.csv has no column 'w', which .*d\.csv has"),
        ("a.csv e.csv", r"e\.csv and .*a\.csv do not separate their values alike"),
        ("a.csv f.csv", r"f\.csv has 1 value in line 3, but its first line names 2 columns"),
        ("a.csv a.parquet", r"a\.parquet and .*a\.csv do not separate"),
        ("a.parquet b.parquet", r"b\.parquet holds column 'y' as String, but .*a\.parquet as Int64; .*the same types"),
        ("a.csv a.npy", r"a\.npy is not of the kind of .*a\.csv; several files are parts of one table or array"),
        ("a.npy b.npy", r"b\.npy has rows of 3 values, but .*a\.npy of 2; the parts of one array need the same colum"),
        ("a.csv a.csv", r"a\.csv is named twice"),
        ("f1 f2", r"f2 is one of 2 folders, but images are read from one folder alone"),
        ("", "no file is named"),
    ):
        with pytest.raises(ValueError, match=message) as error:
            layerwise.read([tmp_path / name for name in names.split()])
        assert "\n" not in str(error.value)
    for where in ([tmp_path / "a.csv", tmp_path / "absent.csv"], tmp_path / "absent-*.csv"):
        with pytest.raises(FileNotFoundError, match=r"absent.*\.csv is not there|no file fits .*absent-\*\.csv"):
            layerwise.read(where)
    np.save(tmp_path / "y.npy", np.arange(3))
    (tmp_path / "g.csv").write_text("x,y\n1,2\n")
    with pytest.raises(ValueError, match=r"a\.csv and 1 more file has 2 rows, but labels has 3; each row needs one"):
        layerwise.read([tmp_path / "a.csv", tmp_path / "g.csv"], labels=tmp_path / "y.npy")


@pytest.mark.parametrize("ending", ["npy", "npz", "mat", "idx", "txt"])
def test_parts_of_an_array_are_one(tmp_path, ending):
    x, y = np.arange(24.0).reshape(6, 4).astype(np.uint8), np.array([0, 1, 1, 0, 2, 2], np.uint8)
    for place in range(3):
        path, rows = tmp_path / f"{place}.{ending}", slice(2 * place, 2 * place + 2)
        arrays = {"data": x[rows], "y": y[rows], "row": np.arange(6)[rows], "w": (1.0 + y)[rows]}
        if ending == "idx":
            path.write_bytes(struct.pack(">HBBII", 0, 8, 2, 2, 4) + x[rows].tobytes())
        elif ending == "txt":
            np.savetxt(path, x[rows])
        else:
            write = {"npy": partial(np.save, path, x[rows]), "npz": partial(np.savez, path, **arrays)}
            write.get(ending, partial(savemat, path, arrays))()
    named = {"array": "data", "labels": "y", "ids": "row", "sample_weight": "w"} if ending in ("npz", "mat") else {}
    found = layerwise.read(tmp_path / f"*.{ending}", **named)
    np.testing.assert_array_equal(found.X, x)
    assert found.X.dtype == (np.float64 if ending == "txt" else np.uint8)
    if named:
        assert (found.y.tolist(), found.ids["row"].tolist(), found.weights.tolist()) == (
            y.tolist(),
            list(range(6)),
            (1.0 + y).tolist(),
        )
    mapped = layerwise.read(tmp_path / f"*.{ending}", **named, memory=4, scratch=tmp_path)
    assert isinstance(mapped.X, np.memmap)
    np.testing.assert_array_equal(mapped.X, x)


def test_parts_that_are_sparse_are_one(tmp_path):
    dense = np.diag(np.arange(1.0, 5))
    for place in range(2):
        sparse.save_npz(tmp_path / f"{place}.npz", sparse.csr_matrix(dense[2 * place : 2 * place + 2]))
    found = layerwise.read(tmp_path / "*.npz").X
    assert found.format == "csr"
    np.testing.assert_array_equal(found.toarray(), dense)


# Opened once


def test_csv_is_parsed_once(tmp_path, passes):
    """Its bytes are looked through for rows that never end, and parsed; whatever else is asked reads neither again."""
    frame = pl.concat([MIXED] * 500).with_columns(flag=pl.col("ill") == 1, whole=pl.lit(2**60))
    frame.write_csv(tmp_path / "x.csv")
    looked, parsed = passes
    found = layerwise.read(tmp_path / "x.csv", **NAMED)
    assert (len(looked), sum(parsed)) == (1, 3000)
    assert found.X.shape == (3000, 7)
    parsed.clear()
    kept = layerwise.read(tmp_path / "x.csv", **NAMED, memory=100, scratch=tmp_path)
    assert (len(looked), sum(parsed)) == (2, 3000)
    np.testing.assert_array_equal(kept.X, found.X.astype(np.float32))
    assert [kept.y.tolist(), kept.ids["key"].tolist()] == [found.y.tolist(), found.ids["key"].tolist()]
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".csv", ".npy"]  # text that was kept is gone


def test_separators_and_ends_of_rows_within_quotes_are_parts_of_values(tmp_path):
    """As the module csv splits them, wherever a block of the file ends."""
    rows = [["a, b", "c"], ['say "x,y"', "1\n2,3"], ["", "plain"], ['"', "\n"]]
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows([["p", "q"], *rows])
    content = text.getvalue().encode()
    (tmp_path / "x.csv").write_bytes(content)
    assert csv_tables.check_lines(tmp_path / "x.csv") == 1 + len(rows)
    for size in range(1, len(content) + 1):
        found, quoted, last = 0, False, 0
        for start in range(0, len(content), size):
            end, count, quoted = csv_tables._look(content[start : start + size], b",", quoted)
            found, last = found + count, start + end if end else last
        assert (found, last, quoted) == (1 + len(rows), len(content), False), size


def test_what_stands_for_nothing_is_no_number_though_it_reads_as_one(tmp_path):
    """NaN as people write it is missing; whole numbers beside it stay whole, and other spellings are NaN."""
    columns = {
        "plain": ["1", "2.5", "-"],
        "gap": ["1", "nan", "3"],
        "whole": ["9007199254740993", "NaN", "9007199254740992"],
        "large": ["1e300", "nan", "2"],
        "other": ["1", "Nan", "inf"],
        "flag": ["True", "NA", "false"],
        "text": ["1", "x", "nan"],
        "nothing": ["NA", "", "?"],
    }
    pl.DataFrame(columns).write_csv(tmp_path / "x.csv")
    table = scan_table(tmp_path / "x.csv").collect()
    assert [str(dtype) for dtype in table.dtypes] == [
        *("Float64", "Float64", "Int64", "Float64", "Float64", "Boolean", "String", "Float64")
    ]
    assert table["gap"].to_list() == [1.0, None, 3.0]
    assert table["whole"].to_list() == [9007199254740993, None, 9007199254740992]
    assert table["large"].to_list() == [1e300, None, 2.0]
    assert np.isnan(table["other"][1])
    assert table["flag"].to_list() == [True, None, False]
    assert table["nothing"].null_count() == 3


@pytest.mark.parametrize("n_files", [1, 2])
def test_mat_is_read_by_one_process(tmp_path, monkeypatch, n_files):
    for place in range(n_files):
        arrays = {"X": X + place, "y": Y, "w": np.ones(6), "key": np.arange(6.0), "s": sparse.csc_matrix(np.eye(6))}
        savemat(tmp_path / f"{place}.mat", arrays)
    started = []
    original = reading_process.subprocess.Popen
    monkeypatch.setattr(
        reading_process.subprocess, "Popen", lambda *args, **options: started.append(1) or original(*args, **options)
    )
    found = layerwise.read(tmp_path / "*.mat", array="X", labels="y", ids="key", sample_weight="w")
    assert len(started) == n_files
    np.testing.assert_array_equal(found.X, np.concatenate([X + place for place in range(n_files)]))
    assert found.y.tolist() == Y.tolist() * n_files
    archive = open_archive(tmp_path / "0.mat")
    np.testing.assert_array_equal(archive.load("s").toarray(), np.eye(6))
    np.testing.assert_array_equal(archive.load("X"), X)  # not as sparse as what was asked for before
    with pytest.raises(FileError, match="holds no variable name='absent'"):
        archive.load("absent")
    assert archive.load("y").tolist() == [Y.tolist()]


def test_source_answers_from_its_header(people, tmp_path):
    source = open_source(people)
    people.unlink()
    assert (source.names, source.kind) == (["id", "age", "town", "class"], "a table")
    people.write_text(CSV)
    assert source.n_rows == 3
    assert source.labels("class").tolist() == ["a", None, "b"]
    assert list(source.ids(["id"])) == ["id"]
    assert source.rows().X.shape == (3, 7)
    np.savez(tmp_path / "x.npz", X=X, y=Y)
    source = open_source(tmp_path / "x.npz")
    assert source.names == {"X": (6, 4), "y": (6,)}
    assert (source.n_rows, source.labels("y").tolist()) == (6, Y.tolist())
    with pytest.raises(ValueError, match="is open already; name a part of it when it is opened"):
        layerwise.read(source, array="X")
    found = layerwise.read(open_source(tmp_path / "x.npz", Section(array="X")), labels="y")
    np.testing.assert_array_equal(found.X, X)


# Plain text


@pytest.mark.parametrize(
    "options", [{}, {"header": "a b c"}, {"delimiter": ","}, {"delimiter": "\t"}, {"fmt": "%9.4f"}]
)
@pytest.mark.parametrize("name", ["x.txt", "x.dat", "x.txt.gz"])
def test_numbers_of_numpy_as_text(tmp_path, name, options):
    values = np.random.default_rng(0).normal(size=(7, 3)).round(4)
    values[2, 1] = np.nan
    np.savetxt(tmp_path / name, values, **options)
    found = layerwise.read(tmp_path / name)
    np.testing.assert_allclose(found.X, values)
    assert (found.encoder, found.feature_names) == (None, None)
    np.testing.assert_allclose(load_rows(tmp_path / name).X, values)
    np.savetxt(tmp_path / f"y{name}", [3, 1, 2, 1, 1, 0, 0], fmt="%d")
    assert layerwise.read(tmp_path / name, labels=tmp_path / f"y{name}").y.tolist() == [3, 1, 2, 1, 1, 0, 0]


@pytest.mark.parametrize("separator", [" ", "\t", ","])
@pytest.mark.parametrize("row_names", [True, False])
def test_tables_of_r(tmp_path, separator, row_names):
    """As write.table writes them: the column of row names has no name, not even an empty one."""
    lines = ['"length"', '"kind of it"', '"n"'], ["5.1", '"a b"', "1"], ["NA", '"c"', "2"], ["4", "NA", "3"]
    names = [[], ['"1"'], ['"2"'], ['"x y"']] if row_names else [[]] * 4
    text = "\n".join(separator.join([*name, *line]) for name, line in zip(names, lines, strict=True)) + "\n"
    (tmp_path / "x.txt").write_text(text)
    found = layerwise.read(tmp_path / "x.txt", labels="n")
    assert found.feature_names == ["length", "kind of it=NA", "kind of it=a b", "kind of it=c"]
    np.testing.assert_array_equal(found.X, [[5.1, 0, 1, 0], [np.nan, 0, 0, 1], [4, 1, 0, 0]])
    assert [*found.ids] == ([""] if row_names else [])
    assert found.y.tolist() == [1, 2, 3]
    (tmp_path / "x.txt").write_text(text + separator.join(["9"] * (2 + row_names)) + "\n")
    with pytest.raises(FileError, match=r"x\.txt has . values in line 5, but its first line names"):
        layerwise.read(tmp_path / "x.txt")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a   b\n1   2\n", r"columns that are filled up with blanks; .*sed"),
        ("a b\n1  2\n", "filled up with blanks"),
        ("1 2\n3 x\n", r"holds 'x' in row 2 of its numbers .*; write nan for what is missing, or name the columns"),
        ("# by hand\n1,2\n3,\n", "holds '' in row 2 of its numbers"),
        ("1 2\n3 4 5\n", "cannot be read as rows of numbers .*row 2"),
        ("1 2\n3 4\n" * 9 + "NA 3\n", "holds 'NA' in row 19"),
        pytest.param("1 2\n" * 270_000 + "3\n", "cannot be read as rows of numbers .*row 270001;", id="late"),
        ("", "is empty"),
        ("# nothing\n", "but no rows"),
    ],
)
def test_text_that_is_refused(tmp_path, text, message):
    (tmp_path / "x.txt").write_text(text)
    with pytest.raises(FileError, match=message) as error:
        layerwise.read(tmp_path / "x.txt")
    assert str(tmp_path / "x.txt") in str(error.value)
    assert "\n" not in str(error.value)
