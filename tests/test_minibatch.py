"""Stochastic solvers: batches add up to the whole, order and noise are seeded; schedules, divergence, stopping."""

import math
import warnings
from collections.abc import Iterator
from typing import ClassVar

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from problems import new_layer
from sklearn.exceptions import ConvergenceWarning

from layerwise import (
    LBFGS,
    SGD,
    Adam,
    Autoencoder,
    EarlyStopping,
    Gaussian,
    KLSparsity,
    L1Sparsity,
    Masking,
    StackedAutoencoder,
    StackedClassifier,
)
from layerwise.callbacks import History
from layerwise.data import Rows
from layerwise.losses import cross_entropy
from layerwise.modules import AutoencoderLayer, StackedNetwork, UnrolledAutoencoder, linear_head
from layerwise.objective import LayerObjective, reconstruction_objective, supervised_objective
from layerwise.solvers import Status

F64 = torch.float64


@pytest.fixture
def rows():
    return Rows(np.random.default_rng(0).random((23, 6)), dtype=F64)


def layer_objective(rows, **kwargs):
    return new_layer(rows, 4, alpha=0.1, generator=torch.Generator().manual_seed(0), **kwargs)


def objectives(rows):
    generator = torch.Generator().manual_seed(1)
    layers = [AutoencoderLayer(a, b, dtype=F64, generator=generator) for a, b in ((6, 4), (4, 3))]
    head = linear_head(3, 2, dtype=F64)
    yield layer_objective(rows)
    yield layer_objective(rows, tied=True, sparsity=L1Sparsity(0.2), contraction=0.3, loss="binary_cross_entropy")
    yield reconstruction_objective(UnrolledAutoencoder(layers), rows, layer_objective(rows).loss, alpha=0.1)
    yield supervised_objective(StackedNetwork(layers, head), rows, torch.arange(23) % 2, cross_entropy, alpha=0.1)


def test_one_batch_of_all_rows_is_exact(rows):
    """KL included: the running mean begins at the mean of the first batch."""
    for objective in [*objectives(rows), layer_objective(rows, sparsity=KLSparsity(0.2))]:
        theta = objective.vector.read()
        value, gradient = objective(theta)
        ((batch_value, batch_gradient, n_rows),) = objective.epoch(theta.clone(), 100, 0)
        assert n_rows == 23
        assert batch_value.item() == pytest.approx(value, rel=1e-12)
        assert_allclose(batch_gradient, gradient, rtol=1e-9, atol=1e-13)
        assert objective.value(theta) == pytest.approx(value, rel=1e-12)
        assert sum(objective.parts.values()) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("batch_size", [1, 5, 22, 23])
