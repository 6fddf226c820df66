"""Workbooks: a sheet is read as the same rows in Parquet are, or refused with the cell; what is written comes back."""

import base64
import datetime as dt
import json
import os
import subprocess
import sys
import zipfile
import zlib

import numpy as np
import openpyxl
import polars as pl
import pytest

import layerwise
from layerwise.data import load_labels, workbooks, write_columns
from layerwise.data.tables import TableFile
from layerwise.section import Section

# By xlwt: sheet "first" with a title, and in row 3 names of whole numbers, numbers, text, days, times, true and false,
# and numbers with an error; sheet "second" with a 5 below an a.
XLS = (
    "c-rk)O-NKx6h8O8`{pkl$NT{eM1-tN7ttmHof6DdVo?+o)aX2M(3y#Gplnf=%`yn0MbRR`f(p!9^kW4@n-+mliy#QJmaT$<7V7Jq^X{9R"
    "X#xjIXn5an&%5W`bKiH*{h#+{wsLObUj01ep#yYSvi#s#W)qnFjuHYaw=Bv!Pah`B#eW6A4+qj?z?1UVUK&Fh?|IN*TE0LD@CnlqI1W9@"
    "gxR=?=;Ss;1ht`ENSu2bT*DNEI&Rlmmi;WNSl(sdr!04{<pRrg^qmujU^d*-vQ5q7gIW`p1yKrk$aOxjWee26E1Jh=E(+V%fSsvWWVloc"
    "8e|zv0*-aJnJ`nNSHKMj0E{Bq;_<d<v_S^oCi=tR;P!ZY4ytihOu~1o5#XD%{GT_v_SLluK>LqeyY~-v9}a0DyC26j-+oDx0ApYs6SNjG"
    "P!3~~N(>l?rAE>jTqM`k)-YoBClk>H=z=oT*RT`pi=~H6TspBRPPCI)HJv<>&;g>6Q8c764PY{{pwmnxutH~K#2iLbBtYj0??0iO{imE)"
    "Wf{sSRB*nM*JcRgTDbM~?e4zb@KLsm@tI?vOzSBQu;47!z{){z-Ul?@p@nN~W_ga^x{mYpEUPgTd^Y#isLZZ$_Bqd`&B(Kr@h-e!S$-qt"
    "Ghg;RYRG&JZ^Hak_x!2qsrTUtXu`gZVtx9JL#t>NSFaErhn=TTd)P;ob-(RrJ}snTv()ih0gJRy5tS^-L*wXjJv8>9KCv~Y|7=Y|P0wmN"
    "YBH-y)QqfVpytVH9@M;wRnKF6hOy|(>S3vIyQ!Yed^Ad@HPUqSy#Eq;aeQ>-tAhQE%V9(Fp~c|XY+sLh6EVsHjFPzmEDviAqhv<EdW&Sn"
    "2Z~WLqm5~1l*}lUuSZ2dj79-QgSmoPX)_u*F&fM`qZkclymOl{!;FTC(asZNi|Ej>jT9=LT)(gy>qE<ym)80SC=Ze6K_evCqn2*D)bCKJ"
    "-(9$H;lhQBQif1>0J^<N`$Erm46pjGvxsTQ{Y+A_*b7PgrSU&u7bNhRg3+SpPc0b2d6!sW9p`%?;Q+FyU<mrS9YaOWU%VrV<?*bzV(9NJ"
    "p<?-$ifQLR=Kl$AjWP8"
)
SPREADSHEET = "application/vnd.oasis.opendocument.spreadsheet"


def book(path, *rows, more=(), first=1, left=1, merged=()):
    """Write rows to the first sheet of a workbook, from a cell on; ``more`` are (name, rows, state) of further ones."""
    workbook = openpyxl.Workbook()
    for name, cells, state in [("data", rows, "visible"), *more]:
        sheet = workbook.create_sheet(name)
        sheet.sheet_state = state
        for y, row in enumerate(cells, first):
            for x, value in enumerate(row, left):
                if value is not None:
                    sheet.cell(y, x).value = value
        for place in merged:
            sheet.merge_cells(place)
    del workbook["Sheet"]
    workbook.save(path)
    return path


