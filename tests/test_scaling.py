"""Scaling of columns: equal to scikit-learn's, over any blocks and shards, with gaps and weights."""

import numpy as np
import pytest
import torch
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from layerwise.data.rows import Rows, cut
from layerwise.data.scaling import learn_scaling


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
