"""Cyclic parts of dates: the place in the year, the week and the day, as points of a circle beside the days."""

import csv
import json
import warnings
from datetime import UTC, date, datetime, time, timedelta

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.pipeline import make_pipeline

import layerwise
from layerwise import FileError
from layerwise.cli import app
from layerwise.cli.trained_rows import measure_ranges, warn_of_far_rows
from layerwise.data import TableEncoder
from layerwise.data.column_types import Date, as_plain, from_plain, is_plain
from layerwise.data.cycles import find_circles
from layerwise.report.columns import list_columns

NOON = datetime(2024, 7, 1, 12)


def circle(*shares):
    """Return sine and cosine of shares of a period, a row each."""
    angle = 2 * np.pi * np.array(shares)
    return np.stack([np.sin(angle), np.cos(angle)], axis=1)


def call(capsys, *words):
    """Run a command in this process; return what it wrote and what it said."""
    app.meta(list(map(str, words)), exit_on_error=False, print_error=False, result_action="return_value")
    return capsys.readouterr()


def write_visits(path, n=60):
    """Write a table of visits, one every 7 hours, some of them without a date."""
    times = [datetime(2023, 11, 3, 8) + timedelta(hours=7 * k) for k in range(n)]
    rows = [[f"{at:%d.%m.%Y %H:%M}" if k % 20 != 5 else "", k % 9 + 0.5, "abc"[k % 3]] for k, at in enumerate(times)]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["when", "size", "ward"], *rows])
    return rows


def test_shares_of_periods_that_have_passed():
    """2024-07-01 12:00 is a Monday, 182.5 of 366 days into its year; 1969 was before the days are counted from."""
    moments = [NOON, datetime(2023, 12, 31, 18), datetime(1969, 2, 5), datetime(2100, 3, 1, 6), None]
    expected = {
        "year": [182.5 / 366, 364.75 / 365, 35 / 365, 59.25 / 365],
        "week": [0.5 / 7, 6.75 / 7, 2 / 7, 0.25 / 7],
        "day": [0.5, 0.75, 0, 0.25],
    }
    native = pl.Series("when", moments)
    written = native.dt.strftime("%m/%d/%Y %H:%M")
    for column in (native, written, native.dt.cast_time_unit("ns"), native.dt.replace_time_zone("UTC")):
        frame = pl.DataFrame([column, pl.Series("size", [1.5, 2, 3, 4, 5])])
        encoder = TableEncoder(date_parts=["day", "year", "week"]).fit(frame)
        rows = encoder.transform(frame)
        assert encoder.get_feature_names_out().tolist() == [
            *("when", "when:day:sin", "when:day:cos", "when:year:sin", "when:year:cos", "when:week:sin"),
            *("when:week:cos", "size"),
        ]
        assert encoder.get_feature_columns() == ["when"] * 7 + ["size"]
        assert encoder.numbers_ == ["when", "size"]
        for place, part in enumerate(["day", "year", "week"]):
            own = rows[:, 1 + 2 * place : 3 + 2 * place]
            np.testing.assert_allclose(own[:4], circle(*expected[part]), atol=1e-9)
        assert np.isnan(rows[4, :7]).all()
        assert rows[:, 7].tolist() == [1.5, 2, 3, 4, 5]
        np.testing.assert_array_equal(rows[:, 0], TableEncoder().fit_transform(frame)[:, 0])


def test_the_end_of_a_period_is_beside_its_start():
    days = pl.Series("when", [date(2023, 12, 31), date(2024, 1, 1), date(2024, 12, 31), date(2025, 1, 1)])
    rows = TableEncoder(date_parts="year").fit_transform(pl.DataFrame([days]))[:, 1:]
    steps = np.linalg.norm(np.diff(rows, axis=0), axis=1)
    np.testing.assert_allclose(steps[[0, 2]], 2 * np.pi / 365.5, rtol=0.002)
    assert steps[1] < 0.02  # 365 days later


