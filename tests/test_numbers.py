"""Numbers that misbehave, in data, in settings and in training; docs/behaviour.md is the table of it."""

import copy
import itertools
import math
import re
import warnings

import numpy as np
import pytest
import torch
from problems import new_layer
from sklearn.exceptions import ConvergenceWarning

from layerwise import (
    LBFGS,
    SGD,
    Adam,
    Autoencoder,
    AutoencoderImputer,
    AutoencoderOutlierDetector,
    EarlyStopping,
    Gaussian,
    KLSparsity,
    L1Sparsity,
    Masking,
    SaltAndPepper,
    StackedAutoencoder,
    StackedClassifier,
    StackedRegressor,
    TopK,
)
from layerwise.activations import ACTIVATIONS, get_activation
from layerwise.data import Rows
from layerwise.losses import binary_cross_entropy, cross_entropy
from layerwise.modules import AutoencoderLayer, StackedNetwork, linear_head
from layerwise.objective import LayerObjective, supervised_objective
from layerwise.stages import UNWATCHED, run_stage

SOLVERS = {
    "lbfgs": LBFGS(8),
    "sgd": SGD(6, batch_size=8),
    "adam": Adam(6, batch_size=8),
}
LINEAR = {"activation": "identity", "output_activation": "identity"}
ESTIMATORS = ["Autoencoder", "stack", "tuned stack", "classifier", "regressor", "detector", "imputer"]
DTYPES = {"float32": torch.float32, "float64": torch.float64}
M, N = 30, 4
X = np.random.default_rng(0).random((M, N))
Y = np.arange(M) % 2

every_estimator = pytest.mark.parametrize("name", ESTIMATORS)
every_solver = pytest.mark.parametrize("solver", SOLVERS)
every_dtype = pytest.mark.parametrize("dtype", DTYPES)


def build(name, solver, *, dtype="float32", **params):
    """An estimator of this kind with 3 units in its first layer, which has these parameters."""
    solver = SOLVERS.get(solver, solver)
    layer = Autoencoder(3, solver=solver, dtype=dtype, random_state=0, **params)
    second = Autoencoder(2, solver=solver, output_activation=layer.activation)
    return {
        "Autoencoder": layer,
        "stack": StackedAutoencoder([layer, second], dtype=layer.dtype, random_state=0),
        "tuned stack": StackedAutoencoder(
            [layer, second], finetune="reconstruction", solver=solver, dtype=layer.dtype, random_state=0
        ),
        "classifier": StackedClassifier(layer, solver=solver, random_state=0),
        "regressor": StackedRegressor(layer, solver=solver, random_state=0),
        "detector": AutoencoderOutlierDetector(layer, random_state=0),
        "imputer": AutoencoderImputer(layer, random_state=0),
    }[name]


