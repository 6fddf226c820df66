"""Penalties that are added to a loss: weight decay, and sparsity of the mean activations."""

from __future__ import annotations

from collections.abc import Iterable
from numbers import Real
from typing import ClassVar

import torch
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval
from torch import Tensor


def weight_decay(weights: Iterable[Tensor], alpha: float) -> Tensor:
    """Weight decay, alpha/2 sum |W|^2, over weight matrices; biases are not decayed.

    Parameters
    ----------
    weights : iterable of Tensor
    alpha : float
        The factor; its gradient is ``alpha * W``.

    Returns
    -------
    value : Tensor of shape (), float64

    Examples
    --------
    >>> import torch
    >>> weight_decay([torch.ones(2, 3)], alpha=0.5).item()
    1.5
    """
    total = sum((weight.double().square().sum() for weight in weights), torch.zeros((), dtype=torch.float64))
    return 0.5 * alpha * total


class KLSparsity(BaseEstimator):
    """Keep the mean activation of every hidden unit near a small target.

    Adds to the loss::

        weight * sum_j KL(target || mean_j)
        KL(p || q) = p log(p / q) + (1 - p) log((1 - p) / (1 - q))

    where mean_j is the activation of hidden unit j averaged over *all* training rows. It is infinite
    where a unit is always off or always on; a solver never accepts such a point.

    Parameters
    ----------
    target : float, default=0.05
        The wished mean activation (rho), between 0 and 1, both excluded.
    weight : float, default=3.0
        The factor of the penalty (beta).

    References
    ----------
    A. Ng, "Sparse autoencoder", CS294A lecture notes, 2011, section 3.

    Examples
    --------
    >>> import torch
    >>> penalty = KLSparsity(target=0.5, weight=2.0)
    >>> penalty.value(torch.tensor([0.5, 0.25], dtype=torch.float64)).item()
    0.287...
    """

    _parameter_constraints: ClassVar[dict] = {
        "target": [Interval(Real, 0, 1, closed="neither")],
        "weight": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(self, target: float = 0.05, weight: float = 3.0):
        self.target = target
        self.weight = weight

    def value(self, mean_activation: Tensor) -> Tensor:
        """Return the penalty for these mean activations.

        Parameters
        ----------
        mean_activation : Tensor of shape (n_hidden,)
            Averages over all rows, each in [0, 1].

        Returns
        -------
        value : Tensor of shape ()
        """
        p, q = self.target, mean_activation
        on = p * torch.log(p / q)
        off = (1 - p) * torch.log((1 - p) / (1 - q))
        return self.weight * (on + off).sum()
