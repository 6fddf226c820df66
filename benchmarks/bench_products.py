"""How fast are the matrix products of training, by torch's kernel and by oneDNN's?

GFLOP/s of the five products of a layer 784-200-784 in float32, in chunks of 2,000 rows and batches of 256, on one and
two threads: both kernels in turn in one process, medians of the rounds. Then an evaluation of fine-tuning
784-200-200-10 over 60,000 images of MNIST and an epoch in batches of 256, by each kernel and with
`torch.nn.functional.linear` in the modules, which shows what choosing a kernel costs.

    python benchmarks/bench_products.py [--rounds 7] [--json figures.json]
"""

from __future__ import annotations

import math
import os
import statistics
from collections.abc import Callable
from unittest import mock

import torch
from common import Figures, data_folder, in_turn, machine, median_ratio, parser, show, write

from layerwise import modules, products
from layerwise.data import Rows, load_mnist
from layerwise.losses import cross_entropy
from layerwise.modules import AutoencoderLayer, StackedNetwork, linear_head
from layerwise.objective import supervised_objective
from layerwise.products import linear, transposed_product

WIDE, NARROW, BATCH_SIZE, THREADS = 784, 200, 256, (1, 2)
PLAIN = "torch.nn.functional.linear"


def by(kernel: str, function: Callable[[], object], repeat: int = 1) -> Callable[[], None]:
    """Return a function that does the same some times, by a kernel."""

    def run() -> None:
        with mock.patch.dict(os.environ, LAYERWISE_PRODUCTS=kernel):
            products.kernel.cache_clear()
            if products.kernel() != kernel:
                raise SystemExit(f"this torch has no kernel {kernel!r} that computes what torch.mm computes")
        for _ in range(repeat):
            function()

    return run


def five_products(n_rows: int) -> dict[str, Callable[[], object]]:
    x, h = torch.rand(n_rows, WIDE), torch.rand(n_rows, NARROW)
    w1, w2 = torch.rand(NARROW, WIDE), torch.rand(WIDE, NARROW)
    return {
        "encode X W1'": lambda: linear(x, w1),
        "decode H W2'": lambda: linear(h, w2),
        "back D W2": lambda: linear(x, w2.T),
        "gradient D' H": lambda: transposed_product(x, h),
        "gradient d' X": lambda: transposed_product(h, x),
    }


def measure_products(n_threads: int, rounds: int, operations_timed: float) -> dict[str, Figures]:
    """Return GFLOP/s by product and number of rows."""
    torch.set_num_threads(n_threads)
    figures = {}
    for n_rows in (2000, BATCH_SIZE):
        operations = 2 * n_rows * WIDE * NARROW
        repeat = math.ceil(n_threads * operations_timed / operations)
        for name, product in five_products(n_rows).items():
            times = in_turn([by(kernel, product, repeat) for kernel in products.KERNELS], rounds)
            speeds = [repeat * operations / statistics.median(seconds) / 1e9 for seconds in times]
            row = dict(zip(products.KERNELS, speeds, strict=True)) | {"onednn / torch": median_ratio(*times)}
            figures[f"{name}, {n_rows:,} rows"] = row
    return figures


def measure_finetuning(n_threads: int, rounds: int, n_images: int) -> dict[str, Figures]:
    """Return the seconds of an evaluation over all rows, and of an epoch of gradients in batches."""
    torch.set_num_threads(n_threads)
    mnist, generator = load_mnist(data_folder()), torch.Generator().manual_seed(0)
    layers = [AutoencoderLayer(n, NARROW, generator=generator) for n in (WIDE, NARROW)]
    network = StackedNetwork(layers, linear_head(NARROW, 10))
    rows, classes = Rows(mnist.X_train[:n_images]), torch.from_numpy(mnist.y_train[:n_images]).long()
    objective = supervised_objective(network, rows, classes, cross_entropy)
    theta = objective.vector.read()

    def epoch() -> None:
        for _ in objective.epoch(theta.float(), BATCH_SIZE, 0):
            pass

    def plainly(function: Callable[[], object]) -> Callable[[], None]:
        def run() -> None:
            with mock.patch.object(modules, "apply_linear", torch.nn.functional.linear):
                function()

        return by("torch", run)

    figures: dict[str, Figures] = {name: {} for name in (PLAIN, *products.KERNELS)}
    for what, function in (("evaluation", lambda: objective(theta)), ("epoch", epoch)):
        times = in_turn([plainly(function), *(by(kernel, function) for kernel in products.KERNELS)], rounds)
        for row, seconds in zip(figures.values(), times, strict=True):
            row[f"s an {what}"] = statistics.median(seconds)
            row[f"this / {PLAIN}, {what}"] = median_ratio(seconds, times[0])
    return figures


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--rounds", type=int, default=7)
    # Some tens of milliseconds, far above what the clock and waking threads cost.
    options.add_argument("--operations", type=float, default=8e9, help="of a timing of products, for each thread")
    options.add_argument("--rows", type=int, default=60_000, help="training images; fewer to try this out")
    arguments = options.parse_args()
    print(f"{machine()['processor']}: layerwise takes {products.kernel()!r} here")
    figures: Figures = {}
    for n_threads in THREADS:
        figures[f"products, {n_threads} threads"] = measured = measure_products(
            n_threads, arguments.rounds, arguments.operations
        )
        show(f"GFLOP/s, float32, threads: {n_threads}", measured)
    for n_threads in THREADS:
        figures[f"fine-tuning, {n_threads} threads"] = measured = measure_finetuning(
            n_threads, arguments.rounds, arguments.rows
        )
        show(f"fine-tuning 784-200-200-10, {arguments.rows:,} images, threads: {n_threads}", measured)
    write(arguments.json, figures)


if __name__ == "__main__":
    main()
