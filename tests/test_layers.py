"""Every kind of layer: numeric gradients of all combinations, tied weights, corruption, what goes together."""

import itertools
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from problems import of_layer
from scipy.linalg import subspace_angles
from sklearn.base import BaseEstimator, clone
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.frozen import FrozenEstimator

from layerwise import (
    LBFGS,
    Adam,
    Autoencoder,
    Gaussian,
    KLSparsity,
    L1Sparsity,
    Masking,
    SaltAndPepper,
    StackedAutoencoder,
    StackedClassifier,
    StackedRegressor,
    TopK,
    check_gradient,
    save,
)
from layerwise.activations import ACTIVATIONS, get_activation
from layerwise.corruptions import entry_weights
from layerwise.data import Rows
from layerwise.losses import LOSSES
from layerwise.modules import AutoencoderLayer
from layerwise.objective import LayerObjective
from layerwise.penalties import Contraction, Seen

F64 = torch.float64
PENALTIES = {
    "none": {},
    "kl": {"sparsity": KLSparsity(0.2, 2.0)},
    "l1": {"sparsity": L1Sparsity(0.3)},
    "contraction": {"contraction": 0.4},
    "both": {"sparsity": L1Sparsity(0.3), "contraction": 0.4},
    "noise": {"corruption": Masking(0.3, emphasis=(2.0, 0.5))},
}


OF_CODES = [*ACTIVATIONS, TopK(2)]


def allowed(output_activation, loss):
    return loss == "squared_error" or output_activation == "sigmoid"


COMBINATIONS = [
    (activation, output, loss, tied, penalty)
    for activation, output, loss, tied, penalty in itertools.product(
        OF_CODES, ACTIVATIONS, LOSSES, (False, True), PENALTIES
    )
    if allowed(output, loss) and (penalty != "kl" or activation in ("sigmoid", "tanh"))
]


def covering_pairs(combinations):
    """Enough of the combinations to meet every pair of values that two settings have in any of them."""
    pairs = {each: set(itertools.combinations(enumerate(map(str, each)), 2)) for each in combinations}
    left, chosen = set().union(*pairs.values()), []
    while left:
        chosen.append(max(combinations, key=lambda each: len(pairs[each] & left)))
        left -= pairs[chosen[-1]]
    return chosen


@pytest.fixture(scope="module")
def rows():
    return np.random.default_rng(0).random((9, 5))


# All combinations are compared with autograd in test_terms.py.
@pytest.mark.parametrize(("activation", "output", "loss", "tied", "penalty"), covering_pairs(COMBINATIONS))
def test_gradient_is_numeric(rows, activation, output, loss, tied, penalty):
    autoencoder = Autoencoder(
        3,
        activation=activation,
        output_activation=output,
        loss=loss,
        tied=tied,
        alpha=0.05,
        **PENALTIES[penalty],
    )
    assert check_gradient(autoencoder, rows[:, :4])["layer 0"] <= 1e-7


@settings(deadline=None, max_examples=60)
@given(
    combination=st.sampled_from([each for each in COMBINATIONS if each[-1] != "noise"]),
    m=st.integers(1, 30),
    chunk_rows=st.integers(1, 31),
    seed=st.integers(0, 5),
)
def test_chunks_do_not_matter(combination, m, chunk_rows, seed):
    activation, output, loss, tied, penalty = combination
    generator = torch.Generator().manual_seed(seed)
    x = Rows(torch.rand(m, 6, dtype=F64, generator=generator), dtype=F64)
    shape = {"activation": activation, "output_activation": output, "tied": tied}
    layer = AutoencoderLayer(6, 4, **shape, dtype=F64, generator=generator)
    problem = {"loss": loss, "alpha": 0.1, **PENALTIES[penalty]}
    whole, parts = (of_layer(layer, x, **problem, chunk_rows=size) for size in (m, chunk_rows))
    theta = whole.vector.read()
    (value, gradient), (other_value, other_gradient) = whole(theta), parts(theta)
    assert other_value == pytest.approx(value, rel=1e-12)
    assert_allclose(other_gradient, gradient, rtol=1e-9, atol=1e-12)
    assert parts.value(theta) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("corruption", [Gaussian(0.3), SaltAndPepper(0.3, emphasis=(1.0, 0.0))])
