"""The command line as a user meets it: what it prints, what it leaves on disk, how it refuses."""

import gzip
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import time

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image
from scipy import sparse
from scipy.io import loadmat, savemat
from sklearn.datasets import load_iris
from sklearn.metrics import average_precision_score
from sklearn.pipeline import make_pipeline

import layerwise
from layerwise import recipes
from layerwise.cli.targets import choose_model
from layerwise.data import Digits, TableEncoder
from layerwise.inspection import bare, stack_of
from layerwise.reproduce import EXPERIMENTS, ufldl_stacked


@pytest.fixture(scope="module")
def files(tmp_path_factory, digits):
    folder = tmp_path_factory.mktemp("files")
    images, labels = digits.X_train[:120].reshape(-1, 28, 28), digits.y_train[:120]
    (folder / "images.gz").write_bytes(gzip.compress(struct.pack(">4I", 0x803, *images.shape) + images.tobytes()))
    (folder / "labels.idx").write_bytes(struct.pack(">2I", 0x801, len(labels)) + labels.tobytes())
    np.save(folder / "images.npy", images)
    np.save(folder / "labels.npy", labels)
    np.save(folder / "table.npy", digits.X_train[:120, 300:310] / 255)
    np.save(folder / "wide.npy", np.zeros((3, 800)))
    nan = digits.X_train[:50] / 255
    nan[4, 5] = np.nan
    np.save(folder / "nan.npy", nan)
    np.save(folder / "big.npy", digits.X_train[:50].astype(float))
    (folder / "magic.idx").write_bytes(b"\x89PNG\r\n")
    (folder / "cut.idx").write_bytes((folder / "labels.idx").read_bytes()[:-1])
    (folder / "lie.idx").write_bytes(struct.pack(">4I", 0x803, 2**31, 28, 28) + bytes(100))
    (folder / "corrupt.gz").write_bytes((folder / "images.gz").read_bytes()[:3000])
    return folder


FIT = ("--layers", 8, 5, "--max-iter", 3, "--random-state", 0)