def ods(path, *rows):
    """Write rows of (attributes, text) to an OpenDocument file."""
    cells = "".join(
        "<table:table-row>"
        + "".join(f"<table:table-cell {kind}><text:p>{text}</text:p></table:table-cell>" for kind, text in row)
        + "</table:table-row>"
        for row in rows
    )
    names = " ".join(
        f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"' for name in ("office", "table", "text")
    )
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mimetype", SPREADSHEET)
        archive.writestr("META-INF/manifest.xml", "<manifest/>")
        archive.writestr(
            "content.xml",
            f'<office:document-content {names}><office:body><office:spreadsheet><table:table table:name="s">{cells}'
            f"</table:table></office:spreadsheet></office:body></office:document-content>",
        )
    return path


def read(path, sheet=None, text=()):
    """Return the columns of a workbook, and what is said of it."""
    file = TableFile(path, Section(sheet=sheet))
    return file.scan(text).collect().to_dict(as_series=False), [note.split(": ", 1)[1] for note in file.notes]


def rows_of_all_types(n):
    rng = np.random.default_rng(0)
    day = np.datetime64("2019-01-01") + rng.integers(0, 2000, n)
    frame = pl.DataFrame(
        {
            "size": rng.normal(size=n),
            "tiny": rng.normal(size=n) * 1e-9,
            "count": rng.integers(0, 50, n),
            "town": rng.choice(["Bern", "Basel", "Chur", "=1+1"], n),
            "day": pl.Series(day).cast(pl.Date),
            "when": pl.Series(day).cast(pl.Datetime("us"))
            + pl.Series(rng.integers(0, 86400, n) * 10**6).cast(pl.Duration("us")),
            "time": pl.Series(rng.integers(0, 86400, n) * 10**9).cast(pl.Time),
            "paid": rng.random(n) < 0.5,
            "kind": rng.choice(["a", "b", "c"], n),
            "grade": rng.integers(1, 5, n),
        }
    )
    gone = rng.random((n, 4)) < 0.1
    gaps = zip(["size", "town", "day", "paid"], gone.T, strict=True)
    return frame.with_columns(
        pl.when(pl.Series(gap)).then(None).otherwise(pl.col(name)).alias(name) for name, gap in gaps
    )


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """The same rows as a workbook and in Parquet."""
    folder, frame = tmp_path_factory.mktemp("both"), rows_of_all_types(1000)
    columns = {name: np.array([*frame[name].to_list(), ""], dtype=object)[:-1] for name in frame.columns}
    write_columns(folder / "rows.xlsx", columns)
    frame.write_parquet(folder / "rows.parquet")
    return folder / "rows.xlsx", folder / "rows.parquet"


@pytest.mark.parametrize("labels", ["kind", "grade", "paid", "size"])
def test_workbook_is_what_parquet_is(both, labels):
    found, known = (layerwise.read(path, labels=labels, ignore="time") for path in both)
    np.testing.assert_array_equal(found.X, known.X)
    np.testing.assert_array_equal(found.y, known.y)
    assert found.y.dtype == known.y.dtype
    assert found.feature_names == known.feature_names
    assert found.encoder.describe() == known.encoder.describe()
    table, parquet = TableFile(both[0]).scan().collect(), pl.read_parquet(both[1])
    assert table["time"].to_list() == parquet["time"].to_list()
    assert table.equals(parquet.with_columns(pl.col("count", "grade").cast(pl.Float64)))


def test_model_is_the_same_to_the_bit(both):
    models = []
    for path in both:
        rows = layerwise.read(path, labels="kind", ignore=["time", "when"])
        X = np.nan_to_num(rows.X)
        models.append(
            layerwise.StackedClassifier(layerwise.Autoencoder(4), finetune="head", random_state=0).fit(
                X[:200], rows.y[:200]
            )
        )
        models[-1] = models[-1].predict_proba(X)
    np.testing.assert_array_equal(*models)


