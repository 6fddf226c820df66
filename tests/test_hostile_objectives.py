"""Solvers on objectives that misbehave: they end within a bound, say why, and what they return is sound.

The rows of docs/behaviour.md on objectives; tests/test_numbers.py has those on data and settings.
"""

import itertools
import math

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from layerwise.callbacks import EarlyStopping
from layerwise.solvers import LBFGS, SGD, Adam, GradientCheck, Status
from layerwise.solvers.line_search import Trial, strong_wolfe
from layerwise.solvers.progressive import SampledObjective, growing_samples
from layerwise.watching import Watch

F64 = torch.float64
# A line search makes 25 trials and may go back to the best of them; a step may take two, the second along the gradient.
EVALUATIONS_OF_A_STEP = 2 * 26
MAX_ITER = 30
SOLVERS = {
    "lbfgs": LBFGS(MAX_ITER),
    "lbfgs, no tolerance": LBFGS(MAX_ITER, tol=0, ftol=0),
    "sgd": SGD(MAX_ITER, learning_rate_init=0.1),
    "adam": Adam(MAX_ITER, learning_rate_init=0.1),
}
# They take all rows in each evaluation, and never end higher than they began.
FULL_BATCH = (LBFGS,)


def most_evaluations(solver):
    """Return the bound for a full-batch or stochastic solver: the start and so many a step, or one batch an epoch."""
    return 1 + EVALUATIONS_OF_A_STEP * solver.max_iter if isinstance(solver, FULL_BATCH) else solver.max_iter


class Counted:
    """A function as an objective of either kind, all rows being one batch; it counts its evaluations with gradient."""

    dtype, n_draws = F64, 1

    def __init__(self, function):
        self.function = function
        self.parts = {}
        self.count = 0

    def __call__(self, x):
        self.count += 1
        value, gradient = self.function(x)
        return float(value), torch.as_tensor(gradient, dtype=F64).expand_as(x).clone()

    def value(self, x):
        return float(self.function(x)[0])

    def epoch(self, theta, batch_size, number):
        value, gradient = self(theta)
        yield torch.tensor(value), gradient, 1
        self.parts = {"loss": value}


def after(n, first, then):
    """Return a function that is ``first`` for n evaluations and then ``then``, wherever it is asked."""
    calls = itertools.count()
    return lambda x: (first if next(calls) < n else then)(x)


def bowl(x):
    return 0.5 * (x @ x).item(), x


def beyond(value, gradient, radius=0.99):
    """Return a bowl that has these instead, except near the starting point, which lies outside of the radius."""
    return lambda x: bowl(x) if x.norm() >= radius else (value, gradient)


START = torch.tensor([1.0, -0.5, 0.25], dtype=F64)
TINY, HUGE = 5e-324, 1.7e308


