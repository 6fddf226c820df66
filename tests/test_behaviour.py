"""What every estimator does with inputs at the edge; docs/behaviour.md is the table of it."""

import pickle
from functools import cache

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.frozen import FrozenEstimator
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from layerwise import (
    LBFGS,
    Adam,
    Autoencoder,
    AutoencoderImputer,
    AutoencoderOutlierDetector,
    EarlyStopping,
    StackedAutoencoder,
    StackedClassifier,
    StackedRegressor,
)

SOLVERS = {"lbfgs": LBFGS(max_iter=5), "adam": Adam(max_iter=3)}
AUTOENCODERS = ["Autoencoder", "StackedAutoencoder"]
PREDICTORS = ["StackedClassifier", "StackedRegressor"]
ESTIMATORS = [*AUTOENCODERS, *PREDICTORS, "AutoencoderOutlierDetector", "AutoencoderImputer"]
SPARSE = ESTIMATORS[:-1]
LINEAR = {"output_activation": "identity"}
M, N = 30, 4
X = np.random.default_rng(0).random((M, N)) * [10.0, 1.0, 5.0, 100.0] - [3.0, 0.0, 9.0, 50.0]
UNIT = np.random.default_rng(1).random((M, N))
UINT8 = np.round(UNIT * 255).astype(np.uint8)

every_estimator = pytest.mark.parametrize("name", ESTIMATORS)
every_autoencoder = pytest.mark.parametrize("name", AUTOENCODERS)
every_solver = pytest.mark.parametrize("solver", SOLVERS)


def build(name, solver="lbfgs", *, dtype="float32", **params):
    """An estimator whose first layer has 3 units and these parameters; ``name`` is its class."""
    solver = SOLVERS[solver]
    layer = Autoencoder(3, solver=solver, dtype=dtype, random_state=0, **params)
    if name == "Autoencoder":
        return layer
    if name == "StackedAutoencoder":
        return StackedAutoencoder([layer, Autoencoder(2, solver=solver)], dtype=dtype, random_state=0)
    if name in PREDICTORS:
        kind = {"StackedClassifier": StackedClassifier, "StackedRegressor": StackedRegressor}[name]
        return kind(layer, solver=solver, random_state=0)
    kinds = {"AutoencoderOutlierDetector": AutoencoderOutlierDetector, "AutoencoderImputer": AutoencoderImputer}
    return kinds[name](layer, random_state=0)


def targets(rows):
    return np.arange(rows.shape[0] if hasattr(rows, "shape") else len(rows)) % 2


def fit(name, rows, solver="lbfgs", **params):
    return build(name, solver, **params).fit(rows, targets(rows))


@cache
def trained(name):
    """An estimator fitted to ``X``, for tests that only apply it."""
    return fit(name, X)


def main_result(estimator, rows):
    """What an estimator is for: codes, rows without gaps, probabilities, targets or scores."""
    for method in ("predict_proba", "score_samples", "predict", "transform"):
        if hasattr(estimator, method):
            return getattr(estimator, method)(rows)
    raise AssertionError(f"{type(estimator).__name__} gives nothing")


def reconstruct(autoencoder, rows):
    return autoencoder.inverse_transform(autoencoder.transform(rows))


def scaling_of(autoencoder):
    return (autoencoder.layers_[0] if isinstance(autoencoder, StackedAutoencoder) else autoencoder).scaling_


def with_gap(rows):
    rows = np.array(rows, dtype=np.promote_types(rows.dtype, np.float16))
    rows[0, 0] = np.nan
    return rows


def assert_sound(estimator, rows):
    """Every result is finite and of the right shape."""
    m, n = rows.shape
    shapes = {"predict": (m,), "score_samples": (m,), "decision_function": (m,), "predict_proba": (m, 2)}
    for method, shape in shapes.items():
        if hasattr(estimator, method):
            result = getattr(estimator, method)(rows)
            assert result.shape == shape
            assert np.isfinite(result).all(), method
    if isinstance(estimator, AutoencoderImputer):
        filled = estimator.transform(with_gap(rows))
        assert filled.shape == (m, n)
        assert np.isfinite(filled).all()
        assert_array_equal(filled.ravel()[1:], rows.ravel()[1:].astype(filled.dtype))
    elif hasattr(estimator, "transform"):
        codes = estimator.transform(rows)
        assert codes.shape == (m, 2 if isinstance(estimator, StackedAutoencoder) else 3)
        assert np.isfinite(codes).all()
    if hasattr(estimator, "inverse_transform"):
        assert reconstruct(estimator, rows).shape == (m, n)
        assert np.isfinite(reconstruct(estimator, rows)).all()
        assert np.isfinite([estimator.score(rows), estimator.loss_]).all()


def column(values, k=1):
    rows = X.copy()
    rows[:, k] = values
    return rows


# --- Rows that are odd but sound