@pytest.mark.filterwarnings("always")
def test_command_line_remembers_the_sheet(run, tmp_path):
    rows = [[f"n{k}", k % 7, k * 0.5, "ab"[k % 2]] for k in range(30)]
    more = [("rows", [["name", "x", "y", "kind"], *rows], "visible")]
    path = book(tmp_path / "a.xlsx", ["about"], ["nothing"], more=more)
    flags = ("--layers", 2, "--max-iter", 2, "--no-report", "--random-state", 0)
    assert run("fit", path, "--labels", "kind", "--sheet", "rows", *flags, "--out", tmp_path / "m")[0] == 0
    facts = json.loads((tmp_path / "m" / "run.json").read_text())
    assert facts["sheet"] == "rows"
    assert 'sheet = "rows"' in (tmp_path / "m" / "run.toml").read_text()
    assert "| sheet | rows |" in (tmp_path / "m" / "MODEL_CARD.md").read_text()
    code, _, told = run("predict", tmp_path / "m", path, "--out", tmp_path / "p.xlsx")
    assert code == 0
    assert "sheet" not in told
    found = read(tmp_path / "p.xlsx")[0]
    assert found["name"] == [row[0] for row in rows]
    assert set(found["label"]) <= {"a", "b"}
    other = book(
        tmp_path / "b.xlsx", ["name", "x", "y"], *[row[:3] for row in rows[:4]], more=[("z", [["q"]], "visible")]
    )
    code, _, told = run("predict", tmp_path / "m", other, "--out", tmp_path / "q.csv")
    assert code == 0
    assert "sheet 'data' is read, of 'data', 'z'" in told
    code, _, told = run("init", path, "--out", tmp_path / "r.toml", "--sheet", "1")
    assert code == 0
    assert "sheet" not in told
    code, _, told = run("init", path, "--out", tmp_path / "s.toml")
    assert code == 0
    assert "sheet 'data' is read, of 'data', 'rows'; --sheet (sheet=) names another" in told
    code, _, told = run("score", tmp_path / "m", path, "--sheet", "row")
    assert code == 2
    assert "has no sheet='row'; it has 'data', 'rows'" in told
    (tmp_path / "t.csv").write_text("x,y\n1,2\n")
    code, _, told = run("init", tmp_path / "t.csv", "--sheet", "row", "--out", tmp_path / "u.toml")
    assert code == 2
    assert "sheet='row' cannot be used" in told
    assert "not a workbook" in told


def test_sheets(tmp_path):
    more = [("2", [["b"], [7]], "visible"), ("c", [["c"], [8]], "hidden")]
    path = book(tmp_path / "a.xlsx", more=[("h", [["h"], [0]], "hidden"), *more])
    assert read(path)[0] == {"b": [7]}  # the first is empty, the second hidden
    assert read(path, "2")[0] == {"b": [7]}  # a name wins
    assert read(path, "4")[0] == read(path, "c")[0] == {"c": [8]}
    assert layerwise.read(path, sheet=4).feature_names == ["c"]
    for wrong in ("5", "0", "B", "-1", "9" * 30):
        with pytest.raises(layerwise.FileError, match=rf"has no sheet='{wrong}'; it has 'data', 'h', '2', 'c'"):
            read(path, wrong)
    with pytest.raises(layerwise.FileError, match="has no visible sheet with values; it has 'data', 'h'"):
        read(book(tmp_path / "b.xlsx", more=[("h", [["h"], [0]], "hidden")]))


HEADER, NEXT = ["name", "x", "y"], ["Ann", 1.5, 2]


def test_what_stands_around_a_table(tmp_path):
    known = {"name": ["Ann", "Bob"], "x": [1.5, None], "y": [2, 4]}
    rows = [["A title"], [], ["of 2024"], HEADER, NEXT, [], ["Bob", None, 4], [], ["Source: us"]]
    found, notes = read(book(tmp_path / "a.xlsx", *rows, first=3, left=3))
    assert found == known
    assert notes == [
        "rows below the table are passed over: C11 'Source: us'",
        "empty rows between others are passed over: 8",
        "the names of the columns are in row 6; what is above is passed over: 'A title', 'of 2024'",
    ]
    gap = [[*row[:1], None, *row[1:]] for row in (HEADER, NEXT, ["Bob", None, 4])]
    assert read(book(tmp_path / "b.xlsx", *gap)) == (known, ["empty columns between others are passed over: B"])
    assert read(book(tmp_path / "c.xlsx", [None, "x\nof it"], [0, 5], [1, 6])) == ({"": [0, 1], "x of it": [5, 6]}, [])
    assert read(book(tmp_path / "d.xlsx", ["x"], ["y"], merged=["A1:B1"]))[0] == {"x": ["y"]}
    assert read(book(tmp_path / "e.xlsx", *rows[3:5], first=900))[0] == {"name": ["Ann"], "x": [1.5], "y": [2]}
    years = read(book(tmp_path / "f.xlsx", ["name", 2019, 2020], ["a", 0.5, 7]))
    assert years == ({"name": ["a"], "2019": [0.5], "2020": [7]}, [])


