"""Whole stories, from a file that somebody has to what they wanted, through the command line alone."""

import io
import json
import re
import shlex
import subprocess
import sys
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
from PIL import Image
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_digits,
    load_iris,
    load_wine,
    make_friedman1,
)
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, r2_score, roc_auc_score

import layerwise
from layerwise.data import extract_patches, load_images


@pytest.fixture
def shell(run, tmp_path, monkeypatch):
    """Type a command in an empty folder; it must succeed. Returns standard output."""
    monkeypatch.chdir(tmp_path)

    def type_(command):
        code, out, err = run(*command.split())
        assert code == 0, err
        return out

    return type_


@pytest.fixture
def terminal(run, tmp_path, monkeypatch):
    """Type a command in an empty folder; it must succeed. Returns all that is shown, or facts where it says --json."""
    monkeypatch.chdir(tmp_path)

    def type_(command):
        words = shlex.split(command)
        code, out, err = run(*words)
        assert code == 0, err
        return json.loads(out) if "--json" in words else out + err

    return type_


def as_frame(load, **names):
    """A data set as a table; ``names`` renames columns."""
    bunch = load(as_frame=True)
    frame = pl.from_pandas(bunch.frame).rename({"target": names.get("target", "target")})
    return frame.with_columns(pl.Series("name", [f"row {place:03}" for place in range(len(frame))])), bunch


def with_gaps(frame, columns, share, seed=0):
    rng = np.random.default_rng(seed)
    return frame.with_columns(
        pl.when(pl.Series(rng.random(len(frame)) < share)).then(None).otherwise(pl.col(name)).alias(name)
        for name in columns
    )


def test_unusual_rows_of_a_table_with_gaps_and_text(shell):
    """CSV with missing values and a column of text -> scores beside the identifiers, and why."""
    frame, bunch = as_frame(load_breast_cancer)
    size = np.where(frame["mean area"] > 600, "large", "small")
    frame = with_gaps(frame.with_columns(pl.Series("size", size)), ["mean texture", "worst area", "size"], 0.05)
    benign = bunch.target.to_numpy() == 1
    frame.filter(pl.Series(benign)).drop("target").write_csv("benign.csv")
    frame.drop("target").sample(fraction=1, shuffle=True, seed=0).write_csv("all.csv")
    shell("fit benign.csv --id name --contamination 0.02 --impute --out model --random-state 0")
    shell("score model all.csv --because --per-feature --out scores.csv")
    scores, rows = pl.read_csv("scores.csv"), pl.read_csv("all.csv")
    assert scores["name"].to_list() == rows["name"].to_list()  # in the order of the file
    joined = scores.join(frame.select("name", "target"), on="name")
    assert roc_auc_score(joined["target"] == 0, joined["error"]) > 0.9
    errors = [name for name in scores.columns if name.startswith("error: ")]
    assert sorted(errors) == sorted(f"error: {name}" for name in rows.columns if name != "name")
    np.testing.assert_allclose(scores.select(pl.sum_horizontal(errors)).to_series(), scores["error"], rtol=1e-6)
    worst = scores.sort("error").row(-1, named=True)
    first = max(errors, key=lambda name: worst[name])
    share = f"{100 * worst[first] / worst['error']:.0f} %"
    assert worst["because"].startswith(f"{first.removeprefix('error: ')} {share}, ")


def test_a_folder_of_images_becomes_features(shell, tmp_path):
    """Image files in sub-folders -> codes in a table that names the files."""
    X, y = load_digits(return_X_y=True)
    for place, (image, label) in enumerate(zip(X[:900], y[:900], strict=True)):
        folder = tmp_path / "scans" / f"digit {label}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray((image.reshape(8, 8) * 15.9).astype(np.uint8)).save(folder / f"{place:04}.png")
    shell("fit scans --layers 60 --max-iter 100 --random-state 0 --out model")
    shell("encode model scans --out codes.parquet")
    codes = pl.read_parquet("codes.parquet")
    assert codes["file"][0] == "digit 0/0000.png"
    labels = codes["file"].str.split("/").list.first()
    features = codes.drop("file").to_numpy()
    odd = np.arange(len(codes)) % 2 == 1
    assert (
        LogisticRegression(max_iter=3000)
        .fit(features[odd], labels.filter(odd))
        .score(features[~odd], labels.filter(~odd))
        > 0.93
    )


