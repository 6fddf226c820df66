"""Scaling of columns: equal to scikit-learn's, over any blocks and shards, with gaps and weights; who needs it."""

import importlib.util

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from sklearn.datasets import load_digits, load_sample_images
from sklearn.metrics import r2_score
from sklearn.preprocessing import MinMaxScaler, StandardScaler

import layerwise
from layerwise import (
    LBFGS,
    Adam,
    Autoencoder,
    AutoencoderImputer,
    AutoencoderOutlierDetector,
    EarlyStopping,
    StackedClassifier,
    StackedRegressor,
)
from layerwise.data.rows import Rows, cut
from layerwise.data.scaling import learn_scaling
from layerwise.export import export_numpy, export_onnx


def learn(X, scale, **more):
    rows = Rows(X, **more)
    return learn_scaling(rows, *rows.column_ranges(allow_missing=True), scale)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("lengths", [None, [50, 0, 13, 37]])
def test_standard_is_that_of_scikit_learn(weighted, lengths):
    random = np.random.default_rng(0)
    X = random.normal(size=(100, 3)) * [1, 1e-3, 1e5] + [0, 1e3, -1e6]
    X[random.random(X.shape) < 0.2] = np.nan
    weights = random.random(100) * 50 if weighted else None
    scaling = learn(X, "standard", weights=weights, shards=lengths and cut(lengths))
    expected = StandardScaler().fit(X, sample_weight=weights)
    np.testing.assert_allclose(scaling.center, expected.mean_, rtol=1e-12)
    np.testing.assert_allclose(scaling.scale, expected.scale_, rtol=1e-10)


def test_minmax_is_that_of_scikit_learn():
    X = np.random.default_rng(0).normal(size=(100, 3))
    scaled = learn(X, "minmax")(torch.from_numpy(X))
    np.testing.assert_allclose(scaled, MinMaxScaler().fit_transform(X), atol=1e-14)


def test_column_that_is_missing_throughout_a_block_has_a_scale():
    X = np.random.default_rng(0).normal(size=(300_000, 4))
    X[:290_000, 1] = np.nan
    scale = learn(X, "standard").scale
    np.testing.assert_allclose(scale[1], X[290_000:, 1].std(), rtol=1e-10)


# Which rows stay as they are.


def kept(X, reach=(0, 1)):
    rows = Rows(np.asarray(X))
    return learn_scaling(rows, *rows.column_ranges(), "auto", reach) is None


def photographs(rng, n=500, size=8):
    """Patches of scikit-learn's photographs, scaled to [0.1, 0.9] as UFLDL does."""
    grey = [image.mean(axis=2) / 255 for image in load_sample_images().images]
    places = [(grey[rng.integers(2)], rng.integers(400), rng.integers(600)) for _ in range(n)]
    patches = np.array([image[y : y + size, x : x + size].ravel() for image, y, x in places])
    patches -= patches.mean(axis=1, keepdims=True)
    limit = 3 * patches.std()
    return (np.clip(patches, -limit, limit) / limit + 1) * 0.4 + 0.1


def spectra(rng, n=200, width=60):
    """Reflectances between 0.5 and 0.9 with a weak band, and the height of that band."""
    wave, amount = np.linspace(0, 1, width), rng.random(n)
    base = 0.6 + 0.15 * wave + 0.02 * rng.normal(size=(n, 1)) * np.sin(4 * wave)
    return base - 0.03 * amount[:, None] * np.exp(-(((wave - 0.6) / 0.05) ** 2)), amount


@pytest.mark.parametrize("n", [30, 300, 1000])
def test_pixels_stay_as_they_are(n, digits):
    rng = np.random.default_rng(n)
    X = digits.X_train[rng.permutation(len(digits.X_train))[:n]]
    assert kept(X)
    assert kept(X / 255)
    assert kept((X / np.float32(255)).astype(np.float32))
    assert kept(load_digits().data[:n] / 16)
    assert kept(photographs(rng, n))
    assert kept(rng.random((n, 5)))
    assert kept(rng.integers(0, 2, (n, 5)))  # no column is narrow
    assert kept(digits.X_train[digits.y_train == 1] / 255)


@pytest.mark.parametrize("reach", [(0, 1), (-1, 1), (0, np.inf)])
def test_narrow_columns_are_scaled(reach):
    rng = np.random.default_rng(0)
    wide = rng.random((200, 3)) * (1 if reach[0] == 0 else 2) + reach[0]
    assert kept(wide, reach)
    for narrow in (
        0.5 + 0.01 * rng.random(200),
        np.full(200, 0.3) + 0.1 * (rng.random(200) < 0.5),
        np.append(0.02 * rng.normal(size=199) + 0.5, 0.99),  # one value far away
        0.04 * rng.random(200),
    ):
        assert not kept(np.column_stack([wide, narrow]), reach)
    assert not kept(spectra(rng)[0], reach)