@pytest.mark.parametrize(
    ("rows", "merged", "why"),
    [
        ([["name", "x", "x"], NEXT], (), r"two columns are called 'x' \(B1 and C1\)"),
        ([["name", None, "y"], NEXT], (), r"column B has values, as in B2, but no name in row 1 \(B1\)"),
        ([[None, "size", "size"], HEADER, NEXT], (), "more than one line .rows 1 and 2, see B1"),
        ([["T"], HEADER, NEXT, ["Eve"]], ["A3:A4"], r"cells are merged within the table \(A3:A4\)"),
        ([HEADER], (), "below the names of the columns in row 1 there are no rows"),
        ([HEADER, NEXT, ["Eve", 3, 4], ["Total", 4.5, 6]], (), "'Total' in A4"),
        ([HEADER, *[["p", k, k] for k in range(6)], [None, 15, 15]], (), "totals .see B8"),
        ([HEADER, NEXT, [], ["place", "w", "h"], ["Rome", 1, 2]], (), "another table below the empty row 3, at B4"),
        ([HEADER, ["a", "b", "c"], [], HEADER, ["d", "e", "f"]], (), "another table below the empty row 3, at A4"),
        ([["a", None, "b"], [1, None, 2], [3]], (), "several tables side by side, at A1, C1"),
        ([[0.5, 0.25, 0.7], [1, 2, 3]], (), "numbers in row 1, which must name the columns"),
        ([HEADER, ["Ann", "=1+1", 4]], (), "the formula in B2 has no saved value"),
    ],
)
def test_tables_that_are_none(tmp_path, rows, merged, why):
    path = book(tmp_path / "a.xlsx", *rows, merged=merged)
    with pytest.raises(layerwise.FileError, match=why):
        read(path)


def test_cells(tmp_path):
    rows = [
        ["n", "text", "code", "flag", "gap", "t", "length", "share", "rare"],
        ["5", " a ", "007", True, "NA", dt.time(5, 30), dt.timedelta(hours=30), 0.13, "#N/A"],
        [6, "b", "008", "false", 2, dt.time(6), dt.timedelta(hours=36), 0.5, 1],
        [7.5, "#DIV/0!", "009", None, None, None, None, None, 2],
    ]
    path = book(tmp_path / "a.xlsx", *rows)
    found, notes = read(path)
    assert found["n"] == [5, 6, 7.5]
    assert found["text"] == ["a", "b", None]
    assert found["code"] == [7, 8, 9]
    assert found["flag"] == [True, False, None]
    assert found["gap"] == [None, 2, None]
    assert found["t"] == [dt.time(5, 30), dt.time(6), None]
    assert found["length"] == [1.25, 1.5, None]
    assert found["share"] == [0.13, 0.5, None]
    assert found["rare"] == [None, 1, 2]
    assert "errors such as #N/A in 2 cells (I2, B4) are missing values" in notes
    assert "column 'length' holds durations, and is numbers of days" in notes
    assert read(path, text=["code"])[0]["code"] == ["007", "008", "009"]
    with (
        pytest.warns(UserWarning, match=r"a\.xlsx: errors such as #N/A in 2 cells"),
        pytest.warns(UserWarning, match="days"),
    ):
        assert layerwise.read(path, ids="code").ids["code"].tolist() == ["007", "008", "009"]


