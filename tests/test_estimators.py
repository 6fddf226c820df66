"""The scikit-learn face."""

import pickle
import warnings
from functools import partial

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

from layerwise import (
    LBFGS,
    Autoencoder,
    AutoencoderOutlierDetector,
    KLSparsity,
    StackedAutoencoder,
    StackedClassifier,
    stacking,
)
from layerwise.callbacks import History
from layerwise.data import Rows
from layerwise.modules import AutoencoderLayer
from layerwise.objective import LayerObjective

SHORT = LBFGS(max_iter=8)


@pytest.fixture(scope="module")
def small(digits):
    return digits.X_train[:300], digits.y_train[:300]


@pytest.fixture(scope="module")
def stack(small):
    sparse = Autoencoder(12, sparsity=KLSparsity(0.1), solver=SHORT)
    return StackedAutoencoder([sparse, Autoencoder(6, solver=SHORT)], random_state=0).fit(small[0])


def test_shapes_and_attributes(small, stack):
    X, _ = small
    assert stack.transform(X).shape == (300, 6)
    assert stack.inverse_transform(stack.transform(X)).shape == X.shape
    first, second = stack.layers_
    assert first.components_.shape == (12, 784)
    assert second.components_.shape == (6, 12)
    assert first.mean_activations_.shape == (12,)
    assert len(first.loss_curve_) == first.n_iter_ == 8
    assert first.loss_ == first.loss_curve_[-1]
    assert np.all(np.diff(first.loss_curve_) < 0)
    assert first.n_evaluations_ >= 9
    assert not first.converged_
    assert stack.get_feature_names_out().tolist() == [f"stackedautoencoder{k}" for k in range(6)]


def test_layers_are_trained_one_after_the_other(small, stack):
    """Each layer of a stack is what one autoencoder learns from the codes of the layers below."""
    X, _ = small
    generator = torch.Generator().manual_seed(int(np.random.RandomState(0).randint(np.iinfo(np.int32).max)))
    first, second = (AutoencoderLayer(a, b, generator=generator) for a, b in ((784, 12), (12, 6)))
    sparse = partial(LayerObjective, terms=[KLSparsity(0.1)], alpha=1e-4)
    stacking.pretrain([first], Rows(X), [SHORT], problems=[sparse])
    codes = first.encode(torch.from_numpy(X / np.float32(255))).detach()
    stacking.pretrain([second], Rows(codes), [SHORT], problems=[partial(LayerObjective, alpha=1e-4)])
    assert_allclose(stack.layers_[0].components_, first.encoder_weight.detach(), atol=1e-5)
    assert_allclose(stack.layers_[1].components_, second.encoder_weight.detach(), atol=1e-3)


def test_codes_are_composed(small, stack):
    X, _ = small
    first, second = stack.layers_
    assert_allclose(stack.transform(X), second.transform(first.transform(X)), rtol=1e-6)


def test_score_is_minus_the_loss(small):
    X, _ = small
    autoencoder = Autoencoder(10, alpha=0.0, solver=SHORT, dtype="float64").fit(X)
    assert -autoencoder.score(X) == pytest.approx(autoencoder.loss_, rel=1e-10)
    errors = autoencoder.inverse_transform(autoencoder.transform(X)) - X / 255
    assert -autoencoder.score(X) == pytest.approx(0.5 * np.square(errors).sum(axis=1).mean(), rel=1e-10)


def test_same_seed_same_bits(small):
    X, y = small
    fits = [StackedClassifier(Autoencoder(9, solver=SHORT), solver=SHORT, random_state=3).fit(X, y) for _ in range(2)]
    assert_array_equal(fits[0].predict_proba(X), fits[1].predict_proba(X))
    other = StackedClassifier(Autoencoder(9, solver=SHORT), solver=SHORT, random_state=4).fit(X, y)
    assert not np.array_equal(other.predict_proba(X), fits[0].predict_proba(X))


def test_global_random_state_is_left_alone(small):
    before, np_before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    Autoencoder(4, solver=SHORT, random_state=0).fit(small[0])
    assert torch.equal(before, torch.get_rng_state())
    assert_array_equal(np_before, np.random.get_state()[1])  # noqa: NPY002


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_type_of_the_rows_is_kept(small, stack, dtype):
    X = small[0][:20].astype(dtype) / 255
    assert stack.transform(X).dtype == dtype
    assert stack.inverse_transform(stack.transform(X)).dtype == dtype
    assert_allclose(stack.transform(X), stack.transform(small[0][:20]), rtol=1e-4)


def test_rows_of_all_kinds(small, stack, tmp_path):
    X = small[0][:20]
    expected = stack.transform(X)
    readonly = X.copy()
    readonly.flags.writeable = False
    np.save(tmp_path / "x.npy", X)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    for rows in (readonly, np.asfortranarray(X), mapped, torch.from_numpy(X.copy()), (X / 255).tolist(), X[::-1][::-1]):
        assert_allclose(stack.transform(rows), expected, rtol=1e-5)