def test_columns_have_the_parts_that_they_can_tell():
    frame = pl.DataFrame(
        {
            "at": [time(6), time(18, 30), None],
            "born": [date(2000, 1, 1), date(2001, 5, 6), None],
            "midnight": [datetime(2000, 1, 1), datetime(2001, 5, 6), None],
            "written": ["2000-01-01 00:00:00", "2001-05-06 00:00:00", None],
            "when": [NOON, datetime(2001, 5, 6), None],
            "size": [1.5, 2.5, 3.5],
        }
    )
    encoder = TableEncoder(date_parts=("year", "day", "year")).fit(frame)
    columns = {name: [] for name in frame.columns}
    for name, column in zip(encoder.get_feature_names_out(), encoder.get_feature_columns(), strict=True):
        columns[column].append(name.removeprefix(column))
    of_days, of_years = [":day:sin", ":day:cos"], [":year:sin", ":year:cos"]
    assert columns == {
        "at": ["", *of_days],
        **{name: ["", *of_years] for name in ("born", "midnight", "written")},
        "when": ["", *of_years, *of_days],
        "size": [""],
    }
    np.testing.assert_allclose(encoder.transform(frame)[:2, 1:3], circle(0.25, 18.5 / 24), atol=1e-12)
    assert encoder.describe() == (
        "1 date with cycles of day, 2 dates with cycles of year, 1 date written as %Y-%m-%d %H:%M:%S with cycles of "
        "year ('written'), 1 date with cycles of year and day, 1 number"
    )


@pytest.mark.parametrize(
    ("parts", "columns", "message"),
    [
        ("month", {"d": [NOON]}, "date_parts='month' is no part of a date; known are year, week, day"),
        (["year", 7], {"d": [NOON]}, "date_parts=7 is no part of a date"),
        (["year"], {"x": [1.5]}, r"date_parts=\['year'\] asked for, but no column holds dates; leave it out"),
        (["week"], {"at": [time(7, 5)]}, "asked for, but no column holds dates; "),
        ("day", {"d": [NOON.date()]}, r"\['day'\] asked for, but no column holds dates with a time of day; leave"),
        ("day", {"d": ["3.1.2024 00:00"]}, "no column holds dates with a time of day; leave"),
    ],
)
def test_parts_that_are_refused(parts, columns, message):
    with pytest.raises(ValueError, match=message):
        TableEncoder(date_parts=parts).fit(pl.DataFrame(columns))


def test_names_that_columns_have_already():
    frame = pl.DataFrame({"when": [NOON, NOON], "when:year:cos": [1.5, 2.5], "when:year": ["sin", "cos"]})
    encoder = TableEncoder(date_parts="year").fit(frame)
    names = encoder.get_feature_names_out().tolist()
    assert names == ["when", "when:year:sin", "when:year:cos (2)", "when:year:cos", "when:year=sin"]
    assert encoder.inverse_transform(encoder.transform(frame)).rows() == frame.rows()
    assert list(encoder.numbers_of(encoder.transform(frame))["when:year:cos"]) == [1.5, 2.5]


def test_dates_come_back_by_their_days():
    frame = pl.DataFrame({"sold": ["3.1.2026", "14.2.2026", None], "town": ["Bern", "Ulm", "Genf"], "n": [1.5, 2, 3]})
    encoder = TableEncoder(date_parts=("year", "week")).fit(frame)
    rows = encoder.transform(frame)
    rows[:, 1:5] = [7.0, np.nan, -3, 0]
    assert encoder.inverse_transform(rows).rows() == frame.rows()
    with pytest.raises(ValueError, match=r"encoded rows of shape \(n_samples, 9\) are expected"):
        encoder.inverse_transform(rows[:, 1:])


def test_order_and_batches_do_not_matter():
    random = np.random.default_rng(0)
    hours = random.permutation(200)
    frame = pl.DataFrame(
        {
            "when": [datetime(2024, 1, 1) + timedelta(hours=int(k)) if k % 9 else None for k in hours],
            "size": hours * 0.5,
            "ward": ["abc"[k % 3] for k in hours],
        }
    )
    text = frame.with_columns(pl.col("when").dt.strftime("%Y-%m-%d %H:%M"))
    for table in (frame, text):
        whole = TableEncoder(date_parts=("day", "week")).fit(table)
        order = random.permutation(200)
        parts = TableEncoder(date_parts=("day", "week"))
        for start in range(0, 200, 30):
            parts.partial_fit(table[order][start : start + 30])
        assert parts.readings_ == whole.readings_
        np.testing.assert_array_equal(parts.transform(table[order]), whole.transform(table)[order])


