"""The unrolled stack, top layers, the regressor, rows without labels, frozen layers."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.datasets import load_diabetes
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import Ridge
from sklearn.preprocessing import minmax_scale

from layerwise import (
    LBFGS,
    Adam,
    Autoencoder,
    EarlyStopping,
    Gaussian,
    KLSparsity,
    Masking,
    StackedAutoencoder,
    StackedClassifier,
    StackedRegressor,
    check_gradient,
)
from layerwise.callbacks import History
from layerwise.modules import AutoencoderLayer, UnrolledAutoencoder

SHORT = LBFGS(max_iter=10)


@pytest.fixture(scope="module")
def small(digits):
    return digits.X_train[:300], digits.y_train[:300]


@pytest.fixture(scope="module")
def layers():
    return [Autoencoder(20, solver=SHORT, tied=True), Autoencoder(10, solver=SHORT)]


@pytest.fixture(scope="module")
def stack(layers, small):
    return StackedAutoencoder(layers, random_state=0).fit(small[0])


@pytest.fixture(scope="module")
def table():
    X, y = load_diabetes(return_X_y=True)
    return minmax_scale(X), y / 100


def weights(estimator):
    return [layer.layer_.encoder_weight.detach().numpy().copy() for layer in estimator.layers_]


def test_unrolled_is_the_composition_of_its_layers(generator):
    first, second = AutoencoderLayer(6, 4, generator=generator), AutoencoderLayer(4, 2, tied=True, generator=generator)
    network, x = UnrolledAutoencoder([first, second]), torch.rand(5, 6, generator=generator)
    expected = first.decode(second.decode(second.encode(first.encode(x))))
    assert_array_equal(network(x).detach(), expected.detach())
    assert {id(parameter) for parameter in network.parameters()} == {
        id(parameter) for layer in (first, second) for parameter in layer.parameters()
    }


@pytest.mark.parametrize("untie", [False, True])
@pytest.mark.parametrize("solver", [LBFGS(20), Adam(3, batch_size=64)])
def test_finetuned_reconstruction_is_better(layers, stack, small, solver, untie):
    X, _ = small
    deep = StackedAutoencoder(layers, finetune="reconstruction", untie=untie, solver=solver, random_state=0).fit(X)
    assert deep.score(X) > stack.score(X)
    assert deep.loss_ == pytest.approx(-deep.score(X), rel=1e-5)
    assert [record["stage"] for record in deep.history_] == ["layer 0", "layer 1", "finetune"]
    tied = deep.layers_[0].layer_.decoder_weight is None
    assert tied is not untie
    assert deep.layers_[0].tied is tied


def test_frozen_layers_begin_where_a_stack_ended(layers, stack, small):
    X, _ = small
    history = History()
    before = weights(stack)
    deep = StackedAutoencoder(
        [FrozenEstimator(layer) for layer in stack.layers_],
        finetune="reconstruction",
        solver=SHORT,
        callbacks=[history],
    ).fit(X)
    assert {step.stage for step in history.steps} == {"finetune"}
    at_once = StackedAutoencoder(layers, finetune="reconstruction", solver=SHORT, random_state=0).fit(X)
    for ours, theirs, old, now in zip(weights(deep), weights(at_once), before, weights(stack), strict=True):
        assert_allclose(ours, theirs, atol=1e-5)
        assert_array_equal(old, now)


def test_a_layer_on_top_of_frozen_ones(stack, small):
    X, _ = small
    history = History()
    frozen = [FrozenEstimator(layer) for layer in stack.layers_]
    higher = StackedAutoencoder([*frozen, Autoencoder(5, solver=SHORT)], callbacks=[history], random_state=0).fit(X)
    assert {step.stage for step in history.steps} == {"layer 2"}
    assert_array_equal(weights(higher)[0], weights(stack)[0])
    assert higher.transform(X).shape == (300, 5)
    with pytest.raises(ValueError, match="was fitted with 784 features, but gets 10 from below"):
        StackedAutoencoder([*frozen, frozen[0]]).fit(X)


@pytest.mark.parametrize(("finetune", "trained"), [("head", 0), (0, 0), (1, 1), (2, 2), ("all", 2)])
def test_top_layers(stack, small, finetune, trained):
    classifier = StackedClassifier(FrozenEstimator(stack), finetune=finetune, solver=SHORT).fit(*small)
    changed = [
        not np.array_equal(layer.encoder_weight.detach(), before)
        for layer, before in zip(classifier.network_.encoders(), weights(stack), strict=True)
    ]
    assert changed == [place >= 2 - trained for place in range(2)]


def test_more_layers_than_there_are(stack, small):
    with pytest.raises(ValueError, match="finetune=7 asks for more layers than there are: 2"):
        StackedClassifier(FrozenEstimator(stack), finetune=7).fit(*small)


def test_rows_without_labels_are_for_pretraining_only(small):
    X, y = small
    y = y.astype(int)
    y[100:] = -1
    recipe = StackedAutoencoder([Autoencoder(12, solver=SHORT)], random_state=0)
    classifier = StackedClassifier(recipe, solver=SHORT, unlabeled=-1).fit(X, y)
    assert -1 not in classifier.classes_
    two_steps = StackedClassifier(FrozenEstimator(recipe.fit(X)), solver=SHORT).fit(X[:100], y[:100])
    assert_array_equal(classifier.predict_proba(X), two_steps.predict_proba(X))


def test_names_and_missing_targets_can_mean_unlabeled(small, table):
    X, y = small
    names = np.array([f"digit {label}" for label in y])
    names[50:] = "?"
    classifier = StackedClassifier(Autoencoder(8, solver=SHORT), solver=SHORT, unlabeled="?").fit(X, names)
    assert "?" not in classifier.classes_
    rows, targets = table
    targets = targets.copy()
    targets[::2] = np.nan
    autoencoder = Autoencoder(5, solver=SHORT, random_state=0)
    some = StackedRegressor(autoencoder, solver=SHORT, unlabeled=float("nan")).fit(rows, targets)
    same = StackedRegressor(FrozenEstimator(autoencoder.fit(rows)), solver=SHORT).fit(rows[1::2], targets[1::2])
    assert_array_equal(some.predict(rows), same.predict(rows))


def test_mistakes_are_named(small):
    X, y = small
    for estimator, message in (
        (Autoencoder(solver=Adam), r"solver=Adam is a class, but an object is expected: Adam\(\)"),
        (Autoencoder(callbacks=[EarlyStopping()]), "which cannot be called"),
        (StackedAutoencoder([True]), r"layers\[0\]=True is a bool"),
        (StackedAutoencoder([FrozenEstimator(Ridge())]), r"layers\[0\]=FrozenEstimator"),
        (StackedClassifier(unlabeled=[0, 1]), r"unlabeled=\[0, 1\] must be one value"),
    ):
        with pytest.raises(ValueError, match=message):
            estimator.fit(X, y)
    with pytest.raises(ValueError, match="requires y to be passed, but the target y is None"):
        StackedRegressor().fit(X, None)
    with pytest.raises(ValueError, match=r"y holds one class only \(none\)"):
        StackedClassifier().fit(X[:0], y[:0])


def test_a_second_fit_forgets_the_record_of_the_first(layers, small):
    deep = StackedAutoencoder(layers, finetune="reconstruction", solver=SHORT).fit(small[0])
    assert deep.history_[-1]["stage"] == "finetune"
    assert deep.set_params(finetune=None).fit(small[0]).history_[-1]["stage"] == "layer 1"
    assert deep.loss_ == deep.layers_[-1].loss_


def test_the_stack_of_a_classifier_is_its_own(layers, small):
    stack = StackedAutoencoder(layers, random_state=0).fit(small[0])
    classifier = StackedClassifier(FrozenEstimator(stack), solver=SHORT).fit(*small)
    stack.set_params(layers=[3]).fit(small[0])
    assert classifier.autoencoder_.transform(small[0]).shape == (300, 10)


def test_no_labels_at_all(small):
    with pytest.raises(ValueError, match="y holds no labels: all 300 are unlabeled=-1"):
        StackedClassifier(unlabeled=-1).fit(small[0], np.full(300, -1))


def test_regressor_with_its_head_alone_is_ridge_regression(table):
    X, y = table
    autoencoder = Autoencoder(6, solver=SHORT, dtype="float64", random_state=0).fit(X)
    alpha = 0.01
    solver = LBFGS(500, tol=1e-10, ftol=1e-15)
    regressor = StackedRegressor(FrozenEstimator(autoencoder), finetune="head", alpha=alpha, solver=solver).fit(X, y)
    ridge = Ridge(alpha=alpha * len(X)).fit(autoencoder.transform(X), y)
    assert_allclose(regressor.predict(X), ridge.predict(autoencoder.transform(X)), rtol=1e-6)


@pytest.mark.parametrize("solver", [LBFGS(60), Adam(40, batch_size=32, learning_rate_init=0.01)])
def test_regressor_learns(table, solver):
    X, y = table
    regressor = StackedRegressor(Autoencoder(8, solver=SHORT), solver=solver, random_state=0).fit(X, y)
    assert regressor.predict(X).shape == y.shape
    assert regressor.score(X, y) > 0.4


def test_regressor_of_several_targets(table):
    X, y = table
    both = np.stack([y, -y], axis=1)
    regressor = StackedRegressor(Autoencoder(8, solver=SHORT), solver=SHORT, random_state=0).fit(X, both)
    assert regressor.predict(X).shape == both.shape
    assert regressor.transform(X).shape == (len(X), 8)
    with pytest.raises(ValueError, match="y contains NaN or None in 442 of 442 rows"):
        regressor.fit(X, np.where(both > 0, both, np.nan))
    with pytest.raises(ValueError, match=r"X has 442 rows, but y has 3 labels"):
        regressor.fit(X, both[:3])


def test_validation_labels_that_do_not_fit(small):
    X, y = small
    classifier = StackedClassifier(Autoencoder(5, solver=SHORT), solver=SHORT)
    with pytest.raises(ValueError, match="y_val=None holds no labels; each of the 300 rows of X_val needs one"):
        classifier.fit(X, y, X_val=X)
    with pytest.raises(ValueError, match="y_val is given without X_val"):
        classifier.fit(X, y, y_val=y)
    regressor = StackedRegressor(Autoencoder(5, solver=SHORT), solver=SHORT)
    with pytest.raises(ValueError, match=r"y_val has shape \(300, 2\), but \(300,\) is expected"):
        regressor.fit(X, y, X_val=X, y_val=np.stack([y, y], axis=1))
    with pytest.raises(ValueError, match="X_val contains NaN or infinity: X_val"):
        Autoencoder(5).fit(X, X_val=np.full((2, 784), np.nan))
    with pytest.raises(ValueError, match="y_val holds 77, which is none of the classes: 0, 1"):
        classifier.fit(X, y, X_val=X[:1], y_val=[77])


def test_every_kind_of_layer_in_one_stack(small):
    """Sparse, denoising and contractive layers, each with a solver of its own, in one classifier."""
    X, y = small
    stack = StackedAutoencoder(
        [
            Autoencoder(30, tied=True, loss="binary_cross_entropy", corruption=Masking(0.2), solver=Adam(5)),
            Autoencoder(20, activation="tanh", sparsity=KLSparsity(0.2), solver=SHORT),
            Autoencoder(15, activation="relu", output_activation="tanh", contraction=0.1, solver=Adam(5)),
            Autoencoder(10, activation="identity", output_activation="identity", solver="lbfgs"),
        ],
        random_state=0,
    )
    classifier = StackedClassifier(stack, solver=LBFGS(60)).fit(X, y)
    assert classifier.score(X, y) > 0.8


NOISE = {"dropout": 0.4, "corruption": Gaussian(0.2), "sparsity": KLSparsity(0.2)}


@pytest.mark.parametrize("solver", [LBFGS(10), Adam(10, batch_size=8)])
@pytest.mark.parametrize("noise", [{name: value} for name, value in NOISE.items()] + [NOISE], ids=str)
def test_fine_tuning_with_noise(solver, noise):
    """It changes fine-tuning alone, gives the same bits from the same seed, and nothing is random afterwards."""
    X = np.random.default_rng(0).random((40, 6))
    y, targets = (X[:, 0] > 0.5).astype(int), X[:, :2]
    layers = [Autoencoder(5, solver=solver), Autoencoder(4, solver=solver)]
    for estimator, own in (
        (StackedClassifier(StackedAutoencoder(layers), solver=solver), y),
        (StackedRegressor(StackedAutoencoder(layers), solver=solver), targets),
        (StackedAutoencoder(layers, finetune="reconstruction", solver=solver), None),
    ):
        plain, noisy, again = (
            clone(estimator).set_params(random_state=0, **params).fit(X, own) for params in ({}, noise, noise)
        )
        outputs = [
            getattr(each, "predict_proba" if own is y else "transform")(X) for each in (plain, noisy, noisy, again)
        ]
        assert not np.allclose(outputs[0], outputs[1])
        assert_array_equal(outputs[1], outputs[2])
        assert_array_equal(outputs[1], outputs[3])
        for before, after in zip(plain.history_[:2], noisy.history_[:2], strict=True):
            assert before["loss_curve"] == after["loss_curve"]


def test_gradients_of_fine_tuning_with_noise_are_numeric():
    X = np.random.default_rng(0).random((20, 5))
    for estimator, y in (
        (StackedClassifier(StackedAutoencoder([4, 3]), **NOISE), (X[:, 0] > 0.5).astype(int)),
        (StackedRegressor(StackedAutoencoder([4, 3]), **NOISE), X[:, :2]),
        (StackedAutoencoder([4, 3], finetune="reconstruction", **NOISE), None),
    ):
        errors = check_gradient(estimator, X, y)
        assert errors["finetune"] < 1e-7


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"dropout": 1.0}, "'dropout' parameter"),
        ({"dropout": -0.1}, "'dropout' parameter"),
        ({"corruption": "masking"}, "'corruption' parameter"),
        ({"corruption": Masking(2.0)}, "'level' parameter of Masking"),
        ({"sparsity": KLSparsity(3.0)}, "'target' parameter of KLSparsity"),
    ],
)
def test_noise_that_is_none(params, message):
    X = np.random.default_rng(0).random((20, 5))
    for estimator in (StackedClassifier(), StackedRegressor(), StackedAutoencoder(finetune="reconstruction")):
        with pytest.raises(ValueError, match=message):
            clone(estimator).set_params(**params).fit(X, X[:, 0] > 0.5)


def test_sparsity_of_fine_tuning_needs_a_range():
    """It is refused before anything is trained."""
    X = np.random.default_rng(0).random((20, 5))
    stack = StackedAutoencoder([Autoencoder(3, activation="relu")])
    watched = History()
    with pytest.raises(ValueError, match="needs activations with a lowest and a highest value"):
        StackedClassifier(stack, sparsity=KLSparsity(0.1), callbacks=[watched]).fit(X, X[:, 0] > 0.5)
    assert not watched.steps