@pytest.fixture(scope="module")
def model(files, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "digits"
    words = ["fit", files / "images.gz", "--labels", files / "labels.idx", "--out", out, *FIT]
    subprocess.run([sys.executable, "-m", "layerwise", *map(str, words)], check=True, capture_output=True)
    return out


def test_fit_leaves_a_run(model):
    assert {path.name for path in model.iterdir()} == {
        *("MODEL_CARD.md", "config.json", "filters.png", "loss.png", "metrics.jsonl", "model.safetensors"),
        *("reconstructions.png", "report.html", "run.json", "run.toml"),
    }
    lines = [json.loads(line) for line in (model / "metrics.jsonl").read_text().splitlines()]
    assert [line["iteration"] for line in lines if line["stage"] == "layer 0"] == [1, 2, 3, 3]
    assert list(dict.fromkeys(line["stage"] for line in lines)) == ["layer 0", "layer 1", "head", "finetune"]


def test_encode_predict_evaluate(run, model, files, tmp_path):
    estimator = layerwise.load(model)
    X, y = np.load(files / "images.npy").reshape(120, -1), np.load(files / "labels.npy")

    code, out, _ = run("encode", model, files / "images.npy", "--out", tmp_path / "codes.npy")
    assert code == 0
    assert out == f"120 rows are in {tmp_path / 'codes.npy'}\n"
    np.testing.assert_array_equal(np.load(tmp_path / "codes.npy"), estimator.transform(X))

    code, out, _ = run("predict", model, files / "images.gz")
    assert code == 0
    assert out.split() == ["label", *(str(label) for label in estimator.predict(X))]
    code, _, _ = run("predict", model, files / "images.gz", "--out", tmp_path / "labels.npy")
    assert code == 0
    np.testing.assert_array_equal(np.load(tmp_path / "labels.npy"), estimator.predict(X))

    code, out, _ = run("evaluate", model, files / "images.gz", "--labels", files / "labels.npy")
    assert code == 0
    assert f"accuracy: {estimator.score(X, y):.6g}" in out


def test_fit_without_labels_or_images(run, files, tmp_path):
    out = tmp_path / "run"
    code, printed, err = run("fit", files / "table.npy", "--out", out, *FIT, "--sparsity-target", 0.2)
    assert code == 0
    assert "mean activation" in err
    assert "(target 0.2)" in err
    assert f"Next: layerwise encode {out} {files / 'table.npy'} --out codes.csv" in err
    assert "report.html" in printed
    assert not (out / "filters.png").exists()
    code, printed, _ = run("evaluate", out, files / "table.npy")
    assert code == 0
    assert "reconstruction_error: " in printed
    assert "explained_variance: " in printed


def test_texts_of_many_values(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    towns = [f"town {place % 120}" if place % 6 else "Bern" for place in range(600)]
    rows = [f"{town},{place % 7},{'ab'[place % 2]}" for place, town in enumerate(towns)]
    (tmp_path / "x.csv").write_text("\n".join(["town,n,kind", *rows]))
    words = ("--max-iter", 2, "--layers", 3, "--no-report")
    code, _, err = run("fit", "x.csv", "--labels", "kind", "--max-categories", 50, "--out", "pooled", *words)
    assert code == 0
    assert "Columns: 1 number, 1 text of 101 values, the 49 most frequent kept ('town')\n" in err
    few = "\n".join(["town,n,kind", *(f"town {place % 70},{place % 7},a" for place in range(100))])
    (tmp_path / "y.csv").write_text(few)
    assert "1 text of too many values left out ('town')" in run("init", "y.csv", "--max-categories", 50)[1]
    (tmp_path / "run.toml").unlink()
    assert run("fit", "x.csv", "--labels", "kind", "--max-categories", 120, "--out", "r", *words)[0] == 0
    assert "\nmax_categories = 120 " in (tmp_path / "r" / "run.toml").read_text()
    assert run("fit", "--config", "r/run.toml", "--out", "again")[0] == 0
    assert run("predict", "again", "x.csv")[0] == 0
    assert run("init", "x.csv", "--max-categories", 150)[0] == 0
    assert "\nmax_categories = 150 " in (tmp_path / "run.toml").read_text()
    compare = ("compare", "x.csv", "kind", "--model", "r", "--budgets", 20, "--seeds", 1, "--finetune", "head")
    assert run(*compare, "--out", "c")[0] == 0


@pytest.mark.parametrize("block", [2**22, 12])
def test_fit_hints_at_columns_that_only_tell_rows_apart_or_nothing(run, tmp_path, monkeypatch, block):
    monkeypatch.setattr("layerwise.data.values._BLOCK", block)
    rows = [f"{1000 + 3 * k},{5 * k},{k if k != 7 else ''},CHF,{k % 3},5" for k in range(30)]
    (tmp_path / "x.csv").write_text("\n".join(["customer id,time,gap,currency,kind,five", *rows]))
    flags = ("--impute", "--layers", 2, "--max-iter", 2, "--no-report", "--out")
    err = run("fit", tmp_path / "x.csv", *flags, tmp_path / "r")[2]
    assert "Columns: 4 numbers, 1 text of 1 value, 1 name per row left out ('customer id')\n" in err
    assert "column 'time' has another whole number in every row: if it only tells rows apart, give it with --id" in err
    assert "columns 'five', 'currency' tell nothing: all values are the same" in err
    words = ("--id", "time", "--ignore", "five", "currency", *flags, tmp_path / "s")
    err = run("fit", tmp_path / "x.csv", *words)[2]
    assert "rows apart" not in err
    assert "nothing" not in err


def test_fit_says_how_many_rows_have_labels(run, files, tmp_path):
    labels = np.load(files / "labels.npy").astype(int)
    labels[20:] = -1
    np.save(tmp_path / "few.npy", labels)
    words = ["fit", files / "images.npy", "--labels", tmp_path / "few.npy", "--unlabeled", -1, *FIT]
    code, _, err = run(*words, "--out", tmp_path / "run")
    assert code == 0, err
    assert "120 images of 28 x 28, 20 of them with labels\n" in err
    assert json.loads((tmp_path / "run" / "run.json").read_text())["n_labelled"] == 20
    assert "| n labelled | 20 |" in (tmp_path / "run" / "MODEL_CARD.md").read_text()
    assert "<dt>Rows with labels</dt><dd>20</dd>" in (tmp_path / "run" / "report.html").read_text()
    code, out, _ = run("init", files / "images.npy", "--labels", files / "labels.npy", "--out", tmp_path / "run.toml")
    assert code == 0
    assert "120 images of 28 x 28, with labels\n" in out


@pytest.mark.parametrize(
    ("n_labelled", "depth", "advised"), [(11, "all", True), (11, "head", False), (12, "all", False)]
)
def test_fit_advises_the_head_alone_where_labels_are_few(run, files, tmp_path, n_labelled, depth, advised):
    labels = np.load(files / "labels.npy").astype(float)
    labels[n_labelled:] = np.nan
    np.save(tmp_path / "few.npy", labels)
    words = ["--labels", tmp_path / "few.npy", "--finetune", depth, "--no-report", *FIT]
    code, out, _ = run("fit", files / "images.npy", "--out", tmp_path / "run", *words)
    assert code == 0
    assert ("Only 11 of 120 rows have labels: --finetune head" in out) == advised


def test_fit_with_labels_asks_for_other_rows(run, model, files, tmp_path):
    """The accuracy on the rows of the training says little; it is no news that a report takes its time."""
    words = ["fit", files / "images.npy", "--labels", files / "labels.npy", *FIT, "--out", tmp_path / "run"]
    code, _, err = run(*words)
    assert code == 0
    assert f"Next: layerwise evaluate {tmp_path / 'run'} OTHER_ROWS --labels THEIR_LABELS (rows that it has not" in err
    assert "writing report.html ...\n" in err
    load_iris(as_frame=True).frame.to_csv(tmp_path / "iris.csv", index=False)
    words = [tmp_path / "iris.csv", "--labels", "target", *FIT, "--no-report", "--out", tmp_path / "iris"]
    code, _, err = run("fit", *words)
    assert code == 0
    assert f"Next: layerwise evaluate {tmp_path / 'iris'} OTHER_ROWS (rows that it has not seen), or layerwise" in err
    assert "writing" not in err
    assert run("report", model)[2] == "writing report.html ...\nNext: open " + f"{model / 'report.html'} in a browser\n"


@pytest.mark.parametrize(
    ("y", "model", "why"),
    [
        (np.repeat(np.arange(62), 6), "classifier", "62 different whole numbers in 372 rows.*choose --model regressor"),
        (np.repeat(np.arange(1.0, 101), 5), "classifier", "100 different whole numbers in 500 rows"),
        (np.append(np.tile(np.arange(5.0), 2), np.nan), "classifier", "5 different whole numbers in 10 rows$"),
        (np.arange(12) // 1 % 4 + 3, "classifier", "4 different whole numbers in 12 rows$"),
        (
            np.repeat(np.arange(12), 2),
            "classifier",
            "12 different .*taken as classes; if they are amounts, .*regressor",
        ),
        (np.arange(12) * 1000, "regressor", "12 different .*taken as amounts; if they are classes, .*classifier"),
        (np.repeat(np.arange(12) * 1000, 9), "regressor", "12 different whole numbers in 108 rows"),  # spread
        (np.array([3, 0, 9, 4, 1]), "classifier", "5 different whole numbers in 5 rows$"),  # few labels
        (np.arange(8) * 7, "regressor", "8 different whole numbers in 8 rows"),  # none repeats
        (
            np.repeat(np.arange(62), 2),
            "regressor",
            "62 different .*taken as amounts; if they are classes, .*classifier",
        ),
        (np.repeat(np.arange(18, 80), 9), "regressor", "--model classifier"),  # ages
        (np.repeat(np.arange(101), 9), "regressor", "101 different whole numbers in 909 rows"),
        (np.array([1, 2.5, 3]), "regressor", "numbers with fractions"),
        (np.array(["3", "4", None], dtype=object), "classifier", "the labels are text"),
        (np.array([True, False]), "classifier", "true and false"),
        (np.ones((3, 2)), "regressor", "several targets"),
        (None, "autoencoder", "no labels"),
    ],
)
def test_which_model_is_chosen_and_why(y, model, why):
    chosen, reason = choose_model(y)
    assert chosen == model
    assert re.search(why, reason)


def test_the_label_that_stands_for_none_is_no_class():
    y = np.append(np.repeat(np.arange(40), 5), [-1] * 90)
    assert choose_model(y)[0] == "regressor"
    assert choose_model(y, unlabeled="-1")[0] == "classifier"


def test_the_chosen_model_is_said_and_written_down(run, tmp_path):
    lines = [f"{place % 3},{place % 7},{place % 35}" for place in range(35 * 6)]
    (tmp_path / "x.csv").write_text("\n".join(["a,b,kind", *lines]))
    words = ("fit", tmp_path / "x.csv", "--labels", "kind", "--layers", 2, "--max-iter", 1, "--no-report")
    code, out, err = run(*words, "--out", tmp_path / "r", "--json")
    assert code == 0
    assert "Model: classifier, because the labels are 35 different whole numbers in 210 rows, taken as classes" in err
    assert json.loads(out)["model"] == "classifier"
    assert "35 different" in json.loads((tmp_path / "r/run.json").read_text())["chosen_because"]
    code, out, err = run(*words, "--out", tmp_path / "s", "--model", "regressor", "--json")
    assert (code, json.loads(out)["model"], json.loads(out)["chosen_because"]) == (0, "regressor", None)
    assert "because" not in err


@pytest.mark.parametrize("ending", ["csv", "parquet", "npz"])
@pytest.mark.parametrize("labels", [[2**60 + 1, 2**60 + 2], [2**63 + 1, 3], [True, False]])
def test_labels_and_ids_come_back_as_they_were(run, tmp_path, ending, labels):
    data, out = tmp_path / f"x.{ending}", tmp_path / "r"
    rng = np.random.default_rng(0)
    y = np.array(labels * 12, dtype=np.result_type(*map(np.min_scalar_type, labels)))
    X = rng.random((24, 2)) + np.arange(24)[:, None] % 2 * 9
    if ending == "npz":
        np.savez(data, X=X, kind=y)
    else:
        gaps = [None if place in (4, 7) else label for place, label in enumerate(y.tolist())]
        table = pl.DataFrame({"a": X[:, 0], "b": X[:, 1], "kind": gaps, "key": [2**61 + place for place in range(24)]})
        getattr(table, f"write_{ending}")(data)
    key = [] if ending == "npz" else ["--id", "key"]
    words = ("--layers", 3, "--max-iter", 30, "--random-state", 0, "--out", out)
    code, _, err = run("fit", data, "--labels", "kind", *key, *words)
    assert code == 0, err
    classes = layerwise.load(out)
    assert getattr(classes, "steps", [(0, classes)])[-1][1].classes_.tolist() == sorted(labels)
    code, told, err = run("predict", out, data, "--json")
    assert code == 0, err
    rows = json.loads(told)["rows"]
    assert [row["label"] for row in rows] == y.tolist()
    assert [row.get("key", 2**61 + place) for place, row in enumerate(rows)] == [2**61 + place for place in range(24)]
    code, told, err = run("evaluate", out, data, "--labels", "kind", "--json")
    assert (code, json.loads(told)["accuracy"], json.loads(told)["n_labelled"]) == (0, 1, 24 if not key else 22)


@pytest.mark.parametrize("ending", ["csv", "parquet", "npz"])
@pytest.mark.parametrize("model", ["classifier", "regressor", "outliers", "autoencoder"])
def test_weights_of_rows(run, tmp_path, ending, model):
    rng = np.random.default_rng(0)
    X, y, weights = rng.random((20, 3)), np.arange(20) % 2, np.arange(20) % 4 * 0.5
    data, out = tmp_path / f"x.{ending}", tmp_path / "r"
    if ending == "npz":
        np.savez(data, X=X, kind=y, times=weights)
    else:
        table = pl.DataFrame({"a": X[:, 0], "times": weights, "b": X[:, 1], "c": X[:, 2], "kind": y})
        getattr(table, f"write_{ending}")(data)
    labels = ["--labels", "kind"] if model in ("classifier", "regressor") else ["--ignore", "kind"] * (ending != "npz")
    words = ["--model", model, "--layers", 2, "--max-iter", 3, "--random-state", 0, "--no-report", "--out", out]
    code, _, err = run("fit", data, "--sample-weight", "times", *labels, *words)
    assert code == 0, err
    settings = recipes.read_toml(out / "run.toml")
    assert settings["sample_weight"] == "times"
    estimator = bare(layerwise.load(out))
    places = {name: settings.pop(name) for name in recipes.DATA_KEYS if name in settings}
    expected = recipes.build(settings).fit(X, *([y] if "labels" in places else []), sample_weight=weights)
    for found, there in zip(stack_of(estimator).coder_.modules, stack_of(expected).coder_.modules, strict=True):
        assert torch.equal(found.encoder_weight, there.encoder_weight)
    assert run("encode", out, data, "--out", tmp_path / "codes.npy")[0] == 0


def measure(run, model, path, *words):
    code, told, err = run("evaluate", model, path, *words, "--json")
    assert code == 0, err
    return json.loads(told)


@pytest.mark.parametrize("ending", ["csv", "npz"])
@pytest.mark.parametrize("model", ["classifier", "regressor", "outliers", "autoencoder"])
def test_evaluate_with_weights_is_as_with_repeated_rows(run, tmp_path, ending, model):
    rng = np.random.default_rng(0)
    X, times = rng.random((40, 3)), rng.integers(0, 4, 40)
    kinds = (X[:, 0] + 0.4 * rng.random(40) > 0.7).astype(int) if model != "regressor" else X[:, 0] + rng.random(40)
    words = [
        "--model",
        model,
        "--layers",
        2,
        "--max-iter",
        3,
        "--random-state",
        0,
        "--no-report",
        "--out",
        tmp_path / "r",
    ]
    words += ["--labels", "kind"] if model in ("classifier", "regressor") else ["--ignore", "kind"] * (ending == "csv")
    told = ["--labels", "kind"] if model != "autoencoder" else []

    def write(name, places, **more):
        arrays = {"X": X[places], "kind": kinds[places], **more}
        if ending == "npz":
            np.savez(tmp_path / f"{name}.npz", **arrays)
        else:
            rows = arrays.pop("X")
            pl.DataFrame({**dict(zip("abc", rows.T, strict=True)), **arrays}).write_csv(tmp_path / f"{name}.csv")
        return tmp_path / f"{name}.{ending}"

    weighted = write("weighted", np.arange(40), times=times)
    repeated = write("repeated", np.repeat(np.arange(40), times))
    weightless = write("weightless", np.arange(40), times=np.zeros(40))
    code, _, err = run("fit", weighted, "--sample-weight", "times", *words)
    assert code == 0, err
    figures = measure(run, tmp_path / "r", weighted, "--sample-weight", "times", *told)
    assert figures.pop("n_rows") == (times > 0).sum()
    repeats, once = (measure(run, tmp_path / "r", path, *told) for path in (repeated, weighted))
    shares = [name for name in figures if not name.startswith("n_")]  # numbers of rows are of rows
    assert [figures[name] for name in shares] == pytest.approx([repeats[name] for name in shares])
    assert [figures[name] for name in shares] != pytest.approx([once[name] for name in shares])
    assert run("evaluate", tmp_path / "r", weightless, "--sample-weight", "times", *told)[2] == (
        "layerwise: the weights of all rows are 0, so no row counts\n"
    )


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ("1 -2 3", "sample_weight='times' of .* holds -2 in row 2 .*not negative"),
        ("1 2 ?", "holds nothing in row 3"),
        ("1 often 2", "holds '1', but a weight of a row is a number"),
        ("1 2 inf", "holds inf in row 3"),
        ("0 0 0", "at least one non-zero number"),
    ],
)
def test_weights_that_are_none(run, tmp_path, values, message):
    rows = [f"{place},{place * place},{value}" for place, value in enumerate(values.split())]
    (tmp_path / "x.csv").write_text("\n".join(["a,b,times", *rows]))
    code, _, err = run("fit", tmp_path / "x.csv", "--sample-weight", "times", "--out", tmp_path / "r")
    assert code == 2
    assert re.search(message, err)
    code, _, err = run("fit", tmp_path / "x.csv", "--sample-weight", "x", "--out", tmp_path / "r")
    assert "sample_weight='x' is no column of" in err
    assert [path.name for path in tmp_path.iterdir()] == ["x.csv"]


def test_labels_that_are_text(run, files, tmp_path):
    np.save(tmp_path / "names.npy", np.array(["even", "odd"])[np.load(files / "labels.npy") % 2])
    model, out = tmp_path / "run", tmp_path / "predicted.npy"
    assert run("fit", files / "images.npy", "--labels", tmp_path / "names.npy", "--out", model, *FIT)[0] == 0
    assert run("predict", model, files / "images.npy", "--out", out)[0] == 0
    assert set(np.load(out)) <= {"even", "odd"}
    assert run("evaluate", model, files / "images.npy", "--labels", tmp_path / "names.npy")[0] == 0


@pytest.mark.parametrize(
    "command",
    [
        "demo",
        "fit",
        "encode",
        "predict",
        "evaluate",
        "compare",
        "check-gradient",
        *(f"reproduce {e}" for e in EXPERIMENTS),
    ],
)
def test_every_command_has_help_with_an_example(run, command):
    code, out, _ = run(*command.split(), "--help")
    assert code == 0
    assert f"Example: layerwise {command}" in " ".join(out.split())


def test_help_and_version(run):
    assert "reproduce" in run("--help")[1]
    assert run("--version")[1].strip() == layerwise.__version__


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["fit", "{f}/none.npy", "--out", "{t}/r"], "{f}/none.npy is not there"),
        (["fit", "{f}/magic.idx", "--out", "{t}/r"], "is not an IDX file"),
        (["fit", "{f}/cut.idx", "--out", "{t}/r"], "does not hold what its header says"),
        (["fit", "{f}/lie.idx", "--out", "{t}/r"], "shape (2147483648, 28, 28)"),
        (["fit", "{f}/corrupt.gz", "--out", "{t}/r"], "is damaged: its gzip data cannot be read"),
        (["fit", "{f}/labels.idx", "--out", "{t}/r"], "rows need two axes"),
        (
            ["fit", "{f}/nan.npy", "--out", "{t}/r"],
            "1 of 784 columns has missing values: column 5 (1 of 50 rows); fill them in with --impute",
        ),
        (["fit", "{f}/big.npy", "--scale", "none", "--out", "{t}/r"], "reaches only 0 to 1"),
        (["fit", "{f}/table.npy", "--labels", "{f}/short.npy", "--out", "{t}/r"], "short.npy' is neither a file nor"),
        (
            ["fit", "{f}/wide.npy", "--labels", "{f}/labels.npy", "--out", "{t}/r"],
            "has 3 rows, but labels has 120; each row needs one",
        ),
        (["fit", "{f}/table.npy", "--activation", "relux", "--out", "{t}/r"], "activation has name='relux'"),
        (["fit", "{f}/table.npy", "--layers", "0", "--out", "{t}/r"], "'n_hidden' parameter"),
        (["fit", "{f}/table.npy", "--layers", "100000000000000", "--out", "{t}/r"], "not enough memory"),
        (["fit", "{f}/table.npy", "--layers", "x", "--out", "{t}/r"], "layers"),
        (["fit", "{f}/table.npy", "--device", "cuda:77", "--out", "{t}/r"], "torch finds"),
        (["fit", "{f}/table.npy", "--out", "{m}"], "exists; choose another place"),
        (["fit", "{f}/table.npy", "--out", "{f}", "--overwrite"], "is not a run of layerwise"),
        (["fit", "{f}/table.npy", "--out", "{f}/table.npy/r"], "is a file, not a folder"),
        (["fit", "{f}/table.npy", "--out", "/proc/r"], "/proc"),
        (["fit", "{f}/table.npy"], "out is not given; name a folder for the run, with --out"),
        (["fit", "--out", "{t}/r"], "data is not given; name a file or a folder of images"),
        (["fit", "{f}/table.npy", "--out", "{t}/r", "--rate", "3"], "rate"),
        (["train"], "train"),
        (
            ["fit", "{f}/table.npy", "--out", "{t}/b\udcff"],
            "/b\\udcff' is no text in UTF-8, so run.toml cannot tell of it",
        ),
        (["fit", "{f}/table.npy", "--out", "{t}/" + 250 * "n"], "File name too long: {t}/nnn"),
        (["encode", "{m}", "{f}/images.npy", "--out", "{t}/" + 300 * "n" + ".csv"], "File name too long: {t}/nnn"),
        (["encode", "{m}", "{f}/images.npy", "--out", "{f}/table.npy/x.csv"], "table.npy is a file, not a folder"),
        (["init", "{f}/table.npy", "--out", "{m}", "--overwrite"], "is a folder, but what is written is a file"),
        (["demo", "--out", "{f}/table.npy", "--overwrite"], "is a file, but what is written is a folder"),
        (["compare", "{f}/images.npy", "{f}/labels.npy", "--out", "{f}", "--overwrite"], "is not a run of layerwise"),
        (["encode", "{t}/none", "{f}/images.npy", "--out", "{t}/c.npy"], "is not a model: it holds no config.json"),
        (["encode", "{m}", "{f}/wide.npy", "--out", "{t}/c.npy"], "X has 800 features"),
        (["encode", "{m}", "{f}/images.npy", "--out", "{t}/c.doc"], ".csv"),
        (["encode", "{m}", "{f}/images.npy", "--out", "{f}/table.npy"], "exists; choose another place"),
        (["encode", "{m}", "{f}/images.npy", "--out", "{f}/images.npy", "--overwrite"], "is the data itself"),
        (["init", "{f}/images.npy", "--out", "{f}/images.npy", "--overwrite"], "is the data itself"),
        (["fit", "{f}/images.npy", "--out", "{f}/labels.npy", "--overwrite"], "is a file, but a run is a folder"),
        (["fit", "{f}/images.npy", "--out", "{t}/r", "--layers"], "--layers is given without a value"),
        (["fit", "{f}/images.npy", "--out", "{t}/r", "--model", "classifier"], "needs labels; give them with --labels"),
        (
            ["fit", "{f}/images.npy", "--out", "{t}/r", "--corruption", "none", "--corruption-level", ".3"],
            "corruption_level=0.3 has no meaning without corruption",
        ),
        (["report", "{m}", "{f}/images.npy"], "name a file for it: --out images.html"),
        (["report", "{m}", "{f}/images.npy", "--out", "{t}/r.txt"], "must end in .html"),
        (["predict", "{m}", "{f}/images.npy", "--none"], "(see layerwise predict --help)"),
        (["predict", "{m}", "{f}/wide.npy"], "X has 800 features"),
        (["evaluate", "{m}", "{f}/images.npy"], "there are no labels to compare with"),
        (["evaluate", "{m}", "{f}/wide.npy", "--labels", "{f}/labels.npy"], "has 3 rows, but"),
        (["reproduce", "ufldl-stacked", "--data", "{t}"], "holds no train-images-idx3-ubyte"),
        (["reproduce", "sda", "--data", "{t}"], "holds no train-images-idx3-ubyte"),
        (["reproduce", "ufldl-patches", "--data", "{t}"], "{t} holds no image"),
        (
            ["fit", "{f}/images.npy", "--out", "{t}/r", "--batch-size", "9"],
            "batch_size=9 has no meaning with solver='lbfgs'; choose solver sgd or adam",
        ),
        (["fit", "{f}/images.npy", "--out", "{t}/r", "--sparsity-weight", "9"], "sparsity_weight=9 has no meaning"),
        (["fit", "{f}/images.npy", "--out", "{t}/r", "--sparsity", "l1", "--sparsity-target", ".1"], "no meaning with"),
        (["fit", "{f}/images.npy", "--out", "{t}/r", "--unlabeled", "1"], "unlabeled=1 has no meaning without labels"),
        (
            ["fit", "{f}/images.npy", "--labels", "{f}/labels.npy", "--out", "{t}/r", "--unlabeled", "x"],
            "unlabeled='x' is no label of type uint8",
        ),
        (
            ["fit", "{f}/images.npy", "--out", "{t}/r", "--finetune", "half"],
            "'finetune' parameter of",
        ),
        (["fit", "{f}/images.npy", "--out", "{t}/r", "--activation", "relux"], "softplus, identity, top_k"),
        (
            ["fit", "{f}/images.npy", "--out", "{t}/r", "--activation", "relu", "--sparsity", "kl"],
            "needs activations with a lowest and a highest value",
        ),
        (["check-gradient", "{m}", "{f}/images.npy"], "is a StackedClassifier; give labels with --labels"),
        (
            [
                "compare",
                "{f}/images.npy",
                "{f}/labels.npy",
                "--test-data",
                "{f}/wide.npy",
                "--test-labels",
                "{f}/labels.npy",
            ],
            "has 3 rows, but",
        ),
    ],
)
def test_refusals_are_one_sentence(run, files, model, tmp_path, words, message):
    places = {"f": files, "t": tmp_path, "m": model}
    before = sorted(tmp_path.rglob("*"))
    code, out, err = run(*(word.format(**places) for word in words))
    assert code == 2
    assert message.format(**places) in err
    assert err.splitlines()[-1].startswith("layerwise: ")
    assert sum(line.startswith("layerwise: ") for line in err.splitlines()) == 1
    assert "Traceback" not in err
    assert out == ""
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("onnx", "numpy", "message"),
    [
        ("net.onnx", "json.py", "path='json.py' would hide Python's own 'json'"),
        ("net.onx", "net.py", "path='net.onx' must end in .onnx"),
        ("net.onnx", "there.py", "there.npz exists"),
    ],
)
def test_export_writes_all_files_or_none(run, model, tmp_path, onnx, numpy, message):
    (tmp_path / "there.npz").write_bytes(b"of somebody else")
    code, _, err = run("export", model, "--onnx", tmp_path / onnx, "--numpy", tmp_path / numpy)
    assert code == 2
    assert message in err
    assert [path.name for path in tmp_path.iterdir()] == ["there.npz"]


