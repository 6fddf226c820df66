"""Matrix products: both kernels compute the same, the choice follows from the processor, gradients are torch's."""

import copy
import io
import json
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from torch.autograd import forward_ad, gradcheck, gradgradcheck
from torch.func import functional_call, grad, jacrev, vmap
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.functional import linear as torchs
from train_and_hash import models, parameters, rows

from layerwise import LBFGS, Autoencoder, StackedAutoencoder, StackedClassifier, products, runs
from layerwise.export.torch_module import to_module
from layerwise.modules import AutoencoderLayer, StackedNetwork, linear_head
from layerwise.products import add_transposed_product, apply_linear, linear, transposed_product

X, Y = rows()
X, Y = X[:60], Y[:60]
AMD = "processor\t: 0\nvendor_id\t: AuthenticAMD\nflags\t\t: fpu avx2 avx512f avx512bw\n"
HAS_ONEDNN = products._is_exact()


@pytest.fixture
def choose(monkeypatch):
    """Choose a kernel by hand, until the end of the test."""

    def by_name(name):
        if name == "onednn" and not HAS_ONEDNN:
            pytest.skip("torch was built without oneDNN")
        monkeypatch.setenv("LAYERWISE_PRODUCTS", name)
        products.kernel.cache_clear()

    yield by_name
    products.kernel.cache_clear()


@pytest.fixture(params=products.KERNELS)
def kernel(request, choose):
    choose(request.param)
    return request.param


@pytest.fixture
def onednn(choose, monkeypatch):
    """Choose oneDNN; return the shapes that its products had."""
    choose("onednn")
    shapes, multiply = [], products._multiply_by_onednn
    assert products.kernel() == "onednn"
    monkeypatch.setattr(
        products,
        "_multiply_by_onednn",
        lambda a, b, bias=None: shapes.append((*a.shape, len(b))) or multiply(a, b, bias),
    )
    return shapes


@pytest.fixture
def processor(monkeypatch, tmp_path):
    """Say what the system tells of the processor; None where it tells nothing."""
    monkeypatch.delenv("LAYERWISE_PRODUCTS", raising=False)

    def say(text):
        if text is not None:
            (tmp_path / "cpuinfo").write_text(text)
        monkeypatch.setattr(products, "_PROCESSOR", tmp_path / "cpuinfo")
        products.kernel.cache_clear()

    yield say
    products.kernel.cache_clear()


def draw(*shape, seed=0, dtype=torch.float32, requires_grad=False):
    generator = torch.Generator().manual_seed(seed + sum(shape))
    return torch.randn(shape, generator=generator, dtype=dtype).requires_grad_(requires_grad)


def assert_close(found, expected):
    """Compare with a product in float64."""
    assert found.shape == expected.shape
    assert_allclose(found.double(), expected, rtol=1e-5, atol=1e-5)


# Views of an argument that mean the same: as it is, transposed in memory, every other column of a wider one.
LAYOUTS = {
    "as it is": lambda x: x,
    "transposed": lambda x: x.T.contiguous().T,
    "strided": lambda x: torch.stack([x, x], dim=2).flatten(1)[:, ::2],
}
SHAPES = [
    (n_rows, *widths) for n_rows in (0, 1, 2, 37) for widths in ((16, 8), (13, 7), (1, 1), (5, 31), (0, 3), (4, 0))
]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("n_rows", "n_inputs", "n_outputs"), SHAPES)
def test_products(kernel, n_rows, n_inputs, n_outputs, layout):
    a, b, d = (LAYOUTS[layout](draw(*s)) for s in ((n_rows, n_inputs), (n_outputs, n_inputs), (n_rows, n_outputs)))
    bias, full = draw(n_outputs), draw(n_rows, n_outputs, seed=1)
    exact = torch.from_numpy(a.double().numpy() @ b.double().numpy().T)
    assert_close(linear(a, b), exact)
    assert_close(linear(a, b, bias), exact + bias)
    assert_close(linear(a, b, full), exact + full)
    out = torch.full((n_rows, n_outputs), torch.nan)
    found = linear(a, b, bias, out=out)
    assert_close(found, exact + bias)
    assert found is out or kernel == "onednn"
    exact = torch.from_numpy(d.double().numpy().T @ a.double().numpy())
    assert_close(transposed_product(d, a), exact)
    for dtype in (torch.float32, torch.float64):
        total = torch.ones(n_outputs, n_inputs, dtype=dtype)
        add_transposed_product(total, d, a, keep=0.5, scale=0.25)
        assert_close(total, 0.5 + exact / 4)
    total = torch.full((n_inputs, n_outputs), torch.nan).T
    add_transposed_product(total, d, a, keep=0, scale=2)
    assert_close(total, 2 * exact)


