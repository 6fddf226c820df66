"""The same seed gives the same bits: in fresh processes, and whatever the global generators hold."""

import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from train_and_hash import models, parameters, rows

from layerwise import LBFGS, Autoencoder, StackedAutoencoder, StackedClassifier, check_gradient, load, save
from layerwise.report.filters import excite

SCRIPT = Path(__file__).with_name("train_and_hash.py")
X, Y = rows()
X, Y = X[:60], Y[:60]


def digests(n_processes):
    """Return what so many fresh processes print, each with another seed of Python's hashes."""
    found = []
    for seed in range(n_processes):
        environment = os.environ | {"PYTHONHASHSEED": str(1000 * seed + 7)}
        done = subprocess.run(
            [sys.executable, str(SCRIPT)], capture_output=True, text=True, env=environment, check=True
        )
        found.append(done.stdout.strip())
    assert all(len(digest) == 64 for digest in found)
    return found


def test_three_fresh_processes():
    assert len(set(digests(3))) == 1


@pytest.mark.slow
def test_twenty_fresh_processes():
    assert len(set(digests(20))) == 1


def global_states():
    """Return what the global generators hold, in a form that can be compared."""
    name, keys, *rest = np.random.get_state()  # noqa: NPY002 - the global state is the point
    return name, keys.tolist(), rest, torch.random.get_rng_state().tolist(), random.getstate()


def seed_all(seed):
    np.random.seed(seed)  # noqa: NPY002
    torch.manual_seed(seed)
    random.seed(seed)


@settings(deadline=None, max_examples=5, derandomize=True)
@given(st.lists(st.integers(0, 2**32 - 1), min_size=2, max_size=2, unique=True))
@pytest.mark.parametrize("name", models())
def test_global_generators_neither_matter_nor_change(name, seeds):
    found = []
    for seed in seeds:
        seed_all(seed)
        before = global_states()
        estimator = models()[name].fit(X, Y)
        for method in ("transform", "predict", "score_samples"):
            if hasattr(estimator, method):
                getattr(estimator, method)(X)
        assert global_states() == before
        found.append(parameters(estimator))
    for first, second in zip(*found, strict=True):
        assert first.tobytes() == second.tobytes()


@pytest.mark.parametrize("switch", [torch.no_grad, torch.inference_mode, lambda: torch.set_grad_enabled(False)])
@pytest.mark.parametrize("name", models())
def test_gradients_that_the_caller_switched_off(name, switch):
    rows, kind = torch.from_numpy(X), models()[name]
    expected = parameters(clone(kind).fit(X, Y))
    with switch():
        estimator = clone(kind).fit(rows + 0, Y)  # in inference mode the sum is a tensor that autograd refuses
        assert not torch.is_grad_enabled()
        found = [part.copy() for part in parameters(estimator)]
        again = getattr(estimator, "autoencoder_", estimator)
        again.set_params(warm_start=True).fit(rows + 0)
    for first, second in zip(found, expected, strict=True):
        assert first.tobytes() == second.tobytes()
    for module in again.coder_.modules:  # may be trained further in plain PyTorch
        assert not module.encoder_weight.is_inference()


@pytest.mark.parametrize("switch", [torch.no_grad, torch.inference_mode])
def test_gradients_are_checked_and_inputs_that_excite_found_all_the_same(switch, tmp_path):
    contracted = Autoencoder(5, activation="tanh", contraction=0.1, solver=LBFGS(5))
    upper = Autoencoder(4, output_activation="tanh", solver=LBFGS(5))
    classifier = StackedClassifier(StackedAutoencoder([contracted, upper]), random_state=0)
    layers = classifier.fit(X, Y).autoencoder_.layers_
    save(layers[1], tmp_path / "model")
    x = torch.from_numpy(X)
    errors, directions = check_gradient(classifier, X, Y), excite(layers, x, 3)
    with switch():
        assert check_gradient(classifier, X, Y) == errors
        assert_array_equal(excite([layers[0], load(tmp_path / "model")], x + 0, 3), directions)
        frozen = FrozenEstimator(classifier.autoencoder_)
        assert check_gradient(StackedClassifier(frozen), X, Y).keys() == {"head", "finetune"}
        partly = StackedClassifier(FrozenEstimator(load(tmp_path / "model")), random_state=0)
        partly.fit(layers[0].transform(X), Y).partial_fit(layers[0].transform(X), Y)
    assert errors.keys() == {"layer 0", "layer 1", "head", "finetune"}


def test_another_seed_gives_other_bits():
    """Or the tests above could not fail."""
    for estimator in models().values():
        first = parameters(estimator.fit(X, Y))[0].copy()
        assert parameters(estimator.set_params(random_state=99).fit(X, Y))[0].tobytes() != first.tobytes()


def test_no_seed_draws_from_the_global_generator_of_numpy():
    """As scikit-learn's convention has it: random_state=None is the one case where it counts."""
    found = []
    for seed in (0, 0, 1):
        seed_all(seed)
        found.append(parameters(models()["growing samples"].set_params(random_state=None).fit(X))[0].tobytes())
    assert found[0] == found[1] != found[2]