SOUND = {
    "plain": X,
    "a constant column": column(7.3),
    "all the same constant": np.full((M, N), -5.5),
    "all zeros": np.zeros((M, N)),
    "all zeros, uint8": np.zeros((M, N), np.uint8),
    "two rows": X[:2],
    "one column": X[:, :1],
    "one column, constant": X[:, :1] * 0 + 4,
    "one row given often": np.repeat(X[:1], M, axis=0),
    "1e30": X * 1e30,
    "1e30, float32": (X * 1e30).astype(np.float32),
    "all 1e30": np.full((M, N), 1e30),
    "1e30 beside 1": column(X[:, 1] * 1e30),
    "denormals": X * 1e-310,
    "a denormal column": column(X[:, 1] * 1e-310),
    "denormals, float32": (X * 1e-40).astype(np.float32),
    "float16": X.astype(np.float16),
    "integers": X.astype(np.int64),
    "booleans": UNIT > 0.5,
    "uint8": UINT8,
}


@pytest.mark.parametrize(("solver", "output"), [("lbfgs", "sigmoid"), ("adam", "sigmoid"), ("lbfgs", "identity")])
@pytest.mark.parametrize("rows", SOUND.values(), ids=SOUND)
@every_estimator
def test_odd_rows_give_finite_results(name, solver, rows, output):
    estimator = fit(name, rows, solver, output_activation=output)
    if name == "AutoencoderImputer" and rows.dtype == np.uint8:  # which cannot hold NaN
        assert np.isfinite(estimator.transform(rows)).all()
    else:
        assert_sound(estimator, rows)


@pytest.mark.parametrize("kind", [AutoencoderOutlierDetector, AutoencoderImputer])
@pytest.mark.parametrize("kind_of_rows", ["plain", "one column", "a constant column", "all zeros", "1e30"])
def test_defaults_of_what_is_built_on_an_autoencoder(kind, kind_of_rows):
    rows = SOUND[kind_of_rows]
    assert_sound(kind(random_state=0).fit(rows), rows)
    assert_sound(kind(random_state=0).fit(rows[:1]), rows[:1])


@pytest.mark.parametrize(
    ("scale", "output", "near"), [("minmax", "sigmoid", 0.05), ("minmax", "tanh", 0.05), ("standard", "identity", 0.5)]
)
@every_autoencoder
def test_constant_column(name, scale, output, near):
    """Its unit is 1, so that nothing is divided by 0, and reconstructions are near it."""
    rows = column(7.25).astype(np.float32)
    autoencoder = fit(name, rows, scale=scale, output_activation=output)
    units = scaling_of(autoencoder).scale
    assert units[1] == 1
    assert units[3] > 20
    assert_allclose(reconstruct(autoencoder, rows)[:, 1], 7.25, atol=near)


def test_constant_column_with_rounding_noise():
    noisy = column(np.where(np.arange(M) % 2, 0.1 + 0.2, 0.3))
    assert np.ptp(noisy[:, 1]) > 0
    for scale, output in (("minmax", "sigmoid"), ("standard", "identity")):
        assert fit("Autoencoder", noisy, scale=scale, output_activation=output).scaling_.scale[1] == 1


@every_solver
@every_autoencoder
def test_all_zeros(name, solver):
    """Nothing varies, so there is no share of the variance to keep."""
    zeros = np.zeros((M, N))
    autoencoder = fit(name, zeros, solver)
    assert scaling_of(autoencoder) is None
    assert np.isnan(autoencoder.explained_variance_ratio_)
    assert np.isnan(autoencoder.pca_explained_variance_ratio_)
    assert -0.5 * N <= autoencoder.score(zeros) < 0
    linear = fit(name, zeros, solver, **LINEAR)
    assert_array_equal(scaling_of(linear).scale, 1)
    assert abs(reconstruct(linear, zeros)).max() < (0.05 if solver == "lbfgs" else 1)


@pytest.mark.parametrize("name", [name for name in ESTIMATORS if name != "StackedClassifier"])
@every_solver
def test_one_row(name, solver):
    estimator = fit(name, X[:1], solver)
    assert_sound(estimator, X[:1])
    if name in AUTOENCODERS:
        assert_allclose(reconstruct(estimator, X[:1]), X[:1], atol=0.1 if solver == "lbfgs" else 1)
    if name == "AutoencoderOutlierDetector":
        assert estimator.predict(X[:1]).tolist() == [1]


def test_one_row_of_a_classifier_is_one_class():
    with pytest.raises(ValueError, match=r"y holds one class only \(0\), but a classifier needs at least two"):
        fit("StackedClassifier", X[:1])


@every_solver
def test_one_column(solver):
    autoencoder = fit("Autoencoder", X[:, :1], solver)
    assert autoencoder.components_.shape == (3, 1)
    assert reconstruct(autoencoder, X[:, :1]).shape == (M, 1)
    assert autoencoder.pca_explained_variance_ratio_ == 1


@pytest.mark.parametrize("n_hidden", [1, 500])
def test_one_unit_and_more_units_than_rows_and_columns(n_hidden):
    autoencoder = Autoencoder(n_hidden, solver=SOLVERS["lbfgs"], random_state=0).fit(X)
    assert np.isfinite(autoencoder.transform(X)).all()
    assert autoencoder.transform(X).shape == (M, n_hidden)


