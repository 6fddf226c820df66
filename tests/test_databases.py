"""Rows of databases, read and written: PostgreSQL (a server of its own), SQLite, DuckDB."""

import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import layerwise
from layerwise import FileError, read
from layerwise.cli.fitting import flatten
from layerwise.data import database_output
from layerwise.data.database_drivers import Postgres
from layerwise.data.databases import connected
from layerwise.urls import Url, redact

duckdb = pytest.importorskip("duckdb")
SECRET = "s3cr3t-W0rd"
_BIN = next((path for path in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), None)


@pytest.fixture(scope="module")
def server():
    """Start a server of PostgreSQL on a socket; return the address with a password."""
    pytest.importorskip("adbc_driver_postgresql")
    found = shutil.which("initdb") or (_BIN and _BIN / "initdb")
    if not found or not Path(found).exists():
        pytest.skip("no server of PostgreSQL (initdb) is installed")
    binaries = Path(found).resolve().parent
    folder = Path(tempfile.mkdtemp(prefix="lw-pg-", dir="/tmp"))  # the name of a socket must be short
    (folder / "password").write_text(SECRET)
    as_nobody = []
    if os.getuid() == 0:  # which the server refuses
        if shutil.which("setpriv") is None:
            pytest.skip("PostgreSQL does not run as root, and there is no setpriv")
        as_nobody = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
        for path in (folder, folder / "password"):
            shutil.chown(path, "nobody")

    def call(*words):
        subprocess.run([*as_nobody, *map(str, words)], check=True, stdout=subprocess.DEVNULL, cwd=folder)

    data = folder / "data"
    secure = ["--auth=scram-sha-256", f"--pwfile={folder / 'password'}", "-U", "ann", "-E", "UTF8", "--locale=C", "-N"]
    call(binaries / "initdb", "-D", data, *secure)
    settings = f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off"
    call(binaries / "pg_ctl", "-D", data, "-o", settings, "-w", "-l", folder / "log", "start")
    yield f"postgresql://ann:{SECRET}@/postgres?host={folder}"
    call(binaries / "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
    shutil.rmtree(folder)


def execute(url, *statements):
    """Run statements by the packages themselves; return the rows of the last."""
    if url.startswith("postgresql"):
        from adbc_driver_postgresql import dbapi

        with dbapi.connect(url, autocommit=True) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []
    path = url.partition(":///")[2]
    connection = duckdb.connect(path) if url.startswith("duckdb") else sqlite3.connect(path)
    for statement in statements:
        rows = connection.execute(statement)
    rows = rows.fetchall()
    if url.startswith("sqlite"):
        connection.commit()
    connection.close()
    return rows


N_ROWS = 60


def make_people():
    rng = np.random.default_rng(0)
    return pl.DataFrame(
        {
            "id": np.arange(N_ROWS) + 1000,
            "price": [Decimal(int(value)) / 100 for value in rng.integers(1, 10**6, N_ROWS)],
            "flag": [None if k == 7 else bool(k % 3) for k in range(N_ROWS)],
            "day": [date(2024, 1, 1) + timedelta(days=int(k)) for k in rng.integers(0, 300, N_ROWS)],
            "moment": [
                datetime(2024, 1, 1, tzinfo=UTC) + timedelta(seconds=int(k)) for k in rng.integers(0, 10**6, N_ROWS)
            ],
            "town": [["Bern", "Basel", "Chur"][k % 3] for k in range(N_ROWS)],
            "mood": [["good", "bad"][k % 2] for k in range(N_ROWS)],
            "size": [None if k == 3 else float(value) for k, value in enumerate(rng.normal(size=N_ROWS))],
            "label": [["no", "yes"][k % 4 == 0] for k in range(N_ROWS)],
        },
        schema_overrides={"price": pl.Decimal(10, 2), "mood": pl.Enum(["good", "bad"])},
    )


def literal(value):
    if value is None or isinstance(value, (bool, int, float, Decimal)):
        return {None: "NULL", True: "TRUE", False: "FALSE"}.get(
            value, repr(value) if isinstance(value, float) else str(value)
        )
    return f"'{value}'"


def fill(url):
    rows = ", ".join(f"({', '.join(map(literal, row))})" for row in make_people().rows())
    lite = url.startswith("sqlite")
    execute(
        url,
        *([] if lite else ["CREATE TYPE mood AS ENUM ('good', 'bad')"]),
        "CREATE TABLE people (id bigint primary key, price numeric(10, 2), flag boolean, day date, "
        f"moment {'timestamp' if lite else 'timestamptz'}, town text, mood {'text' if lite else 'mood'}, "
        "size double precision, label text)",
        f"INSERT INTO people VALUES {rows}",
    )


@pytest.fixture(scope="module")
def filled(server, tmp_path_factory):
    folder = tmp_path_factory.mktemp("databases")
    urls = {"postgresql": server, "sqlite": f"sqlite:///{folder}/a.db", "duckdb": f"duckdb:///{folder}/a.duckdb"}
    for url in urls.values():
        fill(url)
    make_people().write_parquet(folder / "people.parquet")
    return urls | {"parquet": folder / "people.parquet"}


@pytest.fixture(params=["postgresql", "sqlite", "duckdb"])
def url(request, filled):
    return filled[request.param]


@pytest.fixture(params=["sqlite", "duckdb"])
def new(request, tmp_path):
    return f"{request.param}:///{tmp_path}/new.{request.param}"


# Reading


def test_rows_are_those_of_parquet(url, filled):
    options = {"labels": "label", "ids": "id", "ignore": ["day"]}
    rows, same = read(url, table="people", **options), read(filled["parquet"], **options)
    assert np.array_equal(rows.X, same.X, equal_nan=True)
    assert rows.feature_names == same.feature_names
    assert rows.y.tolist() == same.y.tolist()
    assert rows.ids["id"].tolist() == same.ids["id"].tolist() == list(range(1000, 1000 + N_ROWS))
    assert rows.ids["id"].dtype == same.ids["id"].dtype
    assert datetime.fromisoformat(rows.origin["read_at"]).tzinfo is not None
    assert "row_order" not in rows.origin


def test_a_model_is_that_of_parquet(run, url, filled, tmp_path):
    common = ["--labels", "label", "--id", "id", "--max-iter", 3, "--random-state", 0, "--no-report"]
    query = "SELECT * FROM people -- all\nORDER BY id ; "
    assert run("fit", url, "--query", query, *common, "--out", tmp_path / "a")[0] == 0
    assert run("fit", filled["parquet"], *common, "--out", tmp_path / "b")[0] == 0
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in "ab"]
    assert weights[0] == weights[1]
    facts = layerwise.runs.read_facts(tmp_path / "a")
    assert facts["query"] == query
    assert facts["read_at"].startswith("20")
    card = (tmp_path / "a" / "MODEL_CARD.md").read_text()
    assert "read at" in card
    assert "ORDER BY id" in card
    code, out, _ = run("evaluate", tmp_path / "a", url)  # the rows of the training
    assert code == 0
    assert out == run("evaluate", tmp_path / "b", filled["parquet"])[1]