def test_few_labels(shell):
    """Parquet with a label for 5 % of the rows -> predictions for all, better than the labelled rows alone give."""
    X, y = load_digits(return_X_y=True)
    known = np.random.default_rng(0).random(len(y)) < 0.05
    frame = pl.DataFrame({f"pixel {k}": X[:, k] for k in range(64)} | {"digit": y})
    frame = frame.with_columns(pl.when(pl.Series(known)).then(pl.col("digit")).otherwise(None).alias("digit"))
    frame.write_parquet("digits.parquet")
    shell(
        "fit digits.parquet --labels digit --layers 100 --sparsity-target 0.1 --sparsity-weight 0.3 --finetune head "
        "--head-alpha 0.001 --max-iter 100 --validation-fraction 0 --random-state 0 --out model"
    )  # too few labels to spare some
    shell("predict model digits.parquet --out predictions.csv")
    predicted = pl.read_csv("predictions.csv")["label"].to_numpy()
    raw = LogisticRegression(max_iter=5000).fit(X[known], y[known]).predict(X)
    assert accuracy_score(y[~known], predicted[~known]) > accuracy_score(y[~known], raw[~known])
    assert accuracy_score(y[~known], predicted[~known]) > 0.8


def test_a_number_for_each_row(shell):
    """Targets that are numbers make a regressor; what it predicts is in their units."""
    frame, _ = as_frame(load_diabetes, target="progression")
    test = np.arange(len(frame)) % 4 == 0
    frame.filter(pl.Series(~test)).write_csv("train.csv")
    frame.filter(pl.Series(test)).drop("progression").write_csv("new.csv")
    shell("fit train.csv --labels progression --id name --finetune head --random-state 0 --out model")
    shell("predict model new.csv --out new.parquet")
    predicted = pl.read_parquet("new.parquet").join(frame, on="name")
    assert r2_score(predicted["progression"], predicted["prediction"]) > 0.35


def test_noise_is_removed(shell):
    """Patches of the two photographs: a denoising autoencoder takes out noise that it has not seen."""
    patches = extract_patches(load_images(), (8, 8), 3000, random_state=0)
    noisy = np.clip(patches + np.random.default_rng(1).normal(0, 0.1, patches.shape), 0, 1)
    np.save("patches.npy", patches[:2500])
    np.save("noisy.npy", noisy[2500:])
    shell(
        "fit patches.npy --layers 100 --corruption gaussian --corruption-level 0.1 --solver adam --max-iter 40 "
        "--learning-rate-init 0.01 --output-activation sigmoid --random-state 0 --out model"
    )
    shell("reconstruct model noisy.npy --out clean.npy")
    before = np.square(noisy[2500:] - patches[2500:]).mean()
    assert np.square(np.load("clean.npy") - patches[2500:]).mean() < 0.7 * before


def test_a_classifier_for_a_machine_without_torch(shell, digits, tmp_path):
    """Digits -> a model -> a program that needs NumPy alone and says the same."""
    np.savez("digits.npz", X=digits.X_train[:800].reshape(-1, 28, 28), y=digits.y_train[:800])
    np.save("test.npy", digits.X_test[:300])
    shell("fit digits.npz --array X --labels y --layers 40 --max-iter 40 --random-state 0 --out model")
    shell("export model --numpy digits_model.py")
    shell("predict model test.npy --out labels.npy")
    code = (
        "import sys, importlib.util\n"
        "for name in ('torch', 'layerwise', 'sklearn'): sys.modules[name] = None\n"
        "spec = importlib.util.spec_from_file_location('m', 'digits_model.py')\n"
        "m = importlib.util.module_from_spec(spec); spec.loader.exec_module(m)\n"
        "import numpy as np\n"
        "np.save('alone.npy', m.predict(np.load('test.npy')))\n"
    )
    subprocess.run([sys.executable, "-I", "-c", code], check=True, cwd=tmp_path)
    np.testing.assert_array_equal(np.load("alone.npy"), np.load("labels.npy"))
    assert accuracy_score(digits.y_test[:300], np.load("labels.npy")) > 0.8


