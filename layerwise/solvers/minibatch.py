"""Stochastic solvers: many small steps along the gradients of batches, by torch's optimisers."""

from __future__ import annotations

import abc
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import KW_ONLY, dataclass
from numbers import Integral, Real
from typing import Any, ClassVar, Protocol

import torch
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval, StrOptions
from torch import Tensor

from layerwise import products
from layerwise.solvers.result import Result, Status

# The factor of the learning rate by the share of all steps that are made.
SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda done: 1.0,
    "linear": lambda done: 1 - done,
    "cosine": lambda done: 0.5 * (1 + math.cos(math.pi * done)),
}


class StochasticObjective(Protocol):
    """What these solvers need of an objective."""

    @property
    def dtype(self) -> torch.dtype:
        """Type of the parameters while they are trained."""

    @property
    def n_draws(self) -> int:
        """Rows of an epoch, on average."""

    @property
    def parts(self) -> dict[str, float]:
        """Terms of the value, averaged over the batches of the last epoch."""

    def value(self, theta: Tensor) -> float:
        """Return the value over all rows."""

    def epoch(self, theta: Tensor, batch_size: int, number: int) -> Iterator[tuple[Tensor, Tensor, int]]:
        """Yield value, gradient and number of rows of each batch, at what ``theta`` holds then."""