def test_rows_in_no_order_are_told(run, url, tmp_path):
    query = "SELECT price, size FROM (SELECT * FROM people ORDER BY id) AS p"
    code, _, err = run("fit", url, "--query", query, "--max-iter", 2, "--no-report", "--out", tmp_path / "a")
    assert code == 0
    assert "Order of the rows: none (the query has no ORDER BY)" in err
    assert "row order" in (tmp_path / "a" / "MODEL_CARD.md").read_text()


def test_init_knows_databases(run, url, filled, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, _ = run("init", url, "--table", "people", "--labels", "label", "--id", "id")
    assert code == 0
    text = Path("run.toml").read_text()
    assert 'table = "people"' in text
    assert SECRET not in text + out
    monkeypatch.setenv("PGPASSWORD", SECRET)
    assert run("fit", "--config", "run.toml", "--max-iter", 2, "--no-report", "--out", "a")[0] == 0


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"table": "people; DROP TABLE people"}, "is not in .*, which has .*'people'"),
        ({"table": 'people" WHERE 1=0 --'}, "is not in"),
        ({"query": "DELETE FROM people RETURNING id"}, "query='DELETE .* (writes|is refused)"),
        ({"query": "DROP TABLE people"}, "query='DROP .*(gives no rows|is refused)"),
        ({"query": "SELECT 1; DROP TABLE people"}, "query='SELECT 1; .* is refused"),
        ({"query": "SELECT nothing FROM people"}, "is refused by the database .*nothing"),
        ({"query": "SELECT size FROM people WHERE id < 0 ORDER BY 1"}, "without rows"),
        ({}, "needs a query or a table, but neither"),
        ({"query": "SELECT 1", "table": "people"}, "needs a query or a table, but both"),
    ],
)
def test_what_is_asked_is_refused_in_a_sentence(url, asked, message):
    with pytest.raises(ValueError, match=message) as found:
        read(url, **asked)
    assert SECRET not in str(found.value)
    assert "\n" not in str(found.value)
    assert len(read(url, table="people").X) == N_ROWS  # as before