def test_narrow_measurements_are_learned():
    """As well as the same numbers in other units, or as partial least squares does."""
    X, amount = spectra(np.random.default_rng(0))
    fits = [
        StackedRegressor(Autoencoder(20, solver=LBFGS(100)), solver=LBFGS(200), random_state=0).fit(unit * X, amount)
        for unit in (1, 100)
    ]
    scores = [fit.score(unit * X, amount) for fit, unit in zip(fits, (1, 100), strict=True)]
    assert min(scores) > 0.9
    assert scores[0] == pytest.approx(scores[1], abs=0.02)


# Bytes.


def as_bytes(kind, X):
    """The same table, in whatever holds bytes."""
    made = {
        "array": np.asarray,
        "CSR": sparse.csr_array,
        "tensor": torch.from_numpy,
        "frame": pd.DataFrame,
        "Fortran": np.asfortranarray,
    }
    return made[kind](X.astype(np.uint8))


@pytest.mark.parametrize("kind", ["array", "CSR", "tensor", "frame", "Fortran"])
@pytest.mark.parametrize("largest", [1, 9, 100])
def test_bytes_that_are_numbers_are_those_numbers(kind, largest):
    X = np.random.default_rng(largest).integers(0, largest + 1, (60, 4)).astype(np.float32)
    y = (X[:, 0] > largest / 2).astype(int)
    bytes_, short = as_bytes(kind, X), LBFGS(15)

    def make():
        return StackedClassifier(Autoencoder(3, solver=short), solver=short, random_state=0)

    plain = make().fit(X, y)
    trained = make().fit(bytes_, y)
    assert not trained.autoencoder_.intensities_
    for a in (plain, trained):
        for rows in (X, bytes_):
            np.testing.assert_allclose(np.asarray(a.predict_proba(rows)), plain.predict_proba(X), rtol=1e-4)
    stack = trained.autoencoder_
    np.testing.assert_allclose(
        np.asarray(stack.inverse_transform(stack.transform(bytes_))),
        stack.inverse_transform(stack.transform(X)),
        rtol=1e-4,
    )
    assert stack.score(bytes_) == pytest.approx(stack.score(X), rel=1e-4)
    if kind == "array":
        for dark in (bytes_, np.vstack([bytes_, np.full(4, 255, np.uint8)])):  # one bright pixel: intensities
            assert Autoencoder(2, solver=short).fit(dark).intensities_ == (dark.max() == 255)
        again = make().partial_fit(bytes_, y).partial_fit(bytes_, y)
        np.testing.assert_allclose(
            again.predict_proba(X), make().partial_fit(X, y).partial_fit(X, y).predict_proba(X), rtol=1e-4
        )


# Beyond the rows of training.


def test_rows_somewhat_beyond_those_of_training_are_normal():
    X = np.random.default_rng(0).random((50, 4))
    beyond, far = X * 1.3 - 0.1, X * 300
    for autoencoder in (Autoencoder(3, solver=Adam(2)), Autoencoder(3, solver=Adam(2), early_stopping=EarlyStopping())):
        autoencoder.set_params(random_state=0).fit(X, X_val=beyond)
        assert len(autoencoder.validation_loss_curve_) == autoencoder.n_iter_
        autoencoder.partial_fit(beyond)
        with pytest.raises(ValueError, match=r"X_val holds values from .* reaches only 0 to 1"):
            autoencoder.fit(X, X_val=far)
    entropy = Autoencoder(3, loss="binary_cross_entropy", solver=Adam(2), random_state=0)
    entropy.fit(X, X_val=X * 1.05)
    with pytest.raises(ValueError, match="X_val holds values from"):
        entropy.fit(X, X_val=beyond)
    bytes_ = (255 * X).astype(np.uint8)
    trained = Autoencoder(3, solver=Adam(2), random_state=0).fit(bytes_, X_val=bytes_ / 255 + 1e-3)
    trained.transform(bytes_ / 255 * 1.01)
    with pytest.raises(ValueError, match="the model was trained on uint8"):
        trained.transform(bytes_.astype(float))


# Values far from all others.


def far_table(rng, n=400):
    X = rng.random((n, 5))
    return X, (X[:, 0] + X[:, 1] > 1).astype(int)