def test_a_recipe_in_a_file(shell, tmp_path):
    """init writes a recipe, fit takes it, and the folder of the run holds what repeats it to the bit."""
    frame, bunch = as_frame(load_wine, target="cultivar")
    frame = frame.with_columns(pl.Series("cultivar", bunch.target_names[bunch.target]))
    frame.write_csv("wine.csv")
    shell("init wine.csv --labels cultivar --id name")
    recipe = (tmp_path / "run.toml").read_text()
    (tmp_path / "run.toml").write_text(recipe.replace("n_hidden = 32", "n_hidden = 20", 1))
    shell("fit --config run.toml --max-iter 60")
    facts = json.loads(shell("--json inspect runs/wine"))
    assert [layer["n_hidden"] for layer in facts["layers"]] == [20]
    assert facts["classes"] == ["class_0", "class_1", "class_2"]
    assert json.loads(shell("--json evaluate runs/wine wine.csv"))["accuracy"] > 0.97
    shell("fit --config runs/wine/run.toml --out runs/again")
    one, two = (tmp_path / "runs" / name / "model.safetensors" for name in ("wine", "again"))
    assert one.read_bytes() == two.read_bytes()


def test_a_large_table_and_onnx(shell):
    """A made table of 20,000 rows, written as Feather -> a regressor -> ONNX that gives the same numbers."""
    import onnxruntime

    X, y = make_friedman1(20_000, n_features=8, noise=0.5, random_state=0)
    pl.DataFrame({f"x{k}": X[:, k] for k in range(8)} | {"price": 1e5 * y}).write_ipc("houses.feather")
    shell(
        "fit houses.feather --labels price --layers 30 --solver adam --max-iter 12 --learning-rate-init 0.01 "
        "--random-state 0 --out model"
    )
    figures = json.loads(shell("--json evaluate model houses.feather"))
    assert figures["r2"] > 0.9
    shell("export model --onnx houses.onnx")
    shell("predict model houses.feather --out prices.npy")
    session = onnxruntime.InferenceSession("houses.onnx")
    predicted = session.run(["predictions"], {"rows": X[:1000].astype(np.float32)})[0]
    np.testing.assert_allclose(predicted.ravel(), np.load("prices.npy")[:1000].ravel(), rtol=1e-5, atol=1)


def test_there_and_back(shell, digits):
    """Rows -> codes -> rows, through files of arrays with names."""
    from safetensors.numpy import load_file, save_file

    save_file({"train": digits.X_train[:600], "labels": digits.y_train[:600]}, "digits.safetensors")
    shell("fit digits.safetensors --array train --layers 64 32 --max-iter 60 --random-state 0 --out model")
    shell("encode model digits.safetensors --array train --out codes.safetensors")
    shell("decode model codes.safetensors --out back.npy")
    shell("reconstruct model digits.safetensors --array train --out direct.npy")
    assert load_file("codes.safetensors")["code"].shape == (600, 32)
    np.testing.assert_allclose(np.load("back.npy"), np.load("direct.npy"), atol=1e-5)
    error = np.square(np.load("back.npy") - digits.X_train[:600] / 255).sum()
    assert error < 0.6 * np.square(digits.X_train[:600] / 255 - digits.X_train[:600].mean(0) / 255).sum()


def test_does_pretraining_help(shell, tmp_path):
    """compare on a table, with its labels as text, answers with an interval."""
    frame, bunch = as_frame(load_iris, target="species")
    frame = frame.with_columns(pl.Series("species", bunch.target_names[bunch.target])).drop("name")
    test = np.arange(len(frame)) % 3 == 0
    frame.filter(pl.Series(~test)).write_csv("train.csv")
    frame.filter(pl.Series(test)).write_csv("test.csv")
    out = shell("compare train.csv species --test-data test.csv --budgets 6 30 --seeds 2 --finetune head --out runs/c")
    assert "denoising" in out
    figures = json.loads((tmp_path / "runs" / "c" / "comparison.json").read_text())
    assert figures["budgets"] == [6, 30]