def test_rows_that_repeat(kernel):
    """As the gradient of a sum is: all its rows are one in memory."""
    ones, x = torch.ones(()).expand(6, 3), draw(6, 5)
    assert_close(transposed_product(ones, x), x.double().sum(dim=0).expand(3, 5))
    assert_close(linear(x[:1].expand(6, 5), x), (x.double() @ x[0].double()).expand(6, 6))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_types_are_torchs(onednn, dtype):
    a, b, bias = draw(4, 3).to(dtype), draw(2, 3).to(dtype), draw(2).to(dtype)
    assert torch.equal(linear(a, b, bias), torch.addmm(bias, a, b.T))
    assert torch.equal(transposed_product(a, a), a.T @ a)
    assert torch.equal(apply_linear(a, b, bias), torchs(a, b, bias))
    assert not onednn


@pytest.mark.parametrize("multiply", [linear, apply_linear])
def test_wrong_arguments_raise_torchs_errors(kernel, multiply):
    for a, b, bias in (
        (draw(4, 3), draw(2, 5), None),
        (draw(4, 3), draw(2, 3).double(), None),
        (draw(4, 3), draw(2, 3), draw(2).double()),
        (draw(4, 3), draw(2, 3), draw(3)),
    ):
        with pytest.raises(RuntimeError):
            multiply(a, b, bias)


@pytest.mark.parametrize("needed", [(1, 1, 1), (1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 1, 1), (1, 0, 1)])
@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize("shape", [(6, 5, 3), (6, 3, 5), (1, 4, 4)])
def test_gradients_are_torchs(onednn, needed, has_bias, shape):
    n_rows, n_inputs, n_outputs = shape
    inputs = [draw(n_rows, n_inputs), draw(n_outputs, n_inputs), draw(n_outputs) if has_bias else None]
    found, expected = [], []
    for function, gradients in ((apply_linear, found), (torchs, expected)):
        leaves = [
            None if x is None else x.clone().requires_grad_(bool(need)) for x, need in zip(inputs, needed, strict=True)
        ]
        y = function(*leaves)
        if y.requires_grad:
            y.square().sum().backward()
        gradients += [y.detach(), *(leaf.grad for leaf in leaves if leaf is not None)]
    assert onednn
    for mine, theirs in zip(found, expected, strict=True):
        assert (mine is None) == (theirs is None)
        if mine is not None:
            assert_close(mine, theirs.double())


def test_gradients_in_float64(kernel):
    inputs = [draw(*shape, dtype=torch.float64, requires_grad=True) for shape in ((4, 3), (2, 3), (2,))]
    assert gradcheck(apply_linear, inputs)
    assert gradgradcheck(apply_linear, inputs)


def test_gradients_of_gradients(onednn):
    inputs = [draw(*shape, requires_grad=True) for shape in ((6, 5), (3, 5), (3,))]
    found, expected = [], []
    for function, gradients in ((apply_linear, found), (torchs, expected)):
        first = torch.autograd.grad(function(*inputs).tanh().sum(), inputs, create_graph=True)
        gradients += torch.autograd.grad(sum(part.square().sum() for part in first), inputs)
    assert len(onednn) > 3
    for mine, theirs in zip(found, expected, strict=True):
        assert_close(mine, theirs.double())


def test_what_is_not_needed_is_not_kept(onednn):
    """A frozen layer keeps no rows, and they may be changed before the gradient is taken."""
    x, weight = draw(6, 5, requires_grad=True), draw(3, 5)
    inner = x * 1
    y = apply_linear(inner, weight)
    inner.mul_(2)
    y.sum().backward()
    assert_close(x.grad, weight.double().sum(dim=0).expand(6, 5))


@pytest.mark.parametrize("shape", [(5,), (2, 3, 5)])
def test_rows_of_any_shape(kernel, shape):
    x, weight, bias = draw(*shape), draw(4, 5), draw(4)
    assert torch.equal(apply_linear(x, weight, bias), torchs(x, weight, bias))