def fit(estimator, rows=X, y=Y, **given):
    """Fit and return the statuses of all stages: what comes out is finite, and what did not converge was told."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("error")
        warnings.simplefilter("always", ConvergenceWarning)
        estimator.fit(rows, y, **given)
    said = " ".join(str(warning.message) for warning in caught)
    trained = estimator if hasattr(estimator, "coefs_") else estimator.autoencoder_
    for array in (*trained.coefs_, *trained.intercepts_):
        assert np.isfinite(array).all()
    for record in trained.history_:
        assert math.isfinite(record["loss"])
        assert record["converged"] or "validation" in record["status"] or record["status"] in said
    return [record["status"] for record in trained.history_]


def fit_or_sentence(estimator, *args, **given):
    """Fit and return the statuses in one string, or the sentence of the refusal."""
    try:
        return " | ".join(fit(estimator, *args, **given))
    except (ValueError, FloatingPointError) as error:
        sentence = str(error)
    assert "\n" not in sentence
    assert len(sentence) < 250
    return sentence


# --- Settings that are extreme

SETTINGS = {
    "alpha=1e30": {"alpha": 1e30},
    "alpha=1e300": {"alpha": 1e300},
    "alpha denormal": {"alpha": 1e-310},
    "KL weight 1e30": {"sparsity": KLSparsity(0.1, 1e30)},
    "KL weight 1e300": {"sparsity": KLSparsity(0.1, 1e300)},
    "KL weight denormal": {"sparsity": KLSparsity(0.1, 1e-310)},
    "KL target 1e-12": {"sparsity": KLSparsity(1e-12)},
    "KL target denormal": {"sparsity": KLSparsity(5e-324)},
    "KL target 1 - 1e-12": {"sparsity": KLSparsity(1 - 1e-12)},
    "KL target next to 1": {"sparsity": KLSparsity(1 - 2**-53)},
    "KL target 1e-12, tanh": {"sparsity": KLSparsity(1e-12), "activation": "tanh"},
    "L1 weight 1e30": {"sparsity": L1Sparsity(1e30)},
    "L1 weight 1e300": {"sparsity": L1Sparsity(1e300)},
    "contraction 1e30": {"contraction": 1e30},
    "contraction 1e300": {"contraction": 1e300},
    "contraction denormal": {"contraction": 1e-310},
    "masking of 0.999": {"corruption": Masking(0.999)},
    "masking of all": {"corruption": Masking(1.0)},
    "masking, intact entries only": {"corruption": Masking(0.5, emphasis=(0, 1))},
    "masking of all, intact entries only": {"corruption": Masking(1.0, emphasis=(0, 1))},
    "masking of none, masked entries only": {"corruption": Masking(0.0, emphasis=(1, 0))},
    "emphasis of 1e300": {"corruption": Masking(0.5, emphasis=(1e300, 1))},
    "noise of 1e10": {"corruption": Gaussian(1e10)},
    "noise of 1e300": {"corruption": Gaussian(1e300)},
    "salt of 1e30": {"corruption": SaltAndPepper(1.0, low=-1e30, high=1e30)},
    "salt of 1e300": {"corruption": SaltAndPepper(1.0, low=-1e300, high=1e300)},
}
TOO_LARGE = r"layer 0: the (objective|gradient) is not finite at the starting point"
# Of float32, what the objective then is; all else is trained.
REFUSED = {
    "alpha=1e300": r"alpha=1e\+300 is too large for torch.float32; lower it, or use dtype='float64'",
    "KL weight 1e300": TOO_LARGE,
    "L1 weight 1e300": TOO_LARGE,
    "contraction 1e300": TOO_LARGE,
    "emphasis of 1e300": TOO_LARGE,
    "noise of 1e300": TOO_LARGE,
    "salt of 1e300": TOO_LARGE,
}


@pytest.mark.parametrize("setting", SETTINGS)
@every_dtype
@every_solver
def test_extreme_settings(solver, dtype, setting):
    """float64 takes them all; float32 refuses with a sentence those that overflow it."""
    found = fit_or_sentence(build("Autoencoder", solver, dtype=dtype, **SETTINGS[setting]))
    if dtype == "float32" and setting in REFUSED and (solver == "lbfgs" or setting != "KL weight 1e300"):
        assert re.match(REFUSED[setting], found)
    else:  # the value over batches is a float64 there; its gradient is the first thing to overflow
        assert re.match("converged|stopped|diverged|failed: many parameters", found)


@pytest.mark.parametrize(
    "setting", ["KL weight 1e30", "L1 weight 1e30", "contraction 1e30", "alpha=1e30", "salt of 1e30"]
)
@pytest.mark.parametrize("name", ESTIMATORS[1:])
def test_extreme_settings_in_every_estimator(name, setting):
    assert fit_or_sentence(build(name, "lbfgs", **SETTINGS[setting])).startswith(("converged", "stopped"))


@pytest.mark.parametrize("alpha", [1e30, 1e150, 1e300])
def test_lbfgs_follows_any_decay_to_zero(alpha):
    """The squares of these gradients overflow; the weights go to 0 as they do for 1e6, in their own relative terms."""
    autoencoder = Autoencoder(3, alpha=alpha, solver=LBFGS(50), dtype="float64", random_state=0)
    start = Autoencoder(3, alpha=alpha, solver=LBFGS(0), dtype="float64", random_state=0)
    fit(autoencoder)
    fit(start)
    assert autoencoder.loss_ < 1e-15 * start.loss_
    assert abs(autoencoder.components_).max() < 1e-7 * abs(start.components_).max()


@pytest.mark.parametrize("part", [{"emphasis": (math.inf, 1)}, {"emphasis": (math.nan, 1)}, {"emphasis": (0, 0)}])
def test_emphasis_that_is_refused(part):
    with pytest.raises(ValueError, match=r"emphasis=.* must be two weights \(corrupted, intact\), finite"):
        build("Autoencoder", "lbfgs", corruption=Masking(0.5, **part)).fit(X)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    "setting",
    [
        lambda bad: {"alpha": bad},
        lambda bad: {"contraction": bad},
        lambda bad: {"sparsity": KLSparsity(0.1, bad)},
        lambda bad: {"sparsity": KLSparsity(bad)},
        lambda bad: {"sparsity": L1Sparsity(bad)},
        lambda bad: {"corruption": Masking(bad)},
        lambda bad: {"corruption": Gaussian(bad)},
        lambda bad: {"corruption": SaltAndPepper(low=bad)},
        lambda bad: {"solver": LBFGS(tol=bad)},
        lambda bad: {"solver": LBFGS(ftol=bad)},
        lambda bad: {"solver": Adam(learning_rate_init=bad)},
        lambda bad: {"solver": Adam(epsilon=bad)},
        lambda bad: {"solver": SGD(momentum=bad)},
        lambda bad: {"early_stopping": EarlyStopping(tol=bad)},
    ],
)
def test_settings_that_are_not_finite_are_refused(setting, bad):
    with pytest.raises(ValueError, match="parameter of"):
        Autoencoder(3).set_params(**setting(bad)).fit(X)


# --- Learning rates

RATES = [1e30, 1e300]


@pytest.mark.parametrize("kind", [SGD, Adam])
@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("max_iter", [1, 20])
@every_dtype
def test_learning_rate_that_overflows(kind, rate, max_iter, dtype):
    """The parameters are those of the start again, and that is told; one epoch of one batch too."""
    for batch_size in (8, M):
        solver = kind(max_iter, learning_rate_init=rate, batch_size=batch_size)
        autoencoder = build("Autoencoder", solver, dtype=dtype, **LINEAR)
        assert fit(autoencoder)[0].startswith("diverged")
        start = build("Autoencoder", LBFGS(0), dtype=dtype, **LINEAR)
        fit(start)
        assert np.array_equal(autoencoder.components_, start.components_)


@pytest.mark.parametrize("kind", [SGD, Adam])
@pytest.mark.parametrize("name", ESTIMATORS)
def test_learning_rate_that_overflows_in_every_stage(name, kind):
    statuses = fit(build(name, kind(5, learning_rate_init=1e30), **LINEAR))
    assert all(status.startswith("diverged") for status in statuses)


@pytest.mark.parametrize("kind", [SGD, Adam])
@every_dtype
def test_learning_rate_that_moves_nothing(kind, dtype):
    """That is no convergence."""
    autoencoder = build("Autoencoder", kind(50, learning_rate_init=1e-300), dtype=dtype)
    assert fit(autoencoder)[0].startswith("failed: many parameters have not moved")
    assert autoencoder.n_iter_ == 11, "n_iter_no_change"
    assert not autoencoder.converged_


def test_squares_of_gradients_that_overflow_stop_adam():
    autoencoder = build("Autoencoder", Adam(50), alpha=1e30)
    assert fit(autoencoder)[0].startswith("failed: many parameters have not moved")


@pytest.mark.parametrize("kind", [SGD, Adam])
def test_convergence_is_not_mistaken_for_standing_still(kind):
    """Trained until it moves no more, and then again."""
    autoencoder = build("Autoencoder", kind(2000, learning_rate_init=0.05, batch_size=M), alpha=0.1, warm_start=True)
    for _ in range(3):
        assert fit(autoencoder)[0].startswith("converged")


@pytest.mark.parametrize("kind", [SGD, Adam])
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_training_goes_on_after_a_divergence(kind, method):
    """What has diverged leaves no momentum behind."""
    autoencoder = build("Autoencoder", kind(30, learning_rate_init=1e30), warm_start=True, **LINEAR)
    for _ in range(5):
        fit_or_sentence(autoencoder)
    start = autoencoder.loss_
    autoencoder.set_params(solver=kind(30, learning_rate_init=1e-2))
    for _ in range(1 if method == "fit" else 30):
        getattr(autoencoder, method)(X)
    assert autoencoder.loss_ < 0.9 * start


@pytest.mark.parametrize("kind", [SGD, Adam])
@pytest.mark.parametrize("name", ["Autoencoder", "tuned stack"])
def test_partial_fit_that_overflows(name, kind):
    """It leaves the estimator as it was, and what comes next knows nothing of it."""
    given = (X,)
    estimator = build(name, kind(30, learning_rate_init=1e-2), **LINEAR).partial_fit(*given)
    other = copy.deepcopy(estimator)
    del other._states
    estimator.set_params(solver=kind(30, learning_rate_init=1e30))
    for _ in range(3):
        with pytest.raises(FloatingPointError, match="the objective is not finite at the parameters reached"):
            estimator.partial_fit(*given)
    for each in (estimator, other):
        each.set_params(solver=kind(30, learning_rate_init=1e-2)).partial_fit(*given)
    for mine, theirs in zip(estimator.coefs_, other.coefs_, strict=True):
        assert np.array_equal(mine, theirs)


@pytest.mark.parametrize("then", [*SOLVERS.values(), Adam(6, beta_1=0.5), LBFGS(6, history_size=2)], ids=str)
@every_dtype
@every_solver
def test_another_solver_may_go_on(solver, then, dtype):
    """As after a divergence: it starts from the weights there are, with nothing of what the other had learnt."""
    autoencoder = build("Autoencoder", solver, warm_start=True)
    fit(autoencoder)
    weights = autoencoder.components_
    fresh = build("Autoencoder", solver, warm_start=True)
    fit(fresh)
    del fresh._states
    for each in (autoencoder, fresh):
        fit(each.set_params(solver=then, dtype=dtype))
    assert not np.array_equal(autoencoder.components_, weights)
    if then is not SOLVERS[solver]:
        assert np.array_equal(autoencoder.components_, fresh.components_)


@every_solver
def test_partial_fit_on_constant_batches(solver):
    autoencoder = build("Autoencoder", solver, scale="standard", output_activation="identity")
    for batch in (np.full((8, N), 0.3), np.full((8, N), 0.3), np.full((1, N), 0.7), X):
        autoencoder.partial_fit(batch)
        assert np.isfinite(autoencoder.transform(X)).all()
        assert math.isfinite(autoencoder.loss_)
        assert autoencoder.scaling_.scale.tolist() == [1.0] * N


@every_estimator
@every_solver
def test_no_iterations(name, solver):
    solver = SOLVERS[solver].__class__(0)
    estimator = build(name, solver)
    assert set(fit(estimator)) == {"stopped: max_iter iterations were made"}
    assert estimator.fit(X, Y, sample_weight=np.arange(M))


@every_dtype
def test_no_tolerance_is_no_endless_loop(dtype):
    """One unit less than the rank of centred rank-1 data suffices: the objective goes to its rounding errors."""
    line = np.linspace(-1, 1, M)[:, None] * [1.0, 2.0, -1.0, 0.5]
    solver = LBFGS(10**9, tol=0, ftol=0)
    for params in (LINEAR, LINEAR | {"tied": True}, {}, {"alpha": 0.1}):
        autoencoder = build("Autoencoder", solver, dtype=dtype, **({"alpha": 1e-3} | params))
        assert fit(autoencoder, line)[0].startswith(("stopped: no step lowers the value", "converged"))
        assert autoencoder.n_iter_ < 10_000


# --- Units that are saturated or dead


def saturated(activation, loss, sparsity, dtype, sign, tied=False):
    """A layer whose pre-activations are about +-1e4, and the objective of it on rows that hold 0 and 1."""
    output = "sigmoid" if loss == "binary_cross_entropy" else "identity"
    objective = new_layer(
        Rows(X.round(), dtype=dtype),
        3,
        activation=activation,
        output_activation=output,
        loss=loss,
        tied=tied,
        alpha=1e-3,
        sparsity=sparsity,
        contraction=0.1,
    )
    layer = objective.module
    with torch.no_grad():
        layer.encoder_weight.fill_(sign * 1e4)
        layer.encoder_bias.fill_(sign * 1e4)
        layer.decoder_bias.fill_(-1e4)
        if not tied:
            layer.decoder_weight.copy_(torch.tensor([-1e4, 1e4, 1e4]).expand(N, 3))
    return layer, objective


PENALTIES = {"none": None, "KL": KLSparsity(0.1), "L1": L1Sparsity(0.1)}


@pytest.mark.parametrize("activation", [*ACTIVATIONS, TopK(2)])
@pytest.mark.parametrize("loss", ["squared_error", "binary_cross_entropy"])
@pytest.mark.parametrize("penalty", PENALTIES)
@every_dtype
def test_saturated_units(activation, loss, penalty, dtype):
    """Value and gradient are finite, over all rows and over batches, and every solver goes on from there."""
    if penalty == "KL" and not math.isfinite(get_activation(activation).high - get_activation(activation).low):
        return
    for sign, tied in itertools.product((-1, 1), (False, True)):
        make = (activation, loss, PENALTIES[penalty], DTYPES[dtype], sign, tied)
        layer, objective = saturated(*make)
        theta = objective.vector.read()
        value, gradient = objective(theta)
        assert math.isfinite(value)
        assert math.isfinite(objective.value(theta))
        assert torch.isfinite(gradient).all()
        if penalty == "KL":
            assert set(objective.mean_activation.tolist()) == {0.0 if sign < 0 else 1.0}, "exactly"
            assert objective.parts["sparsity"] > 5
        for batch_value, batch_gradient, _ in objective.epoch(theta.to(objective.dtype), 7, 0):
            assert math.isfinite(batch_value)
            assert torch.isfinite(batch_gradient).all()
        for solver in SOLVERS.values():
            layer, objective = saturated(*make)
            stage = run_stage("layer 0", objective, solver, None, UNWATCHED)
            assert stage.loss <= value * (1 + 1e-6)
            assert all(torch.isfinite(parameter).all() for parameter in layer.parameters())


@pytest.mark.parametrize("mean", [0.0, 5e-324, 1e-40, 1e-30, 0.1, 1 - 2**-24, 1 - 2**-53, 1.0])
@pytest.mark.parametrize("target", [5e-324, 1e-12, 0.1, 1 - 1e-12, 1 - 2**-53])
def test_kl_of_any_means(mean, target):
    """Finite, and its gradient too; negative by no more than rounding."""
    for dtype in DTYPES.values():
        q = torch.tensor([mean], dtype=dtype, requires_grad=True)
        value = KLSparsity(target, 1.0).value(q)
        (gradient,) = torch.autograd.grad(value, q)
        assert -1e-15 <= value.item() < 100
        assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("z", [1e4, 1e30])
@every_dtype
def test_cross_entropy_of_wrong_and_right_certainty(z, dtype):
    logits = torch.tensor([[z, z, -z, -z]], dtype=DTYPES[dtype])
    target = torch.tensor([[1.0, 0.0, 1.0, 0.0]], dtype=DTYPES[dtype])
    value, gradient = binary_cross_entropy(logits.clone(), target, get_activation("sigmoid"))
    assert value.item() == pytest.approx(2 * z)
    assert gradient.tolist() == [[0.0, 1.0, -1.0, 0.0]]
    for label, expected in ((0, 0.0), (2, 2 * z)):
        value, gradient = cross_entropy(torch.tensor([[z, 0.0, -z]], dtype=DTYPES[dtype]), torch.tensor([label]))
        assert value.item() == pytest.approx(expected)
        assert torch.isfinite(gradient).all()


@every_solver
def test_softmax_with_logits_of_1e4(solver):
    """A head that is certain, and wrong about half of the rows, is trained on."""
    head = linear_head(N, 2)
    with torch.no_grad():
        head.bias.copy_(torch.tensor([1e4, -1e4]))
    objective = supervised_objective(StackedNetwork([], head), Rows(X), torch.from_numpy(Y), cross_entropy)
    stage = run_stage("head", objective, SOLVERS[solver], None, UNWATCHED)
    assert stage.loss <= 1e4
    assert all(torch.isfinite(parameter).all() for parameter in head.parameters())


@every_solver
@every_dtype
def test_units_that_are_dead_from_the_start(solver, dtype):
    """They have no gradient and stay as they are; the biases of the reconstruction still learn the means."""
    layer = AutoencoderLayer(N, 3, activation="relu", output_activation="identity", dtype=DTYPES[dtype])
    with torch.no_grad():
        layer.encoder_weight.fill_(-1.0)
        layer.encoder_bias.fill_(-1.0)
    objective = LayerObjective(layer, Rows(X, dtype=DTYPES[dtype]))
    stage = run_stage(
        "layer 0",
        objective,
        {"lbfgs": LBFGS(50), "sgd": SGD(500, momentum=0.0), "adam": Adam(1000)}[solver],
        None,
        UNWATCHED,
    )
    assert torch.equal(layer.encoder_weight, torch.full_like(layer.encoder_weight, -1.0))
    assert torch.allclose(layer.decoder_bias.double(), torch.from_numpy(X.mean(axis=0)), atol=0.05)
    assert stage.converged or "max_iter" in stage.status.value


# --- Data that is singular or too little

RNG = np.random.default_rng(3)
LINE = RNG.random((M, 1))
SINGULAR = {
    "all rows the same": np.repeat(X[:1], M, axis=0),
    "duplicated columns": np.repeat(X[:, :2], 2, axis=1),
    "rank 1": LINE * [1.0, -2.0, 0.5, 1e-3],
    "collinear to rounding": np.hstack([X[:, :3], X[:, :3].sum(axis=1, keepdims=True) * (1 + 1e-16)]),
    "a constant column": np.hstack([X[:, :3], np.full((M, 1), 0.25)]),
    "fewer rows than units": X[:2],
    "fewer columns than units": X[:, :2],
    "one row unlike the rest": np.vstack([np.repeat(X[:1], M - 1, axis=0), X[1:2]]),
    "a column of 1e30 beside 1e-30": X * [1e30, 1e-30, 1.0, 0.0],
    "zeros and ones": X.round(),
}


@pytest.mark.parametrize("rows", SINGULAR.values(), ids=SINGULAR)
@pytest.mark.parametrize(
    "params", [{}, {"output_activation": "identity", "scale": "standard"}], ids=["auto", "standard"]
)
@every_solver
@every_estimator
def test_singular_data(name, solver, params, rows):
    """Training ends as it does on any data, and what is computed from the rows is finite."""
    estimator = build(name, solver, **params)
    fit(estimator, rows, Y[: len(rows)])
    for method in ("transform", "predict", "score_samples", "predict_proba"):
        if hasattr(estimator, method):
            assert np.isfinite(getattr(estimator, method)(rows)).all()


@pytest.mark.parametrize(
    "params", [{}, {"sparsity": KLSparsity(0.1)}, {"corruption": Masking(0.5)}, {"contraction": 0.1}]
)
@pytest.mark.parametrize("batch_size", [1, 10**9])
@pytest.mark.parametrize("kind", [SGD, Adam])
def test_batches_of_one_row_and_of_more_than_there_are(kind, batch_size, params):
    fit(build("Autoencoder", kind(3, batch_size=batch_size), **params))


@every_solver
def test_a_class_with_one_row(solver):
    y = np.where(np.arange(M) == 0, "rare", "common")
    classifier = build("classifier", solver)
    fit(classifier, X, y)
    assert classifier.classes_.tolist() == ["common", "rare"]
    assert np.isfinite(classifier.predict_proba(X)).all()
    fit(classifier.set_params(early_stopping=EarlyStopping(0.5, patience=2)), X, y)


@every_solver
@every_dtype
def test_targets_of_1e300(solver, dtype):
    y = X[:, 0] * 1e300
    regressor = build("regressor", solver, dtype=dtype)
    fit(regressor, X, y)
    assert np.isfinite(regressor.predict(X)).all()
    assert abs(regressor.predict(X) / y - 1).mean() < 100, "in their units"


@pytest.mark.parametrize("activation", ["relu", "identity", "softplus", "elu", "leaky_relu"])
@every_solver
def test_huge_rows_after_training(solver, activation):
    """Everything is finite that fits into a float64; the squared errors of 1e299 do not, and are infinite."""
    params = {"activation": activation, "output_activation": "identity"}
    for dtype, huge in (("float32", X * 1e30), ("float64", X * 1e299)):
        autoencoder, classifier, detector = (
            build(name, solver, dtype=dtype, **params).fit(X, Y) for name in ("Autoencoder", "classifier", "detector")
        )
        assert np.isfinite(autoencoder.transform(huge)).all()
        assert np.isfinite(classifier.predict_proba(huge)).all()
        assert (detector.predict(huge) == -1).all()
        assert (autoencoder.score(huge) == -math.inf) is (dtype == "float64")
        assert not np.isnan(detector.decision_function(huge)).any()


@every_solver
def test_targets_at_both_ends_of_the_floats(solver):
    y = np.where(Y, 1.7e308, -1.7e308)
    regressor = build("regressor", solver)
    fit(regressor, X, y)
    assert np.isfinite(regressor.predict(X)).all()


def test_score_of_targets_whose_squares_overflow():
    """R^2 is scikit-learn's, which squares them."""
    y = X[:, 0] * 1e300
    regressor = build("regressor", "lbfgs").fit(X, y)
    with np.errstate(all="ignore"):
        assert math.isnan(regressor.score(X, y))