def test_gradient_is_numeric_with_other_noise(rows, corruption):
    assert check_gradient(Autoencoder(4, corruption=corruption), rows)["layer 0"] <= 1e-7


class Spread(BaseEstimator):
    """A penalty of one's own that does not grow with the codes; of each row, or of the means without a target."""

    target = None

    def __init__(self, on_mean=False):
        self.on_mean = on_mean

    def value(self, activations):
        return activations.sum(dim=-1).square() / activations.square().sum(dim=-1)


@pytest.mark.parametrize("activation", ["sigmoid", "tanh"])
@pytest.mark.parametrize("on_mean", [False, True])
def test_a_penalty_of_ones_own(rows, on_mean, activation):
    """Its gradient is numeric, a row of weight 2 is the row given twice, and it is shown like any other."""
    autoencoder = Autoencoder(3, activation=activation, sparsity=Spread(on_mean), dtype="float64", random_state=0)
    assert check_gradient(autoencoder, rows)["layer 0"] <= 1e-7
    values = []
    for X, weights in ((rows, None), (np.repeat(rows, 2, axis=0), None), (rows, torch.full((9,), 2.0, dtype=F64))):
        layer = autoencoder._build(5, torch.Generator().manual_seed(0))
        objective = autoencoder._problem(layer)(layer, Rows(X, dtype=F64, weights=weights))
        values.append(objective(objective.vector.read())[0])
    assert values[1:] == pytest.approx(values[:1] * 2, rel=1e-12)
    search = autoencoder.set_params(sparsity__on_mean=not on_mean, solver__max_iter=2).fit(rows)
    assert search.sparsity.on_mean is not on_mean


class Inverted(BaseEstimator):
    """A corruption of one's own."""

    emphasis = (2.0, 1.0)

    def corrupt(self, x, generator):
        hit = torch.rand(x.shape, generator=generator) < 0.5
        return torch.where(hit, 1 - x, x), hit


def test_a_corruption_of_ones_own(rows):
    assert check_gradient(Autoencoder(4, corruption=Inverted()), rows)["layer 0"] <= 1e-7


@pytest.mark.parametrize("name", ["sparsity", "corruption"])
def test_parts_of_ones_own_are_refused_where_they_cannot_serve(rows, name, tmp_path):
    part = {"sparsity": Spread, "corruption": Inverted}[name]
    with pytest.raises(ValueError, match=rf"{name}={part.__name__} is a class, but an object is expected"):
        Autoencoder(3, **{name: part}).fit(rows)
    with pytest.raises(ValueError, match=f"The '{name}' parameter of Autoencoder must be an instance of"):
        Autoencoder(3, **{name: Adam()}).fit(rows)
    with pytest.raises(TypeError, match=rf"estimator.{name}: a {part.__name__} cannot be saved; known are"):
        save(Autoencoder(3, solver=LBFGS(2), **{name: part()}).fit(rows), tmp_path / "model")


def test_gradient_is_numeric_in_every_stage(rows):
    stack = StackedAutoencoder(
        [
            Autoencoder(4, tied=True, loss="binary_cross_entropy"),
            Autoencoder(3, activation="tanh", sparsity=KLSparsity(0.3)),
            Autoencoder(2, activation="identity", output_activation="identity"),
        ],
        finetune="reconstruction",
        alpha=0.01,
    )
    y = np.arange(9) % 3
    errors = check_gradient(stack, rows)
    assert list(errors) == ["layer 0", "layer 1", "layer 2", "finetune"]
    for other, targets in ((StackedClassifier(stack.set_params(finetune=None)), y), (StackedRegressor(stack), y / 2)):
        more = check_gradient(other, rows, targets)
        assert list(more) == ["layer 0", "layer 1", "layer 2", "head", "finetune"]
        errors |= {f"{type(other).__name__} {stage}": error for stage, error in more.items()}
    assert max(errors.values()) <= 1e-7


