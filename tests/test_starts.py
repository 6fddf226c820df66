"""Networks that begin as a solved linear problem, decay towards their start, and are trained again on all rows."""

import copy
import pickle
import tomllib

import numpy as np
import pytest
import torch
from scipy.optimize import approx_fprime
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.preprocessing import StandardScaler

from layerwise import (
    LBFGS,
    Adam,
    Autoencoder,
    AutoencoderImputer,
    Checkpoint,
    EarlyStopping,
    StackedAutoencoder,
    StackedClassifier,
    StackedRegressor,
    TopK,
    check_gradient,
    load,
    save,
)
from layerwise.activations import ACTIVATIONS
from layerwise.callbacks import History
from layerwise.data import Rows
from layerwise.losses import cross_entropy, reconstruction_loss
from layerwise.modules import AutoencoderLayer, StackedNetwork, UnrolledAutoencoder, linear_head
from layerwise.objective import reconstruction_objective, supervised_objective
from layerwise.recipes import build, describe, write_toml
from layerwise.recipes.tables import table_autoencoder, table_predictor
from layerwise.starts import principal_axes, scores_of, start_as_linear, start_as_pca, widen
from layerwise.watching import split_rows

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

N_FEATURES, N_CODES = 6, 2


@pytest.fixture(scope="module")
def X():
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(150, N_CODES)) * [1.0, 0.6]
    X = factors @ rng.normal(size=(N_CODES, N_FEATURES)) + 0.2 * rng.normal(size=(150, N_FEATURES))
    X[:, 0] = factors[:, 0] ** 2 + 0.05 * rng.normal(size=150)
    return X * np.arange(1, N_FEATURES + 1) + 7


@pytest.fixture(scope="module")
def y(X):
    return np.array(["a", "b", "c"])[np.digitize(X[:, 1] + X[:, 0], np.quantile(X[:, 1] + X[:, 0], [0.4, 0.7]))]


def stack(activation="elu", **others):
    layers = [
        Autoencoder(8, activation=activation, output_activation="identity", scale="standard"),
        Autoencoder(N_CODES, activation="identity", output_activation=activation),
    ]
    settings = {"finetune": "reconstruction", "init": "pca", "decay": "start", "random_state": 0} | others
    return StackedAutoencoder(layers, **settings)


def units(**others):
    return Autoencoder(5, activation="elu", output_activation="identity", solver=LBFGS(10), **others)


def pca_of(X):
    Z = StandardScaler().fit_transform(X)
    return Z, PCA(N_CODES).fit(Z)


def explained(Z, reconstruction):
    return 1 - ((Z - reconstruction) ** 2).sum() / (Z**2).sum()


@pytest.mark.parametrize(("activation", "close"), [("elu", 1e-9), ("leaky_relu", 1e-9), ("identity", 1e-9)])
def test_stack_begins_as_pca(X, activation, close):
    """Functions that are straight beside their corner carry columns exactly: codes are the scores of PCA."""
    Z, pca = pca_of(X)
    fitted = stack(activation, solver=LBFGS(0)).fit(X)
    codes, scores = fitted.transform(X), pca.transform(Z)
    np.testing.assert_allclose(np.abs(codes), np.abs(scores), atol=close)
    reconstruction = pca.inverse_transform(scores) * X.std(axis=0) + X.mean(axis=0)
    np.testing.assert_allclose(fitted.inverse_transform(codes), reconstruction, atol=100 * close)
    assert fitted.layers_[0].n_hidden == 8 + N_FEATURES


@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "softplus"])
def test_units_that_bend_begin_near_pca(X, activation):
    pca = pca_of(X)[1]
    fitted = stack(activation, solver=LBFGS(0)).fit(X)
    assert fitted.explained_variance_ratio_ == pytest.approx(pca.explained_variance_ratio_.sum(), abs=0.05)
    assert fitted.pca_explained_variance_ratio_ == pytest.approx(pca.explained_variance_ratio_.sum(), abs=1e-9)


