"""The pages for people who come from elsewhere: their examples, run as they stand, and their formulas, in NumPy."""

import re
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from problems import new_layer
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPRegressor
from sklearn.preprocessing import MinMaxScaler

from layerwise import SGD, Autoencoder, AutoencoderOutlierDetector, KLSparsity, L1Sparsity, Masking
from layerwise.data import Rows
from layerwise.export import from_matlab_autoencoder

DOCS = Path(__file__).parents[1] / "docs"
PAGES = sorted(DOCS.glob("migrate*.md"))

M, K, H = 40, 6, 5
LAMBDA, BETA, RHO = 0.004, 4.0, 0.15


@pytest.fixture(scope="module")
def problem():
    """Rows in [0, 1] and weights W1 (H, K), b1, W2 (K, H), b2 that were not trained on them."""
    rng = np.random.default_rng(0)
    W1, W2 = rng.normal(size=(H, K)), rng.normal(size=(K, H))
    return rng.random((M, K)), (W1, rng.normal(size=H), W2, rng.normal(size=K))


def objective(X, weights, **params):
    """Return our objective, and its gradient as W1, b1, W2, b2, at these weights."""
    problem = new_layer(Rows(torch.from_numpy(X), dtype=torch.float64), H, **params)
    layer = problem.module
    parameters = layer.encoder_weight, layer.encoder_bias, layer.decoder_weight, layer.decoder_bias
    with torch.no_grad():
        for parameter, array in zip(parameters, weights, strict=True):
            parameter.copy_(torch.from_numpy(array))
    value, gradient = problem(problem.vector.read())
    return value, [view.numpy() for view in problem.vector.views(gradient)]


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def forward(X, weights):
    W1, b1, W2, b2 = weights
    codes = sigmoid(X @ W1.T + b1)
    return codes, sigmoid(codes @ W2.T + b2)


def sum_of_squares(weights):
    return np.sum(weights[0] ** 2) + np.sum(weights[2] ** 2)


def kl(codes):
    mean = codes.mean(axis=0)
    return np.sum(RHO * np.log(RHO / mean) + (1 - RHO) * np.log((1 - RHO) / (1 - mean)))


# --- The pages


