"""Rows scaled as in training, and refused where a trained model could not take them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from sklearn.utils.validation import _num_features

from layerwise.data.rows import Rows
from layerwise.data.scaling import are_bytes_of_images
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
    )
    rows, lowest, highest = read_bytes(rows, *rows.column_ranges(name, allow_missing=allow_missing), first, known=True)
    # Floats that are 0 to 1 but for some noise are what is asked for.
    if first.intensities_ and not rows.is_uint8 and (lowest.min() < -1 or highest.max() > 2):
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


def read_bytes(
    rows: Rows, lowest: torch.Tensor, highest: torch.Tensor, first: Autoencoder, *, known: bool
) -> tuple[Rows, torch.Tensor, torch.Tensor]:
    """Return uint8 and its ranges as numbers, unless it stands for intensities: in training, or as in training."""
    if not rows.is_uint8 or (known and first.intensities_):
        return rows, lowest, highest
    if (
        known
    ):  # floats: of such as were not scaled, bytes up to 1 are the same numbers, and others are 255 times as much
        are_numbers = first.scaling_ is not None or bool((255 * highest.max()).round() <= 1)
    else:
        are_numbers = first.scale == "auto" and not are_bytes_of_images(highest.max())
    if not are_numbers:
        return rows, lowest, highest
    return rows.as_numbers(), (255 * lowest).round(), (255 * highest).round()


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
    scaling, slack = first.scaling_, 0.0
    if known:  # rows beyond those of the training are normal; far beyond are other units
        slack = 1.0 if first.loss == "squared_error" else 0.1
    if scaling is not None:
        if known and first.loss == "squared_error":
            return
        lowest, highest = scaling(torch.stack([lowest, highest]))
    check_reach(
        lowest,
        highest,
        output_activation=first.output_activation,
        slack=slack,
        scale=None if scaling is None else first.scale,
        name=name,
        names=getattr(estimator, "feature_names_in_", None),
    )
