"""Displays of what the layers make of rows: reconstructions, a map of the codes."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import torch
from matplotlib.axes import Axes
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state

from layerwise import plotting
from layerwise.data.rows import Rows
from layerwise.displays._base import Display
from layerwise.displays.computing import autoencoder_of, corrupt, layers_up_to, map_codes


class ReconstructionsDisplay(Display):
    """Rows and their reconstructions, as images.

    Parameters
    ----------
    inputs, reconstructions : ndarray of shape (n_images, n_features)
    image_shape : tuple of (height, width) or (height, width, 3), default=None
        None takes a square.
    corrupted : ndarray of shape (n_images, n_features), default=None
        What the reconstructions were made from.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure

    Examples
    --------
    >>> from layerwise import Autoencoder, LBFGS, Masking
    >>> from layerwise.data import load_mnist_small
    >>> from layerwise.displays import ReconstructionsDisplay
    >>> X = load_mnist_small().X_train[:100]
    >>> autoencoder = Autoencoder(4, corruption=Masking(0.3), solver=LBFGS(max_iter=2), random_state=0).fit(X)
    >>> ReconstructionsDisplay.from_estimator(autoencoder, X, random_state=0).corrupted.shape
    (12, 784)
    """

    def __init__(
        self,
        inputs: np.ndarray,
        reconstructions: np.ndarray,
        image_shape: tuple[int, ...] | None = None,
        *,
        corrupted: np.ndarray | None = None,
    ):
        self.inputs = inputs
        self.reconstructions = reconstructions
        self.image_shape = image_shape
        self.corrupted = corrupted

    @classmethod
    def from_estimator(
        cls,
        estimator: BaseEstimator,
        X: Any,
        *,
        n_images: int = 12,
        image_shape: tuple[int, ...] | None = None,
        random_state: Any = None,
        ax: Axes | None = None,
    ) -> Self:
        """Draw the first rows and their reconstructions; from corrupted rows, if training corrupted them.

        Parameters
        ----------
        estimator : fitted estimator of layerwise
        X : array-like of shape (n_samples, n_features)
        n_images : int, default=12
        image_shape : tuple of (height, width) or (height, width, 3), default=None
            None takes a square.
        random_state : int, RandomState instance or None, default=None
            Draws the noise.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        display : ReconstructionsDisplay
        """
        coder = autoencoder_of(estimator).coder_
        inputs = np.asarray(X[:n_images])
        rows, corrupted = coder.rows(inputs), None
        noisy = corrupt(layers_up_to(estimator, 0)[0], rows.take(torch.arange(len(rows))), random_state)
        if noisy is not None:
            rows, corrupted = Rows(noisy, dtype=rows.dtype, device=rows.device), coder.unscale(noisy).numpy(force=True)
        reconstructions = coder.reconstruct(rows).numpy(force=True)
        return cls(inputs, reconstructions, image_shape, corrupted=corrupted).plot(ax)

    def _draw(self, ax: Axes | None) -> Axes:
        return plotting.plot_reconstructions(
            self.inputs, self.reconstructions, self.image_shape, corrupted=self.corrupted, ax=ax
        )


class CodesDisplay(Display):
    """A map of the codes of rows, coloured by label.

    Parameters
    ----------
    points : ndarray of shape (n_rows, 2)
    labels : array-like of shape (n_rows,), default=None

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure

    Examples
    --------
    >>> from layerwise import Autoencoder, LBFGS
    >>> from layerwise.data import load_mnist_small
    >>> from layerwise.displays import CodesDisplay
    >>> digits = load_mnist_small()
    >>> X, y = digits.X_test[:99], digits.y_test[:99]
    >>> autoencoder = Autoencoder(4, solver=LBFGS(max_iter=2), random_state=0).fit(X)
    >>> CodesDisplay.from_estimator(autoencoder, X, y, random_state=0).points.shape
    (99, 2)
    """

    def __init__(self, points: np.ndarray, labels: Any = None):
        self.points = points
        self.labels = labels

    @classmethod
    def from_estimator(
        cls,
        estimator: BaseEstimator,
        X: Any,
        y: Any = None,
        *,
        max_rows: int = 1000,
        random_state: Any = None,
        ax: Axes | None = None,
    ) -> Self:
        """Draw a map of the codes that ``estimator.transform`` gives.

        Parameters
        ----------
        estimator : fitted estimator of layerwise
            A detector or an imputer is taken for its autoencoder.
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,), default=None
            Labels to colour by.
        max_rows : int, default=1000
            Rows drawn at most, at random.
        random_state : int, RandomState instance or None, default=None
            Draws the rows, and is the seed of t-SNE.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        display : CodesDisplay
        """
        random = check_random_state(random_state)
        coder = estimator if hasattr(estimator, "network_") else autoencoder_of(estimator)
        X = np.asarray(X)
        chosen = np.sort(random.permutation(len(X))[:max_rows])
        points = map_codes(coder.transform(X[chosen]), random_state=random)
        return cls(points, None if y is None else np.asarray(y)[chosen]).plot(ax)

    def _draw(self, ax: Axes | None) -> Axes:
        return plotting.plot_codes(self.points, self.labels, ax=ax)
