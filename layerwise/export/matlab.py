"""Weights of MATLAB's ``trainAutoencoder`` as a fitted estimator."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from layerwise.data.scaling import Scaling
from layerwise.estimators import Autoencoder
from layerwise.estimators._restoring import fitted_autoencoder
from layerwise.export._weights import as_floats

# MATLAB's transfer functions by our names.
_TRANSFER = {"logsig": "sigmoid", "purelin": "identity"}


def from_matlab_autoencoder(
    encoder_weights: ArrayLike,
    encoder_biases: ArrayLike,
    decoder_weights: ArrayLike,
    decoder_biases: ArrayLike,
    *,
    encoder_transfer: str = "logsig",
    decoder_transfer: str = "logsig",
    lowest: ArrayLike | None = None,
    highest: ArrayLike | None = None,
    **parameters: Any,
) -> Autoencoder:
    """Return a fitted autoencoder from the weights of an ``Autoencoder`` object of MATLAB.

    MATLAB has samples in columns; here they are rows. Save ``autoenc.EncoderWeights`` and its like to a MAT file and
    read them with `layerwise.data.load_mat`.

    Parameters
    ----------
    encoder_weights : array-like of shape (n_hidden, n_features)
        ``EncoderWeights``.
    encoder_biases : array-like of n_hidden values
        ``EncoderBiases``.
    decoder_weights : array-like of shape (n_features, n_hidden)
        ``DecoderWeights``.
    decoder_biases : array-like of n_features values
        ``DecoderBiases``.
    encoder_transfer, decoder_transfer : {"logsig", "purelin"}, default="logsig"
        ``EncoderTransferFunction`` and ``DecoderTransferFunction``; ``"satlin"`` has no counterpart here.
    lowest, highest : array-like of n_features values, default=None
        Smallest and largest value of every feature in MATLAB's training data, ``min(X, [], 2)`` and ``max(X, [], 2)``:
        unless ``ScaleData`` is false, MATLAB brings each to the range of the decoder (`mapminmax`), [0, 1] for logsig
        and [-1, 1] for purelin, and leaves constant ones alone. None is without scaling.
    **parameters : dict
        Further parameters of `Autoencoder`, such as ``dtype="float64"``.

    Returns
    -------
    autoencoder : Autoencoder
        Fitted.

    Raises
    ------
    ValueError
        If shapes do not fit, numbers are not finite, or a transfer function is not known.

    Examples
    --------
    >>> import numpy as np
    >>> W = np.random.default_rng(0).normal(size=(2, 6))
    >>> autoencoder = from_matlab_autoencoder(W, np.zeros((2, 1)), W.T, np.zeros((6, 1)))
    >>> autoencoder.transform(np.zeros((1, 6)))
    array([[0.5, 0.5]])
    """
    weight = as_floats(encoder_weights, "encoder_weights")
    if weight.ndim != 2 or not weight.size:
        raise ValueError(f"encoder_weights has shape {weight.shape}, but (n_hidden, n_features) is expected")
    n_hidden, n_features = weight.shape
    back = as_floats(decoder_weights, "decoder_weights")
    if back.shape != (n_features, n_hidden):
        raise ValueError(f"decoder_weights has shape {back.shape}, but encoder_weights demands {weight.T.shape}")
    weights = {
        "encoder_weight": weight,
        "encoder_bias": _vector(encoder_biases, n_hidden, "encoder_biases"),
        "decoder_weight": back,
        "decoder_bias": _vector(decoder_biases, n_features, "decoder_biases"),
    }
    if (lowest is None) != (highest is None):
        raise ValueError("lowest and highest belong together: give both, or none if ScaleData was false")
    scaling = None
    if lowest is not None:
        low, high = _vector(lowest, n_features, "lowest"), _vector(highest, n_features, "highest")
        if (low > high).any():
            column = int((low > high).argmax())
            raise ValueError(f"lowest[{column}]={low[column]:g} is above highest[{column}]={high[column]:g}")
        center, unit = (low, high - low) if decoder_transfer == "logsig" else ((low + high) / 2, (high - low) / 2)
        constant = low == high
        scaling = Scaling(np.where(constant, 0, center), np.where(constant, 1, unit))  # type: ignore[arg-type]
    autoencoder = Autoencoder(
        n_hidden,
        activation=_activation(encoder_transfer, "encoder_transfer"),
        output_activation=_activation(decoder_transfer, "decoder_transfer"),
        scale=None if scaling is None else "minmax",
        **parameters,
    )
    return fitted_autoencoder(autoencoder, weights, scaling)


def _activation(transfer: str, name: str) -> str:
    if transfer not in _TRANSFER:
        why = ": no activation here is cut off at 1" if transfer == "satlin" else ""
        raise ValueError(f"{name}={transfer!r} is not known{why}; known are {', '.join(_TRANSFER)}")
    return _TRANSFER[transfer]


def _vector(values: Any, size: int, name: str) -> np.ndarray:
    vector = as_floats(values, name)
    if vector.size != size or vector.size != max(vector.shape, default=0):
        raise ValueError(f"{name} has shape {vector.shape}, but a vector of {size} values is expected")
    return vector.ravel()