@every_solver
def test_one_weight_beyond_the_type(solver):
    """float64 takes it, as the one row that counts; float32 cannot hold it."""
    weights = np.where(np.arange(M) == 3, 1e300, 1.0)
    fit(build("Autoencoder", solver, dtype="float64"), X, None, sample_weight=weights)
    with pytest.raises(FloatingPointError, match="layer 0: the objective is not finite"):
        build("Autoencoder", solver).fit(X, sample_weight=weights)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["Autoencoder", "stack", "classifier", "regressor"])
def test_validation_rows_and_targets_that_are_not_finite(name, bad):
    rows = X.copy()
    rows[3, 1] = bad
    given = {"y_val": Y} if name in ("classifier", "regressor") else {}
    with pytest.raises(ValueError, match=r"X_val contains NaN or infinity: X_val\[3, 1\] is (NaN|infinity)"):
        build(name, "lbfgs").fit(X, Y, X_val=rows, **given)
    if given:
        with pytest.raises(ValueError, match=r"y_val (holds|contains) (-?inf|nan|NaN)"):
            build(name, "lbfgs").fit(X, Y, X_val=X, y_val=np.where(np.arange(M) == 2, bad, Y))


@pytest.mark.parametrize("codes", [1e38, 1e300, -1e300])
def test_codes_that_are_too_large(codes):
    autoencoder = build("Autoencoder", "lbfgs").fit(X)
    with pytest.raises(ValueError, match=r"column 0 of X .* too large for dtype='float32'; use dtype='float64'"):
        autoencoder.inverse_transform(np.full((2, 3), codes))
    wide = build("Autoencoder", "lbfgs", dtype="float64").fit(X)
    assert np.isfinite(wide.inverse_transform(np.full((2, 3), codes))).all()