FAR = pytest.warns(UserWarning, match="values far from all others")


@pytest.mark.parametrize("output", ["sigmoid", "identity"])
@pytest.mark.parametrize("value", [50, -1e3, 1e9])
def test_one_far_value_hides_no_column(output, value):
    X, y = far_table(np.random.default_rng(1))
    stray = X.copy()
    stray[7, 0] = value
    autoencoder = Autoencoder(15, output_activation=output, solver=LBFGS(60))
    classifier = StackedClassifier(autoencoder, solver=LBFGS(100), random_state=0)
    with FAR as warned:
        classifier.fit(pd.DataFrame(stray, columns=list("abcde")), y)
    assert f"column 'a' ({value:g})" in str(warned[0].message)
    assert classifier.score(pd.DataFrame(stray, columns=list("abcde")), y) > 0.97


@pytest.mark.parametrize("value", [100, -1e12])
def test_one_far_target_hides_no_other(value):
    X, _ = far_table(np.random.default_rng(2))
    y = X @ [1, 2, 3, -1, 0.5]
    stray = y.copy()
    stray[3] = value
    regressor = StackedRegressor(Autoencoder(15, solver=LBFGS(60)), solver=LBFGS(150), random_state=0)
    with pytest.warns(UserWarning, match=r"^y holds values far from all others \((100|-1e\+12)\): such"):
        regressor.fit(X, stray)
    others = np.arange(len(y)) != 3
    assert r2_score(y[others], regressor.predict(X)[others]) > 0.98
    two = np.column_stack([y, stray])
    with pytest.warns(UserWarning, match=r"^y holds values far from all others in column 1 \("):
        assert r2_score(y[others], regressor.fit(X, two).predict(X)[others, 1]) > 0.98


def test_far_values_that_are_all_one_whole_number_may_be_missing():
    X, _ = far_table(np.random.default_rng(1))
    stray = X.copy()
    stray[[7, 9, 20], 0] = -999
    autoencoder = Autoencoder(3, solver=LBFGS(2), random_state=0)
    told = (
        r"column 0 \(-999\): .* errors; if -999 stands for a missing value, leave it empty and use --impute, or Auto.*"
    )
    with pytest.warns(UserWarning, match=told + r"\(missing_values=-999\)$"):
        autoencoder.fit(stray)
    stray[[3, 4], 2] = 9999
    with pytest.warns(UserWarning, match="columns 0 .*, 2 .*if -999 or 9999 stand for missing values, leave"):
        autoencoder.fit(stray)
    targets = X[:, 0].copy()
    targets[[7, 9]] = -999
    told = r"others \(-999\): .* if -999 stands for a missing value, say so with unlabeled=-999 \(--unlabeled -999\)$"
    with pytest.warns(UserWarning, match=told):
        StackedRegressor(autoencoder, solver=LBFGS(2), random_state=0).fit(X, targets)
    for values in ([-999, -998], [-999.5, -999.5], [-999]):
        stray = X.copy()
        stray[: len(values), 0] = values
        with FAR as warned:
            autoencoder.fit(stray)
        assert "missing" not in str(warned[0].message)


