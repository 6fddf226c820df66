"""Copies and pickles of fitted estimators, and formats that hold arrays only: skops, and MLflow, which uses it."""

import copy
import pickle
import warnings
from functools import cache

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from layerwise import (
    LBFGS,
    Adam,
    Autoencoder,
    AutoencoderImputer,
    AutoencoderOutlierDetector,
    EarlyStopping,
    KLSparsity,
    Masking,
    StackedAutoencoder,
    StackedClassifier,
    StackedRegressor,
    TopK,
)
from layerwise.callbacks import History

X = np.random.default_rng(0).normal(size=(60, 5)) * [1, 2, 3, 4, 5]
Y = np.where(X[:, 0] > 0, "high", "low")


@cache
def fitted(name):
    """Return a fitted estimator; all six classes, penalties, solvers, types and what `warm_start` keeps come up."""
    linear = {"output_activation": "identity", "solver": LBFGS(3)}
    sparse = Autoencoder(4, sparsity=KLSparsity(0.2), early_stopping=EarlyStopping(0.2), solver=Adam(3, batch_size=16))
    strong = Autoencoder(4, activation=TopK(2), corruption=Masking(0.2), tied=True, **linear)
    stack = StackedAutoencoder([sparse, Autoencoder(3, solver="adam")], finetune="reconstruction", solver=LBFGS(3))
    stack.set_params(layer1__solver__max_iter=2, warm_start=True, random_state=0, dtype="float64")
    kinds = {
        "sparse": clone(sparse).set_params(warm_start=True, random_state=0, callbacks=[History()]),
        "strong": clone(strong).set_params(warm_start=True, random_state=0),
        "stack": stack,
        "classifier": StackedClassifier(strong, solver=Adam(3), warm_start=True, random_state=0),
        "regressor": StackedRegressor(stack, fit_intercept=False, solver=LBFGS(3), random_state=0),
        "frozen": StackedClassifier(FrozenEstimator(clone(strong).fit(X)), finetune="head", solver=LBFGS(3)),
        "detector": AutoencoderOutlierDetector(strong, random_state=0),
        "imputer": AutoencoderImputer(strong, random_state=0),
    }
    return kinds[name].fit(X, X[:, :2] if name == "regressor" else Y)


NAMES = ["sparse", "strong", "stack", "classifier", "regressor", "frozen", "detector", "imputer"]
every = pytest.mark.parametrize("name", NAMES)


def results(estimator):
    """Return all that an estimator makes of rows."""
    methods = "transform", "predict", "predict_proba", "score_samples"
    return [getattr(estimator, name)(X) for name in methods if hasattr(estimator, name)]


def same(one, other):
    for mine, theirs in zip(results(one), results(other), strict=True):
        assert mine.dtype == theirs.dtype
        assert_array_equal(mine, theirs)


def parts(value):
    """Yield everything that a state holds."""
    yield value
    if hasattr(value, "__getstate__") and type(value).__module__.startswith(("layerwise", "sklearn")):
        value = value.__getstate__()
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from parts(item)


@every
def test_the_state_holds_no_modules_and_no_tensors(name):
    found = list(parts(fitted(name)))
    assert any(isinstance(part, np.ndarray) and part.size > 10 for part in found)
    torchlike = (torch.Tensor, torch.nn.Module, torch.optim.Optimizer, torch.device, torch.dtype)
    assert not [part for part in found if isinstance(part, torchlike)]


@every
def test_copies_are_the_same_and_go_on_alike(name):
    original = fitted(name)
    copies = [copy.deepcopy(original), pickle.loads(pickle.dumps(original))]
    for other in copies:
        same(original, other)
        assert other.get_params().keys() == original.get_params().keys()
        assert getattr(other, "history_", None) == getattr(original, "history_", None)
    if hasattr(original, "_states"):
        further = [other.fit(X, Y) for other in (*copies, copy.deepcopy(original))]
        for other in further[1:]:
            same(further[0], other)
        changed = [not np.array_equal(*pair) for pair in zip(results(further[0]), results(original), strict=True)]
        assert any(changed)
    assert not hasattr(clone(original), "history_")


def test_a_copy_is_what_was_trained_whatever_parameters_say_now():
    autoencoder = copy.deepcopy(fitted("strong"))
    expected = results(autoencoder)
    autoencoder.set_params(n_hidden=9, activation="tanh", tied=False, loss="binary_cross_entropy")
    assert_array_equal(results(pickle.loads(pickle.dumps(autoencoder)))[0], expected[0])


def test_a_copy_is_its_own():
    original = fitted("stack")
    expected = results(original)
    other = copy.deepcopy(original)
    with torch.no_grad():
        for module in other.coder_.modules:
            module.encoder_weight.zero_()
            module.decoder_bias.add_(1)
    assert_array_equal(results(original)[0], expected[0])
    assert all(parameter.requires_grad for parameter in other.to_torch().parameters())


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
@pytest.mark.parametrize("name", ["stack", "classifier", "imputer"])
def test_pickled_on_a_machine_with_gpus(name):
    model = copy.deepcopy(fitted(name))
    autoencoder = getattr(model, "autoencoder_", model)
    for each in (autoencoder, *getattr(autoencoder, "layers_", ())):
        each.device = "cuda:1"  # as if it had been fitted there
    read = pickle.loads(pickle.dumps(model))
    with pytest.raises(ValueError, match="device='cuda:1' was asked for, but torch finds 0 CUDA devices"):
        read.transform(X)
    getattr(read, "autoencoder_", read).device = "auto"
    same(read, fitted(name))


@every
def test_skops(name):
    skops = pytest.importorskip("skops.io", reason="skops is not installed")
    original = make_pipeline(StandardScaler(), fitted(name)) if name == "classifier" else fitted(name)
    if name == "classifier":
        original[0].fit(X)
    data = skops.dumps(original)
    types = skops.get_untrusted_types(data=data)
    assert types
    assert all(kind.startswith("layerwise.") for kind in types)
    read = skops.loads(data, trusted=types)
    same(original, read)
    if hasattr(original, "_states"):
        same(read.fit(X, Y), copy.deepcopy(original).fit(X, Y))


@pytest.mark.parametrize("name", ["stack", "classifier", "detector"])
def test_mlflow_logs_a_pipeline(name, tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow", reason="mlflow is not installed")
    skops = pytest.importorskip("skops.io", reason="skops is not installed")
    monkeypatch.chdir(tmp_path)
    pipeline = make_pipeline(StandardScaler(), clone(fitted(name)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of mlflow
        pipeline.fit(X, Y)
        mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
        types = skops.get_untrusted_types(data=skops.dumps(pipeline))
        with mlflow.start_run():
            logged = mlflow.sklearn.log_model(
                pipeline, name="model", skops_trusted_types=types, pip_requirements=["layerwise"]
            )
        same(mlflow.sklearn.load_model(logged.model_uri), pipeline)


def test_copies_of_what_was_fitted_on_far_values():
    far = X.copy()
    far[3, 0], targets = 1e9, np.append(1e9, X[1:, 1])
    with pytest.warns(UserWarning, match="values far from all others"):
        regressor = StackedRegressor(Autoencoder(4, solver=LBFGS(3)), solver=LBFGS(3), random_state=0).fit(far, targets)
    assert regressor.target_scaling_.tails is not None
    assert regressor.autoencoder_.scaling_.tails is not None
    for other in (copy.deepcopy(regressor), pickle.loads(pickle.dumps(regressor))):
        same(other, regressor)