@every_estimator
def test_fewer_rows_than_a_batch(name):
    """Such a batch holds all rows."""
    found = []
    for batch_size in (M, 128, 10**9):
        estimator = build(name, "adam")
        for part in (estimator, *(vars(estimator).get("layers") or [vars(estimator).get("autoencoder")])):
            if hasattr(part, "solver"):
                part.set_params(solver=Adam(max_iter=3, batch_size=batch_size))
        estimator.fit(X, targets(X))
        history = estimator.history_ if hasattr(estimator, "history_") else estimator.autoencoder_.history_
        assert {record["n_evaluations"] for record in history} == {3}
        found.append(main_result(estimator, with_gap(X) if name == "AutoencoderImputer" else X))
    assert_array_equal(found[0], found[1])
    assert_array_equal(found[0], found[2])


@pytest.mark.parametrize("finetune", [None, "reconstruction"])
@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu"])
@every_solver
def test_more_layers_than_sense(solver, activation, finetune):
    solver = SOLVERS[solver]
    layer = Autoencoder(3, activation=activation, output_activation="identity", solver=solver)
    stack = StackedAutoencoder([layer] * 12, finetune=finetune, solver=solver, random_state=0).fit(X)
    assert len(stack.layers_) == 12
    assert stack.transform(X).shape == (M, 3)
    assert np.isfinite(stack.transform(X)).all()
    assert np.isfinite(reconstruct(stack, X)).all()
    assert stack.explained_variance_ratio_ > -0.1


@pytest.mark.parametrize("name", ESTIMATORS[2:])
def test_more_layers_than_sense_below_others(name):
    stack = StackedAutoencoder([Autoencoder(3, solver=SOLVERS["lbfgs"])] * 12, random_state=0)
    estimator = build(name).set_params(autoencoder=stack).fit(X, targets(X))
    assert len(estimator.autoencoder_.layers_) == 12
    assert np.isfinite(main_result(estimator, with_gap(X) if name == "AutoencoderImputer" else X)).all()


# --- Very large and very small numbers


@pytest.mark.parametrize("power", [30, -30])
@pytest.mark.parametrize("params", [{}, LINEAR], ids=["minmax", "standard"])
@every_solver
@every_autoencoder
def test_size_of_the_numbers_does_not_matter(name, solver, params, power):
    """Rows times 10^30 are learnt as the rows are: relative errors are the same."""
    factor = 10.0**power
    plain, other = (fit(name, rows, solver, **params) for rows in (X, X * factor))
    assert_allclose(reconstruct(other, X * factor) / factor, reconstruct(plain, X), rtol=1e-4, atol=1e-4)
    assert_allclose(other.score(X * factor), plain.score(X) * factor**2, rtol=1e-5)
    assert_allclose(other.explained_variance_ratio_, plain.explained_variance_ratio_, atol=1e-5)


