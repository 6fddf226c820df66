"""Tables: what a CSV file holds, and what the encoder makes of a data frame."""

import gzip
import json
import string
import sys
import warnings
from datetime import date, timedelta
from decimal import Decimal
from itertools import pairwise

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from layerwise import FileError
from layerwise.data import TableEncoder, read_input, scan_table

PEOPLE = pl.DataFrame(
    {
        "town": ["Bern", None, "Basel", "Bern"],
        "age": [31, 28, None, 40],
        "ill": [True, False, None, True],
        "size": [1.7, float("nan"), 1.6, 1.8],
    }
)


def table_of(path, content, **options):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return scan_table(path, **options).collect()


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        ("a,b\n1,x\n2,y\n", [(1, "x"), (2, "y")]),
        ("a,b\n1,x\n2,y", [(1, "x"), (2, "y")]),
        ("\n\na,b\r\n1,x\r\n", [(1, "x")]),
        ("\ufeffa,b\n1,é\n", [(1, "é")]),
        ("a;b\n1;x,y\n", [(1, "x,y")]),
        ("a|b\n1|x\n", [(1, "x")]),
        ("a, b\n 1 , x \n", [(1, "x")]),
        ('a,b\n"1","x ""y"",\nz"\n', [(1, 'x "y",\nz')]),
        ("a,b\n1,\n2,y\n", [(1, None), (2, "y")]),
        ("a,b\n?,NA\n1, null\nnan,None\n2,z\n", [(None, "NA"), (1, "null"), (None, "None"), (2, "z")]),
        (
            "a,b\n.,x\n-,-\n3,?\n#DIV/0!,\\N\n\\N,unknown\n",
            [(None, "x"), (None, "-"), (3, "?"), (None, "\\N"), (None, "unknown")],
        ),
        ("a,b\ninf,1e3\n-Inf,.5\n", [(np.inf, 1000), (-np.inf, 0.5)]),
        ("a,b\n1,True\n,false\n", [(1, True), (None, False)]),
        ("a,b\n1,true\n2,yes\n", [(1, "true"), (2, "yes")]),
        ("a,b\n1,2\n3,\n\n\n", [(1, 2), (3, None)]),
        ("a,b\n1,2\n,\n", [(1, 2), (None, None)]),
        ("a\n1\n\n2\n", [(1,), (None,), (2,)]),
        ("a,b\n,1\n,2\n", [(None, 1), (None, 2)]),
        (",a,b\n0,1,x\n1,2,y\n", [(0, 1, "x"), (1, 2, "y")]),
        ("400.5,401,type\n1,2,x\n", [(1, 2, "x")]),
        ("type,4000,3998.5,20\nx,1,2,.5\n", [("x", 1, 2, 0.5)]),
        ("a;b\n3,14;x\n-,5;y\n2;z\n;1,5\n", [(3.14, "x"), (-0.5, "y"), (2, "z"), (None, "1,5")]),
        ("a;b\n1,234;1.5\n1,5e3;2\n", [(1.234, 1.5), (1500, 2)]),
        ("a\tb\n3,14\t0,125\n2\t2,5\n", [(3.14, 0.125), (2, 2.5)]),
        ("a\tb\n1,234\t1\n2,5\t2\n", [("1,234", 1), ("2,5", 2)]),
        ('a,b\n"3,14",1\n', [("3,14", 1)]),
        ("a;b\n1,5;5.620\n2;12.5\n", [(1.5, 5.62), (2, 12.5)]),
        ("a;b\n1,5;0.620\n2;12\n", [(1.5, 0.62), (2, 12)]),
        ("a;b\n1.5;5.620\n2;12\n", [(1.5, 5.62), (2, 12)]),
    ],
)
def test_what_a_csv_file_holds(tmp_path, content, rows):
    assert table_of(tmp_path / "x.csv", content).rows() == rows
    assert table_of(tmp_path / "x.CSV.gz", gzip.compress(content.encode(), mtime=0)).rows() == rows


