"""Rows that `fit` holds out: which they are, that nothing is learnt from them, and what is said of them."""

import json
import re
import weakref

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.datasets import load_diabetes, load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import layerwise
from layerwise.cli import fitting
from layerwise.cli import task as task_of_fit
from layerwise.cli.held_out import hold_out
from layerwise.cli.judging import list_doubts
from layerwise.cli.trained_rows import digest_rows
from layerwise.data.inputs import Input

SETTINGS = {"model": "classifier", "random_state": 0, "finetuning": {}}


def rows_of(X, y=None, **ids):
    return Input(X, y, ids, None, None, None)


@pytest.fixture
def iris(tmp_path):
    bunch = load_iris(as_frame=True)
    frame = pl.from_pandas(bunch.frame).with_columns(pl.Series("kind", bunch.target_names[bunch.target])).drop("target")
    path = tmp_path / "iris.csv"
    frame.write_csv(path)
    return path


def test_parts_are_all_rows_once_in_the_proportions_of_the_classes():
    y = np.array(["a"] * 60 + ["b"] * 30 + ["c"] * 10 + ["d"])
    X = np.arange(101.0)[:, None]
    held = hold_out(rows_of(X, y), y, SETTINGS)
    assert sorted([*held.source.X[:, 0], *held.rows.X[:, 0]]) == list(range(101))
    assert pd.Series(held.labels).value_counts().to_dict() == {"a": 12, "b": 6, "c": 2}  # the only d is trained on
    np.testing.assert_array_equal(y[held.rows.X[:, 0].astype(int)], held.labels)
    np.testing.assert_array_equal(held.rows.X[:, 0], held.places)
    np.testing.assert_array_equal(y[held.source.X[:, 0].astype(int)], held.y)
    again = hold_out(rows_of(X, y), y, SETTINGS)
    np.testing.assert_array_equal(held.rows.X, again.rows.X)
    other = hold_out(rows_of(X, y), y, SETTINGS | {"random_state": 1})
    assert not np.array_equal(held.rows.X, other.rows.X)


def test_rows_that_were_read_are_gone_while_copies_of_them_are_trained_on(run, iris, tmp_path, monkeypatch):
    """What is held out halves no memory; what a run remembers of all rows is of all of them."""
    kept, alive = [], []

    def reading(**options):
        found = layerwise.read(**options)
        kept.append((weakref.ref(found.X), np.array(found.X)))
        return found

    def training(task, *rest):
        alive.append(kept[-1][0]() is not None)
        return task_of_fit.train(task, *rest)

    monkeypatch.setattr(fitting, "read", reading)
    monkeypatch.setattr(fitting, "train", training)
    flags = ["--ignore", "kind", "--layers", "2", "--max-iter", "2", "--random-state", "0", "--no-report"]
    for share in ("0.2", "0"):
        out = tmp_path / share
        code, _, err = run("fit", iris, "--out", out, *flags, "--validation-fraction", share)
        assert code == 0, err
        facts, X = json.loads((out / "run.json").read_text()), kept[-1][1]
        assert facts["n_rows"] == len(X) == 150
        assert facts["ranges"] == np.array([X.min(axis=0), X.max(axis=0)]).T.tolist()
        assert facts["digest_of_rows"] == digest_rows(X)
    assert alive == [False, True]


def test_rows_without_a_label_are_trained_on():
    y = np.where(np.arange(300) % 3 == 0, np.arange(300) % 2, -1)
    held = hold_out(rows_of(np.arange(300.0)[:, None], y), y, SETTINGS | {"finetuning": {"unlabeled": -1}})
    assert len(held.labels) == 20
    assert -1 not in held.labels


def test_groups_stay_together_and_rows_in_time_in_order():
    X, machine = np.arange(200.0)[:, None], np.repeat([f"m{number}" for number in range(20)], 10)
    settings = {"model": "autoencoder", "random_state": 0}
    held = hold_out(rows_of(X, machine=machine), None, settings | {"groups": "machine"})
    assert len(held.rows.X) == 40
    assert not set(held.rows.ids["machine"]) & set(held.source.ids["machine"])
    held = hold_out(rows_of(X), None, settings | {"ordered": True, "validation_fraction": 0.1})
    assert held.rows.X[:, 0].tolist() == list(range(180, 200))
    alone = rows_of(X, machine=np.repeat("m", 200))
    with pytest.raises(ValueError, match="all rows belong to the group 'm'"):
        hold_out(alone, None, settings | {"groups": "machine"})