def test_gaps_in_a_table_with_labels(shell):
    """Missing values are named, and filled in when that is asked for; the model fills in new rows too."""
    frame, bunch = as_frame(load_iris, target="species")
    frame = frame.with_columns(pl.Series("species", bunch.target_names[bunch.target]))
    numbers = [name for name in frame.columns if name not in ("species", "name")]
    rows = with_gaps(frame, numbers, 0.1)
    rows.write_csv("iris.csv")
    shell("fit iris.csv --labels species --id name --impute --layers 20 --max-iter 50 --random-state 0 --out model")
    shell("impute model iris.csv --out filled.csv")
    filled = pl.read_csv("filled.csv")
    assert filled.columns == rows.columns
    for name in numbers:
        gone = rows[name].is_null()
        np.testing.assert_allclose(filled[name].filter(~gone), rows[name].filter(~gone))
    name = "petal length (cm)"  # which the others tell
    errors = (filled[name] - frame[name]).filter(rows[name].is_null()).abs()
    assert errors.mean() < 0.5 * (frame[name] - frame[name].mean()).abs().mean()
    assert json.loads(shell("--json evaluate model iris.csv"))["accuracy"] > 0.95
    rows = json.loads(shell("--json predict model iris.csv --probabilities"))["rows"]
    assert rows[0]["name"] == "row 000"
    assert abs(sum(rows[0][f"p_{name}"] for name in bunch.target_names) - 1) < 1e-5


def test_blanks_in_a_table_are_the_same_to_python(shell, tmp_path):
    rng = np.random.default_rng(0)
    towns = rng.choice(["Bern", " Lausanne", "Basel  ", " "], 60)
    frame = pd.DataFrame({"size": rng.random(60), "town": towns, "kind": rng.choice(["a", "b"], 60)})
    frame.to_csv("x.csv", index=False)
    shell("fit x.csv --labels kind --layers 3 --max-iter 20 --random-state 0 --no-report --out model")
    rows = json.loads(shell("--json predict model x.csv --probabilities"))["rows"]
    found = layerwise.load("model").predict_proba(frame)
    np.testing.assert_allclose(found, [[row["p_a"], row["p_b"]] for row in rows], rtol=1e-6)


def test_a_table_is_filled_and_otherwise_as_it_was(shell, tmp_path):
    names = ["key", "count", "day", "size", "kind", "ok", "town", "gap"]
    rows = [
        [
            f"00{k}",
            f"{k * k}",
            f"2020-01-{1 + k % 9:02}",
            f"{k % 5},5",
            "ab"[k % 2],
            ("True", "False")[k % 2],
            "Bern",
            "2",
        ]
        for k in range(40)
    ]
    for row, name in ((0, "size"), (1, "ok"), (2, "town"), (3, "gap"), (4, "kind"), (5, "day")):
        rows[row][names.index(name)] = ""
    text = "".join(";".join(row) + "\n" for row in [names, *rows])
    (tmp_path / "x.csv").write_text(text)
    shell(
        "fit x.csv --labels kind --id key --ignore day --impute --layers 3 --max-iter 3 --random-state 0 --no-report "
        "--out model"
    )
    shell("impute model x.csv --out filled.csv")
    assert shell("impute model x.csv") == (tmp_path / "filled.csv").read_text()
    found = [line.split(";") for line in (tmp_path / "filled.csv").read_text().splitlines()]
    filled = {(0, "size"), (1, "ok"), (3, "gap")}
    assert found[0] == names
    for k, (row, line) in enumerate(zip(rows, found[1:], strict=True)):
        assert {(k, name) for name, old, new in zip(names, row, line, strict=True) if old != new} <= filled
    assert re.fullmatch(r"-?\d+,\d+", found[1][3])
    assert found[2][5] in ("True", "False")  # as the others are
    assert float(found[4][7]) == pytest.approx(2, abs=0.5)
    shell("impute model x.csv --out filled.parquet")
    frame = pl.read_parquet("filled.parquet")
    assert frame.columns == names
    assert frame["size"][0] == pytest.approx(float(found[1][3].replace(",", ".")))
    assert frame["ok"].dtype == pl.Boolean
    records = json.loads(shell("--json impute model x.csv"))["rows"]
    assert (records[1]["key"], records[1]["count"], records[5]["day"]) == ("001", 1, None)
    frame = frame.with_columns(pl.col("count").cast(pl.Int64), pl.lit(date(2020, 1, 1)).alias("day"))
    frame.write_parquet("x.parquet")
    shell("impute model x.parquet --out again.tsv")
    again = (tmp_path / "again.tsv").read_text().splitlines()[40].split("\t")
    assert again == ["0039", "1521", "2020-01-01", "4.5", "b", "false", "Bern", "2.0"]
    shell("impute model x.parquet --out filled.json")
    shell("impute model x.parquet --out filled.npz")