def test_type_of_a_column_is_decided_by_all_its_values(tmp_path):
    content = "a,b\n" + "1,2\n" * 20_000 + "1,x\n"
    assert table_of(tmp_path / "x.csv", content).dtypes == [pl.Float64, pl.String]


def test_columns_that_shall_stay_text(tmp_path):
    table = table_of(tmp_path / "x.tsv", "code\tn\n007\t1\ntrue\t2\n", text=["code", "absent"])
    assert table.to_dict(as_series=False) == {"code": ["007", "true"], "n": [1, 2]}


def test_columns_of_any_name(tmp_path):
    assert table_of(tmp_path / "x.csv", 'self,"a\nb",*,^x$\n1,2,3,4\n').columns == ["self", "a\nb", "*", "^x$"]


@pytest.mark.parametrize("name", ["x[1].csv", "x*.parquet", "ü x.feather", "x.arrow"])
def test_names_of_files_are_no_patterns(tmp_path, name):
    write = {"csv": "write_csv", "parquet": "write_parquet"}.get(name.split(".")[1], "write_ipc")
    frame = pl.DataFrame({"a": [1.0, 2.0]})
    getattr(frame, write)(tmp_path / name)
    assert_frame_equal(scan_table(tmp_path / name).collect(), frame)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.csv", b"", "is empty"),
        ("x.csv", b"\n\n \n", "is empty"),
        ("x.csv", b"a,b\n", "but no rows"),
        ("x.csv", b"a,b\n\n\n", "but no rows"),
        ("x.csv", b"a,b,a\n1,2,3\n", "has two columns called 'a'.*add one with names"),
        ("x.csv", b"a,,b\n1,2,3\n", "has no name for column 2"),
        ("x.csv", b"5.1,3.5,1.4,setosa\n4.9,3,1.4,setosa\n", "has numbers in its first line"),
        ("x.csv", b"a,b\n1,2\n3\n4,\n", "has 1 value in line 3, but its first line names 2 columns"),
        ("x.csv", b"a,b\n1,2\n3,4,5\n", "has 3 values in line 3"),
        ("x.csv", b"a,b\n1,2\n\n3,4\n", "has 0 values in line 3"),
        ("x.csv", b'a,b\n"1,2\n3,4\n', "x.csv"),
        ("x.csv", b'a,b\n1,2"x\n3,4"\n5,6\n', "cannot be read as CSV"),
        ("x.csv", b"a,b\r1,2\r", "cannot be read as names"),
        ("x.csv", b"a,b\n1\0,2\n", "bytes that are not text"),
        ("x.csv", "a,b\n1,2\n".encode("utf-16"), r"is text in UTF-16; .*: iconv -f utf-16 -t utf-8 OLD\.csv > NEW"),
        ("x.csv", "\ufeffa,b\n1,2\n".encode("utf-16-be"), "is text in UTF-16"),
        ("x.csv.gz", gzip.compress("a,b\n1,2\n".encode("utf-16"), mtime=0), "is text in UTF-16"),
        ("x.csv", "a,b\n1,2\n".encode("utf-16-le"), "bytes that are not text"),
        ("x.csv", "é,b\n1,2\n".encode("latin-1"), "not text in UTF-8 .*: iconv -f cp1252 -t utf-8"),
        ("x.csv", "a,b\n1,é\n".encode("latin-1"), "not text in UTF-8"),
        ("x.csv", b"a;b;c\n;1,5;5.620\n?;2;12\n", "commas, as in column 'b', but column 'c' .*thousands dots .'5.620'"),
        ("x.csv", b"a\tb\tc\n1,5\t1\t2.345.678\n2\t-1.000\t9\n", "columns 'b', 'c' look .*'-1.000', '2.345.678'"),
        ("x.csv", bytes(range(256)) * 9, "not text in UTF-8"),
        ("x.csv.gz", b"a,b\n1,2\n", "gzip data cannot be read"),
        ("x.csv.gz", gzip.compress(b"a,b\n" + b"1,2\n" * 999, mtime=0)[:-9], "gzip data cannot be read"),
        ("x.parquet", b"", "cannot be read as Parquet"),
        ("x.parquet", b"PAR1 not PAR1", "cannot be read as Parquet"),
        ("x.feather", b"ARROW1 not", "cannot be read as Feather"),
        ("x.arrow", b"", "cannot be read as Feather or Arrow IPC"),
    ],
)
def test_table_that_is_refused(tmp_path, name, content, message):
    with pytest.raises(ValueError, match=message) as error:
        table_of(tmp_path / name, content)
    assert str(tmp_path / name) in str(error.value)
    assert "\n" not in str(error.value)


