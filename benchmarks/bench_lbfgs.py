"""What does an iteration of L-BFGS cost beside the evaluation, here and in SciPy and torch?

A quadratic of 314,584 parameters (those of 784-200-784), whose evaluation is nearly free; its time is measured alone
and taken off. All sides keep the same number of pairs and search along a line for the strong Wolfe conditions. The
sides run in turn; figures are medians over the rounds.

    python benchmarks/bench_lbfgs.py [--pairs 10 20] [--iterations 60] [--rounds 5]
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np
import scipy.optimize
import torch
from common import Figures, parser, show, write
from torch import Tensor

from layerwise.solvers import LBFGS

N_PARAMETERS = 784 * 200 * 2 + 784 + 200
OURS, OURS_64 = "layerwise, pairs in float32", "layerwise, pairs in float64"


class Quadratic:
    """1/2 sum_i d_i x_i^2 with curvatures over five decades; counts calls and adds up their seconds."""

    def __init__(self, dtype: torch.dtype = torch.float64):
        self.dtype = dtype
        self.curvatures = torch.logspace(-4, 1, N_PARAMETERS, dtype=torch.float64)
        self.start = torch.randn(N_PARAMETERS, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        self.calls, self.seconds = 0, 0.0

    def __call__(self, x: Tensor) -> tuple[float, Tensor]:
        began = time.perf_counter()
        gradient = self.curvatures * x
        value = 0.5 * torch.dot(gradient, x).item()
        self.seconds += time.perf_counter() - began
        self.calls += 1
        return value, gradient


def ours(fun: Quadratic, pairs: int, iterations: int) -> tuple[int, float]:
    result = LBFGS(iterations, tol=0, ftol=0, history_size=pairs).minimize(fun, fun.start)
    return result.n_iter, result.value


def scipy_side(fun: Quadratic, pairs: int, iterations: int) -> tuple[int, float]:
    def on_arrays(x: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = fun(torch.from_numpy(x))
        return value, gradient.numpy()

    options = {"maxcor": pairs, "maxiter": iterations, "ftol": 0, "gtol": 0}
    result = scipy.optimize.minimize(on_arrays, fun.start.numpy(), method="L-BFGS-B", jac=True, options=options)
    return result.nit, result.fun


def torch_side(fun: Quadratic, pairs: int, iterations: int) -> tuple[int, float]:
    x = fun.start.clone()
    optimizer = torch.optim.LBFGS(
        [x],
        max_iter=iterations,
        max_eval=10 * iterations,
        history_size=pairs,
        tolerance_grad=0,
        tolerance_change=0,
        line_search_fn="strong_wolfe",
    )

    def closure() -> float:
        value, x.grad = fun(x)
        return value

    optimizer.step(closure)
    return optimizer.state[x]["n_iter"], fun(x)[0]


SIDES: dict[str, tuple[Callable[[Quadratic, int, int], tuple[int, float]], torch.dtype]] = {
    OURS: (ours, torch.float32),
    OURS_64: (ours, torch.float64),
    "SciPy L-BFGS-B": (scipy_side, torch.float64),
    "torch.optim.LBFGS": (torch_side, torch.float64),
}


def measure(pairs: int, iterations: int, rounds: int) -> dict[str, Figures]:
    figures: dict[str, list[Figures]] = {name: [] for name in SIDES}
    for _ in range(rounds + 1):
        for name, (side, dtype) in SIDES.items():
            fun = Quadratic(dtype)
            began = time.perf_counter()
            n_iter, value = side(fun, pairs, iterations)
            own = time.perf_counter() - began - fun.seconds
            figures[name].append(
                {"ms an iteration": 1e3 * own / n_iter, "iterations": n_iter, "evaluations": fun.calls, "value": value}
            )
    return {  # the first round warms up
        name: {key: statistics.median(run[key] for run in runs[1:]) for key in runs[0]}
        for name, runs in figures.items()
    }


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--pairs", type=int, nargs="+", default=[10, 20])
    options.add_argument("--iterations", type=int, default=60)
    options.add_argument("--rounds", type=int, default=5)
    arguments = options.parse_args()
    figures = {}
    for pairs in arguments.pairs:
        figures[f"{pairs} pairs"] = measure(pairs, arguments.iterations, arguments.rounds)
        show(f"{N_PARAMETERS:,} parameters, {pairs} pairs", figures[f"{pairs} pairs"])
    write(arguments.json, figures)


if __name__ == "__main__":
    main()
