"""What trained layers make of their rows: units that do nothing, variance that is kept."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

# Training rows that a summary looks at, at most; and of rows that are wider than this, no more than this.
_ROWS, _WIDE = 5000, 1000
# A unit is dead if it varies by less than this share of the unit that varies most.
_DEAD = 0.01


def sample_size(n_features: int) -> int:
    """Return how many rows of this width to look at, at most."""
    return _ROWS if n_features <= _ROWS else _WIDE


def find_dead_units(h: Tensor) -> np.ndarray:
    """Return the indices of units whose activation hardly varies over rows of codes.

    Parameters
    ----------
    h : Tensor of shape (n_rows, n_hidden)

    Returns
    -------
    indices : ndarray of int

    Examples
    --------
    >>> find_dead_units(torch.tensor([[0.1, 0.0], [0.9, 0.0]])).tolist()
    [1]
    """
    spread = h.amax(dim=0) - h.amin(dim=0)
    return np.flatnonzero((spread <= _DEAD * spread.max()).cpu().numpy())


def explained_variance_ratio(x: Tensor, reconstruction: Tensor) -> float:
    """Return 1 - sum |x^_i - x_i|^2 / sum |x_i - mean|^2; NaN if the rows are all the same.

    Parameters
    ----------
    x, reconstruction : Tensor of shape (n_rows, n_features)

    Examples
    --------
    >>> explained_variance_ratio(torch.tensor([[0.0], [2.0]]), torch.tensor([[0.0], [1.0]]))
    0.5
    """
    total = (x - x.mean(dim=0)).double().square().sum()
    return (1 - (reconstruction - x).double().square().sum() / total).item() if total > 0 else float("nan")


def pca_explained_variance_ratio(x: Tensor, n_components: int) -> float:
    """Return the same for the principal components of these very rows.

    Parameters
    ----------
    x : Tensor of shape (n_rows, n_features)
    n_components : int

    Examples
    --------
    >>> pca_explained_variance_ratio(torch.tensor([[0.0, 0.0], [2.0, 2.0], [1.0, 1.0]]), 1)
    1.0
    """
    x = (x - x.mean(dim=0)).double()
    products = x @ x.T if len(x) < x.shape[1] else x.T @ x
    variances = torch.linalg.eigvalsh(products).clamp(min=0).flip(0)
    return min(1.0, (variances[:n_components].sum() / variances.sum()).item()) if variances.sum() > 0 else float("nan")