def test_table_without_rows_or_file(tmp_path):
    pl.DataFrame({"a": []}).write_parquet(tmp_path / "x.parquet")
    pl.DataFrame().write_parquet(tmp_path / "y.parquet")
    for name in ("x", "y"):
        with pytest.raises(ValueError, match="without rows"):
            scan_table(tmp_path / f"{name}.parquet")
    with pytest.raises(FileNotFoundError, match="is not there"):
        scan_table(tmp_path / "absent.csv")


# The encoder


def test_encoder_of_numbers_and_text():
    encoder = TableEncoder().fit(PEOPLE)
    names = ["age", "ill", "size", "town=Basel", "town=Bern", "town=missing"]
    assert encoder.get_feature_names_out().tolist() == names
    assert encoder.get_feature_columns() == ["age", "ill", "size", "town", "town", "town"]
    assert encoder.n_features_in_ == 4
    expected = [[31, 1, 1.7, 0, 1, 0], [28, 0, np.nan, 0, 0, 1], [np.nan, np.nan, 1.6, 1, 0, 0], [40, 1, 1.8, 0, 1, 0]]
    rows = encoder.transform(PEOPLE)
    np.testing.assert_array_equal(rows, expected)
    assert rows.dtype == np.float64
    assert rows.flags.c_contiguous
    assert rows.flags.writeable


def test_names_that_columns_and_values_would_share_are_told_apart():
    table = pl.DataFrame(
        {
            "k": ["x", "y=z", "v"],
            "k=y": ["z", "w", "v"],
            "k=x": [5.0, 6, 7],
            "k=x (2)": [1.0, 1, 2],
            "f": ["a", "b", "a"],
        }
    )
    table = table.with_columns(pl.Series("f=b", [1.0, 2, 2]))
    encoder = TableEncoder().fit(table)
    names = encoder.get_feature_names_out().tolist()
    texts = ["k=v", "k=x (3)", "k=y=z", "k=y=v", "k=y=w", "k=y=z (2)"]
    assert names == ["k=x", "k=x (2)", "f=b (2)", "f=b", *texts]
    assert encoder.transform(table)[1].tolist() == [6, 1, 1, 2, 0, 0, 1, 0, 1, 0]
    assert_frame_equal(encoder.inverse_transform(encoder.transform(table)), table)


@pytest.mark.parametrize(
    ("values", "numbers", "categories"),
    [
        (pd.Categorical([3, 1, None, 3]), [], ["1", "3", "missing"]),
        (pd.Categorical(["b", "a", "b", "c"], ordered=True), [], ["a", "b", "c"]),
        (pd.cut([1, 4, 19, 2], [0, 3, 10, 20]), [], ["(0, 3]", "(10, 20]", "(3, 10]"]),
        (pd.array(pd.interval_range(0, 4)), [], ["(0, 1]", "(1, 2]", "(2, 3]", "(3, 4]"]),
        (pd.Series([1, 2.5, None, np.int8(4)], dtype=object), [1, 2.5, np.nan, 4], None),
        (pd.Series([Decimal("0.5"), True, np.float32(2), pd.NA], dtype=object), [0.5, 1, 2, np.nan], None),
    ],
)
def test_columns_of_pandas_that_are_categories_or_objects(values, numbers, categories):
    frame = pd.DataFrame({"x": values})
    encoder = TableEncoder().fit(frame)
    assert encoder.categories_ == ({} if categories is None else {"x": categories})
    rows = encoder.transform(frame)
    if categories is None:
        np.testing.assert_array_equal(rows[:, 0], numbers)
    else:
        texts = frame["x"].astype(object).map(str, na_action="ignore").fillna("missing")
        assert [categories[place] for place in rows.argmax(axis=1)] == texts.tolist()


