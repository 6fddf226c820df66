"""What columns are taken for, by one rule: of small tables, and of R's data sets where they are there."""

import json
import os
import re
import warnings
from datetime import date, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
from polars.testing import assert_frame_equal

import layerwise
from layerwise.cli import app
from layerwise.data import TableEncoder, read_input, scan_table
from layerwise.data.column_types import as_plain, find_dates, find_marks, from_plain, is_plain

HERE = Path(__file__).parent
TABLES = Path(os.environ.get("LAYERWISE_TABLES", HERE.parent.parent / "shared" / "tables"))
RANDOM = np.random.default_rng(0)


def kind_of(encoder, name):
    """Return the type of a column by name, as ``column_types.json`` calls it."""
    kind = encoder.readings_.get(name, {"type": "category" if name in encoder.categories_ else "number"})["type"]
    return "category" if kind == "pooled" else kind


def call(capsys, *words):
    """Run a command in this process; return what it wrote and what it said."""
    app.meta(list(map(str, words)), exit_on_error=False, print_error=False, result_action="return_value")
    return capsys.readouterr()


def fit(**columns):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return TableEncoder().fit(pl.DataFrame(columns | {"more": range(5, 5 + len(next(iter(columns.values()))))}))


@pytest.mark.skipif(not TABLES.is_dir(), reason="needs R's data sets as CSV")
def test_columns_of_real_tables_are_what_a_statistician_says():
    expected = json.loads((HERE / "column_types.json").read_text())
    found = {}
    for name, types in expected.items():
        encoder = TableEncoder().fit(scan_table(TABLES / f"{name}.csv", as_written=True).collect())
        found |= {(name, column): (kind_of(encoder, column), kind) for column, kind in types.items()}
    right = [is_ == should for is_, should in found.values()]
    assert len(right) > 250
    assert np.mean(right) >= 0.95, {key: pair for key, pair in found.items() if pair[0] != pair[1]}


@pytest.mark.parametrize(
    ("values", "kind", "numbers"),
    [
        (["$1,234.50", "$5", "-$7"], "marked", [1234.5, 5, -7]),
        (["13.0%", "-5%", "NA"], "marked", [13, -5, np.nan]),
        (["12 kg", "5kg", "."], "marked", [12, 5, np.nan]),
        (["(1,200)", "35", "-"], "marked", [-1200, 35, np.nan]),
        (["1'000", "12'500.5", "7"], "marked", [1000, 12500.5, 7]),
        (["3,14", "2", None], "marked", [3.14, 2, np.nan]),
        (["1.234,56 €", "7 €", "7 €"], "marked", [1234.56, 7, 7]),
        (["1/31/2026", "12/1/2026", "?"], "date", [20484, 20788, np.nan]),
        (["31.01.2026 06:00", "01.02.2026 12:00", ""], "date", [20484.25, 20485.5, np.nan]),
        (["7:30", "12:00", "0:00"], "date", [0.3125, 0.5, 0]),
        (["TRUE", "FALSE", "NA"], "flag", [1, 0, np.nan]),
        (["yes", "no", "yes"], "flag", [1, 0, 1]),
        (["5", "#DIV/0!", "\\N"], "number", [5, np.nan, np.nan]),
        (["unknown", "-2e3", "3"], "number", [np.nan, -2000, 3]),
        (["5 min", "6 hr", "7 s"], "category", None),
        (["INF", "INF", "INF"], "category", None),
        (["3:1", "2:2", "0:1"], "category", None),
        (["10-20", "20-30", "NA"], "category", None),
        (["yes", "no", None], "category", None),
    ],
)
def test_what_text_is(values, kind, numbers):
    encoder = fit(x=values)
    assert kind_of(encoder, "x") == kind
    if numbers is not None:
        rows = encoder.transform(pl.DataFrame({"x": values, "more": [0.0] * len(values)}))
        np.testing.assert_allclose(rows[:, 0], numbers)