def test_columns_that_mix_types(tmp_path):
    day = dt.date(2024, 1, 1)
    rows = [[k, day, k, k, k % 3 / 2] for k in range(1, 21)]
    rows[4][0], rows[6][1], rows[8][2], rows[9][3] = "about 5", "soon", day, "none"
    for row in rows[10:15]:
        row[3] = "many"
    path = book(tmp_path / "a.xlsx", ["x", "day", "z", "w", "v"], *rows, first=3)
    for wanted, why in (
        (
            "x",
            "column 'x' holds numbers, but 'about 5' in A8; correct such cells or leave them empty, or .*--ignore x",
        ),
        ("day", "column 'day' holds dates, but 'soon' in B10"),
        ("z", "column 'z' holds numbers, but dates in C12"),
    ):
        with pytest.raises(layerwise.FileError, match=why):
            layerwise.read(path, ignore={"x", "day", "z"} - {wanted})
    with pytest.warns(UserWarning, match=r"column 'w' mixes numbers and text \('none' in D13\), and is text"):
        found = layerwise.read(path, ignore=["x", "day", "z"], labels="w")
    assert found.y.tolist() == [
        "1",
        "2",
        "3",
        "4",
        "5",
        "6",
        "7",
        "8",
        "9",
        "none",
        *["many"] * 5,
        "16",
        "17",
        "18",
        "19",
        "20",
    ]


def test_numbers_that_may_be_dates_and_hidden_rows(tmp_path):
    path = book(tmp_path / "a.xlsx", ["id", "start_date"], ["a", 45000], ["b", 45001], ["c", 44000])
    workbook = openpyxl.load_workbook(path)
    workbook["data"].row_dimensions[3].hidden = True
    workbook.save(path)
    found, notes = read(path)
    assert found["start_date"] == [45000, 45001, 44000]
    assert notes == [
        "hidden rows (1) are read like others",
        "column 'start_date' holds numbers, as in B2; if they are dates, give the cells a format of dates",
    ]


def test_formulas_are_read_and_not_calculated(tmp_path):
    import xlsxwriter

    with xlsxwriter.Workbook(tmp_path / "a.xlsx") as workbook:
        sheet = workbook.add_worksheet()
        sheet.write_row(0, 0, ["x", "y", "z"])
        sheet.write_row(1, 0, [1, 2])
        sheet.write_formula(1, 2, "=A2+B2", value=99)
        sheet.write_formula(2, 2, "=A2/0", value="#DIV/0!")
        sheet.write_url(2, 0, "https://example.org/x", string="7")
    found, notes = read(tmp_path / "a.xlsx")
    assert found["z"] == [99, None]
    assert found["x"] == [1, 7]
    assert "(C3)" in notes[0]


def test_old_and_open_formats(tmp_path):
    (tmp_path / "a.xls").write_bytes(zlib.decompress(base64.b85decode(XLS)))
    found, notes = read(tmp_path / "a.xls", "first")
    assert notes == ["the names of the columns are in row 3; what is above is passed over: 'Title'"]
    assert found["id"] == [1, 2, 3]
    assert found["x"] == [0, 1.5, 3]
    assert found["town"] == ["Bern", "Basel", "Bern"]
    assert found["day"] == [dt.date(2024, 1, day) for day in (1, 2, 3)]
    assert found["t"][1] == dt.time(1, 30)
    assert found["f"] == [False, True, False]
    assert found["e"] == [0, 1, None]
    assert read(tmp_path / "a.xls", "2")[0] == {"a": [5]}

    def one(kind, value, text=""):
        name = "value" if kind in ("float", "percentage") else f"{kind}-value"
        return f'office:value-type="{kind}" office:{name}="{value}"', text

    def words(text):
        return 'office:value-type="string"', text

    header = [words(name) for name in ("x", "day", "when", "t", "f", "share", "m")]
    first = [
        one("float", 0.5),
        one("date", "2024-01-02"),
        one("date", "2024-01-02T03:04:05"),
        one("time", "PT05H30M00S"),
    ]
    rows = [[*first, one("boolean", "true"), one("percentage", 0.13), last] for last in (one("float", 1), words("n"))]
    path = ods(tmp_path / "a.ods", header, *rows)
    found, notes = read(path)
    assert found["x"] == [0.5] * 2
    assert found["day"] == [dt.date(2024, 1, 2)] * 2
    assert found["f"] == [True] * 2
    assert found["when"] == [dt.datetime(2024, 1, 2, 3, 4, 5)] * 2
    assert found["t"] == [dt.time(5, 30)] * 2
    assert found["share"] == [0.13] * 2
    assert found["m"] == ["1", "n"]
    assert "'n' in G3" in notes[0]
    two = ('office:value-type="float" office:value="2" table:number-rows-spanned="2"', "")
    with pytest.raises(layerwise.FileError, match=r"merged within the table \(B2:B3\)"):
        read(ods(tmp_path / "c.ods", header[:2], [words("a"), two], [words("a")]))
    with pytest.raises(layerwise.FileError, match="the formula in B2 has no saved value"):
        read(ods(tmp_path / "d.ods", header[:2], [words("a"), ('table:formula="of:=1+1"', "")], [words("a")]))
    (tmp_path / "b.xlsx").write_bytes(path.read_bytes())  # by what it is, not by its name
    assert read(tmp_path / "b.xlsx")[0] == found


