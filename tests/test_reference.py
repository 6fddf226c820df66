"""Equality with the 2014 implementation of the UFLDL exercises."""

import itertools

import numpy as np
import pytest
import torch

from layerwise import stacking
from layerwise.data import Rows
from layerwise.losses import cross_entropy
from layerwise.modules import AutoencoderLayer, StackedNetwork, linear_head
from layerwise.objective import LayerObjective, supervised_objective
from layerwise.penalties import KLSparsity
from layerwise.solvers import LBFGS

PRECISION = [(torch.float64, 1e-10, 1e-8), (torch.float32, 1e-4, 1e-4)]


def split(theta, *shapes):
    """Cut a flat vector into arrays of these shapes."""
    sizes = [int(np.prod(shape)) for shape in shapes]
    assert sum(sizes) == len(theta)
    return [piece.reshape(shape) for piece, shape in zip(np.split(theta, np.cumsum(sizes)[:-1]), shapes, strict=True)]


def assign(parameter, array):
    with torch.no_grad():
        parameter.copy_(torch.as_tensor(array))


def assert_gradient(vector, gradient, expected, tolerance):
    """Compare a flat gradient with the expected array of each parameter."""
    for piece, array in zip(vector.views(gradient), expected, strict=True):
        assert np.linalg.norm(piece.numpy() - array) <= tolerance * np.linalg.norm(array)


def sparse_layer(theta, n, h, settings, dtype):
    """Return a layer with the weights of ``theta`` = W1, W2, b1, b2."""
    layer = AutoencoderLayer(n, h, dtype=dtype)
    w1, w2, b1, b2 = split(theta, (h, n), (n, h), (h,), (n,))
    assign(layer.encoder_weight, w1)
    assign(layer.encoder_bias, b1)
    assign(layer.decoder_weight, w2)
    assign(layer.decoder_bias, b2)
    return layer


@pytest.mark.parametrize(("dtype", "cost_tolerance", "gradient_tolerance"), PRECISION)
@pytest.mark.parametrize("entry", ["sparse0", "sparse1", "sparse2"])
def test_sparse_autoencoder(reference, entry, dtype, cost_tolerance, gradient_tolerance):
    settings, arrays = reference[0][entry], reference[1]
    n, h = settings["n_features"], settings["n_hidden"]
    layer = sparse_layer(arrays[f"{entry}_theta"], n, h, settings, dtype)
    X = torch.from_numpy(arrays[f"{entry}_X"])
    sparsity = KLSparsity(settings["rho"], settings["beta"])
    objective = LayerObjective(layer, Rows(X, dtype=dtype), terms=[sparsity], alpha=settings["weight_decay"])
    value, gradient = objective(objective.vector.read())
    assert value == pytest.approx(settings["cost"], rel=cost_tolerance)
    w1, w2, b1, b2 = split(arrays[f"{entry}_grad"], (h, n), (n, h), (h,), (n,))
    assert_gradient(objective.vector, gradient, (w1, b1, w2, b2), gradient_tolerance)
    codes = layer.encode(X.to(dtype)).detach().numpy()
    np.testing.assert_allclose(codes, arrays[f"{entry}_hidden"], rtol=cost_tolerance)


@pytest.mark.parametrize(("dtype", "cost_tolerance", "gradient_tolerance"), PRECISION)
@pytest.mark.parametrize("entry", ["softmax0", "softmax1"])
def test_softmax_regression(reference, entry, dtype, cost_tolerance, gradient_tolerance):
    settings, arrays = reference[0][entry], reference[1]
    shape = settings["n_classes"], settings["n_features"]
    network = StackedNetwork([], linear_head(shape[1], shape[0], bias=False, dtype=dtype))
    assign(network.head.weight, arrays[f"{entry}_theta"].reshape(shape))
    rows = Rows(arrays[f"{entry}_X"], dtype=dtype)
    y = torch.from_numpy(arrays[f"{entry}_y"])
    objective = supervised_objective(network, rows, y, cross_entropy, alpha=settings["weight_decay"])
    value, gradient = objective(objective.vector.read())
    assert value == pytest.approx(settings["cost"], rel=cost_tolerance)
    assert_gradient(objective.vector, gradient, [arrays[f"{entry}_grad"].reshape(shape)], gradient_tolerance)


