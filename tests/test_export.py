"""What is carried away computes what the model computes; what is brought in, what it computed where it was trained."""

import csv
import json
import re
import runpy
import shutil
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.io import loadmat, savemat
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

import layerwise
from layerwise import (
    LBFGS,
    Autoencoder,
    AutoencoderImputer,
    AutoencoderOutlierDetector,
    KLSparsity,
    StackedAutoencoder,
    StackedClassifier,
    StackedRegressor,
    TopK,
)
from layerwise.activations import ACTIVATIONS, get_activation
from layerwise.data.table_encoder import TableEncoder
from layerwise.export import (
    export_matlab,
    export_numpy,
    export_onnx,
    from_matlab_autoencoder,
    from_ufldl_stack,
    from_ufldl_theta,
    onnx_file,
    to_module,
    write_model_card,
)
from layerwise.export._parts import take_apart
from layerwise.inspection import inspect_model, layers_of

LABELS = np.array(["it's", 'a "quote"\nand a line', "<b>|`x`"])
SHORT = LBFGS(max_iter=5)


def make_rows(n_rows, seed=0):
    """Rows of six columns in units far apart, one of them of mean 10,000 and deviation 1."""
    mixed = np.random.default_rng(seed).normal(size=(n_rows, 3)) @ np.random.default_rng(1).normal(size=(3, 6))
    return mixed * [1, 1e-3, 5, 1, 1, 1e3] / 2 + [1e4, 0, 0, -1, 3, 50]


def with_gaps(X, seed=0):
    return np.where(np.random.default_rng(seed).random(X.shape) < 0.2, np.nan, X)


def as_table(X):
    return pd.DataFrame(X, columns=[f'column "{k}"\n' for k in range(6)])


def make_models():
    """One fitted model of each kind, by name, with its function that the exported outputs are compared with."""
    X = make_rows(300)
    y = LABELS[np.digitize(X[:, 2], [-2, 2])]
    first = Autoencoder(4, activation="tanh", output_activation="identity", tied=True, alpha=1e-2, solver=SHORT)
    stack = StackedAutoencoder([first, Autoencoder(3, output_activation="tanh", solver=SHORT)], random_state=0)
    gaps = Autoencoder(5, activation="elu", output_activation="identity", alpha=1e-2, solver=SHORT, random_state=0)
    table = [("table", TableEncoder()), ("imputer", AutoencoderImputer(gaps, n_passes=3))]
    recipe = {"alpha": 1e-2, "solver": LBFGS(max_iter=30), "random_state": 0}
    return {
        "autoencoder": Autoencoder(4, solver=SHORT, random_state=0).fit(X),
        "stack": stack.fit(X),
        "classifier": StackedClassifier(stack, **recipe).fit(X, y),
        "regressor": StackedRegressor(stack, **recipe).fit(X, X[:, 0]),
        "regressor of two": StackedRegressor(stack, **recipe).fit(X, X[:, [0, 5]]),
        "detector": AutoencoderOutlierDetector(stack).fit(X),
        "imputer": AutoencoderImputer(gaps).fit(with_gaps(X)),
        "table": Pipeline([*table, ("model", StackedClassifier(stack, **recipe))]).fit(as_table(with_gaps(X)), y),
    }


def computed_by(model, X):
    """What a model computes, by the names of the outputs of the module."""
    head = model[-1] if isinstance(model, Pipeline) else model
    if isinstance(model, Pipeline):  # what is exported takes the columns that the encoder of the table makes
        model = model[1:]
    if isinstance(head, StackedClassifier):
        return {"probabilities": model.predict_proba(X), "codes": model.transform(X)}
    if isinstance(head, StackedRegressor):
        return {"predictions": model.predict(X), "codes": model.transform(X)}
    if isinstance(head, AutoencoderOutlierDetector):
        return {"scores": model.decision_function(X), "errors": model.reconstruction_error(X)}
    if isinstance(head, AutoencoderImputer):
        return {"filled": model.transform(X)}
    codes = model.transform(X)
    return {"codes": codes, "reconstructions": model.inverse_transform(codes)}


# What the NumPy file calls these.
FUNCTIONS = {
    "probabilities": "predict_proba",
    "codes": "encode",
    "predictions": "predict",
    "scores": "decision_function",
    "errors": "reconstruction_error",
    "filled": "fill",
    "reconstructions": "reconstruct",
}
KINDS = ("autoencoder", "stack", "classifier", "regressor", "regressor of two", "detector", "imputer", "table")
FILLING = ("imputer", "table")


@pytest.fixture(scope="module")
def models():
    return make_models()


def difference(found, expected):
    """Largest difference, as a share of the largest value of its column where that is above 1."""
    assert found.shape == expected.shape
    return (np.abs(found - expected) / np.maximum(1, np.abs(expected).max(axis=0))).max()


def rows_for(name, n_rows):
    return with_gaps(make_rows(n_rows, seed=7)) if name in FILLING else make_rows(n_rows, seed=7)