def functions():
    """Return functions to minimise by name, anew: some of them change from call to call."""
    generator, count = torch.Generator().manual_seed(0), itertools.count()

    def noise(x):
        return torch.randn(x.shape, generator=generator, dtype=F64)

    return {
        "constant": lambda x: (1.0, 0.0),
        "constant 0": lambda x: (0.0, 0.0),
        "constant, with a gradient": lambda x: (1.0, 1.0),
        "constant, with a gradient of rounding errors": lambda x: (1.0, 1e-20),
        "linear, unbounded below": lambda x: (x.sum(), 1.0),
        "linear, slope 1e300": lambda x: (1e300 * x.sum(), 1e300),
        "linear, slope 1e-300": lambda x: (1e-300 * x.sum(), 1e-300),
        "kinks": lambda x: (x.abs().sum(), x.sign()),
        "square root of a kink": lambda x: (x.abs().sqrt().sum(), 0.5 * x.sign() / x.abs().sqrt()),
        "steps": lambda x: (torch.floor(10 * x).sum(), 10.0),
        "cliff": lambda x: ((x @ x).item() + 100 * (x[0] < 0.7), 2 * x),
        "denormal": lambda x: (TINY * x.abs().sum(), TINY),
        "near the largest float": lambda x: (HUGE * min(1.0, (x @ x).item() / 2), HUGE * (x / 2).clamp(-1, 1)),
        "saddle, at it": lambda x: (1.0 + x[0] ** 2 - x[1] ** 2 - (START[0] ** 2 - START[1] ** 2), 0.0),
        "saddle": lambda x: (x[0] * x[1] * x[2], torch.stack([x[1] * x[2], x[0] * x[2], x[0] * x[1]])),
        "gradient of the wrong sign": lambda x: (bowl(x)[0], -x),
        "gradient of noise": lambda x: (bowl(x)[0], noise(x)),
        "noisy gradient": lambda x: (bowl(x)[0], x + noise(x)),
        "noisy value": lambda x: (bowl(x)[0] + noise(x)[0], x),
        "value that always falls": lambda x: (-next(count), noise(x)),
        "NaN at the start": lambda x: (math.nan, x),
        "infinity at the start": lambda x: (math.inf, x),
        "-infinity at the start": lambda x: (-math.inf, x),
        "gradient of NaN": lambda x: (1.0, math.nan),
        "gradient of infinity": lambda x: (1.0, math.inf),
        "one entry of the gradient is NaN": lambda x: (bowl(x)[0], x * torch.tensor([1, math.nan, 1], dtype=F64)),
        "NaN but at the start": after(1, bowl, lambda x: (math.nan, math.nan)),
        "infinity but at the start": after(1, bowl, lambda x: (math.inf, x)),
        "-infinity but at the start": after(1, bowl, lambda x: (-math.inf, x)),
        "gradient of NaN but at the start": after(1, bowl, lambda x: (bowl(x)[0], math.nan)),
        "NaN in the middle": beyond(math.nan, math.nan),
        "-infinity in the middle": beyond(-math.inf, 0.0),
        "gradient of infinity in the middle": beyond(0.0, math.inf),
        "NaN after some steps": after(5, bowl, lambda x: (math.nan, math.nan)),
    }


@pytest.mark.parametrize("name", functions())
@pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)
def test_every_end_is_sound(solver, name):
    """It comes within the bound, with a reason, at a finite point, and with all rows no higher than the start."""
    function, values = functions()[name], []
    objective = Counted(lambda x: values.append(function(x)) or values[-1])
    result = solver.minimize(objective, START)
    assert result.n_evaluations == objective.count <= most_evaluations(solver)
    assert result.n_iter <= MAX_ITER
    assert torch.isfinite(result.x).all()
    assert result.status.value
    if isinstance(solver, FULL_BATCH) and result.status is not Status.NOT_FINITE:
        assert math.isfinite(result.value)
        assert result.value <= float(values[0][0])
        assert torch.isfinite(result.gradient).all()


ENDS = {
    "constant": {"lbfgs": Status.GRADIENT, "sgd": Status.VALUE, "adam": Status.VALUE},
    "constant, with a gradient": {"lbfgs": Status.PRECISION, "adam": Status.VALUE},
    "constant, with a gradient of rounding errors": {"lbfgs": Status.GRADIENT, "sgd": Status.VALUE},
    "gradient of the wrong sign": {"lbfgs": Status.PRECISION, "sgd": Status.DIVERGED, "adam": Status.DIVERGED},
    "saddle, at it": {"lbfgs": Status.GRADIENT},
    "NaN at the start": {"lbfgs": Status.NOT_FINITE, "sgd": Status.DIVERGED, "adam": Status.DIVERGED},
    "-infinity at the start": {"lbfgs": Status.NOT_FINITE, "sgd": Status.DIVERGED, "adam": Status.DIVERGED},
    "gradient of NaN": {"lbfgs": Status.NOT_FINITE, "sgd": Status.DIVERGED, "adam": Status.DIVERGED},
    "gradient of infinity": {"lbfgs": Status.NOT_FINITE, "sgd": Status.DIVERGED, "adam": Status.DIVERGED},
    "denormal": {"sgd": Status.STILL, "lbfgs, no tolerance": Status.PRECISION},
}