def test_batches_average_to_the_whole(rows, batch_size):
    """Weighted by their rows, the last and smaller one truly, values and gradients of an epoch are the exact ones."""
    for objective in objectives(rows):
        theta = objective.vector.read()
        value, gradient = objective(theta)
        batches = [(v, g.clone(), n) for v, g, n in objective.epoch(theta.clone(), batch_size, 0)]
        assert [n for *_, n in batches] == [batch_size] * (23 // batch_size) + [23 % batch_size] * (23 % batch_size > 0)
        assert sum(v.item() * n for v, _, n in batches) / 23 == pytest.approx(value, rel=1e-12)
        assert_allclose(sum(g * n for _, g, n in batches) / 23, gradient, rtol=1e-9, atol=1e-13)


class Recorder:
    """A linear objective of three batches, the last of half the size, which keeps what the solver does."""

    dtype, n_draws = F64, 5

    def __init__(self):
        self.points = []
        self.parts = {"loss": 1.0}

    def epoch(self, theta, batch_size, number):
        for n in (2, 2, 1):
            self.points.append(theta.item())
            yield torch.tensor(1.0, dtype=F64), torch.ones(1, dtype=F64), n


def test_every_row_weighs_the_same():
    recorder = Recorder()
    solver = SGD(1, batch_size=2, learning_rate_init=1.0, momentum=0.0)
    result = solver.minimize(recorder, torch.zeros(1, dtype=F64))
    assert recorder.points == [0.0, -1.0, -2.0]
    assert result.x.item() == -2.5
    assert result.n_evaluations == 3


@pytest.mark.parametrize(
    ("schedule", "expected"), [("constant", [1, 1, 1]), ("linear", [1, 2 / 3, 1 / 3]), ("cosine", [1, 0.75, 0.25])]
)
def test_schedules(schedule, expected):
    recorder = Recorder()
    solver = SGD(1, batch_size=2, learning_rate_init=1.0, momentum=0.0, learning_rate=schedule)
    result = solver.minimize(recorder, torch.zeros(1, dtype=F64))
    steps = -np.diff([*recorder.points, result.x.item()])
    assert_allclose(steps, np.array(expected) * [1, 1, 0.5])
    assert result.status is (Status.MAX_ITER if schedule == "constant" else Status.SCHEDULE)


def test_solvers_are_those_of_torch(rows):
    """Full batches with SGD and Adam are what torch.optim makes of the exact gradient."""
    for solver, optimizer in (
        (SGD(5, batch_size=23, learning_rate_init=0.05), lambda x: torch.optim.SGD([x], 0.05, 0.9, nesterov=True)),
        (Adam(5, batch_size=23, learning_rate_init=0.05), lambda x: torch.optim.Adam([x], 0.05)),
    ):
        objective = layer_objective(rows)
        theta = objective.vector.read()
        result = solver.minimize(objective, theta)
        x = theta.clone().requires_grad_()
        theirs = optimizer(x)
        for _ in range(5):
            x.grad = objective(x.detach().clone())[1]
            theirs.step()
        assert_allclose(result.x, x.detach(), rtol=1e-8)


def test_running_mean_approximates_the_exact_penalty(digits):
    """Trained on batches, the mean activations and the exact objective come near those of L-BFGS.

    With a step as large as this the units of one seed in eight (0 among 0 to 7) saturate early and stay so.
    """
    X = digits.X_train[::6]
    exact, stochastic = (
        Autoencoder(20, sparsity=KLSparsity(0.1, 3.0), alpha=3e-3, solver=solver, random_state=1).fit(X)
        for solver in (LBFGS(100), Adam(200, batch_size=100, learning_rate_init=1e-2, learning_rate="cosine"))
    )
    assert stochastic.loss_ <= 1.15 * exact.loss_
    assert stochastic.mean_activations_.mean() == pytest.approx(exact.mean_activations_.mean(), rel=0.1)


def test_running_mean_is_unbiased(rows):
    """Were it started at 0, the first means would be a tenth of the true ones."""
    objective = layer_objective(rows, sparsity=KLSparsity(0.2))
    codes = objective.module.encode(rows.take(torch.arange(23))).detach().mean(dim=0)
    for _ in objective.epoch(objective.vector.read(), 8, 0):
        assert_allclose(objective.mean_activation, codes, rtol=0.2)


def test_last_batch_does_not_outweigh_the_others():
    """With one row in the last batch, the running mean of the codes is as near to the true one as without."""
    generator = torch.Generator().manual_seed(0)
    for m in (1000, 1001):
        rows = Rows(torch.rand(m, 6, dtype=F64, generator=generator), dtype=F64)
        objective = layer_objective(rows, sparsity=KLSparsity(0.2))
        for _ in objective.epoch(objective.vector.read(), 100, 0):
            pass
        exact = objective.module.encode(rows.take(torch.arange(m))).detach().mean(dim=0)
        assert_allclose(objective.mean_activation, exact, atol=0.002)


def test_batches_larger_than_the_data_are_all_of_it(rows):
    objective = layer_objective(rows)
    theta = objective.vector.read()
    some = [SGD(3, batch_size=size).minimize(objective, theta).x for size in (23, 5000)]
    assert_array_equal(*some)


def test_more_epochs_go_on_with_their_own_schedule(rows):
    objective = layer_objective(rows)
    first = Adam(5, learning_rate="cosine").minimize(objective, objective.vector.read())
    more = Adam(20, learning_rate="cosine").minimize(objective, objective.vector.read(), state=first.state)
    assert more.n_iter == 20
    assert (more.x - first.x).abs().max() > 1e-3


def test_state_continues_bit_for_bit(rows):
    for solver in (SGD(6, batch_size=5), Adam(6, batch_size=5, learning_rate="cosine")):
        whole = solver.minimize(layer_objective(rows, corruption=Masking(0.3)), layer_objective(rows).vector.read())
        objective = layer_objective(rows, corruption=Masking(0.3))
        half = solver.minimize(objective, objective.vector.read(), callback=lambda state: state.n_iter == 3)
        assert half.status is Status.CALLBACK
        rest = solver.minimize(objective, objective.vector.read(), state=half.state)
        assert_array_equal(rest.x, whole.x)
        assert rest.n_evaluations == whole.n_evaluations == 30


@pytest.mark.parametrize("rate", [1e2, 1e6])
@pytest.mark.parametrize("solver", [SGD, Adam])
def test_divergence_is_undone(rows, rate, solver):
    """Whether the value overflows or only grows, what is kept is no worse than the start."""
    layer = AutoencoderLayer(6, 4, activation="identity", output_activation="identity", dtype=F64)
    objective = LayerObjective(layer, rows)
    start = objective.vector.read()
    result = solver(50, batch_size=5, learning_rate_init=rate).minimize(objective, start)
    assert result.status is Status.DIVERGED
    assert objective.value(result.x) <= objective.value(start)


def test_a_lucky_first_batch_is_no_divergence():
    """One row that is reconstructed perfectly says nothing of the others."""
    x = torch.rand(40, 6, dtype=F64, generator=torch.Generator().manual_seed(0))
    objective = layer_objective(Rows(x, dtype=F64))
    objective.epoch = _first_for_nothing(objective.epoch)
    result = SGD(30, batch_size=1, learning_rate_init=0.01).minimize(objective, objective.vector.read())
    assert result.status is not Status.DIVERGED
    assert result.n_iter > 10


def _first_for_nothing(epoch):
    def changed(theta, batch_size, number):
        for place, (value, gradient, n_rows) in enumerate(epoch(theta, batch_size, number)):
            yield value * (number + place > 0), gradient, n_rows

    return changed


def test_divergence_is_a_warning():
    X = np.random.default_rng(0).random((50, 6))
    autoencoder = Autoencoder(
        4, activation="identity", output_activation="identity", solver=SGD(50, learning_rate_init=1e6), random_state=0
    )
    with pytest.warns(ConvergenceWarning, match="Lower learning_rate_init"):
        autoencoder.fit(X)
    assert np.isfinite(autoencoder.transform(X)).all()


def test_overflow_is_refused():
    X = np.random.default_rng(0).random((50, 6)) * 1e30
    linear = Autoencoder(4, activation="identity", output_activation="identity", scale=None, solver=Adam(3))
    linear.set_params(dtype="float32")
    with pytest.raises(FloatingPointError, match="layer 0: the objective is not finite"):
        linear.fit(X)


def test_stops_when_the_value_no_longer_falls(rows):
    objective = layer_objective(rows)
    result = Adam(500, batch_size=23, learning_rate_init=0.05, tol=1e-3).minimize(objective, objective.vector.read())
    assert result.status is Status.VALUE
    assert result.n_iter < 500


def test_no_epochs(rows):
    objective = layer_objective(rows)
    theta = objective.vector.read()
    assert torch.equal(Adam(0).minimize(objective, theta).x, theta)


@pytest.mark.parametrize("corruption", [None, Masking(0.3), Gaussian(0.1)])
def test_same_seed_same_bits(digits, corruption):
    X = digits.X_train[:300]
    first, second, other = (
        Autoencoder(8, corruption=corruption, solver=Adam(2, batch_size=32), random_state=seed).fit(X)
        for seed in (0, 0, 1)
    )
    assert_array_equal(first.components_, second.components_)
    assert not np.array_equal(first.components_, other.components_)


def test_noise_is_new_in_every_epoch(rows):
    objective = layer_objective(rows, corruption=Masking(0.5))
    theta = objective.vector.read()
    values = [next(iter(objective.epoch(theta, 23, number)))[0].item() for number in (0, 1, 0)]
    assert values[0] != pytest.approx(values[1], rel=1e-6)
    assert values[0] == pytest.approx(values[2], rel=1e-12)


def test_loss_at_the_end_is_exact(digits):
    X = digits.X_train[:300] / 255
    autoencoder = Autoencoder(8, alpha=0.0, solver=Adam(3), dtype="float64", random_state=0).fit(X)
    assert autoencoder.loss_ == pytest.approx(-autoencoder.score(X), rel=1e-10)
    assert len(autoencoder.loss_curve_) == autoencoder.n_iter_ == 3
    assert autoencoder.n_evaluations_ == 9


@pytest.mark.parametrize("solver", [LBFGS(60), Adam(60, batch_size=20, learning_rate_init=0.02)])
def test_early_stopping_keeps_the_best(digits, solver):
    X = digits.X_train[:80]
    stopping = EarlyStopping(0.25, patience=3)
    autoencoder = Autoencoder(60, alpha=0.0, solver=solver, early_stopping=stopping, random_state=0).fit(X)
    curve = autoencoder.validation_loss_curve_
    assert len(curve) == autoencoder.n_iter_ < 60
    assert int(np.argmin(curve)) == len(curve) - 4


def test_given_validation_rows_are_used(digits):
    X, X_val = digits.X_train[:100], digits.X_train[100:150]
    history = History()
    autoencoder = Autoencoder(
        30,
        alpha=0.0,
        corruption=Masking(0.3),
        solver=Adam(5, batch_size=20),
        early_stopping=EarlyStopping(patience=100),
        callbacks=[history],
        random_state=0,
    ).fit(X, X_val=X_val)
    curve = autoencoder.validation_loss_curve_
    assert len(curve) == 5
    assert min(curve) == pytest.approx(-autoencoder.score(X_val), rel=1e-5), "without noise, over the given rows"
    assert [step.validation_loss for step in history.steps][:5] == curve


def test_validation_rows_alone_change_nothing(digits):
    X, X_val = digits.X_train[:100], digits.X_train[100:150]
    with_, without = (Autoencoder(9, solver=LBFGS(5), random_state=0).fit(X, X_val=rows) for rows in (X_val, None))
    assert_array_equal(with_.components_, without.components_)
    assert len(with_.validation_loss_curve_) == 5
    assert without.validation_loss_curve_ == []


def test_early_stopping_in_every_stage(digits):
    X, y = digits.X_train[:200], digits.y_train[:200]
    stopping = EarlyStopping(0.2, patience=2)
    layers = [Autoencoder(n, solver=Adam(4), early_stopping=stopping) for n in (20, 10)]
    stack = StackedAutoencoder(layers, finetune="reconstruction", solver=Adam(4), early_stopping=stopping)
    classifier = StackedClassifier(stack, solver=Adam(4), early_stopping=stopping, random_state=0).fit(X, y)
    for estimator in (*classifier.autoencoder_.layers_, classifier.autoencoder_, classifier):
        assert 1 <= len(estimator.validation_loss_curve_) <= 4
    given = StackedClassifier(stack, solver=Adam(4), random_state=0)
    assert len(given.fit(X, y, X_val=X[:50], y_val=y[:50]).validation_loss_curve_) == 4


def test_every_stage_holds_out_the_same_rows(digits, monkeypatch):
    positions = []
    subset = Rows.subset
    monkeypatch.setattr(Rows, "subset", lambda self, where: positions.append(where.tolist()) or subset(self, where))
    stopping = EarlyStopping(0.2, patience=2)
    layers = [Autoencoder(n, solver=Adam(1), early_stopping=stopping) for n in (20, 10)]
    StackedAutoencoder(layers, finetune="reconstruction", solver=Adam(1), early_stopping=stopping).fit(
        digits.X_train[:50]
    )
    inside, outside = positions[::2], positions[1::2]
    assert len(inside) == 3
    assert inside[0] == inside[1] == inside[2]
    assert outside[0] == outside[1] == outside[2]


def test_nothing_left_to_train_on(digits):
    with pytest.raises(ValueError, match="early stopping holds out 1 of 1 rows and leaves none"):
        Autoencoder(4, early_stopping=EarlyStopping()).fit(digits.X_train[:1])


def test_finished_schedule_is_no_warning(digits):
    X = digits.X_train[:50]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Autoencoder(4, solver=Adam(2, learning_rate="cosine")).fit(X).converged_
    with pytest.warns(ConvergenceWarning, match="max_iter"):
        Autoencoder(4, solver="adam").set_params(solver=Adam(2)).fit(X)


@pytest.mark.parametrize(
    ("solver", "message"),
    [
        (Adam(batch_size=0), "batch_size"),
        (SGD(momentum=1.0), "momentum"),
        (Adam(learning_rate="cosin"), "learning_rate"),
        (SGD(learning_rate_init=0), "learning_rate_init"),
        (Adam(-1), "max_iter"),
    ],
)
def test_bad_parameters_are_named(digits, solver, message):
    with pytest.raises(ValueError, match=f"'{message}' parameter of"):
        Autoencoder(4, solver=solver).fit(digits.X_train[:20])


def test_values_are_finite_in_float32(digits):
    autoencoder = Autoencoder(30, sparsity=KLSparsity(0.01), solver=Adam(3, learning_rate_init=1.0)).fit(
        digits.X_train[:300]
    )
    assert math.isfinite(autoencoder.loss_)


def test_matmul_precision_is_of_the_batches_alone() -> None:
    X = np.random.default_rng(0).random((60, 5)).astype(np.float32)
    seen = []

    def note(step: object) -> None:
        seen.append(torch.get_float32_matmul_precision())

    settings = {"solver": Adam(2, matmul_precision="medium"), "random_state": 0}
    medium = Autoencoder(3, callbacks=[note], **settings).fit(X)
    exact = Autoencoder(3, solver=Adam(2), random_state=0).fit(X)
    assert set(seen) == {"highest"}, "callbacks, and validation, see the setting of the process"
    np.testing.assert_allclose(medium.transform(X), exact.transform(X), rtol=1e-2)


def test_matmul_precision_is_set_while_batches_are_computed_and_put_back() -> None:
    class Watching:
        dtype, n_draws, parts = torch.float32, 4, {"loss": 1.0}
        seen: ClassVar[list[str]] = []

        def value(self, theta: torch.Tensor) -> float:
            return 1.0

        def epoch(self, theta: torch.Tensor, batch_size: int, number: int) -> Iterator:
            self.seen.append(torch.get_float32_matmul_precision())
            yield torch.tensor(1.0, dtype=torch.float64), torch.ones(2), 4

    Adam(1, matmul_precision="medium").minimize(Watching(), torch.zeros(2))
    assert (Watching.seen, torch.get_float32_matmul_precision()) == (["medium"], "highest")

    class Failing(Watching):
        def epoch(self, theta: torch.Tensor, batch_size: int, number: int) -> Iterator:
            raise RuntimeError("out of memory")
            yield

    with pytest.raises(RuntimeError, match="out of memory"):
        Adam(1, matmul_precision="medium").minimize(Failing(), torch.zeros(2))
    assert torch.get_float32_matmul_precision() == "highest"


def test_matmul_precision_that_is_unknown_is_refused() -> None:
    with pytest.raises(ValueError, match="matmul_precision"):
        Autoencoder(2, solver=Adam(1, matmul_precision="low")).fit(np.ones((4, 3)))