def test_export_for_matlab(run, model, tmp_path, monkeypatch):
    """The numbers are those of the model; all files or none, beside each other."""
    monkeypatch.chdir(tmp_path)
    code, out, _ = run("export", model, "--matlab", "digits_net.m", "--numpy", "digits.py")
    assert code == 0
    assert "Written: digits.py, digits.npz, digits_net.m, digits_net.mat" in out
    assert (tmp_path / "digits_net.m").read_text().startswith("function [y, label, code] = digits_net(x)\n")
    P, network = loadmat("digits_net.mat"), layerwise.load(model)
    np.testing.assert_array_equal(P["W1"], network.coefs_[0].T)
    np.testing.assert_array_equal(P["classes"].ravel(), network.classes_)
    before = sorted(path.name for path in tmp_path.iterdir())
    for name, message in (("digits_net.m", "digits_net.m"), ("my-net.m", "is no name in MATLAB"), ("net.mat", ".m")):
        code, _, err = run("export", model, "--matlab", name, "--numpy", "other.py")
        assert code == 2
        assert message in err
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_pixels_of_a_cube(run, tmp_path, monkeypatch):
    """The layout is kept with the model; unlabelled pixels of a map count neither in training nor in the test."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    truth = random.integers(0, 3, (6, 5))
    cube = random.random((6, 5, 4)) * 0.2 + 0.3 * truth[:, :, np.newaxis]
    savemat("scene.mat", {"scene": cube, "gt": truth})
    np.save("scene.npy", cube)
    words = ("--layers", 3, "--max-iter", 30, "--random-state", 0, "--no-report")
    flags = ("--layout", "pixels", "--labels", "gt", "--unlabeled", 0)
    code, _, err = run("fit", "scene.mat", *flags, "--out", "r", *words)
    assert code == 0
    n_labelled = int((truth > 0).sum())
    assert "30 rows of 4 features (an array of 6 x 5 x 4, each pixel a row: layout 'pixels', see --layout)" in err
    assert f", {n_labelled} of them with labels" in err
    assert '\nlayout = "pixels"' in (tmp_path / "r" / "run.toml").read_text()
    assert run("predict", "r", "scene.npy", "--out", "map.npy")[0] == 0
    predicted = np.load("map.npy").reshape(6, 5)
    expected = layerwise.load("r").predict(cube.reshape(-1, 4)).reshape(6, 5)
    np.testing.assert_array_equal(predicted, expected)
    code, out, err = run("--json", "evaluate", "r", "scene.mat", "--labels", "gt")
    assert err == ""
    facts = json.loads(out)
    assert facts["n_labelled"] == n_labelled
    assert facts["n_wrong"] == (predicted != truth)[truth > 0].sum()
    assert run("fit", "--config", "r/run.toml", "--out", "again", "--no-report")[0] == 0
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == (
        tmp_path / "r" / "model.safetensors"
    ).read_bytes()
    for verb in ("encode", "reconstruct"):
        assert run(verb, "r", "scene.npy", "--out", f"{verb}.npy")[0] == 0
        assert np.load(f"{verb}.npy").shape == (30, {"encode": 3, "reconstruct": 4}[verb])
    code, _, err = run("predict", "r", "scene.npy", "--layout", "images-first", "--out", "x.npy")
    assert code == 2
    assert "X has 20 features" in err


def test_matrix_of_matlab_is_transposed(run, tmp_path, monkeypatch):
    """All commands read other files as the training read its own, unless they are told not to."""
    monkeypatch.chdir(tmp_path)
    X = np.random.default_rng(0).random((30, 7))
    y = (X[:, 0] > 0.5) + 1.0
    savemat("train.mat", {"X": X.T, "y": y})
    savemat("new.mat", {"X": X[:9].T, "y": y[:9]})
    np.save("rows.npy", X[:9])
    words = ("--layers", 3, "--max-iter", 20, "--random-state", 0, "--no-report", "--validation-data", "new.mat")
    code, _, err = run("fit", "train.mat", "--labels", "y", "--out", "r", *words[:-2])
    assert code == 2
    assert "has 7 rows, but labels has 30; each row needs one; its columns are as many: add --transpose" in err
    code, _, err = run("fit", "train.mat", "--array", "X", "--out", "r", *words)
    assert code == 2  # as all files are read alike, of 9 columns and of 30
    assert "train.mat has more columns than rows: if its columns are the samples, as in trainAutoencoder, add" in err
    code, _, err = run("fit", "train.mat", "--array", "X", "--transpose", "--out", "codes", *words)
    assert code == 0
    assert "30 rows of 7 features" in err
    assert "9 rows of new.mat" in err
    assert "more columns" not in err
    assert "\ntranspose = true" in (tmp_path / "codes" / "run.toml").read_text()
    assert run("encode", "codes", "new.mat", "--out", "codes.npy")[0] == 0
    np.testing.assert_allclose(np.load("codes.npy"), layerwise.load("codes").transform(X[:9]))
    assert run("fit", "train.mat", "--labels", "y", "--transpose", "--out", "r", *words[:-2])[0] == 0
    expected = layerwise.load("r").predict(X[:9])
    assert run("predict", "r", "new.mat", "--out", "p.npy")[0] == 0
    np.testing.assert_array_equal(np.load("p.npy"), expected)
    code, _, err = run("predict", "r", "rows.npy", "--out", "q.npy")
    assert code == 2
    assert "has 9 features, but the model expects 7; it fits if it is read as it is: --no-transpose" in err
    assert run("predict", "r", "rows.npy", "--no-transpose", "--out", "q.npy")[0] == 0
    np.testing.assert_array_equal(np.load("q.npy"), expected)
    facts = json.loads(run("--json", "evaluate", "r", "new.mat", "--labels", "y")[1])
    assert facts["n_wrong"] == (expected != y[:9]).sum()
    assert run("report", "r", "new.mat", "--labels", "y", "--out", "r.html")[0] == 0
    assert run("fit", "--config", "r/run.toml", "--out", "again", "--no-report")[0] == 0
    assert layerwise.load("again").predict(X).tolist() == layerwise.load("r").predict(X).tolist()


@pytest.mark.filterwarnings("default:.*as MATLAB takes them")
def test_results_for_matlab(run, tmp_path, monkeypatch):
    """What encode, reconstruct, predict and score write to .mat; decode reads it."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    lines = [
        f"r{place},{a:.3f},{b:.3f},{'yes' if a > b else 'no'}" for place, (a, b) in enumerate(random.random((40, 2)))
    ]
    (tmp_path / "t.csv").write_text("\n".join(["row id,a,b,y", *lines]) + "\n")
    words = ("--id", "row id", "--layers", 2, "--max-iter", 10, "--random-state", 0, "--no-report")
    assert run("fit", "t.csv", "--labels", "y", "--out", "r", *words)[0] == 0
    assert run("fit", "t.csv", "--ignore", "y", "--out", "a", *words)[0] == 0
    code, _, err = run("predict", "r", "t.csv", "--probabilities", "--out", "p.mat")
    assert code == 0
    assert "p.mat has names as MATLAB takes them: 'row id' as row_id" in err
    found, rows = loadmat("p.mat", chars_as_strings=True), layerwise.read("t.csv", ids="row id", ignore="y")
    model = layerwise.load("r")
    expected = model.predict(pl.read_csv("t.csv").select("a", "b"))
    assert [text.item() for text in found["label"].ravel()] == expected.tolist()
    assert [text.item() for text in found["row_id"].ravel()] == rows.ids["row id"].tolist()
    np.testing.assert_allclose(found["p_no"] + found["p_yes"], 1, rtol=1e-6)
    for verb in ("encode", "reconstruct", "score"):
        assert run(verb, "a", "t.csv", "--out", f"{verb}.npz")[0] == 0
        assert run(verb, "a", "t.csv", "--out", f"{verb}.mat")[0] == 0
        with np.load(f"{verb}.npz") as known:
            for name in known.files:
                if name != "row id":
                    np.testing.assert_array_equal(loadmat(f"{verb}.mat")[name].squeeze(), known[name], err_msg=name)
    assert run("decode", "a", "encode.mat", "--out", "decoded.npz")[0] == 0
    with np.load("decoded.npz") as decoded, np.load("reconstruct.npz") as reconstructed:
        np.testing.assert_allclose(decoded["a"], reconstructed["a"], rtol=1e-5)
    code, _, err = run("encode", "a", "t.csv", "--out", "encode.mat")
    assert code == 2
    assert "encode.mat" in err