def test_a_name_is_quoted_and_may_have_a_schema(url):
    odd = 'odd "name"; x'
    quoted = '"' + odd.replace('"', '""') + '"'
    execute(
        url, f"CREATE TABLE {quoted} (a integer, b double precision)", f"INSERT INTO {quoted} VALUES (1, 2), (2, 4)"
    )
    schema = {"postgresql": "public", "sqlite": "main", "duckdb": "main"}[url.partition(":")[0]]
    assert read(url, table=odd).X.tolist() == read(url, table=f"{schema}.{odd}").X.tolist() == [[1, 2], [2, 4]]
    execute(url, f"DROP TABLE {quoted}")


@pytest.mark.parametrize(
    ("name", "query"),
    [
        ("postgresql", "SELECT size, ARRAY[1, 2] AS odd FROM people"),
        ("postgresql", "SELECT size, '{}'::jsonb AS odd FROM people"),
        ("postgresql", "SELECT size, 5::money AS odd FROM people"),
        ("postgresql", "SELECT size, interval '1 day' AS odd FROM people"),
        ("duckdb", "SELECT size, [1, 2] AS odd FROM people"),
        ("duckdb", "SELECT size, '{}'::JSON AS odd FROM people"),
        ("sqlite", "SELECT size, x'00' AS odd FROM people"),
        ("sqlite", "SELECT size, CASE id WHEN 1000 THEN '' ELSE 1 END AS odd FROM people"),
    ],
)
def test_types_that_are_no_numbers_are_refused_unless_left_out(filled, name, query):
    with pytest.raises(FileError, match=r"column 'odd' holds values of type .*--ignore odd"):
        read(filled[name], query=query)
    assert read(filled[name], query=query, ignore="odd").feature_names == ["size"]


@pytest.mark.parametrize("kind", ["numeric", "numeric(30, 0)", "uuid"])
def test_values_of_postgresql_that_arrow_has_not(server, kind):
    values = ["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"] * 2 if kind == "uuid" else ["5", "12345678901234567"]
    rows = " UNION ALL ".join(f"SELECT '{value}'::{kind} AS name, {k} AS x" for k, value in enumerate(values))
    found = read(server, query=f"{rows} ORDER BY x", ids="name")
    assert [str(value) for value in found.ids["name"].tolist()] == values


def test_numeric_may_be_nan(server):
    found = read(server, query="SELECT unnest(ARRAY[1.5, 'NaN', NULL]::numeric[]) AS x, 1 AS y ORDER BY 1")
    assert np.array_equal(found.X[:, 0], [1.5, np.nan, np.nan], equal_nan=True)


def test_sqlite_takes_types_from_all_values(tmp_path):
    url = f"sqlite:///{tmp_path}/a.db"
    rows = ", ".join(f"({k}, NULL)" for k in range(2000))
    execute(url, "CREATE TABLE t (a NUMERIC, b TEXT)", f"INSERT INTO t VALUES {rows}, (0.5, 'x')")
    found = read(url, table="t", ignore="b")
    assert found.X[-1].tolist() == [0.5]
    assert read(url, query="SELECT b FROM t ORDER BY rowid").feature_names == ["b=missing", "b=x"]


def test_batches_go_through_a_file(url, filled, tmp_path):
    found = read(url, table="people", ids="id", scratch=tmp_path)
    assert found.X.shape[0] == N_ROWS
    assert not list(tmp_path.iterdir())  # it goes with its reader