@pytest.mark.parametrize("name", KINDS)
def test_module_computes_what_the_model_computes(models, name):
    module = to_module(models[name])
    for n_rows in (1, 2, 1000):
        X = rows_for(name, n_rows).astype(np.float32)
        expected = computed_by(models[name], X)
        found = module(torch.from_numpy(X))
        assert list(found) == list(expected)
        assert max(difference(found[key].numpy(), expected[key]) for key in expected) < 1e-5
        assert all(values.dtype == torch.float32 for values in found.values())


def test_module_stands_alone(models):
    module = to_module(models["stack"])
    before = models["stack"].coefs_[0].copy()
    for parameter in module.parameters():
        parameter.zero_()
    assert (models["stack"].coefs_[0] == before).all()


@pytest.mark.parametrize("name", KINDS)
def test_onnx_computes_what_the_model_computes(models, name, tmp_path, capfd, recwarn):
    ort = pytest.importorskip("onnxruntime")
    path = tmp_path / "new" / "model.onnx"
    export_onnx(models[name], path)
    assert capfd.readouterr() == ("", "")
    assert not recwarn.list
    assert [file.name for file in path.parent.iterdir()] == ["model.onnx"]
    session = ort.InferenceSession(path)
    assert [(value.name, value.type) for value in session.get_inputs()] == [("rows", "tensor(float)")]
    for n_rows in (1, 2, 1000):
        X = rows_for(name, n_rows).astype(np.float32)
        expected = computed_by(models[name], X)
        outputs = [value.name for value in session.get_outputs()]
        assert outputs == list(expected)
        found = session.run(None, {"rows": X})
        assert max(difference(a, b) for a, b in zip(found, expected.values(), strict=True)) < 1e-5
    metadata = session.get_modelmeta().custom_metadata_map
    assert metadata["layerwise_version"] == layerwise.__version__
    if name in ("classifier", "table"):
        assert json.loads(metadata["classes"]) == sorted(LABELS)
    if name == "table":
        assert json.loads(metadata["feature_names"])[1] == 'column "1"\n'


# What the function of MATLAB returns, in order, and of which of these.
MATLAB = {
    "autoencoder": ("reconstructions", "codes"),
    "stack": ("reconstructions", "codes"),
    "classifier": ("probabilities", None, "codes"),
    "regressor": ("predictions", "codes"),
    "regressor of two": ("predictions", "codes"),
    "detector": ("errors", None),
    "imputer": ("filled",),
    "table": ("probabilities", None, "codes"),
}