@pytest.mark.parametrize(
    "values",
    [
        *(
            ["$1,234.50", "$5.00", "-$7.25"],
            ["13.0%", "-5.5%"],
            ["(1,200)", "35"],
            ["3,14", "2,50"],
            ["CHF 5.50", "CHF 7.00"],
        ),
        *(["2026-01-31T23:59:59Z", "2026-02-01T00:00:00Z"], ["3-Apr-99", "13-May-99"], ["Apr 3, 1999", "May 13, 2000"]),
        *(["7:05", "12:30"], ["31.1.26", "1.2.26"], ["TRUE", "FALSE"], ["yes", "no"], ["true", "false"]),
    ],
)
def test_decoding_writes_values_as_they_came(values, tmp_path):
    frame = pl.DataFrame({"x": values, "y": [1.5] * len(values)})
    encoder = TableEncoder().fit(frame)
    assert kind_of(encoder, "x") in ("marked", "date", "flag")
    assert_frame_equal(encoder.inverse_transform(encoder.transform(frame)), frame)
    assert len(encoder.get_feature_names_out()) == 2
    layerwise.save(encoder, tmp_path / "encoder")
    assert_frame_equal(layerwise.load(tmp_path / "encoder").inverse_transform(encoder.transform(frame)), frame)


def test_columns_of_dates_and_times_come_back_as_that():
    frame = pl.DataFrame(
        {"day": [date(2026, 1, 31), None], "at": [datetime(2026, 1, 31, 6, 0, 1), datetime(1969, 12, 31, 18)]}
    )
    encoder = TableEncoder().fit(frame)
    rows = encoder.transform(frame)
    np.testing.assert_allclose(rows, [[20484, 20484.2500116], [np.nan, -0.25]])
    assert_frame_equal(encoder.inverse_transform(rows), frame)
    np.testing.assert_allclose(
        encoder.transform(
            frame.to_pandas()
            if False
            else pd.DataFrame(frame.to_dict(as_series=False)).assign(day=pd.to_datetime(["2026-01-31", None]))
        )[:, 0],
        rows[:, 0],
    )
    assert encoder.describe() == "2 dates"


def names(n):
    return [f"car {place}" for place in range(n)]


