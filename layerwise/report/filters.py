"""What the units look for: weights, their products through the layers, the inputs that excite them most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from markupsafe import Markup
from torch.nn.functional import linear

from layerwise.displays.computing import project_weights
from layerwise.estimators import Autoencoder
from layerwise.objective import with_gradients
from layerwise.plotting import plot_weights
from layerwise.plotting.tiles import count_columns, filter_tiles, join_tiles
from layerwise.report.figures import chart, picture, shrink, zoom_for
from layerwise.report.section import Section
from layerwise.report.subject import Subject

# Units shown of a layer, at most; of a table, with bars on the page itself.
MAX_UNITS, _MAX_BARS = 400, 6
# Pixels of all tiles together, grey or in colour: what keeps the page small.
_PIXELS, _COLOUR_PIXELS = 1_500_000, 500_000
_STEPS = 20


@dataclass(frozen=True)
class LayerFilters:
    """What the units of a layer look for.

    Attributes
    ----------
    index : int
    n_units : int
        Of the layer; the first ``len(weights)`` are shown.
    weights : ndarray of shape (n_shown, n_features)
        Of the first layer its weights, above it the directions that excite its units most.
    columns : int
        Tiles in a line of the picture.
    tile : tuple of (width, height) or None
        Of the picture; None for a table.
    figures : list of (caption, figure)
    """

    index: int
    n_units: int
    weights: np.ndarray
    columns: int
    tile: tuple[int, int] | None
    figures: list[tuple[str, Markup]]

    @property
    def image_name(self) -> str:
        """The id of the picture in the page."""
        return f"filters-{self.index}"


def show_filters(subject: Subject) -> list[LayerFilters]:
    """Return the filters of every layer.

    Parameters
    ----------
    subject : Subject

    Returns
    -------
    layers : list of LayerFilters
    """
    return [_show_layer(subject, index) for index in range(len(subject.layers))]


def filters_section(layers: Sequence[LayerFilters], *, images: bool) -> Section:
    """Return the section that shows the filters of every layer."""
    return Section("filters", "What the units look for", {"layers": layers, "images": images}, pretrained=True)


@with_gradients
def excite(layers: Sequence[Autoencoder], x: torch.Tensor, n_units: int) -> np.ndarray:
    """Find the input, of a bounded distance from the mean, that excites each unit of the last layer most.

    With the mean c and the mean distance r of rows from it, the input c + r u with |u| = 1 is sought that has the
    highest pre-activation. Each step goes to where the gradient points, which is exact where units are linear: a
    heuristic choice, which finds a maximum and not always the highest.

    Parameters
    ----------
    layers : sequence of Autoencoder
        Fitted, from the input up.
    x : Tensor of shape (n_rows, n_features)
        Scaled rows.
    n_units : int
        The first so many units.

    Returns
    -------
    directions : ndarray of shape (n_units, n_features)
        The vectors u.

    References
    ----------
    D. Erhan, Y. Bengio, A. Courville and P. Vincent, "Visualizing higher-layer features of a deep network", technical
    report 1341, University of Montreal, 2009.
    """
    centre = x.mean(dim=0)
    radius = (x - centre).norm(dim=1).mean()
    modules = [layer.layer_ for layer in layers]
    last = modules[-1]

    def climb(u: torch.Tensor) -> torch.Tensor:
        u.requires_grad_()
        h = centre + radius * u
        for module in modules[:-1]:
            h = module.encode(h)
        excitement = linear(h, last.encoder_weight[:n_units], last.encoder_bias[:n_units]).diagonal().sum()
        return torch.autograd.grad(excitement, u)[0]

    start = torch.as_tensor(project_weights(layers)[:n_units], dtype=x.dtype, device=x.device)
    u = torch.nn.functional.normalize(start, dim=1)
    for _ in range(_STEPS):
        u = torch.nn.functional.normalize(u.detach() + torch.nn.functional.normalize(climb(u), dim=1), dim=1)
    return u.numpy(force=True)


def _show_layer(subject: Subject, index: int) -> LayerFilters:
    layers = subject.layers[: index + 1]
    n_units = layers[-1].n_hidden
    if subject.image_shape is None:
        n_shown = min(n_units, MAX_UNITS)
        weights = _directions(layers, subject.x, n_shown)
        return LayerFilters(index, n_units, weights, 1, None, _draw_bars(subject, index, weights))
    tile = shrink(np.zeros((1, *subject.image_shape)))[0]
    n_pictures = 2 * len(subject.layers) - 1
    budget = (_PIXELS if tile.ndim == 2 else _COLOUR_PIXELS) // (n_pictures * tile.shape[0] * tile.shape[1])
    n_shown = max(1, min(n_units, MAX_UNITS, budget))
    weights = _directions(layers, subject.x, n_shown)
    tiles = shrink(filter_tiles(weights, subject.image_shape))
    columns = count_columns(tiles)
    what = f"{n_shown} of {n_units} units" if n_shown < n_units else f"{n_units} units"
    first = (
        "Weights of the units: grey is 0, white a large positive and black a large negative weight."
        if index == 0
        else "By excitement: the input that excites each unit most, as its difference from the mean row."
    )
    alt = f"Layer {index}: {what} as tiles, {'weights' if index == 0 else 'the inputs that excite them most'}."
    name = f"filters-{index}"
    zoom = zoom_for(tiles)
    figures = [(first, picture(join_tiles(tiles, columns, empty=np.nan), alt, zoom=zoom, name=name))]
    if index > 0:
        projected = shrink(filter_tiles(project_weights(layers)[:n_shown], subject.image_shape))
        alt = f"Layer {index}: {what} as tiles, the product of the weights from the input up."
        caption = "By projection: the product of the weights from the input up, as if all units were linear."
        figures.append((caption, picture(join_tiles(projected, columns, empty=np.nan), alt, zoom=zoom)))
    return LayerFilters(index, n_units, weights, columns, (tiles.shape[2], tiles.shape[1]), figures)


def _directions(layers: Sequence[Autoencoder], x: torch.Tensor, n_units: int) -> np.ndarray:
    return layers[0].components_[:n_units] if len(layers) == 1 else excite(layers, x, n_units)


def _draw_bars(subject: Subject, index: int, weights: np.ndarray) -> list[tuple[str, Markup]]:
    """Draw the largest weights of the units that vary most."""
    liveliest = subject.codes[index][:, : len(weights)].std(dim=0, correction=0).argsort(descending=True, stable=True)
    figures = []
    for unit in liveliest[:_MAX_BARS].tolist():
        largest = np.argsort(-np.abs(weights[unit]), kind="stable")[:3]
        words = ", ".join(f"{subject.features[k]} {weights[unit, k]:.2g}" for k in largest)
        alt = f"Layer {index}, unit {unit}: its largest weights are {words}."
        n_bars = min(12, weights.shape[1])
        draw = partial(_draw_weights, weights[unit], subject.features, index)
        figures.append((f"Unit {unit}", chart(draw, alt, width=300, height=40 + 15 * n_bars)))
    return figures


def _draw_weights(weights: np.ndarray, features: list[str], index: int, ax: Any) -> None:
    plot_weights(weights, features, ax=ax)
    if index > 0:
        ax.set_xlabel("direction of excitement")
