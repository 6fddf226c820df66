"""L-BFGS: beside SciPy's on standard problems, at every scale, on hostile functions, stopped and continued."""

import math

import numpy as np
import pytest
import scipy.optimize
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from layerwise.solvers import LBFGS, Status
from layerwise.solvers.lbfgs import CurvaturePairs

F64 = torch.float64


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """These problems are so small that a second thread only costs time."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def rosenbrock(x):
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


def extended_rosenbrock(x):
    return (100 * (x[1::2] - x[::2] ** 2) ** 2 + (1 - x[::2]) ** 2).sum()


def powell(x):
    a, b, c, d = x
    return (a + 10 * b) ** 2 + 5 * (c - d) ** 2 + (b - 2 * c) ** 4 + 10 * (a - d) ** 4


def beale(x):
    return sum((c - x[0] + x[0] * x[1] ** k) ** 2 for k, c in ((1, 1.5), (2, 2.25), (3, 2.625)))


def wood(x):
    a, b, c, d = x
    return (
        100 * (b - a**2) ** 2
        + (1 - a) ** 2
        + 90 * (d - c**2) ** 2
        + (1 - c) ** 2
        + 10 * (b + d - 2) ** 2
        + 0.1 * (b - d) ** 2
    )


def helical_valley(x):
    angle = torch.atan2(x[1], x[0]) / (2 * math.pi)
    return 100 * ((x[2] - 10 * angle) ** 2 + (torch.hypot(x[0], x[1]) - 1) ** 2) + x[2] ** 2


def brown_badly_scaled(x):
    return (x[0] - 1e6) ** 2 + (x[1] - 2e-6) ** 2 + (x[0] * x[1] - 2) ** 2


def freudenstein_roth(x):
    return (-13 + x[0] + ((5 - x[1]) * x[1] - 2) * x[1]) ** 2 + (-29 + x[0] + ((x[1] + 1) * x[1] - 14) * x[1]) ** 2


def himmelblau(x):
    return (x[0] ** 2 + x[1] - 11) ** 2 + (x[0] + x[1] ** 2 - 7) ** 2


def trigonometric(x):
    n = len(x)
    index = torch.arange(1, n + 1, dtype=F64)
    return ((n - x.cos().sum() + index * (1 - x.cos()) - x.sin()) ** 2).sum()


def variably_dimensioned(x):
    index = torch.arange(1, len(x) + 1, dtype=F64)
    total = (index * (x - 1)).sum()
    return ((x - 1) ** 2).sum() + total**2 + total**4


def quadratic(condition, n=50):
    eigenvalues = torch.logspace(0, math.log10(condition), n, dtype=F64)
    return lambda x: 0.5 * (eigenvalues * x * x).sum() - x.sum()


_RNG = np.random.default_rng(0)
_A = torch.from_numpy(_RNG.normal(size=(200, 20)))
_SIGNS = torch.from_numpy(np.sign(_RNG.normal(size=200) + _A.numpy() @ _RNG.normal(size=20)))
_HALFSPACES = torch.from_numpy(_RNG.normal(size=(60, 10)))
_COSTS = torch.from_numpy(_RNG.normal(size=10))


def logistic_regression(w):
    return torch.nn.functional.softplus(-_SIGNS * (_A @ w)).mean() + 0.5e-3 * w @ w


def log_barrier(x):
    """Infinite outside a polytope, written so that the gradient there is no number either."""
    return _COSTS @ x - torch.log(1 - _HALFSPACES @ x).sum()


def soft_barrier(x):
    return (torch.expm1(x) - x).sum() + 1e-3 * x.square().sum()


PROBLEMS = {
    "rosenbrock 2": (rosenbrock, [-1.2, 1.0]),
    "rosenbrock 10": (rosenbrock, [-1.2, 1.0] * 5),
    "rosenbrock 100": (rosenbrock, [-1.2, 1.0] * 50),
    "extended rosenbrock 1000": (extended_rosenbrock, [-1.2, 1.0] * 500),
    "powell": (powell, [3.0, -1.0, 0.0, 1.0]),
    "beale": (beale, [1.0, 1.0]),
    "wood": (wood, [-3.0, -1.0, -3.0, -1.0]),
    "helical valley": (helical_valley, [-1.0, 0.0, 0.0]),
    "brown badly scaled": (brown_badly_scaled, [1.0, 1.0]),
    "freudenstein and roth": (freudenstein_roth, [0.5, -2.0]),
    "himmelblau": (himmelblau, [0.0, 0.0]),
    "trigonometric": (trigonometric, [0.1] * 10),
    "variably dimensioned": (variably_dimensioned, [1 - k / 20 for k in range(1, 21)]),
    "quadratic 1e2": (quadratic(1e2), [1.0] * 50),
    "quadratic 1e4": (quadratic(1e4), [1.0] * 50),
    "quadratic 1e5": (quadratic(1e5), [1.0] * 50),
    "logistic regression": (logistic_regression, [0.0] * 20),
    "log barrier": (log_barrier, [0.0] * 10),
    "soft barrier": (soft_barrier, [3.0, -20.0, 5.0]),
}


def with_gradient(function, scale=1.0):
    def fun(x):
        x = x.detach().clone().requires_grad_()
        value = scale * function(x)
        (gradient,) = torch.autograd.grad(value, x)
        return value.item(), gradient

    return fun


def scipy_minimize(fun, x0, gtol):
    def plain(x):
        value, gradient = fun(torch.from_numpy(x))
        return value, gradient.numpy()

    # Its tests are absolute; ftol=0 and a gtol that is scaled with the problem let it run as far as ours.
    options = {"ftol": 0, "gtol": gtol, "maxiter": 20000, "maxfun": 40000, "maxcor": 10}
    with np.errstate(all="ignore"):
        return scipy.optimize.minimize(plain, np.array(x0), jac=True, method="L-BFGS-B", options=options)


def test_beside_scipy():
    """Both stop at max |gradient| <= 1e-6 of the scale: as good a value, and not many more evaluations."""
    ours_total = scipy_total = 0
    for scale in (1.0, 1e-5, 1e-10):
        for name, (function, x0) in PROBLEMS.items():
            fun, gtol = with_gradient(function, scale), 1e-6 * scale
            ours = LBFGS(20000, tol=0, ftol=0).minimize(
                fun, torch.tensor(x0, dtype=F64), callback=lambda state, gtol=gtol: state.gradient.abs().max() <= gtol
            )
            scipys = scipy_minimize(fun, x0, gtol)
            print(
                f"{scale:g} {name}: ours {ours.value / scale:.12g} ({ours.n_evaluations}) "
                f"SciPy {scipys.fun / scale:.12g} ({scipys.nfev}), {ours.status.name}"
            )
            if np.isfinite(scipys.fun):
                # A minimum of 0 leaves nothing to be relative to but the scale itself.
                assert ours.value <= scipys.fun + 1e-8 * max(abs(scipys.fun), scale), name
            ours_total += ours.n_evaluations
            scipy_total += scipys.nfev
    print(f"evaluations: ours {ours_total}, SciPy {scipy_total}")
    assert ours_total <= 1.5 * scipy_total


@pytest.mark.parametrize("name", ["rosenbrock 10", "wood", "logistic regression", "log barrier"])
@pytest.mark.parametrize("exponent", [-40, 33])
def test_scale_of_the_function_does_not_matter(name, exponent):
    """A power of two changes no digit, so it must change no step."""
    function, x0 = PROBLEMS[name]
    x0 = torch.tensor(x0, dtype=F64)
    plain = LBFGS().minimize(with_gradient(function), x0)
    scaled = LBFGS().minimize(with_gradient(function, 2.0**exponent), x0)
    assert torch.equal(plain.x, scaled.x)
    assert (plain.n_iter, plain.n_evaluations, plain.status) == (scaled.n_iter, scaled.n_evaluations, scaled.status)
    assert plain.status.converged


def two_loop_direction(pairs, gradient):
    """Two-loop recursion (Nocedal and Wright, algorithm 7.4), as a second opinion."""
    q, coefficients = gradient.clone(), []
    for s, y in reversed(pairs):
        a = (s @ q) / (s @ y)
        coefficients.append(a)
        q -= a * y
    s, y = pairs[-1]
    r = (s @ y) / (y @ y) * q
    for (s, y), a in zip(pairs, reversed(coefficients), strict=True):
        r += s * (a - (y @ r) / (s @ y))
    return -r


@settings(deadline=None, max_examples=50)
@given(n=st.integers(1, 12), count=st.integers(1, 9), history_size=st.integers(1, 6), seed=st.integers(0, 1000))
def test_direction_equals_two_loop_recursion(n, count, history_size, seed):
    generator = torch.Generator().manual_seed(seed)
    history = CurvaturePairs(history_size, torch.zeros(n, dtype=F64))
    root = torch.randn(n, n, generator=generator, dtype=F64)
    hessian = root @ root.T + torch.eye(n, dtype=F64)
    pairs = []
    for _ in range(count):
        s = torch.randn(n, generator=generator, dtype=F64)
        history.add(s, hessian @ s)
        pairs.append((s, hessian @ s))
        gradient = torch.randn(n, generator=generator, dtype=F64)
        expected = two_loop_direction(pairs[-history_size:], gradient)
        direction = history.direction(gradient)
        assert torch.linalg.norm(direction - expected) <= 1e-7 * torch.linalg.norm(expected)


def test_pair_without_curvature_is_left_out():
    history = CurvaturePairs(3, torch.zeros(2, dtype=F64))
    s = torch.tensor([1.0, 0.0], dtype=F64)
    for y in (torch.zeros(2, dtype=F64), -s, torch.tensor([0.0, 1.0], dtype=F64), s * torch.nan):
        history.add(s, y)
    assert history.count == 0
    history.add(1e-12 * s, 1e-12 * s)
    assert history.count == 1


def test_continues_bit_for_bit():
    function, x0 = PROBLEMS["rosenbrock 100"]
    fun, x0 = with_gradient(function), torch.tensor(x0, dtype=F64)
    whole = LBFGS(60).minimize(fun, x0)
    first = LBFGS(23).minimize(fun, x0)
    assert first.status is Status.MAX_ITER
    rest = LBFGS(60).minimize(fun, x0, state=first.state)
    assert torch.equal(rest.x, whole.x)
    assert (rest.n_iter, rest.n_evaluations, rest.value) == (whole.n_iter, whole.n_evaluations, whole.value)


def test_last_evaluation_is_at_the_point_returned():
    points = []

    def watched(x):
        points.append(x.clone())
        return with_gradient(wood)(x)

    for max_iter in range(1, 30):
        result = LBFGS(max_iter).minimize(watched, torch.tensor([-3.0, -1, -3, -1], dtype=F64))
        assert torch.equal(points[-1], result.x)


def test_callback_stops():
    result = LBFGS().minimize(
        with_gradient(rosenbrock), torch.zeros(5, dtype=F64), callback=lambda state: state.n_iter == 3
    )
    assert (result.n_iter, result.status) == (3, Status.CALLBACK)


def test_starting_point_is_not_changed():
    x0 = torch.tensor([-1.2, 1.0], dtype=F64)
    LBFGS().minimize(with_gradient(rosenbrock), x0)
    assert x0.tolist() == [-1.2, 1.0]


def test_minimum_as_starting_point():
    result = LBFGS().minimize(with_gradient(rosenbrock), torch.ones(2, dtype=F64))
    assert (result.n_iter, result.status) == (0, Status.GRADIENT)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_starting_point_that_is_not_finite(bad):
    x0 = torch.ones(2, dtype=F64)
    result = LBFGS().minimize(lambda x: (bad, x), x0)
    assert result.status is Status.NOT_FINITE
    assert torch.equal(result.x, x0)
    assert not result.status.converged


def hostile_function(rng):
    """Draw a function of a few variables with regions of NaN, infinity, cliffs, kinks and lies about its gradient."""
    n = int(rng.integers(1, 5))
    root = torch.from_numpy(rng.normal(size=(n, n)))
    matrix = root @ root.T * 10.0 ** rng.integers(-8, 9)
    centre = torch.from_numpy(rng.normal(size=n) * 10.0 ** rng.integers(-3, 4))
    wall = torch.from_numpy(rng.normal(size=n))
    distance = rng.exponential()
    value_beyond = rng.choice([math.nan, math.inf, -math.inf, 1e308, 0.0])
    gradient_beyond = rng.choice([math.nan, math.inf, -math.inf, 0.0, 1e308])
    wiggle, kink, unbounded, lie = rng.random(4) < 0.3

    def fun(x):
        if not wall @ x < distance:
            return float(value_beyond), torch.full_like(x, gradient_beyond)
        shifted = x - centre
        gradient = matrix @ shifted
        value = 0.5 * (shifted @ gradient).item()
        if wiggle:
            value += torch.sin(50 * x).sum().item()
            gradient = gradient + 50 * torch.cos(50 * x)
        if kink:
            value += x.abs().sum().item()
            gradient = gradient + x.sign()
        if unbounded:
            value -= torch.exp(x).sum().item()
            gradient = gradient - torch.exp(x)
        return value, -gradient if lie else gradient

    return fun, torch.from_numpy(rng.normal(size=n))


def test_hostile_functions():
    rng = np.random.default_rng(20261122)
    statuses = set()
    for _ in range(10_000):
        fun, x0 = hostile_function(rng)
        start, _ = fun(x0)
        result = LBFGS(max_iter=12).minimize(fun, x0)
        assert torch.isfinite(result.x).all()
        assert isinstance(result.status, Status)
        assert result.status.value
        if result.status is not Status.NOT_FINITE:
            assert math.isfinite(result.value)
            assert result.value <= start
        statuses.add(result.status)
    assert {Status.NOT_FINITE, Status.PRECISION, Status.GRADIENT, Status.MAX_ITER} <= statuses