@pytest.mark.parametrize(
    "params",
    [
        {"solver": LBFGS(10**30, tol=1e-2)},
        {"solver": LBFGS(5, tol=1e300)},
        {"solver": LBFGS(5, ftol=1e300)},
        {"solver": Adam(10**30, learning_rate="cosine", n_iter_no_change=2, tol=1.0)},
        {"solver": Adam(3, batch_size=10**30)},
        {"solver": Adam(3, beta_1=0, beta_2=0, epsilon=5e-324)},
        {"solver": SGD(3, momentum=0)},
        {"early_stopping": EarlyStopping(tol=1e300, patience=3)},
        {"cache_size": 1e308, "solver": LBFGS(3)},
        {"cache_size": 0, "solver": LBFGS(3)},
        {"corruption": Masking(1e-300), "solver": Adam(3)},
        {"corruption": Masking(1 - 1e-16), "solver": Adam(3)},
    ],
    ids=str,
)
def test_settings_beyond_all_sense(params):
    fit(Autoencoder(3, random_state=0).set_params(**params))


# --- Validation

HUGE = X * 1e299


@every_solver
@pytest.mark.parametrize("name", ["Autoencoder", "stack", "tuned stack", "classifier", "regressor"])
def test_validation_loss_that_is_infinite(name, solver):
    """Nothing is ever lower than that: it stops when its patience ends, at the parameters reached."""
    params = {"output_activation": "identity", "dtype": "float64", "early_stopping": EarlyStopping(patience=2)}
    estimator = build(name, solver, **params)
    if name == "tuned stack":
        estimator.set_params(early_stopping=EarlyStopping(patience=2))
    given = {"X_val": HUGE} | ({"y_val": Y[: len(HUGE)]} if name in ("classifier", "regressor") else {})
    statuses = fit(estimator, **given)
    first = (
        estimator
        if name == "Autoencoder"
        else (estimator.autoencoder_ if given.get("y_val") is not None else estimator)
    )
    layer = first.layers_[0] if hasattr(first, "layers_") else first
    assert layer.validation_loss_curve_ == [math.inf] * 2
    assert statuses[0] == "stopped: the loss of the validation rows no longer decreases"