@pytest.mark.parametrize("scale", ["minmax", None])
def test_pca_is_that_of_scaled_rows(X, scale):
    layers = [Autoencoder(3, activation="elu", output_activation="identity", scale=scale), stack().layers[1]]
    fitted = stack(solver=LBFGS(0)).set_params(layers=layers).fit(X)
    Z = X if scale is None else (X - X.min(axis=0)) / np.ptp(X, axis=0)
    assert np.abs(fitted.transform(X)) == pytest.approx(np.abs(PCA(N_CODES).fit_transform(Z)), abs=1e-6)


def test_deeper_stacks_and_wide_codes_begin_as_pca(X):
    layers = [
        Autoencoder(3, activation="elu", output_activation="identity", scale="standard"),
        Autoencoder(2, activation="leaky_relu", output_activation="elu"),
        Autoencoder(N_FEATURES + 2, activation="identity", output_activation="leaky_relu"),
    ]
    fitted = stack(solver=LBFGS(0)).set_params(layers=layers).fit(X)
    np.testing.assert_allclose(fitted.inverse_transform(fitted.transform(X)), X, atol=1e-6)


def test_start_counts_weights_and_all_ranks_alike(X):
    weights = np.arange(len(X)) % 3
    twice = np.repeat(X, weights, axis=0)
    weighted = stack(solver=LBFGS(0)).fit(X, sample_weight=weights)
    repeated = stack(solver=LBFGS(0)).fit(twice)
    np.testing.assert_allclose(weighted.transform(X), repeated.transform(X), atol=1e-8)


def test_infinite_decay_is_pca(X):
    begun, held = stack(solver=LBFGS(0)).fit(X), stack(alpha=1e12, solver=LBFGS(30)).fit(X)
    np.testing.assert_allclose(held.transform(X), begun.transform(X), atol=1e-6)


def test_random_units_have_a_gradient_at_once(X):
    """Their weights to the outputs are 0 and move first; so fine-tuning is soon above PCA."""
    Z, pca = pca_of(X)
    layers = [
        AutoencoderLayer(N_FEATURES, 14, activation="elu", output_activation="identity", dtype=torch.float64),
        AutoencoderLayer(14, N_CODES, activation="identity", output_activation="elu", dtype=torch.float64),
    ]
    rows = Rows(torch.from_numpy(Z), dtype=torch.float64)
    start_as_pca(layers, rows, torch.Generator().manual_seed(0))
    outgoing = layers[0].decoder_weight[:, :8], layers[1].encoder_weight[:, :8]
    assert not any(weights.any() for weights in outgoing)
    loss = reconstruction_loss("squared_error", layers[0].output_activation)
    objective = reconstruction_objective(UnrolledAutoencoder(layers), rows, loss)
    _, gradient = objective(objective.vector.read())
    pieces = dict(zip([id(p) for p in objective.vector.parameters], objective.vector.views(gradient), strict=True))
    assert (pieces[id(layers[0].decoder_weight)][:, :8].abs().max(dim=0).values > 1e-4).all()
    # What PCA leaves is at right angles to its axes: the codes move once the outputs have.
    assert pieces[id(layers[1].encoder_weight)].abs().max() < 1e-12
    fitted = stack(alpha=1e-3, solver=LBFGS(100)).fit(X)
    assert fitted.explained_variance_ratio_ > pca.explained_variance_ratio_.sum() + 0.05