def test_an_encoder_with_parts_is_one_of_scikit_learn():
    encoder = TableEncoder(date_parts=("year", "week"))
    assert clone(encoder).get_params()["date_parts"] == ("year", "week")
    frame = pd.DataFrame({"when": pd.to_datetime(["2024-07-01", None, "2025-01-01"]), "size": [1.5, 2.5, 3.5]})
    assert encoder.fit(frame).get_feature_names_out().shape == (6,)
    assert encoder.set_params(date_parts=()).get_feature_names_out().shape == (6,)  # until it is fitted again
    assert encoder.transform(frame).shape == (3, 6)
    assert encoder.fit_transform(frame).shape == (3, 2)
    shown = clone(encoder).set_params(date_parts="year").set_output(transform="pandas").fit_transform(frame)
    assert shown.columns.tolist() == ["when", "when:year:sin", "when:year:cos", "size"]
    np.testing.assert_allclose(shown.iloc[0, 1:3].astype(float), circle(182 / 366)[0], atol=1e-12)


def test_times_with_a_zone_are_taken_in_utc():
    zoned = pl.Series("when", [NOON.replace(tzinfo=UTC)]).dt.convert_time_zone("Asia/Tokyo")
    rows = TableEncoder(date_parts="day").fit_transform(pl.DataFrame([zoned]))
    np.testing.assert_allclose(rows[:, 1:], circle(0.5), atol=1e-12)


def test_parts_are_saved_and_what_a_file_says_of_them_is_checked(tmp_path):
    frame = pl.DataFrame({"when": [NOON + timedelta(hours=31 * k) for k in range(12)], "size": np.arange(12) * 0.3})
    pipeline = make_pipeline(
        TableEncoder(date_parts=["week"]), layerwise.Autoencoder(2, solver=layerwise.LBFGS(max_iter=2), random_state=0)
    ).fit(frame)
    layerwise.save(pipeline, tmp_path / "m")
    loaded = layerwise.load(tmp_path / "m")
    assert loaded[0].date_parts == ["week"]
    np.testing.assert_array_equal(loaded.transform(frame), pipeline.transform(frame))
    config = tmp_path / "m" / "config.json"
    before = config.read_text()
    config.write_text(before.replace('"week"', '"moon"'))
    with pytest.raises(FileError, match="is damaged"):
        layerwise.load(tmp_path / "m")
    told = json.loads(before)  # as 0.1.0 wrote it
    table = told["estimator"]["params"]["steps"][0][1]
    del table["params"]["date_parts"], table["fitted"]["readings_"]["dict"]["when"]["dict"]["parts"]
    config.write_text(json.dumps(told))
    old = layerwise.load(tmp_path / "m")[0]
    assert old.date_parts == ()
    assert old.get_feature_names_out().tolist() == ["when", "size"]


def test_types_with_parts_are_plain():
    dates = Date("%Y-%m-%d").with_parts(["day", "week", "year"])
    assert dates == Date("%Y-%m-%d", ("week", "year"))
    plain = json.loads(json.dumps(as_plain(dates)))
    assert plain == {"type": "date", "format": "%Y-%m-%d", "parts": ["week", "year"]}
    assert from_plain(plain) == dates
    for parts in ([], ["day"], ["week", "week"], "week", [["week"]], [7], {"week": 1}, None):
        assert not is_plain(plain | {"parts": parts})


def test_the_command_line_from_init_to_dates_again(tmp_path, capsys):
    rows = write_visits(tmp_path / "x.csv")
    recipe, run = tmp_path / "run.toml", tmp_path / "run"
    err = call(capsys, "init", tmp_path / "x.csv", "--date-parts", "year", "day", "--out", recipe)
    assert "1 of 3 columns has missing values: when (3 of 60 rows)" in err[0]
    assert '\ndate_parts = ["year", "day"]' in recipe.read_text()
    err = call(capsys, "fit", "--config", recipe, "--out", run, "--max-iter", 2, "--random-state", 0)[1]
    told = "1 date written as %d.%m.%Y %H:%M with cycles of year and day ('when'), 1 number, 1 text of 3 values"
    assert f"60 rows of 9 features\nColumns: {told}\n" in err
    assert "Filled in by an autoencoder first: 1 of 3 columns has missing values: when (3 of 60 rows) (" in err
    assert "tells nothing" not in err
    facts = json.loads((run / "run.json").read_text())
    assert facts["date_parts"] == ["year", "day"]
    assert facts["ranges"][1:5] == [[-1, 1]] * 4
    assert "| date parts | year, day |" in (run / "MODEL_CARD.md").read_text()
    assert "Cycles of dates" in (run / "report.html").read_text()
    call(capsys, "reconstruct", run, tmp_path / "x.csv", "--out", tmp_path / "again.csv")
    again = list(csv.reader((tmp_path / "again.csv").read_text().splitlines()))
    assert again[0] == ["when", "size", "ward"]
    moments = [datetime.strptime(row[0], "%d.%m.%Y %H:%M") for row in again[1:]]
    assert len(moments) == 60
    filled = list(csv.reader(call(capsys, "impute", run, tmp_path / "x.csv")[0].splitlines()))[1:]
    assert all(row[0] for row in filled)
    assert [row[0] for row in filled if row[0] in {before[0] for before in rows}] == [row[0] for row in rows if row[0]]
    out = call(capsys, "score", run, tmp_path / "x.csv", "--per-feature")[0]
    assert out.splitlines()[0] == "error,error: when,error: size,error: ward"
    assert call(capsys, "inspect", run)[0].count("date_parts: ['year', 'day']") == 1


