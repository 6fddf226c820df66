"""Displays of what was trained: filters, mean activations, loss curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from matplotlib.axes import Axes
from sklearn.base import BaseEstimator

from layerwise import plotting
from layerwise.displays._base import Display
from layerwise.displays.computing import autoencoder_of, layers_up_to, project_weights


class FiltersDisplay(Display):
    """The weights of each unit of a layer, as tiles.

    Parameters
    ----------
    weights : ndarray of shape (n_units, n_features)
    image_shape : tuple of (height, width) or (height, width, 3), default=None
        None takes a square.
    max_tiles : int, default=400
        Units drawn at most, from the first.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure

    Examples
    --------
    >>> from layerwise import Autoencoder, LBFGS
    >>> from layerwise.data import load_mnist_small
    >>> from layerwise.displays import FiltersDisplay
    >>> X = load_mnist_small().X_train[:100]
    >>> autoencoder = Autoencoder(4, solver=LBFGS(max_iter=2), random_state=0).fit(X)
    >>> FiltersDisplay.from_estimator(autoencoder).weights.shape
    (4, 784)
    """

    def __init__(self, weights: np.ndarray, image_shape: tuple[int, ...] | None = None, *, max_tiles: int = 400):
        self.weights = weights
        self.image_shape = image_shape
        self.max_tiles = max_tiles

    @classmethod
    def from_estimator(
        cls,
        estimator: BaseEstimator,
        *,
        layer: int = 0,
        image_shape: tuple[int, ...] | None = None,
        max_tiles: int = 400,
        ax: Axes | None = None,
    ) -> Self:
        """Draw the filters of a layer, as pre-training left it.

        Parameters
        ----------
        estimator : fitted estimator of layerwise
        layer : int, default=0
            Counted from the input. Above the first the product of the weights from the input up is drawn.
        image_shape : tuple of (height, width) or (height, width, 3), default=None
            None takes a square.
        max_tiles : int, default=400
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        display : FiltersDisplay

        Raises
        ------
        ValueError
            If there is no such layer, or the features do not fill the image.
        """
        layers = layers_up_to(estimator, layer)
        return cls(project_weights(layers), image_shape, max_tiles=max_tiles).plot(ax)

    def _draw(self, ax: Axes | None) -> Axes:
        return plotting.plot_filters(self.weights, self.image_shape, max_tiles=self.max_tiles, ax=ax)


class ActivationsDisplay(Display):
    """How many units of a layer have which mean activation.

    Parameters
    ----------
    mean_activations : ndarray of shape (n_units,)
    target : float, default=None
        What sparsity asks for.
    dead_units : array-like of int, default=None

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure

    Examples
    --------
    >>> from layerwise import Autoencoder, KLSparsity, LBFGS
    >>> from layerwise.data import load_mnist_small
    >>> from layerwise.displays import ActivationsDisplay
    >>> sparse = Autoencoder(4, sparsity=KLSparsity(0.2), solver=LBFGS(max_iter=2), random_state=0)
    >>> ActivationsDisplay.from_estimator(sparse.fit(load_mnist_small().X_train[:100])).target
    0.2
    """

    def __init__(self, mean_activations: np.ndarray, *, target: float | None = None, dead_units: Any = None):
        self.mean_activations = mean_activations
        self.target = target
        self.dead_units = dead_units

    @classmethod
    def from_estimator(cls, estimator: BaseEstimator, *, layer: int = 0, ax: Axes | None = None) -> Self:
        """Draw the mean activations of a layer over its training rows.

        Parameters
        ----------
        estimator : fitted estimator of layerwise
        layer : int, default=0
            Counted from the input.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        display : ActivationsDisplay

        Raises
        ------
        ValueError
            If there is no such layer.
        """
        autoencoder = layers_up_to(estimator, layer)[-1]
        target = getattr(autoencoder.sparsity, "target", None)
        dead = getattr(autoencoder, "dead_units_", None)
        return cls(autoencoder.mean_activations_, target=target, dead_units=dead).plot(ax)

    def _draw(self, ax: Axes | None) -> Axes:
        return plotting.plot_activations(self.mean_activations, target=self.target, dead=self.dead_units, ax=ax)


class LossCurveDisplay(Display):
    """The objective after every iteration, one curve a stage.

    Parameters
    ----------
    curves : mapping of str to sequence of float

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure

    Examples
    --------
    >>> from layerwise import Autoencoder, LBFGS
    >>> from layerwise.data import load_mnist_small
    >>> from layerwise.displays import LossCurveDisplay
    >>> autoencoder = Autoencoder(4, solver=LBFGS(max_iter=2), random_state=0).fit(load_mnist_small().X_train[:100])
    >>> list(LossCurveDisplay.from_estimator(autoencoder).curves)
    ['layer 0']
    """

    def __init__(self, curves: Mapping[str, Sequence[float]]):
        self.curves = curves

    @classmethod
    def from_estimator(cls, estimator: BaseEstimator, *, ax: Axes | None = None) -> Self:
        """Draw the curves of all stages of a fit.

        Parameters
        ----------
        estimator : fitted estimator of layerwise
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        display : LossCurveDisplay
        """
        record = getattr(estimator, "history_", None) or autoencoder_of(estimator).history_
        return cls({stage["stage"]: stage["loss_curve"] for stage in record}).plot(ax)

    def _draw(self, ax: Axes | None) -> Axes:
        return plotting.plot_loss(self.curves, ax=ax)