@pytest.mark.parametrize("supervised", [True, False])
def test_decay_towards_the_start(supervised):
    """The gradient is that of alpha/2 |theta - theta_0|^2 over all parameters, biases too."""
    generator = torch.Generator().manual_seed(1)
    layer = AutoencoderLayer(
        4, 3, activation="tanh", output_activation="identity", dtype=torch.float64, generator=generator
    )
    rows = Rows(torch.rand(12, 4, dtype=torch.float64, generator=generator), dtype=torch.float64)

    def objective(alpha, decay="start"):
        if not supervised:
            loss = reconstruction_loss("squared_error", layer.output_activation)
            return reconstruction_objective(UnrolledAutoencoder([layer]), rows, loss, alpha=alpha, decay=decay)
        network = StackedNetwork([layer], linear_head(3, 2, dtype=torch.float64))
        return supervised_objective(network, rows, torch.arange(12) % 2, cross_entropy, alpha=alpha, decay=decay)

    free, held = objective(0.0), objective(0.7)
    start = held.vector.read()
    assert held(start)[0] == pytest.approx(free(start)[0])
    theta = start + torch.linspace(-1, 1, len(start), dtype=torch.float64)
    value, gradient = held(theta)
    assert value - free(theta)[0] == pytest.approx(0.35 * (theta - start).square().sum().item())
    assert held.value(theta) == pytest.approx(value)
    numeric = approx_fprime(theta.numpy(), lambda x: held(torch.from_numpy(x))[0], 1e-6)
    np.testing.assert_allclose(gradient, numeric, atol=1e-4)
    held.vector.write(start)
    batches = objective(0.7)
    moved = theta.clone()
    (batch,) = [gradient.clone() for _, gradient, _ in batches.epoch(moved, 12, 0)]
    np.testing.assert_allclose(batch, gradient, atol=1e-9)


def test_check_gradient_takes_the_new_parameters(X, y):
    errors = check_gradient(stack(alpha=[0.1, 1.0], early_stopping=EarlyStopping(refit=True)), X[:20])
    assert list(errors) == ["finetune"]
    assert errors["finetune"] < 1e-6
    errors = check_gradient(StackedClassifier(units(), init="linear", decay="start"), X[:40], y[:40])
    assert list(errors) == ["layer 0", "finetune"]
    assert max(errors.values()) < 1e-6


@pytest.mark.parametrize("activation", ["elu", "relu", "identity"])
def test_classifier_begins_as_logistic_regression(X, y, activation):
    encoder = Autoencoder(4, activation=activation, output_activation="identity", scale="standard", solver=LBFGS(3))
    fitted = StackedClassifier(encoder, init="linear", solver=LBFGS(0), random_state=0).fit(X, y)
    Z = StandardScaler().fit_transform(X)
    straight = (Z > -4).all(axis=1)
    models = [LogisticRegression(C=C, max_iter=500).fit(Z, y) for C in 10.0 ** np.arange(-3, 5)]
    p = fitted.predict_proba(X)[straight]
    assert min(np.abs(p - model.predict_proba(Z[straight])).max() for model in models) < 1e-3
    assert fitted.transform(X).shape == (len(X), 4 + N_FEATURES)
    assert [record["stage"] for record in fitted.history_] == ["layer 0", "finetune"]


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_logits_of_logistic_regression(X, n_classes, fit_intercept):
    from layerwise.estimators._linear import fit_logistic

    Z = StandardScaler().fit_transform(X)
    classes = np.arange(len(X)) % 7 % n_classes
    weights = 1.0 + np.arange(len(X)) % 2
    coefficients, intercepts = fit_logistic(Z, classes, n_classes + 1, weights, fit_intercept=fit_intercept, seed=0)
    models = [
        LogisticRegression(C=C, fit_intercept=fit_intercept, max_iter=500).fit(Z, classes, weights)
        for C in 10.0 ** np.arange(-3, 5)
    ]
    logits = (Z @ coefficients.T + intercepts)[:, :n_classes]
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert min(np.abs(p - model.predict_proba(Z)).max() for model in models) < 1e-3
    assert intercepts[n_classes] < min(intercepts[:n_classes]) - 5 or not fit_intercept  # no row has this class