def test_identifiers_with_the_names_of_outputs(shell):
    """Columns that tell rows apart are kept, whatever they are called."""
    frame, _ = as_frame(load_iris, target="species")
    frame.rename({"name": "label"}).with_columns(pl.lit("x").alias("code_0")).write_csv("iris.csv")
    shell("fit iris.csv --labels species --id label code_0 --layers 3 --max-iter 5 --random-state 0 --out model")
    assert pl.read_csv(io.StringIO(shell("predict model iris.csv"))).columns == ["id: label", "code_0", "label"]
    assert pl.read_csv(io.StringIO(shell("encode model iris.csv"))).columns[:3] == ["label", "id: code_0", "code_0"]
    assert json.loads(shell("--json predict model iris.csv"))["rows"][0]["id: label"] == "row 000"


def test_a_run_that_went_wrong_says_so(shell, digits):
    np.save("digits.npy", digits.X_train[:60])
    out = shell(
        "fit digits.npy --layers 4 --solver sgd --learning-rate-init 1e9 --activation relu --no-report --out run"
    )
    assert "Training went wrong: layer 0 diverged" in out
    stages = json.loads(shell("--json fit digits.npy --layers 4 --max-iter 2 --no-report --out good"))["stages"]
    assert stages[0]["status"] == "stopped: max_iter iterations were made"


def test_an_index_of_pandas_names_the_unusual_rows(terminal):
    """DataFrame.to_csv(): an index without a name, dates, gaps -> the rows that are odd, by their names, and why."""
    rng = np.random.default_rng(0)
    load = 50 + 10 * np.sin(np.arange(160) / 10) + rng.normal(0, 3, 160)
    frame = pd.DataFrame(
        {
            "seen": pd.date_range("2024-01-01", periods=160, freq="6h"),
            "load": load,
            "heat": 20 + 0.5 * load + rng.normal(0, 0.3, 160),
            "flow": 5 + 0.1 * load + rng.normal(0, 0.1, 160),
        },
        index=[f"pump {number:03}" for number in range(160)],
    )
    frame.loc["pump 040", "heat"] = 90
    frame.loc["pump 120", "flow"] = 25
    frame.iloc[5::17, 3] = np.nan
    frame.to_csv("pumps.csv")
    told = terminal("fit pumps.csv --contamination 0.0125 --random-state 0 --no-report --out model")
    assert "Columns: 1 date written as %Y-%m-%d %H:%M:%S ('seen'), 3 numbers, 1 name per row left out ('')\n" in told
    assert "first: 1 of 4 columns has missing values: flow (10 of 160 rows) (--no-impute refuses them)\n" in told
    terminal("score model pumps.csv --because --out scores.csv")
    scores = pd.read_csv("scores.csv", index_col=0)
    assert scores.index.tolist() == frame.index.tolist()
    worst = scores.nlargest(2, "error")
    assert worst["because"].str.split().str[0].to_dict() == {"pump 120": "flow", "pump 040": "heat"}
    assert scores.index[scores["outlier"]].tolist() == ["pump 040", "pump 120"]
    assert not scores["because"][frame["flow"].isna()].str.contains("flow").any()
    rows = terminal("predict model pumps.csv --json")["rows"]
    assert [row[""] for row in rows if row["outlier"]] == ["pump 040", "pump 120"]
    assert terminal("fit pumps.csv --id '' --ignore seen --max-iter 1 --no-report --out own --json")["id"] == [""]


def write_r(path, frame):
    """Write a table as R's write.table does: blanks, names of rows without a name of their own, NA, text in quotes."""
    lines = [" ".join(f'"{name}"' for name in frame.columns)]
    for name, row in frame.iterrows():
        cells = [name, *row]
        lines.append(" ".join("NA" if pd.isna(x) else f'"{x}"' if isinstance(x, str) else f"{x:g}" for x in cells))
    path.write_text("\n".join(lines) + "\n")