@pytest.mark.parametrize("params", [{}, LINEAR], ids=["minmax", "standard"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_reconstructions_of_1e30(dtype, params):
    line = (np.linspace(-1, 1, M)[:, None] * [1.0, 2.0, -1.0, 0.5] * 1e30).astype(dtype)
    autoencoder = Autoencoder(3, alpha=1e-6, solver=LBFGS(200), random_state=0, **params).fit(line)
    errors = (reconstruct(autoencoder, line) - line) / np.abs(line).max(axis=0)
    assert abs(errors).max() < 0.1


@every_solver
@every_estimator
def test_1e30_that_is_not_scaled_overflows_with_a_sentence(name, solver):
    sentence = r"layer 0: the objective is not finite at the starting point \(value inf\); scale the data"
    with pytest.raises(FloatingPointError, match=sentence):
        fit(name, X * 1e30, solver, scale=None, **LINEAR)


def test_1e30_that_is_not_scaled_fits_into_float64():
    autoencoder = fit("Autoencoder", X * 1e30, scale=None, dtype="float64", **LINEAR)
    assert np.isfinite(autoencoder.loss_)


@pytest.mark.parametrize("output", ["sigmoid", "relu", "identity"])
@every_autoencoder
def test_denormal_column_is_scaled_to_a_range(name, output):
    rows = column(UNIT[:, 1] * 1e-310)
    autoencoder = fit(name, rows, scale="minmax", output_activation=output)
    assert scaling_of(autoencoder).scale[1] == np.ptp(rows[:, 1]) < 1e-309
    scaled = scaling_of(autoencoder)(torch.from_numpy(rows))[:, 1]
    assert (scaled.min(), scaled.max()) == (0, 1)
    back = scaling_of(autoencoder).inverse(scaled[:, None].expand(M, N))[:, 1]
    assert_allclose(back.numpy(), rows[:, 1], rtol=0, atol=1e-322)


@pytest.mark.parametrize("size", [1e-170, 1e-310])
def test_denormal_column_is_scaled_to_unit_variance(size):
    autoencoder = fit("Autoencoder", column(UNIT[:, 1] * size), scale="standard", **LINEAR)
    assert 0.2 * size < autoencoder.scaling_.scale[1] < 0.4 * size


def test_spread_that_overflows_is_refused():
    with pytest.raises(ValueError, match=r"columns \[1\] of X spread too far for scale='minmax': the spread overflows"):
        fit("Autoencoder", column(np.where(np.arange(M) % 2, 1.7e308, -1.7e308)))


def test_variance_that_would_overflow():
    """The squares are taken of values brought near 1 first."""
    autoencoder = fit("Autoencoder", column(UNIT[:, 1] * 1e200), **LINEAR)
    assert autoencoder.scaling_.scale[1] == pytest.approx(UNIT[:, 1].std() * 1e200)


@pytest.mark.parametrize("activation", ["sigmoid", "tanh"])
def test_rows_far_beyond_those_of_training(activation):
    far = X * 1e30
    for name in ("Autoencoder", "StackedClassifier", "StackedRegressor"):
        estimator = fit(name, X, activation=activation)
        assert np.isfinite(main_result(estimator, far)).all()
    filled = trained("AutoencoderImputer").transform(with_gap(far))
    assert np.isfinite(filled).all()
    assert_array_equal(filled[1:], far[1:])
    assert_array_equal(trained("AutoencoderOutlierDetector").predict(far), -1)


@pytest.mark.parametrize("name", [*AUTOENCODERS, *PREDICTORS])
def test_rows_beyond_float32_are_refused_or_give_finite_results(name):
    estimator = fit(name, X)
    try:
        result = main_result(estimator, X * 1e300)
    except ValueError:
        return
    assert np.isfinite(result).all()


def test_row_beyond_float32_is_an_outlier_or_refused():
    detector = trained("AutoencoderOutlierDetector")
    try:
        labels = detector.predict(X * 1e300)
    except ValueError:
        return
    assert_array_equal(labels, -1)


def test_scores_of_far_outliers_are_finite():
    assert np.isfinite(trained("AutoencoderOutlierDetector").score_samples(X * 1e30)).all()


# --- Rows that are refused


@pytest.mark.parametrize(("bad", "found"), [(np.nan, "NaN"), (np.inf, "infinity"), (-np.inf, "infinity")])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@every_estimator
def test_nan_and_infinity_are_refused_with_their_place(name, dtype, bad, found):
    rows = UNIT.astype(dtype)
    rows[7, 3] = bad
    if name == "AutoencoderImputer":
        if found == "NaN":
            assert np.isfinite(fit(name, rows).transform(rows)).all()
            return
        sentence = r"X contains infinity: X\[7, 3\] is infinity; remove such rows, or put NaN in its place"
    else:
        remedy = "fill them in with" if found == "NaN" else "put numbers in its place"
        sentence = rf"X contains NaN or infinity: X\[7, 3\] is {found}; remove such rows, or {remedy}"
    for use in (lambda rows: fit(name, rows), lambda rows: main_result(trained(name), rows)):
        for kind in (rows, torch.from_numpy(rows), rows.tolist()):
            with pytest.raises(ValueError, match=sentence):
                use(kind)


@pytest.mark.parametrize("name", SPARSE)
def test_nan_in_sparse_rows_is_refused_with_its_place(name):
    rows = UNIT.copy()
    rows[7, 3] = np.nan
    with pytest.raises(ValueError, match=r"X\[7, 3\] is NaN"):
        fit(name, sparse.csr_array(rows))


@every_estimator
def test_object_dtype(name):
    estimator = trained(name)
    assert_array_equal(main_result(fit(name, X.astype(object)), X), main_result(estimator, X))
    assert_array_equal(main_result(estimator, X.astype(object)), main_result(estimator, X))
    words = X.astype(object)
    words[2, 1] = "blue"
    for use in (lambda rows: fit(name, rows), lambda rows: main_result(estimator, rows)):
        with pytest.raises(ValueError, match="X holds text such as 'blue', but numbers are needed"):
            use(words)


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        (X[:0], r"0 sample\(s\)"),
        (X[:, :0], r"0 feature\(s\)"),
        (torch.zeros(0, N), r"0 sample\(s\)"),
        (X[:, 0], "Expected 2D array, got 1D array"),
        (X[None], "dim 3"),
        (X.astype(complex), "Complex data not supported"),
    ],
    ids=["no rows", "no columns", "empty tensor", "1-D", "3-D", "complex"],
)
@pytest.mark.parametrize("name", [name for name in ESTIMATORS if name not in PREDICTORS])
def test_what_is_no_matrix_of_numbers_is_refused(name, rows, sentence):
    for use in (lambda rows: build(name).fit(rows), lambda rows: main_result(trained(name), rows)):
        with pytest.raises(ValueError, match=sentence):
            use(rows)


@every_estimator
def test_number_of_columns(name):
    with pytest.raises(ValueError, match=f"X has 3 features, but {name} is expecting 4 features"):
        main_result(trained(name), X[:, :3])


def test_number_of_columns_of_validation_rows():
    with pytest.raises(ValueError, match="X_val has 3 features"):
        build("Autoencoder").fit(X, X_val=X[:, :3])


@every_estimator
def test_columns_out_of_range_are_named(name):
    rows = column(UNIT[:, 1] * 9, k=1) * [0, 1, 0, 0] + UNIT * [1, 0, 1, 1]
    sentence = r"X holds values from 0\.\d+ to 8\.\d+ in column {}, but output_activation='sigmoid' reaches only 0 to 1"
    with pytest.raises(ValueError, match=sentence.format(1)):
        fit(name, rows, scale=None)
    pandas = pytest.importorskip("pandas")
    with pytest.raises(ValueError, match=sentence.format("'height'")):
        fit(name, pandas.DataFrame(rows, columns=["age", "height", "pulse", "score"]), scale=None)
    assert_sound(fit(name, rows), rows)