def test_few_rows_are_held_out_by_folds():
    X = np.arange(49.0)[:, None]
    held = hold_out(rows_of(X), None, {"model": "autoencoder", "random_state": 0})
    assert held.rows is None
    assert len(held.source.X) == 49
    assert sorted(np.concatenate(held.folds)) == list(range(49))
    assert {len(fold) for fold in held.folds} == {9, 10}
    assert "49 of 49 rows, by 5 folds: as 49 rows are too few to spare some (at least 50)" in held.how
    y = np.array(["a"] * 20 + ["b"] * 3 + ["c"] + [""] * 30)
    settings = SETTINGS | {"finetuning": {"unlabeled": ""}}
    held = hold_out(rows_of(np.arange(54.0)[:, None], y), y, settings)
    assert [sorted(y[fold]).count("b") for fold in held.folds] == [1, 1, 1]  # the smallest class says how many
    assert sorted(np.concatenate(held.folds)) == list(range(23))  # the only c is trained on, rows without a label too
    many = hold_out(rows_of(np.zeros((45, 9000))), None, {"model": "autoencoder", "random_state": 0})
    assert not many.folds
    assert "all rows too many to train 5 times" in many.how


@pytest.mark.parametrize(
    ("y", "said"),
    [
        (["a"] * 8 + ["b"], "9 rows with labels are too few to spare some (at least 50), and for folds two classes"),
        (["a"] * 5 + ["b"] * 3, "8 rows with labels are too few to spare some (at least 50), and fewer than 10"),
        ([f"{place}" for place in range(40)], "40 rows with labels are too few to spare some (at least 200), and for"),
    ],
)
def test_too_few_rows_for_folds_are_told(y, said):
    y = np.array(y)
    held = hold_out(rows_of(np.zeros((len(y), 1)), y), y, SETTINGS)
    assert held.how.startswith(f"none, as {said}")
    assert not held.folds


def test_figures_by_folds_are_those_of_models_without_the_fold(run, iris, tmp_path):
    """What is said of each row comes from a model that has not seen it; the model itself has seen all."""
    frame = pl.read_csv(iris)[[*range(0, 80, 10), *range(100, 148, 4), *range(80, 100, 7)]]
    data, out = tmp_path / "few.csv", tmp_path / "run"
    frame.write_csv(data)
    flags = ["--labels", "kind", "--layers", 4, "--max-iter", 15, "--random-state", 3]
    code, text, err = run("fit", data, *flags, "--out", out)
    assert code == 0, err
    facts = json.loads((out / "run.json").read_text())
    figures, told = facts["held_out_figures"], facts["held_out"]
    y = frame["kind"].to_numpy()
    held = hold_out(rows_of(frame.drop("kind").to_numpy(), y), y, SETTINGS | {"random_state": 3})
    X, right, linear = frame.drop("kind").to_numpy().astype(np.float32), 0, 0
    for fold in held.folds:
        inside = np.setdiff1d(np.arange(23), fold)
        frame[inside].write_csv(tmp_path / "inside.csv")
        run(
            "fit",
            tmp_path / "inside.csv",
            *flags,
            "--validation-fraction",
            0,
            "--no-report",
            "--out",
            tmp_path / "f",
            "--overwrite",
        )
        right += (layerwise.load(tmp_path / "f")[-1].predict(X[fold]) == y[fold]).sum()
        rival = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300)).fit(X[inside], y[inside])
        linear += (rival.predict(X[fold]) == y[fold]).sum()
    assert figures["n_folds"] == len(held.folds)
    assert figures["n_rows"] == 23
    assert figures["accuracy"] == pytest.approx(right / 23)
    assert figures["accuracy_of_linear"] == pytest.approx(linear / 23)
    assert figures["accuracy_of_commonest"] == frame["kind"].value_counts()["count"].max() / 23
    assert f"on 23 rows by {len(held.folds)} folds (" in told
    assert f"Held out: {told}" in text
    assert told in (out / "MODEL_CARD.md").read_text().replace("\\", "")
    page = (out / "report.html").read_text()
    assert f"on new ones it will do worse. On rows held out: {told}." in page
    assert "fold 1 of" in err
    assert "fold" not in (out / "metrics.jsonl").read_text()
    run("fit", data, *flags, "--validation-fraction", 0, "--no-report", "--out", tmp_path / "all")
    bits = [(folder / "model.safetensors").read_bytes() for folder in (out, tmp_path / "all")]
    assert bits[0] == bits[1]  # the folds leave no trace in the model