def test_encoder_takes_data_frames_of_pandas():
    frame = pd.DataFrame(
        {
            "town": ["Bern", None, "Basel", "Bern"],
            "age": pd.array([31, 28, None, 40], dtype="Int64"),
            "ill": pd.array([True, False, None, True], dtype="boolean"),
            "size": [1.7, np.nan, 1.6, 1.8],
        }
    )
    encoder = TableEncoder().fit(PEOPLE)
    for town in (str, object, "category"):
        rows = encoder.transform(frame.astype({"town": town}) if town is not str else frame)
        np.testing.assert_array_equal(rows, encoder.transform(PEOPLE))
    assert TableEncoder().fit(frame).categories_ == encoder.categories_
    assert TableEncoder().fit(pd.DataFrame({0: [1, 2], 1: ["a", "b"]})).numbers_ == ["0", "1"]


def frames(min_size=1):
    text = st.one_of(st.none(), st.text(string.ascii_letters + " \t!#", max_size=3))
    number = st.one_of(st.none(), st.integers(-9, 9), st.floats(-1e300, 1e300))
    row = st.tuples(number, text, st.one_of(st.none(), st.booleans()), text)
    schema = {"a": pl.Float64, "b": pl.String, "c": pl.Boolean, "d": pl.String}
    return st.lists(row, min_size=min_size, max_size=9).map(lambda rows: pl.DataFrame(rows, schema, orient="row"))


@pytest.mark.filterwarnings("ignore:columns? .* differ only in blanks or case")
@settings(deadline=None, max_examples=60)
@given(frame=frames(), cuts=st.lists(st.integers(0, 12), max_size=3))
def test_batches_teach_what_the_whole_does(frame, cuts):
    whole = TableEncoder().fit(frame)
    places = [0, *sorted(min(cut, len(frame)) for cut in cuts), len(frame)]
    parts = [frame[start:stop] for start, stop in pairwise(places)]
    encoder = TableEncoder()
    for part in parts:
        encoder.partial_fit(part)
    assert encoder.categories_ == whole.categories_
    assert encoder.get_feature_names_out().tolist() == whole.get_feature_names_out().tolist()
    np.testing.assert_array_equal(np.concatenate([encoder.transform(part) for part in parts]), whole.transform(frame))


@settings(deadline=None, max_examples=60)
@pytest.mark.filterwarnings("ignore:columns? .* differ only in blanks or case")
@given(frame=frames())
def test_inverse_of_transform(frame):
    encoder = TableEncoder().fit(frame)
    rows = encoder.transform(frame)
    n_texts = len(encoder.categories_)
    assert (np.nansum(rows[:, 4 - n_texts :], axis=1) == n_texts).all()  # one value for each column of text
    trimmed = pl.col("b", "d").str.strip_chars().replace("", None)
    assert_frame_equal(encoder.inverse_transform(rows), frame.with_columns(pl.col("c").cast(pl.Float64), trimmed))


def test_blanks_around_text_do_not_count():
    table = pl.DataFrame({"town": [" Bern", "Basel ", "\tBern", " ", "", None]})
    encoder = TableEncoder().fit(table)
    assert encoder.categories_ == {"town": ["Basel", "Bern", "missing"]}
    of_pandas = pd.DataFrame({"town": table["town"].to_list()})
    for frame in (table, of_pandas, of_pandas.astype("category")):
        np.testing.assert_array_equal(encoder.transform(frame).argmax(axis=1), [1, 0, 1, 2, 2, 2])


def test_inverse_takes_the_largest():
    encoder = TableEncoder().fit(PEOPLE)
    table = encoder.inverse_transform([[1, 0, 2, -3, -2.5, -4], [1, 0, 2, 0, 0, 0], [np.nan, 0, 2, 0.1, 0.2, 0.3]])
    assert table["town"].to_list() == ["Bern", None, None]
    assert table["age"].to_list() == [1, 1, None]
    assert table.columns == PEOPLE.columns
    with pytest.raises(ValueError, match=r"shape \(1, 2\), but encoded rows of shape \(n_samples, 6\)"):
        encoder.inverse_transform([[1, 2]])