def test_many_columns_out_of_range():
    with pytest.raises(ValueError, match="in columns 0, 1, 2, 3, 4 and 2 more, but"):
        fit("Autoencoder", np.full((3, 7), 2.0), scale=None)
    with pytest.raises(ValueError, match="with scale='standard' in columns 0, 1, 2, 3, but"):
        fit("Autoencoder", X, scale="standard")


def test_early_stopping_with_one_row_is_refused():
    with pytest.raises(ValueError, match="early stopping holds out 1 of 1 rows and leaves none to train on"):
        fit("Autoencoder", X[:1], early_stopping=EarlyStopping())
    assert np.isfinite(fit("Autoencoder", X[:2], early_stopping=EarlyStopping()).loss_)


# --- uint8 and numbers


@pytest.mark.parametrize("name", [name for name in ESTIMATORS if name != "AutoencoderImputer"])  # its uint8 are numbers
def test_trained_on_uint8_refuses_floats_up_to_255(name):
    estimator = fit(name, UINT8)
    floats = UINT8.astype(np.float64)
    with pytest.raises(ValueError, match="X holds values from 0 to 255, but the model was trained on uint8"):
        main_result(estimator, np.where(np.eye(M, N) > 0, [0.0, 255.0, 0.0, 255.0], floats))
    assert_allclose(main_result(estimator, floats / 255), main_result(estimator, UINT8), rtol=1e-5)
    if name in AUTOENCODERS:
        with pytest.raises(ValueError, match="trained on uint8"):
            estimator.score(floats)


@every_autoencoder
def test_uint8_is_intensities(name):
    autoencoder = fit(name, UINT8)
    assert scaling_of(autoencoder) is None
    assert_allclose(autoencoder.transform(UINT8), fit(name, UINT8 / 255).transform(UINT8 / 255), rtol=1e-3)
    reconstruction = reconstruct(autoencoder, UINT8)
    assert 0 <= reconstruction.min() < reconstruction.max() <= 1


@every_estimator
def test_trained_on_floats_up_to_255_takes_uint8_as_numbers(name):
    estimator = fit(name, UINT8.astype(np.float64))
    assert_array_equal(main_result(estimator, UINT8), main_result(estimator, UINT8.astype(np.float64)))


@pytest.mark.parametrize("name", [name for name in ESTIMATORS if name != "AutoencoderImputer"])
def test_trained_on_floats_up_to_1_takes_uint8_as_intensities(name):
    estimator = fit(name, UNIT)
    assert_allclose(main_result(estimator, UINT8), main_result(estimator, UINT8 / 255), rtol=1e-5)


@pytest.mark.parametrize(("scale", "output"), [("minmax", "sigmoid"), ("standard", "identity")])
@every_estimator
def test_uint8_with_a_scale_asked_for(name, scale, output):
    assert np.isfinite(main_result(fit(name, UINT8, scale=scale, output_activation=output), UINT8)).all()


def test_uint8_validation_rows_with_a_scale_asked_for():
    autoencoder = build("Autoencoder", scale="minmax", early_stopping=EarlyStopping()).fit(UINT8, X_val=UINT8)
    assert np.isfinite(autoencoder.validation_loss_curve_).all()


def test_imputer_leaves_uint8_as_it_was():
    assert_array_equal(fit("AutoencoderImputer", UINT8).transform(UINT8), UINT8)


# --- Scales


RANGES = [("minmax", "sigmoid"), ("minmax", "relu"), ("minmax", "identity"), ("standard", "identity")]
RANGES += [("auto", "sigmoid"), ("auto", "relu"), ("auto", "identity"), (None, "identity")]


@pytest.mark.parametrize(("scale", "output"), RANGES)
@every_autoencoder
def test_reconstruction_and_score_are_in_the_units_of_the_rows(name, scale, output):
    autoencoder = fit(name, X, scale=scale, output_activation=output, dtype="float64")
    reconstruction = reconstruct(autoencoder, X)
    reach = 0.5 * np.ptp(X, axis=0)
    assert np.all((X.min(axis=0) - reach < reconstruction) & (reconstruction < X.max(axis=0) + reach))
    errors = 0.5 * np.square(reconstruction - X).sum(axis=1)
    assert_allclose(autoencoder.score(X), -errors.mean(), rtol=1e-10)
    assert_allclose(autoencoder.to_torch()(torch.from_numpy(X)).detach(), reconstruction, rtol=1e-10)
    scaling = scaling_of(autoencoder)
    assert (scaling is None) is (scale is None)
    if scaling is not None:
        scaled = scaling(torch.from_numpy(X))
        assert_allclose(scaling.inverse(scaled), X, rtol=1e-13, atol=1e-14)
        if scale == "minmax":
            assert (scaled.min(), scaled.max()) == (0, 1)


@pytest.mark.parametrize(
    ("scale", "output", "scaler"),
    [("minmax", "sigmoid", MinMaxScaler()), ("standard", "identity", StandardScaler())],
)
@every_solver
def test_scaling_within_is_scaling_before(solver, scale, output, scaler):
    within = fit("Autoencoder", X, solver, scale=scale, output_activation=output, dtype="float64")
    scaled = scaler.fit_transform(X).clip(*((0, 1) if scale == "minmax" else (-np.inf, np.inf)))
    before = fit("Autoencoder", scaled, solver, scale=None, output_activation=output, dtype="float64")
    assert_allclose(within.components_, before.components_, rtol=1e-8, atol=1e-12)
    assert_allclose(within.transform(X), before.transform(scaled), rtol=1e-8)
    assert_allclose(reconstruct(within, X), scaler.inverse_transform(reconstruct(before, scaled)), rtol=1e-8)


