"""Pictures, looked at by their pixels."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from layerwise.plotting import (
    plot_activations,
    plot_codes,
    plot_comparison,
    plot_confusion,
    plot_explained_variance,
    plot_feature_errors,
    plot_filters,
    plot_loss,
    plot_predictions,
    plot_reconstructions,
    plot_scores,
    plot_weights,
)


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


def test_filters_stand_in_so_many_columns():
    assert canvas(plot_filters(np.ones((6, 4)), columns=6)).shape == (2, 17)
    assert canvas(plot_filters(np.ones((6, 4)), columns=2)).shape == (8, 5)


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
    for curves in ({"a": [3.0, 2.0]}, {"a": [1.0]}):
        assert all(tick == round(tick) for tick in plot_loss(curves).get_xticks())
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


def test_corrupted_inputs_stand_between():
    inputs, corrupted, reconstructions = np.ones((2, 4)), np.zeros((2, 4)), np.full((2, 4), 0.5)
    picture = canvas(plot_reconstructions(inputs, reconstructions, corrupted=corrupted))
    np.testing.assert_allclose(picture[:2, :2], 1)
    np.testing.assert_allclose(picture[3:5, :2], 0)
    np.testing.assert_allclose(picture[6:8, :2], 0.5)
    with pytest.raises(ValueError, match="but corrupted"):
        plot_reconstructions(inputs, reconstructions, corrupted=np.zeros((3, 4)))


def bar_heights(ax):
    return [[bar.get_height() for bar in container] for container in ax.containers]


def test_activations_are_counted_once_by_kind():
    ax = plot_activations([0.1, 0.2, 0.2, 0.9, 0.0], target=0.15, dead=[4, 3], saturated=[3])
    assert [sum(heights) for heights in bar_heights(ax)] == [3, 2]  # a dead unit is no saturated one
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["units", "dead units", "target 0.15"]
    assert ax.lines[0].get_xdata() == [0.15, 0.15]


def test_activations_that_are_all_the_same():
    assert sum(bar_heights(plot_activations([0.5, 0.5]))[0]) == 2
    assert sum(bar_heights(plot_activations(np.zeros(3)))[0]) == 3
    with pytest.raises(ValueError, match=r"mean_activations has shape \(0,\)"):
        plot_activations([])


def test_weights_and_errors_are_the_largest_ones_from_the_top():
    ax = plot_weights([0.1, -3, 2, 0], ["a", "b", "c", "d"], max_bars=2)
    assert [bar.get_width() for bar in ax.patches] == [-3, 2]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["b", "c"]
    assert ax.yaxis_inverted()
    ax = plot_feature_errors([[1, 5, np.nan], [3, 7, 4]])
    assert [bar.get_width() for bar in ax.patches] == [6, 4, 2]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["feature 1", "feature 2", "feature 0"]
    with pytest.raises(ValueError, match="feature_names has 1 entries, but there are 2 features"):
        plot_weights([1, 2], ["a"])


def test_explained_variance():
    ax = plot_explained_variance(["layer 0", "whole"], [0.9, -0.5], [0.95, float("nan")])
    np.testing.assert_allclose(bar_heights(ax), [[0.9, -0.5], [0.95, np.nan]])
    assert ax.get_ylim()[0] < -0.6
    assert plot_explained_variance(["layer 0"], [0.9]).get_legend() is None


def test_labels_of_negative_bars_stay_above_the_axis():
    ax = plot_explained_variance(["layer 0"], [-0.01], [0.9])
    ax.figure.canvas.draw()
    assert all(ax.bbox.ymin < text.get_window_extent().ymin for text in ax.texts)


def test_codes_by_label():
    points = np.random.default_rng(0).normal(size=(30, 2))
    labels = np.array(["b", "a", None] * 10, dtype=object)
    ax = plot_codes(points, labels)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a", "b", "no label"]
    assert sorted(len(dots.get_offsets()) for dots in ax.collections) == [10, 10, 10]
    ax = plot_codes(points, np.arange(30.0))
    assert ax.get_legend() is None
    assert len(ax.figure.axes) == 2  # with a scale
    ax = plot_codes(points, [f"kind {index}" for index in [*range(25), 0, 1, 2, 3, 4]])
    assert len(ax.get_legend().get_texts()) == 21
    assert ax.get_legend().get_texts()[0].get_text() == "other"
    assert plot_codes(points).get_legend() is None
    with pytest.raises(ValueError, match="30 points, but 2 labels"):
        plot_codes(points, [1, 2])
    with pytest.raises(ValueError, match=r"\(30, 3\), but \(n_rows, 2\)"):
        plot_codes(np.zeros((30, 3)))


def test_confusion():
    ax = plot_confusion(["a", "b", "b"], ["a", "a", "b"], ["b", "a"])
    assert [text.get_text() for text in ax.texts] == ["1", "1", "0", "1"]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["b", "a"]


def test_scores_on_either_side_of_the_threshold():
    ax = plot_scores([0.1, 0.2, 5.0], threshold=1.0)
    assert [sum(heights) for heights in bar_heights(ax)] == [2, 1]
    assert ax.get_xscale() == "log"
    assert plot_scores([0.0, 1.0]).get_xscale() == "linear"
    assert sum(map(sum, bar_heights(plot_scores([2.0, 2.0])))) == 2


def test_predictions():
    offsets = plot_predictions([1, 2], [3, 4]).collections[0].get_offsets()
    np.testing.assert_allclose(offsets, [[1, 3], [2, 4]])


HOSTILE = ["$\\frac{", "_hidden", "<b>", "日本", "a\nb\x01", "x" * 100]


@pytest.mark.filterwarnings("ignore:Glyph")
def test_names_from_data_mean_nothing():
    points = np.zeros((len(HOSTILE), 2))
    pictures = [
        plot_codes(points, HOSTILE),
        plot_confusion(HOSTILE, HOSTILE),
        plot_weights(np.arange(6.0), HOSTILE),
        plot_feature_errors(np.arange(6.0), HOSTILE),
        plot_explained_variance(HOSTILE, [0.5] * 6),
    ]
    for ax in pictures:
        ax.figure.canvas.draw()
    shown = {text.get_text() for text in pictures[0].get_legend().get_texts()}
    assert shown == {"$\\frac{", "_hidden", "<b>", "日本", "a b\ufffd", "x" * 27 + "…"}


def test_pictures_go_where_they_are_told():
    _, ax = plt.subplots()
    assert plot_activations([0.1], ax=ax) is ax
    assert plot_codes([[0, 0]], ax=ax) is ax
    assert plot_scores([1.0], ax=ax) is ax
    assert len(plt.get_fignums()) == 1