@pytest.mark.parametrize("shape", [(), (2,)])
def test_regressor_begins_as_ridge_regression(X, shape):
    targets = np.sin(X[:, 1:3]) + X[:, :2]
    targets = targets if shape else targets[:, 0]
    fitted = StackedRegressor(units(scale="standard"), init="linear", solver=LBFGS(0), random_state=0).fit(X, targets)
    Z = StandardScaler().fit_transform(X)
    ridge = RidgeCV(len(X) * 10.0 ** np.arange(-5, 2)).fit(
        Z, StandardScaler().fit_transform(targets.reshape(len(X), -1))
    )
    scaled = StandardScaler().fit(targets.reshape(len(X), -1))
    expected = scaled.inverse_transform(ridge.predict(Z).reshape(len(X), -1)).reshape(targets.shape)
    np.testing.assert_allclose(fitted.predict(X), expected, atol=1e-6)


def test_infinite_decay_is_the_linear_model(X, y):
    settings = {"init": "linear", "decay": "start", "random_state": 0}
    begun = StackedClassifier(units(), solver=LBFGS(0), **settings).fit(X, y)
    held = StackedClassifier(units(), solver=LBFGS(20), alpha=1e12, **settings).fit(X, y)
    np.testing.assert_allclose(held.predict_proba(X), begun.predict_proba(X), atol=1e-6)


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_columns_pass_through_layers_of_any_function(X, activation):
    Z = 0.3 * torch.from_numpy(StandardScaler().fit_transform(X)).clamp(-2, 2)
    narrow = [AutoencoderLayer(n, 4, activation=activation, dtype=torch.float64) for n in (N_FEATURES, 4)]
    layers = widen(narrow, N_FEATURES)
    network = StackedNetwork(layers, linear_head(layers[-1].n_hidden, 2, dtype=torch.float64))
    coefficients, intercepts = torch.tensor([[1.0, -2, 0, 0, 3, 1], [0, 1, 1, 0, 0, 0]]), torch.tensor([0.5, -1.0])
    scores = scores_of(Rows(Z, dtype=torch.float64))
    start_as_linear(network, scores, coefficients, intercepts)
    z = Z @ scores.matrix.T + scores.offset
    np.testing.assert_allclose(network(Z).detach(), z @ coefficients.double().T + intercepts, atol=0.5)


def test_principal_axes_of_a_known_matrix():
    x = torch.tensor([[3.0, 0.0, 1.0], [-3.0, 0.0, 1.0], [0.0, 1.0, 1.0], [0.0, -1.0, 1.0]])
    axes = principal_axes(Rows(x), 5)
    np.testing.assert_allclose(axes[:, :2], [[1, 0], [0, 1], [0, 0]], atol=1e-12)
    assert not axes[:, 3:].any()


def searched(stopping=None, **others):
    history = History()
    stopping = stopping or EarlyStopping(0.2, patience=5, tol=0.001, refit=True)
    estimator = stack(solver=LBFGS(30), early_stopping=stopping, callbacks=[history], **others)
    return estimator, history


def test_refit_takes_the_best_number_of_iterations_on_all_rows(X):
    estimator, history = searched(EarlyStopping(0.5, patience=5, refit=True), alpha=0.001)
    X = X[X[:, 0] < np.quantile(X[:, 0], 0.9)]  # rows far out make a gain less certain
    estimator.fit(X)
    ends = [(step.stage, step.n_rows) for step in history.steps if step.status is not None]
    assert ends == [("finetune (alpha=0.001)", len(X) - round(0.5 * len(X))), ("finetune", len(X))]
    curve = [step.validation_loss for step in history.steps if step.stage != "finetune" and step.status is None]
    n_iter = estimator.early_stopping.best_of(np.inf, curve)[0]
    assert estimator.n_iter_ == n_iter > 0
    assert estimator.validation_loss_curve_ == curve[:n_iter]
    assert estimator.history_[-1]["status"].startswith("stopped: the loss of the validation")
    again = stack(alpha=0.001, solver=LBFGS(n_iter)).fit(X)
    np.testing.assert_allclose(estimator.transform(X), again.transform(X), atol=1e-12)


