"""What a report is about: a fitted model, a sample of rows, and what the layers make of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from scipy import sparse
from sklearn.base import BaseEstimator, is_regressor
from sklearn.utils import check_random_state
from torch import Tensor

from layerwise.estimators import AutoencoderImputer
from layerwise.estimators._summary import find_dead_units
from layerwise.inspection import bare, layers_of, stack_of
from layerwise.labels import has_label
from layerwise.report.columns import list_columns

# Rows looked at, at most.
MAX_ROWS = 2000
# Of scaled values in float32: what is so much smaller than the spread of its column was 0.
_ROUNDING = 1e-6
# A unit is saturated if it is within this share of its range from the end of it, in at least so many of the rows.
_NEAR_END, _MOSTLY = 0.02, 0.95


class Subject:
    """A fitted model and a sample of rows.

    Parameters
    ----------
    model, X, y, image_shape, feature_names, row_names, random_state, feature_columns, trained_on, unfilled
        As `layerwise.report.write_report` takes them.

    Attributes
    ----------
    model, autoencoder : estimator of layerwise
        The model, and the autoencoder or stack that it is or is built on.
    layers : list of Autoencoder
    coder : Coder
        The trained layers, for rows of the model.
    rows : ndarray of shape (n_sampled, n_features)
        The sample as the model takes it.
    given : ndarray of shape (n_sampled, n_features)
        The same before missing values were filled in.
    x, reconstruction : Tensor of shape (n_sampled, n_features)
        The same, scaled as in training, and reconstructed; 0 stands for what is missing.
    missing : ndarray of shape (n_sampled, n_features), bool
    codes : list of Tensor of shape (n_sampled, n_hidden)
        Of each layer, as pre-training left it.
    features, names : list of str
        Names of features and of sampled rows.
    columns : list of Column
        Of the table that the features were made of; each feature alone if there is none.
    trained_on : bool or None
        Whether the model was trained on these rows; None if that is not known.
    labels : ndarray of shape (n_sampled,) or (n_sampled, n_outputs), or None
    known : ndarray of shape (n_sampled,), bool
        Which rows have a label.
    """

    def __init__(
        self,
        model: BaseEstimator,
        X: Any,
        *,
        y: Any,
        image_shape: tuple[int, ...] | None,
        feature_names: Sequence[Any] | None,
        row_names: Sequence[Any] | None,
        random_state: Any,
        feature_columns: Sequence[Any] | None = None,
        trained_on: bool | None = None,
        unfilled: Any = None,
    ):
        self.model, self.autoencoder = bare(model), stack_of(model)
        if not hasattr(self.autoencoder, "coder_"):
            raise TypeError(f"model={type(self.model).__name__}() is no fitted estimator of layerwise; fit one first")
        self.layers, self.coder = layers_of(model), self.model.coder_
        X = _as_rows(X)
        _check_lengths(X, y, image_shape, feature_names, feature_columns, row_names)
        if unfilled is not None and np.shape(unfilled) != X.shape:
            raise ValueError(f"unfilled has shape {np.shape(unfilled)}, but X has shape {X.shape}; give the same rows")
        self.image_shape = image_shape
        self.random = check_random_state(random_state)
        self.n_rows = X.shape[0]
        labels = None if y is None else np.asarray(y)
        known = self._find_known(labels)
        order = self.random.permutation(self.n_rows)
        positions = np.sort(order[np.argsort(~known[order], kind="stable")][:MAX_ROWS])
        self.rows = _take(X, positions)
        self.given = self.rows if unfilled is None else _take(_as_rows(unfilled), positions)
        self.features = self._name_features(feature_names)
        self.columns = list_columns(self.features, None if feature_columns is None else [*map(str, feature_columns)])
        self.trained_on = trained_on
        self.names = [f"row {position}" for position in positions]
        if row_names is not None:
            self.names = [str(name) for name in np.asarray(row_names, dtype=object)[positions]]
        self.labels = None if labels is None else labels[positions]
        self.known = known[positions]
        self.x, self.missing, self.codes, self.reconstruction = self._apply()

    @property
    def width(self) -> int:
        """Number of features."""
        return self.x.shape[1]

    @property
    def finetuned_with(self) -> str | None:
        """What changed the layers after pre-training: labels, or the targets of a regressor; None if nothing did."""
        if not hasattr(self.model, "network_") or self.model.finetune in ("head", 0):
            return None
        return "targets" if is_regressor(self.model) else "labels"

    def values(self, x: Tensor) -> np.ndarray:
        """Return scaled rows in the units of the data."""
        values = np.asarray(self.coder.unscale(x).numpy(force=True), dtype=float)
        scaling = self.coder.scaling
        unit = 1.0 if scaling is None else scaling.scale.numpy(force=True)
        return np.where(np.abs(values) < _ROUNDING * unit, 0.0, values)

    def squared_errors(self) -> np.ndarray:
        """Return (x^ - x)^2 of each entry, scaled; NaN where it was missing."""
        errors = (self.reconstruction - self.x).double().square().numpy(force=True)
        return np.where(self.missing, np.nan, errors)

    def label_of(self, index: int) -> str | None:
        """Return the label of a sampled row, in words; None if it has none."""
        if self.labels is None or not self.known[index] or self.labels.ndim > 1:
            return None
        label = self.labels[index]
        return f"{label:.4g}" if isinstance(label, (float, np.floating)) else str(label)

    def mean_activations(self, layer: int) -> np.ndarray:
        """Return the mean activation of each unit over the sample, as shares of the range under KL sparsity."""
        means = self.codes[layer].double().mean(dim=0).numpy(force=True)
        on_range = getattr(self.layers[layer].sparsity, "on_mean", False)
        return (means + 1) / 2 if on_range and self.layers[layer].activation == "tanh" else means

    def dead_units(self, layer: int) -> np.ndarray:
        """Return the indices of units that hardly vary over the sample."""
        return find_dead_units(self.codes[layer])

    def saturated_units(self, layer: int) -> np.ndarray:
        """Return the indices of units that are nearly always at the upper end, of tanh at an end, of their range."""
        activation = self.layers[layer].layer_.activation
        if not math.isfinite(activation.high):
            return np.array([], dtype=int)
        near = _NEAR_END * (activation.high - activation.low)
        h = self.codes[layer] if activation.low == 0 else self.codes[layer].abs()
        mostly = (h > activation.high - near).double().mean(dim=0).numpy(force=True) >= _MOSTLY
        return np.setdiff1d(np.flatnonzero(mostly), self.dead_units(layer))

    def _name_features(self, names: Sequence[Any] | None) -> list[str]:
        own = getattr(self.model, "feature_names_in_", None)
        given = own if names is None else names
        return [f"feature {k}" for k in range(self.rows.shape[1])] if given is None else [str(name) for name in given]

    def _find_known(self, labels: np.ndarray | None) -> np.ndarray:
        """Return which rows have a label that the model knows."""
        if labels is None:
            return np.zeros(self.n_rows, dtype=bool)
        known = has_label(labels, getattr(self.model, "unlabeled", None))
        classes = getattr(self.model, "classes_", None)
        if classes is None or not known.any():
            return known
        if labels.ndim > 1:
            raise ValueError(f"y has shape {labels.shape}, but a classifier has one label a row; give (n_rows,)")
        known &= find_classes(labels, classes) >= 0
        if not known.any():
            shown = ", ".join(map(str, classes[:10]))
            raise ValueError(f"y holds none of the classes that the model knows, such as {shown}; check the labels")
        return known

    @torch.no_grad()
    def _apply(self) -> tuple[Tensor, np.ndarray, list[Tensor], Tensor]:
        rows = self.rows
        if isinstance(self.model, AutoencoderImputer) and rows.dtype == np.uint8:
            rows = rows.astype(float)  # here a table of numbers, not intensities
        checked = self.coder.rows(rows, allow_missing=isinstance(self.model, AutoencoderImputer))
        x = checked.take(torch.arange(len(checked), device=checked.device))
        missing = x.isnan()
        x = x.nan_to_num(nan=0.0)
        codes = [x]
        for module in self.coder.modules:
            codes.append(module.encode(codes[-1]))
        return x, missing.numpy(force=True), codes[1:], self.coder.network.decode(codes[-1])


def find_classes(labels: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return the index of each label among the classes; -1 for others.

    Parameters
    ----------
    labels : ndarray of shape (n_rows,)
        May be of another type than the classes: 3.0 and "3" are class 3.
    classes : ndarray of shape (n_classes,)

    Returns
    -------
    indices : ndarray of shape (n_rows,), int

    Examples
    --------
    >>> find_classes(np.array([7.0, np.nan, 3.0]), np.array([3, 7]))
    array([ 1, -1,  0])
    """
    places = {str(label): index for index, label in enumerate(classes.tolist())}
    places |= {label: index for index, label in enumerate(classes.tolist())}
    return np.array([places.get(label, places.get(str(label), -1)) for label in labels.tolist()], dtype=int)