def test_several_workbooks_are_one_table(tmp_path):
    for place in range(3):
        book(tmp_path / f"part-{place}.xlsx", HEADER, ["a", place, 1], ["b", place, "1" if place else 0])
    (tmp_path / "~$part-1.xlsx").write_bytes(b"lock")
    for where in (tmp_path, sorted(tmp_path.glob("part*")), str(tmp_path / "part-*.xlsx")):
        rows = layerwise.read(where, labels="name")
        assert rows.X.tolist() == [[0, 1], [0, 0], [1, 1], [1, 1], [2, 1], [2, 1]]
        assert rows.y.tolist() == ["a", "b"] * 3
    book(tmp_path / "part-3.xlsx", HEADER, [dt.date(2024, 1, 1), 1, 1])
    with pytest.raises(
        layerwise.FileError, match=r"part-3\.xlsx holds column 'name' as Date, but .*part-0\.xlsx as String"
    ):
        layerwise.read(tmp_path)
    assert load_labels(book(tmp_path / "y.xlsx", ["kind"], ["a"], ["b"])).tolist() == ["a", "b"]


def test_what_is_written_comes_back(tmp_path):
    def column(*values):
        return np.array([*values, ""], dtype=object)[:-1]

    columns = {
        "x": np.random.default_rng(0).normal(size=4) * 1e-5,
        "few": np.array([0.1, np.nan, 1e30, -2], np.float32),
        "large": np.array([2**60 + 1, 1, 2, 3]),
        "text": column("=1+1", "+x", "@y", None),
        "odd": column("-z", "http://a.b", "_x0041_", "a\tb\nü\x01."),
        "day": column(dt.date(2020, 1, 2), None, dt.date(1900, 2, 28), dt.date(2100, 12, 31)),
        "when": column(dt.datetime(2020, 1, 2, 3, 4, 5), dt.datetime(2020, 1, 2, 3, 4, 5, 678000), None, None),
        "time": column(dt.time(1, 2, 3), None, dt.time(23, 59, 59), dt.time(0)),
        "flag": column(True, None, False, True),
    }
    write_columns(tmp_path / "a.xlsx", columns, ids={"row": np.arange(4)})
    found, notes = read(tmp_path / "a.xlsx", text=["large"])
    few = [0.1, None, 1e30, -2]
    expected = {name: values.tolist() for name, values in columns.items()} | {
        "few": few,
        "large": [str(2**60 + 1), "1", "2", "3"],
    }
    assert found == {"row": [0, 1, 2, 3], **expected}
    assert notes == []
    sheet = openpyxl.load_workbook(tmp_path / "a.xlsx").active
    assert {cell.data_type for cell in sheet["E"]} == {"s", "n"}
    assert sheet["E5"].value is None
    assert not any(cell.hyperlink for row in sheet.rows for cell in row)