def test_text_that_training_did_not_have_is_zeros_with_a_warning():
    encoder = TableEncoder().fit(pl.DataFrame({"a": ["x", "y", "x"], "b": ["u", "v", "w"]}))
    told = "encoded as zeros and halfway: a: 'z'; b: 'q', an empty field"
    with pytest.warns(UserWarning, match=told) as caught:
        rows = encoder.transform(pl.DataFrame({"a": ["z", "y"], "b": [None, "q"]}))
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert rows.tolist() == [[0.5, 0, 0, 0], [1, 0, 0, 0]]
    assert encoder.inverse_transform(rows).rows() == [(None, None), ("y", None)]


def test_columns_in_another_order_and_more_of_them():
    encoder = TableEncoder(ignore="size").fit(PEOPLE)
    other = PEOPLE.select("ill", pl.lit(object(), pl.Object).alias("z"), "age", "town")
    np.testing.assert_array_equal(encoder.transform(other), encoder.transform(PEOPLE))


def test_numbers_as_text_and_the_other_way_round():
    encoder = TableEncoder().fit(pl.DataFrame({"n": [1, 2], "t": ["1", "2"], "c": ["1", "x"]}))
    table = pl.DataFrame({"n": [" 2", None], "t": [2, 1], "c": [1, 1]})
    assert encoder.transform(table)[0].tolist() == [2, 2, 0]


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pl.DataFrame({"t": ["x"]}), "no column 'n', 'row', which training had; it has 't'"),
        (
            pl.DataFrame({"row": ["b", None], "n": ["1", "abc"], "t": ["x", "x"]}),
            "only numbers where columns hold text: 'n' holds 'abc' in row 2, 'row' holds 'b' in row 1 .counted from 1",
        ),
        (pl.DataFrame({"n": [[1]], "row": [1], "t": ["x"]}), r"other types: 'n' List\(Int64\)$"),
    ],
)
def test_table_that_does_not_fit_the_encoder(frame, message):
    encoder = TableEncoder().fit(pl.DataFrame({"n": [1], "t": ["x"], "row": [2]}))
    with pytest.raises(ValueError, match=message):
        encoder.transform(frame)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pl.DataFrame({"wait": [timedelta(1)]}), "'wait' holds values of type Duration.*--ignore wait"),
        (
            pl.DataFrame({"-t": [[1]], "a b": [b"x"]}),
            "columns '-t', 'a b' hold values of type List.*, Binary, .* leave them out .*--ignore 'a b' --ignore=-t",
        ),
        (pl.DataFrame({"x": [{"y": 1}]}), "'x' holds values of type Struct"),
        (pd.DataFrame({"x": [1, "a"]}, dtype=object), "'x' mixes values of types int, str"),
        (pd.DataFrame([[1, 2]], columns=["x", "x"]), "two columns called 'x'"),
        (pl.DataFrame({"x": [1]}).clear(), "has no rows"),
        (pl.DataFrame(), "has no rows"),
    ],
)
def test_data_frame_that_cannot_be_learnt(frame, message):
    with pytest.raises(ValueError, match=message):
        TableEncoder().fit(frame)


