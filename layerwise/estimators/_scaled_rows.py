"""Rows scaled as in training, and refused where a trained model could not take them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from sklearn.utils.validation import _num_features

from layerwise.data.rows import Rows
from layerwise.estimators._checks import check_reach, check_rows, check_size
from layerwise.estimators._intake import as_rows
from layerwise.estimators._parts import ComposedEstimator

if TYPE_CHECKING:
    from typing import Any

    from layerwise.estimators._coding import CodingEstimator
    from layerwise.estimators.autoencoder import Autoencoder


def check_like_training(
    estimator: ComposedEstimator,
    autoencoder: CodingEstimator,
    first: Autoencoder,
    X: Any,
    name: str = "X",
    *,
    allow_missing: bool = False,
) -> Rows:
    """Return further rows for an estimator, scaled like those that its autoencoder's first layer was trained with."""
    X = as_rows(X, name)
    if name != "X" and np.ndim(X) == 2 and _num_features(X) != estimator.n_features_in_:
        raise ValueError(f"{name} has {_num_features(X)} features, but X has {estimator.n_features_in_}")
    rows = check_rows(
        estimator,
        X,
        name,
        dtype=autoencoder.dtype,
        device=autoencoder.device,
        uint8_is_intensity=first._reads_intensities,
    )
    lowest, highest = rows.column_ranges(name, allow_missing=allow_missing)
    if first.intensities_ and not rows.is_uint8 and (lowest.min() < 0 or highest.max() > 1):
        raise ValueError(
            f"{name} holds values from {lowest.min():g} to {highest.max():g}, but the model was trained on uint8, "
            f"intensities that become 0 to 1; pass uint8, or divide by 255"
        )
    if name != "X":
        check_scaled(estimator, first, lowest, highest, name, known=True)
    if first.scaling_ is not None:
        lowest, highest = first.scaling_(torch.stack([lowest, highest]))
    check_size(lowest, highest, dtype=autoencoder.dtype, name=name)
    return rows.scaled(first.scaling_)


def check_scaled(
    estimator: ComposedEstimator,
    first: Autoencoder,
    lowest: torch.Tensor,
    highest: torch.Tensor,
    name: str,
    *,
    known: bool,
) -> None:
    """Refuse rows to train or validate with that cannot be reconstructed."""
    scaling = first.scaling_
    if scaling is not None:
        if known and first.loss == "squared_error":
            return  # a little beyond the rows that the scale was learnt from does no harm
        lowest, highest = scaling(torch.stack([lowest, highest]))
    check_reach(
        lowest,
        highest,
        output_activation=first.output_activation,
        scale=None if scaling is None else first.scale,
        name=name,
        names=getattr(estimator, "feature_names_in_", None),
    )