def run_octave(folder, calls):
    """Return what functions, by their names, return for rows, as lists."""
    octave = shutil.which("octave-cli") or shutil.which("octave")
    if octave is None:
        pytest.skip("Octave is not installed")
    savemat(folder / "rows.mat", {name: rows for name, (rows, _) in calls.items()})
    lines = ["s = load('rows.mat');"]
    for name, (_, n_outputs) in calls.items():
        outputs = ", ".join(f"out.{name}_{place}" for place in range(n_outputs))
        lines.append(f"[{outputs}] = {name}(s.{name});")
    (folder / "script.m").write_text("\n".join([*lines, "save('-v6', 'out.mat', '-struct', 'out');"]))
    command = [octave, "--no-gui", "--norc", "--quiet", "--no-history", "script.m"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    assert (folder / "out.mat").is_file(), done.stderr
    found = loadmat(folder / "out.mat")
    return {name: [found[f"{name}_{place}"] for place in range(n)] for name, (_, n) in calls.items()}


def test_matlab_function_computes_what_the_model_computes(models, tmp_path):
    calls, names = {}, {name: name.replace(" ", "_") for name in KINDS}
    for name in KINDS:
        export_matlab(models[name], tmp_path / f"{names[name]}.m")
        calls[names[name]] = rows_for(name, 50), len(MATLAB[name])
    calls["autoencoder"] = rows_for("autoencoder", 1), 2
    found = run_octave(tmp_path, calls)
    for name in KINDS:
        X = calls[names[name]][0]
        expected = computed_by(models[name], X)
        for values, key in zip(found[names[name]], MATLAB[name], strict=True):
            if key is not None:
                wanted = expected[key] if expected[key].ndim == 2 else expected[key][:, None]
                assert difference(values, wanted) < 1e-5
    labels = [text.item() for text in found["classifier"][1].ravel()]
    assert labels == models["classifier"].predict(calls["classifier"][0]).tolist()
    outliers = models["detector"].predict(calls["detector"][0]) < 0
    assert found["detector"][1].ravel().astype(bool).tolist() == outliers.tolist()


def test_matlab_function_of_every_activation_and_of_odd_scales(tmp_path):
    """Numbers as classes, bytes as rows, a placeholder for what is missing, values far from all others."""
    random = np.random.default_rng(0)
    X = random.normal(size=(60, 6))
    layers = [Autoencoder(5, activation=each, output_activation="identity", solver=SHORT) for each in ACTIVATIONS]
    layers += [Autoencoder(5, activation=TopK(2), output_activation="identity", tied=True, solver=SHORT)]
    stack = StackedAutoencoder(layers, dtype="float64", random_state=0).fit(X)
    pixels = random.integers(0, 256, (60, 6), dtype=np.uint8)
    classifier = StackedClassifier(Autoencoder(4, solver=SHORT), solver=SHORT, random_state=0).fit(
        pixels, np.arange(60) % 3 + 5
    )
    far = X.copy()
    far[3, 2], far[5, 0] = 1e5, -3e4
    marked = np.where(random.random((60, 6)) < 0.2, -999.0, X)
    marked[:, 4] = -999
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the values that are far from all others, and of the empty column
        regressor = StackedRegressor(Autoencoder(4, solver=SHORT), solver=SHORT, random_state=0).fit(far, far[:, 2])
        coder = Autoencoder(3, solver=SHORT, random_state=0).fit(far)
        imputer = AutoencoderImputer(Autoencoder(4, solver=SHORT), missing_values=-999, random_state=0).fit(marked)
    assert coder.coder_.scaling.tails is not None
    assert regressor.target_scaling_.tails is not None
    models = {"every": stack, "bytes": classifier, "regress": regressor, "tails": coder, "marks": imputer}
    for name, model in models.items():
        export_matlab(model, tmp_path / f"{name}.m")
    found = run_octave(
        tmp_path, {"every": (X, 2), "bytes": (pixels, 3), "regress": (far, 2), "tails": (far, 2), "marks": (marked, 1)}
    )
    assert difference(found["every"][1], stack.transform(X)) < 1e-9
    assert difference(found["every"][0], stack.inverse_transform(stack.transform(X))) < 1e-9
    assert difference(found["bytes"][0], classifier.predict_proba(pixels)) < 1e-5
    assert found["bytes"][1].ravel().tolist() == classifier.predict(pixels).tolist()
    assert difference(found["regress"][0], regressor.predict(far)[:, None]) < 1e-5
    assert difference(found["tails"][0], coder.inverse_transform(coder.transform(far))) < 1e-4
    assert difference(found["marks"][0], imputer.transform(marked)) < 1e-5


def test_numbers_beside_the_matlab_function(models, tmp_path):
    """The formulas of the file, in NumPy on what is in the MAT file."""
    export_matlab(models["regressor"], tmp_path / "net.m")
    P, X = loadmat(tmp_path / "net.mat"), make_rows(20)
    text = (tmp_path / "net.m").read_text()
    assert text.startswith("function [y, code] = net(x)\n%NET StackedRegressor of layerwise: 6 inputs")
    assert len(re.findall("^(?:function|if|for) ", text, re.M)) == len(re.findall("^end$", text, re.M))
    assert "h = tanh(h * P.W1' + P.b1);\nh = sigmoid(h * P.W2' + P.b2);" in text
    x = (X - P["center"]) / P["scale"]
    code = 1 / (1 + np.exp(-(np.tanh(x @ P["W1"].T + P["b1"]) @ P["W2"].T + P["b2"])))
    assert difference(code, models["regressor"].transform(X)) < 1e-5
    y = (code @ P["W_out"].T + P["b_out"]) * P["target_scale"] + P["target_center"]
    assert difference(y[:, 0], models["regressor"].predict(X)) < 1e-5


def test_matlab_function_that_cannot_be_written(models, tmp_path):
    for name, message in (("model.txt", "must end in .m"), ("2nd.m", "no name in MATLAB"), ("end.m", "no name")):
        with pytest.raises(ValueError, match=message):
            export_matlab(models["stack"], tmp_path / name)
    (tmp_path / "net.mat").write_bytes(b"of somebody else")
    with pytest.raises(FileExistsError, match=r"net\.mat"):
        export_matlab(models["stack"], tmp_path / "net.m")
    assert [path.name for path in tmp_path.iterdir()] == ["net.mat"]
    export_matlab(models["stack"], tmp_path / "net.m", overwrite=True)
    assert "W1" in loadmat(tmp_path / "net.mat")


def test_onnx_of_every_activation(tmp_path):
    pytest.importorskip("onnxruntime")
    X = np.random.default_rng(0).normal(size=(50, 6))
    activations = [*ACTIVATIONS, TopK(2)]
    layers = [Autoencoder(5, activation=each, output_activation="identity", solver=SHORT) for each in activations]
    stack = StackedAutoencoder(layers, dtype="float64", random_state=0).fit(X)
    export_onnx(stack, tmp_path / "model.onnx")  # compares by itself


def test_onnx_leaves_out_rows_in_which_rounding_decides(tmp_path):
    """Of two units that are the same but for the last digit either may be kept."""
    pytest.importorskip("onnxruntime")
    X = np.random.default_rng(0).normal(size=(50, 40))
    model = Autoencoder(6, activation=TopK(2), output_activation="identity", solver=SHORT, random_state=0).fit(X)
    with torch.no_grad():
        model.layer_.encoder_weight[1] = model.layer_.encoder_weight[0] * (1 + 1e-7)
        model.layer_.encoder_bias[1] = model.layer_.encoder_bias[0]
    module, rows = to_module(model), onnx_file._random_rows(take_apart(model), 1000)
    one_of_both = ((module(torch.from_numpy(rows))["codes"][:, :2] > 0).sum(dim=1) == 1).numpy()
    compared = onnx_file._without_near_ties(module, rows)
    assert one_of_both.any()
    assert 500 < len(compared) < 1000
    assert not (rows[one_of_both][:, None] == compared).all(axis=2).any()
    export_onnx(model, tmp_path / "model.onnx")


def test_onnx_that_differs_is_not_kept(models, tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime")
    path = tmp_path / "model.onnx"
    path.write_text("old")
    right = onnx_file.to_module

    def wrong(model):
        module = right(model)
        module.network.layers[0].encoder_bias += 1e-3
        return module

    write = onnx_file._write
    monkeypatch.setattr(onnx_file, "_write", lambda module, *rest: write(wrong(models["stack"]), *rest))
    with pytest.raises(ValueError, match="not kept: of 1 random rows onnxruntime computes codes that differ"):
        export_onnx(models["stack"], path, overwrite=True)
    assert path.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_onnx_refuses(models, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"must end in \.onnx"):
        export_onnx(models["stack"], tmp_path / "model.pt")
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr(onnx_file, "_MAX_BYTES", 10)
    with pytest.raises(ValueError, match="one ONNX file holds less than 2"):
        export_onnx(models["stack"], tmp_path / "model.onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ImportError, match=r"pip install 'layerwise\[onnx\]'"):
        export_onnx(models["stack"], tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", KINDS)
def test_numpy_file_computes_what_the_model_computes(models, name, tmp_path):
    export_numpy(models[name], tmp_path / "my_model.py")
    functions = runpy.run_path(str(tmp_path / "my_model.py"))
    for n_rows in (1, 2, 1000):
        X = rows_for(name, n_rows)
        for key, expected in computed_by(models[name], X).items():
            assert difference(functions[FUNCTIONS[key]](X), expected) < 1e-5, key
    if name in ("classifier", "detector"):
        assert (functions["predict"](X) == models[name].predict(X)).all()
    if name == "stack":
        codes = models[name].transform(X)
        assert difference(functions["decode"](codes), models[name].inverse_transform(codes)) < 1e-5
    if name == "table":
        assert functions["FEATURE_NAMES"][1] == 'column "1"\n'
        assert (functions["predict"](X) == models[name].predict(as_table(X))).all()


@pytest.mark.parametrize("value", [0, -999, 0.1])
def test_number_that_means_missing_is_carried_along(value, tmp_path):
    ort = pytest.importorskip("onnxruntime")
    X = with_gaps(make_rows(100)).astype(np.float32)
    rows = np.where(np.isnan(X), np.float32(value), X)
    rows[0] = np.nan  # is missing too
    layer = Autoencoder(3, output_activation="identity", solver=SHORT, random_state=0)
    imputer = AutoencoderImputer(layer, missing_values=value).fit(rows)
    expected = imputer.transform(rows)
    assert np.isfinite(expected).all()
    assert not (expected == np.float32(value)).any()
    export_numpy(imputer, tmp_path / "fill.py")
    export_onnx(imputer, tmp_path / "fill.onnx")
    by_onnx = ort.InferenceSession(tmp_path / "fill.onnx").run(None, {"rows": rows})[0]
    by_numpy = runpy.run_path(str(tmp_path / "fill.py"))["fill"](rows)
    for found in (by_onnx, by_numpy, to_module(imputer)(torch.from_numpy(rows))["filled"].numpy()):
        assert difference(found, expected) < 1e-5


def test_numpy_file_needs_numpy_alone(models, tmp_path):
    export_numpy(models["classifier"], tmp_path / "my_model.py")
    X = make_rows(1000, seed=3)
    np.save(tmp_path / "rows.npy", X)
    np.savetxt(tmp_path / "rows.csv", X, delimiter=",", header="a,b,c,d,e,f", comments="")
    program = (
        "import runpy, sys\n"
        "for name in ('torch', 'layerwise', 'sklearn', 'scipy'):\n"
        "    sys.modules[name] = None\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )

    def run(*arguments):
        start = f"import sys; sys.argv = {[str(tmp_path / 'my_model.py'), *map(str, arguments)]!r}\n"
        return subprocess.run([sys.executable, "-I", "-c", start + program], capture_output=True, text=True, timeout=60)

    assert run(tmp_path / "rows.npy", tmp_path / "p.npy").returncode == 0
    expected = models["classifier"].predict_proba(X)
    assert difference(np.load(tmp_path / "p.npy"), expected) < 1e-5
    assert run(tmp_path / "rows.csv", tmp_path / "p.csv").returncode == 0
    with (tmp_path / "p.csv").open(newline="", encoding="utf-8") as file:
        header, *lines = csv.reader(file)
    assert header == [f"p_{label}" for label in models["classifier"].classes_]
    assert difference(np.array(lines, dtype=float), expected) < 1e-5
    assert run(tmp_path / "rows.csv", tmp_path / "h.csv", "--function", "encode").returncode == 0
    assert difference(np.loadtxt(tmp_path / "h.csv", delimiter=","), models["classifier"].transform(X)) < 1e-5
    assert run(tmp_path / "rows.npy", tmp_path / "y.npy", "--function", "predict").returncode == 0
    assert (np.load(tmp_path / "y.npy", allow_pickle=False) == models["classifier"].predict(X)).all()
    for arguments, complaint in {
        (tmp_path / "rows.npy", tmp_path / "p.npy"): "exists",
        (tmp_path / "gone.npy", tmp_path / "q.npy"): "No such file",
        (tmp_path / "rows.npy", tmp_path / "q.txt"): "must end in .npy or .csv",
        (tmp_path / "p.npy", tmp_path / "q.npy"): "(n_rows, 6) is expected",
    }.items():
        answer = run(*arguments)
        assert answer.returncode == 2
        assert complaint in answer.stderr
        assert "Traceback" not in answer.stderr


def test_numpy_file_reads_tables(models, tmp_path):
    export_numpy(models["table"], tmp_path / "my_model.py")
    read = runpy.run_path(str(tmp_path / "my_model.py"))["read"]
    path = tmp_path / "rows.csv"
    path.write_text("1,2,,4\n5,6,7,8\n")
    np.testing.assert_array_equal(read(path), [[1, 2, np.nan, 4], [5, 6, 7, 8]])
    for text, complaint in {
        "a,b\n1,2\n": "has the columns",
        "1,2\n3\n": "row 2 of .* does not hold 2 numbers",
        "1,2\nx,3\n": "row 2 of .* does not hold 2 numbers",
        "": "holds no rows",
    }.items():
        path.write_text(text)
        with pytest.raises(ValueError, match=complaint):
            read(path)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_numpy_file_of_any_stack(data, tmp_path):
    names = st.sampled_from(sorted(ACTIVATIONS))
    kinds = data.draw(st.lists(names | st.builds(TopK, st.integers(1, 4)), min_size=1, max_size=3))
    tied = data.draw(st.booleans())
    X = make_rows(60)
    kind = data.draw(st.sampled_from(["own units", "uint8", "plain"]))
    if kind == "uint8":
        X = np.random.default_rng(0).integers(0, 256, size=X.shape).astype(np.uint8)
    if kind == "plain":
        X = np.random.default_rng(0).random(X.shape)
    outputs = ["identity" if kind == "plain" else data.draw(names), *["identity"] * 2]
    if kind == "uint8" and ACTIVATIONS[outputs[0]].high < 1:
        outputs[0] = "sigmoid"
    layers = [
        Autoencoder(4, activation=s, output_activation=t, tied=tied, solver=LBFGS(max_iter=2))
        for s, t in zip(kinds, outputs, strict=False)
    ]
    dtype = data.draw(st.sampled_from(["float32", "float64"]))
    stack = StackedAutoencoder(layers, dtype=dtype, random_state=0).fit(X)
    path = tmp_path / "my_model.py"
    export_numpy(stack, path, overwrite=True)
    functions = runpy.run_path(str(path))
    # A column is rounded as its width is, and one that is hardly learnt is reconstructed far smaller than that.
    tolerance = 1e-4 if dtype == "float32" else 1e-12
    for key, expected in computed_by(stack, X).items():
        assert difference(functions[FUNCTIONS[key]](X), expected) < tolerance
    text = path.read_text()
    written = set(re.findall(r"^def (\w+)\(z", text, flags=re.MULTILINE))
    used = {get_activation(kind).name for kind in [*kinds, *outputs[: len(kinds)]]}
    assert written == used - {"identity"}
    assert max(map(len, text.splitlines())) <= 120


def test_numpy_file_of_intensities(tmp_path):
    X = np.random.default_rng(0).integers(0, 256, size=(50, 6)).astype(np.uint8)
    trained = Autoencoder(3, solver=SHORT, random_state=0).fit(X)
    export_numpy(trained, tmp_path / "my_model.py")
    encode = runpy.run_path(str(tmp_path / "my_model.py"))["encode"]
    assert difference(encode(X), trained.transform(X)) < 1e-5
    assert difference(encode(X / 255), trained.transform(X)) < 1e-5
    with pytest.raises(ValueError, match="pass uint8, or divide by 255"):
        encode(X.astype(float))


def test_numpy_file_refuses_rows(models, tmp_path):
    export_numpy(models["detector"], tmp_path / "my_model.py")
    predict = runpy.run_path(str(tmp_path / "my_model.py"))["predict"]
    for X, complaint in [
        (np.zeros((2, 5)), r"X has shape \(2, 5\), but \(n_rows, 6\) is expected"),
        (np.zeros(6), r"X has shape \(6,\)"),
        (np.full((1, 6), np.nan), "missing or infinite"),
        (np.full((1, 6), "a"), "numbers are expected"),
    ]:
        with pytest.raises(ValueError, match=complaint):
            predict(X)


@pytest.mark.parametrize("name", ["model", "my-model.py", "class.py", "numpy.py", "json.py", "1.py"])
def test_numpy_file_refuses_names_that_cannot_be_imported(models, tmp_path, name):
    with pytest.raises(ValueError, match=r"must end in \.py|cannot be imported|would hide Python's own"):
        export_numpy(models["stack"], tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_numpy_file_is_written_whole_or_not_at_all(models, tmp_path, monkeypatch):
    (tmp_path / "my_model.npz").write_text("mine")
    with pytest.raises(FileExistsError):
        export_numpy(models["stack"], tmp_path / "my_model.py")
    assert [file.name for file in tmp_path.iterdir()] == ["my_model.npz"]

    def fail(*args, **kwargs):
        raise OSError("no space left")

    monkeypatch.setattr(np, "savez", fail)
    with pytest.raises(OSError, match="no space"):
        export_numpy(models["stack"], tmp_path / "my_model.py", overwrite=True)
    assert (tmp_path / "my_model.npz").read_text() == "mine"
    assert len(list(tmp_path.iterdir())) == 1


def test_what_cannot_be_exported(models, tmp_path):
    X = make_rows(20)
    autoencoder = Autoencoder(2, solver=SHORT, random_state=0)
    scaled = Pipeline([("scaler", StandardScaler()), ("model", autoencoder)]).fit(X)
    for export in (export_numpy, lambda model, path: to_module(model)):
        with pytest.raises(ValueError, match="step 'scaler' of the pipeline is a StandardScaler"):
            export(scaled, tmp_path / "my_model.py")
        with pytest.raises(ValueError, match="a StandardScaler cannot be exported; known are Autoencoder"):
            export(StandardScaler().fit(X), tmp_path / "my_model.py")
        with pytest.raises(NotFittedError):
            export(Autoencoder(2), tmp_path / "my_model.py")
    assert not list(tmp_path.iterdir())


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def test_ufldl_theta_gives_the_codes_of_the_reference(reference):
    entries, arrays = reference
    for name in [name for name in entries if name.startswith("sparse")]:
        X, theta, hidden = (arrays[f"{name}_{part}"] for part in ("X", "theta", "hidden"))
        n, h = X.shape[1], hidden.shape[1]
        autoencoder = from_ufldl_theta(theta, n, h, dtype="float64")
        np.testing.assert_allclose(autoencoder.transform(X), hidden, rtol=1e-12)
        W1, W2 = theta[: n * h].reshape(h, n), theta[n * h : 2 * n * h].reshape(n, h)
        b1, b2 = theta[2 * n * h : 2 * n * h + h], theta[2 * n * h + h :]
        in_octave = np.concatenate([W1.ravel("F"), W2.ravel("F"), b1, b2])
        same = from_ufldl_theta(in_octave[:, None], n, h, order="F", dtype="float64")
        np.testing.assert_array_equal(same.transform(X), autoencoder.transform(X))
        np.testing.assert_allclose(
            autoencoder.inverse_transform(hidden), sigmoid(hidden @ W2.T + b2), rtol=1e-12, atol=1e-15
        )


def test_ufldl_stack_gives_the_predictions_of_the_reference(reference):
    entries, arrays = reference
    for name in [name for name in entries if name.startswith("stacked")]:
        X, theta, pred = (arrays[f"{name}_{part}"] for part in ("X", "theta", "pred"))
        n_features, *widths, n_classes = entries[name]["layer_sizes"]
        classifier = from_ufldl_stack(theta, n_features, widths, n_classes, dtype="float64")
        np.testing.assert_array_equal(classifier.predict(X), pred)


def flat_stack(n_features, layers, n_classes, order, seed=0):
    """A random stack: its vector, and a forward pass in plain NumPy."""
    rng = np.random.default_rng(seed)
    widths = [n_features, *layers]
    head = rng.normal(size=(n_classes, widths[-1]))
    weights = [(rng.normal(size=(b, a)), rng.normal(size=b)) for a, b in zip(widths, layers, strict=False)]

    def forward(X):
        for W, b in weights:
            X = sigmoid(X @ W.T + b)
        e = np.exp(X @ head.T)
        return e / e.sum(axis=1, keepdims=True)

    pieces = [head.ravel(order), *(piece for W, b in weights for piece in (W.ravel(order), b))]
    return np.concatenate(pieces), forward


@pytest.mark.parametrize("order", ["C", "F"])
def test_ufldl_stack_is_a_classifier_like_any_other(order, tmp_path):
    theta, forward = flat_stack(6, [5, 4], 3, order)
    X = np.random.default_rng(1).random((40, 6))
    classifier = from_ufldl_stack(theta, 6, [5, 4], 3, order=order, classes=["c", "a", "b"], dtype="float64")
    assert classifier.classes_.tolist() == ["a", "b", "c"]
    np.testing.assert_allclose(classifier.predict_proba(X), forward(X)[:, [1, 2, 0]], rtol=1e-10)
    layerwise.save(classifier, tmp_path / "model")
    np.testing.assert_array_equal(layerwise.load(tmp_path / "model").predict_proba(X), classifier.predict_proba(X))
    export_numpy(classifier, tmp_path / "my_model.py")
    functions = runpy.run_path(str(tmp_path / "my_model.py"))
    np.testing.assert_allclose(functions["predict_proba"](X), classifier.predict_proba(X), rtol=1e-10)
    write_model_card(tmp_path / "MODEL_CARD.md", classifier)
    assert "no record of their training" in (tmp_path / "MODEL_CARD.md").read_text()
    y = np.array(["a", "b", "c", "a"] * 10)
    before = classifier.score(X, y)
    tuned = classifier.set_params(warm_start=True, solver=LBFGS(max_iter=200)).fit(X, y)
    assert tuned.score(X, y) > before


def test_brought_in_autoencoder_is_one_like_any_other(tmp_path):
    theta = np.random.default_rng(0).normal(size=2 * 6 * 3 + 3 + 6)
    autoencoder = from_ufldl_theta(theta, 6, 3, alpha=1e-3, sparsity=KLSparsity(0.1, 3.0), random_state=0)
    X = np.random.default_rng(1).random((40, 6))
    codes = autoencoder.transform(X)
    assert inspect_model(autoencoder)["stages"] == []
    layerwise.save(autoencoder, tmp_path / "model")
    np.testing.assert_array_equal(layerwise.load(tmp_path / "model").transform(X), codes)
    assert layerwise.load(tmp_path / "model").score(X) == autoencoder.score(X)
    classifier = StackedClassifier(FrozenEstimator(autoencoder), solver=SHORT, random_state=0).fit(X, X[:, 0] > 0.5)
    assert classifier.transform(X).shape == (40, 3)
    before = autoencoder.score(X)
    assert autoencoder.set_params(warm_start=True, solver=LBFGS(max_iter=50)).fit(X).score(X) > before
    assert autoencoder.loss_ > 0


def test_record_of_a_training_that_is_not_known():
    autoencoder = from_ufldl_theta(np.zeros(2 * 6 * 3 + 3 + 6), 6, 3)
    for name in ("loss_", "loss_curve_", "n_iter_", "converged_"):
        with pytest.raises(AttributeError, match=name):
            getattr(autoencoder, name)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"theta": np.zeros(44)}, "theta has 44 values, but n_features=6 and n_hidden=3 need 45: 3 x 6"),
        ({"theta": np.full(45, np.nan)}, "theta holds values that are not finite"),
        ({"theta": np.zeros((9, 5))}, r"theta has shape \(9, 5\), but a vector is expected"),
        ({"theta": ["a"]}, "theta does not hold real numbers"),
        ({"theta": np.zeros(45, complex)}, "theta does not hold real numbers"),
        ({"order": "A"}, "order='A' is not known; choose 'C'"),
        ({"n_hidden": 0}, "n_hidden=0 must be a whole number"),
        ({"n_features": 6.0}, "n_features=6.0 must be a whole number"),
        ({"alpha": -1}, "alpha"),
    ],
)
def test_ufldl_theta_refuses(change, complaint):
    with pytest.raises(ValueError, match=complaint):
        from_ufldl_theta(**{"theta": np.zeros(45), "n_features": 6, "n_hidden": 3} | change)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"layers": []}, "at least one layer"),
        ({"layers": 3}, "layers=3 must be a list"),
        ({"layers": [3, 0]}, r"layers\[1\]=0 must be"),
        ({"theta": np.zeros(5)}, r"theta has 5 values, but n_features=6, layers=\[3\] and n_classes=2 need 27"),
        ({"classes": [1, 1]}, "must be 2 different labels"),
        ({"classes": [1]}, "must be 2 different labels"),
        ({"n_classes": 1}, "at least two classes"),
    ],
)
def test_ufldl_stack_refuses(change, complaint):
    with pytest.raises(ValueError, match=complaint):
        from_ufldl_stack(**{"theta": np.zeros(27), "n_features": 6, "layers": [3], "n_classes": 2} | change)