@pytest.mark.parametrize(
    ("rows", "output", "chosen"),
    [
        (UINT8, "sigmoid", None),
        (UINT8, "identity", None),
        (UNIT, "sigmoid", None),
        (UNIT, "relu", None),
        (X, "sigmoid", "minmax"),
        (X, "relu", "minmax"),
        (X, "softplus", "minmax"),
        (UNIT * 200, "relu", "minmax"),
        (UNIT, "identity", "standard"),
        (X, "leaky_relu", "standard"),
    ],
)
def test_what_auto_chooses(rows, output, chosen):
    auto = fit("Autoencoder", rows, scale="auto", output_activation=output)
    assert (auto.scaling_ is None) is (chosen is None)
    named = fit("Autoencoder", rows, scale=chosen, output_activation=output)
    assert_array_equal(auto.transform(rows), named.transform(rows))


@pytest.mark.parametrize("scale", ["auto", "minmax"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@every_estimator
def test_range_of_tanh(name, dtype, scale):
    assert_sound(fit(name, X, scale=scale, output_activation="tanh", dtype=dtype), X)


# --- How rows are stored


LAYOUTS = {
    "read-only": lambda rows: np.frombuffer(rows.tobytes()).reshape(rows.shape),
    "negative row strides": lambda rows: rows[::-1].copy()[::-1],
    "negative column strides": lambda rows: rows[:, ::-1].copy()[:, ::-1],
    "every other column": lambda rows: np.repeat(rows, 2, axis=1)[:, ::2],
    "big-endian": lambda rows: rows.astype(">f8"),
    "list": lambda rows: rows.tolist(),
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@every_estimator
def test_layout_does_not_matter(name, layout):
    expected = fit(name, X, dtype="float64")
    rows = layout(X)
    estimator = build(name, dtype="float64").fit(rows, targets(X))
    assert_allclose(main_result(estimator, rows), main_result(expected, X), rtol=1e-10)


@every_estimator
def test_fortran_order_does_not_matter(name):
    """Products may be summed in another order."""
    rows = np.asfortranarray(X)
    expected = main_result(fit(name, X, dtype="float64"), X)
    assert_allclose(main_result(fit(name, rows, dtype="float64"), rows), expected, rtol=1e-8)


@pytest.mark.parametrize("params", [{}, {"scale": "minmax"}, LINEAR], ids=["auto", "minmax", "standard"])
@every_solver
@pytest.mark.parametrize("name", SPARSE)
def test_sparse_equals_dense(name, solver, params):
    dense = np.where(X > 0, X, 0)
    expected = fit(name, dense, solver, dtype="float64", **params)
    estimator = fit(name, sparse.csr_array(dense), solver, dtype="float64", **params)
    for kind in (sparse.csr_array, sparse.csr_matrix, sparse.coo_array):
        assert_allclose(main_result(estimator, kind(dense)), main_result(expected, dense), rtol=1e-10)


def test_imputer_refuses_sparse_rows():
    with pytest.raises(TypeError, match="Sparse data was passed for X, but dense data is required"):
        fit("AutoencoderImputer", sparse.csr_array(X))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.int64, torch.bool])
@every_estimator
def test_tensor_in_tensor_out(name, dtype):
    rows = torch.from_numpy(UNIT * 3 if dtype == torch.int64 else UNIT.round(0 if dtype == torch.bool else 9)).to(dtype)
    estimator = fit(name, rows)
    result = main_result(estimator, rows)
    assert isinstance(result, torch.Tensor)
    assert result.is_floating_point()
    if dtype in (torch.float32, torch.float64):
        assert result.dtype == dtype
    expected = main_result(fit(name, rows.numpy()), rows.numpy())
    assert isinstance(expected, np.ndarray)
    assert_allclose(result, expected, rtol=1e-5)
    if hasattr(estimator, "predict"):
        assert isinstance(estimator.predict(rows), torch.Tensor)
    if name in AUTOENCODERS:
        assert isinstance(reconstruct(estimator, rows), torch.Tensor)


@every_estimator
def test_tensor_that_requires_a_gradient(name):
    """Its values are taken; results have no gradient."""
    rows = torch.from_numpy(X).requires_grad_()
    estimator = fit(name, rows)
    result = main_result(estimator, rows)
    assert not result.requires_grad
    assert_array_equal(result.numpy(), main_result(estimator, X))


def test_data_frame_equals_array():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=list("abcd"))
    for name in ESTIMATORS:
        estimator = fit(name, frame)
        assert estimator.feature_names_in_.tolist() == list("abcd")
        assert_array_equal(main_result(estimator, frame), main_result(fit(name, X), X))
        with pytest.raises(ValueError, match="feature names should match"):
            main_result(estimator, frame[["b", "a", "c", "d"]])


# --- Duplicate rows and weights