@pytest.mark.parametrize(
    ("values", "why"),
    [
        (np.zeros(2**20), "1,048,576 rows of 1 columns, but only 1,048,575 of 16,384"),
        (np.zeros((2, 2**14 + 1)), "2 rows of 16,385 columns"),
        (["a", "b" * 2**15], "text of 32,768 letters, but only of 32,767: column 'x', row 2"),
        ([0.5, np.inf], "infinity, which is in column 'x'"),
        (np.array([dt.date(1850, 1, 1), None], dtype=object), "1850-01-01, as dates begin in 1900"),
    ],
)
def test_what_no_sheet_can_hold(tmp_path, values, why):
    (tmp_path / "a.xlsx").write_bytes(b"what was there")
    with pytest.raises(ValueError, match=f"a.xlsx cannot hold {why}.*write .csv or .parquet instead"):
        write_columns(tmp_path / "a.xlsx", {"x": values})
    assert (tmp_path / "a.xlsx").read_bytes() == b"what was there"
    assert len([*tmp_path.iterdir()]) == 1
    for ending in (".xls", ".ods", ".xlsm"):
        with pytest.raises(ValueError, match=r"must end in \.csv.*\.xlsx"):
            write_columns(tmp_path / f"a{ending}", {"x": [1]})


def test_dates_stay_dates(run, tmp_path):
    day = [dt.date(2024, 1, 1) + dt.timedelta(days=k) for k in range(40)]
    rows = [[k % 5 if k != 3 else None, day[k] if k != 7 else None, f"0{k}", "ab"[k % 2]] for k in range(40)]
    path = book(tmp_path / "a.xlsx", ["x", "day", "code", "kind"], *rows)
    flags = ("--ignore", "code", "--impute", "--layers", 2, "--max-iter", 3, "--no-report", "--random-state", 0)
    assert run("fit", path, *flags, "--out", tmp_path / "m")[0] == 0
    assert run("impute", tmp_path / "m", path, "--out", tmp_path / "f.xlsx")[0] == 0
    found = read(tmp_path / "f.xlsx", text=["code"])[0]
    assert [*found] == ["x", "day", "code", "kind"]
    assert found["code"] == [row[2] for row in rows]
    assert [value for k, value in enumerate(found["day"]) if k != 7] == [*day[:7], *day[8:]]
    assert isinstance(found["day"][7], dt.date)
    assert found["x"][3] is not None
    assert run("reconstruct", tmp_path / "m", path, "--out", tmp_path / "r.xlsx")[0] == 0
    assert all(isinstance(value, dt.date) for value in read(tmp_path / "r.xlsx")[0]["day"])
    for command in ("encode", "score"):
        assert run(command, tmp_path / "m", path, "--out", tmp_path / "c.xlsx", "--overwrite")[0] == 0
        assert len(next(iter(read(tmp_path / "c.xlsx")[0].values()))) == 40


