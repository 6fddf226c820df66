"""A solver that takes no step: it compares the gradient of an objective with differences of its values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from sklearn.base import BaseEstimator
from torch import Tensor

from layerwise.solvers.result import Result, Status

_TINY = torch.finfo(torch.float64).tiny


class GradientCheck(BaseEstimator):
    """Measures how far the gradient is from a numeric one, near the starting point.

    Parameters
    ----------
    n_coordinates : int, default=100
        Entries of the gradient to compare, drawn at random; all if there are fewer.
    step : float, default=1e-5
        Distance between the points of the differences.
    seed : int, default=0
        Draws the entries, and the shift from the starting point: normal with a standard deviation of 0.1, away from
        biases of exactly 0, where an activation can have a kink.

    Attributes
    ----------
    errors : list of float
        One for each problem that was to be minimised: ``|gradient - numeric| / |numeric|``, over those entries.

    Examples
    --------
    >>> check = GradientCheck()
    >>> _ = check.minimize(lambda x: ((x**3).sum().item(), 3 * x**2), torch.ones(5, dtype=torch.float64))
    >>> check.errors[0] < 1e-10
    True
    """

    max_iter = 0

    def __init__(self, n_coordinates: int = 100, *, step: float = 1e-5, seed: int = 0):
        self.n_coordinates = n_coordinates
        self.step = step
        self.seed = seed
        self.errors: list[float] = []

    def __sklearn_clone__(self) -> GradientCheck:
        """Clones of an estimator share it, so that the one a caller holds has all errors."""
        return self

    def can_go_on_from(self, state: object, dtype: torch.dtype) -> bool:
        """Return False: there is nothing to go on with."""
        return False

    def minimize(
        self, fun: Callable[[Tensor], tuple[float, Tensor]], x0: Tensor, *, callback: Any = None, state: Any = None
    ) -> Result:
        """Check the gradient and return the starting point.

        Parameters
        ----------
        fun : callable
            Maps a point to its value and gradient.
        x0 : Tensor of shape (n,), float64
            The starting point.
        callback : None
            Not used: no step is taken.
        state : None
            Not used.

        Returns
        -------
        result : Result
        """
        generator = torch.Generator().manual_seed(self.seed)
        x = x0 + 0.1 * torch.randn(x0.shape, generator=generator, dtype=torch.float64).to(x0.device)
        coordinates = torch.randperm(len(x), generator=generator)[: self.n_coordinates]
        gradient = fun(x)[1][coordinates]
        numeric = numeric_gradient(fun, x, coordinates, step=self.step)
        # Where both are 0, the gradient is right: of dead units, say.
        self.errors.append(((gradient - numeric).norm() / numeric.norm().clamp(min=_TINY)).item())
        value, gradient = fun(x0)
        return Result(x0, value, gradient, 0, 1, Status.MAX_ITER, self)


def numeric_gradient(
    fun: Callable[[Tensor], tuple[float, Tensor]], x: Tensor, coordinates: Tensor, *, step: float
) -> Tensor:
    """Return entries of the gradient by central differences of fourth order.

    Parameters
    ----------
    fun : callable
        ``fun(x) -> (value, gradient)``; the gradient is not used.
    x : Tensor of shape (n,), float64
    coordinates : Tensor of shape (k,), int64
        Which entries.
    step : float

    Returns
    -------
    gradient : Tensor of shape (k,), float64

    Examples
    --------
    >>> x = torch.tensor([1.0, 2.0], dtype=torch.float64)
    >>> round(numeric_gradient(lambda x: ((x**4).sum().item(), None), x, torch.tensor([1]), step=1e-3).item(), 6)
    32.0
    """
    gradient = torch.zeros(len(coordinates), dtype=torch.float64, device=x.device)
    for place, index in enumerate(coordinates.tolist()):
        values = []
        for shift in (-2, -1, 1, 2):
            moved = x.clone()
            moved[index] += shift * step
            values.append(fun(moved)[0])
        gradient[place] = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * step)
    return gradient