@pytest.mark.parametrize(("dtype", "cost_tolerance", "gradient_tolerance"), PRECISION)
@pytest.mark.parametrize("entry", ["stacked0", "stacked1"])
def test_fine_tuning(reference, entry, dtype, cost_tolerance, gradient_tolerance):
    settings, arrays = reference[0][entry], reference[1]
    *widths, n_classes = settings["layer_sizes"]
    shapes = [(n_classes, widths[-1])]
    for n, h in itertools.pairwise(widths):
        shapes += [(h, n), (h,)]
    layers = [AutoencoderLayer(n, h, dtype=dtype) for n, h in itertools.pairwise(widths)]
    network = StackedNetwork(layers, linear_head(widths[-1], n_classes, bias=False, dtype=dtype))
    rows = Rows(arrays[f"{entry}_X"], dtype=dtype)
    y = torch.from_numpy(arrays[f"{entry}_y"])
    objective = supervised_objective(network, rows, y, cross_entropy, alpha=settings["weight_decay"])
    for parameter, array in zip(objective.vector.parameters, split(arrays[f"{entry}_theta"], *shapes), strict=True):
        assign(parameter, array)
    value, gradient = objective(objective.vector.read())
    assert value == pytest.approx(settings["cost"], rel=cost_tolerance)
    assert_gradient(objective.vector, gradient, split(arrays[f"{entry}_grad"], *shapes), gradient_tolerance)
    predicted = stacking.apply(network, rows).argmax(dim=1).numpy()
    np.testing.assert_array_equal(predicted, arrays[f"{entry}_pred"])


def test_whole_run_from_the_same_starting_points(reference, mnist):
    """The four stages on 1,000 images, beside SciPy's L-BFGS-B after the same number of iterations."""
    settings, arrays = reference[0]["mnist"], reference[1]
    dtype = torch.float64
    n, h1, h2, k = settings["layer_sizes"]
    rows = Rows(mnist.X_train[: settings["n_train"]], dtype=dtype)
    y = torch.from_numpy(mnist.y_train[: settings["n_train"]].astype(np.int64))
    layers = [
        sparse_layer(arrays["mnist_theta1"], n, h1, settings, dtype),
        sparse_layer(arrays["mnist_theta2"], h1, h2, settings, dtype),
    ]
    network = StackedNetwork(layers, linear_head(h2, k, bias=False, dtype=dtype))
    assign(network.head.weight, arrays["mnist_theta3"].reshape(k, h2))
    solver = LBFGS(max_iter=settings["max_iter"])
    stages = stacking.pretrain(layers, rows, [solver, solver])
    stages += stacking.finetune(network, rows, y, solver, cross_entropy, alpha=settings["weight_decay"])

    for stage, name in zip(stages, ("layer1", "layer2", "softmax", "finetune"), strict=True):
        cost, iterations, evaluations = settings[f"cost_{name}"]
        print(f"{name:9} ours {stage.loss:.6f} ({stage.n_iter}, {stage.n_evaluations}) ", end="")
        print(f"SciPy {cost:.6f} ({iterations}, {evaluations})")
    assert stages[0].n_iter <= settings["max_iter"]
    assert stages[0].loss <= 1.02 * settings["cost_layer1"][0]

    X_test, y_test = mnist.X_test[: settings["n_test"]], mnist.y_test[: settings["n_test"]]
    predicted = stacking.apply(network, Rows(X_test, dtype=dtype)).argmax(dim=1).numpy()
    accuracy = (predicted == y_test).mean()
    print(f"fine-tuned accuracy: ours {accuracy:.3f}, SciPy {settings['accuracy_finetuned']:.3f}")
    assert accuracy >= 0.81