@pytest.mark.parametrize(
    ("name", "solver", "status"), [(name, *end) for name, ends in ENDS.items() for end in ends.items()]
)
def test_why_it_ends(name, solver, status):
    assert SOLVERS[solver].minimize(Counted(functions()[name]), START).status is status


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)
def test_the_start_is_kept_where_everything_else_is_not_finite(solver, bad):
    result = solver.minimize(Counted(after(1, bowl, lambda x: (bad, bad))), START)
    assert torch.equal(result.x, START)
    assert result.status is (Status.PRECISION if isinstance(solver, FULL_BATCH) else Status.DIVERGED)


@pytest.mark.parametrize("exponent", [-1000, -600, 600, 1000])
def test_gradients_whose_squares_overflow_or_vanish(exponent):
    """Steps are those of the same function at an ordinary scale, as long as its own values can be told apart."""
    scale = 2.0**exponent
    result = LBFGS(50).minimize(Counted(lambda x: (scale * bowl(x - 1)[0], scale * (x - 1))), START)
    assert result.status.converged
    assert torch.allclose(result.x, torch.ones(3, dtype=F64), atol=1e-4)


def test_converges_to_machine_precision_without_tolerances():
    """No step is possible in the end, and that is an end."""
    matrix = torch.randn(20, 8, generator=torch.Generator().manual_seed(0), dtype=F64)
    for function in (
        lambda x: (0.5 * (matrix @ x - 1).square().sum(), matrix.T @ (matrix @ x - 1)),
        lambda x: (0.5 * (matrix @ x).square().sum(), matrix.T @ (matrix @ x)),  # the minimum is 0
        lambda x: (x.exp().sum() - x.sum(), x.exp() - 1),
    ):
        objective = Counted(function)
        result = LBFGS(10**9, tol=0, ftol=0).minimize(objective, torch.ones(8, dtype=F64))
        assert result.status.converged
        assert objective.count < 2000


@pytest.mark.parametrize("solver", [LBFGS(0), SGD(0), Adam(0)], ids=["lbfgs", "sgd", "adam"])
def test_no_iterations(solver):
    for function in (bowl, functions()["NaN at the start"]):
        result = solver.minimize(Counted(function), START)
        assert torch.equal(result.x, START)
        assert result.n_iter == 0


# --- Streams of numbers in place of a function: no reason in them whatever

EDGES = [0.0, -0.0, 1.0, -1.0, TINY, -TINY, 1e-310, 1e-162, 1e154, HUGE, -HUGE, math.nan, math.inf, -math.inf]
numbers = st.floats() | st.sampled_from(EDGES) | st.floats(-10, 10)
streams = st.lists(numbers, min_size=1, max_size=40)


@settings(deadline=None, max_examples=300)
@given(streams, st.lists(st.sampled_from(EDGES) | st.floats(-10, 10), min_size=3, max_size=3), st.integers(0, 6))
@example([1.0, -1.0, 0.0], [HUGE, TINY, 0.0], 5)
def test_lbfgs_survives_any_stream(stream, start, max_iter):
    endless = itertools.cycle(stream)
    values = []

    def function(x):
        values.append(next(endless))
        return values[-1], torch.tensor([next(endless) for _ in x], dtype=F64)

    solver, x0 = LBFGS(max_iter, tol=0, ftol=0), torch.tensor(start, dtype=F64)
    objective = Counted(function)
    result = solver.minimize(objective, x0)
    assert result.n_evaluations == objective.count <= most_evaluations(solver)
    if result.status is Status.NOT_FINITE:
        assert torch.equal(result.x.nan_to_num(), x0.nan_to_num())
    else:
        assert torch.isfinite(result.x).all()
        assert math.isfinite(result.value)
        assert result.value <= values[0]