def test_sparse_matrix_of_matlab(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    dense = np.where(np.random.default_rng(0).random((40, 6)) < 0.3, 1.0, 0.0)
    savemat("x.mat", {"X": sparse.csc_matrix(dense), "y": np.arange(40.0) % 2})
    np.save("x.npy", dense)
    for place in ("x.mat", "x.npy"):
        labels = ("--labels", "y") if place == "x.mat" else ()
        words = ("--layers", 3, "--max-iter", 3, "--random-state", 0, "--model", "autoencoder")
        assert run("fit", place, *labels, "--out", f"run-{place}", *words)[0] == 0
        for verb in ("encode", "score", "reconstruct"):
            assert run(verb, "run-x.mat", place, "--out", f"{verb}-{place}.npy")[0] == 0
        code, out, _ = run("--json", "evaluate", "run-x.mat", place)
        assert code == 0
        assert json.loads(out)["explained_variance"] == pytest.approx(0.1, abs=0.5)
        (tmp_path / f"{place}.json").write_text(out)
    for verb in ("encode", "score", "reconstruct"):
        np.testing.assert_allclose(np.load(f"{verb}-x.mat.npy"), np.load(f"{verb}-x.npy.npy"), rtol=1e-5)
    one, other = (json.loads((tmp_path / f"{place}.json").read_text()) for place in ("x.mat", "x.npy"))
    assert one == pytest.approx(other)
    code, _, err = run("fit", "x.mat", "--impute", "--array", "X", "--out", "i", *words)
    assert code == 2
    assert "impute=True needs dense rows" in err


def test_overwrite_replaces_the_run(run, files, tmp_path):
    for words in ([], ["--overwrite"]):
        assert run("fit", files / "table.npy", "--out", tmp_path / "run", *FIT, *words)[0] == 0
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_interrupt_says_what_was_reached(files, model, tmp_path):
    """Ctrl-C while training over an old run: exit code 130, the old run is as it was, the new one can go on."""
    before = {path.name: path.read_bytes() for path in model.iterdir()}
    words = ["fit", files / "images.npy", "--out", model, "--overwrite", "--layers", 300, "--max-iter", 100000]
    command = [sys.executable, "-u", "-m", "layerwise", *map(str, words)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr.readline() == "120 images of 28 x 28\n"
        assert process.stderr.readline() == "Model: autoencoder, because there are no labels\n"
        assert process.stderr.readline().startswith("Held out: 24 of 120 rows, at random")
        first = process.stderr.readline()
        assert first.startswith("layer 0 [1/100000]")
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        last = process.stderr.read().splitlines()[-1]
    assert process.returncode == 130
    assert last.startswith("layerwise: interrupted in stage layer 0 at iteration")
    assert last.endswith(f"; layerwise fit --resume --out {model} goes on from there")
    assert {path.name: path.read_bytes() for path in model.iterdir()} == before
    assert {path.name for path in model.parent.iterdir()} == {model.name, f"{model.name}.partial"}
    shutil.rmtree(f"{model}.partial")


def test_reader_that_has_seen_enough(model, files):
    """`layerwise predict ... | head -1` ends without a complaint."""
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "layerwise", "predict", str(model), str(files / "images.npy")],
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(write)
    assert "Traceback" not in done.stderr


def test_reproduce_prints_published_beside_obtained(run, digits, tmp_path, monkeypatch):
    small = Digits(digits.X_train[:200], digits.y_train[:200], digits.X_test[:100], digits.y_test[:100])
    monkeypatch.setattr(ufldl_stacked, "load", lambda folder: small)
    code, out, _ = run("reproduce", "ufldl-stacked", "--data", ".", "--max-iter", 3, "--out", tmp_path / "run")
    assert code == 0
    for text in ("97.47", "97.6", "12.68029", "accuracy after greedy training", "peak memory"):
        assert text in out
    figures = json.loads((tmp_path / "run" / "figures.json").read_text())
    assert {f"{stage}: cost" for stage in ufldl_stacked.STAGES} < set(figures["obtained"])
    assert f"{figures['obtained'][ufldl_stacked.FINETUNED]:g}" in out
    assert figures["obtained"]["iterations a stage"] == 3


def test_check_gradient(run, model, files):
    code, out, _ = run("check-gradient", model, files / "images.npy", "--labels", files / "labels.npy", "--n-rows", 20)
    assert code == 0
    stages = [line.split(":")[0] for line in out.splitlines()]
    assert stages == ["layer 0", "layer 1", "head", "finetune"]
    assert all(float(line.split("= ")[1]) < 1e-7 for line in out.splitlines())


@pytest.mark.parametrize(("policy", "spins"), [(None, "10000"), ("ACTIVE", None)])
def test_threads_that_wait_leave_the_cores_to_others(run, monkeypatch, policy, spins):
    """They sleep soon, unless the user has said how they are to wait."""
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    if policy:
        monkeypatch.setenv("OMP_WAIT_POLICY", policy)
    run("inspect", "nowhere")
    assert os.environ.get("GOMP_SPINCOUNT") == spins


def test_compare(run, model, files, tmp_path):
    data = [files / "images.npy", files / "labels.npy", "--test-data", files / "images.gz", "--test-labels"]
    words = [*data, files / "labels.idx", "--model", model, "--budgets", 20, "all", "--seeds", 2]
    code, out, err = run("compare", *words, "--out", tmp_path / "run")
    assert code == 0
    assert "seed 1, 120 labels" in err
    assert "pre-trained" in out
    figures = json.loads((tmp_path / "run" / "comparison.json").read_text())
    assert figures["budgets"] == [20, 120]
    assert figures["methods"] == ["head", "all", "LogisticRegression", "SVC"]
    assert np.shape(figures["accuracies"]) == (2, 4, 2, 2)
    assert (tmp_path / "run" / "comparison.png").stat().st_size > 5000
    assert run("compare", *words, "--out", tmp_path / "run", "--overwrite")[0] == 0


def test_compare_with_weights(run, tmp_path):
    """A column of weights is no feature, rows of weight 0 are as if absent, also those of the test."""
    rng = np.random.default_rng(0)
    X, times = rng.random((80, 3)), rng.integers(0, 2, 80)
    table = pl.DataFrame({**dict(zip("abc", X.T, strict=True)), "kind": (X[:, 0] > 0.5).astype(int)})
    table.with_columns(times=times).write_csv(tmp_path / "weighted.csv")
    table.filter(times > 0).write_csv(tmp_path / "fewer.csv")
    words = ("kind", "--layers", 3, "--budgets", "all", "--seeds", 1, "--json")
    test = ("--test-data", tmp_path / "weighted.csv")
    for place, more in enumerate([(), test]):
        told = []
        for name, weights in (("weighted", ("--sample-weight", "times")), ("fewer", ())):
            other = test if more and weights else ("--test-data", tmp_path / "fewer.csv") * bool(more)
            out = tmp_path / f"{name}{place}"
            code, answer, err = run("compare", tmp_path / f"{name}.csv", *words, *weights, *other, "--out", out)
            assert code == 0, err
            told.append(json.loads(answer))
        assert told[0] == told[1]
    fit = ("--labels", "kind", "--sample-weight", "times", "--layers", 3, "--max-iter", 3, "--no-report")
    assert run("fit", tmp_path / "weighted.csv", *fit, "--out", tmp_path / "r")[0] == 0
    own = ("kind", "--model", tmp_path / "r", "--budgets", 20, "--seeds", 1)
    assert run("compare", tmp_path / "weighted.csv", *own, "--out", tmp_path / "c")[0] == 0
    err = run("compare", tmp_path / "fewer.csv", *own, "--out", tmp_path / "d")[2]
    assert "sample_weight='times' is no column of" in err


def test_compare_holds_rows_out_where_there_are_no_others(run, model, tmp_path):
    """A quarter of the labelled rows is the test; rows without a label serve pre-training."""
    frame = load_iris(as_frame=True).frame
    frame["target"] = load_iris().target_names[frame["target"]]
    frame.loc[::5, "target"] = ""
    frame.to_csv(tmp_path / "iris.csv", index=False)
    words = [tmp_path / "iris.csv", "target", "--pretraining", "sparse", "contractive", "--layers", 8]
    code, out, err = run("compare", *words, "--budgets", "all", "--seeds", 1, "--out", tmp_path / "run")
    assert code == 0, err
    assert "seed 0, 90 labels, pre-training contractive: head " in err
    assert "Accuracy on 30 test rows" in out
    figures = json.loads((tmp_path / "run" / "comparison.json").read_text())
    assert figures["starts"] == ["none", "sparse", "contractive"]
    assert figures["n_test"] == 30
    assert "; 0 iterations" not in err  # of the layers of the control, which nothing trains
    words += ["--model", model]
    code, _, err = run("compare", *words, "--out", tmp_path / "other")
    assert code == 2
    assert "brings its own recipe; leave out --pretraining, --layers and --solver" in err


def test_compare_takes_a_small_table_with_gaps(run, tmp_path):
    """Numbers of labels that it has are chosen; gaps are filled in, asked for or not."""
    frame = load_iris(as_frame=True).frame
    frame.iloc[::7, 0] = np.nan
    frame.to_csv(tmp_path / "iris.csv", index=False)
    words = [tmp_path / "iris.csv", "target", "--layers", 8, "--seeds", 1, "--finetune", "head", "--rivals", "SVC"]
    assert run("compare", *words, "--out", tmp_path / "first")[0] == 0
    code, out, err = run("compare", *words, "--impute", "--out", tmp_path / "run")
    assert code == 0, err
    assert json.loads((tmp_path / "run" / "comparison.json").read_text())["budgets"] == [100]
    assert "With 100 labels, each at its best: denoising: no clear difference" in out
    assert "Of 1 seeds little can be told" in out
    fit = ["fit", tmp_path / "iris.csv", "--labels", "target", "--impute", *FIT, "--out", tmp_path / "model"]
    assert run(*fit)[0] == 0
    code, _, err = run("compare", *words[:2], "--model", tmp_path / "model", *words[4:], "--out", tmp_path / "other")
    assert code == 0, err


def test_takes_a_pipeline_that_python_has_made(run, tmp_path):
    """Whatever its steps are called."""
    frame = load_iris(as_frame=True).frame
    frame["name"] = [f"flower {place}" for place in range(len(frame))]
    frame.iloc[::7, 0] = np.nan
    frame.to_csv(tmp_path / "iris.csv", index=False)
    layer = layerwise.Autoencoder(4, solver=layerwise.LBFGS(2))
    pipeline = make_pipeline(
        TableEncoder(ignore=["name", "target"]),
        layerwise.AutoencoderImputer(layer, random_state=0),
        layerwise.StackedClassifier(layer, random_state=0),
    ).fit(frame, frame["target"])
    layerwise.save(pipeline, tmp_path / "model")
    code, out, err = run("predict", tmp_path / "model", tmp_path / "iris.csv")
    assert code == 0, err
    assert [int(line) for line in out.splitlines()[1:]] == pipeline.predict(frame).tolist()


def test_compare_cannot_hold_out_rows_of_a_class_that_has_one(run, tmp_path):
    frame = load_iris(as_frame=True).frame
    frame.loc[0, "target"] = 7
    frame.to_csv(tmp_path / "iris.csv", index=False)
    code, _, err = run("compare", tmp_path / "iris.csv", "target", "--out", tmp_path / "run")
    assert code == 2
    assert err.startswith(
        "layerwise: of 150 labelled rows a quarter cannot be kept back for the test with some of every"
    )


@pytest.mark.parametrize(
    "words",
    [
        ["--tied", "--loss", "binary_cross_entropy", "--corruption", "masking", "--solver", "adam", "--batch-size", 32],
        ["--activation", "tanh", "--output-activation", "identity", "--finetune", "reconstruction"],
        ["--activation", "top_k", "--activation-k", 3, "--solver", "adam"],
        ["--activation", "relu", "--sparsity", "l1", "--solver", "sgd", "--learning-rate", "cosine"],
        ["--contraction", 0.1, "--labels", "{f}/labels.npy", "--finetune", 1, "--unlabeled", 7],
        ["--labels", "{f}/labels.npy", "--solver", "adam", "--validation-fraction", 0.2, "--learning-rate-init", 0.01],
    ],
)
def test_fit_every_kind(run, files, tmp_path, words):
    words = [str(word).format(f=files) for word in words]
    code, _, err = run("fit", files / "images.npy", "--out", tmp_path / "run", *FIT, *words)
    assert code == 0, err
    assert len(layerwise.load(tmp_path / "run").transform(np.load(files / "images.npy").reshape(120, -1))) == 120


@pytest.mark.slow
def test_demo(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "layerwise", "demo", "--out", str(tmp_path / "demo")],
        capture_output=True,
        text=True,
        check=True,
    )
    accuracy = float(done.stdout.split("accuracy after fine-tuning (%): ")[1].split()[0])
    assert accuracy >= 93
    assert "accuracy after greedy training" in done.stdout
    assert (tmp_path / "demo" / "filters.png").stat().st_size > 10_000


