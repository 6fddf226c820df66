"""Labels of another file than that of the training (fit --validation-data, evaluate, compare --test-data): as there."""

import json

import numpy as np
import pandas as pd
import polars as pl
import pytest

FEW = ("--labels", "y", "--layers", 1, "--max-iter", 2, "--random-state", 0, "--no-report", "--json")
RNG = np.random.default_rng(0)
X = RNG.random((24, 2)).round(3)
AMOUNTS = 1000 * (1 + X[:, 0]).round(3)


def write(path, labels, X=X):
    pd.DataFrame({"a": X[:, 0], "b": X[:, 1], "y": labels}).to_csv(path, index=False, sep=";")


def german(amounts, unit=" €"):
    return [f"{x:,.2f}".replace(",", " ").replace(".", ",").replace(" ", ".") + unit for x in amounts]


@pytest.fixture
def figures(run, tmp_path, monkeypatch):
    """Fit to ``train`` with ``other`` as validation data, and evaluate on it; both must agree."""
    monkeypatch.chdir(tmp_path)

    def figures(train, other, *more):
        write("train.csv", train)
        if not isinstance(other, str):
            write("other.csv", other)
            other = "other.csv"
        fit = ("fit", "train.csv", "--out", "r", "--overwrite", *FEW, *more)
        assert run(*fit, "--validation-fraction", 0)[0] == 0
        code, _, refused = run("evaluate", "r", other)
        validated, out, err = run(*fit, "--validation-data", other)
        assert validated == code
        if code != 0:
            assert (code, len(refused.splitlines())) == (2, 1)
            return refused, err
        found = json.loads(out)["held_out_figures"]
        evaluated = json.loads(run("evaluate", "r", other, "--json")[1])
        for name in evaluated.keys() - {"n_rows", "doubt"}:
            assert found[name] == pytest.approx(evaluated[name]), name
        return found | {"told": err}

    return figures


@pytest.mark.filterwarnings("always")
def test_amounts_are_written_as_in_the_training(figures):
    """With the marks of the training: 1.234 is a thousand and more, plain as with its unit, and said to be plain."""
    with_unit = figures(german(AMOUNTS), german(AMOUNTS))
    assert "plain" not in with_unit["told"]
    whole = [f"{x:,.0f}".replace(",", ".") for x in AMOUNTS]  # 1.234, a number to whom nobody has told
    for plain in (german(AMOUNTS, ""), whole):
        found = figures(german(AMOUNTS), plain)
        assert found["mean_absolute_error"] == pytest.approx(with_unit["mean_absolute_error"], rel=1e-6)
        assert "other.csv are plain numbers, read as amounts in '€', as those of the training are" in found["told"]
    pl.DataFrame({"a": X[:, 0], "b": X[:, 1], "y": AMOUNTS}).write_parquet("other.parquet")
    found = figures(german(AMOUNTS), "other.parquet")
    assert found["mean_absolute_error"] == pytest.approx(with_unit["mean_absolute_error"], rel=1e-6)


@pytest.mark.parametrize(
    ("train", "other", "told"),
    [
        (german(AMOUNTS), german(AMOUNTS, " $"), "amounts written with '€', thousands '.', decimal commas"),
        (german(AMOUNTS), AMOUNTS + 0.25, "amounts written with '€', thousands '.', decimal commas"),
        ([f"{x} kg" for x in X[:, 0]], [f"{x} g" for x in X[:, 0]], "amounts written with 'kg'"),
        (X[:, 0], [f"{x} g" for x in X[:, 0]], "plain numbers"),
        (X[:, 0], ["none so far", *X[1:, 0]], "plain numbers"),
    ],
)
def test_amounts_written_otherwise_are_refused(figures, train, other, told):
    label = str(next(iter(other)))
    for place, err in zip(("other.csv", "validation_data=other.csv"), figures(train, other), strict=True):
        assert f"{place} holds the label {label!r} in row 1 (counted from 1), but those of the training" in err
        assert f"are {told}; write it alike, or leave it empty\n" in err


def test_the_label_that_stood_for_none_does_so_elsewhere(figures):
    labels = ["tba", *X[1:, 0]]
    found = figures(labels, ["tba", "tba", *X[2:, 0]], "--unlabeled", "tba")
    assert found["n_labelled"] == 22
    found = figures([-1, *X[1:, 0]], ["", -1, *X[2:, 0]], "--unlabeled", -1)
    assert found["n_labelled"] == 22


CODES = [f"{k % 2 + 1:02}" for k in range(24)]


@pytest.mark.parametrize(
    ("train", "other", "n_labelled"),
    [
        (["x", *CODES[1:]], CODES, 24),  # which alone would be numbers, 1 and 2
        (CODES, ["", *CODES[1:]], 23),  # whole numbers beside a gap are floats
        (["", *CODES[1:]], CODES, 24),
        ([k % 2 == 0 for k in range(24)], ["", *(k % 2 == 0 for k in range(1, 24))], 23),
        (["", *(k % 2 == 0 for k in range(1, 24))], [k % 2 == 0 for k in range(24)], 24),
    ],
)
def test_classes_have_the_type_of_those_of_the_training(run, figures, train, other, n_labelled):
    found = figures(train, other)
    assert found["n_labelled"] == n_labelled
    assert found["accuracy_of_linear"] > 0.4  # 0 where 1 is no 1.0
    words = ("--budgets", "all", "--seeds", 1, "--layers", 1, "--finetune", "head", "--rivals", "--json", "--out", "c")
    code, out, err = run("compare", "train.csv", "y", "--test-data", "other.csv", *words)
    assert code == 0, err
    assert json.loads(out)["n_test"] == n_labelled


def test_a_label_that_is_no_class_is_named(run, tmp_path, monkeypatch):
    """Not the first label, where the others are written as text because of it."""
    monkeypatch.chdir(tmp_path)
    write("train.csv", [k % 2 + 1 for k in range(24)])
    write("other.csv", ["1", "2", "odd"] * 8)
    told = "other.csv holds odd, which is none of the classes: 1, 2\n"
    assert f"validation_data={told}" in run("fit", "train.csv", "--validation-data", "other.csv", "--out", "r", *FEW)[2]
    assert f"test_data={told}" in run("compare", "train.csv", "y", "--test-data", "other.csv", "--out", "c")[2]


def test_labels_in_a_file_of_their_own_are_read_as_those_of_the_training(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("X.npy", X)
    for name, labels in {"train": ["x", *CODES[1:]], "other": CODES}.items():
        pd.DataFrame({"label": labels}).to_csv(f"{name}.csv", index=False)
    words = ("--validation-fraction", 0, "--out", "r", *FEW[2:])
    assert run("fit", "X.npy", "--labels", "train.csv", *words)[0] == 0
    found = json.loads(run("evaluate", "r", "X.npy", "--labels", "other.csv", "--json")[1])
    predicted = [row["label"] for row in json.loads(run("predict", "r", "X.npy", "--json")[1])["rows"]]
    assert found["accuracy"] == pytest.approx(np.mean(np.array(predicted) == CODES))
    assert found["accuracy"] > 0
