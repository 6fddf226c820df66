"""Solvers: minimise an objective, know nothing else."""

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor

from layerwise.solvers.gradient_check import GradientCheck, numeric_gradient
from layerwise.solvers.lbfgs import LBFGS, LBFGSState
from layerwise.solvers.minibatch import SCHEDULES, SGD, Adam, MinibatchState
from layerwise.solvers.result import Result, Status

SOLVERS: dict[str, Any] = {"lbfgs": LBFGS, "sgd": SGD, "adam": Adam}


class Solver(Protocol):
    """What is needed of a solver. One with a method ``restore`` can be kept in checkpoints too: see `LBFGS.restore`.

    Attributes
    ----------
    max_iter : int
        The most iterations.
    """

    max_iter: int

    def minimize(
        self,
        objective: Any,
        x0: Tensor,
        /,
        *,
        callback: Callable[[Any], bool | None] | None = None,
        state: Any = None,
    ) -> Result:
        """Minimise an objective from a starting point.

        Parameters
        ----------
        objective : callable
            ``objective(x) -> (value, gradient)`` over all rows; its method ``epoch`` goes through batches.
        x0 : Tensor of shape (n,), float64
            Not to be changed.
        callback : callable or None, default=None
            To be called with the state after every iteration; that it returns True is a wish to stop.
        state : object or None, default=None
            To go on with: what `Result.state` was, or its ``restart`` gave.

        Returns
        -------
        result : Result
        """

    def can_go_on_from(self, state: object, dtype: torch.dtype) -> bool:
        """Return whether a state, perhaps of another solver or type, is one to restart from."""


def takes_batches(solver: Solver | str | None) -> bool:
    """Return whether a solver, or the one of this name, goes through batches and not over all rows at once."""
    return hasattr(SOLVERS[solver]() if isinstance(solver, str) else solver, "batch_size")


__all__ = [
    "LBFGS",
    "SCHEDULES",
    "SGD",
    "SOLVERS",
    "Adam",
    "GradientCheck",
    "LBFGSState",
    "MinibatchState",
    "Result",
    "Solver",
    "Status",
    "numeric_gradient",
]