def test_several_splits_choose_by_their_mean_loss(X):
    """Stages tell of each split; the number of iterations with the lowest mean loss trains on all rows."""
    stopping = EarlyStopping(0.25, patience=5, refit=True, n_splits=3)
    estimator, history = searched(stopping, alpha=[1e-3, 1e12])
    estimator.fit(X)
    names = list(dict.fromkeys(step.stage for step in history.steps))
    tried = ["finetune (alpha=0.001)", "finetune (alpha=0.001, 2 of 3)", "finetune (alpha=0.001, 3 of 3)"]
    assert names == [*tried, *(name.replace("0.001", "1e+12") for name in tried), "finetune"]
    curves = [
        [step.validation_loss for step in history.steps if step.stage == name and step.status is None] for name in tried
    ]
    longest = max(len(curve) for curve in curves)
    mean = np.mean([curve + curve[-1:] * (longest - len(curve)) for curve in curves], axis=0)
    assert estimator.history_[-1]["alpha"] == 1e-3
    assert estimator.n_iter_ == stopping.best_of(np.inf, mean)[0] > 0
    assert estimator.validation_loss_curve_ == pytest.approx(mean[: estimator.n_iter_])
    assert stack(alpha=1e-3, solver=LBFGS(estimator.n_iter_)).fit(X).loss_ == pytest.approx(estimator.loss_)


@pytest.mark.parametrize(
    ("n_rows", "fraction", "n_splits", "sizes"), [(23, 0.2, 5, [5, 5, 5, 5]), (3, 0.2, 5, [1] * 3)]
)
def test_splits_hold_out_each_row_once_at_most(n_rows, fraction, n_splits, sizes):
    rows = Rows(torch.arange(n_rows, dtype=torch.float32)[:, None])
    stopping = EarlyStopping(fraction, refit=True, n_splits=n_splits)
    first = split_rows(rows, torch.arange(n_rows), stopping, None, None, 0)
    splits = [first, *first.others]
    held_out = [part.held_out_targets.tolist() for part in splits]
    assert [len(places) for places in held_out] == sizes
    assert len(set().union(*held_out)) == sum(sizes)
    for places, part in zip(held_out, splits, strict=True):
        assert sorted(places + part.targets.tolist()) == list(range(n_rows))
    alone = split_rows(rows, torch.arange(n_rows), EarlyStopping(fraction, refit=True), None, None, 0)
    assert alone.held_out_targets.tolist() == held_out[0]
    assert not alone.others