def matlab_weights(seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=shape) for shape in ((3, 6), (3, 1), (6, 3), (6, 1))]


@pytest.mark.parametrize("transfer", ["logsig", "purelin"])
def test_matlab_autoencoder(tmp_path, transfer):
    W1, b1, W2, b2 = matlab_weights()
    X = make_rows(50)
    X[:, 3] = 7.0  # mapminmax leaves a constant alone
    low, high = X.min(axis=0), X.max(axis=0)
    autoencoder = from_matlab_autoencoder(
        W1, b1, W2, b2, decoder_transfer=transfer, lowest=low[:, None], highest=high[:, None], dtype="float64"
    )
    least = {"logsig": 0, "purelin": -1}[transfer]  # mapminmax: (1 - least) (x - low) / (high - low) + least
    spread = np.where(low == high, 1, (high - low) / (1 - least))
    center = np.where(low == high, 0, low - least * spread)
    codes = sigmoid((X - center) / spread @ W1.T + b1.ravel())
    np.testing.assert_allclose(autoencoder.transform(X), codes, rtol=1e-10)
    output = codes @ W2.T + b2.ravel()
    expected = (output if transfer == "purelin" else sigmoid(output)) * spread + center
    np.testing.assert_allclose(autoencoder.inverse_transform(codes), expected, rtol=1e-10)
    layerwise.save(autoencoder, tmp_path / "model")
    np.testing.assert_array_equal(layerwise.load(tmp_path / "model").transform(X), autoencoder.transform(X))


