"""The arrays that pictures are made of: weights seen from the input, maps of codes, corrupted and unscaled rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.utils import check_random_state

from layerwise.estimators import Autoencoder, StackedAutoencoder

# Fewer rows than this are no neighbourhoods for t-SNE.
_FEW = 100


def map_codes(codes: np.ndarray, *, random_state: Any = None) -> np.ndarray:
    """Lay codes out in a plane so that neighbours stay neighbours: t-SNE, or PCA of fewer than 100 rows.

    Parameters
    ----------
    codes : ndarray of shape (n_rows, n_hidden)
    random_state : int, RandomState instance or None, default=None

    Returns
    -------
    points : ndarray of shape (n_rows, 2)

    References
    ----------
    L. van der Maaten and G. Hinton, "Visualizing data using t-SNE", JMLR 9, 2008.

    Examples
    --------
    >>> import numpy as np
    >>> map_codes(np.eye(3), random_state=0).shape
    (3, 2)
    """
    codes = np.asarray(codes, dtype=np.float64)
    if min(codes.shape) <= 1 or np.ptp(codes, axis=0).max() == 0:
        return np.column_stack([codes[:, 0], np.zeros(len(codes))])
    n_different = len(np.unique(codes, axis=0))
    if n_different < _FEW or codes.shape[1] == 2:
        return PCA(2, random_state=random_state).fit_transform(codes)
    # Half of the usual iterations: the picture is the same to the eye.
    return TSNE(2, init="pca", max_iter=500, random_state=random_state).fit_transform(codes)


def project_weights(layers: Sequence[Autoencoder]) -> np.ndarray:
    """Return what the units of the last layer weigh in the input: the product of the encoder weights.

    Parameters
    ----------
    layers : sequence of Autoencoder
        Fitted, from the input up.

    Returns
    -------
    weights : ndarray of shape (n_hidden, n_features)
    """
    weights = layers[0].components_
    for layer in layers[1:]:
        weights = layer.components_ @ weights
    return weights


def corrupt(layer: Autoencoder, x: torch.Tensor, random_state: Any = None) -> torch.Tensor | None:
    """Return scaled rows of shape (n_rows, n_features) with the noise that a layer was trained with; None without."""
    if layer.corruption is None:
        return None
    seed = int(check_random_state(random_state).randint(2**31 - 1))
    return layer.corruption.corrupt(x, torch.Generator(x.device).manual_seed(seed))[0]


def autoencoder_of(estimator: BaseEstimator) -> Autoencoder | StackedAutoencoder:
    """Return the autoencoder or stack that an estimator is or is built on; refuse others."""
    autoencoder = getattr(estimator, "autoencoder_", estimator)
    if not isinstance(autoencoder, (Autoencoder, StackedAutoencoder)):
        raise TypeError(
            f"estimator={type(estimator).__name__}() is no fitted estimator of layerwise; fit it first, and take the "
            f"last step of a pipeline"
        )
    return autoencoder


def layers_up_to(estimator: BaseEstimator, layer: int) -> list[Autoencoder]:
    """Return the fitted autoencoders from the input up to a layer, which is counted from 0."""
    autoencoder = autoencoder_of(estimator)
    layers = getattr(autoencoder, "layers_", [autoencoder])
    if not 0 <= layer < len(layers):
        raise ValueError(f"layer={layer} is none of the {len(layers)} layers, which are counted from 0")
    return layers[: layer + 1]