def test_splits_begin_as_linear_models_of_other_rows(X, y, monkeypatch):
    """Otherwise the start would know the held-out labels, and nothing would seem to gain upon it."""
    seen = []
    fit_linear = StackedClassifier._fit_linear

    def note(self, scores, *others):
        seen.append(scores[:, 0])
        return fit_linear(self, scores, *others)

    monkeypatch.setattr(StackedClassifier, "_fit_linear", note)
    stopping = EarlyStopping(0.25, patience=3, refit=True, n_splits=4)
    settings = {"init": "linear", "decay": "start", "early_stopping": stopping, "random_state": 0}
    StackedClassifier(units(), alpha=[0.1, 1.0], solver=LBFGS(3), **settings).fit(X, y)
    n_held_out = round(0.25 * len(X))  # 38 of 150 fit three times
    assert [len(scores) for scores in seen] == [len(X)] + [len(X) - n_held_out] * (len(X) // n_held_out)
    assert np.isin(seen[1], seen[0]).all()
    assert not np.array_equal(seen[1], seen[2])


@pytest.mark.parametrize(
    "stopping", [EarlyStopping(0.2, n_splits=3), EarlyStopping(0.4, refit=True, n_splits=3)], ids=["refit", "shares"]
)
def test_splits_that_cannot_be_held_out_are_refused(X, stopping):
    with pytest.raises(ValueError, match=r"n_splits=3 of early stopping .* needs refit=True"):
        searched(stopping, alpha=0.1)[0].fit(X)


def test_alpha_with_the_lowest_held_out_loss_is_chosen(X):
    estimator, history = searched(alpha=[1e-3, 1e12])
    estimator.fit(X)
    best = {
        step.stage: min(s.validation_loss for s in history.steps if s.stage == step.stage)
        for step in history.steps
        if step.validation_loss is not None
    }
    assert best["finetune (alpha=0.001)"] < best["finetune (alpha=1e+12)"]
    assert estimator.history_[-1]["alpha"] == 1e-3
    assert stack(alpha=1e-3, solver=LBFGS(estimator.n_iter_)).fit(X).loss_ == pytest.approx(estimator.loss_)


def test_nothing_is_trained_where_nothing_is_gained(X):
    """Random columns have no bend to find: the start is left only for a gain on held-out rows."""
    noise = np.random.default_rng(3).normal(size=(60, 5))
    estimator, _ = searched(EarlyStopping(0.3, patience=5, tol=0.2, refit=True), alpha=[0.1, 1.0])
    estimator.fit(noise)
    assert estimator.n_iter_ == 0
    np.testing.assert_array_equal(estimator.transform(noise), stack(solver=LBFGS(0)).fit(noise).transform(noise))
    pca = pca_of(noise)[1]
    assert estimator.explained_variance_ratio_ == pytest.approx(pca.explained_variance_ratio_.sum(), abs=1e-6)


def test_without_refit_the_best_parameters_are_kept(X):
    estimator, history = searched(EarlyStopping(0.2, patience=5), alpha=[1e-2, 1.0])
    estimator.fit(X)
    chosen = f"finetune (alpha={estimator.history_[-1]['alpha']:g})"
    assert {step.stage for step in history.steps} == {"finetune (alpha=0.01)", "finetune (alpha=1)"}
    curve = [step.validation_loss for step in history.steps if step.stage == chosen and step.status is None]
    assert min(curve) == min(s.validation_loss for s in history.steps if s.validation_loss is not None)


def test_given_validation_rows_choose_too(X):
    estimator, history = searched(alpha=[1e-3, 1.0])
    estimator.fit(X[:100], X_val=X[100:])
    assert "finetune" not in {step.stage for step in history.steps}  # there are no further rows to train on
    assert estimator.history_[-1]["alpha"] in (1e-3, 1.0)


def test_layers_are_refitted_too(X):
    history = History()
    solver = Adam(max_iter=6, batch_size=50, learning_rate_init=0.05)
    settings = {"activation": "tanh", "output_activation": "identity", "random_state": 0, "solver": solver}
    layer = Autoencoder(3, early_stopping=EarlyStopping(0.2, patience=2, refit=True), callbacks=[history], **settings)
    layer.fit(X)
    assert [step.stage for step in history.steps if step.status is not None] == ["layer 0 (held out)", "layer 0"]
    plain = Autoencoder(3, **settings | {"solver": clone(solver).set_params(max_iter=layer.n_iter_)}).fit(X)
    np.testing.assert_allclose(layer.transform(X), plain.transform(X), atol=1e-12)


def test_resume_gives_the_same_bits(X, tmp_path):
    whole, _ = searched(alpha=[1e-3, 1.0])
    expected = whole.fit(X).transform(X)
    for n_steps in (5, 9):

        class Interrupted(Exception):
            pass

        seen = []

        def interrupt(step, seen=seen, n_steps=n_steps, error=Interrupted):
            seen.append(step)
            if len(seen) == n_steps:
                raise error

        folder = tmp_path / str(n_steps)
        estimator, _ = searched(alpha=[1e-3, 1.0])
        estimator.set_params(checkpoint=Checkpoint(folder, seconds=1e9, n_iter=1))
        with pytest.raises(Interrupted):
            clone(estimator).set_params(callbacks=[interrupt]).fit(X)
        estimator.fit(X)
        np.testing.assert_array_equal(estimator.transform(X), expected)
        assert estimator.history_[-1]["alpha"] == whole.history_[-1]["alpha"]
        assert estimator.validation_loss_curve_ == whole.validation_loss_curve_


def test_several_splits_of_a_classifier_resume(X, y, tmp_path):
    settings = {"init": "linear", "decay": "start", "alpha": [1e-2, 1.0], "random_state": 0, "solver": LBFGS(8)}
    settings["early_stopping"] = EarlyStopping(0.3, patience=3, refit=True, n_splits=2)
    whole = StackedClassifier(units(), **settings).fit(X, y)
    seen = []

    def interrupt(step):
        seen.append(step)
        if len(seen) == 22:  # in the second split
            raise KeyboardInterrupt

    checkpoint = Checkpoint(tmp_path / "kept", seconds=1e9, n_iter=1)
    with pytest.raises(KeyboardInterrupt):
        StackedClassifier(units(), callbacks=[interrupt], checkpoint=checkpoint, **settings).fit(X, y)
    assert seen[-1].stage == "finetune (alpha=0.01, 2 of 2)"
    resumed = StackedClassifier(units(), checkpoint=checkpoint, **settings).fit(X, y)
    np.testing.assert_array_equal(resumed.predict_proba(X), whole.predict_proba(X))
    assert resumed.validation_loss_curve_ == whole.validation_loss_curve_


@pytest.mark.parametrize("kind", ["stack", "classifier", "regressor"])
def test_copies_predict_alike(X, y, kind, tmp_path):
    settings = {"decay": "start", "alpha": [1e-2, 1.0], "early_stopping": EarlyStopping(0.2, patience=3, refit=True)}
    estimator = {
        "stack": stack(solver=LBFGS(9), **settings),
        "classifier": StackedClassifier(units(), init="linear", solver=LBFGS(9), **settings),
        "regressor": StackedRegressor(units(), init="linear", solver=LBFGS(9), **settings),
    }[kind]
    estimator.fit(X, None if kind == "stack" else y if kind == "classifier" else X[:, 1])
    save(estimator, tmp_path / "model")
    for other in (load(tmp_path / "model"), pickle.loads(pickle.dumps(estimator)), copy.deepcopy(estimator)):
        np.testing.assert_array_equal(other.transform(X), estimator.transform(X))
        assert other.history_[-1]["alpha"] == estimator.history_[-1]["alpha"]
        assert other.get_params()["alpha"] == [1e-2, 1.0]
    assert clone(estimator).get_params()["decay"] == "start"


def test_fits_go_on(X, y):
    first = stack(alpha=0.01, solver=LBFGS(5), warm_start=True).fit(X)
    loss = first.loss_
    assert first.fit(X).loss_ < loss
    once = stack(alpha=0.01).partial_fit(X)
    assert once.partial_fit(X).n_iter_ == 2
    classifier = StackedClassifier(units(), init="linear", solver=LBFGS(3), warm_start=True, random_state=0).fit(X, y)
    loss = classifier.loss_
    assert classifier.fit(X, y).loss_ < loss
    frozen = StackedClassifier(FrozenEstimator(units().fit(X)), init="linear", solver=LBFGS(3)).fit(X, y)
    assert frozen.transform(X).shape == (len(X), 5 + N_FEATURES)
    assert frozen.autoencoder_.transform(X).shape == (len(X), 5)


def test_rows_without_labels_shape_the_units_alone(X, y):
    marked = np.where(np.arange(len(X)) % 3, y, "?").astype(object)
    few = StackedClassifier(units(), init="linear", unlabeled="?", solver=LBFGS(5), random_state=0).fit(X, marked)
    assert few.score(X, y) > 0.8
    assert few.history_[0]["stage"] == "layer 0"


def test_missing_values_begin_as_means(X):
    with_gaps = X.copy()
    with_gaps[::7, 2] = np.nan
    filled = AutoencoderImputer(stack(solver=LBFGS(20), alpha=0.01)).fit_transform(with_gaps)
    means = np.nanmean(with_gaps, axis=0)[2]
    assert np.abs(filled[::7, 2] - X[::7, 2]).mean() < np.abs(means - X[::7, 2]).mean()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"finetune": None}, "set finetune='reconstruction'"),
        ({"layer0__tied": True}, r"layers\[0\] has tied=True"),
        ({"layer0__activation": TopK(2)}, r"activation=TopK\(k=2\) of layers\[0\]; choose 'tanh'"),
        ({"layer0__output_activation": "elu"}, "output_activation='elu' of layers.0.; choose 'identity'"),
        ({"alpha": []}, "a list of one or more"),
        ({"alpha": [0.1, -1]}, "a number that is not negative"),
        ({"alpha": [0.1, True]}, "a number that is not negative"),
        ({"alpha": [0.1, 1.0]}, r"set early_stopping=EarlyStopping\(refit=True\)"),
        ({"decay": "mean"}, "decay"),
        ({"init": "linear"}, "init"),
    ],
)
def test_refused_of_stacks(X, change, sentence):
    with pytest.raises(ValueError, match=sentence):
        stack().set_params(**change).fit(X)