def new_layer():
    return AutoencoderLayer(6, 3, generator=torch.Generator().manual_seed(0))


class Tagged(torch.Tensor):
    """A kind of tensor of its own."""


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # torch itself calls it
def test_transforms_see_torchs_function(onednn):
    layer, x, tangent = new_layer(), draw(4, 6), draw(4, 6, seed=1)

    def total(x):
        return layer(x).square().sum()

    with forward_ad.dual_level():
        along = forward_ad.unpack_dual(total(forward_ad.make_dual(x, tangent))).tangent
    assert_allclose(along.detach(), (grad(total)(x) * tangent).sum().detach(), rtol=1e-5)
    assert vmap(total)(x[:, None]).shape == (4,)
    jacrev(lambda named: functional_call(layer, named, (x,)))(dict(layer.named_parameters()))
    with torch.autocast("cpu", torch.bfloat16):
        assert apply_linear(x, layer.encoder_weight).dtype == torch.bfloat16
    assert type(apply_linear(x.as_subclass(Tagged), layer.encoder_weight)) is Tagged
    assert not onednn
    total(x)
    assert len(onednn) == 2


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # torch itself calls it
def test_programs_hold_torchs_function(onednn):
    layer, x = new_layer(), draw(4, 6)
    exported = torch.export.export(layer, (x,))
    graphs = [
        exported.graph,
        make_fx(lambda x: layer.encode(x))(x).graph,
        torch.jit.trace(layer, x, check_trace=False).inlined_graph,
    ]
    for graph in map(str, graphs):
        assert "linear" in graph or "addmm" in graph
        assert "mkldnn" not in graph
    assert not onednn
    assert_close(exported.module()(x).detach(), layer(x).double().detach())


def test_gradients_in_bulk(onednn):
    layer, x = new_layer(), draw(4, 6)
    found = torch.autograd.functional.jacobian(layer, x, vectorize=True)
    assert_close(found, torch.autograd.functional.jacobian(layer.double(), x.double()))


@pytest.mark.filterwarnings("default")  # of the compiler's own parts
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_compiled(onednn, backend):
    layer, x = new_layer(), draw(4, 6)
    compiled = torch.compile(layer, backend=backend, fullgraph=True)
    found = compiled(x)
    assert not onednn
    assert_close(found.detach(), layer(x).double().detach())


def test_torch_that_has_moved_its_private_names(onednn, monkeypatch):
    monkeypatch.delattr(torch._C, "_len_torch_dispatch_stack")
    x, weight = draw(4, 3), draw(2, 3)
    assert torch.equal(apply_linear(x, weight), torchs(x, weight))
    assert not onednn


def test_modules_are_copied_and_kept(kernel):
    network, x = StackedNetwork([new_layer()], linear_head(3, 2)), draw(4, 6)
    torch.nn.init.ones_(network.head.weight)
    file = io.BytesIO()
    torch.save(network, file)
    file.seek(0)
    for other in (
        copy.deepcopy(network),
        pickle.loads(pickle.dumps(network)),
        torch.load(file, weights_only=False),
    ):
        assert torch.equal(other(x), network(x))
    assert list(network.state_dict()) == list(StackedNetwork([new_layer()], torch.nn.Linear(3, 2)).state_dict())


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_head_is_a_linear_layer_of_torch(kernel):
    head, x = linear_head(3, 2), draw(4, 3)
    torch.nn.init.ones_(head.weight)
    assert_close(torch.jit.script(head)(x).detach(), torchs(x, head.weight).double().detach())
    seen = []
    head.register_forward_hook(lambda module, inputs, output: seen.append(output))
    StackedNetwork([], head)(x)
    assert len(seen) == 1
    assert repr(head) == repr(torch.nn.Linear(3, 2))


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        (AMD, "onednn"),
        (AMD.replace("AuthenticAMD", "GenuineIntel"), "torch"),
        (AMD.replace("avx512f avx512bw", ""), "torch"),
        ("processor\t: 0\nFeatures\t: asimd sve\n", "torch"),
        ("", "torch"),
        (None, "torch"),
    ],
)
def test_choice_by_processor(processor, monkeypatch, text, chosen):
    monkeypatch.setattr(products, "_is_exact", lambda: True)
    processor(text)
    assert products.kernel() == chosen
    monkeypatch.setenv("LAYERWISE_PRODUCTS", "")  # as if it were not set
    products.kernel.cache_clear()
    assert products.kernel() == chosen