def test_imputation_reads_once_and_keeps_columns(run, url, tmp_path):
    assert run("fit", url, "--table", "people", "--max-iter", 2, "--no-report", "--out", tmp_path / "a")[0] == 0
    code, _, err = run("impute", tmp_path / "a", url, "--out", tmp_path / "filled.parquet")
    assert code == 0, err
    filled, people = pl.read_parquet(tmp_path / "filled.parquet"), make_people()
    assert filled["size"].null_count() == 0
    assert filled["size"].drop_nulls().to_list()[:3] == people["size"].to_list()[:3]
    assert set(people.columns) <= set(filled.columns)


# Passwords


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("postgresql://ann:pw@host/db", "postgresql://ann:***@host/db"),
        ("postgres://ann:p@w/x?y@host:5/db", "postgres://ann:***@host:5/db"),
        ("postgresql://ann:p?a=w@host", "postgresql://ann:***@host"),
        ("postgresql://ann@host:5432/db?application_name=a@b", "postgresql://ann@host:5432/db?application_name=a@b"),
        ("postgresql://host:5432/db?user=a&password=pw&x=1", "postgresql://host:5432/db?user=a&password=***&x=1"),
        ("postgresql://ann:$DB_PASSWORD@host/db", "postgresql://ann:$DB_PASSWORD@host/db"),
        ("postgresql://ann:${PW}@host/db", "postgresql://ann:${PW}@host/db"),
        ("postgresql://ann:P$WORD@host/db", "postgresql://ann:***@host/db"),
        ("mysql://ann:pw@host/db", "mysql://ann:***@host/db"),
        ("postgresql:/ann:pw@host/db", "postgresql:/ann:***@host/db"),
        ("sqlite:///a.db", "sqlite:///a.db"),
    ],
)
def test_passwords_are_hidden(address, shown):
    assert str(Url(address)) == f"{Url(address)}" == shown
    assert redact(f"see '{address}', please") == f"see '{shown}', please"
    assert Url(Url(address)).secret == address


def search(folder, secret=SECRET):
    """Return the files below a folder that hold a text."""
    return [path for path in folder.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]