def test_frozen_stacks_are_checked_in_float64(rows):
    y = np.arange(9) % 3
    for autoencoder in (Autoencoder(4, solver=LBFGS(2)), StackedAutoencoder([Autoencoder(4, solver=LBFGS(2))])):
        frozen = FrozenEstimator(autoencoder.fit(rows))
        before = autoencoder.transform(rows)
        errors = check_gradient(StackedClassifier(frozen), rows, y)
        assert list(errors) == ["head", "finetune"]
        assert max(errors.values()) <= 1e-7
        assert check_gradient(frozen, rows)["layer 0"] <= 1e-7
        assert_array_equal(autoencoder.transform(rows), before)
    with pytest.raises(ValueError, match="StackedClassifier needs y"):
        check_gradient(StackedClassifier(), rows)
    with pytest.raises(ValueError, match="n_coordinates=0"):
        check_gradient(Autoencoder(), rows, n_coordinates=0)


def test_check_finds_a_wrong_gradient(rows, monkeypatch):
    broken = ACTIVATIONS["tanh"]._replace(backward_=lambda gradient, output: gradient.mul_(1.001))
    monkeypatch.setitem(ACTIVATIONS, "tanh", broken)
    assert check_gradient(Autoencoder(4, activation="tanh"), rows)["layer 0"] > 1e-4


@pytest.mark.parametrize("name", OF_CODES)
def test_activation_in_place_is_the_same(name):
    activation = get_activation(name)
    z = torch.linspace(-3, 3, 101, dtype=F64).reshape(1, -1).requires_grad_()
    output = activation.forward(z)
    (expected,) = torch.autograd.grad(output.sum(), z)
    assert_allclose(activation.forward_(z.detach().clone()), output.detach(), rtol=1e-14)
    assert_allclose(activation.derivative(output.detach()), expected, atol=1e-14)
    assert_allclose(activation.backward_(torch.ones_like(z), output.detach()), expected, atol=1e-14)
    assert activation.low <= output.min()
    assert output.max() <= activation.high


@pytest.mark.parametrize("name", OF_CODES)
def test_contraction_is_the_norm_of_the_jacobian(name, generator):
    layer = AutoencoderLayer(5, 4, activation=name, dtype=F64, generator=generator)
    x = torch.randn(3, 5, dtype=F64, generator=generator)
    jacobians = [torch.autograd.functional.jacobian(layer.encode, row[None])[0, :, 0] for row in x]
    expected = 0.7 * sum(jacobian.square().sum() for jacobian in jacobians)
    value = Contraction(0.7).of_rows(Seen(x, x, None, layer.encode(x), x, layer)).sum()
    assert value.item() == pytest.approx(expected.item(), rel=1e-12)


@settings(deadline=None, max_examples=60)
@given(m=st.integers(0, 9), n=st.integers(1, 40), k=st.integers(1, 40), seed=st.integers(0, 99))
def test_top_k_keeps_the_strongest(m, n, k, seed):
    """As sorting finds them; halves make ties, which are all kept."""
    z = np.random.default_rng(seed).integers(-6, 9, (m, n)) / 2
    k = min(k, n)
    weakest = -np.sort(-z, axis=1)[:, [k - 1]]
    expected = np.where((z >= weakest) & (z > 0), z, 0)
    activation = TopK(k)
    for dtype in (torch.float32, F64):
        rows = torch.tensor(z, dtype=dtype)
        assert_array_equal(activation.forward(rows), expected)
        written = rows.clone()
        assert activation.forward_(written) is written
        assert_array_equal(written, expected)
        assert not torch.signbit(written).any()


def test_top_k_lets_nan_be_seen():
    z = torch.tensor([[float("nan"), 1.0, 2.0], [float("inf"), 1.0, 2.0], [-float("inf"), 1.0, 2.0]])
    for h in (TopK(1).forward(z), TopK(1).forward_(z.clone())):
        assert h[0].isnan().any()
        assert h[1:].tolist() == [[float("inf"), 0, 0], [0, 0, 2]]


@pytest.mark.parametrize("solver", [LBFGS(40), Adam(20, batch_size=4)])
def test_top_k_codes(rows, solver):
    """At most k units are on, in training, in a stack, and after fine-tuning; the loss falls."""
    y = np.arange(9) % 3
    first = Autoencoder(12, activation=TopK(3), output_activation="identity", solver=solver)
    second = Autoencoder(8, activation=TopK(2), output_activation="relu", solver=solver)
    stack = StackedAutoencoder([first, second], random_state=0).fit(rows)
    classifier = StackedClassifier(stack, solver=solver, random_state=0).fit(rows, y)
    for codes, k in (
        (stack.layers_[0].transform(rows), 3),
        (stack.transform(rows), 2),
        (classifier.transform(rows), 2),
    ):
        assert (np.count_nonzero(codes, axis=1) <= k).all()
        assert (np.count_nonzero(codes, axis=1) == k).any()
        assert codes.min() >= 0
    curves = [stage["loss_curve"] for stage in classifier.history_]
    assert len(curves) == 4
    assert all(min(curve) < curve[0] for curve in curves)