def days(form, n=101):
    return [(date(2020, 1, 31) + timedelta(place)).strftime(form) for place in range(n)]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"x": [f"{place},5" for place in range(101)] + ["n.a."]}, r"commas \('0,5', but also 'n\.a\.'\)"),
        (
            {"day": days("%Y-%m-%dT%H:%M:%SZ")[:-5] + [f"unknown {k}" for k in range(5)]},
            "looks like dates .*--ignore day",
        ),
        (
            {"x": [str(place) for place in range(150)] + ["12kg", "?"] + [str(place) for place in range(48)]},
            r"^column 'x' looks like numbers \(198 of 200 values are, but not '12kg' in row 151, counted from 1, below "
            r"the names\); correct such values or leave them empty, or leave it out .*--ignore x",
        ),
        ({"x": [f"{place} kg" for place in range(99)] + ["5", "9g", "?"]}, "numbers with 'g', 'kg' around them"),
        (
            {"day": [*days("%d/%m/%y"), "never"], "n": [*(f"{place},5" for place in range(101)), "x"]},
            "^column 'day' looks like dates .*; column 'n' looks like numbers .*leave them out .*--ignore day n, or",
        ),
    ],
)
def test_all_columns_of_text_that_are_no_categories_are_told(columns, message):
    longest = max(map(len, columns.values()))
    frame = pl.DataFrame({name: values + [None] * (longest - len(values)) for name, values in columns.items()})
    frame = frame.with_columns(number=pl.lit(1.5))
    with pytest.raises(ValueError, match=message):
        TableEncoder().fit(frame)


def test_types_are_judged_when_all_rows_are_known():
    encoder = TableEncoder().partial_fit(pl.DataFrame({"x": ["3,14"]}))
    assert encoder.readings_["x"]["point"] == ","
    encoder.partial_fit(pl.DataFrame({"x": ["a", "b"]})).check_types()
    assert encoder.categories_ == {"x": ["3,14", "a", "b"]}
    assert encoder.readings_ == {}


def test_lists_are_categories():
    frame = pl.DataFrame({"lists": ["1,2,3", "1,2", "1,2,3,4", "none"]})
    assert TableEncoder().fit(frame).categories_["lists"] == ["1,2", "1,2,3", "1,2,3,4", "none"]


def test_few_numbers_and_dates_that_are_taken_as_categories_are_told_once():
    weights = [str(place % 31) for place in range(59)]
    weights[7:9] = ["12kg", " "]
    table = {"weight": weights, "when": [*days("%-d/%-m/%y", 58), "soon"], "a": ["x"] * 59}
    told = (
        r"^columns 'weight', 'when' are taken as 33, 59 categories, but column 'weight' looks like numbers "
        r"\(57 of 58 values are, but not '12kg' in row 8, counted .*; column 'when' looks like dates \("
        r"'1/2/20'\); make numbers .*, or leave them out .*--ignore weight when"
    )
    with pytest.warns(UserWarning, match=told) as caught:
        encoder = TableEncoder().fit(pl.DataFrame(table))
    assert (len(caught), caught[0].filename) == (1, __file__)
    encoder.transform(pd.DataFrame(table))
    few = ["1", "2", "3", "4", "5", "6", "none"]
    assert TableEncoder().fit(pl.DataFrame({"grade": few})).categories_ == {"grade": few}


def test_parameters_that_are_refused():
    names = pl.DataFrame({"name": [f"n{place}" for place in range(101)]})
    with pytest.raises(
        ValueError, match=r"no column is left .* 'name' names the rows, .*max_categories=100 .--max-cat"
    ):
        TableEncoder().fit(names)
    with pytest.raises(ValueError, match=r"no column is left .* the table has 'name'"):
        TableEncoder(ignore=["name"]).fit(names)
    with pytest.raises(ValueError, match="max_categories"):
        TableEncoder(max_categories=0).fit(names)
    with pytest.raises(TypeError, match="X is a ndarray, but a data frame"):
        TableEncoder().fit(np.eye(2))
    with pytest.raises(NotFittedError):
        TableEncoder().transform(names)


def test_encoder_is_one_of_scikit_learn():
    encoder = TableEncoder(ignore=("size",), max_categories=7)
    given = {"ignore": ("size",), "max_categories": 7, "missing": (), "date_parts": ()}
    assert clone(encoder).get_params() == given
    complete = PEOPLE.drop_nulls()
    rows = make_pipeline(encoder, StandardScaler()).fit_transform(complete)
    assert rows.shape == (2, 3)
    table = clone(encoder).set_output(transform="polars").fit_transform(complete)
    assert table.columns == ["age", "ill", "town=Bern"]
    assert encoder.fit(PEOPLE).fit(complete).categories_ == {"town": ["Bern"]}