@dataclass
class MinibatchState:
    """Where a minimisation stands; all that is needed to continue it.

    Attributes
    ----------
    x : Tensor of shape (n,)
        In the type of the objective; changes in place while the solver runs.
    start_x : Tensor of shape (n,)
        Where it began: the way back when the value has grown.
    best_x : Tensor of shape (n,)
        Where the epoch of the lowest value began: the way back when the value overflows.
    optimizer : torch.optim.Optimizer
    value : float
        The objective averaged over the batches of the last epoch, while the parameters moved.
    gradient : None
        Stochastic solvers know none over all rows.
    first_value : float
        That of the first batch.
    best_value : float
        The lowest of an epoch.
    n_stale : int
        Epochs in a row that lowered ``best_value`` by less than ``tol``.
    n_iter : int
        Epochs so far.
    n_evaluations : int
        Batches so far.
    earlier_iter : int
        Epochs before the last `restart`.
    """

    x: Tensor
    start_x: Tensor
    best_x: Tensor
    optimizer: torch.optim.Optimizer
    value: float = math.inf
    gradient: None = None
    first_value: float = math.inf
    best_value: float = math.inf
    n_stale: int = 0
    n_iter: int = 0
    n_evaluations: int = 0
    earlier_iter: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Return all that makes the state, as tensors, numbers and dicts: `StochasticSolver.restore` takes it."""
        return vars(self) | {"optimizer": self.optimizer.state_dict()["state"].get(0, {}), "last_gradient": self.x.grad}

    @staticmethod
    def restore(saved: Mapping[str, Any], optimizer: torch.optim.Optimizer) -> MinibatchState:
        """Return the state that `as_dict` gave, with a new optimiser of its ``x``."""
        settings = optimizer.state_dict()["param_groups"]
        optimizer.load_state_dict({"state": {0: dict(saved["optimizer"])}, "param_groups": settings})
        state = {**saved, "optimizer": optimizer}
        state["x"].grad = state.pop("last_gradient")
        return MinibatchState(**state)

    def restart(self, x0: Tensor) -> MinibatchState:
        """Return a state to begin anew with, at another point and perhaps on other rows, that keeps the momentum."""
        self.x.copy_(x0)
        return MinibatchState(
            self.x, self.x.clone(), self.x.clone(), self.optimizer, earlier_iter=self.earlier_iter + self.n_iter
        )

    def retreat(self, x: Tensor) -> None:
        """Go back to a point, without the momentum that led away from it."""
        self.x.copy_(x)
        self.optimizer.state.clear()


@dataclass(eq=False, repr=False)  # both are scikit-learn's
class StochasticSolver(BaseEstimator, abc.ABC):
    """Steps through the batches of epoch after epoch; what a step is, its optimiser says."""

    _parameter_constraints: ClassVar[dict] = {
        "max_iter": [Interval(Integral, 0, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "learning_rate": [StrOptions(set(SCHEDULES))],
        "tol": [Interval(Real, 0, None, closed="left")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "matmul_precision": [StrOptions(set(products.PRECISIONS))],
    }

    max_iter: int = 50
    _: KW_ONLY
    batch_size: int = 128
    learning_rate_init: float
    learning_rate: str = "constant"
    tol: float = 1e-4
    n_iter_no_change: int = 10
    matmul_precision: str = "highest"

    @abc.abstractmethod
    def _make_optimizer(self, x: Tensor) -> torch.optim.Optimizer:
        """Return the optimiser of a parameter vector."""

    def restore(self, saved: Mapping[str, Any]) -> MinibatchState:
        """Return the state that `MinibatchState.as_dict` gave, to go on with.

        Parameters
        ----------
        saved : mapping

        Returns
        -------
        state : MinibatchState
        """
        return MinibatchState.restore(saved, self._make_optimizer(saved["x"]))

    def can_go_on_from(self, state: object, dtype: torch.dtype) -> bool:
        """Return whether a state, perhaps of another solver or type, is one to restart from."""
        if not isinstance(state, MinibatchState) or state.x.dtype != dtype:
            return False
        mine, other = self._make_optimizer(state.x), state.optimizer
        # The learning rate is set before each step.
        return type(mine) is type(other) and mine.defaults | {"lr": 0} == other.defaults | {"lr": 0}

    def minimize(
        self,
        objective: StochasticObjective,
        x0: Tensor,
        *,
        callback: Callable[[MinibatchState], bool | None] | None = None,
        state: MinibatchState | None = None,
    ) -> Result:
        """Minimise an objective from a starting point.

        Parameters
        ----------
        objective : StochasticObjective
        x0 : Tensor of shape (n,)
            Not changed.
        callback : callable or None, default=None
            Called with the state after every epoch; returning True stops.
        state : MinibatchState or None, default=None
            From the result of an earlier call with the same objective, to continue it as if it had not stopped; ``x0``
            is then not used and ``max_iter`` counts the earlier epochs too, up to the last `MinibatchState.restart`.

        Returns
        -------
        result : Result
            Its value is the average over the batches of the last epoch. If that is not finite, the point is where the
            best epoch began; if the value over all rows has grown in the end, it is the starting point.
        """
        if state is None:
            x = x0.to(objective.dtype, copy=True)
            state = MinibatchState(x, x.clone(), x.clone(), self._make_optimizer(x))
        status = Status.MAX_ITER if self.max_iter == 0 else None
        if state.n_iter > 0:  # it was left before the question whether that epoch was the last
            status = self._check_progress(objective, state)
        while status is None:
            with products.precision(self.matmul_precision):
                status = self._run_epoch(objective, state)
            if status is None and callback is not None and callback(state):
                status = Status.CALLBACK
            status = status or self._check_progress(objective, state)
        return Result(
            state.x.to(torch.float64, copy=True), state.value, None, state.n_iter, state.n_evaluations, status, state
        )

    def _run_epoch(self, objective: StochasticObjective, state: MinibatchState) -> Status | None:
        """Make one epoch; return a status if it failed."""
        before = state.x.clone()
        batch_size = min(self.batch_size, objective.n_draws)
        n_steps = self.max_iter * math.ceil(objective.n_draws / batch_size)
        for value, gradient, n_rows in objective.epoch(state.x, batch_size, state.earlier_iter + state.n_iter):
            if state.n_evaluations == 0:
                state.first_value = value.item()
            state.x.grad = gradient.mul_(n_rows / batch_size) if n_rows < batch_size else gradient
            done = min(1.0, state.n_evaluations / n_steps)
            state.optimizer.param_groups[0]["lr"] = self.learning_rate_init * SCHEDULES[self.learning_rate](done)
            state.optimizer.step()
            state.n_evaluations += 1
        mean = sum(objective.parts.values())
        if not (math.isfinite(mean) and torch.isfinite(state.x).all()):
            state.retreat(state.best_x)
            return Status.DIVERGED
        lower = state.n_iter == 0 or mean < state.best_value - self.tol * abs(state.best_value)
        state.n_stale = 0 if lower else state.n_stale + 1
        if mean < state.best_value:
            state.best_value, state.best_x = mean, before
        state.value = mean
        state.n_iter += 1
        return None

    def _check_progress(self, objective: StochasticObjective, state: MinibatchState) -> Status | None:
        if state.n_stale < self.n_iter_no_change and state.n_iter < self.max_iter:
            return None
        # One batch is a weak witness: if it tells of growth, or there was no other, all rows are asked.
        suspect = state.value > state.first_value or state.n_evaluations == 1
        if suspect and not objective.value(state.x) <= objective.value(state.start_x):  # nor is it NaN
            state.retreat(state.start_x)
            return Status.DIVERGED
        if self._stands_still(state):
            return Status.STILL
        if state.n_stale >= self.n_iter_no_change:
            return Status.VALUE
        return Status.MAX_ITER if self.learning_rate == "constant" else Status.SCHEDULE

    def _stands_still(self, state: MinibatchState) -> bool:
        """Return whether many parameters are where they began, though the gradient is large beside the value."""
        gradient = state.x.grad
        assert gradient is not None
        stuck = (state.x == state.start_x) & (gradient != 0)
        return bool(stuck.sum() > len(stuck) / 4 and gradient.abs().max() > self.tol * abs(state.value))


@dataclass(eq=False, repr=False, kw_only=True)
class SGD(StochasticSolver):
    """Stochastic gradient descent with momentum.

    Parameters
    ----------
    max_iter : int, default=50
        The most epochs (passes over all rows) to make.
    batch_size : int, default=128
        Rows a step. The smaller last batch of an epoch has its gradient shrunk in proportion, so that every row weighs
        the same.
    learning_rate_init : float, default=0.01
        Step size at the start.
    learning_rate : {"constant", "linear", "cosine"}, default="constant"
        How the step size goes on: as it is, or down to 0 at the end of the last epoch, along a line or half a cosine.
    tol : float, default=1e-4
    n_iter_no_change : int, default=10
        Converged when the epoch's value has not gone below its lowest by ``tol`` times its size for this many epochs.
    matmul_precision : {"highest", "high", "medium"}, default="highest"
        Of float32 products in the batches, as of `torch.set_float32_matmul_precision`: "medium" multiplies in bfloat16
        where the processor is faster with it, "high" in TF32 on a GPU. Parameters, moments and sums stay in float32.
    momentum : float, default=0.9
        Share of the last step that is kept.
    nesterov : bool, default=True
        Whether the momentum is Nesterov's.

    References
    ----------
    I. Sutskever et al., "On the importance of initialization and momentum in deep learning", ICML 2013.

    Examples
    --------
    >>> from layerwise import SGD, Autoencoder
    >>> from layerwise.data import load_mnist_small
    >>> X = load_mnist_small().X_train[:500]
    >>> autoencoder = Autoencoder(20, solver=SGD(max_iter=3), random_state=0).fit(X)
    >>> autoencoder.loss_curve_[-1] < autoencoder.loss_curve_[0]
    True
    """

    _parameter_constraints: ClassVar[dict] = StochasticSolver._parameter_constraints | {
        "momentum": [Interval(Real, 0, 1, closed="left")],
        "nesterov": ["boolean"],
    }

    learning_rate_init: float = 0.01
    momentum: float = 0.9
    nesterov: bool = True

    def _make_optimizer(self, x: Tensor) -> torch.optim.Optimizer:
        nesterov = self.nesterov and self.momentum > 0
        return torch.optim.SGD([x], self.learning_rate_init, self.momentum, nesterov=nesterov, fused=True)


@dataclass(eq=False, repr=False, kw_only=True)
class Adam(StochasticSolver):
    """Stochastic gradient descent with steps that adapt to each parameter.

    Parameters
    ----------
    max_iter : int, default=50
        The most epochs (passes over all rows) to make.
    batch_size : int, default=128
        Rows a step. The smaller last batch of an epoch has its gradient shrunk in proportion, so that every row weighs
        the same.
    learning_rate_init : float, default=0.001
        Step size at the start.
    learning_rate : {"constant", "linear", "cosine"}, default="constant"
        How the step size goes on: as it is, or down to 0 at the end of the last epoch, along a line or half a cosine.
    tol : float, default=1e-4
    n_iter_no_change : int, default=10
        Converged when the epoch's value has not gone below its lowest by ``tol`` times its size for this many epochs.
    matmul_precision : {"highest", "high", "medium"}, default="highest"
        Of float32 products in the batches, as of `torch.set_float32_matmul_precision`: "medium" multiplies in bfloat16
        where the processor is faster with it, "high" in TF32 on a GPU. Parameters, moments and sums stay in float32.
    beta_1, beta_2 : float, default=0.9, 0.999
        Share of the past in the running means of the gradient and of its square.
    epsilon : float, default=1e-8
        Added to the root of the latter.

    References
    ----------
    D. P. Kingma and J. Ba, "Adam: a method for stochastic optimization", ICLR 2015.

    Examples
    --------
    >>> from layerwise import Adam, Autoencoder
    >>> from layerwise.data import load_mnist_small
    >>> X = load_mnist_small().X_train[:500]
    >>> autoencoder = Autoencoder(20, solver=Adam(max_iter=3), random_state=0).fit(X)
    >>> autoencoder.loss_curve_[-1] < autoencoder.loss_curve_[0]
    True
    """

    _parameter_constraints: ClassVar[dict] = StochasticSolver._parameter_constraints | {
        "beta_1": [Interval(Real, 0, 1, closed="left")],
        "beta_2": [Interval(Real, 0, 1, closed="left")],
        "epsilon": [Interval(Real, 0, None, closed="neither")],
    }

    learning_rate_init: float = 1e-3
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8

    def _make_optimizer(self, x: Tensor) -> torch.optim.Optimizer:
        betas = float(self.beta_1), float(self.beta_2)  # torch refuses a 0 that is an int beside a float
        return torch.optim.Adam([x], self.learning_rate_init, betas, self.epsilon, fused=True)