def test_top_k_with_weights_is_repetition(rows):
    layer = Autoencoder(6, activation=TopK(2), solver=LBFGS(5), dtype="float64", random_state=0)
    weighted = clone(layer).fit(rows, sample_weight=np.r_[2, np.ones(8)])
    repeated = clone(layer).fit(np.vstack([rows, rows[:1]]))
    assert weighted.loss_ == pytest.approx(repeated.loss_, rel=1e-9)


def test_top_k_goes_on_with_a_smaller_k(rows):
    """A parameter is of the next fit: what was trained before stays as it is."""
    autoencoder = Autoencoder(12, activation=TopK(9), solver=Adam(3), warm_start=True, random_state=0).fit(rows)
    before = autoencoder.transform(rows)
    autoencoder.set_params(activation__k=2)
    assert_array_equal(autoencoder.transform(rows), before)
    assert np.count_nonzero(autoencoder.fit(rows).transform(rows), axis=1).max() == 2
    assert autoencoder.n_iter_ == 6


@pytest.mark.parametrize(
    ("k", "message"),
    [
        (5, r"activation=TopK\(k=5\) keeps 5 units of n_hidden=4; choose k from 1 to 4"),
        (0, "'k' parameter of TopK must be an int in the range"),
        (2.0, "'k' parameter of TopK must be an int in the range"),
    ],
)
def test_top_k_needs_so_many_units(rows, k, message):
    with pytest.raises(ValueError, match=message):
        Autoencoder(4, activation=TopK(k)).fit(rows)


@pytest.mark.parametrize("solver", [LBFGS(5), Adam(2, batch_size=4)])
def test_tied_means_tied(rows, solver):
    autoencoder = Autoencoder(4, tied=True, solver=solver, random_state=0).fit(rows)
    layer = autoencoder.layer_
    assert [name for name, _ in layer.named_parameters()] == ["encoder_weight", "encoder_bias", "decoder_bias"]
    assert layer.decoder_matrix.data_ptr() == layer.encoder_weight.data_ptr()
    assert_array_equal(layer.decoder_matrix.detach(), autoencoder.components_.T)
    objective = LayerObjective(layer, Rows(rows))
    assert len(objective.vector.read()) == 4 * 5 + 4 + 5


def test_untied_begins_where_tied_ended(rows):
    layer = AutoencoderLayer(5, 4, tied=True)
    before = layer(torch.ones(1, 5))
    layer.untie()
    assert_allclose(layer(torch.ones(1, 5)).detach(), before.detach(), rtol=1e-6)
    assert layer.decoder_matrix.data_ptr() != layer.encoder_weight.data_ptr()
    assert len(list(layer.parameters())) == 4


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("n_components", [8, 30])
def test_linear_layers_reach_the_subspace_of_pca(n_components, tied):
    """With squared error and no penalty the best linear autoencoder spans the first principal components."""
    X = load_digits().data / 16
    X -= X.mean(axis=0)
    autoencoder = Autoencoder(
        n_components,
        activation="identity",
        output_activation="identity",
        scale=None,
        tied=tied,
        alpha=0.0,
        solver=LBFGS(3000, tol=1e-9, ftol=1e-15),
        dtype="float64",
        random_state=0,
    ).fit(X)
    pca = PCA(n_components).fit(X)
    decoder = autoencoder.layer_.decoder_matrix.detach().numpy()
    assert subspace_angles(decoder, pca.components_.T).max() <= 1e-3
    best = 0.5 * np.square(X - pca.inverse_transform(pca.transform(X))).sum(axis=1).mean()
    assert best <= -autoencoder.score(X) <= 1.001 * best


