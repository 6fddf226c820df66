"""L-BFGS: limited-memory quasi-Newton with a strong-Wolfe line search."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from numbers import Integral, Real
from typing import Any, ClassVar

import torch
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval
from torch import Tensor

from layerwise.solvers.line_search import Trial, largest, strong_wolfe
from layerwise.solvers.progressive import (
    STEPS_BETWEEN_TESTS,
    Sample,
    SampledObjective,
    growing_samples,
    is_outgrown,
)
from layerwise.solvers.result import Result, Status


class CurvaturePairs:
    """The last steps s = x_new - x_old and changes of the gradient y: an implicit inverse Hessian.

    Parameters
    ----------
    history_size : int
        How many pairs are kept.
    x : Tensor of shape (n,)
        Gives size and device.
    dtype : torch.dtype or None, default=None
        Type of the pairs; None is that of ``x``. That of the objective's own arithmetic is enough.

    Attributes
    ----------
    pairs : Tensor of shape (2 * history_size, n)
        Every s, then every y, in a ring: pair k stands in rows k and history_size + k, modulo history_size.
    y_products : Tensor of shape (2 * history_size, history_size), float64
        Inner products of each row of ``pairs`` with each y; of the s only with the y that came later.
    count : int
        Pairs added since the last `clear`.

    References
    ----------
    R. H. Byrd, J. Nocedal, R. B. Schnabel, "Representations of quasi-Newton matrices and their use in limited
    memory methods", Mathematical Programming 63, 1994, equation 3.1.
    """

    def __init__(self, history_size: int, x: Tensor, dtype: torch.dtype | None = None):
        self.history_size = history_size
        self.pairs = x.new_zeros(2 * history_size, x.numel(), dtype=dtype)
        self.y_products = x.new_zeros(2 * history_size, history_size, dtype=torch.float64)
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

    def as_dict(self) -> dict[str, Any]:
        """Return all that makes them, as tensors and numbers."""
        return {"pairs": self.pairs, "y_products": self.y_products, "count": self.count}

    def direction(self, gradient: Tensor) -> Tensor:
        """Return -H gradient, H being the inverse Hessian as the pairs tell it; without, any length of it.

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
            return gradient / -largest(gradient)  # its length does not matter, and the square of no entry overflows
        m = self.history_size
        newest = (self.count - 1) % m
        # Two products with all pairs, here and at the end, are what an iteration costs: both read the whole history.
        ends = torch.stack([gradient.to(self.pairs.dtype), self.pairs[m + newest]])
        projections = (self.pairs @ ends.T).double()
        self.y_products[:, newest] = projections[:, 1]
        self.y_products[m + newest] = projections[m:, 1]

        oldest_first = torch.arange(max(0, self.count - m), self.count, device=gradient.device) % m
        sy = self.y_products[oldest_first][:, oldest_first]
        yy = self.y_products[m + oldest_first][:, oldest_first]
        sg, yg = projections[oldest_first, :1], projections[m + oldest_first, :1]
        scale = sy[-1, -1] / yy[-1, -1]
        r = sy.triu()
        u = torch.linalg.solve_triangular(r, sg, upper=True)
        rest = sy.diagonal()[:, None] * u + scale * (yy @ u - yg)
        w = torch.linalg.solve_triangular(r.T, rest, upper=False)

        coefficients = gradient.new_zeros(2 * m, 1)
        coefficients[oldest_first] = -w
        coefficients[m + oldest_first] = scale * u
        step = (self.pairs.T @ coefficients.to(self.pairs.dtype))[:, 0]
        return torch.sub(step, scale * gradient)