def test_head_alone_leaves_the_encoders(small, stack):
    X, y = small
    head = StackedClassifier(FrozenEstimator(stack), finetune="head", solver=SHORT).fit(X, y)
    assert_array_equal(head.transform(X), stack.transform(X))
    whole = StackedClassifier(FrozenEstimator(stack), solver=SHORT).fit(X, y)
    assert not np.array_equal(whole.transform(X), stack.transform(X))
    assert whole.loss_ < head.loss_


def test_frozen_stack_is_used_and_not_changed(small, stack):
    X, y = small
    before = [layer.components_.copy() for layer in stack.layers_]
    history = History()
    StackedClassifier(FrozenEstimator(stack), solver=SHORT, callbacks=[history]).fit(X, y)
    for layer, components in zip(stack.layers_, before, strict=True):
        assert_array_equal(layer.components_, components)
    assert list(dict.fromkeys(step.stage for step in history.steps)) == ["head", "finetune"]


def test_head_equals_logistic_regression(small, stack):
    """Softmax regression on the codes is what scikit-learn calls multinomial logistic regression."""
    X, y = small
    alpha = 1e-2
    head = StackedClassifier(FrozenEstimator(stack), finetune="head", alpha=alpha, solver=LBFGS(500, tol=1e-9)).fit(
        X, y
    )
    theirs = LogisticRegression(C=1 / (alpha * len(X)), tol=1e-8, max_iter=5000).fit(stack.transform(X), y)
    assert_allclose(head.predict_proba(X), theirs.predict_proba(stack.transform(X)), atol=5e-4)


def test_classes_of_any_kind(small, stack):
    X, y = small
    names = np.array(["even", "odd"])[y % 2]
    classifier = StackedClassifier(FrozenEstimator(stack), finetune="head", solver=SHORT).fit(X, names)
    assert set(classifier.predict(X)) <= {"even", "odd"}
    assert classifier.classes_.tolist() == ["even", "odd"]
    assert_allclose(classifier.predict_proba(X).sum(axis=1), 1, rtol=1e-5)
    assert classifier.score(X, names) > 0.6


def test_parameters_are_not_changed(small):
    recipe = Autoencoder(7, solver=SHORT)
    stack = StackedAutoencoder([recipe, 3])
    stack.fit(small[0][:50])
    assert not hasattr(recipe, "layer_")
    assert stack.layers == [recipe, 3]
    again = clone(stack)
    assert again.layers[0] is not recipe
    assert again.layers[0].n_hidden == 7


def test_callback_stops_its_stage(small):
    history = History()
    stack = StackedAutoencoder(
        [5, 4], callbacks=[history, lambda step: step.stage == "layer 0" and step.iteration == 2]
    )
    stack.set_params(layers=[Autoencoder(5, solver=SHORT), Autoencoder(4, solver=SHORT)]).fit(small[0])
    assert [layer.n_iter_ for layer in stack.layers_] == [2, 8]
    assert "callback" in next(step.status for step in history.steps if step.status)


def test_steps_tell_the_parts(small):
    history = History()
    Autoencoder(8, sparsity=KLSparsity(0.2), solver=SHORT, callbacks=[history]).fit(small[0])
    for step in history.steps:
        assert step.value == sum(step.parts.values())
        assert set(step.parts) == {"reconstruction", "decay", "sparsity"}
        assert 0 < step.mean_activation < 1
        assert step.target_activation == 0.2


def test_warns_when_not_converged(small):
    with pytest.warns(ConvergenceWarning, match="layer 0 stopped: max_iter iterations were made"):
        Autoencoder(4, solver=LBFGS(1)).fit(small[0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Autoencoder(4, solver=LBFGS(3000, tol=1e-2)).fit(small[0])


def test_in_a_pipeline_and_a_grid(small):
    X, y = small
    autoencoder = Autoencoder(6, solver=SHORT, sparsity=KLSparsity(), random_state=0)
    pipeline = make_pipeline(MinMaxScaler(), autoencoder, LogisticRegression())
    grid = GridSearchCV(pipeline, {"autoencoder__sparsity__weight": [0.1, 3], "autoencoder__n_hidden": [4]}, cv=2)
    assert grid.fit(X.astype(float), y).best_score_ > 0.2


def test_memory_of_rows_stays_theirs(small):
    X = small[0].copy()
    Autoencoder(4, solver=SHORT).fit(X)
    assert_array_equal(X, small[0])


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        (Autoencoder(activation="sigmod"), "'activation' parameter of Autoencoder must be a str among"),
        (Autoencoder(0), "n_hidden"),
        (Autoencoder(alpha=-1), "alpha"),
        (Autoencoder(sparsity=KLSparsity(target=0)), "target"),
        (Autoencoder(sparsity=KLSparsity(target=1.0)), "target"),
        (Autoencoder(solver="newton"), "solver"),
        (Autoencoder(solver=LBFGS(max_iter=-1)), "max_iter"),
        (Autoencoder(dtype="float16"), "dtype"),
        (Autoencoder(device="abacus"), "device='abacus' is not known"),
        (Autoencoder(device="cuda:99"), "device='cuda:99' was asked for, but torch finds"),
        (StackedClassifier(Autoencoder(dtype="float16")), "dtype"),
        (StackedAutoencoder([]), r"layers=\[\] is empty"),
        (StackedAutoencoder([3, "4"]), r"layers\[1\]='4' is a str"),
        (StackedAutoencoder([Autoencoder(3, alpha=-1)]), "alpha"),
    ],
)
def test_bad_parameters_are_named(small, estimator, message):
    with pytest.raises(ValueError, match=message):
        estimator.fit(*small)