@pytest.mark.parametrize(("labels", "figure"), [("amount", "r2"), (None, "explained_variance")])
def test_amounts_and_reconstructions_are_measured_over_all_folds(run, tmp_path, labels, figure):
    """Folds of two rows have no R2 of their own that means anything; gaps are filled in without the fold."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(12, 2))
    third = [None, *x.sum(axis=1)[1:]]
    pl.DataFrame({"a": x[:, 0], "b": x[:, 1], "c": third, "amount": 10 * x[:, 0]}).write_csv(tmp_path / "x.csv")
    told = ["--labels", labels] if labels else ["--ignore", "amount"]
    flags = [*told, "--layers", 1, "--max-iter", 20, "--random-state", 0, "--no-report", "--json"]
    code, out, err = run("fit", tmp_path / "x.csv", *flags, "--out", tmp_path / "run")
    assert code == 0, err
    figures = json.loads(out)["held_out_figures"]
    assert (figures["n_rows"], figures["n_folds"]) == (12, 5)
    assert 0.5 < figures[f"{figure}_of_linear"] < 1
    assert figures[figure] < figures[f"{figure}_on_training"] <= 1


def test_few_rows_to_be_judged_are_all_trained_on():
    X = np.zeros((49, 1))
    asked = {"model": "autoencoder", "random_state": 0, "validation_fraction": 0.2}
    assert len(hold_out(rows_of(X), None, asked).rows.X) == 10
    many = hold_out(rows_of(np.zeros((500, 1))), None, {"model": "outliers", "random_state": 0})
    assert many.rows is None
    assert "all rows are to be judged" in many.how


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--validation-fraction", "1"], "validation_fraction=1 must be a share"),
        (["--groups", "kind", "--ordered"], "--groups and --ordered exclude each other"),
        (["--validation-data", "x.csv", "--validation-fraction", "0.2"], "exclude each other"),
        (["--groups", "machine"], "'machine' is no column"),
        (["--validation-data", "absent.csv"], "absent.csv is not there"),
        (["--model", "outliers", "--ordered"], "ordered=True has no meaning with model='outliers'"),
        (["--model", "outliers", "--validation-fraction", "0.2"], "validation_fraction=0.2 has no meaning"),
    ],
)
def test_what_does_not_go_together_is_refused(run, iris, tmp_path, flags, message):
    code, _, err = run("fit", iris, "--ignore", "kind", "--out", tmp_path / "run", *flags)
    assert code == 2
    assert message in err
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_figures_are_those_of_rows_never_trained_on(run, iris, tmp_path):
    """A file of its own: what fit says of it is what evaluate says, and the linear model is scikit-learn's."""
    frame = pl.read_csv(iris).sample(fraction=1, shuffle=True, seed=0)
    train, other = tmp_path / "train.csv", tmp_path / "other.csv"
    frame.head(100).write_csv(train)
    frame.tail(50).write_csv(other)
    more = ["--layers", 5, "--max-iter", 20, "--random-state", 0, "--validation-data", other]
    code, out, err = run("fit", train, "--labels", "kind", "--out", tmp_path / "run", *more, "--json")
    assert code == 0, err
    figures = json.loads(out)["held_out_figures"]
    _, out, _ = run("evaluate", tmp_path / "run", other, "--labels", "kind", "--json")
    assert figures["accuracy"] == json.loads(out)["accuracy"]
    X, y = (frame.drop("kind").to_numpy(), frame["kind"].to_numpy())
    linear = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300)).fit(X[:100], y[:100])
    assert figures["accuracy_of_linear"] == pytest.approx(linear.score(X[100:], y[100:]), abs=0.021)
    assert figures["n_rows"] == 50