@pytest.mark.parametrize("params", [{}, LINEAR, {"scale": None, **LINEAR}], ids=["minmax", "standard", "None"])
@every_estimator
def test_duplicate_rows_are_weights(name, params):
    often = np.arange(M) % 3
    rows = with_gap(X) if name == "AutoencoderImputer" else X
    y = targets(X)
    weighted = build(name, dtype="float64", **params).fit(rows, y, sample_weight=often)
    repeated = build(name, dtype="float64", **params).fit(np.repeat(rows, often, axis=0), np.repeat(y, often))
    assert_allclose(main_result(weighted, rows), main_result(repeated, rows), rtol=1e-7, atol=1e-10)
    plain = build(name, dtype="float64", **params).fit(rows, y)
    assert not np.allclose(main_result(plain, rows), main_result(repeated, rows), rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("weights", "sentence"),
    [
        (np.where(np.arange(M) == 3, np.nan, 1), "sample_weight contains NaN"),
        (np.where(np.arange(M) == 3, np.inf, 1), "sample_weight contains infinity"),
        (np.where(np.arange(M) == 3, -1, 1), "Negative values in data passed to `sample_weight`"),
        (np.zeros(M), "Sample weights must contain at least one non-zero number"),
        (np.ones(M - 1), r"sample_weight.shape == \(29,\), expected \(30,\)"),
    ],
    ids=["NaN", "infinity", "negative", "all zero", "too few"],
)
@every_estimator
def test_weights_that_are_refused(name, weights, sentence):
    with pytest.raises(ValueError, match=sentence):
        build(name).fit(X, targets(X), sample_weight=weights)


@pytest.mark.parametrize("weight", [1e-310, 1e-30, 1e30])
@every_solver
@every_estimator
def test_size_of_the_weights_does_not_matter(name, solver, weight):
    estimator = build(name, solver, dtype="float64").fit(X, targets(X), sample_weight=np.full(M, weight))
    expected = build(name, solver, dtype="float64").fit(X, targets(X), sample_weight=np.ones(M))
    assert_allclose(main_result(estimator, X), main_result(expected, X), rtol=1e-6)


@every_solver
def test_weights_whose_sum_overflows_are_refused(solver):
    with pytest.raises(ValueError, match="weight"):
        build("Autoencoder", solver).fit(X, sample_weight=np.full(M, 1e308))


# --- Missing values


@every_solver
def test_missing_values(solver):
    """Whole rows and whole columns of them too; what was observed stays."""
    rows = np.where(np.random.default_rng(2).random((M, N)) < 0.2, np.nan, X)
    rows[5], rows[:, 2] = np.nan, np.nan
    with pytest.warns(UserWarning, match=r"columns \[2\] of X hold no values to learn from; they are filled with 0"):
        imputer = fit("AutoencoderImputer", rows, solver)
    filled = imputer.transform(rows)
    assert np.isfinite(filled).all()
    assert_array_equal(filled[~np.isnan(rows)], rows[~np.isnan(rows)])
    assert_array_equal(filled[:, 2], 0)
    assert imputer.empty_features_.tolist() == [2]
    seen = [0, 1, 3]
    assert np.all((np.nanmin(rows[:, seen], axis=0) <= filled[5, seen]) & (filled[5, seen] <= X[:, seen].max(axis=0)))
    assert_array_equal(imputer.transform(X), X)


def test_nothing_but_missing_values():
    with pytest.warns(UserWarning, match=r"columns \[0, 1, 2, 3\] of X hold no values"):
        imputer = fit("AutoencoderImputer", np.full((M, N), np.nan))
    assert_array_equal(imputer.transform(np.full((2, N), np.nan)), 0)


# --- Codes and targets


def test_codes_that_do_not_fit():
    autoencoder = trained("Autoencoder")
    with pytest.raises(ValueError, match=r"codes have shape \(30, 4\), but \(n_samples, 3\) is expected"):
        autoencoder.inverse_transform(X)
    with pytest.raises(ValueError, match="could not convert string to float"):
        autoencoder.inverse_transform(np.full((2, 3), "a"))


def test_nan_codes_are_refused():
    with pytest.raises(ValueError, match="NaN"):
        trained("Autoencoder").inverse_transform(np.full((2, 3), np.nan))


def test_sparse_codes_are_taken_or_refused_by_name():
    with pytest.raises((TypeError, ValueError), match=r"(?i)sparse"):
        trained("Autoencoder").inverse_transform(sparse.csr_array(np.full((2, 3), 0.5)))


@pytest.mark.parametrize(("bad", "sentence"), [(np.nan, "y contains NaN"), (np.inf, "y contains infinity")])
def test_targets_that_are_not_finite(bad, sentence):
    with pytest.raises(ValueError, match=sentence):
        build("StackedRegressor").fit(X, np.where(np.arange(M) == 3, bad, 1.0))