def test_no_password_is_written(run, server, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    told = ""

    def call(*words, code=0):
        nonlocal told
        found = run(*words)
        told += found[1] + found[2]
        assert found[0] == code, found
        return found

    call("fit", server, "--table", "people", "--labels", "label", "--max-iter", 2, "--out", "a")
    call("predict", "a", server, "--table", "people", "--out", "a.csv")
    call("predict", "a", server, "--out", server, "--out-table", "hidden")
    call("--json", "predict", "a", server, "--out", server, "--out-table", "hidden", "--overwrite")
    call("predict", "a", server, "--out", server, "--out-table", "hidden", code=2)
    call("report", "a", server, code=2)
    call("fit", server, "--table", "people", "--out", server, code=2)
    call("fit", server, server, code=2)
    call("demo", "--out", server, code=2)
    call("predict", server, server, code=2)
    call("fit", server, "--table", "people", "--labels", server, "--out", "c", code=2)
    call("fit", server.replace(SECRET, "wrong-W0rd"), "--table", "people", "--out", "d", code=2)
    Path("e.toml").write_text(f'data = "{server}"\ntable = "people"\n')
    call("fit", "--config", "e.toml", "--max-iter", 2, "--no-report", "--out", "e")
    Path("e.toml").unlink()
    call("inspect", "e")
    assert SECRET not in told
    assert "wrong-W0rd" not in told
    assert "ann:***@" in told
    assert search(tmp_path) == []
    assert search(tmp_path, "ann:***@") != []
    _, _, err = call("report", "a", code=2)  # a password that is not there
    assert "PGPASSWORD" in err
    monkeypatch.setenv("PGPASSWORD", SECRET)
    call("report", "a")
    call("fit", "--config", "e/run.toml", "--out", "f", "--max-iter", 2, "--no-report")


def test_errors_in_python_and_trackers_get_no_password(server):
    with pytest.raises(OSError, match="does not exist") as found:
        read(server.replace("/postgres?", "/nowhere?"), table="people")
    assert SECRET not in repr(found.value)
    assert found.value.__cause__ is None
    with pytest.raises(ValueError, match="give it as text") as found:
        read(Path(server), table="people")
    assert SECRET not in str(found.value)
    assert SECRET not in str(flatten({"data": Url(server)}))


def test_a_variable_is_looked_up_and_written_as_it_is(run, server, tmp_path, monkeypatch):
    named = server.replace(SECRET, "$LW_PASSWORD")
    code, _, err = run("fit", named, "--table", "people", "--out", tmp_path / "a")
    assert code == 2
    assert "LW_PASSWORD" in err
    monkeypatch.setenv("LW_PASSWORD", SECRET)
    for out, words in (("a", [named, "--table", "people"]), ("b", ["--config", tmp_path / "a" / "run.toml"])):
        assert run("fit", *words, "--max-iter", 2, "--no-report", "--out", tmp_path / out)[0] == 0
    assert "$LW_PASSWORD@" in (tmp_path / "b" / "run.toml").read_text()
    assert search(tmp_path) == []


def test_a_variable_may_hold_any_password(server, monkeypatch):
    execute(server, "DROP ROLE IF EXISTS bob", "CREATE ROLE bob LOGIN PASSWORD 'a/b@c:%d'")
    monkeypatch.setenv("BOB_PASSWORD", "a/b@c:%d")
    assert read(server.replace(f"ann:{SECRET}", "bob:${BOB_PASSWORD}"), query="SELECT 1.5 AS x, 2 AS y").X.size == 2
    with pytest.raises(ValueError, match="%40"):
        read(server.replace(f"ann:{SECRET}", "bob:a/b@c:%d"), query="SELECT 1")


# Writing


def table_of(url, name):
    return execute(url, f'SELECT * FROM "{name}"')


@pytest.fixture(scope="module")
def model(filled, tmp_path_factory):
    """A classifier, trained once for the tests of writing."""
    people = pl.read_parquet(filled["parquet"])
    folder = tmp_path_factory.mktemp("model")
    people.select("id", "price", "town", "label").write_parquet(folder / "rows.parquet")
    words = ["--labels", "label", "--id", "id", "--max-iter", "2", "--no-report", "--quiet", "--random-state", "0"]
    subprocess.run(
        [sys.executable, "-m", "layerwise", "fit", folder / "rows.parquet", *words, "--out", folder / "m"], check=True
    )
    return folder / "m", folder / "rows.parquet"


def test_results_go_into_a_table(run, new, model):
    expected = pl.read_csv(run("predict", *model, "--probabilities")[1].encode())
    into = ["--probabilities", "--out", new, "--out-table", "predictions"]
    code, out, _ = run("predict", *model, *into)
    assert code == 0
    assert f"60 rows are in table predictions of {new}" in out
    rows = table_of(new, "predictions")
    assert [row[:2] for row in rows] == expected.select("id", "label").rows()
    assert np.allclose([row[2] for row in rows], expected["p_no"], atol=1e-6)
    code, _, err = run("predict", *model, *into)
    assert code == 2
    assert "exists; choose another name" in err
    assert run("predict", *model, *into, "--append")[1].startswith("60 rows were added to table predictions")
    assert table_of(new, "predictions") == [*rows, *rows]
    assert run("predict", *model, *into, "--overwrite")[0] == 0
    assert table_of(new, "predictions") == rows


def test_tables_of_postgresql(run, server, model):
    into = ["--out", server, "--out-table", "public.errors"]
    for more, n_rows in (([], 60), (["--append"], 120), (["--overwrite"], 60)):
        code, _, err = run("score", *model, *into, *more)
        assert code == 0, err
        assert execute(server, "SELECT count(*), count(DISTINCT id), min(pg_typeof(error)::text) FROM errors") == [
            (n_rows, 60, "double precision")
        ]
    for command in ("encode", "reconstruct"):
        assert run(command, *model, "--out", server, "--out-table", command)[0] == 0
        assert execute(server, f"SELECT count(*) FROM {command}") == [(60,)]
    execute(server, "DROP TABLE errors", "DROP TABLE encode", "DROP TABLE reconstruct")


def test_values_fit_their_types(new):
    columns = {"x": np.array([0.1, np.nan]), "on": np.array([True, False]), "n": [1, 2], "t": ["a'b", None]}
    database_output.write_table(Url(new), "t", columns, ids={"odd name": [7, 8]})
    truth, lie = (1, 0) if new.startswith("sqlite") else (True, False)
    assert table_of(new, "t") == [(7, 0.1, truth, 1, "a'b"), (8, None, lie, 2, None)]
    assert read(new, query='SELECT x, "odd name" FROM t ORDER BY n').X.tolist()[0] == [0.1, 7]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--out", "{new}"], "name the table to write with --out-table"),
        (["--out", "a.csv", "--out-table", "t"], "are of a database, but out=a.csv is none"),
        (["--out-table", "t"], "are of a database, but out=None is none"),
        (["--out", "{new}", "--out-table", "t", "--append"], "has no table 't'; leave it out"),
        (["--out", "{new}", "--out-table", "u", "--append"], "has no column"),
        (["--out", "{new}", "--out-table", "v", "--append"], "declares column 'label' as"),
        (["--out", "{new}", "--out-table", "u", "--append", "--overwrite"], "exclude each other"),
        (["--out", "{new}", "--out-table", "nowhere.t"], "refused by the database .*nothing was written"),
    ],
)
def test_tables_that_cannot_be_written(run, new, model, words, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    execute(new, "CREATE TABLE u (a integer)", "CREATE TABLE v (id integer, label double precision)")
    before = Path(new.partition(":///")[2]).stat().st_size
    code, _, err = run("predict", *model, *[word.format(new=new) for word in words])
    assert code == 2
    assert len(err.splitlines()) == 1
    assert re.search(message, err), err
    assert table_of(new, "u") == table_of(new, "v") == []
    assert Path(new.partition(":///")[2]).stat().st_size == before


def test_a_database_that_could_not_be_filled_is_not_left(new):
    with pytest.raises(FileError, match="nothing was written"):
        database_output.write_table(Url(new), "nowhere.t", {"x": [1.0]})
    assert not Path(new.partition(":///")[2]).exists()


def test_the_table_that_is_read_is_not_overwritten(run, model, new):
    rows = pl.read_parquet(model[1]).with_columns(pl.col("price").cast(pl.Float64))
    database_output.write_table(Url(new), "rows", {column.name: column.to_numpy() for column in rows})
    words = ["predict", model[0], new, "--table", "rows", "--out", new, "--overwrite", "--out-table"]
    assert run(*words, "rows")[0] == 2
    assert run(*words, "others")[0] == 0
    assert len(read(new, table="rows").X) == len(table_of(new, "others")) == N_ROWS


# What goes wrong


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ((SECRET, "wrong"), "password authentication failed"),
        (("/postgres?", "/nowhere?"), 'database "nowhere" does not exist'),
        (("ann:", "nobody:"), "password authentication failed"),
        (("?host=", "?host=/nowhere"), "No such file or directory"),
        (
            ("postgresql:", "mysql:"),
            "is no database that layerwise knows; known are postgresql://, sqlite://, duckdb://",
        ),
    ],
)
def test_databases_that_do_not_open(run, server, tmp_path, change, message):
    code, out, err = run("fit", server.replace(*change), "--table", "people", "--out", tmp_path / "a")
    assert (code, out) == (2, "")
    assert message in err
    assert len(err.splitlines()) == 1
    assert SECRET not in err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["sqlite", "duckdb"])