@pytest.mark.filterwarnings("ignore:.*did not converge")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_examples_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "__main__"}
    for block in re.findall(r"^```python\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE):
        exec(compile(block, str(page), "exec"), namespace)
    plt.close("all")


def test_every_page_has_an_example_and_is_in_the_index():
    index = (DOCS / "migrate.md").read_text()
    pages = [page for page in PAGES if page.stem != "migrate"]
    assert len(pages) == 4
    for page in pages:
        assert f"({page.name})" in index
        assert "```python" in page.read_text()


# --- MATLAB


def test_matlab_cost_of_the_files(problem):
    """2/K times ours, with the same three numbers."""
    X, weights = problem
    codes, outputs = forward(X, weights)
    cost = np.mean((X - outputs) ** 2) + LAMBDA / K * sum_of_squares(weights) + 2 * BETA / K * kl(codes)
    ours, _ = objective(X, weights, alpha=LAMBDA, sparsity=KLSparsity(RHO, BETA))
    assert_allclose(cost, 2 / K * ours, rtol=1e-12)


def test_matlab_cost_of_the_documentation(problem):
    """Twice ours, with half of lambda and of beta."""
    X, weights = problem
    codes, outputs = forward(X, weights)
    cost = np.sum((X - outputs) ** 2) / M + LAMBDA / 2 * sum_of_squares(weights) + BETA * kl(codes)
    ours, _ = objective(X, weights, alpha=LAMBDA / 2, sparsity=KLSparsity(RHO, BETA / 2))
    assert_allclose(cost, 2 * ours, rtol=1e-12)


def test_minmax_is_mapminmax():
    """y = (ymax - ymin) (x - xmin) / (xmax - xmin) + ymin for each variable, with the range of the decoder."""
    rows = np.random.default_rng(1).normal(size=(30, 4)) * [1, 10, 0.1, 3] + [0, 5, -1, 2]
    scaled = MinMaxScaler().fit_transform(rows)
    params = {"solver": SGD(0), "dtype": "float64", "random_state": 0}
    theirs = Autoencoder(3, scale=None, **params).fit(scaled)
    ours = Autoencoder(3, scale="minmax", **params).fit(rows)
    assert_allclose(ours.transform(rows), theirs.transform(scaled), rtol=1e-12)
    assert_allclose(MinMaxScaler().fit(rows).inverse_transform(scaled), rows, rtol=1e-12)


def test_imported_weights_encode_as_in_matlab(problem):
    """With ScaleData true: samples in columns go through mapminmax first."""
    X, weights = problem
    W1, b1, W2, b2 = weights
    columns = (X * [1, 20, 3, 0.1, 5, 7] - 2).T
    low, high = columns.min(axis=1, keepdims=True), columns.max(axis=1, keepdims=True)
    scaled = (columns - low) / (high - low)
    codes = sigmoid(W1 @ scaled + b1[:, None])
    imported = from_matlab_autoencoder(W1, b1[:, None], W2, b2[:, None], lowest=low, highest=high, dtype="float64")
    assert_allclose(imported.transform(columns.T), codes.T, rtol=1e-10)
    decoded = sigmoid(W2 @ codes + b2[:, None]) * (high - low) + low
    assert_allclose(imported.inverse_transform(codes.T), decoded.T, rtol=1e-10)


def test_mean_squared_error_is_that_of_matlab():
    X = load_digits().data[:100]
    autoencoder = Autoencoder(8, solver=SGD(1), dtype="float64", random_state=0).fit(X)
    reconstructions = autoencoder.inverse_transform(autoencoder.transform(X))
    assert_allclose(-2 * autoencoder.score(X) / 64, np.mean((X - reconstructions) ** 2), rtol=1e-10)


# --- Keras


@pytest.mark.parametrize("penalty", [0.0, 1e-3])
def test_mean_squared_error_of_keras(problem, penalty):
    X, weights = problem
    codes, outputs = forward(X, weights)
    c = 1e-3
    loss = np.mean((X - outputs) ** 2) + c * sum_of_squares(weights) + penalty * np.abs(codes).sum() / M
    ours, _ = objective(X, weights, alpha=c * K, sparsity=L1Sparsity(penalty * K / 2))
    assert_allclose(loss, 2 / K * ours, rtol=1e-12)


@pytest.mark.parametrize("penalty", [0.0, 1e-3])
def test_binary_crossentropy_of_keras(problem, penalty):
    X, weights = problem
    codes, outputs = forward(X, weights)
    c = 1e-3
    entropy = -np.mean(X * np.log(outputs) + (1 - X) * np.log(1 - outputs))
    loss = entropy + c * sum_of_squares(weights) + penalty * np.abs(codes).sum() / M
    ours, _ = objective(X, weights, alpha=2 * c * K, loss="binary_cross_entropy", sparsity=L1Sparsity(penalty * K))
    assert_allclose(loss, 1 / K * ours, rtol=1e-12)


def test_kl_regulariser_of_keras(problem):
    """On one batch of all rows, with mse and without the division of tf.keras."""
    X, weights = problem
    codes, outputs = forward(X, weights)
    loss = np.mean((X - outputs) ** 2) + BETA * kl(codes)
    ours, _ = objective(X, weights, sparsity=KLSparsity(RHO, BETA * K / 2))
    assert_allclose(loss, 2 / K * ours, rtol=1e-12)


# --- Optimisers of torch, which Keras's and pt-sdae's are


def walk(X, start, optimiser, n_steps, loss):
    """Return the weights after steps of torch's optimiser on a sigmoid autoencoder, from those of a fitted one."""
    weights = [torch.tensor(weight, requires_grad=True) for weight in start]
    optimiser = optimiser(weights)
    rows = torch.from_numpy(X)
    for _ in range(n_steps):
        codes = torch.sigmoid(rows @ weights[0].T + weights[1])
        optimiser.zero_grad()
        loss(torch.sigmoid(codes @ weights[2].T + weights[3]), rows).backward()
        optimiser.step()
    return [weight.detach().numpy() for weight in weights]


def weights_of(autoencoder):
    encoder, decoder = autoencoder.coefs_
    return [array.copy() for array in (encoder.T, autoencoder.intercepts_[0], decoder.T, autoencoder.intercepts_[1])]


@pytest.mark.parametrize(
    ("ours", "factor", "loss"),
    [("squared_error", 2 / K, torch.nn.MSELoss()), ("binary_cross_entropy", 1 / K, torch.nn.BCELoss())],
)
@pytest.mark.parametrize("nesterov", [False, True])
def test_rate_of_sgd(problem, ours, factor, loss, nesterov):
    """Their rate r is r times 2/K here, or 1/K with cross-entropy: the same path."""
    X, _ = problem
    params = {"loss": ours, "alpha": 0, "scale": None, "dtype": "float64", "random_state": 0}
    start = weights_of(Autoencoder(H, solver=SGD(0), **params).fit(X))
    solver = SGD(7, batch_size=M, learning_rate_init=0.1 * factor, momentum=0.9, nesterov=nesterov, tol=0)
    expected = walk(X, start, lambda w: torch.optim.SGD(w, 0.1, momentum=0.9, nesterov=nesterov), 7, loss)
    for found, array in zip(weights_of(Autoencoder(H, solver=solver, **params).fit(X)), expected, strict=True):
        assert_allclose(found, array, rtol=1e-10)


# --- H2O


def test_anomaly_of_h2o(problem):
    """Mean squared error in scaled units, and squared errors of the columns."""
    X, _ = problem
    detector = AutoencoderOutlierDetector(Autoencoder(H, scale=None, solver=SGD(2), dtype="float64"), random_state=0)
    detector.fit(X)
    squared = (detector.autoencoder_.inverse_transform(detector.autoencoder_.transform(X)) - X) ** 2
    assert_allclose(2 / K * detector.reconstruction_error(X), squared.mean(axis=1), rtol=1e-10)
    assert_allclose(2 * detector.reconstruction_error(X, per_feature=True), squared, rtol=1e-8)


def test_l2_of_h2o(problem):
    """The gradient of a row is that of half its squared error plus l2 times the weight, averaged over rows."""
    X, weights = problem
    decayed, _ = objective(X, weights, alpha=0.3)
    plain, _ = objective(X, weights, alpha=0.0)
    assert_allclose(decayed - plain, 0.3 / 2 * sum_of_squares(weights), rtol=1e-10)
    _, gradient = objective(X, weights, alpha=0.3)
    _, without = objective(X, weights, alpha=0.0)
    for index, share in enumerate((0.3, 0, 0.3, 0)):
        assert_allclose(gradient[index] - without[index], share * weights[index], rtol=1e-10, atol=1e-15)


# --- pt-sdae


def test_masking_is_not_dropout():
    ones = torch.ones(200, 50)
    masked, hit = Masking(0.2).corrupt(ones, torch.Generator().manual_seed(0))
    assert set(masked.unique().tolist()) == {0.0, 1.0}
    assert (masked == 0).equal(hit)
    dropped = torch.nn.functional.dropout(ones, 0.2)
    assert set(dropped.unique().tolist()) == {0.0, 1.25}


# --- scikit-learn


def test_alpha_of_mlp_regressor(problem):
    """Its step follows 1/(2m) sum |x^ - x|^2 + alpha/(2m) sum w^2, which is alpha / m here."""
    X, (W1, b1, W2, b2) = problem
    network = MLPRegressor(
        hidden_layer_sizes=H, activation="logistic", alpha=0.7, solver="sgd", momentum=0, learning_rate_init=0.01
    )
    network.set_params(batch_size=M, random_state=0).partial_fit(X, X)
    network.coefs_, network.intercepts_ = [W1.T.copy(), W2.T.copy()], [b1.copy(), b2.copy()]
    network.partial_fit(X, X)
    (V1, V2), (c1, c2) = network.coefs_, network.intercepts_
    moved = [V1.T - W1, c1 - b1, V2.T - W2, c2 - b2]
    _, gradient = objective(X, (W1, b1, W2, b2), output_activation="identity", alpha=0.7 / M)
    for found, step in zip(gradient, moved, strict=True):
        assert_allclose(-0.01 * found, step, rtol=1e-8, atol=1e-14)
