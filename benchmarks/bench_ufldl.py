"""How fast is the UFLDL experiment beside plain NumPy and SciPy, and beside its matrix products alone?

The reference below is the experiment in plain float64 NumPy, trained with SciPy's L-BFGS-B. Both sides are timed in
turn in the same run, because the speed of a machine drifts. The whole run of the reference is reckoned as the time of
its evaluations times their number (those of the 2014 code), which leaves out what SciPy itself takes; --full trains it.

    python benchmarks/bench_ufldl.py [--quick | --full]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import scipy.optimize
import torch
from rich.console import Console
from rich.table import Table

from layerwise.data import Digits, Rows, load_mnist
from layerwise.losses import cross_entropy
from layerwise.modules import AutoencoderLayer, StackedNetwork, linear_head
from layerwise.objective import AutoencoderObjective, supervised_objective
from layerwise.penalties import KLSparsity
from layerwise.reproduce.ufldl_stacked import FINETUNED, GREEDY, PUBLISHED, STAGES

HERE = Path(__file__).parent
RHO, BETA, ALPHA = 0.1, 3.0, 3e-3
N_HIDDEN, N_CLASSES = 200, 10
COUNTS = {stage: PUBLISHED["2014 port"][f"{stage}: evaluations"] for stage in STAGES}


# The reference: costs and gradients as the formulas say.


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def split(theta, *shapes):
    sizes = [int(np.prod(shape)) for shape in shapes]
    return [part.reshape(shape) for part, shape in zip(np.split(theta, np.cumsum(sizes)[:-1]), shapes, strict=True)]


def sparse_cost(theta, X, n_hidden):
    m, n = X.shape
    W1, b1, W2, b2 = split(theta, (n_hidden, n), (n_hidden,), (n, n_hidden), (n,))
    H = sigmoid(X @ W1.T + b1)
    R = sigmoid(H @ W2.T + b2)
    rho_hat = H.mean(axis=0)
    error = R - X
    cost = (
        0.5 / m * np.sum(error**2)
        + 0.5 * ALPHA * (np.sum(W1**2) + np.sum(W2**2))
        + BETA * np.sum(RHO * np.log(RHO / rho_hat) + (1 - RHO) * np.log((1 - RHO) / (1 - rho_hat)))
    )
    delta2 = error * R * (1 - R)
    delta1 = (delta2 @ W2 + BETA * (-RHO / rho_hat + (1 - RHO) / (1 - rho_hat))) * H * (1 - H)
    gradients = (
        delta1.T @ X / m + ALPHA * W1,
        delta1.mean(axis=0),
        delta2.T @ H / m + ALPHA * W2,
        delta2.mean(axis=0),
    )
    return cost, np.concatenate([gradient.ravel() for gradient in gradients])


def softmax(logits):
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def softmax_cost(theta, H, y):
    m = len(H)
    W = theta.reshape(N_CLASSES, -1)
    P = softmax(H @ W.T)
    cost = -np.mean(np.log(P[np.arange(m), y])) + 0.5 * ALPHA * np.sum(W**2)
    P[np.arange(m), y] -= 1
    return cost, (P.T @ H / m + ALPHA * W).ravel()


def network_cost(theta, X, y, h):
    m, n = X.shape
    W, W1, b1, W2, b2 = split(theta, (N_CLASSES, h), (h, n), (h,), (h, h), (h,))
    H1 = sigmoid(X @ W1.T + b1)
    H2 = sigmoid(H1 @ W2.T + b2)
    P = softmax(H2 @ W.T)
    cost = -np.mean(np.log(P[np.arange(m), y])) + 0.5 * ALPHA * np.sum(W**2)
    P[np.arange(m), y] -= 1
    delta2 = P @ W * H2 * (1 - H2)
    delta1 = delta2 @ W2 * H1 * (1 - H1)
    gradients = (
        P.T @ H2 / m + ALPHA * W,
        delta1.T @ X / m,
        delta1.mean(axis=0),
        delta2.T @ H1 / m,
        delta2.mean(axis=0),
    )
    return cost, np.concatenate([gradient.ravel() for gradient in gradients])


def train_reference(X, y, max_iter):
    """Train all four stages; return seconds and evaluations of each."""
    rng, h = np.random.default_rng(0), N_HIDDEN
    figures = {}

    def minimise(stage, cost, theta, *args):
        began = time.perf_counter()
        options = {"maxiter": max_iter}
        result = scipy.optimize.minimize(cost, theta, args, method="L-BFGS-B", jac=True, options=options)
        figures[stage] = {"cost": result.fun, "evaluations": result.nfev, "seconds": time.perf_counter() - began}
        print(f"  reference, {stage}: {figures[stage]}", flush=True)
        return result.x

    encoders, codes = [], X
    for stage in ("layer 0", "layer 1"):
        n = codes.shape[1]
        bound = np.sqrt(6 / (n + h + 1))
        start = [rng.uniform(-bound, bound, h * n), np.zeros(h), rng.uniform(-bound, bound, h * n), np.zeros(n)]
        theta = minimise(stage, sparse_cost, np.concatenate(start), codes, h)
        encoders.append(theta[: h * n + h])
        W1, b1 = split(encoders[-1], (h, n), (h,))
        codes = sigmoid(codes @ W1.T + b1)
    head = minimise("head", softmax_cost, np.zeros(N_CLASSES * h), codes, y)
    minimise("finetune", network_cost, np.concatenate([head, *encoders]), X, y, h)
    return figures


# Ours, and what the matrix products of one evaluation take alone.


def objectives(digits):
    """Return, for each stage, the same evaluation on both sides: (reference, ours)."""
    generator = torch.Generator().manual_seed(0)
    X, y = digits.X_train / 255, digits.y_train.astype(np.int64)
    codes = np.random.default_rng(0).random((len(X), N_HIDDEN), dtype=np.float32)
    codes64 = codes.astype(np.float64)
    layers = [
        AutoencoderLayer(n, N_HIDDEN, alpha=ALPHA, sparsity=KLSparsity(RHO, BETA), generator=generator)
        for n in (X.shape[1], N_HIDDEN)
    ]
    heads = [linear_head(N_HIDDEN, N_CLASSES, bias=False) for _ in range(2)]
    targets = torch.from_numpy(y)
    ours = {
        "layer 0": AutoencoderObjective(layers[0], Rows(digits.X_train)),
        "layer 1": AutoencoderObjective(layers[1], Rows(codes)),
        "head": supervised_objective(StackedNetwork([], heads[0]), Rows(codes), targets, cross_entropy, alpha=ALPHA),
        "finetune": supervised_objective(
            StackedNetwork(layers, heads[1]), Rows(digits.X_train), targets, cross_entropy, alpha=ALPHA
        ),
    }
    thetas = {stage: objective.vector.read() for stage, objective in ours.items()}
    reference = {
        "layer 0": lambda theta: sparse_cost(theta, X, N_HIDDEN),
        "layer 1": lambda theta: sparse_cost(theta, codes64, N_HIDDEN),
        "head": lambda theta: softmax_cost(theta, codes64, y),
        "finetune": lambda theta: network_cost(theta, X, y, N_HIDDEN),
    }
    for stage in STAGES:  # both must do the same work
        expected, value = reference[stage](thetas[stage].numpy())[0], ours[stage](thetas[stage])[0]
        assert abs(value - expected) <= 1e-5 * abs(expected), (stage, value, expected)
    return {
        stage: (
            lambda stage=stage: reference[stage](thetas[stage].numpy()),
            lambda stage=stage: ours[stage](thetas[stage]),
        )
        for stage in STAGES
    }


def matrix_products(n_rows, n_features, n_hidden, chunk_rows):
    """Return a function that does the five products of an evaluation of layer 1 in float32, and nothing else."""
    x, h = torch.rand(chunk_rows, n_features), torch.rand(chunk_rows, n_hidden)
    w1, w2 = torch.rand(n_hidden, n_features), torch.rand(n_features, n_hidden)
    r, g1, g2 = torch.empty_like(x), torch.empty_like(w1), torch.empty_like(w2)

    def run():
        for _ in range(n_rows // chunk_rows):
            torch.mm(x, w1.T, out=h)
            torch.mm(h, w2.T, out=r)
            torch.mm(r.T, h, out=g2)
            torch.mm(r, w2, out=h)
            torch.mm(h.T, x, out=g1)

    return run, 10 * (n_rows // chunk_rows * chunk_rows) * n_features * n_hidden


def seconds(function):
    time.sleep(0.3)  # let the other side's threads go to sleep: NumPy and torch each keep a pool of their own
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def in_turn(functions, rounds):
    """Time functions one after the other, ``rounds`` times after one warm-up; return the seconds of each."""
    times = [[seconds(function) for function in functions] for _ in range(rounds + 1)][1:]
    return [list(column) for column in zip(*times, strict=True)]


def median_ratio(numerator, denominator):
    """Return the median of the ratios round by round."""
    return statistics.median(a / b for a, b in zip(numerator, denominator, strict=True))


def whole_run(data, max_iter):
    """Run our experiment in a process of its own; return its figures."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        command = [sys.executable, "-m", "layerwise", "reproduce", "ufldl-stacked", "--data", str(data)]
        subprocess.run(
            [*command, "--max-iter", str(max_iter), "--out", str(out)],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        return json.loads((out / "figures.json").read_text())["obtained"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="single evaluations only")
    parser.add_argument("--full", action="store_true", help="train the reference too (about 20 minutes)")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path, help="write the figures here")
    arguments = parser.parse_args()
    data = Path(os.environ.get("LAYERWISE_DATA", HERE.parents[1] / "shared" / "data")) / "mnist"
    if not data.is_dir():
        sys.exit(f"no MNIST at {data}; set LAYERWISE_DATA to the folder that holds mnist/")
    digits: Digits = load_mnist(data)
    pairs = objectives(digits)
    m, n = digits.X_train.shape
    figures = {"threads": torch.get_num_threads(), "torch": torch.__version__, "numpy": np.__version__}

    products, operations = matrix_products(m, n, N_HIDDEN, 1250)
    reference_times, our_times, product_times = in_turn([*pairs["layer 0"], products], arguments.rounds)
    figures["layer 0"] = {
        "reference seconds": statistics.median(reference_times),
        "our seconds": statistics.median(our_times),
        "products seconds": statistics.median(product_times),
        "products GFLOP/s": operations / statistics.median(product_times) / 1e9,
        "times faster": median_ratio(reference_times, our_times),
        "share of the roofline": median_ratio(product_times, our_times),
        "most that any float32 evaluation could be faster": median_ratio(reference_times, product_times),
    }
    table = Table("one evaluation of layer 1", "", title=f"{m} x {n}, {N_HIDDEN} hidden, {figures['threads']} threads")
    for name, value in figures["layer 0"].items():
        table.add_row(name, f"{value:.3g}")
    Console().print(table)

    if not arguments.quick:
        before = {stage: in_turn(pairs[stage], 3) for stage in STAGES}
        obtained = whole_run(data, 200)
        after = {stage: in_turn(pairs[stage], 3) for stage in STAGES}
        reference = {stage: statistics.median(before[stage][0] + after[stage][0]) * COUNTS[stage] for stage in STAGES}
        figures["whole run"] = {
            "reference seconds": reference,
            "our seconds": {stage: obtained[f"{stage}: seconds"] for stage in STAGES},
            "times faster": sum(reference.values()) / obtained["seconds"],
            "peak memory MB": obtained["peak memory (MB)"],
            "accuracy after greedy training": obtained[GREEDY],
            "accuracy after fine-tuning": obtained[FINETUNED],
        }
        table = Table("stage", "reference (s)", "ours (s)", "times faster", title="200 iterations a stage")
        for stage in STAGES:
            a, b = reference[stage], obtained[f"{stage}: seconds"]
            table.add_row(stage, f"{a:.0f}", f"{b:.0f}", f"{a / b:.2f}")
        total = sum(reference.values())
        table.add_row("in all", f"{total:.0f}", f"{obtained['seconds']:.0f}", f"{total / obtained['seconds']:.2f}")
        Console().print(table)
        print(
            f"peak memory {obtained['peak memory (MB)']:.0f} MB, accuracy {obtained[GREEDY]:.2f} % after "
            f"greedy training and {obtained[FINETUNED]:.2f} % after fine-tuning"
        )
    if arguments.full:
        figures["trained reference"] = train_reference(digits.X_train / 255, digits.y_train.astype(np.int64), 200)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