def test_a_date_with_its_parts_weighs_as_one_column(tmp_path, capsys):
    write_visits(tmp_path / "x.csv")
    fit = ["fit", tmp_path / "x.csv", "--model", "outliers", "--date-parts", "week", "year", "--max-iter", 2]
    call(capsys, *fit, "--no-report", "--random-state", 0, "--out", tmp_path / "run")
    detector = layerwise.load(tmp_path / "run")[-1]
    assert list(detector.feature_groups) == ["when"] * 5 + ["size"] + ["ward"] * 3
    np.testing.assert_allclose(detector.coder_.feature_weights, [1 / 5] * 5 + [1] + [1 / 3] * 3)


def test_data_and_recipes_that_have_no_dates_are_refused(tmp_path, capsys):
    np.save(tmp_path / "x.npy", np.eye(12))
    with pytest.raises(ValueError, match=r"date_parts=\['week'\] cannot be used: .*x.npy is no table"):
        layerwise.read(tmp_path / "x.npy", date_parts=["week"])
    write_visits(tmp_path / "x.csv")
    assert layerwise.read(tmp_path / "x.csv", date_parts="day").X.shape == (60, 7)
    with pytest.raises(ValueError, match="date_parts='hour' is no part of a date"):
        layerwise.read(tmp_path / "x.csv", date_parts=["day", "hour"])
    with pytest.raises(ValueError, match=r"asked for, but no column holds dates; .*\(--date-parts\)"):
        layerwise.read(tmp_path / "x.csv", ignore="when", date_parts=["year"])
    recipe = tmp_path / "run.toml"
    for value, told in (('"year"', "must be a list of year, week and day"), ("[7]", "year, week or day are expected")):
        recipe.write_text(f"date_parts = {value}\n")
        with pytest.raises(FileError, match=told):
            call(capsys, "fit", tmp_path / "x.csv", "--config", recipe, "--out", tmp_path / "run")


def test_points_of_a_circle_are_far_from_nothing():
    """Near noon a cosine is flat, so that an afternoon seems far from all others; it is not."""
    random = np.random.default_rng(0)
    hours = random.uniform(11.9, 12.1, 200)
    hours[7] = 15
    size = random.normal(size=200)
    X = np.column_stack([size, 20000 + hours / 24, *circle(*hours / 24).T])
    X[3, 1:] = np.nan
    assert find_circles(X) == [2, 3]
    assert find_circles(np.eye(2)[[0, 1, 1]]) == []  # one of two texts
    filled = np.where(np.isnan(X), [0, 20000.5, 0.1, -0.7], X)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*far")
        for scale in ("auto", "minmax"):
            layerwise.Autoencoder(2, scale=scale, solver=layerwise.LBFGS(max_iter=1)).fit(filled)
        ranges = measure_ranges(X)
        assert ranges[2:] == [[-1, 1], [-1, 1]]
        assert ranges[0] == [size.min(), size.max()]
        other = X.copy()
        other[:, 2:] = circle(*random.random(200))
        warn_of_far_rows(other, ranges, list("abcd"))
    other[0, 2] = 1e3
    with pytest.warns(UserWarning, match=r"column 'c' \(1000\) holds values far beyond those of the training"):
        warn_of_far_rows(other, ranges, list("abcd"))
    with pytest.warns(UserWarning, match=r"far from all others in column 2 \(-0\.7"):  # a number like others
        layerwise.Autoencoder(2, solver=layerwise.LBFGS(max_iter=1)).fit(filled[:, [0, 1, 3]])


def test_days_tell_of_a_date_in_reports():
    """Also those before 1970, which are less than any sine."""
    column = list_columns(["when", "when:year:sin", "when:year:cos"], ["when"] * 3)[0]
    assert column.texts is None
    assert column.tell(np.array([-5.0, 0.6, 0.8])) == "-5"