def test_a_data_set_of_r_with_a_factor(terminal, tmp_path):
    """write.table(): NA, quotes, names of rows -> a classifier, how good it is beside the simplest, new rows."""
    rng = np.random.default_rng(0)
    kinds = np.array(["alba", "rosa canina", "rugosa"])
    code = rng.integers(0, 3, 180)
    frame = pd.DataFrame(
        {
            "len": np.round(5 + code + rng.normal(0, 0.3, 180), 1),
            "wid": np.round(3 - 0.5 * code + rng.normal(0, 0.3, 180), 1),
            "soil": rng.choice(["clay", "sandy loam"], 180).astype(object),
            "kind": kinds[code],
        },
        index=[f"plant {number + 1}" for number in range(180)],
    )
    frame.loc[frame.index[3::20], "len"] = np.nan
    frame.loc[frame.index[8::30], "soil"] = None
    write_r(tmp_path / "roses.txt", frame.head(120))
    write_r(tmp_path / "new.txt", frame.tail(60))
    told = terminal("fit roses.txt --labels kind --missing NA --layers 8 --random-state 0 --no-report --out model")
    assert "Columns: 2 numbers, 1 text of 3 values, 1 name per row left out ('')\n" in told  # one of them: missing
    assert "because the labels are text: 3 classes: alba, rosa canina, rugosa\n" in told
    share = frame["kind"].head(120).value_counts(normalize=True).max()
    found = re.search(
        r"Held out: accuracy (.*) % on 24 rows .*commonest class (.*) %, logistic regression (.*) %", told
    )
    accuracy, commonest, linear = map(float, found.groups())
    assert accuracy > 85
    assert linear > 85
    assert commonest == pytest.approx(100 * share, abs=5)
    rows = pd.DataFrame(terminal("predict model new.txt --probabilities --json")["rows"]).set_index("")
    assert rows.index.tolist() == frame.index[120:].tolist()
    right = (rows["label"] == frame["kind"][120:]).mean()
    assert right > 0.85
    assert terminal("evaluate model new.txt --json")["accuracy"] == pytest.approx(right)
    np.testing.assert_allclose(rows.filter(like="p_").sum(axis=1), 1, rtol=1e-5)


def german(number, decimals=2):
    return f"{number:,.{decimals}f}".translate(str.maketrans(",.", ".,"))


def test_a_european_export_of_rents(terminal, tmp_path):
    """A spreadsheet's CSV: semicolons, a BOM, decimal commas, 31.12.2024, 1.234,50 € -> amounts of new rows."""
    rng = np.random.default_rng(0)
    area, days = np.round(rng.uniform(30, 200, 160), 1), rng.integers(0, 1800, 160)
    rent = np.round(200 + 12.5 * area + 0.3 * days + rng.normal(0, 10, 160), 2)
    seen = [f"{day:%d.%m.%Y}" for day in pd.Timestamp("2020-01-01") + pd.to_timedelta(days, "D")]
    parts = [[f"W-{k:04}", german(area[k], 1), seen[k], f"{german(rent[k])} €"] for k in range(160)]
    names = ["Objekt", "Fläche", "Datum", "Miete"]

    def write(name, rows):
        text = "".join(";".join(row) + "\n" for row in rows)
        (tmp_path / name).write_text(text, encoding="utf-8-sig", newline="\r\n")

    write("mieten.csv", [names, *parts[:120]])
    write("neu.csv", [names[:3], *(row[:3] for row in parts[120:])])
    write("spaeter.csv", [names, *parts[120:]])
    told = terminal("fit mieten.csv --labels Miete --random-state 0 --no-report --out model")
    assert "Columns: 1 number, 1 date written as %d.%m.%Y ('Datum'), 1 name per row left out ('Objekt')\n" in told
    assert "Labels: amounts written with '€', thousands '.', decimal commas, which predictions are without\n" in told
    terminal("predict model neu.csv --out antwort.csv")
    answer = pd.read_csv("antwort.csv")
    assert answer["Objekt"].tolist() == [row[0] for row in parts[120:]]
    error = np.abs(answer["prediction"] - rent[120:]).mean()
    assert error < 50  # of 300 to 3,200
    assert terminal("evaluate model spaeter.csv --json")["mean_absolute_error"] == pytest.approx(error)
    write("ohne.csv", [names, *([*row[:3], row[3].removesuffix(" €")] for row in parts)])
    told = terminal("fit ohne.csv --labels Miete --random-state 0 --max-iter 5 --no-report --out ohne")
    assert "Labels: amounts written with thousands '.', decimal commas, which predictions are without\n" in told


