"""How close is one exact evaluation of layer 1 to its matrix products, and how far ahead of the usual ways?

Value and gradient of the sparse layer 784-200-784 over all 60,000 images of MNIST: layerwise, the five matrix products
alone (the roofline), plain float64 NumPy, and PyTorch's autograd over all rows at once and in chunks. The sides run in
turn in one process and must agree on the value; ratios are medians over the rounds. The peak memory of each comes from
a process of its own. At the end, where the milliseconds of an evaluation go.

    python benchmarks/bench_evaluation.py [--rounds 7] [--json figures.json]
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from common import (
    Figures,
    alone,
    answer,
    data_folder,
    in_turn,
    matrix_products,
    median_ratio,
    parser,
    seconds,
    show,
    write,
)
from reference import ALPHA, BETA, N_HIDDEN, RHO, sparse_cost
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from layerwise.data import Rows, load_mnist
from layerwise.modules import AutoencoderLayer
from layerwise.objective import LayerObjective
from layerwise.penalties import KLSparsity

Evaluation = Callable[[], float]
# What the operations of an evaluation are for.
PURPOSES = {
    "matrix products": ["aten::mm", "aten::addmm", "aten::addmm_"],
    "sigmoid": ["aten::sigmoid_"],
    "derivative of the sigmoid": ["aten::sigmoid_backward"],
    "error and its norms": ["aten::sub", "aten::linalg_vector_norm"],
    "sums over rows": ["aten::sum"],
    "bytes to float32": ["aten::copy_", "aten::mul_"],
    "adding up in float64": ["aten::add_"],
}


def new_layer() -> AutoencoderLayer:
    generator = torch.Generator().manual_seed(0)
    return AutoencoderLayer(784, N_HIDDEN, generator=generator)


def images(n_rows: int) -> np.ndarray:
    return load_mnist(data_folder()).X_train[:n_rows]


def new_objective(n_rows: int) -> LayerObjective:
    return LayerObjective(new_layer(), Rows(images(n_rows)), terms=[KLSparsity(RHO, BETA)], alpha=ALPHA)


def ours(n_rows: int) -> Evaluation:
    objective = new_objective(n_rows)
    theta = objective.vector.read()
    return lambda: objective(theta)[0]


def numpy_reference(n_rows: int) -> Evaluation:
    X = images(n_rows) / 255
    theta = new_objective(n_rows).vector.read().numpy()
    return lambda: sparse_cost(theta, X, N_HIDDEN)[0]


def cost(layer: AutoencoderLayer, error: Tensor, mean: Tensor) -> Tensor:
    """Return the cost as one writes it for autograd, from the sum of squared errors over m and the mean codes."""
    decay = layer.encoder_weight.square().sum() + layer.decoder_weight.square().sum()
    kl = RHO * torch.log(RHO / mean) + (1 - RHO) * torch.log((1 - RHO) / (1 - mean))
    return 0.5 * error + 0.5 * ALPHA * decay + BETA * kl.sum()


def autograd(n_rows: int) -> Evaluation:
    """All rows at once."""
    layer, X = new_layer(), torch.from_numpy(images(n_rows)).float() / 255

    def evaluate() -> float:
        layer.zero_grad()
        h = torch.sigmoid(X @ layer.encoder_weight.T + layer.encoder_bias)
        output = torch.sigmoid(h @ layer.decoder_weight.T + layer.decoder_bias)
        value = cost(layer, (output - X).square().sum() / len(X), h.mean(dim=0))
        value.backward()
        return value.item()

    return evaluate


def autograd_in_chunks(n_rows: int) -> Evaluation:
    """Two passes: the mean codes, then chunk by chunk with the derivative by them as a constant."""
    layer, X = new_layer(), torch.from_numpy(images(n_rows)).float() / 255

    def encode(x: Tensor) -> Tensor:
        return torch.sigmoid(x @ layer.encoder_weight.T + layer.encoder_bias)

    def evaluate() -> float:
        layer.zero_grad()
        with torch.no_grad():
            mean = torch.stack([encode(x).sum(dim=0) for x in X.split(2000)]).sum(dim=0) / len(X)
        mean.requires_grad_()
        penalties = cost(layer, torch.zeros(()), mean)
        penalties.backward()
        total = penalties.item()
        for x in X.split(2000):
            h = encode(x)
            output = torch.sigmoid(h @ layer.decoder_weight.T + layer.decoder_bias)
            error = 0.5 * (output - x).square().sum() / len(X)
            (error + (h.sum(dim=0) / len(X)) @ mean.grad).backward()
            total += error.item()
        return total

    return evaluate


OURS, PRODUCTS = "layerwise", "five matrix products alone"
SIDES: dict[str, Callable[[int], Evaluation]] = {
    OURS: ours,
    "NumPy, float64": numpy_reference,
    "autograd, all rows": autograd,
    "autograd, chunks of 2,000": autograd_in_chunks,
}


def memory(name: str, n_rows: int) -> Figures:
    evaluate = SIDES[name](n_rows)
    evaluate()
    evaluate()
    return {}


def where_time_goes(n_rows: int) -> dict[str, Figures]:
    """Return milliseconds of one evaluation by purpose; what is left is Python, dispatch and the profiler itself."""
    evaluate = ours(n_rows)
    evaluate()
    whole = statistics.median(seconds(evaluate) for _ in range(5))
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        evaluate()
    spent = {event.key: event.self_cpu_time_total / 1e3 for event in profiled.key_averages()}
    rows = {purpose: sum(spent.pop(name, 0.0) for name in names) for purpose, names in PURPOSES.items()}
    rows["everything else"] = sum(spent.values())
    rows["the same without the profiler, in all"] = 1e3 * whole
    return {purpose: {"ms": milliseconds} for purpose, milliseconds in rows.items()}


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--rounds", type=int, default=7)
    options.add_argument("--rows", type=int, default=60_000, help="training images; fewer to try this out")
    arguments = options.parse_args()
    n_rows = arguments.rows
    sides = {name: make(n_rows) for name, make in SIDES.items()}
    values = {name: evaluate() for name, evaluate in sides.items()}
    products, operations = matrix_products(n_rows, 784, N_HIDDEN, min(2000, n_rows))
    times = dict(zip([*sides, PRODUCTS], in_turn([*sides.values(), products], arguments.rounds), strict=True))
    figures = {
        name: {
            "seconds": statistics.median(taken),
            "this / ours": median_ratio(taken, times[OURS]),
            "value": values.get(name),
            "peak memory MB": alone(__file__, name, n_rows)["peak memory MB"] if name in sides else None,
        }
        for name, taken in times.items()
    }
    show(f"One evaluation of layer 1, {n_rows:,} x 784, 200 hidden", figures)
    rate = operations / statistics.median(times[PRODUCTS]) / 1e9
    print(f"Share of the roofline {figures[PRODUCTS]['this / ours']:.2f}; the products ran at {rate:.0f} GFLOP/s")
    profiled = where_time_goes(n_rows)
    show("Where the milliseconds of an evaluation go", profiled)
    write(arguments.json, {"evaluation": figures, "GFLOP/s": rate, "profile": profiled})


if __name__ == "__main__" and not answer({name: partial(memory, name) for name in SIDES}):
    main()