@dataclass
class LBFGSState:
    """Where a minimisation stands; all that is needed to continue it.

    Attributes
    ----------
    x : Tensor of shape (n,), float64
    value : float
        Over the sample.
    gradient : Tensor of shape (n,), float64
        Over the sample; empty before the first evaluation.
    pairs : CurvaturePairs
    n_rows : int or None
        Rows of the sample that is being minimised on; None is all rows.
    values : list of float
        Over the sample, at its start and after each step but the last.
    n_iter : int
        Steps taken so far.
    n_evaluations : int
        Calls of the objective so far, over samples too.
    earlier_value : float or None
        Before the last step; None before the first one on a sample.
    """

    x: Tensor
    value: float
    gradient: Tensor
    pairs: CurvaturePairs
    n_rows: int | None = None
    values: list[float] = field(default_factory=list)
    n_iter: int = 0
    n_evaluations: int = 0
    earlier_value: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return all that makes the state, as tensors, numbers, lists and dicts: `LBFGS.restore` takes it."""
        return vars(self) | {"pairs": self.pairs.as_dict()}

    def restart(self, x0: Tensor) -> LBFGSState:
        """Return a state to begin anew with, at another point and perhaps on other rows, that keeps the pairs.

        It begins on all rows: small samples are for starting points that are far away.
        """
        return LBFGSState(x0, math.inf, x0.new_empty(0), self.pairs)


@dataclass(eq=False, repr=False)  # both are scikit-learn's
class LBFGS(BaseEstimator):
    """Limited-memory BFGS with a line search for the strong Wolfe conditions, on growing samples and then all rows.

    Deterministic, without a learning rate to choose, and it says why it stopped. Nothing in it depends on the scale
    of the objective.

    Parameters
    ----------
    max_iter : int, default=200
        The most steps to take, on samples and on all rows together.
    tol : float, default=1e-5
        Converged when ``max_i |gradient_i| <= tol * |value|``.
    ftol : float, default=1e-9
        Converged when a step lowers the value by no more than ftol times its size.
    history_size : int, default=10
        Pairs of steps and gradient changes that are kept; each takes 8 bytes a parameter, or 16 where the objective
        computes in float64.
    progressive : bool, default=True
        Whether to take the first steps on random samples: 1,000 rows, then four times as many each, one inside the
        next, then all rows. A sample is left when more steps on it gain less than more rows would (Bottou and Bousquet
        2007; see `layerwise.solvers.progressive.is_outgrown`), when the solver has converged on it, or when it has had
        half of the iterations that remained. The last steps, and the test of convergence, are those of the exact
        problem. False takes every step on all rows, as happens with 2,000 rows and less and in fine-tuning, where
        small samples would be learnt by heart.

    References
    ----------
    D. C. Liu and J. Nocedal, "On the limited memory BFGS method for large scale optimization", Mathematical
    Programming 45, 1989.

    R. Bollapragada et al., "A progressive batching L-BFGS method for machine learning", ICML 2018.

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
        "progressive": ["boolean"],
    }

    max_iter: int = 200
    _: KW_ONLY
    tol: float = 1e-5
    ftol: float = 1e-9
    history_size: int = 10
    progressive: bool = True

    def can_go_on_from(self, state: object, dtype: torch.dtype) -> bool:
        """Return whether a state, perhaps of another solver or type, is one to restart from."""
        return isinstance(state, LBFGSState) and state.pairs.history_size == self.history_size

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
            reached, unless no step was possible from there. Samples are taken of it only if it is a
            `layerwise.solvers.progressive.SampledObjective`; it is left with all its rows.
        x0 : Tensor of shape (n,), float64
            Not changed.
        callback : callable or None, default=None
            Called with the state after every step; returning True stops.
        state : LBFGSState or None, default=None
            From the result of an earlier call, to continue it as if it had not stopped; ``x0`` is then not used and
            ``max_iter`` counts the earlier steps too, up to the last `LBFGSState.restart`.

        Returns
        -------
        result : Result
            Value and gradient are those over all rows, unless it was stopped on a sample: then the value is that of
            the sample and the gradient None.
        """
        if not (self.progressive and isinstance(fun, SampledObjective)):
            return self._minimize_on([Sample(None, self.max_iter)], fun, x0, callback, state)
        try:
            return self._minimize_on(growing_samples(fun.n_rows, self.max_iter), fun, x0, callback, state)
        finally:
            fun.restrict(None)

    def restore(self, saved: Mapping[str, Any]) -> LBFGSState:
        """Return the state that `LBFGSState.as_dict` gave, to go on with.

        Parameters
        ----------
        saved : mapping

        Returns
        -------
        state : LBFGSState
        """
        pairs = CurvaturePairs(self.history_size, saved["x"])
        for name in pairs.as_dict():
            setattr(pairs, name, saved["pairs"][name])
        return LBFGSState(**{**saved, "pairs": pairs})

    def _minimize_on(
        self,
        samples: list[Sample],
        fun: Callable[[Tensor], tuple[float, Tensor]],
        x0: Tensor,
        callback: Callable[[LBFGSState], bool | None] | None,
        state: LBFGSState | None,
    ) -> Result:
        """Minimise on one sample after the other, from where the state was left."""
        if state is not None:  # the samples before the one that it stands on are done
            begun = [sample.n_rows for sample in samples]
            samples = samples[begun.index(state.n_rows) if state.n_rows in begun else -1 :]
        if isinstance(fun, SampledObjective):
            fun.restrict(samples[0].n_rows)
        if state is None:
            pairs = CurvaturePairs(self.history_size, x0, getattr(fun, "dtype", None))
            state = LBFGSState(x0, math.inf, x0.new_empty(0), pairs, samples[0].n_rows)
        if state.n_evaluations == 0:
            state.value, state.gradient = fun(state.x)
            state.n_evaluations += 1
        status = None
        for sample in samples:
            if isinstance(fun, SampledObjective) and state.n_rows != sample.n_rows:
                fun.restrict(sample.n_rows)
                state.value, state.gradient = fun(state.x)
                state.n_rows, state.values, state.earlier_value = sample.n_rows, [], None
                state.n_evaluations += 1
            status = self._minimize_sample(sample, fun, state, callback)
            if status in (Status.CALLBACK, Status.NOT_FINITE):
                break
        assert status is not None
        exact = state.gradient if state.n_rows is None else None
        return Result(state.x, state.value, exact, state.n_iter, state.n_evaluations, status, state)

    def _minimize_sample(
        self,
        sample: Sample,
        fun: Callable[[Tensor], tuple[float, Tensor]],
        state: LBFGSState,
        callback: Callable[[LBFGSState], bool | None] | None,
    ) -> Status | None:
        """Take steps on a sample until one was the last or, with None, the sample is outgrown."""
        if not all(map(math.isfinite, (state.value, largest(state.gradient), largest(state.x)))):
            return Status.NOT_FINITE
        status = self._check_progress(state, sample.last_iter)
        while status is None:
            if isinstance(fun, SampledObjective) and sample.n_rows is not None:
                state.values.append(state.value)
                if len(state.values) % STEPS_BETWEEN_TESTS == 0:
                    state.n_evaluations += 1
                    if is_outgrown(fun, state.x, state.values):
                        return None
            status = self._iterate(sample.last_iter, fun, state, callback)
        return status

    def _check_progress(self, state: LBFGSState, last_iter: int) -> Status | None:
        """Return a status if the last step was the last; of the state alone, so that one that is kept says the same."""
        if largest(state.gradient) <= self.tol * abs(state.value):
            return Status.GRADIENT
        if state.n_iter >= last_iter:
            return Status.MAX_ITER
        before, value = state.earlier_value, state.value
        settled = before is not None and before - value <= self.ftol * max(abs(before), abs(value))
        return Status.VALUE if settled else None

    def _iterate(
        self,
        last_iter: int,
        fun: Callable[[Tensor], tuple[float, Tensor]],
        state: LBFGSState,
        callback: Callable[[LBFGSState], bool | None] | None,
    ) -> Status | None:
        """Take one step; return a status when it was the last."""
        direction = state.pairs.direction(state.gradient)
        slope = torch.dot(state.gradient, direction).item()
        if state.pairs.count and not -math.inf < slope < 0:
            state.pairs.clear()
            direction = state.pairs.direction(state.gradient)
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

        state.earlier_value = state.value
        state.pairs.add(trial.x - state.x, trial.gradient - state.gradient)
        state.x, state.value, state.gradient = trial.x, trial.value, trial.gradient
        state.n_iter += 1
        if callback is not None and callback(state):
            return Status.CALLBACK
        return self._check_progress(state, last_iter)
