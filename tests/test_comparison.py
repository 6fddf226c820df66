"""The control: the same network with and without pre-training."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats
from sklearn.frozen import FrozenEstimator

from layerwise import LBFGS, Autoencoder, StackedAutoencoder, StackedClassifier
from layerwise.comparison import Comparison, _draw, compare


def test_gains_are_a_paired_t_interval():
    rng = np.random.default_rng(0)
    pretrained, control = rng.random((2, 3, 2, 6))
    rows = Comparison([10, 20, 30], ["head", "all"], pretrained, control).rows()
    assert [row["finetune"] for row in rows] == ["head", "all", "best"] * 3
    pairs = zip(pretrained.reshape(-1, 6), control.reshape(-1, 6), strict=True)
    for row, (a, b) in zip([row for row in rows if row["finetune"] != "best"], pairs, strict=True):
        interval = stats.ttest_rel(a, b).confidence_interval(0.95)
        assert_allclose(row["gain"], [(a - b).mean(), interval.low, interval.high])
        assert row["pretrained"] == pytest.approx(a.mean())


def test_best_takes_the_best_depth_of_each():
    pretrained, control = np.array([[[0.9, 0.8], [0.5, 0.5]]]), np.array([[[0.1, 0.1], [0.6, 0.7]]])
    best = Comparison([10], ["head", "all"], pretrained, control).rows()[-1]
    assert best["pretrained"] == pytest.approx(0.85)
    assert best["control"] == pytest.approx(0.65)
    assert best["gain"][0] == pytest.approx(0.2)


def test_verdicts():
    better, worse = np.array([[[0.9, 0.91, 0.92]]]), np.array([[[0.5, 0.52, 0.51]]])
    for a, b, verdict in (
        (better, worse, "pre-training helps"),
        (worse, better, "pre-training hurts"),
        (better, better, "no clear difference"),
        (better[..., :1], worse[..., :1], "no clear difference"),
    ):
        assert Comparison([5], ["all"], a, b).rows()[0]["verdict"] == verdict
    assert Comparison([5], ["all"], better[..., :1], worse[..., :1]).as_dict()["rows"][0]["gain"][1:] == [None, None]


def test_compare(digits):
    X, y = digits.X_train[::4], digits.y_train[::4]
    classifier = StackedClassifier(StackedAutoencoder([Autoencoder(20, solver=LBFGS(30)), 10]), solver=LBFGS(15))
    lines = []
    comparison = compare(
        classifier, X, y, digits.X_test, digits.y_test, budgets=[50, 1500], n_seeds=2, announce=lines.append
    )
    assert comparison.pretrained.shape == comparison.control.shape == (2, 2, 2)
    assert len(lines) == 8
    assert np.all((comparison.pretrained > 0.1) & (comparison.pretrained < 1))
    assert not np.array_equal(comparison.pretrained, comparison.control)
    assert not hasattr(classifier, "network_")


def test_frozen_recipes_are_trained_anew(digits):
    X, y = digits.X_train[::20], digits.y_train[::20]
    stack = StackedAutoencoder([Autoencoder(6, solver=LBFGS(2))]).fit(X)
    lines = []
    for start in (stack, stack.layers_[0], StackedAutoencoder([FrozenEstimator(stack.layers_[0]), 5])):
        autoencoder = start if isinstance(start, StackedAutoencoder) and start is not stack else FrozenEstimator(start)
        classifier = StackedClassifier(autoencoder, solver=LBFGS(2), callbacks=[lambda step: lines.append(step.stage)])
        comparison = compare(classifier, X, y, X, y, budgets=["all"], n_seeds=1)
        assert comparison.budgets == [300]
    assert {"layer 0", "layer 1", "head", "finetune"} == set(lines)


def test_rows_without_labels_are_not_in_the_budget(digits):
    X, y = digits.X_train[::10], digits.y_train[::10].astype(int)
    some = np.where(np.arange(600) % 2, y, -1)
    classifier = StackedClassifier(Autoencoder(5, solver=LBFGS(2)), solver=LBFGS(2), unlabeled=-1)
    assert compare(classifier, X, some, X, y, budgets=["all"], n_seeds=1).budgets == [300]


def test_labelled_rows_are_drawn_in_proportion():
    y = np.repeat([0, 1, 2], [600, 300, 3])
    drawn = y[_draw(y, 90, seed=0)]
    assert np.bincount(drawn).tolist() == [60, 30, 0] or abs(np.bincount(drawn) - [59, 30, 1]).max() <= 1
    assert set(y[_draw(y, 3, seed=0)]) == {0, 1, 2}
    assert not np.array_equal(_draw(y, 90, seed=0), _draw(y, 90, seed=1))
    assert _draw(y, 903, seed=0).tolist() == list(range(903))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"budgets": [5]}, r"budgets=\[5\]: 5 is not between 10 \(the classes\) and 6000"),
        ({"budgets": ["some"]}, "'some' is not between"),
        ({"budgets": []}, "leaves nothing to compare"),
        ({"n_seeds": 0}, "n_seeds=0 leaves nothing to compare"),
        ({"y": [1, 2]}, "X has 6000 rows, but y has 2 labels"),
        ({"X_test": np.zeros((1000, 3))}, "they must have the same columns"),
        ({"y_test": np.full(1000, 77)}, "y_test holds 77, which is no class of y"),
    ],
)
def test_what_does_not_fit_is_refused_first(digits, change, message):
    X, y, X_test, y_test = digits
    arguments = {"X": X, "y": y, "X_test": X_test, "y_test": y_test, "budgets": [50]} | change
    with pytest.raises(ValueError, match=message):
        compare(StackedClassifier(), **arguments)