# --- Growing samples

LARGE = np.random.default_rng(5).random((2500, 3))


@pytest.mark.parametrize("position", [0, 700, 1600, 2499])
@pytest.mark.parametrize(("bad", "end"), [(1e25, "stopped|converged"), (1e200, "layer 0: the objective is not finite")])
def test_row_that_overflows_in_some_sample(bad, end, position):
    """In the first 1,000 rows or only among all: the same end, and never a silent one."""
    rows = LARGE.copy()
    rows[position] *= bad
    params = LINEAR | {"scale": None, "dtype": "float64"}
    assert re.match(end, fit_or_sentence(build("Autoencoder", LBFGS(12), **params), rows, None))


# --- On the command line

FLAGS = ("--layers", 3, "--max-iter", 15, "--random-state", 0)


@pytest.fixture
def table(tmp_path):
    np.save(tmp_path / "rows.npy", X)
    return tmp_path / "rows.npy"


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (("--solver", "adam", "--alpha", 1e300), "alpha=1e+300 is too large for torch.float32"),
        (("--sparsity-target", 0.1, "--sparsity-weight", 1e300), "layer 0: the gradient is not finite"),
        (("--contraction", 1e300), "layer 0: the objective is not finite"),
        (("--alpha", "nan"), "alpha"),
        (("--solver", "sgd", "--learning-rate-init", "inf"), "learning_rate_init"),
    ],
)
def test_command_line_refuses(run, table, tmp_path, flags, sentence):
    code, _, err = run("fit", table, "--out", tmp_path / "run", *FLAGS, *flags)
    assert code == 2
    assert sentence in err
    assert "Traceback" not in err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("flags", "sentence", "advice"),
    [
        (("sgd", "--learning-rate-init", 1e30), "diverged", "Lower learning_rate_init or"),
        (("adam", "--learning-rate-init", 1e-300), "many parameters have not moved", "Raise learning_rate_init, or"),
    ],
)
def test_command_line_says_what_went_wrong(run, table, tmp_path, flags, sentence, advice):
    code, out, _ = run("fit", table, "--out", tmp_path / "run", *FLAGS, "--report", "--solver", *flags)
    assert code == 0
    assert "Training went wrong: layer 0" in out
    assert sentence in " ".join(out.split())
    assert advice in (tmp_path / "run" / "report.html").read_text()