def test_what_the_encoder_learns_is_plain():
    encoder = TableEncoder().fit(PEOPLE)
    learnt = {name: value for name, value in vars(encoder).items() if name.endswith("_")}
    assert sorted(learnt) == ["categories_", "feature_names_in_", "n_features_in_", "numbers_", "readings_"]
    restored = TableEncoder()
    for name, value in learnt.items():
        plain = value.tolist() if isinstance(value, np.ndarray) else value
        setattr(restored, name, json.loads(json.dumps(plain)))
    restored.feature_names_in_ = np.array(restored.feature_names_in_, dtype=object)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(restored.transform(PEOPLE), encoder.transform(PEOPLE))


def test_tables_without_polars(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "polars", None)
    (tmp_path / "x.csv").write_text("a\n1\n")
    for use in (lambda: scan_table(tmp_path / "x.csv"), lambda: TableEncoder().fit(PEOPLE)):
        with pytest.raises(ImportError, match=r"pip install 'layerwise\[tables\]'"):
            use()


@pytest.mark.parametrize("ending", ["csv", "csv.gz"])
def test_rows_may_be_long_and_hold_lines_but_must_end(tmp_path, ending):
    path, opener = tmp_path / f"x.{ending}", gzip.open if ending == "csv.gz" else open

    def write(text):
        with opener(path, "wt", newline="") as file:
            file.write(text)

    lines = "".join(f'"line {k}\nof ""two""",{k}\n' for k in range(100_000))
    write("text,number\n" + lines + '"' + "\n" * 2**21 + '",1\n')
    assert scan_table(path).collect().height == 100_001
    write("text,number\n" + lines + '"' + "never\n" * 2**20)
    with pytest.raises(FileError, match="a row of more than 4194304 bytes after byte"):
        scan_table(path)


@pytest.mark.parametrize(
    "make", [pl.DataFrame, lambda frame: pd.DataFrame(frame.to_dict(as_series=False))], ids=["polars", "pandas"]
)
def test_columns_to_ignore_are_there_in_training(make, tmp_path):
    frame = make(PEOPLE)
    message = "ignore='bed' is no column of the table, which has 'town', 'age', 'ill', 'size'"
    with pytest.raises(ValueError, match=message):
        TableEncoder(ignore=["town", "bed"]).fit(frame)
    with pytest.raises(ValueError, match=message):
        TableEncoder(ignore="bed").partial_fit(frame)
    encoder = TableEncoder(ignore=["town"]).fit(frame)
    expected = encoder.transform(frame)
    np.testing.assert_array_equal(encoder.transform(make(PEOPLE.drop("town"))), expected)


def test_an_identifier_may_be_ignored_too(tmp_path):
    PEOPLE.write_csv(tmp_path / "x.csv")
    people = read_input(tmp_path / "x.csv", id="town", ignore=["town", "ill"], labels="size", sample_weight=None)
    assert people.feature_names == ["age"]
    assert read_input(tmp_path / "x.csv", encoder=people.encoder).feature_names == ["age"]


def test_texts_that_differ_only_in_case_are_told_once():
    colours = pl.DataFrame(
        {"colour": ["red", "RED", "blue", "dark  red", "dark red"], "size": ["s", "m", "s", "m", "l"]}
    )
    told = (
        "^column 'colour' has values that differ only in blanks or case, and are taken as different "
        r"\('RED', 'red', 'dark  red', 'dark red'\); write them alike if they are the same$"
    )
    with pytest.warns(UserWarning, match=told.replace(r"\('RED'", r"\(colour: 'RED'")) as warned:
        TableEncoder().fit(colours)
    assert len(warned) == 1


@pytest.mark.parametrize(
    ("values", "told"), [([None, "red"], "an empty field"), (["green", " "], "'green', an empty field")]
)
def test_an_empty_text_that_training_did_not_have_is_called_so(values, told):
    encoder = TableEncoder().fit(pl.DataFrame({"colour": ["red", "blue", "white"]}))
    with pytest.warns(UserWarning, match=f"encoded as zeros: colour: {told}$"):
        encoder.transform(pl.DataFrame({"colour": values}))