@pytest.mark.parametrize(
    ("name", "values", "kind"),
    [
        ("", ["b", "b", "a"], "row name"),
        ("", [1.5, 1.5, 2], "row name"),
        ("Unnamed: 0", list(range(3)), "row name"),
        ("__index_level_0__", [4, 9, 7], "row name"),
        ("rownames", ["a", "b", "c"], "row name"),
        ("model", names(50), "row name"),
        ("model", [*names(48), "car 0", "car 1"], "row name"),
        ("model", names(5), "category"),
        ("name", names(5), "row name"),
        ("k", RANDOM.permutation(40).tolist(), "row name"),
        ("k", (1 + RANDOM.permutation(40)).tolist(), "row name"),
        ("k", list(range(5, 45)), "number"),
        ("k", list(range(5)), "number"),
        ("k", [*range(39), 38], "number"),
        ("income", (RANDOM.permutation(4000)[:40] * 7).tolist(), "number"),
        ("size", np.arange(40).astype(float).tolist(), "row name"),
        ("size", (np.arange(40) + 0.5).tolist(), "number"),
        ("customer_id", (RANDOM.permutation(4000)[:40] * 7).tolist(), "row name"),
        ("customer_id", [2**61 + 3 * place for place in range(9)], "row name"),
        ("customerId", [5, 9, 2], "row name"),
        ("id", [1, 1, 2, 2], "number"),
        ("id", ["07", "08", "03"], "row name"),
    ],
)
def test_names_of_rows(name, values, kind):
    for batches in (1, 2):
        frame = pl.DataFrame({name: values, "x": [0.5] * len(values)})
        encoder = TableEncoder()
        for part in (frame[: len(frame) // batches], frame[len(frame) // batches :])[:batches]:
            encoder.partial_fit(part)
        assert kind_of(encoder, name) == kind
        assert encoder.list_row_names() == [name] * (kind == "row name")


def test_row_names_are_identifiers_of_every_command(tmp_path):
    path = tmp_path / "x.csv"
    pd.DataFrame({"x": [1.5, 2, 4], "town": list("aba")}, index=["r1", "r2", "r3"]).to_csv(path)
    found = read_input(path)
    assert found.feature_names == ["x", "town=b"]
    assert found.ids[""].tolist() == ["r1", "r2", "r3"]
    assert read_input(path, encoder=found.encoder).ids[""].tolist() == ["r1", "r2", "r3"]
    assert list(read_input(path, id="").ids) == [""]
    path.write_text("x,town\n1,a\n2,b\n")
    assert read_input(path, encoder=found.encoder).ids == {}


def test_rare_values_are_pooled_and_text_that_hardly_repeats_is_left_out():
    common = ["Bern"] * 40 + ["Basel"] * 30 + [f"place {k % 60}" for k in range(120)] + [None] * 10
    loose = [f"word {k % 120}" for k in range(200)]
    encoder = TableEncoder(max_categories=20).fit(pl.DataFrame({"town": common, "word": loose}))
    assert encoder.categories_ == {"town": ["Basel", "Bern", "missing", "other"]}
    assert encoder.readings_ == {"town": {"type": "pooled", "n_values": 62}, "word": {"type": "text"}}
    rows = encoder.transform(pl.DataFrame({"town": ["Bern", "place 3", "never seen", None]}))
    assert rows.tolist() == [[0, 1, 0, 0], [0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 1, 0]]
    assert encoder.inverse_transform(rows)["town"].to_list() == ["Bern", "other", "other", None]
    told = "1 text of 62 values, the 3 most frequent kept ('town'), 1 text of too many values left out ('word')"
    assert encoder.describe() == told


def test_what_was_read_is_said_in_a_line():
    n = 40
    encoder = TableEncoder().fit(
        pl.DataFrame(
            {
                "car": names(n),
                **{f"x{k}": RANDOM.random(n) for k in range(4)},
                "sold": [date(2026, 1, 1)] * n,
                "kind": ["a", "b", "c", "a"] * (n // 4),
                "sex": ["m", "f"] * (n // 2),
                "ill": ["TRUE", "FALSE"] * (n // 2),
                "price": ["$5", "$1,000"] * (n // 2),
            }
        )
    )
    assert encoder.describe() == (
        "4 numbers, 1 date, 1 text of 2 values, 1 true or false, 1 number written with '$', thousands ',' ('price'), "
        "1 text of 3 values, 1 name per row left out ('car')"
    )
    coded = TableEncoder().fit(
        pl.DataFrame({"zip": [8001, 8001], "year": [1, 1], "born in year": [1, 2], "yearly": [1, 1]})
    )
    assert coded.list_codes() == ["zip", "year", "born in year"]


def test_marks_of_missing_values_that_the_user_names(tmp_path):
    (tmp_path / "x.csv").write_text("a,b,c,y\n1,x,5,yes\n-999,-,6,-\n2,z,-999,no\n3,-,8,yes\n")
    plain = read_input(tmp_path / "x.csv", labels="y")
    assert plain.y.tolist() == ["yes", "-", "no", "yes"]
    assert plain.feature_names == ["a", "c", "b=-", "b=x", "b=z"]
    found = read_input(tmp_path / "x.csv", labels="y", missing=["-999", "-"])
    assert found.y.tolist() == ["yes", None, "no", "yes"]
    assert found.feature_names == ["a", "c", "b=missing", "b=x", "b=z"]
    np.testing.assert_array_equal(found.X[:, :2], [[1, 5], [np.nan, 6], [2, np.nan], [3, 8]])
    np.testing.assert_array_equal(read_input(tmp_path / "x.csv", encoder=found.encoder).X, found.X)
    frame = pl.DataFrame({"a": [1, -999, 2], "b": ["x", " - ", "z"]})
    np.testing.assert_array_equal(
        TableEncoder(missing=[-999, "-"]).fit_transform(frame), [[1, 0, 1, 0], [np.nan, 1, 0, 0], [2, 0, 0, 1]]
    )


def test_one_stray_among_many_is_named_and_a_later_one_too():
    values = [f"{k} kg" for k in range(150)]
    encoder = TableEncoder().fit(pl.DataFrame({"x": values}))
    with pytest.raises(ValueError, match=r"columns hold text: 'x' holds '7 lb' in row 2, .*with 'kg'"):
        encoder.transform(pl.DataFrame({"x": ["5 kg", "7 lb"]}))
    with pytest.raises(ValueError, match="column 'x' looks like numbers with 'kg', 'lb' around them"):
        TableEncoder().fit(pl.DataFrame({"x": [*values, "7 lb"]}))


def test_first_lines_of_numbers(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("1,2.5,7\n2,2,6\n0,3,9\n")
    with pytest.warns(UserWarning, match="has numbers in its first line, like those below, .*add one with names above"):
        scan_table(path)
    path.write_text("4000,3000.5,2000,kind\n" + "0.1,0.3,0.2,a\n" * 9)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert scan_table(path).collect_schema().names() == ["4000", "3000.5", "2000", "kind"]
        path.write_text("400,500,600\n" + "0.1,0.3,0.2\n" * 9)
        assert len(scan_table(path).collect()) == 9


def test_order_and_batches_do_not_matter_beyond_what_is_kept(monkeypatch):
    monkeypatch.setattr("layerwise.data.profiles._MAX_VALUES", 64)
    values, keys = [f"name {k}" for k in range(1000)], RANDOM.permutation(1000)
    towns = [f"town {k % 300}" for k in range(1000)]
    for order in (np.arange(1000), RANDOM.permutation(1000)):
        frame = pl.DataFrame({"n": values, "k": keys, "t": towns, "x": keys * 0.5})[order]
        encoder = TableEncoder()
        for start in range(0, 1000, 90):
            encoder.partial_fit(frame[start : start + 90])
        assert encoder.list_row_names() == ["n", "k"]
        assert encoder.readings_["t"] == {"type": "text"}
        assert encoder.numbers_ == ["x"]


def test_types_are_plain_and_what_a_file_says_of_them_is_checked():
    for reading in (find_marks(["$1,234.5"]), find_dates(pl.Series(["2026-01-31"]))):
        plain = json.loads(json.dumps(as_plain(reading)))
        assert from_plain(plain) == reading
        assert is_plain(plain)
        assert not is_plain(plain | {"more": 1})
    hostile = [
        {},
        {"type": "x"},
        {"type": "date", "format": "%s" * 9},
        {"type": "flag", "low": 1, "high": "b"},
        [],
        None,
    ]
    hostile += [
        {
            "type": "marked",
            "before": "",
            "after": "",
            "thousands": "",
            "point": ".",
            "negative": False,
            "decimals": 10**9,
        }
    ]
    assert not any(map(is_plain, hostile))


def test_models_of_before_know_no_types():
    encoder = TableEncoder()
    encoder.numbers_, encoder.categories_ = ["x"], {"town": ["Basel", "Bern"]}
    encoder.feature_names_in_, encoder.n_features_in_ = np.array(["x", "town"], dtype=object), 2
    rows = encoder.transform(pl.DataFrame({"x": [1.5], "town": ["Bern"]}))
    assert rows.tolist() == [[1.5, 0, 1]]
    assert encoder.inverse_transform(rows).rows() == [(1.5, "Bern")]
    assert encoder.describe() == "1 number, 1 text of 2 values"


def test_a_table_of_pandas_comes_back_with_its_index(tmp_path, capsys):
    frame = pd.DataFrame({"x": [1.5, np.nan, 4] * 4, "ill": [True, False, True] * 4, "wage": ["$1,000", "-", "$7"] * 4})
    frame.index = [f"r{k}" for k in range(12)]
    frame.to_csv(tmp_path / "x.csv")
    run = tmp_path / "run"
    fit_quickly = ["fit", tmp_path / "x.csv", "--layers", 2, "--max-iter", 2, "--no-report", "--random-state", 0]
    err = call(capsys, *fit_quickly, "--out", run)[1]
    assert (
        "Columns: 1 number, 1 true or false, 1 number written with '$', thousands ',' ('wage'), 1 name per row" in err
    )
    assert "Filled in by an autoencoder first: 2 of 3 columns have missing values: x (4 of 12 rows), wage (4" in err
    assert "imputer layer 0: finished: the learning rate has come to the end of its schedule; 2 iterations" in err
    lines = call(capsys, "impute", run, tmp_path / "x.csv")[0].splitlines()
    assert lines[:2] == ['"",x,ill,wage', 'r0,1.5,True,"$1,000"']
    assert lines[2].split(",")[0] == "r1"
    assert all("" not in line.split(",") for line in lines)
    assert re.fullmatch(r'r1,[\d.e-]+,False,"?-?\$[\d,]+"?', lines[2])
    lines = call(capsys, "reconstruct", run, tmp_path / "x.csv")[0].splitlines()
    assert lines[0] == '"",x,ill,wage'
    assert {line.split(",")[2] for line in lines[1:]} <= {"True", "False"}
    call(capsys, "encode", run, tmp_path / "x.csv", "--out", tmp_path / "c.csv")
    assert call(capsys, "decode", run, tmp_path / "c.csv")[0].splitlines()[0] == '"",x,ill,wage'
    frame.assign(grade=[1, 2, 3] * 4).to_csv(tmp_path / "graded.csv")
    words = ["fit", tmp_path / "graded.csv", *fit_quickly[2:], "--labels", "grade", "--out", tmp_path / "graded"]
    told = (
        "Model: classifier, because the labels are 3 different whole numbers in 12 rows (--model regressor for amounts)"
    )
    assert told in call(capsys, *words)[1]
    filled = frame.dropna().assign(wage="$5")
    filled.to_csv(tmp_path / "y.csv")
    call(capsys, "fit", tmp_path / "y.csv", *fit_quickly[2:], "--out", tmp_path / "whole")
    assert "Pipeline" in type(layerwise.load(tmp_path / "whole")).__name__
    assert [name for name, _ in layerwise.load(tmp_path / "whole").steps] == ["table", "model"]


@pytest.mark.parametrize(
    ("values", "after"),
    [
        (["74 m2", "105 m2"], " m2"),
        (["1.5 kg/m3", "-2 kg/m3"], " kg/m3"),
        (["3CO2", "12CO2"], "CO2"),
        (["7 m²", "8 m²"], " m²"),
    ],
)
def test_units_may_have_an_exponent(values, after):
    marks = find_marks(values)
    assert marks.after == after
    assert marks.encode(pl.Series(values)).to_list() == [float(value.removesuffix(after)) for value in values]


@pytest.mark.parametrize("values", [["1 m2", "2 m3"], ["1 a23", "2 a23"], ["B2", "B3"], ["1-2", "3-4"]])
def test_digits_elsewhere_are_no_unit(values):
    assert find_marks(values) is None


def test_what_is_said_of_a_table_and_its_labels(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    days = pl.date_range(date(2024, 1, 1), date(2024, 3, 30), eager=True).dt.strftime("%d.%m.%Y")
    frame = pl.DataFrame({f"x{place}": rng.random(90) for place in range(3)} | {"-t": rng.random(90), "day": days})
    frame = frame.with_columns(pl.Series("town", ["Bern", "Basel", "Chur"] * 30), pl.Series("kind", [*range(9)] * 10))
    frame.with_columns(pl.Series("key", [f"k{place:03}" for place in range(90)])).write_csv("x.csv")
    words = ("fit", "x.csv", "--labels", "kind", "--max-iter", 1, "--no-report", "--overwrite", "--out", "r")
    told = "1 date written as %d.%m.%Y ('day'), 1 text of 3 values, 1 name per row left out ('key')\n"
    err = run(*words)[2]
    assert f"Columns: 4 numbers, {told}" in err
    assert (
        "Model: classifier, because the labels are 9 different whole numbers in 90 rows (--model regressor for" in err
    )
    assert "Model: " not in run(*words, "--model", "regressor")[2]
    assert f"Columns: 3 numbers, {told}" in run(*words, "--ignore=-t")[2]
    assert "Held out: none, as asked for\n" in run(*words, "--validation-fraction", 0)[2]


@pytest.mark.parametrize(("form", "taken"), [("2023-{}-{}", False), ("{}.{}.24", False), ("2023-{:02}-{:02}", True)])
def test_numbers_that_can_be_no_dates_name_rows(tmp_path, form, taken):
    """Year, lot and number of a machine: there is no month 0 and no day 40."""
    rows = [(place // 28 + taken, place % 28 + taken) if taken else (place // 45, place % 45) for place in range(90)]
    lines = [f"{place % 7},{form.format(*row)}" for place, row in enumerate(rows)]
    (tmp_path / "x.csv").write_text("\n".join(["x,id", *lines]))
    found = layerwise.read(tmp_path / "x.csv")
    assert found.ids.keys() == (set() if taken else {"id"})
    assert found.X.shape[1] == 1 + taken
