"""Fitted estimators made of weights that were trained elsewhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from layerwise.data.scaling import Scaling
from layerwise.estimators import Autoencoder
from layerwise.estimators._checks import DTYPES, check_device


def fitted_autoencoder(
    autoencoder: Autoencoder,
    weights: dict[str, np.ndarray],
    scaling: Scaling | None = None,
) -> Autoencoder:
    """Give an autoencoder weights, as if it had been fitted.

    Parameters
    ----------
    autoencoder : Autoencoder
        Not fitted.
    weights : dict of ndarray
        ``encoder_weight`` of shape (n_hidden, n_features), ``encoder_bias``, ``decoder_bias`` and, unless it is tied,
        ``decoder_weight`` of shape (n_features, n_hidden).
    scaling : Scaling or None, default=None

    Returns
    -------
    autoencoder : Autoencoder
        The same, with an empty ``history_``: nothing is known of its training.
    """
    autoencoder._check_parameters()
    device = check_device(autoencoder.device)
    n_features = weights["encoder_weight"].shape[1]
    with torch.device("meta"):  # no initial weights are drawn
        layer = autoencoder._build(n_features)
    dtype = DTYPES[autoencoder.dtype]
    # Row by row in memory, whatever they were: products then give the same bits as after saving and loading.
    state = {name: torch.tensor(np.ascontiguousarray(value), dtype=dtype) for name, value in weights.items()}
    layer.load_state_dict(state, assign=True)
    autoencoder.layer_ = layer.to(device)
    autoencoder.scaling_ = None if scaling is None else scaling.to(device)
    autoencoder.intensities_ = False
    autoencoder.n_features_in_ = n_features
    autoencoder.history_ = []
    return autoencoder


def as_floats(values: Any, name: str) -> np.ndarray:
    """Return an array as float64, if it holds finite real numbers."""
    try:
        if np.iscomplexobj(values):
            raise TypeError("they are complex")
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} does not hold real numbers: {error}") from error
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds values that are not finite")
    return array


def check_width(**widths: int) -> None:
    """Refuse a width that is no whole number above 0."""
    for name, width in widths.items():
        if isinstance(width, bool) or not isinstance(width, (int, np.integer)) or width < 1:
            raise ValueError(f"{name}={width!r} must be a whole number, at least 1")