def test_files_that_are_no_database(run, kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("odd.db").write_text("no database " * 1000)
    for address, message in ((f"{kind}:///odd.db", "cannot be opened"), (f"{kind}:///none.db", "is not there")):
        code, _, err = run("fit", address, "--table", "people", "--out", "a")
        assert code == 2
        assert message in err
        assert len(err.splitlines()) == 1
    with pytest.raises(FileNotFoundError, match=f"four slashes: {kind}:////"):
        read(f"{kind}:///{str(tmp_path)[1:]}/odd.db", table="t")


SLOW = (
    "SELECT CASE WHEN pg_sleep(0.001) IS NULL THEN 0 ELSE g END AS cut, g * 2.5::float8 AS y "
    "FROM generate_series(1, 9000) g"
)


@pytest.fixture
def cutting(server):
    """Cut connections that stream rows, until the test ends."""
    done = threading.Event()

    def cut():
        while not done.wait(0.05):
            execute(
                server,
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'COPY%AS cut%' "
                "AND pid <> pg_backend_pid()",
            )

    thread = threading.Thread(target=cut)
    thread.start()
    yield
    done.set()
    thread.join()


def test_a_connection_that_is_cut_while_it_reads(run, server, cutting, tmp_path):
    start = time.perf_counter()
    code, _, err = run("fit", server, "--query", SLOW, "--out", tmp_path / "a")
    assert code == 2
    assert "the connection was lost" in err
    assert len(err.splitlines()) == 1
    assert not list(tmp_path.iterdir())
    assert time.perf_counter() - start < 20


@pytest.mark.parametrize("more", [{}, {"overwrite": True}, {"append": True}])
def test_a_connection_that_is_cut_while_it_writes(server, monkeypatch, more):
    execute(server, "DROP TABLE IF EXISTS cut")
    if more:
        execute(server, "CREATE TABLE cut (x double precision)", "INSERT INTO cut VALUES (7)")
    insert, calls = Postgres.insert, []

    def insert_and_cut(self, *rest):
        insert(self, *rest)
        calls.append(rest)
        if len(calls) == 2:
            execute(
                server,
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'",
            )

    monkeypatch.setattr(Postgres, "insert", insert_and_cut)
    monkeypatch.setattr(database_output, "BATCH", 10)
    with pytest.raises(ConnectionError, match=r"was lost .*; nothing was written; run the same command again"):
        database_output.write_table(Url(server), "cut", {"x": np.arange(100.0)}, **more)
    there = execute(server, "SELECT to_regclass('cut') IS NOT NULL")[0][0]
    assert there == bool(more)
    if there:
        assert table_of(server, "cut") == [(7.0,)]


def test_a_fit_goes_on_with_a_database(run, server, tmp_path, monkeypatch):
    from layerwise.cli import fitting

    words = [server, "--query", "SELECT price, size FROM people ORDER BY id", "--random-state", 0, "--no-report"]
    words += ["--max-iter", 5, "--out"]
    assert run("fit", *words, tmp_path / "whole")[0] == 0

    def stop(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(fitting, "judge", stop)
        assert run("fit", *words, tmp_path / "a")[0] == 130
    assert (tmp_path / "a.partial").is_dir()
    assert search(tmp_path) == []
    code, _, err = run("fit", "--resume", "--out", tmp_path / "a")  # no password, no rows
    assert code == 2
    assert "PGPASSWORD" in err
    assert "goes on from there" in err
    execute(server, "UPDATE people SET price = price + 1 WHERE id = 1003")
    code, _, err = run("fit", "--resume", server, "--out", tmp_path / "a")
    assert code == 2  # other rows
    execute(server, "UPDATE people SET price = price - 1 WHERE id = 1003")
    code, _, err = run("fit", "--resume", server, "--out", tmp_path / "a")
    assert code == 0, err
    assert (tmp_path / "a" / "model.safetensors").read_bytes() == (
        tmp_path / "whole" / "model.safetensors"
    ).read_bytes()


def test_reading_and_writing_end_with_the_connection(server):
    with connected(Url(server)) as driver, pytest.raises(Exception, match="read-only"):
        driver.ask("CREATE TABLE never (x integer)")
    n_open = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
    read(server, table="people")
    deadline = time.monotonic() + 5
    while execute(server, n_open) != [(1,)] and time.monotonic() < deadline:
        time.sleep(0.02)
    assert execute(server, n_open) == [(1,)]


def test_packages_are_asked_for_by_the_extra(monkeypatch, filled):
    for name, missing in (("duckdb", "duckdb"), ("postgresql", "adbc_driver_postgresql.dbapi"), ("sqlite", "pyarrow")):
        with monkeypatch.context() as patched:
            patched.setitem(sys.modules, missing, None)
            with pytest.raises(ImportError, match=r"layerwise\[databases\]"):
                read(filled[name], table="people")


def test_packages_are_imported_when_they_are_needed():
    code = "import sys, layerwise.cli, layerwise.data.inputs; print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert not {"duckdb", "adbc_driver_manager", "layerwise.data.databases"}.intersection(found.stdout.split())