def test_threads(run, files, tmp_path):
    before = torch.get_num_threads()
    try:
        assert run("--n-threads", 1, "fit", files / "images.npy", "--out", tmp_path / "one", *FIT)[0] == 0
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
    code, _, error = run("--n-threads", 0, "demo", "--out", tmp_path / "none")
    assert (code, error) == (2, "layerwise: n_threads=0 must be at least 1\n")


def test_progressive_is_a_flag_of_lbfgs(run, files, tmp_path):
    out = tmp_path / "exact"
    assert run("fit", files / "images.npy", "--out", out, "--no-progressive", *FIT)[0] == 0
    assert layerwise.load(out).layers_[0].solver.progressive is False
    code, _, error = run("fit", files / "images.npy", "--out", tmp_path / "no", "--solver", "adam", "--no-progressive")
    assert code == 2
    assert "layerwise: progressive=False has no meaning with solver='adam'; choose solver lbfgs\n" in error


def write_labelled(path, labels):
    """Write a table whose column u tells the labels apart."""
    places = {label: place for place, label in enumerate(dict.fromkeys(labels))}
    rows = [f"k{k},{3 * places[label] + k % 2},{k % 7},{label}" for k, label in enumerate(labels)]
    path.write_text("\n".join(["key,u,v,label", *rows]))


