"""The control: the same network with and without pre-training."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats

from layerwise import LBFGS, Autoencoder, StackedAutoencoder, StackedClassifier
from layerwise.comparison import Comparison, compare


def test_gains_are_a_paired_t_interval():
    rng = np.random.default_rng(0)
    pretrained, control = rng.random((2, 3, 6))
    gains = Comparison([10, 20, 30], pretrained, control).gains()
    for gain, a, b in zip(gains, pretrained, control, strict=True):
        interval = stats.ttest_rel(a, b).confidence_interval(0.95)
        assert_allclose(gain, [(a - b).mean(), interval.low, interval.high])


def test_verdicts():
    better, worse = np.array([[0.9, 0.91, 0.92]]), np.array([[0.5, 0.52, 0.51]])
    assert Comparison([5], better, worse).verdict(0) == "pre-training helps"
    assert Comparison([5], worse, better).verdict(0) == "pre-training hurts"
    assert Comparison([5], better, better).verdict(0) == "no clear difference"
    one = Comparison([5], better[:, :1], worse[:, :1])
    assert one.verdict(0) == "no clear difference"
    assert one.as_dict()["gain"][0][1:] == [None, None]


def test_compare(digits):
    X, y = digits.X_train[::4], digits.y_train[::4]
    classifier = StackedClassifier(StackedAutoencoder([Autoencoder(20, solver=LBFGS(30)), 10]), solver=LBFGS(15))
    lines = []
    comparison = compare(
        classifier, X, y, digits.X_test, digits.y_test, budgets=[50, 1500], n_seeds=2, announce=lines.append
    )
    assert comparison.pretrained.shape == comparison.control.shape == (2, 2)
    assert len(lines) == 4
    assert np.all((comparison.pretrained > 0.1) & (comparison.pretrained < 1))
    assert not np.array_equal(comparison.pretrained, comparison.control)
    assert not hasattr(classifier, "network_")


def test_budgets_that_do_not_fit(digits):
    with pytest.raises(ValueError, match=r"budgets=\[5\]: 5 is not between 10 \(the classes\) and 6000"):
        compare(StackedClassifier(), *digits, budgets=[5])