@pytest.mark.parametrize(
    ("place", "change", "complaint"),
    [
        (0, np.zeros(6), "encoder_weights has shape"),
        (1, np.zeros(4), "encoder_biases has shape .*a vector of 3 values"),
        (2, np.zeros((3, 6)), r"decoder_weights has shape \(3, 6\), but encoder_weights demands \(6, 3\)"),
        (None, {"encoder_transfer": "satlin"}, "encoder_transfer='satlin' is not known: no activation here is cut off"),
        (None, {"decoder_transfer": "tansig"}, "decoder_transfer='tansig' is not known; known are logsig"),
        (None, {"lowest": np.zeros(6)}, "lowest and highest belong together"),
        (None, {"lowest": np.ones(6), "highest": np.zeros(6)}, r"lowest\[0\]=1 is above highest\[0\]=0"),
    ],
)
def test_matlab_autoencoder_refuses(place, change, complaint):
    weights, options = matlab_weights(), {}
    if place is None:
        options = change
    else:
        weights[place] = change
    with pytest.raises(ValueError, match=complaint):
        from_matlab_autoencoder(*weights, **options)


@pytest.mark.parametrize("name", KINDS)
def test_model_card(models, name, tmp_path):
    path = tmp_path / "MODEL_CARD.md"
    (tmp_path / "config.json").write_text("{}")
    run = {
        "command": "layerwise fit `x`\n```\n<script>",
        "data": "my|rows <b>*here*</b>\n# not a heading.csv",
        "n_rows": 300,
        "seconds": 1.23456,
        "random_state": None,
        "versions": {"torch": "2.13", "numpy": "2.4"},
        "a | b": object,
    }
    write_model_card(path, models[name], run)
    text = path.read_text()
    assert text.startswith("---\nlibrary_name: layerwise\ntags:\n- autoencoder\n")
    prose = "\n".join(line for line in text.splitlines() if not line.startswith("    "))
    assert not re.search(r"(?<!\\)<|(?<!\\)\*", prose)
    assert "# not a heading" not in prose.replace("\\#", "")
    assert "\n\n\n" not in text
    assert text.count("```") == 2 * prose.count("```python\n") + 2 * prose.count("```console\n") + 1
    header = 0
    for line in text.splitlines():
        columns = len(re.findall(r"(?<!\\)\|", line)) if line.startswith("|") else 0
        assert columns == header or not columns or not header, line
        header = columns
    named = set(re.findall(r"^\| (layer \d+) \|", text, re.MULTILINE))
    assert named == {f"layer {index}" for index in range(len(layers_of(models[name])))}  # as in the stages
    assert "config.json" in text.replace("\\", "")
    assert "model.safetensors" not in text
    with pytest.raises(FileExistsError):
        write_model_card(path, models[name])
    write_model_card(path, models[name], overwrite=True)
    assert "300" not in path.read_text()


