"""A trained coder gives what the estimators that own one give; a fit validates and scans its rows once."""

import warnings

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.frozen import FrozenEstimator

from layerwise import (
    LBFGS,
    Autoencoder,
    AutoencoderImputer,
    AutoencoderOutlierDetector,
    StackedAutoencoder,
    StackedClassifier,
    StackedRegressor,
)
from layerwise.data.rows import Rows
from layerwise.estimators import _checks

SHORT = LBFGS(max_iter=3)
RANDOM = np.random.default_rng(0)
TABLE = RANDOM.normal(5, 2, (60, 6))
BYTES = RANDOM.integers(0, 256, (60, 6), dtype=np.uint8)
LABELS = np.arange(60) % 3
FAR = TABLE.copy()
FAR[0, 0] = 1e4  # gets the column a tail

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning", "ignore:X holds values far")


def layer(n_hidden=4, **params):
    return Autoencoder(n_hidden, solver=SHORT, random_state=0, **params)


def stack(**params):
    return StackedAutoencoder([layer(), layer(2)], random_state=0, **params)


def fitted(make, X, **params):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make(**params).fit(X)


@pytest.mark.parametrize("make", [layer, stack])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("X", [TABLE, TABLE.astype(np.float32), BYTES, BYTES // 100, FAR], ids=lambda X: str(X.dtype))
def test_coder_is_the_estimator(make, dtype, X):
    estimator = fitted(make, X, dtype=dtype)
    coder = estimator.coder_
    rows = coder.rows(X)
    assert rows.dtype == coder.dtype == getattr(torch, dtype)
    like = X.dtype if X.dtype.kind == "f" else dtype
    codes = coder.encode(rows)
    assert_array_equal(codes.numpy().astype(like), estimator.transform(X))
    decoded = coder.decode(codes.numpy())
    assert_array_equal(decoded.numpy().astype(dtype), estimator.inverse_transform(codes.numpy()))
    torch.testing.assert_close(coder.reconstruct(rows), decoded)
    assert -coder.errors(rows, in_units=True).mean().item() == estimator.score(X)
    numbers = X / 255 if coder.intensities else X.astype(float)
    np.testing.assert_allclose(
        coder.errors(rows, in_units=True), 0.5 * ((decoded.numpy() - numbers) ** 2).sum(axis=1), rtol=1e-3
    )


@pytest.mark.parametrize("X", [TABLE, FAR])
def test_errors_are_those_of_the_outlier_detector(X):
    detector = fitted(lambda: AutoencoderOutlierDetector(layer(output_activation="identity"), random_state=0), X)
    for coder in (detector.coder_, detector.autoencoder_.coder_):
        errors = coder.errors(coder.rows(X), per_feature=True)
        assert errors.shape == X.shape
        assert_array_equal(errors, detector.reconstruction_error(X, per_feature=True))
        torch.testing.assert_close(errors.sum(dim=1), coder.errors(coder.rows(X)), rtol=1e-12, atol=0)


@pytest.mark.parametrize(("X", "intensities"), [(BYTES, True), (BYTES // 100, False), (BYTES // 200, False)])
def test_bytes_are_read_as_in_training(X, intensities):
    coder = fitted(layer, X).coder_
    assert coder.intensities is intensities
    numbers = X / 255 if intensities else X.astype(float)
    ours, theirs = coder.rows(X), coder.rows(numbers)
    places = torch.arange(len(X))
    torch.testing.assert_close(ours.take(places), theirs.take(places))
    if intensities:
        with pytest.raises(ValueError, match=r"Y holds values from .* trained on uint8"):
            coder.rows(X.astype(float), "Y")


def test_rows_are_scaled_and_checked():
    coder = fitted(layer, TABLE, scale="standard", output_activation="identity").coder_
    x = coder.rows(TABLE).take(torch.arange(len(TABLE))).double().numpy()
    np.testing.assert_allclose(x, (TABLE - TABLE.mean(axis=0)) / TABLE.std(axis=0), atol=1e-5)
    np.testing.assert_allclose(coder.unscale(torch.from_numpy(x)), TABLE, atol=1e-4)
    with pytest.raises(ValueError, match="X has 5 features, but Autoencoder is expecting 6"):
        coder.rows(TABLE[:, :5])
    with pytest.raises(ValueError, match="X contains NaN"):
        coder.rows(np.full((1, 6), np.nan))
    assert coder.rows(np.full((1, 6), np.nan), allow_missing=True).has_missing
    single = fitted(layer, TABLE, scale="standard", output_activation="identity", dtype="float32").coder_
    with pytest.raises(ValueError, match="too large for dtype='float32'; use dtype='float64'"):
        single.rows(np.full((1, 6), 1e36))


def test_a_coder_speaks_for_its_owner():
    classifier = StackedClassifier(stack(), solver=SHORT).fit(TABLE, LABELS)
    with pytest.raises(ValueError, match="but StackedClassifier is expecting 6"):
        classifier.coder_.rows(TABLE[:, :5])
    assert classifier.coder_.modules == classifier.autoencoder_.coder_.modules
    for estimator in (layer(), stack(), StackedClassifier()):
        with pytest.raises(NotFittedError):
            estimator.coder_  # noqa: B018
        assert not hasattr(estimator, "coder_")
        with pytest.raises(NotFittedError):
            estimator.transform(TABLE)


def frozen(**params):
    return FrozenEstimator(fitted(stack, TABLE, **params))


CASES = {
    "autoencoder": lambda: layer(),
    "stack": lambda: stack(finetune="reconstruction", solver=SHORT),
    "classifier": lambda: StackedClassifier(stack(), solver=SHORT),
    "classifier of few labels": lambda: StackedClassifier(stack(), solver=SHORT, unlabeled=2),
    "frozen classifier": lambda: StackedClassifier(frozen(), solver=SHORT),
    "regressor": lambda: StackedRegressor(stack(), solver=SHORT),
    "detector": lambda: AutoencoderOutlierDetector(layer()),
    "imputer": lambda: AutoencoderImputer(layer(), missing_values=-1),
    "warm classifier": lambda: StackedClassifier(stack(), solver=SHORT, warm_start=True).fit(TABLE, LABELS),
}


@pytest.mark.parametrize("weights", [None, np.arange(60) % 4.0], ids=["alike", "weighted"])
@pytest.mark.parametrize("name", CASES)
def test_a_fit_validates_and_scans_once(monkeypatch, name, weights):
    estimator, seen = CASES[name](), []
    validate, scan = _checks._validate, Rows.column_ranges

    def validate_and_count(owner, X, name, **params):
        seen.append(f"validate {name}")
        return validate(owner, X, name, **params)

    def scan_and_count(rows, name="X", **params):
        seen.append(f"scan {name}")
        return scan(rows, name, **params)

    monkeypatch.setattr(_checks, "_validate", validate_and_count)
    monkeypatch.setattr(Rows, "column_ranges", scan_and_count)
    X = np.where(RANDOM.random(TABLE.shape) < 0.1, -1, TABLE) if name == "imputer" else TABLE
    supervised = "classifier" in name or name == "regressor"
    validation = {"X_val": TABLE[:9], "y_val": np.arange(9) % 2} if supervised else {}
    if name in ("autoencoder", "stack"):
        validation = {"X_val": TABLE[:9]}
    estimator.fit(X, LABELS if supervised else None, weights, **validation)
    expected = ["validate X", "scan X"] + (["validate X_val", "scan X_val"] if validation else [])
    assert sorted(entry for entry in seen if entry != "scan y") == sorted(expected)


def test_rows_of_weight_0_are_left_out():
    weights = (np.arange(60) % 4 > 0).astype(float)
    X = TABLE.copy()
    X[weights == 0] = np.nan
    classifier = StackedClassifier(stack(), solver=SHORT, random_state=0)
    ours = clone(classifier).fit(X, LABELS, weights)
    theirs = clone(classifier).fit(X[weights > 0], LABELS[weights > 0], weights[weights > 0])
    assert_array_equal(ours.predict_proba(TABLE), theirs.predict_proba(TABLE))


def test_columns_are_known_to_the_autoencoder_too():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(TABLE, columns=list("abcdef"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ConvergenceWarning)
        detector = AutoencoderOutlierDetector(layer()).fit(frame)
        detector.autoencoder_.transform(frame)
    assert list(detector.autoencoder_.feature_names_in_) == list("abcdef")
    with pytest.raises(ValueError, match="feature names"):
        detector.autoencoder_.transform(frame[list("fedcba")])