def test_refused_of_others(X, y):
    layer = Autoencoder(3, activation="elu", output_activation="identity", solver=LBFGS(1)).fit(X)
    with pytest.raises(ValueError, match=r"layers\[0\] is frozen"):
        stack().set_params(layer0=FrozenEstimator(layer)).fit(X)
    with pytest.raises(ValueError, match=r"activation=TopK\(k=2\) of layer 0"):
        StackedClassifier(Autoencoder(4, activation=TopK(2)), init="linear").fit(X, y)
    with pytest.raises(ValueError, match="partial_fit takes one step"):
        searched(alpha=0.1)[0].partial_fit(X)
    with pytest.raises(ValueError, match="partial_fit takes one step"):
        StackedClassifier(units(), alpha=[0.1, 1.0]).partial_fit(X, y)


def test_recipes_of_tables(X, y):
    recipe = table_autoencoder(X.shape[1], random_state=0)
    assert recipe.layers[-1].n_hidden == N_FEATURES // 3
    assert table_autoencoder(X.shape[1], n_hidden=4).layers[-1].n_hidden == 4
    assert table_autoencoder(1).layers[-1].n_hidden == 1
    train, test = X[::2], X[1::2]
    stack, pca = recipe.fit(train), PCA(2).fit(StandardScaler().fit_transform(train))
    scaler = StandardScaler().fit(train)
    Z = scaler.transform(test)
    ours = scaler.transform(stack.inverse_transform(stack.transform(test)))
    assert explained(Z, ours) > explained(Z, pca.inverse_transform(pca.transform(Z))) - 0.005
    classifier = table_predictor(random_state=0).fit(train, y[::2])
    assert classifier.score(test, y[1::2]) > 0.8
    regressor = table_predictor(regression=True, random_state=0).fit(train[:, 1:], train[:, 0])
    assert regressor.score(test[:, 1:], test[:, 0]) > 0.5


@pytest.mark.parametrize("recipe", [table_autoencoder(9), table_predictor(), table_predictor(regression=True)])
def test_recipes_of_tables_are_settings(recipe):
    """A file of settings says all of them."""
    settings = tomllib.loads(write_toml(describe(recipe)))
    assert settings["finetuning"]["decay"] == "start"
    assert describe(build(settings)) == describe(recipe)