def test_evaluate_leaves_rows_without_a_label_out(run, tmp_path):
    path, out = tmp_path / "x.csv", tmp_path / "r"
    write_labelled(path, ["no", "yes", "?!"] * 10)
    words = ("--id", "key", "--labels", "label", "--layers", 4, "--max-iter", 40, "--random-state", 0, "--no-report")
    assert run("fit", path, *words, "--unlabeled", "?!", "--out", out)[0] == 0
    for more in ((), ("--unlabeled", "?!")):
        code, answer, _ = run("evaluate", out, path, *more, "--json")
        figures = json.loads(answer)
        assert (code, figures["n_rows"], figures["n_labelled"], figures["accuracy"]) == (0, 30, 20, 1)
    assert json.loads(run("evaluate", out, path, "--unlabeled", "no", "--json")[1])["n_labelled"] == 10
    code, _, err = run("evaluate", out, path, "--unlabeled", "none")
    assert (code, err) == (2, "layerwise: unlabeled='none' stands nowhere in the labels\n")
    write_labelled(path, [k % 5 for k in range(30)])  # targets of a regressor
    assert run("fit", path, *words, "--model", "regressor", "--unlabeled", 4, "--out", tmp_path / "s")[0] == 0
    figures = json.loads(run("evaluate", tmp_path / "s", path, "--unlabeled", 4, "--json")[1])
    assert figures["n_labelled"] == 24
    assert figures["r2"] > 0.9


def test_evaluate_of_outliers_has_no_label_among_its_features(run, tmp_path):
    path, data = tmp_path / "x.csv", np.random.default_rng(0).normal(size=(60, 2))
    data[:6] += 20
    kinds = [1] * 5 + [0] * 50 + [-1] * 5
    path.write_text("u,v,the kind\n" + "".join(f"{u},{v},{k}\n" for (u, v), k in zip(data, kinds, strict=True)))
    words = ("fit", path, "--contamination", 0.1, "--layers", 1, "--max-iter", 20, "--random-state", 0, "--no-report")
    assert run(*words, "--out", tmp_path / "told")[0] == 0
    code, answer, err = run("evaluate", tmp_path / "told", path, "--labels", "the kind", "--unlabeled", -1)
    assert (code, answer) == (2, "")
    assert f"column 'the kind' is a feature of {tmp_path / 'told'}" in err
    assert err.endswith("train it with --ignore 'the kind'\n")
    assert run("evaluate", tmp_path / "told", path)[0] == 0
    assert run(*words, "--ignore", "the kind", "--out", tmp_path / "r")[0] == 0
    flags = ("--labels", "the kind", "--unlabeled", -1, "--json")
    figures = json.loads(run("evaluate", tmp_path / "r", path, *flags)[1])
    assert (figures["n_rows"], figures["n_labelled"], figures["outlier_label"]) == (60, 55, "1")
    found = [line == "true" for line in run("predict", tmp_path / "r", path)[1].splitlines()[1:]]
    hits = sum(found[:5])
    assert figures["recall"] == pytest.approx(hits / 5)
    assert figures["precision"] == pytest.approx(hits / sum(found[:55]))
    scores = [float(line.split(",")[0]) for line in run("score", tmp_path / "r", path)[1].splitlines()[1:]]
    assert figures["average_precision"] == pytest.approx(average_precision_score(np.equal(kinds, 1)[:55], scores[:55]))


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (np.arange(60, dtype=np.uint8).reshape(20, 3), "each column is scaled (minmax)"),
        (np.arange(195, 255, dtype=np.uint8).reshape(20, 3), "bytes from 0 to 255 are read as intensities from 0 to 1"),
        (np.random.default_rng(0).random((20, 3)), "rows stay as they are"),
        (0.5 + 0.01 * np.random.default_rng(0).random((20, 3)), "each column is scaled (minmax)"),
    ],
)
def test_fit_says_how_columns_are_scaled(run, tmp_path, rows, words):
    np.save(tmp_path / "x.npy", rows)
    fit = ("fit", tmp_path / "x.npy", "--layers", 2, "--max-iter", 1, "--no-report", "--out", tmp_path / "r")
    assert f"Scale: {words}\n" in run(*fit)[2]
    assert json.loads(run("inspect", tmp_path / "r", "--json")[1])["layers"][0]["scale"] == words


