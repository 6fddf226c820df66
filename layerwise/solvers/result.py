"""What a solver returns: the point reached, and why it stopped there."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

from torch import Tensor


class Status(Enum):
    """Why a solver stopped; the value is the reason in words."""

    GRADIENT = "converged: the gradient is as small as tol asks"
    VALUE = "converged: the value no longer decreases by more than the tolerance"
    SCHEDULE = "finished: the learning rate has come to the end of its schedule"
    PRECISION = "stopped: no step lowers the value at this arithmetic precision"
    MAX_ITER = "stopped: max_iter iterations were made"
    EARLY = "stopped: the loss of the validation rows no longer decreases"
    CALLBACK = "stopped: a callback asked for it"
    STILL = "failed: many parameters have not moved: steps are too small, or squares of the gradient overflow"
    DIVERGED = "diverged: the value grew or became infinite"
    NOT_FINITE = "failed: the value or the gradient is not finite at the starting point"

    @property
    def converged(self) -> bool:
        """Whether a minimum was found, as far as the tolerances and the arithmetic allow."""
        return self in (Status.GRADIENT, Status.VALUE, Status.PRECISION, Status.SCHEDULE)


@dataclass(frozen=True)
class Result:
    """The end of a minimisation.

    Attributes
    ----------
    x : Tensor of shape (n,), float64
        The best point; always finite if the starting point was.
    value : float
    gradient : Tensor of shape (n,), float64, or None
        None from solvers that never take all rows at once.
    n_iter : int
        Steps taken, or epochs made.
    n_evaluations : int
        Calls of the objective, or batches.
    status : Status
    state : object
        Continues the minimisation when handed back to the solver.
    """

    x: Tensor
    value: float
    gradient: Tensor | None
    n_iter: int
    n_evaluations: int
    status: Status
    state: Any