@pytest.mark.parametrize("level", [0.1, 0.25, 0.5])
def test_masking_hits_the_share_it_says(level, generator):
    x = torch.full((1000, 1000), 0.7)
    corrupted, hit = Masking(level).corrupt(x, generator)
    assert torch.equal(hit, corrupted == 0)
    assert (corrupted == 0).double().mean().item() == pytest.approx(level, rel=0.01)
    assert set(corrupted.unique().tolist()) == set(torch.tensor([0.0, 0.7]).tolist())


def test_salt_and_pepper_hits_the_share_it_says(generator):
    x = torch.full((1000, 1000), 0.7)
    corrupted, hit = SaltAndPepper(0.2, low=-1.0, high=2.0).corrupt(x, generator)
    assert torch.equal(hit, corrupted != x)
    for value, share in ((-1.0, 0.1), (2.0, 0.1), (torch.tensor(0.7).item(), 0.8)):
        assert (corrupted == value).double().mean().item() == pytest.approx(share, rel=0.01)


def test_gaussian_noise_has_its_spread(generator):
    x = torch.rand(1000, 1000, generator=generator, dtype=F64)
    noise = Gaussian(0.3).corrupt(x, generator)[0] - x
    assert noise.std().item() == pytest.approx(0.3, rel=0.01)
    assert abs(noise.mean().item()) < 0.003


@pytest.mark.parametrize("level", [0.0, 1e-9, 0.99999, 0.999995, 1.0])
def test_levels_at_the_ends(level, generator):
    x = torch.ones(1000, 70)
    assert Masking(level).corrupt(x, generator)[0].mean().item() == pytest.approx(1 - level, abs=1e-3)


def test_emphasis_weighs_what_was_hit():
    """Also where the value stays: a masked 0 is to be guessed like any other masked entry."""
    hit = torch.tensor([[True, True, False]])
    weights = entry_weights(Masking(emphasis=(0.3, 0.7)), hit, F64)
    assert weights.tolist() == [[0.3, 0.3, 0.7]]
    assert entry_weights(Masking(), hit, F64) is None


def test_target_is_the_clean_row(rows):
    """The cost of a denoising layer is the loss between decode(encode(corrupted)) and the clean rows."""
    layer = AutoencoderLayer(5, 4, dtype=F64)
    noise = Masking(0.4, emphasis=(2.0, 1.0))
    objective = LayerObjective(layer, Rows(rows, dtype=F64), corruption=noise, seed=3)
    value, _ = objective(objective.vector.read())
    clean = torch.from_numpy(rows)
    corrupted, hit = Masking(0.4).corrupt(clean, torch.Generator().manual_seed(3))
    assert hit.any()
    weights = torch.where(hit, 2.0, 1.0)
    expected = 0.5 * (weights * (layer(corrupted) - clean) ** 2).sum(dim=1).mean()
    assert value == pytest.approx(expected.item(), rel=1e-12)
    assert objective.value(objective.vector.read()) == pytest.approx(value, rel=1e-12)
    assert objective(objective.vector.read())[0] == value, "the noise must be the same in every evaluation"


def test_noise_is_never_in_what_users_see(rows):
    autoencoder = Autoencoder(4, corruption=Gaussian(1.0), solver=LBFGS(3), random_state=0).fit(rows)
    codes = autoencoder.transform(rows)
    assert_array_equal(autoencoder.transform(rows), codes)
    assert_allclose(autoencoder.transform(rows[::-1])[::-1], codes, rtol=1e-6)
    assert autoencoder.score(rows) == autoencoder.score(rows)


@pytest.mark.parametrize("every", [3, pytest.param(1, marks=pytest.mark.slow)])
def test_kl_keeps_its_promise(digits, every):
    """After training the mean activations are near their target."""
    X = digits.X_train[::every]
    autoencoder = Autoencoder(200, sparsity=KLSparsity(0.1, 3.0), alpha=3e-3, solver=LBFGS(200), random_state=0).fit(X)
    assert autoencoder.mean_activations_.mean() == pytest.approx(0.1, rel=0.1)
    assert_allclose(autoencoder.mean_activations_, 0.1, rtol=0.3)