def test_run_toml_of_a_windows_editor(run, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    np.save(tmp_path / "x.npy", np.random.default_rng(0).random((20, 3)))
    recipe = tmp_path / "run.toml"
    settings = 'data = "~/x.npy"\nout = "~/r"\n[[layers]]\nn_hidden = 2\nsolver = { name = "lbfgs", max_iter = 1 }\n'
    recipe.write_bytes(b"\xef\xbb\xbf" + settings.encode())
    code, _, err = run("fit", "--config", recipe, "--no-report")
    assert code == 0, err
    assert (tmp_path / "r" / "config.json").is_file()
    for content, sentence in (
        ('data = "C:\\Users\\x.npy"', "write paths of Windows in single quotes, or with /"),
        ('data = "x.npy"\nmodel = ""', 'model = "" is empty; write what it shall be, or leave the line out'),
    ):
        recipe.write_text(content)
        code, _, err = run("fit", "--config", recipe, "--out", tmp_path / "s")
        assert code == 2
        assert sentence in err
    code, _, err = run("fit", tmp_path / "x.npy", "--out", "/")
    assert (code, err) == (2, "layerwise: / is the root of all files; choose a name below it\n")


def test_inspect_names_the_columns_of_a_table(run, tmp_path):
    write_labelled(tmp_path / "x.csv", ["no", "yes"] * 10)
    words = ("--ignore", "key", "--layers", 2, "--max-iter", 1, "--no-report", "--out", tmp_path / "r")
    assert run("fit", tmp_path / "x.csv", *words)[0] == 0
    facts = json.loads(run("inspect", tmp_path / "r", "--json")[1])
    assert facts["feature_names"] == ["u", "v", "label=yes"]


@pytest.mark.filterwarnings("always")
def test_report_says_whether_the_rows_are_those_of_the_training(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", np.arange(240).reshape(60, 4) % 11)  # whole numbers, which become floats
    np.save("y.npy", np.arange(60) % 2)
    assert run("fit", "x.npy", "--labels", "y.npy", "--out", "r", *FIT, "--no-report")[0] == 0
    facts = json.loads((tmp_path / "r" / "run.json").read_text())
    assert re.fullmatch("[0-9a-f]{16}", facts["digest_of_rows"])

    def page(*words):
        code, _, err = run("report", "r", *words)
        assert code == 0
        return (tmp_path / words[-1] if words else tmp_path / "r" / "report.html").read_text(), err

    text, err = page()
    assert "accuracy on the rows it was trained on" in text
    assert "digest" not in text
    assert "changed" not in err
    shutil.copy("x.npy", "same.npy")
    assert "accuracy on the rows it was trained on" in page("same.npy", "--labels", "y.npy", "--out", "same.html")[0]
    X = np.load("x.npy")
    X[[3, 4]] = X[[4, 3]]
    np.save("x.npy", X)
    text, err = page()
    assert "accuracy on other rows than it was trained on" in text
    assert "x.npy has changed since r was trained on it, so the figures are on other rows than it was trained on" in err
    err = page("x.npy", "--labels", "y.npy", "--out", "other.html")[1]
    assert "changed" not in err  # other rows are what was asked for
    del facts["digest_of_rows"]  # as runs of earlier versions
    (tmp_path / "r" / "run.json").write_text(json.dumps(facts))
    assert "accuracy on these rows" in page()[0]


@pytest.mark.parametrize("kind", ["table", "images", "sparse"])
def test_report_on_the_rows_of_the_training_of_any_kind(run, tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    data, words = "x.npz", ()
    if kind == "table":
        data, words = "x.csv", ("--impute", "--sample-weight", "w")
        rows = [f"{k / 7},{'' if k % 5 == 0 else k},{'ab'[k % 2]},{k % 3}" for k in range(60)]
        (tmp_path / data).write_text("\n".join(["u,v,t,w", *rows]))
    elif kind == "images":
        data = "x"
        (tmp_path / data).mkdir()
        for k in range(20):
            Image.fromarray(rng.integers(0, 256, (4, 4), dtype=np.uint8)).save(tmp_path / data / f"{k}.png")
    else:
        sparse.save_npz(data, sparse.random_array((60, 5), density=0.4, format="csr", rng=rng))
    assert run("fit", data, "--out", "r", *FIT, "--no-report", *words)[0] == 0
    code, _, err = run("report", "r")
    assert code == 0
    assert "changed" not in err
    assert "rows that the model was trained on; on new ones" in (tmp_path / "r" / "report.html").read_text()


FEW = ("--layers", 2, "--max-iter", 2, "--random-state", 0, "--no-report")


def write_prices(path, *odd, form="{}"):
    """Write 60 rows whose price rises with u; the first rows have other prices."""
    prices = [*odd, *(form.format(10.25 + 1.5 * k) for k in range(len(odd), 60))]
    path.write_text("\n".join(["u,v,price", *(f"{k + 5},{k % 7},{price}" for k, price in enumerate(prices))]))


MARK = "look like numbers (59 of 60 values are, but not 'tba' in row 1, counted from 1); correct such values or leave"
DATE = "look like dates ('2026-01-01'); make numbers of them, such as days since a certain one"


@pytest.mark.filterwarnings("ignore:The number of unique classes")
@pytest.mark.parametrize(
    ("odd", "form", "told"),
    [
        (["tba"], "{}", f"{MARK} them empty, or name such a mark with --unlabeled tba; if they are classes, choose"),
        ([f"2026-{1 + k // 28:02}-{1 + k % 28:02}" for k in range(60)], "{}", DATE),
    ],
)
def test_labels_that_are_nearly_numbers_are_refused(run, tmp_path, monkeypatch, odd, form, told):
    monkeypatch.chdir(tmp_path)
    write_prices(tmp_path / "x.csv", *odd, form=form)
    for more in ((), ("--model", "regressor")):
        code, _, err = run("fit", "x.csv", "--labels", "price", "--out", "r", *FEW, *more)
        assert code == 2
        assert "layerwise: a regressor needs numbers as labels, but these look" in err
        assert told in err
        assert "choose --model classifier" in err
    assert told[:60] in run("init", "x.csv", "--labels", "price")[1]
    code, _, err = run("fit", "x.csv", "--labels", "price", "--out", "r", "--model", "classifier", *FEW)
    assert code == 0
    code, _, err = run("compare", "x.csv", "price", "--out", "c")
    assert code == 2
    assert "compare needs classes of at least 2 rows, but 'price' holds 60 different values in 60 rows" in err
    pl.read_csv("x.csv").select("price").write_parquet("y.parquet")
    np.save("x.npy", np.random.default_rng(0).random((60, 3)))
    np.save("y.npy", np.array(pl.read_csv("x.csv")["price"].to_list()))
    for labels in ("y.parquet", "y.npy"):
        code, _, err = run("fit", "x.npy", "--labels", labels, "--out", "s", *FEW)
        assert code == 2
        assert told in err


def test_a_mark_among_targets_stands_for_none(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_prices(tmp_path / "x.csv", "tba", "tba")
    words = ("--layers", 2, "--max-iter", 40, "--random-state", 0, "--no-report")
    code, _, err = run("fit", "x.csv", "--labels", "price", "--unlabeled", "tba", "--out", "r", *words)
    assert code == 0
    told = "60 rows of 2 features, 58 of them with labels\nColumns: 2 numbers\nModel: regressor, because the labels are"
    assert told in err
    figures = json.loads(run("evaluate", "r", "x.csv", "--json")[1])
    assert figures["n_labelled"] == 58
    assert figures["r2"] > 0.9
    assert run("evaluate", "r", "x.csv", "--unlabeled", "x")[0] == 2
    assert run("report", "r")[0] == 0
    assert run("check-gradient", "r", "x.csv")[0] == 0
    write_prices(tmp_path / "y.csv", "tba", "tba", "soon")
    err = run("fit", "y.csv", "--labels", "price", "--unlabeled", "tba", "--out", "t", *FEW)[2]
    assert "(57 of 58 values are, but not 'soon' in row 3, counted from 1); correct such values or leave" in err
    assert "--unlabeled" not in err
    write_prices(tmp_path / "y.csv", "soon")
    code, answer, _ = run("evaluate", "r", "y.csv", "--unlabeled", "soon", "--json")
    assert json.loads(answer)["n_labelled"] == 59
    write_prices(tmp_path / "plain.csv")
    assert run("fit", "plain.csv", "--labels", "price", "--out", "s", *FEW)[0] == 0
    assert json.loads(run("evaluate", "s", "y.csv", "--unlabeled", "soon", "--json")[1])["n_labelled"] == 59
    assert "'soon'" in run("evaluate", "s", "y.csv")[2]


@pytest.mark.parametrize(
    ("form", "marks"), [("{} EUR", "'EUR'"), ("{}%", "'%'"), ("$1,0{}", "'$', thousands ','"), ("{} lb", "'lb'")]
)
def test_amounts_with_a_unit_are_read_as_columns_are(run, tmp_path, monkeypatch, form, marks):
    """As the same column would be as a feature; predictions are plain numbers, and evaluate reads labels alike."""
    monkeypatch.chdir(tmp_path)
    write_prices(tmp_path / "x.csv", form=form)
    lines = [line.replace(f",{price}", f',"{price}"') for line, price in quoted(tmp_path / "x.csv")]
    (tmp_path / "x.csv").write_text("\n".join(lines))
    words = ("--layers", 2, "--max-iter", 40, "--random-state", 0, "--validation-fraction", 0)
    code, _, err = run("fit", "x.csv", "--labels", "price", "--out", "r", *words)
    assert code == 0, err
    assert "Model: regressor, because the labels are numbers with fractions\n" in err
    assert f"Labels: amounts written with {marks}, which predictions are without\n" in err
    found = json.loads(run("predict", "r", "x.csv", "--json")[1])["rows"]
    offset = 1000 if "1,0" in form else 0
    true = [offset + 10.25 + 1.5 * k for k in range(60)]
    np.testing.assert_allclose([row["prediction"] for row in found], true, atol=10)
    assert json.loads(run("evaluate", "r", "x.csv", "--json")[1])["r2"] > 0.9
    assert f"written with {marks}" in (tmp_path / "r/MODEL_CARD.md").read_text().replace("\\", "")
    assert marks in json.loads((tmp_path / "r/run.json").read_text())["amounts"]


def quoted(path):
    """Return the lines of a table, each with its price, the last value, which may hold a comma."""
    return [(line, line.split(",", 2)[2]) for line in path.read_text().splitlines()]


def test_a_regressor_refuses_words(run, tmp_path):
    write_labelled(tmp_path / "x.csv", ["cat", "dog"] * 10)
    words = ("fit", tmp_path / "x.csv", "--labels", "label", "--model", "regressor", "--out", tmp_path / "r", *FEW)
    code, _, err = run(*words)
    assert code == 2
    assert "a regressor needs numbers as labels, but found 'cat'; choose a classifier" in err


def test_fit_names_the_classes_of_text(run, tmp_path):
    path = tmp_path / "x.csv"
    write_labelled(path, ["cat", "dog", "-", ""] * 6)
    words = ("fit", path, "--labels", "label", "--id", "key", *FEW, "--overwrite", "--out", tmp_path / "r")
    named = "; '-' is one of them, unless --missing names it"
    assert f"Model: classifier, because the labels are text: 3 classes: -, cat, dog{named}\n" in run(*words)[2]
    assert "because the labels are text: 2 classes: cat, dog\n" in run(*words, "--unlabeled", "-")[2]
    write_labelled(path, [f"kind {k:02}" for k in range(12)] * 2)
    assert "12 classes: kind 00, kind 01, " in run(*words)[2]
    assert "kind 09 and 2 more\n" in run(*words)[2]
    write_labelled(path, [f"2026-01-{1 + k:02}" for k in range(28)] * 2)
    told = "28 classes: 2026-01-01, 2026-01-02, "
    err = run(*words)[2]
    assert told in err
    assert f" and 18 more, which {DATE}\n" in err


def test_compare_takes_no_amounts(run, tmp_path):
    write_prices(tmp_path / "x.csv")
    code, _, err = run("compare", tmp_path / "x.csv", "price", "--out", tmp_path / "c")
    assert code == 2
    assert (
        "compare needs classes of at least 2 rows, but 'price' holds 60 different values in 60 rows, such as 10.25, "
        "which are rather amounts; train a regressor on them with layerwise fit, or make classes of them first" in err
    )
    write_labelled(tmp_path / "x.csv", [7 * k + 1 for k in range(60)])
    assert "'label' holds 60 different values" in run("compare", tmp_path / "x.csv", "label", "--out", "c")[2]


@pytest.mark.filterwarnings("always")
def test_far_values_are_told_by_the_names_of_the_table(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [f"{'ab'[k % 2]},{-999 if k in (3, 8) else k / 7},{1e9 if k == 5 else k / 3}" for k in range(60)]
    (tmp_path / "x.csv").write_text("\n".join(["kind,weight,price", *rows]))
    _, _, err = run("fit", "x.csv", "--labels", "price", "--out", "r", *FEW)
    assert "X holds values far from all others in column 'weight' (-999): such" in err
    assert "if -999 stands for a missing value, leave it empty and use --impute, or Auto" in err
    assert "y holds values far from all others in column 'price' (1e+09): such" in err
    pl.read_csv("x.csv").select("price").write_csv("y.csv")
    _, _, err = run("fit", "x.csv", "--labels", "y.csv", "--ignore", "price", "--out", "s", *FEW)
    assert "y holds values far from all others (1e+09): such" in err
    _, _, err = run("compare", "x.csv", "kind", "--budgets", 20, "--seeds", 1, "--layers", 2, "--rivals", "--out", "c")
    assert "X holds values far from all others in columns 'weight' (-999), 'price' (1e+09): such" in err
    _, _, err = run("fit", "x.csv", "--scale", "none", "--out", "t", *FEW)
    assert "in columns 'weight', 'price', but output_activation='sigmoid' reaches only 0 to 1" in err


def test_advice_on_missing_values_fits_the_data(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    X = np.random.default_rng(0).random((20, 3))
    X[4, 1] = np.nan
    np.save("x.npy", X)
    pl.DataFrame(X, schema=["a", "b", "c"]).write_parquet("x.parquet")
    sparse.save_npz("x.npz", sparse.csr_array(X))
    for data, remedy in {
        "x.npy": "fill them in with --impute, or save the rows without such columns",
        "x.npz": "put numbers in their place, as --impute needs rows that are not sparse",
    }.items():
        code, _, err = run("fit", data, "--out", "r", *FEW)
        assert code == 2
        assert f"(1 of 20 rows); {remedy}\n" in err
    for words, code in (("--no-impute",), 2), ((), 0):
        assert run("fit", "x.parquet", "--out", "r", *FEW, *words)[0] == code
    err = run("fit", "x.parquet", "--no-impute", "--out", "s", *FEW)[2]
    assert (
        "(1 of 20 rows); have them filled in (without --no-impute), or leave such columns out with --ignore NAME" in err
    )
    np.save("y.npy", np.arange(20) % 2)
    assert "save the rows without such columns" in run("compare", "x.npy", "y.npy", "--out", "c")[2]


def test_fit_and_predict_parse_a_csv_once(run, tmp_path, monkeypatch, passes):
    monkeypatch.chdir(tmp_path)
    looked, parsed = passes
    rows = [f"{place},{place % 7},{'ab'[place % 2]},{'' if place % 5 else 'x'},{place % 3}" for place in range(90)]
    (tmp_path / "x.csv").write_text("\n".join(["key,n,kind,gap,y", *rows]))
    words = ["--labels", "y", "--id", "key", "--layers", 2, "--max-iter", 2, "--random-state", 0, "--no-report"]
    for command in (("fit", "x.csv", *words, "--out", "r"), ("predict", "r", "x.csv", "--out", "p.csv")):
        code, _, err = run(*command)
        assert code == 0, err
        assert (len(looked), sum(parsed)) == (1, 90)
        looked.clear()
        parsed.clear()


def test_parts_of_a_table_are_as_the_whole(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    draw = np.random.default_rng(0)
    table = pl.DataFrame({"key": [f"k{place}" for place in range(30)], "x": draw.random(30), "z": draw.random(30)})
    table = table.with_columns(kind=pl.Series(["a", "b", None] * 10), y=pl.Series([0, 1] * 15))
    table = table.with_columns(z=pl.when(pl.col("x") > 0.9).then(None).otherwise("z"))
    table.write_csv("whole.csv", separator=";")
    (tmp_path / "parts").mkdir()
    for place in range(3):
        table[10 * place : 10 * place + 10].write_csv(f"part-{place}.csv", separator=";")
        table[10 * place : 10 * place + 10].write_parquet(f"parts/part-{place}.parquet")
    (tmp_path / "parts" / "_SUCCESS").touch()
    options = [
        "--labels",
        "y",
        "--id",
        "key",
        "--impute",
        "--layers",
        "2",
        "--max-iter",
        "3",
        "--random-state",
        "0",
        "--no-report",
    ]
    for data, out in (("whole.csv", "a"), ("part-*.csv", "b"), ("parts", "c")):
        code, _, err = run("fit", data, *options, "--out", out)
        assert code == 0, err
        assert (tmp_path / out / "model.safetensors").read_bytes() == (tmp_path / "a/model.safetensors").read_bytes()
    written = {}
    for model, data in (("a", "whole.csv"), ("b", "part-*.csv"), ("c", "parts"), ("a", "parts"), ("c", "part-*.csv")):
        for words in ("predict", "evaluate", "impute", "encode"):
            code, out, err = run(words, model, data)
            assert code == 0, err
            out = out.replace(";", ",") if words == "impute" else out
            assert written.setdefault(words, out).split() == out.split(), (words, model, data)
    assert written["impute"].startswith("key,x,z,kind,y\nk0,")
    code, _, err = run("report", "b", "--out", "b.html")
    assert code == 0, err
    code, _, err = run("init", "part-*.csv", "--labels", "y", "--id", "key", "--out", "part.toml")
    assert code == 0, err
    assert 'out = "runs/part"' in (tmp_path / "part.toml").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("fit part-0.csv part-1.csv --out r", "several files of data are one pattern in quotes: 'part-*.csv'"),
        ("init part-*.csv --out part-1.csv --overwrite", "out=part-1.csv is the data itself"),
        ("fit absent-*.csv --out r", "no file fits absent-*.csv"),
        ("fit *.csv --out r", "other.csv has no column 'x', which part-0.csv has; the parts of one table need"),
    ],
)
def test_parts_that_are_refused(run, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    for name, head in (("part-0", "x,y"), ("part-1", "x,y"), ("other", "y")):
        (tmp_path / f"{name}.csv").write_text(head + "\n" + "\n".join([head.replace("x", "1").replace("y", "2")] * 5))
    code, out, err = run(*words.split())
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
    assert not (tmp_path / "r").exists()


def test_impute_says_which_gaps_stay(run, tmp_path):
    kinds = [None if place % 5 == 0 else "red" if place % 2 else "blue" for place in range(40)]
    ages = [None if place == 3 else 20.5 + place for place in range(40)]
    pl.DataFrame({"age": ages, "kind": kinds}).write_csv(tmp_path / "x.csv")
    assert run("fit", tmp_path / "x.csv", "--max-iter", 2, "--no-report", "--out", tmp_path / "m")[0] == 0
    code, _, err = run("impute", tmp_path / "m", tmp_path / "x.csv", "--out", tmp_path / "filled.csv")
    assert code == 0, err
    assert "Numbers are filled in; gaps of text stay: 'kind' (8)" in err
    words = ("--missing", "red", "--max-iter", 2, "--no-report", "--overwrite", "--out", tmp_path / "m")
    assert run("fit", tmp_path / "x.csv", *words)[0] == 0
    for name in ("filled.parquet", "again.csv"):
        err = run("impute", tmp_path / "m", tmp_path / "x.csv", "--out", tmp_path / name)[2]
        assert "Numbers are filled in; gaps of text stay: 'kind' (24)" in err
    filled = pl.read_csv(tmp_path / "filled.csv")
    assert filled["age"].null_count() == 0
    assert filled["kind"].null_count() == 8


@pytest.mark.filterwarnings("always:column")
@pytest.mark.parametrize("command", ["encode", "reconstruct", "impute", "predict", "score"])
def test_values_far_beyond_those_of_the_training_are_told(run, tmp_path, command):
    """By column, once, in how many rows; not rare texts, gaps, nor values somewhat beyond."""
    rng = np.random.default_rng(0)
    table = {"a": rng.random(60).tolist(), "b": [None, *rng.normal(50, 3, 59).tolist()], "t": ["u"] * 59 + ["v"]}
    table |= {"flat": [7.0] * 60, "kind": ["yes", "no"] * 30}
    pl.DataFrame(table).write_csv(tmp_path / "x.csv")
    labels = ["--labels", "kind"] if command == "predict" else ["--ignore", "kind"]
    flags = ["--impute", "--layers", 2, "--max-iter", 2, "--no-report", "--validation-fraction", 0]
    code, _, err = run("fit", tmp_path / "x.csv", *labels, *flags, "--out", tmp_path / "r")
    assert code == 0, err
    assert "far beyond" not in run(command, tmp_path / "r", tmp_path / "x.csv")[2]
    table["a"] = [-4e6, 3.0, 1e6, *table["a"][3:]]
    table["flat"] = [7.5, 7.0, -900.0, *table["flat"][3:]]
    pl.DataFrame(table).write_csv(tmp_path / "y.csv")
    _, _, err = run(command, tmp_path / "r", tmp_path / "y.csv")
    told = "columns 'a' (-4e+06), 'flat' (-900) hold values far beyond those of the training, in 2 of 60 rows"
    assert err.count(told) == err.count("far beyond") == 1