@settings(deadline=None, max_examples=300)
@given(streams, st.floats(max_value=0, exclude_max=True, allow_infinity=False), st.floats(0, exclude_min=True))
def test_line_search_survives_any_stream(stream, slope, first_step):
    """Nothing, or a finite trial that is lower as far as the first of the conditions asks."""
    endless = itertools.cycle(stream)
    trials = []

    def evaluate(step):
        trials.append(Trial(step, torch.tensor([step], dtype=F64), next(endless), torch.ones(1), next(endless)))
        return trials[-1]

    start = Trial(0.0, torch.zeros(1, dtype=F64), 1.0, torch.ones(1), slope)
    trial = strong_wolfe(evaluate, start, first_step)
    assert len(trials) <= EVALUATIONS_OF_A_STEP / 2
    if trial is not None:
        assert trial.finite
        assert trial.value <= 1.0 + 1e-4 * trial.step * slope
        assert trials[-1].step == trial.step, "the objective is left where the trial is"


class Stream(Counted):
    """Values and gradients from a stream, over samples of 10,000 rows that there are said to be."""

    def __init__(self, stream):
        endless = itertools.cycle(stream)
        super().__init__(lambda x: (next(endless), torch.tensor([next(endless) for _ in x], dtype=F64)))
        self.n_rows = 10_000

    def restrict(self, n_rows):
        self.n_rows = n_rows or 10_000


@settings(deadline=None, max_examples=100)
@given(st.lists(st.floats(-10, 10) | numbers, min_size=1, max_size=40), st.integers(0, 120))
def test_growing_samples_survive_any_stream(stream, max_iter):
    objective = Stream(stream)
    assert isinstance(objective, SampledObjective)
    result = LBFGS(max_iter, tol=0, ftol=0).minimize(objective, START)
    n_samples = len(growing_samples(10_000, max_iter))
    assert n_samples == 3
    # Each sample is begun with an evaluation and may end with two searches in vain.
    assert objective.count <= result.n_evaluations <= (max_iter + n_samples) * (1 + EVALUATIONS_OF_A_STEP)
    assert objective.n_rows == 10_000
    assert torch.isfinite(result.x).all()


@settings(deadline=None, max_examples=150)
@given(streams, st.integers(0, 6), st.sampled_from([SGD, Adam]), st.sampled_from([1e-300, 1e-3, 1.0, 1e300]))
def test_stochastic_solvers_survive_any_stream(stream, max_iter, kind, rate):
    endless = itertools.cycle(stream)
    objective = Counted(lambda x: (next(endless), torch.tensor([next(endless) for _ in x], dtype=F64)))
    result = kind(max_iter, learning_rate_init=rate).minimize(objective, START)
    assert result.n_evaluations == objective.count <= max_iter
    assert torch.isfinite(result.x).all()


# --- What is built on solvers


@settings(max_examples=300)
@given(st.lists(numbers, min_size=1, max_size=30), st.sampled_from([0.0, 1e-3]))
@example([math.nan, math.inf, 2.0, 1.0, 3.0], 0.0)
@example([math.inf, 2.0], 0.0)
def test_early_stopping_keeps_the_best_finite_loss(losses, tol):
    stopping = EarlyStopping(patience=3, tol=tol)
    losses = iter(losses)
    watch = Watch(lambda: next(losses), stopping)
    stale, seen = 0, []
    for place, loss in enumerate(list(losses)):
        watch.loss = lambda loss=loss: loss
        stopped = watch.follow(torch.tensor([float(place)]))
        seen.append(loss)
        finite = [(value, k) for k, value in enumerate(seen) if math.isfinite(value)]
        if tol == 0 and finite:
            best, at = min(finite)
            assert watch.best == best
            assert watch.best_theta.item() == at
        elif not finite:
            assert watch.best_theta is None
        stale = 0 if watch.best_theta is not None and watch.best_theta.item() == place else stale + 1
        assert stopped is (stale >= 3)
        if stopped:
            break


def test_gradient_check_of_what_does_not_vary():
    """0 is 0: no NaN; and a gradient that is wrong there is very wrong."""
    for gradient, expected in ((0.0, 0.0), (1e-3, math.inf)):
        check = GradientCheck()
        check.minimize(Counted(lambda x, gradient=gradient: (1.0, gradient)), START)
        assert check.errors[0] == expected if expected == 0 else check.errors[0] > 1e100


def test_gradient_check_of_what_is_not_finite():
    check = GradientCheck()
    check.minimize(Counted(functions()["NaN at the start"]), START)
    assert math.isnan(check.errors[0])