@pytest.mark.parametrize("scale", ["auto", "minmax"])
@pytest.mark.filterwarnings("ignore:X holds values far from all others")
def test_onnx_of_columns_with_a_wide_range_is_kept(scale, tmp_path):
    ort = pytest.importorskip("onnxruntime")
    X = np.random.default_rng(0).integers(0, 9, (60, 3)).astype(float)
    X[::20, 1], X[7, 2] = [3e5, -7e6, 2e6], 1e9
    autoencoder = Autoencoder(3, scale=scale, solver=LBFGS(20), random_state=0).fit(X)
    export_onnx(autoencoder, tmp_path / "model.onnx")
    codes, _ = ort.InferenceSession(tmp_path / "model.onnx").run(None, {"rows": X.astype(np.float32)})
    np.testing.assert_allclose(codes, autoencoder.transform(X), atol=1e-4)


@pytest.mark.parametrize(("start", "width"), [(1.7e9, 100), (1e18, 1e9), (-5e6, 0.5)])
def test_onnx_warns_of_columns_that_float32_cannot_hold(start, width, tmp_path):
    pytest.importorskip("onnxruntime")
    X = np.random.default_rng(1).random((60, 3))
    X[:, 1] = start + width * X[:, 1]
    autoencoder = Autoencoder(3, solver=LBFGS(5), random_state=0)
    autoencoder.fit(pd.DataFrame(X, columns=["size", "time", "x"]))
    with pytest.warns(UserWarning, match="input of the file is float32, which cannot hold column 'time': its"):
        export_onnx(autoencoder, tmp_path / "model.onnx")