def _as_rows(X: Any) -> Any:
    """Return what can be sampled by positions: an array, a memory map, or a tensor."""
    if sparse.issparse(X):
        return X.tocsr()
    return X if isinstance(X, (np.ndarray, Tensor)) else np.asarray(X)


def _take(X: Any, positions: np.ndarray) -> np.ndarray:
    return np.asarray(X[positions].toarray() if sparse.issparse(X) else X[positions])


def _check_lengths(
    X: Any,
    y: Any,
    image_shape: tuple[int, ...] | None,
    feature_names: Sequence[Any] | None,
    feature_columns: Sequence[Any] | None,
    row_names: Sequence[Any] | None,
) -> None:
    shape = np.shape(X)
    if len(shape) != 2 or shape[0] == 0:
        raise ValueError(f"X has shape {shape}, but (n_rows, n_features) with n_rows >= 1 is expected")
    for name, values, count in (
        ("y", y, shape[0]),
        ("row_names", row_names, shape[0]),
        ("feature_names", feature_names, shape[1]),
        ("feature_columns", feature_columns, shape[1]),
    ):
        if values is not None and len(values) != count:
            raise ValueError(f"{name} has {len(values)} entries, but X has shape {shape}; give {count}, or None")
    drawable = image_shape is None or len(image_shape) == 2 or (len(image_shape) == 3 and image_shape[2] == 3)
    if image_shape is not None and (math.prod(image_shape) != shape[1] or not drawable):
        raise ValueError(
            f"image_shape={image_shape} does not fit {shape[1]} features; give (height, width) or (height, width, 3), "
            f"or None for a table"
        )