def test_unknown_activation_of_a_module_lists_the_known_ones():
    with pytest.raises(ValueError, match="activation='relux' is not known; choose one of sigmoid"):
        AutoencoderLayer(3, 2, activation="relux")


@pytest.mark.parametrize(("bad", "name"), [(np.nan, "NaN"), (np.inf, "infinity")])
def test_rows_that_are_not_finite(small, stack, bad, name):
    X = small[0] / 255
    X[7, 3] = bad
    for method in (Autoencoder().fit, stack.transform, stack.score):
        with pytest.raises(ValueError, match=rf"X\[7, 3\] is {name}"):
            method(X)


def test_rows_out_of_range(small):
    with pytest.raises(ValueError, match=r"X holds values from 0 to 255 in columns .*, but output_act"):
        Autoencoder(scale=None).fit(small[0].astype(float))


def test_wrong_number_of_features(small, stack):
    with pytest.raises(ValueError, match="X has 700 features, but StackedAutoencoder is expecting 784"):
        stack.transform(small[0][:, :700])
    with pytest.raises(ValueError, match=r"codes have shape \(300, 784\), but \(n_samples, 6\)"):
        stack.inverse_transform(small[0])
    with pytest.raises(ValueError, match="X has 700 features, but the frozen autoencoder was fitted with 784"):
        StackedClassifier(FrozenEstimator(stack)).fit(small[0][:, :700], small[1])


def test_labels_that_do_not_fit(small):
    X, y = small
    with pytest.raises(ValueError, match="X has 300 rows, but y has 299 labels"):
        StackedClassifier().fit(X, y[1:])
    with pytest.raises(ValueError, match="y holds one class only"):
        StackedClassifier().fit(X, np.ones(300))
    with pytest.raises(ValueError, match="Unknown label type"):
        StackedClassifier().fit(X, np.linspace(0, 1, 300))


def test_not_fitted(small):
    for method in (Autoencoder().transform, StackedAutoencoder().score, StackedClassifier().predict):
        with pytest.raises(NotFittedError):
            method(small[0])
    with pytest.raises(NotFittedError):
        StackedClassifier(FrozenEstimator(StackedAutoencoder())).fit(*small)
    with pytest.raises(ValueError, match="is none of layerwise"):
        StackedClassifier(FrozenEstimator(MinMaxScaler())).fit(*small)


def test_starting_point_that_overflows(small):
    X = small[0][:50] / 255
    autoencoder = Autoencoder(3, alpha=1e308, dtype="float64", solver=SHORT)
    with pytest.raises(FloatingPointError, match="layer 0: the objective is not finite at the starting point"):
        autoencoder.fit(X)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_equals_cpu(small):
    X, y = small
    fits = [
        StackedClassifier(
            StackedAutoencoder(
                [Autoencoder(9, sparsity=KLSparsity(0.1), solver=SHORT)], device=device, dtype="float64"
            ),
            solver=SHORT,
            random_state=0,
        ).fit(X, y)
        for device in ("cpu", "cuda")
    ]
    assert_allclose(fits[1].predict_proba(X), fits[0].predict_proba(X), rtol=1e-6)


@pytest.mark.slow
def test_accuracy_of_the_demo(digits):
    """A whole small run is as good as the README says."""
    sparse = Autoencoder(200, sparsity=KLSparsity(0.1, 3.0), alpha=3e-3, solver=LBFGS(100))
    classifier = StackedClassifier(StackedAutoencoder([sparse, sparse]), solver=LBFGS(100), random_state=0)
    assert classifier.fit(digits.X_train, digits.y_train).score(digits.X_test, digits.y_test) >= 0.93


def test_fitted_estimators_can_be_pickled(small, stack):
    """By users, for joblib and for workers; layerwise itself never loads a pickle."""
    again = pickle.loads(pickle.dumps(stack))
    assert_array_equal(again.transform(small[0]), stack.transform(small[0]))


def test_callbacks_do_not_change_the_outlier_detector(digits):
    """The default autoencoder ends by a callback of its own, which those of the user join."""
    X, history = digits.X_train[:200], History()
    plain = AutoencoderOutlierDetector(random_state=0).fit(X)
    watched = AutoencoderOutlierDetector(random_state=0, callbacks=[history]).fit(X)
    assert history.steps[-1].iteration == 30
    assert_array_equal(watched.score_samples(X), plain.score_samples(X))
