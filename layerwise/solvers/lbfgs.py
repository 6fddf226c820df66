"""L-BFGS: limited-memory quasi-Newton with a strong-Wolfe line search."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral, Real
from typing import ClassVar

import torch
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval
from torch import Tensor

from layerwise.solvers.line_search import Trial, strong_wolfe
from layerwise.solvers.result import Result, Status


class CurvaturePairs:
    """The last steps s = x_new - x_old and changes of the gradient y: an implicit inverse Hessian.

    Parameters
    ----------
    history_size : int
        How many pairs are kept.
    x : Tensor of shape (n,)
        Gives size, type and device.

    Attributes
    ----------
    pairs : Tensor of shape (2 * history_size, n)
        Every s, then every y, in a ring: pair k stands in rows k and history_size + k, modulo history_size.
    y_products : Tensor of shape (2 * history_size, history_size)
        Inner products of each row of ``pairs`` with each y; of the s only with the y that came later.
    count : int
        Pairs added since the last `clear`.

    References
    ----------
    R. H. Byrd, J. Nocedal, R. B. Schnabel, "Representations of quasi-Newton matrices and their use in limited
    memory methods", Mathematical Programming 63, 1994, equation 3.1.
    """

    def __init__(self, history_size: int, x: Tensor):
        self.history_size = history_size
        self.pairs = x.new_zeros(2 * history_size, x.numel())
        self.y_products = torch.zeros(2 * history_size, history_size, dtype=x.dtype)
        self.count = 0

    def clear(self) -> None:
        """Forget all pairs."""
        self.count = 0

    def add(self, s: Tensor, y: Tensor) -> None:
        """Add a pair; one without positive curvature is left out.

        Parameters
        ----------
        s, y : Tensor of shape (n,)
        """
        # Relative to the lengths, so that the scale of the objective does not matter.
        if torch.dot(s, y) > torch.finfo(s.dtype).eps * s.norm() * y.norm():
            slot = self.count % self.history_size
            self.pairs[slot], self.pairs[self.history_size + slot] = s, y
            self.count += 1

    def direction(self, gradient: Tensor) -> Tensor:
        """Return -H gradient, H being the inverse Hessian as the pairs tell it.

        With S and Y the pairs as columns, R the upper triangle of S'Y, D its diagonal, and c = s'y / y'y of the
        newest pair::

            H g = c g + S w - c Y u,    u = R^-1 S'g,    w = R^-T (D u + c (Y'Y u - Y'g))

        Parameters
        ----------
        gradient : Tensor of shape (n,)

        Returns
        -------
        direction : Tensor of shape (n,)
        """
        if self.count == 0:
            return -gradient
        m = self.history_size
        newest = (self.count - 1) % m
        projections = (torch.stack([gradient, self.pairs[m + newest]]) @ self.pairs.T).cpu()
        self.y_products[:, newest] = projections[1]
        self.y_products[m + newest] = projections[1, m:]

        oldest_first = torch.arange(max(0, self.count - m), self.count) % m
        sy = self.y_products[oldest_first][:, oldest_first]
        yy = self.y_products[m + oldest_first][:, oldest_first]
        sg, yg = projections[0, oldest_first], projections[0, m + oldest_first]
        scale = (sy[-1, -1] / yy[-1, -1]).item()
        r = sy.triu()
        u = torch.linalg.solve_triangular(r, sg[:, None], upper=True)[:, 0]
        rest = sy.diagonal() * u + scale * (yy @ u - yg)
        w = torch.linalg.solve_triangular(r.T, rest[:, None], upper=False)[:, 0]

        coefficients = torch.zeros(2 * m, dtype=r.dtype)
        coefficients[oldest_first] = -w
        coefficients[m + oldest_first] = scale * u
        return torch.addmv(gradient, self.pairs.T, coefficients.to(gradient.device), beta=-scale)


@dataclass
class LBFGSState:
    """Where a minimisation stands; all that is needed to continue it.

    Attributes
    ----------
    x : Tensor of shape (n,), float64
    value : float
    gradient : Tensor of shape (n,), float64
    pairs : CurvaturePairs
    n_iter : int
        Steps taken so far.
    n_evaluations : int
        Calls of the objective so far.
    """

    x: Tensor
    value: float
    gradient: Tensor
    pairs: CurvaturePairs
    n_iter: int = 0
    n_evaluations: int = 1


class LBFGS(BaseEstimator):
    """Limited-memory BFGS on all rows, with a line search for the strong Wolfe conditions.

    Deterministic, without a learning rate to choose, and it says why it stopped. Nothing in it depends on the scale
    of the objective.

    Parameters
    ----------
    max_iter : int, default=200
        The most steps to take.
    tol : float, default=1e-5
        Converged when max_i |gradient_i| <= tol * |value|.
    ftol : float, default=1e-9
        Converged when a step lowers the value by no more than ftol times its size.
    history_size : int, default=10
        Pairs of steps and gradient changes that are kept; each takes 16 bytes a parameter.

    References
    ----------
    D. C. Liu and J. Nocedal, "On the limited memory BFGS method for large scale optimization", Mathematical
    Programming 45, 1989.

    Examples
    --------
    >>> import torch
    >>> def fun(x):
    ...     return ((x - 3) ** 2).sum().item(), 2 * (x - 3)
    >>> result = LBFGS().minimize(fun, torch.zeros(2, dtype=torch.float64))
    >>> result.x.tolist(), result.status.name
    ([3.0, 3.0], 'GRADIENT')
    """

    _parameter_constraints: ClassVar[dict] = {
        "max_iter": [Interval(Integral, 0, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "ftol": [Interval(Real, 0, None, closed="left")],
        "history_size": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(self, max_iter: int = 200, *, tol: float = 1e-5, ftol: float = 1e-9, history_size: int = 10):
        self.max_iter = max_iter
        self.tol = tol
        self.ftol = ftol
        self.history_size = history_size

    def minimize(
        self,
        fun: Callable[[Tensor], tuple[float, Tensor]],
        x0: Tensor,
        *,
        callback: Callable[[LBFGSState], bool | None] | None = None,
        state: LBFGSState | None = None,
    ) -> Result:
        """Minimise a function from a starting point.

        Parameters
        ----------
        fun : callable
            ``fun(x) -> (value, gradient)``, the gradient a new tensor like x. Its last call is always at the point
            reached, unless no step was possible from there.
        x0 : Tensor of shape (n,), float64
            Not changed.
        callback : callable or None, default=None
            Called with the state after every step; returning True stops.
        state : LBFGSState or None, default=None
            From the result of an earlier call, to continue it as if it had not stopped; ``x0`` is then not used and
            ``max_iter`` counts the earlier steps too.

        Returns
        -------
        result : Result
        """
        if state is None:
            value, gradient = fun(x0)
            state = LBFGSState(x0, value, gradient, CurvaturePairs(self.history_size, x0))
        status = self._check_start(state)
        while status is None:
            status = self._iterate(fun, state, callback)
        return Result(state.x, state.value, state.gradient, state.n_iter, state.n_evaluations, status, state)

    def _check_start(self, state: LBFGSState) -> Status | None:
        if not (math.isfinite(state.value) and torch.isfinite(state.gradient).all() and torch.isfinite(state.x).all()):
            return Status.NOT_FINITE
        return self._check_gradient(state)

    def _check_gradient(self, state: LBFGSState) -> Status | None:
        if state.gradient.abs().max().item() <= self.tol * abs(state.value):
            return Status.GRADIENT
        return Status.MAX_ITER if state.n_iter >= self.max_iter else None

    def _iterate(
        self,
        fun: Callable[[Tensor], tuple[float, Tensor]],
        state: LBFGSState,
        callback: Callable[[LBFGSState], bool | None] | None,
    ) -> Status | None:
        """Take one step; return a status when it was the last."""
        direction = state.pairs.direction(state.gradient)
        slope = torch.dot(state.gradient, direction).item()
        if state.pairs.count and not -math.inf < slope < 0:
            state.pairs.clear()
            direction = -state.gradient
            slope = torch.dot(state.gradient, direction).item()
        if not -math.inf < slope < 0:  # the gradient underflows or overflows
            return Status.PRECISION

        def evaluate(step: float) -> Trial:
            x = torch.add(state.x, direction, alpha=step)
            value, gradient = fun(x)
            state.n_evaluations += 1
            return Trial(step, x, value, gradient, torch.dot(gradient, direction).item())

        # Without pairs the gradient tells the direction but not the length: begin with a step of length 1.
        first_step = 1.0 if state.pairs.count else 1 / direction.norm().item()
        start = Trial(0.0, state.x, state.value, state.gradient, slope)
        trial = strong_wolfe(evaluate, start, first_step)
        if trial is None:
            if state.pairs.count == 0:
                return Status.PRECISION
            state.pairs.clear()  # try once more, along the gradient
            return None

        decrease = state.value - trial.value
        state.pairs.add(trial.x - state.x, trial.gradient - state.gradient)
        state.x, state.value, state.gradient = trial.x, trial.value, trial.gradient
        state.n_iter += 1
        if callback is not None and callback(state):
            return Status.CALLBACK
        if decrease <= self.ftol * max(abs(start.value), abs(trial.value)):
            return self._check_gradient(state) or Status.VALUE
        return self._check_gradient(state)
