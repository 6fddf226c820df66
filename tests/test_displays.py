"""Displays: the arrays they take from an estimator, and where they draw."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from layerwise import (
    LBFGS,
    Adam,
    Autoencoder,
    AutoencoderImputer,
    AutoencoderOutlierDetector,
    KLSparsity,
    Masking,
    StackedAutoencoder,
    StackedClassifier,
)
from layerwise.displays import (
    ActivationsDisplay,
    CodesDisplay,
    FiltersDisplay,
    LossCurveDisplay,
    ReconstructionsDisplay,
)
from layerwise.displays.computing import map_codes

SHORT = LBFGS(max_iter=5)


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def data():
    X, y = load_digits(return_X_y=True)
    return (X[:200] / 16), y[:200]


@pytest.fixture(scope="module")
def classifier(data):
    layers = [Autoencoder(9, sparsity=KLSparsity(0.2), solver=SHORT), Autoencoder(5, solver=SHORT)]
    return StackedClassifier(StackedAutoencoder(layers), solver=SHORT, random_state=0).fit(*data)


def test_filters(classifier):
    layers = classifier.autoencoder_.layers_
    display = FiltersDisplay.from_estimator(classifier)
    np.testing.assert_array_equal(display.weights, layers[0].components_)
    assert display.ax_.figure is display.figure_
    upper = FiltersDisplay.from_estimator(classifier, layer=1, image_shape=(8, 8), max_tiles=4)
    np.testing.assert_allclose(upper.weights, layers[1].components_ @ layers[0].components_, rtol=1e-6)
    assert upper.ax_.images[0].get_array().shape == (17, 17)
    with pytest.raises(ValueError, match="layer=2 is none of the 2 layers"):
        FiltersDisplay.from_estimator(classifier, layer=2)


def test_reconstructions(classifier, data):
    X, _ = data
    display = ReconstructionsDisplay.from_estimator(classifier, X, n_images=3)
    stack = classifier.autoencoder_
    np.testing.assert_allclose(display.reconstructions, stack.inverse_transform(stack.transform(X[:3])), atol=1e-6)
    assert display.corrupted is None


def test_corrupted_inputs_are_shown_and_reconstructed(data):
    X, _ = data
    denoising = Autoencoder(9, corruption=Masking(0.5), solver=SHORT, random_state=0).fit(X)
    first, again = (ReconstructionsDisplay.from_estimator(denoising, X, random_state=0) for _ in range(2))
    np.testing.assert_array_equal(first.corrupted, again.corrupted)
    hit = first.corrupted != first.inputs
    assert 0.1 < hit.mean() < 0.5
    assert (first.corrupted[hit] == 0).all()
    np.testing.assert_allclose(
        first.reconstructions, denoising.inverse_transform(denoising.transform(first.corrupted)), atol=1e-5
    )


def test_losses_and_activations(classifier):
    losses = LossCurveDisplay.from_estimator(classifier)
    assert list(losses.curves) == ["layer 0", "layer 1", "head", "finetune"]
    assert len(losses.ax_.lines) == 4
    activations = ActivationsDisplay.from_estimator(classifier)
    assert activations.target == 0.2
    assert len(activations.mean_activations) == 9
    assert ActivationsDisplay.from_estimator(classifier, layer=1).target is None


def test_codes(classifier, data):
    X, y = data
    display = CodesDisplay.from_estimator(classifier, X, y, max_rows=50, random_state=0)
    assert display.points.shape == (50, 2)
    assert set(display.labels) <= set(y)
    again = CodesDisplay.from_estimator(classifier, X, y, max_rows=50, random_state=0)
    np.testing.assert_array_equal(display.points, again.points)


def test_codes_of_what_has_an_autoencoder(data):
    X, _ = data
    small = Autoencoder(4, output_activation="identity", corruption=Masking(0.1), solver=Adam(max_iter=2))
    for estimator in (AutoencoderOutlierDetector(small, random_state=0), AutoencoderImputer(small, random_state=0)):
        assert CodesDisplay.from_estimator(estimator.fit(X), X[:30], random_state=0).points.shape == (30, 2)


@pytest.mark.parametrize(
    "codes", [np.zeros((5, 3)), np.ones((1, 4)), np.arange(6.0)[:, None], np.repeat(np.eye(3), 100, axis=0)]
)
def test_maps_of_codes_that_hardly_differ(codes):
    points = map_codes(codes, random_state=0)
    assert points.shape == (len(codes), 2)
    assert np.isfinite(points).all()


def test_maps_keep_groups_apart():
    rng = np.random.default_rng(0)
    groups = np.repeat([0, 1], 75)
    points = map_codes(rng.normal(size=(150, 10)) + 20 * groups[:, None], random_state=0)
    centres = [points[groups == group].mean(axis=0) for group in (0, 1)]
    spread = points[groups == 0].std()
    assert np.linalg.norm(centres[0] - centres[1]) > 2 * spread


def test_draws_again_where_it_is_told(classifier):
    display = FiltersDisplay.from_estimator(classifier)
    _, ax = plt.subplots()
    assert display.plot(ax) is display
    assert display.ax_ is ax


def test_refuses_other_estimators(data):
    with pytest.raises(TypeError, match=r"estimator=LogisticRegression\(\) is no fitted estimator of layerwise"):
        LossCurveDisplay.from_estimator(LogisticRegression())