def test_packages_that_are_missing(tmp_path, monkeypatch):
    path = book(tmp_path / "a.xlsx", ["x"], [1])
    monkeypatch.setattr("layerwise.data.workbooks.find_spec", lambda name: None)
    monkeypatch.setattr("layerwise.data.workbook_output.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"needs fastexcel to be read: pip install 'layerwise\[workbooks\]'"):
        layerwise.read(path)
    with pytest.raises(ImportError, match=r"needs XlsxWriter to be written: pip install 'layerwise\[workbooks\]'"):
        write_columns(tmp_path / "b.xlsx", {"x": [1]})


def test_packages_are_imported_when_they_are_needed():
    code = "import sys, layerwise.data.tables; print({'fastexcel', 'xlsxwriter'} & {*sys.modules})"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert child.stdout.strip() == "set()"


# Hostile files


def parts_of(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(path, parts):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return path


def sheet_of(path, rows):
    """Replace the XML of the rows of the only sheet."""
    parts = parts_of(book(path, ["x"], [1]))
    name = "xl/worksheets/sheet1.xml"
    head, _, rest = parts[name].partition(b"<sheetData>")
    parts[name] = head + b"<sheetData>" + rows + b"</sheetData>" + rest.partition(b"</sheetData>")[2]
    return zipped(path, parts)


LAUGHS = (
    b'<!DOCTYPE l [<!ENTITY a "ha">'
    + b"".join(b'<!ENTITY %c "&%c;&%c;">' % (c + 1, c, c) for c in range(97, 115))
    + b"]>"
)


def laughing(path):
    parts = parts_of(book(path, ["x"], ["y"]))
    name = "xl/worksheets/sheet1.xml"
    return zipped(path, parts | {name: LAUGHS + parts[name].replace(b">y<", b">&s;<")})


def zeros(path):
    parts = parts_of(book(path, ["x"], ["y"]))
    return zipped(path, parts | {"xl/sharedStrings.xml": bytes(2**28 + 2**20)})


def lying(path):
    """Let a part say that it is small."""
    parts = parts_of(book(path, ["x"], ["y"]))
    content = b"<sst><si><t>" + b"a" * (3 * 2**27)
    zipped(path, parts | {"xl/sharedStrings.xml": content})
    path.write_bytes(path.read_bytes().replace(len(content).to_bytes(4, "little"), (1000).to_bytes(4, "little")))
    return path


def corners(path):
    cell = b'<row r="%d"><c r="%b%d"><v>1</v></c></row>'
    return sheet_of(path, cell % (1, b"A", 1) + cell % (2**20, b"XFD", 2**20))


def repeating(path):
    """Let each of 6,000 rows have 16,384 cells with a value."""
    ods(path, [('office:value-type="string"', "x")], [('office:value-type="float" office:value="1"', "1")])
    parts = parts_of(path)
    content = parts["content.xml"].replace(b"<table:table-row>", b'<table:table-row table:number-rows-repeated="3000">')
    content = content.replace(b"<table:table-cell ", b'<table:table-cell table:number-columns-repeated="16384" ')
    return zipped(path, parts | {"content.xml": content})


def truncated(path):
    content = book(path, *[[f"x{k}", *range(20)] for k in range(50)]).read_bytes()
    path.write_bytes(content[: len(content) // 2])
    return path


def written(content):
    def write(path):
        path.write_bytes(content)
        return path

    return write


OLE = bytes.fromhex("d0cf11e0a1b11ae1")
HOSTILE = {
    "laughs.xlsx": (laughing, "declares entities of XML in xl/worksheets/sheet1.xml"),
    "zeros.xlsx": (zeros, "expands to 2695.* bytes, more than 200 times"),
    "lying.xlsx": (lying, "is damaged|is not a workbook"),
    "corners.xlsx": (corners, "more memory"),
    "repeating.ods": (repeating, "more memory"),
    "truncated.xlsx": (truncated, "is damaged: it begins as a workbook, but is not whole"),
    "locked.xlsx": (written(OLE + bytes(600) + "EncryptedPackage".encode("utf-16-le") + bytes(600)), "is encrypted"),
    "damaged.xls": (written(OLE + bytes(2000)), "is not a workbook, or is damaged"),
    "page.xlsx": (written(b"<html><table><tr><td>1</td></tr></table></html>"), "is no workbook but HTML or XML"),
    "rows.xls": (written(b"x;y\n1;2\n"), r"is no workbook but text; if it is CSV, let its name end in \.csv"),
    "noise.xlsx": (written(bytes(range(256)) * 9), "is no workbook, or is damaged"),
    "other.xlsx": (lambda path: zipped(path, {"a.txt": b"a"}), "is a ZIP file, but holds no workbook"),
    "empty.xlsx": (written(b""), "is empty"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_workbooks_are_refused(tmp_path, name):
    make, why = HOSTILE[name]
    with pytest.raises(layerwise.FileError, match=why) as caught:
        read(make(tmp_path / name))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


def test_rows_that_are_only_styled(tmp_path):
    rows = b'<row r="1"><c r="A1" t="str"><v>x</v></c></row><row r="2"><c r="A2"><v>5</v></c></row>'
    rows += b"".join(b'<row r="%d" s="1" customFormat="1"><c r="A%d" s="0"/></row>' % (k, k) for k in range(3, 10**6))
    assert read(sheet_of(tmp_path / "a.xlsx", rows)) == ({"x": [5]}, [])


def test_process_that_hands_back_nothing(tmp_path, monkeypatch):
    path = book(tmp_path / "a.xlsx", ["x"], [1])
    (tmp_path / "fake.py").write_text("")
    monkeypatch.setattr(workbooks._workbook_reader, "__file__", str(tmp_path / "fake.py"))
    with pytest.raises(layerwise.FileError, match="cannot be trusted"):
        read(path)