@pytest.mark.parametrize("activation", ["sigmoid", "tanh"])
@pytest.mark.parametrize("target", [1e-9, 0.05, 0.5, 1 - 1e-9])
@pytest.mark.parametrize("bias", [-200.0, 0.0, 200.0])
def test_kl_survives_saturated_starts(rows, activation, target, bias):
    layer = AutoencoderLayer(5, 4, activation=activation)
    with torch.no_grad():
        layer.encoder_bias.fill_(bias)
    objective = LayerObjective(layer, Rows(rows), terms=[KLSparsity(target, 3.0)])
    for solver in (LBFGS(20), Adam(3, batch_size=4)):
        result = solver.minimize(objective, objective.vector.read())
        assert np.isfinite(result.value)
        assert torch.isfinite(result.x).all()


def test_kl_of_tanh_is_that_of_its_range(rows):
    """tanh(z) = 2 sigmoid(2 z) - 1, so the penalty agrees with that of a sigmoid layer of twice the weights."""
    tanh, sigmoid = (AutoencoderLayer(5, 4, activation=name, dtype=F64) for name in ("tanh", "sigmoid"))
    with torch.no_grad():
        sigmoid.encoder_weight.copy_(2 * tanh.encoder_weight)
    objectives = [LayerObjective(layer, Rows(rows, dtype=F64), terms=[KLSparsity(0.1)]) for layer in (tanh, sigmoid)]
    for objective in objectives:
        objective(objective.vector.read())
    assert objectives[0].parts["sparsity"] == pytest.approx(objectives[1].parts["sparsity"], rel=1e-12)
    assert_allclose(objectives[0].mean_activation, objectives[1].mean_activation, rtol=1e-12)


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "elu", "softplus", "identity", TopK(2)])
def test_kl_needs_a_range(rows, activation):
    with pytest.raises(
        ValueError, match=re.escape(f"activation={activation!r} has none; choose activation='sigmoid' or 'tanh'")
    ):
        Autoencoder(4, activation=activation, sparsity=KLSparsity()).fit(rows)


@pytest.mark.parametrize("output", [name for name in ACTIVATIONS if name != "sigmoid"])
def test_cross_entropy_needs_probabilities(rows, output):
    with pytest.raises(ValueError, match="choose output_activation='sigmoid' or loss='squared_error'"):
        Autoencoder(4, output_activation=output, loss="binary_cross_entropy").fit(rows)


def test_codes_that_the_next_layer_cannot_reach(rows):
    stack = StackedAutoencoder([Autoencoder(4, activation="tanh"), 3])
    with pytest.raises(ValueError, match=r"layers\[1\] cannot reconstruct the codes of layers\[0\]: those of"):
        stack.fit(rows)


@pytest.mark.parametrize("emphasis", [(1.0,), (0, 0), (-1, 1), ("a", 1)])
def test_emphasis_must_be_two_weights(rows, emphasis):
    with pytest.raises(ValueError, match="must be two weights"):
        Autoencoder(4, corruption=Masking(emphasis=emphasis)).fit(rows)


def test_cross_entropy_from_logits_is_stable(rows):
    layer = AutoencoderLayer(5, 4)
    with torch.no_grad():
        layer.decoder_bias.fill_(1e4)
    objective = LayerObjective(layer, Rows(rows), loss="binary_cross_entropy")
    value, gradient = objective(objective.vector.read())
    assert np.isfinite(value)
    assert torch.isfinite(gradient).all()


def test_codes_beyond_the_cache_are_computed_again(rows):
    layer, problem = AutoencoderLayer(5, 4, dtype=F64), {"terms": [KLSparsity(0.1)], "corruption": Masking(0.2)}
    kept, again = (
        LayerObjective(layer, Rows(rows, dtype=F64), **problem, chunk_rows=4, cache_bytes=size) for size in (10**6, 0)
    )
    theta = kept.vector.read()
    (value, gradient), (other_value, other_gradient) = kept(theta), again(theta)
    assert value == pytest.approx(other_value, rel=1e-14)
    assert_allclose(gradient, other_gradient, rtol=1e-12)


def test_stack_beyond_the_cache_is_the_same(rows):
    stacks = [
        StackedAutoencoder(
            [Autoencoder(4, solver=LBFGS(5)), Autoencoder(3, solver=LBFGS(5))],
            cache_size=size,
            dtype="float64",
            random_state=0,
        ).fit(rows)
        for size in (1000, 0)
    ]
    assert_allclose(stacks[0].transform(rows), stacks[1].transform(rows), rtol=1e-9)
