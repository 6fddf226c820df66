"""What does a GPU bring, beside the processor of the same machine and beside PyTorch on the same GPU?

One exact evaluation of the sparse layer 784-200-784 over all of MNIST, one of fine-tuning 784-200-200-10, an epoch in
batches, and whole fits; layerwise on the GPU and on the processor, autograd and the usual loops of PyTorch on the GPU,
in turn in one process. The share of the roofline is that of the same matrix products in float32 (TF32 stays off, as
PyTorch has it). Needs a GPU.

    python benchmarks/bench_cuda.py [--rounds 7] [--json figures.json]
"""

from __future__ import annotations

import statistics
import sys
import time
import warnings
from collections.abc import Callable

import numpy as np
import torch
from common import Figures, data_folder, median_ratio, parser, show, write
from reference import ALPHA, BETA, N_HIDDEN, RHO
from sklearn.exceptions import ConvergenceWarning
from torch.nn import functional as F

from layerwise import LBFGS, Adam, Autoencoder, KLSparsity, Masking, StackedAutoencoder, StackedClassifier
from layerwise.data import Digits, Rows, load_mnist
from layerwise.losses import cross_entropy
from layerwise.modules import AutoencoderLayer, StackedNetwork, linear_head
from layerwise.objective import LayerObjective, supervised_objective

Side = Callable[[], object]
BATCHES = (256, 4096)


def seconds(function: Side) -> float:
    torch.cuda.synchronize()
    began = time.perf_counter()
    function()
    torch.cuda.synchronize()
    return time.perf_counter() - began