def test_spectra_under_falling_wavenumbers(terminal):
    """A spectrometer's table: column names are numbers, from high to low -> codes, and spectra under the same names."""
    rng = np.random.default_rng(0)
    numbers = np.linspace(4000, 650, 68)
    shapes = np.exp(-(((numbers - np.array([[3200], [1900], [1000]])) / 700) ** 2))
    frame = pd.DataFrame(rng.random((90, 3)) @ shapes + rng.normal(0, 0.01, (90, 68)), columns=numbers)
    frame.insert(0, "sample", [f"S{k:02}" for k in range(90)])
    frame.round(5).to_csv("spectra.csv", index=False)
    told = terminal("fit spectra.csv --layers 3 --activation identity --random-state 0 --no-report --out model")
    assert "Columns: 68 numbers, 1 name per row left out ('sample')\n" in told
    explained = float(re.search(r"Held out: explained variance (.*) % on 18 rows", told)[1])
    assert explained > 95
    terminal("encode model spectra.csv --out codes.csv")
    codes = pd.read_csv("codes.csv")
    assert codes.columns.tolist() == ["sample", "code_0", "code_1", "code_2"]
    amounts = np.linalg.lstsq(shapes.T, frame[numbers].T.to_numpy(), rcond=None)[0].T
    known = np.column_stack([codes.drop(columns="sample"), np.ones(90)])
    assert r2_score(amounts, known @ np.linalg.lstsq(known, amounts, rcond=None)[0]) > 0.95
    terminal("reconstruct model spectra.csv --out clean.csv")
    terminal("decode model codes.csv --out decoded.csv")
    clean, decoded = pd.read_csv("clean.csv"), pd.read_csv("decoded.csv")
    assert clean.columns.tolist() == decoded.columns.tolist() == ["sample", *map(str, numbers)]
    assert clean["sample"].tolist() == frame["sample"].tolist()
    np.testing.assert_allclose(clean.iloc[:, 1:], decoded.iloc[:, 1:], atol=1e-4)
    assert np.abs(clean.iloc[:, 1:].to_numpy() - frame[numbers].to_numpy()).mean() < 0.05


