"""The control: the same network with and without pre-training."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats
from sklearn.base import clone
from sklearn.datasets import load_wine
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.tree import DecisionTreeClassifier

from layerwise import LBFGS, Autoencoder, StackedAutoencoder, StackedClassifier
from layerwise.comparison import PRETRAINING, RIVALS, Comparison, _draw, compare, recipe


def test_gains_are_a_paired_t_interval():
    rng = np.random.default_rng(0)
    accuracies = rng.random((3, 2, 4, 6))
    rows = Comparison([10, 20, 30, 40], ["none", "a", "b"], ["head", "SVC"], accuracies).rows()
    assert [row["method"] for row in rows[:6]] == ["head", "head", "SVC", "SVC", "best", "best"]
    assert [row["start"] for row in rows] == ["a", "b"] * 12
    for row in rows:
        if row["method"] == "best":
            continue
        method, budget = ["head", "SVC"].index(row["method"]), row["budget"] // 10 - 1
        a, b = accuracies[[0, "ab".index(row["start"]) + 1], method, budget][::-1]
        interval = stats.ttest_rel(a, b).confidence_interval(0.95)
        assert_allclose(row["gain"], [(a - b).mean(), interval.low, interval.high])
        assert row["accuracy"] == pytest.approx(a.mean())
        assert row["control"] == pytest.approx(b.mean())


def test_best_takes_the_best_method_of_each():
    control, pretrained = [[[0.1, 0.1]], [[0.6, 0.7]]], [[[0.9, 0.8]], [[0.5, 0.5]]]
    best = Comparison([10], ["none", "a"], ["head", "all"], np.array([control, pretrained])).rows()[-1]
    assert best["accuracy"] == pytest.approx(0.85)
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
        comparison = Comparison([5], ["none", "a"], ["all"], np.array([b, a]))
        assert comparison.rows()[0]["verdict"] == verdict
    assert comparison.as_dict()["rows"][0]["gain"][1:] == [None, None]


def test_compare(digits):
    X, y = digits.X_train[::4], digits.y_train[::4]
    sigmoid = StackedAutoencoder([Autoencoder(20, solver=LBFGS(30)), 10])
    linear = StackedAutoencoder([Autoencoder(20, tied=True, solver=LBFGS(30)), 10])
    classifiers = {name: StackedClassifier(stack, solver=LBFGS(15)) for name, stack in (("a", sigmoid), ("b", linear))}
    lines = []
    comparison = compare(
        classifiers,
        X,
        y,
        digits.X_test,
        digits.y_test,
        budgets=[50, 1500],
        rivals={"tree": DecisionTreeClassifier(random_state=0)},
        n_seeds=2,
        announce=lines.append,
    )
    assert comparison.starts == ["none", "a", "b"]
    assert comparison.methods == ["head", "all", "tree"]
    assert comparison.accuracies.shape == (3, 3, 2, 2)
    assert len(lines) == 3 * 2 * 2
    assert np.all((comparison.accuracies > 0.1) & (comparison.accuracies < 1))
    assert len(np.unique(comparison.accuracies)) > 30
    assert not hasattr(classifiers["a"], "network_")


def test_rivals_see_rows_and_codes(digits):
    """A rival is what scikit-learn would give on scaled rows, and on codes."""
    X, y = digits.X_train[::20], digits.y_train[::20]
    stack = StackedAutoencoder([Autoencoder(6, solver=LBFGS(5, progressive=False))])
    comparison = compare(
        StackedClassifier(stack),
        X,
        y,
        digits.X_test,
        digits.y_test,
        budgets=["all"],
        depths=(),
        rivals=RIVALS,
        n_seeds=1,
    )
    stack.set_params(random_state=0)
    for method, rival in enumerate(RIVALS.values()):
        for start, transformer in enumerate((MinMaxScaler(), make_pipeline(stack, MinMaxScaler()))):
            transformer.fit(X)
            seen, unseen = (transformer.transform(rows).astype(np.float32) for rows in (X, digits.X_test))
            expected = clone(rival).fit(seen, y).score(unseen, digits.y_test)
            assert comparison.accuracies[start, method, 0, 0] == expected


def test_a_gain_that_no_seed_changes_is_not_clear():
    """Of 35 test rows one is 3 points: where all seeds win the same row, that is no interval."""
    control = np.array([28, 30, 33]) / 35
    comparison = Comparison([10], ["none", "a"], ["all"], np.array([control, control + 1 / 35])[:, None, None])
    assert comparison.rows()[0]["verdict"] == "no clear difference"
    clear = Comparison([10], ["none", "a"], ["all"], np.array([control, control + [0.1, 0.11, 0.1]])[:, None, None])
    assert clear.rows()[0]["verdict"] == "pre-training helps"


def test_a_rival_on_all_rows_is_trained_once(digits):
    """No seed changes it, and on all of MNIST an SVC takes minutes."""
    fits = []

    class Counting(LogisticRegression):
        def fit(self, X, y):
            fits.append(X.shape)
            return super().fit(X, y)

    stack = StackedAutoencoder([Autoencoder(6, solver=LBFGS(2, progressive=False))])
    data = digits.X_train[::20], digits.y_train[::20], digits.X_test, digits.y_test
    rivals = {"counting": Counting(max_iter=20)}
    comparison = compare(StackedClassifier(stack), *data, budgets=[20, "all"], depths=(), rivals=rivals, n_seeds=3)
    n = len(data[0])
    assert sorted(fits) == sorted([(20, 784)] * 3 + [(n, 784)] + [(20, 6), (n, 6)] * 3)
    assert np.ptp(comparison.accuracies[0, 0, 1]) == 0


@pytest.mark.parametrize("pretraining", PRETRAINING)
def test_recipes_differ_in_pretraining_alone(digits, pretraining):
    classifier = recipe(pretraining, [12, 8], LBFGS(3), 60_000, 784)
    layers = classifier.autoencoder.recipes()
    assert [layer.n_hidden for layer in layers] == [12, 8]
    assert {layer.activation for layer in layers} == {"sigmoid"}
    for layer in layers:
        layer.set_params(solver=LBFGS(2))
    comparison = compare(classifier, *digits[:2], *digits[2:], budgets=[10], depths=["head"], n_seeds=1)
    assert comparison.accuracies.shape == (2, 1, 1, 1)


def test_penalties_go_with_the_number_of_columns():
    """Nothing is lost in a table of a dozen columns: its codes tell its rows apart."""
    X, y = load_wine(return_X_y=True)
    for pretraining in PRETRAINING:
        stack = recipe(pretraining, [30, 30], LBFGS(3), *X.shape).autoencoder.set_params(random_state=0)
        codes = MinMaxScaler().fit_transform(stack.fit_transform(X[::2]))
        assert LogisticRegression(max_iter=1000).fit(codes, y[::2]).score(codes, y[::2]) > 0.9, pretraining


def test_the_picture_has_a_panel_a_method_and_a_line_a_start():
    accuracies = np.random.default_rng(0).random((3, 2, 4, 2))
    figure = Comparison([10, 20, 30, 40], ["none", "a", "b"], ["head", "SVC"], accuracies).plot()
    assert [ax.get_title() for ax in figure.axes] == ["head", "SVC"]
    assert [len(ax.lines) for ax in figure.axes] == [3, 3]


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


def test_weights_of_rows():
    """Those of 0 are as if absent, and equal ones change nothing, in training and in the accuracy."""
    X, y = load_wine(return_X_y=True)
    weights = np.random.default_rng(0).integers(0, 2, len(y))
    keep = weights > 0
    recipe = StackedClassifier(StackedAutoencoder([Autoencoder(4, solver=LBFGS(5))]), solver=LBFGS(5))
    settings = {"budgets": [20, "all"], "rivals": RIVALS, "n_seeds": 2}
    found = compare(recipe, X, y, X, y, sample_weight=weights, sample_weight_test=weights, **settings)
    expected = compare(recipe, X[keep], y[keep], X[keep], y[keep], **settings)
    assert_allclose(found.accuracies, expected.accuracies)
    odd = np.where(y == 0, 5.0, 1.0)  # of which the test knows nothing
    other = compare(recipe, X, y, X[y > 0], y[y > 0], sample_weight=odd, budgets=[60], n_seeds=1)
    assert (other.accuracies < compare(recipe, X, y, X[y > 0], y[y > 0], budgets=[60], n_seeds=1).accuracies).any()
    with pytest.raises(ValueError, match="Negative values in data"):
        compare(recipe, X, y, X, y, sample_weight=weights - 1, **settings)
    with pytest.raises(ValueError, match="the rival 'neighbours' takes none"):
        compare(recipe, X, y, X, y, sample_weight=weights, budgets=[20], rivals={"neighbours": KNeighborsClassifier()})


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
        ({"classifiers": {}}, r"classifiers=\[\] must name one recipe at least"),
        ({"classifiers": {"none": StackedClassifier()}}, "and none 'none': that is the control"),
        ({"y": [1, 2]}, "X has 6000 rows, but y has 2 labels"),
        ({"X_test": np.zeros((1000, 3))}, "they must have the same columns"),
        ({"y_test": np.full(1000, 77)}, "y_test holds 77, which is no class of y"),
    ],
)
def test_what_does_not_fit_is_refused_first(digits, change, message):
    X, y, X_test, y_test = digits
    rows = {"X": X, "y": y, "X_test": X_test, "y_test": y_test}
    arguments = {"classifiers": StackedClassifier(), "budgets": [50]} | rows | change
    with pytest.raises(ValueError, match=message):
        compare(**arguments)