def test_said_in_terminal_card_and_report_and_repeated_from_toml(run, tmp_path):
    data = tmp_path / "diabetes.csv"
    pl.from_pandas(load_diabetes(as_frame=True).frame).write_csv(data)
    out = tmp_path / "run"
    flags = ["--labels", "target", "--layers", 30, "--max-iter", 40, "--random-state", 0]
    code, text, err = run("fit", data, *flags, "--out", out)
    assert code == 0, err
    assert "Held out: 88 of 442 rows, at random" in err or "Held out: 89 of 442 rows, at random" in err
    facts = json.loads((out / "run.json").read_text())
    told = facts["held_out"]
    assert told.startswith("R2 0.")
    assert "ridge regression 0." in told
    assert told in text
    assert told in (out / "MODEL_CARD.md").read_text().replace("\\", "")
    page = (out / "report.html").read_text()
    assert "Figures are of other rows than the model was trained on" in page
    assert (
        max(int(place) for place in re.findall(r">row (\d+)<", page)) > 89
    )  # as in the file, not among those held out
    code, _, err = run("fit", "--config", out / "run.toml", "--out", tmp_path / "again")
    assert code == 0, err
    bits = [(folder / "model.safetensors").read_bytes() for folder in (out, tmp_path / "again")]
    assert bits[0] == bits[1]


def test_all_rows_are_trained_on_where_that_is_asked_for(run, iris, tmp_path):
    flags = ["--ignore", "kind", "--layers", 3, "--max-iter", 5, "--random-state", 0]
    code, out, err = run("fit", iris, *flags, "--validation-fraction", 0, "--out", tmp_path / "run", "--json")
    assert code == 0, err
    assert "Held out: none, as asked for" in err
    assert "held_out" not in json.loads(out)
    assert "Figures are of the rows that the model was trained on" in (tmp_path / "run" / "report.html").read_text()


@pytest.mark.parametrize(
    ("value", "trained", "linear", "said"),
    [
        (0.90, 0.95, 0.90, []),
        (0.80, 0.95, 0.80, ["overfits"]),
        (0.80, 0.85, 0.95, ["logistic regression is better"]),
        (0.60, 1.0, 0.9, ["logistic regression is better", "overfits"]),
        (0.60, 0.6, None, []),
    ],
)
def test_what_should_be_looked_into(value, trained, linear, said):
    figures = {"accuracy": value, "accuracy_on_training": trained, "accuracy_of_linear": linear}
    found = [what for what, _ in list_doubts(figures, "classifier")]
    assert len(found) == len(said)
    assert all(word in what for word, what in zip(said, found, strict=True))


