"""The objectives: numeric gradients, equality with autograd, invariance under chunks and types."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import new_layer, of_layer
from torch import nn

from layerwise.data import Rows
from layerwise.losses import cross_entropy
from layerwise.modules import AutoencoderLayer, StackedNetwork, linear_head
from layerwise.objective import LayerObjective, supervised_objective
from layerwise.penalties import KLSparsity

F64 = torch.float64


def sparse_objective(m=23, n=7, h=5, *, sparsity=True, dtype=F64, chunk_rows=None, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(m, n, generator=generator, dtype=F64)
    objective = new_layer(
        Rows(x, dtype=dtype),
        h,
        alpha=0.02,
        sparsity=KLSparsity(0.1, 3.0) if sparsity else None,
        generator=generator,
        chunk_rows=chunk_rows,
    )
    layer = objective.module
    with torch.no_grad():
        layer.encoder_bias.uniform_(-1, 1, generator=generator)
        layer.decoder_bias.uniform_(-1, 1, generator=generator)
    return objective, x


def network_objective(m=23, n=7, *, bias=True, chunk_rows=None, dtype=F64):
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(m, n, generator=generator, dtype=F64)
    y = torch.arange(m) % 3
    layers = [AutoencoderLayer(a, b, dtype=dtype, generator=generator) for a, b in ((n, 5), (5, 4))]
    head = linear_head(4, 3, bias=bias, dtype=dtype)
    with torch.no_grad():
        head.weight.normal_(generator=generator)
    network = StackedNetwork(layers, head)
    rows = Rows(x, dtype=dtype)
    return supervised_objective(network, rows, y, cross_entropy, alpha=0.03, chunk_rows=chunk_rows), network, x, y


def numeric_gradient(objective, theta, step=1e-5):
    """Central differences of fourth order."""
    gradient = torch.zeros_like(theta)
    for index in range(len(theta)):
        values = []
        for shift in (-2, -1, 1, 2):
            moved = theta.clone()
            moved[index] += shift * step
            values.append(objective(moved)[0])
        gradient[index] = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * step)
    return gradient


def relative(a, b):
    return (torch.linalg.norm(a - b) / torch.linalg.norm(b)).item()


@pytest.mark.parametrize("sparsity", [True, False])
def test_autoencoder_gradient_is_numeric(sparsity):
    objective, _ = sparse_objective(sparsity=sparsity)
    theta = objective.vector.read()
    assert relative(objective(theta)[1], numeric_gradient(objective, theta, 1e-4)) <= 1e-7


@pytest.mark.parametrize("bias", [True, False])
def test_network_gradient_is_numeric(bias):
    objective, *_ = network_objective(bias=bias)
    theta = objective.vector.read()
    assert relative(objective(theta)[1], numeric_gradient(objective, theta, 1e-3)) <= 1e-7


@pytest.mark.parametrize("sparsity", [True, False])
def test_autoencoder_equals_autograd_over_all_rows(sparsity):
    objective, x = sparse_objective(sparsity=sparsity, chunk_rows=4)
    layer = objective.module
    value, gradient = objective(objective.vector.read())

    codes = layer.encode(x)
    loss = ((layer.decode(codes) - x) ** 2).sum() / (2 * len(x))
    loss = loss + 0.5 * objective.alpha * (layer.encoder_weight.square().sum() + layer.decoder_weight.square().sum())
    if sparsity:
        rho, rho_hat = torch.full((5,), 0.1, dtype=F64), codes.mean(dim=0)
        loss = loss + 3.0 * (rho * (rho / rho_hat).log() + (1 - rho) * ((1 - rho) / (1 - rho_hat)).log()).sum()
    loss.backward()
    expected = torch.cat([parameter.grad.reshape(-1) for parameter in objective.vector.parameters])
    assert value == pytest.approx(loss.item(), rel=1e-13)
    assert relative(gradient, expected) <= 1e-13


def test_network_equals_autograd_over_all_rows():
    objective, network, x, y = network_objective(chunk_rows=5)
    value, gradient = objective(objective.vector.read())
    loss = nn.functional.cross_entropy(network(x), y) + 0.015 * network.head.weight.square().sum()
    loss.backward()
    expected = torch.cat([parameter.grad.reshape(-1) for parameter in objective.vector.parameters])
    assert value == pytest.approx(loss.item(), rel=1e-13)
    assert relative(gradient, expected) <= 1e-13


@settings(deadline=None, max_examples=30)
@given(m=st.integers(1, 40), chunk_rows=st.integers(1, 41), seed=st.integers(0, 5))
def test_chunks_do_not_matter(m, chunk_rows, seed):
    whole, _ = sparse_objective(m, chunk_rows=m, seed=seed)
    parts, _ = sparse_objective(m, chunk_rows=chunk_rows, seed=seed)
    theta = whole.vector.read()
    (value, gradient), (other_value, other_gradient) = whole(theta), parts(theta)
    assert other_value == pytest.approx(value, rel=1e-12)
    assert relative(other_gradient, gradient) <= 1e-12


def test_chunks_do_not_matter_to_the_network():
    whole, parts = network_objective(chunk_rows=23)[0], network_objective(chunk_rows=4)[0]
    theta = whole.vector.read()
    assert parts(theta)[0] == pytest.approx(whole(theta)[0], rel=1e-12)
    assert relative(parts(theta)[1], whole(theta)[1]) <= 1e-12


def test_order_of_rows_does_not_matter():
    objective, x = sparse_objective(m=50, chunk_rows=7)
    shuffled = of_layer(
        objective.module, Rows(x.flip(0), dtype=F64), alpha=0.02, sparsity=KLSparsity(0.1, 3.0), chunk_rows=7
    )
    theta = objective.vector.read()
    assert shuffled(theta)[0] == pytest.approx(objective(theta)[0], rel=1e-12)


def test_float32_is_near_float64():
    single, double = (sparse_objective(m=500, n=40, h=30, dtype=dtype)[0] for dtype in (torch.float32, F64))
    theta = double.vector.read()
    assert single(theta)[0] == pytest.approx(double(theta)[0], rel=1e-6)
    assert relative(single(theta)[1], double(theta)[1]) <= 1e-5


def test_bytes_are_scaled():
    x = torch.randint(0, 256, (30, 7), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    layer = AutoencoderLayer(7, 4, dtype=F64, generator=torch.Generator().manual_seed(0))
    bytes_, floats = (LayerObjective(layer, Rows(data, dtype=F64)) for data in (x, x.double() / 255))
    theta = bytes_.vector.read()
    assert bytes_(theta)[0] == pytest.approx(floats(theta)[0], rel=1e-12)


def test_parts_add_up():
    for objective in (sparse_objective()[0], network_objective()[0]):
        value, _ = objective(objective.vector.read())
        assert value == sum(objective.parts.values())


def test_softmax_is_stable_for_any_logits():
    objective, network, *_ = network_objective()
    with torch.no_grad():
        network.head.weight.mul_(1e6)
    value, gradient = objective(objective.vector.read())
    assert np.isfinite(value)
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("bias", [-1e4, 1e4])
def test_unit_that_is_always_off_or_on_is_expensive_but_finite(bias):
    objective, _ = sparse_objective()
    before, _ = objective(objective.vector.read())
    with torch.no_grad():
        objective.module.encoder_bias.fill_(bias)
    value, gradient = objective(objective.vector.read())
    assert before + 1 < value < np.inf
    assert torch.isfinite(gradient).all()


def test_kl_is_zero_at_its_target_and_positive_elsewhere():
    penalty = KLSparsity(0.1, 3.0)
    assert penalty.value(torch.full((4,), 0.1, dtype=F64)).item() == 0
    for mean in (0.01, 0.09, 0.11, 0.9):
        assert penalty.value(torch.full((4,), mean, dtype=F64)).item() > 0
    # By hand: .1 log(.1/.2) + .9 log(.9/.8) = 0.0366900...
    assert KLSparsity(0.1, 1.0).value(torch.tensor([0.2], dtype=F64)).item() == pytest.approx(0.036690014, abs=1e-9)


def test_initial_weights_are_as_published(generator):
    layer = AutoencoderLayer(300, 200, generator=generator)
    bound = (6 / 501) ** 0.5
    for weight in (layer.encoder_weight, layer.decoder_weight):
        assert bound * 0.99 < weight.abs().max().item() <= bound
        assert abs(weight.mean().item()) < bound / 50
    assert not layer.encoder_bias.any()
    assert not layer.decoder_bias.any()