def compare(title: str, sides: dict[str, Side], rounds: int) -> Figures:
    """Time the sides in turn, ``rounds`` times after one warm-up; show and return the medians."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for side in sides.values():
        side()
    for _ in range(rounds):
        for name, side in sides.items():
            times[name].append(seconds(side))
    ours = times[next(iter(sides))]
    figures = {
        name: {"ms": 1e3 * statistics.median(taken), "this / ours": median_ratio(taken, ours)}
        for name, taken in times.items()
    }
    show(title, figures)
    return figures


def new_layer(device: str, in_features: int = 784) -> AutoencoderLayer:
    generator = torch.Generator().manual_seed(0)
    layer = AutoencoderLayer(in_features, N_HIDDEN, generator=generator)
    return layer.to(device)


def evaluation(X: np.ndarray, device: str) -> Side:
    objective = LayerObjective(new_layer(device), Rows(X, device=device), terms=[KLSparsity(RHO, BETA)], alpha=ALPHA)
    theta = objective.vector.read()
    return lambda: objective(theta)[0]


def autograd_evaluation(X: np.ndarray) -> Side:
    layer, x = new_layer("cuda"), torch.from_numpy(X).cuda().float() / 255

    def evaluate() -> float:
        layer.zero_grad()
        h = torch.sigmoid(F.linear(x, layer.encoder_weight, layer.encoder_bias))
        output = torch.sigmoid(F.linear(h, layer.decoder_weight, layer.decoder_bias))
        mean = h.mean(dim=0)
        decay = layer.encoder_weight.square().sum() + layer.decoder_weight.square().sum()
        kl = RHO * torch.log(RHO / mean) + (1 - RHO) * torch.log((1 - RHO) / (1 - mean))
        value = 0.5 * (output - x).square().sum() / len(x) + 0.5 * ALPHA * decay + BETA * kl.sum()
        value.backward()
        return value.item()

    return evaluate


def products(n_rows: int, n_features: int) -> Side:
    """The five matrix products of an evaluation, all rows at once."""
    x, h = torch.rand(n_rows, n_features).cuda(), torch.rand(n_rows, N_HIDDEN).cuda()
    w1, w2 = torch.rand(N_HIDDEN, n_features).cuda(), torch.rand(n_features, N_HIDDEN).cuda()
    r, g1, g2 = torch.empty_like(x), torch.empty_like(w1), torch.empty_like(w2)

    def run() -> None:
        torch.mm(x, w1.T, out=h)
        torch.mm(h, w2.T, out=r)
        torch.mm(r.T, h, out=g2)
        torch.mm(r, w2, out=h)
        torch.mm(h.T, x, out=g1)

    return run


def finetuning(digits: Digits, device: str) -> Side:
    network = StackedNetwork([new_layer(device), new_layer(device, N_HIDDEN)], linear_head(N_HIDDEN, 10).to(device))
    rows, classes = Rows(digits.X_train, device=device), torch.from_numpy(digits.y_train.astype(np.int64))
    objective = supervised_objective(network, rows, classes, cross_entropy, alpha=1e-4)
    theta = objective.vector.read()
    return lambda: objective(theta)[0]


def epoch(X: np.ndarray, device: str, batch_size: int) -> Side:
    layer = AutoencoderLayer(784, N_HIDDEN, generator=torch.Generator().manual_seed(0)).to(device)
    objective, solver = LayerObjective(layer, Rows(X, device=device)), Adam(0, batch_size=batch_size)
    start, state = objective.vector.read(), None

    def run() -> None:
        nonlocal state
        solver.max_iter += 1
        state = solver.minimize(objective, start, state=state).state

    return run


def torch_epoch(X: np.ndarray, batch_size: int) -> Side:
    x = torch.from_numpy(X).cuda().float() / 255
    model = torch.nn.Sequential(
        torch.nn.Linear(784, N_HIDDEN), torch.nn.Sigmoid(), torch.nn.Linear(N_HIDDEN, 784), torch.nn.Sigmoid()
    ).cuda()
    optimizer = torch.optim.Adam(model.parameters())

    def run() -> None:
        for positions in torch.randperm(len(x), device="cuda").split(batch_size):
            optimizer.zero_grad()
            rows = x[positions]
            loss = 0.5 * F.mse_loss(model(rows), rows, reduction="sum") / len(rows)
            loss.backward()
            optimizer.step()

    return run


def whole_run(digits: Digits, device: str) -> Figures:
    """Train 784-200-200-10 by 400 iterations of L-BFGS a stage, as UFLDL does."""
    layer = Autoencoder(N_HIDDEN, sparsity=KLSparsity(RHO, BETA), alpha=ALPHA, solver=LBFGS(400))
    stack = StackedAutoencoder([layer, layer], device=device)
    classifier = StackedClassifier(stack, solver=LBFGS(400), random_state=0)
    taken = seconds(lambda: classifier.fit(digits.X_train, digits.y_train))
    return {"s": taken, "accuracy (%)": 100 * classifier.score(digits.X_test, digits.y_test)}


def denoising_run(digits: Digits, device: str) -> Figures:
    """Train one denoising layer of 1,000 tied units for five epochs in batches of 256."""
    layer = Autoencoder(
        1000,
        corruption=Masking(0.25),
        tied=True,
        loss="binary_cross_entropy",
        solver=Adam(5, batch_size=256),
        device=device,
        random_state=0,
    )
    taken = seconds(lambda: layer.fit(digits.X_train))
    return {"s": taken, "explained variance": layer.explained_variance_ratio_}


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--rounds", type=int, default=7)
    options.add_argument("--rows", type=int, default=60_000, help="training images; fewer to try this out")
    arguments = options.parse_args()
    if not torch.cuda.is_available():
        sys.exit("there is no GPU here, which this benchmark is about")
    warnings.simplefilter("ignore", ConvergenceWarning)
    print(torch.cuda.get_device_name(), torch.__version__, torch.get_num_threads(), "threads")
    digits = load_mnist(data_folder())
    digits = digits._replace(X_train=digits.X_train[: arguments.rows], y_train=digits.y_train[: arguments.rows])
    X = digits.X_train
    figures = {
        "evaluation": compare(
            f"One evaluation of layer 1, {len(X):,} x 784, 200 hidden",
            {
                "layerwise, GPU": evaluation(X, "cuda"),
                "five products alone, GPU": products(len(X), 784),
                "autograd, GPU, all rows": autograd_evaluation(X),
                "layerwise, processor": evaluation(X, "cpu"),
            },
            arguments.rounds,
        ),
        "fine-tuning": compare(
            "One evaluation of fine-tuning 784-200-200-10",
            {"layerwise, GPU": finetuning(digits, "cuda"), "layerwise, processor": finetuning(digits, "cpu")},
            arguments.rounds,
        ),
    }
    for batch_size in BATCHES:
        figures[f"epoch, {batch_size}"] = compare(
            f"An epoch in batches of {batch_size}",
            {
                "layerwise, GPU": epoch(X, "cuda", batch_size),
                "PyTorch, GPU, tensors": torch_epoch(X, batch_size),
                "layerwise, processor": epoch(X, "cpu", batch_size),
            },
            arguments.rounds,
        )
    for name, run in (("784-200-200-10, L-BFGS", whole_run), ("a denoising layer of 1,000 units", denoising_run)):
        torch.cuda.reset_peak_memory_stats()
        on_gpu = run(digits, "cuda") | {"GPU memory MB": torch.cuda.max_memory_allocated() / 2**20}
        figures[name] = {"GPU": on_gpu, "processor": run(digits, "cpu")}
        show(name, figures[name])
    write(arguments.json, figures)


if __name__ == "__main__":
    main()