def test_the_linear_model_is_measured_with_gaps_in_numbered_labels(run, tmp_path):
    """Labels of numbers become floats beside gaps: the classes are the same."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 2))
    kind = pl.Series((x[:, 0] > 0).astype(int))
    table = pl.DataFrame({"a": x[:, 0], "b": x[:, 1], "kind": kind})
    gaps = pl.when(pl.Series(np.arange(300) % 4 == 0)).then(None).otherwise(pl.col("kind"))
    table.with_columns(gaps.alias("kind")).write_csv(tmp_path / "x.csv")
    flags = ["--labels", "kind", "--max-iter", 5, "--random-state", 0, "--no-report", "--json"]
    code, out, err = run("fit", tmp_path / "x.csv", *flags, "--out", tmp_path / "run")
    assert code == 0, err
    assert json.loads(out)["held_out_figures"]["accuracy_of_linear"] > 0.9


@pytest.mark.filterwarnings("ignore:X holds values far")
def test_what_is_odd_about_a_table_is_said_before_the_training(run, tmp_path):
    n = 60
    days = pl.date_range(pl.date(2026, 1, 1), pl.date(2026, 3, 1), eager=True).head(n).dt.strftime("%d.%m.%Y")
    table = pl.DataFrame(
        {"day": days, "x": [-999.0, -999.0, *np.linspace(1, 2, n - 2)], "kind": ["NA", "b", "c"] * (n // 3)}
    )
    table.write_csv(tmp_path / "x.csv")
    code, _, err = run("fit", tmp_path / "x.csv", "--max-iter", 2, "--no-report", "--out", tmp_path / "run")
    assert code == 0, err
    assert "rows are in the order of column 'day': --ordered holds the last ones out" in err
    assert "'x' (-999 in 2 of 60 rows): such numbers, far from all others, may stand for missing values" in err
    assert "'NA' in 'kind' is a value of text like others; name what stands for nothing with --missing" in err
    assert "another whole number in every row" not in err
    code, _, err = run(
        "fit", tmp_path / "x.csv", "--model", "outliers", "--max-iter", 2, "--no-report", "--out", tmp_path / "o"
    )
    assert "Outliers: the most unusual 10 % of the rows (--contamination)" in err


def test_rows_that_a_model_was_trained_on_are_no_test_of_it(run, tmp_path):
    """In another order, in part, among a few others; not rows like them, nor those held out."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(900, 2)).astype(np.float32)
    gaps = [None if place % 7 == 0 else value for place, value in enumerate(x[:, 1].tolist())]
    frame = pl.DataFrame({"a": x[:, 0], "b": gaps})
    data, out = tmp_path / "x.csv", tmp_path / "run"
    frame.write_csv(data)
    flags = ["--layers", 2, "--max-iter", 3, "--random-state", 0, "--no-report"]
    run("fit", data, *flags, "--out", out)
    held = hold_out(rows_of(frame.to_numpy()), None, {"model": "autoencoder", "random_state": 0})
    inside = np.setdiff1d(np.arange(900), held.places)
    others = frame.with_columns(pl.col("a") + 1)
    cases = {
        "all": (frame, True),
        "turned": (frame[::-1], True),
        "some": (frame[inside[:300]], True),
        "mixed": (pl.concat([frame[inside[:400]], others[:100]]), True),
        "others": (others, False),
        "few": (pl.concat([frame[inside[:100]], others]), False),
        "held_out": (frame[held.places], False),
    }
    for name, (table, known) in cases.items():
        table.write_csv(tmp_path / f"{name}.csv")
        _, text, _ = run("evaluate", out, tmp_path / f"{name}.csv")
        assert ("These rows were trained on" in text) is known, name
    facts = json.loads((out / "run.json").read_text())
    assert f"(held out: {facts['held_out']})" in json.loads(run("evaluate", out, data, "--json")[1])["doubt"]
    _, text, err = run("score", out, data)
    assert "These rows were trained on" in err
    assert "trained on" not in text
    del facts["sample_of_rows"]  # as runs of earlier versions
    (out / "run.json").write_text(json.dumps(facts))
    assert "trained on" not in run("evaluate", out, data)[1]
    (out / "run.json").write_text(json.dumps(facts | {"sample_of_rows": {"n_rows": 3, "hashes": ["x"]}}))
    assert "sample_of_rows is not what a run has there" in run("evaluate", out, data)[2]
    run("fit", data, "--model", "outliers", *flags, "--out", tmp_path / "o")
    assert "trained on" not in "".join(map(str, run("evaluate", tmp_path / "o", data)))  # it is to judge them


def test_what_is_filled_in_is_no_reason(run, tmp_path):
    """In the command and in the report's list of unusual rows."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 3))
    x[5, 0] += 9
    frame = pl.DataFrame({"a": x[:, 0], "b": x[:, 1], "c": x[:, 2], "kind": ["u", "v", "w"] * 20})
    gap = pl.Series(np.arange(60) == 5)
    frame = frame.with_columns(pl.when(gap).then(None).otherwise(pl.col("b")).alias("b"))
    frame.write_csv(tmp_path / "x.csv")
    flags = ["--model", "outliers", "--layers", 1, "--max-iter", 5, "--random-state", 0, "--out", tmp_path / "run"]
    code, _, err = run("fit", tmp_path / "x.csv", *flags)
    assert code == 0, err
    rows = json.loads(run("score", tmp_path / "run", tmp_path / "x.csv", "--because", "--per-feature", "--json")[1])
    row = rows["rows"][5]
    assert "b " not in row["because"]
    assert row["error: b"] > 0  # it counts in the error all the same
    assert row["because"].startswith("a ")
    assert any("b " in other["because"] for other in rows["rows"])
    page = (tmp_path / "run" / "report.html").read_text()
    assert "unknown" not in page[page.index("Unusual rows") :].split("</section>")[0]