def test_far_values_come_back_as_they_were():
    X, _ = far_table(np.random.default_rng(3))
    X[5, 2], X[6, 2], X[7, 4] = 1e6, -300, 80
    for reach in ((0, 1), (-1, 1), (-np.inf, np.inf)):
        rows = Rows(X, dtype=torch.float64)
        with FAR:
            scaling = learn_scaling(rows, *rows.column_ranges(), "auto", reach)
        x = torch.from_numpy(X)
        scaled = scaling(x)
        assert bool((scaled.diff(dim=0).sign() == x.diff(dim=0).sign()).all())  # the order of values is kept
        torch.testing.assert_close(scaling.inverse(scaled), x, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(scaling.straighten(scaled) * scaling.scale + scaling.center, x, rtol=1e-9, atol=1e-9)
        if np.isfinite(reach[0]):
            assert scaled.min() >= reach[0] - 1e-9
            assert scaled.max() <= reach[1] + 1e-9
            middle = scaled.quantile(torch.tensor([0.05, 0.95], dtype=torch.float64), dim=0).diff(dim=0)
            assert middle.min() > 0.2 * (reach[1] - reach[0])


def test_far_values_do_not_depend_on_order_weights_or_shards():
    X, _ = far_table(np.random.default_rng(4))
    X[5, 2] = 1e4
    order = np.random.default_rng(5).permutation(len(X))
    counts = np.random.default_rng(6).integers(1, 4, len(X)).astype(float)

    def learned(X, **more):
        rows = Rows(X, dtype=torch.float64, **more)
        with FAR:
            return learn_scaling(rows, *rows.column_ranges(), "auto", (0, 1))

    for found, expected in (
        (learned(X[order]), learned(X)),
        (learned(X, shards=cut([100, 0, 300])), learned(X)),
        (learned(X, weights=counts), learned(np.repeat(X, counts.astype(int), axis=0))),
        (learned(X, weights=counts), learned(X, weights=1e-3 * counts)),
    ):
        for name, value in expected.state_dict().items():
            torch.testing.assert_close(found.state_dict()[name], value, rtol=1e-12, atol=1e-12)


def test_a_scale_that_was_asked_for_is_kept_and_the_column_named():
    X, _ = far_table(np.random.default_rng(7))
    X[5, 2] = 1e4
    rows = Rows(X, dtype=torch.float64)
    for scale in ("minmax", "standard"):
        with pytest.warns(
            UserWarning, match=rf"column 2 \(10000\): with scale='{scale}' they leave the others next to"
        ):
            scaling = learn_scaling(rows, *rows.column_ranges(), scale)
        assert scaling.tails is None
    np.testing.assert_allclose(learn(X[:, :2], "minmax").scale, np.ptp(X[:, :2], axis=0))


def test_counts_and_heavy_tails_are_no_strays(recwarn):
    """Most counts are 0, most incomes small: that is how such columns are."""
    rng = np.random.default_rng(8)
    X = np.column_stack([rng.poisson(0.3, 500) * rng.integers(1, 50, 500), np.exp(rng.normal(size=500))])
    Autoencoder(2, solver=Adam(1), random_state=0).fit(X)
    assert not [warning for warning in recwarn if "far from" in str(warning.message)]


@pytest.mark.parametrize("output", ["sigmoid", "identity"])
def test_far_values_are_outliers_still(output):
    """The map is flatter there, the error is not."""
    X, _ = far_table(np.random.default_rng(10))
    X[[5, 9], [2, 0]] = 40, -1e4
    autoencoder = Autoencoder(3, output_activation=output, solver=LBFGS(40))
    detector = AutoencoderOutlierDetector(autoencoder, contamination=0.02, random_state=0)
    with FAR:
        detector.fit(X)
    assert set(detector.score_samples(X).argsort()[:2]) == {5, 9}
    assert detector.reconstruction_error(X, per_feature=True)[[5, 9]].argmax(axis=1).tolist() == [2, 0]
    assert detector.predict(X)[[5, 9]].tolist() == [-1, -1]


@pytest.mark.parametrize("kind", ["coder", "regressor", "imputer", "detector"])
def test_models_with_far_values_are_saved_and_exported(kind, tmp_path):
    X, _ = far_table(np.random.default_rng(9))
    X[5, 2], X[9, 0] = 1e5, -70
    y = X[:, 1] * 2
    y[11] = 4e3
    short = LBFGS(20)
    model = {
        "coder": Autoencoder(4, solver=short, random_state=0),
        "regressor": StackedRegressor(Autoencoder(4, solver=short), solver=short, random_state=0),
        "imputer": AutoencoderImputer(Autoencoder(4, solver=short), random_state=0),
        "detector": AutoencoderOutlierDetector(Autoencoder(4, solver=short), random_state=0),
    }[kind]
    with FAR:
        model.fit(X, y)
    rows = X.copy()
    if kind == "imputer":
        rows[::7, 2] = rows[::5, 0] = np.nan
    layerwise.save(model, tmp_path / "model")
    again = layerwise.load(tmp_path / "model")
    answer = {"coder": "transform", "imputer": "transform"}.get(kind, "predict")
    expected = getattr(model, answer)(rows)
    np.testing.assert_array_equal(getattr(again, answer)(rows), expected)
    if kind == "coder":
        assert again.score(rows) == model.score(rows)
        expected_errors = (model.inverse_transform(expected) - rows) ** 2
        assert model.score(rows) == pytest.approx(-0.5 * expected_errors.sum(axis=1).mean(), rel=1e-5)
    export_numpy(again, tmp_path / "program.py")
    spec = importlib.util.spec_from_file_location("program", tmp_path / "program.py")
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    function = {"coder": "encode", "imputer": "fill"}.get(kind, "predict")
    np.testing.assert_allclose(getattr(program, function)(rows), expected, rtol=1e-3, atol=1e-4)
    pytest.importorskip("onnx")
    export_onnx(again, tmp_path / "model.onnx")