def test_a_folder_of_parts_as_spark_writes_them(terminal, tmp_path):
    """year=2024/part-0.snappy.parquet, _SUCCESS -> a classifier; answers in JSON for the parts of another year."""
    rng = np.random.default_rng(0)

    def write(folder, year, labelled=True):
        u, v = rng.normal(size=(2, 60))
        frame = pl.DataFrame({"id": [f"m{year}x{k}" for k in range(60)], "u": u, "v": v.astype("f4")})
        state = pl.Series("state", np.where(u + v > 0, "ok", "broken"))
        place = tmp_path / folder / f"year={year}"
        place.mkdir(parents=True)
        frame = frame.with_columns(state) if labelled else frame
        for part in range(2):
            name = f"part-{part:05}-9f3c-c000.snappy.parquet"
            frame.slice(30 * part, 30).write_parquet(place / name, compression="snappy")
        (tmp_path / folder / "_SUCCESS").write_text("")
        return state.to_list()

    write("machines", 2023)
    write("machines", 2024)
    states = write("next", 2025, labelled=False)
    told = terminal("fit machines --labels state --layers 6 --random-state 0 --no-report --out model")
    assert "120 rows of 3 features, with labels\nColumns: 3 numbers, 1 name per row left out ('id')\n" in told
    assert "column 'year' is read as numbers: if they are codes, --ignore year, or put a letter" in told
    rows = terminal("predict model next --json")["rows"]
    assert [row["id"] for row in rows] == [f"m2025x{k}" for k in range(60)]
    assert accuracy_score(states, [row["label"] for row in rows]) > 0.9
    terminal("predict model next --out answers.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "answers.jsonl").read_text().splitlines()]
    assert lines == rows


def test_a_survey_with_gaps_of_many_kinds(terminal, tmp_path):
    """Text answers, unknown, -999, empty cells, a rare town, names of people -> the same table, its numbers filled."""
    rng = np.random.default_rng(0)
    age = rng.integers(18, 80, 160)
    income = np.round(1000 + 30 * age + rng.normal(0, 40, 160)).astype(int)
    cells = [
        [
            f'"{("Meyer", "Novak", "Osei")[k % 3]}, {("Ann", "Bob")[k % 2]} {k}"',
            "" if k % 14 == 6 else str(age[k]),
            "-999" if k % 9 == 2 else str(income[k]),
            "unknown" if k % 10 == 4 else ("agree", "disagree")[rng.integers(2)],
            "Chur" if k == 7 else ("Bern", "Basel")[rng.integers(2)],
            "yes" if age[k] > 45 else "no",
        ]
        for k in range(160)
    ]
    lines = ["name,age,income,attitude,town,retired", *map(",".join, cells)]
    (tmp_path / "survey.csv").write_text("\n".join(lines) + "\n")
    told = terminal(
        "fit survey.csv --labels retired --missing unknown -999 --layers 6 --random-state 0 --no-report --out model"
    )
    assert "Columns: 2 numbers, 2 texts of 3 values, 1 name per row left out ('name')\n" in told
    assert "missing values: age (11 of 160 rows), income (18 of 160 rows)" in told
    assert float(re.search(r"Held out: accuracy (.*) % on 32 rows", told)[1]) > 90
    told = terminal("impute model survey.csv --out filled.csv")
    assert "Numbers are filled in; gaps of text stay: 'attitude' (16)" in told
    for k, (old, new) in enumerate(zip(lines[1:], (tmp_path / "filled.csv").read_text().splitlines()[1:], strict=True)):
        before, after = old.rsplit(",", 5), new.rsplit(",", 5)
        gaps = [place for place in range(6) if before[place] in ("", "-999")]
        assert [after[place] for place in range(6) if place not in gaps] == [
            before[place] for place in range(6) if place not in gaps
        ]
        if 1 in gaps and 2 not in gaps:
            assert float(after[1]) == pytest.approx((income[k] - 1000) / 30, abs=8)
        if 2 in gaps and 1 not in gaps:
            assert float(after[2]) == pytest.approx(1000 + 30 * age[k], abs=240)


def test_a_log_of_machines_in_time(terminal):
    """Rows in time, of several machines -> figures on the last rows, or on machines that the model has not seen."""
    rng = np.random.default_rng(0)
    speed, drift = rng.uniform(1, 3, 200), np.arange(200) / 200
    frame = pd.DataFrame(
        {
            "at": pd.date_range("2024-03-01", periods=200, freq="h"),
            "machine": [f"M{k % 10}" for k in range(200)],
            "speed": speed,
            "wear": 5 * speed + drift + rng.normal(0, 0.1, 200),
        }
    )
    frame.to_csv("log.csv", index=False)
    frame.tail(40).to_csv("last.csv", index=False)
    frame.head(160).to_csv("first.csv", index=False)
    words = "--labels wear --layers 4 --max-iter 40 --random-state 0 --no-report"
    told = terminal(f"fit log.csv {words} --out plain")
    assert "; rows are in the order of column 'at': --ordered holds the last ones out\n" in told
    told = terminal(f"fit log.csv {words} --ordered --out ordered")
    assert "Held out: 40 of 200 rows, the last ones (--validation-fraction 0 trains on all)\n" in told
    own = json.loads(Path("ordered/run.json").read_text())["held_out_figures"]
    assert own["r2"] == pytest.approx(terminal("evaluate ordered last.csv --json")["r2"])
    told = terminal(f"fit log.csv {words} --groups machine --out groups")
    assert "Held out: 40 of 200 rows, whole groups (--validation-fraction 0 trains on all)\n" in told
    assert "Columns: 1 date written as %Y-%m-%d %H:%M:%S ('at'), 1 number\n" in told
    told = terminal(f"fit first.csv {words} --validation-data last.csv --out own")
    assert "Held out: 40 rows of last.csv\n" in told
    assert json.loads(Path("own/run.json").read_text())["held_out_figures"]["n_rows"] == 40
