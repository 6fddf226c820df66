"""The general way: kernel and autograd agree, terms see all there is, modules of one's own, noise in fine-tuning."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from problems import new_layer, of_layer
from test_layers import COMBINATIONS, PENALTIES
from torch import nn

from layerwise import Gaussian, KLSparsity, L1Sparsity, Masking, TopK
from layerwise.activations import get_activation
from layerwise.data import Rows
from layerwise.losses import cross_entropy, reconstruction_loss
from layerwise.modules import AutoencoderLayer, StackedNetwork, UnrolledAutoencoder, linear_head
from layerwise.objective import JointObjective, LayerObjective, reconstruction_objective, supervised_objective
from layerwise.solvers import LBFGS, Adam
from layerwise.solvers.gradient_check import numeric_gradient
from layerwise.stacking import pretrain
from layerwise.stages import UNWATCHED, run_stage

F64 = torch.float64
SQUARED_ERROR = reconstruction_loss("squared_error", get_activation("sigmoid"))
M, N = 23, 6


def some_rows(**settings):
    return Rows(torch.rand(M, N, dtype=F64, generator=torch.Generator().manual_seed(0)), dtype=F64, **settings)


def weights():
    return torch.arange(M, dtype=F64) % 4 / 2


def assert_numeric(objective, theta=None):
    theta = objective.vector.read() if theta is None else theta
    value, gradient = objective(theta)
    assert objective.value(theta) == pytest.approx(value, rel=1e-12)
    expected = numeric_gradient(objective, theta, torch.arange(len(theta)), step=1e-4)
    assert_allclose(gradient, expected, rtol=1e-6, atol=1e-7 * expected.abs().max().item())


def assert_same(one, other, rtol=1e-12):
    """Value and gradient over all rows, and over batches; the means too."""
    theta = one.vector.read()
    (value, gradient), (other_value, other_gradient) = one(theta), other(theta)
    assert other_value == pytest.approx(value, rel=rtol)
    assert_allclose(other_gradient, gradient, rtol=1e-9, atol=rtol * gradient.abs().max().item())
    assert_allclose(one.mean_activation, other.mean_activation, rtol=rtol)
    assert one.parts == pytest.approx(other.parts, rel=rtol)
    assert other.value(theta) == pytest.approx(one.value(theta), rel=rtol)
    batches = zip(one.epoch(theta.clone(), 9, 0), other.epoch(theta.clone(), 9, 0), strict=True)
    for (value, gradient, n_rows), (other_value, other_gradient, other_n_rows) in batches:
        assert n_rows == other_n_rows
        assert_allclose(other_value, value, rtol=rtol)
        assert_allclose(other_gradient, gradient, rtol=1e-9, atol=rtol * gradient.abs().max().item())


@pytest.mark.parametrize(("activation", "output", "loss", "tied", "penalty"), COMBINATIONS)
def test_the_written_out_step_is_that_of_autograd(activation, output, loss, tied, penalty):
    problem = {"activation": activation, "output_activation": output, "loss": loss, "tied": tied, "alpha": 0.05}
    rows = some_rows(weights=weights()) if tied else some_rows()
    one, other = (
        new_layer(
            rows,
            4,
            **problem,
            **PENALTIES[penalty],
            generator=torch.Generator().manual_seed(1),
            chunk_rows=5,
            by_autograd=way,
        )
        for way in (False, True)
    )
    assert type(one._kernel) is not type(other._kernel)
    assert_same(one, other)


def test_missing_values_by_both_ways():
    x = some_rows().take(torch.arange(M)).clone()
    x[::3, 2] = float("nan")
    rows = Rows(x, dtype=F64)
    rows.has_missing = True
    settings = {"sparsity": KLSparsity(0.2), "corruption": Masking(0.3, emphasis=(2.0, 1.0))}
    layer = AutoencoderLayer(N, 4, dtype=F64, generator=torch.Generator().manual_seed(0))
    assert_same(*(of_layer(layer, rows, **settings, by_autograd=way) for way in (False, True)))


class PreActivations:
    """Squares of pre-activations: the codes alone do not tell them."""

    name = "pre-activations"

    def of_rows(self, seen):
        return 0.1 * seen.z.square().sum(dim=1)


class Everything:
    """A term of all that there is to be seen."""

    name = "everything"

    def of_rows(self, seen):
        noise = (seen.x - seen.clean).square().sum(dim=1)
        spread = seen.logits.square().mean(dim=1) + seen.h.prod(dim=1) + seen.z.sum(dim=1).sin()
        return (1 + noise) * spread + seen.module.decoder_bias.square().sum()


@pytest.mark.parametrize("term", [PreActivations(), Everything()])
@pytest.mark.parametrize("row_weights", [None, weights()])
def test_a_term_of_all_there_is(term, row_weights):
    rows = some_rows(weights=row_weights)
    layer = AutoencoderLayer(N, 4, dtype=F64, generator=torch.Generator().manual_seed(0))
    terms, noise = [KLSparsity(0.2), term], Gaussian(0.1)
    objective = LayerObjective(layer, rows, terms=terms, corruption=noise, alpha=0.1, chunk_rows=M)
    assert_numeric(objective)
    assert set(objective.parts) == {"reconstruction", "sparsity", term.name, "decay"}
    plain = LayerObjective(layer, rows, terms=[term], chunk_rows=M)
    other = LayerObjective(layer, rows, terms=[term], chunk_rows=4)
    assert_same(plain, other)
    plain(plain.vector.read())
    with torch.no_grad():
        x = rows.take(torch.arange(M))
        z = layer.pre_activation(x)
        h = layer.activation.forward(z)
        if isinstance(term, PreActivations):
            by_row = 0.1 * z.square().sum(dim=1)
        else:
            by_row = layer.decode_logits(h).square().mean(dim=1) + h.prod(dim=1) + z.sum(dim=1).sin()
            by_row += layer.decoder_bias.square().sum()
    share = torch.ones(M, dtype=F64) if row_weights is None else row_weights
    assert plain.parts[term.name] == pytest.approx((by_row * share).sum().item() / share.sum().item(), rel=1e-12)


class Gated(nn.Module):
    """A gated encoder: which units are on is learnt apart from how strong they are."""

    def __init__(self, in_features, n_hidden, generator):
        super().__init__()
        self.n_hidden = n_hidden
        self.activation, self.output_activation = get_activation("sigmoid"), get_activation("sigmoid")
        shapes = ((n_hidden, in_features), (n_hidden, in_features), (in_features, n_hidden))
        self.gate, self.size, self.decoder = (
            nn.Parameter(torch.randn(shape, dtype=F64, generator=generator) / 2) for shape in shapes
        )
        self.bias = nn.Parameter(torch.zeros(in_features, dtype=F64))

    def encode(self, x):
        return torch.sigmoid(x @ self.gate.T) * torch.sigmoid(x @ self.size.T)

    def decode_logits(self, h):
        return h @ self.decoder.T + self.bias


@pytest.mark.parametrize("terms", [[], [KLSparsity(0.2)], [L1Sparsity(0.3)]])
def test_a_module_of_ones_own(terms):
    module = Gated(N, 4, torch.Generator().manual_seed(0))
    problem = {"terms": terms, "corruption": Masking(0.2), "alpha": 0.1}
    assert_numeric(LayerObjective(module, some_rows(), **problem))
    assert_same(*(LayerObjective(module, some_rows(weights=weights()), terms=terms, chunk_rows=k) for k in (4, M)))


@pytest.mark.parametrize("solver", [LBFGS(5), Adam(3, batch_size=8)])
def test_a_module_of_ones_own_in_a_stack(solver):
    generator = torch.Generator().manual_seed(0)
    layers = [Gated(N, 4, generator), AutoencoderLayer(4, 3, dtype=F64, generator=generator)]
    stages = pretrain(layers, some_rows(), [solver, solver])
    assert [stage.name for stage in stages] == ["layer 0", "layer 1"]
    assert all(min(stage.loss_curve) < stage.loss_curve[0] for stage in stages)
    assert stages[0].mean_activation.shape == (4,)


def networks(**problem):
    generator = torch.Generator().manual_seed(1)
    layers = [AutoencoderLayer(a, b, dtype=F64, generator=generator) for a, b in ((N, 5), (5, 4))]
    head = linear_head(4, 3, dtype=F64)
    with torch.no_grad():
        head.weight.normal_(generator=generator)
    rows, y = some_rows(weights=weights()), torch.arange(M) % 3
    yield supervised_objective(StackedNetwork(layers, head), rows, y, cross_entropy, alpha=0.1, **problem)
    yield reconstruction_objective(UnrolledAutoencoder(layers), rows, SQUARED_ERROR, alpha=0.1, **problem)


@pytest.mark.parametrize(
    "problem",
    [
        {"dropout": 0.4},
        {"corruption": Gaussian(0.3)},
        {"terms": [KLSparsity(0.2)]},
        {"terms": [L1Sparsity(0.2)]},
        {"dropout": 0.3, "corruption": Masking(0.2, emphasis=(2.0, 1.0)), "terms": [KLSparsity(0.2)]},
    ],
    ids=str,
)
def test_fine_tuning_with_noise_and_penalties(problem):
    """The noise of a row is the same in every evaluation, so that the gradient is that of a function."""
    for objective in networks(**problem, chunk_rows=7):
        assert_numeric(objective)
        ((value, gradient, _),) = objective.epoch(objective.vector.read(), 1000, 0)
        assert np.isfinite(value.item())
        assert torch.isfinite(gradient).all()


def test_penalties_in_fine_tuning_are_of_the_last_codes():
    kl, l1 = KLSparsity(0.2, 3.0), L1Sparsity(0.2)
    share = weights() / weights().sum()
    x = some_rows().take(torch.arange(M))
    for term in (kl, l1):
        for objective in networks(terms=[term]):
            objective(objective.vector.read())
            h = objective._kernel._module.encode(x).detach()
            expected = kl.value(share @ h) if term is kl else share @ l1.value(h)
            assert objective.parts["sparsity"] == pytest.approx(expected.item(), rel=1e-12)


def test_dropout_leaves_the_mean_of_the_codes():
    """Of very many rows that are the same, each unit is on in 1 - p of them, 1 / (1 - p) times as strong."""
    layer = AutoencoderLayer(N, 8, dtype=F64, generator=torch.Generator().manual_seed(0))
    network = StackedNetwork([layer], linear_head(8, 8, dtype=F64))
    with torch.no_grad():
        network.head.weight.copy_(torch.eye(8))
    x = torch.rand(1, N, dtype=F64, generator=torch.Generator().manual_seed(2)).expand(40_000, N)
    seen = []

    def loss(z, target, weight=None):
        seen.append(z.clone())
        return z.sum().double(), torch.ones_like(z)

    objective = supervised_objective(network, Rows(x, dtype=F64), torch.zeros(len(x)), loss, dropout=0.25)
    objective(objective.vector.read())
    found, code = torch.cat(seen), layer.encode(x[:1]).detach()
    assert_allclose(found.mean(dim=0), code[0], rtol=0.02)
    assert_allclose((found == 0).double().mean(dim=0), 0.25, atol=0.01)
    assert_allclose(torch.unique((found / code).round(decimals=9)), [0, 4 / 3], rtol=1e-6)


@pytest.mark.parametrize("terms", [[KLSparsity(0.1), KLSparsity(0.2)], [KLSparsity(0.1), L1Sparsity()]])
def test_terms_of_one_name_are_refused(terms):
    with pytest.raises(ValueError, match="have the names sparsity, sparsity; each needs one of its own"):
        LayerObjective(AutoencoderLayer(N, 3, dtype=F64), some_rows(), terms=terms)


def test_k_sparse_codes_by_both_ways():
    layer = AutoencoderLayer(N, 5, activation=TopK(2), dtype=F64, generator=torch.Generator().manual_seed(0))
    assert_same(*(of_layer(layer, some_rows(), contraction=0.2, by_autograd=way) for way in (False, True)))


def joint(batch_size=5, dtype=F64):
    """A layer that is trained to reconstruct all rows, and to tell the classes of some."""
    layer = AutoencoderLayer(N, 4, dtype=dtype, generator=torch.Generator().manual_seed(0))
    head, few = linear_head(4, 3, dtype=dtype), Rows(some_rows().take(torch.arange(7)), dtype=dtype)
    all_rows = Rows(some_rows().take(torch.arange(M)), dtype=dtype)
    without = LayerObjective(layer, all_rows, terms=[KLSparsity(0.2)], alpha=0.1)
    labelled = supervised_objective(
        StackedNetwork([layer], head), few, torch.arange(7) % 3, cross_entropy, alpha=0.3, seed=1
    )
    return JointObjective(without, [(labelled, batch_size)]), without, labelled


def test_streams_add_up():
    both, without, labelled = joint()
    theta = torch.randn(len(both.vector.read()), dtype=F64, generator=torch.Generator().manual_seed(5)) / 3
    assert_numeric(both, theta)
    value, gradient = both(theta)
    layer, head = theta[: 4 * N + 4 + 4 * N + N], theta[-15:]
    assert torch.equal(layer, without.vector.read())
    assert torch.equal(torch.cat([head, layer[: 4 * N + 4]]), labelled.vector.read())
    alone, other = without(without.vector.read()), labelled(labelled.vector.read())
    assert value == pytest.approx(alone[0] + other[0], rel=1e-12)
    assert value == pytest.approx(sum(both.parts.values()), rel=1e-12)
    expected = torch.cat([alone[1], other[1][:15]])
    expected[: 4 * N + 4] += other[1][15:]
    assert_allclose(gradient, expected, rtol=1e-10, atol=1e-14)


def test_streams_go_in_step():
    """An epoch is one of the first; the other gives a batch to each step, all of its rows equally often."""
    both, *_ = joint(batch_size=3)
    theta = both.vector.read()
    steps = [(value.item(), gradient.clone(), n) for value, gradient, n in both.epoch(theta.clone(), 5, 2)]
    assert [n for _, _, n in steps] == [5, 5, 5, 5, 3]
    _, without, labelled = joint(batch_size=3)
    firsts = [value.item() for value, *_ in without.epoch(without.vector.read(), 5, 2)]
    seconds = [
        value.item() for again in range(2) for value, *_ in labelled.epoch(labelled.vector.read(), 3, 2000 + again)
    ]
    assert [value for value, _, _ in steps] == pytest.approx([a + b for a, b in zip(firsts, seconds, strict=False)])
    again = [value.item() for value, *_ in joint(batch_size=3)[0].epoch(theta.clone(), 5, 2)]
    assert again == [value for value, _, _ in steps]


@pytest.mark.parametrize("solver", [LBFGS(30), Adam(30, batch_size=8)])
def test_a_stage_of_two_streams(solver):
    both, *_ = joint(dtype=torch.float32)
    before = both.value(both.vector.read())
    stage = run_stage("joint", both, solver, None, UNWATCHED)
    assert stage.loss < 0.9 * before
    assert set(both.parts) == {"reconstruction", "sparsity", "cross_entropy", "decay"}