def test_choice_by_hand(processor, choose):
    processor(AMD)
    choose("torch")
    assert products.kernel() == "torch"
    processor(None)
    choose("onednn")
    assert products.kernel() == "onednn"


def test_unknown_choice(choose):
    choose("mkl")
    for _ in range(2):
        with pytest.raises(ValueError, match="LAYERWISE_PRODUCTS='mkl' is not known; choose 'torch' or 'onednn'"):
            linear(draw(2, 3), draw(2, 3))


def test_unknown_choice_on_the_command_line(tmp_path):
    np.save(tmp_path / "X.npy", X)
    words = [sys.executable, "-m", "layerwise", "fit", "X.npy", "--out", "run"]
    environment = os.environ | {"LAYERWISE_PRODUCTS": "mkl"}
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "LAYERWISE_PRODUCTS='mkl' is not known" in done.stderr
    assert "Traceback" not in done.stderr


def raises(a, b, bias=None):
    raise NotImplementedError("no such operator")


@pytest.mark.parametrize(
    "broken",
    [raises, lambda a, b, bias=None: a @ b.T * 1.001, lambda a, b, bias=None: a @ b.T, lambda a, b, bias=None: None],
)
def test_broken_operator(processor, monkeypatch, recwarn, broken):
    """The third forgets the bias."""
    processor(AMD)
    monkeypatch.setattr(products, "_multiply_by_onednn", broken)
    a, b = draw(4, 3), draw(2, 3)
    assert torch.equal(linear(a, b), a @ b.T)
    assert torch.equal(apply_linear(a, b), torchs(a, b))
    assert products.kernel() == "torch"
    assert not recwarn


def test_missing_operator(processor, monkeypatch):
    processor(AMD)
    monkeypatch.setattr(torch.ops, "mkldnn", object())
    assert products.kernel() == "torch"


def test_checkpoint_of_the_other_kernel(choose, tmp_path):
    estimator = Autoencoder(4, solver=LBFGS(4), random_state=0, checkpoint=tmp_path)
    choose("torch")
    estimator.fit(X)
    estimator.fit(X)  # of which there is nothing to say
    choose("onednn")
    with pytest.warns(
        UserWarning, match=r"products onednn \(was torch\); the fit goes on, but its last bits may differ"
    ):
        estimator.fit(X)


def test_run_tells_its_kernel(kernel, run, tmp_path):
    np.save(tmp_path / "X.npy", X)
    code, _, error = run("fit", tmp_path / "X.npy", "--out", tmp_path / "run", "--layers", 3, "--max-iter", 2)
    assert code == 0, error
    assert json.loads((tmp_path / "run" / "run.json").read_text())["products"] == kernel
    assert runs.gather_facts()["products"] == kernel


def new_classifier():
    stack = StackedAutoencoder([6, 4], dtype="float32", solver=LBFGS(4), random_state=0)
    return StackedClassifier(stack, solver=LBFGS(4), random_state=0)


def test_kernels_train_and_predict_the_same(choose, onednn):
    fitted = new_classifier().fit(X, Y)
    assert len(onednn) > 20
    choose("torch")
    other = new_classifier().fit(X, Y)
    for mine, theirs in zip(parameters(fitted), parameters(other), strict=True):
        assert_allclose(mine, theirs, rtol=2e-3, atol=2e-3)
    probabilities = fitted.predict_proba(X)
    choose("onednn")
    assert_allclose(fitted.predict_proba(X), probabilities, rtol=1e-5)
    with torch.no_grad():
        assert_allclose(to_module(fitted)(torch.from_numpy(X).float())["probabilities"], probabilities, rtol=1e-4)


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("name", ["sparse classifier", "denoising stack"])
def test_same_seed_same_bits(kernel, name, n_threads):
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        first, second = (parameters(models()[name].fit(X.astype(np.float32), Y)) for _ in range(2))
    finally:
        torch.set_num_threads(before)
    for mine, again in zip(first, second, strict=True):
        assert_array_equal(mine, again)


@pytest.mark.parametrize("n_threads", [1, 2])
def test_threads(kernel, n_threads):
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        a, b = draw(2000, 784), draw(200, 784)
        first = linear(a, b)
        assert torch.equal(linear(a, b), first)
        assert_allclose(first.double(), a.double() @ b.double().T, atol=1e-3)
    finally:
        torch.set_num_threads(before)