@pytest.mark.parametrize("name", ["StackedClassifier", "StackedRegressor"])
@pytest.mark.parametrize("kind", [float, object])
def test_labels_that_are_missing(name, kind):
    y = np.array([*range(2)] * (M // 2) + [0] * (M % 2), dtype=kind)
    y[3] = y[5] = np.nan
    y[4] = y[5] if kind is float else None
    with pytest.raises(
        ValueError, match=rf"NaN or None in 3 of {M} rows, the first of them y\[3\]; say unlabeled=float"
    ):
        build(name).fit(X, y)


def test_none_is_a_label_that_is_missing():
    names = np.array(["a", "b"] * (M // 2) + ["a"] * (M % 2), dtype=object)
    names[3], names[4] = None, np.nan
    classifier = build("StackedClassifier").set_params(unlabeled=float("nan")).fit(X, names)
    assert classifier.classes_.tolist() == ["a", "b"]


@pytest.mark.parametrize("rows", [pd.DataFrame({"n": [1, 2], "t": ["x", "y"]}), np.array([["x", "1"], ["y", "2"]])])
def test_rows_with_text_are_told_what_makes_numbers_of_them(rows):
    with pytest.raises(ValueError, match=r"X holds text such as 'x', .*layerwise\.data\.TableEncoder makes numbers"):
        build("StackedAutoencoder").fit(rows)


@pytest.mark.parametrize(("bad", "sentence"), [(np.nan, "y contains NaN"), (np.inf, "y contains infinity")])
def test_classes_that_are_not_finite(bad, sentence):
    with pytest.raises(ValueError, match=sentence):
        build("StackedClassifier").fit(X, np.where(np.arange(M) == 3, bad, 1.0))


@every_solver
def test_targets_of_any_size(solver):
    for y in (np.full(M, 5.0), np.zeros(M), UNIT[:, 0] * 1e30, UNIT[:, 0] * 1e300, UNIT[:, 0] * 1e-310):
        assert np.isfinite(build("StackedRegressor", solver).fit(X, y).predict(X)).all()
    constant = build("StackedRegressor", solver).fit(X, np.full(M, 5.0))
    assert_allclose(constant.predict(X), 5, rtol=1e-5)


# --- Clean rows as y

UNSUPERVISED = [name for name in ESTIMATORS if name not in PREDICTORS]


@pytest.mark.parametrize("clean", [X + 1, list(map(list, X + 1)), torch.from_numpy(X).float(), (X > 0).astype(int)])
@pytest.mark.parametrize("name", UNSUPERVISED)
def test_clean_rows_as_y_are_warned_of(name, clean):
    estimator, same = build(name), build(name).fit(X)
    with pytest.warns(UserWarning, match=f"y has the shape of X, but {name} does not use it"):
        estimator.fit(X, clean)
    assert_array_equal(main_result(estimator, X), main_result(same, X))
    for method in {"partial_fit", "score"} & set(dir(estimator)):
        with pytest.warns(UserWarning, match="fit StackedRegressor to the noisy rows with the clean ones as y"):
            getattr(estimator, method)(X, clean)


@pytest.mark.parametrize("name", UNSUPERVISED)
def test_other_y_is_ignored_in_silence(name):
    one_hot, ragged = np.eye(3)[np.arange(M) % 3], [[k] * (k % 3) for k in range(M)]
    for y in (None, X, X.copy(), targets(X), [str(k) for k in targets(X)], one_hot, ragged, X[:, 0]):
        build(name).fit(X, y)  # pytest makes errors of warnings
    if name in SPARSE:
        build(name).fit(sparse.csr_array(X), sparse.csr_array(X))


def test_rows_with_gaps_are_the_same_as_themselves():
    gaps = np.where(UNIT < 0.1, np.nan, UNIT)
    build("AutoencoderImputer").fit(gaps, gaps.copy())
    with pytest.warns(UserWarning, match="y has the shape of X"):
        build("AutoencoderImputer").fit(gaps, UNIT)


def test_type_of_the_products():
    """The line on dtype="auto": that of the rows, and what is trained goes on as it began."""
    for given, computed in (
        (UNIT, np.float64),
        (UNIT.astype(np.float32), np.float32),
        (UNIT.astype(np.float16), np.float32),
        ((200 * UNIT).astype(np.uint8), np.float32),
        ((200 * UNIT).astype(int), np.float64),
        (torch.from_numpy(UNIT).float(), np.float32),
    ):
        for estimator in (Autoencoder(3, solver=LBFGS(2)), StackedAutoencoder([3, 2], solver=LBFGS(2))):
            fitted = estimator.fit(given)
            assert {weights.dtype for weights in fitted.coefs_} == {np.dtype(computed)}
            again = pickle.loads(pickle.dumps(fitted))
            assert {weights.dtype for weights in again.coefs_} == {np.dtype(computed)}
            other = given.double() if isinstance(given, torch.Tensor) else given.astype(np.float64)
            fitted.partial_fit(other / 255 if given.dtype == np.uint8 else other)
            assert {weights.dtype for weights in fitted.coefs_} == {np.dtype(computed)}
    forced = Autoencoder(3, dtype="float32", solver=LBFGS(2)).fit(UNIT)
    assert forced.components_.dtype == np.float32
    classifier = StackedClassifier(FrozenEstimator(forced), solver=LBFGS(2)).fit(UNIT, UNIT[:, 0] > 0.5)
    assert {weights.dtype for weights in classifier.coefs_} == {np.dtype(np.float32)}
    regressor = StackedRegressor(Autoencoder(3, solver=LBFGS(2)), solver=LBFGS(2)).fit(UNIT, UNIT[:, 0])
    assert {weights.dtype for weights in regressor.coefs_} == {np.dtype(np.float64)}
