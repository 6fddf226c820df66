"""Pictures, looked at by their pixels."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from layerwise.plotting import plot_comparison, plot_filters, plot_loss, plot_reconstructions


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


def canvas(ax):
    return np.asarray(ax.images[0].get_array())


def test_each_tile_is_scaled_by_itself():
    weights = np.array([[0, 1, -1, 0.5], [0, 1e-6, -1e-6, 5e-7], [0, 0, 0, 0]])
    picture = canvas(plot_filters(weights))
    np.testing.assert_allclose(picture[:2, :2], [[0.5, 1], [0, 0.75]])
    np.testing.assert_allclose(picture[:2, 3:], picture[:2, :2])
    np.testing.assert_allclose(picture[3:, :2], 0.5)
    np.testing.assert_allclose(picture[3:, 3:], 1)  # no fourth tile


@pytest.mark.parametrize("count", [1, 2, 7, 12])
def test_any_count_of_images_of_any_shape(count):
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(count, 15))
    picture = canvas(plot_filters(weights, (3, 5)))
    tiles = [
        picture[top : top + 3, left : left + 5]
        for top in range(0, picture.shape[0], 4)
        for left in range(0, picture.shape[1], 6)
    ]
    for tile, weight in zip(tiles, weights, strict=False):
        np.testing.assert_allclose(tile, 0.5 + 0.5 * weight.reshape(3, 5) / np.abs(weight).max())
    assert len(tiles) >= count


def test_colour():
    weights = np.random.default_rng(0).normal(size=(5, 12))
    picture = canvas(plot_filters(weights, (2, 2, 3)))
    assert picture.shape[2] == 3
    tile = picture[:2, :2]
    assert tile.min() == 0
    assert tile.max() == 1


def test_at_most_max_tiles():
    assert canvas(plot_filters(np.ones((50, 4)), max_tiles=4)).shape == (5, 5)


def test_reconstructions_share_one_scale():
    inputs = np.array([[0, 255, 51, 0], [255, 0, 0, 0]], dtype=np.uint8)
    picture = canvas(plot_reconstructions(inputs, inputs / 510))
    np.testing.assert_allclose(picture[:2, :2], [[0, 1], [0.2, 0]])
    np.testing.assert_allclose(picture[3:, :2], [[0, 0.5], [0.1, 0]])
    assert picture.shape == (5, 5)


def test_loss_curves():
    ax = plot_loss({"layer 0": [3.0, 2.0], "finetune": [1.0]})
    assert ax.get_yscale() == "log"
    assert [line.get_label() for line in ax.lines] == ["layer 0", "finetune"]
    assert plot_loss({"layer 0": [1.0, -1.0]}).get_yscale() == "linear"
    assert not plot_loss({}).lines


def test_draws_where_it_is_told():
    _, ax = plt.subplots()
    assert plot_filters(np.ones((2, 4)), ax=ax) is ax
    assert plot_loss({"a": [1.0]}, ax=ax) is ax


def test_shapes_that_do_not_fit():
    with pytest.raises(ValueError, match=r"image_shape=\(3, 3\) does not fit 10 features"):
        plot_filters(np.ones((2, 10)))
    with pytest.raises(ValueError, match=r"image_shape=\(4, 4\) does not fit 10 features"):
        plot_filters(np.ones((2, 10)), (4, 4))
    with pytest.raises(ValueError, match=r"image_shape=\(2, 2, 2\) does not fit 8 features"):
        plot_filters(np.ones((2, 8)), (2, 2, 2))
    with pytest.raises(ValueError, match="but reconstructions"):
        plot_reconstructions(np.ones((2, 4)), np.ones((3, 4)))
    with pytest.raises(ValueError, match="n_images >= 1"):
        plot_filters(np.ones((0, 4)))


def test_comparison_shows_means_and_intervals():
    series = {
        "with": np.array([[0.8, 0.7, 0.9], [0.9, 0.85, 0.95]]),
        "one seed": np.array([[0.5, -np.inf, np.inf]] * 2),
    }
    ax = plot_comparison([100, 60_000], series)
    np.testing.assert_allclose(ax.lines[0].get_ydata(), [0.8, 0.9])
    assert len(ax.collections) == 1
    assert [label.get_text() for label in ax.get_xticklabels()] == ["100", "60,000"]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["with", "one seed"]
